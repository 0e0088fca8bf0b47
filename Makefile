# Everything runs from a virtual environment beside this file; the first call makes it.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.DEFAULT_GOAL := help
.PHONY: help demo test faults faults-full lint bench clean

help:  ## say what there is
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /  make \1\t/'

demo: $(VENV)/.demo  ## install, then write and search a log in front of you
	@$(BIN)/timelog demo

test: $(VENV)/.test  ## run the tests
	@$(BIN)/python -m pytest --ignore tests/faults -n auto

faults: $(VENV)/.test  ## cut the power, kill processes, fail disk calls; all that this machine can
	@$(BIN)/python -m pytest tests/faults -n auto

faults-full: $(VENV)/.test  ## the same ten times as often (hours)
	@TIMELOG_FAULTS=full $(BIN)/python -m pytest tests/faults -n auto

lint: $(VENV)/.dev  ## ruff and strict mypy
	$(BIN)/ruff check .
	$(BIN)/ruff format --check timelog tests tools benchmarks
	$(BIN)/mypy

bench: $(VENV)/.dev  ## benchmarks beside rivals, as ratios; results in benchmarks/results/
	$(BIN)/python -m pytest benchmarks -o python_files='bench_*.py' -o python_functions='bench_*' -o timeout=0 -q

clean:  ## remove the virtual environment and caches
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis

# One stamp for each set of extras, made anew when the metadata changes.
$(VENV)/.demo: EXTRAS := cli
$(VENV)/.test: EXTRAS := test
$(VENV)/.dev: EXTRAS := dev
$(VENV)/.demo $(VENV)/.test $(VENV)/.dev: setup.cfg pyproject.toml
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[$(EXTRAS)]'
	@touch $@

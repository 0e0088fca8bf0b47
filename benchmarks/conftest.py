"""Fixtures of the benchmarks, and the one table of ratios that a run ends with."""

from __future__ import annotations

import gc
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from benchmarks import report
from benchmarks.contest import EVENTS, HEADERS, ROUNDS, Measure, Results
from benchmarks.lines import lines
from benchmarks.rivals import Row
from benchmarks.shelf import Shelf

RESULTS = pytest.StashKey[Results]()
MACHINE = pytest.StashKey[dict[str, str]]()

NOTES = (
    f"{EVENTS:,} events; the contestants of a group took turns for {ROUNDS} rounds; "
    "ratios are made from the best times",
    "`x floor`: how many times the floor; `x timelog`: how many times the time of timelog "
    "(above 1: slower than timelog)",
    "where a group has two floors, the ratio is to the one named first: decoding for reads that "
    "make Event objects of all they read",
)


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    config.stash[RESULTS] = Results()
    config.option.benchmark_quiet = True  # its table has one line for each turn


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.pluginmanager.hasplugin("timeout"):
        for item in items:
            item.add_marker(pytest.mark.timeout(0))


@pytest.fixture(scope="session")
def rows() -> list[Row]:
    """The events of a run, 10,000 a minute, kept out of the garbage collector's way."""
    minutes = max(EVENTS // 10_000, 2)
    made: list[Row] = [
        (line.timestamp, f"{number:024x}", line.source, line.tags, line.content)
        for number, line in enumerate(lines(EVENTS, seed=1, minutes=minutes))
    ]
    gc.collect()
    gc.freeze()
    return made


@pytest.fixture(scope="session")
def shelf(rows: list[Row], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shelf]:
    """The filled stores that the reading contests share."""
    made = Shelf(tmp_path_factory.mktemp("shelf"), rows)
    yield made
    made.close()


@pytest.fixture
def measure(benchmark: Any, name: str, request: pytest.FixtureRequest) -> Measure:
    """Time `act(*args)` `repeat` times in a row as a turn of the contestant `name`.

    `events` is how many events each run handles. If `act` returns a number, it must be `expect`.
    """

    def run(
        act: Callable[..., Any],
        *args: Any,
        events: int = 0,
        expect: int | None = None,
        repeat: int = 1,
    ) -> None:
        found = benchmark.pedantic(act, args=args, rounds=repeat, iterations=1)
        assert expect is None or found is None or found == expect
        results = request.config.stash[RESULTS]
        if benchmark.stats is not None:
            results.add(benchmark.group, name, events, benchmark.stats.stats.data)

    return run


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """A new folder, removed afterwards, so that no disk fills and nothing waits to be written."""
    yield tmp_path
    shutil.rmtree(tmp_path)


@pytest.fixture(scope="session", autouse=True)
def described(tmp_path_factory: pytest.TempPathFactory, pytestconfig: pytest.Config) -> None:
    """Describe the machine, with the file system that holds the data."""
    pytestconfig.stash[MACHINE] = report.machine(tmp_path_factory.getbasetemp())


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, exitstatus: int, config: pytest.Config
) -> None:
    results = config.stash[RESULTS]
    cells = [line.cells() for line in results.lines()]
    if not cells:
        return
    terminalreporter.section("ratios")
    for note in NOTES:
        terminalreporter.write_line(note)
    terminalreporter.write_line("")
    terminalreporter.write_line(report.table(HEADERS, cells))
    if exitstatus or config.option.keyword:
        terminalreporter.write_line("\nno result files: not every contest ran to its end")
        return
    settings = {"events": EVENTS, "rounds": ROUNDS}
    page = report.write(
        "core",
        "timelog: jobs, floors and rivals",
        HEADERS,
        cells,
        notes=NOTES,
        described=config.stash[MACHINE],
        data={"settings": settings, "times": results.raw()},
    )
    terminalreporter.write_line(f"\nwritten: {page.name} and .json in {page.parent.name}/")

"""What the programs of fault tests have in common: arguments, the choice of cases, the report.

``python -m PROGRAM WORKLOAD WHAT COUNT SEED DIRECTORY [CONTROL]`` tries ``COUNT`` of the cases of a
workload, chosen by ``SEED``, in ``DIRECTORY``. ``WHAT`` says which cases; ``CONTROL`` is the number
of one of `CONTROLS`, which is to be found. Prints a `Report` as JSON.
"""

from __future__ import annotations

import gc
import json
import logging
import os
import random
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import timelog
from tests.faults.controls import CONTROLS
from tests.faults.oracle import Violation
from tests.faults.trial import Trial
from tests.faults.workloads import Workload, registry

ROOT = Path(__file__).parents[2]
_MOST_VIOLATIONS = 5


class Report(NamedTuple):
    """What was tried of what is possible, with how many outcomes, and what was wrong."""

    cases: int
    possible: int
    distinct: int
    errors: dict[str, int]
    violations: list[str]


class Judge(Protocol):
    """Knows the cases of a trial; ``what`` says in words what came before it."""

    trial: Trial
    cases: Sequence[Any]
    what: str

    def judge(self, case: Any) -> None:
        """Let that happen; raises `Violation` where something is wrong with what comes of it."""


# Of a workload, and of ``WHAT``, with chance, in a directory.
MakeJudges = Callable[[Workload, str, random.Random, Path], Sequence[Judge]]


def main(make_judges: MakeJudges) -> None:
    """What a program does."""
    name, what, count, seed, directory, *control = sys.argv[1:]
    # Errors are heard, see `tests.faults.stubborn`.
    logging.disable(logging.INFO)
    # Not in the middle of runs, and not in pages that forked processes share.
    gc.collect()
    gc.freeze()
    gc.disable()
    rng = random.Random(f"{seed} {name} {what}")
    with ExitStack() as stack:
        for number in control:
            stack.enter_context(CONTROLS[int(number)].put_in())
        judges = make_judges(registry[name], what, rng, Path(directory))
        report = _try(judges, int(count), rng)
    print(json.dumps(report._asdict()))


def run(program: str, *args: object, environment: Mapping[str, str] = {}) -> Report:
    """Run a program and return its report."""
    process = subprocess.Popen(
        [sys.executable, "-m", program, *map(str, args)],
        cwd=ROOT,
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        out, _ = process.communicate()
    finally:
        process.kill()
    assert process.returncode == 0
    return Report(**json.loads(out))


def _try(judges: Sequence[Judge], count: int, rng: random.Random) -> Report:
    possible = [(judge, case) for judge in judges for case in judge.cases]
    chosen = possible if len(possible) <= count else rng.sample(possible, count)
    violations: list[str] = []
    tried = 0
    for judge, case in chosen:
        tried += 1
        if not tried % 100:
            gc.collect()
        try:
            judge.judge(case)
        except (Violation, timelog.TimelogError) as error:
            name = judge.trial.workload.name
            violations.append(f"{name}, {judge.what}{case}: {type(error).__name__}: {error}")
            if len(violations) == _MOST_VIOLATIONS:
                break
    errors = sum((judge.trial.errors for judge in judges), Counter())
    distinct = sum(judge.trial.distinct for judge in judges)
    return Report(tried, len(possible), distinct, errors, violations)

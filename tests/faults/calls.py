"""The program in which system calls fail; `tests.faults.shim` starts it, with the shim before libc.

``python -m tests.faults.calls WORKLOAD WHAT COUNT SEED DIRECTORY [CONTROL]``: lets ``COUNT`` of all
that can happen to the calls of a run happen, each in a run of its own in ``DIRECTORY``, and judges
what each run leaves. ``WHAT`` is ``run``, or ``repair``: then processes that run the workload were
killed at some of its calls, and the run is that of the next process, which repairs. ``CONTROL``:
the number of one of `CONTROLS`, which is to be found. Prints a `Report` as JSON.
"""

from __future__ import annotations

import gc
import json
import logging
import random
import sys
from collections import Counter
from contextlib import ExitStack
from pathlib import Path

import timelog
from tests.faults.controls import CONTROLS
from tests.faults.cuts import IS_FULL
from tests.faults.oracle import Violation
from tests.faults.shim import Case, Shim, cases
from tests.faults.trial import NOTHING, Before, Report, Trial
from tests.faults.workloads import DAY, Run, Workload, registry

_KILLS = 40 if IS_FULL else 4
_MOST_VIOLATIONS = 5
# What the errors say of a fault.
_WORDS = {"ENOSPC": "the disk is full", "EDQUOT": "quota"}


class _Calls:
    """A trial by failing system calls; ``what`` says what came before it."""

    def __init__(
        self, workload: Workload, directory: Path, what: str = "", before: Before = NOTHING
    ) -> None:
        self.what = what
        self._shim = Shim()
        self.trial = Trial(workload, directory, self._shim, before)
        self.cases = cases(self._shim.trace)

    def judge(self, case: Case) -> None:
        """Let that happen; raises `Violation` where something is wrong with what comes of it."""
        with self.trial.directory():
            if case.fault.kills:
                begun, acknowledged = self.trial.kill(case)
                groups = self.trial.groups[:begun]
            else:
                run = self.trial.fail(case)
                groups = tuple(run.groups)
                acknowledged = len(groups)
                if not self._shim.happened:
                    raise Violation("the fault did not happen")
                # Without the text index searches just read more.
                is_heard = case.kind not in case.fault.transparent and not self.trial.workload.text
                if is_heard and not run.is_told:
                    raise Violation("nobody was told of the fault")
                words = _WORDS.get(case.fault.name, "")
                if not all(words in str(error) for error in run.errors):
                    raise Violation(f"the errors do not say {words!r}: {run.errors}")
            self.trial.check(groups, acknowledged)


def run_cases(workload: Workload, what: str, count: int, seed: str, directory: Path) -> Report:
    """Try ``count`` of the cases of one workload, chosen by ``seed``."""
    rng = random.Random(f"{seed} {workload.name} {what}")
    first = _Calls(workload, directory)
    if what == "run":
        return _try([first], count, rng)
    kills = rng.sample([case for case in first.cases if case.fault.kills], _KILLS)
    later = []
    for number, case in enumerate(kills):
        place = directory / str(number)
        place.mkdir()
        before = first.trial.leave(case, place / "tree")
        later.append(_Calls(workload._replace(run=_write_on), place, f"{case}, then ", before))
    return _try(later, count, rng)


def _try(some: list[_Calls], count: int, rng: random.Random) -> Report:
    possible = [(each, case) for each in some for case in each.cases]
    chosen = possible if len(possible) <= count else rng.sample(possible, count)
    violations: list[str] = []
    tried = 0
    for each, case in chosen:
        tried += 1
        if not tried % 100:
            gc.collect()
        try:
            each.judge(case)
        except (Violation, timelog.TimelogError) as error:
            name = each.trial.workload.name
            violations.append(f"{name}, {each.what}{case}: {type(error).__name__}: {error}")
            if len(violations) == _MOST_VIOLATIONS:
                break
    errors = sum((each.trial.errors for each in some), Counter())
    distinct = sum(each.trial.distinct for each in some)
    return Report(tried, len(possible), distinct, errors, violations)


def _write_on(run: Run) -> None:
    """What the next process does, whatever the one before left."""
    log = run.open()
    run.append_sync(log, 7)
    run.put(log, 8, 68, -DAY)
    run.flush(log)
    run.put(log, 9)
    run.close(log)


def main() -> None:
    """See the module."""
    name, what, count, seed, directory, *control = sys.argv[1:]
    logging.disable()
    # Not in the middle of runs, and not in pages that forked processes share.
    gc.collect()
    gc.freeze()
    gc.disable()
    with ExitStack() as stack:
        for number in control:
            stack.enter_context(CONTROLS[int(number)].put_in())
        report = run_cases(registry[name], what, int(count), seed, Path(directory))
    print(json.dumps(report._asdict()))


if __name__ == "__main__":
    main()

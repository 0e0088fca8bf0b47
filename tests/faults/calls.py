"""A program in which system calls fail, see `tests.faults.program`: with the shim before libc.

``WHAT`` is ``run``: all that can happen to the calls of a run happens, each in a run of its own; or
``repair``: then processes that run the workload were killed at some of its calls, and the run is
that of the next process, which repairs.
"""

from __future__ import annotations

import random
from pathlib import Path

from tests.faults import program
from tests.faults.cuts import IS_FULL
from tests.faults.oracle import Violation
from tests.faults.shim import Case, Shim, cases
from tests.faults.trial import NOTHING, Before, Trial
from tests.faults.workloads import DAY, Run, Workload

_KILLS = 40 if IS_FULL else 4
# What the errors say of a fault.
_WORDS = {"ENOSPC": "the disk is full", "EDQUOT": "quota"}


class _Calls:
    """As `program.Judge`."""

    def __init__(
        self, workload: Workload, directory: Path, what: str = "", before: Before = NOTHING
    ) -> None:
        self.what = what
        self._shim = Shim()
        self.trial = Trial(workload, directory, self._shim, before)
        self.cases = cases(self._shim.trace)

    def judge(self, case: Case) -> None:
        """As `program.Judge.judge`."""
        with self.trial.directory():
            if case.fault.kills:
                begun, acknowledged = self.trial.kill(case)
                self.trial.check(self.trial.groups[:begun], acknowledged)
                return
            run = self.trial.fail(case)
            if not self._shim.happened:
                raise Violation("the fault did not happen")
            # Without the text index searches just read more.
            is_heard = case.kind not in case.fault.transparent and not self.trial.workload.text
            if is_heard and not run.is_told:
                raise Violation("nobody was told of the fault")
            words = _WORDS.get(case.fault.name, "")
            if not all(words in str(error) for error in run.errors):
                raise Violation(f"the errors do not say {words!r}: {run.errors}")
            self.trial.check(tuple(run.groups), len(run.groups))


def _make_judges(
    workload: Workload, what: str, rng: random.Random, directory: Path
) -> list[_Calls]:
    first = _Calls(workload, directory)
    if what == "run":
        return [first]
    kills = rng.sample([case for case in first.cases if case.fault.kills], _KILLS)
    later = []
    for number, case in enumerate(kills):
        place = directory / str(number)
        place.mkdir()
        before = first.trial.leave(case, place / "tree")
        later.append(_Calls(workload._replace(run=_write_on), place, f"{case}, then ", before))
    return later


def _write_on(run: Run) -> None:
    """What the next process does, whatever the one before left."""
    log = run.open()
    run.append_sync(log, 7)
    run.put(log, 8, 68, -DAY)
    run.flush(log)
    run.put(log, 9)
    run.close(log)


if __name__ == "__main__":
    program.main(_make_judges)

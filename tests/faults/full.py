"""A program whose disk is full and then is not, see `tests.faults.program`.

``WHAT`` is ``bytes``: no file may be longer than so many bytes; ``pages``: so many pages are left
of the file system ``DIRECTORY``, which must be a small one; or ``files``: so many names are.
"""

from __future__ import annotations

import os
import random
import resource
import shutil
import signal
from pathlib import Path

from tests.faults import program
from tests.faults.oracle import Violation
from tests.faults.trial import Trial
from tests.faults.workloads import Workload

# Beyond what a run needs, where it ends well.
_MORE = 2


class _Limit:
    """Lets files grow up to a length; ``used`` is the longest one of the last run."""

    words = "larger than allowed"

    def __init__(self) -> None:
        self.used = 0
        self._base = Path()
        self._hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)

    def begin(self, base: Path, case: int | None) -> None:
        """As `Breaker.begin`; ``case``: the length."""
        self._base = base
        if case is not None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (case, self._hard))

    def heal(self) -> None:
        """As `Breaker.heal`."""
        resource.setrlimit(resource.RLIMIT_FSIZE, (self._hard, self._hard))

    def end(self) -> None:
        """As `Breaker.end`."""
        self.heal()
        files = (Path(at, name) for at, _, names in os.walk(self._base) for name in names)
        self.used = max(file.stat().st_size for file in files)


class _Pages:
    """Fills the file system up to some pages; ``used`` is what the last run took of them."""

    words = "the disk is full"

    def __init__(self) -> None:
        self.used = 0
        self._free = 0
        self._ballast = Path()

    def begin(self, base: Path, case: int | None) -> None:
        """As `Breaker.begin`; ``case``: how many are left."""
        self._ballast = base.with_name("ballast")
        self._free = self._left(base)
        if case is not None:
            self._fill(base, self._free - case)
            assert self._left(base) == case

    def heal(self) -> None:
        """As `Breaker.heal`."""
        self._ballast.unlink(missing_ok=True)

    def end(self) -> None:
        """As `Breaker.end`."""
        self.heal()
        self.used = self._free - self._left(self._ballast.parent)

    def _left(self, base: Path) -> int:
        return os.statvfs(base).f_bfree

    def _fill(self, base: Path, count: int) -> None:
        with self._ballast.open("wb") as file:
            os.posix_fallocate(file.fileno(), 0, count * os.statvfs(base).f_bsize)


class _Files(_Pages):
    """Makes files until the file system takes but some more; ``used``: those of the last run."""

    def heal(self) -> None:
        """As `Breaker.heal`."""
        shutil.rmtree(self._ballast, ignore_errors=True)

    def _left(self, base: Path) -> int:
        return os.statvfs(base).f_ffree

    def _fill(self, base: Path, count: int) -> None:
        self._ballast.mkdir()
        for number in range(count - 1):
            os.mknod(self._ballast / str(number))


_BREAKERS = {"bytes": _Limit, "pages": _Pages, "files": _Files}


class _Full:
    """As `program.Judge`."""

    def __init__(self, workload: Workload, directory: Path, what: str) -> None:
        self.what = f"{what} "
        self._breaker = _BREAKERS[what]()
        self.trial = Trial(workload, directory, self._breaker)
        self.cases = range(self._breaker.used + _MORE)

    def judge(self, case: int) -> None:
        """As `program.Judge.judge`."""
        with self.trial.directory():
            run = self.trial.fail(case)
            if case < self.cases[-_MORE] and not run.is_told:
                raise Violation("there was not enough room, and nobody was told")
            if not all(self._breaker.words in str(error) for error in run.errors):
                raise Violation(f"the errors do not say {self._breaker.words!r}: {run.errors}")
            self.trial.check(tuple(run.groups), len(run.groups))


def _make_judges(workload: Workload, what: str, rng: random.Random, directory: Path) -> list[_Full]:
    return [_Full(workload, directory, what)]


if __name__ == "__main__":
    program.main(_make_judges)

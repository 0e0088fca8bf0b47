"""A run of a workload on a real file system, in a process that may not live to tell of it.

What was acknowledged is noted outside the file system under test, in a file that was opened before;
what was issued, a recorded run of the same workload says (`tests.faults.cuts.run`): runs are all
alike.
"""

from __future__ import annotations

import os
from pathlib import Path

from tests.faults.workloads import Run, Stage, Workload, settings

_START = 1_700_000_000_000_000_000


class RealStorage(Stage):
    """The storage of production with the clock of a recorded run; notes how far the run is.

    ``acks``: the descriptor of a file, best in memory, that `read_acks` reads.
    """

    def __init__(self, base: Path, acks: int, boot: str = "first boot") -> None:
        super().__init__()
        self.base = base
        self.now = _START
        self._acks = acks
        self._boot = boot

    def mark(self, begun: int, acknowledged: int) -> None:
        """As `Stage.mark`, in one call that a kill leaves whole or undone."""
        os.pwrite(self._acks, b"%08d %08d" % (begun, acknowledged), 0)

    def time_ns(self) -> int:
        """A millisecond later at every call."""
        self.now += 1_000_000
        return self.now

    def boot_id(self) -> str:
        """The boot that the test chose."""
        return self._boot


def read_acks(acks: int) -> tuple[int, int]:
    """How many flushes had begun, and how many were acknowledged; zeros where none."""
    begun, acknowledged = (os.pread(acks, 17, 0) or b"0 0").split()
    return int(begun), int(acknowledged)


def run_on(workload: Workload, storage: RealStorage) -> None:
    """Run the workload on ``storage``, in this process; errors are raised."""
    run = Run(storage, "off" if workload.off else "flush")
    with settings(workload):
        workload.run(run)

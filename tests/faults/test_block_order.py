"""Blocks are stored in any order between two flushes: the disk mounts, what was promised is there.

Ten times as many states with the environment variable ``TIMELOG_FAULTS=full``.
"""

from __future__ import annotations

import os
import random
import time
from pathlib import Path

import pytest

import timelog
from tests.faults import blocks, cuts, disks, report
from tests.faults.blocks import BASE, Make, NotingStorage, Trace
from tests.faults.cuts import IS_FULL, SEED, Recorded
from tests.faults.disks import Disk
from tests.faults.mounts import Mount, attached
from tests.faults.oracle import Violation
from tests.faults.realcuts import judge, written
from tests.faults.workloads import Workload, registry

pytestmark = pytest.mark.timeout(1800)

# In all; each workload has its share.
_STATES = 500 * (10 if IS_FULL else 1)


class Counts:
    """How much was tried."""

    def __init__(self) -> None:
        self.states = 0
        self.dropped = 0
        self.torn = 0
        self.distinct: set[int] = set()


def judge_states(
    recorded: Recorded, trace: Trace, count: int, base: Path, counts: Counts, *, flushes: bool
) -> None:
    """Mount and recover so many states; raises `Violation` with what makes the state again."""
    name = recorded.workload.name
    file = base / "state"
    file.touch()
    path = base / "mount of the state"
    path.mkdir()
    blocks.materialise(trace, blocks.state(trace, random.Random(0)), file)
    with attached(file) as device:
        mount = Mount(device, "ext4", path)
        for number in range(count):
            state = blocks.state(trace, random.Random(f"{SEED} {name} {number}"), flushes=flushes)
            blocks.materialise(trace, state, file)
            counts.states += 1
            counts.dropped += state.dropped
            counts.torn += state.torn
            counts.distinct.add(hash((state.cut, tuple(state.pending))))
            try:
                mount.mount()
                log = path / BASE / "log"
                judge(recorded, log, state.begun, state.acknowledged, written(log))
            except (Violation, timelog.TimelogError, OSError) as error:
                raise Violation(
                    f"{name}, cut behind write {state.cut} of {len(trace.writes)}, number "
                    f"{number}, seed {SEED}: {type(error).__name__}: {error}"
                ) from error
            finally:
                mount.release()


@pytest.mark.parametrize("workload", registry.values(), ids=list(registry))
def test_blocks_are_stored_in_any_order(ram: Path, workload: Workload) -> None:
    count = -(-_STATES // len(registry))
    reason = disks.reason_not_to("ext4")
    if reason := reason or workload.missing:
        pytest.skip(f"NOT RUN: {count} block-reordered images of {workload.name}: {reason}")
    begun = time.perf_counter()
    recorded = cuts.run(workload, ram / "run")
    trace = blocks.record(workload, ram)
    counts = Counts()
    judge_states(recorded, trace, count, ram, counts, flushes=True)
    assert counts.dropped
    report.record(
        f"block-reordered images, {workload.name}: {counts.states} ({len(counts.distinct)} "
        f"distinct) of {len(trace.writes)} writes and flushes, {counts.dropped} writes dropped, "
        f"{counts.torn} torn, seed {SEED}, "
        f"{time.perf_counter() - begun:.1f} s"
    )


# -- the rig can fail ---------------------------------------------------------------------


class Forgetful(NotingStorage):
    """Leaves out the syncs of the files that end so."""

    def __init__(self, base: Path, acks: int, disk: Disk, forgotten: str) -> None:
        super().__init__(base, acks, disk)
        self._forgotten = forgotten

    def sync(self, fd: int) -> None:
        """Nothing, where it is forgotten."""
        if not os.readlink(f"/proc/self/fd/{fd}").endswith(self._forgotten):
            super().sync(fd)


# What does not hold, the storage, and whether the disk does what a flush promises.
CONTROLS: dict[str, tuple[Make, bool]] = {
    "a disk that lies about flushes": (NotingStorage, False),
    "no sync of segments": (lambda *given: Forgetful(*given, ".jsonl"), True),
    "no sync of the journal": (lambda *given: Forgetful(*given, ".journal"), True),
}


@pytest.mark.parametrize("control", CONTROLS)
def test_what_leaves_out_a_flush_is_found_out(ram: Path, control: str) -> None:
    reason = disks.reason_not_to("ext4")
    if reason:
        pytest.skip(f"NOT RUN: the negative control {control}: {reason}")
    make, flushes = CONTROLS[control]
    workload = registry["sync_appends"]
    recorded = cuts.run(workload, ram / "run")
    trace = blocks.record(workload, ram, make)
    counts = Counts()
    with pytest.raises(Violation) as found:
        judge_states(recorded, trace, 100, ram, counts, flushes=flushes)
    report.record(
        f"negative control of block order, {control}: found at image {counts.states}: "
        f"{str(found.value.__cause__).splitlines()[0][:60]}"
    )

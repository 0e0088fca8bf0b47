"""The power of real file systems is cut while workloads run on them: what was promised is there.

Ten times as many cuts with the environment variable ``TIMELOG_FAULTS=full``.
"""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.faults import cuts, report
from tests.faults.cuts import IS_FULL, SEED
from tests.faults.mounts import mounted, reason_not_to
from tests.faults.oracle import Violation
from tests.faults.power import Cut, CutStorage
from tests.faults.realcuts import Cuts
from tests.faults.workloads import Workload, registry

pytestmark = pytest.mark.timeout(1800)

_FACTOR = 10 if IS_FULL else 1
# In all; each workload has its share.
_CUTS = {"ext4": 1000 * _FACTOR, "xfs": 400 * _FACTOR}
# Of each workload.
_TIMED = {"ext4": 4 * _FACTOR, "xfs": 2 * _FACTOR}


@pytest.fixture(params=registry.values(), ids=list(registry))
def workload(request: pytest.FixtureRequest) -> Workload:
    """Each workload of the registry."""
    found: Workload = request.param
    return found


@pytest.fixture(params=list(_CUTS))
def kind(request: pytest.FixtureRequest) -> str:
    """Each kind of file system."""
    found: str = request.param
    return found


def _need(kind: str, what: str) -> None:
    """Skip where ``what`` cannot run here."""
    reason = reason_not_to(kind)
    if reason:
        pytest.skip(f"NOT RUN: {what} on {kind}: {reason}")


def test_a_power_cut_at_random_operations(ram: Path, workload: Workload, kind: str) -> None:
    count = -(-_CUTS[kind] // len(registry))
    what = f"{count} power cuts in {workload.name}"
    _need(kind, what)
    if workload.missing:
        pytest.skip(f"NOT RUN: {what} on {kind}: {workload.missing}")
    recorded = cuts.run(workload, ram / "run")
    begun = time.perf_counter()
    with mounted(kind, ram) as mount:
        many = Cuts(mount, recorded, ram)
        for number in range(count):
            many.cut(number)
    report.record(
        f"real power cuts on {kind}, {workload.name}: {many.made} at random ones of "
        f"{many.operations} operations, {many.in_repairs} more in repairs, seed {SEED}, "
        f"{time.perf_counter() - begun:.1f} s"
    )


def test_a_power_cut_at_random_times(ram: Path, kind: str) -> None:
    """From outside, in the middle of whatever the kernel does for the workload."""
    workloads = [each for each in registry.values() if not each.missing]
    _need(kind, f"{_TIMED[kind] * len(workloads)} power cuts at random times")
    rng = random.Random(f"{SEED} {kind}")
    begun = time.perf_counter()
    made = 0
    with mounted(kind, ram) as mount:
        for workload in workloads:
            outside = ram / workload.name
            outside.mkdir()
            many = Cuts(mount, cuts.run(workload, outside / "run"), outside)
            duration = many.duration()
            for _ in range(_TIMED[kind]):
                many.cut_by_time(rng.random() * duration)
            made += many.made
    report.record(
        f"real power cuts on {kind} at random times: {made} in {len(workloads)} running "
        f"workloads, {time.perf_counter() - begun:.1f} s"
    )


# -- the rig can fail ---------------------------------------------------------------------


class Forgetful(CutStorage):
    """Leaves out the syncs of files and directories for which ``is_forgotten`` says so."""

    def __init__(
        self, base: Path, acks: int, cut: Cut | None, is_forgotten: Callable[[str], bool]
    ) -> None:
        super().__init__(base, acks, cut=cut)
        self._is_forgotten = is_forgotten

    def sync(self, fd: int) -> None:
        """Nothing, where it is forgotten."""
        if not self._is_forgotten(_name(fd)):
            super().sync(fd)


class JournalFirst(CutStorage):
    """Syncs segments, but only after the journal."""

    def __init__(self, base: Path, acks: int, cut: Cut | None) -> None:
        super().__init__(base, acks, cut=cut)
        self._later: list[int] = []

    def sync(self, fd: int) -> None:
        """Put off, where it is a segment; else with all that was put off, behind it."""
        if _name(fd).endswith(".jsonl"):
            self._later.append(os.dup(fd))
            return
        super().sync(fd)
        while self._later:
            late = self._later.pop()
            super().sync(late)
            os.close(late)


def _name(fd: int) -> str:
    path = Path(os.readlink(f"/proc/self/fd/{fd}"))
    return f"{path}/" if path.is_dir() else str(path)


Make = Callable[[Path, int, Cut | None], CutStorage]


def _forgets(is_forgotten: Callable[[str], bool]) -> Make:
    return lambda base, acks, cut: Forgetful(base, acks, cut, is_forgotten)


# What is left out, and the workload that shows it. Syncs of directories alone are not among them:
# both file systems store names in the order in which they changed, and the sync of the journal
# that follows stores all before it. The model disk shows them (`test_power_cuts.py`).
CONTROLS: dict[str, tuple[str, Make]] = {
    "no sync of files": ("flushes", _forgets(lambda name: not name.endswith("/"))),
    "no sync of anything": ("flushes", _forgets(lambda name: True)),
    "no sync of segments": ("sync_appends", _forgets(lambda name: name.endswith(".jsonl"))),
    "no sync of the journal": ("ingest", _forgets(lambda name: name.endswith("1.journal"))),
    "no sync of new files": ("checkpoints", _forgets(lambda name: "/tmp/" in name)),
    "no sync of old files": (
        "unsynced_checkpoints",
        _forgets(lambda name: name.endswith(".jsonl")),
    ),
    "the journal before the data": ("imports", JournalFirst),
}


@pytest.mark.parametrize("control", CONTROLS)
def test_a_storage_that_leaves_out_a_sync_is_found_out(ram: Path, kind: str, control: str) -> None:
    _need(kind, f"the negative control {control}")
    name, make = CONTROLS[control]
    recorded = cuts.run(registry[name], ram / "run")
    with mounted(kind, ram) as mount:
        many = Cuts(mount, recorded, ram, make)
        with pytest.raises(Violation) as found:
            for number in range(100):
                many.cut(number)
    report.record(
        f"negative control on {kind}, {control}: found at cut {many.made} of {name}: "
        f"{str(found.value.__cause__).splitlines()[0][:60]}"
    )

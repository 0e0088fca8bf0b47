"""The disk is full, at every byte, page and name, and then there is room again.

Nothing that was acknowledged is lost; the errors say what is the matter; what waits in memory is
stored as soon as there is room, once, by the same process, without reopening.
"""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults import program, report
from tests.faults.controls import CONTROLS, SHORT_WRITES
from tests.faults.cuts import IS_FULL, SEED
from tests.faults.workloads import Workload, registry

pytestmark = pytest.mark.timeout(1800)

# Of each workload; of pages and names, all.
_COUNTS = {"bytes": 2420 if IS_FULL else 242, "pages": 1000, "files": 1000}


@pytest.fixture(params=registry.values(), ids=list(registry))
def workload(request: pytest.FixtureRequest) -> Workload:
    """Each workload of the registry that has no faults of its own."""
    found: Workload = request.param
    if found.faulty:
        pytest.skip(f"NOT RUN: full disks in {found.name}: it has faults of its own")
    if found.missing:
        pytest.skip(f"NOT RUN: full disks in {found.name}: {found.missing}")
    return found


@pytest.fixture
def small(ram: Path) -> Iterator[Path]:
    """A small file system of its own."""
    place = ram / "small"
    place.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=2m,nr_inodes=300", "timelog-test", place]
    try:
        done = subprocess.run(command, capture_output=True, text=True)
        words = done.stderr.strip()
    except FileNotFoundError as error:
        words = str(error)
    if not os.path.ismount(place):
        pytest.skip(f"NOT RUN: some 40 full disks by pages and names: no tmpfs: {words}")
    try:
        yield place
    finally:
        subprocess.run(["umount", place], check=True)


def test_no_file_may_grow_beyond_some_byte(ram: Path, workload: Workload) -> None:
    """The limit of the process stands for any disk on which a write ends in the middle."""
    _try(workload, "bytes", ram)


@pytest.mark.parametrize("what", ["pages", "files"])
def test_a_file_system_has_room_for_a_part_of_it(
    small: Path, workload: Workload, what: str
) -> None:
    _try(workload, what, small)


def test_a_short_write_taken_for_a_whole_one_is_found_out(ram: Path) -> None:
    control = CONTROLS.index(SHORT_WRITES)
    found = program.run("tests.faults.full", "flushes", "bytes", 1000, SEED, ram, control)
    assert found.violations
    report.record(
        f"negative control, {SHORT_WRITES.name}: found after {found.cases:,} full disks: "
        f"{found.violations[0]}"[:160]
    )


def _try(workload: Workload, what: str, directory: Path) -> None:
    start = time.perf_counter()
    found = program.run("tests.faults.full", workload.name, what, _COUNTS[what], SEED, directory)
    assert not found.violations, "\n".join([f"seed {SEED}", *found.violations])
    assert found.cases == min(_COUNTS[what], found.possible)
    # Waiting for room degrades no log.
    assert set(found.errors) == {"StorageError"}
    report.record(
        f"disk full by {what}, {workload.name}: {found.cases:,} of {found.possible:,} "
        f"({found.distinct:,} different outcomes) in {time.perf_counter() - start:.1f} s, "
        f"seed {SEED}"
    )

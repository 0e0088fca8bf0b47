"""What a disk may hold after a power cut that stores blocks in any order between two flushes.

A workload runs on a file system whose disk notes its writes and flushes (`record`). A state has all
writes before the last flush, and of those since then any, some of them in part (`BlockStates`).
"""

from __future__ import annotations

import os
import random
import struct
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from tests.faults import disks
from tests.faults.child import in_child
from tests.faults.disks import Disk, Write
from tests.faults.mounts import mounted_file, write_back
from tests.faults.power import CutStorage
from tests.faults.real import run_on
from tests.faults.workloads import Workload
from timelog.storage import Storage

SECTOR = 512
_BLOCK = 4096
_MARK = struct.Struct("<QII")
# Where the workloads make their log, in the file system.
BASE = "base"


class Mark(NamedTuple):
    """How far a run was when the disk's log had ``end`` bytes."""

    end: int
    begun: int
    acknowledged: int


class Trace(NamedTuple):
    """All writes of a disk since ``blank``; the workload began at the write ``start``."""

    blank: list[Write]
    size: int
    writes: list[Write]
    start: int
    marks: list[Mark]


class State(NamedTuple):
    """What a power cut behind ``cut`` writes may leave, and how far the run was.

    ``pending``: what of the ``durable`` writes' followers got to the disk.
    """

    cut: int
    durable: list[Write]
    pending: list[Write]
    begun: int
    acknowledged: int
    dropped: int
    torn: int


class NotingStorage(CutStorage):
    """Notes how far the run is beside how far the log of the disk is; ``acks`` takes the marks.

    Of some files the kernel writes what they have long before anybody syncs them.
    """

    def __init__(self, base: Path, acks: int, disk: Disk) -> None:
        super().__init__(base, acks)
        self._marks = acks
        self._disk = disk
        self._rng = random.Random(0)

    def write(self, fd: int, *parts: bytes) -> None:
        """As `Storage.write`, and perhaps more: see above."""
        super().write(fd, *parts)
        if self._rng.random() < 0.7:
            write_back(Path(os.readlink(f"/proc/self/fd/{fd}")), 0, os.fstat(fd).st_size)

    def mark(self, begun: int, acknowledged: int) -> None:
        """As `Stage.mark`, behind the other marks."""
        end = self._disk.log.stat().st_size
        os.write(self._marks, _MARK.pack(end, begun, acknowledged))


Make = Callable[[Path, int, Disk], NotingStorage]


def record(workload: Workload, base: Path, make: Make = NotingStorage) -> Trace:
    """Run the workload on ext4 on a disk that notes everything, below the directory ``base``."""
    with disks.served("ext4", base) as disk:
        blank = _blocks(disk.image)
        size = disk.image.stat().st_size
        with mounted_file("ext4", disk.file, base) as mount:
            directory = mount.path / BASE
            directory.mkdir()
            Storage().sync_directory(mount.path)
            start = len(disk.writes())
            marks = base / "marks"
            acks = os.open(marks, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
            try:
                in_child(lambda: run_on(workload, make(directory, acks, disk)))
            finally:
                os.close(acks)
            writes = disk.writes()
    noted = [Mark(*each) for each in _MARK.iter_unpack(marks.read_bytes())]
    marks.unlink()
    return Trace(blank, size, writes, start, noted)


def state(trace: Trace, rng: random.Random, *, flushes: bool = True) -> State:
    """Choose one. Without ``flushes`` the disk lies: what was flushed may be missing, too."""
    cut = rng.choice(_cuts(trace))
    done = trace.writes[:cut]
    durable = trace.start
    if flushes:
        durable = max(durable, *(n for n, write in enumerate(done, 1) if not write.data))
    share = rng.choice((0.0, 0.3, 0.6, 0.9))
    pending: list[Write] = []
    dropped = torn = 0
    for write in filter(lambda write: write.data, done[durable:]):
        chance = rng.random()
        if chance < share:
            pending.append(write)
        elif chance < share + 0.1 and len(write.data) > SECTOR:
            pending += _parts(write, rng)
            torn += 1
        else:
            dropped += 1
    marks = [mark for mark in trace.marks if mark.end <= done[-1].end]
    begun, acknowledged = marks[-1][1:] if marks else (0, 0)
    return State(cut, done[:durable], pending, begun, acknowledged, dropped, torn)


def materialise(trace: Trace, found: State, file: Path) -> None:
    """Make ``file`` the disk of that state."""
    fd = os.open(file, os.O_WRONLY | os.O_CREAT, 0o600)
    try:
        os.ftruncate(fd, 0)
        os.ftruncate(fd, trace.size)
        for write in [*trace.blank, *found.durable, *found.pending]:
            os.pwrite(fd, write.data, write.offset)
    finally:
        os.close(fd)


def _cuts(trace: Trace) -> list[int]:
    """Where a write was done that no flush followed yet."""
    return [n for n in range(trace.start + 1, len(trace.writes) + 1) if trace.writes[n - 1].data]


def _parts(write: Write, rng: random.Random) -> list[Write]:
    """Some of its sectors."""
    return [
        Write(write.offset + at, write.data[at : at + SECTOR], write.end)
        for at in range(0, len(write.data), SECTOR)
        if rng.random() < 0.5
    ]


def _blocks(image: Path) -> list[Write]:
    """The blocks that are not empty."""
    data = image.read_bytes()
    empty = bytes(_BLOCK)
    return [
        Write(at, block, 0)
        for at in range(0, len(data), _BLOCK)
        if (block := data[at : at + _BLOCK]) != empty
    ]

"""A disk refuses writes in the middle of an fsync, on real file systems.

After that the kernel takes the pages for clean: the next fsync of the same file says that all is
well, and the bytes are only in memory. The last tests show that of these very disks.
"""

from __future__ import annotations

import errno
import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple
from unittest import mock

import pytest

import timelog
from tests.faults import disks, report
from tests.faults.disks import FOREVER, Disk
from tests.faults.mounts import Mount, mounted_file
from tests.faults.oracle import Booted
from tests.rig import abandon, contents
from timelog import rotate
from timelog.storage import Storage

pytestmark = pytest.mark.timeout(300)

KINDS = ("ext4", "xfs", "btrfs")
T = 1_700_000_000
DAY = 86_400


class Place(NamedTuple):
    """Whose fsync fails: the first of a path for which ``is_it``, while ``at`` is stored."""

    is_it: Callable[[Path], bool]
    at: int = T


PLACES = {
    "data": Place(lambda path: path.suffix == ".jsonl"),
    "new file": Place(lambda path: path.suffix == ".jsonl", T + 60),
    "directory": Place(Path.is_dir),
    "journal": Place(lambda path: path.suffix == ".journal"),
}


class Extent(NamedTuple):
    """How many writes of the fsync pass; how many fail then; whether it fails for ever after."""

    passes: int
    failures: int
    lasts: bool = False


EXTENTS = {
    "one write": Extent(0, 1),
    "all writes": Extent(0, FOREVER),
    "all but one write": Extent(1, FOREVER),
    "lasting": Extent(0, FOREVER, lasts=True),
}
# XFS stores a directory in one write, so that no other is left to fail.
IMPOSSIBLE = ("xfs", "directory", "all but one write")


class Failing(Storage):
    """Lets the disk fail in the next fsync of a place."""

    # One after the other: no other fsync is to meet the failure.
    syncs_at_once = 1

    def __init__(self, disk: Disk) -> None:
        super().__init__()
        self.disk = disk
        self.raised = False
        self._place: Place | None = None
        self._extent = Extent(0, 0)

    def arm(self, place: Place, extent: Extent) -> None:
        """Let the next fsync of the place fail."""
        self._place, self._extent = place, extent

    def sync(self, fd: int) -> None:
        """As `Storage.sync`; the disk is well again afterwards, if that is not to last."""
        place, extent = self._place, self._extent
        if place is None or not place.is_it(Path(os.readlink(f"/proc/self/fd/{fd}"))):
            super().sync(fd)
            return
        self._place = None
        self.disk.fail(extent.failures, after=extent.passes)
        try:
            super().sync(fd)
        except OSError:
            self.raised = True
            raise
        finally:
            if not extent.lasts:
                self.disk.heal()


class Bench:
    """A log on a disk that can fail, what it acknowledged, and copies of the disk to look at."""

    def __init__(self, disk: Disk, mount: Mount, storage: Failing, sync: str) -> None:
        self.disk = disk
        self.mount = mount
        self.storage = storage
        self.remounts = 0
        self.acknowledged: list[str] = []
        # In memory after an error, or committed and not synced.
        self.waiting: list[str] = []
        # Each with what was acknowledged then.
        self.copies: list[tuple[Path, list[str]]] = []
        self.log = timelog.open(
            mount.path / "log",
            flush_interval=3600.0,
            text_index=False,
            scrub_interval=0,
            sync=sync,
            storage=storage,
        )

    def append(self, content: str, at: int) -> None:
        """Append durably, or let it wait."""
        try:
            self.log.append(content, timestamp=at, sync=True)
        except timelog.errors.StorageError:
            self.waiting.append(content)
        else:
            self.acknowledged.append(content)

    def commit(self, content: str, at: int) -> None:
        """Append and commit, but do not sync."""
        self.log.append(content, timestamp=at)
        self.log.flush()
        self.waiting.append(content)

    def copy(self) -> None:
        """Keep the disk as it would be if the power went now."""
        copy = self.disk.image.with_suffix(f".{len(self.copies)}")
        subprocess.run(["cp", "--sparse=always", self.disk.image, copy], check=True)
        self.copies.append((copy, self.acknowledged.copy()))

    def heal(self) -> None:
        """Let the disk work, mount it anew where the file system has given up, and go on."""
        self.disk.heal()
        self._work(self.log.reopen)
        self.log.append("last", timestamp=T + 180)
        self._work(self.log.sync)
        self.acknowledged += [*self.waiting, "last"]
        self.waiting.clear()

    def _work(self, action: Callable[[], None]) -> None:
        try:
            action()
        except timelog.errors.StorageError:
            self.mount.remount()
            self.remounts += 1
            self.log.reopen()


@contextmanager
def bench(
    kind: str, base: Path, make: Callable[[Disk], Failing] = Failing, sync: str = "flush"
) -> Iterator[Bench]:
    """A log with two events; at the end the disk is looked at, and so is each copy of it."""
    with disks.served(kind, base) as disk:
        with mounted_file(kind, disk.file, base) as mount:
            found = Bench(disk, mount, make(disk), sync)
            store = found.append if sync == "flush" else found.commit
            store("first", T)
            store("second", T)
            try:
                yield found
            finally:
                abandon(found.log)
            mount.unmount()
        found.copy()
    for image, acknowledged in found.copies:
        with mounted_file(kind, image, base) as mount:
            there = contents(mount.path / "log", storage=Booted("another boot"))
        image.unlink()
        assert there[: len(acknowledged)] == acknowledged
    # Of the last one.
    assert there == acknowledged


def _need(kind: str, what: str) -> None:
    reason = disks.reason_not_to(kind)
    if reason:
        pytest.skip(f"NOT RUN: {what} on {kind}: {reason}")


@pytest.mark.parametrize("where", PLACES)
@pytest.mark.parametrize("kind", KINDS)
def test_a_failed_fsync_loses_nothing_that_was_acknowledged(
    ram: Path, kind: str, where: str
) -> None:
    """Nor what was not, in the end; and where the repair fails too, the log says so."""
    _need(kind, f"{len(EXTENTS)} failed fsyncs ({where})")
    place = PLACES[where]
    extents = {n: each for n, each in EXTENTS.items() if (kind, where, n) != IMPOSSIBLE}
    remounts = degraded = 0
    for name, extent in extents.items():
        base = ram / name
        base.mkdir()
        with bench(kind, base) as it:
            it.storage.arm(place, extent)
            # With checkpoints, whose directory is synced after the commit.
            with mock.patch.object(rotate, "MOST_COMMITS", 1 if where == "directory" else 1000):
                it.append("third", place.at)
                assert it.disk.failed
                if where != "directory":
                    assert it.waiting == ["third"]
                if it.storage.raised:
                    assert it.log.health().status != "healthy"
                else:
                    # A file system may find another place for what it could not write.
                    assert (kind, where, name) == ("btrfs", "directory", "one write")
                it.copy()
                if extent.lasts:
                    it.append("fourth", T + 120)
                    degraded += _assert_degraded(it)
                    it.copy()
                it.heal()
                assert it.log.health().status == "healthy"
            if where == "data" and name == "one write":
                assert list(it.mount.path.glob("log/*/*.2.jsonl")), "the same file was used again"
            remounts += it.remounts
    report.record(
        f"failed fsyncs on {kind}, {where}: {len(extents)}; after {remounts} the file system had "
        f"to be mounted anew, after {degraded} the log was degraded"
    )


@pytest.mark.parametrize("where", ["data", "journal"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_failed_fsync_of_what_was_committed_before_loses_nothing(
    ram: Path, kind: str, where: str
) -> None:
    """Of a log with ``sync="off"``: the kernel has it in memory only, and will not store it."""
    extents = [extent for extent in EXTENTS.values() if not extent.passes]
    _need(kind, f"{len(extents)} failed fsyncs (earlier {where})")
    remounts = degraded = 0
    for number, extent in enumerate(extents):
        base = ram / str(number)
        base.mkdir()
        with bench(kind, base, sync="off") as it:
            it.storage.arm(PLACES[where], extent)
            it.append("third", T)
            assert it.storage.raised
            assert it.waiting == ["first", "second", "third"]
            it.copy()
            if extent.lasts:
                degraded += _assert_degraded(it)
                it.copy()
            it.heal()
            assert it.log.health().status == "healthy"
            remounts += it.remounts
    report.record(
        f"failed fsyncs on {kind}, {where} of earlier commits: {len(extents)}; after {remounts} "
        f"the file system had to be mounted anew, after {degraded} the log was degraded"
    )


def _assert_degraded(it: Bench) -> bool:
    """Nothing can be flushed and the log says so; False where not even a repair can begin."""
    with pytest.raises(timelog.errors.StorageError) as raised:
        it.log.sync()
    assert it.log.health().status == "critical"
    if not isinstance(raised.value, timelog.errors.DegradedError):
        # The file system itself has given up: the lock cannot be taken, perhaps nothing be read.
        assert raised.value.errno in (errno.EROFS, errno.EIO)
        return False
    with pytest.raises(timelog.errors.DegradedError):
        it.log.append("refused", timestamp=T + 150)
    assert [event.content for event in it.log.search()] == it.acknowledged + it.waiting
    return True


# -- the rig can fail ---------------------------------------------------------------------


class Trusting(Failing):
    """Tries a failed fsync again, and believes the second."""

    def sync(self, fd: int) -> None:
        """As `Failing.sync`, twice where it fails."""
        try:
            super().sync(fd)
        except OSError:
            super().sync(fd)


@pytest.mark.parametrize("where", ["data", "new file", "journal"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_storage_that_repeats_a_failed_fsync_is_found_out(
    ram: Path, kind: str, where: str
) -> None:
    _need(kind, f"the negative control of a repeated fsync ({where})")
    with pytest.raises((AssertionError, timelog.TimelogError)) as found:  # noqa: SIM117
        with bench(kind, ram, Trusting) as it:
            it.storage.arm(PLACES[where], EXTENTS["one write"])
            it.append("third", PLACES[where].at)
            failed, acknowledged = it.disk.failed, it.acknowledged.copy()
    assert failed
    assert acknowledged == ["first", "second", "third"]
    report.record(
        f"negative control on {kind}, a repeated fsync ({where}): {str(found.value)[:60]!r}"
    )

"""The commit protocol under faults: every disk call fails, is torn, or is the last, once each.

The storage seam is replaced; the disk below is real. What the wider fault programme will do with
whole processes and devices, this does for every single step of the protocol.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

import timelog
from tests.rig import FaultyStorage, Killed, abandon, check, contents
from timelog import rotate

DAY = 86_400
# Two minutes of one day, a late one, and more minutes than go into files of their own.
FLUSHES = [
    [("a1", 0), ("a2", 61), ("a3", 5)],
    [("b1", 30), ("b2", DAY + 1)],
    [(f"c{n}", n * 60) for n in range(20)],
    [("d1", 10)],
]


class Workload:
    """Flush by flush, with a note of what was issued and acknowledged."""

    def __init__(self, path: Path, storage: FaultyStorage) -> None:
        self.path = path
        self.storage = storage
        self.issued: list[str] = []
        self.acknowledged: list[str] = []
        self.flushes: list[list[str]] = []
        self.errors: list[Exception] = []
        self.log: timelog.EventLog | None = None

    def run(self) -> None:
        """Do all of it; errors are noted, `Killed` ends it."""
        self.log = log = timelog.open(self.path, flush_interval=3600.0, storage=self.storage)
        for flush in FLUSHES:
            names = [name for name, _ in flush]
            self.issued += names
            self.flushes.append(names)
            log.append_many({"content": name, "timestamp": time} for name, time in flush)
            try:
                log.sync()
            except timelog.TimelogError as error:
                self.errors.append(error)
            else:
                self.acknowledged = list(self.issued)
        log.close()


def run_once(path: Path, at: int, fault: str, *, sticky: bool = False) -> Workload:
    """Run the workload with one fault; return it, abandoned where it was killed."""
    workload = Workload(path, FaultyStorage(at, fault, sticky=sticky))
    try:
        workload.run()
    except Killed:
        if workload.log is not None:
            abandon(workload.log)
    return workload


@pytest.fixture(autouse=True)
def often_rotated(monkeypatch: pytest.MonkeyPatch) -> None:
    """Checkpoints come within the workload, not after thousands of commits."""
    monkeypatch.setattr(rotate, "MOST_COMMITS", 3)


def every_call(ram: Path) -> int:
    """How many disk calls the workload makes."""
    workload = run_once(ram / "counted", 0, "kill")
    assert not workload.errors
    return len(workload.storage.calls)


@pytest.mark.parametrize("fault", ["kill", "torn"])
def test_killed_at_every_disk_call(ram: Path, fault: str) -> None:
    total = every_call(ram)
    assert total > 60
    for at in range(1, total + 1):
        workload = run_once(ram / str(at), at, fault)
        assert workload.storage.happened()
        try:
            check(
                contents(workload.path),
                workload.acknowledged,
                workload.issued,
                workload.flushes,
            )
        except AssertionError as error:
            raise AssertionError(f"{fault} at call {at}, {workload.storage.calls[-1]}") from error


def test_killed_again_at_every_disk_call_of_the_repair(ram: Path) -> None:
    """The repair itself is cut at each of its calls, for several places of the first kill."""
    total = every_call(ram)
    for first in range(3, total, 7):
        for second in range(1, 60):
            path = ram / f"{first}-{second}"
            workload = run_once(path, first, "torn")
            storage = FaultyStorage(second, "torn")
            try:
                timelog.open(path, flush_interval=3600.0, storage=storage).close()
            except Killed:
                pass
            try:
                check(contents(path), workload.acknowledged, workload.issued, workload.flushes)
            except AssertionError as error:
                raise AssertionError(f"torn at call {first}, then at {second}") from error
            if not storage.happened():
                break


@pytest.mark.parametrize("fault", ["EIO", "ENOSPC"])
@pytest.mark.parametrize("sticky", [False, True], ids=["once", "sticky"])
def test_an_error_at_every_disk_call_is_told_and_made_good(
    ram: Path, fault: str, sticky: bool
) -> None:
    """After the disk is well again, everything is stored once, without reopening the log."""
    total = every_call(ram)
    for at in range(1, total + 1):
        storage = FaultyStorage(at, fault, sticky=sticky)
        workload = Workload(ram / f"{at}", storage)
        try:
            workload.run()
        except timelog.TimelogError as error:
            workload.errors.append(error)
        assert storage.happened()
        log = workload.log
        storage.heal()
        if log is None:
            # Nothing was opened, so nothing was acknowledged; the next attempt works.
            assert not workload.issued
            assert contents(workload.path) == []
            continue
        if not log.is_closed:
            if log._store.flusher.committer.degraded is not None:
                with pytest.raises(timelog.errors.DegradedError):
                    log.append("while degraded")
                log.reopen()
            log.append_many([{"content": "after", "timestamp": 0}])
            workload.issued.append("after")
            log.sync()
            log.close()
        try:
            found = contents(workload.path)
            check(found, workload.acknowledged, workload.issued, workload.flushes)
            assert set(found) == set(workload.issued), "a buffered event was not stored"
            if sticky:
                assert workload.errors, "nobody was told"
        except AssertionError as error:
            raise AssertionError(
                f"{fault} {'sticky ' if sticky else ''}at call {at}, {storage.calls[at - 1]}"
            ) from error


def test_no_descriptor_is_left_open_by_faults(ram: Path) -> None:
    before = len(os.listdir("/proc/self/fd"))
    for at in range(1, every_call(ram), 5):
        run_once(ram / str(at), at, "torn")
    assert len(os.listdir("/proc/self/fd")) == before


def test_bytes_of_a_killed_flush_go_to_quarantine_and_are_not_served(ram: Path) -> None:
    path = ram / "log"
    storage = FaultyStorage()
    log = timelog.open(path, flush_interval=3600.0, storage=storage)
    log.append("kept", timestamp=0, sync=True)
    log.append("torn", timestamp=1)
    storage.arm("torn", only="write")
    with pytest.raises(Killed):
        log.flush()
    abandon(log)
    segment = path / "1970-01-01" / "19700101T0000Z-19700101T0001Z.jsonl"
    assert not segment.read_bytes().endswith(b"\n"), "the write was not torn"
    assert contents(path) == ["kept"]
    assert segment.read_bytes().endswith(b'"kept"}\n')
    kept = list((path / ".timelog" / "quarantine").iterdir())
    assert len(kept) == 1 and kept[0].read_bytes().startswith(b'{"timestamp"')
    with timelog.open(path, flush_interval=3600.0) as again:
        again.append("more", timestamp=2, sync=True)
    assert (segment.parent / "19700101T0000Z-19700101T0001Z.2.jsonl").exists()


def test_a_failed_fsync_is_not_repeated_on_the_same_file(ram: Path) -> None:
    """The batch goes to new files: the old one's pages may be clean and yet not on the disk."""
    path = ram / "log"
    storage = FaultyStorage()
    log = timelog.open(path, flush_interval=3600.0, storage=storage)
    log.append("first", timestamp=0, sync=True)
    log.append("second", timestamp=1)
    storage.arm("EIO", only="sync")
    with pytest.raises(timelog.errors.StorageError, match="input/output error"):
        log.sync()
    assert [event.content for event in log.search()] == ["first", "second"]
    log.sync()
    log.close()
    files = sorted(file.name for file in (path / "1970-01-01").iterdir())
    assert files == ["19700101T0000Z-19700101T0001Z.2.jsonl", "19700101T0000Z-19700101T0001Z.jsonl"]
    assert contents(path) == ["first", "second"]

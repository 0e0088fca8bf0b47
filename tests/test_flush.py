"""The flusher: what one flush writes where, and what it asks of the disk."""

from __future__ import annotations

import errno
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

import timelog
from tests.rig import FaultyStorage
from timelog import flush
from timelog.errors import StorageError
from timelog.storage import Storage

Open = Callable[..., timelog.EventLog]
T = 1_700_000_000 - 1_700_000_000 % 86_400


def files(path: Path) -> list[str]:
    return sorted(file.name for file in path.glob("[0-9]*/*"))


def test_a_flush_of_two_spans_is_one_commit(open_log: Open) -> None:
    log = open_log()
    log.append("a", timestamp=T)
    log.append("b", timestamp=T + 3600)
    log.flush()
    assert log._store.index.sequence == 1
    assert log.health().flushes == 1 and log.health().flushed_events == 2


def test_a_flush_of_nothing_writes_nothing(open_log: Open) -> None:
    storage = FaultyStorage()
    log = open_log(storage=storage)
    before = len(storage.calls)
    log.flush()
    log.sync()
    assert len(storage.calls) == before


def test_the_steps_of_a_durable_flush_come_in_their_order(open_log: Open, path: Path) -> None:
    """Mark, block, its file, the directories above, record, journal, and the mark goes."""
    seen: list[str] = []

    class Watched(Storage):
        def overwrite(self, fd: int, data: bytes, offset: int) -> None:
            seen.append("mark" if b"busy\xc0" not in data else "no mark")
            super().overwrite(fd, data, offset)

        def write(self, fd: int, *parts: bytes) -> None:
            seen.append("record" if parts[0].startswith(b"tlJ1") else "block")
            super().write(fd, *parts)

        def sync(self, fd: int) -> None:
            seen.append("sync")
            super().sync(fd)

    log = open_log(storage=Watched())
    log.append("first", timestamp=T - 86_400)
    seen.clear()
    log.flush()
    # Once for each journal file, its name, before anything relies on it.
    assert seen[:2] == ["mark", "sync"]
    seen.clear()
    log.append("a", timestamp=T)
    log.flush()
    # New file: the segment, its partition, the log's directory; then the journal.
    assert seen == ["mark", "block", "sync", "sync", "sync", "record", "sync", "no mark"]
    seen.clear()
    log.append("b", timestamp=T)
    log.flush()
    assert seen == ["mark", "block", "sync", "record", "sync", "no mark"]


def test_many_minutes_of_a_day_go_into_one_file(open_log: Open, path: Path) -> None:
    log = open_log()
    log.append_many({"content": str(n), "timestamp": T + n * 60} for n in range(16))
    log.flush()
    assert len(files(path)) == 16
    log.append_many({"content": str(n), "timestamp": T + n * 60} for n in range(17))
    log.flush()
    assert len(files(path)) == 17 and files(path)[1].endswith("15T0000Z.jsonl")


def test_late_events_that_trickle_in_share_a_file(open_log: Open, path: Path) -> None:
    """The file of a late event stays open as long as an ordinary one, whatever its span."""
    log = open_log()
    log.append("now", sync=True)
    for n in range(5):
        log.append(f"late {n}", timestamp=T, sync=True)
    assert len(files(path)) == 2


def test_a_sealed_span_goes_on_in_a_next_file(open_log: Open, path: Path) -> None:
    class Clock(Storage):
        now = (T + 10) * 10**9

        def __init__(self) -> None:
            super().__init__()
            self.time_ns = lambda: self.now  # type: ignore[method-assign,assignment]

    storage = Clock()
    log = open_log(storage=storage)
    log.append("on time", sync=True)
    storage.now += 180 * 10**9
    log.append("later", sync=True)
    log.append("late", timestamp=T + 20, sync=True)
    storage.now -= 3600 * 10**9
    for n in range(3):
        log.append(f"the clock went back {n}", timestamp=T + 30, sync=True)
    assert [name.split("Z", 2)[2] for name in files(path)] == [".2.jsonl", ".jsonl", ".jsonl"]
    assert [event.content for event in log.search(T, T + 25)] == ["on time", "late"]


def test_bytes_that_others_appended_are_left_alone(open_log: Open, path: Path) -> None:
    log = open_log()
    log.append("a", timestamp=T, sync=True)
    [segment] = path.glob("[0-9]*/*")
    with segment.open("ab") as file:
        file.write(b"by other means\n")
    log.append("b", timestamp=T, sync=True)
    assert segment.read_bytes().endswith(b"by other means\n")
    assert [event.content for event in log.search()] == ["a", "b"]
    assert len(files(path)) == 2


def test_a_foreign_file_in_the_place_of_a_segment_is_not_touched(
    open_log: Open, path: Path
) -> None:
    log = open_log()
    log.append("a", timestamp=T + 60, sync=True)
    partition = path / "2023-11-14"
    planted = partition / "20231114T0000Z-20231114T0001Z.jsonl"
    planted.write_text("mine\n")
    log.append("b", timestamp=T, sync=True)
    assert planted.read_text() == "mine\n"
    assert [event.content for event in log.search()] == ["b", "a"]


def test_a_segment_that_is_large_enough_is_followed_by_another(
    open_log: Open, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(flush, "SEGMENT_SIZE", 500)
    log = open_log()
    for _ in range(10):
        log.append("x" * 100, timestamp=T, sync=True)
    assert len(files(path)) > 3
    assert log.search().count() == 10


def test_threads_that_sync_together_share_flushes(open_log: Open) -> None:
    """What all put in while one of them flushes is stored by the next flush."""
    all_are_in = threading.Barrier(16)

    class Waits(Storage):
        """Its first sync ends when everybody has put an event in."""

        is_first = True

        def sync(self, fd: int) -> None:
            super().sync(fd)
            if self.is_first:
                self.is_first = False
                wait_until(lambda: log._store.buffer.waiting == 16)

    log = open_log()
    storage = Waits()
    log._store.flusher._storage = storage

    def work(worker: int) -> None:
        all_are_in.wait(30)
        log.append(str(worker), timestamp=T, sync=True)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert log.search().count() == 16
    assert log.health().flushes in (1, 2)


def wait_until(holds: Callable[[], bool]) -> None:
    """Look again and again, for half a minute at most."""
    paused = threading.Event()
    for _ in range(30_000):
        if holds():
            return
        paused.wait(0.001)
    raise AssertionError("it never came")


def test_a_failed_batch_keeps_its_number_and_what_came_later_its_own(open_log: Open) -> None:
    storage = FaultyStorage()
    log = open_log(storage=storage)
    log.append("one", timestamp=T)
    storage.arm("EIO", only="sync")
    with pytest.raises(StorageError, match="input/output error"):
        log.flush()
    storage.heal()
    log.append("two", timestamp=T)
    log.flush()
    assert [event.content for event in log.search()] == ["one", "two"]
    assert log._store.index.sequence == 2, "the batch that failed was not merged with the next"


def test_a_leader_that_could_not_say_that_it_ended_stops_nobody(
    open_log: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of threads that sync one flushes; an interrupt may come before it hands on."""
    monkeypatch.setattr(flush, "_PATIENCE", 0.01)
    log = open_log()
    log.append("waits")
    log._store.flusher._leader = -1
    log.sync()
    assert log._store.buffer.waiting == 0 and log._store.flusher._leader is None


def test_who_waits_for_a_flush_that_fails_tries_again_itself(open_log: Open) -> None:
    """The error is told to who led the flush, and to the next where it fails again."""
    storage = FaultyStorage()
    log = open_log(storage=storage)
    log.append("before", sync=True)
    failing = threading.Event()
    may_fail = threading.Event()

    def fails(fd: int, *parts: bytes) -> None:
        failing.set()
        may_fail.wait(30)
        raise OSError(errno.EIO, "an error")

    errors: list[Exception] = []

    def lead() -> None:
        try:
            log.sync()
        except StorageError as error:
            errors.append(error)

    log.append("both wait for it")
    storage.write = fails  # type: ignore[method-assign]
    leader, follower = (threading.Thread(target=act) for act in (lead, log.sync))
    leader.start()
    assert failing.wait(30)
    follower.start()
    del storage.write  # type: ignore[attr-defined]
    may_fail.set()
    for thread in (leader, follower):
        thread.join(30)
        assert not thread.is_alive()
    assert len(errors) == 1
    assert [event.content for event in log.search()] == ["before", "both wait for it"]
    assert log.verify().ok and log.health().waiting == 0

"""Commits: what is put in place whole, what the clock says, and what an unfinished one leaves."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

import timelog
from tests.clocked import Clocked
from tests.rig import FaultyStorage, Killed, abandon
from tests.test_compaction import NOW, Clock
from timelog.commit import Committer, Draft
from timelog.errors import StorageError
from timelog.journal import Block, Commit
from timelog.lock import read_state
from timelog.timestamp import DAY, HOUR, MINUTE, SECOND

Open = Callable[..., timelog.EventLog]
FILES = ("2022-01-08/20220108T0000Z-20220109T0000Z.jsonl",)


class Faulty(FaultyStorage):
    """One of which the clocks are set by hand."""

    us = NOW
    seconds = 1000.0

    def time_ns(self) -> int:
        return self.us * 1000

    def uptime(self) -> float:
        return self.seconds


def whole(log: timelog.EventLog, then: Callable[[], object]) -> Draft:
    """A commit that puts a file in place, and then does something."""
    path = log.path / FILES[0]

    def write(position: int) -> Sequence[Block]:
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"not committed\n")
        then()
        return ()

    return Draft(FILES, write, is_whole=True)


def fail() -> None:
    raise StorageError(5, "the disk is full")


def kill() -> None:
    raise Killed


def make(log: timelog.EventLog, draft: Draft) -> Commit:
    committer: Committer = log._store.flusher.committer
    return committer.exclusive(lambda: committer.commit(draft, durable=True))


@pytest.mark.parametrize("then", [fail, kill])
def test_files_that_are_whole_go_where_they_were_not_committed(
    path: Path, then: Callable[[], object]
) -> None:
    """Of a flush such bytes would go to quarantine: these hold nothing that is not elsewhere."""
    log = timelog.open(path, storage=Clock(), flush_interval=3600.0)
    log.append("kept", timestamp=0, sync=True)
    with pytest.raises((StorageError, Killed)):
        make(log, whole(log, then))
    assert (path / FILES[0]).exists()
    if then is kill:
        abandon(log)
        log = timelog.open(path, storage=Clock(), flush_interval=3600.0)
    log.append("more", timestamp=1, sync=True)
    assert not (path / FILES[0]).exists()
    assert not list(log._store.layout.quarantine.iterdir())
    assert [event.content for event in log.search()] == ["kept", "more"]
    assert log.verify(deep=True).ok
    log.close()


def test_files_that_are_whole_go_after_a_boot_as_well(path: Path) -> None:
    """The mark is synced before the first of them is put in place."""
    storage = Clocked()
    log = timelog.open(path, storage=storage, flush_interval=3600.0)
    log.append("kept", timestamp=0, sync=True)
    with pytest.raises(Killed):
        make(log, whole(log, kill))
    abandon(log)
    storage.boot = "boot two"
    with timelog.open(path, storage=storage) as log:
        assert not (path / FILES[0]).exists()
        assert not list(log._store.layout.quarantine.iterdir())
        assert [event.content for event in log.search()] == ["kept"]


def test_files_of_a_flush_that_are_not_whole_are_kept_in_quarantine(path: Path) -> None:
    log = timelog.open(path, storage=Clock(), flush_interval=3600.0)
    draft = whole(log, fail)
    with pytest.raises(StorageError):
        make(log, Draft(draft.files, draft.write))
    log.append("more", timestamp=1, sync=True)
    [kept] = log._store.layout.quarantine.iterdir()
    assert kept.read_bytes() == b"not committed\n"
    log.close()


def test_the_commit_says_the_time_that_can_be_trusted_where_the_clock_jumped(
    path: Path,
) -> None:
    storage = Faulty()
    log = timelog.open(path, storage=storage, flush_interval=3600.0)
    assert make(log, Draft()).clock == 0
    storage.us += HOUR
    assert make(log, Draft()).clock == 0, "an hour is no jump"
    storage.us += 90 * DAY
    storage.seconds += 60
    jumped = make(log, Draft())
    assert jumped.time == storage.us
    assert jumped.clock == log._store.index.removal.trusted
    assert abs(jumped.clock - (NOW + 60 * SECOND)) <= HOUR
    assert log._store.flusher.committer.clock_doubt(storage.us)
    log.close()


def test_what_is_trusted_lasts_as_long_as_the_machine_runs(path: Path) -> None:
    """Every process of a boot sees the same jump, whoever commits."""
    storage = Faulty()
    with timelog.open(path, storage=storage, flush_interval=3600.0) as log:
        make(log, Draft())
        first = read_state(storage, log._store.layout.lock)
        assert first is not None and first.clock is not None
    storage.us += 90 * DAY
    with timelog.open(path, storage=storage, flush_interval=3600.0) as log:
        assert log._store.flusher.committer.clock_doubt(storage.us)
        log.append("a day of a wrong clock", sync=True)
        assert log._store.flusher.committer.clock_doubt(storage.us)
    with timelog.open(path, storage=storage, flush_interval=3600.0) as log:
        committer = log._store.flusher.committer
        assert committer.clock_doubt(storage.us)
        committer.exclusive(lambda: committer.commit(Draft(), durable=True, confirm_clock=True))
        assert not committer.clock_doubt(storage.us)
    with timelog.open(path, storage=storage, flush_interval=3600.0) as log:
        assert not log._store.flusher.committer.clock_doubt(storage.us)


def test_nothing_is_committed_where_the_lock_was_exchanged(path: Path) -> None:
    log = timelog.open(path, storage=Clock(), flush_interval=3600.0)
    log.append("kept", timestamp=0, sync=True)
    lock = log._store.layout.lock
    with pytest.raises(StorageError, match="removed or replaced"):
        make(log, whole(log, lambda: (lock.unlink(), lock.touch())))
    assert log._store.index.sequence == 1
    log.append("more", timestamp=0, sync=True)
    assert log.search().count() == 2
    log.close()


def test_several_commits_may_be_made_without_others_between(path: Path) -> None:
    log = timelog.open(path, storage=Clock(), flush_interval=3600.0)
    committer = log._store.flusher.committer

    def both() -> tuple[int, int]:
        one = committer.commit(Draft(cursors={"a": b"\x01"}), durable=True)
        two = committer.commit(Draft(cursors={"a": b"\x02"}), durable=True)
        return one.sequence, two.sequence

    assert committer.exclusive(both) == (1, 2)
    assert log.cursor("a") == 2
    assert log._store.index.sealed_before == NOW - NOW % MINUTE - MINUTE
    log.close()

"""`Store`: starting, stopping and abandoning the parts of a log."""

from __future__ import annotations

import errno
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

import timelog
from timelog import store
from timelog.errors import DamagedError, StorageError
from timelog.storage import Storage

Open = Callable[..., timelog.EventLog]


def timers(name: str = "timelog-flush") -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == name]


def test_no_thread_runs_before_there_is_something_to_flush(path: Path) -> None:
    before = len(timers())
    log = timelog.open(path, flush_interval=3600)
    assert log.search().count() == 0
    assert len(timers()) == before
    log.append("x")
    assert len(timers()) == before + 1
    log.close()
    assert len(timers()) == before


def test_the_thread_that_indexes_begins_after_a_background_flush_and_ends_with_the_log(
    path: Path,
) -> None:
    """Not with the log, and not with a flush that was asked for: short programs have none."""
    before = len(timers("timelog-index"))
    log = timelog.open(path, flush_interval=3600)
    log.append("x", sync=True)
    log.flush()
    assert len(timers("timelog-index")) == before
    for _ in range(2):
        log._store._flush_in_background()
        assert len(timers("timelog-index")) == before + 1
    log.close()
    assert len(timers("timelog-index")) == before


def test_no_thread_indexes_where_none_is_wanted(open_log: Open) -> None:
    before = len(timers("timelog-index"))
    log = open_log(text_index=False)
    log.append("x")
    log._store._flush_in_background()
    assert log.position == 1
    assert len(timers("timelog-index")) == before


def test_a_closed_log_is_forgotten(path: Path) -> None:
    log = timelog.open(path, flush_interval=3600)
    assert log._store in store._open_stores
    log.close()
    assert log._store not in store._open_stores


def test_a_log_that_is_dropped_unused_is_forgotten(path: Path) -> None:
    log = timelog.open(path, flush_interval=3600)
    kept = log._store
    del log
    assert kept not in store._open_stores and kept.is_closed


def test_the_parts_of_two_logs_are_refused(open_log: Open, path: Path, tmp_path: Path) -> None:
    open_log().close()
    open_log(tmp_path / "other").close()
    journal = ".timelog/journal/0000000001.journal"
    (path / journal).write_bytes((tmp_path / "other" / journal).read_bytes())
    for mode in ("a", "r"):
        with pytest.raises(DamagedError, match="different logs"):
            open_log(mode=mode)


def test_closing_from_several_threads_closes_once(open_log: Open) -> None:
    log = open_log()
    log.append("x")
    threads = [threading.Thread(target=log.close) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert log.is_closed
    assert [event.content for event in open_log(mode="r").search()] == ["x"]


def test_a_disk_that_fails_when_a_log_is_opened_is_told_as_such(path: Path) -> None:
    """Also where it is looked whether the log is a snapshot."""

    class Failing(Storage):
        def exists(self, path: Path) -> bool:
            raise OSError(errno.EIO, "Input/output error")

    timelog.open(path).close()
    with pytest.raises(StorageError, match="opening"):
        timelog.open(path, storage=Failing())

"""Files go after the commit that removed their events: those of the log, and no others."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import timelog
from tests.plain import START, check_books, files
from tests.rig import FaultyStorage, Killed, abandon
from tests.test_compaction import NOW, Clock
from timelog import sweep
from timelog.compaction import Compaction
from timelog.names import partition, trashed
from timelog.timestamp import DAY, MINUTE, to_datetime

Open = Callable[..., timelog.EventLog]
OPTIONS: dict[str, Any] = {"flush_interval": 3600.0, "text_index": False, "scrub_interval": 0}
FIRST_DAY = partition(START)


class Faulty(FaultyStorage):
    """One of which the clock stands still."""

    def time_ns(self) -> int:
        return NOW * 1000


def make(path: Path, storage: Clock | None = None) -> timelog.EventLog:
    """A log of two days with three segments each."""
    log = timelog.open(path, storage=storage or Clock(), **OPTIONS)
    for n in range(6):
        when = to_datetime(START + n // 3 * DAY + n % 3 * MINUTE)
        log.append(str(n), timestamp=when, sync=True)
    return log


def test_a_partition_goes_whole(path: Path) -> None:
    with make(path) as log:
        log.expire(age="99 days")
        assert not (path / FIRST_DAY).exists()
        assert not list(log._store.layout.trash.iterdir())
        assert len(files(path)) == 3


def test_what_others_put_into_a_partition_stays(path: Path) -> None:
    with make(path) as log:
        day = path / FIRST_DAY
        (day / "notes.txt").write_text("mine")
        (day / "directory").mkdir()
        (day / "20220108T0007Z-20220108T0008Z.jsonl").mkdir()
        log.expire(age="99 days")
        assert sorted(each.name for each in day.iterdir()) == [
            "20220108T0007Z-20220108T0008Z.jsonl",
            "directory",
            "notes.txt",
        ]
        assert [event.content for event in log.search()] == ["3", "4", "5"]
        assert log.expire(age="99 days").events == 0
        assert not log._store.index.removal.segments


def test_a_link_in_the_place_of_a_partition_is_left_alone(path: Path, tmp_path: Path) -> None:
    with make(path) as log:
        elsewhere = tmp_path / "elsewhere"
        (path / FIRST_DAY).rename(elsewhere)
        (path / FIRST_DAY).symlink_to(elsewhere)
        before = sorted(elsewhere.iterdir())
        log.expire(age="99 days")
        assert (path / FIRST_DAY).is_symlink()
        assert sorted(elsewhere.iterdir()) == before
        assert log.search().count() == 3


def test_foreign_names_in_the_trash_stay(path: Path) -> None:
    with make(path) as log:
        trash = log._store.layout.trash
        strange = [trash / "mine", trash / "7-2022-13-01", trash / trashed("2022-01-01", 3)]
        for each in strange:
            each.mkdir(parents=True)
            (each / "keep").write_text("x")
        (trash / trashed("2022-01-02", 9)).write_text("a file")
        (trash / trashed("2022-01-03", 9)).symlink_to(path / partition(START + DAY))
        log.expire(age="99 days")
        assert all((each / "keep").exists() for each in strange)
        assert len(list(trash.iterdir())) == 5
        assert len(files(path)) == 3
        assert log.verify().events == 3


def test_a_day_that_came_back_is_not_what_went(path: Path) -> None:
    """Somebody else moved the partition, and events came to that day again."""
    with make(path) as log:
        index = log._store.index
        with index.lock:
            index.removal.partitions[partition(START + DAY)] = 1
        log.append("more", timestamp=to_datetime(START + DAY), sync=True)
        assert log.search().count() == 7
        assert len(files(path)) == 6
        assert not index.removal.partitions


def test_a_segment_that_was_replaced_and_is_something_else_now_stays(path: Path) -> None:
    with make(path) as log:
        index = log._store.index
        gone = files(path)[0]
        log.compact()
        gone.mkdir()
        for name in ("../outside", f"{FIRST_DAY}/notes.txt", str(gone.relative_to(path))):
            index.removal.segments[name] = None
        (path.parent / "outside").write_text("x")
        (path / FIRST_DAY / "notes.txt").write_text("x")
        sweep.clear(log._store.layout, log._store.storage, index)
        assert gone.is_dir()
        assert (path.parent / "outside").exists() and (path / FIRST_DAY / "notes.txt").exists()
        assert not index.removal.segments


def test_it_ends_when_asked_to_and_goes_on_later(path: Path) -> None:
    with make(path) as log:
        store = log._store
        old = files(path)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("timelog.compaction.clear", lambda *_: None)
            log.compact()
        assert set(old) < set(files(path))
        left = iter([False, False, True])
        sweep.clear(store.layout, store.storage, store.index, lambda: next(left, True))
        assert len(set(old) & set(files(path))) == 4
        assert log.compact() == Compaction()
        assert not set(old) & set(files(path))


@pytest.mark.parametrize("what", ["expire", "compact"])
def test_whoever_comes_next_finishes_what_a_kill_left(ram: Path, what: str) -> None:
    """A kill before each unlink, rename and sync; doing it twice changes nothing."""
    at = 0
    while True:
        at += 1
        path = ram / str(at)
        make(path).close()
        storage = Faulty(at, "kill")
        log = None
        try:
            log = timelog.open(path, storage=storage, **OPTIONS)
            log.expire(age="99 days") if what == "expire" else log.compact()
        except Killed:
            if log is not None:
                abandon(log)
        else:
            log.close()
        if not storage.happened():
            break
        for _ in range(2):
            with timelog.open(path, storage=Clock(), **OPTIONS) as again:
                again.append("x", timestamp=to_datetime(START + 2 * DAY), sync=True)
                again._store.upkeep.step(lambda: False)
                report = again.verify(deep=True)
                assert report.ok and not report.foreign, f"killed at call {at}: {report}"
                check_books(again)
                known = {
                    f"{each.path}"
                    for day in again._store.index.days.values()
                    for each in again._store.index.files(day)
                    if each.blocks
                }
                assert {str(file.relative_to(path)) for file in files(path)} == known
                trash = again._store.layout.trash
                assert not trash.exists() or not os.listdir(trash)
    assert at > 10

"""Compaction while others read, write, let events expire, compact, fork or close."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import timelog
from tests.plain import START, check_books, files
from tests.test_compaction import NOW, Clock
from timelog.compaction import Compaction
from timelog.timestamp import DAY, MINUTE, to_datetime

Open = Callable[..., timelog.EventLog]
OPTIONS: dict[str, Any] = {"text_index": False, "scrub_interval": 0}


def minutes(log: timelog.EventLog, day: int, number: int = 5) -> None:
    """One event in each of so many minutes of a day, each in a file of its own."""
    for minute in range(number):
        log.append(f"{day} {minute}", id=f"{day}-{minute}", timestamp=at(day, minute))
        log.flush()


def at(day: int, minute: int = 0) -> Any:
    return to_datetime(START + day * DAY + minute * MINUTE)


class Between(Clock):
    """Does something once, when compaction first creates a file."""

    def __init__(self, act: Callable[[], object] = lambda: None, times: int = 1) -> None:
        super().__init__()
        self.act = act
        self.times = times

    def create(self, path: Path) -> int:
        fd = super().create(path)
        if path.name.startswith("compacted-") and self.times:
            self.times -= 1
            self.act()
        return fd


def test_a_day_that_expires_meanwhile_is_no_damage(open_log: Open, path: Path) -> None:
    storage = Between()
    log = open_log(storage=storage, **OPTIONS)
    minutes(log, 0)
    minutes(log, 2)
    storage.act = lambda: log.expire(age="98 days")
    before = sum(file.stat().st_size for file in files(path)[5:])
    assert log.compact() == Compaction(1, 5, before, 1, before)
    assert [event.content for event in log.search()] == [f"2 {n}" for n in range(5)]
    health = log.health()
    assert health.ok and not health.damage, str(health)
    check_books(log)


@pytest.mark.parametrize("is_sealed", [False, True])
def test_a_late_event_of_another_process_is_not_lost(
    open_log: Open, path: Path, is_sealed: bool
) -> None:
    """It goes to a file that is being compacted, or to a next one where that takes no more."""
    storage, clock = Between(), Clock()
    log = open_log(storage=storage, **OPTIONS)
    other = open_log(storage=clock, **OPTIONS)
    minutes(log, 0)
    if is_sealed:
        storage.us = clock.us = NOW + 10 * MINUTE
    storage.act = lambda: other.append("late", timestamp=at(0, 1), sync=True)
    assert log.compact().days == is_sealed
    assert [event.content for event in log.search()] == [
        *("0 0", "0 1", "late"),
        *("0 2", "0 3", "0 4"),
    ]
    check_books(log)
    log.compact()
    assert len(files(path)) == 1
    assert log.compact() == Compaction()


def test_what_changes_again_and_again_is_left_for_next_time(open_log: Open, path: Path) -> None:
    storage = Between(times=1000)
    log = open_log(storage=storage, **OPTIONS)
    other = open_log(storage=Clock(), **OPTIONS)
    minutes(log, 0)
    minutes(log, 1)

    def delete() -> None:
        # A file that was sealed is written anew.
        left = [event.id for event in other.search(at(0), at(1))]
        if len(left) > 1:
            other.delete(left[0])

    def late() -> None:
        other.append("late", timestamp=at(0, 1), sync=True)

    storage.act = late
    log.compact()
    found = [event.content for event in log.search()]
    assert found.count("late") == 1000 - storage.times
    assert len(found) - found.count("late") == 10
    storage.act = lambda: None
    log.compact()
    assert [event.content for event in log.search()] == found
    assert len(files(path)) == 2
    check_books(log)


def broken_log(open_log: Open, path: Path, **options: Any) -> timelog.EventLog:
    """A day of many files, one of them damaged after an event of it was deleted; and a good day."""
    log = open_log(storage=Clock(), **OPTIONS, **options)
    minutes(log, 0, 8)
    minutes(log, 1, 8)
    log.delete("0-3")
    file = files(path)[3]
    file.write_bytes(file.read_bytes().replace(b"0 3", b"0 X"))
    return log


def test_a_damaged_segment_is_kept_and_told(open_log: Open, path: Path) -> None:
    log = broken_log(open_log, path)
    bad = files(path)[3]
    before = bad.read_bytes()
    done = log.compact()
    assert (done.days, done.segments, done.new_segments) == (2, 15, 2)
    assert [damage.file for damage in done.damage] == [f"{bad.parent.name}/{bad.name}"]
    assert "crc" in str(done)
    assert bad.read_bytes() == before
    assert len(files(path)) == 3
    assert log.health().damage == (str(done.damage[0]),)
    assert [event.content for event in log.search()] == [
        *(f"0 {n}" for n in range(8) if n != 3),
        *(f"1 {n}" for n in range(8)),
    ]
    check_books(log)


@pytest.mark.parametrize("reopened", [False, True])
def test_a_damaged_segment_does_not_have_the_others_written_again(
    open_log: Open, path: Path, reopened: bool
) -> None:
    log = broken_log(open_log, path)
    log.compact()
    if reopened:
        log.close()
        log = open_log(storage=Clock(), **OPTIONS)
    sequence, left = log._store.index.sequence, files(path)
    for _ in range(3):
        log._store.upkeep.step(lambda: False)
        assert log.compact().days == 0
    assert log._store.index.sequence == sequence
    assert files(path) == left

"""Compaction while others read, write, let events expire, compact, fork or close."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable
from itertools import chain, islice
from pathlib import Path
from random import Random
from typing import Any

import pytest

import timelog
from tests.plain import (
    START,
    Plain,
    check_books,
    files,
    make_events,
    row_of,
    rows,
    search,
)
from tests.test_compaction import NOW, Clock
from timelog import compaction, encode, reader, rewrite, scan, segment
from timelog.compaction import Compaction
from timelog.errors import LockTimeout
from timelog.timestamp import DAY, END, MINUTE, to_datetime

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


# -- readers ------------------------------------------------------------------------------


@pytest.fixture
def in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    """Readers read and pass on a few lines at a time."""
    for module in (encode, rewrite):
        monkeypatch.setattr(module, "BLOCK_SIZE", 2000)
    monkeypatch.setattr(segment, "COALESCE", 2000)
    monkeypatch.setattr(reader, "_FIRST", 2000)
    monkeypatch.setattr(reader, "_STRETCH", 2000)
    monkeypatch.setattr(scan, "_INLINE", 1 << 40)


def crowded(log: timelog.EventLog, random: Random, flushes: int = 12) -> Plain:
    """Many events of two days, most of them at few times, many with the same id."""
    events = Plain()
    for _ in range(flushes):
        batch = [
            {
                "timestamp": at(random.randrange(2), random.choice([0, 0, 0, 7, 8, 9, 700])),
                "id": random.choice(["same", "also", f"id-{n}"]),
                "source": random.choice(["", "one"]),
                "tags": random.choice([(), ("a",)]),
                "content": f"event {n} " + "x" * random.randrange(100),
            }
            for n in range(len(events.rows), len(events.rows) + 40)
        ]
        log.append_many(batch)
        log.flush()
        events.add(batch)
    return events


@pytest.mark.parametrize("mode", ["a", "r"])
@pytest.mark.parametrize("seed", range(6))
@pytest.mark.usefixtures("in_pieces")
def test_who_reads_on_misses_nothing_and_sees_nothing_twice(
    open_log: Open, seed: int, mode: str
) -> None:
    """At any event of a search the log is compacted, and again: the old files are gone."""
    random = Random(seed)
    log = open_log(storage=Clock(), **OPTIONS)
    events = crowded(log, random)
    looking = open_log(mode=mode, storage=Clock(), **OPTIONS)
    asked: list[dict[str, Any]] = [
        {"order": order, **more}
        for order in ("asc", "desc")
        for more in ({}, {"tags": ("a",)}, {"as_of": 301}, {"limit": 333}, {"pattern": "event 3"})
    ]
    expected = [rows(events.find(**each)) for each in asked]
    results = [search(looking, each) for each in asked]
    running = [iter(each) for each in results]
    found = [[row_of(event) for event in islice(each, random.randrange(200))] for each in running]
    for step in range(3):
        # Late events, so that there is something to compact each time.
        late = [event | {"content": "late"} for event in make_events(random, 30, step * 30)]
        log.append_many(late)
        log.flush()
        log.compact(archive=random.random() < 0.5)
        for each, so_far in zip(running, found, strict=True):
            so_far += [row_of(event) for event in islice(each, random.randrange(100))]
    for each, so_far in zip(running, found, strict=True):
        so_far += map(row_of, each)
    assert found == expected
    assert not any(each.damage for each in results)
    for each, rest in zip(results, expected, strict=True):
        assert list(map(row_of, each)) == rest
        assert each.count() == len(rest)


@pytest.mark.usefixtures("in_pieces")
def test_counting_and_looking_for_the_first_go_on(open_log: Open, path: Path) -> None:
    """The files are gone behind the back of a search that knows of them already."""
    random = Random(3)
    log = open_log(storage=Clock(), **OPTIONS)
    events = crowded(log, random)
    for asked in ({"tags": ("a",)}, {"pattern": "event 4"}, {"as_of": 200, "source": "one"}):

        class Meanwhile(Clock):
            """Compacts before the third segment is opened."""

            left = 3

            def open_read(self, file: Path) -> int:
                if file.name.endswith((".jsonl", ".zst")):
                    self.left -= 1
                    if not self.left:
                        log.append("late", id="late", timestamp=at(0, 3), tags=["late"])
                        log.append("late", id="late", timestamp=at(1, 3), tags=["late"])
                        log.compact()
                return super().open_read(file)

        for what in ("count", "first_arrived", "list"):
            crowded_again(log)
            looking = open_log(mode="r", storage=Meanwhile(), **OPTIONS)
            expected = events.find(**asked)
            results = search(looking, asked)
            results = results if "as_of" in asked else search(looking, asked | {"as_of": 480})
            if what == "count":
                assert results.count() == len(expected)
            elif what == "list":
                assert list(map(row_of, results)) == rows(expected)
            else:
                arrived = results.first_arrived()
                first = min(expected, key=lambda row: row.position)
                assert arrived is not None and arrived[0] == first.position
            assert not results.damage
            assert looking._store.storage.left < 1, "nothing happened meanwhile"  # type: ignore[attr-defined]


def crowded_again(log: timelog.EventLog) -> None:
    """Segments beside the compacted ones, at several times of both days."""
    for day in (0, 1):
        for minute in (1, 650):
            log.append("more", id="more", timestamp=at(day, minute))
            log.flush()


def test_an_open_file_that_was_replaced_is_read_to_its_end(open_log: Open, path: Path) -> None:
    """A reader of another process, over and over, while events come and days are compacted."""
    program = """
import sys, timelog
with timelog.open(sys.argv[1], mode="r") as log:
    print("ready", flush=True)
    seen = 0
    for order in sys.stdin:
        found = [event.content for event in log.search(order=order.strip())]
        counted = log.search().count()
        assert len(set(found)) == len(found) >= seen, (len(set(found)), len(found), seen)
        assert counted >= len(found)
        seen = len(found)
        print(seen, flush=True)
"""
    log = open_log(storage=Clock(), **OPTIONS)
    log.append("0", timestamp=at(0), sync=True)
    reader = subprocess.Popen(
        [sys.executable, "-c", program, path],
        cwd=Path(__file__).parents[1],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert reader.stdin is not None and reader.stdout is not None
    assert reader.stdout.readline() == "ready\n"
    count = 1
    for round in range(9):
        reader.stdin.write(("asc", "desc")[round % 2] + "\n")
        reader.stdin.flush()
        for n in range(5):
            log.append(str(count), timestamp=at(n % 3, 37 * n), sync=True)
            count += 1
        log.compact(archive=round % 3 == 2)
        seen = int(reader.stdout.readline())
        assert count - 5 <= seen <= count
    reader.stdin.close()
    assert reader.wait(60) == 0
    reader.stdout.close()


# -- writers, and others that compact -----------------------------------------------------


def test_writers_go_on_meanwhile(open_log: Open, path: Path) -> None:
    log = open_log(storage=Clock(), flush_interval=0.01, **OPTIONS)
    minutes(log, 0)
    written: list[list[str]] = [[], [], []]
    errors: list[BaseException] = []

    def write(number: int) -> None:
        try:
            for n in range(150):
                text = f"{number} {n}"
                when = at(number, n % 50) if number < 2 else None
                log.append(text, timestamp=when, sync=number == 1)
                written[number].append(text)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=write, args=(n,)) for n in range(3)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        log.compact(archive=len(written[1]) % 4 == 3)
    for thread in threads:
        thread.join(60)
    assert not errors
    found = [event.content for event in log.search()]
    assert sorted(found) == sorted([*(f"0 {n}" for n in range(5)), *chain(*written)])
    log.flush()
    check_books(log)
    assert log.verify(deep=True).ok


def test_two_that_compact_at_once(open_log: Open, path: Path) -> None:
    """Another process waits for the lock; a thread of this one for the other thread."""
    storage = Between()
    log = open_log(storage=storage, lock_timeout=0.05, **OPTIONS)
    other = open_log(storage=Clock(), lock_timeout=0.05, **OPTIONS)
    minutes(log, 0)
    refused: list[type[BaseException]] = []

    def act() -> None:
        with pytest.raises(LockTimeout, match="being compacted"):
            other.compact()
        thread = threading.Thread(target=try_it)
        thread.start()
        thread.join(30)
        other._store.upkeep.step(lambda: False)

    def try_it() -> None:
        try:
            log.compact()
        except LockTimeout as error:
            refused.append(type(error))

    storage.act = act
    assert log.compact().days == 1
    assert refused == [LockTimeout]
    assert other.compact() == Compaction()
    assert len(files(path)) == 1


def test_a_signal_handler_cannot_compact_in_the_middle_of_it(open_log: Open) -> None:
    storage = Between()
    log = open_log(storage=storage, **OPTIONS)
    minutes(log, 0)
    seen: list[Exception] = []

    def act() -> None:
        try:
            log.compact()
        except timelog.TimelogError as error:
            seen.append(error)

    storage.act = act
    assert log.compact().days == 1
    assert [type(error).__name__ for error in seen] == ["ReentryError"]


def test_a_child_of_a_fork_in_the_middle_of_it_can_compact_later(
    open_log: Open, path: Path
) -> None:
    storage = Between()
    log = open_log(storage=storage, **OPTIONS)
    minutes(log, 0)
    forked, goes_on = threading.Event(), threading.Event()

    def wait() -> None:
        forked.set()
        goes_on.wait(30)

    storage.act = wait
    thread = threading.Thread(target=log.compact)
    thread.start()
    assert forked.wait(30)
    read, write = os.pipe()
    child = os.fork()
    if not child:
        status = 1
        try:
            os.close(write)
            os.read(read, 1)
            for minute in (700, 701):
                log.append("of the child", id=str(minute), timestamp=at(1, minute), sync=True)
            status = 0 if log.compact().days == 1 else 2
            log.close()
        finally:
            os._exit(status)
    os.close(read)
    goes_on.set()
    thread.join(30)
    os.write(write, b"x")
    os.close(write)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert log.search().count() == 7
    assert len(files(path)) == 2
    check_books(log)


@pytest.mark.usefixtures("in_pieces")
def test_it_ends_soon_when_asked_to(open_log: Open, path: Path) -> None:
    """Within a block, whatever it is doing, and nothing is left over."""
    log = open_log(storage=Clock(), **OPTIONS)
    events = crowded(log, Random(1), 20)
    compactor = log._store.upkeep.compactor
    asked = 0

    def is_stopped() -> bool:
        nonlocal asked
        asked += 1
        return asked >= most

    total = 0
    for most in (1, 2, 3, 5, 8, 13, 21, 10**9):
        before, asked = files(path), 0
        done = compactor.compact(END, archive=False, timeout=1, is_stopped=is_stopped)
        # Once more where the days end, and where the old files go.
        assert asked <= most + 2 or done.days == 2
        if not done.days:
            assert files(path) == before
        assert not list(log._store.layout.temporary.iterdir())
        total += done.days
    assert total == 2
    assert [row_of(event) for event in log.search()] == rows(events.left)


def test_closing_ends_it_in_the_background(open_log: Open, path: Path) -> None:
    storage = Between()
    log = open_log(storage=storage, compact_after="1s", **OPTIONS)
    for day in range(3):
        minutes(log, day, 6)
    reached, closing = threading.Event(), threading.Event()

    def wait() -> None:
        reached.set()
        assert closing.wait(30)

    storage.act = wait
    timer = log._store._looking_after
    storage.us += 10 * MINUTE
    log._store._start(timer)
    timer.wake()
    assert reached.wait(30)
    thread = threading.Thread(target=log.close)
    thread.start()
    while not timer.is_stopping:
        pass
    closing.set()
    thread.join(30)
    assert not thread.is_alive() and log.is_closed
    assert len(files(path)) == 18
    assert not list(log._store.layout.temporary.iterdir())


# -- what is worth it ---------------------------------------------------------------------


def test_the_background_leaves_a_few_segments(open_log: Open, path: Path) -> None:
    log = open_log(storage=Clock(), compact_after="10 days", **OPTIONS)
    for day, number in enumerate((4, 5, 9)):
        minutes(log, day, number)
    log._store.storage.us += 10 * MINUTE  # type: ignore[attr-defined]
    log._store.upkeep.step(lambda: False)
    assert [number for number in map(number_of_files, sorted(path.glob("2*"))) if number] == [
        4,
        1,
        1,
    ]
    assert log.compact().days == 1


def number_of_files(partition: Path) -> int:
    return len(list(partition.iterdir()))


def test_days_that_are_not_over_are_left_alone(open_log: Open, path: Path) -> None:
    log = open_log(storage=Clock(START + DAY + 60 * MINUTE), **OPTIONS)
    minutes(log, 0)
    minutes(log, 1)
    assert log.compact(older_than="61 minutes") == Compaction()
    assert log.compact(older_than="1 hour").days == 1
    assert log.compact() == Compaction()
    assert len(files(path)) == 6
    log._store.storage.us += DAY  # type: ignore[attr-defined]
    assert log.compact(older_than="1 day") == Compaction()
    assert log.compact().days == 1
    assert len(files(path)) == 2


def test_in_the_background_age_counts(open_log: Open, path: Path) -> None:
    log = open_log(
        storage=Clock(START + 3 * DAY), compact_after="1 day", archive_after="2 days", **OPTIONS
    )
    for day in range(3):
        minutes(log, day, 6)
    log._store.storage.us += 10 * MINUTE  # type: ignore[attr-defined]
    log._store.upkeep.step(lambda: False)
    names = [[file.suffix for file in day.iterdir()] for day in sorted(path.glob("2*"))]
    assert names == [[".zst"], [".jsonl"], [".jsonl"] * 6]


def test_a_large_day_becomes_hours(
    open_log: Open, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compaction, "MOST_DAY", 1000)
    log = open_log(storage=Clock(), **OPTIONS)
    for minute in range(0, 1440, 30):
        log.append("x", id=str(minute), timestamp=at(0, minute))
        log.flush()
    assert log.compact().new_segments == 24
    names = [file.name for file in files(path)]
    assert names[0].startswith("20220108T0000Z-20220108T0100Z")
    assert log.compact() == Compaction()
    log.append("late", timestamp=at(0, 61))
    assert log.compact().segments == 25
    assert [event.content for event in log.search(at(0, 60), at(0, 90))] == ["x", "late"]


# -- without zstandard --------------------------------------------------------------------


def test_without_zstandard_nothing_is_archived(
    open_log: Open, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = open_log(storage=Clock(), **OPTIONS)
    minutes(log, 0)
    monkeypatch.setitem(sys.modules, "zstandard", None)
    before = files(path)
    with pytest.raises(timelog.errors.MissingExtra, match="zstd"):
        log.compact(archive=True)
    assert files(path) == before
    assert log.compact().days == 1
    with pytest.raises(timelog.errors.MissingExtra, match="zstd"):
        open_log(path.with_name("other"), archive_after="1 day")


def test_without_zstandard_an_archive_does_not_keep_other_days_from_it(
    open_log: Open, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = open_log(storage=Clock(), compact_after="1s", **OPTIONS)
    minutes(log, 0)
    log.compact(archive=True)
    minutes(log, 0, 6)
    minutes(log, 1, 6)
    log._store.storage.us += 10 * MINUTE  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "zstandard", None)
    with pytest.raises(timelog.errors.MissingExtra, match="zstd"):
        list(log.search())
    with pytest.raises(timelog.errors.MissingExtra, match="zstd"):
        log._store.upkeep.step(lambda: False)
    assert list(map(number_of_files, sorted(path.glob("2*")))) == [7, 1]
    assert log.search(at(1)).count() == 6
    monkeypatch.undo()
    log._store.upkeep.step(lambda: False)
    assert list(map(number_of_files, sorted(path.glob("2*")))) == [1, 1]
    assert log.search().count() == 17

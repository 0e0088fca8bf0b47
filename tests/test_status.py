"""Status: what it counts, how fast the log grows, and when the disk is full."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

import timelog
from timelog import checkpoint, names
from timelog.errors import ClosedError
from timelog.growth import Rate, full_at
from timelog.histogram import MOST_DAYS, MOST_HOURS, Histogram
from timelog.ledger import Row
from timelog.rotate import write_checkpoint
from timelog.storage import Storage
from timelog.timestamp import DAY, HOUR, MINUTE, SECOND

OpenLog = Callable[..., timelog.EventLog]
NOON = 20_000 * DAY + 12 * HOUR


class Disk(Storage):
    """A wall clock in microseconds, and a number of free bytes, that the test sets."""

    us = NOON
    left = 1_000_000

    def time_ns(self) -> int:
        """What the test says."""
        return self.us * 1000

    def free(self, path: Path) -> int:
        """What the test says."""
        return self.left


@pytest.fixture
def disk() -> Disk:
    """A disk of its own for each test."""
    return Disk()


def store(log: timelog.EventLog, *times: int) -> None:
    """A flush of one event for each time, in microseconds."""
    log.append_many({"content": "text", "timestamp": us / SECOND} for us in times)
    log.flush()


def save(log: timelog.EventLog) -> None:
    parts = log._store
    write_checkpoint(parts.layout, parts.storage, parts.index)


def make_years(path: Path, days: int) -> None:
    """A log of so many days up to now, each with 1,440 segments: the root knows them, no more."""
    with timelog.open(path, flush_interval=3600.0) as log:
        log.append("text")
        log.flush()
        save(log)
    file = path / ".timelog" / "index" / "root"
    root = checkpoint.parse_root(file.read_bytes())
    (last,) = root.days
    made = [
        checkpoint.DaySummary(day, names.day_index(day, 1), 0, 1440, 86_400, 10_000_000, day, day)
        for day in range(last.day - days * DAY, last.day, DAY)
    ]
    rows = [Row(day.day, 86_400 * number, 86_400, 0, {}) for number, day in enumerate(made)]
    root = msgspec.structs.replace(root, days=(*made, last), ledger=(*rows, *root.ledger))
    file.write_bytes(checkpoint.pack_root(root))
    for day in made:
        (path / names.partition(day.day)).mkdir()


# -- what there is --------------------------------------------------------------------------


def test_an_empty_log_has_nothing_to_tell_of(open_log: OpenLog, path: Path) -> None:
    status = open_log().status()
    assert status.health.ok and status.path == str(path)
    assert (status.rates, status.full, status.histogram) == ((), None, None)
    assert status.usage is not None and status.usage.partitions == {}
    assert "by day" not in str(status) and "oldest      -\n" in str(status)


def test_it_has_what_health_and_the_disk_say(open_log: OpenLog, disk: Disk) -> None:
    log = open_log(storage=disk)
    store(log, *range(NOON - 5 * DAY, NOON, DAY))
    status = log.status()
    assert status.health == log.health()
    assert status.time == NOON and status.free == 1_000_000 and status.unseen == ""
    assert status.usage is not None
    assert list(status.usage.partitions) == list(range(19_995 * DAY, 20_000 * DAY, DAY))


def test_a_closed_log_tells_nothing(open_log: OpenLog) -> None:
    log = open_log()
    log.close()
    with pytest.raises(ClosedError):
        log.status()


def test_memory_is_told_of_by_who_has_it(open_log: OpenLog) -> None:
    log = open_log()
    log.append("text")
    rows = dict(log.status().rows())
    assert rows["in memory"][0].startswith("1 events, ")
    reader = open_log(mode="r").status()
    assert reader.mode == "r" and "in memory" not in dict(reader.rows())


def test_what_cannot_be_told_is_said(open_log: OpenLog, disk: Disk) -> None:
    def refuse(path: Path) -> int:
        raise PermissionError(13, "Permission denied", str(path))

    disk.free = refuse  # type: ignore[method-assign]
    log = open_log(storage=disk)
    store(log, NOON)
    status = log.status()
    assert (status.usage, status.free, status.full) == (None, None, None)
    assert "permission is denied" in status.unseen
    rows = dict(status.rows())
    assert rows["on disk"] == rows["disk left"] == (f"- ({status.unseen})",)
    assert rows["events"] == ("1",)


def test_a_damaged_day_shows_at_once(open_log: OpenLog, path: Path) -> None:
    log = open_log()
    store(log, NOON, NOON + 1)
    save(log)
    (file,) = (path / ".timelog" / "index").glob("*.index")
    file.write_bytes(bytes(100))
    status = open_log(mode="r").status()
    assert status.health.status == "critical"
    assert names.partition(NOON) in status.health.damage[0]
    assert status.histogram == Histogram(20_000 * DAY, DAY, (2,))


def test_years_are_told_from_the_root_alone(path: Path) -> None:
    make_years(path, 3_650)
    with timelog.open(path, mode="r") as log:
        status = log.status()
    assert status.health.ok and not status.health.damage
    assert status.health.events == 3_650 * 86_400 + 1
    assert status.usage is not None and len(status.usage.partitions) == 3_651
    assert status.histogram is not None
    assert status.histogram.counts == (*[86_400] * (MOST_DAYS - 1), 1)
    assert status.rates[-1].events == 6 * 86_400 + 1


# -- how fast it grows ----------------------------------------------------------------------


def test_the_rates_are_of_today_and_of_a_week(open_log: OpenLog, disk: Disk) -> None:
    disk.us = NOON - 20 * DAY
    log = open_log(storage=disk)
    for day in range(-20, 1):
        disk.us = NOON + day * DAY
        store(log, *range(disk.us, disk.us + 10))
    events = log.health().events
    mean = log.health().bytes / events
    today, week = log.status().rates
    assert (today.since, today.until, today.events) == (NOON - 12 * HOUR, NOON, 10)
    assert (week.since, week.until, week.events) == (NOON - 12 * HOUR - 6 * DAY, NOON, 70)
    assert (today.bytes, week.bytes) == (round(10 * mean), round(70 * mean))
    assert week.seconds == 6.5 * 86_400


def test_what_was_committed_counts_whenever_it_happened(open_log: OpenLog, disk: Disk) -> None:
    log = open_log(storage=disk)
    store(log, *range(100))
    (rate,) = log.status().rates
    assert (rate.since, rate.events) == (NOON - 12 * HOUR, 100)
    assert rate.bytes == log.health().bytes


def test_a_young_log_is_as_old_as_its_first_event(open_log: OpenLog, disk: Disk) -> None:
    log = open_log(storage=disk)
    store(log, NOON)
    assert log.status().rates == ()
    disk.us += 5 * SECOND
    (rate,) = log.status().rates
    assert (rate.seconds, rate.events) == (5, 1)
    disk.us += DAY
    today, week = log.status().rates
    assert (today.events, week.events) == (0, 1)
    assert week.since == NOON


def test_the_length_of_events_is_that_of_late(open_log: OpenLog, disk: Disk) -> None:
    disk.us = NOON - 30 * DAY
    log = open_log(storage=disk)
    log.append("x" * 10_000)
    log.flush()
    disk.us = NOON
    log.append("x")
    log.flush()
    disk.us += HOUR
    assert log.status().rates[-1].bytes < 1_000


def test_a_clock_that_went_back_tells_no_rate(open_log: OpenLog, disk: Disk) -> None:
    log = open_log(storage=disk)
    store(log, NOON)
    disk.us -= 10 * DAY
    assert log.status().rates == ()
    assert "committed   -\n" in str(log.status())


@given(st.integers(1, 10**6), st.integers(1, 10**12), st.integers(1, 7 * 24), st.floats(1.0, 20.0))
def test_the_disk_is_full_when_what_is_left_is_written(
    size: int, free: int, hours: int, factor: float
) -> None:
    rate = Rate(NOON - hours * HOUR, NOON, 1, size)
    full = full_at(rate, free, factor)
    if full is None:
        assert free / (size * factor) * hours * HOUR > 36_524 * DAY
    else:
        written = size * factor * (full - NOON) / (hours * HOUR)
        assert abs(written - free) <= max(size * factor / HOUR, free * 1e-9)


def test_there_is_no_forecast_where_nothing_grows_or_not_for_long() -> None:
    assert full_at(Rate(NOON - DAY, NOON, 0, 0), 1000, 1.0) is None
    assert full_at(Rate(NOON - DAY, NOON, 1, 1), 36_524, 1.0) == NOON + 36_524 * DAY
    assert full_at(Rate(NOON - DAY, NOON, 1, 1), 36_526, 1.0) is None
    assert full_at(Rate(NOON - HOUR + 1, NOON, 1, 1), 1, 1.0) is None
    assert full_at(Rate(NOON - HOUR, NOON, 1, 1), 0, 1.0) == NOON
    late = (9998 - 1970) * 365 * DAY + 2_000 * DAY
    assert full_at(Rate(late - DAY, late, 1, 1), 5_000, 1.0) is None


def test_the_forecast_counts_what_the_disk_gives_not_the_text(
    open_log: OpenLog, disk: Disk
) -> None:
    """A hundred events, each in a segment of its own: a piece of the disk for each."""
    log = open_log(storage=disk)
    store(log, *range(NOON - 10 * MINUTE, NOON, MINUTE))
    disk.us = NOON - 10 * MINUTE + DAY
    status = log.status()
    assert status.usage is not None and status.full is not None
    disk.left = 10 * status.usage.segments
    full = log.status().full
    assert full is not None
    assert disk.us + 9 * DAY < full <= disk.us + 10 * DAY
    assert dict(log.status().rows())["disk full"] == (f"at this rate on {names.partition(full)}",)
    disk.left = status.usage.segments
    assert dict(log.status().rows(show=str))["disk full"][0].split()[-1].isdigit()


# -- the histogram --------------------------------------------------------------------------


@given(st.lists(st.integers(0, 60 * 24 * 60 - 1), min_size=1, max_size=40))
def test_the_histogram_is_a_plain_count(
    tmp_path_factory: pytest.TempPathFactory, minutes: list[int]
) -> None:
    """In a segment a minute each block lies in one hour, so that nothing is estimated."""
    times = [minute * MINUTE for minute in minutes]
    with timelog.open(
        tmp_path_factory.mktemp("log"), flush_interval=3600.0, sync="off", text_index=False
    ) as log:
        for us in times:
            store(log, us)
        bars = log.status().histogram
    assert bars is not None
    is_short = max(times) - min(times) < 2 * DAY
    assert bars.step == (HOUR if is_short else DAY)
    end = max(times) // bars.step + 1
    first = max(end - (MOST_HOURS if is_short else MOST_DAYS), min(times) // bars.step)
    counts = Counter(us // bars.step for us in times)
    assert bars.start == first * bars.step
    assert bars.counts == tuple(counts[number] for number in range(first, end))


@given(st.lists(st.integers(0, 47 * 60 - 1), min_size=1, max_size=200))
def test_a_block_of_hours_is_spread_and_nothing_is_lost(
    tmp_path_factory: pytest.TempPathFactory, minutes: list[int]
) -> None:
    """More than 16 minutes in one flush go into one file of the day."""
    times = [minute * MINUTE for minute in minutes]
    with timelog.open(
        tmp_path_factory.mktemp("log"), flush_interval=3600.0, sync="off", text_index=False
    ) as log:
        store(log, *times)
        bars = log.status().histogram
    assert bars is not None and bars.step == HOUR
    assert min(bars.counts) >= 0 and sum(bars.counts) <= len(times)
    if max(times) - min(times) < 23 * HOUR:
        assert sum(bars.counts) == len(times)


@given(
    st.lists(st.integers(0, 10**6), min_size=1, max_size=30).filter(any),
    st.integers(1, 100),
    st.booleans(),
)
def test_the_columns_are_as_high_as_the_counts(counts: list[int], width: int, blocks: bool) -> None:
    bars = Histogram(0, DAY, tuple(counts)).latest(width)
    assert bars.counts == tuple(counts[-width:])
    assert bars.start == max(len(counts) - width, 0) * DAY
    if not any(bars.counts):
        return
    drawn = bars.draw(width, blocks=blocks)
    assert len(drawn) == 4 and all(len(line) <= width for line in drawn)
    columns = min(width // len(bars.counts), 2)
    ramp = " ▁▂▃▄▅▆▇█" if blocks else " #"
    full = len(ramp) - 1
    for number, count in enumerate(bars.counts):
        column = [line.ljust(200)[number * columns] for line in drawn]
        height = sum(map(ramp.index, column))
        assert (height > 0) == (count > 0)
        assert 0 <= height / (4 * full) - count / max(bars.counts) < 1 / (4 * full) + 1e-9
        assert sorted(column, key=ramp.index) == column


def test_a_narrow_terminal_may_see_only_days_without_events() -> None:
    bars = Histogram(0, DAY, (5, 0, 0)).latest(2)
    assert bars.draw(2, blocks=True) == ("", "", "", "")


# -- as text --------------------------------------------------------------------------------


def test_the_table_says_it_in_words(open_log: OpenLog, disk: Disk, path: Path) -> None:
    disk.us = NOON - 3 * DAY
    log = open_log(storage=disk)
    for day in range(-3, 1):
        disk.us = NOON + day * DAY
        store(log, *range(disk.us, disk.us + 4 * (day + 4)))
    disk.us = NOON + HOUR
    disk.left = 123_456_789
    text = str(log.status())
    lines = text.splitlines()
    assert lines[0] == f"log         {path}"
    assert "health      healthy" in lines
    assert "oldest      2024-10-01T12:00:00.000000Z" in lines
    assert "disk left   117.7 MiB" in lines
    assert any(line.startswith("committed   16 in 13.0 hours: 29.5 a day, ") for line in lines)
    assert any(line.startswith("            40 in 3.0 days: 13.2 a day, ") for line in lines)
    assert lines[-5:] == [
        "by day            ##",
        "                ####",
        "              ######",
        "            ########",
        "            2024-10-01 to 2024-10-04: at most 16 a day",
    ]


def test_a_busy_log_counts_by_the_second(open_log: OpenLog, disk: Disk) -> None:
    log = open_log(storage=disk)
    store(log, *range(NOON, NOON + 50))
    disk.us += 100 * SECOND
    assert dict(log.status().rows())["committed"] == ("50 in 100.0 seconds: 0.5 a second",)
    disk.us += 100 * SECOND
    assert dict(log.status().rows())["committed"] == ("50 in 3.3 minutes: 0.2 a second",)
    disk.us += 1000 * SECOND
    assert dict(log.status().rows())["committed"] == ("50 in 20.0 minutes",)

"""Health: one word, sentences, and numbers that are those of the log."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

import timelog
from tests.rig import FaultyStorage
from timelog.errors import StorageError
from timelog.health import Health
from timelog.timestamp import DAY, SECOND

OpenLog = Callable[..., timelog.EventLog]


def test_an_idle_log_is_healthy(open_log: OpenLog) -> None:
    health = open_log().health()
    assert health.status == "healthy"
    assert health.ok
    assert health.reasons == ()
    assert (health.events, health.bytes, health.position, health.waiting) == (0, 0, 0, 0)
    assert (health.oldest, health.newest, health.last_flush) == (0, 0, 0)


def test_the_numbers_are_those_of_the_log(open_log: OpenLog, path: Path) -> None:
    log = open_log()
    for n in range(10):
        log.append("text", timestamp=n * DAY / SECOND / 2)
    log.flush()
    log.append("waiting")
    health = log.health()
    size = sum(file.stat().st_size for file in path.glob("19*/*"))
    assert health.ok
    assert (health.partitions, health.segments) == (5, 10)
    assert (health.events, health.position, health.bytes) == (10, 10, size)
    assert (health.oldest, health.newest) == (0, 9 * DAY // 2)
    assert health.waiting == 1
    assert 0 < health.buffer_bytes < health.max_buffer == 64 * 1024 * 1024
    assert (health.flushes, health.flushed_events, health.errors) == (1, 10, 0)
    assert health.last_flush > 0


def test_a_reader_sees_what_others_stored(open_log: OpenLog) -> None:
    log = open_log()
    reader = open_log(mode="r")
    log.append("text")
    log.flush()
    health = reader.health()
    assert (health.events, health.flushes) == (1, 0)


def test_a_buffer_that_fills_is_said(open_log: OpenLog) -> None:
    log = open_log(max_buffer=100_000, max_content=50_000)
    log.append("x" * 49_000)
    assert log.health().status == "healthy"
    log.append("x" * 10_000)
    assert log.health().status == "warning"
    assert "half full" in log.health().reasons[0]
    log.append("x" * 35_000)
    assert log.health().status == "critical"
    assert "nearly full" in log.health().reasons[0]
    log.flush()
    assert log.health().ok


def test_an_error_is_counted_and_said(open_log: OpenLog) -> None:
    storage = FaultyStorage()
    log = open_log(storage=storage)
    log.append("text")
    storage.arm("ENOSPC", "write")
    with pytest.raises(StorageError):
        log.flush()
    storage.heal()
    health = log.health()
    assert health.errors == 1
    assert "the disk is full" in health.last_error
    assert health.waiting == 1
    log.flush()
    assert log.health().events == 1


def test_damage_that_a_search_met_is_critical(open_log: OpenLog, path: Path) -> None:
    log = open_log()
    log.append("text")
    log.flush()
    (file,) = path.glob("20*/*")
    file.write_bytes(file.read_bytes().replace(b"text", b"tExt"))
    assert log.search().to_list() == []
    health = log.health()
    assert health.status == "critical"
    assert not health.ok
    assert file.name in health.damage[0]
    assert "run verify" in health.reasons[0]


def test_positions_that_are_missing_are_counted(open_log: OpenLog, path: Path) -> None:
    log = open_log()
    sizes = []
    journal = path / ".timelog" / "journal" / "0000000001.journal"
    for n in (1, 5, 1):
        log.append_many([{"content": "text"}] * n)
        log.flush()
        sizes.append(journal.stat().st_size)
    data = bytearray(journal.read_bytes())
    data[sizes[0] + 30] ^= 1
    journal.write_bytes(data)
    health = open_log(mode="r").health()
    assert health.status == "critical"
    assert health.missing == 5
    assert health.events == 2


def test_the_report_begins_with_the_word_and_says_why(open_log: OpenLog) -> None:
    log = open_log(max_buffer=100_000, max_content=50_000)
    assert str(log.health()).splitlines()[0] == "healthy"
    log.append("x" * 49_999)
    log.append("x" * 49_000)
    first, reason, *rest = str(log.health()).splitlines()
    assert first == "critical"
    assert reason.strip() == log.health().reasons[0]
    assert any("2 events" in line for line in rest)


def test_a_report_cannot_be_changed(open_log: OpenLog) -> None:
    health = open_log().health()
    assert isinstance(health, Health)
    with pytest.raises(AttributeError):
        health.status = "healthy"  # type: ignore[misc]


class Clock(FaultyStorage):
    """A storage whose monotonic clock goes forward when the test says so."""

    seconds = 1_000.0

    def monotonic(self) -> float:
        """What the test says."""
        return self.seconds


def test_events_that_wait_for_more_than_five_minutes_are_a_warning(open_log: OpenLog) -> None:
    storage = Clock()
    log = open_log(storage=storage, flush_interval=60.0)
    storage.seconds += 10_000
    log.append("waits from now on")
    storage.seconds += 360
    assert log.health().ok
    storage.seconds += 1
    assert log.health().status == "warning"
    assert log.health().reasons == ("nothing was stored for 361 seconds, and events wait",)
    log.flush()
    assert log.health().ok
    log.append("has just come")
    assert log.health().ok


def test_a_flush_that_hangs_is_a_warning_whatever_came_after_it(open_log: OpenLog) -> None:
    storage = Clock()
    log = open_log(storage=storage, flush_interval=60.0)
    log.append("waits")
    assert log._store.buffer.freeze() is not None
    storage.seconds += 361
    log.append("has just come")
    assert "nothing was stored for 361 seconds" in log.health().reasons[0]
    log.flush()
    assert log.health().ok


def test_an_idle_log_is_healthy_however_long_it_is_idle(open_log: OpenLog) -> None:
    storage = Clock()
    log = open_log(storage=storage)
    log.append("text")
    log.flush()
    storage.seconds += 1_000_000
    assert log.health().ok


def test_more_than_one_error_in_a_hundred_flushes_is_a_warning_for_an_hour(
    open_log: OpenLog,
) -> None:
    storage = Clock()
    log = open_log(storage=storage)
    for _ in range(2):
        log.append("text")
        storage.arm("ENOSPC", "write")
        with pytest.raises(StorageError):
            log.flush()
        assert log.health().status == "critical"
        storage.heal()
        log.flush()
        assert log.health().ok
    while log.health().cycles < 100:
        assert log.health().ok
        log.append("text")
        log.flush()
    health = log.health()
    assert (health.cycles, health.flushes, health.errors, health.error_rate) == (100, 98, 2, 0.02)
    assert health.status == "warning"
    assert health.reasons[0].startswith("2 errors in 100 flushes, the last: ")
    storage.seconds += 3600
    assert log.health().ok


def test_one_error_in_a_hundred_flushes_is_none(open_log: OpenLog) -> None:
    storage = FaultyStorage()
    log = open_log(storage=storage)
    log.append("text")
    storage.arm("ENOSPC", "write")
    with pytest.raises(StorageError):
        log.flush()
    storage.heal()
    while log.health().cycles < 100:
        log.append("text")
        log.flush()
    assert log.health().error_rate == 0.01
    assert log.health().ok

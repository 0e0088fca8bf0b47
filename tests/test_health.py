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

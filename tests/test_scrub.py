"""The background check of stored blocks: what it reads, what it finds, and who does it."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import timelog
from timelog import scrub, segment, storage
from timelog.errors import DamagedError
from timelog.lock import FileLock
from timelog.rotate import write_checkpoint
from timelog.scrub import Scrubber
from timelog.storage import Storage
from timelog.timestamp import END

Open = Callable[..., timelog.EventLog]
T = 1_700_000_000


@pytest.fixture
def log(open_log: Open, monkeypatch: pytest.MonkeyPatch) -> timelog.EventLog:
    """Three days with blocks of some 10 KiB each, 30 blocks in all."""
    monkeypatch.setattr(segment, "COALESCE", 0)
    monkeypatch.setattr(scrub, "LEAST", 1)
    made = open_log(sync="off")
    for flush in range(10):
        for day in range(3):
            made.append(f"{flush} {day} " + "x" * 10_000, timestamp=T + day * 86_400)
        made.flush()
    return made


def scrubber(log: timelog.EventLog, shards: int = 5) -> Scrubber:
    store = log._store
    return Scrubber(store.layout, store.storage, store.index, shards)


def flip(path: Path, at: int) -> None:
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.write_bytes(data)


def test_after_as_many_cycles_as_shards_everything_was_checked(log: timelog.EventLog) -> None:
    scrubbing = scrubber(log)
    total = log.health().bytes
    for cycle in range(5):
        scrubbing.step()
        # A block is not divided.
        assert total / 5 <= scrubbing.bytes / (cycle + 1) < total / 5 + 11_000
    while not scrubbing.passes:
        scrubbing.step()
    assert scrubbing.bytes == total
    assert log.health().last_scrub > 0


def test_a_shard_grows_with_the_log_up_to_a_limit(
    log: timelog.EventLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scrub, "MOST", 25_000)
    scrubbing = scrubber(log)
    scrubbing.step()
    assert 25_000 <= scrubbing.bytes < 36_000
    monkeypatch.setattr(scrub, "MOST", 10**9)
    monkeypatch.setattr(scrub, "LEAST", 10**9)
    scrubbing = scrubber(log)
    scrubbing.step()
    assert (scrubbing.passes, scrubbing.bytes) == (1, log.health().bytes)


@pytest.mark.parametrize("seen", [False, True])
def test_a_changed_bit_is_found_and_shows_in_health(log: timelog.EventLog, seen: bool) -> None:
    if seen:
        assert log.search(pattern="absent text").count() == 0
    (path, *_) = sorted(log.path.glob("2*/*"))
    flip(path, 25_000)
    scrubbing = scrubber(log)
    while not scrubbing.passes:
        scrubbing.step()
    health = log.health()
    assert health.status == "critical"
    assert [damage.split(":")[0] for damage in health.damage] == [str(path.relative_to(log.path))]
    # Also a search that had found the block intact does not trust it any more.
    results = log.search(pattern="absent text")
    assert results.count() == 0 and len(results.damage) == 1


def test_every_process_is_told_what_one_has_found(log: timelog.EventLog) -> None:
    (path, *_) = sorted(log.path.glob("2*/*"))
    flip(path, 25_000)
    scrubbing = scrubber(log, 1)
    while not scrubbing.passes:
        scrubbing.step()
    with timelog.open(log.path, mode="r") as other:
        assert other.health().status == "critical"
        assert other.health().damage == log.health().damage
        assert other.health().last_scrub == log.health().last_scrub > 0
        flip(path, 25_000)
        # Another process goes on where the first one found something.
        again = scrubber(log, 1)
        while not again.passes:
            again.step()
        assert other.health().status == "healthy"


@pytest.mark.parametrize("data", [b"", b"{", b'{"passed":"x"}', b"\xff\xfe", b"[]"])
def test_what_cannot_be_read_of_it_is_found_again(log: timelog.EventLog, data: bytes) -> None:
    log._store.layout.scrub.write_bytes(data)
    assert log.health().status == "healthy" and log.health().last_scrub == 0
    scrubbing = scrubber(log, 1)
    while not scrubbing.passes:
        scrubbing.step()
    assert log.health().last_scrub > 0


def test_damage_that_is_gone_is_forgotten(log: timelog.EventLog) -> None:
    (path, *_) = sorted(log.path.glob("2*/*"))
    scrubbing = scrubber(log, 1)
    flip(path, 25_000)
    scrubbing.step()
    scrubbing.step()
    assert log.health().status == "critical"
    flip(path, 25_000)
    while scrubbing.passes < 3:
        scrubbing.step()
    assert log.health().status == "healthy"


@pytest.mark.parametrize("way", ["expire", "compact"])
def test_damage_of_what_went_is_forgotten(log: timelog.EventLog, way: str) -> None:
    files = sorted(log.path.glob("*/*.jsonl"))
    flip(files[0], 100)
    scrubbing = scrubber(log)
    while not scrubbing.passes:
        scrubbing.step()
    other = timelog.open(log.path, mode="r")
    assert len(other.search().to_list()) == 29 and len(other._store.index.damage) == 1
    assert [len(each.health().damage) for each in (log, other)] == [1, 1]
    if way == "expire":
        log.expire(partitions=2)
    else:
        # Damaged segments are left alone, so it is mended first.
        flip(files[0], 100)
        assert log.compact(archive=True).segments == len(files)
    # Whoever had met it knows nothing of it but by a checkpoint.
    write_checkpoint(log._store.layout, log._store.storage, log._store.index)
    assert [each.health().damage for each in (log, other)] == [(), ()]
    while scrubbing.passes < 2:
        scrubbing.step()
    assert [each.health().damage for each in (log, other)] == [(), ()]
    assert json.loads(log._store.layout.scrub.read_bytes())["damage"] == []
    other.close()


def test_a_file_that_is_gone_or_short_is_found(log: timelog.EventLog) -> None:
    first, second, _ = sorted(log.path.glob("2*/*"))
    first.unlink()
    os.truncate(second, second.stat().st_size - 1)
    scrubbing = scrubber(log, 1)
    while not scrubbing.passes:
        scrubbing.step()
    damage = "\n".join(log.health().damage)
    assert damage.count("cannot be read") == 10 and damage.count("too short") == 1


def test_what_could_not_be_checked_does_not_pass_for_it(
    log: timelog.EventLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*args: Any) -> bytes:
        raise OSError(errno.EMFILE, "Too many open files")

    scrubbing = scrubber(log, 1)
    with monkeypatch.context() as patch:
        patch.setattr(Storage, "read_device", fails)
        for _ in range(3):
            with pytest.raises(OSError, match="Too many"):
                scrubbing.step()
    assert scrubbing.passes == 0 and log.health().status == "healthy"
    with monkeypatch.context() as patch:
        patch.setattr(log._store.index, "blocks", fails)
        for _ in range(3):
            with pytest.raises(OSError, match="Too many"):
                scrubbing.step()
    assert scrubbing.passes == 0 and log.health().status == "healthy"


def test_a_day_of_which_the_index_is_damaged_is_reported(
    log: timelog.EventLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*args: Any) -> None:
        raise DamagedError("its crc does not hold")

    with monkeypatch.context() as patch:
        patch.setattr(log._store.index, "blocks", fails)
        scrubber(log, 1).step()
    assert log.health().status == "critical"


def test_a_time_that_cannot_be_is_no_pass(log: timelog.EventLog) -> None:
    damage = [["2026-11-21/x", 0, 1, "the crc does not hold"]]
    for passed in (-1, 1 << 62, END):
        text = json.dumps({"passed": passed, "damage": damage})
        log._store.layout.scrub.write_text(text)
        assert log.health().last_scrub == 0
        assert len(log.health().damage) == 1


def test_one_process_scrubs_at_a_time(log: timelog.EventLog) -> None:
    other = FileLock(Storage(), log._store.layout.scrub_lock, 0)
    scrubbing = scrubber(log)
    with other.held():
        scrubbing.step()
        assert scrubbing.bytes == 0
    scrubbing.step()
    assert scrubbing.bytes


def test_a_log_that_is_closed_does_not_wait_for_a_cycle(log: timelog.EventLog) -> None:
    scrubbing = scrubber(log, 1)
    scrubbing.step(lambda: True)
    assert 0 < scrubbing.bytes < 12_000


def test_an_empty_log_is_soon_checked(open_log: Open) -> None:
    scrubbing = scrubber(open_log())
    scrubbing.step()
    assert (scrubbing.passes, scrubbing.bytes) == (1, 0)


def test_it_runs_by_itself_where_events_are_stored(open_log: Open) -> None:
    log = open_log(scrub_interval=0.01, flush_interval=0.01)
    log.append("x")
    # A flush starts it; asking health() is how anybody would wait for it.
    while not log.health().scrub_passes:
        pass
    assert log.health().scrubbed == log.health().bytes > 0
    assert log.health().last_scrub > 0


def test_it_can_be_turned_off(open_log: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TIMELOG_SCRUB_INTERVAL", "0")
    log = open_log(flush_interval=3600)
    log.append("x")
    assert log._store._flush_in_background() is None and log.health().flushes == 1
    assert not log._store._scrubbing.is_alive


@pytest.mark.parametrize("offset", [0, 1, 4095, 4096, 9000])
@pytest.mark.parametrize("length", [1, 4096, 5000, 100_000])
def test_reading_past_the_page_cache_gives_the_bytes(
    tmp_path: Path, offset: int, length: int
) -> None:
    path = tmp_path / "file"
    data = bytes(range(256)) * 50
    path.write_bytes(data)
    assert Storage().read_device(path, offset, length) == data[offset : offset + length]


def test_where_the_page_cache_cannot_be_passed_it_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*args: Any) -> int:
        raise OSError(22, "Invalid argument")

    path = tmp_path / "file"
    path.write_bytes(b"abcdef")
    monkeypatch.setattr(storage.os, "preadv", refuse)
    assert Storage().read_device(path, 2, 3) == b"cde"

"""Compaction: the events stay what they are, in fewer files, whatever else goes on."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from random import Random

import pytest

import timelog
from tests import plain
from tests.plain import START, Plain, check_books, check_same, files, grow, lines_of
from timelog import (
    compaction,
    encode,
    indexer,
    merge,
    positions,
    reader,
    rewrite,
    rotate,
    scan,
    segment,
)
from timelog.storage import Storage
from timelog.timestamp import DAY

NOW = START + 100 * DAY
Open = Callable[..., timelog.EventLog]


class Clock(Storage):
    """A clock that stands still."""

    def __init__(self, us: int = NOW) -> None:
        super().__init__()
        self.us = us

    def time_ns(self) -> int:
        return self.us * 1000


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """All that is done by size is done with a few kilobytes."""
    for module in (encode, rewrite):
        monkeypatch.setattr(module, "BLOCK_SIZE", 3000)
    monkeypatch.setattr(rewrite, "RUN_SIZE", 6000)
    monkeypatch.setattr(rewrite, "_RUN_BLOCK", 1000)
    monkeypatch.setattr(segment, "COALESCE", 3000)
    monkeypatch.setattr(positions, "MOST_RUNS", 4)
    monkeypatch.setattr(reader, "_FIRST", 4000)
    monkeypatch.setattr(reader, "_STRETCH", 8000)
    monkeypatch.setattr(scan, "_WORTH", 1)
    monkeypatch.setattr(indexer, "LEAST_TEXT", 1)
    monkeypatch.setattr(merge, "MOST_WAITING", 9000)
    monkeypatch.setattr(merge, "MOST_KEYS", 25)
    monkeypatch.setattr(merge, "_BATCH", 10)


def check_layout(log: timelog.EventLog, most: int, old: list[Path]) -> None:
    """At most so many files a day, those that are not ``old`` sorted by (timestamp, position)."""
    index = log._store.index
    days: dict[str, int] = {}
    for file in files(log.path):
        days[file.parent.name] = days.get(file.parent.name, 0) + 1
        found = index.segment(f"{file.parent.name}/{file.name}")
        assert found is not None, f"{file} is on the disk and not in the index"
        keys = []
        text = plain.text_of(file, index)
        for block in found.blocks:
            at = positions.at(block.runs, block.count, range(block.count))
            lines = text[block.offset : block.end].splitlines()
            keys += [(line[14:41], each) for line, each in zip(lines, at, strict=True)]
        assert file in old or keys == sorted(keys), file
    assert max(days.values(), default=0) <= most, days


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.usefixtures("small")
def test_every_search_finds_the_same_before_and_after(
    seed: int, ram: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    random = Random(seed)
    monkeypatch.setattr(rewrite, "MOST_OVERLAP", random.choice([0, 4000, 1 << 40]))
    if random.random() < 0.4:
        monkeypatch.setattr(compaction, "MOST_DAY", 4000)
    if random.random() < 0.5:
        monkeypatch.setattr(rotate, "MOST_COMMITS", random.choice([1, 3]))
    options = {"flush_interval": 3600.0, "text_index": False, "scrub_interval": 0}
    log = timelog.open(ram / "log", storage=Clock(), **options)
    events = Plain()
    most = 24 if compaction.MOST_DAY == 4000 else 1
    for _ in range(4):
        grow(log, events, random, random.randrange(1, 6))
        if random.random() < 0.5:
            log.index_text()
        before = lines_of(log)
        for _ in range(random.choice([0, 0, 1, 5])):
            if events.left:
                row = events.first_with(random.choice(events.left).id)
                assert log.delete(row.id, erase=random.random() < 0.3).position == row.position
                events.gone.add(row.position)
        if random.random() < 0.3:
            days = {tag: random.randrange(97, 102) for tag in ("", "audit", "debug")}
            tags = {tag: f"{age} days" for tag, age in days.items() if tag}
            log.expire(age=f"{days['']} days", tags=tags)
            events.horizons.append({tag: NOW - age * DAY for tag, age in days.items()})
        check_same(log, events, random)
        check_books(log)
        old = files(log.path)
        done = log.compact(archive=random.random() < 0.4)
        assert not done.damage
        check_same(log, events, random)
        check_books(log)
        check_layout(log, most, old)
        after = lines_of(log)
        assert not after - before and after.total() == len(events.left)
        if random.random() < 0.5:
            log.index_text()
            check_same(log, events, random)
        if random.random() < 0.4:
            log.close()
            log = timelog.open(ram / "log", storage=Clock(), **options)
            check_same(log, events, random)
            check_books(log)
        if most > 1:
            # What was left out may have made a large day a small one.
            log.compact()
            check_same(log, events, random)
        assert log.compact() == compaction.Compaction()
        assert log.verify(deep=True).ok
    log.close()

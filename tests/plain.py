"""A log as a plain list: what events there are, and what every search has to find."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

import timelog
from timelog.frames import decompress
from timelog.index import Index
from timelog.timestamp import DAY, MINUTE, SECOND, from_datetime, to_datetime

START = 19_000 * DAY
TAGS = [(), ("a",), ("a", "b"), ("audit",), ("a", "debug"), ("debug",)]
SOURCES = ["", "one", "two"]


class Row(NamedTuple):
    """An event, and its position."""

    us: int
    position: int
    id: str
    source: str
    tags: tuple[str, ...]
    content: str


class Plain:
    """Events by position; ``gone`` are the positions of those that were deleted."""

    def __init__(self) -> None:
        self.rows: list[Row] = []
        self.gone: set[int] = set()
        # For each policy: before which time events of these tags have expired, "" for others.
        self.horizons: list[dict[str, int]] = []

    def add(self, events: list[dict[str, Any]]) -> None:
        """Note events that were committed in this order."""
        for event in events:
            row = Row(
                from_datetime(event["timestamp"]),
                len(self.rows),
                event["id"],
                event["source"],
                event["tags"],
                event["content"],
            )
            self.rows.append(row)

    def is_expired(self, us: int, tags: tuple[str, ...]) -> bool:
        """Whether an event has expired: of the rules that it matches the longest counts."""
        return any(
            us < min((at for tag, at in horizon.items() if tag in tags), default=horizon[""])
            for horizon in self.horizons
        )

    @property
    def left(self) -> list[Row]:
        """What is still there, in order."""
        return sorted(
            row
            for row in self.rows
            if row.position not in self.gone and not self.is_expired(row.us, row.tags)
        )

    def first_with(self, id: str) -> Row:
        """The event that the id stands for."""
        return min((row for row in self.left if row.id == id), key=lambda row: row.position)

    def find(
        self,
        start: int | None = None,
        end: int | None = None,
        *,
        tags: tuple[str, ...] = (),
        source: str | None = None,
        pattern: str = "",
        order: str = "asc",
        limit: int | None = None,
        as_of: int | None = None,
    ) -> list[Row]:
        """What a search with these arguments (times in microseconds) has to find."""
        found = [
            row
            for row in self.left
            if (start is None or row.us >= start)
            and (end is None or row.us < end)
            and set(tags) <= set(row.tags)
            and (source is None or row.source == source)
            and re.search(pattern, row.content)
            and (as_of is None or row.position < as_of)
        ]
        return (found[::-1] if order == "desc" else found)[:limit]


def make_events(random: Random, number: int, first: int) -> list[dict[str, Any]]:
    """So many events of a few days: crowded and sparse, with equal times and equal ids."""
    kind = random.randrange(4)
    day = START + random.randrange(3) * DAY
    events = []
    for n in range(first, first + number):
        us = [
            day + random.randrange(3) * SECOND,
            day + random.randrange(1440) * MINUTE,
            day + (n - first) * SECOND + random.randrange(4),
            START + random.randrange(3) * DAY + random.randrange(DAY),
        ][kind]
        events.append(
            {
                "timestamp": to_datetime(us),
                "id": random.choice(["same", f"id-{n}", f"id-{n}", f"id-{n}"]),
                "source": random.choice(SOURCES),
                "tags": random.choice(TAGS),
                "content": f"event {n} é " + "x" * random.randrange(1, 400),
            }
        )
    return events


def grow(log: timelog.EventLog, plain: Plain, random: Random, flushes: int) -> None:
    """Append events to both, in so many flushes of different sizes."""
    for _ in range(flushes):
        events = [
            event
            for event in make_events(random, random.choice([1, 3, 20, 60]), len(plain.rows))
            if not plain.is_expired(from_datetime(event["timestamp"]), event["tags"])
        ]
        log.append_many(events)
        log.flush()
        plain.add(events)


def row_of(event: timelog.Event) -> tuple[int, str, str, tuple[str, ...], str]:
    """An event without its position."""
    us = from_datetime(event.timestamp)
    return us, event.id, event.source, event.tags, event.content


def rows(found: list[Row]) -> list[tuple[int, str, str, tuple[str, ...], str]]:
    """Rows without their positions."""
    return [(row.us, *row[2:]) for row in found]


def searches(random: Random, plain: Plain) -> list[dict[str, Any]]:
    """The arguments of searches of every kind."""
    low = START + random.randrange(3 * DAY)
    asked: list[dict[str, Any]] = [
        {},
        {"order": "desc"},
        {"start": low, "end": low + random.choice([1, MINUTE, DAY])},
        {"start": START + DAY, "order": "desc", "limit": 7},
        {"end": START + 3 * SECOND},
        {"tags": ("a",)},
        {"tags": ("a", "debug"), "order": "desc"},
        {"source": "two"},
        {"source": "one", "tags": ("audit",), "limit": 3},
        {"pattern": r"event 1\d* "},
        {"pattern": f"event {random.randrange(len(plain.rows) + 1)} ", "order": "desc"},
        {"pattern": "no such text"},
    ]
    for at in random.sample(range(len(plain.rows) + 1), min(6, len(plain.rows) + 1)):
        asked.append({"as_of": at, "order": random.choice(["asc", "desc"])})
        asked.append({"as_of": at, "start": low, "tags": ("a",)})
    return asked


def search(log: timelog.EventLog, asked: dict[str, Any]) -> timelog.query.Results:
    """The search of a log with arguments of `searches`."""
    times = {key: to_datetime(asked[key]) for key in ("start", "end") if key in asked}
    others = {key: value for key, value in asked.items() if key not in times}
    return log.search(**times, **others)


def check_same(log: timelog.EventLog, plain: Plain, random: Random) -> None:
    """Every way of looking at the log finds what the plain list has."""
    for asked in [{}, *random.sample(searches(random, plain), 6)]:
        expected = plain.find(**asked)
        results = search(log, asked)
        assert list(map(row_of, results)) == rows(expected), asked
        assert results.count() == len(expected), asked
        arrived = min(expected, key=lambda row: row.position, default=None)
        if "limit" not in asked:
            first = results.first_arrived()
            assert (first and first[0]) == (arrived and arrived.position), asked
        assert not results.damage, asked
    ids: dict[str, Row] = {}
    for row in sorted(plain.left, key=lambda row: row.position):
        ids.setdefault(row.id, row)
    for row in random.sample(list(ids.values()), min(4, len(ids))):
        assert [row_of(log.get(row.id))] == rows([row])
    assert log.position == len(plain.rows)
    totals = log._store.index.totals()
    left = plain.left
    if totals.events == len(left) and left:
        assert (totals.oldest, totals.newest) == (left[0].us, left[-1].us)


def text_of(file: Path, index: Index) -> bytes:
    """The text of a segment, whether it is an archive or not."""
    data = file.read_bytes()
    if file.suffix != ".zst":
        return data
    segment = index.segment(f"{file.parent.name}/{file.name}")
    assert segment is not None
    found = []
    for block in segment.blocks:
        assert block.frame is not None
        at, length = block.frame
        found.append(decompress(data[at : at + length], block.length))
    assert data[sum(block.frame) :] == b""
    return b"".join(found)


def files(path: Path) -> list[Path]:
    """The segments that stand on the disk."""
    return sorted(path.glob("[0-9]*/*.jsonl*"))


def lines_of(log: timelog.EventLog) -> Counter[bytes]:
    """All lines of the segments on the disk, as they are."""
    index = log._store.index
    return Counter(
        line for file in files(log.path) for line in text_of(file, index).splitlines(keepends=True)
    )


def check_books(log: timelog.EventLog) -> None:
    """Each event that was committed is in one block, or booked as gone; the sums of days hold."""
    index = log._store.index
    positions: Counter[int] = Counter()
    with index.lock:
        for start, day in index.days.items():
            files = index.files(day)
            blocks = [block for segment in files for block in segment.blocks]
            for block in blocks:
                for first, end in timelog.positions.stretches(block.runs, block.count):
                    positions.update(range(first, end))
            assert day.count == sum(block.count for block in blocks) == sum(day.entered.values())
            assert day.bytes == sum(block.length for block in blocks)
            assert day.stored == sum(block.stored for block in blocks)
            if blocks:
                assert day.first == min(block.first for block in blocks)
                assert day.last == max(block.last for block in blocks)
            assert all(start <= block.first <= block.last < start + DAY for block in blocks)
        ledger = list(index.ledger)
    assert not positions or max(positions.values()) == 1
    gone = sum(row.lost + row.expired + row.erased for row in ledger)
    assert sum(row.events for row in ledger) - gone == len(positions)

"""A log that has lived: some of it expired, was deleted, compacted and archived."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import timelog
from tests.broken import START, sorted_events
from timelog import compaction, sweep
from timelog.event import Event
from timelog.journal import Block
from timelog.rotate import write_checkpoint
from timelog.timestamp import DAY, MINUTE, SECOND, to_datetime

# Longer ago than any event of these tests, and since.
NEVER, ALL = "30000 days", "1 day"


def save(log: timelog.EventLog) -> None:
    """Write a checkpoint."""
    write_checkpoint(log._store.layout, log._store.storage, log._store.index)


def fill(log: timelog.EventLog, *days: int, flushes: int = 3) -> None:
    """Append to some days, numbered from 0: late in each flush what is early by time."""
    for n in range(flushes):
        for day in days:
            for minute in (0, 1, 70):
                for m in range(4):
                    us = START + day * DAY + minute * MINUTE + (flushes - n) * SECOND + m
                    log.append(
                        f"content {day} {minute} {n} {m} ü",
                        timestamp=to_datetime(us),
                        id=f"{day}.{minute}.{n}.{m}",
                        source=f"s{m}",
                        tags=("keep",) if m else ("drop",),
                        fields={"n": n} if m else None,
                    )
        log.flush()


def make_aged(path: Path, *, checkpoint: bool = True, archive: bool = True) -> list[Event]:
    """Make such a log of four days and return the events that are visible.

    Day 0 has expired. Of day 1, which is compacted, one event was erased, and another is hidden.
    Of day 2, which is not, one event is hidden. Of all that is left one tag has expired, which is
    still there. ``checkpoint``: before what is deleted last.
    """
    with timelog.open(path, flush_interval=3600.0, text_index=False, compact_after=None) as log:
        fill(log, 0, 1)
        log.delete("1.1.0.2")
        log.compact(archive=archive)
        fill(log, 2, 3)
        log.expire(partitions=3)
        log.expire(NEVER, tags={"drop": ALL})
        if checkpoint:
            save(log)
        log.delete("1.70.2.3")
        log.delete("2.0.1.1")
        return sorted_events(log)


def make_archived(path: Path) -> list[Event]:
    """Make a log of two archived days, in which the segments they were made of still stand."""
    with timelog.open(path, flush_interval=3600.0, text_index=False, compact_after=None) as log:
        fill(log, 0, 1)
        with nothing_unlinked():
            log.compact(archive=True)
        save(log)
        return sorted_events(log)


def blocks_of(log: timelog.EventLog) -> list[Block]:
    """All blocks that are committed."""
    index = log._store.index
    return [
        block
        for day in index.between(None, None)
        for _, blocks in index.blocks(day, None, None, index.position)
        for block in blocks
    ]


@contextmanager
def nothing_unlinked() -> Iterator[None]:
    """What was replaced stands where it was, as after a kill."""
    with pytest.MonkeyPatch.context() as patch:
        for module in (sweep, compaction):
            patch.setattr(module, "clear", lambda *args, **options: None)
        yield


def archives(path: Path) -> list[Path]:
    """The archived segments of a log."""
    return sorted(path.glob("[0-9]*/*.jsonl.zst"))

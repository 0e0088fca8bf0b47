"""A small log to break, and what is compared before and after its repair."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import timelog
from timelog.event import Event
from timelog.names import Layout
from timelog.rotate import write_checkpoint
from timelog.timestamp import DAY, MINUTE, SECOND, to_datetime

START = 20_000 * DAY


def make_log(path: Path, *, checkpoint: bool = True, flushes: int = 3) -> list[Event]:
    """Make a log of two days, with files of minutes and of a day, and return its events.

    ``checkpoint``: of all but the last flush, which is in the journal alone then.
    """
    with timelog.open(path, flush_interval=3600.0, text_index=False) as log:
        for n in range(flushes):
            if checkpoint and n == flushes - 1:
                write_checkpoint(log._store.layout, log._store.storage, log._store.index)
            for us in (START, START + MINUTE, START + DAY):
                for m in range(3):
                    log.append(
                        f"content {n} {m} ü",
                        timestamp=to_datetime(us + n * SECOND + m),
                        source=f"s{m}",
                        tags=(f"t{n}", "all"),
                        fields={"n": n, "list": [1, None]} if m else None,
                    )
            if not n:
                log.append_many(
                    {
                        "content": f"imported {m}",
                        "timestamp": to_datetime(START + 600 * MINUTE + m * MINUTE),
                    }
                    for m in range(20)
                )
            log.append_many([], cursor=("reader", n))
            log.flush()
        return sorted_events(log)


def sorted_events(log: timelog.EventLog) -> list[Event]:
    """All events, in an order that does not depend on that of arrival."""
    return sorted(log.search(), key=lambda event: (event.timestamp, event.id, event.content))


def events_of(path: Path) -> list[Event]:
    """The events of a log that must be whole: nothing damaged, nothing left over."""
    with timelog.open(path, mode="r") as log:
        report = log.verify(deep=True)
        assert report.ok and not report.foreign, str(report)
        books = log.audit()
        assert books.ok and books.stored == report.events, str(books)
        events = sorted_events(log)
        assert len(events) == report.events == log.search().count()
        return events


def everything(path: Path) -> dict[str, bytes | None]:
    """All files with their bytes, and all directories."""
    found: dict[str, bytes | None] = {}
    for directory, _, files in os.walk(path):
        found[directory] = None
        for name in files:
            file = Path(directory) / name
            found[str(file)] = b"" if file.is_symlink() else file.read_bytes()
    return found


def kept(path: Path) -> list[bytes]:
    """What is in quarantine, sorted."""
    return sorted(
        file.read_bytes() for file in Layout(path).quarantine.rglob("*") if file.is_file()
    )


def segments(path: Path) -> list[Path]:
    """The segments of a log."""
    return sorted(path.glob("[0-9]*/*.jsonl"))


def _append(file: Path, data: bytes) -> None:
    with file.open("ab") as out:
        out.write(data)


def _next_file(path: Path) -> Path:
    first = segments(path)[0]
    return first.with_name(first.name.replace(".jsonl", ".7.jsonl"))


def _flip(file: Path, at: int) -> None:
    data = bytearray(file.read_bytes())
    data[at] ^= 1
    file.write_bytes(data)


def _day(path: Path, number: int) -> Path:
    return sorted(Layout(path).index.glob("2*.index"))[number]


def _without_records(path: Path) -> None:
    """The text alone, with bad, repeated and foreign lines in it, and an empty file."""
    shutil.rmtree(Layout(path).control)
    one, two, *_ = segments(path)
    lines = one.read_bytes().splitlines(keepends=True)
    one.write_bytes(b"".join([lines[0], b"{}\n", *lines[1:], lines[0], b'{"timestamp":"2026']))
    shutil.copy(two, two.with_name(two.name.replace(".jsonl", ".2.jsonl")))
    segments(path)[-1].with_name("20241005T0009Z-20241005T0010Z.jsonl").touch()


# Each breaks a log of `make_log` so that a repair finds all of its events again.
BREAKS: dict[str, Callable[[Path], None]] = {
    "tail": lambda path: _append(segments(path)[0], b'{"timestamp":"2026'),
    "unknown file": lambda path: _next_file(path).write_bytes(b"\0" * 100),
    "empty file": lambda path: _next_file(path).touch(),
    "known events": lambda path: _next_file(path).write_bytes(segments(path)[0].read_bytes()),
    "control gone": lambda path: shutil.rmtree(Layout(path).control),
    "control gone and bad text": _without_records,
    "format gone": lambda path: Layout(path).format.unlink(),
    "format garbage": lambda path: Layout(path).format.write_bytes(b"\0" * 50),
    "root garbage": lambda path: _flip(Layout(path).index_root, 40),
    "root gone": lambda path: Layout(path).index_root.unlink(),
    "journal gone": lambda path: shutil.rmtree(Layout(path).journals),
    "index gone": lambda path: shutil.rmtree(Layout(path).index),
    "day gone": lambda path: _day(path, 0).unlink(),
    "day damaged": lambda path: _flip(_day(path, 1), 40),
    "all days gone": lambda path: [_day(path, 0).unlink() for _ in range(2)] and None,
}

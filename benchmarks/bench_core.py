"""The core's jobs, each beside its floor and beside the rivals that do the same job.

`make bench` runs them; TIMELOG_BENCH_EVENTS and TIMELOG_BENCH_ROUNDS set the size.
Jobs that write end when the data is durable, as far as the contestant can make it so.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.contest import FLOOR, OURS, Measure, contest
from benchmarks.floors import AppendFloor, EncodeFloor
from benchmarks.lines import CLASS_PATTERN, MINUTE, NEEDLE, RARE_TAG, START
from benchmarks.ours import Timelog
from benchmarks.rivals import FileLog, Row, Sqlite, Theia
from benchmarks.shelf import DECODE, READ, RG, RG1, SQLITE, THEIA, Shelf

Make = Callable[[Path], Any]

APPEND: dict[str, Make] = {
    FLOOR + "f-string and list.append": AppendFloor,
    OURS: Timelog,
    "sqlite3 autocommit": Sqlite,
    "logging.FileHandler": FileLog,
    "theia save": Theia,
}
APPEND_MANY: dict[str, Make] = {
    FLOOR + "encode, write, fsync": EncodeFloor,
    OURS: Timelog,
    "sqlite3 executemany": Sqlite,
    "sqlite3 executemany, tag table": partial(Sqlite, tag_table=True),
}
FLUSH: dict[str, Make] = {
    FLOOR + "encode, write, fsync": EncodeFloor,
    OURS: partial(Timelog, flush_interval=3600.0),
    "sqlite3 executemany, synchronous=FULL": partial(Sqlite, synchronous="FULL"),
}
OPEN: dict[str, Make] = {
    OURS: Timelog,
    "timelog, read only": partial(Timelog, mode="r"),
    SQLITE: Sqlite,
    THEIA: partial(Theia, live=False),
}


@contest("append one by one", list(APPEND))
def bench_append(name: str, turn: int, folder: Path, rows: list[Row], measure: Measure) -> None:
    """One thread, one call per event, then one sync: encoding and flushing are in the time."""
    store = APPEND[name](folder)
    events: list[Any] = rows
    if isinstance(store, AppendFloor):
        events = [(*row[:3], ",".join(row[3]), row[4]) for row in rows]
    measure(store.append, events, events=len(rows), expect=len(rows))
    store.close()


@contest("append_many, 5,000 a batch", list(APPEND_MANY))
def bench_append_many(
    name: str, turn: int, folder: Path, rows: list[Row], measure: Measure
) -> None:
    """The events in batches, at their own times; one sync at the end."""
    store = APPEND_MANY[name](folder)
    measure(store.append_many, store.prepare(rows), events=len(rows), expect=len(rows))
    store.close()


def flush(name: str, size: int, folder: Path, rows: list[Row], measure: Measure) -> None:
    """`size` events that wait in memory become durable."""
    store = FLUSH[name](folder)
    waiting = rows[:size]
    if isinstance(store, Timelog):
        store.fill(waiting)
        measure(store.flush, events=len(waiting))
    elif isinstance(store, Sqlite):
        measure(store.insert, waiting, events=len(waiting))
    else:
        measure(store.append_many, store.prepare(waiting), events=len(waiting))
    store.close()


@contest("flush of 1,000 events", list(FLUSH))
def bench_flush_small(
    name: str, turn: int, folder: Path, rows: list[Row], measure: Measure
) -> None:
    flush(name, 1_000, folder, rows, measure)


@contest("flush of 20,000 events", list(FLUSH))
def bench_flush_large(
    name: str, turn: int, folder: Path, rows: list[Row], measure: Measure
) -> None:
    flush(name, 20_000, folder, rows, measure)


@contest("open", [FLOOR + "reading .timelog", *OPEN])
def bench_open(name: str, turn: int, shelf: Shelf, measure: Measure) -> None:
    """A filled store is opened. Connecting to SQLite reads nothing, so one row is fetched."""
    if name not in OPEN:
        measure(shelf[READ].open, repeat=5)
        return
    kind = name.partition(",")[0]
    shelf[kind]
    opened: list[Any] = []

    def act() -> None:
        store = OPEN[name](shelf.place(kind))
        if isinstance(store, Sqlite):
            store.touch()
        opened.append(store)

    measure(act, repeat=5)
    for store in opened:
        store.close()


@contest("search, one minute", [DECODE, READ, OURS, SQLITE, THEIA])
def bench_time_range(name: str, turn: int, shelf: Shelf, measure: Measure) -> None:
    """The middle minute of the log."""
    first, last = shelf.rows[0][0], shelf.rows[-1][0]
    start = START + ((first + last) // 2 - START) // MINUTE * MINUTE
    end = start + MINUTE
    found = sum(start <= row[0] < end for row in shelf.rows)
    measure(shelf[name].time_range, start, end, events=found, expect=found, repeat=3)


@contest("search, a tag held by 1 %", [READ, OURS, SQLITE, THEIA, RG1])
def bench_tag(name: str, turn: int, shelf: Shelf, measure: Measure) -> None:
    found = shelf.matching(RARE_TAG, lambda row: RARE_TAG in row[3])
    repeat = 1 if name == THEIA else 3
    measure(shelf[name].tag, RARE_TAG, events=len(shelf.rows), expect=found, repeat=repeat)


REGEX = [READ, OURS, SQLITE, THEIA, RG1, RG]


def regex(name: str, pattern: str, shelf: Shelf, measure: Measure) -> None:
    """The whole log is searched for `pattern`."""
    found = shelf.matching(pattern, lambda row: re.search(pattern, row[4]) is not None)
    repeat = 1 if name == THEIA else 3
    measure(shelf[name].regex, pattern, events=len(shelf.rows), expect=found, repeat=repeat)


@contest("search, a rare literal", REGEX)
def bench_regex_literal(name: str, turn: int, shelf: Shelf, measure: Measure) -> None:
    regex(name, NEEDLE, shelf, measure)


@contest("search, a pattern of classes", REGEX)
def bench_regex_classes(name: str, turn: int, shelf: Shelf, measure: Measure) -> None:
    regex(name, CLASS_PATTERN, shelf, measure)


@contest("read all as Event objects", [DECODE, READ, OURS, SQLITE, THEIA])
def bench_read_all(name: str, turn: int, shelf: Shelf, measure: Measure) -> None:
    measure(shelf[name].read_all, events=len(shelf.rows), expect=len(shelf.rows))

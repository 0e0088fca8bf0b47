"""Searching one log for the rare, the absent, the frequent and the awkward, beside rivals.

    python -m benchmarks.search --events 1000000 --segments 100

Makes a log of one segment a minute through the public surface, a copy of it with a text index, and
a table of SQLite; reads the segments once, so that they are in the operating system's cache. In
each contest the contestants take turns and must find the same number of events. What is wanted is
a ratio of best times: to rg, DuckDB, SQLite, or the loop that anyone would write.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import Any

import timelog
from benchmarks import report
from benchmarks.floors import ReadFloor
from benchmarks.fresh import fresh
from benchmarks.lines import ABSENT, NEEDLE, ONE_NEEDLE, RARE_TAG
from benchmarks.rivals import DuckDb, Ripgrep
from benchmarks.search_ours import (
    Indexed,
    Unaided,
    has_text_index,
    make,
    search,
    text_bytes,
    text_index,
    whole,
)
from benchmarks.search_rivals import compress, decode, fill, lines_with, loop
from benchmarks.search_turns import HEADERS, Act, Bar, Contest, hold, rows_of, timed

OURS, INDEXED, UNAIDED = "timelog", "timelog, text index", "timelog, no extras"
WHOLE, WHOLE_INDEXED = "timelog, whole process", "timelog, text index, whole process"
RG1, RG1_COUNT, DUCKDB, SQLITE = "rg -j1", "rg -j1 -c", "duckdb", "sqlite3, tag table"
DECODE, LOOP, ZSTD = "decoding these lines", "decode and re.search", "zstd level 3"

COUNTED = (
    "lease of shard|zx-41417|corrupt page",
    "(?i)LEASE OF SHARD",
    r"\d{1,3}(\.\d{1,3}){3}",
    r"Killed process.*\(scheduler\)",
)
NO_LITERAL = (r"\b[A-Z]\w+ [a-z]+ [a-z]+ \w+\b", r"(?<=user)\d+7\b")
DENSE = "request"
"""About 27 % of the contents hold this text."""

MANY = 10_000_000
SIZE_WANTED = 0.05
PACKAGES = ("duckdb", "hyperscan", "numpy", "google-re2", "zstandard")
Acts = dict[str, Act]


class Ring:
    """The open log and its rivals; gives the contests one by one. A context manager."""

    def __init__(self, folder: Path, events: int) -> None:
        self.plain = folder / "log"
        self.events = events
        self.paths = ReadFloor(self.plain).paths
        self.text = text_bytes(self.plain)
        self.indexed = Indexed(self.plain, folder / "indexed")
        self.rg = Ripgrep(self.plain, "-j1")
        self.with_index: timelog.EventLog | None = None
        self._opened = ExitStack()
        keep = self._opened.enter_context
        self.log = keep(timelog.open(self.plain, mode="r"))
        self.sqlite = fill(folder / "sqlite", self.log, events)
        self.duckdb = DuckDb(self.plain)
        self.unaided = Unaided(self.plain)
        for each in (self.sqlite, self.duckdb, self.unaided):
            self._opened.callback(each.close)

    def __enter__(self) -> Ring:
        return self

    def __exit__(self, *_: object) -> None:
        self._opened.close()

    def contests(self) -> Iterator[Contest]:
        """The contests. Each is made when the one before is over: the first builds the index."""
        yield self._build()
        if has_text_index(self.log):
            indexed = timelog.open(self.indexed.folder, mode="r")
            self.with_index = self._opened.enter_context(indexed)
        yield from self._literals()
        yield from map(self._count, COUNTED)
        yield self._dense()
        yield self._tag()
        yield from map(self._no_literal, NO_LITERAL)

    def _build(self) -> Contest:
        acts: Acts = {INDEXED: self.indexed.build} if has_text_index(self.log) else {}
        acts[ZSTD] = timed(compress, self.paths)
        return Contest("build the text index (bytes)", acts, (Bar(INDEXED, ZSTD, 2),), self.text)

    def _literals(self) -> Iterator[Contest]:
        whole_processes = (Bar(WHOLE, RG1), Bar(WHOLE_INDEXED, RG1))
        without, least = Bar(OURS, RG1), 0.05 if self.events >= MANY else 0.2
        yield Contest(
            "a rare literal",
            self._literal(NEEDLE) | self._unaided("pattern", NEEDLE),
            (
                Bar(OURS, RG1, 2),
                Bar(INDEXED, RG1, 0.2),
                Bar(UNAIDED, OURS, 3),
                *whole_processes,
            ),
            min(self.events, 30),
        )
        yield Contest(
            "one needle",
            self._literal(ONE_NEEDLE),
            (without, Bar(INDEXED, RG1, least), *whole_processes),
            1,
        )
        yield Contest(
            "an absent literal",
            self._literal(ABSENT),
            (without, Bar(INDEXED, RG1, 0.1), *whole_processes),
            0,
        )

    def _count(self, pattern: str) -> Contest:
        return Contest(
            f"count `{pattern}`",
            self._ours("count", pattern)
            | self._unaided("count", pattern)
            | {RG1_COUNT: timed(self.rg.count, pattern)},
            (Bar(OURS, RG1_COUNT, 3), Bar(UNAIDED, OURS, 3)),
        )

    def _dense(self) -> Contest:
        lines = lines_with(self.paths, DENSE)
        share = decode(lines) / self.events
        return Contest(
            f"`{DENSE}`, in {share:.0%} of the events",
            self._ours("pattern", DENSE) | {DECODE: timed(decode, lines)},
            (Bar(OURS, DECODE, 1.3),),
        )

    def _tag(self) -> Contest:
        rivals = {
            DUCKDB: timed(self.duckdb.tag, RARE_TAG),
            SQLITE: timed(self.sqlite.tag, RARE_TAG),
        }
        return Contest(
            "a tag held by 1 %",
            self._ours("tag", RARE_TAG)
            | self._with_index("tag", RARE_TAG)
            | self._unaided("tag", RARE_TAG)
            | rivals,
            (
                Bar(OURS, DUCKDB),
                Bar(INDEXED, DUCKDB, 0.2),
                Bar(INDEXED, SQLITE, 1, stretch=True),
                Bar(UNAIDED, OURS, 3),
            ),
        )

    def _no_literal(self, pattern: str) -> Contest:
        return Contest(
            f"no literal: `{pattern}`",
            self._ours("pattern", pattern) | {LOOP: timed(loop, self.paths, pattern)},
            (Bar(OURS, LOOP, 1),),
        )

    def _literal(self, pattern: str) -> Acts:
        acts = self._ours("pattern", pattern) | self._with_index("pattern", pattern)
        acts[WHOLE] = timed(whole, self.plain, pattern)
        acts[RG1] = timed(self.rg.regex, pattern)
        if self.with_index is not None:
            acts[WHOLE_INDEXED] = timed(whole, self.indexed.folder, pattern)
        return acts

    def _ours(self, how: str, what: str) -> Acts:
        return {OURS: timed(search, self.log, how, what)}

    def _with_index(self, how: str, what: str) -> Acts:
        if self.with_index is None:
            return {}
        return {INDEXED: timed(search, self.with_index, how, what)}

    def _unaided(self, how: str, what: str) -> Acts:
        return {UNAIDED: partial(self.unaided.search, how, what)}


def prepare(folder: Path, events: int, segments: int) -> None:
    """See that the log is in `folder`, without a text index, and read all of it once."""
    place = folder / "log"
    if not place.exists():
        print(f"  making {events:,} events", file=sys.stderr)
        fresh(make, place, events, segments)
    with timelog.open(place, mode="r") as log:
        held = log.search().count()
    files = ReadFloor(place)
    if (held, len(files.paths)) != (events, segments):
        raise SystemExit(
            f"{place} holds {held:,} events in {len(files.paths):,} segments, not {events:,} in "
            f"{segments:,}; remove it or choose another directory"
        )
    if text_index(place):
        raise SystemExit(f"{place} has a text index, and is to be measured without; remove it")
    files.read_all()


def measure(folder: Path, events: int, rounds: int) -> tuple[list[tuple[str, ...]], dict[str, Any]]:
    """Hold all contests; return the table and every figure."""
    rows: list[tuple[str, ...]] = []
    held = []
    with Ring(folder, events) as ring:
        for contest in ring.contests():
            outcome = hold(contest, rounds)
            held.append({"job": contest.job, "found": outcome.found, "seconds": outcome.times})
            rows += rows_of(outcome)
        size = ring.indexed.bytes
        rows.append(size_row(size, ring.text))
        said = ring.indexed.report
        data = {"text_bytes": ring.text, "index_bytes": size, "index": said, "contests": held}
    return rows, data


def size_row(size: int, text: int) -> tuple[str, ...]:
    """The line of the text index's size, beside that of the text."""
    job, wanted = "size of the text index (bytes)", f"<= {SIZE_WANTED:g}"
    if not size:
        return (job, INDEXED, "", "not built", "", "", "", wanted, "")
    share = size / text
    met = "yes" if share <= SIZE_WANTED else "NO"
    return (job, INDEXED, f"{size:,}", "", "", f"{share:.3g}", "the text", wanted, met)


def versions() -> dict[str, str]:
    """The versions of the packages that take part, beside those that every report has."""
    known = {}
    for package in PACKAGES:
        try:
            known[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            known[package] = "not installed"
    return known


def notes_of(args: argparse.Namespace, data: dict[str, Any]) -> list[str]:
    """What is to be known to read the table."""
    notes = [
        f"{args.events:,} events in {args.segments:,} segments, {data['text_bytes'] / 1e6:.1f} MB, "
        "all in the operating system's cache",
        f"best and median of {args.rounds} rounds in turns; ratios are made from the best times; "
        "all contestants of a job found the same number",
        "timelog, DuckDB, SQLite and the loops run in the measuring process and make each event "
        'found available to it, unless they "count"; rg is a process of its own and prints lines, '
        "or counts them",
        "no extras: a process kept for all rounds, in which hyperscan and numpy cannot be imported",
        "whole process: the command line, from the start of its process to its end",
    ]
    if data["index"]:
        notes.append("the text index: " + "; ".join(data["index"].splitlines()))
    return notes


def main(argv: list[str] | None = None) -> int:
    """Measure searching a log, beside rg, DuckDB, SQLite and plain loops."""
    parser = argparse.ArgumentParser(prog="benchmarks.search", description=main.__doc__)
    parser.add_argument("--events", type=int, default=1_000_000, help="events (1000000)")
    parser.add_argument("--segments", type=int, default=100, help="minutes they spread over (100)")
    parser.add_argument("--rounds", type=int, default=5, help="turns of each contestant (5)")
    parser.add_argument("--keep", type=Path, metavar="DIR", help="keep the log in DIR and reuse it")
    parser.add_argument("--no-results", action="store_true", help="write no result files")
    args = parser.parse_args(argv)

    folder = (args.keep or Path(tempfile.mkdtemp(prefix="timelog-search-"))).absolute()
    folder.mkdir(parents=True, exist_ok=True)
    try:
        described = report.machine(folder) | versions()
        prepare(folder, args.events, args.segments)
        rows, data = measure(folder, args.events, args.rounds)
    finally:
        if args.keep is None:
            shutil.rmtree(folder)

    notes = notes_of(args, data)
    print("\n".join([*notes, "", report.table(HEADERS, rows), ""]))
    print("\n".join(f"{what}: {value}" for what, value in described.items()))
    if not args.no_results:
        settings = {"events": args.events, "segments": args.segments, "rounds": args.rounds}
        page = report.write(
            f"search-{args.events}",
            "timelog: searching, beside rivals",
            HEADERS,
            rows,
            notes=notes,
            described=described,
            data={"settings": settings, **data},
        )
        print(f"\nwritten: {page.name} and .json in {page.parent.name}/")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())

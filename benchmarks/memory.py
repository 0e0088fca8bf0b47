"""Resident memory of appending many events, and of searching many.

    python -m benchmarks.memory --events 10000000 --search-events 1000000

Appends at full speed in one process and looks at its memory after a fifth and at the end (wanted:
within 20 MB of each other). Searches whole logs in fresh processes: ascending, descending, and
where the events had arrived in shuffled order (wanted: a peak under 100 MB).
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
from itertools import cycle, islice
from pathlib import Path
from random import Random
from time import perf_counter
from typing import Any

import timelog
from benchmarks import report
from benchmarks.fresh import MB, fresh, peak, resident
from benchmarks.lines import lines
from benchmarks.ours import moment
from benchmarks.rivals import BATCH

GROWTH_WANTED = 20 * MB
PEAK_WANTED = 100 * MB
SAMPLE = 20_000
HEADERS = ("what", "figure", "wanted", "met")
Figures = dict[str, Any]


def append(folder: Path, marks: list[int]) -> list[Figures]:
    """Append up to the last of `marks` events, live and at full speed; look at each mark.

    `busy` is the largest memory seen in the tenth of the events before the mark, where events wait
    to be flushed; `idle` the memory after a sync, where none does.
    """
    supply = list(lines(20_000, seed=5))
    seen: list[Figures] = []
    done = 0
    begun = perf_counter()
    with timelog.open(folder) as log:
        call = log.append
        for mark in marks:
            busy = 0
            while done < mark:
                size = min(SAMPLE, mark - done)
                for line in islice(cycle(supply), size):
                    call(line.content, source=line.source, tags=line.tags)
                done += size
                if done > mark - mark // 10:
                    busy = max(busy, resident())
            log.sync()
            taken = perf_counter() - begun
            seen.append({"events": done, "busy": busy, "idle": resident(), "seconds": taken})
    return seen


def make(folder: Path, events: int, shuffled: bool) -> None:
    """Make a log of `events` events, 10,000 a minute, arriving in order of time or in none."""
    made = list(lines(events, seed=6, minutes=max(events // 10_000, 1)))
    if shuffled:
        Random(7).shuffle(made)
    with timelog.open(folder) as log:
        for first in range(0, events, BATCH):
            log.append_many(
                {
                    "content": line.content,
                    "source": line.source,
                    "tags": line.tags,
                    "timestamp": moment(line.timestamp),
                }
                for line in made[first : first + BATCH]
            )


def search(folder: Path, events: int, order: str) -> Figures:
    """Search the whole log, event by event; check count and order; return the memory it took."""
    with timelog.open(folder, mode="r") as log:
        before = peak()
        begun = perf_counter()
        found = 0
        last = None
        up = order == "asc"
        for event in log.search(order=order):
            stamp = event.timestamp
            if last is not None and (stamp < last if up else stamp > last):
                raise AssertionError(f"event {event.id} is out of order")
            last = stamp
            found += 1
        taken = perf_counter() - begun
    if found != events:
        raise AssertionError(f"{found} events found, not {events}")
    return {"before": before, "peak": peak(), "seconds": taken}


def row(what: str, size: float, wanted: float | None = None) -> tuple[str, ...]:
    """A line of the table, in MB."""
    if wanted is None:
        return (what, f"{size / MB:.1f} MB", "", "")
    met = "yes" if size <= wanted else "NO"
    return (what, f"{size / MB:.1f} MB", f"<= {wanted / MB:.0f} MB", met)


def append_rows(seen: list[Figures]) -> list[tuple[str, ...]]:
    """Memory at the marks, and by how much it grew from the first mark to the last."""
    rows = []
    for kind in ("busy", "idle"):
        for figures in seen:
            rows.append(row(f"append, {figures['events']:,} events, {kind}", figures[kind]))
        growth = seen[-1][kind] - seen[0][kind]
        rows.append(row(f"append, growth between them, {kind}", growth, GROWTH_WANTED))
    rate = seen[-1]["events"] / seen[-1]["seconds"]
    rows.append(("append, rate", f"{rate:,.0f} events/s", "", ""))
    return rows


def measure(folder: Path, events: int, search_events: int) -> tuple[list[tuple[str, ...]], Figures]:
    """Do it all below `folder`; return the table and every figure."""
    seen: list[Figures] = []
    rows: list[tuple[str, ...]] = []
    if events:
        seen = fresh(append, folder / "appended", [events // 5, events])
        shutil.rmtree(folder / "appended")
        rows += append_rows(seen)
    searched: dict[str, Figures] = {}
    if search_events:
        for arrival in ("in order", "shuffled"):
            log = folder / arrival.replace(" ", "-")
            fresh(make, log, search_events, arrival == "shuffled")
            for order in ("asc", "desc"):
                figures = fresh(search, log, search_events, order)
                name = f"search, {order}, arrived {arrival}"
                searched[name] = figures
                rate = search_events / figures["seconds"]
                rows.append(row(f"{name}: peak", figures["peak"], PEAK_WANTED))
                before = f"{figures['before'] / MB:.1f} MB"
                rows.append((f"{name}: before it / rate", f"{before} / {rate:,.0f} ev/s", "", ""))
            shutil.rmtree(log)
    return rows, {"append": seen, "search": searched}


def main(argv: list[str] | None = None) -> int:
    """Measure resident memory of appending and of searching."""
    parser = argparse.ArgumentParser(prog="benchmarks.memory", description=main.__doc__)
    parser.add_argument("--events", type=int, default=10_000_000, help="events to append")
    parser.add_argument("--search-events", type=int, default=1_000_000, help="events to search")
    parser.add_argument("--no-results", action="store_true", help="write no result files")
    args = parser.parse_args(argv)
    folder = Path(tempfile.mkdtemp(prefix="timelog-memory-"))
    try:
        described = report.machine(folder)
        rows, data = measure(folder, args.events, args.search_events)
    finally:
        shutil.rmtree(folder)
    notes = [
        f"{args.events:,} events appended one by one; {args.search_events:,} events searched in "
        "each of two logs; each measurement in a fresh process; 1 MB is 10^6 bytes",
        "`busy`: the largest resident memory in the tenth of the events before the mark; `idle`: "
        "after a sync",
    ]
    print("\n".join([*notes, "", report.table(HEADERS, rows)]))
    if not args.no_results:
        title = "timelog: resident memory"
        page = report.write(
            "memory", title, HEADERS, rows, notes=notes, described=described, data=data
        )
        print(f"\nwritten: {page.name} and .json in {page.parent.name}/")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())

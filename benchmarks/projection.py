"""How long a program with a projection takes to start: open the log, load the state, fold the rest.

    python -m benchmarks.projection

The log has a million events. Each start is a process of its own, in which timelog is imported
already. Beside it: folding all events again, which a start without a saved state would do.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
from itertools import islice
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

import timelog
from benchmarks import report
from benchmarks.fresh import fresh
from benchmarks.lines import lines
from benchmarks.ours import moment
from benchmarks.report import seconds
from benchmarks.rivals import BATCH
from timelog.consume import Projection

WANTED = 0.1
SUFFIXES = (0, 100, 10_000)
HEADERS = ("what", "median", "x all again", "wanted", "met")


def make(place: Path, events: int) -> None:
    """A log in order of arrival."""
    supply = lines(events, seed=3, minutes=60)
    with timelog.open(place, flush_interval=3600.0, text_index=False) as log:
        while batch := list(islice(supply, BATCH)):
            append(log, batch)
            log.flush()


def append(log: timelog.EventLog, batch: list[Any]) -> None:
    """Append lines."""
    log.append_many(
        {
            "content": line.content,
            "source": line.source,
            "tags": line.tags,
            "timestamp": moment(line.timestamp),
        }
        for line in batch
    )


def count(state: Any, entry: timelog.Entry) -> Any:
    """How many events each source has, and how many of 100,000 keys were seen."""
    sources, keys = state["sources"], state["keys"]
    sources[entry.event.source] = sources.get(entry.event.source, 0) + 1
    keys[str(entry.position % 100_000)] = entry.position
    return state


def projection(log: timelog.EventLog, states: Path) -> Projection:
    """The projection that is measured; it saves when it is told to."""
    initial: Any = {"sources": {}, "keys": {}}
    return Projection(log, "count", count, initial=initial, directory=states, every=10**9)


def start(place: Path, states: Path) -> dict[str, float]:
    """The seconds of each part of a start."""
    taken = {}
    begun = perf_counter()
    with timelog.open(place, mode="r") as log:
        taken["open the log"] = perf_counter() - begun
        with projection(log, states) as one:
            taken["load"] = perf_counter() - begun - taken["open the log"]
            one.update()
            taken["all"] = perf_counter() - begun
            assert sum(one.state["sources"].values()) == log.position
    return taken


def begin(place: Path, states: Path) -> tuple[float, float]:
    """The seconds of folding everything, and of saving the state."""
    with timelog.open(place, mode="r") as log, projection(log, states) as one:
        begun = perf_counter()
        one.update()
        folded = perf_counter()
        one.save()
        return folded - begun, perf_counter() - folded


def main(argv: list[str] | None = None) -> int:
    """Measure how long a program with a projection takes to start."""
    parser = argparse.ArgumentParser(prog="benchmarks.projection", description=main.__doc__)
    parser.add_argument("--events", type=int, default=1_000_000, help="of the log (1000000)")
    parser.add_argument("--rounds", type=int, default=3, help="starts of each kind (3)")
    parser.add_argument("--no-results", action="store_true", help="write no result files")
    args = parser.parse_args(argv)
    folder = Path(tempfile.mkdtemp(prefix="timelog-projection-"))
    place, states = folder / "log", folder / "states"
    found: dict[str, list[dict[str, float]]] = {}
    try:
        described = report.machine(folder)
        make(place, args.events)
        again, saving = begin(place, states)
        size = max(each.stat().st_size for each in states.glob("*.state"))
        have = 0
        for suffix in SUFFIXES:
            with timelog.open(place, flush_interval=3600.0, text_index=False) as log:
                append(log, list(lines(suffix - have, seed=4, minutes=1)) if suffix > have else [])
            have = suffix
            found[f"start, {suffix:,} events to fold"] = [
                fresh(start, place, states) for _ in range(args.rounds)
            ]
    finally:
        shutil.rmtree(folder)
    rows = []
    for name, starts in found.items():
        taken = median(each["all"] for each in starts)
        is_asked = name.startswith("start, 0")
        rows.append(
            (
                name,
                seconds(taken),
                f"{taken / again:.3g}",
                f"< {seconds(WANTED)}" if is_asked else "",
                ("yes" if taken < WANTED else "NO") if is_asked else "",
            )
        )
    for part in ("open the log", "load"):
        taken = median(each[part] for each in found["start, 0 events to fold"])
        rows.append((f"  of it: {part}", seconds(taken), f"{taken / again:.3g}", "", ""))
    rows.append(("save the state", seconds(saving), f"{saving / again:.3g}", "", ""))
    rows.append(("fold all again", seconds(again), "1", "", ""))
    notes = [
        f"{args.events:,} events; a state of 100,000 keys, {size / 1e6:.1f} MB",
        f"medians of {args.rounds} fresh processes; files are in the operating system's cache",
    ]
    print("\n".join([*notes, "", report.table(HEADERS, rows)]))
    if not args.no_results:
        page = report.write(
            "projection",
            "timelog: starting with a projection",
            HEADERS,
            rows,
            notes=notes,
            described=described,
            data={"events": args.events, "starts": found, "again": again, "save": saving},
        )
        print(f"\nwritten: {page.name} and .json in {page.parent.name}/")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())

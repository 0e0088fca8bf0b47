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


def start(place: Path, states: Path | None) -> dict[str, float]:
    """The seconds of each part of a start; without saved states where ``states`` is None."""
    taken = {}
    with tempfile.TemporaryDirectory() as empty:
        begun = perf_counter()
        with timelog.open(place, mode="r") as log:
            taken["open the log"] = perf_counter() - begun
            initial: Any = {"sources": {}, "keys": {}}
            with Projection(
                log, "count", count, initial=initial, directory=states or empty, every=10**9
            ) as projection:
                taken["load"] = perf_counter() - begun - taken["open the log"]
                projection.update()
                taken["all"] = perf_counter() - begun
                assert sum(projection.state["sources"].values()) == log.position
    return taken


def save(place: Path, states: Path) -> float:
    """Fold everything and save; the seconds of saving."""
    with timelog.open(place, mode="r") as log:
        initial: Any = {"sources": {}, "keys": {}}
        with Projection(
            log, "count", count, initial=initial, directory=states, every=10**9
        ) as projection:
            projection.update()
            begun = perf_counter()
            projection.save()
            return perf_counter() - begun


def main(argv: list[str] | None = None) -> int:
    """Measure how long a program with a projection takes to start."""
    parser = argparse.ArgumentParser(prog="benchmarks.projection", description=main.__doc__)
    parser.add_argument("--events", type=int, default=1_000_000, help="of the log (1000000)")
    parser.add_argument("--rounds", type=int, default=5, help="starts of each kind (5)")
    parser.add_argument("--no-results", action="store_true", help="write no result files")
    args = parser.parse_args(argv)
    folder = Path(tempfile.mkdtemp(prefix="timelog-projection-"))
    place, states = folder / "log", folder / "states"
    found: dict[str, list[dict[str, float]]] = {}
    try:
        described = report.machine(folder)
        make(place, args.events)
        again = start(place, None)["all"]
        saving = save(place, states)
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

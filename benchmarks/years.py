"""Opening and searching a log of many segments: one day of minutes beside many days.

    python -m benchmarks.years --days 365

Makes two logs through the public surface, one of a day and one of `--days` days, with one segment a
minute, and measures in fresh processes and in a running one. Wanted: opening the large log in less
than 100 ms, and a search of one minute at most 1.5 times as long as in the log of one day.
"""

from __future__ import annotations

import argparse
import importlib
import shutil
import sys
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import cycle
from pathlib import Path
from random import Random
from statistics import median
from time import perf_counter
from typing import Any

import timelog
from benchmarks import report
from benchmarks.fresh import fresh
from benchmarks.lines import lines
from benchmarks.rivals import count
from timelog.storage import Storage

OPEN_WANTED = 0.1
RATIO_WANTED = 1.5
DAY = timedelta(days=1)
MINUTE = timedelta(minutes=1)
MINUTES = 1_440


class Unsynced(Storage):
    """A disk that is never told to sync: for making a large log quickly, not for keeping it."""

    def sync(self, fd: int) -> None:
        pass

    def sync_directory(self, path: Path) -> None:
        pass


def make(folder: Path, first: datetime, days: int, per_minute: int, progress: bool) -> float:
    """Make a log of `days` days from `first`; return how many seconds it took.

    One day is one `append_many` and one flush. The number of spans above which a flush writes one
    file for the day is raised, so that each minute gets its own segment as in live use.
    """
    importlib.import_module("timelog.encode").DAY_FILE_SPANS = sys.maxsize  # type: ignore[attr-defined]
    begun = perf_counter()
    supply = cycle(lines(10_000, seed=2))
    with timelog.open(folder, flush_interval=3600.0, storage=Unsynced()) as log:
        for day in range(days):
            log.append_many(_day(first + day * DAY, per_minute, supply))
            log.flush()
            if progress and day % 30 == 29:
                print(f"  {day + 1} days", file=sys.stderr)
    return perf_counter() - begun


def _day(start: datetime, per_minute: int, supply: Iterator[Any]) -> Iterator[dict[str, Any]]:
    step = MINUTE / per_minute
    for number in range(MINUTES * per_minute):
        line = next(supply)
        yield {
            "content": line.content,
            "source": line.source,
            "tags": line.tags,
            "timestamp": start + number * step,
        }


def probe(folder: Path, mode: str, minutes: list[datetime], expect: int) -> dict[str, float]:
    """Measure in this process: the first open, the first search, then both again.

    `minutes` are the starts of the minutes to look for, of different days where there are several.
    """

    def search(start: datetime) -> float:
        begun = perf_counter()
        found = count(log.search(start, start + MINUTE))
        taken = perf_counter() - begun
        if found != expect:
            raise AssertionError(f"{found} events in the minute of {start}, not {expect}")
        return taken

    begun = perf_counter()
    log = timelog.open(folder, mode=mode)
    taken = {"open, fresh process": perf_counter() - begun}
    taken["search, fresh process"] = search(minutes[0])
    taken["open + search, fresh process"] = sum(taken.values())
    taken["search, day not used before"] = median(map(search, minutes[1:]))
    taken["search, warm"] = median(search(minutes[number % 5]) for number in range(50))
    log.close()
    opens = []
    for _ in range(5):
        begun = perf_counter()
        log = timelog.open(folder, mode=mode)
        opens.append(perf_counter() - begun)
        log.close()
    taken["open, warm"] = median(opens)
    return taken


def minutes_of(first: datetime, days: int, random: Random) -> list[datetime]:
    """Ten minutes to search, at random, from as many different days as there are."""
    chosen = random.sample(range(days), min(days, 10))
    picked = [chosen[number % len(chosen)] for number in range(10)]
    return [first + day * DAY + random.randrange(MINUTES) * MINUTE for day in picked]


def files(folder: Path) -> tuple[int, int]:
    """How many segments there are, and the bytes of the log's own directory."""
    segments = sum(1 for _ in folder.glob("[0-9]*/*.jsonl"))
    own = (path for path in (folder / ".timelog").rglob("*") if path.is_file())
    return segments, sum(path.stat().st_size for path in own)


def measure(
    small: Path, large: Path, days: int, last: datetime, per_minute: int, rounds: int
) -> dict[str, dict[str, list[float]]]:
    """All times: what was measured, to the log (`small`, `large`), to the times of the rounds."""
    random = Random(3)
    all_times: dict[str, dict[str, list[float]]] = {}
    for mode in ("r", "a"):
        for _ in range(rounds):
            for which, folder, length in (("small", small, 1), ("large", large, days)):
                minutes = minutes_of(last - (length - 1) * DAY, length, random)
                for name, taken in fresh(probe, folder, mode, minutes, per_minute).items():
                    times = all_times.setdefault(f'{name}, mode "{mode}"', {})
                    times.setdefault(which, []).append(taken)
    return all_times


def rows_of(times: dict[str, dict[str, list[float]]]) -> list[tuple[str, ...]]:
    """The table: medians of the rounds, and whether what is wanted is met."""
    rows: list[tuple[str, ...]] = []
    for name, taken in times.items():
        small, large = median(taken["small"]), median(taken["large"])
        ratio = large / small
        wanted, met = "", ""
        if name.startswith("open,"):
            wanted = f"< {report.seconds(OPEN_WANTED)}"
            met = "yes" if large < OPEN_WANTED else "NO"
        elif name.startswith(("search, fresh", "search, warm")):
            wanted = f"ratio <= {RATIO_WANTED}"
            met = "yes" if ratio <= RATIO_WANTED else "NO"
        cells = (report.seconds(small), report.seconds(large), f"{ratio:.2f}")
        rows.append((name, *cells, wanted, met))
    return rows


def main(argv: list[str] | None = None) -> int:
    """Measure opening and searching a log of many segments."""
    parser = argparse.ArgumentParser(prog="benchmarks.years", description=main.__doc__)
    parser.add_argument("--days", type=int, default=365, help="days of the large log (365)")
    parser.add_argument("--per-minute", type=int, default=2, help="events in each segment (2)")
    parser.add_argument("--rounds", type=int, default=5, help="fresh processes for each log (5)")
    parser.add_argument("--folder", type=Path, help="where to make the logs, kept afterwards")
    parser.add_argument("--no-results", action="store_true", help="write no result files")
    args = parser.parse_args(argv)

    folder = args.folder or Path(tempfile.mkdtemp(prefix="timelog-years-"))
    small, large = folder / "day", folder / f"days-{args.days}"
    last = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0) - DAY
    first = last - (args.days - 1) * DAY
    try:
        described = report.machine(folder.parent)
        took = {}
        for place, start, days in ((small, last, 1), (large, first, args.days)):
            if not place.exists():
                took[days] = fresh(make, place, start, days, args.per_minute, True)
        segments, own = files(large)
        times = measure(small, large, args.days, last, args.per_minute, args.rounds)
    finally:
        if args.folder is None:
            shutil.rmtree(folder)

    headers = ("what", "1 day", f"{args.days} days", "ratio", "wanted", "met")
    rows = rows_of(times)
    notes = [
        f"{args.days} days, {segments:,} segments of {args.per_minute} events; the log's own "
        f"directory holds {own / 1e6:.1f} MB; made in {report.seconds(took.get(args.days, 0))}",
        f"medians of {args.rounds} fresh processes for each log, in turns; files are in the "
        "operating system's cache",
        '"day not used before" is the median of nine searches after the first, each in another '
        "day where the log has several; in the log of one day that day is known already",
    ]
    print("\n".join([*notes, "", report.table(headers, rows)]))
    if not args.no_results:
        title = "timelog: opening and searching years of minutes"
        data = {"segments": segments, "own_bytes": own, "made_seconds": took, "times": times}
        page = report.write(
            "years", title, headers, rows, notes=notes, described=described, data=data
        )
        print(f"\nwritten: {page.name} and .json in {page.parent.name}/")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())

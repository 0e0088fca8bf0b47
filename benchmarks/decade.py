"""Ten years of an event a second, on the level of the index: opening, searching a minute, memory.

    python -m benchmarks.decade

The index of 3,650 days of 86,400 events is written as checkpoints are, once compacted (a segment a
day, blocks of 256 KiB) and once not (a segment a minute), without the text of more than one day: it
would be 60 GB. Beside each stands the log of that one day. Opening, searching minutes of that day
and memory are measured in fresh processes.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from statistics import median
from time import perf_counter
from typing import Any

import msgspec

import timelog
from benchmarks import report
from benchmarks.fresh import fresh, peak, resident
from benchmarks.lines import lines
from benchmarks.rivals import count
from benchmarks.years import Unsynced
from timelog.checkpoint import DaySummary, crc_of, pack_day, pack_root, parse_day, parse_root
from timelog.journal import Begin, pack
from timelog.names import Layout, SegmentName, day_index
from timelog.segment import FileIndex, Segment
from timelog.span import Span
from timelog.timestamp import DAY, MINUTE, SECOND

PER_DAY = 86_400
SEARCHES = 30


def make_day(folder: Path, *, compacted: bool) -> None:
    """Make the log of yesterday: an event a second."""
    start = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    start -= timedelta(days=1)
    supply = lines(PER_DAY, seed=5)
    with timelog.open(
        folder, flush_interval=3600.0, storage=Unsynced(), text_index=False, scrub_interval=0
    ) as log:
        for second in range(0, PER_DAY, 600):
            log.append_many(
                {
                    "content": line.content,
                    "source": line.source,
                    "tags": line.tags,
                    "timestamp": start + timedelta(seconds=second + n),
                }
                for n, line in zip(range(600), supply, strict=False)
            )
            log.flush()
        if compacted:
            log.compact()
        # A checkpoint, so that the index is where it will be looked for.
        log._store.flusher.committer.exclusive(lambda: None, closing=True)


def multiply(source: Path, target: Path, days: int) -> int:
    """Make a log of so many days before, each with the index of that one day; bytes written."""
    shutil.copytree(source, target)
    layout = Layout(target)
    root = parse_root(layout.index_root.read_bytes())
    (last,) = root.days
    files = _files(layout, last)
    summaries, written = [], 0
    for n in range(days):
        start = last.day - (days - 1 - n) * DAY
        if n == days - 1:
            data = pack_day(start, _moved(files, 0, n * PER_DAY))
        else:
            data = pack_day(start, _moved(files, start - last.day, n * PER_DAY))
        file = day_index(start, root.number)
        (layout.index / file).write_bytes(data)
        written += len(data)
        summaries.append(
            msgspec.structs.replace(
                last,
                day=start,
                file=file,
                crc=crc_of(data),
                first=last.first + start - last.day,
                last=last.last + start - last.day,
            )
        )
    journal = layout.journal(root.journal)
    begin = Begin(root.log, root.journal, root.sequence, root.time, 0, position=days * PER_DAY)
    record = pack(begin, 0)
    journal.write_bytes(record)
    layout.lock.unlink()
    first = msgspec.structs.replace(root.ledger[0], events=days * PER_DAY)
    new = msgspec.structs.replace(
        root,
        offset=len(record),
        position=days * PER_DAY,
        days=tuple(summaries),
        ledger=(first,),
    )
    layout.index_root.write_bytes(pack_root(new))
    return written


def _files(layout: Layout, summary: DaySummary) -> FileIndex:
    return parse_day((layout.index / summary.file).read_bytes(), summary)


def _moved(files: FileIndex, by: int, position: int) -> FileIndex:
    """The same segments of another day, at other positions."""
    moved = FileIndex()
    for segment in files:
        span = segment.name.span
        name = SegmentName(
            Span(span.start + by, span.end + by), segment.name.number, segment.name.is_archive
        )
        new = Segment(name, segment.created, segment.fenced)
        new.blocks = [
            msgspec.structs.replace(
                block,
                path=new.path,
                first=block.first + by,
                last=block.last + by,
                runs=(block.runs[0] + position, *block.runs[1:]),
            )
            for block in segment.blocks
        ]
        moved.add(new)
    return moved


def probe(folder: Path, mode: str) -> dict[str, float]:
    """Measure in this process: the first open, the first search of a minute, others, memory."""
    random = Random(6)
    before = resident()
    begun = perf_counter()
    log = timelog.open(folder, mode=mode, text_index=False, scrub_interval=0)
    taken = {"open": perf_counter() - begun}
    start = log.health().newest // DAY * DAY
    minutes = [start + random.randrange(1, 1439) * MINUTE for _ in range(SEARCHES + 1)]
    times = []
    for minute in minutes:
        begun = perf_counter()
        found = count(log.search(minute / SECOND, (minute + MINUTE) / SECOND))
        times.append(perf_counter() - begun)
        if found != 60:
            raise AssertionError(f"{found} events in a minute")
    taken["search a minute, first"] = times[0]
    taken["search a minute, warm"] = median(times[1:])
    taken["memory, MB"] = (peak() - before) / 1e6
    log.close()
    return taken


def main(argv: list[str] | None = None) -> int:
    """Measure a log of ten years, compacted and not."""
    parser = argparse.ArgumentParser(prog="benchmarks.decade", description=main.__doc__)
    parser.add_argument("--days", type=int, default=3650, help="days of the large logs (3650)")
    parser.add_argument("--rounds", type=int, default=5, help="fresh processes for each log (5)")
    parser.add_argument("--folder", type=Path, help="where the logs are made")
    parser.add_argument("--no-results", action="store_true", help="write no result files")
    args = parser.parse_args(argv)

    folder = Path(tempfile.mkdtemp(prefix="timelog-decade-", dir=args.folder))
    rows: list[tuple[str, ...]] = []
    data: dict[str, Any] = {}
    sizes = {}
    try:
        described = report.machine(folder)
        for state, most in (("compacted", 0.2), ("not compacted", 1.0)):
            small, large = folder / f"{state} day", folder / state
            make_day(small, compacted=state == "compacted")
            sizes[state] = multiply(small, large, args.days)
            print(f"  {state}: made", file=sys.stderr)
            times: dict[str, dict[str, list[float]]] = {}
            for mode in ("r", "a"):
                for _ in range(args.rounds):
                    for which, path in (("day", small), ("years", large)):
                        for name, taken in fresh(probe, path, mode).items():
                            each = times.setdefault(f'{name}, mode "{mode}"', {})
                            each.setdefault(which, []).append(taken)
            data[state] = times
            rows += _rows(state, times, most)
            shutil.rmtree(large)
    finally:
        shutil.rmtree(folder)

    headers = ("index", "what", "1 day", f"{args.days} days", "ratio", "wanted", "met")
    notes = [
        f"{args.days} days of {PER_DAY:,} events, {args.days * PER_DAY:,} in all; index files: "
        + ", ".join(f"{state} {size / 1e6:,.0f} MB" for state, size in sizes.items()),
        f"medians of {args.rounds} fresh processes for each log; files are in the operating "
        f"system's cache; warm: {SEARCHES} searches; memory: the most that the process took "
        "beyond what it had with the library imported",
    ]
    print("\n".join([*notes, "", report.table(headers, rows)]))
    if not args.no_results:
        title = "timelog: ten years of an event a second"
        page = report.write(
            "decade",
            title,
            headers,
            rows,
            notes=notes,
            described=described,
            data={"sizes": sizes, "times": data},
        )
        print(f"\nwritten: {page.name} and .json in {page.parent.name}/")
    return 0


def _rows(
    state: str, times: dict[str, dict[str, list[float]]], most: float
) -> list[tuple[str, ...]]:
    rows = []
    for name, taken in times.items():
        small, large = median(taken["day"]), median(taken["years"])
        ratio = large / small
        wanted, met = "", ""
        if name.startswith("open"):
            wanted, met = f"< {report.seconds(most)}", "yes" if large < most else "NO"
        elif name.startswith("memory"):
            if state == "compacted":
                wanted, met = "< 200", "yes" if large < 200 else "NO"
            cells = f"{small:.1f}", f"{large:.1f}", f"{ratio:.2f}"
            rows.append((state, name, *cells, wanted, met))
            continue
        elif state == "compacted" and "warm" in name:
            wanted, met = "ratio <= 1.5", "yes" if ratio <= 1.5 else "NO"
        cells = report.seconds(small), report.seconds(large), f"{ratio:.2f}"
        rows.append((state, name, *cells, wanted, met))
    return rows


if __name__ == "__main__":
    raise SystemExit(main())

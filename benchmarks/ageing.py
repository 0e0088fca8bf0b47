"""What looking after a log costs: expiry, compaction, archives, and who waits for them.

    python -m benchmarks.ageing

A log of days of minute segments is made. One of its days expires, with the time for which it can
still be seen, less its fsyncs. Copies of a part are compacted and archived, in bytes of text a
second of processor time. Archives are searched beside plain segments and ``zstdgrep``; their
size is held beside that of the same files under ``zstd -3`` whole. All the while, another thread
appends an event a millisecond, and notes how long each append took.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import cycle
from pathlib import Path
from typing import Any

import timelog
from benchmarks import report
from benchmarks.lines import ONE_NEEDLE, lines
from benchmarks.search_turns import HEADERS, Act, Bar, Contest, hold, rows_of, timed
from benchmarks.years import Unsynced
from timelog.indexstate import Place
from timelog.journal import Commit
from timelog.scan import EXCLUSIONS, TEXT_INDEX
from timelog.storage import Storage

DAY, MINUTE = 86_400, 60
PLAIN, ARCHIVE, ZSTDGREP = "plain segments", "archive", "zstdgrep"
# A text that is in many lines of each day.
SCANNED = "python-requests"
_FLUSHED_MINUTES = 10
_SETTLED = 0.1


class Timed(Storage):
    """Notes how long fsyncs take."""

    def __init__(self) -> None:
        super().__init__()
        self.synced = 0.0

    def sync(self, fd: int) -> None:
        """As `Storage.sync`, timed."""
        begun = time.perf_counter()
        super().sync(fd)
        self.synced += time.perf_counter() - begun


def make(folder: Path, days: int, per_day: int, *, needle: bool = True) -> float:
    """Make a log of days that are over, a segment a minute; the last moment of its first day."""
    first = time.time() // DAY * DAY - days * DAY
    supply = cycle(lines(50_000, seed=4))
    each = max(per_day // (1440 // _FLUSHED_MINUTES), 1)
    with timelog.open(
        folder, flush_interval=3600.0, storage=Unsynced(), text_index=False, scrub_interval=0
    ) as log:
        for day in range(days):
            for part in range(1440 // _FLUSHED_MINUTES):
                start = first + day * DAY + part * _FLUSHED_MINUTES * MINUTE
                step = _FLUSHED_MINUTES * MINUTE / each
                batch = [
                    {
                        "content": line.content,
                        "source": line.source,
                        "tags": line.tags,
                        "timestamp": start + number * step,
                    }
                    for number, line in zip(range(each), supply, strict=False)
                ]
                if needle and (day, part) == (0, 72):
                    batch[each // 2]["content"] += f" {ONE_NEEDLE}"
                log.append_many(batch)
                log.flush()
    return first + DAY


def text_bytes(folder: Path) -> int:
    """The bytes of all segments."""
    return sum(path.stat().st_size for path in folder.glob("2*/*"))


@contextmanager
def appending(log: timelog.EventLog) -> Iterator[list[float]]:
    """Append an event a millisecond in another thread; the seconds each took."""
    waits: list[float] = []
    is_over = threading.Event()

    def run() -> None:
        while not is_over.wait(0.001):
            begun = time.perf_counter()
            log.append("somebody goes on", source="writer")
            waits.append(time.perf_counter() - begun)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield waits
    finally:
        is_over.set()
        thread.join()


def waiting(folder: Path, act: Callable[[timelog.EventLog], object]) -> tuple[float, float, int]:
    """How long appends take while ``act`` runs: the 99th percentile, the longest, and how many."""
    with timelog.open(folder, text_index=False, scrub_interval=0) as log, appending(log) as waits:
        time.sleep(_SETTLED)
        waits.clear()
        act(log)
        while not waits:
            time.sleep(_SETTLED)
    waits.sort()
    return waits[len(waits) * 99 // 100], waits[-1], len(waits)


def expire(folder: Path, days: int) -> float:
    """Let the oldest day go; the seconds until it is invisible, without its fsyncs."""
    storage = Timed()
    with timelog.open(folder, storage=storage, text_index=False, scrub_interval=0) as log:
        index = log._store.index
        publish = index.publish
        ends: list[float] = []

        def published(commit: Commit, place: Place) -> bool:
            counts = publish(commit, place)
            ends.append(time.perf_counter() - storage.synced)
            return counts

        index.publish = published  # type: ignore[method-assign]
        storage.synced = 0.0
        begun = time.perf_counter()
        gone = log.expire(partitions=days - 1)
        if len(gone.partitions) != 1 or len(ends) != 1:
            raise AssertionError(str(gone))
        return ends[0] - begun


def snapshot(folder: Path, target: Path) -> float:
    """Take a snapshot; seconds."""
    with timelog.open(folder, text_index=False, scrub_interval=0) as log:
        begun = time.perf_counter()
        taken = log.snapshot(target)
        if not taken.ok or not taken.files:
            raise AssertionError(str(taken))
        return time.perf_counter() - begun


def compact(source: Path, target: Path, *, archive: bool) -> tuple[float, float, timelog.EventLog]:
    """Compact a copy of a log; the seconds of processor and clock, and the log, open."""
    shutil.copytree(source, target)
    log = timelog.open(target, text_index=False, scrub_interval=0)
    begun = time.process_time(), time.perf_counter()
    done = log.compact(archive=archive)
    taken = time.process_time() - begun[0], time.perf_counter() - begun[1]
    if not done.days or done.damage:
        raise AssertionError(str(done))
    return *taken, log


def zstd_whole(folder: Path) -> int:
    """The bytes that ``zstd -3`` makes of each segment as a whole."""
    total = 0
    for path in folder.glob("2*/*.jsonl"):
        done = subprocess.run(["zstd", "-3", "-c", "-q", path], stdout=subprocess.PIPE, check=True)
        total += len(done.stdout)
    return total


def scan(log: timelog.EventLog) -> int:
    """Count what has a text, without the text index."""
    return log.search(pattern=SCANNED).using(EXCLUSIONS - {TEXT_INDEX}).count()


def zstdgrep(folder: Path) -> int:
    """Count the same with ``zstdgrep``."""
    files = sorted(map(str, folder.glob("2*/*.zst")))
    done = subprocess.run(
        ["zstdgrep", "-h", "-c", "-F", SCANNED, *files], stdout=subprocess.PIPE, check=False
    )
    return sum(map(int, done.stdout.split()))


def searches(plain: timelog.EventLog, archive: timelog.EventLog) -> list[Contest]:
    """What is searched for in both."""
    acts: dict[str, Act] = {
        PLAIN: timed(lambda: len(plain.search(pattern=ONE_NEEDLE).to_list())),
        ARCHIVE: timed(lambda: len(archive.search(pattern=ONE_NEEDLE).to_list())),
    }
    scans: dict[str, Act] = {
        PLAIN: timed(scan, plain),
        ARCHIVE: timed(scan, archive),
        ZSTDGREP: timed(zstdgrep, archive.path),
    }
    return [
        Contest("a needle, with the text index", acts, (Bar(ARCHIVE, PLAIN, 2),), 1),
        Contest(
            "count a text, everything read", scans, (Bar(ARCHIVE, ZSTDGREP, 2), Bar(PLAIN, ARCHIVE))
        ),
    ]


def main(argv: list[str] | None = None) -> int:
    """Measure what looking after a log costs."""
    parser = argparse.ArgumentParser(prog="benchmarks.ageing", description=main.__doc__)
    parser.add_argument("--events", type=int, default=10_000_000, help="of the large log (10e6)")
    parser.add_argument("--days", type=int, default=10, help="of the large log (10)")
    parser.add_argument("--part", type=int, default=1_000_000, help="events to compact (1000000)")
    parser.add_argument("--rounds", type=int, default=5, help="turns of each contestant (5)")
    parser.add_argument("--folder", type=Path, help="where the logs are made")
    parser.add_argument("--no-results", action="store_true", help="write no result files")
    args = parser.parse_args(argv)

    folder = Path(tempfile.mkdtemp(prefix="timelog-ageing-", dir=args.folder))
    rows: list[tuple[str, ...]] = []
    data: dict[str, Any] = {}

    def row(job: str, who: str, figure: str, wanted: str = "", met: bool | None = None) -> None:
        verdict = "" if met is None else "yes" if met else "NO"
        rows.append((job, who, "", figure, "", "", "", wanted, verdict))

    try:
        described = report.machine(folder)
        large, part = folder / "large", folder / "part"
        make(large, args.days, args.events // args.days)
        make(part, 4, args.part // 4)
        # What was made without a sync shall not be written to the disk while others are timed.
        os.sync()
        size = text_bytes(part)
        copies = [folder / name for name in ("plain", "archive", "waits")]
        made = {}
        for copy, archive in ((copies[0], False), (copies[1], True)):
            cpu, wall, made[archive] = compact(part, copy, archive=archive)
            rate = size / cpu / 1e6
            name = "compact and archive" if archive else "compact"
            figure = f"{rate:,.0f} MB/s of processor, {size / wall / 1e6:,.0f} MB/s"
            row(f"{name} {size / 1e6:,.0f} MB", "timelog", figure, ">= 50 MB/s", rate >= 50)
            data[name] = {"bytes": size, "cpu": cpu, "wall": wall}
        whole, ours = zstd_whole(copies[0]), text_bytes(copies[1])
        ratio = ours / whole
        row("size of the archive", "zstd -3 whole", f"{ratio:.3f}", "<= 1.3", ratio <= 1.3)
        data["size"] = {"text": size, "archive": ours, "zstd -3": whole}
        for log in made.values():
            log.index_text()
        for contest in searches(made[False], made[True]):
            outcome = hold(contest, args.rounds)
            data[contest.job] = outcome.times
            rows += rows_of(outcome)
        for log in made.values():
            log.close()
        expiries = []
        for left in range(args.days, max(args.days - args.rounds, 1), -1):
            expiries.append(expire(large, left))
        best = min(expiries)
        figure = f"{report.seconds(best)}, at most {report.seconds(max(expiries))}"
        row(
            f"a day of {args.events // args.days:,} events expires, less its fsyncs",
            "timelog",
            figure,
            "< 10 ms",
            max(expiries) < 0.01,
        )
        data["expire"] = expiries
        snapshots = [snapshot(large, folder / "large snapshots") for _ in range(args.rounds)]
        row(
            f"a snapshot by links of {sum(1 for _ in large.glob('2*/*')):,} segments, "
            f"{text_bytes(large) / 1e9:.1f} GB",
            "timelog",
            f"{report.seconds(min(snapshots))}, at most {report.seconds(max(snapshots))}",
            "< 1 s",
            min(snapshots) < 1,
        )
        data["snapshots"] = snapshots
        shutil.copytree(part, copies[2])
        acts: dict[str, Callable[[timelog.EventLog], object]] = {
            "nothing else": lambda log: time.sleep(5),
            "compaction": lambda log: log.compact(),
            "archiving": lambda log: log.compact(archive=True),
            "a snapshot": lambda log: log.snapshot(folder / "snapshots"),
            "expiry": lambda log: [log.expire(partitions=left) for left in (4, 3, 2)],
        }
        for name, act in acts.items():
            usual, longest, number = waiting(copies[2], act)
            row(
                f"appends beside {name}",
                f"{number:,} appends",
                f"99 %: {report.seconds(usual)}, longest: {report.seconds(longest)}",
                "<= 50 ms, <= 500 ms",
                usual <= 0.05 and longest <= 0.5,
            )
            data[f"waits beside {name}"] = [usual, longest, number]
    finally:
        shutil.rmtree(folder)

    notes = [
        f"the large log: {args.events:,} events, {args.days} days, a segment a minute; the part: "
        f"{args.part:,} events, 4 days, {size / 1e6:,.0f} MB; in the operating system's cache",
        "processor: what compacting takes on one core; the other figure is by the clock, fsyncs "
        "and unlinks included",
        "expiry: from the call until the commit is published, less the fsyncs until then",
    ]
    print("\n".join([*notes, "", report.table(HEADERS, rows), ""]))
    if not args.no_results:
        settings = {"events": args.events, "days": args.days, "part": args.part}
        page = report.write(
            "ageing",
            "timelog: what looking after a log costs",
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

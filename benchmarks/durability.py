"""What durability costs: synced appends from one and many threads, verifying, opening after a kill.

    python -m benchmarks.durability

Synced appends are measured where an fsync takes as long as the disk wants, and where each takes
2 ms more (a storage that waits). The floor writes and syncs the bytes of a line and of a commit to
two files; sqlite3 commits each row in WAL mode with ``synchronous=FULL``. Verifying is measured by
bytes a second over a log in the operating system's cache; opening, of a log of a million events
whose writer was killed in the middle of a flush.
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import timelog
from benchmarks import report
from benchmarks.lines import lines
from benchmarks.search_ours import ROOT, make, text_bytes
from benchmarks.search_turns import HEADERS, Act, Bar, Contest, hold, rows_of
from timelog.storage import Storage

OURS, OURS_16 = "timelog", "timelog, 16 threads"
FLOOR = "write and fsync, twice"
SQLITE, SQLITE_16 = "sqlite3, FULL", "sqlite3, FULL, 16 threads"
THREADS = 16
SLOW = 0.002
VERIFY, DEEP = "timelog verify", "timelog verify --deep"
READ_500, READ_150 = "500 MB/s", "150 MB/s"
OPEN, OPEN_200 = "timelog", "200 ms"
# What a commit of one event adds to the journal, about.
_RECORD = 330

KILLED = """
import os, signal, sys, timelog
from timelog.storage import Storage

class Dies(Storage):
    def sync_all(self, fds, directories=()):
        os.kill(os.getpid(), signal.SIGKILL)

log = timelog.open(sys.argv[1], flush_interval=3600.0, storage=Dies())
for n in range(20_000):
    log.append(f"event {n} of a flush that is killed", source="killed", tags=["unfinished"])
log.flush()
"""


class SlowStorage(Storage):
    """Each fsync takes 2 ms more."""

    def sync(self, fd: int) -> None:
        """As `Storage.sync`, later."""
        super().sync(fd)
        time.sleep(SLOW)


def in_threads(number: int, act: Callable[[int], None]) -> float:
    """Run ``act(n)`` in so many threads that begin together; seconds until the last ends."""
    ready = threading.Barrier(number + 1)

    def run(n: int) -> None:
        ready.wait()
        act(n)

    threads = [threading.Thread(target=run, args=(n,)) for n in range(number)]
    for thread in threads:
        thread.start()
    ready.wait()
    begun = time.perf_counter()
    for thread in threads:
        thread.join()
    return time.perf_counter() - begun


class Appends:
    """Acts that store so many events, each durable before the next of its thread."""

    def __init__(self, folder: Path, events: int, *, slow: bool) -> None:
        self._folder = folder
        self._events = events
        self._slow = slow
        self._lines = list(lines(events, seed=3))
        self._number = count()

    def ours(self, threads: int) -> tuple[int, float]:
        """timelog, ``append(sync=True)``."""
        path = self._folder / f"log{next(self._number)}"
        storage = SlowStorage() if self._slow else Storage()
        with timelog.open(path, storage=storage, text_index=False, scrub_interval=0) as log:
            log.append("the first event makes the files", sync=True)

            def act(n: int) -> None:
                for line in self._lines[n::threads]:
                    log.append(line.content, source=line.source, tags=line.tags, sync=True)

            taken = in_threads(threads, act)
            found = log.search().count() - 1
        shutil.rmtree(path)
        return found, taken

    def floor(self) -> tuple[int, float]:
        """The bytes of each line to one file, of a commit to another, each synced."""
        storage = SlowStorage() if self._slow else Storage()
        paths = [self._folder / name for name in ("data", "journal")]
        fds = [storage.create(path) for path in paths]
        texts = [(line.content + " " * 120).encode() for line in self._lines]
        begun = time.perf_counter()
        for text in texts:
            for fd, data in zip(fds, (text, bytes(_RECORD)), strict=True):
                os.write(fd, data)
                storage.sync(fd)
        taken = time.perf_counter() - begun
        for fd, path in zip(fds, paths, strict=True):
            os.close(fd)
            path.unlink()
        return len(texts), taken

    def sqlite(self, threads: int) -> tuple[int, float]:
        """sqlite3, a connection for each thread and a transaction for each row."""
        path = self._folder / f"events{next(self._number)}.db"

        def connect() -> sqlite3.Connection:
            db = sqlite3.connect(path, isolation_level=None, timeout=600)
            db.execute("PRAGMA journal_mode=WAL")
            db.execute("PRAGMA synchronous=FULL")
            return db

        db = connect()
        db.execute("CREATE TABLE events(timestamp INTEGER, source TEXT, tags TEXT, content TEXT)")

        def act(n: int) -> None:
            own = connect()
            for line in self._lines[n::threads]:
                row = (time.time_ns(), line.source, ",".join(line.tags), line.content)
                own.execute("INSERT INTO events VALUES(?,?,?,?)", row)
            own.close()

        taken = in_threads(threads, act)
        (found,) = db.execute("SELECT count(*) FROM events").fetchone()
        db.close()
        for each in self._folder.glob(path.name + "*"):
            each.unlink()
        return found, taken


def contests(folder: Path, log: Path, appends: int) -> list[Contest]:
    """What is measured; the table's bars are those of the tests' figures."""
    slow = Appends(folder, appends, slow=True)
    disk = Appends(folder, appends, slow=False)
    one: dict[str, Act] = {OURS: partial(slow.ours, 1), FLOOR: slow.floor}
    held = [
        Contest(f"{appends:,} synced appends, fsync + 2 ms", one, (Bar(OURS, FLOOR, 1.3),)),
        Contest(
            "the same by 16 threads, fsync + 2 ms",
            {OURS_16: partial(slow.ours, THREADS), OURS: partial(slow.ours, 1)},
            (Bar(OURS_16, OURS, 0.2),),
        ),
        Contest(
            f"{appends:,} synced appends, this disk",
            {OURS: partial(disk.ours, 1), FLOOR: disk.floor, SQLITE: partial(disk.sqlite, 1)},
            (Bar(OURS, FLOOR), Bar(OURS, SQLITE)),
        ),
        Contest(
            "the same by 16 threads, this disk",
            {OURS_16: partial(disk.ours, THREADS), SQLITE_16: partial(disk.sqlite, THREADS)},
            (Bar(OURS_16, SQLITE_16, 1),),
        ),
    ]
    size = text_bytes(log)
    for name, deep, rate, bar in ((VERIFY, False, 500, READ_500), (DEEP, True, 150, READ_150)):
        least = size / (rate * 1e6)
        held.append(
            Contest(
                f"verify {size / 1e6:,.0f} MB",
                {name: partial(verify, log, deep), bar: partial(_takes, log, least)},
                (Bar(name, bar, 1),),
            )
        )
    held.append(
        Contest(
            "open after a kill in a flush",
            {OPEN: partial(open_killed, log, folder), OPEN_200: partial(_takes, log, 0.2)},
            (Bar(OPEN, OPEN_200, 1),),
        )
    )
    return held


def verify(path: Path, deep: bool) -> tuple[int, float]:
    """Verify the log; its number of events."""
    with timelog.open(path, mode="r") as log:
        begun = time.perf_counter()
        found = log.verify(deep=deep)
        taken = time.perf_counter() - begun
    if not found.ok:
        raise AssertionError(str(found))
    return found.events, taken


def open_killed(path: Path, folder: Path) -> tuple[int, float]:
    """Open a log whose writer was killed in a flush, to write to it; its number of events."""
    done = subprocess.run([sys.executable, "-c", KILLED, str(path)], cwd=ROOT, check=False)
    if done.returncode != -signal.SIGKILL:
        raise AssertionError(f"the writer ended with {done.returncode}")
    begun = time.perf_counter()
    log = timelog.open(path, text_index=False)
    taken = time.perf_counter() - begun
    with log:
        return log.health().events, taken


def _takes(path: Path, seconds: float) -> tuple[int, float]:
    """A bar that is no program: so long may it take."""
    with timelog.open(path, mode="r") as log:
        return log.health().events, seconds


def main(argv: list[str] | None = None) -> int:
    """Measure what durability costs, beside plain fsyncs and sqlite3."""
    parser = argparse.ArgumentParser(prog="benchmarks.durability", description=main.__doc__)
    parser.add_argument("--appends", type=int, default=800, help="synced appends (800)")
    parser.add_argument("--events", type=int, default=1_000_000, help="events to verify (1000000)")
    parser.add_argument("--rounds", type=int, default=5, help="turns of each contestant (5)")
    parser.add_argument("--no-results", action="store_true", help="write no result files")
    args = parser.parse_args(argv)

    folder = Path(tempfile.mkdtemp(prefix="timelog-durability-"))
    rows: list[tuple[str, ...]] = []
    held: list[dict[str, Any]] = []
    try:
        described = report.machine(folder)
        log = folder / "log"
        make(log, args.events, 100)
        for contest in contests(folder, log, args.appends):
            outcome = hold(contest, args.rounds)
            held.append({"job": contest.job, "found": outcome.found, "seconds": outcome.times})
            rows += rows_of(outcome)
    finally:
        shutil.rmtree(folder)

    notes = [
        f"best and median of {args.rounds} rounds in turns; ratios are made from the best times",
        "a synced append is durable when it returns; by 16 threads, each waits for its own",
        "fsync + 2 ms: each fsync takes 2 ms longer than the disk wants, in all contestants",
        f"verified and opened is a log of {args.events:,} events in 100 segments, in the operating "
        "system's cache; MB/s and ms in the column of contestants are bars",
    ]
    print("\n".join([*notes, "", report.table(HEADERS, rows), ""]))
    if not args.no_results:
        settings = {"appends": args.appends, "events": args.events, "rounds": args.rounds}
        page = report.write(
            "durability",
            "timelog: what durability costs",
            HEADERS,
            rows,
            notes=notes,
            described=described,
            data={"settings": settings, "contests": held},
        )
        print(f"\nwritten: {page.name} and .json in {page.parent.name}/")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())

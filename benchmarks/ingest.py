"""What reading files costs: lines into a log, beside `append_many` of the same events.

    python -m benchmarks.ingest --logs FOLDER

The logs of a folder (by default lines that `benchmarks.lines` makes up) are repeated into files of
a temporary folder. ``append_many`` gets the events ready made, with their times, as many a call as
the reader passes; a follower (`Watcher.read`) has to read, divide and decode the lines, find their
times and keep its places; `files` reads the same without places. All end with a sync.
"""

from __future__ import annotations

import argparse
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterable
from itertools import count
from pathlib import Path
from typing import Any

import timelog
from benchmarks import report
from benchmarks.lines import lines
from benchmarks.search_turns import HEADERS, Bar, Contest, hold, rows_of
from timelog import ingest
from timelog.timestamp import to_text

APPEND = "append_many"
WATCH, ONCE = "timelog, Watcher", "timelog, files"
SCAN = "list and stat"
# Times as long as append_many: 0.3 of its rate.
MOST = 1 / 0.3


class Taken:
    """Takes the events as a log would."""

    def __init__(self) -> None:
        self.calls: list[list[dict[str, Any]]] = []

    def append_many(self, events: Iterable[dict[str, Any]]) -> None:
        self.calls.append(list(events))

    def flush(self) -> None:
        """Nothing waits."""


class Reads:
    """Acts that store the lines of the files in ``folder``, each into a log of its own."""

    def __init__(self, folder: Path, logs: Path) -> None:
        self._files = sorted(folder.iterdir())
        self._folder = folder
        self._logs = logs
        self._number = count()
        taken = Taken()
        ingest.files(taken, *self._files, zone="UTC")  # type: ignore[arg-type]
        self._calls = taken.calls
        self.events = sum(map(len, taken.calls))

    def _timed(self, act: Callable[[timelog.EventLog], None]) -> tuple[int, float]:
        path = self._logs / f"log{next(self._number)}"
        with timelog.open(path, text_index=False, scrub_interval=0) as log:
            begun = time.perf_counter()
            act(log)
            log.sync()
            taken = time.perf_counter() - begun
            return log.search().count(), taken

    def append(self) -> tuple[int, float]:
        """`append_many` of what is ready made."""

        def act(log: timelog.EventLog) -> None:
            waiting = 0
            for events in self._calls:
                waiting += log.append_many(events)
                if waiting >= 40_000:
                    waiting = 0
                    log.flush()

        return self._timed(act)

    def once(self) -> tuple[int, float]:
        """`ingest.files`."""

        def act(log: timelog.EventLog) -> None:
            ingest.files(log, *self._files, zone="UTC")

        return self._timed(act)

    def watch(self) -> tuple[int, float]:
        """`ingest.Watcher`, with its places."""

        def act(log: timelog.EventLog) -> None:
            watcher = ingest.Watcher(log, self._folder, zone="UTC")
            watcher.read()
            watcher.close()

        return self._timed(act)


def fill(folder: Path, logs: Path | None, events: int) -> None:
    """Make the files that are read: about so many lines in all."""
    if logs is None:
        texts = {
            "made-up.log": "".join(
                f"{to_text(line.timestamp)} {line.content}\n" for line in lines(20_000, seed=5)
            ).encode()
        }
    else:
        texts = {path.name: path.read_bytes().rstrip(b"\n") + b"\n" for path in logs.glob("*.log")}
    have = sum(text.count(b"\n") for text in texts.values())
    for name, text in texts.items():
        with open(folder / name, "wb") as file:
            for _ in range(max(1, events // have)):
                file.write(text)


class Idle:
    """Acts that look at many files that have not changed."""

    def __init__(self, folder: Path, log: timelog.EventLog, files: int) -> None:
        self._folder = folder
        self._files = files
        for number in range(files):
            (folder / f"{number}.log").write_text(f"line of file {number}\n")
        self._watcher = ingest.Watcher(log, folder, timestamps="none")
        self._watcher.read()

    def look(self) -> tuple[int, float]:
        """`Watcher.read`."""
        begun = time.perf_counter()
        read = self._watcher.read()
        taken = time.perf_counter() - begun
        return self._files + read, taken

    def scan(self) -> tuple[int, float]:
        """List the directory and ask for the status of each file."""
        begun = time.perf_counter()
        with os.scandir(self._folder) as entries:
            found = sum(entry.stat().st_size > 0 for entry in entries)
        return found, time.perf_counter() - begun

    def close(self) -> None:
        """Let go of the files."""
        self._watcher.close()


def main(argv: list[str] | None = None) -> int:
    """Measure what reading files costs, beside append_many of the same events."""
    parser = argparse.ArgumentParser(prog="benchmarks.ingest", description=main.__doc__)
    parser.add_argument("--logs", type=Path, help="a folder of *.log (lines that are made up)")
    parser.add_argument("--events", type=int, default=160_000, help="lines in all, about (160000)")
    parser.add_argument("--files", type=int, default=2_000, help="files that are idle (2000)")
    parser.add_argument("--rounds", type=int, default=3, help="turns of each contestant (3)")
    parser.add_argument("--no-results", action="store_true", help="write no result files")
    args = parser.parse_args(argv)

    folder = Path(tempfile.mkdtemp(prefix="timelog-ingest-"))
    rows: list[tuple[str, ...]] = []
    held: list[dict[str, Any]] = []
    try:
        described = report.machine(folder)
        for name in ("read", "logs", "idle"):
            (folder / name).mkdir()
        fill(folder / "read", args.logs, args.events)
        reads = Reads(folder / "read", folder / "logs")
        with timelog.open(folder / "log") as log:
            idle = Idle(folder / "idle", log, args.files)
            contests = (
                Contest(
                    "read files",
                    {APPEND: reads.append, WATCH: reads.watch, ONCE: reads.once},
                    (Bar(WATCH, APPEND, MOST), Bar(ONCE, APPEND, MOST)),
                    reads.events,
                ),
                Contest(
                    f"look at {args.files:,} idle files",
                    {SCAN: idle.scan, WATCH: idle.look},
                    (Bar(WATCH, SCAN),),
                ),
            )
            for contest in contests:
                outcome = hold(contest, args.rounds)
                held.append({"job": contest.job, "found": outcome.found, "seconds": outcome.times})
                rows += rows_of(outcome)
            idle.close()
    finally:
        shutil.rmtree(folder)

    notes = [
        f"best and median of {args.rounds} rounds in turns; ratios are made from the best times",
        "append_many gets the events ready made, with their times, in calls of as many",
        "a ratio of 3.33 is 0.3 of the rate of append_many",
        "all end with a sync",
    ]
    print("\n".join([*notes, "", report.table(HEADERS, rows), ""]))
    if not args.no_results:
        settings = {"events": args.events, "files": args.files, "rounds": args.rounds}
        page = report.write(
            "ingest",
            "timelog: what reading files costs",
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

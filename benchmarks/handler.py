"""What a call of `logging` costs with timelog's handler, beside `logging.FileHandler`.

    python -m benchmarks.handler

Each contestant is the only handler of a logger, and the same messages are logged: plain ones, such
with two extra values, such with a traceback, and plain ones from eight threads. The time is that
of the calls; then that of the calls and of getting everything onto the disk; then the processor
time of the whole process, so that what other threads do is not left out. The floor is a handler
that does nothing: what `logging` takes before any handler is asked.
"""

from __future__ import annotations

import argparse
import logging
import os
import shutil
import tempfile
import threading
import time
from collections.abc import Callable
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

from benchmarks import report
from benchmarks.search_turns import HEADERS, Act, Bar, Contest, hold, rows_of
from timelog.feeds.logging import LogHandler

OURS, PLAIN, STAMPED, FLOOR = (
    "LogHandler",
    "FileHandler, message only",
    "FileHandler, time level name message",
    "floor: no handler's work",
)
FORMAT = "%(asctime)s %(levelname)s %(name)s %(message)s"
THREADS = 8
EXTRA = {"order": 41_417, "user": "alice"}

Say = Callable[[logging.Logger, int], None]
_folders = count()


def plain(logger: logging.Logger, number: int) -> None:
    """A message with three arguments."""
    logger.info("order %d paid: %.2f in %d ms", number, 17.5, number % 900)


def with_extra(logger: logging.Logger, number: int) -> None:
    """The same with two values beside it."""
    logger.info("order %d paid: %.2f in %d ms", number, 17.5, number % 900, extra=EXTRA)


def with_traceback(logger: logging.Logger, number: int) -> None:
    """An exception with its traceback."""
    try:
        raise KeyError(number)
    except KeyError:
        logger.exception("order %d failed", number)


def make(name: str, folder: Path) -> logging.Handler:
    """The handler of a contestant, which writes below ``folder``."""
    if name == OURS:
        return LogHandler(folder / "log", text_index=False, scrub_interval=0)
    if name == FLOOR:
        return logging.NullHandler()
    handler = logging.FileHandler(folder / "events.log", encoding="utf-8")
    if name == STAMPED:
        handler.setFormatter(logging.Formatter(FORMAT))
    return handler


def finish(handler: logging.Handler) -> None:
    """Get everything onto the disk."""
    handler.flush()
    if isinstance(handler, logging.FileHandler) and handler.stream is not None:
        os.fsync(handler.stream.fileno())


def run(
    name: str, say: Say, events: int, threads: int, clock: Callable[[], float], whole: bool,
    place: Path,
) -> tuple[int, float]:  # fmt: skip
    """Log ``events`` messages; their number, and the time of the calls or of the whole."""
    folder = place / f"{next(_folders)}"
    folder.mkdir()
    handler = make(name, folder)
    logger = logging.Logger("benchmark.orders")
    logger.addHandler(handler)

    def work(first: int) -> None:
        for number in range(first, events, threads):
            say(logger, number)

    workers = [threading.Thread(target=work, args=(first,)) for first in range(1, threads)]
    begun = clock()
    for worker in workers:
        worker.start()
    work(0)
    for worker in workers:
        worker.join()
    taken = clock() - begun
    finish(handler)
    if whole:
        taken = clock() - begun
    stored = _stored(handler, folder, events)
    handler.close()
    shutil.rmtree(folder)
    return stored, taken


def _stored(handler: logging.Handler, folder: Path, events: int) -> int:
    """How many messages are there, so that nobody wins by losing some."""
    if isinstance(handler, LogHandler):
        return handler.log.search().count()
    if isinstance(handler, logging.FileHandler):
        with open(folder / "events.log", "rb") as file:
            return sum(b"order " in line for line in file)
    return events


def contests(events: int, place: Path) -> list[Contest]:
    """What is measured, and what is wanted of it."""

    def contest(job: str, say: Say, number: int, *how: Any, names: tuple[str, ...]) -> Contest:
        acts: dict[str, Act] = {
            name: partial(run, name, say, number, *how, place) for name in names
        }
        return Contest(job, acts, (Bar(OURS, STAMPED, 2), Bar(OURS, PLAIN)), number)

    calls, cpu = time.perf_counter, time.process_time
    everyone = (OURS, STAMPED, PLAIN, FLOOR)
    rivals = (OURS, STAMPED, PLAIN)
    return [
        contest(f"{events:,} calls", plain, events, 1, calls, False, names=everyone),
        contest("the same, and on the disk", plain, events, 1, calls, True, names=rivals),
        contest("the same, processor time", plain, events, 1, cpu, True, names=rivals),
        contest(f"{events:,} calls, 2 extra", with_extra, events, 1, calls, False, names=everyone),
        contest(f"{events:,} calls, 8 threads", plain, events, THREADS, calls, False, names=rivals),
        contest(
            f"{events // 10:,} calls with a traceback",
            with_traceback, events // 10, 1, calls, False, names=everyone,
        ),
    ]  # fmt: skip


def main(argv: list[str] | None = None) -> int:
    """Measure the handler beside those of the standard library."""
    parser = argparse.ArgumentParser(prog="benchmarks.handler", description=main.__doc__)
    parser.add_argument("--events", type=int, default=20_000, help="calls in a contest (20000)")
    parser.add_argument("--rounds", type=int, default=3, help="turns of each contestant (3)")
    parser.add_argument("--no-results", action="store_true", help="write no result files")
    args = parser.parse_args(argv)

    place = Path(tempfile.mkdtemp(prefix="timelog-handler-"))
    rows: list[tuple[str, ...]] = []
    held: list[dict[str, Any]] = []
    try:
        described = report.machine(place)
        for contest in contests(args.events, place):
            outcome = hold(contest, args.rounds)
            held.append({"job": contest.job, "found": outcome.found, "seconds": outcome.times})
            rows += rows_of(outcome)
    finally:
        shutil.rmtree(place)

    notes = [
        f"best and median of {args.rounds} rounds in turns; ratios are made from the best times",
        "a call is that of the logger, record and message included, not of the handler alone",
        "on the disk: timelog flushed, a file synced",
        f"FileHandler, time level name message: the formatter's text is {FORMAT!r}",
        "extra: timelog stores the two values, the files do not have them",
    ]
    print("\n".join([*notes, "", report.table(HEADERS, rows), ""]))
    if not args.no_results:
        settings = {"events": args.events, "rounds": args.rounds}
        page = report.write(
            "handler",
            "timelog: what a call of logging costs",
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

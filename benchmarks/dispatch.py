"""How long handing out a key takes, with few keys in the queue and with a million.

    python -m benchmarks.dispatch

The calls of the queue are measured alone, and over the socket with one worker that does nothing but
ask. The floor is a transaction of SQLite that changes one row, kept in the same way. Beside it: one
look for the next key without the index.
"""

from __future__ import annotations

import argparse
import shutil
import socket
import sqlite3
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from statistics import median, quantiles
from time import perf_counter
from typing import Any, NamedTuple

from benchmarks import report
from benchmarks.report import seconds
from timelog.consume import Queue, Task
from timelog.consume.entries import scatter
from timelog.consume.listener import Listener
from timelog.consume.server import Server

WANTED = 0.001
BATCH = 2_000
HEADERS = ("what", "few keys", "many keys", "99 %", "ratio", "x floor", "wanted (many)", "met")


def task(number: int) -> Task:
    """An entry with a key of its own."""
    key = f"python3{number % 14}Packages.package-{number}"
    return Task("feed", 0, key, f"1.{number} -> 2.{number}", number)


def fill(path: Path, keys: int) -> None:
    """Make a queue with so many keys that wait, in one transaction."""
    Queue(path).close()
    db = sqlite3.connect(path)
    tasks = [task(number) for number in range(keys)]
    db.executemany(
        "INSERT INTO keys (id, key, scatter, waiting) VALUES (?, ?, ?, 1)",
        ((each.position, each.key, scatter(each.key)) for each in tasks),
    )
    db.executemany(
        "INSERT INTO entries (key, feed, run, position, payload, waiting) "
        "VALUES (?, ?, ?, ?, ?, 1)",
        ((each.position, each.feed, each.run, each.position, each.payload) for each in tasks),
    )
    db.commit()
    db.close()


def add(queue: Queue, first: int) -> Times:
    """Add more keys as the dispatcher does, many in one transaction; the seconds for each."""
    starts = iter(range(first, first + 5 * BATCH, BATCH))

    def once() -> None:
        start = next(starts)
        queue.add(map(task, range(start, start + BATCH)), cursor=str(start))

    taken = timed(once, 5)
    return Times(taken.middle / BATCH, taken.most / BATCH)


class Times(NamedTuple):
    """The median seconds of some calls, and what 99 of 100 do not exceed."""

    middle: float
    most: float


def timed(call: Callable[[], Any], number: int) -> Times:
    """The seconds of a call."""
    taken = []
    for _ in range(number):
        begun = perf_counter()
        call()
        taken.append(perf_counter() - begun)
    return Times(median(taken), quantiles(taken, n=100)[98])


def calls(queue: Queue, number: int) -> dict[str, Times]:
    """The seconds of each call of the queue."""
    jobs: list[Any] = []
    taken = {"next: hand out a key": timed(lambda: jobs.append(queue.next("worker")), number)}
    left = iter(jobs)

    def done() -> None:
        job = next(left)
        queue.done(job.key, job.turn, 0)

    taken["done: it has ended"] = timed(done, number)

    def back() -> None:
        job = queue.next("worker")
        assert job is not None
        queue.give_back(job.key, job.turn)

    taken["next, and give it back"] = timed(back, number)
    return taken


def over_socket(queue: Queue, folder: Path, number: int) -> Times:
    """The seconds of DONE and the next JOB, as a worker sees them."""
    listener = Listener(folder / "socket")
    server = Server(listener, queue, lambda: None)
    thread = threading.Thread(target=server.run)
    thread.start()
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as line:
        line.connect(str(folder / "socket"))
        file = line.makefile("rwb")
        message = b"READY\n"

        def ask() -> None:
            nonlocal message
            file.write(message)
            file.flush()
            message = b"DONE %b 0\n" % file.readline().split(b" ", 2)[1]

        taken = timed(ask, number)
    server.stop()
    thread.join()
    server.close()
    listener.close()
    return taken


def plain(path: Path, number: int) -> tuple[Times, Times]:
    """Of the same file: a transaction that changes one row, and one look without the index."""
    db = sqlite3.connect(path, isolation_level=None)
    db.execute("PRAGMA synchronous = NORMAL")

    def change() -> None:
        db.execute("BEGIN IMMEDIATE")
        db.execute("UPDATE state SET turn = turn + 1")
        db.execute("COMMIT")

    floor = timed(change, number)
    look = (
        "SELECT key FROM keys NOT INDEXED WHERE waiting = 1 AND out_since IS NULL "
        "ORDER BY turn, scatter, key LIMIT 1"
    )
    taken = timed(lambda: db.execute(look).fetchone(), 3)
    db.close()
    return floor, taken


def measure(folder: Path, keys: int, number: int) -> dict[str, Times]:
    """All times with so many keys in the queue."""
    folder.mkdir()
    fill(folder / "queue", keys)
    with Queue(folder / "queue") as queue:
        taken = {"add: take an entry in": add(queue, keys)}
        taken |= calls(queue, number)
        taken["DONE and the next JOB, over the socket"] = over_socket(queue, folder, number)
        floor, look = plain(folder / "queue", number)
        taken["one look without the index"] = look
        taken["floor: a transaction of SQLite"] = floor
    return taken


def main(argv: list[str] | None = None) -> int:
    """Measure how long handing out a key takes, with few keys and with many."""
    parser = argparse.ArgumentParser(prog="benchmarks.dispatch", description=main.__doc__)
    parser.add_argument("--keys", type=int, default=1_000_000, help="keys that are many (1000000)")
    parser.add_argument("--few", type=int, default=5_000, help="keys that are few (5000)")
    parser.add_argument("--number", type=int, default=1_000, help="calls of each kind (1000)")
    parser.add_argument("--no-results", action="store_true", help="write no result files")
    args = parser.parse_args(argv)
    folder = Path(tempfile.mkdtemp(prefix="timelog-dispatch-"))
    try:
        described = report.machine(folder)
        few = measure(folder / "few", args.few, args.number)
        many = measure(folder / "many", args.keys, args.number)
        size = (folder / "many" / "queue").stat().st_size
    finally:
        shutil.rmtree(folder)
    rows = []
    floor = many["floor: a transaction of SQLite"].middle
    for name, taken in many.items():
        is_asked = name.startswith(("next", "done", "DONE"))
        rows.append(
            (
                name,
                seconds(few[name].middle),
                seconds(taken.middle),
                seconds(taken.most),
                f"{taken.middle / few[name].middle:.3g}",
                f"{taken.middle / floor:.3g}",
                f"< {seconds(WANTED)}" if is_asked else "",
                ("yes" if taken.middle < WANTED else "NO") if is_asked else "",
            )
        )
    notes = [
        f"few: {args.few:,} keys, many: {args.keys:,} keys in a file of {size / 1e6:.0f} MB",
        f"medians of {args.number:,} calls, and of those with many keys what 99 of 100 do not "
        "exceed; once in some 1,000 calls SQLite puts changes in their places, which takes longer",
        "files are in the operating system's cache",
    ]
    print("\n".join([*notes, "", report.table(HEADERS, rows)]))
    if not args.no_results:
        page = report.write(
            "dispatch",
            "timelog: handing out keys",
            HEADERS,
            rows,
            notes=notes,
            described=described,
            data={"keys": args.keys, "few": few, "many": many},
        )
        print(f"\nwritten: {page.name} and .json in {page.parent.name}/")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())

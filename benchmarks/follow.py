"""How soon a follower has what was appended, and how fast one that begins late catches up.

    python -m benchmarks.follow

Latency is from the call of ``append`` to the entry in hand, by the monotonic clock of the machine,
which all processes share. With ``flush_interval=0`` the append itself flushes and syncs; shown is
what the follower takes beyond that call. Beside it: GNU ``tail -f`` on a file to which lines are
written and synced, read through a pipe. Catching up is following a log from its beginning to its
end, beside searching all of it.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from random import Random
from statistics import median, quantiles
from typing import Any

import timelog
from benchmarks import report
from benchmarks.lines import lines
from benchmarks.ours import moment
from benchmarks.report import seconds
from benchmarks.rivals import BATCH

ROOT = Path(__file__).parents[1]
INTERVAL = 0.25
BEYOND = 0.005
HEADERS = ("what", "who follows", "median", "99 %", "wanted (median)", "met")

FOLLOWER = """
import sys, time, timelog
with timelog.open(sys.argv[1], mode="r") as log:
    print("ready", flush=True)
    for entry in log.follow():
        print(time.monotonic_ns(), flush=True)
"""

Append = Callable[[int], None]


@contextmanager
def in_process(log: timelog.EventLog) -> Iterator[Callable[[], int]]:
    """Follow in a thread; yields what waits for the next entry, and says when it came."""
    times: list[int] = []
    came = threading.Semaphore(0)
    stop = threading.Event()

    def run() -> None:
        for _ in log.follow(after, stop=stop):
            times.append(time.monotonic_ns())
            came.release()

    after = log.position
    thread = threading.Thread(target=run)
    thread.start()

    def wait() -> int:
        came.acquire()
        return times[-1]

    yield wait
    stop.set()
    thread.join()


@contextmanager
def in_another(log: timelog.EventLog) -> Iterator[Callable[[], int]]:
    """The same by another process."""
    command = [sys.executable, "-c", FOLLOWER, str(log.path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT) as process:
        assert process.stdout is not None
        process.stdout.readline()
        # It is ready to read; a moment later it waits.
        time.sleep(0.2)
        yield lambda: int(process.stdout.readline())  # type: ignore[union-attr]
        process.terminate()


def latencies(
    put: Callable[[int], object], wait: Callable[[], int], number: int, pause: float
) -> tuple[list[float], list[float]]:
    """Seconds from the call to the entry, and those of them after the call, of so many events."""
    random = Random(5)
    whole, beyond = [], []
    for n in range(number):
        time.sleep(random.uniform(0, 2 * pause))
        begun = time.monotonic_ns()
        put(n)
        returned = time.monotonic_ns()
        came = wait()
        whole.append((came - begun) / 1e9)
        beyond.append(max(came - returned, 0) / 1e9)
    return whole, beyond


def of_timelog(folder: Path, number: int) -> Iterator[tuple[str, str, list[float], float]]:
    """Measure both followers with both ways of flushing."""
    for follows in (in_process, in_another):
        who = "the same process" if follows is in_process else "another process"
        with (
            timelog.open(folder / who / "at once", flush_interval=0) as log,
            follows(log) as wait,
        ):
            _, beyond = latencies(lambda n: log.append(f"event {n}"), wait, number, 0.005)
        yield "flush_interval=0, beyond the append", who, beyond, BEYOND
        with (
            timelog.open(folder / who / "later", flush_interval=INTERVAL) as log,
            follows(log) as wait,
        ):
            log.append("the timer begins")
            wait()
            whole, _ = latencies(lambda n: log.append(f"event {n}"), wait, number // 4, INTERVAL)
        yield f"flush_interval={INTERVAL}, from the append", who, whole, INTERVAL + BEYOND


def of_tail(folder: Path, number: int) -> list[float]:
    """What `tail -f` takes beyond writing and syncing a line."""
    path = folder / "plain"
    path.touch()
    command = ["tail", "-f", "-n", "0", str(path)]
    with (
        path.open("ab", buffering=0) as file,
        subprocess.Popen(command, stdout=subprocess.PIPE) as process,
    ):
        assert process.stdout is not None
        out = process.stdout
        time.sleep(0.2)

        def put(n: int) -> None:
            file.write(b"event %d\n" % n)
            os.fsync(file.fileno())

        def wait() -> int:
            out.readline()
            return time.monotonic_ns()

        _, beyond = latencies(put, wait, number, 0.005)
        process.terminate()
    return beyond


def make(place: Path, events: int) -> None:
    """A log in order of arrival."""
    supply = lines(events, seed=3, minutes=60)
    with timelog.open(place, flush_interval=3600.0, text_index=False) as log:
        while batch := list(islice(supply, BATCH)):
            log.append_many(
                {
                    "content": line.content,
                    "source": line.source,
                    "tags": line.tags,
                    "timestamp": moment(line.timestamp),
                }
                for line in batch
            )
            log.flush()


def catch_up(place: Path, rounds: int) -> dict[str, float]:
    """The best seconds of following and of searching all there is, in turns."""
    best: dict[str, float] = {}
    with timelog.open(place, mode="r") as log:
        jobs: dict[str, Callable[[], int]] = {
            "follow": lambda: sum(1 for _ in log.follow(0, wait=False)),
            "search": lambda: sum(1 for _ in log.search()),
        }
        for _ in range(rounds):
            for name, job in jobs.items():
                begun = time.perf_counter()
                assert job() == log.position
                taken = time.perf_counter() - begun
                best[name] = min(best.get(name, taken), taken)
    return best


def main(argv: list[str] | None = None) -> int:
    """Measure how soon followers have what was appended, and how fast they catch up."""
    parser = argparse.ArgumentParser(prog="benchmarks.follow", description=main.__doc__)
    parser.add_argument("--number", type=int, default=400, help="events of each latency (400)")
    parser.add_argument("--events", type=int, default=300_000, help="events to catch up (300000)")
    parser.add_argument("--rounds", type=int, default=3, help="turns; the best counts (3)")
    parser.add_argument("--no-results", action="store_true", help="write no result files")
    args = parser.parse_args(argv)
    folder = Path(tempfile.mkdtemp(prefix="timelog-follow-"))
    data: dict[str, Any] = {"events": args.events}
    rows: list[tuple[str, ...]] = []
    try:
        described = report.machine(folder)
        for what, who, found, wanted in of_timelog(folder, args.number):
            middle = median(found)
            data[f"{what}, {who}"] = sorted(found)
            rows.append(
                (
                    what,
                    who,
                    seconds(middle),
                    seconds(quantiles(found, n=100)[98]),
                    f"< {seconds(wanted)}",
                    "yes" if middle < wanted else "NO",
                )
            )
        if shutil.which("tail"):
            found = of_tail(folder, args.number)
            data["tail"] = sorted(found)
            rows.append(
                (
                    "write and fsync, beyond them",
                    "tail -f",
                    seconds(median(found)),
                    seconds(quantiles(found, n=100)[98]),
                    "",
                    "",
                )
            )
        make(folder / "log", args.events)
        best = catch_up(folder / "log", args.rounds)
        data["catch up"] = best
    finally:
        shutil.rmtree(folder)
    notes = [
        f"latencies of {args.number} events, a quarter of that where a timer flushes, at random "
        "times",
        f"catching up with {args.events:,} events: {args.events / best['follow']:,.0f} a second, "
        f"{best['follow'] / best['search']:.2f} x the time of search(), which is "
        f"{args.events / best['search']:,.0f} a second",
    ]
    print("\n".join([*notes, "", report.table(HEADERS, rows), ""]))
    if not args.no_results:
        page = report.write(
            "follow",
            "timelog: following",
            HEADERS,
            rows,
            notes=notes,
            described=described,
            data=data,
        )
        print(f"\nwritten: {page.name} and .json in {page.parent.name}/")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())

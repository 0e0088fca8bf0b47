"""Many threads and processes with one log at once, switched as often as Python can.

Readers see what each thread appended as a prefix that grows: no hole, no other order. What is
synced is seen by a new process. Nothing waits for ever.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

import timelog
from tests.faults import program, report
from tests.faults.cuts import IS_FULL
from tests.faults.oracle import temporary_files
from tests.rig import CHANGES
from timelog import rotate
from timelog.storage import Storage

pytestmark = pytest.mark.timeout(1800)

_EVENTS = 2_000_000 if IS_FULL else 200_000
_PROCESSES = 2
_THREADS = 8
_READERS = 4
# Events until a thread syncs; all that it appended must then be there.
_STEP = 500
_MOST_SECONDS = 1500
_MOST_WAIT = 60

# One in so many events of a thread is accompanied by one of the days before, from which some go.
_OLD = 8
_DAYS = 3
_DAY = 86_400

# Each thread appends its numbers in order, and tells how many are durable in a file of its own.
_WRITER = """
import os, sys, threading, timelog
path, notes, process = sys.argv[1:4]
threads, count, step, each, days, today = map(int, sys.argv[4:])
sys.setswitchinterval(1e-6)
log = timelog.open(path, flush_interval=0.02, lock_timeout=60, max_buffer=8 << 20)
errors = []

def write(thread):
    name = f"{process}.{thread}"
    note = os.open(f"{notes}/{name}", os.O_WRONLY | os.O_CREAT)
    try:
        for n in range(count):
            if n % 7:
                log.append(str(n), source=name)
            else:
                log.append_many([{"content": str(n), "source": name}])
            if n % each == 0:
                # So long before today, and in order.
                day = today + (n * days // count - days) * 86_400
                log.append(str(n // each), source=f"{name} old", timestamp=day + n / 1000)
            if n % step == step - 1:
                log.sync()
                os.pwrite(note, b"%08d" % (n + 1), 0)
    except BaseException as error:
        errors.append(error)
        raise

threads = [threading.Thread(target=write, args=(n,)) for n in range(threads)]
for thread in threads: thread.start()
for thread in threads: thread.join()
log.close()
sys.exit(bool(errors))
"""

# Looks whenever some more is durable, until all is; each look reads and checks everything.
_READER = """
import os, sys, time, timelog
path, notes, most, gone = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
sys.setswitchinterval(1e-6)
log = timelog.open(path, mode="r")
seen, looks, looked, began = {}, 0, 0, {}

def read_notes():
    return {name: int(open(f"{notes}/{name}", "rb").read() or 0) for name in os.listdir(notes)}

while looked < most:
    noted = read_notes()
    if sum(noted.values()) < min(looked + most // 16, most):
        time.sleep(0.01)
        continue
    looked = sum(noted.values())
    counts = {}
    results = log.search()
    for event in results:
        number = int(event.content)
        if event.source not in counts:
            # The day with the first of them went as a whole, and does not come back.
            first = 0 if event.source not in began or not began[event.source] else gone
            allowed = {first, gone} if event.source.endswith("old") else {0}
            assert number in allowed, (event.source, number, allowed)
            began[event.source] = counts[event.source] = number
        assert number == counts[event.source], (event.source, number, counts)
        counts[event.source] = number + 1
    assert not results.damage, results.damage
    for before in (seen, noted):
        for name, count in before.items():
            assert counts.get(name, 0) >= count, (name, counts.get(name), count)
    seen, looks = counts, looks + 1
print(looks)
"""

# Follows from the beginning, now in one process and now in another, until it has all; each position
# comes once, and all that is not of the day that goes.
_FOLLOWER = """
import os, sys, timelog
path, most, place = sys.argv[1], int(sys.argv[2]), sys.argv[3]
sys.setswitchinterval(1e-6)
log = timelog.open(path, mode="r")
counts, gaps, position, came = {}, 0, 0, 0
if os.path.exists(place):
    cursor, position, came, gaps, counts = eval(open(place).read())
else:
    cursor = 0
begun = came
with log.follow(cursor) as following:
    while position < most:
        item = next(following)
        assert item[0] == position, (item, position)
        if isinstance(item, timelog.Gap):
            assert item.reason == "expired", item
            gaps += item.last - item.first + 1
            position = item.last + 1
            continue
        position += 1
        came += 1
        source, number = item.event.source, int(item.event.content)
        if source in counts and source.endswith("old"):
            assert number >= counts[source], (source, number, counts)
        elif not source.endswith("old"):
            assert number == counts.get(source, 0), (source, number, counts)
        counts[source] = number + 1
        if came - begun == most // 3:
            break
    with open(place, "w") as file:
        file.write(repr((following.cursor, position, came, gaps, counts)))
print(position, came, gaps)
"""

# Compacts again and again, takes snapshots, and lets the first day go when all wrote beyond it.
_CARETAKER = """
import datetime, importlib.util, os, sys, time, timelog
path, notes = sys.argv[1:3]
most, threads, count, days, today = map(int, sys.argv[3:])
sys.setswitchinterval(1e-6)
log = timelog.open(path, lock_timeout=60)
archives = importlib.util.find_spec("zstandard") is not None
rounds = compacted = expired = looked = 0
while looked < most:
    noted = [int(open(f"{notes}/{name}", "rb").read() or 0) for name in os.listdir(notes)]
    looked = sum(noted)
    compacted += log.compact(archive=archives and rounds % 3 == 2).days
    rounds += 1
    if rounds % 4 == 0:
        assert log.snapshot(f"{path}-snapshots").ok
        log.prune_snapshots(f"{path}-snapshots")
    if not expired and len(noted) == threads and min(noted) > count // days + 1000:
        age = datetime.timedelta(seconds=time.time() - today + (days - 1) * 86_400)
        expired = log.expire(age).events
    time.sleep(0.1)
log.close()
assert expired and compacted, (expired, compacted)
print(compacted)
"""


def _start(code: str, *args: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", code, *map(str, args)],
        cwd=program.ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


class _Followers(threading.Thread):
    """Starts a process that follows, and the next one where that stopped, until all has come."""

    def __init__(self, path: Path, most: int, place: Path) -> None:
        super().__init__(daemon=True)
        self._args = (path, most, place)
        self.found: tuple[int, ...] = (0, 0, 0)
        self.processes = 0
        self.error = ""

    def run(self) -> None:
        while self.found[0] < self._args[1] and not self.error:
            self.processes += 1
            with _start(_FOLLOWER, *self._args) as process:
                out, err = process.communicate()
                if process.returncode:
                    self.error = err
                else:
                    self.found = tuple(map(int, out.split()))


def test_readers_see_growing_prefixes_of_what_many_threads_append(ram: Path) -> None:
    """While days are compacted and archived, and one goes."""
    path, notes = ram / "log", ram / "notes"
    notes.mkdir()
    timelog.open(path).close()
    start = time.perf_counter()
    each = _EVENTS // _PROCESSES // _THREADS
    old = len(range(0, each, _OLD))
    # How many of them are of the first day.
    gone = len([n for n in range(0, each, _OLD) if n * _DAYS // each == 0])
    today = int(time.time()) // _DAY * _DAY
    threads = _PROCESSES * _THREADS
    writer = (_THREADS, each, _STEP, _OLD, _DAYS, today)
    processes = [
        *(_start(_READER, path, notes, _EVENTS, gone) for _ in range(_READERS)),
        _start(_CARETAKER, path, notes, _EVENTS, threads, each, _DAYS, today),
        *(_start(_WRITER, path, notes, n, *writer) for n in range(_PROCESSES)),
    ]
    follower = _Followers(path, _EVENTS + threads * old, ram / "place")
    follower.start()
    try:
        results = [process.communicate(timeout=_MOST_SECONDS) for process in processes]
    finally:
        for process in processes:
            process.kill()
    follower.join(_MOST_WAIT)
    assert not follower.is_alive() and not follower.error, follower.error
    came, went = follower.found[1:]
    assert came + went == _EVENTS + threads * old
    assert went <= threads * gone
    for process, (_, err) in zip(processes, results, strict=True):
        assert process.returncode == 0, err
    with timelog.open(path, mode="r") as log:
        verified = log.verify(deep=True)
        assert verified.ok, str(verified)
        books = log.audit()
        assert books.ok and books.expired == threads * gone, str(books)
        assert log.position == _EVENTS + threads * old
        assert len({event.id for event in log}) == log.position - threads * gone
        for n in range(_PROCESSES):
            for thread in range(_THREADS):
                found = [int(event.content) for event in log.search(source=f"{n}.{thread}")]
                assert found == list(range(each))
                found = [int(event.content) for event in log.search(source=f"{n}.{thread} old")]
                assert found == list(range(gone, old))
    looks = sum(int(out) for out, _ in results[:_READERS])
    report.record(
        f"threads: {_EVENTS + threads * old:,} events of {_PROCESSES} x {_THREADS} threads, "
        f"{looks} looks of {_READERS} readers, {int(results[_READERS][0])} days compacted, "
        f"{came:,} events followed by {follower.processes} processes, in "
        f"{time.perf_counter() - start:.1f} s"
    )


# -- a process that is forked, or killed, in the middle of a flush ------------------------


class _Halts(Storage):
    """Does something before its n-th change, once it is told to."""

    syncs_at_once = 1

    def __init__(self, number: int, halt: Callable[[], object]) -> None:
        super().__init__()
        self._left, self._halt = number, halt
        self.is_armed = False

    def _count(self) -> None:
        if self.is_armed:
            self._left -= 1
            if not self._left:
                self._halt()


def _counted(name: str) -> Callable[..., object]:
    plain = getattr(Storage, name)

    def call(self: _Halts, *args: object) -> object:
        self._count()
        return plain(self, *args)

    return call


# No fork comes while a lock file is opened: there it would wait.
for _name in set(CHANGES) - {"open_lock"}:
    setattr(_Halts, _name, _counted(_name))


def test_a_fork_at_any_step_of_a_flush(ram: Path) -> None:
    """The child has a log of its own, waits for the parent's flush and takes nothing from it."""
    number = 0
    while True:
        number += 1
        path = ram / str(number)
        reached, go_on = threading.Event(), threading.Event()

        def halt(reached: threading.Event = reached, go_on: threading.Event = go_on) -> None:
            reached.set()
            go_on.wait()

        storage = _Halts(number, halt)
        log = timelog.open(path, flush_interval=3600.0, text_index=False, storage=storage)
        log.append_many({"content": f"parent {at}", "timestamp": at} for at in (0, 60))
        storage.is_armed = True
        flush = threading.Thread(target=log.flush)
        flush.start()
        while flush.is_alive() and not reached.wait(0.001):
            pass
        if not reached.is_set():
            log.close()
            break
        begun, child_began = os.pipe()
        pid = os.fork()
        if not pid:
            # A child that waits for ever ends, and fails the test.
            signal.alarm(_MOST_WAIT)
            try:
                storage.is_armed = False
                os.write(child_began, b"!")
                log.append("child", timestamp=30, sync=True)
                os._exit(0)
            finally:
                os._exit(1)
        os.read(begun, 1)
        go_on.set()
        flush.join()
        assert os.waitpid(pid, 0)[1] == 0
        os.close(begun)
        os.close(child_began)
        log.close()
        with timelog.open(path, mode="r") as reader:
            assert reader.verify(deep=True).ok
            assert [event.content for event in reader] == ["parent 0", "child", "parent 60"]
    assert number > 8
    report.record(f"a fork at each of {number - 1} steps of a flush")


def test_a_reader_stays_open_through_kills_and_repairs(
    ram: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It sees whole flushes, keeps what it saw, and misses nothing that is durable."""
    monkeypatch.setattr(rotate, "MOST_COMMITS", 5)
    path = ram / "log"
    timelog.open(path).close()
    kept: list[str] = []
    number = kills = 0
    with timelog.open(path, mode="r") as reader:
        while True:
            number += 1
            pair = [f"{number}", f"{number}"]
            pid = os.fork()
            if not pid:
                _flush_and_die(path, number)
            is_killed = os.waitpid(pid, 0)[1] == signal.SIGKILL
            kills += is_killed
            found = _by_flush(reader)
            assert found in ([kept] if is_killed else []) + [[*kept, *pair]], (number, found)
            with timelog.open(path, flush_interval=3600.0, text_index=False) as log:
                repaired = _by_flush(log)
                assert repaired[: len(found)] == found
                assert repaired in (kept, [*kept, *pair])
                assert _by_flush(reader) == repaired
                log.append_many(
                    {"content": f"after {number}", "timestamp": at, "id": f"a{number}-{at}"}
                    for at in (0, 90)
                )
                log.flush()
            kept = [*repaired, f"after {number}", f"after {number}"]
            assert _by_flush(reader) == kept
            assert not temporary_files(path)
            if not is_killed:
                break
        assert reader.verify(deep=True).ok
    assert kills > 8
    report.record(f"a reader that stays open through {kills} kills at each step, and repairs")


def _flush_and_die(path: Path, number: int) -> None:
    """Flush two events as one; the process is killed before the n-th change of the disk."""
    try:
        storage = _Halts(number, lambda: os.kill(os.getpid(), signal.SIGKILL))
        log = timelog.open(path, flush_interval=3600.0, text_index=False, storage=storage)
        log.append_many(
            {"content": f"{number}", "timestamp": at, "id": f"{number}-{at}"} for at in (0, 90)
        )
        storage.is_armed = True
        log.flush()
        os._exit(0)
    finally:
        os._exit(1)


def _by_flush(log: timelog.EventLog) -> list[str]:
    """The contents of both spans, in order of arrival; each flush has one event in both."""
    found = [event.content for event in log]
    half = len(found) // 2
    assert found[:half] == found[half:], found
    return [content for content in found[:half] for _ in range(2)]

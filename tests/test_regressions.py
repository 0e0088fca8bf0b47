"""Bugs that were found once, each as the behaviour that must not come back."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from types import FrameType

import pytest

import timelog
from tests.rig import FaultyStorage, Killed, abandon
from timelog import names, rotate
from timelog.day import Day
from timelog.errors import ReentryError, StorageError
from timelog.index import Index
from timelog.storage import Storage

ROOT = Path(__file__).parents[1]
Open = Callable[..., timelog.EventLog]
T = 1_700_000_000


def contents(log: timelog.EventLog) -> list[str]:
    return [event.content for event in log.search()]


def seen_by_others(path: Path) -> list[str]:
    with timelog.open(path, mode="r") as reader:
        return contents(reader)


def run(program: str, *args: object) -> str:
    """Run a program that must end by itself: a deadlock is a failure, not a hang."""
    done = subprocess.run(
        [sys.executable, "-c", program, *map(str, args)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


class Boots(Storage):
    """A storage whose machine can be booted again, with a note of what was synced."""

    def __init__(self) -> None:
        super().__init__()
        self.boot = "first"
        self.synced: dict[str, int] = {}

    def boot_id(self) -> str:
        return self.boot

    def sync(self, fd: int) -> None:
        super().sync(fd)
        self.synced[os.readlink(f"/proc/self/fd/{fd}")] = os.fstat(fd).st_size

    def rename(self, source: Path, target: Path) -> None:
        super().rename(source, target)
        if str(source) in self.synced:
            self.synced[str(target)] = self.synced.pop(str(source))

    def power_cut(self, path: Path) -> None:
        """Every file falls back to the length at which it was last synced."""
        self.boot += "+"
        for file in path.rglob("*"):
            if file.is_file() and file.name != names.LOCK:
                os.truncate(file, self.synced.get(str(file), 0))


# -- checkpoints and other processes ------------------------------------------------------


def test_a_checkpoint_killed_while_it_removes_journals_leaves_one_truth(
    ram: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An idle log at an old journal file must not take it for the newest."""
    path = ram / "log"
    idle = timelog.open(path, flush_interval=3600)
    idle.append("a1", timestamp=T, sync=True)
    reader = timelog.open(path, mode="r")
    assert contents(reader) == ["a1"]
    for n in range(3):
        storage = FaultyStorage()
        killed = timelog.open(path, flush_interval=3600, storage=storage)
        killed.append("never")
        storage.arm("kill", only="write")
        with pytest.raises(Killed):
            killed.flush()
        abandon(killed)
        with timelog.open(path, flush_interval=3600) as log:
            log.append(f"b{n}", timestamp=T)
    monkeypatch.setattr(rotate, "MOST_COMMITS", 1)
    storage = FaultyStorage(2, "kill", only="unlink")
    with pytest.raises(Killed):
        last = timelog.open(path, flush_interval=3600, storage=storage)
        last.append("b3", timestamp=T, sync=True)
    monkeypatch.undo()
    expected = ["a1", "b0", "b1", "b2"]
    assert contents(reader)[:4] == seen_by_others(path)[:4] == expected
    idle.append("a2", timestamp=T, sync=True)
    assert contents(idle) == contents(reader) == seen_by_others(path)
    assert "a2" in seen_by_others(path)
    idle.close()


def test_a_process_that_follows_the_journal_past_a_checkpoint_has_its_root(
    ram: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = ram / "log"
    with timelog.open(path, flush_interval=3600) as log:
        log.append("zero", timestamp=T)
    follower = timelog.open(path, flush_interval=3600)
    assert contents(follower) == ["zero"]
    monkeypatch.setattr(rotate, "MOST_COMMITS", 1)
    for n in range(3):
        with timelog.open(path, flush_interval=3600) as other:
            other.append(f"other {n}", timestamp=T)
            other.flush()
            # Between the other's commits and its next checkpoint.
            assert follower.position == n * 2 + 2
        follower.append(f"mine {n}", timestamp=T, sync=True)
    assert len(contents(follower)) == 7
    assert contents(follower) == seen_by_others(path)
    assert follower.verify(deep=True).ok and follower.health().ok
    follower.close()


def test_a_damaged_index_of_an_old_day_stops_nothing_else(
    open_log: Open, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as often:
        often.setattr(rotate, "MOST_COMMITS", 1)
        with open_log() as log:
            log.append("old", timestamp=T, sync=True)
            log.append("now", timestamp=T + 5 * 86_400, sync=True)
    [index] = (path / ".timelog" / "index").glob("2023-11-14.*")
    data = bytearray(index.read_bytes())
    data[40] ^= 1
    index.write_bytes(data)
    monkeypatch.setattr(rotate, "MOST_COMMITS", 1)
    log = open_log()
    log.append("late", timestamp=T + 5)
    log.append("today", timestamp=T + 5 * 86_400)
    log.sync()
    assert set(contents(log)) >= {"now", "today"}
    health = log.health()
    assert health.status == "critical" and "checkpoints fail" in str(health)


def test_directories_that_a_copy_left_out_are_made_again(open_log: Open, path: Path) -> None:
    open_log().close()
    for name in ("tmp", "quarantine", "trash", "state", "index"):
        (path / ".timelog" / name).rmdir()
    with open_log() as log:
        for n in range(70):
            log.append(str(n), sync=True)
    assert len(seen_by_others(path)) == 70


# -- power cuts under sync="off" ----------------------------------------------------------


def test_a_young_log_of_sync_off_opens_after_a_power_cut(ram: Path) -> None:
    path, storage = ram / "log", Boots()
    log = timelog.open(path, sync="off", flush_interval=3600, storage=storage)
    log.append("kept", timestamp=T, sync=True)
    log.append("gone", timestamp=T + 60)
    log.flush()
    log.close()
    [lost] = path.glob("2023*/*T2214Z-*")
    os.truncate(lost, 0)
    storage.boot = "second"
    with timelog.open(path, sync="off", flush_interval=3600, storage=storage) as again:
        assert contents(again) == ["kept"]
        assert "power cuts took 1 commits" in str(again.health())
        again.append("more", timestamp=T, sync=True)
    assert seen_by_others(path) == ["kept", "more"]


def test_sync_covers_the_journal_file_that_a_repair_ended(ram: Path) -> None:
    path, storage = ram / "log", Boots()
    log = timelog.open(path, sync="off", flush_interval=3600, storage=storage)
    log.append("one", timestamp=T)
    log.flush()
    log.append("two", timestamp=T)
    plain = storage.write

    def fail(fd: int, *parts: bytes) -> None:
        storage.write = plain  # type: ignore[method-assign]
        raise OSError(28, "No space left on device")

    storage.write = fail  # type: ignore[method-assign]
    with pytest.raises(StorageError, match="the disk is full"):
        log.flush()
    log.append("three", timestamp=T, sync=True)
    abandon(log)
    storage.power_cut(path)
    with timelog.open(path, flush_interval=3600, storage=storage) as again:
        assert contents(again) == ["one", "two", "three"]


def test_what_sync_made_durable_is_not_forgotten_for_an_older_file(ram: Path) -> None:
    path, storage = ram / "log", Boots()
    log = timelog.open(path, sync="off", flush_interval=3600, storage=storage)
    for name, time in (("a", T), ("b", T + 60)):
        log.append(name, timestamp=time)
        log.flush()
    log.sync()
    abandon(log)
    [old] = path.glob("2023*/*T2213Z-*")
    old.unlink()
    storage.boot = "second"
    with timelog.open(path, flush_interval=3600, storage=storage) as again:
        assert contents(again) == ["b"]
        assert again.health().damage


def test_a_file_that_somebody_removed_does_not_stop_a_sync(ram: Path) -> None:
    path = ram / "log"
    storage = FaultyStorage(only="sync")
    with timelog.open(path, sync="off", flush_interval=3600, storage=storage) as log:
        log.append("a", timestamp=T)
        log.flush()
        [file] = path.glob("2023*/*")
        file.unlink()
        log.append("b", timestamp=T + 60, sync=True)
        assert log.health().status == "critical"
        before = len(storage.calls)
        log.append("c", timestamp=T + 60, sync=True)
        assert len(storage.calls) - before < 6, "what was synced is synced again and again"
    assert seen_by_others(path) == ["b", "c"]


# -- interrupts ---------------------------------------------------------------------------


def test_an_interrupt_while_a_commit_is_taken_in_leaves_no_half(
    open_log: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    reader, writer = open_log(), open_log()
    assert contents(reader) == []
    writer.append_many({"content": str(n), "timestamp": T + n * 60} for n in range(5))
    writer.flush()
    plain, calls = Day.add, []

    def interrupted(self: Day, *args: object) -> None:
        calls.append(args)
        if len(calls) == 3:
            raise KeyboardInterrupt
        plain(self, *args)  # type: ignore[arg-type]

    monkeypatch.setattr(Day, "add", interrupted)
    with pytest.raises(KeyboardInterrupt):
        contents(reader)
    assert contents(reader) == ["0", "1", "2", "3", "4"]


def test_an_interrupt_while_a_flush_is_published_loses_and_repeats_nothing(
    open_log: Open, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = open_log()
    plain, calls = Index.publish, []

    def interrupted(self: Index, *args: object) -> bool:
        calls.append(args)
        if len(calls) == 1:
            raise KeyboardInterrupt
        return plain(self, *args)  # type: ignore[arg-type]

    monkeypatch.setattr(Index, "publish", interrupted)
    log.append("one")
    with pytest.raises(KeyboardInterrupt):
        log.sync()
    log.append("two", sync=True)
    assert contents(log) == ["one", "two"] == seen_by_others(path)


def test_an_interrupt_anywhere_in_a_freeze_loses_and_repeats_nothing(ram: Path) -> None:
    """At each place where the interpreter looks for signals: when a call begins, or has ended."""

    class Fixed(Storage):
        time_ns = staticmethod(lambda: T * 1_000_000_000)  # the same millisecond for ever

    for point in range(1, 500):
        log = timelog.open(ram / str(point), flush_interval=3600, storage=Fixed())
        log.append("before")
        count = 0

        def profile(frame: FrameType, event: str, arg: object, at: int = point) -> None:
            nonlocal count
            if event in ("call", "c_return") and frame.f_code.co_filename.endswith("buffer.py"):
                count += 1
                if count == at:
                    sys.setprofile(None)
                    raise KeyboardInterrupt

        sys.setprofile(profile)
        try:
            log._store.buffer.freeze()
        except KeyboardInterrupt:
            pass
        finally:
            sys.setprofile(None)
        log.append("after")
        log.sync()
        found = contents(log)
        log.close()
        assert found == ["before", "after"], f"interrupted at {point}"
        if count < point:
            assert point > 10
            return
    raise AssertionError("a freeze has more calls than were tried")


def test_a_signal_handler_that_uses_the_log_gets_an_error_and_not_a_deadlock(path: Path) -> None:
    program = """
import signal, sys, timelog
from timelog.errors import ReentryError
log = timelog.open(sys.argv[1], flush_interval=3600)
refused = 0
def handler(*_):
    global refused
    try:
        log.append("from the handler")
    except ReentryError:
        refused += 1
signal.signal(signal.SIGALRM, handler)
signal.setitimer(signal.ITIMER_REAL, 0.0001, 0.0001)
for n in range(20_000):
    log.append(str(n))
signal.setitimer(signal.ITIMER_REAL, 0)
log.close()
print("ended")
"""
    assert run(program, path).strip() == "ended"
    with timelog.open(path, mode="r") as log:
        found = [event.content for event in log.search() if event.content != "from the handler"]
    assert found == [str(n) for n in range(20_000)]


def test_a_finalizer_in_the_middle_of_an_append_is_refused(open_log: Open) -> None:
    log = open_log()
    # As the interrupted append holds it.
    lock = log._store.buffer._lock
    with lock, pytest.raises(ReentryError, match="set a flag or raise"):
        log.append("x")
    assert contents(log) == []


# -- deadlocks with logging and the collector ---------------------------------------------


@pytest.mark.parametrize("interval", [0, 3600])
def test_an_application_may_send_its_own_logging_to_the_log(path: Path, interval: int) -> None:
    program = """
import logging, sys, timelog
from tests.rig import FaultyStorage
class Handler(logging.Handler):
    def emit(self, record):
        log.append(record.getMessage(), source="logging")
storage = FaultyStorage(fault="ENOSPC")
interval = float(sys.argv[2])
log = timelog.open(sys.argv[1], flush_interval=interval, max_buffer=70_000, max_content=1000,
                   storage=storage)
logging.getLogger().addHandler(Handler())
for n in range(300):
    log.append("x" * 900)
    if n == 20:
        storage.arm("ENOSPC", only="write")
        try:
            log.append("y", sync=True)
        except timelog.TimelogError:
            storage.heal()
log.sync()
print(log.search(source="logging").count() > 0)
"""
    assert run(program, path, interval).strip() == "True"


def test_the_collector_may_close_a_log_in_any_thread(path: Path) -> None:
    program = """
import gc, sys, timelog
gc.disable()
other = timelog.open(sys.argv[1] + "-other", flush_interval=3600)
log = timelog.open(sys.argv[1], flush_interval=0.001)
log.append("kept")
cycle = [log]; cycle.append(cycle)
del log, cycle
plain = other._store.flusher._exclusive
def collecting(*args, **options):
    gc.collect()
    return plain(*args, **options)
other._store.flusher._exclusive = collecting
other.append("x", sync=True)
print("ended")
"""
    assert run(program, path).strip() == "ended"
    assert seen_by_others(path) == ["kept"]


def test_a_log_whose_close_failed_goes_on_flushing(ram: Path) -> None:
    path, storage = ram / "log", FaultyStorage()
    log = timelog.open(path, flush_interval=0.01, storage=storage)
    log.append("one")
    storage.arm("ENOSPC", only="write")
    storage.sticky = True
    with pytest.raises(StorageError, match="the disk is full"):
        log.close()
    assert not log.is_closed
    storage.heal()
    log.append("two")
    waiting = threading.Event()
    while seen_by_others(path) != ["one", "two"]:
        waiting.wait(0.001)
    log.close()


def test_results_made_before_a_fork_work_in_the_child(open_log: Open) -> None:
    log = open_log()
    log.append("x", sync=True)
    results = log.search()
    with log._store.index.lock:
        pid = os.fork()
        if pid == 0:
            signal.alarm(20)
            os._exit(0 if results.count() == 1 and len(list(results)) == 1 else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


# -- errors, sizes, pauses ----------------------------------------------------------------


def test_errors_of_the_disk_are_typed_in_every_look_at_the_log(open_log: Open, path: Path) -> None:
    log = open_log(mode="a")
    (path / ".timelog" / "journal" / "0000000002.journal").mkdir()
    for look in (log.search, lambda: log.position, lambda: log.cursor("x"), log.verify):
        with pytest.raises(StorageError):
            look()
    assert log.health().status == "critical"
    (path / ".timelog" / "journal" / "0000000002.journal").rmdir()
    assert contents(log) == []


def test_the_buffer_counts_what_an_event_really_takes(open_log: Open) -> None:
    log = open_log()
    log.append("x")
    plain = log.health().buffer_bytes
    log.append("x", tags=[f"tag {n} of an event of its own" for n in range(64)])
    assert log.health().buffer_bytes - plain > 64 * 60 + plain
    before = log.health().buffer_bytes
    log.append("x" * 1000 + "\N{GRINNING FACE}")
    assert log.health().buffer_bytes - before > 5000


def test_pauses_after_failures_have_an_end(open_log: Open) -> None:
    log = open_log(flush_interval=0.5)
    log._store.timer.stop()
    log._store.flusher.counters.failures = 5000
    log._store.flusher.committer._store_lock._path = log.path / "absent" / "lock"
    log.append("x")
    with pytest.raises(timelog.TimelogError):
        log.flush()
    assert log._store._flush_in_background() == 30.0
    log._store.flusher.committer._store_lock._path = log._store.layout.lock


def test_an_absent_id_of_the_year_10000_is_just_not_found(open_log: Open) -> None:
    log = open_log()
    far = "ffffffff-ffff-7fff-bfff-ffffffffffff"
    with pytest.raises(timelog.EventNotFound):
        log.get(far)
    log.append("x", id=far)
    assert log.get(far).content == "x"


def test_salvage_with_a_pattern_keeps_what_parses(open_log: Open, path: Path) -> None:
    log = open_log()
    log.append_many({"content": f"needle {n}", "timestamp": T} for n in range(50))
    log.flush()
    [segment] = path.glob("2023*/*")
    data = bytearray(segment.read_bytes())
    data[data.index(b"needle 7") - 3] = 0
    segment.write_bytes(data)
    assert log.search(pattern="needle", salvage=True).count() == 49

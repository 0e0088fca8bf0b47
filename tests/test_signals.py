"""SIGTERM and SIGHUP: what is in memory is stored, and the process ends as it would have."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from multiprocessing.synchronize import Event
from pathlib import Path

import pytest

import timelog
from timelog import signals
from timelog.errors import StorageError

ROOT = Path(__file__).parents[1]
Open = Callable[..., timelog.EventLog]
SEED = 20261125
BOTH = [signal.SIGTERM, signal.SIGHUP]

OPEN = """
import os, queue, signal, sys, threading, time, timelog
path, *words = sys.argv[1:]
log = timelog.open(path, flush_interval=3600)
"""


def start(program: str, *args: object, prefix: tuple[str, ...] = ()) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*prefix, sys.executable, "-c", program, *map(str, args)],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def until(process: subprocess.Popen[str], line: str) -> None:
    assert process.stdout is not None
    assert process.stdout.readline() == f"{line}\n"


def end(process: subprocess.Popen[str], code: int) -> str:
    out, err = process.communicate(timeout=60)
    assert process.returncode == code, err
    assert err == ""
    return out


def found(path: Path) -> list[str]:
    with timelog.open(path, mode="r") as log:
        assert log.verify(deep=True).ok
        assert log.audit().ok
        return [event.content for event in log.search()]


# -- what the main thread may be doing -----------------------------------------------------

WAITS = {
    "sleep": "time.sleep(3600)",
    "queue": "queue.SimpleQueue().get()",
    "lock": "lock = threading.Lock(); lock.acquire(); lock.acquire()",
    "join": "t = threading.Thread(target=time.sleep, args=(60,)); t.start(); t.join()",
    "read": "sys.stdin.read()",
    "compute": "n = 0\nwhile True: n += 1",
    "end of the program": "threading.Thread(target=time.sleep, args=(60,)).start()",
}


@pytest.mark.parametrize("number", BOTH)
@pytest.mark.parametrize("waiting", WAITS)
def test_what_is_in_memory_is_stored(path: Path, number: signal.Signals, waiting: str) -> None:
    process = start(
        OPEN + "log.append('kept'); print('ready', flush=True)\n" + WAITS[waiting], path
    )
    until(process, "ready")
    process.send_signal(number)
    end(process, -number)
    assert found(path) == ["kept"]


def test_what_was_refused_is_told(path: Path) -> None:
    refuse = """
try:
    log.append("x", timestamp="never")
except timelog.TimelogError:
    print("ready", flush=True)
time.sleep(3600)
"""
    process = start(OPEN + refuse, path)
    until(process, "ready")
    process.send_signal(signal.SIGTERM)
    end(process, -signal.SIGTERM)
    with timelog.open(path, mode="r") as log:
        assert log.audit().refused == {"InvalidTime": 1}


def test_every_log_is_stored(tmp_path: Path) -> None:
    program = """
import signal, sys, timelog
logs = [timelog.open(path, flush_interval=3600) for path in sys.argv[1:]]
for log in logs: log.append("kept")
logs[0].close()
print("ready", flush=True)
signal.pause()
"""
    paths = [tmp_path / str(n) for n in range(3)]
    process = start(program, *paths)
    until(process, "ready")
    process.terminate()
    end(process, -signal.SIGTERM)
    assert [found(path) for path in paths] == [["kept"]] * 3


def test_in_a_busy_loop_all_that_was_there_when_it_arrived_is_stored(path: Path) -> None:
    program = (
        OPEN
        + """
for n in range(10**9):
    log.append(str(n))
    if n == 20_000: print("ready", flush=True)
"""
    )
    process = start(program, path)
    until(process, "ready")
    process.terminate()
    end(process, -signal.SIGTERM)
    there = found(path)
    assert there == [str(n) for n in range(len(there))]
    assert len(there) > 20_000


# Every call of a function in the flush of the main thread is a place where the signal may arrive.
IN_A_FLUSH = """
import os, random, signal, sys, timelog
root, seed, rounds = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])

def run(path, at):
    log = timelog.open(path, flush_interval=3600)
    for n in range(5): log.append(str(n), timestamp=n * 100)
    count = 0
    def profile(frame, event, arg):
        nonlocal count
        if event in ("call", "c_call") and "timelog" in frame.f_code.co_filename:
            count += 1
            if count == at:
                os.kill(os.getpid(), signal.SIGTERM)
                os.kill(os.getpid(), signal.SIGTERM)
    sys.setprofile(profile)
    log.flush()
    sys.setprofile(None)
    if at > count: os._exit(99)
    if at: signal.pause()
    return count

# The first one imports things as well.
calls = [run(f"{root}/calls {n}", 0) for n in range(2)][1]
chance = random.Random(seed)
for n in range(rounds):
    at = chance.randrange(1, calls)
    pid = os.fork()
    if pid == 0:
        run(f"{root}/{n}", at)
        os._exit(0)
    print(at, calls, os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)
"""


def test_in_the_middle_of_a_flush(ram: Path) -> None:
    rounds = 50
    lines = end(start(IN_A_FLUSH, ram, SEED, rounds), 0).splitlines()
    assert len(lines) == rounds
    for n, line in enumerate(lines):
        assert line.split()[2] == str(-signal.SIGTERM), f"seed {SEED}, round {n}: {line}"
        assert found(ram / str(n)) == list("01234"), f"seed {SEED}, round {n}: {line}"


# -- a flush that takes long, or fails -----------------------------------------------------


def holder_of(path: Path) -> subprocess.Popen[str]:
    timelog.open(path).close()
    program = """
import fcntl, os, sys
fd = os.open(sys.argv[1], os.O_RDWR)
fcntl.flock(fd, fcntl.LOCK_EX)
print("held", flush=True)
sys.stdin.read()
"""
    holder = start(program, path / ".timelog" / "lock")
    until(holder, "held")
    return holder


# The storage tells when the flush has begun to wait for the lock.
TELLING = """
import signal, sys, timelog
from timelog.storage import Storage
class Telling(Storage):
    told = False
    def lock(self, fd, timeout):
        if self.told: print("waits", flush=True)
        super().lock(fd, timeout)
storage = Telling()
log = timelog.open(sys.argv[1], flush_interval=3600, lock_timeout=float(sys.argv[2]),
                   storage=storage)
log.append("one"); log.append("two")
print("ready", flush=True)
sys.stdin.readline()
storage.told = True
print("told", flush=True)
while True: signal.pause()
"""


def test_a_second_signal_while_storing_changes_nothing(path: Path) -> None:
    process = start(TELLING, path, 60)
    until(process, "ready")
    holder = holder_of(path)
    print(file=process.stdin, flush=True)
    until(process, "told")
    process.terminate()
    until(process, "waits")
    for number in (*BOTH, *BOTH):
        process.send_signal(number)
    assert process.poll() is None
    end(holder, 0)
    end(process, -signal.SIGTERM)
    assert found(path) == ["one", "two"]


def test_what_cannot_be_stored_is_counted_and_the_process_ends(path: Path) -> None:
    process = start(TELLING, path, 0.05)
    until(process, "ready")
    holder = holder_of(path)
    print(file=process.stdin, flush=True)
    until(process, "told")
    process.terminate()
    _, err = process.communicate(timeout=60)
    assert process.returncode == -signal.SIGTERM
    assert "2 events could not be stored before the end: another process held" in err
    end(holder, 0)
    assert found(path) == []


def test_a_disk_that_hangs_does_not_keep_the_process(path: Path) -> None:
    program = """
import sys, threading, timelog
from timelog import signals
from timelog.storage import Storage
class Hanging(Storage):
    hangs = False
    def sync(self, fd):
        if self.hangs: threading.Event().wait()
        super().sync(fd)
signals._WRITING = 0.05
storage = Hanging()
log = timelog.open(sys.argv[1], flush_interval=3600, lock_timeout=0.05, storage=storage)
log.append("lost")
storage.hangs = True
print("ready", flush=True)
log.flush()
"""
    process = start(program, path)
    until(process, "ready")
    process.terminate()
    _, err = process.communicate(timeout=60)
    assert process.returncode == -signal.SIGTERM
    assert "1 events could not be stored before the end: storing them took longer than 0.1" in err


def test_without_a_thread_to_be_had_it_is_stored_in_place(path: Path) -> None:
    program = (
        OPEN
        + """
import _thread
log.append("kept")
def none(*_): raise RuntimeError("can't start new thread")
_thread.start_new_thread = none
os.kill(os.getpid(), signal.SIGTERM)
"""
    )
    end(start(program, path), -signal.SIGTERM)
    assert found(path) == ["kept"]


def test_a_main_thread_that_runs_no_python_does_not_keep_the_process(path: Path) -> None:
    program = (
        OPEN
        + """
import hashlib
from timelog import signals
signals._STANDING = 0
log.append("kept")
os.kill(os.getpid(), signal.SIGTERM)
hashlib.pbkdf2_hmac("sha256", b"", b"", 2**31 - 1)
"""
    )
    end(start(program, path), 128 + signal.SIGTERM)
    assert found(path) == ["kept"]


def test_at_the_exit_of_the_interpreter_it_waits_for_the_end_of_that(path: Path) -> None:
    program = """
import os, signal, sys, timelog
from timelog.storage import Storage
class Signalling(Storage):
    exiting = False
    def sync(self, fd):
        if self.exiting: os.kill(os.getpid(), signal.SIGTERM)
        super().sync(fd)
storage = Signalling()
log = timelog.open(sys.argv[1], flush_interval=3600, storage=storage)
log.append("kept")
storage.exiting = True
"""
    end(start(program, path), -signal.SIGTERM)
    assert found(path) == ["kept"]


# -- whose the signal is -------------------------------------------------------------------


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_handler_of_the_application_is_left_alone(path: Path, when: str) -> None:
    install = "signal.signal(signal.SIGTERM, lambda *_: print('mine', flush=True))\n"
    body = "import signal\n" + install + OPEN if when == "before" else OPEN + install
    program = body + "log.append('lost'); print('ready', flush=True)\nsys.stdin.read()\n"
    process = start(program + "os._exit(7)", path)
    until(process, "ready")
    process.terminate()
    until(process, "mine")
    end(process, 7)
    assert found(path) == []


def test_a_handler_that_calls_the_one_before_it_stores(path: Path) -> None:
    program = (
        OPEN
        + """
before = signal.getsignal(signal.SIGTERM)
def handler(*args):
    print("mine", flush=True)
    before(*args)
signal.signal(signal.SIGTERM, handler)
log.append("kept")
print("ready", flush=True)
while True: signal.pause()
"""
    )
    process = start(program, path)
    until(process, "ready")
    process.terminate()
    assert end(process, -signal.SIGTERM) == "mine\n"
    assert found(path) == ["kept"]


def test_what_is_ignored_stays_ignored(path: Path) -> None:
    program = OPEN + "log.append('x'); print('ready', flush=True); sys.stdin.read(); log.close()"
    process = start(program, path, prefix=("nohup",))
    until(process, "ready")
    process.send_signal(signal.SIGHUP)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert found(path) == ["x"]


def test_after_the_last_log_everything_is_as_before(tmp_path: Path, open_log: Open) -> None:
    before = [signal.signal(number, signal.SIG_DFL) for number in BOTH]
    try:
        one, two = open_log(tmp_path / "one"), open_log(tmp_path / "two")
        assert [signal.getsignal(number) for number in BOTH] == [signals._handle] * 2
        one.close()
        assert [signal.getsignal(number) for number in BOTH] == [signals._handle] * 2
        two.close()
        assert [signal.getsignal(number) for number in BOTH] == [signal.SIG_DFL] * 2
    finally:
        for number, handler in zip(BOTH, before, strict=True):
            signal.signal(number, handler)


def test_readers_and_logs_that_do_not_want_it_set_no_handler(path: Path, open_log: Open) -> None:
    before = [signal.signal(number, signal.SIG_DFL) for number in BOTH]
    try:
        log = open_log(exit_signals=False)
        open_log(mode="r")
        assert [signal.getsignal(number) for number in BOTH] == [signal.SIG_DFL] * 2
        log.append("x")
    finally:
        for number, handler in zip(BOTH, before, strict=True):
            signal.signal(number, handler)


def test_a_log_of_another_thread_sets_no_handler(path: Path) -> None:
    program = """
import signal, sys, threading, timelog
thread = threading.Thread(target=timelog.open, args=sys.argv[1:])
thread.start()
thread.join()
print(signal.getsignal(signal.SIGTERM) is signal.SIG_DFL)
"""
    assert end(start(program, path), 0) == "True\n"


def test_a_handler_that_stays_when_all_is_closed_ends_the_process(path: Path) -> None:
    """Another thread cannot take it away."""
    program = (
        OPEN
        + """
thread = threading.Thread(target=log.close)
thread.start()
thread.join()
os.kill(os.getpid(), signal.SIGTERM)
"""
    )
    end(start(program, path), -signal.SIGTERM)


def test_a_close_that_failed_leaves_the_handler(path: Path) -> None:
    from tests.rig import FaultyStorage

    before = signal.signal(signal.SIGTERM, signal.SIG_DFL)
    try:
        storage = FaultyStorage()
        log = timelog.open(path, flush_interval=3600, storage=storage)
        log.append("x")
        storage.arm("ENOSPC", only="write")
        with pytest.raises(StorageError):
            log.close()
        assert signal.getsignal(signal.SIGTERM) is signals._handle
        log.close()
        assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    finally:
        signal.signal(signal.SIGTERM, before)


# -- processes -----------------------------------------------------------------------------


def test_a_child_stores_what_is_its_own_and_the_parent_goes_on(path: Path) -> None:
    program = (
        OPEN
        + """
log.append("parent")
pid = os.fork()
if pid == 0:
    log.append("child")
    os.kill(os.getpid(), signal.SIGTERM)
    signal.pause()
print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
print([event.content for event in timelog.open(path, mode="r").search()])
os.kill(os.getpid(), signal.SIGHUP)
signal.pause()
"""
    )
    assert end(start(program, path), -signal.SIGHUP) == "-15\n['child']\n"
    assert sorted(found(path)) == ["child", "parent"]


def in_child(act: Callable[[], bool]) -> bool:
    """What ``act`` returns in a child, where it may do lasting harm."""
    pid = os.fork()
    if pid == 0:
        try:
            os._exit(0 if act() else 1)
        finally:
            os._exit(2)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


def test_no_flush_begins_after_the_last_one(path: Path, open_log: Open) -> None:
    """It would be cut off by the end of the process."""
    log = open_log()

    def act() -> bool:
        log.append("kept")
        thread = threading.Thread(target=log._store.store_before_end)
        thread.start()
        thread.join()
        return not log._store.flusher.committer.lock.acquire(blocking=False)

    assert in_child(act)
    assert found(path) == ["kept"]


def test_a_child_of_a_process_that_is_about_to_end_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(signals, "_state", signals._State())
    signals._state.obeying.acquire()
    signals._state.arrived = signal.SIGTERM
    signals._state.is_stored = True

    def act() -> bool:
        state = signals._state
        return not (state.arrived or state.is_stored or state.obeying.locked())

    assert in_child(act)


def _work(path: str, ready: Event) -> None:
    log = timelog.open(path, flush_interval=3600)
    log.append("worker")
    ready.set()
    while True:
        signal.pause()


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_a_multiprocessing_worker_that_is_terminated(path: Path, method: str) -> None:
    context = multiprocessing.get_context(method)
    ready = context.Event()
    process = context.Process(target=_work, args=(str(path), ready))
    process.start()
    assert ready.wait(60)
    process.terminate()
    process.join(60)
    assert process.exitcode == -signal.SIGTERM
    assert found(path) == ["worker"]


def test_the_exit_of_the_process_is_seen_by_its_parent(path: Path) -> None:
    """A supervisor waits for the status: it is the signal's, as without a log."""
    process = start(OPEN + "log.append('x'); print('ready', flush=True); signal.pause()", path)
    until(process, "ready")
    os.kill(process.pid, signal.SIGTERM)
    assert os.WTERMSIG(os.waitpid(process.pid, 0)[1]) == signal.SIGTERM
    process.returncode = -signal.SIGTERM
    process.communicate()

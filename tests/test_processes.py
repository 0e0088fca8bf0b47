"""Several processes with one log: writers, readers, forks, kills."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import timelog

ROOT = Path(__file__).parents[1]
Open = Callable[..., timelog.EventLog]

WRITER = """
import sys, timelog
path, name, count, interval = sys.argv[1], sys.argv[2], int(sys.argv[3]), float(sys.argv[4])
with timelog.open(path, flush_interval=interval, lock_timeout=60) as log:
    for n in range(count):
        log.append(f"{name}-{n}", source=name, sync=n % 50 == 49)
        if n % 50 == 49:
            print(n, flush=True)
"""


def start(program: str, *args: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", program, *map(str, args)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(process: subprocess.Popen[str]) -> str:
    out, err = process.communicate(timeout=90)
    assert process.returncode == 0, err
    return out


def test_two_writers_at_once_lose_and_repeat_nothing(path: Path, open_log: Open) -> None:
    writers = [start(WRITER, path, name, 1000, 0.005) for name in ("a", "b")]
    for writer in writers:
        finish(writer)
    with open_log(mode="r") as log:
        for name in ("a", "b"):
            found = [event.content for event in log.search(source=name)]
            assert found == [f"{name}-{n}" for n in range(1000)]
        assert log.position == 2000
        assert log.verify(deep=True).ok
        assert log.audit().ok


def test_a_reader_never_sees_half_a_flush(path: Path) -> None:
    """One process appends pairs in one commit over two spans; a reader counts both."""
    program = """
import sys, timelog
with timelog.open(sys.argv[1], flush_interval=3600) as log:
    for n in range(300):
        log.append_many({"content": str(n), "timestamp": time} for time in (0, 999))
        log.flush()
"""
    with timelog.open(path):
        pass
    writer = start(program, path)
    seen = 0
    with timelog.open(path, mode="r") as log:
        while writer.poll() is None or seen < 300:
            found = [event.content for event in log.search()]
            half = len(found) // 2
            assert found[:half] == found[half:] == [str(n) for n in range(half)]
            assert half >= seen
            seen = half
    finish(writer)


def test_what_was_synced_is_seen_by_a_new_process(path: Path) -> None:
    with timelog.open(path, flush_interval=3600) as log:
        log.append("here", sync=True)
        reader = start(
            "import sys, timelog\n"
            "print([e.content for e in timelog.open(sys.argv[1], mode='r').search()])",
            path,
        )
        assert finish(reader).strip() == "['here']"


def test_a_writer_killed_under_load_loses_nothing_acknowledged(path: Path) -> None:
    for round in range(5):
        writer = start(WRITER, path, f"r{round}", 1_000_000, 0.001)
        assert writer.stdout is not None
        acknowledged = -1
        for _ in range(5):
            acknowledged = int(writer.stdout.readline())
        writer.send_signal(signal.SIGKILL)
        writer.communicate()
        with timelog.open(path, flush_interval=3600) as log:
            found = [event.content for event in log.search(source=f"r{round}")]
            assert found == [f"r{round}-{n}" for n in range(len(found))]
            assert len(found) > acknowledged
            assert log.verify(deep=True).ok
            assert log.audit().ok


def test_a_fork_goes_on_with_a_log_of_its_own(path: Path, open_log: Open) -> None:
    log = open_log()
    log.append("parent before")
    pid = os.fork()
    if pid == 0:
        try:
            log.append("child", sync=True)
            visible = [event.content for event in log.search()]
            os._exit(0 if visible == ["child"] else 1)
        finally:
            os._exit(2)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    log.append("parent after", sync=True)
    found = sorted(event.content for event in log.search())
    assert found == ["child", "parent after", "parent before"]


def test_a_fork_while_other_threads_append_and_flush(path: Path) -> None:
    """No inherited lock stays locked, whatever the parent's threads were doing."""
    program = """
import os, sys, threading, timelog
log = timelog.open(sys.argv[1], flush_interval=0.001)
stop = threading.Event()
def work(n):
    while not stop.is_set():
        log.append("parent", source=str(n))
        log.flush()
threads = [threading.Thread(target=work, args=(n,)) for n in range(3)]
for thread in threads: thread.start()
for n in range(20):
    pid = os.fork()
    if pid == 0:
        log.append(f"child {n}", sync=True)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
stop.set()
for thread in threads: thread.join()
log.close()
"""
    finish(start(program, path))
    with timelog.open(path, mode="r") as log:
        children = [event.content for event in log.search(pattern="^child")]
        assert sorted(children) == sorted(f"child {n}" for n in range(20))
        ids = [event.id for event in log.search()]
        assert len(ids) == len(set(ids))
        assert log.verify(deep=True).ok
        assert log.audit().ok


def _work(path: str) -> None:
    log = timelog.open(path, flush_interval=3600)
    log.append("worker")


def _use(log: timelog.EventLog) -> None:
    log.append("inherited")


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_a_multiprocessing_worker_flushes_at_its_exit(path: Path, method: str) -> None:
    context = multiprocessing.get_context(method)
    process = context.Process(target=_work, args=(str(path),))
    process.start()
    process.join(60)
    assert process.exitcode == 0
    with timelog.open(path, mode="r") as log:
        assert [event.content for event in log.search()] == ["worker"]


def test_an_inherited_log_flushes_at_the_exit_of_a_worker(path: Path, open_log: Open) -> None:
    log = open_log()
    process = multiprocessing.get_context("fork").Process(target=_use, args=(log,))
    process.start()
    process.join(60)
    assert process.exitcode == 0
    assert [event.content for event in log.search()] == ["inherited"]


def test_a_held_store_lock_is_named_after_the_timeout(path: Path, open_log: Open) -> None:
    holder = start(
        "import fcntl, os, sys\n"
        "fd = os.open(sys.argv[1], os.O_RDWR)\n"
        "fcntl.flock(fd, fcntl.LOCK_EX)\n"
        "print('held', flush=True)\n"
        "sys.stdin.read() if sys.stdin else None\n"
        "import signal; signal.pause()\n",
        _made(path) / ".timelog" / "lock",
    )
    assert holder.stdout is not None and holder.stdout.readline() == "held\n"
    try:
        with pytest.raises(timelog.errors.LockTimeout, match="another process"):
            open_log(lock_timeout=0.05)
        # A reader needs no lock.
        assert open_log(mode="r").search().count() == 0
    finally:
        holder.kill()
        holder.communicate()
    with open_log() as log:
        log.append("x", sync=True)


def _made(path: Path) -> Path:
    timelog.open(path).close()
    return path

"""Processes that write are killed at any moment, or stopped and continued: nothing is lost.

What one leaves, the next ones find, who may be killed in the middle of repairing it.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import timelog
from tests.faults import killing, program, report
from tests.faults.cuts import IS_FULL, SEED
from tests.faults.oracle import temporary_files
from timelog.storage import Storage

pytestmark = pytest.mark.timeout(1800)

_KILLS = 3500 if IS_FULL else 350


def _run(*args: object) -> killing.Report:
    done = subprocess.run(
        [sys.executable, "-m", "tests.faults.killing", *map(str, args)],
        cwd=program.ROOT,
        stdout=subprocess.PIPE,
        check=True,
    )
    return killing.Report(**json.loads(done.stdout))


@pytest.mark.parametrize("sync", ["flush", "off"])
@pytest.mark.parametrize("part", range(3))
def test_nothing_acknowledged_is_lost_however_often_writers_are_killed(
    ram: Path, sync: str, part: int
) -> None:
    start = time.perf_counter()
    seed = f"{SEED} {part}"
    found = _run(sync, _KILLS, seed, ram)
    assert not found.violation, f"seed {seed!r}: {found.violation}"
    assert found.kills >= _KILLS and found.fresh and found.opening and found.events
    report.record(
        f"kill -9, sync={sync}, part {part}: {found.kills:,} kills ({found.opening:,} while the "
        f"log was opened or repaired, {found.fresh:,} of new interpreters), {found.looks:,} looks, "
        f"{found.events:,} events kept, in {time.perf_counter() - start:.1f} s, seed {seed!r}"
    )


@pytest.mark.parametrize("number", range(len(killing.CONTROLS)))
def test_a_fault_of_the_package_is_found_out(ram: Path, number: int) -> None:
    found = _run("off", 2000, SEED, ram, number)
    assert found.violation
    name = killing.CONTROLS[number].name
    report.record(f"negative control, {name}: {found.kills:,} kills, {found.violation}"[:160])


# -- stopped in the middle of a flush -----------------------------------------------------


class _Stops(Storage):
    """Stops this process before its n-th call of some kind, once it is told to."""

    syncs_at_once = 1

    def __init__(self, kind: str, number: int) -> None:
        super().__init__()
        self._kind, self._left = kind, number
        self.is_armed = False

    def write(self, fd: int, *parts: bytes) -> None:
        """As ever."""
        self._count("write")
        super().write(fd, *parts)

    def sync(self, fd: int) -> None:
        """As ever."""
        self._count("sync")
        super().sync(fd)

    def overwrite(self, fd: int, data: bytes, offset: int) -> None:
        """As ever."""
        self._count("overwrite")
        super().overwrite(fd, data, offset)

    def _count(self, kind: str) -> None:
        if self.is_armed and kind == self._kind:
            self._left -= 1
            if not self._left:
                os.kill(os.getpid(), signal.SIGSTOP)


# Of a flush of two spans: before a write, a sync or a change of the lock file.
_MOMENTS = {
    "before the first segment": ("write", 1),
    "between two segments": ("write", 2),
    "before the journal": ("write", 3),
    "before the sync of the journal": ("sync", 5),
    "before the mark is cleared": ("overwrite", 2),
}


@pytest.fixture(params=_MOMENTS)
def stopped(path: Path, request: pytest.FixtureRequest) -> Iterator[int]:
    """A process that stands still in the middle of a flush of "a" and "b", after one of "old"."""
    with timelog.open(path, flush_interval=3600.0) as log:
        log.append("old", timestamp=0)
    with _process(lambda: _flush_and_stop(path, *_MOMENTS[request.param])) as pid:
        assert os.WIFSTOPPED(os.waitpid(pid, os.WUNTRACED)[1])
        yield pid


def _flush_and_stop(path: Path, kind: str, number: int) -> None:
    storage = _Stops(kind, number)
    with timelog.open(path, flush_interval=3600.0, storage=storage) as log:
        log.append_many({"content": name, "timestamp": at} for name, at in (("a", 30), ("b", 90)))
        storage.is_armed = True
        log.sync()


@contextmanager
def _process(work: Callable[[], None]) -> Iterator[int]:
    """A child that does ``work``, and that is not there any more at the end."""
    pid = os.fork()
    if not pid:
        try:
            work()
            os._exit(0)
        finally:
            os._exit(1)
    try:
        yield pid
    finally:
        try:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
        except (ProcessLookupError, ChildProcessError):
            # The test has waited for it.
            pass


def _contents(path: Path) -> list[str]:
    with timelog.open(path, mode="r") as log:
        assert log.verify(deep=True).ok
        return [event.content for event in log]


def test_a_stopped_process_keeps_its_lock_and_goes_on(path: Path, stopped: int) -> None:
    with pytest.raises(timelog.errors.LockTimeout) as caught:
        timelog.open(path, lock_timeout=0.01)
    # What to do, and that such a process may be the cause.
    for words in ("fuser", "lslocks", "stopped process", "lock_timeout"):
        assert words in str(caught.value)
    with timelog.open(path, mode="r") as reader:
        assert [event.content for event in reader] == ["old"]
        os.kill(stopped, signal.SIGCONT)
        assert os.waitpid(stopped, 0)[1] == 0
        assert [event.content for event in reader] == ["old", "a", "b"]
    assert _contents(path) == ["old", "a", "b"]


def test_who_waits_for_a_stopped_process_loses_and_repeats_nothing(path: Path) -> None:
    with timelog.open(path, lock_timeout=0.01, flush_interval=3600.0) as log:
        log.append("mine", timestamp=60)
        with _process(lambda: _flush_and_stop(path, "write", 2)) as pid:
            assert os.WIFSTOPPED(os.waitpid(pid, os.WUNTRACED)[1])
            for _ in range(2):
                with pytest.raises(timelog.errors.LockTimeout):
                    log.sync()
            assert [event.content for event in log] == ["mine"]
            os.kill(pid, signal.SIGCONT)
            assert os.waitpid(pid, 0)[1] == 0
            log.sync()
        assert [event.content for event in log] == ["a", "mine", "b"]
    assert _contents(path) == ["a", "mine", "b"]


def test_the_lock_of_a_stopped_process_is_free_when_it_is_killed(path: Path, stopped: int) -> None:
    os.kill(stopped, signal.SIGKILL)
    os.waitpid(stopped, 0)
    with timelog.open(path, lock_timeout=0.01, flush_interval=3600.0) as log:
        assert [event.content for event in log] in (["old"], ["old", "a", "b"])
        log.append("new", timestamp=10, sync=True)
        assert not temporary_files(path)
    assert _contents(path) in (["old", "new"], ["old", "new", "a", "b"])

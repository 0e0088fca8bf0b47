"""Other users' directories, and processes that may open or allocate no more.

Each case is a child process: what is taken from it cannot be given back.
"""

from __future__ import annotations

import json
import logging
import os
import resource
import shutil
import signal
import stat
import subprocess
import sys
import traceback
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

import timelog
from tests.faults import report
from tests.faults.cuts import IS_FULL
from tests.faults.planted import DAYS, make_log, open_log, paths_of
from tests.rig import abandon
from timelog import scan

pytestmark = pytest.mark.timeout(600)

ROOT = Path(__file__).parents[2]
_NOBODY = 65534
_SECONDS = 60


def in_child(act: Callable[[], object]) -> object:
    """What ``act`` returns in a forked child, as JSON; its failure is the test's."""
    reading, writing = os.pipe()
    pid = os.fork()
    if not pid:
        signal.alarm(_SECONDS)
        logging.disable(logging.CRITICAL)
        try:
            said = [True, act()]
        except BaseException:
            resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY,) * 2)
            said = [False, traceback.format_exc()]
        os.write(writing, json.dumps(said).encode()[:60_000])
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        data = pipe.read()
    _, status = os.waitpid(pid, 0)
    assert data, f"the child ended with {status}: {os.waitstatus_to_exitcode(status)}"
    is_fine, result = json.loads(data)
    assert is_fine, result
    return result


def refused(step: Callable[..., object], *args: object) -> str:
    """The name of the error of the library that ``step`` raises, ``""`` where none."""
    try:
        step(*args)
    except timelog.TimelogError as error:
        assert str(error).strip()
        return type(error).__name__
    return ""


def uses(log: timelog.EventLog) -> list[Callable[[], object]]:
    """Everything that can be done with an open log."""
    found = [
        lambda: log.search().to_list(),
        lambda: log.search(pattern="needle3", order="desc").to_list(),
        lambda: log.search().count(),
        lambda: log.get("unknown"),
        log.files,
        lambda: log.cursor("place"),
        lambda: str(log.health()),
        lambda: str(log.verify(deep=True)),
    ]
    if log._store.options.is_writable:
        found += [
            lambda: log.append("new", sync=True),
            lambda: log.append("old", timestamp=DAYS[1], sync=True),
            log.index_text,
            lambda: log._store.flusher._exclusive(None, True, closing=True),
            log.reopen,
        ]
    return found


# -- another user -----------------------------------------------------------------------------


@pytest.fixture
def as_nobody(ram: Path) -> Callable[[Callable[[], object]], object]:
    """Run something in a child that is nobody in particular."""
    if os.geteuid() != 0:
        pytest.skip("NOT RUN: 40 cases as another user: becoming one takes root")
    ram.chmod(0o755)
    # What it imports, nobody may be unable to read.
    make_log(ram / "warm")

    def run(act: Callable[[], object]) -> object:
        def become_and_act() -> object:
            os.setgroups([])
            os.setgid(_NOBODY)
            os.setuid(_NOBODY)
            return act()

        return in_child(become_and_act)

    return run


AsNobody = Callable[[Callable[[], object]], object]


@pytest.mark.parametrize("mode", "ar")
def test_another_users_log_is_refused_clearly(ram: Path, as_nobody: AsNobody, mode: str) -> None:
    make_log(ram / "log")

    def act() -> list[str]:
        with pytest.raises(timelog.TimelogError, match="permission is denied") as caught:
            open_log(ram / "log", mode=mode)
        return [type(caught.value).__name__, str(caught.value)]

    name, text = as_nobody(act)  # type: ignore[misc]
    assert name in ("ReadOnlyError", "StorageError") and str(ram / "log") in text


def test_another_users_log_that_may_be_read_is_read(ram: Path, as_nobody: AsNobody) -> None:
    contents = make_log(ram / "log")
    for path in [ram / "log", *(ram / "log").rglob("*")]:
        path.chmod(0o755 if path.is_dir() else 0o644)

    def act() -> list[list[str]]:
        with open_log(ram / "log", mode="r") as log:
            assert log.verify(deep=True).ok and log.health().ok
            found = [event.content for event in log.search()]
        with pytest.raises(timelog.errors.ReadOnlyError, match="permission is denied") as caught:
            open_log(ram / "log")
        return [found, [str(caught.value)]]

    found, (text,) = as_nobody(act)  # type: ignore[misc]
    assert sorted(found) == sorted(contents)
    assert "mode='r'" in text


def test_a_log_cannot_be_made_in_another_users_directory(ram: Path, as_nobody: AsNobody) -> None:
    (ram / "there").mkdir(0o755)
    for path in (ram / "log", ram / "there", ram / "there" / "deeper" / "log"):
        assert as_nobody(lambda path=path: refused(lambda: open_log(path))) == "ReadOnlyError"
    assert os.listdir(ram / "there") == []


def test_no_file_or_directory_may_be_unreadable_unnoticed(ram: Path, as_nobody: AsNobody) -> None:
    """One after the other is taken away from the log's own user, and given back."""
    (ram / "own").mkdir()
    os.chown(ram / "own", _NOBODY, _NOBODY)
    path = ram / "own" / "log"

    def act() -> dict[str, int]:
        contents = set(make_log(path))
        counts: Counter[str] = Counter()
        scan._WORTH = 0
        for name in paths_of(path):
            thing = path / name
            for opened in "ar":
                for is_early in (False, True):
                    # What can be made again, a file of the text index, may be gone.
                    if not thing.exists():
                        continue
                    mode = stat.S_IMODE(thing.stat().st_mode)
                    counts["cases"] += 1
                    log = open_log(path, mode=opened) if is_early else None
                    thing.chmod(0)
                    try:
                        if log is None:
                            log = open_log(path, mode=opened)
                        for use in uses(log):
                            counts[refused(use)] += 1
                    except timelog.TimelogError as error:
                        assert "permission" in str(error), error
                        counts[type(error).__name__] += 1
                    if thing.exists():
                        thing.chmod(mode)
                    if log is not None and opened == "a":
                        log.reopen()
                        log.close()
                    elif log is not None:
                        abandon(log)
                    with open_log(path) as again:
                        assert contents <= {event.content for event in again.search()}, name
                        assert again.verify().ok, name
        return counts

    counts = as_nobody(act)
    assert counts["StorageError"] > 10  # type: ignore[index]
    report.record(f"unreadable files and directories: {counts['cases']} cases")  # type: ignore[index]


# -- descriptors ------------------------------------------------------------------------------


def test_without_descriptors_everything_says_so_and_then_goes_on(ram: Path) -> None:
    """So many may be opened more, from none to enough."""
    sample = ram / "sample"
    contents = set(make_log(sample))

    def act() -> dict[str, int]:
        counts: Counter[str] = Counter()
        scan._WORTH = 0
        hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]

        def limit(more: int | None) -> None:
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
            if more is not None:
                # The limit is on the number of the descriptor.
                lowest = os.dup(0)
                os.close(lowest)
                resource.setrlimit(resource.RLIMIT_NOFILE, (lowest + more, hard))

        for more in range(8):
            path = ram / f"log{more}"
            shutil.copytree(sample, path)
            for mode in "ar":
                limit(more)
                counts["open " + refused(open_and_close, path, mode)] += 1
                limit(None)
                log = open_log(path, mode=mode)
                before = sorted(os.listdir("/proc/self/fd"))
                for use in uses(log):
                    # What has seen the index already reads segments and nothing else.
                    begun = log.search(), log.search(pattern="event")
                    limit(more)
                    counts[refused(use)] += 1
                    found = [refused(found_all, each, contents) for each in begun]
                    limit(None)
                    assert set(found) <= {"", "StorageError"}, found
                    counts["begun " + found[0]] += 1
                    found_all(log.search(), contents)
                    assert len(os.listdir("/proc/self/fd")) == len(before)
                if mode == "a":
                    waiting = log.health().waiting
                    log.sync()
                    assert log.health().waiting == 0
                    counts["waited"] += waiting
                log.close()
                with open_log(path) as again:
                    assert again.verify(deep=True).ok
                    assert not again.health().damage
                    if mode == "a":
                        assert again.search(pattern="^(new|old)$").count() == 2
        return counts

    counts = in_child(act)
    assert counts["StorageError"] > 30 and counts["waited"] > 5  # type: ignore[index]
    assert counts["begun StorageError"] > 30  # type: ignore[index]
    report.record(f"descriptors exhausted: {sum(counts.values())} cases")  # type: ignore[attr-defined]


def open_and_close(path: Path, mode: str) -> None:
    open_log(path, mode=mode).close()


def found_all(results: timelog.Results, contents: set[str]) -> None:
    """A search finds everything or raises; it leaves nothing out in silence."""
    assert contents <= {event.content for event in results}
    assert not results.damage


# -- memory -----------------------------------------------------------------------------------


@pytest.mark.parametrize("part", range(4))
def test_without_memory_nothing_is_lost(ram: Path, part: int) -> None:
    """The address space is limited to what there is and a little more, in a program of its own."""
    limits = 60 if IS_FULL else 6
    total: Counter[str] = Counter()
    for step in range(limits):
        path = ram / f"log{step}"
        extra = (part + 4 * step) * 1_000_000
        # Else the C library keeps address space in reserve for each thread.
        env = {**os.environ, "MALLOC_ARENA_MAX": "1"}
        command = [sys.executable, "-m", "tests.faults.starved", str(path), str(extra)]
        done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True)
        if done.returncode == -signal.SIGSEGV:
            # msgspec 0.22 does not look whether it got the memory for lines: as if killed.
            total["ended by the encoder"] += 1
        else:
            assert not done.returncode, done.stderr
            total.update(json.loads(done.stdout))
        with open_log(path) as again:
            found = [event.content for event in again.search(pattern="^before")]
            assert found == [f"before {n} needle" for n in range(50)]
            assert again.verify(deep=True).ok
    assert total["MemoryError"]
    report.record(f"memory limits, part {part}: {limits} limits, outcomes {dict(total)}")

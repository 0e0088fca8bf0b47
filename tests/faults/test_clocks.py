"""The wall clock jumps: nothing is lost, order is kept, files are sealed as they should be."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

import timelog
from tests.faults import report
from tests.faults.planted import open_log
from timelog import rotate, scrub
from timelog.checkpoint import Root
from timelog.index import Index
from timelog.indexstate import Place
from timelog.journal import Commit
from timelog.names import Layout
from timelog.storage import Storage
from timelog.timestamp import DAY, END, FIRST, HOUR, MINUTE, SECOND, from_datetime, to_datetime

pytestmark = pytest.mark.timeout(300)

_START = from_datetime(datetime(2026, 11, 21, 10, 15, 20, tzinfo=UTC))
_JUMPS: dict[str, Callable[[int], int]] = {
    "an hour ahead": lambda us: us + HOUR,
    "an hour back": lambda us: us - HOUR,
    "a day ahead": lambda us: us + DAY,
    "a day back": lambda us: us - DAY,
    "1970": lambda us: 0,
    "before 1970": lambda us: -5 * DAY - 1,
    "2038": lambda us: 2**31 * SECOND,
    "9999": lambda us: END - 2 * SECOND,
    "a second again": lambda us: us - SECOND,
    "the year 1": lambda us: FIRST,
}


class Clock(Storage):
    """A wall clock that a test sets; it goes on by 10 ms at each look."""

    def __init__(self, us: int = _START) -> None:
        super().__init__()
        self.us = us
        self.tick = 10_000
        # What happens at the next looks, one by one.
        self.coming: list[Callable[[int], int]] = []
        self.written = threading.Event()

    def time_ns(self) -> int:
        if self.coming:
            self.us = self.coming.pop(0)(self.us)
        self.us += self.tick
        return self.us * 1000

    def sync(self, fd: int) -> None:
        self.written.set()


class Watched(Index):
    """The index, read anew; says what no commit may do."""

    commits: list[Commit]

    def __init__(self, path: Path) -> None:
        super().__init__(Layout(path), Storage(), "", lambda batch: None)
        self.refresh()

    def _take(self, root: Root) -> None:
        super()._take(root)
        self.commits = []

    def apply(self, commit: Commit, place: Place) -> None:
        if commit.sequence <= self.sequence:
            super().apply(commit, place)
            return
        if self.commits:
            last = self.commits[-1]
            assert commit.time >= last.time and commit.sealed_before >= last.sealed_before
        for block in commit.blocks:
            segment = self.segment(block.path)
            if segment is not None:
                assert not segment.is_sealed(self.sealed_before), f"{block.path} was sealed"
        self.commits.append(commit)
        super().apply(commit, place)


def around(log: timelog.EventLog, clock: Clock, jump: Callable[[int], int]) -> list[str]:
    """A flush before, some at the other time, and some when the clock is right again."""
    contents = []

    def add(count: int) -> None:
        for _ in range(count):
            contents.append(f"{len(contents):03d}")
            log.append(contents[-1])

    add(3)
    log.flush()
    before = clock.us
    clock.us = jump(clock.us)
    for _ in range(3):
        add(2)
        log.flush()
    clock.us = before
    for _ in range(5):
        add(2)
        log.flush()
    return contents


def in_one_flush(log: timelog.EventLog, clock: Clock, jump: Callable[[int], int]) -> list[str]:
    """All that time waits in memory, and comes to the disk together."""
    contents = [f"{n:03d}" for n in range(60)]
    before = clock.us
    for n, content in enumerate(contents):
        if n % 20 == 10:
            clock.us = jump(clock.us)
        if n % 20 == 15:
            clock.us = before + n * 10_000
        log.append(content)
    log.flush()
    return contents


def during_flushes(log: timelog.EventLog, clock: Clock, jump: Callable[[int], int]) -> list[str]:
    """The clock jumps between two looks of one flush, to and fro."""
    contents = []
    for n in range(8):
        contents.append(f"{n:03d}")
        log.append(contents[-1])
        here = clock.us
        clock.coming = [jump, lambda us, here=here: here] * 2 if n % 2 else [lambda us: us, jump]
        log.sync()
        clock.coming = []
        clock.us = here
    return contents


def reopened(log: timelog.EventLog, clock: Clock, jump: Callable[[int], int]) -> list[str]:
    """Another process starts while the clock is wrong, appends, and makes a checkpoint."""
    contents = ["000", "001"]
    log.append(contents[0])
    log.flush()
    other = Clock(jump(clock.us))
    with open_log(log.path, storage=other) as wrong:
        for _ in range(4):
            contents.append(f"{len(contents):03d}")
            # The first one's, which came before: it commits when it closes.
            wrong.append(contents[-1], sync=True)
        wrong._store.flusher._exclusive(None, True, closing=True)
        assert wrong.search().count() == 5
    log.append(contents[1], sync=True)
    contents.append(contents.pop(1))
    return contents


_WAYS = [around, in_one_flush, during_flushes, reopened]


@pytest.mark.parametrize("way", _WAYS)
def test_a_jump_loses_nothing(
    ram: Path, way: Callable[..., list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, jump in _JUMPS.items():
        for often in (False, True):
            # Checkpoints come among the flushes, or not at all.
            monkeypatch.setattr(rotate, "MOST_COMMITS", 3 if often else 1000)
            path = ram / f"{name} {often}"
            clock = Clock()
            try:
                log = open_log(path, storage=clock)
                contents = way(log, clock, jump)
                log.close()
                check(path, contents)
            except BaseException as error:
                error.add_note(f"{way.__name__}, {name}, checkpoints {often}")
                raise
    report.record(f"clock jumps, {way.__name__}: {2 * len(_JUMPS)} cases")


def check(path: Path, contents: list[str]) -> None:
    """``contents`` are there in this order of arrival, and come in order of time."""
    Watched(path)
    with open_log(path, storage=Clock()) as log:
        assert log.position == len(contents)
        assert log.verify(deep=True).ok and log.health().ok
        events = log.search().to_list()
        place = {content: number for number, content in enumerate(contents)}
        keys = [(event.timestamp, place[event.content]) for event in events]
        assert keys == sorted(keys)
        assert sorted(place) == sorted(event.content for event in events)
        assert len({event.id for event in events}) == len(events)
        for position in range(len(contents) + 1):
            found = {event.content for event in log.search(as_of=position)}
            assert found == set(contents[:position])
        for event in events:
            assert log.get(event.id) == event
            near = log.search(event.timestamp, event.timestamp.replace(microsecond=999_999))
            assert event in near.to_list()
        # Late events have files of their own, but not each flush one.
        files = [name.path for name in log.files()]
        assert len(set(files)) <= 12, files


@pytest.mark.parametrize("us", [FIRST - MINUTE, END, END + DAY, 1 << 61, -(1 << 61)])
def test_a_clock_that_no_event_can_have_refuses_only_what_needs_it(ram: Path, us: int) -> None:
    clock = Clock()
    with open_log(ram / "log", storage=clock) as log:
        log.append("before", sync=True)
        clock.us = us
        for _ in range(2):
            with pytest.raises(timelog.errors.InvalidTime, match="clock"):
                log.append("now")
            with pytest.raises(timelog.errors.InvalidTime, match="clock"):
                log.append_many([{"content": "dated", "timestamp": 0}, {"content": "now"}])
            with pytest.raises(timelog.errors.InvalidTime):
                log.search("now").count()
            if us > 0:
                log.append("dated", timestamp=0, sync=True)
            log.flush()
            log._store.flusher._exclusive(None, True, closing=True)
            log._store.scrubber.step()
            assert log.health().ok and log.health().last_scrub < END
        clock.us = _START + MINUTE
        log.append("after", sync=True)
        expected = ["dated"] * (2 * (us > 0)) + ["before", "after"]
        assert [event.content for event in log.search()] == expected
    Watched(ram / "log")
    with open_log(ram / "log") as log:
        assert log.verify(deep=True).ok
        assert log.search().count() == len(expected)


@pytest.mark.parametrize("jump", _JUMPS)
def test_timers_go_on(ram: Path, jump: str) -> None:
    """Background flushes come after a jump as before it: they wait by a clock that never jumps."""
    clock = Clock()
    with timelog.open(ram / "log", flush_interval=0.01, storage=clock, scrub_interval=0) as log:
        for _ in range(3):
            clock.written.clear()
            log.append("x")
            assert clock.written.wait(30), "no flush came"
            clock.us = _JUMPS[jump](clock.us)
    with open_log(ram / "log", mode="r") as log:
        assert log.search().count() == 3


def test_a_scrub_is_not_taken_for_a_later_one(ram: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was noted at a wrong time is noted again when the clock is right."""
    clock = Clock()
    with open_log(ram / "log", storage=clock) as log:
        log.append("x", sync=True)
        log._store.scrubber.step()
        for jump in _JUMPS.values():
            clock.us = jump(_START)
            log._store.scrubber.step()
            clock.us = _START
            log._store.scrubber.step()
            assert abs(log.health().last_scrub - _START) < 2 * HOUR
        assert log._store.scrubber.passes == 2 * len(_JUMPS) + 1
        assert scrub.read_scrubbed(log._store.layout, log._store.storage).damage == ()


# -- what expires -----------------------------------------------------------------------------


class Machine(Clock):
    """A clock whose machine runs for ``up`` seconds since the boot ``boot``."""

    def __init__(self, us: int = _START, up: float = 1000.0, boot: str = "boot one") -> None:
        super().__init__(us)
        self.up = up
        self.boot = boot

    def uptime(self) -> float:
        return self.up

    def boot_id(self) -> str:
        return self.boot

    def pass_by(self, us: int) -> None:
        """Let time pass, by both clocks."""
        self.us += us
        self.up += us / SECOND


_NEVER = 1e12
_KEPT = "3 days"
# By their age. A clock that is wrong by up to a day is trusted, and costs no event more than that.
_AGES = {"new": 0, "young": 40 * HOUR, "old": 5 * DAY}
_YOUNG = ["young", "new"]


def _open_aged(path: Path, clock: Machine) -> timelog.EventLog:
    log = open_log(path, storage=clock, max_future=_NEVER)
    for name, age in _AGES.items():
        log.append(name, timestamp=to_datetime(_START - age))
    log.flush()
    return log


def _is_suspended(jump: Callable[[int], int]) -> bool:
    return abs(jump(_START) - _START) > DAY


def _contents(log: timelog.EventLog) -> list[str]:
    return [event.content for event in log if event.content in _AGES]


def expire(log: timelog.EventLog, clock: Machine) -> bool:
    """The call itself, at the wrong time; whether it was suspended."""
    return bool(log.expire(_KEPT).suspended)


def expire_behind_a_commit(log: timelog.EventLog, clock: Machine) -> bool:
    """A commit at the wrong time comes before it, and some later."""
    for _ in range(3):
        log.append("wrong", timestamp=to_datetime(_START), sync=True)
        clock.pass_by(MINUTE)
    return bool(log.expire(_KEPT).suspended)


def expire_at_opening(log: timelog.EventLog, clock: Machine) -> bool:
    """Another process of that boot opens the log, which has a retention."""
    other = Machine(clock.us, clock.up)
    with open_log(log.path, storage=other, retention=_KEPT, max_future=_NEVER) as wrong:
        suspended = bool(wrong.expire(_KEPT).suspended)
        assert suspended == any("expiry is suspended" in why for why in wrong.health().reasons)
    log._store.layout.retention.unlink()
    return suspended


def expire_in_another_process(log: timelog.EventLog, clock: Machine) -> bool:
    """It commits, writes a checkpoint, and another one comes."""
    with open_log(log.path, storage=Machine(clock.us, clock.up), max_future=_NEVER) as wrong:
        wrong.append("wrong", timestamp=to_datetime(_START), sync=True)
        wrong._store.flusher._exclusive(None, True, closing=True)
    with open_log(log.path, storage=Machine(clock.us, clock.up)) as another:
        return bool(another.expire(_KEPT).suspended)


def expire_behind_a_boot(log: timelog.EventLog, clock: Machine) -> bool:
    """The machine starts anew at the wrong time, after a commit at that time."""
    log.append("wrong", timestamp=to_datetime(_START), sync=True)
    clock.boot, clock.up = "boot two", 5.0
    with open_log(log.path, storage=Machine(clock.us, clock.up, clock.boot)) as wrong:
        return bool(wrong.expire(_KEPT).suspended)


_EXPIRIES = [
    expire,
    expire_behind_a_commit,
    expire_at_opening,
    expire_in_another_process,
    expire_behind_a_boot,
]


@pytest.mark.parametrize("way", _EXPIRIES)
def test_a_jump_lets_nothing_expire_early(
    ram: Path, way: Callable[[timelog.EventLog, Machine], bool]
) -> None:
    for name, jump in _JUMPS.items():
        clock = Machine()
        with _open_aged(ram / name, clock) as log:
            clock.us = jump(_START)
            suspended = way(log, clock)
            # Of just a day some milliseconds decide.
            if "a day" not in name:
                assert suspended == _is_suspended(jump), name
            assert set(_YOUNG) <= set(_contents(log)), name
            if clock.boot == "boot one":
                # The clock is right again: nobody has to confirm it.
                clock.us = _START + round((clock.up - 1000.0) * SECOND)
                found = log.expire(_KEPT)
                assert not found.suspended and _contents(log) == _YOUNG, (name, found)
            assert log.audit().ok
    report.record(f"clock jumps, {way.__name__}: {len(_JUMPS)} cases")


@pytest.mark.parametrize("jump", [name for name in _JUMPS if _is_suspended(_JUMPS[name])])
def test_a_clock_that_is_right_can_be_confirmed(ram: Path, jump: str) -> None:
    clock = Machine()
    with _open_aged(ram / "log", clock) as log:
        clock.us = _JUMPS[jump](_START)
        assert log.expire(_KEPT).suspended
        assert log.expire(_KEPT, dry_run=True).suspended
        assert not log.expire(_KEPT, confirm_clock=True).suspended
        expected = [] if clock.us > _START else ["old", "young", "new"]
        assert _contents(log) == expected
        assert not log.expire(_KEPT).suspended
    with open_log(ram / "log", storage=Machine(clock.us, clock.up)) as log:
        assert not log.expire(_KEPT).suspended and _contents(log) == expected
        # What it was before is a jump now.
        log._store.storage.us = _START  # type: ignore[attr-defined]
        assert log.expire(_KEPT).suspended


@pytest.mark.parametrize("jump", _JUMPS)
def test_a_jump_at_any_look_at_the_clock_lets_nothing_expire_early(ram: Path, jump: str) -> None:
    """In a flush, an expiry, and whatever a process does at opening."""
    looks = 0
    for number in range(40):
        clock = Machine()
        log = _open_aged(ram / f"{jump} {number}", clock)

        def there(us: int) -> int:
            return us

        def back(us: int) -> int:
            return _START + 10 * SECOND

        clock.coming = [there] * number + [_JUMPS[jump], back]
        log.append("more", timestamp=to_datetime(_START), sync=True)
        log.expire(_KEPT)
        log.close()
        with open_log(log.path, storage=clock) as log:
            log.expire(_KEPT)
            assert set(_YOUNG) <= set(_contents(log)), number
        if clock.coming:
            break
        looks += 1
    assert looks > 4
    report.record(f"clock jumps at each of {looks} looks, {jump}")


def test_a_clock_that_creeps_ahead_is_found_out(ram: Path) -> None:
    """By just under a day at a time, with commits between."""
    clock = Machine()
    with _open_aged(ram / "log", clock) as log:
        for _ in range(10):
            clock.us += DAY - HOUR
            clock.pass_by(MINUTE)
            log.append("more", sync=True)
            log.expire(_KEPT)
        assert log.expire(_KEPT).suspended
        assert set(_YOUNG) <= set(_contents(log))


# -- a real process ---------------------------------------------------------------------------

_FAKES = ("/usr/lib/x86_64-linux-gnu", "/usr/lib/aarch64-linux-gnu", "/usr/lib64", "/usr/lib")
_PROGRAM = """
import sys, threading, time, timelog
log = timelog.open(sys.argv[1], flush_interval=0.01)
for line in sys.stdin:
    number = int(line)
    log.append(f"background {number}")
    while log.health().waiting:
        threading.Event().wait(0.001)
    log.append(f"synced {number}", sync=True)
    print(int(time.time()), log.position, flush=True)
log.close()
"""
_TIMES = [
    "2026-11-21 10:15:20",
    "2026-11-21 11:15:20",
    "2026-11-20 10:15:20",
    "1970-01-02 00:00:00",
    "2038-01-19 03:14:08",
    "2026-11-21 10:15:20",
]


def test_a_real_process_whose_clock_jumps(ram: Path) -> None:
    libraries = [Path(each) / "faketime" / "libfaketimeMT.so.1" for each in _FAKES]
    library = next((each for each in libraries if each.exists()), None)
    if library is None:
        pytest.skip("NOT RUN: 6 clock jumps of a process: libfaketime is not installed")
    clock = ram / "clock"
    clock.write_text(_TIMES[0])
    environment = os.environ | {
        "LD_PRELOAD": str(library),
        "FAKETIME_TIMESTAMP_FILE": str(clock),
        "FAKETIME_NO_CACHE": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        "TZ": "UTC",
    }
    process = subprocess.Popen(
        [sys.executable, "-c", _PROGRAM, str(ram / "log")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
    )
    assert process.stdin and process.stdout
    try:
        for number, time in enumerate(_TIMES):
            ram.joinpath("new").write_text(time)
            ram.joinpath("new").rename(clock)
            process.stdin.write(f"{number}\n")
            process.stdin.flush()
            seconds, position = map(int, process.stdout.readline().split())
            expected = datetime.fromisoformat(time + "+00:00").timestamp()
            assert abs(seconds - expected) < 60, "the clock of the process did not jump"
            assert position == 2 * number + 2
        process.stdin.close()
        assert process.wait(60) == 0
    finally:
        process.kill()
        process.wait()
    with open_log(ram / "log") as log:
        assert log.verify(deep=True).ok
        found = [event.content for event in log.search()]
        assert len(found) == len(set(found)) == 2 * len(_TIMES)
        for number, time in enumerate(_TIMES):
            near = log.search(f"{time[:10]}T00:00:00Z", f"{time[:10]}T23:59:59Z")
            assert f"synced {number}" in [event.content for event in near]
    Watched(ram / "log")
    report.record(f"clock jumps of a real process: {len(_TIMES)}")

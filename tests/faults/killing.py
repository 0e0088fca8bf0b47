"""A program that kills processes which write to one log, again and again: ``kill -9``.

``python -m tests.faults.killing SYNC KILLS SEED DIRECTORY [CONTROL]``: one to three writers at a
time, forked or as new interpreters, are killed at random moments: while they open, repair, write or
wait. What they leave is left to the next ones; now and then this process looks at it. Prints a
`Report` as JSON. ``CONTROL``: the number of one of `CONTROLS`, which is to be found.
"""

from __future__ import annotations

import gc
import json
import logging
import os
import random
import shutil
import signal
import sys
import time
import traceback
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple
from unittest import mock

import timelog
from tests.faults.controls import NO_LOCK, UNFINISHED_STAYS, UNKEPT_PROMISE
from tests.faults.oracle import Violation, temporary_files
from tests.faults.writing import Note, doomed, group, write
from timelog import rotate

CONTROLS = (UNFINISHED_STAYS, NO_LOCK, UNKEPT_PROMISE)
# Rounds until this process looks, and until it begins another log: a look reads everything.
_LOOK = 8
_ROUNDS = 32
# One in so many writers is a new interpreter.
_FRESH = 40
# Seconds, at most, that are left to a process: from its start, or from when it had opened the log.
_FORKED = 0.01
_STARTED = 0.2
_OPENED = 0.01
_PATIENCE = 60.0


class Report(NamedTuple):
    """What was done, how many died while they opened the log, and what was wrong."""

    kills: int = 0
    fresh: int = 0
    opening: int = 0
    looks: int = 0
    events: int = 0
    violation: str = ""


class Killer:
    """One log, whose writers die."""

    def __init__(self, directory: Path, sync: str, seed: str) -> None:
        self._path = directory / "log"
        self._notes = directory / "notes"
        self._note = Note(self._notes)
        self._sync = sync
        self._seed = seed
        self._rng = random.Random(seed)
        self._writers = 0
        # How many groups of each writer there were when it was looked for first.
        self._present: dict[int, int] = {}
        self.kills = self.fresh = self.opening = self.looks = self.events = 0

    def round(self) -> None:
        """Let one to three writers live a short while."""
        rng = self._rng
        lives = []
        for _ in range(rng.randint(1, 3)):
            is_fresh = not rng.randrange(_FRESH)
            self.fresh += is_fresh
            lives.append(((self._start if is_fresh else self._fork)(), is_fresh))
        for (writer, pid), is_fresh in lives:
            if rng.random() < 0.7:
                self._wait_for(writer, pid)
                time.sleep(rng.random() * _OPENED)
            else:
                time.sleep(rng.random() * (_STARTED if is_fresh else _FORKED))
            os.kill(pid, signal.SIGKILL)
            status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
            if status != -signal.SIGKILL:
                raise Violation(f"a writer ended by itself, with {status}")
            self.kills += 1

    def look(self) -> None:
        """Open the log at once, and compare with what the writers noted."""
        self.looks += 1
        with timelog.open(
            self._path, lock_timeout=0.01, flush_interval=3600.0, text_index=False
        ) as log:
            report = log.verify(deep=True)
            if not report.ok:
                raise Violation(f"verify: {report}")
            books = log.audit()
            if not books.ok:
                raise Violation(f"the books do not balance: {books}")
            health = log.health()
            if health.status != "healthy":
                raise Violation(f"health: {health.reasons}")
            if left := temporary_files(self._path):
                raise Violation(f"temporary files are left: {left}")
            found: dict[int, list[timelog.Event]] = {}
            for event in log.search():
                found.setdefault(event.fields["writer"], []).append(event)
        self.events = sum(map(len, found.values()))
        for writer in range(self._writers):
            self._compare(writer, found.pop(writer, []))
        if found:
            raise Violation(f"events of writers that never were: {found}")

    def end(self) -> None:
        """Remove what there is."""
        shutil.rmtree(self._path)
        self._notes.unlink()

    def _compare(self, writer: int, found: list[timelog.Event]) -> None:
        noted = self._note.get(writer)
        if writer not in self._present:
            self.opening += noted is None
        begun, acknowledged, going, gone = noted or (0, 0, 0, 0)
        there = {event.id for event in found}
        went: set[str] = set()
        for number in range(going):
            ids = doomed(writer, number)
            if number < gone and ids & there:
                raise Violation(f"{ids} of writer {writer} was deleted and is there again")
            went |= ids - there
        groups = [
            [event for event in group(writer, number) if event.id not in went]
            for number in range(begun)
        ]
        sizes = [sum(map(len, groups[:count])) for count in range(begun + 1)]
        if len(found) not in sizes:
            raise Violation(f"half a group of writer {writer}: {len(found)} events")
        # Of a group of which nothing is left nobody can say whether it was there.
        count = max(count for count, size in enumerate(sizes) if size == len(found))
        if count < acknowledged:
            raise Violation(f"{acknowledged} groups of writer {writer} were acknowledged: {count}")
        if self._present.setdefault(writer, count) != count:
            raise Violation(f"{self._present[writer]} groups of writer {writer}, later {count}")
        expected = [event for each in groups[:count] for event in each]
        # Of one time, in the order of arrival.
        if found != sorted(expected, key=lambda event: event.timestamp):
            raise Violation(f"events of writer {writer} are not those that it appended: {found}")

    def _wait_for(self, writer: int, pid: int) -> None:
        """Return when the writer has opened the log, or ended."""
        end = time.monotonic() + _PATIENCE
        ended = os.WEXITED | os.WNOHANG | os.WNOWAIT
        while self._note.get(writer) is None and os.waitid(os.P_PID, pid, ended) is None:
            if time.monotonic() > end:
                raise Violation(f"writer {writer} did not open the log in {_PATIENCE:g} seconds")
            time.sleep(0.0005)

    def _next(self) -> int:
        self._writers += 1
        return self._writers - 1

    def _fork(self) -> tuple[int, int]:
        writer = self._next()
        pid = os.fork()
        if not pid:
            try:
                write(self._path, self._sync, self._note, writer, self._seed)
            except BaseException:
                traceback.print_exc()
            os._exit(1)
        return writer, pid

    def _start(self) -> tuple[int, int]:
        writer = self._next()
        args = map(str, (self._path, self._sync, self._notes, writer, self._seed))
        command = [sys.executable, "-m", "tests.faults.writing", *args]
        return writer, os.posix_spawn(sys.executable, command, os.environ)


def kill(sync: str, kills: int, seed: str, directory: Path) -> Report:
    """Kill so many writers, with another log now and then."""
    total = Report()
    number = 0
    while total.kills < kills and not total.violation:
        killer = Killer(directory, sync, f"{seed} {sync} {number}")
        violation = ""
        try:
            for n in range(1, _ROUNDS + 1):
                killer.round()
                if not n % _LOOK:
                    killer.look()
        except (Violation, timelog.TimelogError) as error:
            violation = f"log {number}, round {n}: {type(error).__name__}: {error}"
        counts = (killer.kills, killer.fresh, killer.opening, killer.looks, killer.events)
        total = Report(*map(sum, zip(total[:5], counts, strict=True)), violation)
        killer.end()
        gc.collect()
        number += 1
    return total


def main() -> None:
    """See the module."""
    sync, kills, seed, directory, *control = sys.argv[1:]
    logging.disable()
    gc.collect()
    gc.freeze()
    gc.disable()
    with ExitStack() as stack:
        for number in control:
            stack.enter_context(CONTROLS[int(number)].put_in())
        stack.enter_context(mock.patch.object(rotate, "MOST_COMMITS", 12))
        report = kill(sync, int(kills), seed, Path(directory))
    print(json.dumps(report._asdict()))


if __name__ == "__main__":
    main()

"""What logs are used for, step by step: the runs at whose every operation the power is cut.

A workload is a function of a `Run`, which opens logs, notes what each flush is about to commit and,
when a call has returned, what that call acknowledged as durable. Nothing in a run is random and no
thread does anything: a flush comes where the workload says so.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple
from unittest import mock

import pytest

import timelog
from tests.faults.oracle import NEEDLE, Group
from tests.rig import Killed, abandon
from timelog import flush, indexer, rotate
from timelog.event import Event
from timelog.storage import Storage

# The clock of `ModelStorage` begins 20 seconds after this full minute.
T = 1_699_999_980
MINUTE = 60
DAY = 86_400


class Stage(Storage):
    """What a run happens on: a storage with a clock of its own, which is told how far the run is.

    ``base``: the directory in which the log ``log`` is made; ``now``: nanoseconds since 1970.
    """

    base: Path
    now: int
    # One after the other: each run is to be the same.
    syncs_at_once = 1

    def mark(self, begun: int, acknowledged: int) -> None:
        """Note how many flushes have begun, and how many were acknowledged as durable."""
        raise NotImplementedError

    def arm(self, kind: str, where: str, fault: str) -> None:
        """Let the next ``kind`` on a path with ``where`` in it be "torn", "killed" or "EIO"."""
        raise NotImplementedError

    def revive(self) -> None:
        """Another process goes on after one that was killed."""
        raise NotImplementedError


class Workload(NamedTuple):
    """A way to use a log, and what to set in the package meanwhile.

    ``off``: with ``sync="off"``; ``text``: searches by text; ``faulty``: has faults of its own,
    for which its stage must have `Stage.arm`.
    """

    name: str
    run: Callable[[Run], None]
    off: bool
    text: bool
    faulty: bool
    settings: tuple[tuple[object, str, object], ...]


class Run:
    """One run of a workload over ``storage``: what was issued, begun and acknowledged."""

    def __init__(self, storage: Stage, sync: str) -> None:
        self.storage = storage
        self.path = storage.base / "log"
        self.groups: list[Group] = []
        self.acknowledged = 0
        self.cursors: set[str] = set()
        self._sync = sync
        self._number = 0
        self._waiting: dict[timelog.EventLog, list[Event]] = {}
        self._cursor: dict[timelog.EventLog, tuple[str, int]] = {}
        self._logs: list[timelog.EventLog] = []

    def open(self) -> timelog.EventLog:
        """Open the log for writing; nothing is flushed but by the methods below."""
        log = timelog.open(
            self.path,
            flush_interval=3600.0,
            sync=self._sync,
            text_index=False,
            storage=self.storage,
        )
        self._waiting[log] = []
        self._logs.append(log)
        return log

    def event(self, at: int, content: str = "", **others: Any) -> Event:
        """An event like no other, ``at`` seconds from the beginning."""
        self._number += 1
        return Event(
            datetime.fromtimestamp(T + at, UTC),
            f"e{self._number:04d}",
            others.get("source", f"source {self._number % 3}"),
            others.get("tags", ("all", f"tag{self._number % 5}")),
            f"event {self._number} ü {content}",
            others.get("fields", {"number": self._number, "list": [1, None, "x"]}),
        )

    def put(
        self, log: timelog.EventLog, *times: int, cursor: tuple[str, int] | None = None
    ) -> None:
        """Append events of these times as one; they wait in memory."""
        events = [self.event(at) for at in times]
        self.put_events(log, events, cursor)

    def put_events(
        self,
        log: timelog.EventLog,
        events: list[Event],
        cursor: tuple[str, int] | None = None,
    ) -> None:
        """Append ``events`` as one; they wait in memory."""
        self._waiting[log] += events
        if cursor is not None:
            self._cursor[log] = cursor
            self.cursors.add(cursor[0])
        log.append_many(events, cursor=cursor)

    def flush(self, log: timelog.EventLog) -> None:
        """What a background flush does."""
        self._begin(log)
        log.flush()
        if self._sync == "flush":
            self._acknowledge()

    def sync(self, log: timelog.EventLog) -> None:
        """Make durable what was appended."""
        self._begin(log)
        log.sync()
        self._acknowledge()

    def append_sync(self, log: timelog.EventLog, at: int) -> None:
        """Append one event and return when it is durable."""
        event = self.event(at)
        self._waiting[log].append(event)
        self._begin(log)
        log.append(
            event.content,
            source=event.source,
            tags=event.tags,
            timestamp=event.timestamp,
            id=event.id,
            fields=event.fields,
            sync=True,
        )
        self._acknowledge()

    def append_many_sync(self, log: timelog.EventLog, events: list[Event]) -> None:
        """Append several as one and return when they are durable."""
        self._waiting[log] += events
        self._begin(log)
        log.append_many(events, sync=True)
        self._acknowledge()

    def killed(self, log: timelog.EventLog, kind: str, where: str, fault: str) -> None:
        """Flush, and die in the next ``kind`` on a path with ``where`` in it."""
        self.storage.arm(kind, where, fault)
        self._begin(log, killed=True)
        with pytest.raises(Killed):
            log.flush()
        abandon(log)
        self._logs.remove(log)
        self.storage.revive()

    def failed(self, log: timelog.EventLog, kind: str, where: str) -> None:
        """Flush durably, and meet an error in the next ``kind`` on such a path."""
        self.storage.arm(kind, where, "EIO")
        self._begin(log)
        with pytest.raises(timelog.errors.StorageError):
            log.sync()

    def close(self, log: timelog.EventLog) -> None:
        """Flush and close."""
        self._begin(log)
        log.close()
        self._logs.remove(log)
        if self._sync == "flush":
            self._acknowledge()

    def abandon(self) -> None:
        """Let go of what the workload left open."""
        for log in self._logs:
            abandon(log)

    def _begin(self, log: timelog.EventLog, *, killed: bool = False) -> None:
        waiting = self._waiting[log]
        if waiting:
            self.groups.append(Group(tuple(waiting), self._cursor.pop(log, None), killed))
            waiting.clear()
        self.storage.mark(len(self.groups), self.acknowledged)

    def _acknowledge(self) -> None:
        self.acknowledged = len(self.groups)
        self.storage.mark(self.acknowledged, self.acknowledged)


registry: dict[str, Workload] = {}


def workload(
    *,
    off: bool = False,
    text: bool = False,
    faulty: bool = False,
    settings: Mapping[tuple[Any, str], object] = {},
) -> Callable[[Callable[[Run], None]], Callable[[Run], None]]:
    """Put a function into the registry; the arguments are those of `Workload`."""

    def add(function: Callable[[Run], None]) -> Callable[[Run], None]:
        name = function.__name__.strip("_")
        values = tuple((where, what, value) for (where, what), value in settings.items())
        registry[name] = Workload(name, function, off, text, faulty, values)
        return function

    return add


@contextmanager
def settings(workload: Workload) -> Iterator[None]:
    """The package as the workload wants it."""
    with ExitStack() as stack:
        for where, what, value in workload.settings:
            stack.enter_context(mock.patch.object(where, what, value))
        yield


_OFTEN = {(rotate, "MOST_COMMITS"): 3}
_SMALL_INDEX = {(indexer, "LEAST_TEXT"): 1}


@workload()
def flushes(run: Run) -> None:
    """Several spans at a time, again and again, as the background flush does it."""
    log = run.open()
    for n in range(4):
        run.put(log, n * 30, n * 30 + 5, n * 30 + 61)
        run.flush(log)
    run.put(log, -DAY, 1 - DAY)
    run.flush(log)
    run.put(log, 10)
    run.close(log)


@workload()
def sync_appends(run: Run) -> None:
    """One event a flush."""
    log = run.open()
    for n in range(8):
        run.append_sync(log, n * 20)
    run.append_many_sync(log, [run.event(170), run.event(170), run.event(-2 * DAY)])
    run.close(log)


@workload()
def imports(run: Run) -> None:
    """More minutes than have files of their own: files of the day, several of them."""
    log = run.open()
    run.put(log, 1, 2)
    run.flush(log)
    run.append_many_sync(log, [run.event(n * MINUTE + 3) for n in range(20)])
    run.append_many_sync(log, [run.event(n * MINUTE - DAY, "x" * 700) for n in range(18)])
    run.append_many_sync(log, [run.event(n * MINUTE + 4) for n in range(17)])
    run.close(log)


@workload(settings=_OFTEN)
def late(run: Run) -> None:
    """Events for minutes that are sealed: next files of their spans."""
    log = run.open()
    for n in range(4):
        run.put(log, 1, n * MINUTE + 2)
        run.flush(log)
        run.storage.now += 150 * 1_000_000_000
    run.put(log, 0, MINUTE)
    run.close(log)


@workload()
def ingest(run: Run) -> None:
    """Each part of a file with the place up to which it was read, in one commit."""
    log = run.open()
    for n in range(5):
        run.put(log, n * 40, n * 40 + 1, cursor=("file", n))
        run.flush(log)
    # Two parts in one flush, and a cursor of another name.
    run.put(log, 300, cursor=("file", 5))
    run.put(log, 301, cursor=("file", 6))
    run.sync(log)
    run.put(log, 302, cursor=("other", 1))
    run.close(log)


@workload(settings={(rotate, "MOST_COMMITS"): 2})
def checkpoints(run: Run) -> None:
    """A checkpoint every other flush, over several days."""
    log = run.open()
    for n in range(6):
        run.put(log, n * MINUTE, n - n % 2 * DAY, cursor=("count", n))
        run.flush(log)
    run.close(log)


@workload(off=True)
def unsynced(run: Run) -> None:
    """``sync="off"``, and a sync now and then."""
    log = run.open()
    for n in range(9):
        run.put(log, n * 25, n * 25 + 1, cursor=("count", n))
        if n % 4 == 3:
            run.sync(log)
        else:
            run.flush(log)
    run.put(log, -DAY)
    run.close(log)


@workload(off=True, settings=_OFTEN)
def unsynced_checkpoints(run: Run) -> None:
    """``sync="off"`` with checkpoints, which make all before them durable."""
    log = run.open()
    for n in range(8):
        run.put(log, n * 25, -(n % 3) * DAY)
        run.flush(log)
    run.close(log)
    log = run.open()
    run.put(log, 5)
    run.flush(log)
    run.append_sync(log, 6)
    run.close(log)


@workload(settings={(flush, "COMMITS_AT_CLOSE"): 2})
def reopened(run: Run) -> None:
    """Opened again and again, with a checkpoint at some of the closes."""
    for n in range(4):
        log = run.open()
        for _ in range(n % 2 + 1):
            run.put(log, n * 20, n * 20 + 1)
            run.flush(log)
        run.put(log, n)
        run.close(log)


@workload(faulty=True)
def repaired(run: Run) -> None:
    """Processes die in a torn write, and the next one repairs."""
    log = run.open()
    run.put(log, 1, 61)
    run.flush(log)
    run.put(log, 2, 62)
    run.killed(log, "write", ".jsonl", "torn")
    log = run.open()
    run.put(log, 3, 63)
    run.flush(log)
    run.put(log, 4)
    run.killed(log, "write", ".journal", "torn")
    log = run.open()
    run.append_sync(log, 5)
    run.put(log, 6, 66)
    run.killed(log, "sync", ".journal", "killed")
    log = run.open()
    run.put(log, 7)
    run.close(log)


@workload(faulty=True)
def named_late(run: Run) -> None:
    """Processes die when a directory or a file has its name, and the name is not synced yet."""
    for where in (".", "log"):
        run.storage.arm("sync directory", where, "killed")
        with pytest.raises(Killed):
            run.open()
        run.storage.revive()
    log = run.open()
    run.append_sync(log, 1)
    run.put(log, 2)
    run.killed(log, "write", ".jsonl", "torn")
    # In the repair, of which the next process finds the new journal.
    run.storage.arm("sync directory", "/journal", "killed")
    with pytest.raises(Killed):
        run.open()
    run.storage.revive()
    log = run.open()
    run.append_sync(log, 3)
    run.append_sync(log, 61)
    run.close(log)


@workload(off=True, faulty=True)
def unsynced_repaired(run: Run) -> None:
    """``sync="off"``: the repair comes while earlier commits are not on the disk yet."""
    log = run.open()
    run.put(log, 1, 61)
    run.flush(log)
    run.put(log, 2, 62)
    run.flush(log)
    run.put(log, 3)
    run.killed(log, "write", ".jsonl", "torn")
    log = run.open()
    run.put(log, 4)
    run.flush(log)
    run.sync(log)
    run.put(log, 5)
    run.flush(log)
    run.put(log, 6)
    run.killed(log, "write", ".journal", "torn")
    log = run.open()
    run.put(log, 7)
    run.close(log)


@workload(faulty=True)
def failed_syncs(run: Run) -> None:
    """An fsync fails, of a segment and of the journal; the next attempt works."""
    log = run.open()
    run.append_sync(log, 1)
    run.put(log, 2, 62)
    run.failed(log, "sync", ".jsonl")
    run.sync(log)
    run.put(log, 3)
    run.failed(log, "sync", ".journal")
    run.sync(log)
    run.put(log, 4)
    run.close(log)


@workload(off=True, faulty=True)
def unsynced_failed_syncs(run: Run) -> None:
    """An fsync of what was committed before fails; the next attempt works."""
    log = run.open()
    run.put(log, 1, 61)
    run.flush(log)
    run.put(log, 2)
    run.flush(log)
    run.failed(log, "sync", ".jsonl")
    run.sync(log)
    run.put(log, 3, 63)
    run.flush(log)
    run.failed(log, "sync", ".journal")
    run.sync(log)
    run.put(log, 4)
    run.close(log)


@workload(settings=_OFTEN)
def two_writers(run: Run) -> None:
    """Two logs open over the same directory take turns."""
    one, two = run.open(), run.open()
    for n in range(3):
        run.put(one, n, 61)
        run.put(two, n, 62)
        run.flush(two)
        run.flush(one)
    run.close(two)
    run.put(one, 9)
    run.close(one)


@workload(off=True)
def unsynced_two_writers(run: Run) -> None:
    """What one writer left unsynced, the sync of the other makes durable."""
    one, two = run.open(), run.open()
    for n in range(3):
        run.put(one, n, 61)
        run.flush(one)
        run.put(two, n, 62)
        run.flush(two)
    run.append_sync(two, 5)
    run.put(one, 9)
    run.flush(one)
    run.close(two)
    run.close(one)


@workload(text=True, settings=_OFTEN | _SMALL_INDEX)
def text_index(run: Run) -> None:
    """The text index is built, some of it twice, between flushes."""
    log = run.open()
    events = [run.event(n - n % 2 * DAY, NEEDLE if n % 3 == 0 else "hay") for n in range(12)]
    run.append_many_sync(log, events)
    log.index_text()
    run.put_events(log, [run.event(30, NEEDLE), run.event(31)])
    run.flush(log)
    log.index_text()
    run.storage.now += 1_000_000_000_000
    run.put(log, 32)
    run.flush(log)
    run.close(log)

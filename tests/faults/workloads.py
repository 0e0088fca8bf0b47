"""What logs are used for, step by step: the runs at whose every operation the power is cut.

A workload is a function of a `Run`, which opens logs, notes what each flush is about to commit and,
when a call has returned, what that call acknowledged as durable. Nothing in a run is random and no
thread does anything: a flush comes where the workload says so.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from datetime import UTC, date, datetime
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple
from unittest import mock

import msgspec
import pytest

import timelog
from tests.faults.oracle import FOLLOWER, NEEDLE, PROJECTION, SNAPSHOTS, Group, comparable, fold_ids
from tests.rig import Killed, abandon
from timelog import flush, indexer, rewrite, rotate
from timelog.consume import Projection
from timelog.event import Event
from timelog.exchange import intake
from timelog.exchange.jsonl import import_jsonl
from timelog.exchange.source import Source
from timelog.indexer import is_possible
from timelog.ingest import Watcher
from timelog.storage import Storage
from timelog.timestamp import from_datetime

# The clock of `ModelStorage` begins 20 seconds after this full minute.
T = 1_699_999_980
MINUTE = 60
DAY = 86_400
# What is imported: lines as timelog writes them, so that the ids are known.
_LINES = Path(__file__).with_name("imported.jsonl")
# When the machine was started, long before.
_BOOTED = T - 100 * DAY


class Stage(Storage):
    """What a run happens on: a storage with a clock of its own, which is told how far the run is.

    ``base``: the directory in which the log ``log`` is made; ``now``: nanoseconds since 1970.
    """

    base: Path
    now: int
    # One after the other: each run is to be the same.
    syncs_at_once = 1

    def uptime(self) -> float:
        """By the same clock: time passes for it, too."""
        return self.now / 1e9 - _BOOTED

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
    for which its stage must have `Stage.arm`; ``removes``: something goes.
    """

    name: str
    run: Callable[[Run], None]
    off: bool
    text: bool
    faulty: bool
    settings: tuple[tuple[object, str, object], ...]
    removes: bool = False

    @property
    def missing(self) -> str:
        """What the machine has not got that the workload needs, in words; empty where nothing."""
        if self.text and not is_possible():
            return "numpy is not installed"
        if self.archives and find_spec("zstandard") is None:
            return "zstandard is not installed"
        return ""

    @property
    def archives(self) -> bool:
        """Whether it compresses."""
        return "archive" in self.name


class Run:
    """One run of a workload over ``storage``: what was issued, begun and acknowledged."""

    def __init__(self, storage: Stage, sync: str) -> None:
        self.storage = storage
        self.path = storage.base / "log"
        self.groups: list[Group] = []
        self.acknowledged = 0
        self.cursors: set[str] = set()
        # The ids of events that a step may not have appended yet.
        self.announced: frozenset[str] = frozenset()
        self._sync = sync
        self._number = 0
        self._waiting: dict[timelog.EventLog, list[Event]] = {}
        self._cursor: dict[timelog.EventLog, tuple[str, Any]] = {}
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
        self, log: timelog.EventLog, *times: int, cursor: tuple[str, Any] | None = None
    ) -> None:
        """Append events of these times as one; they wait in memory."""
        events = [self.event(at) for at in times]
        self.put_events(log, events, cursor)

    def put_events(
        self,
        log: timelog.EventLog,
        events: list[Event],
        cursor: tuple[str, Any] | None = None,
    ) -> None:
        """Append ``events`` as one; they wait in memory."""
        self._note(log, events, cursor)
        log.append_many(events, cursor=cursor)

    def announce(
        self, log: timelog.EventLog, events: list[Event], cursor: tuple[str, Any] | None
    ) -> None:
        """Note that the next step appends ``events`` and the cursor, at some time within it."""
        self._note(log, events, cursor)
        self.announced = frozenset(event.id for event in events)

    def _note(
        self, log: timelog.EventLog, events: list[Event], cursor: tuple[str, Any] | None
    ) -> None:
        self._waiting[log] += events
        if cursor is not None:
            self._cursor[log] = (cursor[0], comparable(*cursor))
            self.cursors.add(cursor[0])

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

    # -- what takes something out -----------------------------------------------------------

    def step(
        self,
        log: timelog.EventLog,
        act: Callable[[], object],
        gone: frozenset[str] = frozenset(),
        erased: frozenset[str] = frozenset(),
        *,
        flushes: bool = True,
    ) -> None:
        """Do something that is durable when it returns, and perhaps takes something out.

        See `Group`. Where it is done again after an error, it must do what is left of it.
        ``flushes``: it stores what waits, first.
        """
        self._begin(log, step=Group((), None, False, gone, erased), flushes=flushes)
        act()
        self.announced = frozenset()
        self._acknowledge()

    def dies_in_step(
        self,
        log: timelog.EventLog,
        fault: tuple[str, str, str],
        act: Callable[[], object],
        gone: frozenset[str] = frozenset(),
    ) -> None:
        """The same, and die in it: ``fault`` as `Stage.arm` takes it."""
        self.storage.arm(*fault)
        self._begin(log, step=Group((), None, True, gone))
        with pytest.raises(Killed):
            act()
        abandon(log)
        self._logs.remove(log)
        self.storage.revive()

    def expire(
        self, log: timelog.EventLog, gone: Callable[[Event], bool], *args: Any, **limits: Any
    ) -> None:
        """Let go what is not to be kept; ``gone`` says which of the events that are stored."""
        self.step(log, lambda: log.expire(*args, **limits), self.stored(gone), flushes=False)

    def compact(self, log: timelog.EventLog, *, archive: bool = False) -> None:
        """Compact all days that are over: of these what went has no text any more."""

        def compact() -> None:
            done = log.compact(archive=archive)
            if done.damage:
                raise timelog.errors.DamagedError(str(done))

        self.step(log, compact, erased=self.text_to_go())

    def delete(self, log: timelog.EventLog, event: Event, *, erase: bool = False) -> None:
        """Delete one event."""
        gone = frozenset({event.id})

        def delete() -> None:
            try:
                log.delete(event.id, erase=erase)
            except timelog.errors.EventNotFound:
                # An attempt before came so far.
                if event.id not in {each.id for each in log.deletions()}:
                    raise

        self.step(log, delete, gone, gone if erase else frozenset())

    def snapshot(self, log: timelog.EventLog) -> None:
        """Take a snapshot, beside the log."""
        self.step(log, lambda: log.snapshot(self.storage.base / SNAPSHOTS))

    def stored(self, chosen: Callable[[Event], bool]) -> frozenset[str]:
        """The ids of the chosen ones of those events that were flushed and have not gone yet."""
        went = {id for group in self.groups for id in group.gone}
        events = (event for group in self.groups for event in group.events)
        return frozenset(event.id for event in events if event.id not in went and chosen(event))

    def text_to_go(self) -> frozenset[str]:
        """The ids of what went of days that are over."""
        went = {id for group in self.groups for id in group.gone}
        today = datetime.fromtimestamp(self.storage.now / 1e9, UTC).date()
        events = (event for group in self.groups for event in group.events)
        return frozenset(
            event.id for event in events if event.id in went and event.timestamp.date() < today
        )

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

    def _begin(
        self,
        log: timelog.EventLog,
        *,
        killed: bool = False,
        step: Group | None = None,
        flushes: bool = True,
    ) -> None:
        waiting = self._waiting[log]
        if waiting and flushes:
            self.groups.append(Group(tuple(waiting), self._cursor.pop(log, None), killed))
            waiting.clear()
        if step is not None:
            self.groups.append(step)
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
    removes: bool = False,
    settings: Mapping[tuple[Any, str], object] = {},
) -> Callable[[Callable[[Run], None]], Callable[[Run], None]]:
    """Put a function into the registry; the arguments are those of `Workload`."""

    def add(function: Callable[[Run], None]) -> Callable[[Run], None]:
        name = function.__name__.strip("_")
        values = tuple((where, what, value) for (where, what), value in settings.items())
        registry[name] = Workload(name, function, off, text, faulty, values, removes)
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


@workload(settings={(intake, "_MOST_EVENTS"): 3})
def imported(run: Run) -> None:
    """A file of JSON lines in several batches, imported once more where it was cut off."""
    log = run.open()
    run.put(log, 1, 400)
    lines = _LINES.read_bytes()
    events = [msgspec.json.decode(line, type=Event) for line in lines.splitlines()]
    source = Source(_LINES)
    name = source.cursor_name("jsonl")
    assert name is not None
    last = from_datetime(events[-1].timestamp)
    run.announce(log, events, (name, source.place(len(lines), (last,))))
    run.step(log, lambda: import_jsonl(log, _LINES))
    run.step(log, lambda: import_jsonl(log, _LINES))
    run.put(log, 2)
    run.close(log)


class _Named:
    """A log for a watcher of files: gives its events ids, and lets the run append them."""

    def __init__(self, run: Run, log: timelog.EventLog) -> None:
        self._run = run
        self._log = log

    def __getattr__(self, name: str) -> Any:
        return getattr(self._log, name)

    def append_many(self, events: Iterator[dict[str, Any]], *, cursor: tuple[str, Any]) -> None:
        made = []
        for event in events:
            blank = self._run.event(0, fields={})
            made.append(
                msgspec.structs.replace(
                    blank,
                    timestamp=event["timestamp"],
                    source=event["source"],
                    tags=event["tags"],
                    content=event["content"],
                )
            )
        self._run.put_events(self._log, made, cursor)


@workload()
def watched(run: Run) -> None:
    """A file grows and is rotated, and is read by one watcher after the other."""
    log = run.open()
    with TemporaryDirectory() as folder:
        path = Path(folder, "app.log")

        def read() -> None:
            named: Any = _Named(run, log)
            with closing(Watcher(named, folder, timestamps="iso", zone="UTC")) as watcher:
                watcher.read()
            run.flush(log)

        path.write_text("2023-11-14T22:13:01Z one\n2023-11-14T22:14:02Z two\n2023-11-1")
        read()
        with path.open("a") as file:
            file.write("4T22:13:03Z three\n")
        path.rename(path.with_name("app.log.1"))
        path.write_text("2023-11-13T22:13:04Z four\n")
        read()
        path.write_text("2023-11-14T22:13:05Z 5\n")
        read()
    run.put(log, 7)
    run.close(log)


@workload()
def projected(run: Run) -> None:
    """State is folded from the events, and saved beside the log, again and again."""
    log = run.open()
    run.put(log, 1, 2)
    run.flush(log)

    def update() -> None:
        with Projection(
            log, PROJECTION, fold_ids, initial=[], every=1, keep=2, storage=run.storage
        ) as projection:
            projection.update()

    for n in range(4):
        run.step(log, update)
        run.put(log, 62 + n, n - DAY)
        run.flush(log)
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


@workload(settings=_OFTEN)
def snapshots(run: Run) -> None:
    """Snapshots are taken, of what is sealed and what is not, between flushes."""
    log = run.open()
    run.put(log, -DAY, 0, 61)
    run.flush(log)
    run.snapshot(log)
    run.storage.now += 200_000_000_000
    run.put(log, 62, 130)
    run.flush(log)
    run.put(log, 131)
    run.snapshot(log)
    run.close(log)
    log = run.open()
    run.put(log, 400)
    run.close(log)


@workload(settings=_OFTEN)
def followed(run: Run) -> None:
    """A second process follows, and stores what became of the events with its place."""
    log = run.open()
    other = run.open()
    for n in range(3):
        run.put(log, n, n - DAY)
        run.flush(log)
        following = other.follow(0, source="source 1", name="double", wait=False)
        for item in following:
            if isinstance(item, timelog.Gap):
                # It cannot be read for now; the next round begins at the place that was stored.
                break
            place = (f"{FOLLOWER}double", following.cursor)
            made = run.event(70, f"of {item.position}", source="made")
            run.put_events(other, [made], place)
        run.sync(other)
    run.close(other)
    run.close(log)


def _before(days: int) -> Callable[[Event], bool]:
    """Whether an event is of a day more than so many days before that on which runs begin."""
    return lambda event: (_TODAY - event.timestamp.date()).days > days


_TODAY = date(2023, 11, 14)
_SMALL_BLOCKS = {(rewrite, "BLOCK_SIZE"): 250}


@workload(removes=True, settings=_OFTEN)
def expiry(run: Run) -> None:
    """Days go, the oldest first, while events come."""
    log = run.open()
    run.put(log, -3 * DAY, 1 - 3 * DAY, -2 * DAY, -DAY, 0)
    run.flush(log)
    run.put(log, 61 - 2 * DAY, 5)
    run.expire(log, _before(2), "2 days")
    run.put(log, 62 - 2 * DAY)
    run.flush(log)
    run.expire(log, _before(1), "1 day")
    run.close(log)
    log = run.open()
    run.put(log, 3 - DAY, 6)
    run.flush(log)
    run.expire(log, _before(0), partitions=1)
    run.put(log, 7)
    run.close(log)


@workload(removes=True)
def compaction(run: Run) -> None:
    """Days are compacted, late events come to them, a rule hides some, and again."""
    log = run.open()
    for n in range(3):
        run.put(log, n * 61 - DAY, n * 61 - 2 * DAY, n)
        run.flush(log)
    run.compact(log)
    run.put(log, 62 - DAY, 5)
    run.flush(log)
    gone = _before(1)
    run.expire(log, lambda each: gone(each) and "tag3" in each.tags, tags={"tag3": "1 day"})
    run.compact(log)
    run.put(log, 1 - 2 * DAY)
    run.close(log)


@workload(removes=True, settings=_OFTEN | _SMALL_BLOCKS)
def archive(run: Run) -> None:
    """Days are archived, one event of them is deleted, late events come, and again."""
    log = run.open()
    events = [run.event(n * 61 - n % 2 * DAY - DAY) for n in range(6)]
    run.put_events(log, events)
    run.flush(log)
    run.compact(log, archive=True)
    run.delete(log, events[2])
    run.put(log, -DAY, 5)
    run.compact(log)
    run.delete(log, events[1], erase=True)
    run.close(log)


@workload(removes=True)
def deletion(run: Run) -> None:
    """Single events go: hidden, erased, and the only one of its day, whose minute comes again."""
    log = run.open()
    events = [run.event(n) for n in range(4)]
    alone = run.event(-DAY)
    run.put_events(log, [*events, alone])
    run.flush(log)
    run.delete(log, events[1])
    run.put(log, 5)
    run.delete(log, alone, erase=True)
    run.put(log, 1 - DAY)
    run.flush(log)
    run.delete(log, events[2], erase=True)
    run.compact(log)
    run.put(log, 2 - DAY, 6)
    run.close(log)


@workload(removes=True, off=True, settings=_OFTEN)
def unsynced_removals(run: Run) -> None:
    """``sync="off"``: what goes makes durable what came before."""
    log = run.open()
    events = [run.event(n - n % 3 * DAY) for n in range(6)]
    run.put_events(log, events)
    run.flush(log)
    run.delete(log, events[3])
    run.put(log, 7, 62 - DAY)
    run.flush(log)
    run.compact(log)
    run.put(log, 8, -2 * DAY)
    run.flush(log)
    run.expire(log, _before(1), "1 day")
    run.put(log, 9)
    run.flush(log)
    run.close(log)


@workload(removes=True, faulty=True, settings=_OFTEN)
def killed_removals(run: Run) -> None:
    """Processes die while something goes, and the next one finishes that."""
    log = run.open()
    for n in range(2):
        run.put(log, n * 61 - DAY, n * 61 - 2 * DAY, n * 61 - 3 * DAY, n)
        run.flush(log)
    run.dies_in_step(log, ("rename", "compacted-", "killed"), log.compact)
    log = run.open()
    run.dies_in_step(log, ("unlink", ".jsonl", "killed"), log.compact)
    log = run.open()
    run.put(log, 3 - 2 * DAY)
    run.flush(log)
    gone = run.stored(_before(2))
    expire = ("rename", "2023-11-11", "killed")
    run.dies_in_step(log, expire, lambda log=log: log.expire("2 days"), gone)  # type: ignore[misc]
    log = run.open()
    run.put(log, 4 - 2 * DAY, 4)
    run.flush(log)
    run.expire(log, _before(1), "1 day")
    run.compact(log)
    run.close(log)

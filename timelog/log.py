"""`EventLog`: what users hold. It checks what they pass and asks the parts.

Thread-safe: every method may be called by any thread at any time. After ``fork`` the child goes on
with a log of its own: what the parent had in memory is the parent's.
"""

from __future__ import annotations

import os
import re
import sys
import threading
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping, Sized
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any

from timelog.buffer import EVENT_OVERHEAD, Entry
from timelog.deadline import Deadline
from timelog.entry import EntryMaker, pack_cursor
from timelog.errors import (
    BufferFull,
    CursorError,
    EventNotFound,
    InvalidInput,
    TimelogError,
)
from timelog.event import Event, check_content, check_id, check_source, check_tags
from timelog.expiry import gone_since
from timelog.files import FileRange, file_ranges
from timelog.filter import Filter
from timelog.follow import Following, follow
from timelog.lookup import find_event
from timelog.options import Options
from timelog.pattern import ENGINES, compile_pattern, make_pattern
from timelog.query import Results
from timelog.safekeeping import Safekeeping
from timelog.storage import Storage
from timelog.store import Store
from timelog.timestamp import Time


class EventLog(Safekeeping):
    """An open log. Made by `timelog.open`; a context manager that closes it at the end.

    Forgetting `close` loses nothing: what is in memory is flushed when the log is collected, when
    the interpreter exits, and when SIGTERM or SIGHUP ends the process (see ``exit_signals``).
    """

    def __init__(self, path: Path, options: Options, storage: Storage) -> None:
        super().__init__(Store(path, options, storage))
        self._limits = options.limits
        self._max_content = options.limits.content
        self._flushes_in_call = options.flush_interval == 0 and options.is_writable
        self._make = EntryMaker(
            options.limits, storage.time_ns, options.max_future, self._store.keeping
        )
        self._kinds = self._make.kinds
        self._put = self._store.buffer.put
        weakref.finalize(self, Store.abandon, self._store).atexit = False
        _open_logs.add(self)

    # -- writing --------------------------------------------------------------------------

    def append(
        self,
        content: str,
        *,
        source: str = "",
        tags: Iterable[str] = (),
        timestamp: Time | None = None,
        id: str | None = None,
        fields: Mapping[str, Any] | None = None,
        sync: bool = False,
        block: bool = True,
    ) -> str:
        """Append one event and return its id.

        It is found by searches of this process at once, and is on disk after at most one
        ``flush_interval``; with ``sync`` when the call returns, whatever happens afterwards.

        ``timestamp``: an aware ``datetime``, Unix seconds, RFC 3339 text with a zone or relative
        text (``"-1h"``); now by default. ``id``: printable, at most 256 characters; a UUIDv7 of the
        timestamp by default; uniqueness is not checked. ``fields``: further values as JSON has
        them. ``block``: when the buffer is full wait up to 30 s for a flush, else raise at once.

        Raises `InvalidEvent` or `InvalidTime` before anything is taken; `BufferFull`;
        `ClosedError`; `ReadOnlyError`; with ``sync`` also `StorageError` and `LockTimeout`, and
        the event then stays in memory and is tried again. Cost: no I/O unless ``sync``.
        """
        try:
            if content.__class__ is str and content.isascii() and len(content) <= self._max_content:
                size = len(content) + EVENT_OVERHEAD
            else:
                content, size = check_content(content, self._limits)
                # Up to four bytes a character, and its UTF-8, which encoding keeps beside it.
                size += 4 * len(content) + EVENT_OVERHEAD
            try:
                source, tags = self._kinds[source, tags]  # type: ignore[index]
            except (KeyError, TypeError):
                source, tags, extra = self._make.kind(source, tags)
                size += extra
            if timestamp is None and id is None and fields is None:
                id = self._put(content, source, tags, size, block)
            else:
                entry = self._make.entry(content, source, tags, timestamp, id, fields, size)
                id = self._store.buffer.put_many((entry,), None, entry.size, block)
        except TimelogError as error:
            self._store.buffer.count_refused(error, 1)
            raise
        if sync:
            self.sync()
        elif self._flushes_in_call:
            self._store.flusher.flush()
        return id

    def append_many(
        self,
        events: Iterable[Event | Mapping[str, Any]],
        *,
        sync: bool = False,
        cursor: tuple[str, Any] | None = None,
    ) -> int:
        """Append events as one: either all become durable, in one commit, or none. Their number.

        Each is an `Event` or a mapping with the argument names of `append`. ``cursor`` is a pair
        (name, value) that is stored in the same commit and read by `cursor`; the value is anything
        msgpack can hold, at most 64 KiB packed. Waits for room in the buffer as `append` does.

        Raises as `append` does, and nothing of the call is taken; `BufferFull` at once where the
        events are more than the whole buffer holds: pass them in smaller parts.
        """
        entries: list[Entry] = []
        size = 0
        room = self._store.options.max_buffer
        read = 0
        try:
            for event in events:
                read += 1
                entry = self._make.of(event)
                entries.append(entry)
                size += entry.size
                if size > room:
                    raise BufferFull(
                        f"the events of one append_many need more than the buffer's {room} bytes; "
                        "pass them in smaller parts, or open the log with a larger max_buffer"
                    )
            packed = pack_cursor(cursor) if cursor is not None else None
            if entries or packed:
                self._store.buffer.put_many(entries, packed, size, True)
        except TimelogError as error:
            # What an iterator has not been asked for yet nobody can count.
            refused = len(events) if isinstance(events, Sized) else read
            self._store.buffer.count_refused(error, refused)
            raise
        if sync:
            self.sync()
        elif self._flushes_in_call:
            self._store.flusher.flush()
        return len(entries)

    def flush(self) -> None:
        """Move everything in memory into segments now, as one commit.

        Raises `StorageError`, `LockTimeout`, `ClosedError`; the events then stay in memory.
        """
        self._writable().flusher.flush()

    def sync(self) -> None:
        """Return when everything this process appended before is durable.

        Threads that call it at the same time share one flush. Errors as `flush`.
        """
        self._writable().flusher.sync()

    def reopen(self) -> None:
        """After `DegradedError`: repair, and store what was kept in memory. Errors as `flush`."""
        self._writable().flusher.reopen()

    # -- reading --------------------------------------------------------------------------

    def search(
        self,
        start: Time | None = None,
        end: Time | None = None,
        *,
        tags: Iterable[str] = (),
        source: str | Iterable[str] | None = None,
        pattern: str | re.Pattern[str] | None = None,
        where: Callable[[Event], object] | None = None,
        order: str = "asc",
        limit: int | None = None,
        as_of: int | None = None,
        engine: str = "auto",
        timeout: float | None = None,
        salvage: bool = False,
    ) -> Results:
        """Find events; the result is lazy, see `Results` for its order.

        ``start`` inclusive and ``end`` exclusive, as `append` takes times; None is open. ``tags``:
        an event must have all of them. ``source``: one or several, of which it must have one.
        ``pattern``: ``re.search`` must find it in the content. ``where``: any callable of an
        `Event`. ``order``: ``"asc"`` or ``"desc"``. ``limit``: at most so many. ``as_of``: only
        the events committed before this `position`, for the same answer for ever; once something of
        it has expired, `Results.gone` says so. ``salvage``:
        of damaged blocks yield what can be read instead of nothing.

        Two ways to guard against a pattern that somebody else wrote: ``engine="linear"`` tests it
        in time linear in the content, with the same matches, and refuses what cannot be done so
        (back-references, look-around; needs the extra ``re2``). ``timeout``: seconds, from when the
        results are first looked at; a search that takes longer raises `SearchTimeout`, even in the
        middle of a match, as the pattern is tested by a process of its own (15 to 30 ms more). A
        ``where`` is not interrupted.

        Sees everything this process appended and everything others committed before the call.
        Raises `InvalidTime`, `InvalidPattern`, `InvalidInput`, `MissingExtra`, `CursorError` for an
        ``as_of`` ahead of the log, and `ClosedError`.
        """
        store = self._readable()
        low, high = self._range(start, end)
        if order not in ("asc", "desc"):
            raise InvalidInput(f"order must be 'asc' or 'desc', not {order!r}")
        for what, number in (("limit", limit), ("as_of", as_of)):
            if number is not None and (type(number) is not int or not 0 <= number <= sys.maxsize):
                raise InvalidInput(f"{what} must be a whole number from 0, not {number!r}")
        if engine not in ENGINES:
            raise InvalidInput(f"engine must be 'auto' or 'linear', not {engine!r}")
        if timeout is not None and not _is_duration(timeout):
            raise InvalidInput(f"timeout must be seconds above 0, not {timeout!r}")
        if where is not None and not callable(where):
            raise InvalidInput(f"where must be a callable of an Event, not {where!r}")
        asked = self._filter(tags, source, pattern, engine)
        asked = asked._replace(start=low, end=high, where=where)
        view = store.view()
        gone = ""
        if as_of is not None:
            if as_of > view.position:
                raise CursorError(
                    f"position {as_of} is ahead of the log, which ends at {view.position}"
                )
            view = view._replace(position=as_of, memory=())
            gone = gone_since(store.index, as_of, low)
        return Results(
            store.layout,
            store.storage,
            store.index,
            store.texts,
            view,
            asked,
            descending=order == "desc",
            limit=limit,
            salvage=salvage,
            start_deadline=(
                None if timeout is None else partial(Deadline, timeout, store.storage.monotonic)
            ),
            gone=gone,
        )

    def follow(
        self,
        after: int | str | None = None,
        *,
        tags: Iterable[str] = (),
        source: str | Iterable[str] | None = None,
        pattern: str | re.Pattern[str] | None = None,
        name: str | None = None,
        stop: threading.Event | None = None,
        wait: bool = True,
    ) -> Following:
        """Yield what arrives, of all processes, in order of arrival: late events when they come.

        Each is an `Entry` of position and event, or a `Gap` where retention or damage took
        something that was not seen. Nothing is missed and nothing comes twice, whatever compaction
        and expiry do meanwhile; deleted events are passed over. Only what a flush has finished is
        passed on: what is durable, where the log is opened with ``sync="flush"``.

        ``after``: None, from now on; a position, from there on: 0 is the beginning, ``position +
        1`` of an entry what comes after it; or a `Following.cursor`. ``tags``, ``source`` and
        ``pattern`` as in `search`. ``name``: go on where the follower of that name called
        `Following.save`; ``after`` is for the first time. ``stop``: ends it, within a tenth of a
        second, when it is set. ``wait``: False ends it where the log ends now.

        Raises `CursorError` where the cursor is ahead of the log, or of another one, or the log
        lost its end since; `InvalidPattern`, `InvalidInput`, and `ClosedError`. Latency: one flush,
        and some ms.
        """
        store = self._readable()
        asked = self._filter(tags, source, pattern, "auto")
        return follow(store, asked, after, name=name, stop=stop, wait=wait, owner=self)

    def _filter(
        self,
        tags: Iterable[str],
        source: str | Iterable[str] | None,
        pattern: str | re.Pattern[str] | None,
        engine: str,
    ) -> Filter:
        sources = (source,) if isinstance(source, str) else source or ()
        if not isinstance(sources, Iterable):
            raise InvalidInput(f"source must be a str or several, not {source!r}")
        return Filter(
            None,
            None,
            frozenset(check_tags(tags, self._limits)),
            frozenset(check_source(each, self._limits) for each in sources),
            None if pattern is None else make_pattern(compile_pattern(pattern), engine),
            None,
            source is not None,
        )

    def __iter__(self) -> Iterator[Event]:
        """Every event of the log, as ``search()`` gives them."""
        return iter(self.search())

    def get(self, id: str, *, start: Time | None = None, end: Time | None = None) -> Event:
        """The event with that id: of several, the first by position.

        Where the id carries a time and one of them is of that very millisecond, it is that one.

        An id that the log gave is looked for at its own time first, which is cheap. Any other, and
        one that does not exist, costs a search of ``[start, end)``, by default of everything, in
        which the text index rules out most.
        Raises `EventNotFound`.
        """
        check_id(id, self._limits)
        low, high = self._range(start, end)
        store = self._readable()
        found = find_event(store, store.view(), id, low, high)
        if found is None:
            raise EventNotFound(f"no event has the id {id!r}")
        return found[1]

    def files(self, start: Time | None = None, end: Time | None = None) -> list[FileRange]:
        """The fewest bytes of the fewest files that hold ``[start, end)``, for other tools.

        ``start`` and ``end`` as `search` takes them. Each is a path, and the offsets between which
        whole lines stand; sorted by the files' names, then by offset. They may hold other events
        as well: flushes (blocks) are not divided. Events that are still in memory, of this process
        or another, are in no file: `flush` comes first. A day whose index file is damaged is left
        out, logged, and named by `health`.

        Raises `InvalidTime`, `InvalidInput` and `ClosedError`. Cost: no segment is opened.
        """
        store = self._readable()
        low, high = self._range(start, end)
        store.refresh()
        return file_ranges(store.layout, store.index, low, high)

    def cursor(self, name: str) -> Any:
        """The value last stored under ``name`` by `append_many`, or None."""
        store = self._readable()
        store.refresh()
        return store.cursor(name)

    @property
    def position(self) -> int:
        """The position of the next event to be committed; as ``as_of`` it names the log of now."""
        store = self._readable()
        store.refresh()
        return store.index.position

    # -- itself ----------------------------------------------------------------------------

    def close(self) -> None:
        """Flush and close. May be repeated. Errors as `flush`, and the log then stays open."""
        self._store.close()

    def __enter__(self) -> EventLog:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        state = "closed" if self.is_closed else f"mode={self._store.options.mode!r}"
        return f"<timelog.EventLog {str(self.path)!r} {state}>"


def _is_duration(value: object) -> bool:
    return type(value) in (int, float) and 0 < value < float("inf")  # type: ignore[operator]


_open_logs: weakref.WeakSet[EventLog] = weakref.WeakSet()


def _after_fork_in_child() -> None:
    for log in list(_open_logs):
        log._store.after_fork()
        log._put = log._store.buffer.put


os.register_at_fork(after_in_child=_after_fork_in_child)

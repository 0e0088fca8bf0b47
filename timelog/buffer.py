"""`Buffer`: the memory files of one process, and the only place where events wait for the disk.

Appenders put events in; a flush freezes everything into a `Batch`, and the batch is dropped in the
step that publishes its commit, so an event is at all times in exactly one of buffer and index.
Thread-safe: one lock, held for well under a microsecond an event and never during I/O.
"""

from __future__ import annotations

import logging
import threading
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from typing import NamedTuple

import msgspec

from timelog.codec import Line
from timelog.errors import BufferFull, InvalidTime, TimelogError
from timelog.guard import check_reentry, is_mine
from timelog.memfile import MemoryFile, Slice
from timelog.names import SegmentName
from timelog.span import Span
from timelog.storage import Storage
from timelog.timestamp import END, FIRST, SECOND
from timelog.uuid7 import Uuid7

# What an event costs in memory besides its content: objects, id, timestamp, list slot.
EVENT_OVERHEAD = 360
WAIT_FOR_ROOM = 30.0
_QUIET = 60.0
# A clock's reading in nanoseconds that no clock reaches.
_NEVER = 1 << 100
_MICROSECONDS = tuple(f"{n:03d}Z" for n in range(1000))

Fields = msgspec.Raw | msgspec.UnsetType


class Entry(msgspec.Struct, gc=False):
    """An event that passed all checks. ``us`` and ``id`` are None where the buffer gives them."""

    us: int | None
    id: str | None
    source: str
    tags: tuple[str, ...]
    content: str
    fields: Fields
    size: int


class Batch(NamedTuple):
    """What one flush moves: frozen memory files, and what is stored with them.

    ``refused``: how many events were refused since the batch before, by the name of the error;
    ``since``: when the first of its events came, by the monotonic clock.
    """

    number: int
    files: tuple[Slice, ...]
    first_arrival: int
    events: int
    size: int
    cursors: dict[str, bytes]
    refused: dict[str, int]
    since: float


class Books(NamedTuple):
    """What a buffer accounts for.

    ``due``: how many events were put in and not yet released as committed; ``waiting``: how many
    it holds, which is the same number; ``refused``: what no commit has told of yet.
    """

    due: int
    waiting: int
    refused: dict[str, int]


class Buffer:
    """Thread-safe memory files keyed by minute-span file name.

    ``max_size``: bytes of memory, as estimated. From the appending thread, under the lock, are
    called: ``began`` when there is something to flush, ``wake`` when the buffer has grown so far
    that a flush should not wait for its timer. ``is_flusher`` tells whether the calling thread is
    the one that makes room: it is never made to wait for that.
    """

    def __init__(
        self,
        storage: Storage,
        max_size: int,
        began: Callable[[], None],
        wake: Callable[[], None],
        is_flusher: Callable[[], bool] = lambda: False,
    ) -> None:
        self._time_ns = storage.time_ns
        self._monotonic = storage.monotonic
        self._max_size = max_size
        self._began = began
        self._wake = wake
        self._is_flusher = is_flusher
        self._lock = threading.RLock()
        self._is_mine = is_mine(self._lock)
        self._room = threading.Condition(self._lock)
        self._files: dict[str, MemoryFile] = {}
        self._cursors: dict[str, bytes] = {}
        self._refused: dict[str, int] = {}
        self._since: float | None = None
        self._batch: Batch | None = None
        self._batches = 0
        self._size = 0
        self._levels = (
            (max_size // 8, None),
            (max_size // 2, logging.WARNING),
            (max_size * 9 // 10, logging.CRITICAL),
        )
        self._level = 0
        self._quiet_until: dict[int, float] = {}
        self._warnings: list[tuple[int, str]] = []
        self._grow_at = self._levels[0][0]
        self._refuse: Exception | None = None
        # The inner loop's state: everything that changes at most once a millisecond.
        self._ids = Uuid7()
        self._ms: int | None = None
        self._base = _NEVER
        self._id_ms: int | None = None
        self._id_front = ""
        self._id_ends: Iterator[str] = iter(())
        self._text = ""
        self._file: MemoryFile | None = None
        self._append: Callable[[Line], None]
        self._arrived = 0
        self._cursors_arrived = 0
        self._counted = 0
        self._released = 0

    # -- putting in -----------------------------------------------------------------------

    def put(self, content: str, source: str, tags: tuple[str, ...], size: int, block: bool) -> str:
        """Take an event of now; return its id. The short form of `put_many`, for speed."""
        if self._is_mine():
            check_reentry(self._lock, "an append")
        with self._lock:
            if self._size > self._grow_at:
                self._grow(block)
            now = self._time_ns()
            # A difference is a small integer, with which Python is faster.
            since = now - self._base
            if not 0 <= since < 1_000_000:
                ms = now // 1_000_000
                self._start(ms)
                self._start_ids()
                self._base = ms * 1_000_000
                since = now - self._base
            try:
                id = self._id_front + next(self._id_ends)
            except StopIteration:
                self._start_ids()
                id = self._id_front + next(self._id_ends)
            text = self._text + _MICROSECONDS[since // 1000]
            self._append(Line(text, id, source, tags, content))
            self._size += size
        return id

    def put_many(
        self, entries: Collection[Entry], cursor: tuple[str, bytes] | None, size: int, block: bool
    ) -> str:
        """Take events as one: one commit will hold them all, with the cursor; return the last id.

        ``size`` is the sum of their sizes and must not be over ``max_size``.
        """
        id = ""
        check_reentry(self._lock, "an append")
        with self._lock:
            self._check()
            if size > self._max_size:
                raise BufferFull(
                    f"{size} bytes are more than the buffer's {self._max_size}; pass less at once, "
                    "or open the log with a larger max_buffer"
                )
            self._began()
            if self._size + size > self._max_size:
                self._wait(self._max_size - size, block)
            if self._size + size > self._grow_at:
                self._grow(block)
            now = self._time_ns() // 1000
            if not FIRST <= now < END and any(entry.us is None for entry in entries):
                raise _clock_is_wrong(now)
            # What follows may go to any millisecond: `put` is to begin anew.
            self._base = _NEVER
            for entry in entries:
                us = now if entry.us is None else entry.us
                if us // 1000 != self._ms:
                    self._start(us // 1000)
                id = self._next_id() if entry.id is None else entry.id
                text = self._text + _MICROSECONDS[us % 1000]
                self._append(Line(text, id, entry.source, entry.tags, entry.content, entry.fields))
            self._size += size
            if cursor:
                self._cursors[cursor[0]] = cursor[1]
                self._cursors_arrived += 1
        return id

    def refuse(self, error: Exception | None) -> None:
        """From now on raise ``error`` for every event (closed, degraded); None takes it back."""
        check_reentry(self._lock, "an append")
        with self._lock:
            self._refuse = error
            self._stop()
            self._room.notify_all()

    def count_refused(self, error: TimelogError, events: int) -> None:
        """Note that ``events`` were not taken, and why; the next batch tells."""
        why = type(error).__name__
        with self._lock:
            self._refused[why] = self._refused.get(why, 0) + events

    # -- taking out -----------------------------------------------------------------------

    def freeze(self, *, closing: bool = False) -> Batch | None:
        """Return the batch to flush: the one that failed before, else all that is waiting.

        None where nothing waits; what was refused is reason enough for a batch only when
        ``closing``. Until `release` the batch stays visible to readers.
        """
        check_reentry(self._lock, "an append")
        with self._lock:
            waits = self._files or self._cursors or (closing and self._refused)
            if self._batch is None and waits:
                self._settle()
                files = tuple(Slice.of(file) for file in self._files.values())
                count = sum(file.length for file in files)
                batch = Batch(
                    self._batches,
                    files,
                    self._arrived - count,
                    count,
                    self._size,
                    self._cursors,
                    self._refused,
                    self._monotonic() if self._since is None else self._since,
                )
                self._stop()
                # No call from here on, so no interrupt comes between.
                self._batch = batch
                self._batches += 1
                self._files, self._cursors, self._refused, self._file = {}, {}, {}, None
                self._since = None
            return self._batch

    def release(self, number: int) -> None:
        """Drop batch ``number``: the index has it (call while holding the index's lock)."""
        check_reentry(self._lock, "an append")
        with self._lock:
            if self._batch is None or self._batch.number != number:
                return
            self._size -= self._batch.size
            self._released += self._batch.events
            self._batch = None
            self._level = sum(self._size > size for size, _ in self._levels)
            self._set_level()
            self._room.notify_all()

    # -- looking --------------------------------------------------------------------------

    def view(self) -> tuple[Slice, ...]:
        """Everything in memory, in a form that later appends do not change."""
        check_reentry(self._lock, "an append")
        with self._lock:
            return self._slices()

    def cursor(self, name: str) -> bytes | None:
        """The value of a cursor that waits here, or None."""
        check_reentry(self._lock, "an append")
        with self._lock:
            if name in self._cursors:
                return self._cursors[name]
            return self._batch.cursors.get(name) if self._batch else None

    def arrivals(self) -> int:
        """How many events and cursors have ever been put in."""
        check_reentry(self._lock, "an append")
        with self._lock:
            self._settle()
            return self._arrived + self._cursors_arrived

    def books(self) -> Books:
        """What it accounts for, in one look."""
        check_reentry(self._lock, "an append")
        with self._lock:
            self._settle()
            waiting = sum(file.length for file in self._slices())
            refused = Counter(self._refused)
            if self._batch:
                refused.update(self._batch.refused)
            return Books(self._arrived - self._released, waiting, dict(refused))

    @property
    def size(self) -> int:
        """Bytes of memory in use, as estimated."""
        return self._size

    @property
    def waiting(self) -> int:
        """How many events are in memory."""
        return sum(file.length for file in self.view())

    @property
    def waits_since(self) -> float | None:
        """When the oldest event in memory came, by the monotonic clock; None for no event."""
        batch = self._batch
        return batch.since if batch is not None else self._since

    def holds(self, number: int) -> bool:
        """Whether batch ``number`` still waits to be committed."""
        batch = self._batch
        return batch is not None and batch.number == number

    def take_warnings(self) -> list[tuple[int, str]]:
        """What is to be logged of the buffer's size: (severity, text). It is then forgotten."""
        warnings, self._warnings = self._warnings, []
        return warnings

    # -- with the lock held -----------------------------------------------------------------

    def _start(self, ms: int) -> None:
        """Prepare for events of the millisecond ``ms``. The lock must be held."""
        self._check()
        us = ms * 1000
        if not FIRST <= us < END:
            raise _clock_is_wrong(us)
        file = self._file
        if file is None or not file.span.start <= us < file.span.end:
            self._settle()
            name = SegmentName(Span.minute(us), 1).file
            file = self._files.get(name)
            if file is None:
                self._began()
                if self._since is None:
                    self._since = self._monotonic()
                file = self._files[name] = MemoryFile(Span.minute(us))
            file.starts.append((self._arrived, len(file.lines)))
            self._file, self._counted = file, len(file.lines)
            self._append = file.lines.append
        second, millisecond = divmod(ms - file.span.start // 1000, 1000)
        self._text = f"{file.front}{second:02d}.{millisecond:03d}"
        self._ms = ms

    def _slices(self) -> tuple[Slice, ...]:
        """Everything in memory. The lock must be held."""
        frozen = self._batch.files if self._batch else ()
        return frozen + tuple(Slice.of(file) for file in self._files.values())

    def _stop(self) -> None:
        """Let the next event `_start`, whatever its time. The lock must be held."""
        self._ms = None
        self._base = _NEVER

    def _start_ids(self) -> None:
        """Prepare the next ids, of the current millisecond. The lock must be held."""
        assert self._ms is not None
        self._id_front, self._id_ends = self._ids.start(self._ms)
        self._id_ms = self._ms

    def _next_id(self) -> str:
        """An id of the current millisecond. The lock must be held."""
        end = next(self._id_ends, None) if self._id_ms == self._ms else None
        if end is None:
            self._start_ids()
            end = next(self._id_ends)
        return self._id_front + end

    def _settle(self) -> None:
        """Count the arrivals in the current file. The lock must be held."""
        if self._file is not None:
            self._arrived += len(self._file.lines) - self._counted
            self._counted = len(self._file.lines)

    def _check(self) -> None:
        if self._refuse is not None:
            raise self._refuse.with_traceback(None)

    def _grow(self, block: bool) -> None:
        """React to the buffer's size: wake the flusher, warn, or wait. The lock must be held."""
        self._check()
        self._wake()
        if self._size > self._max_size:
            self._wait(self._max_size, block)
        while self._level < len(self._levels) and self._size > self._levels[self._level][0]:
            self._warn(self._levels[self._level][1])
            self._level += 1
        self._set_level()

    def _warn(self, severity: int | None) -> None:
        """Note that flushes do not keep up, but not again and again: health() always tells."""
        now = self._monotonic()
        if severity is None or self._batch is None or now < self._quiet_until.get(severity, now):
            return
        self._quiet_until[severity] = now + _QUIET
        # The flusher logs it: a handler may use this very log, whose lock is held here.
        self._warnings.append(
            (
                severity,
                f"the buffer holds {self._size} of {self._max_size} bytes: events come faster "
                "than they are stored",
            )
        )

    def _set_level(self) -> None:
        below = self._level < len(self._levels)
        self._grow_at = self._levels[self._level][0] if below else self._max_size

    def _wait(self, most: int, block: bool) -> None:
        """Wait until flushes have left at most ``most`` bytes. The lock must be held."""
        if self._is_flusher():
            return
        self._wake()
        if not block or not self._room.wait_for(
            lambda: self._size <= most or self._refuse is not None, WAIT_FOR_ROOM
        ):
            raise BufferFull(
                f"the buffer holds {self._size} of {self._max_size} bytes and could not be "
                "flushed in time; see health(), or open the log with a larger max_buffer"
            )
        self._check()


def _clock_is_wrong(us: int) -> InvalidTime:
    return InvalidTime(
        f"the clock says {us // SECOND} seconds since 1970, which is outside the years 1 to 9999; "
        "set it, or pass a timestamp"
    )

"""`Flusher`: moves the buffer's batches into segments, each as one commit (`timelog.commit`).

The step that publishes the commit also releases the memory. Whatever goes wrong before it, the
batch stays in memory under its number, and is tried again.
"""

from __future__ import annotations

import errno
import threading
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

from timelog import names
from timelog.buffer import Batch, Buffer
from timelog.commit import Committer, Draft
from timelog.encode import Lot, encode, sort_out
from timelog.errors import DamagedError, StorageError, TimelogError, storage_error
from timelog.guard import check_reentry
from timelog.index import Index, damaged_day
from timelog.journal import Block
from timelog.names import Layout, SegmentName
from timelog.rotate import FILES_AT_ONCE
from timelog.storage import Storage

# Less than this is not worth a checkpoint at close: a short-lived process stays cheap.
COMMITS_AT_CLOSE = 64
JOURNAL_AT_CLOSE = 32 * 1024
_BLOCKS_A_WRITE = 4
# Seconds after which a thread that waits for another's flush looks whether there is one.
_PATIENCE = 1.0
SEGMENT_SIZE = 1024 * 1024 * 1024


class _Target(NamedTuple):
    """Where the lines of one span go: a segment to continue, or a new one."""

    name: SegmentName
    is_new: bool
    length: int
    crc: int
    lot: Lot


class Counters:
    """What a flusher did since the log was opened; read by ``health()``."""

    def __init__(self) -> None:
        # Those that were tried, and those of them that worked.
        self.cycles = 0
        self.flushes = 0
        self.events = 0
        self.errors = 0
        # Of these the newest ones, with no success between.
        self.failures = 0
        self.last_flush = 0
        # When the newest error was, by the monotonic clock.
        self.failed_at = 0.0
        self.last_error = ""


class Flusher:
    """Thread-safe. ``sync_flushes`` False is ``sync="off"``: only what asks for it is synced."""

    def __init__(
        self,
        layout: Layout,
        storage: Storage,
        index: Index,
        buffer: Buffer,
        *,
        sync_flushes: bool,
        lock_timeout: float,
    ) -> None:
        self._layout = layout
        self._storage = storage
        self._index = index
        self._buffer = buffer
        self._sync_flushes = sync_flushes
        # Of the threads that sync one flushes, and the others wait for its turn to end.
        self._turn = threading.Condition()
        self._leader: int | None = None
        self.committer = Committer(layout, storage, index, lock_timeout, buffer.refuse)
        # Of so many arrivals everything is durable.
        self._durable = 0
        self.counters = Counters()

    # -- what the log calls ---------------------------------------------------------------

    def flush(self) -> None:
        """Commit everything that is in the buffer; durable as the log was opened.

        Raises `StorageError`, `LockTimeout` or `DegradedError`; the events then stay in memory.
        """
        check_reentry(self.committer.lock, "a flush")
        with self.committer.lock:
            self._flush(self._sync_flushes)
        self.committer.tell()

    def flush_for_good(self) -> None:
        """`flush` where the process is about to end: no other flush is begun after it."""
        check_reentry(self.committer.lock, "a flush")
        # Never let go of. Who waits for it then has nothing half done on the disk.
        self.committer.lock.acquire()
        self._flush(self._sync_flushes, closing=True)
        self.committer.tell()

    def sync(self) -> None:
        """Return when everything put into the buffer before is durable.

        Callers that come while one of them flushes wait, and share the next flush: whoever leads
        it stores what all have put in. Errors as `flush`.
        """
        arrived = self._buffer.arrivals()
        check_reentry(self.committer.lock, "a flush")
        me = threading.get_ident()
        try:
            with self._turn:
                while self._leader not in (None, me):
                    is_over = not self._turn.wait(_PATIENCE) and self.committer.lock.acquire(
                        blocking=False
                    )
                    if is_over:
                        # The leader was interrupted where it could not say so.
                        self.committer.lock.release()
                        self._leader = None
                    if self._is_durable(arrived):
                        return
                self._leader = me
            with self.committer.lock:
                if self._durable < arrived or self.committer.is_unfinished:
                    self._flush(True)
                if self._index.unsynced:
                    # An empty commit says that all before it is durable.
                    self._exclusive(Batch(-1, (), 0, 0, 0, {}, {}, 0.0), True)
        finally:
            with self._turn:
                if self._leader == me:
                    self._leader = None
                    self._turn.notify_all()
        self.committer.tell()

    def _is_durable(self, arrived: int) -> bool:
        return (
            self._durable >= arrived
            and not self.committer.is_unfinished
            and not self._index.unsynced
        )

    def reopen(self) -> None:
        """Try again after `DegradedError`: repair, and flush what memory holds."""
        check_reentry(self.committer.lock, "a flush")
        with self.committer.lock:
            self.committer.reopen()
            self._flush(True)
        self.committer.tell()

    def close(self) -> None:
        """Commit everything, and save the index if a good part of the journal is new.

        Everything includes what was refused since the last commit: no other will tell of it.
        """
        check_reentry(self.committer.lock, "a flush")
        with self.committer.lock:
            self._flush(self._sync_flushes, closing=True)
            if (
                self._index.since_checkpoint >= COMMITS_AT_CLOSE
                or self._index.place.offset >= JOURNAL_AT_CLOSE
            ):
                self._exclusive(None, False, closing=True)
        self.committer.tell()

    def take_store(self) -> None:
        """Take the store lock once, repairing what a killed process left (at open)."""
        check_reentry(self.committer.lock, "a flush")
        with self.committer.lock:
            for name in names.DIRECTORIES:
                # Copies and archives often leave out directories that are empty.
                self._storage.make_directory(self._layout.control / name)
            self._exclusive(None, False)
        self.committer.tell()

    def after_fork(self) -> None:
        """In a child: let go of what belongs to the parent."""
        self.committer.after_fork()

    # -- one flush ------------------------------------------------------------------------

    def _flush(self, durable: bool, *, closing: bool = False) -> None:
        """Commit the failed batch, if any, then all that waits. The lock must be held."""
        committer = self.committer
        if committer.degraded is not None:
            raise committer.degraded.with_traceback(None)
        arrived = self._buffer.arrivals()
        # Twice: where a batch had failed before, the first round retries just that one.
        for _ in range(2):
            batch = self._buffer.freeze(closing=closing)
            if batch is None and not committer.is_unfinished:
                break
            self._exclusive(batch, durable)
        if durable and not self._index.unsynced:
            self._durable = arrived

    def _exclusive(self, batch: Batch | None, durable: bool, *, closing: bool = False) -> None:
        """Take the store, repair it where needed, and commit ``batch``."""
        lots = sort_out(batch) if batch else []
        self.counters.cycles += batch is not None
        try:
            self.committer.exclusive(lambda: self._store(batch, lots, durable), closing=closing)
        except TimelogError as error:
            self._count_failure(str(error))
            raise
        except OSError as error:
            wrapped = storage_error("storing events", error)
            self._count_failure(str(wrapped))
            raise wrapped from error
        except Exception as error:
            self._count_failure(repr(error))
            raise
        self.counters.failures = 0
        if self.committer.checkpoint_error:
            self._count_error(f"writing a checkpoint: {self.committer.checkpoint_error}")

    def _store(self, batch: Batch | None, lots: list[Lot], durable: bool) -> None:
        """`_exclusive` with the store taken."""
        if batch is None:
            return
        # The repair, or whoever made it, may have found this very batch committed.
        if batch.number < 0 or self._buffer.holds(batch.number):
            self._commit(batch, lots, durable)
        self.counters.flushes += 1
        self.counters.events += batch.events
        self.counters.last_flush = self._storage.time_ns() // 1000

    def _count_failure(self, words: str) -> None:
        self.counters.failures += 1
        self._count_error(words)

    def _count_error(self, words: str) -> None:
        self.counters.errors += 1
        self.counters.failed_at = self._storage.monotonic()
        self.counters.last_error = words

    def _commit(self, batch: Batch, lots: list[Lot], durable: bool) -> None:
        with self._index.lock:
            targets = [self._target(lot) for lot in lots]
        draft = Draft(
            tuple(target.name.path for target in targets),
            lambda position: self._write_segments(targets, position - batch.first_arrival, durable),
            batch=batch.number,
            events=batch.events,
            cursors=batch.cursors,
            refused=batch.refused,
        )
        self.committer.commit(draft, durable=durable)

    def _target(self, lot: Lot) -> _Target:
        """Choose the file that takes ``lot``; nothing that is there already is ever touched."""
        index = self._index
        span = lot.span
        day = index.day(span.start)
        try:
            newest = index.files(day).newest(SegmentName(span, 1))
        except DamagedError as error:
            index.found_damage(damaged_day(span.start, error))
            # Of the day nothing is known: a file of its own is safe.
            newest = None
        if (
            newest is not None
            and not newest.is_sealed(index.sealed_before)
            and newest.length < SEGMENT_SIZE
            and newest.length == self._size(newest.name)
        ):
            return _Target(newest.name, False, newest.length, newest.crc, lot)
        number = max(newest.name.number if newest else 0, day.floor) + 1
        while self._size(SegmentName(span, number)) is not None:
            number += 1
        return _Target(SegmentName(span, number), True, 0, 0, lot)

    def _write_segments(self, targets: list[_Target], shift: int, durable: bool) -> list[Block]:
        storage = self._storage
        blocks: list[Block] = []
        for at in range(0, len(targets), FILES_AT_ONCE):
            new_in: set[Path] = set()
            with ExitStack() as opened:
                fds = []
                for target in targets[at : at + FILES_AT_ONCE]:
                    path = self._layout.segment(target.name.path)
                    if target.is_new:
                        storage.make_directory(path.parent)
                        # The root too, since a flush that failed may have made the partition.
                        new_in |= {path.parent, self._layout.root}
                        fd = storage.create(path)
                    else:
                        fd = storage.open_append(path)
                    opened.callback(storage.close, fd)
                    fds.append(fd)
                    blocks += self._write_segment(fd, target, shift)
                if durable:
                    storage.sync_all(fds, sorted(new_in, reverse=True))
        return blocks

    def _write_segment(self, fd: int, target: _Target, shift: int) -> list[Block]:
        """Encode and write, some blocks a call: each call lets go of the interpreter."""
        blocks: list[Block] = []
        parts: list[bytes] = []
        encoded = encode(target.lot, target.name.path, target.length, target.crc, shift)
        for block, data in encoded:
            blocks.append(block)
            parts.append(data)
            if len(parts) == _BLOCKS_A_WRITE:
                self._storage.write(fd, *parts)
                parts.clear()
        self._storage.write(fd, *parts)
        if self._storage.size(fd) != blocks[-1].end:
            path = self._layout.segment(target.name.path)
            raise StorageError(
                errno.EIO, f"{path} was changed by somebody else while it was written"
            )
        return blocks

    def _size(self, name: SegmentName) -> int | None:
        try:
            return self._storage.status(self._layout.segment(name.path)).st_size
        except FileNotFoundError:
            return None

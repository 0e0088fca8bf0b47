"""`Flusher`: moves the buffer's batches into segments, each as one commit.

One flusher an open log; its lock lets one flush run at a time in the process, the store lock one
at a time on the disk. The order of steps is the durability of the log (``docs/durability.md``):
encode; lock; repair if needed; busy mark; blocks; fsync of files, then directories; commit record;
fsync of the journal; publish and release the memory in one step; clear the mark. Whatever goes
wrong after the mark just leaves it there, and the batch stays in memory under its number.
"""

from __future__ import annotations

import errno
import logging
import os
import threading
from collections import deque
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

import msgspec

from timelog import names
from timelog.buffer import Batch, Buffer
from timelog.encode import Lot, encode, sort_out
from timelog.errors import (
    TRANSIENT,
    DamagedError,
    DegradedError,
    StorageError,
    TimelogError,
    in_words,
    storage_error,
)
from timelog.guard import check_reentry
from timelog.index import Index, Place, damaged_day
from timelog.journal import Block, Commit, pack
from timelog.lock import Mark, State, StoreLock
from timelog.names import Layout, SegmentName
from timelog.repair import Repairer
from timelog.rotate import FILES_AT_ONCE, is_due, sync_files, write_checkpoint
from timelog.storage import Storage
from timelog.timestamp import MINUTE

_log = logging.getLogger("timelog")

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
        # Set while checkpoints fail: nothing is lost, but the journal grows.
        self.checkpoint_error = ""


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
        self._lock = threading.RLock()
        # Of the threads that sync one flushes, and the others wait for its turn to end.
        self._turn = threading.Condition()
        self._leader: int | None = None
        self._untold: deque[str] = deque()
        self._store_lock = StoreLock(storage, layout.lock, lock_timeout)
        self._repairer = Repairer(layout, storage, index, self._store_lock, self._untold.append)
        # Of so many arrivals everything is durable.
        self._durable = 0
        # A flush failed and its mark has not been repaired yet.
        self._unfinished = False
        # The journal file whose name this process knows to be on the disk.
        self._named = 0
        self.degraded: DegradedError | None = None
        self.counters = Counters()

    # -- what the log calls ---------------------------------------------------------------

    def flush(self) -> None:
        """Commit everything that is in the buffer; durable as the log was opened.

        Raises `StorageError`, `LockTimeout` or `DegradedError`; the events then stay in memory.
        """
        check_reentry(self._lock, "a flush")
        with self._lock:
            self._flush(self._sync_flushes)
        self._tell()

    def flush_for_good(self) -> None:
        """`flush` where the process is about to end: no other flush is begun after it."""
        check_reentry(self._lock, "a flush")
        # Never let go of. Who waits for it then has nothing half done on the disk.
        self._lock.acquire()
        self._flush(self._sync_flushes, closing=True)
        self._tell()

    def sync(self) -> None:
        """Return when everything put into the buffer before is durable.

        Callers that come while one of them flushes wait, and share the next flush: whoever leads
        it stores what all have put in. Errors as `flush`.
        """
        arrived = self._buffer.arrivals()
        check_reentry(self._lock, "a flush")
        me = threading.get_ident()
        try:
            with self._turn:
                while self._leader not in (None, me):
                    is_over = not self._turn.wait(_PATIENCE) and self._lock.acquire(blocking=False)
                    if is_over:
                        # The leader was interrupted where it could not say so.
                        self._lock.release()
                        self._leader = None
                    if self._is_durable(arrived):
                        return
                self._leader = me
            with self._lock:
                if self._durable < arrived or self._unfinished:
                    self._flush(True)
                if self._index.unsynced:
                    # An empty commit says that all before it is durable.
                    self._exclusive(Batch(-1, (), 0, 0, 0, {}, {}, 0.0), True)
        finally:
            with self._turn:
                if self._leader == me:
                    self._leader = None
                    self._turn.notify_all()
        self._tell()

    def _is_durable(self, arrived: int) -> bool:
        return self._durable >= arrived and not self._unfinished and not self._index.unsynced

    def reopen(self) -> None:
        """Try again after `DegradedError`: repair, and flush what memory holds."""
        check_reentry(self._lock, "a flush")
        with self._lock:
            self.degraded = None
            self._buffer.refuse(None)
            self._flush(True)
        self._tell()

    def close(self) -> None:
        """Commit everything, and save the index if a good part of the journal is new.

        Everything includes what was refused since the last commit: no other will tell of it.
        """
        check_reentry(self._lock, "a flush")
        with self._lock:
            self._flush(self._sync_flushes, closing=True)
            if (
                self._index.since_checkpoint >= COMMITS_AT_CLOSE
                or self._index.place.offset >= JOURNAL_AT_CLOSE
            ):
                self._exclusive(None, False, closing=True)
        self._tell()

    def take_store(self) -> None:
        """Take the store lock once, repairing what a killed process left (at open)."""
        check_reentry(self._lock, "a flush")
        with self._lock:
            for name in names.DIRECTORIES:
                # Copies and archives often leave out directories that are empty.
                self._storage.make_directory(self._layout.control / name)
            self._exclusive(None, False)
        self._tell()

    def after_fork(self) -> None:
        """In a child: let go of what belongs to the parent."""
        self._store_lock.after_fork()

    def _tell(self) -> None:
        """Log what is to be said, with no lock held: a handler may use this very log."""
        self._index.tell()
        while self._untold:
            _log.warning("%s", self._untold.popleft())

    # -- one flush ------------------------------------------------------------------------

    def _flush(self, durable: bool, *, closing: bool = False) -> None:
        """Commit the failed batch, if any, then all that waits. The lock must be held."""
        if self.degraded is not None:
            raise self.degraded.with_traceback(None)
        arrived = self._buffer.arrivals()
        # Twice: where a batch had failed before, the first round retries just that one.
        for _ in range(2):
            batch = self._buffer.freeze(closing=closing)
            if batch is None and not self._unfinished:
                break
            self._exclusive(batch, durable)
        if durable and not self._index.unsynced:
            self._durable = arrived

    def _exclusive(self, batch: Batch | None, durable: bool, *, closing: bool = False) -> None:
        """Take the store, repair it where needed, and commit ``batch``."""
        lots = sort_out(batch) if batch else []
        self.counters.cycles += batch is not None
        try:
            with self._store_lock.held():
                self._repair()
                self._unfinished = False
                if batch is not None:
                    # The repair, or whoever made it, may have found this very batch committed.
                    if batch.number < 0 or self._buffer.holds(batch.number):
                        self._commit(batch, lots, durable)
                    self.counters.flushes += 1
                    self.counters.events += batch.events
                    self.counters.last_flush = self._storage.time_ns() // 1000
                if closing or is_due(self._index):
                    self._write_checkpoint()
        except TimelogError as error:
            self._count_failure(str(error))
            raise
        except OSError as error:
            wrapped = self.degraded or storage_error("storing events", error)
            self._count_failure(str(wrapped))
            raise wrapped from error
        except Exception as error:
            self._count_failure(repr(error))
            raise
        self.counters.failures = 0

    def _repair(self) -> None:
        try:
            self._repairer.repair(unfinished=self._unfinished)
        except OSError as error:
            if error.errno not in TRANSIENT:
                self.degraded = DegradedError(
                    error.errno,
                    f"the log could not be repaired: {in_words(error)}; what is in memory is kept, "
                    "call reopen() when the disk is well",
                )
                self._buffer.refuse(self.degraded)
            raise

    def _count_failure(self, words: str) -> None:
        self.counters.errors += 1
        self.counters.failures += 1
        self.counters.failed_at = self._storage.monotonic()
        self.counters.last_error = words

    def _commit(self, batch: Batch, lots: list[Lot], durable: bool) -> None:
        index, storage = self._index, self._storage
        with index.lock:
            targets = [self._target(lot) for lot in lots]
            place, position, sequence = index.place, index.position, index.sequence + 1
            synced = index.synced
            time = max(storage.time_ns() // 1000, index.time)
            sealed_before = max(index.sealed_before, time - time % MINUTE - MINUTE)
        files = tuple(target.name.path for target in targets)
        mark = Mark(os.getpid(), place.journal, place.offset, files)
        self._store_lock.write(State(storage.boot_id(), mark, index.end, index.synced_end))
        self._unfinished = True
        if durable:
            self._sync_others(mark)
        blocks = self._write_segments(targets, position - batch.first_arrival, durable)
        commit = Commit(
            sequence,
            time,
            index.writer,
            batch.number,
            durable,
            sealed_before,
            position,
            batch.events,
            batch.cursors,
            tuple(blocks),
            synced,
            batch.refused,
        )
        self._check_lock()
        end = self._write_commit(commit, place, durable)
        # Whoever took another lock since may have read the journal before this commit was in it.
        self._check_lock()
        # Publishes the commit and releases the batch in one step, under the index's lock.
        if not index.publish(commit, end):
            raise StorageError(errno.EIO, "the commit that was written is not what the index has")
        self._store_lock.write(State(storage.boot_id(), None, index.end, index.synced_end))
        self._unfinished = False

    def _check_lock(self) -> None:
        if not self._store_lock.is_current():
            raise StorageError(
                errno.EIO, f"{self._layout.lock} was removed or replaced while it was held"
            )

    def _sync_others(self, mark: Mark) -> None:
        """Make durable what the commit that ``mark`` announces will vouch for, whoever wrote it."""
        try:
            sync_files(self._layout, self._storage, self._index)
        except OSError:
            # The next fsync of the same files may say that all is well, which it is not.
            journal = f"{names.CONTROL}/{names.JOURNAL}/{self._layout.journal(mark.journal).name}"
            suspect = (*sorted(self._index.unsynced), journal)
            mark = msgspec.structs.replace(mark, suspect=suspect)
            index = self._index
            self._store_lock.write(
                State(self._storage.boot_id(), mark, index.end, index.synced_end)
            )
            raise
        if self._named != mark.journal:
            # Whoever made the file may have been cut off before its name was on the disk.
            self._storage.sync_directory(self._layout.journals)
            self._named = mark.journal

    def _target(self, lot: Lot) -> _Target:
        """Choose the file that takes ``lot``; nothing that is there already is ever touched."""
        index = self._index
        span = lot.span
        number = 1
        try:
            newest = index.files(index.day(span.start)).newest(SegmentName(span, 1))
        except DamagedError as error:
            index.found_damage(damaged_day(span.start, error))
            # Of the day nothing is known: a file of its own is safe.
            newest = None
        if newest is not None:
            if (
                not newest.is_sealed(index.sealed_before)
                and newest.length < SEGMENT_SIZE
                and newest.length == self._size(newest.name)
            ):
                return _Target(newest.name, False, newest.length, newest.crc, lot)
            number = newest.name.number + 1
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

    def _write_commit(self, commit: Commit, place: Place, durable: bool) -> Place:
        record = pack(commit, place.offset)
        path = self._layout.journal(place.journal)
        fd = self._storage.open_append(path)
        try:
            if self._storage.size(fd) != place.offset:
                raise StorageError(errno.EIO, f"{path} was changed by somebody else")
            self._storage.write(fd, record)
            if durable:
                self._storage.sync(fd)
        finally:
            self._storage.close(fd)
        return Place(place.journal, place.offset + len(record))

    def _write_checkpoint(self) -> None:
        try:
            write_checkpoint(self._layout, self._storage, self._index)
            self.counters.checkpoint_error = ""
        except (OSError, TimelogError) as error:
            # The journal still has everything; the next flush tries again.
            words = in_words(error) if isinstance(error, OSError) else str(error)
            self.counters.errors += 1
            self.counters.failed_at = self._storage.monotonic()
            self.counters.last_error = f"writing a checkpoint: {words}"
            if not self.counters.checkpoint_error:
                self._untold.append(self.counters.last_error)
            self.counters.checkpoint_error = words

    def _size(self, name: SegmentName) -> int | None:
        try:
            return self._storage.status(self._layout.segment(name.path)).st_size
        except FileNotFoundError:
            return None

"""`Committer`: makes commits, each one atomic change of the log.

One an open log; its lock lets one commit be made at a time in the process, the store lock one at a
time on the disk. The order of steps is the durability of the log (``docs/durability.md``): lock;
repair if needed; busy mark; files; fsync of files, then directories; commit record; fsync of the
journal; publish; clear the mark. Whatever goes wrong after the mark just leaves it there, for
whoever takes the lock next.
"""

from __future__ import annotations

import errno
import logging
import os
import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import TypeVar

import msgspec

from timelog import names
from timelog.clockguard import ClockGuard, Reference
from timelog.errors import TRANSIENT, DegradedError, StorageError, TimelogError, in_words
from timelog.index import Index
from timelog.indexstate import Place
from timelog.journal import Block, Commit, Expiry, Replacement, Tombstone, pack
from timelog.lock import Mark, State, StoreLock, read_state
from timelog.names import Layout
from timelog.repair import Repairer
from timelog.rotate import is_due, sync_files, write_checkpoint
from timelog.storage import Storage
from timelog.sweep import move_to_trash
from timelog.timestamp import MINUTE

_log = logging.getLogger("timelog")

_Result = TypeVar("_Result")


class Draft(msgspec.Struct, frozen=True):
    """What is to become a commit.

    ``files``: those that ``write`` writes, given the position of the first event, or puts in place
    whole where ``is_whole``; it returns their blocks. Everything else as `Commit` has it.
    """

    files: tuple[str, ...] = ()
    write: Callable[[int], Sequence[Block]] = lambda position: ()
    is_whole: bool = False
    batch: int = -1
    events: int = 0
    cursors: dict[str, bytes] = {}
    refused: dict[str, int] = {}
    expiry: Expiry | None = None
    replacement: Replacement | None = None
    tombstones: tuple[Tombstone, ...] = ()


class Committer:
    """Thread-safe. ``lock`` may be held to make several commits without others between.

    ``refuse``: called with what every writing call is to raise from now on; None takes it back.
    """

    def __init__(
        self,
        layout: Layout,
        storage: Storage,
        index: Index,
        lock_timeout: float,
        refuse: Callable[[DegradedError | None], None],
    ) -> None:
        self._refuse = refuse
        self.lock = threading.RLock()
        self._layout = layout
        self._storage = storage
        self._index = index
        self._untold: deque[str] = deque()
        self._store_lock = StoreLock(storage, layout.lock, lock_timeout)
        self._repairer = Repairer(layout, storage, index, self._store_lock, self._untold.append)
        # A commit failed and its mark has not been repaired yet.
        self.is_unfinished = False
        # The journal file whose name this process knows to be on the disk.
        self._named = 0
        self.degraded: DegradedError | None = None
        self._is_taken = False
        # A commit of before the boot, and when this process saw it first.
        self._reference: Reference | None = None
        # Set while checkpoints fail: nothing is lost, but the journal grows.
        self.checkpoint_error = ""

    def exclusive(self, act: Callable[[], _Result], *, closing: bool = False) -> _Result:
        """Call ``act`` while the store is taken, repaired and caught up with; its result.

        Then a checkpoint is written where one is due, or when ``closing``. What ``act`` calls may
        call this again. Raises what ``act`` does, `LockTimeout`, `DegradedError` and ``OSError``.
        """
        with self.lock:
            if self._is_taken:
                return act()
            if self.degraded is not None:
                raise self.degraded.with_traceback(None)
            self._is_taken = True
            try:
                return self._exclusive(act, closing)
            finally:
                self._is_taken = False

    def _exclusive(self, act: Callable[[], _Result], closing: bool) -> _Result:
        with self._store_lock.held():
            self._repair()
            self.is_unfinished = False
            # What is not finished of a day that went must not meet what comes to it now.
            move_to_trash(self._layout, self._storage, self._index)
            result = act()
            if closing or is_due(self._index):
                self._write_checkpoint()
            return result

    def commit(self, draft: Draft, *, durable: bool, confirm_clock: bool = False) -> Commit:
        """Make a commit; only `exclusive` may call what calls this.

        ``confirm_clock``: whatever the clock says is right. Raises `StorageError` and ``OSError``;
        the next `exclusive` then repairs.
        """
        index, storage = self._index, self._storage
        with index.lock:
            place, position, sequence = index.place, index.position, index.sequence + 1
            synced = index.synced
            now = storage.time_ns() // 1000
            time = max(now, index.time)
            sealed_before = max(index.sealed_before, time - time % MINUTE - MINUTE)
        guard = self._guard(self._store_lock.read())
        if confirm_clock:
            guard.confirm(now, storage.uptime())
        else:
            guard.trust(now, storage.uptime())
        whole = draft.files if draft.is_whole else ()
        mark = Mark(os.getpid(), place.journal, place.offset, draft.files, whole=whole)
        self._write_state(mark, guard)
        self.is_unfinished = True
        if draft.is_whole:
            # Also after a power cut nobody shall keep what is of no use: it may be very much.
            self._store_lock.sync()
        if durable:
            self._sync_others(mark, guard)
        blocks = draft.write(position)
        trusted = guard.expected(storage.uptime())
        commit = Commit(
            sequence,
            time,
            index.writer,
            draft.batch,
            durable,
            sealed_before,
            position,
            draft.events,
            draft.cursors,
            tuple(blocks),
            synced,
            draft.refused,
            clock=0 if time == now and guard.is_plausible(now, storage.uptime()) else trusted,
            expiry=draft.expiry,
            replacement=draft.replacement,
            tombstones=draft.tombstones,
        )
        self._check_lock()
        end = self._write_commit(commit, place, durable)
        # Whoever took another lock since may have read the journal before this commit was in it.
        self._check_lock()
        # Publishes the commit and releases the batch in one step, under the index's lock.
        if not index.publish(commit, end):
            raise StorageError(errno.EIO, "the commit that was written is not what the index has")
        self._write_state(None, guard)
        self.is_unfinished = False
        return commit

    def clock_doubt(self, now: int) -> str:
        """Why the clock that said ``now`` (microseconds) cannot be trusted; empty where it can.

        Any thread, at any time. What depends on the time is to go by that very look at the clock.
        """
        state = read_state(self._storage, self._layout.lock)
        return self._guard(state).why(now, self._storage.uptime())

    def reopen(self) -> None:
        """Try again after `DegradedError`."""
        self.degraded = None
        self._refuse(None)

    def tell(self) -> None:
        """Log what is to be said. No lock may be held: a handler may use this very log."""
        self._index.tell()
        while self._untold:
            _log.warning("%s", self._untold.popleft())

    def after_fork(self) -> None:
        """In a child: let go of what belongs to the parent."""
        self._store_lock.after_fork()

    # -- inside ---------------------------------------------------------------------------

    def _repair(self) -> None:
        try:
            self._repairer.repair(unfinished=self.is_unfinished)
        except OSError as error:
            if error.errno not in TRANSIENT:
                self.degraded = DegradedError(
                    error.errno,
                    f"the log could not be repaired: {in_words(error)}; what is in memory is kept, "
                    "call reopen() when the disk is well",
                )
                self._refuse(self.degraded)
                raise self.degraded from error
            raise

    def _check_lock(self) -> None:
        if not self._store_lock.is_current():
            raise StorageError(
                errno.EIO, f"{self._layout.lock} was removed or replaced while it was held"
            )

    def _guard(self, state: State | None) -> ClockGuard:
        """The guard of this machine's clock, as the lock file or the newest commit says."""
        if state is not None and state.clock is not None and state.boot == self._storage.boot_id():
            return ClockGuard(state.clock)
        trusted = self._index.removal.trusted
        if not trusted:
            return ClockGuard()
        if self._reference is None or self._reference.wall != trusted:
            # How long ago that was nobody knows, but from now on it is known.
            self._reference = Reference(trusted, self._storage.uptime())
        return ClockGuard(self._reference)

    def _write_state(self, mark: Mark | None, guard: ClockGuard) -> None:
        index = self._index
        self._store_lock.write(
            State(
                self._storage.boot_id(),
                mark,
                index.end,
                index.synced_end,
                clock=guard.reference,
            )
        )

    def _sync_others(self, mark: Mark, guard: ClockGuard) -> None:
        """Make durable what the commit that ``mark`` announces will vouch for, whoever wrote it."""
        try:
            sync_files(self._layout, self._storage, self._index)
        except OSError:
            # The next fsync of the same files may say that all is well, which it is not.
            journal = f"{names.CONTROL}/{names.JOURNAL}/{self._layout.journal(mark.journal).name}"
            suspect = (*sorted(self._index.unsynced), journal)
            self._write_state(msgspec.structs.replace(mark, suspect=suspect), guard)
            raise
        if self._named != mark.journal:
            # Whoever made the file may have been cut off before its name was on the disk.
            self._storage.sync_directory(self._layout.journals)
            self._named = mark.journal

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
            self.checkpoint_error = ""
        except (OSError, TimelogError) as error:
            # The journal still has everything; the next commit tries again.
            words = in_words(error) if isinstance(error, OSError) else str(error)
            if not self.checkpoint_error:
                self._untold.append(f"writing a checkpoint: {words}")
            self.checkpoint_error = words

"""`Store`: the parts of one open log, put together, started and stopped as one.

Made by `EventLog`, closed by it, or when it is collected, or when the interpreter exits. After a
fork the child's store begins anew over the same directory.
"""

from __future__ import annotations

import atexit
import errno
import logging
import secrets
import sys
import threading
from pathlib import Path
from typing import Any

import msgpack

from timelog import mounts, signals
from timelog.buffer import Buffer
from timelog.create import check_no_snapshot, create_log, log_id
from timelog.deletion import Deleter
from timelog.errors import (
    ClosedError,
    DamagedError,
    NotALogError,
    ReadOnlyError,
    TimelogError,
    in_words,
    storage_error,
)
from timelog.exposure import exposed, warning
from timelog.flush import Flusher
from timelog.guard import check_reentry
from timelog.horizons import Keeping
from timelog.index import Index
from timelog.indexer import TextIndexer, is_possible
from timelog.indexstate import Place
from timelog.names import Layout
from timelog.news import News
from timelog.options import Options
from timelog.query import View
from timelog.scrub import Scrubber
from timelog.snapshot import SnapshotTaker
from timelog.storage import Storage
from timelog.textindex import TextIndex
from timelog.timer import PeriodicTimer
from timelog.upkeep import Upkeep

_log = logging.getLogger("timelog")

_LONGEST_PAUSE = 30.0
# Seconds between two looks for what to index, and between two files of the text index.
_INDEX_INTERVAL = 30.0
_INDEX_PAUSE = 1.0
# Seconds between two looks for what to compact.
_UPKEEP_INTERVAL = 60.0
# Kept until they are closed: what is in memory when the interpreter exits is flushed then.
_open_stores: set[Store] = set()


@atexit.register
def _close_all() -> None:
    with signals.exiting():
        for store in list(_open_stores):
            store.close_at_exit()


class Store:
    """An open log's layout, storage, index, buffer, flusher and timer. Thread-safe."""

    def __init__(self, path: Path, options: Options, storage: Storage) -> None:
        self.options = options
        self.storage = storage
        self.layout = Layout(path)
        self.is_closed = False
        self._is_abandoned = False
        self._closing = threading.RLock()
        self.id = self._find_or_create()
        self._begin()
        try:
            self.index.load()
            if options.is_writable:
                self.flusher.take_store()
                self._expire_at_open()
                # Not the root, which may be a link.
                mounts.warn_of_network(self.layout.control, storage)
            found = exposed(self.layout, self.storage)
        except OSError as error:
            if options.is_writable and error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
                raise ReadOnlyError(
                    f"{path} cannot be written: {in_words(error)}; open it with mode='r'"
                ) from error
            raise storage_error(f"opening {path}", error) from error
        if self.index.log != self.id:
            raise DamagedError(
                f"{self.layout.format} and the journal belong to different logs; "
                "run 'timelog repair'"
            )
        _open_stores.add(self)
        if options.is_writable and options.exit_signals:
            signals.watch(self, options.lock_timeout)
        if found:
            _log.warning("%s", warning(path, found))

    def _begin(self) -> None:
        """Make the parts that belong to this process."""
        options = self.options
        self.timer = PeriodicTimer(
            options.flush_interval or 1.0, self._flush_in_background, self._failed, "timelog-flush"
        )
        self.buffer = Buffer(
            self.storage,
            options.max_buffer,
            # Not the timer's own methods: a failed close puts another in its place.
            lambda: self.timer.start(),
            lambda: self.timer.wake(),
            # What the flusher logs may come back as an event, through the application's handler.
            lambda: self.timer.is_current,
        )
        self.news = News(self.layout.control, self.refresh)
        self.index = Index(
            self.layout,
            self.storage,
            secrets.token_hex(6),
            self.buffer.release,
            lambda: self.news.tell(),
        )
        self.flusher = Flusher(
            self.layout,
            self.storage,
            self.index,
            self.buffer,
            sync_flushes=options.sync == "flush",
            lock_timeout=options.lock_timeout,
        )
        if not options.is_writable:
            self.buffer.refuse(ReadOnlyError("the log was opened with mode='r'; use mode='a'"))
        self.texts = TextIndex(self.layout, self.storage)
        self.indexer = TextIndexer(self.layout, self.storage, self.index, self.texts)
        self._indexing = PeriodicTimer(
            _INDEX_INTERVAL, self._index_in_background, self._indexing_failed, "timelog-index"
        )
        self.scrubber = Scrubber(self.layout, self.storage, self.index, options.scrub_shards)
        self._scrubbing = PeriodicTimer(
            options.scrub_interval or 1.0,
            self._scrub_in_background,
            self._scrubbing_failed,
            "timelog-scrub",
        )
        self.upkeep = Upkeep(
            self.layout,
            self.storage,
            self.index,
            self.flusher.committer,
            compact_after=options.compact_after,
            archive_after=options.archive_after,
        )
        self.deleter = Deleter(
            self.layout,
            self.storage,
            self.index,
            self.flusher.committer,
            self.upkeep.compactor,
        )
        is_writable = options.is_writable
        self.snapshots = SnapshotTaker(
            self.layout,
            self.storage,
            self.id,
            self.index,
            self.read_durable_index,
            self.flusher.sync if is_writable else lambda: None,
            self.flusher.committer if is_writable else None,
        )
        self._looking_after = PeriodicTimer(
            _UPKEEP_INTERVAL, self._look_after, self._looking_after_failed, "timelog-upkeep"
        )
        self._keeping = (self.index.removal.horizons, Keeping(self.index.removal.horizons))
        self._close_in_worker_process()

    def keeping(self) -> Keeping:
        """What has expired, as far as this process knows."""
        horizons = self.index.removal.horizons
        known = self._keeping
        if known[0] is not horizons:
            known = self._keeping = (horizons, Keeping(horizons))
        return known[1]

    def refresh(self) -> None:
        """Catch up with what other processes committed, as every look at the log begins."""
        check_reentry(self.index.lock, "taking in a commit")
        try:
            self.index.refresh()
        except OSError as error:
            raise storage_error("reading the index", error) from error
        self.index.tell()

    def read_index(self) -> Index:
        """The index, read anew: what this process knows of the disk may be long ago."""
        index = Index(self.layout, self.storage, "", lambda batch: None)
        try:
            index.load()
        except OSError as error:
            raise storage_error("reading the index", error) from error
        return index

    def read_durable_index(self) -> Index:
        """The index, read anew as far as all is known to be durable: no power cut changes it.

        Where the log is only read, nobody knows, and it is all there is.
        """
        if not self.options.is_writable:
            return self.read_index()
        index = Index(self.layout, self.storage, "", lambda batch: None)
        try:
            self.index.refresh()
            with self.index.lock:
                end = self.index.synced_end
            index.refresh(Place(end.journal, end.offset))
        except OSError as error:
            raise storage_error("reading the index", error) from error
        index.expect(end)
        return index

    def reread_index(self) -> Index:
        """What this process knows to be committed, read anew: what is gone meanwhile is missing.

        The index's lock must be held. Unlike other readers it has what a flush of this process has
        just published.
        """
        index = Index(self.layout, self.storage, "", lambda batch: None)
        try:
            self.index.load()
            index.refresh(self.index.place)
        except OSError as error:
            raise storage_error("reading the index", error) from error
        index.expect(self.index.end)
        return index

    def view(self) -> View:
        """What a search that begins now sees: committed events and memory, each event once."""
        self.refresh()
        with self.index.lock:
            return View(self.index.position, self.buffer.view(), self.index.removal.horizons)

    def cursor(self, name: str) -> Any:
        """The value last stored under ``name``, as far as this process knows, or None."""
        with self.index.lock:
            packed = self.buffer.cursor(name) or self.index.cursors.get(name)
        try:
            return None if packed is None else msgpack.unpackb(packed, strict_map_key=False)
        except (ValueError, msgpack.UnpackException) as error:
            raise DamagedError(f"what is stored as cursor {name!r} is no value: {error}") from None

    def close(self) -> None:
        """Flush, stop the timer, refuse what comes after. May be repeated.

        Where the flush fails the error is raised and the log stays open, so that nothing is lost
        in silence.
        """
        check_reentry(self._closing, "closing it")
        if any(timer.is_current for timer in self._timers()):
            # Not by waiting: who closes already may be waiting for this very thread to end. No
            # signal handler runs in it, so nothing can come between the two lines.
            if self._closing.acquire(blocking=False):
                try:
                    self._close()
                finally:
                    self._closing.release()
            return
        with self._closing:
            self._close()

    def _close(self) -> None:
        """`close` with its lock held."""
        if self.is_closed:
            return
        if self.options.is_writable:
            for timer in self._timers():
                timer.stop()
            # From here on no event is taken, so the last flush has all of them.
            self.buffer.refuse(ClosedError("the log is closed; open it again to append"))
            try:
                self.flusher.close()
            except BaseException:
                self.buffer.refuse(self.flusher.committer.degraded)
                self._indexing = self._indexing.renewed()
                self._scrubbing = self._scrubbing.renewed()
                self._looking_after = self._looking_after.renewed()
                self.timer = self.timer.renewed()
                self.timer.start()
                raise
        self._let_go()

    def abandon(self) -> None:
        """Close when there is time: nobody holds the log any more.

        The garbage collector may call this in the middle of anything, with locks held, so it only
        lets the timer's thread do it.
        """
        self._is_abandoned = True
        if self.timer.is_alive:
            self.timer.wake()
        else:
            # Nothing was ever appended.
            self._let_go()

    def close_at_exit(self) -> None:
        """`close` where nobody is left to catch an error: it is logged."""
        try:
            self.close()
        except TimelogError as error:
            self.log_loss(error)

    def store_before_end(self) -> None:
        """Flush where a signal is about to end the process; an error is logged."""
        try:
            self.flusher.flush_for_good()
        except Exception as error:
            # Whatever it is, other logs are to be stored, too.
            self.log_loss(error)

    def log_loss(self, reason: object) -> None:
        """Log how many events could not be stored before the end, if any."""
        if waiting := self.buffer.waiting:
            _log.critical("%d events could not be stored before the end: %s", waiting, reason)

    def after_fork(self) -> None:
        """In a child: drop what is the parent's, and begin anew."""
        self._closing = threading.RLock()
        self.news.after_fork()
        self.flusher.after_fork()
        self.indexer.after_fork()
        self.scrubber.after_fork()
        self.upkeep.after_fork()
        self.snapshots.after_fork()
        # Results made before the fork hold it, and another thread may have held its lock.
        self.index.lock = threading.RLock()
        if self.is_closed:
            return
        self._begin()
        util = sys.modules.get("multiprocessing.util")
        if util is not None:
            # A worker forgets what was to be done at its exit, and then asks again.
            util.register_after_fork(self, Store._close_in_worker_process)

    def _let_go(self) -> None:
        self.is_closed = True
        self.news.close()
        _open_stores.discard(self)
        signals.forget(self)

    # -- the background flush -------------------------------------------------------------

    def _flush_in_background(self) -> float | None:
        """Flush; after a failure return a pause that grows, since trying costs something too."""
        for severity, text in self.buffer.take_warnings():
            _log.log(severity, "%s", text)
        failures = self.flusher.counters.failures
        try:
            self.flusher.flush()
        except Exception as error:
            if not isinstance(error, TimelogError):
                _log.critical("a flush met an unexpected error and is tried again", exc_info=error)
            elif not failures:
                _log.error("a flush failed, its events stay in memory: %s", error)
            pause = self.options.flush_interval or 1.0
            return min(pause * 2.0 ** min(failures + 1, 16), max(_LONGEST_PAUSE, pause))
        if failures:
            _log.warning("flushing works again after %d failures", failures)
        if self._is_abandoned:
            self.close_at_exit()
            return None
        if self.options.text_index and is_possible():
            self._start(self._indexing)
        if self.options.scrub_interval:
            self._start(self._scrubbing)
        self._start(self._looking_after)
        return None

    def _failed(self, error: Exception) -> None:
        _log.critical("the flusher's thread met an unexpected error and goes on", exc_info=error)

    # -- what else goes on in the background ----------------------------------------------

    def _timers(self) -> tuple[PeriodicTimer, ...]:
        return self.timer, self._indexing, self._scrubbing, self._looking_after

    @staticmethod
    def _start(timer: PeriodicTimer) -> None:
        """Let something be done in the background from now on."""
        try:
            if not timer.is_alive:
                timer.start()
        except RuntimeError:
            # The system had no thread to give; the next flush asks again.
            pass

    def _index_in_background(self) -> float | None:
        timer = self._indexing
        return _INDEX_PAUSE if self.indexer.step(lambda: timer.is_stopping) else None

    def _indexing_failed(self, error: Exception) -> None:
        _log.warning("the text index could not be built, searches read more: %s", error)

    def _scrub_in_background(self) -> None:
        timer = self._scrubbing
        self.scrubber.step(lambda: timer.is_stopping)

    def _scrubbing_failed(self, error: Exception) -> None:
        _log.warning("stored blocks could not be checked in the background: %s", error)

    def _look_after(self) -> None:
        timer = self._looking_after
        self.upkeep.step(lambda: timer.is_stopping)

    def _looking_after_failed(self, error: Exception) -> None:
        _log.warning("the log could not be looked after, it is tried again: %s", error)

    def _expire_at_open(self) -> None:
        """Keep the policy that was given, and let go what it does not keep."""
        if self.options.retention is not None:
            self.upkeep.keep(self.options.retention)
        try:
            self.upkeep.expire()
        except TimelogError as error:
            # The log is of use all the same; `timelog.health` tells.
            _log.warning("nothing expired at opening, it is tried again: %s", error)

    def _find_or_create(self) -> str:
        try:
            known = log_id(self.layout, self.storage)
            if known is not None and self.options.is_writable:
                check_no_snapshot(self.layout, self.storage)
        except OSError as error:
            raise storage_error(f"opening {self.layout.root}", error) from error
        if known is not None:
            return known
        if not self.options.is_writable:
            raise NotALogError(f"{self.layout.root} is not a timelog; check the path")
        return create_log(self.layout, self.storage, self.options.lock_timeout)

    def _close_in_worker_process(self) -> None:
        """Flush at the exit of a multiprocessing worker, which skips the interpreter's own."""
        process = sys.modules.get("multiprocessing.process")
        util = sys.modules.get("multiprocessing.util")
        if process is not None and util is not None and process.parent_process() is not None:
            util.Finalize(self, Store.close_at_exit, args=(self,), exitpriority=10)

"""`Reading`: what is read of known files, in which order, and with which descriptors."""

from __future__ import annotations

import errno
import logging
import os
import resource
import threading
from collections import OrderedDict
from collections.abc import Callable

import timelog
from timelog.ingest.feed import Feed
from timelog.ingest.options import Options
from timelog.ingest.place import Place, text_of
from timelog.ingest.places import Places
from timelog.ingest.tail import Rewritten, Tail

# A record without the next one's beginning is taken as it is after so many seconds, and the last
# line without a newline of a file that nobody should write to any more.
RECORD_IDLE = 5.0
LINE_IDLE = 10.0
# How much of a file is read before others have their turn.
_TURN = 8 * 1024 * 1024
_MOST_OPEN = 256
_MOST_HELD = 32 * 1024 * 1024
# What a scan that comes later tells more about.
PASSING = (errno.ENOENT, errno.ESTALE, errno.ENOTDIR)

_log = logging.getLogger("timelog")


class Reading:
    """Reads files that a `Lookout` has found. For one thread.

    ``tails``: the files that are there, or are being finished, by device and inode.
    """

    def __init__(
        self,
        log: timelog.EventLog,
        name: str,
        options: Options,
        stop: threading.Event,
        monotonic: Callable[[], float],
    ) -> None:
        self._options = options
        self._stop = stop
        self._monotonic = monotonic
        self._places = Places(log, name)
        self._feed = Feed(log, self._places, options.tally, stop)
        self.tails: dict[tuple[int, int], Tail] = {}
        self._by_path: dict[bytes, Tail] = {}
        self._dirty: dict[tuple[int, int], Tail] = {}
        self._leaving: dict[tuple[int, int], Tail] = {}
        self._unfinished: dict[tuple[int, int], Tail] = {}
        self._open: OrderedDict[tuple[int, int], Tail] = OrderedDict()
        self._most_open = min(_MOST_OPEN, resource.getrlimit(resource.RLIMIT_NOFILE)[0] // 4)
        self._told: set[tuple[str, str]] = set()

    @property
    def has_work(self) -> bool:
        """Whether there is more to be read at once."""
        return bool(self._dirty)

    def read(self) -> None:
        """Read from each file that changed, at most a turn, and store what was read."""
        waits: set[bytes] = set()
        order = sorted(self._dirty.items(), key=lambda item: (item[1].looked_ns, item[1].path))
        for key, tail in order:
            if self._stop.is_set():
                break
            # A file that took the place of one that is not finished comes after it.
            if tail.path in waits:
                continue
            if self._read(tail, ends_line=bool(tail.final_name), ends_record=False):
                self._dirty.pop(key, None)
            else:
                waits.add(tail.first_path)
        self._feed.store()

    def finish_idle(self) -> None:
        """Take what is unfinished as it is where nothing came for long."""
        now = self._monotonic()
        for key, tail in [*self._unfinished.items(), *self._leaving.items()]:
            if key in self._dirty or tail.idle_since is None:
                continue
            idle = now - tail.idle_since
            is_leaving = key in self._leaving
            if idle >= LINE_IDLE and tail.was_torn:
                self._unfinished.pop(key, None)
                self._complain(os.fsdecode(tail.path), "its compressed data is cut off")
            elif idle >= LINE_IDLE and (is_leaving or tail.place.is_over) and not tail.is_taken:
                self._read(tail, ends_line=True, ends_record=True)
                self._unfinished.pop(key, None)
                if is_leaving and key not in self._dirty:
                    self._forget(tail)
            elif idle >= RECORD_IDLE and self._options.starts and tail.tried != tail.size:
                tail.tried = tail.size
                self._read(tail, ends_line=False, ends_record=True)
        self._feed.store()

    def finish_deleted(self) -> None:
        """Read what is left of files that nobody can open any more: it is about to end."""
        for key, tail in list(self._leaving.items()):
            while not tail.is_taken and not self._read(tail, ends_line=True, ends_record=True):
                tail = self.tails[key]
        self._feed.store()

    def _read(self, tail: Tail, *, ends_line: bool, ends_record: bool) -> bool:
        """Read a turn of one file; whether that was all."""
        key = tail.place.key
        left = _TURN
        try:
            self._opened(tail)
            status = tail.status()
            tail.check()
            while left > 0:
                before = tail.place.offset
                events = tail.read(
                    limit_us=status.st_mtime_ns // 1000,
                    ends_line=ends_line or bool(tail.packing),
                    ends_record=ends_record,
                )
                if not events:
                    break
                size = tail.place.offset - before
                self._feed.add(tail.place, events, size)
                left -= size
            else:
                return False
        except Rewritten:
            self._begin_again(tail)
            return False
        except OSError as error:
            if isinstance(error, timelog.TimelogError):
                raise
            self._shut(tail)
            if error.errno not in PASSING:
                self._complain(os.fsdecode(tail.path), error.strerror or str(error))
            return True  # the next scan tells more
        if tail.size != status.st_size or tail.idle_since is None:
            tail.idle_since = self._monotonic()
        tail.size, tail.changed_ns = status.st_size, status.st_mtime_ns
        self._note_end(tail)
        if tail.final_name and ends_line:
            self._completed(tail)
        if tail.has_rest:
            self._unfinished[key] = tail
        else:
            self._unfinished.pop(key, None)
        self._bound(tail)
        return True

    def _note_end(self, tail: Tail) -> None:
        tail.was_torn = tail.is_torn
        if tail.packing and not tail.is_torn:
            tail.place = tail.place._replace(packed=tail.size)
            self._feed.add(tail.place, [], 0)
            self._shut(tail)

    def _completed(self, tail: Tail) -> None:
        """A run that was renamed when it was complete has been read to its end."""
        name, tail.final_name = tail.final_name, b""
        tail.place = tail.place._replace(name=name, is_over=True)
        marks = [self._options.mark(tail.name, "file-complete")] if self._options.marks else []
        self._feed.add(tail.place, marks, 0)

    def _begin_again(self, tail: Tail) -> None:
        """The file was truncated, or written anew: what is in it now is new."""
        self._shut(tail)
        old = tail.place
        self._unfinished.pop(old.key, None)
        fresh = self._places.new(old.key, old)
        self._gone(old, is_cut=True)
        fresh = fresh._replace(
            name=old.name, root=old.root, form=old.form, looked=old.looked, is_over=old.is_over
        )
        self._places.put(fresh)
        again = Tail(self._options, tail.path, tail.name, fresh)
        self.tails[old.key] = self._dirty[old.key] = self._by_path[tail.path] = again
        self._leaving.pop(old.key, None)

    def _forget(self, tail: Tail) -> None:
        self._shut(tail)
        key = tail.place.key
        for kept in (self.tails, self._dirty, self._leaving, self._unfinished):
            kept.pop(key, None)
        self._gone(tail.place)

    def _gone(self, place: Place, *, is_cut: bool = False) -> None:
        gone = max(1, self._options.clock() // 1_000_000)
        place = place._replace(gone=gone, is_cut=is_cut)
        self._places.put(place)
        if self._options.marks and not is_cut:
            self._feed.add(place, [self._options.mark(text_of(place.name), "file-gone")], 0)

    def _opened(self, tail: Tail) -> None:
        tail.open()
        self._open[tail.place.key] = tail
        self._open.move_to_end(tail.place.key)
        self._bound(tail)

    def _shut(self, tail: Tail) -> None:
        tail.close()
        self._open.pop(tail.place.key, None)

    def _bound(self, tail: Tail) -> None:
        """Close what was not used for long, where too many are open or hold too much."""
        # Those with much in memory are few, as all of them are among the open ones.
        held = sum(each.held for each in self._open.values()) if tail.held else 0
        while len(self._open) > self._most_open or (held > _MOST_HELD and len(self._open) > 1):
            *others, _ = self._open.items()  # the last is in use
            # One that was deleted cannot be opened again.
            able = (tail for key, tail in others if key not in self._leaving)
            oldest = next(able, others[0][1])
            held -= oldest.held
            self._shut(oldest)

    def close(self) -> None:
        """Close all files."""
        for tail in list(self._open.values()):
            self._shut(tail)

    def _complain(self, path: str, why: str) -> None:
        if (path, why) not in self._told:
            self._told.add((path, why))
            _log.warning("%s: %s", path, why)

"""`Lookout`: what is done at each look at the watched places.

A scan says which files there are; each that is known is followed wherever it was renamed to, each
that is new gets a place, and each that is gone is finished. Then what grew is read, the oldest
first, a part of each in turn, and stored together with the places.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable

import timelog
from timelog.ingest.copies import Copies
from timelog.ingest.options import Options
from timelog.ingest.place import Place, family_of, is_part, is_run, may_be_copy, text_of
from timelog.ingest.reading import PASSING, Reading
from timelog.ingest.scan import Found, Root, Scanner
from timelog.ingest.tail import Rewritten, Tail

# A compressed file whose end is missing is read again when it has grown and this has passed.
TORN_PAUSE = 2.0
# Places of files that are gone are kept so long: a copy or a compressed form may turn up.
_KEEP_GONE = 86_400


class Lookout(Reading):
    """Follows files for a `Watcher`. For one thread."""

    def __init__(
        self,
        log: timelog.EventLog,
        roots: list[Root],
        globs: tuple[str, ...],
        recursive: bool,
        name: str,
        options: Options,
        stop: threading.Event,
        monotonic: Callable[[], float],
    ) -> None:
        super().__init__(log, name, options, stop, monotonic)
        self.scanner = Scanner(roots, globs, recursive, log.path, self._complain)
        self._copies = Copies(self._places, monotonic, self._path_of)
        self._paths: set[bytes] = set()

    @property
    def is_undecided(self) -> bool:
        """Whether a file may be a copy of another one, which only another scan can tell."""
        return self._copies.is_waiting

    def scan(self) -> None:
        """Find out which files there are, and which have changed."""
        found = self.scanner.scan(self._is_known)
        self._copies.begin(found)
        self._paths = {each.path for each in found.values()}
        for key, tail in list(self.tails.items()):
            if key in found:
                self._leaving.pop(key, None)
            elif tail.place.root not in self.scanner.unread:
                self._missing(tail)
        order = sorted(found.values(), key=lambda one: (one.status.st_mtime_ns, one.path))
        known = {each.key for each in order if self._is_known(*each.key)}
        # Whether a new file is a copy shows when those before it are read.
        for each in sorted(order, key=lambda one: one.key not in known):
            self._meet(each)
        self._by_path = {tail.path: tail for tail in self.tails.values()}
        self._prune(found)

    def changed(self, paths: set[bytes]) -> bool:
        """Note what is said to have changed; whether that calls for a scan."""
        for path in paths:
            tail = self._by_path.get(path)
            try:
                status = os.stat(path)
            except OSError:
                if tail is not None:
                    return True
                continue
            if tail is not None:
                if tail.place.key != (status.st_dev, status.st_ino):
                    return True
                self._look(tail, status)
            elif self.scanner.matters(path):
                return True
        return False

    def _is_known(self, device: int, inode: int) -> bool:
        key = (device, inode)
        return key in self.tails or self._places.live(key) is not None

    def _path_of(self, place: Place) -> bytes | None:
        tail = self.tails.get(place.key)
        return tail.path if tail is not None and tail.place.id == place.id else None

    def _meet(self, found: Found) -> None:
        tail = self.tails.get(found.key)
        try:
            if tail is None:
                tail = self._begin(found)
            elif tail.path != found.path:
                self._renamed(tail, found)
        except OSError as error:
            if error.errno not in PASSING:
                self._complain(os.fsdecode(found.path), error.strerror or str(error))
            return
        if tail is not None:
            self._look(tail, found.status)

    def _begin(self, found: Found) -> Tail | None:
        """Return the tail of a file that has none yet; None if it is to be looked at later."""
        place = self._places.live(found.key)
        if place is not None:
            if not found.is_wanted and not self.scanner.wants(place):
                return None  # it is followed by somebody else, or was
            tail = Tail(self._options, found.path, text_of(found.name), place)
            try:
                self._opened(tail)
                is_same = bool(tail.packing) or found.status.st_size >= place.offset
            except Rewritten:
                is_same = False
            if is_same:
                self.tails[found.key] = tail
                if place.name != found.name:
                    self._renamed(tail, found)
                if place.packed == found.status.st_size and tail.packing:
                    tail.size, tail.changed_ns = place.packed, found.status.st_mtime_ns
                return tail
            self._shut(tail)
            self._gone(place, is_cut=True)
        if not found.is_wanted or not found.status.st_size:
            return None
        if may_be_copy(found.name):
            self._catch_up(family_of(found.name))
        origin, is_held = self._copies.origin_of(found)
        if is_held:
            return None
        fresh = self._places.new(found.key, place or origin)
        if origin is not None:
            fresh = origin._replace(
                id=fresh.id, device=fresh.device, inode=fresh.inode, gone=0, is_cut=False
            )._replace(packed=0, is_over=True)
            # What there is of it, its last line too, is this file's now.
            if origin.gone:
                self._places.drop(origin)
            else:
                self._taken_over(self.tails.get(origin.key))
        # Beside the file that is written now, what rotation renamed is written to no more.
        family = os.path.join(os.path.dirname(found.path), family_of(found.name))
        is_over = fresh.is_over or (family != found.path and family in self._paths)
        # A run that is found complete is one that has just been renamed.
        is_complete = is_run(found.name) and not is_part(found.name)
        name = found.name + b".part" if is_complete else found.name
        fresh = fresh._replace(name=name, root=found.root, is_over=is_over)
        self._places.put(fresh)
        tail = self.tails[found.key] = Tail(self._options, found.path, text_of(found.name), fresh)
        tail.final_name = found.name if is_complete else b""
        self._opened(tail)
        return tail

    def _catch_up(self, family: bytes) -> None:
        """Read all there is of known files of that family, such as a new one may be a copy of."""
        for key, tail in list(self._dirty.items()):
            if family_of(tail.place.name) == family:
                self._copies.moved()
                while key in self._dirty:
                    if self._read(self._dirty[key], ends_line=False, ends_record=False):
                        self._dirty.pop(key, None)
        self._feed.store()

    def _taken_over(self, tail: Tail | None) -> None:
        """A compressed file has all that a file has, which is going to be deleted, or was."""
        if tail is not None:
            tail.is_taken = True
            if tail.place.key in self._leaving:
                self._forget(tail)

    def _renamed(self, tail: Tail, found: Found) -> None:
        tail.path, tail.name = found.path, text_of(found.name)
        tail.idle_since = self._monotonic()
        if is_part(tail.place.name) and is_run(found.name) and not is_part(found.name):
            # That is stored when it was read, so that a restart in between finds it again.
            tail.final_name = found.name
            self._dirty[found.key] = tail
            return
        # A name that nobody asked for does not say, after a restart, that it is to be followed.
        name = found.name if found.is_wanted else tail.place.name
        tail.place = tail.place._replace(name=name, root=found.root, is_over=True)
        self._places.put(tail.place)
        if tail.has_rest:
            self._dirty[found.key] = tail

    def _look(self, tail: Tail, status: os.stat_result) -> None:
        if status.st_size != tail.size or status.st_mtime_ns != tail.changed_ns:
            if tail.was_torn and self._monotonic() - (tail.idle_since or 0) < TORN_PAUSE:
                return  # it is being written, and each try begins at its start
            tail.looked_ns = status.st_mtime_ns
            self._dirty[tail.place.key] = tail

    def _missing(self, tail: Tail) -> None:
        """Finish a file that is not in a watched place any more."""
        key = tail.place.key
        if not tail.is_open or tail.is_taken:
            self._forget(tail)
            return
        if key not in self._leaving:
            self._leaving[key] = tail
            tail.idle_since = self._monotonic()
        self._look(tail, tail.status())

    def _prune(self, found: dict[tuple[int, int], Found]) -> None:
        """Let go of places whose files are gone, and have been for long."""
        now = self._options.clock() // 1_000_000
        roots = self.scanner.marks - self.scanner.unread
        for place in list(self._places):
            if place.gone:
                if now - place.gone > _KEEP_GONE:
                    self._places.drop(place)
            elif place.key not in found and place.key not in self.tails and place.root in roots:
                self._gone(place)

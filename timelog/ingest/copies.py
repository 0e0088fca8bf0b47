"""`Copies`: whether a new file is a copy, or a compressed form, of one that was read already.

Rotation by copy-and-truncate makes a copy and then empties the file; rotation with compression
makes a compressed file and then removes the plain one. Either holds text that was read already, in
another inode. It is recognised by what it holds, and by a name that differs in nothing but what
rotation puts into it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection
from typing import NamedTuple

from timelog.checksum import crc32
from timelog.ingest.lines import CHUNK
from timelog.ingest.opening import Packed, Plain, open_content
from timelog.ingest.place import TAIL, Place, dates_of, family_of, head_of, may_be_copy, packing_of
from timelog.ingest.places import Places
from timelog.ingest.scan import Found

# A file that looks like a copy of one that is still there is left alone until that is truncated, or
# this many seconds have passed since it last changed.
HOLD = 5.0


class _Held(NamedTuple):
    size: int
    changed_ns: int
    since: float


class Copies:
    """Looks at new files. For one thread.

    ``path_of``: where the file of a place is now, None if it is not there.
    """

    def __init__(
        self,
        places: Places,
        monotonic: Callable[[], float],
        path_of: Callable[[Place], bytes | None],
    ) -> None:
        self._places = places
        self._monotonic = monotonic
        self._path_of = path_of
        self._held: dict[tuple[int, int], _Held] = {}
        self._families: dict[bytes, list[Place]] | None = None

    def begin(self, found: Collection[tuple[int, int]]) -> None:
        """Forget what was known before: another scan has found these files."""
        self.moved()
        self._held = {key: held for key, held in self._held.items() if key in found}

    def moved(self) -> None:
        """Places are not where they were."""
        self._families = None

    @property
    def is_waiting(self) -> bool:
        """Whether a file is being held back."""
        return bool(self._held)

    def origin_of(self, found: Found) -> tuple[Place | None, bool]:
        """Return the place from which ``found`` goes on if it is a copy; whether to hold it back.

        Raises ``OSError``. Cost: nothing for a name without a rotated one's marks; else the text up
        to where it was read is read once more.
        """
        if not may_be_copy(found.name):
            return None, False
        if self._families is None:
            self._families = defaultdict(list)
            for place in self._places:
                self._families[family_of(place.name)].append(place)
        candidates = [
            place
            for place in self._families.get(family_of(found.name), ())
            if place.head_length and self._may_be_of(found, place)
        ]
        if not candidates:
            return None, False
        content = open_content(found.path, packing_of(found.name), found.key)
        try:
            is_held = False
            best: Place | None = None
            for place in candidates:
                read = _read_of(content, place)
                if read is not None:
                    if not place.gone and isinstance(content, Plain):
                        is_held = True
                    elif best is None or read.offset > best.offset:
                        best = read
                elif not place.gone and self._may_become(content, place):
                    is_held = True
        finally:
            content.close()
        if best is not None:
            self._held.pop(found.key, None)
            return best, False
        return None, is_held and self._hold(found)

    def _may_be_of(self, found: Found, place: Place) -> bool:
        """Whether ``found`` may be a copy of what was read at ``place``, by all but its text."""
        dates = dates_of(found.name)
        is_packed = bool(packing_of(found.name))
        if not place.gone:
            is_there = place.key != found.key
        else:
            # A plain copy of a file that was deleted was seen while that was still there.
            is_there = place.is_cut or is_packed or found.key in self._held
        return (
            is_there
            and place.root == found.root
            and not (is_packed and packing_of(place.name))
            and (not dates or dates_of(place.name) in ([], dates))
        )

    def _may_become(self, content: Plain | Packed, place: Place) -> bool:
        """Whether all there is so far of a file is what that of ``place`` begins with."""
        path = self._path_of(place)
        if path is None:
            return False
        try:
            original = open_content(path, packing_of(place.name), place.key)
        except OSError:
            return False
        try:
            data = content.read_at(0, CHUNK)
            if data and data != original.read_at(0, len(data)):
                return False
            is_whole = len(data) < CHUNK and not (isinstance(content, Packed) and content.is_torn)
            # What ends before the place and is not being written any more is held for a while.
            return bool(data) or not is_whole
        finally:
            original.close()

    def _hold(self, found: Found) -> bool:
        now = self._monotonic()
        size, changed_ns = found.status.st_size, found.status.st_mtime_ns
        held = self._held.get(found.key)
        if held is None or (held.size, held.changed_ns) != (size, changed_ns):
            self._held[found.key] = _Held(size, changed_ns, now)
            return True
        if now - held.since < HOLD:
            return True
        del self._held[found.key]
        return False


def _read_of(content: Plain | Packed, place: Place) -> Place | None:
    """Return how far a file was read as that of ``place``; None if it is not the same text."""
    head = content.read_at(0, place.head_length)
    if len(head) < place.head_length or head_of(head) != place.head:
        return None
    at, crc, last = 0, 0, b""
    while at < place.offset:
        data = content.read_at(at, min(CHUNK, place.offset - at))
        if not data:
            # Copied before what was read last was written. Of a file that is still there nothing
            # is decided by that.
            if not place.gone or (isinstance(content, Packed) and content.is_torn):
                return None
            return place._replace(offset=at, crc=crc, tail=crc32(last))
        crc = crc32(data, crc)
        at += len(data)
        last = (last + data)[-TAIL:]
    return place if crc == place.crc else None

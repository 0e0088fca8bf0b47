"""`Spill`: puts lines in order that are more than memory may hold, by way of temporary files.

A distribution sort (Knuth, The Art of Computer Programming 3, 5.2.5): lines are spread over files
by slices of time, and each slice is sorted by itself. A slice that came out too large is spread
once more; where all of it has one timestamp, by position. Every line is so written and read once,
or twice where times are bunched.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from itertools import repeat
from operator import attrgetter
from pathlib import Path

import msgspec

from timelog.storage import Storage
from timelog.timestamp import from_datetime

# Bytes of lines that are sorted at once, and that wait to be written to one slice.
MOST_SORTED = 8 * 1024 * 1024
_WAITING = 64 * 1024
# Slices are meant to be so much smaller: times are hardly ever spread evenly.
_SPARE = 4
_MOST_SLICES = 64
_HEADER = struct.Struct("<QI")


class Item(msgspec.Struct, gc=False):
    """A line as it stands (``content``), its position, and what decides where it goes."""

    timestamp: datetime
    position: int
    content: bytes
    source: str
    tags: tuple[str, ...]


class _Meta(msgspec.Struct, gc=False):
    """What of a line decides where it goes."""

    timestamp: datetime
    source: str
    tags: tuple[str, ...]


_decoder = msgspec.json.Decoder(_Meta)
_order = attrgetter("timestamp", "position")
_timestamp = attrgetter("timestamp")
_position = attrgetter("position")
_source = attrgetter("source")
_tags = attrgetter("tags")


def items_of(data: bytes, positions: Iterable[int]) -> list[Item]:
    """The items of whole lines, as many as there are positions.

    Raises what decoding raises (`timelog.codec.NOT_EVENTS`) for what is no event.
    """
    metas = _decoder.decode_lines(data)
    columns = (map(each, metas) for each in (_timestamp, _source, _tags))
    times, sources, tags = columns
    # One line more than there are events: the empty one behind the last newline.
    return list(map(Item, times, positions, data.split(b"\n"), sources, tags))


class Spill:
    """Takes items in any order, and gives them back by (timestamp, position), once.

    ``make`` returns a new file of its own and its path. The keys of all items (microseconds, or
    positions) lie between ``low`` and ``high``; ``size`` is about how many bytes they have. What is
    left of the files when somebody gives up, the caller removes.
    """

    def __init__(
        self,
        storage: Storage,
        make: Callable[[], Path],
        low: int,
        high: int,
        size: int,
        *,
        by_position: bool = False,
    ) -> None:
        self._storage = storage
        self._make = make
        self._low = low
        self._width = high - low + 1
        self._by_position = by_position
        number = min(size * _SPARE // MOST_SORTED + 2, _MOST_SLICES, self._width)
        self._slices = [_Slice() for _ in range(number)]

    def add(self, items: Iterable[Item]) -> None:
        """Take some items; raises ``OSError``."""
        number = len(self._slices)
        for item in items:
            key = item.position if self._by_position else from_datetime(item.timestamp)
            each = self._slices[(key - self._low) * number // self._width]
            each.waiting += _HEADER.pack(item.position, len(item.content))
            each.waiting += item.content
            each.keys.note(key)
            each.positions.note(item.position)
            if len(each.waiting) >= _WAITING:
                self._write(each)

    def sorted(self) -> Iterator[list[Item]]:
        """Yield all items in lists, in order; raises ``OSError``. Memory: `MOST_SORTED`."""
        while self._slices:
            each = self._slices.pop(0)
            if each.size + len(each.waiting) <= MOST_SORTED:
                items = [item for some in self._read(each) for item in some]
                items.sort(key=_order)
                if items:
                    yield items
            else:
                self._write(each)
                yield from self._again(each)
            if each.path is not None:
                self._storage.unlink(each.path)

    def _again(self, each: _Slice) -> Iterator[list[Item]]:
        """A slice that is too large, spread once more."""
        keys, by_position = each.keys, self._by_position
        if keys.low == keys.high and not by_position:
            # One moment: positions differ.
            keys, by_position = each.positions, True
        if keys.low == keys.high:
            # One line.
            yield from self._read(each)
            return
        spill = Spill(
            self._storage, self._make, keys.low, keys.high, each.size, by_position=by_position
        )
        for items in self._read(each):
            spill.add(items)
        yield from spill.sorted()

    def _write(self, each: _Slice) -> None:
        if each.path is None:
            each.path = self._make()
        fd = self._storage.open_append(each.path)
        try:
            self._storage.write(fd, bytes(each.waiting))
        finally:
            self._storage.close(fd)
        each.size += len(each.waiting)
        each.waiting.clear()

    def _read(self, each: _Slice) -> Iterator[list[Item]]:
        """Yield the items of a slice, some at a time."""
        if each.path is not None:
            with self._storage.reading(each.path) as fd:
                left, at = b"", 0
                while at < each.size:
                    data = self._storage.read_at(fd, at, min(each.size - at, MOST_SORTED))
                    if not data:
                        raise OSError(f"{each.path} was cut by somebody else")
                    at += len(data)
                    items, used = _unpack(left + data)
                    left = (left + data)[used:]
                    yield items
        if each.waiting:
            yield _unpack(bytes(each.waiting))[0]


class _Slice:
    """What lies between two keys: on the disk, and what waits to be written."""

    def __init__(self) -> None:
        self.path: Path | None = None
        self.size = 0
        self.waiting = bytearray()
        self.keys = _Range()
        self.positions = _Range()


class _Range:
    """The lowest and the highest of some numbers."""

    def __init__(self) -> None:
        self.low = 1 << 100
        self.high = -self.low

    def note(self, number: int) -> None:
        """Take one more in."""
        self.low = min(self.low, number)
        self.high = max(self.high, number)


def _unpack(data: bytes) -> tuple[list[Item], int]:
    """The whole items at the beginning of ``data``, and how many bytes they take."""
    positions: list[int] = []
    lines: list[bytes] = []
    at = 0
    for _ in repeat(None):
        if len(data) - at < _HEADER.size:
            break
        position, length = _HEADER.unpack_from(data, at)
        end = at + _HEADER.size + length
        if end > len(data):
            break
        positions.append(position)
        lines.append(data[at + _HEADER.size : end])
        at = end
    text = b"\n".join(lines) + b"\n"
    return (items_of(text, positions) if lines else []), at

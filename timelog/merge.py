"""Putting events in order of (timestamp, position), from parts that may overlap, in bounded memory.

Parts (blocks and memory files) come with the range of time they lie in. Where a part ends before
the next begins, its events are sorted and passed on. Where parts overlap, events wait until no
later part can have an earlier one. Where too many would wait, as in a log whose events arrived in
no order at all, only their keys are kept and sorted, and the events are read again line by line.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence, Sized
from datetime import datetime
from operator import attrgetter, itemgetter
from typing import Generic, NamedTuple, Protocol, TypeVar

from timelog.scan import Found
from timelog.timestamp import FIRST, from_datetime, to_datetime

# Bytes of content that may wait; beyond that, so many keys (about 60 bytes each) at a time, and
# so many events read again for them.
MOST_WAITING = 8 * 1024 * 1024
MOST_KEYS = 250_000
_BATCH = 16_384
_EVENT_COST = 100

_timestamp = attrgetter("timestamp")
_key = itemgetter(0, 1)


class Timed(Protocol):
    """What is put in order: an `Event`, or whatever else has a time and a size."""

    @property
    def timestamp(self) -> datetime: ...
    @property
    def content(self) -> Sized: ...


_Source = TypeVar("_Source")
_Event = TypeVar("_Event", bound=Timed)
# Time, position, and what has them.
_Item = tuple[datetime, int, _Event]


class Part(NamedTuple, Generic[_Source]):
    """Something that has events between ``first`` and ``last`` (inclusive, in microseconds)."""

    first: int
    last: int
    source: _Source


class Loader(Generic[_Source, _Event]):
    """How to get at the events of a part: all that match, or those of some lines."""

    def __init__(
        self,
        load: Callable[[_Source], Found[_Event]],
        lines: Callable[[_Source, list[int]], list[_Event]],
    ) -> None:
        self.load = load
        self.lines = lines


def in_order(parts: Iterable[Part[_Source]], *, descending: bool) -> list[Part[_Source]]:
    """The parts in the order in which `merge` takes them, and loads each for the first time."""
    return sorted(parts, key=_by_last if descending else _by_first, reverse=descending)


def merge(
    parts: Sequence[Part[_Source]], loader: Loader[_Source, _Event], *, descending: bool
) -> Iterator[list[_Event]]:
    """Yield the events of ``parts``, which are `in_order`, in lists, by (timestamp, position).

    A part that overlaps nothing is loaded once. Memory: the largest part, `MOST_WAITING`, and
    where that is not enough `MOST_KEYS`; the overlapping parts are then loaded once more for each
    `MOST_KEYS` events they have.
    """
    at = 0
    while at < len(parts):
        first = parts[at]
        edge = first.first if descending else first.last
        end = at + 1
        while end < len(parts) and (
            parts[end].last >= edge if descending else parts[end].first <= edge
        ):
            edge = min(edge, parts[end].first) if descending else max(edge, parts[end].last)
            end += 1
        if end == at + 1:
            yield _sorted(loader.load(first.source), descending)
        else:
            yield from _interleave(parts[at:end], loader, descending)
        at = end


def _interleave(
    parts: Sequence[Part[_Source]], loader: Loader[_Source, _Event], descending: bool
) -> Iterator[list[_Event]]:
    """Yield the events of parts that overlap, letting each wait until nothing earlier can come."""
    waiting: list[_Item[_Event]] = []
    size = 0
    passed: tuple[datetime, int] | None = None
    for number, part in enumerate(parts):
        edge = to_datetime(part.last if descending else part.first)
        ready = _count_before(waiting, edge, descending)
        if ready:
            yield [item[2] for item in waiting[:ready]]
            passed = waiting[ready - 1][:2]
            size -= sum(map(_cost, waiting[:ready]))
            del waiting[:ready]
        items = list(_items(loader.load(part.source)))
        waiting += items
        waiting.sort(key=_key, reverse=descending)
        size += sum(map(_cost, items))
        if size > MOST_WAITING and number + 1 < len(parts):
            del waiting, items
            yield from _by_keys(parts, loader, descending, passed)
            return
    yield [item[2] for item in waiting]


def _by_keys(
    parts: Sequence[Part[_Source]],
    loader: Loader[_Source, _Event],
    descending: bool,
    passed: tuple[datetime, int] | None,
) -> Iterator[list[_Event]]:
    """Yield the events of parts behind ``passed``, by sorting keys and reading lines again."""
    sign = -1 if descending else 1
    floor = None
    if passed is not None:
        # Beyond every key of that event, whatever its part and line.
        key = _pack(from_datetime(passed[0]), passed[1], 0, 0)
        floor = -key if descending else key | _LOW
    while True:
        keys: list[int] = []
        is_cut = False
        for number, part in enumerate(parts):
            if floor is not None and _is_done(part, floor, descending):
                continue
            found = loader.load(part.source)
            for event, position, line in zip(
                found.events, found.positions(), found.numbers(), strict=True
            ):
                key = sign * _pack(from_datetime(event.timestamp), position, number, line)
                if floor is None or key > floor:
                    keys.append(key)
            if len(keys) > 2 * MOST_KEYS:
                keys.sort()
                del keys[MOST_KEYS:]
                is_cut = True
        keys.sort()
        is_cut = is_cut or len(keys) > MOST_KEYS
        del keys[MOST_KEYS:]
        for at in range(0, len(keys), _BATCH):
            yield _read_again(keys[at : at + _BATCH], parts, loader)
        if not is_cut:
            return
        floor = keys[-1]


def _read_again(
    keys: list[int], parts: Sequence[Part[_Source]], loader: Loader[_Source, _Event]
) -> list[_Event]:
    """The events of ``keys``, in their order, each part read once."""
    wanted: dict[int, list[tuple[int, int]]] = defaultdict(list)
    for place, key in enumerate(keys):
        number, line = divmod(abs(key) & _LOW, 1 << _LINE_BITS)
        wanted[number].append((line, place))
    events: list[_Event | None] = [None] * len(keys)
    for number, lines in wanted.items():
        read = loader.lines(parts[number].source, [line for line, _ in lines])
        # Shorter only where the block has become damaged since; it is reported then.
        for (_, place), event in zip(lines, read, strict=False):
            events[place] = event
    return [event for event in events if event is not None]


# A key is one integer, since a million tuples would be too large: time, position, part, line.
_LINE_BITS = 32
_PART_BITS = 32
_POSITION_BITS = 64
_LOW = (1 << _PART_BITS + _LINE_BITS) - 1


def _pack(us: int, position: int, part: int, line: int) -> int:
    key = (us - FIRST + 1) << _POSITION_BITS | position
    return (key << _PART_BITS | part) << _LINE_BITS | line


def _is_done(part: Part[_Source], floor: int, descending: bool) -> bool:
    us = (abs(floor) >> _POSITION_BITS + _PART_BITS + _LINE_BITS) + FIRST - 1
    return part.first > us if descending else part.last < us


def _sorted(found: Found[_Event], descending: bool) -> list[_Event]:
    """The events of one part in order."""
    # They come by position, which a stable sort keeps for equal timestamps.
    events = sorted(found.events, key=_timestamp)
    if descending:
        events.reverse()
    return events


def _items(found: Found[_Event]) -> Iterator[_Item[_Event]]:
    return zip(map(_timestamp, found.events), found.positions(), found.events, strict=True)


def _count_before(waiting: list[_Item[_Event]], edge: datetime, descending: bool) -> int:
    """How many of the sorted ``waiting`` come before anything at ``edge``."""
    low, high = 0, len(waiting)
    while low < high:
        middle = (low + high) // 2
        time = waiting[middle][0]
        if time > edge if descending else time < edge:
            low = middle + 1
        else:
            high = middle
    return low


def _cost(item: _Item[_Event]) -> int:
    return len(item[2].content) + _EVENT_COST


def _by_first(part: Part[_Source]) -> int:
    return part.first


def _by_last(part: Part[_Source]) -> int:
    return part.last

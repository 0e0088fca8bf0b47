"""Putting events in order of (timestamp, position), from parts that may overlap, in bounded memory.

Parts (blocks and memory files) come with the range of time they lie in. Where a part ends before
the next begins, its events are sorted and passed on. Where parts overlap, events wait until no
later part can have an earlier one. Where more wait than ``MOST_WAITING`` bytes, only the first of
them are kept, and the overlapping parts are read again for the rest: slower, but bounded.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from operator import attrgetter, itemgetter
from typing import Generic, NamedTuple, TypeVar

from timelog.event import Event
from timelog.scan import Found
from timelog.timestamp import to_datetime

MOST_WAITING = 8 * 1024 * 1024
_EVENT_COST = 100

_timestamp = attrgetter("timestamp")
_key = itemgetter(0, 1)
_Key = tuple[datetime, int]
_Item = tuple[datetime, int, Event]
_Source = TypeVar("_Source")


class Part(NamedTuple, Generic[_Source]):
    """Something that has events between ``first`` and ``last`` (inclusive, in microseconds)."""

    first: int
    last: int
    source: _Source


def merge(
    parts: Sequence[Part[_Source]], load: Callable[[_Source], Found], *, descending: bool
) -> Iterator[Event]:
    """Yield the events of ``parts`` by (timestamp, position); ``load`` gets a part's events.

    A part that overlaps nothing is loaded once. Memory: the largest part and `MOST_WAITING`.
    """
    todo = sorted(parts, key=_by_last if descending else _by_first, reverse=descending)
    while todo:
        if len(todo) == 1 or not _overlap(todo[0], todo[1], descending):
            found = load(todo.pop(0).source)
            yield from _sorted(found, descending)
            continue
        cluster = [todo.pop(0)]
        edge = cluster[0].first if descending else cluster[0].last
        while todo and (todo[0].last >= edge if descending else todo[0].first <= edge):
            edge = min(edge, todo[0].first) if descending else max(edge, todo[0].last)
            cluster.append(todo.pop(0))
        yield from _interleave(cluster, load, descending)


def _interleave(
    parts: list[Part[_Source]], load: Callable[[_Source], Found], descending: bool
) -> Iterator[Event]:
    """Yield the events of parts that overlap."""
    floor: _Key | None = None
    while True:
        waiting: list[_Item] = []
        size = 0
        # Once set, events behind it have been let go and wait for the next round.
        ceiling: _Key | None = None
        for part in parts:
            edge = to_datetime(part.last if descending else part.first)
            if ceiling is not None and _before(ceiling[0], edge, descending):
                break
            ready = _count_before(waiting, edge, descending)
            if ready:
                size -= sum(map(_cost, waiting[:ready]))
                yield from (item[2] for item in waiting[:ready])
                del waiting[:ready]
            for item in _items(load(part.source)):
                key = item[:2]
                if (floor is None or _before(floor, key, descending)) and (
                    ceiling is None or not _before(ceiling, key, descending)
                ):
                    waiting.append(item)
                    size += _cost(item)
            waiting.sort(key=_key, reverse=descending)
            if size > MOST_WAITING and len(waiting) > 1:
                del waiting[max(len(waiting) // 2, 1) :]
                ceiling = waiting[-1][:2]
                size = sum(map(_cost, waiting))
        yield from (item[2] for item in waiting)
        if ceiling is None:
            return
        floor = ceiling
        parts = [part for part in parts if not _is_done(part, floor[0], descending)]


def _sorted(found: Found, descending: bool) -> list[Event]:
    """The events of one part in order. Positions decide only between equal timestamps."""
    events = found.events
    positions = found.positions
    if isinstance(positions, range) or all(map(int.__lt__, positions, positions[1:])):
        # A stable sort then keeps the order of positions.
        events.sort(key=_timestamp)
    else:
        events = [item[2] for item in sorted(_items(found), key=_key)]
    if descending:
        events.reverse()
    return events


def _items(found: Found) -> Iterator[_Item]:
    return zip(map(_timestamp, found.events), found.positions, found.events, strict=True)


def _count_before(waiting: list[_Item], edge: datetime, descending: bool) -> int:
    """How many of the sorted ``waiting`` come before anything at ``edge``."""
    low, high = 0, len(waiting)
    while low < high:
        middle = (low + high) // 2
        if _before(waiting[middle][0], edge, descending):
            low = middle + 1
        else:
            high = middle
    return low


_Comparable = TypeVar("_Comparable", datetime, tuple[datetime, int])


def _before(one: _Comparable, two: _Comparable, descending: bool) -> bool:
    return one > two if descending else one < two


def _cost(item: _Item) -> int:
    return len(item[2].content) + _EVENT_COST


def _overlap(one: Part[_Source], two: Part[_Source], descending: bool) -> bool:
    return two.last >= one.first if descending else two.first <= one.last


def _is_done(part: Part[_Source], floor: datetime, descending: bool) -> bool:
    if descending:
        return to_datetime(part.first) > floor
    return to_datetime(part.last) < floor


def _by_first(part: Part[_Source]) -> int:
    return part.first


def _by_last(part: Part[_Source]) -> int:
    return part.last

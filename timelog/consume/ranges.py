"""Ranges of positions, half-open, sorted and apart: what a projection leaves out. Pure."""

from __future__ import annotations

from bisect import bisect_right
from typing import TypeAlias

Ranges: TypeAlias = tuple[tuple[int, int], ...]


def add(ranges: Ranges, first: int, end: int) -> Ranges:
    """``ranges`` with the positions from ``first`` to before ``end`` in it."""
    kept = []
    for low, high in ranges:
        if high < first or low > end:
            kept.append((low, high))
        else:
            first, end = min(first, low), max(end, high)
    return tuple(sorted([*kept, (first, end)]))


def before(ranges: Ranges, position: int) -> Ranges:
    """What of ``ranges`` is before ``position``."""
    return tuple((low, min(high, position)) for low, high in ranges if low < position)


def has(ranges: Ranges, position: int) -> bool:
    """Whether ``position`` is in ``ranges``. Cost: logarithmic."""
    number = bisect_right(ranges, (position + 1,))
    return number > 0 and position < ranges[number - 1][1]


def covers(ranges: Ranges, first: int, end: int) -> bool:
    """Whether all positions from ``first`` to before ``end`` are in ``ranges``."""
    return any(low <= first and end <= high for low, high in ranges)

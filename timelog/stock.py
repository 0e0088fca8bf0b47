"""`take_stock`: which positions are held once, which by several, which by none.

Exact, and in bounded memory whatever the order of arrival: where the positions that were seen are
in too many pieces, the upper half of them is left to another pass.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple

# So many stretches of positions are kept at a time, of some 150 bytes each.
MOST_STRETCHES = 250_000
# So many stretches of each kind are named.
_MOST_NAMED = 10

# Positions from the first to before the second.
Stretch = tuple[int, int]


class Stretches(NamedTuple):
    """Some positions: how many, and the first few stretches of them."""

    number: int
    first: tuple[Stretch, ...]


class Stock(NamedTuple):
    """``none``: the positions that nobody holds; ``several``: those held more than once."""

    none: Stretches
    several: Stretches


def take_stock(held: Callable[[], Iterable[Stretch]], low: int, high: int) -> Stock:
    """Compare the positions from ``low`` to before ``high`` with what ``held()`` says is held.

    ``held`` is called once a pass, and says the same each time; what it says of other positions
    counts for nothing. Cost: about 3 µs a stretch; one pass, unless the stretches of
    neighbouring positions are far apart.
    """
    none: list[Stretch] = []
    several: list[Stretch] = []
    counts = [0, 0]
    while low < high:
        once, twice, end = _pass(held(), low, high)
        missing = _between(once, low, end)
        for number, (found, all_found) in enumerate(((missing, none), (twice, several))):
            counts[number] += sum(last - first for first, last in found)
            all_found += found[: _MOST_NAMED - len(all_found)]
        low = end
    return Stock(Stretches(counts[0], tuple(none)), Stretches(counts[1], tuple(several)))


def _pass(held: Iterable[Stretch], low: int, high: int) -> tuple[list[Stretch], list[Stretch], int]:
    """What is held, and what more than once, from ``low`` to the third of what is returned."""
    once: list[Stretch] = []
    twice: list[Stretch] = []
    for first, last in held:
        first, last = max(first, low), min(last, high)
        if first >= last:
            continue
        once.append((first, last))
        if len(once) + len(twice) > MOST_STRETCHES:
            once, twice = _join(once, twice)
            while len(once) + len(twice) > MOST_STRETCHES // 2:
                longer = max(once, twice, key=len)
                high = longer[len(longer) // 2][0]
                once, twice = _before(once, high), _before(twice, high)
    once, twice = _join(once, twice)
    return once, twice, high


def _join(once: list[Stretch], twice: list[Stretch]) -> tuple[list[Stretch], list[Stretch]]:
    """Both as few sorted stretches; where those of ``once`` overlap goes into ``twice``."""
    once, overlaps = _union(once)
    return once, _union(twice + overlaps)[0]


def _union(stretches: list[Stretch]) -> tuple[list[Stretch], list[Stretch]]:
    """The positions of all, as few sorted stretches; and those where two of them overlap."""
    union: list[Stretch] = []
    overlaps: list[Stretch] = []
    for first, last in sorted(stretches):
        if not union or first > union[-1][1]:
            union.append((first, last))
            continue
        begin, end = union[-1]
        if first < end:
            overlaps.append((first, min(last, end)))
        union[-1] = (begin, max(last, end))
    return union, overlaps


def _before(stretches: list[Stretch], end: int) -> list[Stretch]:
    return [(first, min(last, end)) for first, last in stretches if first < end]


def _between(stretches: list[Stretch], low: int, high: int) -> list[Stretch]:
    """The positions between sorted stretches, from ``low`` to before ``high``."""
    ends = [low, *(last for _, last in stretches)]
    starts = [*(first for first, _ in stretches), high]
    return [(end, start) for end, start in zip(ends, starts, strict=True) if end < start]

"""Positions of the lines of a block, in the order of the lines.

Normally lines stand in order of arrival, and a few runs say it: ``(first, count, first, count …)``.
Lines that were sorted by time may have arrived in any order. Where they would take too many runs
they are packed::

    lowest, u64 | behind the highest, u64 | zlib of the differences between neighbours, i64 each

(integers little-endian; the first difference is the first position itself). All functions are pure.
"""

from __future__ import annotations

import struct
import sys
import zlib
from array import array
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from itertools import accumulate, chain
from operator import sub
from typing import Annotated, TypeAlias

import msgspec

from timelog.errors import DamagedError

# What numbers can be: checked where they are read from the disk, not where they are made.
Natural = Annotated[int, msgspec.Meta(ge=0, le=1 << 53)]
Runs: TypeAlias = (
    Annotated[tuple[Natural, ...], msgspec.Meta(min_length=2)]
    | Annotated[bytes, msgspec.Meta(min_length=16)]
)
# From the first position to before the second.
Stretch = tuple[int, int]

# More runs than this are packed: 4,096 lines in any order take some 10 KiB.
MOST_RUNS = 64
_ENDS = struct.Struct("<QQ")


def pack(positions: Sequence[int]) -> tuple[int, ...] | bytes:
    """Return ``positions``, of which there is at least one, as a block has them."""
    steps = list(map(sub, positions[1:], positions))
    if len(steps) - steps.count(1) < MOST_RUNS:
        starts = [0, *(number for number, step in enumerate(steps, 1) if step != 1)]
        lengths = map(sub, (*starts[1:], len(positions)), starts)
        return tuple(
            chain.from_iterable(zip(map(positions.__getitem__, starts), lengths, strict=True))
        )
    differences = array("q", chain(positions[:1], steps))
    if sys.byteorder == "big":
        differences.byteswap()
    packed = zlib.compress(differences.tobytes(), 1)
    return _ENDS.pack(min(positions), max(positions) + 1) + packed


def ends(runs: Runs) -> Stretch:
    """The lowest position, and the one behind the highest."""
    if isinstance(runs, bytes):
        low, high = _ENDS.unpack_from(runs)
        return low, high
    if len(runs) == 2:
        return runs[0], runs[0] + runs[1]
    return min(runs[::2]), max(map(sum, zip(runs[::2], runs[1::2], strict=False)))


def fits(runs: Runs, count: int) -> bool:
    """Whether these are the positions of ``count`` lines. Never takes more memory than they do."""
    if isinstance(runs, bytes):
        return _unpack(runs, count) is not None
    return not len(runs) % 2 and sum(runs[1::2]) == count


def stretches(runs: Runs, count: int) -> Iterator[Stretch]:
    """Yield the positions of ``count`` lines as unbroken stretches, in the order of the lines.

    Raises `DamagedError` where they are not those of ``count`` lines.
    """
    if not isinstance(runs, bytes):
        for first, length in zip(runs[::2], runs[1::2], strict=False):
            yield first, first + length
        return
    positions = iter(_unpacked(runs, count))
    first = next(positions)
    end = first + 1
    for position in positions:
        if position == end:
            end += 1
            continue
        yield first, end
        first, end = position, position + 1
    yield first, end


def at(runs: Runs, count: int, numbers: Sequence[int]) -> Sequence[int]:
    """The positions of some of ``count`` lines, by their ascending ``numbers`` from 0.

    Raises `DamagedError` where they are not those of ``count`` lines.
    """
    if isinstance(runs, bytes):
        positions = _unpacked(runs, count)
        return [positions[number] for number in numbers]
    if len(runs) == 2:
        first = runs[0]
        return [first + number for number in numbers]
    return list(_spread(runs, numbers))


def hold_any(runs: Runs, count: int, wanted: Sequence[int]) -> bool:
    """Whether one of the ascending ``wanted`` is among the positions of ``count`` lines.

    Raises `DamagedError` where they are not those of ``count`` lines.
    """
    return _is_between(wanted, *ends(runs)) and any(
        _is_between(wanted, first, end) for first, end in stretches(runs, count)
    )


def _is_between(wanted: Sequence[int], first: int, end: int) -> bool:
    at = bisect_left(wanted, first)
    return at < len(wanted) and wanted[at] < end


def _spread(runs: Sequence[int], numbers: Sequence[int]) -> Iterator[int]:
    at = passed = 0
    for number in numbers:
        while number >= passed + runs[at + 1]:
            passed += runs[at + 1]
            at += 2
        yield runs[at] + number - passed


def _unpacked(runs: bytes, count: int) -> Sequence[int]:
    positions = _unpack(runs, count)
    if positions is None:
        raise DamagedError("the positions of a block are not those of its lines")
    return positions


def _unpack(runs: bytes, count: int) -> list[int] | None:
    """The positions that were packed; None where there are not ``count`` that make sense."""
    size = 8 * count
    try:
        data = zlib.decompressobj().decompress(runs[_ENDS.size :], size + 1)
    except zlib.error:
        return None
    if len(data) != size or not count:
        return None
    differences = array("q", data)
    if sys.byteorder == "big":
        differences.byteswap()
    positions = list(accumulate(differences))
    low, high = _ENDS.unpack_from(runs)
    return positions if (min(positions), max(positions) + 1) == (low, high) else None

"""`Vacant`: the positions that are left for the events of days whose index is lost.

Those that no other day has, and that are not those of events which expired or were erased: the
ledger knows how many these are.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Container, Iterable
from itertools import zip_longest

from timelog.index import Index
from timelog.journal import Block, Tombstone
from timelog.positions import MOST_RUNS, Runs, Stretch, pack, stretches


class Vacant:
    """These positions, in order; they are given away once.

    ``damaged``: the days whose index is lost. The index's lock must be held. Raises ``OSError``.
    Cost: the index files of all other days are read.
    """

    def __init__(self, index: Index, damaged: Container[int]) -> None:
        self._missing = index.missing
        used = [(first, last + 1) for first, last in index.missing]
        erased: list[Stretch] = []
        for start, day in index.days.items():
            blocks: Iterable[Block]
            tombstones: Iterable[Tombstone]
            if start in damaged:
                blocks, tombstones = day.pending_blocks(), day.pending_tombstones()
            else:
                files = index.files(day)
                blocks = (block for segment in files for block in segment.blocks)
                tombstones = files.tombstones.values()
            for block in blocks:
                used += stretches(block.runs, block.count)
            erased += ((each.position, each.position + 1) for each in tombstones if each.is_erased)
        free: deque[Stretch] = deque()
        at = 0
        for first, end in sorted(used + erased):
            if first > at:
                free.append((at, first))
            at = max(at, end)
        if index.position > at:
            free.append((at, index.position))
        self._ranges = _without_gone(free, index, erased)

    def __len__(self) -> int:
        return sum(end - first for first, end in self._ranges)

    def take(self, count: int) -> Runs:
        """The next ``count`` positions; there must be so many."""
        runs = self._runs(count)
        if len(runs) <= 2 * MOST_RUNS:
            return tuple(runs)
        pairs = zip(runs[::2], runs[1::2], strict=True)
        return pack([at for first, length in pairs for at in range(first, first + length)])

    def give_up(self, count: int) -> None:
        """Note the next ``count`` positions as missing."""
        runs = self._runs(count)
        for first, length in zip(runs[::2], runs[1::2], strict=True):
            self._missing.append((first, first + length - 1))

    def _runs(self, count: int) -> list[int]:
        runs: list[int] = []
        while count:
            first, end = self._ranges.popleft()
            taken = min(count, end - first)
            runs += (first, taken)
            count -= taken
            if first + taken < end:
                self._ranges.appendleft((first + taken, end))
        return runs


def _without_gone(free: deque[Stretch], index: Index, erased: Iterable[Stretch]) -> deque[Stretch]:
    """Leave out as many positions of each row of the ledger as had events that are gone.

    Which ones these were nobody knows, but that the oldest go first. ``erased`` are not in
    ``free``.
    """
    kept: deque[Stretch] = deque()
    known = index.ledger.share_out(erased)
    rows = list(index.ledger)
    for row, following in zip_longest(rows, rows[1:]):
        gone = row.expired + row.erased - known[row.day]
        stop = following.position if following is not None else index.position
        while free and free[0][0] < stop:
            first, end = free.popleft()
            if end > stop:
                free.appendleft((stop, end))
                end = stop
            left_out = max(min(gone, end - first), 0)
            gone -= left_out
            if first + left_out < end:
                kept.append((first + left_out, end))
    kept += free
    return kept

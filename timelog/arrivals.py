"""`Arrivals`: the events of a log in the order in which they arrived, for one who follows it.

They are read in windows of positions. Where nothing was imported or compacted that is a block after
the other; elsewhere the blocks of a window overlap, and are read once for each window. A window is
small at first, so that the first event comes soon.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterable, Iterator, Sequence
from operator import itemgetter
from typing import NamedTuple, TypeAlias

from timelog import positions
from timelog.damage import Damage
from timelog.errors import StorageError
from timelog.event import Event
from timelog.filter import EVERYTHING, Filter
from timelog.horizons import Keeping
from timelog.index import Arrived, Index
from timelog.journal import Block
from timelog.names import Layout
from timelog.reader import Replaced
from timelog.scan import EXCLUSIONS, TEXT_INDEX, Scanner
from timelog.storage import Storage

EXPIRED, DAMAGED = "expired", "damaged"

# Positions of the first and of the largest windows, and bytes of text of any.
_FIRST_WINDOW = 1_000
_MOST = 100_000
_MOST_BYTES = 16 * 1024 * 1024
_TRIES = 100

Range: TypeAlias = tuple[int, int]


class Entry(NamedTuple):
    """An event, and its place in the order of arrival."""

    position: int
    event: Event


class Gap(NamedTuple):
    """Positions from ``first`` to ``last`` are gone: ``reason`` is ``"expired"`` or ``"damaged"``.

    Whether there were events that match nobody can tell.
    """

    first: int
    last: int
    reason: str


Item: TypeAlias = Entry | Gap


class Window(NamedTuple):
    """What was read: in order of position, all that is wanted of what is before ``end``."""

    items: list[Item]
    end: int


class Arrivals:
    """Reads what ``filter`` (without times) wants. One thread at a time.

    ``keeping``: asked for what has expired.
    """

    def __init__(
        self,
        layout: Layout,
        storage: Storage,
        index: Index,
        filter: Filter,
        keeping: Callable[[], Keeping],
    ) -> None:
        self._layout = layout
        self._storage = storage
        self._index = index
        self._filter = filter
        self._keeping = keeping
        self._size = _FIRST_WINDOW

    def read(self, start: int, end: int) -> Window:
        """Read some of the positions in ``[start, end)``, from the first on.

        Raises `StorageError` and `DamagedError` where the log cannot be read; it may be called
        again.
        """
        first = min(self._index.next_position(start), end)
        if first > start:
            return Window(sorted(self._gaps([(start, first)], ()), key=itemgetter(0)), first)
        for _ in range(_TRIES):
            until = min(end, start + self._size)
            arrived = self._index.arrived(start, until)
            while until - start > 1 and _bytes(arrived.blocks, start, until) > _MOST_BYTES:
                until = (start + until) // 2
            self._size = min(self._size * 4, _MOST)
            try:
                return Window(self._items(arrived, start, until), until)
            except Replaced:
                # The same events stand in other files, as the index has found out.
                pass
        raise StorageError(
            errno.EAGAIN, f"the files of position {start} go again and again; try once more"
        )

    # -- inside ---------------------------------------------------------------------------

    def _items(self, arrived: Arrived, start: int, end: int) -> list[Item]:
        keeping = self._keeping()
        wanted = self._scanner(self._filter, keeping, arrived.deleted)
        try:
            return self._scan(wanted, keeping, arrived, start, end)
        finally:
            wanted.close()

    def _scan(
        self, wanted: Scanner, keeping: Keeping, arrived: Arrived, start: int, end: int
    ) -> list[Item]:
        blocks = [
            block
            for block in sorted(arrived.blocks, key=lambda block: block.lowest)
            if block.lowest < end and not keeping.hides_all(block)
        ]
        candidates = {id(block): block for block in blocks if wanted.may_match(block)}
        wanted.expect(candidates.values())
        entries: list[Item] = []
        there: list[Range] = []
        damaged = list(arrived.unknown)
        for block in blocks:
            if not positions.fits(block.runs, block.count):
                damaged.append((block.lowest, block.position_end))
                continue
            stretches = list(positions.stretches(block.runs, block.count))
            kept: list[Range] | None = stretches
            if id(block) in candidates:
                found = wanted.block(block)
                all_of_it = map(Entry, found.positions(), found.events)
                if block.lowest >= start and block.position_end <= end:
                    entries += all_of_it
                else:
                    entries += [entry for entry in all_of_it if start <= entry[0] < end]
                kept = None if found.is_withheld else stretches
            if kept is not None and keeping.may_hide(block):
                kept = self._kept(block, keeping)
            if kept is None:
                damaged += stretches
            else:
                there += kept
        there += [(position, position + 1) for position in arrived.deleted]
        gone = list(_left(start, end, there))
        return sorted([*entries, *self._gaps(gone, damaged)], key=itemgetter(0))

    def _kept(self, block: Block, keeping: Keeping) -> list[Range] | None:
        """The positions of a block whose events have not expired; None where it is damaged."""
        scanner = self._scanner(EVERYTHING, keeping, ())
        try:
            found = scanner.block(block)
        finally:
            scanner.close()
        if found.is_withheld:
            return None
        return [(position, position + 1) for position in found.positions()]

    def _scanner(self, filter: Filter, keeping: Keeping, deleted: Sequence[int]) -> Scanner:
        damage: list[Damage] = []
        scanner = Scanner(
            self._layout,
            self._storage,
            self._index,
            filter,
            self._index.position,
            keeping,
            damage,
            salvage=False,
            deadline=None,
            exclusions=EXCLUSIONS - {TEXT_INDEX},
        )
        scanner.deleted = deleted
        return scanner

    def _lost(self) -> list[Range]:
        with self._index.lock:
            return [(first, last + 1) for first, last in self._index.missing]

    def _gaps(self, gone: Iterable[Range], damaged: Iterable[Range]) -> list[Item]:
        """What is gone, and why."""
        known = [*damaged, *self._lost()]
        # Where nothing ever expired, nothing else can have taken it.
        reason = EXPIRED if self._index.removal.horizons else DAMAGED
        gaps: list[Item] = []
        for first, end in gone:
            others = list(_left(first, end, known))
            gaps += [Gap(low, high - 1, reason) for low, high in others]
            gaps += [Gap(low, high - 1, DAMAGED) for low, high in _left(first, end, others)]
        return gaps


def _bytes(blocks: Iterable[Block], start: int, end: int) -> int:
    """About how many bytes of text the positions in ``[start, end)`` are, were all alike."""
    total = 0
    for block in blocks:
        low, high = block.lowest, block.position_end
        common = min(high, end) - max(low, start)
        if common > 0:
            total += block.length * common // (high - low)
    return total


def _left(start: int, end: int, there: Iterable[Range]) -> Iterator[Range]:
    """Yield what of ``[start, end)`` is in none of the ranges, in order."""
    for low, high in sorted(there):
        if low > start:
            yield start, min(low, end)
        start = max(start, high)
        if start >= end:
            return
    if start < end:
        yield start, end

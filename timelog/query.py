"""`Results`: a search that has been asked for and runs when it is looked at.

A search holds a view: the position up to which events were committed when it was made, and the
memory files with their lengths. Whatever is appended, flushed or repaired afterwards, it sees the
events of that moment, each once.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from contextlib import closing
from functools import partial
from itertools import chain, islice
from typing import NamedTuple

from timelog import names
from timelog.damage import Damage
from timelog.errors import DamagedError
from timelog.event import Event
from timelog.explain import Explanation
from timelog.filter import Filter
from timelog.index import Index
from timelog.journal import Block
from timelog.memfile import Slice
from timelog.merge import Loader, Part, merge
from timelog.names import Layout
from timelog.scan import Found, Scanner
from timelog.timestamp import DAY


class View(NamedTuple):
    """What a search sees. Immutable; memory events follow the committed ones in position."""

    position: int
    memory: tuple[Slice, ...]

    @property
    def memory_base(self) -> int:
        """What added to an arrival number gives a position behind all committed ones."""
        arrivals = [file.starts[0][0] for file in self.memory if file.starts]
        return self.position - min(arrivals, default=0)


class Results:
    """The events that a search found: iterate, or ask for what is needed of them.

    Lazy: nothing is read before it is asked for. Each iteration runs the search anew over the same
    view. Events come by (timestamp, position), or the exact reverse; those not flushed yet follow
    the committed ones of the same timestamp, in order of append. Memory stays bounded whatever the
    number of events. One `Results` belongs to one thread; the log may be used by others meanwhile.
    """

    def __init__(
        self,
        layout: Layout,
        index: Index,
        view: View,
        filter: Filter,
        *,
        descending: bool,
        limit: int | None,
        salvage: bool,
    ) -> None:
        self._layout = layout
        self._index = index
        self._view = view
        self._filter = filter
        self._descending = descending
        self._limit = limit
        self._salvage = salvage
        self.damage: list[Damage] = []

    def __iter__(self) -> Iterator[Event]:
        """Yield the events in order. Damaged blocks are withheld and named in ``damage``."""
        return islice(chain.from_iterable(self._batches(self._scanner())), self._limit)

    def count(self) -> int:
        """How many events match.

        Blocks that lie in the range as a whole are counted from the index, unread, where nothing
        but a range of time was asked for; damage in them then goes unnoticed.
        """
        return self._count(self._scanner())

    def first(self) -> Event | None:
        """The first event in order, or None."""
        return next(iter(self), None)

    def to_list(self) -> list[Event]:
        """All events in order, in memory."""
        return list(self)

    def first_arrived(self) -> Event | None:
        """Of the matching events the one with the lowest position, or None."""
        scanner = self._scanner()
        best: tuple[int, Event] | None = None
        for found in self._found(scanner):
            for position, event in zip(found.positions(), found.events, strict=True):
                if best is None or position < best[0]:
                    best = position, event
        return best[1] if best else None

    def explain(self) -> Explanation:
        """Run the search to its end and tell what each stage skipped, read and decoded."""
        scanner = self._scanner()
        matched = self._count(scanner)
        scanner.explanation.matched = matched
        return scanner.explanation

    # -- inside ---------------------------------------------------------------------------

    def _scanner(self) -> Scanner:
        return Scanner(
            self._layout,
            self._index,
            self._filter,
            self._view.position,
            self.damage,
            salvage=self._salvage,
        )

    def _batches(self, scanner: Scanner) -> Iterator[list[Event]]:
        loader = Loader(partial(self._load, scanner), scanner.lines)
        with closing(scanner):
            for parts in self._days(scanner):
                yield from merge(parts, loader, descending=self._descending)

    def _found(self, scanner: Scanner) -> Iterator[Found]:
        """What each part holds, in no special order of events."""
        with closing(scanner):
            for parts in self._days(scanner):
                for part in parts:
                    yield self._load(scanner, part.source)

    def _count(self, scanner: Scanner) -> int:
        if self._limit is not None:
            left = self._limit
            for batch in self._batches(scanner):
                left -= min(left, len(batch))
                if not left:
                    break
            return self._limit - left
        total = 0
        with closing(scanner):
            for parts in self._days(scanner):
                for part in parts:
                    if isinstance(part.source, Block) and scanner.is_counted(part.source):
                        scanner.explanation.blocks_by_count += 1
                        total += part.source.count
                    else:
                        total += len(self._load(scanner, part.source).events)
        return total

    def _load(self, scanner: Scanner, source: Block | Slice) -> Found:
        if isinstance(source, Block):
            return scanner.block(source)
        return scanner.memory(source, self._view.memory_base)

    def _days(self, scanner: Scanner) -> Iterator[list[Part[Block | Slice]]]:
        """The parts of each day that may hold matching events, day by day in order."""
        asked = self._filter
        memory: dict[int, list[Slice]] = defaultdict(list)
        for file in self._view.memory:
            span = file.span
            if (asked.end is None or span.start < asked.end) and (
                asked.start is None or asked.start < span.end
            ):
                memory[span.start - span.start % DAY].append(file)
        days = {*self._index.between(asked.start, asked.end), *memory}
        for day in sorted(days, reverse=self._descending):
            scanner.explanation.days += 1
            parts: list[Part[Block | Slice]] = [
                Part(block.first, block.last, block) for block in self._blocks(scanner, day)
            ]
            parts += (
                Part(file.span.start, file.span.end - 1, file) for file in memory.get(day, ())
            )
            yield parts

    def _blocks(self, scanner: Scanner, day: int) -> Iterator[Block]:
        asked = self._filter
        try:
            segments = self._index.blocks(day, asked.start, asked.end, self._view.position)
        except (DamagedError, OSError) as error:
            name = f"{names.CONTROL}/{names.INDEX} ({names.partition(day)})"
            scanner.note(Damage(name, 0, 0, str(error)))
            return
        for _, blocks in segments:
            scanner.explanation.segments += 1
            yield from filter(scanner.may_match, blocks)

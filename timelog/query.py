"""`Results`: a search that has been asked for and runs when it is looked at.

A search holds a view: the position up to which events were committed when it was made, and the
memory files with their lengths. Whatever is appended, flushed or repaired afterwards, it sees the
events of that moment, each once.
"""

from __future__ import annotations

import copy
import sys
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from functools import partial
from itertools import chain
from typing import TYPE_CHECKING, NamedTuple

from timelog import arrow
from timelog.damage import Damage
from timelog.deadline import Deadline
from timelog.errors import DamagedError
from timelog.event import Event
from timelog.explain import Explanation
from timelog.filter import Filter
from timelog.index import Index, damaged_day
from timelog.journal import Block
from timelog.memfile import Slice
from timelog.merge import Loader, Part, in_order, merge
from timelog.names import Layout
from timelog.scan import EXCLUSIONS, Found, Scanner
from timelog.storage import Storage
from timelog.textindex import TextIndex
from timelog.timestamp import DAY

if TYPE_CHECKING:
    import pandas  # type: ignore[import-untyped]
    import polars
    import pyarrow  # type: ignore[import-untyped]


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

    Whatever runs a search with a ``timeout`` raises `SearchTimeout` where that takes longer, and
    `TimelogError` where the process that tests the pattern cannot run.
    """

    def __init__(
        self,
        layout: Layout,
        storage: Storage,
        index: Index,
        texts: TextIndex,
        view: View,
        filter: Filter,
        *,
        descending: bool,
        limit: int | None,
        salvage: bool,
        start_deadline: Callable[[], Deadline] | None = None,
    ) -> None:
        self._layout = layout
        self._storage = storage
        self._index = index
        self._texts = texts
        self._view = view
        self._filter = filter
        self._descending = descending
        self._limit = limit
        self._salvage = salvage
        self._start_deadline = start_deadline
        self._exclusions = EXCLUSIONS
        self.damage: list[Damage] = []

    def __iter__(self) -> Iterator[Event]:
        """Yield the events in order. Damaged blocks are withheld and named in ``damage``."""
        return chain.from_iterable(self._lists(self._scanner()))

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

    def to_arrow(self) -> pyarrow.RecordBatchReader:
        """The events in order as a stream of Arrow record batches, see `timelog.arrow`.

        Memory holds one batch at a time. DuckDB, Polars and whatever else reads Arrow streams take
        the reader as it is; ``read_all()`` makes a table of it. Needs the extra ``arrow``, as the
        next two; raises `MissingExtra` without it.
        """
        return arrow.reader(self._lists(self._scanner()))

    def to_polars(self) -> polars.DataFrame:
        """All events in order as a Polars frame, in memory."""
        return arrow.to_polars(self.to_arrow())

    def to_pandas(self) -> pandas.DataFrame:
        """All events in order as a pandas frame, in memory."""
        return arrow.to_pandas(self.to_arrow())

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
        scanner.explanation.matched.events = matched
        return scanner.explanation

    def using(self, exclusions: Iterable[str]) -> Results:
        """The same search with only these of `timelog.scan.EXCLUSIONS`, the ways to rule text out.

        The events are the same; ``tools/check_plan.py`` proves that on a log.
        """
        same = copy.copy(self)
        same._exclusions = EXCLUSIONS.intersection(exclusions)
        same.damage = []
        return same

    # -- inside ---------------------------------------------------------------------------

    def _scanner(self) -> Scanner:
        return Scanner(
            self._layout,
            self._storage,
            self._index,
            self._filter,
            self._view.position,
            self.damage,
            salvage=self._salvage,
            deadline=self._start_deadline() if self._start_deadline else None,
            exclusions=self._exclusions,
        )

    def _lists(self, scanner: Scanner) -> Iterator[list[Event]]:
        """The events in order, in lists, up to the limit."""
        left = sys.maxsize if self._limit is None else self._limit
        for events in self._batches(scanner):
            if len(events) >= left:
                yield events[:left]
                return
            yield events
            left -= len(events)

    def _batches(self, scanner: Scanner) -> Iterator[list[Event]]:
        loader = Loader(partial(self._load, scanner), scanner.lines)
        with closing(scanner):
            for parts in self._days(scanner):
                scanner.expect(_blocks_of(parts))
                yield from merge(parts, loader, descending=self._descending)

    def _found(self, scanner: Scanner) -> Iterator[Found]:
        """What each part holds, in no special order of events."""
        with closing(scanner):
            for parts in self._days(scanner):
                scanner.expect(_blocks_of(parts))
                for part in parts:
                    yield self._load(scanner, part.source)

    def _count(self, scanner: Scanner) -> int:
        if self._limit is not None:
            return sum(map(len, self._lists(scanner)))
        total = 0
        with closing(scanner):
            for parts in self._days(scanner):
                blocks = []
                for block in _blocks_of(parts):
                    if scanner.is_counted(block):
                        total += block.count
                    else:
                        blocks.append(block)
                scanner.expect(blocks)
                total += sum(map(scanner.count, blocks))
                for part in parts:
                    if isinstance(part.source, Slice):
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
            yield in_order(parts, descending=self._descending)

    def _blocks(self, scanner: Scanner, day: int) -> Iterator[Block]:
        asked = self._filter
        try:
            segments = self._index.blocks(day, asked.start, asked.end, self._view.position)
        except DamagedError as error:
            scanner.note(damaged_day(day, error))
            return
        scanner.ruling = ruling = None
        size = sum(blocks[-1].end for _, blocks in segments if blocks)
        if scanner.asks_text_index(size):
            scanner.ruling = ruling = self._texts.ruling(day, scanner.need, asked.tags)
        for segment, blocks in segments:
            candidates = ruling.candidates(segment.path, blocks) if ruling else blocks
            scanner.ruled_out(blocks, candidates)
            yield from filter(scanner.may_match, candidates)


def _blocks_of(parts: Iterable[Part[Block | Slice]]) -> list[Block]:
    return [part.source for part in parts if isinstance(part.source, Block)]

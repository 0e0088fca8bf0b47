"""`Results`: a search that has been asked for and runs when it is looked at.

A search holds a view: the position up to which events were committed when it was made, and the
memory files with their lengths. Whatever is appended, flushed or repaired afterwards, it sees the
events of that moment, each once.
"""

from __future__ import annotations

import copy
import sys
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from datetime import datetime
from functools import partial
from itertools import chain, takewhile
from typing import TYPE_CHECKING, NamedTuple

from timelog import arrow
from timelog.damage import Damage
from timelog.deadline import Deadline
from timelog.errors import DamagedError
from timelog.event import Event
from timelog.explain import Explanation
from timelog.filter import Filter
from timelog.horizons import Horizons, Keeping
from timelog.index import Index, damaged_day
from timelog.journal import Block
from timelog.memfile import Slice
from timelog.merge import Loader, Part, in_order, merge
from timelog.names import Layout
from timelog.reader import Replaced
from timelog.scan import EXCLUSIONS, Found, Scanner
from timelog.storage import Storage
from timelog.textindex import TextIndex
from timelog.timestamp import DAY

if TYPE_CHECKING:
    import pandas  # type: ignore[import-untyped]
    import polars
    import pyarrow  # type: ignore[import-untyped]


class View(NamedTuple):
    """What a search sees. Immutable; memory events follow the committed ones in position.

    ``horizons``: what has expired.
    """

    position: int
    memory: tuple[Slice, ...]
    horizons: Horizons

    @property
    def memory_base(self) -> int:
        """What added to an arrival number gives a position behind all committed ones."""
        arrivals = [file.starts[0][0] for file in self.memory if file.starts]
        return self.position - min(arrivals, default=0)


class _Day(NamedTuple):
    """A day, and what memory has of it."""

    start: int
    memory: list[Slice]


class _Passed:
    """Which events of a day were passed on, when it has to be begun again.

    Noted are the time of the last one, and the ids that were passed on with that very time.
    """

    def __init__(self, *, descending: bool) -> None:
        self._descending = descending
        self._time: datetime | None = None
        self._ids: list[str] = []
        self._skipped: Counter[str] | None = None

    def note(self, events: list[Event]) -> None:
        """Note events that come behind all before."""
        time = events[-1].timestamp
        same = list(takewhile(lambda event: event.timestamp == time, reversed(events)))
        if time != self._time:
            self._ids.clear()
        self._ids += [event.id for event in same]
        self._time = time

    def begin_again(self) -> None:
        """The events come once more from the first on."""
        self._skipped = Counter(self._ids)

    def left(self, events: list[Event]) -> list[Event]:
        """Those that were not passed on."""
        if self._skipped is None or self._time is None:
            return events
        return [event for event in events if self._is_new(event, self._time, self._skipped)]

    def _is_new(self, event: Event, time: datetime, skipped: Counter[str]) -> bool:
        if event.timestamp == time:
            skipped[event.id] -= 1
            return skipped[event.id] < 0
        return event.timestamp < time if self._descending else event.timestamp > time


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
        gone: str = "",
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
        self._gone = gone
        self._exclusions = EXCLUSIONS
        self.damage: list[Damage] = []

    @property
    def gone(self) -> str:
        """What an answer ``as_of`` a position has no more, in a sentence; else ``""``.

        Something that was committed before the position, and may be in the range asked for, has
        expired since, or lies before what expires. Deleted events are not told of.
        """
        return self._gone

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

    def first_arrived(self) -> tuple[int, Event] | None:
        """Of the matching events the one with the lowest position, behind that; or None."""
        scanner = self._scanner()
        best: tuple[int, Event] | None = None
        for found in self._found(scanner):
            for position, event in zip(found.positions(), found.events, strict=True):
                if best is None or position < best[0]:
                    best = position, event
        return best

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
            Keeping(self._view.horizons),
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
            for day in self._days(scanner):
                yield from self._again(partial(self._day_in_order, scanner, loader, day))

    def _day_in_order(
        self, scanner: Scanner, loader: Loader[Block | Slice, Event], day: _Day
    ) -> Iterator[list[Event]]:
        parts = self._parts(scanner, day)
        scanner.expect(_blocks_of(parts))
        return merge(parts, loader, descending=self._descending)

    def _again(self, run: Callable[[], Iterator[list[Event]]]) -> Iterator[list[Event]]:
        """Yield what ``run`` does; where segments were replaced meanwhile, go on with the new ones.

        These hold the same events in the same order, so those that were passed on are left out.
        """
        passed = _Passed(descending=self._descending)
        while True:
            try:
                for events in run():
                    if left := passed.left(events):
                        passed.note(left)
                        yield left
                return
            except Replaced:
                passed.begin_again()

    def _found(self, scanner: Scanner) -> Iterator[Found[Event]]:
        """What each part holds, in no special order of events; some perhaps twice."""
        with closing(scanner):
            for day in self._days(scanner):
                while True:
                    parts = self._parts(scanner, day)
                    scanner.expect(_blocks_of(parts))
                    try:
                        for part in parts:
                            yield self._load(scanner, part.source)
                        break
                    except Replaced:
                        continue

    def _count(self, scanner: Scanner) -> int:
        if self._limit is not None:
            return sum(map(len, self._lists(scanner)))
        total = 0
        with closing(scanner):
            for day in self._days(scanner):
                while True:
                    try:
                        total += self._count_day(scanner, day)
                        break
                    except Replaced:
                        continue
        return total

    def _count_day(self, scanner: Scanner, day: _Day) -> int:
        total = 0
        parts = self._parts(scanner, day)
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

    def _load(self, scanner: Scanner, source: Block | Slice) -> Found[Event]:
        if isinstance(source, Block):
            return scanner.block(source)
        return scanner.memory(source, self._view.memory_base)

    def _days(self, scanner: Scanner) -> Iterator[_Day]:
        """The days that may have matching events, in order."""
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
            yield _Day(day, memory.get(day, []))

    def _parts(self, scanner: Scanner, day: _Day) -> list[Part[Block | Slice]]:
        """The parts of a day that may hold matching events, in order."""
        parts: list[Part[Block | Slice]] = [
            Part(block.first, block.last, block) for block in self._blocks(scanner, day.start)
        ]
        parts += (Part(file.span.start, file.span.end - 1, file) for file in day.memory)
        return in_order(parts, descending=self._descending)

    def _blocks(self, scanner: Scanner, day: int) -> Iterator[Block]:
        asked = self._filter
        try:
            segments = self._index.blocks(day, asked.start, asked.end, self._view.position)
            scanner.deleted = self._index.deleted(day)
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

"""`Scanner`: from blocks and memory files to the events that match.

From coarse to fine: blocks by time, tags and sources without reading; lines that cannot match by
their raw text; then the exact tests of what was decoded. Raw text only ever excludes.
"""

from __future__ import annotations

import time
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from itertools import compress, islice
from typing import Generic, TypeVar

from timelog import positions
from timelog.ahead import Ahead
from timelog.codec import DecodeError, decode_contents, decode_line, decode_lines, to_event
from timelog.damage import Damage
from timelog.deadline import Deadline, KillableMatcher
from timelog.event import Event
from timelog.explain import Explanation
from timelog.filter import Filter
from timelog.finder import make_finder
from timelog.horizons import Keeping
from timelog.index import Index
from timelog.journal import Block
from timelog.memfile import Slice
from timelog.names import Layout
from timelog.reader import BlockReader, Raw, Reading, Stretch, stretches
from timelog.required import NOTHING, clauses
from timelog.storage import Storage
from timelog.taglines import Held
from timelog.textindex import Ruling
from timelog.timestamp import to_text

# The ways of ruling text out: what the index says of a block; the text index; looking through raw
# text with hyperscan, or for the required texts.
BLOCKS, TEXT_INDEX, HYPERSCAN, TEXTS = "blocks", "text index", "hyperscan", "texts"
EXCLUSIONS = frozenset({BLOCKS, TEXT_INDEX, HYPERSCAN, TEXTS})

# Bytes that the asking thread reads itself before it takes helpers.
_INLINE = 4 * 1024 * 1024
# Asking the text index costs more than reading so many bytes.
_WORTH = 1024 * 1024


_Event = TypeVar("_Event")


class Found(Generic[_Event]):
    """Matching events of a block or memory file, in the order of its lines.

    Their numbers (which line of the block each is) and positions are worked out when somebody
    asks: only parts that overlap need them. ``is_withheld``: the block is damaged.
    """

    is_withheld = False

    def __init__(
        self,
        events: list[_Event],
        numbers: Callable[[], Sequence[int]],
        place: Callable[[Sequence[int]], Sequence[int]],
    ) -> None:
        self.events = events
        self.numbers = numbers
        self._place = place

    def positions(self) -> Sequence[int]:
        """The position of each event."""
        return self._place(self.numbers())

    def chosen(self, passed: list[bool]) -> Found[_Event]:
        """Those for which ``passed`` says so."""
        if all(passed):
            return self
        numbers = self.numbers
        return Found(
            list(compress(self.events, passed)),
            lambda: list(compress(numbers(), passed)),
            self._place,
        )


_NOTHING: Found[Event] = Found([], tuple, tuple)
_WITHHELD: Found[Event] = Found([], tuple, tuple)
_WITHHELD.is_withheld = True
_OTHER_NUMBER = "the index says another number of events than there are"


class Scanner:
    """Reads blocks for one run of one search. Not thread-safe; `close` it.

    ``position`` is the view's bound: events from it on are left out, as is what has expired, by
    ``keeping``. What is damaged is added to ``damage``. With a ``deadline`` each step may raise
    `SearchTimeout`.
    """

    def __init__(
        self,
        layout: Layout,
        storage: Storage,
        index: Index,
        filter: Filter,
        position: int,
        keeping: Keeping,
        damage: list[Damage],
        *,
        salvage: bool,
        deadline: Deadline | None,
        exclusions: frozenset[str],
    ) -> None:
        self._deadline = deadline
        self._matcher: KillableMatcher | None = None
        if deadline is not None and filter.pattern is not None and not filter.pattern.is_linear:
            self._matcher = KillableMatcher(filter.pattern.compiled, deadline)
            pattern = filter.pattern._replace(select=self._matcher.select)
            filter = filter._replace(pattern=pattern)
        self._index = index
        self._filter = filter
        self._position = position
        self._keeping = keeping
        self._salvage = salvage
        self.need = filter.need()
        # What still reads of damaged lines is found by reading all of them.
        self._exclusions = frozenset() if salvage else exclusions
        required = clauses(self.need) if TEXTS in self._exclusions else []
        expression = filter.expression() if HYPERSCAN in self._exclusions else None
        finder = make_finder(expression, filter.beside(), required)
        self._reader = BlockReader(layout, storage, index, finder)
        self._all = BlockReader(layout, storage, index, None)
        self._ahead = Ahead(self._reader.fetch, _length, _INLINE)
        self._coming: Iterator[Raw] = iter(())
        # What the text index says of the blocks that come next.
        self.ruling: Ruling | None = None
        # The positions of the deleted events of the day that comes next, in order.
        self.deleted: Sequence[int] = ()
        self._places: dict[tuple[str, int], int] = {}
        self._place = 0
        self._began = time.perf_counter()
        self._damage = damage
        self._noted: set[Damage] = set()
        self.explanation = Explanation(
            need=str(self.need), engine=finder.name if finder else "decoding every line"
        )

    def close(self) -> None:
        """Let go of the helpers, and note the time taken."""
        self._ahead.close()
        if self._matcher is not None:
            self._matcher.close()
        self.explanation.milliseconds = (time.perf_counter() - self._began) * 1000

    def asks_text_index(self, size: int) -> bool:
        """Whether the text index is to be asked about blocks of ``size`` bytes."""
        return size > _WORTH and TEXT_INDEX in self._exclusions and self.need != NOTHING

    def ruled_out(self, blocks: Sequence[Block], candidates: Sequence[Block]) -> None:
        """Count the blocks that are not among ``candidates`` as skipped by the text index."""
        if len(candidates) == len(blocks):
            return
        left = set(map(id, candidates))
        gone = [block for block in blocks if id(block) not in left] if left else blocks
        self.explanation.range.add_all(gone)
        self.explanation.text_index.add_all(gone)

    def may_match(self, block: Block) -> bool:
        """Whether a block can have matching events, by what the index knows of it."""
        asked = self._filter
        self.explanation.range.add(block)
        if BLOCKS not in self._exclusions:
            return True
        if (asked.end is not None and block.first >= asked.end) or (
            asked.start is not None and block.last < asked.start
        ):
            self.explanation.time.add(block)
        elif block.tags is not None and not asked.tags.issubset(block.tags):
            self.explanation.tags.add(block)
        elif (
            asked.by_source
            and block.sources is not None
            and asked.sources.isdisjoint(block.sources)
        ):
            self.explanation.source.add(block)
        elif self._keeping.hides_all(block):
            self.explanation.expired.add(block)
        else:
            return True
        return False

    def is_counted(self, block: Block) -> bool:
        """Whether the block's count is the number of its matching events."""
        if not (self._filter.is_only_time and self._is_whole(block)):
            return False
        self.explanation.counted.add(block)
        return True

    def expect(self, blocks: Iterable[Block]) -> None:
        """Read ahead: these blocks will be asked for next, in this order."""
        coming = list(blocks)
        self._places = {(block.path, block.offset): n for n, block in enumerate(coming)}
        self._place = 0
        self._coming = self._raws(stretches(coming, self._held))

    def block(self, block: Block) -> Found[Event]:
        """The matching events of a block; a damaged one is withheld and named in ``damage``."""
        raw = self._take(block)
        return self._passed(self._decoded(raw), block)

    def count(self, block: Block) -> int:
        """How many events of a block match."""
        raw = self._take(block)
        pattern = self._filter.pattern
        if (
            raw.problem
            or not raw.text
            or pattern is None
            or not (self._filter.is_only_pattern and self._is_whole(block))
        ):
            return len(self._passed(self._decoded(raw), block).events)
        began = time.perf_counter()
        try:
            contents = decode_contents(raw.text)
        except DecodeError:
            return len(self._passed(self._decoded(raw), block).events)
        decoded = time.perf_counter()
        count = sum(pattern.select(contents))
        self._count_decoded(raw, len(contents), decoded - began)
        self.explanation.matched.milliseconds += (time.perf_counter() - decoded) * 1000
        return count

    def _passed(self, found: Found[Event], block: Block) -> Found[Event]:
        """Those of the decoded events that pass all tests."""
        if not found.events:
            return found
        began = time.perf_counter()
        for test in self._filter.tests(check_time=not self._filter.covers(block)):
            found = found.chosen(test(found.events))
        if block.position_end > self._position:
            found = found.chosen([position < self._position for position in found.positions()])
        if deleted := self._deleted_in(block):
            found = found.chosen([position not in deleted for position in found.positions()])
        if self._keeping.may_hide(block):
            found = found.chosen(self._keeping.keeps(found.events))
        self.explanation.matched.milliseconds += (time.perf_counter() - began) * 1000
        return found

    def memory(self, file: Slice, base: int) -> Found[Event]:
        """The matching events of a memory file; positions are arrival numbers plus ``base``."""
        asked = self._filter
        low = to_text(asked.start) if asked.start is not None else ""
        high = to_text(asked.end) if asked.end is not None else "~"
        lines, numbers = [], []
        for number, line in enumerate(islice(file.lines, file.length)):
            if (
                low <= line.timestamp < high
                and (asked.id is None or line.id == asked.id)
                and (not asked.by_source or line.source in asked.sources)
                and asked.tags.issubset(line.tags)
            ):
                lines.append(line)
                numbers.append(number)
        runs = file.runs(base)
        self.explanation.memory.events += file.length
        if asked.pattern is not None:
            passed = asked.pattern.select([line.content for line in lines])
            lines, numbers = list(compress(lines, passed)), list(compress(numbers, passed))
        found = Found(
            list(map(to_event, lines)),
            lambda: numbers,
            lambda chosen: positions.at(runs, file.length, chosen),
        )
        if asked.where is not None:
            found = found.chosen([bool(asked.where(event)) for event in found.events])
        if file.span.start < self._keeping.high:
            found = found.chosen(self._keeping.keeps(found.events))
        return found

    def lines(self, source: Block | Slice, numbers: list[int]) -> list[Event]:
        """The events of the lines with these numbers; none where the block is damaged by now."""
        if isinstance(source, Slice):
            return [to_event(source.lines[number]) for number in numbers]
        held = self._held(source)
        only = (held,) if held is not None and set(numbers).issubset(held.numbers) else ()
        (raw,) = self._all.read(Stretch((source,), only)).raws
        if raw.numbers is not None:
            by_number = dict(zip(raw.numbers, bytes(raw.text).split(b"\n"), strict=False))
            return decode_lines(b"\n".join([by_number[number] for number in numbers]))
        lines = raw.whole.split(b"\n")
        if raw.problem:
            self._note(raw)
            return [decode_line(lines[number]) for number in numbers] if self._salvage else []
        return decode_lines(b"\n".join([lines[number] for number in numbers]))

    def note(self, damage: Damage) -> None:
        """Report damage, once, to the search and to the log."""
        self._index.found_damage(damage)
        self._index.tell()
        if damage not in self._damage:
            self._damage.append(damage)

    # -- inside ---------------------------------------------------------------------------

    def _is_whole(self, block: Block) -> bool:
        """Whether all events of a block are within the view and the range of time."""
        return (
            block.position_end <= self._position
            and self._filter.covers(block)
            and not self._deleted_in(block)
            and not self._keeping.may_hide(block)
        )

    def _deleted_in(self, block: Block) -> frozenset[int]:
        """The positions of deleted events that may be in a block."""
        if not self.deleted:
            return frozenset()
        low, end = positions.ends(block.runs)
        return frozenset(
            self.deleted[bisect_left(self.deleted, low) : bisect_left(self.deleted, end)]
        )

    def _held(self, block: Block) -> Held | None:
        """The lines of a block that may match, where the text index says which; else None."""
        return self.ruling.held(block) if self.ruling else None

    def _take(self, block: Block) -> Raw:
        """What reading the block gave: read ahead, or now."""
        if self._deadline is not None:
            self._deadline.check()
        place = self._places.get((block.path, block.offset), -1)
        if place < self._place:
            raw = next(self._raws(stretches([block], self._held)))
        else:
            # Those between are not asked for any more.
            raw = next(islice(self._coming, place - self._place, None))
            self._place = place + 1
        return raw

    def _raws(self, coming: Iterable[Stretch]) -> Iterator[Raw]:
        for fetched in self._ahead.results(coming):
            reading = self._reader.examine(fetched)
            self._count_read(reading)
            yield from reading.raws

    def _decoded(self, raw: Raw) -> Found[Event]:
        """Decode the lines that may match."""
        if raw.problem:
            return self._withheld(raw)
        if not raw.text:
            return _NOTHING
        began = time.perf_counter()
        try:
            events = decode_lines(raw.text)
        except DecodeError as error:
            # Its crc held: it was written like this.
            return self._withheld(raw._replace(problem=_not_an_event(error)))
        block, is_all = raw.block, raw.starts is None and raw.numbers is None
        if not positions.fits(block.runs, block.count) or (is_all and len(events) != block.count):
            return self._withheld(raw._replace(problem=_OTHER_NUMBER))
        self._count_decoded(raw, len(events), time.perf_counter() - began)
        return Found(events, partial(_numbers, raw), partial(_positions, raw.block))

    def _withheld(self, raw: Raw) -> Found[Event]:
        """What can be had of a damaged block."""
        self._note(raw)
        if not self._salvage:
            return _WITHHELD
        found = _salvage(raw.block, raw.whole)
        self._count_decoded(raw, len(found.events), 0)
        return found

    def _note(self, raw: Raw) -> None:
        block = raw.block
        damage = Damage(block.path, block.offset, block.length, raw.problem)
        self.note(damage)
        if damage not in self._noted:
            self._noted.add(damage)
            self.explanation.damaged.add(block)

    def _count_read(self, reading: Reading) -> None:
        told = self.explanation
        told.read.milliseconds += reading.read * 1000
        told.text.milliseconds += reading.found * 1000
        for raw in reading.raws:
            told.read.add(raw.block)
            if raw.numbers is not None:
                told.read.events += len(raw.numbers) - raw.block.count
                told.read.bytes += len(raw.text) - raw.block.length
            if not raw.text and not raw.problem:
                told.text.add(raw.block)

    def _count_decoded(self, raw: Raw, events: int, seconds: float) -> None:
        stage = self.explanation.decoded
        stage.add(raw.block)
        stage.events += events - raw.block.count
        stage.bytes += len(raw.text) - raw.block.length
        stage.milliseconds += seconds * 1000


def _length(stretch: Stretch) -> int:
    # Reading single lines is no work for helpers: each lets go of the interpreter.
    return 0 if stretch.held else stretch.length


def _not_an_event(error: DecodeError) -> str:
    return f"a line is not an event: {error}"


def _numbers(raw: Raw) -> Sequence[int]:
    """The number of each candidate line in its block."""
    if raw.numbers is not None:
        return raw.numbers
    if raw.starts is None:
        return range(raw.block.count)
    return _line_numbers(raw.data, raw.start, raw.starts)


def _line_numbers(data: bytes, at: int, starts: list[int]) -> list[int]:
    """The number of each line in a block that begins ``at``, from where the line starts."""
    numbers = []
    number = 0
    for start in starts:
        number += data.count(b"\n", at, start)
        at = start
        numbers.append(number)
    return numbers


def _positions(block: Block, numbers: Sequence[int]) -> Sequence[int]:
    """The positions of the lines with these numbers."""
    return positions.at(block.runs, block.count, numbers)


def _salvage(block: Block, data: bytes) -> Found[Event]:
    """Decode what parses, line by line; where lines were split, the last positions repeat."""
    events, numbers = [], []
    for number, line in enumerate(data.split(b"\n")):
        try:
            events.append(decode_line(line))
        except (DecodeError, UnicodeDecodeError):
            continue
        numbers.append(number)
    last = block.count - 1
    return Found(
        events,
        lambda: numbers,
        lambda numbers: _positions(block, [min(number, last) for number in numbers]),
    )

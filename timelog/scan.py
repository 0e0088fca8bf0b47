"""`Scanner`: from a block's bytes, or a memory file, to the events that match.

From coarse to fine: blocks by time, tags and sources without reading; text that cannot match;
then only candidate lines are decoded, and the exact test decides. Raw text only ever excludes.
"""

from __future__ import annotations

import os
import time
import zlib
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import compress, islice

from timelog.codec import DecodeError, decode_line, decode_lines, to_event
from timelog.damage import Damage
from timelog.event import Event
from timelog.explain import Explanation
from timelog.filter import Filter
from timelog.index import Index
from timelog.journal import Block
from timelog.memfile import Slice
from timelog.names import Layout
from timelog.storage import open_read, read_at
from timelog.timestamp import to_text

# Above one candidate in so many lines, decoding the whole block at once is faster.
_DENSE = 4


class Found:
    """Matching events of a block or memory file, in order of position.

    Their numbers (which line of the block each is) and positions are worked out when somebody
    asks: only parts that overlap need them.
    """

    def __init__(
        self,
        events: list[Event],
        numbers: Callable[[], Sequence[int]],
        place: Callable[[Sequence[int]], Sequence[int]],
    ) -> None:
        self.events = events
        self.numbers = numbers
        self._place = place

    def positions(self) -> Sequence[int]:
        """The position of each event."""
        return self._place(self.numbers())

    def chosen(self, passed: list[bool]) -> Found:
        """Those for which ``passed`` says so."""
        if all(passed):
            return self
        numbers = self.numbers
        return Found(
            list(compress(self.events, passed)),
            lambda: list(compress(numbers(), passed)),
            self._place,
        )


_NOTHING = Found([], tuple, tuple)


class Scanner:
    """Reads blocks for one run of one search. Not thread-safe; `close` it.

    ``position`` is the view's bound: events from it on are left out. What is damaged is added to
    ``damage``.
    """

    def __init__(
        self,
        layout: Layout,
        index: Index,
        filter: Filter,
        position: int,
        damage: list[Damage],
        *,
        salvage: bool,
    ) -> None:
        self._layout = layout
        self._index = index
        self._filter = filter
        self._position = position
        self._salvage = salvage
        self._needles = filter.needles()
        # What is looked for first: the longest, without the quotes, which are everywhere.
        probes = [needle.strip(b'"') or needle for needle in self._needles]
        self._probe = max(probes, key=len, default=b"")
        self._path = ""
        self._fd = -1
        self._began = time.perf_counter()
        self._damage = damage
        self._noted: set[Damage] = set()
        self.explanation = Explanation(needles=tuple(needle.decode() for needle in self._needles))

    def close(self) -> None:
        """Close the file that is open, and note the time taken."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
            self._path = ""
        self.explanation.milliseconds = (time.perf_counter() - self._began) * 1000

    def may_match(self, block: Block) -> bool:
        """Whether a block can have matching events, by what the index knows of it."""
        asked = self._filter
        self.explanation.blocks += 1
        if (asked.end is not None and block.first >= asked.end) or (
            asked.start is not None and block.last < asked.start
        ):
            self.explanation.blocks_by_time += 1
        elif block.tags is not None and not asked.tags.issubset(block.tags):
            self.explanation.blocks_by_tags += 1
        elif (
            asked.by_source
            and block.sources is not None
            and asked.sources.isdisjoint(block.sources)
        ):
            self.explanation.blocks_by_source += 1
        else:
            return True
        return False

    def is_counted(self, block: Block) -> bool:
        """Whether the block's count is the number of its matching events."""
        whole = block.runs[-2] + block.runs[-1] <= self._position
        return whole and self._filter.is_only_time and self._filter.covers(block)

    def block(self, block: Block) -> Found:
        """The matching events of a block; a damaged one is withheld and named in ``damage``."""
        data = self._read(block)
        if data is None:
            return _NOTHING
        self.explanation.bytes_read += len(data)
        if self._is_intact(block, data):
            self.explanation.lines += block.count
            try:
                found = self._candidates(block, data)
            except DecodeError as error:
                # Its crc held: it was written like this.
                self._damaged(block, f"a line is not an event: {error}")
                if not self._salvage:
                    return _NOTHING
                found = _salvage(block, data)
        elif self._salvage:
            found = _salvage(block, data)
        else:
            return _NOTHING
        self.explanation.decoded += len(found.events)
        for test in self._filter.tests(check_time=not self._filter.covers(block)):
            found = found.chosen([bool(test(event)) for event in found.events])
        if block.runs[-2] + block.runs[-1] > self._position:
            found = found.chosen([position < self._position for position in found.positions()])
        return found

    def memory(self, file: Slice, base: int) -> Found:
        """The matching events of a memory file; positions are arrival numbers plus ``base``."""
        asked = self._filter
        low = to_text(asked.start) if asked.start is not None else ""
        high = to_text(asked.end) if asked.end is not None else "~"
        events, numbers = [], []
        matches = asked.pattern.matches if asked.pattern else None
        self.explanation.in_memory += file.length
        for number, line in enumerate(islice(file.lines, file.length)):
            if (
                low <= line.timestamp < high
                and (not asked.by_source or line.source in asked.sources)
                and asked.tags.issubset(line.tags)
                and (matches is None or matches(line.content))
            ):
                event = to_event(line)
                if asked.where is None or asked.where(event):
                    events.append(event)
                    numbers.append(number)
        runs = file.runs(base)
        return Found(events, lambda: numbers, lambda numbers: list(_spread(runs, numbers)))

    def lines(self, source: Block | Slice, numbers: list[int]) -> list[Event]:
        """The events of the lines with these numbers; none where the block is damaged by now."""
        if isinstance(source, Slice):
            return [to_event(source.lines[number]) for number in numbers]
        data = self._read(source)
        if data is None:
            return []
        lines = data.split(b"\n")
        if not self._is_intact(source, data):
            return [decode_line(lines[number]) for number in numbers] if self._salvage else []
        return decode_lines(b"\n".join([lines[number] for number in numbers]))

    # -- inside ---------------------------------------------------------------------------

    def _candidates(self, block: Block, data: bytes) -> Found:
        """Decode the lines that may match."""
        place = partial(_positions, block)
        chosen = self._lines_with_needles(data, block.count // _DENSE) if self._needles else None
        if chosen is None:
            return Found(decode_lines(data), lambda: range(block.count), place)
        starts, lines = chosen
        if not lines:
            self.explanation.blocks_by_text += 1
            return _NOTHING
        return Found(decode_lines(b"".join(lines)), lambda: _line_numbers(data, starts), place)

    def _lines_with_needles(self, data: bytes, most: int) -> tuple[list[int], list[bytes]] | None:
        """The lines that contain all needles, and where they start.

        None where more than ``most`` lines would have to be looked at: decoding all is then faster.
        """
        starts, lines = [], []
        seen = end = 0
        while (hit := data.find(self._probe, end)) >= 0:
            seen += 1
            if seen > most:
                return None
            start = data.rfind(b"\n", end, hit) + 1 or end
            end = data.find(b"\n", hit) + 1
            line = data[start:end]
            if all(needle in line for needle in self._needles):
                starts.append(start)
                lines.append(line)
        return starts, lines

    def _read(self, block: Block) -> bytes | None:
        """The bytes where a block should be, as many as there are; None where that fails."""
        try:
            if block.path != self._path:
                self.close()
                self._fd = open_read(self._layout.segment(block.path))
                self._path = block.path
            return read_at(self._fd, block.offset, block.length)
        except OSError as error:
            self._damaged(block, f"cannot be read: {error.strerror or error}")
            return None

    def _is_intact(self, block: Block, data: bytes) -> bool:
        """Whether ``data`` is what was written; if not, it is reported."""
        if len(data) != block.length:
            self._damaged(block, "the file is too short")
        elif zlib.crc32(data, block.seed) != block.crc:
            self._damaged(block, "the crc does not hold")
        else:
            return True
        return False

    def _damaged(self, block: Block, reason: str) -> None:
        damage = Damage(block.path, block.offset, block.length, reason)
        self.note(damage)

    def note(self, damage: Damage) -> None:
        """Report damage, once, to the search and to the log."""
        self._index.found_damage(damage)
        self._index.tell()
        if damage not in self._noted:
            self._noted.add(damage)
            self.explanation.damaged += 1
        if damage not in self._damage:
            self._damage.append(damage)


def _line_numbers(data: bytes, starts: list[int]) -> list[int]:
    """The number of each line in a block, from where it starts."""
    numbers = []
    number = at = 0
    for start in starts:
        number += data.count(b"\n", at, start)
        at = start
        numbers.append(number)
    return numbers


def _positions(block: Block, numbers: Sequence[int]) -> Sequence[int]:
    """The positions of the lines with these numbers."""
    first = block.runs[0]
    if len(block.runs) == 2:
        return [first + number for number in numbers]
    return list(_spread(block.runs, numbers))


def _spread(runs: tuple[int, ...], numbers: Sequence[int]) -> Iterator[int]:
    at = passed = 0
    for number in numbers:
        while number >= passed + runs[at + 1]:
            passed += runs[at + 1]
            at += 2
        yield runs[at] + number - passed


def _salvage(block: Block, data: bytes) -> Found:
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

"""`MemoryFile`: the events of one minute that are not on disk yet.

Made by the buffer when the first event of a minute arrives, changed only under the buffer's lock,
frozen when a flush takes it, dropped in the step that publishes the flush's commit. Its lines
only ever grow, so a reader that noted their number sees the same events for ever.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from timelog.codec import Line
from timelog.names import SegmentName
from timelog.span import Span
from timelog.timestamp import to_text


class MemoryFile:
    """One minute's events in order of arrival. Not thread-safe by itself."""

    def __init__(self, span: Span) -> None:
        self.span = span
        # What the texts of all its timestamps begin with: 2026-11-21T10:15:
        self.front = to_text(span.start)[:17]
        self.lines: list[Line] = []
        # (arrival number, index): from that index on, arrival numbers count up from there.
        self.starts: list[tuple[int, int]] = []

    @property
    def name(self) -> str:
        """The minute-span file name that the buffer keeps it under."""
        return SegmentName(self.span, 1).file


class Slice(NamedTuple):
    """The first ``length`` lines of a memory file: what a reader or a flush may look at."""

    span: Span
    lines: list[Line]
    starts: tuple[tuple[int, int], ...]
    length: int

    @classmethod
    def of(cls, file: MemoryFile) -> Slice:
        """What ``file`` holds now (the buffer's lock must be held)."""
        return cls(file.span, file.lines, tuple(file.starts), len(file.lines))

    def runs(self, base: int) -> tuple[int, ...]:
        """The positions of its lines as runs, ``base`` added: position, count, position …"""
        return tuple(
            number for arrival, lines in self.stretches() for number in (arrival + base, len(lines))
        )

    def stretches(self) -> Iterator[tuple[int, list[Line]]]:
        """Yield (arrival number of the first, lines) for each unbroken run of arrivals."""
        ends = [index for _, index in self.starts[1:]] + [self.length]
        for (arrival, begin), end in zip(self.starts, ends, strict=False):
            yield arrival, self.lines[begin:end]


def in_arrival_order(slices: Iterable[Slice]) -> tuple[list[Line], list[tuple[int, int]]]:
    """Merge files into one list in order of arrival, with (arrival number, count) runs."""
    stretches = sorted(
        (stretch for file in slices for stretch in file.stretches()), key=lambda stretch: stretch[0]
    )
    lines: list[Line] = []
    runs: list[tuple[int, int]] = []
    for arrival, part in stretches:
        lines += part
        if runs and sum(runs[-1]) == arrival:
            runs[-1] = (runs[-1][0], runs[-1][1] + len(part))
        else:
            runs.append((arrival, len(part)))
    return lines, runs

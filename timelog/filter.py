"""`Filter`: what a search asks for, as tests of an event and as texts that a line must have."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from timelog.codec import json_text
from timelog.event import Event
from timelog.journal import Block
from timelog.pattern import Pattern
from timelog.timestamp import to_datetime


class Filter(NamedTuple):
    """What a search asks for. ``start`` and ``end`` in microseconds, None for open."""

    start: int | None
    end: int | None
    tags: frozenset[str]
    sources: frozenset[str]
    pattern: Pattern | None
    where: Callable[[Event], object] | None
    # Whether a source was asked for: of an empty choice no event has one.
    by_source: bool

    @property
    def is_only_time(self) -> bool:
        """Whether it asks for nothing but a range of time."""
        return not (self.tags or self.by_source or self.pattern or self.where)

    def covers(self, block: Block) -> bool:
        """Whether every event of ``block`` is within the range of time."""
        return (self.start is None or self.start <= block.first) and (
            self.end is None or block.last < self.end
        )

    def needles(self) -> list[bytes]:
        """Texts that each matching line contains, as JSON writes them."""
        needles = [b'"%b"' % json_text(tag) for tag in sorted(self.tags)]
        if len(self.sources) == 1:
            needles.append(b'"source":"%b"' % json_text(next(iter(self.sources))))
        if self.pattern and self.pattern.needle:
            needles.append(self.pattern.needle)
        return needles

    def tests(self, *, check_time: bool) -> list[Callable[[Event], object]]:
        """The exact tests, cheapest first."""
        tests: list[Callable[[Event], object]] = []
        if check_time and self.start is not None:
            start = to_datetime(self.start)
            tests.append(lambda event: event.timestamp >= start)
        if check_time and self.end is not None:
            end = to_datetime(self.end)
            tests.append(lambda event: event.timestamp < end)
        if self.by_source:
            tests.append(lambda event: event.source in self.sources)
        if self.tags:
            tests.append(lambda event: self.tags.issubset(event.tags))
        if self.pattern:
            matches = self.pattern.matches
            tests.append(lambda event: matches(event.content))
        if self.where:
            tests.append(self.where)
        return tests

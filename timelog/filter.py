"""`Filter`: what a search asks for, as tests of an event and as what a line must have."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from timelog.codec import json_text
from timelog.event import Event
from timelog.journal import Block
from timelog.pattern import Pattern
from timelog.required import Need, Text, all_of, any_of
from timelog.timestamp import to_datetime
from timelog.widen import one_of


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
    id: str | None = None

    @property
    def is_only_time(self) -> bool:
        """Whether it asks for nothing but a range of time."""
        return self.is_only_pattern and self.pattern is None

    @property
    def is_only_pattern(self) -> bool:
        """Whether it asks for nothing but a range of time and a pattern."""
        return not (self.tags or self.by_source or self.where is not None or self.id is not None)

    def covers(self, block: Block) -> bool:
        """Whether every event of ``block`` is within the range of time."""
        return (self.start is None or self.start <= block.first) and (
            self.end is None or block.last < self.end
        )

    def need(self) -> Need:
        """What each matching line has, as JSON writes it."""
        pattern = (self.pattern.need,) if self.pattern else ()
        clauses = (*self._ids(), *self._sources(), *self._tags())
        return all_of((*map(any_of, clauses), *pattern))

    def expression(self) -> bytes | None:
        """What each matching line matches, for a fast engine; None where that says nothing."""
        # In the order of a line. Tags may come in any order there, so it names just one.
        clauses = (*self._ids(), *self._sources(), *self._tags()[:1])
        parts = list(map(one_of, clauses))
        if self.pattern and self.pattern.expression:
            parts.append(self.pattern.expression)
        return b"[^\\x0a]*".join(parts) or None

    def beside(self) -> list[tuple[Text, ...]]:
        """What each matching line has that `expression` says nothing of."""
        return self._tags()[1:]

    def tests(self, *, check_time: bool) -> list[Callable[[list[Event]], list[bool]]]:
        """The exact tests of a list of events, cheapest first."""
        tests: list[Callable[[list[Event]], list[bool]]] = []
        if check_time and self.start is not None:
            start = to_datetime(self.start)
            tests.append(lambda events: [event.timestamp >= start for event in events])
        if check_time and self.end is not None:
            end = to_datetime(self.end)
            tests.append(lambda events: [event.timestamp < end for event in events])
        if self.id is not None:
            tests.append(lambda events: [event.id == self.id for event in events])
        if self.by_source:
            tests.append(lambda events: [event.source in self.sources for event in events])
        if self.tags:
            tests.append(lambda events: [self.tags.issubset(event.tags) for event in events])
        if self.pattern:
            select = self.pattern.select
            tests.append(lambda events: select([event.content for event in events]))
        if self.where is not None:
            where = self.where
            tests.append(lambda events: [bool(where(event)) for event in events])
        return tests

    def _ids(self) -> list[tuple[Text, ...]]:
        return [] if self.id is None else [(Text(b'"id":"%b"' % json_text(self.id)),)]

    def _sources(self) -> list[tuple[Text, ...]]:
        names = sorted(self.sources)
        return [tuple(Text(b'"source":"%b"' % json_text(name)) for name in names)] if names else []

    def _tags(self) -> list[tuple[Text, ...]]:
        # The longest first: it is the rarest, as far as one can tell.
        names = sorted(self.tags, key=lambda name: (-len(name), name))
        return [(Text(b'"%b"' % json_text(name)),) for name in names]


EVERYTHING = Filter(None, None, frozenset(), frozenset(), None, None, by_source=False)

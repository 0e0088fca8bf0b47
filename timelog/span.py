"""Spans: half-open ranges ``[start, end)`` of UTC, the one interval convention of the library.

Times are microseconds since 1970. A segment's span is a minute, an hour or a day, aligned to
itself, so every span lies within exactly one day.
"""

from __future__ import annotations

from typing import NamedTuple

from timelog.timestamp import DAY, HOUR, MINUTE


class Span(NamedTuple):
    """A half-open range of time, ``start`` inclusive, ``end`` exclusive, in microseconds."""

    start: int
    end: int

    @classmethod
    def minute(cls, us: int) -> Span:
        """The minute that holds ``us``."""
        return cls._aligned(us, MINUTE)

    @classmethod
    def hour(cls, us: int) -> Span:
        """The hour that holds ``us``."""
        return cls._aligned(us, HOUR)

    @classmethod
    def day(cls, us: int) -> Span:
        """The UTC day that holds ``us``: its partition."""
        return cls._aligned(us, DAY)

    @classmethod
    def _aligned(cls, us: int, length: int) -> Span:
        start = us - us % length
        return cls(start, start + length)

    @property
    def is_aligned(self) -> bool:
        """Whether this is a minute, an hour or a day, aligned to itself."""
        length = self.end - self.start
        return length in (MINUTE, HOUR, DAY) and self.start % length == 0

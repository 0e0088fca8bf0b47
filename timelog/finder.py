"""Finding the lines of raw text that may match, before anything is decoded.

A finder never decides that a line matches, only that it cannot. It reads text that nobody has
checked yet: damaged bytes may come as candidates or not, but never as an error.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, NamedTuple, Protocol

from timelog.errors import storage_error
from timelog.required import SPECIAL, Text

# Above so many texts to look for one after the other, decoding all lines is faster.
MOST_TEXTS = 8
# What an expression for hyperscan ends with: the rest of the line, so that each line is told once.
_TO_END = b"[^\\x0a]*\\x0a"
_SPECIAL = re.compile(b"[%b]" % b"".join(SPECIAL.values()))


class Lines(NamedTuple):
    """Where some lines begin and end, in order."""

    starts: list[int]
    ends: list[int]


class Finder(Protocol):
    """Finds candidate lines. Thread-safe."""

    name: str
    # Where a larger share of the lines are candidates, decoding all of them is faster.
    dense: float

    def lines(self, data: bytes, most: int) -> Lines | None:
        """The candidates among the whole lines ``data``, None where they are more than ``most``."""

    def left(self) -> Sequence[tuple[Text, ...]]:
        """Clauses of matching lines that a candidate line need not meet."""


class TextFinder:
    """Looks for required texts with `bytes.find`. Thread-safe."""

    name = "texts"
    dense = 0.4

    def __init__(self, clauses: Sequence[tuple[Text, ...]]) -> None:
        self._clauses = clauses
        self._probe: tuple[Text, ...] | None = None

    def lines(self, data: bytes, most: int) -> Lines | None:
        """See `Finder`."""
        found: list[int] = []
        texts = self._rarest(data)
        for text in texts:
            more = _ends_of(*_plain(data, text), most)
            if more is None:
                return None
            found += more
        if len(texts) > 1:
            found = sorted(set(found))
        return _that_end(data, found) if len(found) <= most else None

    def left(self) -> Sequence[tuple[Text, ...]]:
        """See `Finder`."""
        return [clause for clause in self._clauses if clause is not self._probe]

    def _rarest(self, data: bytes) -> tuple[Text, ...]:
        """The clause to look for: the one that the first data had least of."""
        if self._probe is None:
            self._probe = min(
                self._clauses,
                key=lambda clause: sum(_count(data, text) for text in clause),
            )
        return self._probe


class HyperscanFinder:
    """Runs one expression over all bytes with hyperscan. Thread-safe."""

    name = "hyperscan"
    dense = 0.5

    def __init__(self, database: Any, left: Sequence[tuple[Text, ...]]) -> None:
        self._database = database
        self._scratches: list[Any] = []
        self._left = left

    def lines(self, data: bytes, most: int) -> Lines | None:
        """See `Finder`."""
        found: list[int] = []
        add = found.append

        def on_match(number: int, start: int, end: int, flags: int, context: object) -> None:
            add(end)

        # Each scan that runs at the same time needs a scratch of its own.
        scratch = self._scratches.pop() if self._scratches else self._database.scratch.clone()
        self._database.scan(data, match_event_handler=on_match, scratch=scratch)
        self._scratches.append(scratch)
        return _that_end(data, sorted(set(found))) if len(found) <= most else None

    def left(self) -> Sequence[tuple[Text, ...]]:
        """See `Finder`."""
        return self._left


def make_finder(
    expression: bytes | None,
    beside: Sequence[tuple[Text, ...]],
    clauses: Sequence[tuple[Text, ...]],
) -> Finder | None:
    """The best finder there is of lines that match ``expression`` and meet the clauses ``beside``.

    Without hyperscan, of lines that meet all ``clauses``. None where every line is to be decoded.
    """
    database = _compile(expression) if expression else None
    if database is not None:
        return HyperscanFinder(database, beside)
    few = [clause for clause in clauses if len(clause) <= MOST_TEXTS]
    return TextFinder(few) if few else None


@lru_cache(maxsize=64)
def _compile(expression: bytes) -> Any:
    """The database of an expression; None without hyperscan, or where it refuses."""
    try:
        import hyperscan
    except ImportError:
        return None
    except OSError as error:
        # No descriptor is to be had for it, for one; it is there, and may be later.
        raise storage_error("loading hyperscan", error) from error
    database = hyperscan.Database(mode=hyperscan.HS_MODE_BLOCK)
    try:
        database.compile(expressions=[expression + _TO_END], flags=[0])
    except hyperscan.error:
        return None
    return database


def _plain(data: bytes, text: Text) -> tuple[bytes, bytes]:
    """What to look for, and where: each line of ``data`` with ``text`` has it in its place."""
    if not text.folded:
        return data, text.raw
    if data.isascii():
        return data.lower(), text.raw
    # A letter that characters outside ASCII match too may have another length.
    return data.lower(), max(_SPECIAL.split(text.raw), key=len)


def _ends_of(data: bytes, raw: bytes, most: int) -> list[int] | None:
    """Where the lines with ``raw`` end; None where they are more than ``most``."""
    if not raw:
        return None
    found: list[int] = []
    end = 0
    while (hit := data.find(raw, end)) >= 0:
        end = data.find(b"\n", hit) + 1 or len(data)
        found.append(end)
        if len(found) > most:
            return None
    return found


def _that_end(data: bytes, ends: list[int]) -> Lines:
    """The lines that end at ``ends``."""
    rfind = data.rfind
    return Lines([rfind(b"\n", 0, end - 1) + 1 for end in ends], ends)


def _count(data: bytes, text: Text) -> int:
    data, raw = _plain(data, text)
    return data.count(raw) if raw else len(data)

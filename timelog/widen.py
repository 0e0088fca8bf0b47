"""From a regular expression over contents to a wider one over raw lines, for a fast engine.

Whatever Python's ``re`` matches in a content, the wider expression matches in the line that JSON
makes of it; it may match more. It uses only what all engines have: bytes, classes of bytes,
groups, alternatives and repeats. A character becomes the bytes that JSON writes for it; a class
becomes the set of bytes that its characters are written with, as often as the longest needs;
assertions are left out. Pure functions.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from re import _compiler as sre_compiler  # type: ignore[attr-defined]
from re import _constants as sre  # type: ignore[attr-defined]
from re import _parser as sre_parser  # type: ignore[attr-defined]
from typing import Any, NamedTuple

from timelog.codec import json_text
from timelog.required import Text, is_cased, scoped
from timelog.simplify import simplified

# Larger counts become "any number"; larger expressions are not worth their compilation.
_MOST_COPIES = 32
_MOST_POSITIONS = 1_000

_ALL = frozenset(range(256)) - {0x0A}
_HIGH = frozenset(range(0x80, 0x100))
_ASCII = [chr(code) for code in range(128)]


class Widened(NamedTuple):
    """A wider expression; ``is_close``: nothing that requires text was left out."""

    expression: bytes
    is_close: bool


def widened(compiled: re.Pattern[str]) -> Widened | None:
    """The wider expression; None where it would match every line, or be too large to be of use."""
    writer = _Writer()
    try:
        tree = simplified(compiled)
        least, _ = tree.getwidth()
        if not least:
            return None
        expression = b"".join(writer.sequence(tree, compiled.flags))
    except RecursionError:
        # Nested deeper than can be looked into from here.
        return None
    if writer.positions > _MOST_POSITIONS:
        return None
    return Widened(expression, writer.is_close)


def one_of(texts: Iterable[Text]) -> bytes:
    """The expression for any of some required texts."""
    return b"(?:%b)" % b"|".join(
        b"".join(_any_case(value) if text.folded else _byte(value) for value in text.raw)
        for text in texts
    )


class _Writer:
    """Writes one expression and counts what it will cost."""

    def __init__(self) -> None:
        self.positions = 0
        self.is_close = True
        self._copies = 1

    def sequence(self, tree: Iterable[tuple[Any, Any]], flags: int) -> Iterator[bytes]:
        for operation, argument in tree:
            if operation is sre.SUBPATTERN:
                _, added, removed, body = argument
                yield self._group([body], scoped(flags, added, removed))
            elif operation is sre.ATOMIC_GROUP:
                yield self._group([argument], flags)
            elif operation is sre.BRANCH:
                yield self._group(argument[1], flags)
            elif operation is sre.GROUPREF_EXISTS:
                _, yes, no = argument
                yield self._group([yes, no or ()], flags)
            elif operation in (sre.MAX_REPEAT, sre.MIN_REPEAT, sre.POSSESSIVE_REPEAT):
                least, most, body = argument
                yield self._repeat(least, most, body, flags)
            elif operation is sre.GROUPREF:
                yield self._bytes(_ALL, 0, None)
            elif operation in (sre.AT, sre.ASSERT, sre.ASSERT_NOT):
                # Without it the expression only matches more.
                self.is_close = self.is_close and operation is not sre.ASSERT
            elif operation is sre.LITERAL:
                yield self._literal(argument, flags)
            else:
                chosen, longest = _class(operation, argument, flags)
                yield self._bytes(chosen, 1, longest)

    def _group(self, bodies: Sequence[Any], flags: int) -> bytes:
        return b"(?:%b)" % b"|".join(b"".join(self.sequence(body, flags)) for body in bodies)

    def _repeat(self, least: int, most: int, body: Any, flags: int) -> bytes:
        low = min(int(least), _MOST_COPIES)
        high = None if most is sre.MAXREPEAT or most > _MOST_COPIES else int(most)
        if len(body) == 1 and body[0][0] in (sre.ANY, sre.IN, sre.NOT_LITERAL):
            chosen, longest = _class(body[0][0], body[0][1], flags)
            return self._bytes(chosen, low, None if high is None else high * longest)
        before = self._copies
        self._copies *= max(low, high or 1, 1)
        group = self._group([body], flags)
        self._copies = before
        return group + _times(low, high)

    def _literal(self, code: int, flags: int) -> bytes:
        if 0xD800 <= code < 0xE000:
            return self._bytes(_ALL, 1, 6)
        char = chr(code)
        if flags & re.IGNORECASE and is_cased(char):
            if not char.isascii():
                return self._bytes(_ALL, 1, 6)
            self.positions += 2 * self._copies
            return _any_case(code)
        raw = json_text(char)
        self.positions += len(raw) * self._copies
        return b"".join(map(_byte, raw))

    def _bytes(self, chosen: frozenset[int], least: int, most: int | None) -> bytes:
        self.positions += (most or least or 1) * self._copies
        return _set(chosen) + _times(least, most)


def _class(operation: Any, argument: Any, flags: int) -> tuple[frozenset[int], int]:
    """The bytes that a character of a class is written with, and at most how many it takes."""
    state = sre_parser.State()
    tree = sre_parser.SubPattern(state, [(operation, argument)])
    # Python's own answer: classes under IGNORECASE, negated or not, have their traps.
    is_in = sre_compiler.compile(tree, flags & _OF_CLASSES).match
    written = [json_text(char) for char in _ASCII if is_in(char)]
    chosen = {value for raw in written for value in raw}
    longest = max(map(len, written), default=1)
    if _may_hold_others(operation, argument, flags):
        chosen |= _HIGH
        longest = max(longest, 4)
    return frozenset(chosen), longest


def _may_hold_others(operation: Any, argument: Any, flags: int) -> bool:
    """Whether a character outside ASCII may be of a class."""
    if operation is not sre.IN or flags & re.IGNORECASE:
        return True
    for kind, value in argument:
        if kind is sre.LITERAL:
            others = value > 127
        elif kind is sre.RANGE:
            others = value[1] > 127
        else:
            others = not flags & re.ASCII or value not in _ASCII_CATEGORIES
        if others:
            return True
    return False


_ASCII_CATEGORIES = (sre.CATEGORY_DIGIT, sre.CATEGORY_SPACE, sre.CATEGORY_WORD)
_OF_CLASSES = re.IGNORECASE | re.ASCII | re.DOTALL | re.UNICODE


def _times(least: int, most: int | None) -> bytes:
    if most is None:
        return b"*" if not least else b"+" if least == 1 else b"{%d,}" % least
    if least == most:
        return b"" if least == 1 else b"{%d}" % least
    return b"{%d,%d}" % (least, most)


def _set(chosen: frozenset[int]) -> bytes:
    """A class of bytes."""
    if not chosen:
        # No character is in it, so nothing matches; a byte that no line has.
        return b"\\x0a"
    if len(chosen) == 1:
        return _byte(*chosen)
    ranges: list[list[int]] = []
    for value in sorted(chosen):
        if ranges and ranges[-1][1] == value - 1:
            ranges[-1][1] = value
        else:
            ranges.append([value, value])
    inside = b"".join(
        _byte(low) if low == high else b"%b-%b" % (_byte(low), _byte(high)) for low, high in ranges
    )
    return b"[%b]" % inside


def _any_case(value: int) -> bytes:
    """A byte of folded text as it may be in the line."""
    char = b"%c" % value
    if not char.isalpha():
        return _byte(value)
    either = b"[%b%b]" % (char.lower(), char.upper())
    # Letters outside ASCII match these too.
    return b"(?:%b|%b{2,3})" % (either, _set(_HIGH)) if char in b"iIkKsS" else either


def _byte(value: int) -> bytes:
    char = b"%c" % value
    return char if char.isalnum() else b"\\x%02x" % value

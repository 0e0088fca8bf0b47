"""Regular expressions: the exact meaning of Python's ``re.search``, and a text that must be there.

The text is what every match must contain, as JSON writes it, so that raw lines without it need
not be decoded. It may only exclude: what is left is decided by ``re.search`` on the content.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from re import _constants as sre  # type: ignore[attr-defined]
from re import _parser as sre_parser  # type: ignore[attr-defined]
from typing import Any

from timelog.codec import json_text
from timelog.errors import InvalidPattern


class Pattern:
    """A compiled expression. Immutable and thread-safe.

    ``matches(content)`` is ``re.search``; ``needle`` the bytes that each matching line has, or
    ``b""`` where nothing can be said.
    """

    def __init__(self, pattern: str | re.Pattern[str]) -> None:
        self._compiled = _compile(pattern)
        self.matches = self._compiled.search
        self.needle = json_text(_required_text(self._compiled))

    def __repr__(self) -> str:
        return f"Pattern({self._compiled.pattern!r})"


def _compile(pattern: str | re.Pattern[str]) -> re.Pattern[str]:
    if isinstance(pattern, str):
        try:
            return re.compile(pattern)
        except (re.error, OverflowError, RecursionError) as error:
            raise InvalidPattern(f"the pattern {pattern!r} does not compile: {error}") from None
    if isinstance(pattern, re.Pattern) and isinstance(pattern.pattern, str):
        return pattern
    raise InvalidPattern(f"a pattern must be a str or a compiled pattern of str, not {pattern!r}")


def _required_text(compiled: re.Pattern[str]) -> str:
    """The longest text that every match contains; ``""`` where there is none."""
    if compiled.flags & re.IGNORECASE:
        return ""
    tree = sre_parser.parse(compiled.pattern, compiled.flags & ~re.DEBUG)
    return max(_literals(tree), key=len, default="")


def _literals(tree: Iterable[tuple[Any, Any]]) -> list[str]:
    """All texts that every match of ``tree`` contains."""
    found: list[str] = []
    text = ""
    for operation, argument in tree:
        if operation is sre.LITERAL and not 0xD800 <= argument < 0xE000:
            text += chr(argument)
            continue
        inner: list[str] = []
        if operation is sre.SUBPATTERN:
            _, added, _, body = argument
            inner = [] if added & re.IGNORECASE else _literals(body)
        elif operation in (sre.MAX_REPEAT, sre.MIN_REPEAT, sre.POSSESSIVE_REPEAT):
            least, _, body = argument
            inner = _literals(body) if least else []
        elif operation is sre.ATOMIC_GROUP:
            inner = _literals(argument)
        elif operation is sre.AT:
            # An anchor has no width: the texts on both sides of it still stand side by side.
            continue
        found += [text, *inner]
        text = ""
    return [*found, text]

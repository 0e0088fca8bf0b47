"""Which characters a part of a regular expression matches, as Python's own ``re`` has it.

Python is asked, not derived from: the classes of Unicode differ between releases of its tables, and
the rules of IGNORECASE have exceptions. Pure functions.
"""

from __future__ import annotations

import re
from array import array
from collections.abc import Iterable
from functools import cache
from re import _compiler as sre_compiler  # type: ignore[attr-defined]
from re import _constants as sre  # type: ignore[attr-defined]
from re import _parser as sre_parser  # type: ignore[attr-defined]
from typing import Any

# A set of characters: the code points at which membership changes, from outside it before 0. So
# the symmetric difference of two of these is that of the sets, and that with ALL the complement.
Flips = frozenset[int]

NEWLINE: Flips = frozenset({10, 11})
ALL: Flips = frozenset({0})
KINDS = re.ASCII | re.UNICODE
_END = 0x110000

_CATEGORIES = {
    sre.CATEGORY_DIGIT: r"\d",
    sre.CATEGORY_NOT_DIGIT: r"\D",
    sre.CATEGORY_SPACE: r"\s",
    sre.CATEGORY_NOT_SPACE: r"\S",
    sre.CATEGORY_WORD: r"\w",
    sre.CATEGORY_NOT_WORD: r"\W",
}


def characters(operation: Any, argument: Any, flags: int) -> Flips:
    """The characters that one part of a pattern matches; ``argument`` is a tuple for a class."""
    if operation is sre.ANY:
        return ALL if flags & re.DOTALL else ALL ^ NEWLINE
    if operation is sre.IN:
        flips = _members(argument, flags)
    else:
        flips = frozenset({argument, argument + 1})
        if operation is sre.NOT_LITERAL:
            flips ^= ALL
    return flips ^ _case(operation, argument, flags) if flags & re.IGNORECASE else flips


def _members(items: Iterable[tuple[Any, Any]], flags: int) -> Flips:
    """The characters of a class, but for IGNORECASE."""
    ranges: list[tuple[int, int]] = []
    outer: Flips = frozenset()
    for operation, argument in items:
        if operation is sre.NEGATE:
            outer = ALL
        elif operation is sre.LITERAL:
            ranges.append((argument, argument + 1))
        elif operation is sre.RANGE:
            ranges.append((argument[0], argument[1] + 1))
        else:
            points = sorted(category(_CATEGORIES[argument], bool(flags & re.ASCII)))
            ranges += zip(points[::2], points[1::2], strict=True)
    merged: list[int] = []
    for start, end in sorted(ranges):
        if merged and start <= merged[-1]:
            merged[-1] = max(merged[-1], end)
        else:
            merged += start, end
    return frozenset(merged) ^ outer


def _case(operation: Any, argument: Any, flags: int) -> Flips:
    """The characters for which IGNORECASE makes a difference to one part of a pattern.

    Which these are is not derived but found by asking `re`: its rules for letters beyond U+FFFF
    differ between a character and a class, for example.
    """
    tree = sre_parser.SubPattern(sre_parser.State(), [(operation, argument)])
    with_case, without = (
        frozenset(sre_compiler.compile(tree, kind).findall(_cased()))
        for kind in (flags & KINDS, flags & KINDS | re.IGNORECASE)
    )
    flips: Flips = frozenset()
    for character in with_case ^ without:
        flips ^= {ord(character), ord(character) + 1}
    return flips


@cache
def category(escape: str, is_ascii: bool) -> Flips:
    """The characters of an escape such as ``\\w``."""
    runs = re.finditer(f"{escape}+", _every_character(), re.ASCII if is_ascii else re.UNICODE)
    return frozenset(point for run in runs for point in run.span())


@cache
def _cased() -> str:
    """Every character that has another form in upper or lower case, and some beside these."""
    found: set[str] = set()
    everything = _every_character()
    for start in range(0, _END, 16):
        part = everything[start : start + 16]
        if not part == part.lower() == part.upper():
            found.update(part, part.lower(), part.upper())
    return "".join(sorted(found))


def _every_character() -> str:
    """All code points in order: 4.5 MB, and 0.05 s to make."""
    return array("I", range(_END)).tobytes().decode("utf-32", "surrogatepass")

"""Sets of characters: Python's own answers, for every character there is."""

from __future__ import annotations

import re
from re import _parser as sre_parser  # type: ignore[attr-defined]

import pytest

from timelog.charset import ALL, category, characters

EVERY = "".join(map(chr, [*range(0xD800), *range(0xE000, 0x110000)]))
SURROGATES = frozenset(map(chr, range(0xD800, 0xE000)))


def members(flips: frozenset[int]) -> set[str]:
    points = [*sorted(flips), 0x110000]
    pairs = zip(points[::2], points[1::2], strict=False)
    found: set[str] = set()
    for start, end in pairs:
        found.update(map(chr, range(start, end)))
    return found - SURROGATES


@pytest.mark.parametrize(
    "expression", [r"[\d_]", r"[^\Wa-f]", "(?i)[a-fſ]", "(?i)k", "(?i)[^k]", r"(?a)\w", ".", "[^a]"]
)
def test_a_set_is_what_re_matches(expression: str) -> None:
    compiled = re.compile(expression)
    ((operation, argument),) = sre_parser.parse(expression)
    argument = tuple(argument) if isinstance(argument, list) else argument
    assert members(characters(operation, argument, compiled.flags)) == set(compiled.findall(EVERY))


@pytest.mark.parametrize("is_ascii", [True, False])
@pytest.mark.parametrize("escape", [r"\d", r"\s", r"\w"])
def test_a_category_and_its_opposite_are_everything(escape: str, is_ascii: bool) -> None:
    inside, outside = (members(category(each, is_ascii)) for each in (escape, escape.upper()))
    assert inside.isdisjoint(outside) and len(inside) + len(outside) == len(EVERY)


def test_all_characters_are_there() -> None:
    assert members(ALL) == set(EVERY)

"""An expression that matches somewhere in the same texts, with less in it."""

from __future__ import annotations

import re

import pytest

from timelog.simplify import simplified


def tree_of(expression: str) -> str:
    """A tree as Python's parser tells it."""
    return repr(list(simplified(re.compile(expression))))


@pytest.mark.parametrize(
    ("written", "same"),
    [
        ("(a)(?:b)(?P<n>c)", "abc"),
        ("(?:ab){2}c", "ababc"),
        # A repeat at an end is as good as its least count …
        (".*ab.*?", "ab"),
        ("a+b+", "ab"),
        ("a{2,3}b{4,}", "a{2}b{4}"),
        ("x(?:ab|c)?", "x"),
        ("(?:a*b+)+c", "bc"),
        ("(?:a+b|c*d)e", "(?:ab|d)e"),
        # … but not where something beside it counts: a position, or that it gives nothing back.
        ("^a*b", "^a*b"),
        ("a*+b++", "a*+b++"),
        ("(?>a*)b(?>c*)", "(?>a*)b(?>c*)"),
        # Text that is looked for around the rest lies beside it …
        ("(?<=ab)c(?=de)", "abcde"),
        ("(?<=a)(?<=b)c(?=d)(?=e)", "a(?<=b)c(?=d)e"),
        # … and may be anywhere where it is looked for from the middle, or must be absent.
        ("a(?<=b)c(?=d)e", "a(?<=b)c(?=d)e"),
        ("(?<!a)b(?!c)", "(?<!a)b(?!c)"),
    ],
)
def test_less_is_as_good(written: str, same: str) -> None:
    # Parsed, not simplified: what it is expected to be has to be written so.
    expected = list(re._parser.parse(same))  # type: ignore[attr-defined]
    assert tree_of(written) == repr(expected)


@pytest.mark.parametrize("written", [r"(a+)b\1", "(a)?b(?(1)c|d+)", "(?i:a)b+", "(?-i:a+)b"])
def test_what_refers_to_a_group_or_sets_its_flags_is_left_alone(written: str) -> None:
    assert tree_of(written) == repr(list(re._parser.parse(written)))  # type: ignore[attr-defined]

"""Patterns: the meaning of ``re.search``, and a text that every matching line must have."""

from __future__ import annotations

import re
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from timelog.codec import Line, encode_lines
from timelog.errors import InvalidPattern
from timelog.pattern import Pattern
from timelog.timestamp import to_text

# Characters that JSON, regular expressions or line ends treat in a special way.
ALPHABET = 'ab"\\\n\té\u2028\0.'

literals = st.text(ALPHABET, min_size=1, max_size=3).map(re.escape)
atoms = st.one_of(
    literals,
    literals,
    st.sampled_from(
        [".", "[ab]", "[^a]", r"\w", r"\s", "^", "$", r"\b", r"\A", r"\Z", "(?=a)", "(?!b)"]
    ),
)
patterns = st.recursive(
    atoms,
    lambda inner: st.one_of(
        st.lists(inner, min_size=1, max_size=3).map("".join),
        st.tuples(inner, inner).map(lambda two: f"(?:{two[0]}|{two[1]})"),
        st.tuples(
            inner, st.sampled_from(["?", "*", "+", "{2}", "{0,1}", "{1,2}", "*?", "+?", "?+", "++"])
        ).map(lambda two: f"(?:{two[0]}){two[1]}"),
        inner.map(lambda body: f"({body})"),
        inner.map(lambda body: f"(?i:{body})"),
        inner.map(lambda body: f"(?>{body})"),
        inner.map(lambda body: f"(?={body})"),
        inner.map(lambda body: f"(?<!a)(?P<name>{body})" if "?P<" not in body else body),
    ),
    max_leaves=5,
)
flags = st.sampled_from([0, re.IGNORECASE, re.MULTILINE, re.DOTALL, re.VERBOSE, re.ASCII])


def raw(content: str) -> bytes:
    """The line that holds ``content``."""
    return encode_lines([Line(to_text(0), "1", "", (), content)])


@pytest.mark.parametrize(
    ("pattern", "needle"),
    [
        ("", b""),
        ("abc", b"abc"),
        ("a.bcd", b"bcd"),
        ("abc?", b"ab"),
        ("abc|abd", b"ab"),
        ("abc|xyz", b""),
        ("(?:abc)+", b"abc"),
        ("(?:abc)*x", b"x"),
        ("(?:abc){0}xy", b"xy"),
        ("(abc)def", b"abc"),
        ("a(?#a comment)b", b"ab"),
        ("^abc$", b"abc"),
        (r"\bFailed\b password", b"Failed password"),
        (r"Failed (\w+) for", b"Failed "),
        ("(?i)abc", b""),
        ("(?i:abc)d", b"d"),
        ("a(?=bc)", b"a"),
        ("a(?!bcd)", b"a"),
        ("(?>abc)d", b"abc"),
        ("[a]bc", b"abc"),
        ("[ab]cd", b"cd"),
        (r"a\.b", b"a.b"),
        (r"say \"hi\"", b'say \\"hi\\"'),
        (r"C:\\dir", b"C:\\\\dir"),
        ("a\nb", b"a\\nb"),
        ("é", "é".encode()),
        ("\ud800a", b"a"),
        ("(?x) a b c # comment", b"abc"),
        (r"(a)(?(1)bc|de)", b"a"),
        (r"(ab)\1", b"ab"),
    ],
)
def test_the_longest_text_that_must_be_there(pattern: str, needle: bytes) -> None:
    assert Pattern(pattern).needle == needle


@given(patterns, flags, st.lists(st.text(ALPHABET + "AB", max_size=8), max_size=6))
def test_no_matching_line_is_without_the_needle(
    text: str, flag: re.RegexFlag, contents: list[str]
) -> None:
    compiled = re.compile(text, flag)
    pattern = Pattern(compiled)
    for content in contents:
        assert bool(pattern.matches(content)) == bool(compiled.search(content))
        if compiled.search(content):
            assert pattern.needle in raw(content), (text, content)


@given(patterns)
def test_no_short_match_is_without_the_needle(text: str) -> None:
    """All texts of up to three characters, so that patterns do match."""
    pattern = Pattern(text)
    for length in range(4):
        for characters in product('ab"\n', repeat=length):
            content = "".join(characters)
            if pattern.matches(content):
                assert pattern.needle in raw(content), (text, content)


def test_a_compiled_pattern_keeps_its_flags() -> None:
    pattern = Pattern(re.compile("abc", re.IGNORECASE))
    assert pattern.matches("xABCx")
    assert pattern.needle == b""


@pytest.mark.parametrize("pattern", ["(", "[", "*", "a{2,1}", "(?P<n>a)(?P<n>b)", "a" * 10 + "\\"])
def test_a_pattern_that_does_not_compile_is_refused(pattern: str) -> None:
    with pytest.raises(InvalidPattern, match="does not compile"):
        Pattern(pattern)


def test_a_pattern_beyond_the_compiler_is_refused() -> None:
    for pattern in ("(" * 5000 + ")" * 5000, "a{99999999999}"):
        with pytest.raises(InvalidPattern):
            Pattern(pattern)


@pytest.mark.parametrize("pattern", [None, 1, b"abc", re.compile(b"abc"), ["a"]])
def test_a_pattern_must_be_of_text(pattern: object) -> None:
    with pytest.raises(InvalidPattern, match="str"):
        Pattern(pattern)  # type: ignore[arg-type]


def test_a_pattern_shows_itself() -> None:
    assert repr(Pattern("a+")) == "Pattern('a+')"

"""Patterns: the meaning of ``re.search``, and what every matching line must have."""

from __future__ import annotations

import re
import tracemalloc
from itertools import product
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests import patterns as random_patterns
from tests.test_required import f, holds, meets, raw_line, t
from timelog.errors import InvalidPattern
from timelog.pattern import Pattern, compile_pattern, make_pattern
from timelog.required import NOTHING, Need, clauses

SEED = 20261124

# Parsing tells about classes that may mean something else one day.
pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning")

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
).filter(lambda text: text.count("?P<") < 2)
flags = st.sampled_from([0, re.IGNORECASE, re.MULTILINE, re.DOTALL, re.VERBOSE, re.ASCII])


def make(written: str | re.Pattern[str]) -> Pattern:
    """A pattern as a search makes it."""
    return make_pattern(compile_pattern(written))


# -- what a match is ----------------------------------------------------------------------


@given(patterns, flags, st.lists(st.text(ALPHABET + "AB", max_size=8), max_size=6))
def test_no_matching_line_is_without_what_is_needed(
    text: str, flag: re.RegexFlag, contents: list[str]
) -> None:
    compiled = re.compile(text, flag)
    pattern = make(compiled)
    matching = [compiled.search(content) is not None for content in contents]
    assert pattern.select(contents) == matching
    for content, is_matching in zip(contents, matching, strict=True):
        if is_matching:
            assert_ruled_in(pattern, content)


@given(patterns)
def test_no_short_match_is_without_what_is_needed(text: str) -> None:
    """All texts of up to three characters, so that patterns do match."""
    pattern = make(text)
    for length in range(4):
        for characters in product('ab"\n', repeat=length):
            content = "".join(characters)
            if pattern.compiled.search(content):
                assert pattern.select([content]) == [True]
                assert_ruled_in(pattern, content)


def assert_ruled_in(pattern: Pattern, content: str) -> None:
    line = raw_line(content)
    written = pattern.compiled.pattern
    assert holds(pattern.need, line), (written, content)
    assert meets(clauses(pattern.need), line), (written, content)
    if pattern.expression is not None:
        assert re.search(pattern.expression, line, re.DOTALL), (written, content)


@pytest.mark.parametrize("part", range(4), ids=lambda part: f"{SEED} {part}")
def test_contents_are_selected_as_a_search_finds_them(part: int) -> None:
    random = Random(f"{SEED} {part}")
    contents = random_patterns.contents(random, 150)
    for number in range(400):
        written = random_patterns.pattern(random, contents)
        compiled = re.compile(written)
        found = [compiled.search(content) is not None for content in contents]
        assert make(compiled).select(contents) == found, (number, written)


@pytest.mark.parametrize("written", [r"\s", r"\S", r"\w", r"\W", r"\d", r"\D", r"\b", r"^\B", "."])
@pytest.mark.parametrize("flag", [0, re.ASCII, re.IGNORECASE, re.MULTILINE, re.DOTALL])
def test_each_character_is_of_the_classes_that_python_says(written: str, flag: int) -> None:
    """ASCII's own separators are white space only without the flag ASCII."""
    compiled = re.compile(written, flag)
    contents = [chr(code) for code in (*range(0x300), 0x0663, 0x2003, 0x2028, 0x3000, 0x1F600)]
    contents += [f"a{char}b" for char in contents]
    found = [compiled.search(content) is not None for content in contents]
    assert make(compiled).select(contents) == found


@pytest.mark.parametrize(
    ("written", "content"),
    [
        ("(?:a|ab){2}c", "abac"),
        ("(?:a*?b){3}$", "ababb"),
        ("(?:a*b){2}+c", "ababc"),
        ("(?>a|ab){2}c", "aabc"),
        ("(?<=(?:ab){2})c", "ababc"),
        (r"(a|b){2}\1", "abb"),
        (r"(a)?b(?(1)c|d)", "abd"),
        (r"(?:(a)|b){2}(?(1)c|d)", "abc"),
        ("(?i:k){2}", "k\u212a"),
        ("(?i)straße", "STRAẞE"),
        ("(?-i:a)b", "AB"),
        ("a\ud800", "a"),
        # Where Python's own search answers differently for the same part in another place.
        (r"((?a:\W)x){2}", "éxéx"),
        (r"(?:(?a:\W)x){2}", "éxéx"),
        (r"(?:(?a:\W)x){2}", "-x-x"),
        (r"(?a)((?u:\w)x){2}", "éxéx"),
    ],
)
def test_a_pattern_that_can_be_written_in_other_ways_means_the_same(
    written: str, content: str
) -> None:
    found = re.search(written, content) is not None
    assert make(written).select([content]) == [found]


def test_a_compiled_pattern_keeps_its_flags() -> None:
    pattern = make(re.compile("abc", re.IGNORECASE))
    assert pattern.select(["xABCx", "abd"]) == [True, False]
    assert pattern.need == make("(?i)abc").need != make("abc").need


def test_what_debug_prints_is_printed_only_for_who_asked(
    capsys: pytest.CaptureFixture[str],
) -> None:
    compiled = re.compile("a(b|c)", re.DEBUG)
    assert capsys.readouterr().out
    assert make(compiled).select(["ab", "a"]) == [True, False]
    assert capsys.readouterr().out == ""


def test_no_contents_are_no_answers() -> None:
    assert make("a").select([]) == []


def test_repeats_in_repeats_do_not_multiply_the_work() -> None:
    """Four copies of four copies of … would be a million at a depth of ten."""

    def memory(depth: int) -> int:
        written = "ab"
        for _ in range(depth):
            written = f"(?:(?:{written}|dd)e){{4}}"
        compiled = re.compile(written)
        tracemalloc.start()
        try:
            make(compiled)
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    assert memory(7) < 10 * memory(4)


# -- what may rule text out ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("written", "need", "expression"),
    [
        # A pattern is looked for as a whole where that says more …
        ("abc", t("abc"), rb"abc"),
        ("abc?d", t("abd", "abcd"), rb"ab(?:c){0,1}d"),
        (".*abc?", t("ab"), rb"ab"),
        (r"Failed \w+", t("Failed "), rb"Failed\x20[0-9A-Z\x5fa-z\x80-\xff]{1,4}"),
        (r"\d\d", NOTHING, rb"[0-9\x80-\xff]{1,4}[0-9\x80-\xff]{1,4}"),
        ("^abc", t('"content":"abc'), rb"abc"),
        # … than what it must contain: text that is looked for ahead, or in something large …
        ("(?=.*abcd)e", t("abcd"), rb"(?:abcd)"),
        ("(?<=xyz)5", t("xyz5"), rb"xyz5"),
        ("(?s).(?<=xyz)5", t("xyz"), rb"(?:xyz)"),
        ("xy(?:.{20}:){20}", t("xy"), rb"(?:xy)"),
        ("(?i)xk(?:.{20}:){20}", f("xk"), rb"(?:[xX](?:[kK]|[\x80-\xff]{2,3}))"),
        # … and not at all where it matches nearly everything.
        ("", NOTHING, None),
        ("a?", NOTHING, None),
        ("(?:.{20}:){20}", NOTHING, None),
    ],
)
def test_what_a_pattern_is_looked_for_by(
    written: str, need: Need, expression: bytes | None
) -> None:
    pattern = make(written)
    assert (pattern.need, pattern.expression) == (need, expression)


# -- what is no pattern -------------------------------------------------------------------


@pytest.mark.parametrize("pattern", ["(", "[", "*", "a{2,1}", "(?P<n>a)(?P<n>b)", "a" * 10 + "\\"])
def test_a_pattern_that_does_not_compile_is_refused(pattern: str) -> None:
    with pytest.raises(InvalidPattern, match="does not compile"):
        make(pattern)


def test_a_pattern_beyond_the_compiler_is_refused() -> None:
    for pattern in ("(" * 5000 + ")" * 5000, "a{99999999999}"):
        with pytest.raises(InvalidPattern):
            make(pattern)


@pytest.mark.parametrize("opening", ["(", "(?:x|", "(?>", "(?i:", "(?=", "(?:y"])
def test_a_deeply_nested_pattern_is_a_pattern_or_refused(opening: str) -> None:
    """Whatever Python's own compiler takes is looked for, or refused like any other."""
    ending = ")?" if opening == "(?:y" else ")"
    for depth in (60, 120, 240, 480):
        try:
            pattern = make(opening * depth + "abc" + ending * depth)
        except InvalidPattern:
            return
        assert pattern.select(["y" * depth + "abc"]) == [True]


@pytest.mark.parametrize("pattern", [None, 1, b"abc", re.compile(b"abc"), ["a"]])
def test_a_pattern_must_be_of_text(pattern: object) -> None:
    with pytest.raises(InvalidPattern, match="str"):
        compile_pattern(pattern)  # type: ignore[arg-type]


def test_what_is_compiled_already_stays_as_it_is() -> None:
    compiled = re.compile("a+")
    assert compile_pattern(compiled) is compiled
    assert compile_pattern("a+") == compiled
    assert make(compiled).compiled is compiled

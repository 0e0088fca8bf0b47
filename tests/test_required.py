"""What every match must contain: by each construct of the syntax, and never more than that."""

from __future__ import annotations

import _sre  # type: ignore[import-not-found]
import re
import string
import sys
import tracemalloc
from collections.abc import Iterable, Sequence
from functools import cache
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.patterns import contents, pattern
from timelog.codec import Line, encode_lines
from timelog.required import (
    NOTHING,
    AllOf,
    AnyOf,
    Need,
    Text,
    all_of,
    any_of,
    clauses,
    fold,
    is_cased,
    required,
    strongest,
)
from timelog.timestamp import to_text

SEED = 20261122
PARTS = range(8)
PART = 400

# Parsing tells about classes that may mean something else one day.
pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning")


def raw_line(content: str, tags: tuple[str, ...] = (), source: str = "") -> bytes:
    """The line of an event with that content, as it is in a segment."""
    return encode_lines([Line(to_text(0), "1", source, tags, content)])


def holds(need: Need, line: bytes) -> bool:
    """Whether a line has what is needed, in the plainest way."""
    if isinstance(need, Text):
        return need.raw in (fold(line) if need.folded else line)
    parts = (holds(part, line) for part in need.parts)
    return all(parts) if isinstance(need, AllOf) else any(parts)


def meets(found: Iterable[tuple[Text, ...]], line: bytes) -> bool:
    """Whether a line meets all of some clauses."""
    return all(any(holds(text, line) for text in clause) for clause in found)


def t(*texts: str) -> Need:
    """One of the texts as they are."""
    found = tuple(Text(text.encode()) for text in texts)
    return found[0] if len(found) == 1 else AnyOf(found)


def f(*texts: str) -> Need:
    """One of the texts in any case."""
    found = tuple(Text(text.encode(), folded=True) for text in texts)
    return found[0] if len(found) == 1 else AnyOf(found)


def both(*needs: Need) -> Need:
    return AllOf(needs)


# -- by construct -------------------------------------------------------------------------

BEGIN = '"content":"'

CONSTRUCTS: list[tuple[str, Need]] = [
    # Text, as JSON writes it.
    ("", NOTHING),
    ("abc", t("abc")),
    (r"a\.b", t("a.b")),
    (r"say \"hi\"", t(r"say \"hi\"")),
    (r"C:\\dir", t(r"C:\\dir")),
    ("a\nb", t(r"a\nb")),
    (r"a\tb", t(r"a\tb")),
    ("a\x01b", t(r"a\u0001b")),
    ("a\x7fb", t("a\x7fb")),
    ("é", t("é")),
    ("日本", t("日本")),
    ("(?x) a b c # comment", t("abc")),
    ("a(?#a comment)b", t("ab")),
    ("a" * 600, t("a" * 257)),
    # What no content holds.
    ("\ud800abc", t("abc")),
    ("[\ud800a]bc", t("bc")),
    ("(?!)", NOTHING),
    # What every line has.
    ("a", NOTHING),
    ("5", NOTHING),
    ("content", NOTHING),
    ('":"', t(r"\":\"")),
    # One after the other.
    ("a.bcd", t("bcd")),
    ("a.*bc.*xyz", both(t("bc"), t("xyz"))),
    ("xy.*wxyz.*wx", t("wxyz")),
    ("abc.*abc", t("abc")),
    # Repeats.
    ("abc?", t("ab")),
    ("abc??", t("ab")),
    ("abc?+", t("ab")),
    ("ab(?:cd)?ef", t("abef", "abcdef")),
    ("(?:abc)+", t("abc")),
    ("(?:abc)+?", t("abc")),
    ("(?:abc)++", t("abc")),
    ("(?:abc)*x", t("x")),
    ("(?:abc){0}xy", t("xy")),
    ("(?:ab){2}c", t("ababc")),
    ("(?:ab){2,3}c", t("ababc")),
    ("x(?:ab){2,3}c", t("xabab")),
    ("(?:ab){3,}c", t("abababc")),
    ("x(?:ab){3,}c", t("xababab")),
    ("(?:ab){6}", t("abababab")),
    ("(?:xa.bx){2}", t("bxxa")),
    ("(?:(?=abc)a)?x", t("x")),
    # Alternatives.
    ("abc|abd", t("abc", "abd")),
    ("abc|xyz", t("abc", "xyz")),
    ("abc|", NOTHING),
    ("abc|.", NOTHING),
    ("abc|xabcx", t("abc")),
    ("(?:ab|cd)(?:ef|gh)", t("abef", "abgh", "cdef", "cdgh")),
    ("error .x|fatal .y", AnyOf((both(t("error "), t("x")), both(t("fatal "), t("y"))))),
    ("(?:xx|yy|(?:zz).)w", both(t("xx", "yy", "zz"), t("w"))),
    ("(?:(?=xyz)x|qq)w", both(t("xyz", "qq"), t("w"))),
    # Groups.
    ("(abc)def", t("abcdef")),
    ("(?P<n>abc)d(?P=n)", t("abcd")),
    (r"(ab)\1", t("ab")),
    ("(?>abc|abd)e", t("abce", "abde")),
    ("(xx)?b(?(1)cd|ef)g", t("bcdg", "befg")),
    ("(xx)(?(1)bc)d", t("xxbcd", "xxd")),
    # Classes.
    (".", NOTHING),
    ("(?s).bc", t("bc")),
    ("[a]bc", t("abc")),
    ("[ab]cd", t("acd", "bcd")),
    ("[w-z]z", t("wz", "xz", "yz", "zz")),
    ("[v-z]wz", t("wz")),
    ("[wxyz]q", t("wq", "xq", "yq", "zq")),
    ("[vwxyz]qq", t("qq")),
    ("[^a]zz", t("zz")),
    (r"[\d]zz", t("zz")),
    (r"\d\w\szz", t("zz")),
    ('[\t"]zz', t(r"\tzz", r"\"zz")),
    # Where a match begins.
    ("^abc$", t(BEGIN + "abc")),
    (r"\Aabc\Z", t(BEGIN + "abc")),
    ("(?m)^abc", t("abc")),
    ("(?m:^abc)", t("abc")),
    (r"(?m)\Aabc", t(BEGIN + "abc")),
    ("(^|x)abc", t(BEGIN + "abc", "xabc")),
    ("^xx|^yy", t(BEGIN + "xx", BEGIN + "yy")),
    ("(?:^)?abc", t("abc")),
    ("(?:^)+abc", t(BEGIN + "abc")),
    ("xx^abc", t("xxabc")),
    ("x?^abc", t(BEGIN + "abc")),
    (r"\bFailed\b password", t("Failed password")),
    (r"Failed (\w+) for", both(t("Failed "), t(" for"))),
    # Looking around.
    ("a(?=bc)", t("abc")),
    ("a(?!bcd)", NOTHING),
    ("(?<=ab)cd", t("abcd")),
    ("x(?<=abc)d", both(t("abc"), t("xd"))),
    ("(?<!ab)cd", t("cd")),
    ("(?=.*abc)(?=.*def)", both(t("abc"), t("def"))),
    ("(?<=^)abc", t(BEGIN + "abc")),
    # Without case.
    ("(?i)ABC", f("abc")),
    ("(?i:abc)D", f("abcd")),
    ("(?i)a(?-i:B)c", f("abc")),
    ("xx(?i:y)", f("xxy")),
    ("(?i)12;", t("12;")),
    ("(?i)日本", t("日本")),
    ("(?i)[abc]XY", f("axy", "bxy", "cxy")),
    ("(?i)kiss", f("kiss")),
    ("(?ai)kiss", f("kiss")),
    ("(?i)^ABC", f(BEGIN + "abc")),
    ("(?i)xx\nyy", f(r"xx\nyy")),
    # Letters beyond ASCII may have cases of any length.
    ("(?i)xxéyy", both(f("xx"), f("yy"))),
    ("(?i)xx\u212ayy", both(f("xx"), f("yy"))),
    ("(?i)xx[\u017fz]yy", both(f("xx"), f("yy"))),
    ("\u212a\u0130", t("\u212a\u0130")),
    ("\u212a(?i:X)", f("kx")),
]


@pytest.mark.parametrize(
    ("written", "need"), CONSTRUCTS, ids=[ascii(p)[:40] for p, _ in CONSTRUCTS]
)
def test_what_a_construct_requires(written: str, need: Need) -> None:
    assert required(re.compile(written)) == need


@pytest.mark.parametrize("flags", [0, re.M, re.S, re.X, re.A, re.I | re.A, re.DEBUG])
def test_flags_that_were_passed_count_like_those_that_were_written(
    flags: re.RegexFlag, capsys: pytest.CaptureFixture[str]
) -> None:
    compiled = re.compile("^ab", flags)
    capsys.readouterr()
    plain = t("ab") if flags & re.M else t(BEGIN + "ab")
    assert required(compiled) == (f(BEGIN + "ab") if flags & re.I else plain)
    # Only who compiles it asked for what DEBUG prints.
    assert capsys.readouterr().out == ""


def test_texts_are_multiplied_out_up_to_sixteen() -> None:
    four = required(re.compile("[wx][wx][wx][wx]"))
    assert isinstance(four, AnyOf) and len(four.parts) == 16
    five = required(re.compile("[wx][wx][wx][wx][yz]Q"))
    assert five == both(four, t("yQ", "zQ"))


def test_any_number_of_alternatives_is_one_requirement() -> None:
    words = ["one", *(f"word {n:03}" for n in range(300))]
    assert required(re.compile("|".join(words))) == t(*words)


def test_alternatives_are_not_each_compared_with_every_other() -> None:
    """A list of some thousand words is a pattern like any other."""

    def calls(count: int) -> int:
        words = re.compile("|".join(f"{n * 7919}word" for n in range(count)))
        made = 0

        def count_call(frame: object, event: str, argument: object) -> None:
            nonlocal made
            made += 1

        sys.setprofile(count_call)
        try:
            required(words)
        finally:
            sys.setprofile(None)
        return made

    assert calls(1600) < 16 * calls(200)


def test_repeats_in_repeats_do_not_multiply_what_is_remembered() -> None:
    """Four copies of four copies of … would be a million at a depth of ten."""

    def memory(depth: int) -> int:
        deep = re.compile("(?:" * depth + "xa.bx" + "){4}" * depth)
        tracemalloc.start()
        try:
            required(deep)
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    assert memory(7) < 10 * memory(4)


@pytest.mark.parametrize("opening", ["(", "(?:x|", "(?>", "(?i:", "(?=", "(?:y"])
def test_what_python_compiles_is_not_nested_too_deeply(opening: str) -> None:
    ending = ")?" if opening == "(?:y" else ")"
    for depth in (60, 120, 240, 480):
        try:
            compiled = re.compile(opening * depth + "abc" + ending * depth)
        except RecursionError:
            return
        need = required(compiled)
        assert meets(clauses(need), raw_line("y" * depth + "abc"))
        str(need)


# -- what IGNORECASE does -----------------------------------------------------------------


@cache
def every_character() -> list[str]:
    return [chr(code) for code in range(sys.maxunicode + 1) if not 0xD800 <= code < 0xE000]


def one_of(characters: Sequence[str]) -> str:
    """A class of these characters, in order of their codes."""
    ranges: list[list[int]] = []
    for code in map(ord, characters):
        if ranges and ranges[-1][1] == code - 1:
            ranges[-1][1] = code
        else:
            ranges.append([code, code])
    return "[" + "".join(rf"\U{low:08x}-\U{high:08x}" for low, high in ranges) + "]"


@pytest.mark.parametrize("flags", [re.I, re.I | re.A], ids=["unicode", "ascii"])
def test_what_ignorecase_takes_for_an_ascii_letter_is_folded_to_it(flags: re.RegexFlag) -> None:
    everything = "".join(every_character())
    for letter in string.ascii_letters:
        need = required(re.compile(letter + "~", flags))
        assert need == f(letter.lower() + "~")
        same = re.findall(letter, everything, flags)
        assert {letter.lower(), letter.upper()} <= set(same)
        assert {fold(char.encode()) for char in same} == {letter.lower().encode()}


def test_no_other_character_is_folded() -> None:
    """All that IGNORECASE might match to something else; the others are a sample."""
    cased = [char for char in every_character() if is_cased(char) and not char.isascii()]
    others = [*cased, *map(chr, range(128)), *Random(SEED).sample(every_character(), 2000)]
    for char in others:
        if char.isascii() and char.isalpha():
            continue
        need = required(re.compile(re.escape(char) + "~", re.I))
        assert not any(text.folded for clause in clauses(need) for text in clause), ascii(char)
        assert holds(need, raw_line(char + "~")), ascii(char)


def test_characters_without_case_match_only_themselves() -> None:
    everything = every_character()
    cased = [char for char in everything if is_cased(char)]
    uncased = [char for char in everything if not is_cased(char)]
    assert 2000 < len(cased) < 5000
    # None of one kind for one of the other …
    assert re.findall(one_of(uncased), "".join(cased), re.I) == []
    assert re.findall(one_of(cased), "".join(uncased), re.I) == []
    # … none without case for another: any two differ in a bit …
    basic = [char for char in uncased if ord(char) < 0x10000]
    for bit in range(16):
        halves: tuple[list[str], list[str]] = ([], [])
        for char in basic:
            halves[ord(char) >> bit & 1].append(char)
        for one, two in (halves, halves[::-1]):
            assert re.findall(one_of(one), "".join(two), re.I) == [], bit
    # … and beyond 16 bits, where a class is slow, by what Python's compiler itself asks.
    assert not any(_sre.unicode_iscased(ord(char)) for char in uncased)


def test_folding_does_what_it_says_to_each_character() -> None:
    special = {"\u0130": "i", "\u0131": "i", "\u017f": "s", "\u212a": "k"}
    for char in every_character():
        ascii_lower = char.lower() if char.isascii() else char
        assert fold(char.encode()) == special.get(char, ascii_lower).encode()


@given(st.lists(st.sampled_from([*'aIkKsS"\\\n\u0130\u0131\u017f\u212aéÉß日', "\U0001f600"])))
def test_folding_goes_character_by_character(chars: list[str]) -> None:
    assert fold("".join(chars).encode()) == b"".join(fold(char.encode()) for char in chars)


# -- needs --------------------------------------------------------------------------------

texts = st.builds(
    Text, st.sampled_from([b"", b"a", b"x", b"xy", b"xyz", b"yz", b'"', b"0", b"q"]), st.booleans()
)
needs: st.SearchStrategy[Need] = st.recursive(
    texts,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3).map(lambda parts: AllOf(tuple(parts))),
        st.lists(inner, min_size=1, max_size=3).map(lambda parts: AnyOf(tuple(parts))),
    ),
    max_leaves=8,
)
lines = st.text("xyzXYZqa", max_size=6).map(raw_line)


@given(st.lists(needs, min_size=1, max_size=3), st.lists(lines, min_size=1, max_size=6))
def test_putting_needs_together_keeps_their_meaning_for_a_line(
    some: list[Need], found: list[bytes]
) -> None:
    for line in found:
        assert holds(all_of(some), line) == all(holds(need, line) for need in some)
        assert holds(any_of(some), line) == any(holds(need, line) for need in some)


@given(needs, st.lists(lines, min_size=1, max_size=6))
def test_clauses_are_never_stronger_than_the_need(need: Need, found: list[bytes]) -> None:
    for given_need in (need, all_of([need])):
        for line in found:
            if holds(given_need, line):
                assert meets(clauses(given_need), line)


@given(st.lists(st.lists(texts, min_size=1, max_size=3), max_size=3))
def test_clauses_of_alternatives_that_are_not_nested_are_the_need(
    alternatives: list[list[Text]],
) -> None:
    need = AllOf(tuple(AnyOf(tuple(each)) for each in alternatives))
    for content in ("", "x", "xyz", "QY", "yz"):
        assert holds(need, raw_line(content)) == meets(clauses(need), raw_line(content))


def test_nothing_needed_has_no_clauses() -> None:
    assert clauses(NOTHING) == []
    assert clauses(AnyOf((t("xx"), NOTHING))) == []
    assert all_of([]) == all_of([NOTHING, t("0"), t("")]) == NOTHING
    assert any_of([t("xx"), NOTHING]) == NOTHING


def test_alternatives_that_need_several_texts_are_each_asked_for_the_longest() -> None:
    need = any_of([all_of([t("ab"), t("abd")]), all_of([t("xyz"), t("q")])])
    assert clauses(need) == [(Text(b"abd"), Text(b"xyz"))]


def test_what_lies_in_another_text_is_left_out() -> None:
    assert all_of([t("bc"), t("abcd"), t("cd")]) == t("abcd")
    assert any_of([t("bc"), t("abcd"), t("xbc")]) == t("bc")
    # One of them is looked for in other text.
    assert all_of([f("bc"), t("abcd")]) == both(f("bc"), t("abcd"))


def test_the_strongest_clause_has_the_longest_texts_then_the_fewest() -> None:
    long, short = (Text(b"long text"),), (Text(b"ab"),)
    mixed = (Text(b"a longer text"), Text(b"a"))
    assert strongest([short, mixed, long]) == long
    assert strongest([(Text(b"ab"), Text(b"cd")), short]) == short


def test_needs_say_in_words_what_is_needed() -> None:
    assert str(NOTHING) == "nothing"
    assert str(required(re.compile("(?i)abc"))) == "'abc' in any case"
    need = required(re.compile("xx(?:yy|zz).*é"))
    assert str(need) == "('xxyy' or 'xxzz') and 'é'"


# -- against random patterns --------------------------------------------------------------


@pytest.mark.parametrize("part", PARTS, ids=lambda part: f"{SEED} {part}")
def test_a_matching_line_has_what_is_needed(part: int) -> None:
    random = Random(f"{SEED} {part}")
    found = contents(random, 120)
    lines = [raw_line(content) for content in found]
    telling = ruled_out = 0
    for number in range(PART):
        written = pattern(random, found)
        compiled = re.compile(written)
        need = required(compiled)
        asked = clauses(need)
        telling += need != NOTHING
        for content, line in zip(found, lines, strict=True):
            if compiled.search(content):
                assert holds(need, line), (number, written, content)
                assert meets(asked, line), (number, written, content)
            else:
                ruled_out += not meets(asked, line)
    # It says something: of most patterns, and of most lines that do not match.
    assert telling > PART / 2
    assert ruled_out > PART * len(found) / 4

"""Wider expressions over raw lines: whatever matches a content matches the line, for any engine."""

from __future__ import annotations

import re
import sys
from random import Random
from typing import Any

import pytest
import re2  # type: ignore[import-untyped]

from tests.patterns import contents, pattern
from tests.test_required import raw_line
from timelog.codec import json_text
from timelog.required import Text, fold
from timelog.widen import one_of, widened

hyperscan: Any
try:
    import hyperscan
except ImportError:
    hyperscan = None

SEED = 20261123
PARTS = range(5)
PART = 300

# Parsing tells about classes that may mean something else one day.
pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning")

needs_hyperscan = pytest.mark.skipif(
    hyperscan is None, reason="NOT RUN: hyperscan is not installed (pip install 'timelog[fast]')"
)


def expression_of(written: str, flags: int = 0) -> bytes:
    """The wider expression of a pattern that has one."""
    wider = widened(re.compile(written, flags))
    assert wider is not None
    return wider.expression


def compile_re2(expression: bytes) -> Any:
    """For RE2 over bytes: an engine that takes the same time whatever the expression."""
    options = re2.Options()
    options.encoding = re2.Options.Encoding.LATIN1
    options.dot_nl = True
    options.never_capture = True
    return re2.compile(expression, options)


def compile_hyperscan(expression: bytes) -> Any:
    """For hyperscan; None where it refuses."""
    database = hyperscan.Database(mode=hyperscan.HS_MODE_BLOCK)
    flags = hyperscan.HS_FLAG_SINGLEMATCH | hyperscan.HS_FLAG_ALLOWEMPTY
    try:
        database.compile(expressions=[expression], flags=[flags])
    except hyperscan.error:
        return None
    return database


def hyperscan_finds(database: Any, data: bytes) -> bool:
    hits: list[int] = []
    database.scan(data, match_event_handler=lambda *match: hits.append(match[2]))
    return bool(hits)


# -- what is written ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("written", "expression"),
    [
        ("abc", rb"abc"),
        ("a.c", rb"a[\x20-\xff]{1,6}c"),
        ("(?s)a.", rb"a[\x20-\xff]{1,6}"),
        (r"a\.b", rb"a\x2eb"),
        ('"', rb"\x5c\x22"),
        ("a\nb", rb"a\x5cnb"),
        ("é", rb"\xc3\xa9"),
        ("ab|cd", rb"(?:ab|cd)"),
        ("(a)(?:b)(?P<n>c)(?>d)", rb"abc(?:d)"),
        ("a{2}b?c*d+e", rb"(?:a){2}(?:b){0,1}(?:c)*(?:d)+e"),
        ("a{2}?b??c*?d+?e", rb"(?:a){2}(?:b){0,1}(?:c)*(?:d)+e"),
        ("a{2}+b?+c*+d++e", rb"(?:a){2}(?:b){0,1}(?:c)*(?:d)+e"),
        ("xa{3,}y", rb"x(?:a){3,}y"),
        ("a{40}", rb"(?:a){32,}"),
        ("xa{2,40}y", rb"x(?:a){2,}y"),
        ("x[ab]{2,3}y", rb"x[a-b]{2,3}y"),
        ("x[^a]{2,3}x", rb"x[\x20-\xff]{2,18}x"),
        (r"x\d+x", rb"x[0-9\x80-\xff]+x"),
        (r"(?a)x\d+x", rb"x[0-9]+x"),
        (r"(?a)\w", rb"[0-9A-Z\x5fa-z]"),
        (r"^\bab\B$\A\Z", rb"ab"),
        # At its ends only the least is needed.
        ("a*b+c?d{2,3}e{2,}", rb"b(?:c){0,1}(?:d){2,3}(?:e){2}"),
        ("(?<=ab)c+(?=d)", rb"ab(?:c)+d"),
        ("(?=a)(?!b)(?<=c)(?<!d)xy", rb"xy"),
        (r"(ab)\1", rb"(?:ab)[\x00-\x09\x0b-\xff]*"),
        (r"(a)?(?(1)bb|cc)", rb"(?:(?:a)){0,1}(?:bb|cc)"),
        (r"(?:(a)|x)(?(1)bb)", rb"(?:(?:a)|x)(?:bb|)"),
        ("(?i)ak", rb"[aA](?:[kK]|[\x80-\xff]{2,3})"),
        ("(?i:a)b", rb"(?:[aA])b"),
        ("(?i)a(?-i:b)", rb"[aA](?:b)"),
        ("(?i)éa", rb"[\x00-\x09\x0b-\xff]{1,6}[aA]"),
        ("\ud800a", rb"[\x00-\x09\x0b-\xff]{1,6}a"),
        (r"[^\s\S]a", rb"[\x80-\xff]{1,4}a"),
        (r"a[^\x00-\U0010ffff]", rb"a[\x80-\xff]{1,4}"),
    ],
    ids=ascii,
)
def test_what_is_written_for_a_construct(written: str, expression: bytes) -> None:
    """It uses only what all engines have: bytes, their classes, groups, alternatives, repeats."""
    assert expression_of(written) == expression


@pytest.mark.parametrize(
    "written", ["", "a?", "a*", "(a|)", "^", "$", r"\b", "(?=a|)", "(?!a)", "(a)?(?(1)b|)", "a{0}"]
)
def test_what_matches_the_empty_text_would_match_every_line(written: str) -> None:
    assert widened(re.compile(written)) is None


@pytest.mark.parametrize(
    ("small", "large"),
    [
        ("a" * 1000, "a" * 1001),
        ("(?:ab){32}", "(?:(?:ab){32}){16}"),
        ("(?:[ab]{32}){31}", "(?:[ab]{32}){32}"),
        (".{30}", ".{30}" * 6),
        ("|".join(["abcd"] * 10), "x|" * 999 + "ab"),
        ("(?i)" + "a" * 500, "(?i)" + "a" * 501),
        ("é" * 500, "é" * 501),
        # A count above 32 is "any number", which is small.
        ("(?:ab){33,99}", "(?:(?:ab){33}){32}"),
    ],
    ids=range(8),
)
def test_what_is_too_large_is_not_worth_it(small: str, large: str) -> None:
    assert widened(re.compile(small)) is not None
    assert widened(re.compile(large)) is None


@pytest.mark.parametrize("opening", ["(", "(?:x|", "(?>", "(?i:", "(?:y"])
def test_what_python_compiles_is_not_nested_too_deeply(opening: str) -> None:
    ending = ")?" if opening == "(?:y" else ")"
    for depth in (60, 120, 240, 480):
        try:
            compiled = re.compile("z" + opening * depth + "abc" + ending * depth + "w")
        except RecursionError:
            return
        wider = widened(compiled)
        assert wider is None or b"abc" in wider.expression or b"[aA]" in wider.expression


def test_only_what_requires_text_and_is_left_out_makes_it_less_close() -> None:
    for written, is_close in (
        ("abc", True),
        (r"^\babc$", True),
        ("(?!x)abc(?<!y)", True),
        ("(?=.*x)abc", False),
        ("(?<=x)abc(?=y)", True),
        ("z(?<=x)abc", False),
        ("(?:(?=x)a|b)c", False),
    ):
        wider = widened(re.compile(written))
        assert wider is not None and wider.is_close == is_close, written


# -- classes ------------------------------------------------------------------------------

CLASSES = [
    *[".", r"\d", r"\D", r"\w", r"\W", r"\s", r"\S", r"[\d\s]", r"[^\w]", r"[^\W]", r"[^\s\d]"],
    *["[a]", "[a-z]", "[^a]", "[^a-z]", "[A-Z0-9_]", "[k]", "[^k]", "[^s]", "[S]", "[^I]", "[i-l]"],
    *[
        '["]',
        r"[\\]",
        r"[^\\\"]",
        "[\t\n]",
        "[^\n]",
        "[\x00-\x1f]",
        "[\x7f]",
        "[^\x00]",
        r"[\]\-^]",
    ],
    *["[é]", "[^é]", "[à-ý]", "[^à-ý]", "[ſ]", "[^ſ]", "[\u212a]", "[^\u212a]", "[\u0130]", "[^ı]"],
    *["[日]", "[^日]", "[一-龥]", "[ß]", "[ẞ]", "[µ]", "[^μ]", "[\U0001f600]", "[^\U0001f600]"],
    *["[\ud800]", "[^\ud800]", "[x-\u017f]", "[^x-\u017f]", "[5-\u212b]", r"[\Wk]", r"[^\Wk]"],
    *["a", "k", "S", "é", "ſ", "\u212a", "\u0130", "ı", "ß", "\n", '"', "日"],
]
SCOPES = [
    *["{}", "(?i){}", "(?s){}", "(?a){}", "(?ai){}"],
    *["(?i:{})", "(?a:{})", "(?ai:{})", "(?i)(?a:{})", "(?a)(?u:{})", "(?a)(?iu:{})"],
    *["(?ai)(?u:{})", "(?ai)(?u-i:{})", "(?a)(?i:{})", "(?u)(?ai:{})", "(?ai:(?u:{}))"],
]


def characters() -> list[str]:
    """All of ASCII, all that has to do with its letters, and a sample of the others."""
    special = "éÉàýſıß\u0130\u212a\u212bẞµμ日龥٣७\x85\xa0\u2028\u3000\ufeff\U0001f600\U0010ffff"
    codes = Random(SEED).sample(range(0x80, sys.maxunicode), 300)
    sample = [chr(code) for code in codes if not 0xD800 <= code < 0xE000]
    return [*map(chr, range(0x180)), *special, *sample]


@pytest.mark.parametrize("scope", SCOPES)
def test_a_class_matches_all_that_its_characters_are_written_with(scope: str) -> None:
    raw = {char: json_text(char) for char in characters()}
    for each in CLASSES:
        written = scope.format(each)
        compiled = re.compile(written)
        wider = re.compile(expression_of(written))
        for char, data in raw.items():
            if compiled.fullmatch(char):
                assert wider.fullmatch(data), (written, char)


@pytest.mark.parametrize("times", ["{0,3}", "{2}", "{3,}", "*", "+", "?", "{,40}", "{0}", "++"])
def test_a_repeated_class_matches_as_many_characters_however_long_they_are(times: str) -> None:
    random = Random(SEED)
    alphabet = 'ab0 "\\\n\x00é日\U0001f600'
    for each in (
        "[^a]",
        ".",
        r"\w",
        r"\D",
        '["\\\\b]',
        "[^\x00]",
        "[\x00-\U0010ffff]",
        "(?i:[^k])",
    ):
        compiled = re.compile(f"<{each}{times}>", re.DOTALL)
        wider = re.compile(expression_of(f"<{each}{times}>", re.DOTALL))
        for _ in range(200):
            content = "<" + "".join(random.choices(alphabet, k=random.randrange(6))) + ">"
            if compiled.fullmatch(content):
                assert wider.fullmatch(json_text(content)), (compiled.pattern, content)


# -- required texts -----------------------------------------------------------------------


def test_one_of_some_texts_matches_each_where_it_is() -> None:
    texts = [Text(b"abc"), Text(rb"a\nb\"c", folded=True), Text("é".encode()), Text(b"k~", True)]
    found = re.compile(one_of(texts))
    for data in (b"xabcx", rb"A\NB\"C", rb"a\nb\"c", "é".encode(), b"K~", "\u212a~".encode()):
        assert found.search(data), data
    for data in (b"ABC", b"abd", b"e", rb"a\nb\"", b"~k"):
        assert not found.search(data), data


def test_one_of_some_folded_texts_matches_all_that_folds_to_them() -> None:
    random = Random(SEED)
    for _ in range(300):
        char = "".join(random.choices('aIkKsS"\\日\u0130\u0131\u017f\u212a\n', k=4))
        raw = json_text(char)
        assert re.search(one_of([Text(fold(raw), folded=True)]), raw), char


# -- against random patterns --------------------------------------------------------------


@pytest.mark.parametrize("part", PARTS, ids=lambda part: f"{SEED} {part}")
def test_a_matching_line_matches_the_wider_expression(part: int) -> None:
    random = Random(f"{SEED} {part}")
    found = contents(random, 100)
    # Short, as Python takes exponential time for expressions that are made for other engines.
    found += [each[at : at + 4] for each in found for at in (0, len(each) // 2)]
    lines = [raw_line(content) for content in found]
    widened_some = refused = 0
    for number in range(PART):
        written = pattern(random, found)
        compiled = re.compile(written)
        wider = widened(compiled)
        if wider is None:
            continue
        widened_some += 1
        in_re2 = compile_re2(wider.expression)
        in_hyperscan = compile_hyperscan(wider.expression) if hyperscan else None
        refused += in_hyperscan is None
        in_re = re.compile(wider.expression, re.DOTALL)
        for content, line in zip(found, lines, strict=True):
            if compiled.search(content):
                assert in_re2.search(line), (number, written, content)
                if len(content) <= 4:
                    assert in_re.search(json_text(content)), (number, written, content)
                if in_hyperscan is not None:
                    assert hyperscan_finds(in_hyperscan, line), (number, written, content)
    assert widened_some > PART / 2
    if hyperscan:
        assert refused < widened_some / 5


@needs_hyperscan
@pytest.mark.parametrize(
    "written",
    ["(?:a{32}b{9}){24}", ".{160}", "(?:x.*){200}", "(?i)" + "k" * 500, "(?:a?){32}b", "(a|)b+?"],
)
def test_hyperscan_takes_what_is_written(written: str) -> None:
    assert compile_hyperscan(expression_of(written)) is not None

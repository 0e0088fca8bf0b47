"""The random patterns and contents of other tests: what they hold, and that they stay the same."""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from random import Random
from re import _constants as sre  # type: ignore[attr-defined]
from re import _parser as sre_parser  # type: ignore[attr-defined]
from typing import Any

import pytest

from tests.patterns import contents, pattern

SEED = 20261121
COUNT = 2000

# Parsing tells about classes that may mean something else one day.
pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning")

SPECIALS = [
    *map(chr, range(32)),
    *["\x7f", '"', "\\", "\u2028", "é", "ошибка", "エラー", "שגיאה", "٣٤", "e\u0301", "\U0001f600"],
    *["\u0130", "\u0131", "\u017f", "\u212a", "ß", "ẞ", '","content":"'],
    *[r"\n", r"\t", r"\u0009", r"\u0041", r"\"", r"\\"],
]

# What the parser does not tell, by how it is written.
SPELLINGS = {
    "written as itself": r"^\w+$",
    "escaped letter": r"\\[nrtfva]",
    "escaped meta": r"\\[.*+?(){}|$^\[\]\\]",
    "hex": r"\\x41|\\x6E",
    "u": r"\\u00[0-9a-f]{2}",
    "U": r"\\U000[0-9a-f]{5}",
    "zero": r"\\0(?!\d)",
    "octal": r"\\1[0-7]{2}",
    "name": r"\\N\{",
    "comment": r"\(\?#",
    "named reference": r"\(\?P=",
    "named condition": r"\(\?\([a-zö]",
    "common prefix": r"\(\?[:>]([a-z]{2,})[^|()]*\|\1",
    "empty branch": r"\|\)|\(\?[:>]\||\|\|",
    "member ] first": r"\[\]",
    "member - last": r"[^\\]-\]",
    "backspace": r"\[[^]]*\\b",
    "surrogate": r"\\ud83d",
    "star": r"[\w.)\]]\*(?![?+])",
    "plus": r"[\w.)\]]\+(?![?+])",
    "question mark": r"[\w.)\]]\?(?![?+])",
    "exactly": r"\{\d+\}",
    "from": r"\{\d+,\}",
    "from to": r"\{\d+,\d+\}",
    "up to": r"\{,\d+\}",
    "never": r"\{0\}",
    "verbose comment": r"(?s)\(\?i?x.*# words\n",
    "changed case": r"^\(\?[a-z]*i[a-z]*\).*[a-z][A-Z]{1,2}[a-z]",
    "linked case": r"^\(\?[a-z]*i[a-z]*\).*[\u0130\u0131\u017f\u212a]",
}

PARSED = {
    *["LITERAL", "NOT_LITERAL", "ANY", "IN", "NEGATE", "RANGE", "BRANCH", "GROUPREF"],
    *["MAX_REPEAT", "MIN_REPEAT", "POSSESSIVE_REPEAT", "ATOMIC_GROUP", "GROUPREF_EXISTS"],
    *["MAX_REPEAT unbounded", "MIN_REPEAT unbounded", "POSSESSIVE_REPEAT unbounded"],
    *["ASSERT ahead", "ASSERT behind", "ASSERT_NOT ahead", "ASSERT_NOT behind"],
    *["AT_BEGINNING", "AT_BEGINNING_STRING", "AT_END", "AT_END_STRING"],
    *["AT_BOUNDARY", "AT_NON_BOUNDARY", "CATEGORY_DIGIT", "CATEGORY_NOT_DIGIT"],
    *["CATEGORY_SPACE", "CATEGORY_NOT_SPACE", "CATEGORY_WORD", "CATEGORY_NOT_WORD"],
    *["group", "named group", "one branch only", "two branches"],
    *[f"global {flag}" for flag in "IMSXA"],
    *[f"on {flag}" for flag in "IMSXAU"],
    *[f"off {flag}" for flag in "IMSX"],
}


@pytest.fixture(scope="module")
def texts() -> list[str]:
    return contents(Random(SEED), 300)


@pytest.fixture(scope="module")
def patterns(texts: list[str]) -> list[str]:
    return make(texts)


def make(texts: list[str]) -> list[str]:
    random = Random(SEED)
    return [pattern(random, texts) for _ in range(COUNT)]


def digest(*lists: list[str]) -> str:
    return hashlib.sha256(repr(lists).encode()).hexdigest()


def features(written: str) -> Iterator[str]:
    """The syntax that a pattern uses."""
    tree = sre_parser.parse(written)
    for flag in "IMSXA":
        if tree.state.flags & re.RegexFlag[flag]:
            yield f"global {flag}"
    if tree.state.groupdict:
        yield "named group"
    yield from parts(tree)
    for name, spelling in SPELLINGS.items():
        if re.search(spelling, written):
            yield name


def parts(value: Any) -> Iterator[str]:
    """The names of all operations in a parsed pattern, with what tells their kinds apart."""
    if isinstance(value, sre_parser.SubPattern | list):
        for each in value:
            yield from parts(each)
    elif isinstance(value, tuple) and value and isinstance(value[0], sre._NamedIntConstant):
        name, argument = str(value[0]), value[1]
        yield name
        if name.startswith("ASSERT"):
            yield f"{name} {'ahead' if argument[0] > 0 else 'behind'}"
        elif name.endswith("REPEAT") and argument[1] is sre.MAXREPEAT:
            yield f"{name} unbounded"
        elif name == "GROUPREF_EXISTS":
            yield "one branch only" if argument[2] is None else "two branches"
        elif name == "SUBPATTERN":
            group, on, off, _ = argument
            if group:
                yield "group"
            yield from (f"on {flag}" for flag in "IMSXAU" if on & re.RegexFlag[flag])
            yield from (f"off {flag}" for flag in "IMSX" if off & re.RegexFlag[flag])
        yield from parts(argument)
    elif isinstance(value, tuple):
        for each in value:
            yield from parts(each)
    elif isinstance(value, sre._NamedIntConstant):
        yield str(value)


def test_the_same_seed_gives_the_same(texts: list[str], patterns: list[str]) -> None:
    assert contents(Random(SEED), 300) == texts
    assert make(texts) == patterns


def test_another_seed_gives_others(texts: list[str], patterns: list[str]) -> None:
    assert contents(Random(SEED + 1), 300) != texts
    assert pattern(Random(SEED + 1), texts) != patterns[0]


def test_another_process_gives_the_same(texts: list[str], patterns: list[str]) -> None:
    """Where sets and hashes are in another order."""
    program = (
        "from random import Random; from tests import test_patterns as t;"
        "texts = t.contents(Random(t.SEED), 300); print(t.digest(texts, t.make(texts)))"
    )
    for seed in ("1", "2"):
        done = subprocess.run(
            [sys.executable, "-c", program],
            cwd=Path(__file__).parents[1],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        )
        assert done.stdout.strip() == digest(texts, patterns)


@pytest.mark.parametrize("seed", range(5))
def test_the_contents_hold_what_is_special(seed: int) -> None:
    texts = contents(Random(seed), 300)
    missing = [special for special in SPECIALS if not any(special in text for text in texts)]
    assert missing == []
    assert "" in texts
    assert any(re.search(r"(?s)(.)\1{39}", text) for text in texts)
    assert max(map(len, texts)) <= 250


def test_every_pattern_compiles(patterns: list[str]) -> None:
    for each in patterns:
        re.compile(each)


def test_most_patterns_differ(patterns: list[str]) -> None:
    assert len(set(patterns)) > 0.8 * COUNT


def test_most_patterns_match_some_contents_but_not_all(
    texts: list[str], patterns: list[str]
) -> None:
    hits = [sum(map(bool, map(re.compile(each).search, texts))) for each in patterns]
    assert sum(each > 0 for each in hits) >= 0.6 * COUNT
    assert sum(0 < each < len(texts) for each in hits) >= 0.6 * COUNT
    # What is rare is what can be ruled out, and so be lost.
    assert sum(0 < each < 0.01 * len(texts) for each in hits) >= 0.15 * COUNT
    assert sum(each == 0 for each in hits) >= 0.05 * COUNT


def test_all_of_the_syntax_occurs(patterns: list[str]) -> None:
    found = {feature for each in patterns for feature in features(each)}
    assert sorted(PARSED - found) == []
    assert sorted(set(SPELLINGS) - found) == []

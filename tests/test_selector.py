"""Testing contents: every answer is that of ``re.search``."""

from __future__ import annotations

import re
from random import Random

import pytest

from tests.patterns import contents, pattern
from timelog.selector import selector

TEXTS = ["", "a", "ab", "abab", "ababab", "abc-abc", "10.0.0.1", "١٢.٣", "ſK", "KS ks", "x\ny", "é"]


def answers(expression: str | re.Pattern[str], texts: list[str]) -> list[bool]:
    compiled = re.compile(expression)
    found = selector(compiled)(texts)
    assert found == [compiled.search(text) is not None for text in texts], compiled.pattern
    return found


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_random_patterns_are_answered_as_re_does(seed: int) -> None:
    random = Random(seed)
    texts = contents(random, 150)
    for _ in range(300):
        answers(pattern(random, texts), texts)


@pytest.mark.parametrize(
    "expression",
    [
        "ab",
        "(a)(b)",
        "(?:ab){2}",
        "(ab){3}",
        "(ab){2,3}$",
        "(?:a|b){4}",
        "(?:(?:ab){2}){2}",
        r"(ab)\1",
        r"(?P<x>a)b(?P=x)",
        "(a)?(?(1)b|c)",
        r"(\d{1,3}\.){3}\d",
        r"\d+\.\d",
        r"(?a)\d+\.\d",
        r"(?i)\bks\b",
        r"(?i:k)\w",
        r"\w(?i:s)",
        "(?i)ſ",
        "(?s)x.y",
        "(?-s:x.y)|é",
        "(?=(a))ab",
        "(?>(a|ab))b",
        "(ab)++a",
        "(a|)*b",
        "(?:){4}a",
        # What the ends need not have.
        ".*ab.*",
        "a*?b+",
        "(?:ab|c+){2,}",
        "(?:a*b|c+-)+?a",
        "(?:a+){2,3}b",
        "(?<=a)b",
        "(?<=^)a",
        "b(?=a)",
        "b(?=.*c)",
        "(?<=ab)(?<=b)-(?=a)(?=.b)",
        "(?<!a)b",
        # Beginning with a text.
        r"\w+-\w",
        r"\bab",
        r"\Bab$",
        r"[abc]-a",
        r"(?m)^y",
        r"(?<!b)-a",
        r"\d\.\d{1,3}\.",
        r"[ab]{2}ab",
        "(?s).{7}-abc",
        "()",
        "",
        "\ud800",
    ],
)
def test_each_construct_is_answered_as_re_does(expression: str) -> None:
    answers(expression, TEXTS)


def test_a_plain_text_is_looked_for_as_one() -> None:
    assert answers("b(a)b", TEXTS).count(True) == 2
    assert answers(re.compile("AB", re.IGNORECASE), TEXTS).count(True) == 4


def test_a_pattern_with_debug_prints_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    compiled = re.compile("(ab){2}", re.DEBUG)
    capsys.readouterr()
    selector(compiled)(["abab"])
    assert capsys.readouterr().out == ""

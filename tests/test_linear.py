"""The linear engine: the meaning of ``re.search`` for every pattern that it does not refuse."""

from __future__ import annotations

import inspect
import random
import re
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from importlib.util import find_spec

import pytest

from timelog.errors import InvalidPattern, MissingExtra
from timelog.linear import linear_search

needs_re2 = pytest.mark.skipif(
    find_spec("re2") is None,
    reason="google-re2 is not installed: the linear engine is NOT tested; install timelog[re2]",
)

# What a pattern may treat in a special way: controls, ends of lines, quotes, backslashes, spaces,
# letters with unusual forms in upper or lower case, digits and numbers, characters beyond U+FFFF.
CHARACTERS = (
    "abABkKsSiI_19 .-\"'\\"
    "\0\t\n\n\n\r\v\x1c\x7f\x80\x85\xa0\u2028\u3000\ufeff\uffff"
    "éÉßẞÿŸµμΣσςǅǆ\u017f\u212a\u0130\u0131\u0345\u03b9\u1fbe\ufb05\ufb06𐐀𐐨"
    "٣²½Ⅷ中文😀\u0301\U0010ffff"
)
# No content has these, but a pattern may.
SURROGATES = "\ud800\udfff"

ANCHORS = r"^ $ $ \A \Z \b \B"
ESCAPES = r". \w \W \d \D \s \S"
REPEATS = "* + ? *? +? ?? {2} {0,2} {1,} {,2} {0} {2,3}?"

# Patterns of one character: classes, escapes, and letters with several forms.
ONE = r"""
    . (?s:.) \w \W \d \D \s \S (?a:\w) (?a:\D) (?a:\s) (?a:[^\W_]) (?ai:k) (?ai:[^\w]) k \n \0 𐐀
    [^a] [^\W\d_] [^\w\s] [^\D\d] [\S\n] [\x00-\U0010ffff] [\ud800-\udfff] [^\ud800] \U0010ffff
    (?i:k) (?i:K) (?i:s) (?i:i) (?i:\u0130) (?i:\u0131) (?i:\u212a) (?i:\u017f) (?i:µ) (?i:σ) (?i:ß)
    (?i:ẞ) (?i:ǆ) (?i:ﬅ) (?i:\u0345) (?i:ᲀ) (?i:Ა) (?i:𐐀) (?i:𐐨) (?i:[^\u0130]) (?i:[^𐐀]) (?i:[Kx])
    (?i:[\u212ax]) (?i:[𐐀x]) (?i:[𐐨x]) (?i:[𐐀-𐐃]) (?i:[À-ÿ]) (?i:[^A-Z]) (?i:[\u0100-\uffff])
"""

# Patterns of "a", "b" and newlines.
SHORT = r"""
    a ab|ba a| |a (?:) () (?:|)* (?:)* (a*)* (a|b?)+ (?:a?){3} (?:a?b?)*?c (?:|a)+b (?P<n>a)b [^a]b
    a{0} a{2} a{,1}b a{1,}b a*?b a+?$ (?:ab){2} a{1000} (?:\w{20}){50} (?:a{500}){2,} (?:$){2}b?
    ^ $ ^$ ^a a$ \Aa a\Z a^b a$b $\Z \Z$ $^ ^\n (?m)^b (?m)a$ (?m)^$ (?m)$\n^ (?m)a$\nb (?m)\Ab
    a$\n $\n a$\n$ a$\n\n \n$ \n\n$ \n\Z (?:a$|b)* (?:[ab](?:\n|$))+ (?:[ab](?:\s|$))+\Z (?m)a\Z
    a.b (?s)a.b (?s:.)b (?s)a(?-s:.) (?i)A (?i:A)b (?i)a(?-i:B) (?m:^)b (?m)(?-m:^)b (?:^|b)a(?:b|$)
    \b \B \ba a\b a\Bb \Ba \b\B (?a)\b (?a)\B \b$ \B\Z \A\B\Z \A\b\Z (?:\B|a)+$ (?:\b)*\n
    (?x:(?#c)a\x20?)b
"""


class Generator:
    """Random patterns, each with the flags that it is compiled with."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        # A pattern draws on a few characters, so that it often matches.
        self.few = ""

    def pattern(self) -> re.Pattern[str]:
        self.few = self.characters(6)
        flags = 0
        for flag in (re.IGNORECASE, re.MULTILINE, re.DOTALL, re.ASCII, re.VERBOSE):
            flags |= flag if self.random.random() < 0.2 else 0
        text = self.branches(2)
        return re.compile(rf"\A(?:{text})\Z" if self.random.random() < 0.3 else text, flags)

    def content(self, length: int = 6) -> str:
        text = "".join(self.random.choices(self.few + "\n", k=self.random.randrange(length + 1)))
        if self.random.random() < 0.2:
            text = text.swapcase()
        return "".join(each if self.random.random() < 0.9 else self.characters(1) for each in text)

    def characters(self, count: int) -> str:
        return "".join(self.random.choices(CHARACTERS + SURROGATES, k=count))

    def branches(self, depth: int) -> str:
        count = self.random.choice([1, 1, 1, 2, 3])
        return "|".join(self.sequence(depth) for _ in range(count))

    def sequence(self, depth: int) -> str:
        return "".join(self.part(depth) for _ in range(self.random.choice([0, 1, 1, 2, 2, 3])))

    def part(self, depth: int) -> str:
        kind = self.random.random()
        if kind < 0.2:
            return self.random.choice(ANCHORS.split())
        if kind < 0.6 or not depth:
            return self.one() + self.repeat()
        return f"{self.group()}{self.branches(depth - 1)}){self.repeat()}"

    def repeat(self) -> str:
        return self.random.choice(REPEATS.split()) if self.random.random() < 0.6 else ""

    def group(self) -> str:
        if self.random.random() < 0.7:
            return self.random.choice(["(", "(?:", "(?:", "(?#comment)("])
        on = "".join(self.random.sample("imsx", self.random.randrange(3)))
        off = "".join(each for each in self.random.sample("imsx", 2) if each not in on)
        on += self.random.choice(["", "", "", "a", "u"])
        return f"(?{on}-{off}:" if off else f"(?{on}:"

    def one(self) -> str:
        kind = self.random.random()
        if kind < 0.5:
            return self.literal()
        if kind < 0.7:
            return self.random.choice(ESCAPES.split())
        items = "".join(self.item() for _ in range(self.random.randrange(1, 4)))
        return f"[{self.random.choice(['', '', '^'])}{items}]"

    def item(self) -> str:
        kind = self.random.random()
        if kind < 0.6:
            return self.literal()
        if kind < 0.8:
            return self.random.choice(ESCAPES.split()[1:])
        first, last = sorted(self.random.choices(self.few, k=2))
        return f"\\U{ord(first):08x}-\\U{ord(last):08x}"

    def literal(self) -> str:
        character = self.random.choice(self.few)
        return self.random.choice([re.escape(character), f"\\U{ord(character):08x}"])


def agree(pattern: re.Pattern[str], matches: Callable[[str], object], content: str) -> bool:
    return bool(matches(content)) == bool(pattern.search(content))


@cache
def every_character() -> str:
    return "".join(map(chr, range(0x110000)))


def assert_same_characters(one: str) -> None:
    """``one`` matches those that it matches for Python, side by side, and none of the others."""
    found = "".join(re.findall(f"(?:{one})+", every_character()))
    others = re.sub(f"(?:{one})+", "", every_character())
    assert len(found) + len(others) == 0x110000
    assert linear_search(re.compile(rf"\A(?:{one})*\Z"))(found)
    assert not linear_search(re.compile(one))(others)


@needs_re2
@pytest.mark.parametrize("seed", range(10))
def test_random_patterns_mean_what_they_mean_to_python(seed: int) -> None:
    generator = Generator(seed)
    refused = 0
    for _ in range(200):
        pattern = generator.pattern()
        try:
            matches = linear_search(pattern)
        except InvalidPattern as error:
            assert "both with and without" in str(error)
            refused += 1
            continue
        for content in ("", "\n", *(generator.content() for _ in range(10))):
            assert agree(pattern, matches, content), (pattern, content)
    assert refused < 40


@needs_re2
@pytest.mark.parametrize("one", ONE.split())
def test_one_character_of_all(one: str) -> None:
    assert_same_characters(one)


@needs_re2
@pytest.mark.parametrize("seed", range(5))
def test_a_class_of_a_hundred_characters_without_case(seed: int) -> None:
    some = random.Random(seed).sample(every_character(), 100)
    members = "".join(f"\\U{ord(each):08x}" for each in some)
    assert_same_characters(f"(?i:[{members}])")


@needs_re2
@pytest.mark.parametrize("flags", ["", "(?a)"])
def test_the_word_characters_of_boundaries_among_all(flags: str) -> None:
    words = "".join(re.findall(rf"{flags}\w", every_character()))
    others = "".join(re.findall(rf"{flags}\W", every_character()))
    assert linear_search(re.compile(rf"{flags}(?s)\A\b.(?:\B.)*\b\Z"))(words)
    assert linear_search(re.compile(rf"{flags}(?s)\A\B.(?:\B.)*\B\Z"))(others)


@needs_re2
@pytest.mark.parametrize("pattern", ["", *SHORT.split()])
def test_all_short_texts_are_as_in_python(pattern: str) -> None:
    compiled = re.compile(pattern)
    matches = linear_search(compiled)
    texts = [""]
    for _ in range(5):
        texts += ["".join((text, end)) for text in texts for end in "abA\n " if len(text) < 5]
    for text in sorted({*texts, "a" * 1000, "a" * 999, "a\n" * 500}):
        assert agree(compiled, matches, text), text


@needs_re2
@pytest.mark.parametrize(
    ("pattern", "what"),
    [
        (r"(a)\1", "a back-reference"),
        (r"(?P<n>a)(?P=n)", "a back-reference"),
        ("(?=a)", "a look-ahead"),
        ("(?!a)", "a look-ahead"),
        ("(?<=a)b", "look-behind"),
        ("(?<!a)b", "look-behind"),
        ("(?>a)", "an atomic group"),
        ("a*+", "a possessive repeat"),
        ("(a)?(?(1)b|c)", "a conditional group"),
        ("x(?:y|(?:z(?=a))*)", "a look-ahead"),
        ("a{1001}", "a repeat above 1000"),
        ("a{0,1001}", "a repeat above 1000"),
        ("(?:a{40}){30}", "RE2 does not take"),
        ("(?:a{1000}b){11}", "more instructions"),
        ("(?:(?:(?:){1000}){1000}){1000}", "more instructions"),
        ("[acegikmoqsuwy]{1000}abcdefghijklmnopqrstuvwxyz", "more instructions"),
        ("abc" * 4000, "more instructions"),
        (r"\b(?a:\b)", "with and without ASCII"),
        (r"(?a:\B)\b", "with and without ASCII"),
        ("a$(?m:b$)", "with and without MULTILINE"),
        ("(?m:^)a$", "with and without MULTILINE"),
        (r"\b" + "".join(map(chr, range(0x4E00, 0x4E40))), "fit a byte"),
        ("".join(map(chr, range(0x4E00, 0x4EFF))), "fit a byte"),
        ("".join(map(chr, range(0x4E00, 0x4F01))), "256 different characters"),
    ],
    ids=lambda text: text[:20],
)
def test_what_cannot_be_said_exactly_is_refused(
    pattern: str, what: str, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(InvalidPattern, match=re.escape(what)) as caught:
        linear_search(re.compile(pattern))
    assert str(caught.value).startswith("engine='linear' cannot search for ")
    assert str(caught.value).endswith("; write it without, or choose another engine")
    assert capfd.readouterr() == ("", "")


@needs_re2
def test_groups_nested_too_deeply_are_refused() -> None:
    """Where the stack is nearly full, so that Python could compile what cannot be read again."""
    compiled = re.compile("(" * 100 + ")" * 100)

    def search(frames: int) -> None:
        if frames:
            search(frames - 1)
        else:
            linear_search(compiled)

    search(0)
    with pytest.raises(InvalidPattern, match="nested too deeply"):
        search(sys.getrecursionlimit() - len(inspect.stack()) - 150)


@needs_re2
@pytest.mark.parametrize(
    ("pattern", "text", "is_match"),
    [
        ("(a+)+$", "a" * 500_000 + "b", False),
        ("(a+)+$", "a" * 500_000 + "\n", True),
        ("(?:a|a)*(?:a|aa)+$", "a" * 500_000 + "é", False),
        (r"(?:\w+\s?)+;", "wört " * 100_000, False),
        (r"^(?:(?:[^,]*),?)*;$", "field," * 50_000, False),
        ("(?:a?){900}a{900}", "a" * 5_000, True),
        ("(?:.*){20}=", "x" * 100_000, False),
    ],
    ids=lambda value: str(value)[:20],
)
def test_a_pattern_made_to_explode_ends(pattern: str, text: str, is_match: bool) -> None:
    assert bool(linear_search(re.compile(pattern))(text)) is is_match


@needs_re2
def test_more_states_than_fit_the_memory_change_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    """The state of the pattern is where the last 900 were an ``a``: each byte is a new one."""
    matches = linear_search(re.compile("^[ab]*a[ab]{900}c"))
    text = "".join(random.Random(1).choices("ab", k=20_000))
    for end in range(10_000, 10_010):
        assert bool(matches(f"{text[:end]}c")) is (text[end - 901] == "a")
    assert capfd.readouterr() == ("", "")


@needs_re2
def test_one_function_serves_many_threads() -> None:
    pattern = re.compile(r"(?i)\bk\w+\s*$")
    generator = Generator(7)
    generator.few = "kK ae\n"
    contents = [generator.content(30) for _ in range(2_000)]
    matches = linear_search(pattern)
    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(lambda _: [bool(matches(each)) for each in contents], range(8)))
    assert results == [[bool(pattern.search(each)) for each in contents]] * 8


def test_without_re2_the_error_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    # Python's own way to say that there is no such module.
    monkeypatch.setitem(sys.modules, "re2", None)
    with pytest.raises(MissingExtra, match=re.escape("pip install 'timelog[re2]'")):
        linear_search(re.compile("a"))

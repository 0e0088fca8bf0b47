"""Finding candidate lines: every line that matches is one, whatever the bytes are."""

from __future__ import annotations

import builtins
import errno
import re
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from random import Random
from threading import Barrier

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.patterns import contents, pattern
from tests.test_required import holds, meets, raw_line
from timelog.errors import StorageError
from timelog.finder import MOST_TEXTS, Finder, HyperscanFinder, TextFinder, make_finder
from timelog.pattern import Pattern, compile_pattern, make_pattern
from timelog.required import Text, clauses, required

try:
    import hyperscan  # noqa: F401

    HAS_HYPERSCAN = True
except ImportError:
    HAS_HYPERSCAN = False

SEED = 20261125
ALL = 10**9

# Parsing tells about classes that may mean something else one day.
pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning")

needs_hyperscan = pytest.mark.skipif(
    not HAS_HYPERSCAN, reason="NOT RUN: hyperscan is not installed (pip install 'timelog[fast]')"
)
Make = Callable[[Pattern], Finder | None]


def by_texts(asked: Pattern) -> Finder | None:
    """Without hyperscan."""
    return make_finder(None, [], clauses(asked.need))


def by_hyperscan(asked: Pattern) -> Finder | None:
    """With hyperscan, where there is an expression that it takes."""
    finder = make_finder(asked.expression, [], [])
    assert finder is None or isinstance(finder, HyperscanFinder)
    return finder


ways = pytest.mark.parametrize(
    "way", [by_texts, pytest.param(by_hyperscan, marks=needs_hyperscan)], ids=["texts", "hyperscan"]
)


def make(written: str) -> Pattern:
    return make_pattern(compile_pattern(written))


def found_by(way: Make, written: str) -> Finder:
    finder = way(make(written))
    assert finder is not None
    return finder


def ends_of(finder: Finder, data: bytes, most: int) -> list[int] | None:
    """Where the candidate lines end."""
    found = finder.lines(data, most)
    if found is None:
        return None
    for start, end in zip(*found, strict=True):
        assert (start == 0 or data[start - 1 : start] == b"\n") and start < end
        assert b"\n" not in data[start : end - 1]
    return found.ends


def lines_of(data: bytes) -> list[tuple[int, bytes]]:
    """Where each line ends, and the line."""
    end = 0
    found = []
    for line in (
        data.splitlines(keepends=True)
        if b"\r" not in data
        else re.findall(rb"[^\n]*\n|[^\n]+", data)
    ):
        end += len(line)
        found.append((end, line))
    return found


def texts(*raws: str, folded: bool = False) -> tuple[Text, ...]:
    return tuple(Text(raw.encode(), folded) for raw in raws)


# -- candidates ---------------------------------------------------------------------------


@ways
@pytest.mark.parametrize("part", range(3), ids=lambda part: f"{SEED} {part}")
def test_every_matching_line_is_a_candidate(way: Make, part: int) -> None:
    random = Random(f"{SEED} {part}")
    found = contents(random, 150)
    tried = less = 0
    for number in range(150):
        asked = make(pattern(random, found))
        finder = way(asked)
        if finder is None:
            continue
        tried += 1
        some = random.sample(found, random.choice((1, 5, 40)))
        data = b"".join(map(raw_line, some))
        ends = [end for end, _ in lines_of(data)]
        candidates = ends_of(finder, data, len(some))
        if candidates is None:
            continue
        assert candidates == sorted(set(candidates))
        assert set(candidates) <= set(ends)
        matching = {
            end for end, content in zip(ends, some, strict=True) if asked.select([content])[0]
        }
        assert matching <= set(candidates), (number, asked.compiled.pattern)
        left = finder.left()
        for content in some:
            assert meets(left, raw_line(content)) or not asked.select([content])[0]
        less += len(candidates) < len(some)
    assert tried > 75 and less > tried / 3


@ways
def test_candidates_are_told_by_where_their_lines_end(way: Make) -> None:
    data = b"needle\nno\nneedle needle\n\nxneedle\nno\n"
    assert ends_of(found_by(way, "needle"), data, ALL) == [7, 24, 33]
    assert ends_of(found_by(way, "absent"), data, ALL) == []
    assert ends_of(found_by(way, "needle"), b"", ALL) == []


@ways
@pytest.mark.parametrize(
    ("written", "found"),
    [
        ("(?i)ERROR", "error ERROR Error"),
        ("(?i)task", "TASK Ta\u017fk TAS\u212a ta\u017f\u212a"),
        ("(?i)info", "INFO \u0130NFO \u0131nfo \u0130nFo"),
        ("(?i)kiss", "\u212aI\u017fS k\u0131ss KISS"),
        ("(?i)kiss|nothing", "\u212aI\u017fS k\u0131ss KISS"),
        ("(?i:k)", "K \u212a k"),
        ("(?i)x\u212ay", "xKy XkY x\u212aY"),
        ("\u212aelvin", "\u212aelvin"),
        ("(?i)straße", "Straße STRAẞE straße"),
    ],
)
def test_letters_that_match_without_case_are_found_in_any_data(
    way: Make, written: str, found: str
) -> None:
    finder = way(make(written))
    others = ["nothing here"] * 30
    special = ["ü\u0130\u017f\u212a"]
    for beside in (others, [*others, *special], special):
        for word in found.split():
            assert re.search(written, word)
            some = [*beside, f"a {word} b", *beside]
            data = b"".join(map(raw_line, some))
            candidates = ends_of(finder, data, ALL) if finder else None
            end = lines_of(data)[len(beside)][0]
            assert candidates is None or end in candidates, (word, candidates)


@ways
def test_without_case_not_every_line_is_a_candidate(way: Make) -> None:
    some = ["nothing", "an eRRor", "ünd"]
    data = b"".join(map(raw_line, some))
    assert ends_of(found_by(way, "(?i)ERROR"), data, ALL) == [lines_of(data)[1][0]]


@ways
@pytest.mark.parametrize("written", ["ab", "ab|cd", "(?i)ab|cd", "abc?", "ab.*cd|xy"])
def test_more_candidates_than_asked_for_are_not_told(way: Make, written: str) -> None:
    random = Random(f"{SEED} {written}")
    finder = found_by(way, written)
    for _ in range(50):
        words = random.choices(["ab", "cd", "abab", "ab cd", "AB", "xy", "no", "é"], k=6)
        data = b"".join(f"{word}\n".encode() for word in words)
        candidates = ends_of(finder, data, ALL)
        assert candidates is not None
        for most in range(8):
            told = ends_of(finder, data, most)
            assert told == (candidates if len(candidates) <= most else None), (words, most)


# -- texts --------------------------------------------------------------------------------


@given(
    st.lists(
        st.lists(
            st.builds(
                Text, st.sampled_from([b"ab", b"b", b"cd", b"ik", b"x", b"s"]), st.booleans()
            ),
            min_size=1,
            max_size=3,
        ).map(tuple),
        min_size=1,
        max_size=3,
    ),
    st.lists(st.text("abcdxikskIKS \u0130\u017f\u212aé", max_size=6), max_size=6),
)
def test_a_line_that_meets_all_clauses_is_a_candidate(
    asked: list[tuple[Text, ...]], some: list[str]
) -> None:
    data = b"".join(f"{content}\n".encode() for content in some)
    finder = TextFinder(asked)
    candidates = ends_of(finder, data, ALL)
    left = finder.left()
    assert all(clause in asked for clause in left)
    for end, line in lines_of(data):
        if meets(asked, line):
            assert candidates is None or end in candidates
        elif candidates is not None and end in candidates and data.isascii():
            # It was looked for one clause; the others are left to be asked.
            assert not meets(left, line)


def test_the_clause_that_the_first_data_had_least_of_is_looked_for() -> None:
    finder = TextFinder([texts("common"), texts("rare", "scarce"), texts("common", folded=True)])
    first = b"common rare\n" + b"common COMMON\n" * 5
    assert ends_of(finder, first, ALL) == [12]
    assert finder.left() == [texts("common"), texts("common", folded=True)]
    # From then on that one, whatever the data.
    assert ends_of(finder, b"rare\n" * 3 + b"common\n", ALL) == [5, 10, 15]


def test_a_line_with_several_texts_of_a_clause_is_told_once() -> None:
    finder = TextFinder([texts("ab", "cd", "e")])
    assert ends_of(finder, b"cd ab e\nx\ne cd\nab\n", ALL) == [8, 15, 18]


# -- any bytes ----------------------------------------------------------------------------


def finders(way: Make) -> list[Finder]:
    """Of every kind that there is."""
    patterns = ["needle", "(?i)needle", "needle|xy", "(?i)kiss|needle", "né+dle", r"^needle \d+$"]
    return [found_by(way, written) for written in patterns]


@ways
@given(data=st.binary(max_size=60), seed=st.integers(0, 10**6))
def test_damaged_bytes_are_never_an_error(way: Make, data: bytes, seed: int) -> None:
    random = Random(seed)
    whole = bytearray(b"".join(map(raw_line, ["a needle", "KISS \u212aiss", "née", "needle 12"])))
    at = random.randrange(len(whole))
    whole[at : at + random.randrange(9)] = data
    cut = random.randrange(len(whole))
    for damaged in (data, bytes(whole), bytes(whole[:cut]), bytes(whole[cut:])):
        for finder in finders(way):
            candidates = ends_of(finder, damaged, ALL)
            assert candidates is None or (
                candidates == sorted(set(candidates))
                and set(candidates) <= {end for end, _ in lines_of(damaged)}
            )


@ways
@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\n",
        b"\n\n\n",
        b"needle",
        b"\xff\xfe\x00needle\x80\n",
        b"\xc4",
        b"\xe2\x84",
        b"need\nle\n",
        b"needle" * 50_000,
        b"\x00" * 100_000,
        b"needle\r\nneedle\r",
        bytes(range(256)) * 40,
    ],
    ids=range(12),
)
def test_odd_bytes_are_looked_through(way: Make, data: bytes) -> None:
    for finder in finders(way):
        candidates = ends_of(finder, data, ALL)
        assert candidates is None or set(candidates) <= {end for end, _ in lines_of(data)}
    whole = {end for end, line in lines_of(data) if b"needle" in line and line[-1:] == b"\n"}
    assert whole <= set(ends_of(found_by(way, "needle"), data, ALL) or ())


# -- threads ------------------------------------------------------------------------------


@ways
def test_many_threads_may_use_one_finder(way: Make) -> None:
    random = Random(SEED)
    finder = found_by(way, "(?i)needle|zebra")
    blocks = []
    for _ in range(40):
        words = random.choices(["needle", "NEEDLE", "zebra", "nothing", "needl", "ünd"], k=200)
        data = b"".join(map(raw_line, words))
        hits = [word.lower() in ("needle", "zebra") for word in words]
        ends = [end for (end, _), hit in zip(lines_of(data), hits, strict=True) if hit]
        blocks.append((data, ends))
    together = Barrier(8)

    def look(number: int) -> int:
        own = Random(number)
        together.wait()
        wrong = 0
        for _ in range(100):
            data, ends = own.choice(blocks)
            wrong += ends_of(finder, data, ALL) != ends
        return wrong

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(look, range(8))) == 0


# -- which finder -------------------------------------------------------------------------


@needs_hyperscan
def test_an_expression_is_looked_for_by_hyperscan() -> None:
    beside = [texts("t")]
    finder = make_finder(b"abc", beside, [texts("abc")])
    assert isinstance(finder, HyperscanFinder) and finder.name == "hyperscan"
    assert finder.left() == beside
    assert ends_of(finder, b"abc\nab\nxabcx\n", ALL) == [4, 13]


@needs_hyperscan
@pytest.mark.parametrize("written", ["xy(?:.{1,5}a){32}", "x{0}yz(?:ab){0}w", "(?=(xyz))\\1"])
def test_what_hyperscan_may_refuse_is_looked_for_all_the_same(written: str) -> None:
    asked = make(written)
    finder = make_finder(asked.expression, [], clauses(asked.need))
    assert finder is not None
    content = next(
        each for each in ("xyzw", "xy" + "bbbbba" * 32, "xyz") if re.search(written, each)
    )
    data = raw_line("nothing") + raw_line(content)
    assert len(data) in (ends_of(finder, data, ALL) or [])


def test_without_hyperscan_texts_are_looked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "hyperscan", None)
    finder = make_finder(b"only here and now", [texts("t")], [texts("abc"), texts("t")])
    assert isinstance(finder, TextFinder) and finder.name == "texts"
    assert ends_of(finder, b"abc\nt\n", ALL) in ([4], [6])


def test_without_an_expression_texts_are_looked_for() -> None:
    many = texts(*(f"text {n}" for n in range(MOST_TEXTS + 1)))
    assert make_finder(None, [], [many]) is None
    finder = make_finder(None, [], [many, texts("abc")])
    assert isinstance(finder, TextFinder)
    assert ends_of(finder, b"abc\ntext 1\n", ALL) == [4]


def test_hyperscan_that_cannot_be_loaded_now_is_not_taken_for_missing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Importing it takes descriptors."""
    pytest.importorskip("hyperscan")

    def refuse(name: str, *args: object) -> object:
        raise OSError(errno.EMFILE, "Too many open files")

    with monkeypatch.context() as patch:
        patch.setattr(builtins, "__import__", refuse)
        with pytest.raises(StorageError, match="too many open files"):
            make_finder(b"loaded later", [], [])
    assert isinstance(make_finder(b"loaded later", [], []), HyperscanFinder)


def test_where_nothing_is_known_every_line_is_to_be_decoded() -> None:
    assert make_finder(None, [], []) is None
    assert make_finder(None, [texts("t")], []) is None


def test_the_naive_evaluation_of_these_tests_sees_what_is_needed() -> None:
    need = required(re.compile("(?i)kiss"))
    assert holds(need, raw_line("\u212aI\u017fs")) and not holds(need, raw_line("\u212aI\u017f"))

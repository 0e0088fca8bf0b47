"""What a search asks for: what a line must have for it, and the blocks that it covers."""

from __future__ import annotations

import re
from itertools import accumulate
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.test_required import holds, meets, t
from timelog.codec import Line, decode_lines, encode_lines
from timelog.event import Event
from timelog.filter import Filter
from timelog.journal import Block
from timelog.pattern import compile_pattern, make_pattern
from timelog.required import NOTHING, AllOf, clauses
from timelog.timestamp import to_text


def asks(
    tags: tuple[str, ...] = (),
    sources: list[str] | None = None,
    pattern: str | None = None,
    **wanted: Any,
) -> Filter:
    return Filter(
        wanted.get("start"),
        wanted.get("end"),
        frozenset(tags),
        frozenset(sources or ()),
        None if pattern is None else make_pattern(compile_pattern(pattern)),
        wanted.get("where"),
        sources is not None,
        wanted.get("id"),
    )


# -- what a line must have ----------------------------------------------------------------


def test_what_is_needed_is_written_as_json_writes_it() -> None:
    asked = asks(id="i", tags=('a"b',), sources=["é\n"], pattern="x\ty")
    assert asked.need() == AllOf(
        (t('"id":"i"'), t('"source":"é\\n"'), t('"a\\"b"'), t("x\\ty")),
    )
    assert asks(sources=["a", "b"]).need() == t('"source":"a"', '"source":"b"')
    assert asks(pattern="ab|cd").need() == t("ab", "cd")
    assert asks(tags=("a", "bcd")).need() == AllOf((t('"bcd"'), t('"a"')))


@pytest.mark.parametrize(
    "asked", [asks(), asks(start=0, end=1), asks(pattern=""), asks(where=bool), asks(sources=[])]
)
def test_what_no_text_can_tell_needs_nothing(asked: Filter) -> None:
    assert asked.need() == NOTHING
    assert asked.expression() is None
    assert asked.beside() == []


def test_an_expression_has_all_but_the_tags_after_the_longest_in_order_of_a_line() -> None:
    asked = asks(id="i", tags=("t", "long", "mid"), sources=["s", "r"], pattern="x+y")
    assert asked.expression() == b"[^\\x0a]*".join(
        [
            rb"(?:\x22id\x22\x3a\x22i\x22)",
            rb"(?:\x22source\x22\x3a\x22r\x22|\x22source\x22\x3a\x22s\x22)",
            rb"(?:\x22long\x22)",
            rb"xy",
        ]
    )
    assert [[text.raw for text in clause] for clause in asked.beside()] == [[b'"mid"'], [b'"t"']]


words = st.text('aA"\\é\n,[]:', max_size=3)
tags = st.text('aA"\\é,[]:', min_size=1, max_size=2)
rows = st.builds(
    Line,
    st.integers(0, 3).map(to_text),
    st.text("aA", min_size=1, max_size=2),
    words,
    st.lists(tags, max_size=3).map(tuple),
    words,
)


@given(
    rows,
    st.data(),
    st.sampled_from([None, "a", "(?i)A", "^a", "^", r"\\", '"', "é|,", "(?i:a)é?", ".{2}", "[]:]"]),
)
def test_a_line_that_passes_all_tests_has_what_is_needed(
    line: Line, data: st.DataObject, pattern: str | None
) -> None:
    """What is asked for is taken from the line, so that most of it does pass."""
    asked = asks(
        id=data.draw(st.sampled_from([None, line.id])),
        tags=tuple(data.draw(st.sets(st.sampled_from(line.tags)))) if line.tags else (),
        sources=data.draw(st.none() | st.lists(words, max_size=2).map(lambda a: [*a, line.source])),
        pattern=pattern,
        start=data.draw(st.none() | st.integers(0, 3)),
        end=data.draw(st.none() | st.integers(0, 4)),
    )
    raw = encode_lines([line])
    events = decode_lines(raw)
    if all(test(events) == [True] for test in asked.tests(check_time=True)):
        assert holds(asked.need(), raw)
        assert meets(clauses(asked.need()), raw)
        assert meets(asked.beside(), raw)
        expression = asked.expression()
        assert expression is None or re.search(expression, raw, re.DOTALL)


# -- tests of events ----------------------------------------------------------------------


def test_each_test_asks_for_one_thing_and_the_cheapest_come_first() -> None:
    asked: list[str] = []

    def where(event: Event) -> bool:
        asked.append(event.id)
        return event.id != "7"

    lines = [
        Line(to_text(us), str(us), "s" if us % 5 else "r", ("t", "u")[: us % 3], f"c{us % 7}")
        for us in range(60)
    ]
    events = decode_lines(encode_lines(lines))
    filter = asks(
        start=3, end=50, sources=["s"], tags=("u",), pattern="c[13]", where=where, id=None
    )
    expected = [
        str(us)
        for us in range(3, 50)
        if us % 5 and us % 3 == 2 and us % 7 in (1, 3) and str(us) != "7"
    ]
    left = events
    for test in filter.tests(check_time=True):
        left = [event for event, passed in zip(left, test(left), strict=True) if passed]
    assert [event.id for event in left] == expected
    assert asked == [event.id for event in left]
    assert len(filter.tests(check_time=False)) == len(filter.tests(check_time=True)) - 2
    assert [test(events) for test in asks(id="8").tests(check_time=True)] == [
        [event.id == "8" for event in events]
    ]


def test_of_an_empty_choice_of_sources_no_event_has_one() -> None:
    (event,) = decode_lines(encode_lines([Line(to_text(0), "1", "", (), "")]))
    (test,) = asks(sources=[]).tests(check_time=True)
    assert test([event]) == [False]
    (test,) = asks(sources=[""]).tests(check_time=True)
    assert test([event]) == [True]


def test_an_answer_that_only_counts_as_true_is_true() -> None:
    (event,) = decode_lines(encode_lines([Line(to_text(0), "1", "", (), "abc")]))
    (test,) = asks(where=lambda event: event.content).tests(check_time=True)
    assert test([event]) == [True]


def test_a_callable_that_counts_as_false_is_asked_too() -> None:
    class Seen(set[str]):
        def __call__(self, event: Event) -> bool:
            return event.id in self

    (event,) = decode_lines(encode_lines([Line(to_text(0), "1", "", (), "")]))
    asked = asks(where=Seen())
    assert not asked.is_only_pattern
    assert [test([event]) for test in asked.tests(check_time=True)] == [[False]]


def test_what_else_is_asked_for_is_known() -> None:
    assert asks(start=1, end=2).is_only_time and asks(start=1, end=2).is_only_pattern
    assert asks(pattern="").is_only_pattern and not asks(pattern="").is_only_time
    for asked in (asks(tags=("t",)), asks(sources=[]), asks(where=bool), asks(id="i")):
        assert not asked.is_only_time and not asked.is_only_pattern


# -- blocks -------------------------------------------------------------------------------


@given(st.lists(st.integers(1, 5), min_size=1, max_size=5))
def test_only_the_range_of_time_decides_what_is_covered(steps: list[int]) -> None:
    times = list(accumulate(steps))
    block = Block("x", 0, 1, 1, (0, 1), times[0], times[-1], 0, 0, (), ())
    for start in (None, *range(times[-1] + 2)):
        for end in (None, *range(times[-1] + 3)):
            inside = all(
                (start is None or start <= us) and (end is None or us < end) for us in times
            )
            assert asks(start=start, end=end).covers(block) == inside

"""Spans: half-open ranges, aligned to themselves."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from timelog.span import Span
from timelog.timestamp import DAY, END, FIRST, HOUR, MINUTE

times = st.integers(FIRST, END - 1)


@given(times)
def test_the_minute_and_the_day_of_an_instant_hold_it(us: int) -> None:
    for span, length in ((Span.minute(us), MINUTE), (Span.day(us), DAY)):
        assert span.start <= us < span.end
        assert span.end - span.start == length
        assert span.start % length == 0
        assert span.is_aligned


@given(times)
def test_a_minute_lies_within_one_day(us: int) -> None:
    minute, day = Span.minute(us), Span.day(us)
    assert day.start <= minute.start
    assert minute.end <= day.end


def test_the_end_of_a_span_is_the_start_of_the_next() -> None:
    assert Span.minute(MINUTE - 1).end == Span.minute(MINUTE).start == MINUTE
    assert Span.minute(-1) == Span(-MINUTE, 0)
    assert Span.day(-1) == Span(-DAY, 0)


@given(st.sampled_from([MINUTE, HOUR, DAY]), st.integers(-1000, 1000))
def test_minutes_hours_and_days_are_aligned_at_their_multiples_only(length: int, n: int) -> None:
    assert Span(n * length, (n + 1) * length).is_aligned
    assert not Span(n * length + 1, (n + 1) * length + 1).is_aligned
    assert not Span(n * length, (n + 1) * length + 1).is_aligned
    assert not Span(n * length, n * length).is_aligned


def test_other_lengths_are_not_aligned() -> None:
    assert not Span(0, 2 * MINUTE).is_aligned
    assert not Span(0, 2 * HOUR).is_aligned
    assert not Span(0, 7 * DAY).is_aligned
    assert not Span(MINUTE, 0).is_aligned


def test_spans_sort_by_start() -> None:
    spans = [Span(0, DAY), Span(0, MINUTE), Span(MINUTE, 2 * MINUTE), Span(-DAY, 0)]
    assert sorted(spans) == [spans[3], spans[1], spans[0], spans[2]]

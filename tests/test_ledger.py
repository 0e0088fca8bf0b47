"""The ledger: every commit and every loss is in the row of its day."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from timelog.ledger import Ledger, Row
from timelog.timestamp import DAY

START = 20_000 * DAY


def test_commits_of_one_day_are_one_row_and_those_of_another_the_next() -> None:
    ledger = Ledger(())
    ledger.enter(DAY + 5, 0, 3, {"InvalidEvent": 2})
    ledger.enter(2 * DAY - 1, 3, 4, {"InvalidEvent": 1, "BufferFull": 7})
    ledger.enter(2 * DAY, 7, 0, {})
    ledger.enter(9 * DAY, 7, 1, {})
    assert list(ledger) == [
        Row(DAY, 0, 7, 0, {"InvalidEvent": 3, "BufferFull": 7}),
        Row(2 * DAY, 7, 0, 0, {}),
        Row(9 * DAY, 7, 1, 0, {}),
    ]


def test_a_row_that_was_seen_does_not_change() -> None:
    refused = {"InvalidEvent": 1}
    ledger = Ledger(())
    ledger.enter(0, 0, 1, refused)
    (row,) = ledger
    ledger.enter(0, 1, 1, refused)
    ledger.lose(1, 2)
    assert row == Row(0, 0, 1, 0, {"InvalidEvent": 1})
    assert refused == {"InvalidEvent": 1}


def test_the_newest_are_lost_first_and_what_is_refused_stays() -> None:
    ledger = Ledger([Row(0, 0, 5, 0, {"a": 1}), Row(DAY, 5, 4, 0, {}), Row(2 * DAY, 9, 2, 0, {})])
    ledger.lose(6, 11)
    assert list(ledger) == [
        Row(0, 0, 5, 0, {"a": 1}),
        Row(DAY, 5, 4, 3, {}),
        Row(2 * DAY, 6, 2, 2, {}),
    ]
    ledger.enter(2 * DAY, 6, 1, {})
    ledger.lose(3, 7)
    assert list(ledger) == [
        Row(0, 0, 5, 2, {"a": 1}),
        Row(DAY, 3, 4, 4, {}),
        Row(2 * DAY, 3, 3, 3, {}),
    ]


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 5), st.floats(0, 1)), max_size=20))
def test_rows_join_where_the_one_before_ends(steps: list[tuple[int, int, float]]) -> None:
    """Whatever is entered, on whatever days, and lost in between."""
    ledger = Ledger(())
    time = position = entered = lost = 0
    for days, events, kept in steps:
        time += days * DAY
        ledger.enter(time, position, events, {})
        position += events
        entered += events
        if kept < 0.3:
            left = int(position * kept)
            ledger.lose(left, position)
            lost += position - left
            position = left
        rows = list(ledger)
        assert sum(row.events for row in rows) == entered
        assert sum(row.lost for row in rows) == lost
        at = 0
        for row in rows:
            assert row.position == at and 0 <= row.lost <= row.events
            at += row.events - row.lost
        assert at == position
        assert [row.day for row in rows] == sorted({row.day for row in rows})


def test_what_expired_was_deleted_and_was_erased_is_booked_where_it_was_entered() -> None:
    ledger = Ledger([])
    for day, position in ((0, 0), (1, 10), (2, 15)):
        ledger.enter(START + day * DAY, position, 10 if not day else 5, {})
    ledger.expire([(START, 3), (START + 2 * DAY, 1), (START + 9 * DAY, 7)])
    for position in (0, 9, 10, 19):
        ledger.delete(position)
    ledger.erase(9)
    ledger.erase(19)
    assert [(row.expired, row.deleted, row.erased) for row in ledger] == [
        (3, 2, 1),
        (0, 1, 0),
        (1, 1, 1),
    ]


@given(
    st.lists(st.tuples(st.integers(0, 3), st.integers(0, 9)), min_size=1, max_size=8),
    st.lists(st.tuples(st.integers(0, 90), st.integers(0, 20)), max_size=6),
)
def test_positions_are_shared_out_among_the_days(
    commits: list[tuple[int, int]], asked: list[tuple[int, int]]
) -> None:
    """Those before the first day count with it, those behind the last with that."""
    ledger = Ledger([])
    day, position = 0, 20
    owner: dict[int, int] = {}
    for later, events in commits:
        day += later
        ledger.enter(START + day * DAY, position, events, {})
        owner |= dict.fromkeys(range(position, position + events), START + day * DAY)
        position += events
    rows = list(ledger)
    expected: Counter[int] = Counter()
    for first, count in asked:
        for at in range(first, first + count):
            edge = rows[0].day if at < 20 else rows[-1].day
            expected[owner.get(at, edge)] += 1
    shares = ledger.share_out((first, first + count) for first, count in asked)
    assert +shares == expected


def test_without_a_ledger_nothing_is_shared_out() -> None:
    assert not Ledger([]).share_out([(0, 5)])

"""Taking stock: the answer is that of a plain count, in any order and with any memory."""

from __future__ import annotations

import random
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from timelog import stock
from timelog.stock import Stock, Stretch, Stretches, take_stock

stretches = st.lists(
    st.tuples(st.integers(-5, 60), st.integers(0, 12)).map(lambda pair: (pair[0], sum(pair))),
    max_size=40,
)


def counted(held: list[Stretch], low: int, high: int) -> tuple[set[int], set[int]]:
    """The positions that nobody holds, and those that several hold, one by one."""
    holders = Counter(at for first, last in held for at in range(first, last))
    none = {at for at in range(low, high) if not holders[at]}
    return none, {at for at in range(low, high) if holders[at] > 1}


def named(stretches: Stretches) -> set[int]:
    return {at for first, last in stretches.first for at in range(first, last)}


@pytest.mark.parametrize("most", [4, 7, 250_000])
@given(held=stretches, low=st.integers(0, 10), length=st.integers(0, 60))
def test_it_is_a_plain_count(most: int, held: list[Stretch], low: int, length: int) -> None:
    before, stock.MOST_STRETCHES = stock.MOST_STRETCHES, most
    try:
        found = take_stock(lambda: held, low, low + length)
    finally:
        stock.MOST_STRETCHES = before
    none, several = counted(held, low, low + length)
    for what, expected in ((found.none, none), (found.several, several)):
        assert what.number == len(expected)
        # Only the first few are named.
        assert named(what) <= expected
        assert named(what) == expected or len(what.first) == 10


def test_memory_is_bounded_where_every_position_is_a_stretch_of_its_own(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(stock, "MOST_STRETCHES", 100)
    positions = list(range(2_000))
    random.Random(20261121).shuffle(positions)
    positions.remove(77)
    positions.append(1_234)
    passes = 0
    most = 0
    union = stock._union

    def watched(stretches: list[Stretch]) -> tuple[list[Stretch], list[Stretch]]:
        nonlocal most
        most = max(most, len(stretches))
        return union(stretches)

    monkeypatch.setattr(stock, "_union", watched)

    def held() -> list[Stretch]:
        nonlocal passes
        passes += 1
        return [(at, at + 1) for at in positions]

    found = take_stock(held, 0, 2_000)
    assert found == Stock(Stretches(1, ((77, 78),)), Stretches(1, ((1_234, 1_235),)))
    assert most <= 101
    assert 1 < passes < 100


def test_a_log_that_arrived_in_order_takes_one_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stock, "MOST_STRETCHES", 100)
    calls: list[int] = []

    def held() -> list[Stretch]:
        calls.append(1)
        return [(at * 10, at * 10 + 10) for at in range(5_000)]

    assert take_stock(held, 0, 50_000).none.number == 0
    assert len(calls) == 1


def test_nothing_to_count_takes_no_pass() -> None:
    def held() -> list[Stretch]:
        raise AssertionError

    assert take_stock(held, 7, 7) == Stock(Stretches(0, ()), Stretches(0, ()))

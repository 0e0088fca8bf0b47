"""The positions of a block's lines, against a plain list of them; and what is none."""

from __future__ import annotations

import struct
import tracemalloc
import zlib
from itertools import pairwise
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from timelog import positions
from timelog.errors import DamagedError
from timelog.positions import MOST_RUNS, Runs, at, ends, fits, hold_any, pack, stretches

# Unbroken, in a few stretches, and in any order.
lists = st.one_of(
    st.tuples(st.integers(0, 1 << 50), st.integers(1, 300)).map(
        lambda pair: list(range(pair[0], sum(pair)))
    ),
    st.lists(st.tuples(st.integers(0, 200), st.integers(1, 9)), min_size=1, max_size=90).map(
        lambda runs: [first * 10 + n for first, count in runs for n in range(count)]
    ),
    st.lists(st.integers(0, 1 << 53), min_size=1, max_size=300),
    st.integers(0, 1 << 30).map(lambda seed: Random(seed).sample(range(500), 300)),
)


@given(lists, st.data())
def test_what_was_packed_is_the_same(known: list[int], data: st.DataObject) -> None:
    runs = pack(known)
    assert ends(runs) == (min(known), max(known) + 1)
    assert fits(runs, len(known))
    assert not fits(runs, len(known) + 1) and not fits(runs, len(known) - 1)
    assert [each for low, end in stretches(runs, len(known)) for each in range(low, end)] == known
    numbers = sorted(data.draw(st.sets(st.integers(0, len(known) - 1))))
    assert list(at(runs, len(known), numbers)) == [known[number] for number in numbers]
    wanted = sorted(data.draw(st.sets(st.integers(0, 2200) | st.sampled_from(known), max_size=5)))
    assert hold_any(runs, len(known), wanted) == bool(set(wanted) & set(known))


@given(lists)
def test_few_stretches_are_runs_and_many_are_packed(known: list[int]) -> None:
    breaks = sum(two != one + 1 for one, two in pairwise(known))
    runs = pack(known)
    assert isinstance(runs, bytes) == (breaks >= MOST_RUNS)
    if isinstance(runs, tuple):
        assert len(runs) == 2 * (breaks + 1)


def test_lines_in_any_order_take_little() -> None:
    known = Random(20261121).sample(range(4096), 4096)
    assert len(pack(known)) < 11_000


def packed(numbers: list[int], low: int, high: int) -> bytes:
    return struct.pack("<QQ", low, high) + zlib.compress(struct.pack(f"<{len(numbers)}q", *numbers))


GOOD = packed([7, -2, 4], 5, 10)


@pytest.mark.parametrize(
    ("runs", "count"),
    [
        (GOOD, 2),
        (GOOD, 4),
        (GOOD, 0),
        (GOOD[:-6], 3),
        (GOOD[:16], 3),
        (GOOD[:20], 3),
        (GOOD[:16] + b"\0" * 20, 3),
        (packed([7, -2, 4], 5, 11), 3),
        (packed([7, -2, 4], 4, 10), 3),
        (packed([1, -2, 4], 0, 4), 3),
        (packed([2**63 - 1, 2**63 - 1], 0, 4), 2),
        (struct.pack("<QQ", 5, 10) + zlib.compress(b"x" * 23), 3),
        (packed([0] * 10_000_000, 0, 1), 3),
    ],
)
def test_what_is_none_is_damage(runs: bytes, count: int) -> None:
    assert not fits(runs, count)
    with pytest.raises(DamagedError, match="not those of its lines"):
        list(stretches(runs, count))
    with pytest.raises(DamagedError, match="not those of its lines"):
        at(runs, count, [0])


@given(st.binary(min_size=16, max_size=80), st.integers(0, 50))
def test_any_bytes_are_positions_or_damage(data: bytes, count: int) -> None:
    ends(data)
    try:
        found = sum(end - first for first, end in stretches(data, count))
    except DamagedError:
        assert not fits(data, count)
    else:
        assert found == count and fits(data, count)


@pytest.mark.parametrize("runs", [(0, 1, 5), (0, 3, 9, 1), (0, 1)])
def test_runs_of_another_number_do_not_fit(runs: Runs) -> None:
    assert not fits(runs, 3)


def test_a_bomb_takes_no_more_memory_than_the_lines_it_is_for() -> None:
    bomb = packed([0] * 20_000_000, 0, 1)
    assert len(bomb) < 200_000
    tracemalloc.start()
    try:
        assert not fits(bomb, 1000)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 3 * len(bomb)


def test_bytes_that_are_packed_are_the_format_of_the_documents(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(positions, "MOST_RUNS", 1)
    runs = pack([7, 5, 9])
    assert isinstance(runs, bytes)
    assert struct.unpack("<QQ", runs[:16]) == (5, 10)
    assert struct.unpack("<3q", zlib.decompress(runs[16:])) == (7, -2, 4)

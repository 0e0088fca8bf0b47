"""Ids: the layout of RFC 9562, in order of time, never twice."""

from __future__ import annotations

import uuid
from collections.abc import Iterable

from hypothesis import example, given
from hypothesis import strategies as st

from timelog.uuid7 import Uuid7, milliseconds


def take(source: Uuid7, times: Iterable[int]) -> list[str]:
    """One id for each millisecond of ``times``, as the buffer takes them."""
    ids = []
    current = None
    front, ends = "", iter("")
    for ms in times:
        end = next(ends, None) if ms == current else None
        if end is None:
            front, ends = source.start(ms)
            current, end = ms, next(ends)
        ids.append(front + end)
    return ids


@given(st.integers(0, 2**48 - 1))
@example(0)
@example(2**48 - 1)
def test_an_id_has_the_layout_of_rfc_9562_and_holds_its_time(ms: int) -> None:
    (id,) = take(Uuid7(), [ms])
    value = uuid.UUID(id)
    assert str(value) == id
    assert len(id) == 36
    assert value.version == 7
    assert value.variant == uuid.RFC_4122
    assert value.int >> 80 == ms
    assert milliseconds(id) == ms


@given(st.lists(st.integers(0, 20), min_size=1, max_size=50), st.integers(0, 2**47))
def test_ids_increase_for_times_that_do_not_decrease(steps: list[int], ms: int) -> None:
    times = [ms := ms + step for step in steps]
    ids = take(Uuid7(), times)
    assert ids == sorted(ids)
    assert len(set(ids)) == len(ids)


def test_more_than_4096_ids_of_one_millisecond_increase_too() -> None:
    ids = take(Uuid7(), [1_795_000_000_000] * 20_000)
    assert ids == sorted(ids)
    assert len(set(ids)) == 20_000
    assert {milliseconds(id) for id in ids} == {1_795_000_000_000}


def test_ids_are_unique_when_time_goes_back_and_forth() -> None:
    ids = take(Uuid7(), [1_795_000_000_000 + n % 3 for n in range(10_000)])
    assert len(set(ids)) == 10_000


def test_two_sources_do_not_meet() -> None:
    one, two = (take(Uuid7(), [1_795_000_000_000] * 5000) for _ in range(2))
    assert not set(one) & set(two)


def test_the_counter_runs_over_without_leaving_the_layout() -> None:
    source = Uuid7()
    source._counter = 2**36 - 2
    ids = take(source, [7] * 4096 * 3)
    assert len(set(ids)) == 4096 * 3
    assert all(len(id) == 36 and uuid.UUID(id).version == 7 for id in ids)


def test_times_before_1970_are_zero() -> None:
    (id,) = take(Uuid7(), [-5])
    assert milliseconds(id) == 0


def test_a_foreign_id_has_no_time() -> None:
    ours = take(Uuid7(), [1_795_000_000_000])[0]
    assert milliseconds(ours) is not None
    for id in (
        "",
        "42",
        "order-17",
        str(uuid.UUID(int=0)),
        "6ba7b810-9dad-11d1-80b4-00c04fd430c8",
        "f47ac10b-58cc-4372-a567-0e02b2c3d479",
        ours.upper(),
        ours.replace("-", ""),
        "{" + ours + "}",
        "urn:uuid:" + ours,
        ours + " ",
        ours[:19] + "c" + ours[20:],
    ):
        assert milliseconds(id) is None, id

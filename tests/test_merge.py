"""Merging parts in order of (timestamp, position), in bounded memory."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from timelog import merge as module
from timelog.event import Event
from timelog.merge import Part, merge
from timelog.scan import Found
from timelog.timestamp import to_datetime

Item = tuple[int, int]  # (time, position)


class Source:
    """Parts with their items; counts how often each is loaded and how much is held."""

    def __init__(self, parts: Sequence[Sequence[Item]], slack: int = 0) -> None:
        self.items = [list(items) for items in parts]
        self.loads: Counter[int] = Counter()
        self.parts = [
            Part(min(items)[0] - slack, max(t for t, _ in items) + slack, n)
            for n, items in enumerate(self.items)
            if items
        ]

    def load(self, n: int) -> Found:
        self.loads[n] += 1
        events = [
            Event(to_datetime(us), str(position), "", (), "x" * 28)
            for us, position in self.items[n]
        ]
        positions: Sequence[int] = [position for _, position in self.items[n]]
        if list(positions) == list(range(positions[0], positions[0] + len(positions))):
            positions = range(positions[0], positions[0] + len(positions))
        return Found(events, positions)

    def merged(self, *, descending: bool = False) -> list[int]:
        """The positions in the order in which their events come."""
        return [int(event.id) for event in merge(self.parts, self.load, descending=descending)]

    def sorted(self, *, descending: bool = False) -> list[int]:
        every = sorted((item for items in self.items for item in items), reverse=descending)
        return [position for _, position in every]


@st.composite
def parts(draw: st.DrawFn) -> list[list[Item]]:
    """Parts whose times overlap in any way, with many equal times; positions are unique."""
    count = draw(st.integers(0, 30))
    positions = draw(st.permutations(range(count))) if draw(st.booleans()) else range(count)
    made: list[list[Item]] = [[] for _ in range(draw(st.integers(1, 6)))]
    width = draw(st.sampled_from([2, 20]))
    for position in positions:
        n = draw(st.integers(0, len(made) - 1))
        made[n].append((draw(st.integers(0, width)) + n * draw(st.sampled_from([0, 3])), position))
    return [items for items in made if items]


def times(*parts: Sequence[int]) -> Source:
    """Parts of events with these times; positions count up."""
    position = iter(range(10**6))
    return Source([[(us, next(position)) for us in part] for part in parts])


most_waiting = st.sampled_from([0, 1, 200, 400, 900, 8 * 1024 * 1024])


@given(parts(), st.booleans(), most_waiting, st.integers(0, 2))
@example([[(0, 0), (0, 1), (0, 2)], [(0, 3), (0, 4)]], True, 0, 0)
@example([[(0, 4), (0, 1)], [(0, 3), (0, 0), (0, 2)]], False, 0, 0)
def test_merging_is_sorting(
    made: list[list[Item]], descending: bool, most: int, slack: int
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "MOST_WAITING", most)
        source = Source(made, slack)
        assert source.merged(descending=descending) == source.sorted(descending=descending)


@pytest.mark.parametrize("descending", [False, True])
def test_parts_that_do_not_overlap_are_loaded_once_even_with_no_memory(
    descending: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MOST_WAITING", 0)
    source = times([1, 2, 3], [4, 4], [9, 5, 7], [20], [10, 19])
    assert source.merged(descending=descending) == source.sorted(descending=descending)
    assert source.loads == Counter(range(5))


@pytest.mark.parametrize("descending", [False, True])
def test_overlapping_parts_that_fit_into_memory_are_loaded_once(descending: bool) -> None:
    source = times(range(0, 20, 2), range(1, 20, 2), range(15, 40), [10], [100], [39])
    assert source.merged(descending=descending) == source.sorted(descending=descending)
    assert source.loads == Counter(range(6))


@pytest.mark.parametrize("descending", [False, True])
def test_overlapping_parts_beyond_memory_are_loaded_again(
    descending: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ten events fit; the merge then goes over the parts again, and only over those it needs."""
    monkeypatch.setattr(module, "MOST_WAITING", 10 * (28 + module._EVENT_COST))
    source = times(range(0, 60, 3), range(1, 60, 3), range(2, 60, 3), range(100, 110))
    assert source.merged(descending=descending) == source.sorted(descending=descending)
    assert all(source.loads[n] > 1 for n in range(3))
    assert source.loads[3] == 1


def test_parts_that_are_done_are_not_loaded_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """A long chain in which each part overlaps only its neighbours."""
    monkeypatch.setattr(module, "MOST_WAITING", 4 * (28 + module._EVENT_COST))
    source = times(*(range(n * 10, n * 10 + 12) for n in range(40)))
    assert source.merged() == source.sorted()
    assert max(source.loads.values()) < 40


@pytest.mark.parametrize("descending", [False, True])
def test_parts_that_touch_at_one_instant_are_put_in_order_of_position(descending: bool) -> None:
    source = Source([[(5, 3), (5, 9)], [(5, 1), (6, 0)], [(4, 4), (5, 2)]])
    assert source.merged(descending=descending) == source.sorted(descending=descending)


def test_descending_is_the_exact_reverse() -> None:
    source = times([3, 1, 1, 2], [1, 1], [2, 2, 8], [8, 9])
    assert source.merged(descending=True) == source.merged()[::-1]


def test_nothing_is_loaded_before_it_is_asked_for() -> None:
    source = times([1, 2], [5, 6], [9])
    events = merge(source.parts, source.load, descending=False)
    assert source.loads == Counter()
    assert [next(events).id for _ in range(2)] == ["0", "1"]
    assert source.loads == Counter([0])
    assert next(events).id == "2"
    assert source.loads == Counter([0, 1])


def test_no_parts_are_no_events() -> None:
    assert list(merge([], lambda source: Found([], ()), descending=False)) == []


def test_parts_without_matching_events_are_passed_over() -> None:
    found = Found([], [])
    parts = [Part(0, 10, None), Part(5, 20, None), Part(30, 40, None)]
    for descending in (False, True):
        assert list(merge(parts, lambda source: found, descending=descending)) == []

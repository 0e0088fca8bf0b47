"""Merging parts in order of (timestamp, position), in bounded memory."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from operator import itemgetter

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from timelog import merge as module
from timelog.event import Event
from timelog.merge import Loader, Part, in_order, merge
from timelog.scan import Found
from timelog.timestamp import END, FIRST, to_datetime

Item = tuple[int, int]  # (time, position)
CONTENT = "x" * 28
COST = len(CONTENT) + module._EVENT_COST


class Source:
    """Parts with their items, each in order of position; counts how often each is looked at."""

    def __init__(self, parts: Sequence[Sequence[Item]], slack: int = 0) -> None:
        self.items = [sorted(items, key=itemgetter(1)) for items in parts]
        self.loads: Counter[int] = Counter()
        self.first_loads: list[int] = []
        self.reads: Counter[int] = Counter()
        self.damaged: set[int] = set()
        self.parts = [
            Part(min(items)[0] - slack, max(us for us, _ in items) + slack, n)
            for n, items in enumerate(self.items)
            if items
        ]

    def event(self, n: int, number: int) -> Event:
        us, position = self.items[n][number]
        return Event(to_datetime(us), str(position), "", (), CONTENT)

    def load(self, n: int) -> Found:
        self.first_loads += [] if self.loads[n] else [n]
        self.loads[n] += 1
        numbers = range(len(self.items[n]))
        events = [self.event(n, number) for number in numbers]
        positions = [position for _, position in self.items[n]]
        return Found(events, lambda: numbers, lambda some: [positions[each] for each in some])

    def lines(self, n: int, numbers: list[int]) -> list[Event]:
        self.reads[n] += 1
        return [] if n in self.damaged else [self.event(n, number) for number in numbers]

    def batches(self, *, descending: bool = False) -> Iterator[list[Event]]:
        parts = in_order(self.parts, descending=descending)
        return merge(parts, Loader(self.load, self.lines), descending=descending)

    def merged(self, *, descending: bool = False) -> list[int]:
        """The positions in the order in which their events come."""
        batches = self.batches(descending=descending)
        return [int(event.id) for batch in batches for event in batch]

    def sorted(self, *, descending: bool = False) -> list[int]:
        every = sorted((item for items in self.items for item in items), reverse=descending)
        return [position for _, position in every]


@contextmanager
def room_for(waiting: int, keys: int = 250_000, batch: int = 16_384) -> Iterator[None]:
    """Let so many events wait, so many keys be sorted at once, so many lines be read at once."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "MOST_WAITING", waiting * COST)
        patch.setattr(module, "MOST_KEYS", keys)
        patch.setattr(module, "_BATCH", batch)
        yield


@st.composite
def parts(draw: st.DrawFn) -> list[list[Item]]:
    """Parts whose times overlap in any way, with many equal times; positions are unique."""
    count = draw(st.integers(0, 30))
    made: list[list[Item]] = [[] for _ in range(draw(st.integers(1, 6)))]
    width = draw(st.sampled_from([0, 2, 20]))
    apart = draw(st.sampled_from([0, 3, 30]))
    for position in range(count):
        n = draw(st.integers(0, len(made) - 1))
        made[n].append((draw(st.integers(0, width)) + n * apart, position))
    return [items for items in made if items]


def times(*parts: Sequence[int]) -> Source:
    """Parts of events with these times; positions count up."""
    position = iter(range(10**6))
    return Source([[(us, next(position)) for us in part] for part in parts])


both = pytest.mark.parametrize("descending", [False, True])


@given(
    parts(),
    st.booleans(),
    st.sampled_from([0, 1, 2, 5, 100]),
    st.sampled_from([1, 2, 5, 100]),
    st.sampled_from([1, 3, 100]),
    st.integers(0, 2),
)
@example([[(0, 0), (0, 1), (0, 2)], [(0, 3), (0, 4)]], True, 0, 1, 1, 0)
@example([[(0, 1), (0, 4), (-1, 5)]], False, 0, 1, 1, 0)
@example([[(0, 1), (0, 4), (-1, 5)]], True, 0, 1, 1, 0)
@example([[(0, 1), (0, 4)], [(0, 0), (0, 2), (0, 3)]], False, 0, 1, 1, 0)
@example([[(5, 1)], [(5, 0), (6, 2)], [(6, 3)]], True, 0, 2, 1, 0)
def test_merging_is_sorting(
    made: list[list[Item]], descending: bool, waiting: int, keys: int, batch: int, slack: int
) -> None:
    source = Source(made, slack)
    with room_for(waiting, keys, batch):
        assert source.merged(descending=descending) == source.sorted(descending=descending)


@both
def test_times_at_the_ends_of_the_calendar_are_sorted_too(descending: bool) -> None:
    source = times([FIRST, END - 1], [FIRST, 0, -1, END - 1], [FIRST, FIRST + 1, 1])
    with room_for(0, 2):
        assert source.merged(descending=descending) == source.sorted(descending=descending)


@both
def test_parts_that_do_not_overlap_are_loaded_once_even_with_no_memory(descending: bool) -> None:
    source = times([1, 2, 3], [4, 4], [9, 5, 7], [20], [10, 19])
    with room_for(0, 1):
        assert source.merged(descending=descending) == source.sorted(descending=descending)
    assert source.loads == Counter(range(5))
    assert not source.reads


@both
def test_overlapping_parts_that_fit_into_memory_are_loaded_once(descending: bool) -> None:
    source = times(range(0, 20, 2), range(1, 20, 2), range(15, 40), [10], [100], [39])
    assert source.merged(descending=descending) == source.sorted(descending=descending)
    assert source.loads == Counter(range(6))
    assert not source.reads


@both
def test_parts_that_overlap_only_their_neighbours_need_little_memory(descending: bool) -> None:
    source = times(*(range(n * 10, n * 10 + 12) for n in range(40)))
    with room_for(24):
        assert source.merged(descending=descending) == source.sorted(descending=descending)
    assert source.loads == Counter(range(40))


@both
def test_overlapping_parts_beyond_memory_are_loaded_once_more_for_each_round_of_keys(
    descending: bool,
) -> None:
    source = times(range(0, 60, 3), range(1, 60, 3), range(2, 60, 3), range(100, 110))
    with room_for(10, keys=20, batch=7):
        batches = list(source.batches(descending=descending))
    found = [int(event.id) for batch in batches for event in batch]
    assert found == source.sorted(descending=descending)
    assert all(1 < source.loads[n] <= 1 + 60 // 20 + 1 for n in range(3))
    assert source.loads[3] == 1
    assert source.reads[3] == 0
    assert max(map(len, batches)) <= 10


@both
def test_what_was_passed_on_before_memory_ran_out_does_not_come_again(descending: bool) -> None:
    if descending:
        source = times([40, 39, 30], range(10, 31), [15, 0])
    else:
        source = times([0, 1, 10], range(10, 31), [25, 40])
    with room_for(5, keys=10):
        batches = list(source.batches(descending=descending))
    assert [event.id for event in batches[0]] == ["0", "1"]
    found = [int(event.id) for batch in batches for event in batch]
    assert found == source.sorted(descending=descending)


def test_parts_that_are_done_are_not_loaded_again() -> None:
    source = times(*(range(n * 10, n * 10 + 12) for n in range(40)))
    with room_for(0, keys=12):
        assert source.merged() == source.sorted()
    assert source.loads[0] < 5
    assert source.loads[39] > 30


def test_a_part_that_is_damaged_meanwhile_is_left_out() -> None:
    source = times(range(0, 60, 3), range(1, 60, 3), range(2, 60, 3))
    source.damaged = {1}
    with room_for(0, keys=20, batch=7):
        found = source.merged()
    assert found == [each for each in source.sorted() if not 20 <= each < 40]


@both
def test_parts_that_touch_at_one_instant_are_put_in_order_of_position(descending: bool) -> None:
    source = Source([[(5, 3), (5, 9)], [(5, 1), (6, 0)], [(4, 4), (5, 2)]])
    assert source.merged(descending=descending) == source.sorted(descending=descending)


def test_descending_is_the_exact_reverse() -> None:
    source = times([3, 1, 1, 2], [1, 1], [2, 2, 8], [8, 9])
    assert source.merged(descending=True) == source.merged()[::-1]


def test_nothing_is_loaded_before_it_is_asked_for() -> None:
    source = times([1, 2], [5, 6], [9])
    batches = source.batches()
    assert source.loads == Counter()
    assert [event.id for event in next(batches)] == ["0", "1"]
    assert source.loads == Counter([0])
    assert [event.id for event in next(batches)] == ["2", "3"]
    assert source.loads == Counter([0, 1])


def test_no_parts_are_no_events() -> None:
    assert not any(Source([]).batches())


@both
def test_parts_without_matching_events_are_passed_over(descending: bool) -> None:
    nothing = Loader[None, Event](
        lambda source: Found([], tuple, tuple), lambda source, numbers: []
    )
    parts = [Part(0, 10, None), Part(5, 20, None), Part(30, 40, None)]
    ordered = in_order(parts, descending=descending)
    assert not any(merge(ordered, nothing, descending=descending))


@given(
    parts(),
    st.booleans(),
    st.sampled_from([0, 2, 100]),
    st.sampled_from([1, 5, 100]),
    st.integers(0, 2),
)
def test_parts_are_loaded_for_the_first_time_in_the_order_that_is_foretold(
    made: list[list[Item]], descending: bool, waiting: int, keys: int, slack: int
) -> None:
    """So they can be read ahead, whatever memory there is."""
    source = Source(made, slack)
    with room_for(waiting, keys):
        source.merged(descending=descending)
    foretold = in_order(source.parts, descending=descending)
    assert source.first_loads == [part.source for part in foretold]


def test_parts_are_put_in_order_of_the_edge_at_which_the_merge_begins() -> None:
    parts = [Part(5, 9, "c"), Part(0, 20, "a"), Part(2, 3, "b"), Part(5, 6, "d"), Part(5, 9, "e")]
    assert [part.source for part in in_order(parts, descending=False)] == list("abcde")
    assert [part.source for part in in_order(parts, descending=True)] == list("acedb")
    assert in_order(iter(()), descending=False) == []

"""A day of the index: blocks that come before its file is loaded, and after."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from timelog.checkpoint import DaySummary
from timelog.day import Day, segment_name
from timelog.errors import DamagedError
from timelog.journal import Block
from timelog.names import SegmentName
from timelog.segment import FileIndex, Segment
from timelog.span import Span
from timelog.timestamp import DAY, MINUTE

START = 20_000 * DAY
SUMMARY = DaySummary(START, "2024-10-04.1.index", 0, 1, 2, 20, START + 5, START + 50)


def name(minute: int, number: int = 1) -> SegmentName:
    return SegmentName(Span.minute(START + minute * MINUTE), number)


def block(minute: int, offset: int, time: int, length: int = 10) -> Block:
    runs = (offset, 1)
    return Block(name(minute).path, offset, length, 1, runs, time, time, 0, 0, (), ())


def stored() -> FileIndex:
    """What the day's index file holds: a segment of the first minute."""
    files = FileIndex()
    segment = Segment(name(0), 7)
    segment.blocks = [Block(name(0).path, 0, 20, 2, (0, 2), START + 5, START + 50, 0, 0, (), ())]
    files.add(segment)
    return files


def content(day: Day) -> list[tuple[SegmentName, int, bool, int]]:
    assert day.files is not None
    return [(each.name, each.created, each.fenced, each.length) for each in day.files]


def test_a_new_day_is_empty_loaded_and_to_be_saved() -> None:
    day = Day(START, None)
    assert day.files is not None
    assert len(day.files) == 0
    assert day.changed
    assert (day.count, day.bytes) == (0, 0)


def test_a_day_of_a_checkpoint_knows_its_sums_unread() -> None:
    day = Day(START, SUMMARY)
    assert day.files is None
    assert not day.changed
    assert (day.count, day.bytes, day.first, day.last) == (2, 20, START + 5, START + 50)


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, MINUTE - 1)), max_size=10))
def test_the_sums_of_a_day_are_those_of_its_blocks(added: list[tuple[int, int]]) -> None:
    day = Day(START, None)
    times = []
    for n, (minute, micros) in enumerate(added):
        times.append(START + minute * MINUTE + micros)
        day.add(block(minute, 10 * n, times[-1]), 7)
    assert day.count == len(added)
    assert day.bytes == 10 * len(added)
    if times:
        assert (day.first, day.last) == (min(times), max(times))


def test_what_comes_before_the_file_is_loaded_is_the_same_as_after() -> None:
    early, late = Day(START, SUMMARY), Day(START, SUMMARY)
    late.loaded(stored())
    for day in (early, late):
        day.add(block(0, 20, START + 60), 100)
        day.add(block(1, 0, START + MINUTE), 100)
        day.fence(name(1), 200)
        day.fence(name(2, 3), 200)
    early.loaded(stored())
    assert content(early) == content(late)
    assert content(early) == [
        (name(0), 7, False, 30),
        (name(1), 100, True, 10),
        (name(2, 3), 200, True, 0),
    ]
    assert early.pending == early.fences == []
    for day in (early, late):
        assert (day.count, day.bytes) == (4, 40)
        assert (day.first, day.last) == (START + 5, START + MINUTE)
        assert day.changed


@pytest.mark.parametrize("loaded", [False, True])
def test_a_block_and_a_fence_are_to_be_saved(loaded: bool) -> None:
    blocked, fenced = Day(START, SUMMARY), Day(START, SUMMARY)
    for day in (blocked, fenced):
        if loaded:
            day.loaded(stored())
    blocked.add(block(0, 20, START + 60), 100)
    fenced.fence(name(1), 200)
    assert blocked.changed
    assert fenced.changed


def test_loading_alone_is_no_change() -> None:
    day = Day(START, SUMMARY)
    day.loaded(stored())
    assert not day.changed


def test_a_segment_keeps_the_time_of_its_first_commit() -> None:
    day = Day(START, None)
    day.add(block(0, 0, START), 100)
    day.add(block(0, 10, START), 900)
    assert content(day) == [(name(0), 100, False, 20)]


def test_a_path_that_is_no_segment_is_damage() -> None:
    assert segment_name(name(0).path) == name(0)
    for path in ("", "2026-11-21/readme", "../../etc/passwd", name(0).path + ".bak"):
        with pytest.raises(DamagedError, match="no segment"):
            segment_name(path)

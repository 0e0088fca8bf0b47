"""A day of the index: blocks that come before its file is loaded, and after."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from timelog.checkpoint import DaySummary
from timelog.day import Day, segment_name
from timelog.errors import DamagedError
from timelog.journal import Block, Gone, Replacement, Tombstone
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


# -- what goes ----------------------------------------------------------------------------

STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("add"), st.integers(0, 3), st.integers(0, MINUTE - 1)),
        st.tuples(st.just("fence"), st.integers(0, 4), st.just(0)),
        st.tuples(st.just("replace"), st.integers(0, 15), st.integers(0, 5)),
        st.tuples(st.just("bury"), st.integers(0, 30), st.just(0)),
    ),
    max_size=25,
)


class Model:
    """Does the same to days that are loaded at different times."""

    def __init__(self, summary: DaySummary | None) -> None:
        self.days = [Day(START, summary) for _ in range(3)]
        self.next = {minute: 2 if minute == 0 and summary else 1 for minute in range(5)}
        # The blocks of each segment that is there.
        self.known: dict[SegmentName, list[Block]] = {}
        if summary:
            segment = stored().get(name(0))
            assert segment is not None
            self.known[name(0)] = list(segment.blocks)
        self.sequence = 100

    def add(self, minute: int, micros: int) -> None:
        segment = name(minute, self.next[minute])
        before = self.known.setdefault(segment, [])
        offset = before[-1].end if before else 0
        at = START + minute * MINUTE + micros
        self.sequence += 1
        made = Block(segment.path, offset, 10, 1, (self.sequence, 1), at, at, 0, 0, (), ())
        before.append(made)
        for day in self.days:
            day.enter(made, 7, START + DAY)

    def replace(self, chosen: int, left_out: int) -> None:
        """Some segments become one, without some of their events."""
        going = [each for n, each in enumerate(sorted(self.known)) if chosen >> n & 1]
        self.sequence += 1
        counts = [sum(block.count for block in self.known[each]) for each in going]
        sizes = [sum(block.length for block in self.known[each]) for each in going]
        gone = tuple(map(Gone, (each.path for each in going), counts, sizes, sizes))
        positions = [
            block.runs[0] + n
            for each in going
            for block in self.known.pop(each)
            for n in range(block.count)
        ]
        erased = tuple(positions[:left_out])
        for day in self.days:
            # Those of the summary were entered on the day itself.
            shares = Counter(START if at < 2 else START + DAY for at in erased)
            day.replace(
                Replacement(START, gone, (), erased, left_out % 2 == 0), shares, self.sequence
            )
        for segment in (
            each for each in list(self.next) if any(n.span == name(each).span for n in going)
        ):
            self.next[segment] = self.sequence + 1
        if positions[left_out:]:
            at = START + 9 * MINUTE
            segment = SegmentName(Span.day(START), self.sequence)
            made = Block(
                segment.path,
                0,
                7,
                len(positions) - len(erased),
                (positions[0], 1),
                at,
                at,
                0,
                0,
                (),
                (),
            )
            self.known[segment] = [made]
            for day in self.days:
                day.fence(segment, 9)
                day.add(made, 9)

    def bury(self, position: int) -> None:
        for day in self.days:
            day.bury(Tombstone(position, "id", START, b""))


@given(STEPS, st.booleans(), st.integers(0, 25))
def test_what_goes_before_the_file_is_loaded_goes_as_after(
    steps: list[tuple[str, int, int]], is_kept: bool, when: int
) -> None:
    summary = replace(SUMMARY, stored=20, entered=((START, 2),)) if is_kept else None
    model = Model(summary)
    early, middle, late = model.days
    if is_kept:
        early.loaded(stored())
    for number, (what, first, second) in enumerate(steps):
        if is_kept and number == when:
            middle.loaded(stored())
        if what == "add":
            model.add(first, second)
        elif what == "fence":
            for day in model.days:
                day.fence(name(first, model.next[first]), 5)
        elif what == "replace":
            model.replace(first, second)
        else:
            model.bury(first)
    unread = (late.count, late.bytes, late.stored, late.entered, late.floor, late.is_due)
    for day in (middle, late):
        if day.files is None:
            day.loaded(stored())
    assert unread == (late.count, late.bytes, late.stored, late.entered, late.floor, late.is_due)
    blocks = [block for segment in model.known.values() for block in segment]
    assert early.files is not None
    for day in model.days:
        assert day.files is not None
        assert content(day) == content(early)
        assert day.files.tombstones == early.files.tombstones
        assert day.count == sum(block.count for block in blocks) == sum(day.entered.values())
        assert day.bytes == day.stored == sum(block.length for block in blocks)
        if blocks:
            assert day.first == min(block.first for block in blocks)
            assert day.last == max(block.last for block in blocks)
        assert day.weight >= sum(len(segment.blocks) for segment in day.files)


def test_a_tombstone_is_erased_where_its_text_is_gone() -> None:
    for is_early in (True, False):
        day = Day(START, SUMMARY)
        if is_early:
            day.loaded(stored())
        day.bury(Tombstone(0, "a", START, b"x"))
        day.bury(Tombstone(1, "b", START, b"y"))
        assert day.is_due
        day.replace(Replacement(START, (Gone(name(0).path, 2, 20, 20),), (), (1,)), Counter(), 9)
        assert not day.is_due and day.floor == 9
        if not is_early:
            day.loaded(stored())
        assert day.files is not None and not len(day.files)
        assert [each.is_erased for each in day.files.tombstones.values()] == [False, True]
        assert (day.count, day.bytes, day.weight) == (0, 0, 0)

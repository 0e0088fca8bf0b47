"""Segments and their blocks; the sorted file index against a naive list."""

from __future__ import annotations

import zlib
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from timelog import segment as module
from timelog.journal import Block
from timelog.names import SegmentName
from timelog.segment import MOST_NAMES, FileIndex, Segment, names_of
from timelog.span import Span
from timelog.timestamp import DAY, HOUR, MINUTE

NAME = SegmentName(Span.minute(0), 1)
Part = tuple[bytes, tuple[int, ...], tuple[str, ...] | None, tuple[str, ...] | None]


def blocks_of(parts: list[Part], path: str = NAME.path) -> list[Block]:
    """The blocks of texts that were written one behind the other."""
    blocks = []
    offset = seed = 0
    for data, runs, tags, sources in parts:
        crc = zlib.crc32(data, seed)
        times = [n * 7 % 13 for n in runs[::2]]
        count = sum(runs[1::2])
        blocks.append(
            Block(
                path,
                offset,
                len(data),
                count,
                runs,
                min(times),
                max(times),
                seed,
                crc,
                tags,
                sources,
            )
        )
        offset += len(data)
        seed = crc
    return blocks


def segment_of(blocks: list[Block]) -> Segment:
    segment = Segment(NAME, 0)
    for block in blocks:
        segment.add(block)
    return segment


def positions(runs: tuple[int, ...]) -> list[int]:
    return [
        first + n for first, count in zip(runs[::2], runs[1::2], strict=True) for n in range(count)
    ]


@st.composite
def parts_of_a_file(draw: st.DrawFn) -> list[Part]:
    """Blocks with positions that only grow, with and without gaps."""
    names = st.none() | st.sets(st.sampled_from("abcdef"), max_size=4).map(
        lambda names: tuple(sorted(names))
    )
    parts: list[Part] = []
    position = 0
    for _ in range(draw(st.integers(1, 12))):
        runs: list[int] = []
        for _ in range(draw(st.integers(1, 3))):
            position += draw(st.sampled_from([0, 0, 0, 1, 5]))
            count = draw(st.integers(1, 4))
            if runs and sum(runs[-2:]) == position:
                runs[-1] += count
            else:
                runs += [position, count]
            position += count
        data = draw(st.binary(min_size=1, max_size=12))
        parts.append((data, tuple(runs), draw(names), draw(names)))
    return parts


# -- coalescing ---------------------------------------------------------------------------


@given(parts_of_a_file(), st.integers(0, 40))
def test_coalesced_blocks_say_what_the_single_ones_say(parts: list[Part], most: int) -> None:
    blocks = blocks_of(parts)
    data = b"".join(part[0] for part in parts)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "COALESCE", most)
        segment = segment_of(blocks)

    at = 0
    for block in segment.blocks:
        inside = []
        while at < len(blocks) and blocks[at].end <= block.end:
            inside.append(blocks[at])
            at += 1
        assert block.path == NAME.path
        assert (block.offset, block.end) == (inside[0].offset, inside[-1].end)
        assert block.count == sum(each.count for each in inside)
        assert positions(block.runs) == [n for each in inside for n in positions(each.runs)]
        assert (block.first, block.last) == (
            min(each.first for each in inside),
            max(each.last for each in inside),
        )
        assert zlib.crc32(data[block.offset : block.end], block.seed) == block.crc
        for got, names in (
            (block.tags, [each.tags for each in inside]),
            (block.sources, [each.sources for each in inside]),
        ):
            known = [each for each in names if each is not None]
            expected = {name for each in known for name in each}
            assert got == (None if None in names else tuple(sorted(expected)))
    assert at == len(blocks)
    assert segment.length == len(data)
    assert segment.crc == zlib.crc32(data)
    assert segment.count == sum(block.count for block in blocks)
    for one, two in pairwise(segment.blocks):
        assert (two.offset, two.seed) == (one.end, one.crc)


@given(parts_of_a_file(), st.integers(0, 40))
def test_neighbours_are_joined_up_to_the_limit_and_never_above(
    parts: list[Part], most: int
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "COALESCE", most)
        segment = segment_of(blocks_of(parts))
    single = {len(part[0]) for part in parts}
    assert all(block.length <= most or block.length in single for block in segment.blocks)
    first = {block.offset: block.length for block in blocks_of(parts)}
    for one, two in pairwise(segment.blocks):
        assert one.length + first[two.offset] > most


def test_runs_that_follow_each_other_become_one() -> None:
    parts: list[Part] = [
        (b"a", (5, 2), (), ()),
        (b"b", (7, 1), (), ()),
        (b"c", (9, 1, 20, 2), (), ()),
        (b"d", (22, 3), (), ()),
    ]
    (block,) = segment_of(blocks_of(parts)).blocks
    assert block.runs == (5, 3, 9, 1, 20, 5)


def test_a_day_of_single_events_stays_a_small_index() -> None:
    segment = Segment(NAME, 0)
    for n in range(10_000):
        segment.add(Block(NAME.path, n * 100, 100, 1, (n, 1), n, n, n, n + 1, ("t",), ("s",)))
    assert len(segment.blocks) == 4
    assert segment.count == 10_000
    assert segment.blocks[0].runs == (0, 2621)


def test_blocks_with_a_gap_between_are_not_joined() -> None:
    one, two = blocks_of([(b"aa", (0, 1), (), ()), (b"bb", (1, 1), (), ())])
    segment = segment_of([one])
    segment.add(Block(*[3 if n == 1 else value for n, value in enumerate(fields(two))]))
    assert [block.offset for block in segment.blocks] == [0, 3]


def fields(block: Block) -> list[object]:
    return [getattr(block, name) for name in block.__struct_fields__]


def test_names_beyond_the_most_are_any() -> None:
    names = [f"{n:02}" for n in range(MOST_NAMES + 1)]
    assert names_of(set(names[:-1])) == tuple(names[:-1])
    assert names_of(set(names)) is None
    assert names_of(set()) == ()
    half = MOST_NAMES // 2
    parts: list[Part] = [
        (b"a", (0, 1), tuple(names[:half]), ()),
        (b"b", (1, 1), tuple(names[half:-1]), ("s",)),
    ]
    (block,) = segment_of(blocks_of(parts)).blocks
    assert block.tags == tuple(names[:-1])
    assert block.sources == ("s",)
    parts.append((b"c", (2, 1), (names[-1],), ()))
    (block,) = segment_of(blocks_of(parts)).blocks
    assert block.tags is None
    parts.append((b"d", (3, 1), (), ()))
    (block,) = segment_of(blocks_of(parts)).blocks
    assert block.tags is None


# -- sealing ------------------------------------------------------------------------------


def test_an_empty_segment_has_no_length() -> None:
    segment = Segment(NAME, 0)
    assert (segment.length, segment.crc, segment.count) == (0, 0, 0)


def test_a_segment_is_sealed_when_its_span_ended() -> None:
    segment = Segment(SegmentName(Span.minute(10 * MINUTE), 1), 10 * MINUTE + 5)
    assert not segment.is_sealed(10 * MINUTE)
    assert not segment.is_sealed(11 * MINUTE - 1)
    assert segment.is_sealed(11 * MINUTE)


def test_a_late_events_file_stays_open_for_the_minute_it_was_made_in() -> None:
    segment = Segment(SegmentName(Span.minute(10 * MINUTE), 2), 90 * MINUTE + 5)
    assert not segment.is_sealed(91 * MINUTE - 1)
    assert segment.is_sealed(91 * MINUTE)


def test_a_fenced_segment_is_sealed() -> None:
    assert Segment(NAME, 0, fenced=True).is_sealed(-(10**18))


# -- the file index -----------------------------------------------------------------------


segment_names = st.builds(
    lambda length, n, number: SegmentName(
        Span(n * length % (2 * DAY), n * length % (2 * DAY) + length), number
    ),
    st.sampled_from([MINUTE, HOUR, DAY]),
    st.integers(0, 2 * DAY // MINUTE),
    st.integers(1, 3),
)
bounds = st.none() | st.one_of(
    st.integers(0, 2 * DAY // MINUTE).map(lambda n: n * MINUTE),
    st.integers(-MINUTE, 2 * DAY + MINUTE),
    st.integers(-2, 50).map(lambda n: n * HOUR),
    st.integers(0, 50).map(lambda n: n * HOUR - 1),
)


@given(st.lists(segment_names, max_size=60), bounds, bounds)
def test_find_is_the_naive_search_of_a_list(
    added: list[SegmentName], start: int | None, end: int | None
) -> None:
    if start is not None and end is not None and start >= end:
        start, end = end, start + 1
    files = FileIndex()
    for name in added:
        files.add(Segment(name, 0))
    naive = [
        name
        for name in sorted(set(added))
        if (end is None or name.span.start < end) and (start is None or start < name.span.end)
    ]
    assert [segment.name for segment in files.find(start, end)] == naive
    assert len(files) == len(set(added))
    assert [segment.name for segment in files] == sorted(set(added))


@given(st.lists(segment_names, min_size=1, max_size=30), segment_names)
def test_get_and_newest_are_those_of_a_list(added: list[SegmentName], asked: SegmentName) -> None:
    files = FileIndex()
    for name in added:
        files.add(Segment(name, 0))
    for name in (*added, asked):
        got = files.get(name)
        assert (got.name if got else None) == (name if name in added else None)
        same = [each for each in added if each.span == name.span]
        newest = files.newest(name)
        assert (newest.name if newest else None) == max(same, default=None)


def test_the_edges_of_a_range_are_half_open() -> None:
    files = FileIndex()
    minute = Segment(SegmentName(Span(HOUR, HOUR + MINUTE), 1), 0)
    files.add(minute)
    assert files.find(HOUR + MINUTE, None) == []
    assert files.find(HOUR + MINUTE - 1, None) == [minute]
    assert files.find(None, HOUR) == []
    assert files.find(None, HOUR + 1) == [minute]
    assert files.find(HOUR, HOUR + 1) == [minute]


def test_files_of_one_span_come_in_order_of_their_number() -> None:
    files = FileIndex()
    for number in (10, 2, 1):
        files.add(Segment(SegmentName(Span.minute(0), number), 0))
    assert [segment.name.number for segment in files] == [1, 2, 10]


def test_adding_a_segment_twice_leaves_it_once() -> None:
    files = FileIndex()
    one = Segment(NAME, 0)
    files.add(one)
    files.add(one)
    assert len(files) == 1
    assert files.get(NAME) is one


def test_a_plain_file_and_an_archive_of_one_number_are_two() -> None:
    files = FileIndex()
    plain = Segment(NAME, 0)
    files.add(plain)
    archived = NAME._replace(is_archive=True)
    assert files.get(NAME) is plain and files.get(archived) is None
    files.remove(archived)
    assert files.get(NAME) is plain
    other = Segment(archived, 0)
    files.add(other)
    assert list(files) == [plain, other]
    assert files.get(archived) is other
    assert files.newest(NAME) is other


def test_an_archive_is_always_sealed() -> None:
    assert not Segment(NAME, 0).is_sealed(0)
    assert Segment(NAME._replace(is_archive=True), 0).is_sealed(0)

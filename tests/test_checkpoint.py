"""Checkpoints: the index comes back from disk as it was, or is refused."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from timelog.checkpoint import (
    DaySummary,
    Root,
    crc_of,
    pack_day,
    pack_root,
    parse_day,
    parse_root,
)
from timelog.damage import Damage
from timelog.errors import DamagedError
from timelog.journal import Block, Tombstone
from timelog.ledger import Row
from timelog.names import SegmentName, day_index
from timelog.removal import Removal
from timelog.segment import FileIndex, Segment
from timelog.span import Span
from timelog.timestamp import DAY, END, FIRST, HOUR, MINUTE

DAY_START = 20_000 * DAY
FILE = "2024-10-04.3.index"

numbers = st.integers(0, 2**53)
times = st.integers(FIRST, END - 1)
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=10)
sets = st.none() | st.lists(texts, max_size=3).map(tuple)
summaries = st.builds(
    DaySummary,
    st.integers(-700_000, 2_900_000).map(lambda n: n * DAY),
    st.builds(day_index, times, st.integers(1, 10**9)),
    st.integers(0, 2**32 - 1),
    *([numbers] * 3),
    times,
    times,
    numbers,
    st.booleans(),
    numbers,
    numbers,
    st.lists(st.tuples(times, numbers), max_size=2).map(tuple),
)
roots = st.builds(
    Root,
    texts,
    *([numbers] * 5),
    st.integers(-(2**60), 2**60),
    st.integers(-(2**60), 2**60),
    st.dictionaries(texts, st.binary(max_size=10), max_size=3),
    st.dictionaries(texts, numbers, max_size=3),
    st.lists(summaries, max_size=3).map(tuple),
    st.lists(st.tuples(numbers, numbers), max_size=3).map(tuple),
    st.lists(st.builds(Damage, texts, numbers, numbers, texts), max_size=3).map(tuple),
    numbers,
    st.lists(
        st.builds(
            Row,
            *([numbers] * 4),
            st.dictionaries(texts, numbers, max_size=3),
            *([numbers] * 3),
        ),
        max_size=3,
    ).map(tuple),
    st.builds(
        Removal,
        st.lists(st.dictionaries(texts, times, max_size=2), max_size=2).map(tuple),
        st.dictionaries(texts, numbers, max_size=2),
        st.dictionaries(texts, st.none(), max_size=2),
        times,
        numbers,
        times,
    ),
)
tombstones = st.builds(
    Tombstone, numbers, texts, times, st.binary(min_size=32, max_size=32), st.booleans()
)


@st.composite
def segments(draw: st.DrawFn) -> Segment:
    length = draw(st.sampled_from([MINUTE, HOUR, DAY]))
    start = DAY_START + draw(st.integers(0, DAY // length - 1)) * length
    is_archive = draw(st.booleans())
    name = SegmentName(Span(start, start + length), draw(st.integers(1, 20)), is_archive)
    segment = Segment(name, draw(numbers), draw(st.booleans()))
    for _ in range(draw(st.integers(0, 3))):
        runs = draw(
            st.lists(numbers, min_size=2, max_size=4).map(tuple)
            | st.binary(min_size=16, max_size=30)
        )
        segment.blocks.append(
            Block(
                segment.path,
                segment.length,
                draw(st.integers(1, 10**9)),
                draw(numbers),
                runs,
                draw(times),
                draw(times),
                segment.crc,
                draw(st.integers(0, 2**32 - 1)),
                draw(sets),
                draw(sets),
                draw(st.tuples(numbers, numbers)) if is_archive else None,
            )
        )
    return segment


def index_of(segments: list[Segment]) -> FileIndex:
    files = FileIndex()
    for segment in segments:
        files.add(segment)
    return files


def summary_of(data: bytes) -> DaySummary:
    return DaySummary(DAY_START, FILE, crc_of(data), 0, 0, 0, 0, 0)


def values(files: FileIndex) -> list[tuple[object, ...]]:
    return [
        (segment.name, segment.path, segment.created, segment.fenced, segment.blocks)
        for segment in files
    ]


def small_day() -> bytes:
    segment = Segment(SegmentName(Span.minute(DAY_START), 2), 5)
    segment.blocks = [Block(segment.path, 0, 9, 1, (0, 1), DAY_START, DAY_START, 0, 7, (), ("s",))]
    return pack_day(DAY_START, index_of([segment]))


SMALL_ROOT = Root(
    "log", 3, 2, 100, 9, 50, 7, 5, {"c": b"v"}, {"w": 4}, (summary_of(b""),), ((1, 2),), 1
)


@given(roots)
def test_a_root_comes_back(root: Root) -> None:
    assert parse_root(pack_root(root)) == root


@given(st.lists(segments(), max_size=5), st.lists(tombstones, max_size=3))
def test_a_day_comes_back(made: list[Segment], buried: list[Tombstone]) -> None:
    files = index_of(made)
    files.tombstones = {each.position: each for each in buried}
    data = pack_day(DAY_START, files)
    back = parse_day(data, summary_of(data))
    assert values(back) == values(files)
    assert back.tombstones == files.tombstones


def test_every_truncation_of_a_root_is_refused() -> None:
    data = pack_root(SMALL_ROOT)
    for cut in range(len(data)):
        with pytest.raises(DamagedError, match="index/root"):
            parse_root(data[:cut])


def test_every_flipped_bit_of_a_root_is_refused() -> None:
    data = pack_root(SMALL_ROOT)
    for bit in range(len(data) * 8):
        changed = bytearray(data)
        changed[bit // 8] ^= 1 << bit % 8
        with pytest.raises(DamagedError):
            parse_root(bytes(changed))


def test_every_truncation_of_a_day_is_refused() -> None:
    data = small_day()
    for cut in range(len(data)):
        with pytest.raises(DamagedError, match=FILE):
            parse_day(data[:cut], summary_of(data))
        with pytest.raises(DamagedError, match=FILE):
            parse_day(data[:cut], summary_of(data[:cut]))


def test_every_flipped_bit_of_a_day_is_refused() -> None:
    data = small_day()
    for bit in range(len(data) * 8):
        changed = bytearray(data)
        changed[bit // 8] ^= 1 << bit % 8
        with pytest.raises(DamagedError, match=FILE):
            parse_day(bytes(changed), summary_of(data))
        with pytest.raises(DamagedError, match=FILE):
            parse_day(bytes(changed), summary_of(bytes(changed)))


def test_bytes_behind_a_checkpoint_are_refused() -> None:
    for extra in (b"\0", b"x", pack_root(SMALL_ROOT)):
        with pytest.raises(DamagedError):
            parse_root(pack_root(SMALL_ROOT) + extra)


def test_a_whole_day_that_is_not_the_one_named_is_refused() -> None:
    """An older file of the day, or a file of another day, put back by somebody."""
    data, older = small_day(), pack_day(DAY_START, FileIndex())
    with pytest.raises(DamagedError, match="not the file"):
        parse_day(older, summary_of(data))
    with pytest.raises(DamagedError, match="not the file"):
        parse_day(data, msgspec.structs.replace(summary_of(data), day=DAY_START + DAY))


def test_a_root_is_no_day_and_a_day_no_root() -> None:
    with pytest.raises(DamagedError):
        parse_root(small_day())


def test_a_day_that_names_no_segment_is_refused() -> None:
    data = small_day().replace(b".2.jsonl", b".1.jsonl")
    payload = data[12:]
    data = data[:8] + crc_of(payload).to_bytes(4, "little") + payload
    with pytest.raises(DamagedError, match=r"no segment"):
        parse_day(data, summary_of(data))


@pytest.mark.parametrize("file", ["../../x", "/etc/x", "root", "", "2024-10-04.3.index/../x"])
def test_a_root_that_names_another_file_is_refused(file: str) -> None:
    day = DaySummary(DAY_START, file, 0, 1, 1, 1, DAY_START, DAY_START)
    root = Root("log", 1, 1, 0, 0, 0, 0, 0, {}, {}, (day,))
    with pytest.raises(DamagedError, match="no index of a day"):
        parse_root(pack_root(root))

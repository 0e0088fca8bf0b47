"""From a batch to blocks of text: every event once, in order of arrival, in the right file."""

from __future__ import annotations

import zlib
from itertools import pairwise
from typing import NamedTuple

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from timelog import encode as module
from timelog.buffer import Batch
from timelog.codec import Line, decode_lines
from timelog.encode import DAY_FILE_SPANS, encode, sort_out
from timelog.journal import Block
from timelog.memfile import MemoryFile, Slice
from timelog.segment import MOST_NAMES
from timelog.span import Span
from timelog.timestamp import DAY, MINUTE, from_datetime, to_text

START = 20_000 * DAY
FIRST_ARRIVAL = 1000

Item = tuple[int, str, tuple[str, ...]]  # minute, source, tags


class Text(NamedTuple):
    """A block and its bytes, with its runs as pairs of arrival number and count."""

    block: Block
    data: bytes

    @property
    def runs(self) -> list[tuple[int, int]]:
        return list(zip(self.block.runs[::2], self.block.runs[1::2], strict=True))


Prepared = list[tuple[Span, list[Text]]]


def prepare(batch: Batch) -> Prepared:
    """The blocks of each span, as if at the start of a file and with positions from arrivals."""
    return [
        (lot.span, [Text(*pair) for pair in encode(lot, "path", 0, 0, 0)])
        for lot in sort_out(batch)
    ]


def batch_of(items: list[Item], contents: list[str] | None = None) -> Batch:
    """The events of ``items`` in this order of arrival, as the buffer holds them."""
    files: dict[int, MemoryFile] = {}
    current = None
    for n, (minute, source, tags) in enumerate(items):
        us = START + minute * MINUTE + n
        file = files.setdefault(minute, MemoryFile(Span.minute(us)))
        if minute != current:
            file.starts.append((FIRST_ARRIVAL + n, len(file.lines)))
            current = minute
        content = contents[n] if contents else f"content {n}"
        file.lines.append(Line(to_text(us), str(FIRST_ARRIVAL + n), source, tags, content))
    slices = tuple(map(Slice.of, files.values()))
    return Batch(0, slices, FIRST_ARRIVAL, len(items), 0, {}, {}, 0.0)


def minutes(numbers: list[int]) -> Batch:
    return batch_of([(minute, "", ()) for minute in numbers])


def arrivals(text: Text) -> list[int]:
    return [first + n for first, count in text.runs for n in range(count)]


def ids(text: Text) -> list[int]:
    return [int(event.id) for event in decode_lines(text.data)]


def with_limits(batch: Batch, block_size: int, spans: int) -> Prepared:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "BLOCK_SIZE", block_size)
        patch.setattr(module, "DAY_FILE_SPANS", spans)
        return prepare(batch)


items = st.tuples(
    st.sampled_from([0, 1, 2, 3, 1439, 1440, 1441, -1]),
    st.sampled_from(["", "a", "b"]),
    st.lists(st.sampled_from("xyz"), max_size=2).map(tuple),
)


@given(st.lists(items, min_size=1, max_size=30), st.integers(1, 800), st.integers(1, 4))
@example([(0, "", ())] * 20, 1, 16)
@example([(n % 3, "", ()) for n in range(20)], 300, 2)
def test_every_line_is_in_a_block_of_its_span_at_its_place_of_arrival(
    order: list[Item], block_size: int, most_spans: int
) -> None:
    prepared = with_limits(batch_of(order), block_size, most_spans)
    seen: list[int] = []
    for span, texts in prepared:
        in_span = [arrival for text in texts for arrival in arrivals(text)]
        assert in_span == sorted(in_span)
        seen += in_span
        for text in texts:
            events = decode_lines(text.data)
            times = [from_datetime(event.timestamp) for event in events]
            assert ids(text) == arrivals(text)
            assert all(one + count < two for (one, count), (two, _) in pairwise(text.runs))
            assert text.block.count == len(events) > 0
            assert text.data.endswith(b"\n")
            assert len(text.data) <= block_size or text.block.count == 1
            assert (text.block.first, text.block.last) == (min(times), max(times))
            assert span.start <= text.block.first <= text.block.last < span.end
            assert text.block.tags == tuple(sorted({tag for event in events for tag in event.tags}))
            assert text.block.sources == tuple(sorted({event.source for event in events}))
    assert sorted(seen) == list(range(FIRST_ARRIVAL, FIRST_ARRIVAL + len(order)))
    spans = [span for span, _ in prepared]
    assert spans == sorted(set(spans))


@given(st.lists(items, min_size=1, max_size=30), st.integers(1, 4))
def test_the_minutes_of_a_day_go_into_one_file_only_where_they_are_many(
    order: list[Item], most_spans: int
) -> None:
    prepared = with_limits(batch_of(order), 10**6, most_spans)
    days: dict[int, set[int]] = {}
    for minute, _, _ in order:
        days.setdefault(minute // 1440, set()).add(minute)
    expected = set()
    for day, its_minutes in days.items():
        if len(its_minutes) > most_spans:
            expected.add(Span.day(START + day * DAY))
        else:
            expected |= {Span.minute(START + minute * MINUTE) for minute in its_minutes}
    assert {span for span, _ in prepared} == expected


def test_sixteen_minutes_are_sixteen_files_and_seventeen_are_one() -> None:
    assert DAY_FILE_SPANS == 16
    assert len(prepare(minutes(list(range(16))))) == 16
    ((span, (text,)),) = prepare(minutes(list(range(17))))
    assert span == Span.day(START)
    assert text.runs == [(FIRST_ARRIVAL, 17)]
    two_days = prepare(minutes([*range(1430, 1440), *range(1440, 1460)]))
    assert [span.end - span.start for span, _ in two_days] == [MINUTE] * 10 + [DAY]


def test_the_file_of_a_day_keeps_the_order_of_arrival() -> None:
    order = [n * 7 % 20 for n in range(60)]
    ((_, (text,)),) = prepare(minutes(order))
    assert ids(text) == list(range(FIRST_ARRIVAL, FIRST_ARRIVAL + 60))
    assert text.runs == [(FIRST_ARRIVAL, 60)]


def test_the_file_of_a_minute_has_a_run_for_each_stretch() -> None:
    (_, (one,)), (_, (two,)) = prepare(minutes([0, 1, 1, 0, 0, 1]))
    assert one.runs == [(1000, 1), (1003, 2)]
    assert two.runs == [(1001, 2), (1005, 1)]


@pytest.mark.parametrize("width", [0, 40, 4000])
def test_blocks_are_cut_between_lines_and_are_mostly_full(width: int) -> None:
    """Lines of two lengths that take turns, a hundred each."""
    count = 2000
    contents = ["x" * (width if n // 100 % 2 else 10) for n in range(count)]
    batch = batch_of([(0, "", ())] * count, contents)
    ((_, whole),) = with_limits(batch, 10**9, 16)
    ((_, texts),) = with_limits(batch, 10_000, 16)
    data = b"".join(text.data for text in texts)
    assert data == b"".join(text.data for text in whole)
    assert max(len(text.data) for text in texts) <= 10_000
    assert len(texts) <= 2.5 * len(data) / 10_000


def test_a_block_is_filled_to_its_last_byte_and_no_further() -> None:
    batch = batch_of([(0, "", ())] * 4, ["x"] * 4)
    ((_, (whole,)),) = prepare(batch)
    ((_, texts),) = with_limits(batch, len(whole.data), 16)
    assert [text.block.count for text in texts] == [4]
    ((_, texts),) = with_limits(batch, len(whole.data) - 1, 16)
    assert len(texts) > 1


def test_an_event_larger_than_a_block_is_a_block_of_its_own() -> None:
    batch = batch_of([(0, "", ())] * 5, ["x", "x", "x" * 500, "x", "x"])
    ((_, texts),) = with_limits(batch, 400, 16)
    large = [text for text in texts if len(text.data) > 400]
    assert [text.block.count for text in large] == [1]
    assert sum(text.block.count for text in texts) == 5


def test_many_tags_and_sources_become_any() -> None:
    order = [(0, f"s{n}", (f"t{n}",)) for n in range(MOST_NAMES)]
    ((_, (text,)),) = prepare(batch_of(order))
    assert len(text.block.tags or ()) == len(text.block.sources or ()) == MOST_NAMES
    ((_, (text,)),) = prepare(batch_of([*order, (0, "one", ("more",))]))
    assert text.block.tags is None
    assert text.block.sources is None


def test_a_batch_without_events_is_nothing() -> None:
    assert prepare(Batch(0, (), 0, 0, 0, {"cursor": b"1"}, {}, 0.0)) == []


@given(st.lists(items, min_size=1, max_size=20), st.integers(1, 400), st.binary(max_size=30))
def test_placed_blocks_continue_the_file_and_its_crc(
    order: list[Item], block_size: int, before: bytes
) -> None:
    shift = 5000 - FIRST_ARRIVAL
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "BLOCK_SIZE", block_size)
        for lot in sort_out(batch_of(order)):
            file = before
            for block, data in encode(lot, "path", len(before), zlib.crc32(before), shift):
                assert (block.path, block.offset) == ("path", len(file))
                assert (block.length, block.seed) == (len(data), zlib.crc32(file))
                file += data
                assert block.crc == zlib.crc32(file)
                assert block.count == data.count(b"\n") == sum(block.runs[1::2])
                arrived = [int(event.id) + shift for event in decode_lines(data)]
                assert arrived == [
                    first + n
                    for first, count in zip(block.runs[::2], block.runs[1::2], strict=True)
                    for n in range(count)
                ]

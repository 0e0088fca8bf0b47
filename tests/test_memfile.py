"""Memory files: a minute's lines, and the order in which lines of several minutes arrived."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from timelog.codec import Line
from timelog.memfile import MemoryFile, Slice, in_arrival_order
from timelog.span import Span
from timelog.timestamp import MINUTE, to_text


def line(arrival: int) -> Line:
    return Line(to_text(0), str(arrival), "", (), "")


def arrive(minutes: list[int], first: int = 0) -> dict[int, MemoryFile]:
    """Put one line after the other into the file of its minute, as the buffer does."""
    files: dict[int, MemoryFile] = {}
    current = None
    for arrival, minute in enumerate(minutes, first):
        file = files.setdefault(minute, MemoryFile(Span.minute(minute * MINUTE)))
        if minute != current:
            file.starts.append((arrival, len(file.lines)))
            current = minute
        file.lines.append(line(arrival))
    return files


def arrivals(lines: list[Line]) -> list[int]:
    return [int(each.id) for each in lines]


def spread(runs: list[tuple[int, int]]) -> list[int]:
    return [first + n for first, count in runs for n in range(count)]


minutes = st.lists(st.integers(0, 4), max_size=40)


def test_a_memory_file_is_named_by_its_minute() -> None:
    assert MemoryFile(Span.minute(0)).name == "19700101T0000Z-19700101T0001Z.jsonl"


@given(minutes, st.integers(0, 10**9))
def test_all_files_together_are_the_order_of_arrival(order: list[int], first: int) -> None:
    files = arrive(order, first)
    lines, runs = in_arrival_order([Slice.of(file) for file in files.values()])
    assert arrivals(lines) == list(range(first, first + len(order)))
    assert runs == ([(first, len(order))] if order else [])


@given(minutes, st.sets(st.integers(0, 4)))
def test_some_files_have_the_runs_of_their_lines(order: list[int], chosen: set[int]) -> None:
    files = arrive(order)
    lines, runs = in_arrival_order(
        [Slice.of(file) for minute, file in files.items() if minute in chosen]
    )
    expected = [arrival for arrival, minute in enumerate(order) if minute in chosen]
    assert arrivals(lines) == expected
    assert spread(runs) == expected
    assert all(one + count < two for (one, count), (two, _) in pairwise(runs))


@given(minutes)
def test_the_stretches_of_a_file_are_its_lines(order: list[int]) -> None:
    for file in arrive(order).values():
        stretches = list(Slice.of(file).stretches())
        assert [part for _, lines in stretches for part in lines] == file.lines
        for arrival, lines in stretches:
            assert arrivals(lines) == list(range(arrival, arrival + len(lines)))


@given(minutes, st.integers(0, 1000))
def test_the_runs_of_a_file_are_the_positions_of_its_lines(order: list[int], base: int) -> None:
    for file in arrive(order).values():
        runs = Slice.of(file).runs(base)
        positions = spread(list(zip(runs[::2], runs[1::2], strict=True)))
        assert positions == [arrival + base for arrival in arrivals(file.lines)]


@given(minutes, minutes)
def test_a_slice_does_not_change_when_more_arrives(before: list[int], after: list[int]) -> None:
    files = arrive(before)
    slices = {minute: Slice.of(file) for minute, file in files.items()}
    noted = {minute: list(each.stretches()) for minute, each in slices.items()}
    for arrival, minute in enumerate(after, len(before)):
        if minute in files:
            files[minute].starts.append((arrival, len(files[minute].lines)))
            files[minute].lines.append(line(arrival))
    assert {minute: list(each.stretches()) for minute, each in slices.items()} == noted


def test_no_files_are_no_lines() -> None:
    assert in_arrival_order([]) == ([], [])
    assert list(Slice.of(MemoryFile(Span.minute(0))).stretches()) == []

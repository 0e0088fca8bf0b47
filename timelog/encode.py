"""From a batch of events to blocks of text: what a flush does before it takes any lock.

Everything here is pure and works on whole memory files, in C where it counts.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from operator import attrgetter
from typing import NamedTuple

from timelog.buffer import Batch
from timelog.checksum import crc32
from timelog.codec import Line, encode_lines
from timelog.journal import Block
from timelog.memfile import Slice, in_arrival_order
from timelog.positions import Runs
from timelog.segment import names_of
from timelog.span import Span
from timelog.timestamp import from_text

# A flush with more minutes of one day than this (an import) goes into one file of the day.
DAY_FILE_SPANS = 16
# Decoding a block of this size stays in the processor's cache: half the time of one of 4 MiB.
BLOCK_SIZE = 256 * 1024
_FIRST_LINES = 512
_PIECE = 5 * 1024

_timestamp = attrgetter("timestamp")
_tags = attrgetter("tags")
_source = attrgetter("source")


class Lot(NamedTuple):
    """The lines of a batch that go to one span; ``runs`` are (arrival number, count)."""

    span: Span
    lines: list[Line]
    runs: list[tuple[int, int]]


def sort_out(batch: Batch) -> list[Lot]:
    """Say which lines of a batch go to which span, in order of time."""
    days: dict[Span, list[Slice]] = defaultdict(list)
    for file in batch.files:
        days[Span.day(file.span.start)].append(file)
    lots = []
    for day, files in sorted(days.items()):
        if len(files) > DAY_FILE_SPANS:
            lots.append(Lot(day, *in_arrival_order(files)))
        else:
            for file in sorted(files, key=attrgetter("span")):
                lots.append(Lot(file.span, *in_arrival_order([file])))
    return lots


def encode(
    lot: Lot, path: str, offset: int, seed: int, shift: int
) -> Iterator[tuple[Block, bytes]]:
    """Yield the blocks that a lot becomes behind ``offset`` in a file, with their bytes.

    One at a time, so that a block's memory serves the next. ``seed``: the crc of the bytes
    before. ``shift``: what makes a position of an arrival number.
    """
    at, count = 0, _FIRST_LINES
    while at < len(lot.lines):
        lines = lot.lines[at : at + count]
        data = encode_lines(lines)
        if len(data) > BLOCK_SIZE and len(lines) > 1:
            # The lines became longer. Half of them, or as many as fit if all are like these.
            count = max(min(len(lines) // 2, len(lines) * BLOCK_SIZE // len(data)), 1)
            continue
        runs = _part(lot.runs, at, len(lines))
        shifted = tuple(number for first, length in runs for number in (first + shift, length))
        block = block_of(lines, data, path, offset, seed, shifted)
        yield block, data
        at += len(lines)
        offset += len(data)
        seed = block.crc
        # A little less than would fit, so that most are encoded once.
        count = max(len(lines) * BLOCK_SIZE * 7 // 8 // len(data), 1)


def block_of(
    lines: Sequence[Line], data: bytes, path: str, offset: int, seed: int, runs: Runs
) -> Block:
    """The block that ``lines``, whose text is ``data``, are at ``offset`` of the file ``path``.

    ``seed``: the crc of the bytes before. ``runs``: their positions.
    """
    times = list(map(_timestamp, lines))
    tags = set(map(_tags, lines))
    return Block(
        path,
        offset,
        len(data),
        len(lines),
        runs,
        from_text(min(times)),
        from_text(max(times)),
        seed,
        _crc(data, seed),
        names_of({tag for each in tags for tag in each}),
        names_of(set(map(_source, lines))),
    )


def _crc(data: bytes, seed: int) -> int:
    """The crc-32 of ``data``, without letting go of the interpreter.

    For more than 5 KiB zlib does let go, and where another thread computes, getting it back takes
    5 ms, fifty times what the crc of a block does.
    """
    view = memoryview(data)
    for at in range(0, len(data), _PIECE):
        seed = crc32(view[at : at + _PIECE], seed)
    return seed


def _part(runs: list[tuple[int, int]], at: int, count: int) -> list[tuple[int, int]]:
    """The part of ``runs`` that covers ``count`` lines from line ``at``."""
    part = []
    for first, length in runs:
        skip = min(at, length)
        take = min(length - skip, count)
        if take:
            part.append((first + skip, take))
        at, count = at - skip, count - take
        if not count:
            break
    return part

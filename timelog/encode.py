"""From a batch of events to blocks of text: what a flush does before it takes any lock.

Everything here is pure and works on whole memory files, in C where it counts.
"""

from __future__ import annotations

import zlib
from collections import defaultdict
from collections.abc import Iterator, Sequence
from operator import attrgetter
from typing import NamedTuple

from timelog.buffer import Batch
from timelog.codec import Line, encode_lines
from timelog.journal import Block
from timelog.memfile import Slice, in_arrival_order
from timelog.segment import names_of
from timelog.span import Span
from timelog.timestamp import from_text

# A flush with more minutes of one day than this (an import) goes into one file of the day.
DAY_FILE_SPANS = 16
# Decoding a block of this size stays in the processor's cache: half the time of one of 4 MiB.
BLOCK_SIZE = 256 * 1024
_FIRST_LINES = 512

_timestamp = attrgetter("timestamp")
_tags = attrgetter("tags")
_source = attrgetter("source")


class Text(NamedTuple):
    """A block that is encoded but has no place yet; ``runs`` are (arrival number, count)."""

    data: bytes
    lines: int
    runs: list[tuple[int, int]]
    first: int
    last: int
    tags: tuple[str, ...] | None
    sources: tuple[str, ...] | None


Prepared = list[tuple[Span, list[Text]]]


def prepare(batch: Batch) -> Prepared:
    """Encode a batch: a list of blocks for each span that it goes to, in order of time."""
    days: dict[Span, list[Slice]] = defaultdict(list)
    for file in batch.files:
        days[Span.day(file.span.start)].append(file)
    prepared = []
    for day, files in sorted(days.items()):
        if len(files) > DAY_FILE_SPANS:
            prepared.append((day, _encode(*in_arrival_order(files))))
        else:
            for file in sorted(files, key=attrgetter("span")):
                prepared.append((file.span, _encode(*in_arrival_order([file]))))
    return prepared


def _encode(lines: Sequence[Line], runs: list[tuple[int, int]]) -> list[Text]:
    """Encode lines, as many in one call as make about one block."""
    texts = []
    at, count = 0, _FIRST_LINES
    while at < len(lines):
        part = lines[at : at + count]
        data = encode_lines(part)
        if len(data) > BLOCK_SIZE and len(part) > 1:
            # The lines became longer. Half of them, or as many as fit if all are like these.
            count = max(min(len(part) // 2, len(part) * BLOCK_SIZE // len(data)), 1)
            continue
        texts.append(_text(data, part, _part(runs, at, len(part))))
        at += len(part)
        # A little less than would fit, so that most are encoded once.
        count = max(len(part) * BLOCK_SIZE * 7 // 8 // len(data), 1)
    return texts


def _text(data: bytes, lines: Sequence[Line], runs: list[tuple[int, int]]) -> Text:
    times = list(map(_timestamp, lines))
    tags = set(map(_tags, lines))
    return Text(
        data,
        len(lines),
        runs,
        from_text(min(times)),
        from_text(max(times)),
        names_of({tag for each in tags for tag in each}),
        names_of(set(map(_source, lines))),
    )


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


def place_texts(
    texts: Sequence[Text], path: str, offset: int, seed: int, shift: int
) -> Iterator[Block]:
    """Yield the blocks that ``texts`` become behind ``offset`` in a file.

    ``seed``: the crc of the bytes before. ``shift``: what makes a position of an arrival number.
    """
    for text in texts:
        crc = zlib.crc32(text.data, seed)
        runs = tuple(number for first, count in text.runs for number in (first + shift, count))
        yield Block(
            path,
            offset,
            len(text.data),
            text.lines,
            runs,
            text.first,
            text.last,
            seed,
            crc,
            text.tags,
            text.sources,
        )
        offset += len(text.data)
        seed = crc

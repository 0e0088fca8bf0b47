"""`FileRange`: where in which file the events of a range of time are, for tools that read text.

What the index knows of the blocks decides; no segment is opened.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from timelog.errors import DamagedError
from timelog.index import Index, damaged_day
from timelog.journal import Block
from timelog.names import Layout


class FileRange(NamedTuple):
    """Whole lines of a segment: the bytes from offset ``start`` up to ``end``, exclusive.

    Of an archived segment, whose name ends in ``.zst``, they are whole frames of zstd. ``path`` is
    absolute.
    """

    path: Path
    start: int
    end: int


def file_ranges(
    layout: Layout, index: Index, start: int | None, end: int | None
) -> list[FileRange]:
    """The bytes that hold the committed events of ``[start, end)``; microseconds, None is open.

    Whole blocks, neighbours as one, by span, number of the file, and offset. Each file has an event
    of the range, except where all that the index can say of a block is that its events are before
    and behind it. A day whose index file is damaged is left out, and noted as damage of the index.
    Thread-safe. Cost: O(blocks of the segments whose span overlaps the range).
    """
    found: list[FileRange] = []
    if start is not None and start == end:
        # A block's times may lie on both sides of it.
        return found
    position = index.position
    for day in index.between(start, end):
        try:
            segments = index.blocks(day, start, end, position)
        except DamagedError as error:
            index.found_damage(damaged_day(day, error))
            continue
        for segment, blocks in segments:
            path = layout.segment(segment.path)
            chosen = (block for block in blocks if _overlaps(block, start, end))
            found += (FileRange(path, *stretch) for stretch in _stretches(chosen))
    index.tell()
    return found


def _overlaps(block: Block, start: int | None, end: int | None) -> bool:
    return (start is None or block.last >= start) and (end is None or block.first < end)


def _stretches(blocks: Iterable[Block]) -> list[tuple[int, int]]:
    """Where blocks in order of offset begin and end, neighbours taken as one."""
    stretches: list[tuple[int, int]] = []
    for block in blocks:
        start = block.file_end - block.stored
        if stretches and stretches[-1][1] == start:
            stretches[-1] = stretches[-1][0], block.file_end
        else:
            stretches.append((start, block.file_end))
    return stretches

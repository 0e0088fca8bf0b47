"""`Segment`: one file, plain or archived, and its blocks; `FileIndex`: a day's segments, sorted.

Both belong to the index and are changed only under its lock. Blocks are immutable values.
"""

from __future__ import annotations

from collections.abc import Iterator

import msgspec
from sortedcontainers import SortedDict

from timelog.journal import Block, Tombstone
from timelog.names import SegmentName
from timelog.timestamp import DAY, HOUR, MINUTE

# Neighbouring blocks are kept as one up to this size: many small flushes stay a small index.
COALESCE = 256 * 1024
# More different tags or sources than this in a block are kept as "any".
MOST_NAMES = 32


class Segment:
    """A file of one span: its blocks in order of offset."""

    __slots__ = ("blocks", "created", "fenced", "name", "path")

    def __init__(
        self, name: SegmentName, created: int, fenced: bool = False, path: str = ""
    ) -> None:
        self.name = name
        self.path = path or name.path
        self.created = created
        self.fenced = fenced
        self.blocks: list[Block] = []

    @property
    def length(self) -> int:
        """The committed length: bytes behind it are never served."""
        return self.blocks[-1].end if self.blocks else 0

    @property
    def size(self) -> int:
        """How many bytes of the file are committed, which of an archive are not its text."""
        return self.blocks[-1].file_end if self.blocks else 0

    @property
    def crc(self) -> int:
        """The crc32 of the committed bytes, which the next block's continues."""
        return self.blocks[-1].crc if self.blocks else 0

    @property
    def count(self) -> int:
        """How many events it holds."""
        return sum(block.count for block in self.blocks)

    def is_sealed(self, sealed_before: int) -> bool:
        """Whether it takes no more blocks, for ever.

        It is when both its span and the minute in which it was created ended at or before
        ``sealed_before``: a late event's file stays open as long as an ordinary one. An archive
        always is.
        """
        ends = max(self.name.span.end, self.created - self.created % MINUTE + MINUTE)
        return self.fenced or self.name.is_archive or ends <= sealed_before

    def add(self, block: Block) -> None:
        """Add a block behind the others, joined with its neighbour where both are small."""
        last = self.blocks[-1] if self.blocks else None
        if last is not None and _are_joined(last, block):
            self.blocks[-1] = _join(last, block)
        else:
            # Equal values are kept once: a busy log has the same few tags in block after block.
            tags, sources = block.tags, block.sources
            if last is not None:
                tags = last.tags if last.tags == tags else tags
                sources = last.sources if last.sources == sources else sources
            self.blocks.append(
                msgspec.structs.replace(block, path=self.path, tags=tags, sources=sources)
            )


class FileIndex:
    """The segments of one day, found by binary search.

    Each span length has its own sorted list, since spans of one length do not overlap: a range of
    time is then one stretch of each. Finding costs O(log n + found); adding O(log n).
    ``tombstones`` are those of the day's deleted events, by position.
    """

    def __init__(self) -> None:
        self.tombstones: dict[int, Tombstone] = {}
        self._by_length: dict[int, SortedDict] = {
            length: SortedDict() for length in (DAY, HOUR, MINUTE)
        }

    def __len__(self) -> int:
        return sum(map(len, self._by_length.values()))

    def __iter__(self) -> Iterator[Segment]:
        return iter(self.find(None, None))

    def get(self, name: SegmentName) -> Segment | None:
        """The segment of that name, or None."""
        segment: Segment | None = self._files(name).get(_key(name))
        return segment

    def add(self, segment: Segment) -> None:
        """Add a segment; adding one twice leaves it there once."""
        name = segment.name
        self._files(name)[_key(name)] = segment

    def remove(self, name: SegmentName) -> None:
        """Remove the segment of that name, if it is there."""
        self._files(name).pop(_key(name), None)

    def newest(self, name: SegmentName) -> Segment | None:
        """The file with the highest number of the same span, or None."""
        files = self._files(name)
        at = files.bisect_left((name.span.start + 1, 0)) - 1
        segment: Segment | None = files.peekitem(at)[1] if at >= 0 else None
        return segment if segment and segment.name.span == name.span else None

    def find(self, start: int | None, end: int | None) -> list[Segment]:
        """The segments whose span overlaps ``[start, end)``, by start of span; None is open."""
        found: list[Segment] = []
        for length, files in self._by_length.items():
            low = None if start is None else (start - length + 1, 0)
            high = None if end is None else (end, 0)
            found += (files[key] for key in files.irange(low, high, inclusive=(True, False)))
        found.sort(key=lambda segment: segment.name)
        return found

    def _files(self, name: SegmentName) -> SortedDict:
        return self._by_length[name.span.end - name.span.start]


def _key(name: SegmentName) -> tuple[int, int, bool]:
    """Where a segment stands among those of its length.

    Nothing here gives one number to a plain file and an archive, but others compress files.
    """
    return name.span.start, name.number, name.is_archive


def names_of(values: set[str]) -> tuple[str, ...] | None:
    """A block's set of tags or sources as it is stored: sorted, or None where it is too large."""
    return tuple(sorted(values)) if len(values) <= MOST_NAMES else None


def _are_joined(one: Block, two: Block) -> bool:
    return (
        one.end == two.offset
        and one.length + two.length <= COALESCE
        and one.frame is two.frame is None
        and not (isinstance(one.runs, bytes) or isinstance(two.runs, bytes))
    )


def _join(one: Block, two: Block) -> Block:
    runs, more = one.runs, two.runs
    # Packed positions are of blocks that are not joined.
    assert isinstance(runs, tuple) and isinstance(more, tuple)
    if runs[-2] + runs[-1] == more[0]:
        joined = (*runs[:-1], runs[-1] + more[1], *more[2:])
    else:
        joined = runs + more
    return Block(
        one.path,
        one.offset,
        one.length + two.length,
        one.count + two.count,
        joined,
        min(one.first, two.first),
        max(one.last, two.last),
        one.seed,
        two.crc,
        _union(one.tags, two.tags),
        _union(one.sources, two.sources),
    )


def _union(one: tuple[str, ...] | None, two: tuple[str, ...] | None) -> tuple[str, ...] | None:
    if one is None or two is None:
        return None
    return one if one == two else names_of({*one, *two})

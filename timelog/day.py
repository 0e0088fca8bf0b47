"""`Day`: what the index knows of one partition, loaded from its index file at first use."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

import msgspec

from timelog.checkpoint import DaySummary
from timelog.errors import DamagedError
from timelog.journal import Block, Replacement, Tombstone
from timelog.names import SegmentName, parse_segment
from timelog.segment import FileIndex, Segment
from timelog.timestamp import DAY


class Day:
    """What is known of one day. Changed only under the index's lock."""

    def __init__(self, start: int, summary: DaySummary | None) -> None:
        self.start = start
        self.summary = summary
        self.files: FileIndex | None = None if summary else FileIndex()
        # Since the last checkpoint: what to add when the file is loaded, and what is to be saved.
        self.pending: list[tuple[Block, int]] = []
        self.fences: list[tuple[SegmentName, int]] = []
        self._removed: list[SegmentName] = []
        self._tombstones: list[Tombstone] = []
        self._erased: list[int] = []
        self.changed = summary is None
        # How many blocks are in memory, which is what a loaded day costs.
        self.weight = 0
        self.first = summary.first if summary else 0
        self.last = summary.last if summary else 0
        self.count = summary.count if summary else 0
        self.bytes = summary.bytes if summary else 0
        self.stored = summary.stored if summary else 0
        # Its positions are among those from ``lowest`` to before ``position_end``.
        self.lowest = summary.lowest if summary else 0
        self.position_end = summary.position_end if summary else 0
        # How many of its events were committed on which day.
        self.entered = Counter(dict(summary.entered if summary else ()))
        # New files take higher numbers than this one, which ones that are gone may have had.
        self.floor = summary.floor if summary else 0
        # Whether it has text that is to go at the next compaction.
        self.is_due = summary.is_due if summary else False

    def enter(self, block: Block, time: int, booked: int) -> None:
        """Add a block of events that are new with the commit of ``time``, booked at another."""
        self.entered[booked - booked % DAY] += block.count
        self.add(block, time)

    def add(self, block: Block, time: int) -> None:
        """Add a block of the commit of ``time``."""
        self.first = min(self.first, block.first) if self.count else block.first
        self.last = max(self.last, block.last) if self.count else block.last
        lowest = block.lowest
        self.lowest = min(self.lowest, lowest) if self.position_end else lowest
        self.position_end = max(self.position_end, block.position_end)
        self.count += block.count
        self.bytes += block.length
        self.stored += block.stored
        self.changed = True
        if self.files is None:
            self.pending.append((block, time))
        else:
            _place(self.files, segment_name(block.path), time).add(block)
            self.weight += 1

    def fence(self, name: SegmentName, time: int) -> None:
        """Let the segment ``name`` take no more blocks, whether it has any or not."""
        self.changed = True
        if self.files is None:
            self.fences.append((name, time))
        else:
            _place(self.files, name, time).fenced = True

    def replace(self, replacement: Replacement, erased: Counter[int], sequence: int) -> None:
        """Remove segments that the commit ``sequence`` replaces; its blocks are added besides.

        ``erased``: when the deleted events that are left out were committed.
        """
        self.changed = True
        self.entered -= Counter(dict(replacement.expired)) + erased
        # Flushes that were cut off used up numbers without a commit.
        numbers = [segment_name(gone.path).number for gone in replacement.segments]
        self.floor = max(sequence, self.floor, *numbers)
        self.is_due = not replacement.is_clean
        for gone in replacement.segments:
            self.count -= gone.count
            self.bytes -= gone.bytes
            self.stored -= gone.stored
            name = segment_name(gone.path)
            if self.files is None:
                self._removed.append(name)
            else:
                self.files.remove(name)
        if self.files is None:
            self._erased += replacement.erased
        else:
            _erase(self.files, replacement.erased)
            self._sum_up(self.files)

    def bury(self, tombstone: Tombstone) -> None:
        """Hide a deleted event, whose text is to go at the next compaction."""
        self.changed = True
        self.is_due = True
        if self.files is None:
            self._tombstones.append(tombstone)
        else:
            self.files.tombstones[tombstone.position] = tombstone

    def loaded(self, files: FileIndex) -> None:
        """Take the segments read from the day's index file, and add what came since."""
        for block, time in self.pending:
            _place(files, segment_name(block.path), time).add(block)
        for name, time in self.fences:
            _place(files, name, time).fenced = True
        for name in self._removed:
            files.remove(name)
        for tombstone in self._tombstones:
            files.tombstones[tombstone.position] = tombstone
        _erase(files, self._erased)
        if self._removed:
            self._sum_up(files)
        # Blocks that were sorted by time may have many positions to tell.
        self.weight = sum(
            1 + len(block.runs) // 64 for segment in files for block in segment.blocks
        )
        # Last, so that an interrupt lets it be loaded again.
        self.files = files
        self.pending, self.fences, self._removed = [], [], []
        self._tombstones, self._erased = [], []

    def pending_blocks(self) -> list[Block]:
        """What came since the last checkpoint and still counts, of a day that is not loaded."""
        removed = {name.path for name in self._removed}
        return [block for block, _ in self.pending if block.path not in removed]

    def pending_tombstones(self) -> list[Tombstone]:
        """The events that were deleted since the last checkpoint, of a day that is not loaded."""
        files = FileIndex()
        files.tombstones = {each.position: each for each in self._tombstones}
        _erase(files, self._erased)
        return list(files.tombstones.values())

    def replaced(self, files: FileIndex) -> None:
        """Take ``files`` for what the day's index file had; to be saved by the next checkpoint.

        Its tombstones are all that the day has then.
        """
        self._tombstones, self._erased = [], []
        self.loaded(files)
        self.summary = None
        self.changed = True
        self._sum_up(files)

    def _sum_up(self, files: FileIndex) -> None:
        """Count what is there, after something went."""
        blocks = [block for segment in files for block in segment.blocks]
        self.first = min((block.first for block in blocks), default=0)
        self.last = max((block.last for block in blocks), default=0)
        self.count = sum(block.count for block in blocks)
        self.bytes = sum(block.length for block in blocks)
        self.stored = sum(block.stored for block in blocks)
        self.weight = len(blocks)
        # Those that were deleted are known, too, after their text is gone.
        lowest = [block.lowest for block in blocks]
        ends = [block.position_end for block in blocks]
        self.lowest = min([*lowest, *files.tombstones], default=0)
        self.position_end = max([*ends, *(at + 1 for at in files.tombstones)], default=0)


def _erase(files: FileIndex, positions: Iterable[int]) -> None:
    """Note that the text of deleted events is gone."""
    for position in positions:
        if position in files.tombstones:
            files.tombstones[position] = msgspec.structs.replace(
                files.tombstones[position], is_erased=True
            )


def _place(files: FileIndex, name: SegmentName, time: int) -> Segment:
    segment = files.get(name)
    if segment is None:
        segment = Segment(name, time)
        files.add(segment)
    return segment


def segment_name(path: str) -> SegmentName:
    """What a path in the journal names; raises `DamagedError` where it is no segment."""
    name = parse_segment(path)
    if name is None:
        raise DamagedError(f"the journal names {path!r}, which is no segment of a log")
    return name

"""`Day`: what the index knows of one partition, loaded from its index file at first use."""

from __future__ import annotations

from timelog.checkpoint import DaySummary
from timelog.errors import DamagedError
from timelog.journal import Block
from timelog.names import SegmentName, parse_segment
from timelog.segment import FileIndex, Segment


class Day:
    """What is known of one day. Changed only under the index's lock."""

    def __init__(self, start: int, summary: DaySummary | None) -> None:
        self.start = start
        self.summary = summary
        self.files: FileIndex | None = None if summary else FileIndex()
        # Since the last checkpoint: what to add when the file is loaded, and what is to be saved.
        self.pending: list[tuple[Block, int]] = []
        self.fences: list[tuple[SegmentName, int]] = []
        self.changed = summary is None
        # How many blocks are in memory, which is what a loaded day costs.
        self.weight = 0
        self.first = summary.first if summary else 0
        self.last = summary.last if summary else 0
        self.count = summary.count if summary else 0
        self.bytes = summary.bytes if summary else 0

    def add(self, block: Block, time: int) -> None:
        """Add a block of the commit of ``time``."""
        self.first = min(self.first, block.first) if self.count else block.first
        self.last = max(self.last, block.last) if self.count else block.last
        self.count += block.count
        self.bytes += block.length
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

    def loaded(self, files: FileIndex) -> None:
        """Take the segments read from the day's index file, and add what came since."""
        for block, time in self.pending:
            _place(files, segment_name(block.path), time).add(block)
        for name, time in self.fences:
            _place(files, name, time).fenced = True
        self.weight = sum(len(segment.blocks) for segment in files)
        # Last, so that an interrupt lets it be loaded again.
        self.files = files
        self.pending, self.fences = [], []

    def replaced(self, files: FileIndex) -> None:
        """Take ``files`` for what the day's index file had; to be saved by the next checkpoint."""
        self.loaded(files)
        blocks = [block for segment in files for block in segment.blocks]
        self.summary = None
        self.changed = True
        self.first = min((block.first for block in blocks), default=0)
        self.last = max((block.last for block in blocks), default=0)
        self.count = sum(block.count for block in blocks)
        self.bytes = sum(block.length for block in blocks)


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

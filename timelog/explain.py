"""`Explanation`: what a search did, stage by stage, in numbers."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from timelog.journal import Block


class Stage(msgspec.Struct):
    """What one stage of a search dealt with. ``segments`` counts files that it met in a row."""

    segments: int = 0
    blocks: int = 0
    bytes: int = 0
    events: int = 0
    milliseconds: float = 0.0
    last: str = ""

    def add(self, block: Block) -> None:
        """Count a block as dealt with here."""
        self.blocks += 1
        self.bytes += block.length
        self.events += block.count
        if block.path != self.last:
            self.last = block.path
            self.segments += 1

    def add_all(self, blocks: Sequence[Block]) -> None:
        """Count blocks of one segment, of which none was counted before, as dealt with here."""
        if blocks:
            self.segments += blocks[0].path != self.last
            self.last = blocks[0].path
            self.blocks += len(blocks)
            self.bytes += sum([block.length for block in blocks])
            self.events += sum([block.count for block in blocks])


class Explanation(msgspec.Struct):
    """What a search did, stage by stage, from coarse to fine. ``str()`` of it is a small table.

    ``range`` is what the index has for the range of time. Of that were skipped unread: what the
    times (``time``), ``tags`` or ``source`` of a block rule out, what has ``expired``, what the
    ``text_index`` rules out, and what was ``counted`` by the index. The others were ``read``; of
    these the raw ``text`` ruled out some, and ``damaged`` ones were withheld. The candidate lines
    of the rest were ``decoded``; ``memory`` is what was not on disk yet, and ``matched`` what
    passed all tests.

    ``need`` is the text that each match must have, ``engine`` what looks for it. Times of ``read``,
    ``text`` are sums over all threads; ``milliseconds`` is the time that passed.
    """

    days: int = 0
    range: Stage = msgspec.field(default_factory=Stage)
    time: Stage = msgspec.field(default_factory=Stage)
    tags: Stage = msgspec.field(default_factory=Stage)
    source: Stage = msgspec.field(default_factory=Stage)
    expired: Stage = msgspec.field(default_factory=Stage)
    text_index: Stage = msgspec.field(default_factory=Stage)
    counted: Stage = msgspec.field(default_factory=Stage)
    read: Stage = msgspec.field(default_factory=Stage)
    text: Stage = msgspec.field(default_factory=Stage)
    damaged: Stage = msgspec.field(default_factory=Stage)
    decoded: Stage = msgspec.field(default_factory=Stage)
    memory: Stage = msgspec.field(default_factory=Stage)
    matched: Stage = msgspec.field(default_factory=Stage)
    need: str = ""
    engine: str = ""
    milliseconds: float = 0.0

    def __str__(self) -> str:
        rows = [
            ("in the range of time", self.range),
            ("  skipped by time", self.time),
            ("  skipped by tags", self.tags),
            ("  skipped by source", self.source),
            ("  skipped as expired", self.expired),
            ("  skipped by the text index", self.text_index),
            ("  counted unread", self.counted),
            ("read", self.read),
            ("  ruled out by text", self.text),
            ("  withheld because damaged", self.damaged),
            ("decoded", self.decoded),
            ("in memory", self.memory),
            ("matched", self.matched),
        ]
        lines = [f"{'stage':27} {'files':>9} {'blocks':>9} {'bytes':>15} {'events':>12} {'ms':>9}"]
        lines += [
            f"{name:27} {stage.segments:9,} {stage.blocks:9,} {stage.bytes:15,} "
            f"{stage.events:12,} {stage.milliseconds:9,.1f}"
            for name, stage in rows
        ]
        lines.append(f"text that must be there: {self.need}; looked for by: {self.engine}")
        lines.append(f"{self.days:,} days, {self.milliseconds:,.1f} ms in all")
        return "\n".join(lines)

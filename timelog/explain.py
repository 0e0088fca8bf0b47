"""`Explanation`: what a search did, stage by stage, in numbers."""

from __future__ import annotations

import msgspec


class Explanation(msgspec.Struct):
    """What a search did, stage by stage. ``str()`` of it is a small table."""

    days: int = 0
    segments: int = 0
    blocks: int = 0
    blocks_by_time: int = 0
    blocks_by_tags: int = 0
    blocks_by_source: int = 0
    blocks_by_text: int = 0
    blocks_by_count: int = 0
    bytes_read: int = 0
    lines: int = 0
    decoded: int = 0
    in_memory: int = 0
    matched: int = 0
    damaged: int = 0
    milliseconds: float = 0.0
    needles: tuple[str, ...] = ()

    def __str__(self) -> str:
        needles = ", ".join(map(repr, self.needles)) or "none"
        rows = [
            ("days with events in the range", self.days),
            ("segments in the range", self.segments),
            ("blocks in these segments", self.blocks),
            ("  skipped by time", self.blocks_by_time),
            ("  skipped by tags", self.blocks_by_tags),
            ("  skipped by source", self.blocks_by_source),
            ("  counted without reading", self.blocks_by_count),
            (f"  skipped by text (must have: {needles})", self.blocks_by_text),
            ("  withheld because damaged", self.damaged),
            ("bytes read", self.bytes_read),
            ("lines in the blocks read", self.lines),
            ("lines decoded", self.decoded),
            ("events looked at in memory", self.in_memory),
            ("events that match", self.matched),
        ]
        width = max(len(name) for name, _ in rows)
        table = [f"{name:{width}}  {value:>12,}" for name, value in rows]
        return "\n".join([*table, f"{'milliseconds':{width}}  {self.milliseconds:>12,.1f}"])

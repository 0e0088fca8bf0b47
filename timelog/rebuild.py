"""`rebuild`: the records of a log made anew from its text alone, under a new id.

What is left of the old records goes to quarantine first, the journal before everything else: from
then on, and until the last step, the log cannot be opened, so whoever is cut off begins again. A
segment that has nothing but events is used as it is; of any other the good lines go to a next file
of its span, and then the file itself to quarantine. Cut off between the two, the lines are there
twice, which is why of equal lines with equal ids only the first counts. So they are, too, where
segments that were replaced have not been removed yet.

What was deleted or has expired, and whose text is still there, is an event as any other then.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable
from hashlib import blake2b
from pathlib import Path

import msgspec

from timelog import names
from timelog.codec import encode_lines
from timelog.create import write_format
from timelog.damage import Damage
from timelog.dry import DryStorage
from timelog.encode import Lot, block_of, encode
from timelog.index import Index
from timelog.journal import Block
from timelog.lines import Good, read_lines
from timelog.names import Layout, SegmentName
from timelog.quarantine import Quarantine
from timelog.repaired import Findings
from timelog.rotate import save_days, sync_file, write_checkpoint
from timelog.span import Span
from timelog.storage import Storage
from timelog.tree import Found, partitions, segments

_OLD = "control"
# What others may hold a lock on, what is to stay, and what goes by itself.
_STAYS = {
    names.LOCK,
    names.TEXT_LOCK,
    names.SCRUB_LOCK,
    names.COMPACT_LOCK,
    names.QUARANTINE,
    names.TEMPORARY,
    names.TRASH,
    # What somebody said the log is to keep.
    names.STATE,
}
_REPEATED = "an equal line stands before it"


def rebuild(layout: Layout, storage: Storage, findings: Findings, why: str) -> Index:
    """Make the log anew, and return its index; the store lock must be held.

    ``why``: what is wrong with the old records. Positions are given in the order of spans, of
    which the longer comes first, of files and of lines. Raises ``OSError``; the next call then
    begins again. Cost: all text is read and decoded; memory for the index of a day, and 100 bytes
    for each event of a span and of those that overlap it.
    """
    return _Rebuilder(layout, storage, findings).run(why)


class _Rebuilder:
    def __init__(self, layout: Layout, storage: Storage, findings: Findings) -> None:
        self._layout = layout
        self._storage = storage
        self._findings = findings
        self._quarantine = Quarantine(layout, storage)
        self._index = Index(layout, storage, "", lambda batch: None)
        self._files = self._replaced = self._events = 0
        # The lines before, of spans that overlap the present one.
        self._seen: set[bytes] = set()
        # The highest number of each span in the partition.
        self._numbers: dict[Span, int] = {}

    def run(self, why: str) -> Index:
        index, layout, storage = self._index, self._layout, self._storage
        index.log = secrets.token_hex(16)
        index.time = storage.time_ns() // 1000
        kept = self._set_aside()
        for partition in partitions(layout, storage):
            self._partition(partition)
        # Of the partitions, too, nobody knows whether they are on the disk.
        storage.sync_directory(layout.root)
        index.ledger.enter(index.time, 0, index.position, {})
        if not isinstance(storage, DryStorage):
            write_checkpoint(layout, storage, index)
            write_format(layout, storage, index.log)
        self._findings.notes.append(
            f"made anew from the text, since {why}: {index.position:,} events in {self._files:,} "
            "files; the log has a new id, and cursors and the order of arrival are lost"
        )
        if self._replaced:
            self._findings.notes.append(
                f"{self._replaced:,} files had more than events: what is good of them went to next "
                "files, and they went to quarantine"
            )
        if kept:
            self._findings.notes.append(f"what was left of {names.CONTROL} is in {kept}")
        return index

    def _set_aside(self) -> str:
        """Move the old records to quarantine; where to, ``""`` where there were none."""
        layout, storage = self._layout, self._storage
        kept: Path | None = None
        left = storage.names(layout.control) if storage.is_directory(layout.control) else []
        for name in sorted(left, key=lambda name: name != names.JOURNAL):
            old = layout.control / name
            if name in _STAYS or (storage.is_directory(old) and not storage.names(old)):
                continue
            if kept is None:
                kept = self._quarantine.make_directory(_OLD)
            storage.rename(old, kept / name)
            storage.sync_directory(kept)
            storage.sync_directory(layout.control)
        for name in names.DIRECTORIES:
            storage.make_directory(layout.control / name)
        storage.sync_directory(layout.control)
        return str(kept.relative_to(layout.root)) if kept else ""

    def _partition(self, partition: str) -> None:
        layout, index = self._layout, self._index
        self._numbers.clear()
        for file in self._storage.names(layout.root / partition):
            # Whatever it is: its name is taken.
            name = names.parse_segment(f"{partition}/{file}")
            if name is not None:
                self._numbers[name.span] = max(self._numbers.get(name.span, 0), name.number)
        reach: int | None = None
        # What replaced others comes before them, and so stays as it is.
        for found in sorted(segments(layout, self._storage, partition), key=_order):
            if reach is None or found.name.span.start >= reach:
                self._seen.clear()
                reach = found.name.span.end
            reach = max(reach, found.name.span.end)
            self._segment(found)
        self._storage.sync_directory(layout.root / partition)
        with index.lock:
            changed = [day for day in index.days.values() if day.changed]
            saved = save_days(layout, self._storage, index, changed)
            for day in changed:
                day.summary = saved[day.start]
                day.changed = False
                day.files = None

    def _segment(self, found: Found) -> None:
        """Use the segment as it is, or put what is good of it into another."""
        layout, path = self._layout, found.path
        blocks: list[Block] = []
        repeated: set[int] = set()
        is_whole = found.size > 0
        crc, position = 0, self._index.position
        for part in read_lines(layout, self._storage, path, found.name.span):
            if isinstance(part, Damage):
                self._findings.advance(part.length)
                self._findings.quarantine([part])
                is_whole = False
                continue
            self._findings.advance(part.frame[1] if part.frame else len(part.data))
            again = self._repeated(part)
            self._findings.quarantine(
                Damage(path, at, length, _REPEATED) for at, length in again.items()
            )
            repeated |= again.keys()
            is_whole = is_whole and part.is_own and not again
            if found.name.is_archive and part.frame is None:
                is_whole = False
            if is_whole:
                count = len(part.lines)
                runs = (position, count)
                block = block_of(part.lines, part.data, path, part.offset, crc, runs)
                blocks.append(msgspec.structs.replace(block, frame=part.frame))
                crc, position = blocks[-1].crc, position + count
        if is_whole:
            sync_file(self._storage, layout.segment(path))
            self._add(blocks)
            return
        if not found.size:
            self._findings.quarantine([Damage(path, 0, 0, "empty")])
        self._add(self._write_next(found, repeated))
        self._quarantine.move(path, self._index.sequence)
        self._replaced += 1

    def _add(self, blocks: Iterable[Block]) -> None:
        index = self._index
        with index.lock:
            for at, block in enumerate(blocks):
                index.day(block.first).enter(block, index.time, index.time)
                index.position += block.count
                self._files += not at

    def _repeated(self, part: Good) -> dict[int, int]:
        """The offsets and lengths of lines that were there before; the others are from now on."""
        seen, raws = self._seen, part.raw_lines
        own = raws if part.is_own else encode_lines(part.lines)[:-1].split(b"\n")
        # Digests: the lines of a day may be more than memory holds.
        keys = [blake2b(raw, digest_size=16).digest() for raw in own]
        new = set(keys)
        if len(new) == len(keys) and seen.isdisjoint(new):
            seen |= new
            return {}
        again: dict[int, int] = {}
        at = part.offset
        for raw, key in zip(raws, keys, strict=True):
            if key in seen:
                again[at] = len(raw) + 1
            seen.add(key)
            at += len(raw) + 1
        return again

    def _write_next(self, found: Found, repeated: set[int]) -> list[Block]:
        """Write the good lines of a segment to a next file of its span; none where it has none."""
        layout, storage, span = self._layout, self._storage, found.name.span
        name = SegmentName(span, self._numbers[span] + 1)
        temporary = layout.temporary / name.file
        blocks: list[Block] = []
        offset, crc, position = 0, 0, self._index.position
        storage.unlink(temporary)
        out = storage.create(temporary)
        try:
            for part in read_lines(layout, storage, found.path, span):
                if isinstance(part, Damage):
                    continue
                lines, at = [], part.offset
                for line, raw in zip(part.lines, part.raw_lines, strict=True):
                    if at not in repeated:
                        lines.append(line)
                    at += len(raw) + 1
                lot = Lot(span, lines, [(position, len(lines))])
                for block, data in encode(lot, name.path, offset, crc, 0):
                    storage.write(out, data)
                    blocks.append(block)
                    offset, crc = block.end, block.crc
                position += len(lines)
            storage.sync(out)
        finally:
            storage.close(out)
        if not blocks:
            storage.unlink(temporary)
            return blocks
        storage.rename(temporary, layout.segment(name.path))
        storage.sync_directory(layout.segment(name.path).parent)
        self._numbers[span] = name.number
        return blocks


def _order(found: Found) -> tuple[int, int, SegmentName]:
    """By span, the longer first, then by number."""
    span = found.name.span
    return span.start, -span.end, found.name

"""`reindex`: the index of single days made anew from their text, under the log's own id.

What all other days have, and what the journal still says of these, tells which positions are left
for them; which line had which is lost. Of bytes that the lost index alone had the crc of, nobody
can say whether they changed. Nor which events were deleted, where the lost index alone knew it:
they are visible again if their text was not erased yet.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain

import msgspec

from timelog import names, positions
from timelog.codec import Line
from timelog.day import Day
from timelog.dry import DryStorage
from timelog.encode import block_of
from timelog.errors import NOT_PLAIN, DamagedError, in_words
from timelog.index import Index
from timelog.journal import Block, Tombstone
from timelog.lines import Good, read_lines
from timelog.names import Layout
from timelog.positions import stretches
from timelog.quarantine import Quarantine
from timelog.repaired import Findings
from timelog.rotate import write_checkpoint
from timelog.segment import FileIndex, Segment
from timelog.storage import Storage
from timelog.timestamp import from_text
from timelog.tree import Found, segments
from timelog.vacant import Vacant

_CHUNK = 1 << 20


def damaged_days(index: Index) -> dict[int, str]:
    """The days whose index file cannot be used, and why."""
    found: dict[int, str] = {}
    with index.lock:
        for start, day in list(index.days.items()):
            try:
                index.files(day)
            except DamagedError as error:
                found[start] = str(error).partition(";")[0]
            except OSError as error:
                if error.errno not in NOT_PLAIN:
                    raise
                found[start] = in_words(error)
    return found


def reindex(
    layout: Layout, storage: Storage, index: Index, damaged: dict[int, str], findings: Findings
) -> None:
    """Make the index of the ``damaged`` days anew, and a checkpoint; the store lock must be held.

    No text is changed: what the index does not name afterwards is a leftover as any other. Raises
    ``OSError``. Cost: the text of these days is decoded twice, and all days' index files are read.
    """
    with index.lock:
        free = Vacant(index, damaged)
        for start, why in damaged.items():
            _Reindexer(layout, storage, index, free, findings).run(index.days[start], why)
        free.give_up(len(free))
        index.missing.sort()
        hidden = sum(
            not tombstone.is_erased
            for day in index.days.values()
            for tombstone in index.files(day).tombstones.values()
        )
        unknown = sum(row.deleted - row.erased for row in index.ledger) - hidden
        if unknown > 0:
            findings.notes.append(
                f"up to {unknown:,} events that were deleted, but not erased, are visible again"
            )
        if not isinstance(storage, DryStorage):
            write_checkpoint(layout, storage, index)


class _Reindexer:
    """Makes one day anew."""

    def __init__(
        self, layout: Layout, storage: Storage, index: Index, free: Vacant, findings: Findings
    ) -> None:
        self._layout = layout
        self._storage = storage
        self._quarantine = Quarantine(layout, storage)
        self._index = index
        self._free = free
        self._findings = findings
        # By id and time, until it is known which position their event gets.
        self._buried: dict[tuple[str, int], list[Tombstone]] = {}

    def run(self, day: Day, why: str) -> None:
        assert day.summary is not None
        partition = names.partition(day.start)
        # What the journal says of a file stands behind all that the lost index said of it.
        known: dict[str, Block] = {}
        pending = day.pending_blocks()
        for block in pending:
            if block.path not in known or block.offset < known[block.path].offset:
                known[block.path] = block
        found = [
            each
            for each in segments(self._layout, self._storage, partition)
            if not self._index.removal.is_going(each.path)
        ]
        ends = {
            each.path: known[each.path].file_start if each.path in known else each.size
            for each in found
        }
        counts = {each.path: self._count(each, ends[each.path]) for each in found}
        stored = min(day.count - sum(block.count for block in pending), len(self._free))
        certain = sum(counts[path] for path in known if path in counts)
        left = max(stored - certain, 0)
        files = FileIndex()
        self._bury(files, day.pending_tombstones(), pending)
        for each in found:
            count = counts[each.path]
            if each.path not in known:
                count = min(count, left)
                left -= count
            count = min(count, len(self._free))
            self._segment(files, each, ends[each.path], count, known.get(each.path))
        self._keep_file(day.summary.file)
        total = sum(segment.count for segment in files)
        day.replaced(files)
        held = chain.from_iterable(
            stretches(block.runs, block.count) for segment in files for block in segment.blocks
        )
        day.entered = self._index.ledger.share_out(held)
        self._free.give_up(max(min(stored - total, len(self._free)), 0))
        more = sum(counts.values()) - total
        self._findings.notes.append(
            f"{partition}: its index was made anew from the text, since {why}: {total:,} events, "
            "whose order of arrival is lost and whose bytes could not be checked"
            + (f"; {stored - total:,} events are missing" if stored > total else "")
            + (f"; {more:,} lines more than were stored are left out" if more else "")
        )

    def _keep_file(self, file: str) -> None:
        """Keep the damaged index file: the next checkpoint removes it."""
        path = self._layout.index / file
        try:
            size = self._storage.status(path).st_size
            self._quarantine.keep(path, 0, size, file)
        except FileNotFoundError:
            pass
        except OSError as error:
            if error.errno not in NOT_PLAIN:
                raise
            self._quarantine.put_away(path, file)

    def _bury(
        self, files: FileIndex, tombstones: Iterable[Tombstone], pending: Sequence[Block]
    ) -> None:
        """Keep the tombstones of events that keep their positions, or have none any more.

        The others wait until the lines of their events are given positions.
        """
        self._buried.clear()
        for tombstone in tombstones:
            at = tombstone.position
            if tombstone.is_erased or any(
                first <= at < end
                for block in pending
                for first, end in stretches(block.runs, block.count)
            ):
                files.tombstones[at] = tombstone
            else:
                key = tombstone.id, tombstone.timestamp
                self._buried.setdefault(key, []).append(tombstone)

    def _good(self, found: Found, end: int) -> Iterator[Good]:
        """The lines that the log itself wrote; of an archive those that are a frame."""
        span = found.name.span
        for part in read_lines(self._layout, self._storage, found.path, span, 0, end):
            if (
                isinstance(part, Good)
                and part.is_own
                and (part.frame is not None or not found.name.is_archive)
            ):
                yield part

    def _count(self, found: Found, end: int) -> int:
        count = 0
        for part in self._good(found, end):
            self._findings.advance(part.frame[1] if part.frame else len(part.data))
            count += len(part.lines)
        return count

    def _segment(
        self, files: FileIndex, found: Found, end: int, count: int, following: Block | None
    ) -> None:
        """Add a segment of the first ``count`` lines up to ``end``.

        The first block that the journal knows says which crc its bytes had: where they have another
        now, the last block made of them is damaged.
        """
        # What the index said of it is lost, so it takes no more blocks.
        segment = Segment(found.name, self._index.time, True, found.path)
        at, crc = 0, 0
        for part in self._good(found, end):
            if not count:
                break
            lines = part.lines[:count]
            if part.frame is not None and len(lines) < len(part.lines):
                # There is no part of a frame.
                break
            length = sum(len(raw) + 1 for raw in part.raw_lines[:count])
            runs = self._free.take(len(lines))
            if part.frame is not None:
                # In its text nothing stands between the frames that are good.
                block = block_of(lines, part.data, found.path, at, crc, runs)
                block = msgspec.structs.replace(block, frame=part.frame)
            else:
                crc = self._crc(found.path, at, part.offset, crc)
                block = block_of(lines, part.data[:length], found.path, part.offset, crc, runs)
            if following is not None and block.end == following.offset:
                block = msgspec.structs.replace(block, crc=following.seed)
            self._find_buried(files, block, lines)
            segment.add(block)
            at, crc = block.end, block.crc
            count -= len(lines)
        if segment.blocks:
            files.add(segment)

    def _find_buried(self, files: FileIndex, block: Block, lines: Sequence[Line]) -> None:
        """Let tombstones follow their events, which have the positions of ``block`` now."""
        if not self._buried:
            return
        numbers = [
            number
            for number, line in enumerate(lines)
            if (line.id, from_text(line.timestamp)) in self._buried
        ]
        given = positions.at(block.runs, block.count, numbers)
        for number, position in zip(numbers, given, strict=True):
            line = lines[number]
            waiting = self._buried[line.id, from_text(line.timestamp)]
            if waiting:
                files.tombstones[position] = msgspec.structs.replace(
                    waiting.pop(0), position=position
                )

    def _crc(self, path: str, start: int, end: int, crc: int) -> int:
        """The crc of bytes of a segment, begun with ``crc``."""
        if start < end:
            with self._storage.reading(self._layout.segment(path)) as fd:
                for at in range(start, end, _CHUNK):
                    data = self._storage.read_at(fd, at, min(_CHUNK, end - at))
                    crc = zlib.crc32(data, crc)
        return crc

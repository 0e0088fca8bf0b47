"""`reindex`: the index of single days made anew from their text, under the log's own id.

What all other days have, and what the journal still says of these, tells which positions are left
for them; which line had which is lost. Of bytes that the lost index alone had the crc of, nobody
can say whether they changed.
"""

from __future__ import annotations

import zlib
from collections import deque
from collections.abc import Iterator
from itertools import chain

import msgspec

from timelog import names
from timelog.day import Day
from timelog.dry import DryStorage
from timelog.encode import block_of
from timelog.errors import NOT_PLAIN, DamagedError, in_words
from timelog.index import Index
from timelog.journal import Block
from timelog.lines import Good, read_lines
from timelog.names import Layout
from timelog.positions import stretches
from timelog.quarantine import Quarantine
from timelog.repaired import Findings
from timelog.rotate import write_checkpoint
from timelog.segment import FileIndex, Segment
from timelog.storage import Storage
from timelog.tree import Found, segments

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
        free = _Free(index, damaged)
        for start, why in damaged.items():
            _Reindexer(layout, storage, index, free, findings).run(index.days[start], why)
        free.give_up(len(free))
        index.missing.sort()
        if not isinstance(storage, DryStorage):
            write_checkpoint(layout, storage, index)


class _Free:
    """The positions that no day has, in order; they are given away once."""

    def __init__(self, index: Index, damaged: dict[int, str]) -> None:
        self._missing = index.missing
        used = [(first, last + 1) for first, last in index.missing]
        for start, day in index.days.items():
            blocks: Iterator[Block]
            if start in damaged:
                blocks = (block for block, _ in day.pending)
            else:
                blocks = (block for segment in index.files(day) for block in segment.blocks)
            for block in blocks:
                used += stretches(block.runs, block.count)
        self._ranges: deque[tuple[int, int]] = deque()
        at = 0
        for first, end in sorted(used):
            if first > at:
                self._ranges.append((at, first))
            at = max(at, end)
        if index.position > at:
            self._ranges.append((at, index.position))

    def __len__(self) -> int:
        return sum(end - first for first, end in self._ranges)

    def take(self, count: int) -> tuple[int, ...]:
        """The next ``count`` positions as runs; there must be so many."""
        runs: list[int] = []
        while count:
            first, end = self._ranges.popleft()
            taken = min(count, end - first)
            runs += (first, taken)
            count -= taken
            if first + taken < end:
                self._ranges.appendleft((first + taken, end))
        return tuple(runs)

    def give_up(self, count: int) -> None:
        """Note the next ``count`` positions as missing."""
        runs = self.take(count)
        for first, length in zip(runs[::2], runs[1::2], strict=True):
            self._missing.append((first, first + length - 1))


class _Reindexer:
    """Makes one day anew."""

    def __init__(
        self, layout: Layout, storage: Storage, index: Index, free: _Free, findings: Findings
    ) -> None:
        self._layout = layout
        self._storage = storage
        self._quarantine = Quarantine(layout, storage)
        self._index = index
        self._free = free
        self._findings = findings

    def run(self, day: Day, why: str) -> None:
        assert day.summary is not None
        partition = names.partition(day.start)
        # What the journal says of a file stands behind all that the lost index said of it.
        known: dict[str, Block] = {}
        for block, _ in day.pending:
            if block.path not in known or block.offset < known[block.path].offset:
                known[block.path] = block
        is_there = self._storage.is_directory(self._layout.root / partition)
        found = segments(self._layout, self._storage, partition) if is_there else []
        ends = {
            each.path: known[each.path].offset if each.path in known else each.size
            for each in found
        }
        counts = {each.path: self._count(each, ends[each.path]) for each in found}
        stored = min(day.summary.count, len(self._free))
        certain = sum(counts[path] for path in known if path in counts)
        left = max(stored - certain, 0)
        files = FileIndex()
        for each in found:
            count = counts[each.path]
            if each.path not in known:
                count = min(count, left)
                left -= count
            count = min(count, len(self._free))
            self._segment(files, each, ends[each.path], count, known.get(each.path))
        self._keep_file(day.summary.file)
        total = sum(segment.count for segment in files)
        held = chain.from_iterable(
            stretches(block.runs, block.count) for segment in files for block in segment.blocks
        )
        day.replaced(files, self._index.ledger.share_out(held))
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

    def _good(self, found: Found, end: int) -> Iterator[Good]:
        """The lines that the log itself wrote."""
        span = found.name.span
        for part in read_lines(self._layout, self._storage, found.path, span, 0, end):
            if isinstance(part, Good) and part.is_own:
                yield part

    def _count(self, found: Found, end: int) -> int:
        count = 0
        for part in self._good(found, end):
            self._findings.advance(len(part.data))
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
            length = sum(len(raw) + 1 for raw in part.raw_lines[:count])
            crc = self._crc(found.path, at, part.offset, crc)
            runs = self._free.take(len(lines))
            block = block_of(lines, part.data[:length], found.path, part.offset, crc, runs)
            if following is not None and block.end == following.offset:
                block = msgspec.structs.replace(block, crc=following.seed)
            segment.add(block)
            at, crc = block.end, block.crc
            count -= len(lines)
        if segment.blocks:
            files.add(segment)

    def _crc(self, path: str, start: int, end: int, crc: int) -> int:
        """The crc of bytes of a segment, begun with ``crc``."""
        if start < end:
            with self._storage.reading(self._layout.segment(path)) as fd:
                for at in range(start, end, _CHUNK):
                    data = self._storage.read_at(fd, at, min(_CHUNK, end - at))
                    crc = zlib.crc32(data, crc)
        return crc

"""`Rewriter`: writes what is left of some segments of a day anew, sorted by time.

Line by line as it stands; only what was deleted or has expired is left out. What is written goes to
``.timelog/tmp``, and counts for nothing until a commit puts it in place. Memory is bounded as that
of a search in order (`timelog.merge`).
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from functools import partial
from itertools import accumulate, compress, repeat
from operator import add, attrgetter
from pathlib import Path
from typing import NamedTuple

import msgspec

from timelog import names, positions
from timelog.blocktext import read_text
from timelog.checksum import crc32
from timelog.codec import NOT_EVENTS
from timelog.damage import Damage
from timelog.encode import BLOCK_SIZE
from timelog.errors import TRANSIENT, DamagedError
from timelog.frames import compress as compress_frame
from timelog.horizons import Keeping
from timelog.journal import Block
from timelog.merge import Loader, Part, in_order, merge
from timelog.names import Layout
from timelog.scan import Found
from timelog.segment import names_of
from timelog.span import Span
from timelog.storage import Storage
from timelog.timestamp import from_datetime, to_datetime

_timestamp = attrgetter("timestamp")
_position = attrgetter("position")
_content = attrgetter("content")
_tags = attrgetter("tags")
_source = attrgetter("source")


class _Meta(msgspec.Struct, gc=False):
    """What of a line decides where it goes."""

    timestamp: datetime
    source: str
    tags: tuple[str, ...]


class Item(msgspec.Struct, gc=False):
    """A line as it stands (``content``), its position, and what decides where it goes."""

    timestamp: datetime
    position: int
    content: bytes
    source: str
    tags: tuple[str, ...]


_decoder = msgspec.json.Decoder(_Meta)


class Output(NamedTuple):
    """A file that was written: its blocks are without their path."""

    span: Span
    file: Path
    blocks: tuple[Block, ...]


class Rewritten(NamedTuple):
    """What rewriting came to: the files, and the positions of what was left out, ascending."""

    outputs: tuple[Output, ...]
    expired: tuple[int, ...]
    erased: tuple[int, ...]


class Stopped(Exception):
    """Somebody wanted it to end."""


class DamagedSegment(Exception):
    """A segment cannot be rewritten as it is."""

    def __init__(self, block: Block, reason: str) -> None:
        super().__init__(reason)
        self.block = block
        self.damage = Damage(block.path, block.offset, block.length, reason)


class Rewriter:
    """Rewrites once. ``span_of`` says which file an event of that time goes to.

    ``keeping`` and ``deleted`` say what is left out. Who calls it holds the compaction's lock.
    """

    def __init__(
        self,
        layout: Layout,
        storage: Storage,
        span_of: Callable[[int], Span],
        keeping: Keeping,
        deleted: frozenset[int],
        *,
        is_archive: bool,
        is_stopped: Callable[[], bool],
    ) -> None:
        self._layout = layout
        self._storage = storage
        self._span_of = span_of
        self._keeping = keeping
        self._deleted = deleted
        self._is_archive = is_archive
        self._is_stopped = is_stopped
        self._expired: list[int] = []
        self._erased: list[int] = []
        self._outputs: list[Output] = []

    def run(self, blocks: Sequence[Block]) -> Rewritten:
        """Write the lines of ``blocks``; what was written is synced.

        Raises `DamagedSegment`, `Stopped` and ``OSError``, and leaves nothing behind then.
        """
        parts = in_order(
            (Part(block.first, block.last, block) for block in blocks), descending=False
        )
        loader = Loader(self._load, self._lines)
        writer: _Writer | None = None
        try:
            for items in merge(parts, loader, descending=False):
                for span, some in self._by_span(self._left(items)):
                    if writer is None or writer.span != span:
                        self._end(writer)
                        writer = self._begin(span)
                    writer.add(some)
            self._end(writer)
            writer = None
        except BaseException:
            if writer is not None:
                writer.close()
            self.discard()
            raise
        return Rewritten(
            tuple(self._outputs), tuple(sorted(self._expired)), tuple(sorted(self._erased))
        )

    def discard(self) -> None:
        """Remove what was written."""
        for number in range(len(self._outputs) + 1):
            self._storage.unlink(self._layout.temporary / names.compacted(number))

    # -- reading --------------------------------------------------------------------------

    def _load(self, block: Block) -> Found[Item]:
        # Here, since what is in no order at all is loaded several times before anything is written.
        if self._is_stopped():
            raise Stopped
        try:
            with self._storage.reading(self._layout.segment(block.path)) as fd:
                data = read_text(partial(self._storage.read_at, fd), (block,))
        except OSError as error:
            if error.errno in TRANSIENT:
                raise
            raise DamagedSegment(block, f"cannot be read: {error.strerror or error}") from error
        if problem := block.problem(data):
            raise DamagedSegment(block, problem)
        lines = data.split(b"\n")
        try:
            metas = _decoder.decode_lines(data)
            numbers = range(block.count)
            at = positions.at(block.runs, block.count, numbers)
        except (*NOT_EVENTS, DamagedError) as error:
            raise DamagedSegment(block, f"a line is not an event: {error}") from error
        if len(metas) != len(lines) - 1 or len(metas) != block.count:
            raise DamagedSegment(block, "the index says another number of events than there are")
        times, sources = map(_timestamp, metas), map(_source, metas)
        # One line more than there are events: the empty one behind the last newline.
        items = list(map(Item, times, at, lines, sources, map(_tags, metas)))
        return Found(items, lambda: numbers, lambda chosen: [at[number] for number in chosen])

    def _lines(self, block: Block, numbers: list[int]) -> list[Item]:
        items = self._load(block).events
        return [items[number] for number in numbers]

    # -- choosing -------------------------------------------------------------------------

    def _left(self, items: list[Item]) -> list[Item]:
        """Those that are neither deleted nor expired; the others are noted."""
        if self._deleted and not self._deleted.isdisjoint(map(_position, items)):
            deleted = [item.position in self._deleted for item in items]
            self._erased += map(_position, compress(items, deleted))
            items = [item for item, is_gone in zip(items, deleted, strict=True) if not is_gone]
        if items and from_datetime(items[0].timestamp) < self._keeping.high:
            kept = self._keeping.keeps(items)
            self._expired += [
                item.position for item, is_kept in zip(items, kept, strict=True) if not is_kept
            ]
            items = list(compress(items, kept))
        return items

    def _by_span(self, items: list[Item]) -> Iterator[tuple[Span, list[Item]]]:
        """Cut items in order of time where the span ends."""
        at = 0
        while at < len(items):
            span = self._span_of(from_datetime(items[at].timestamp))
            end = bisect_left(items, to_datetime(span.end), at, key=_timestamp)
            yield span, items[at:end]
            at = end

    # -- writing --------------------------------------------------------------------------

    def _begin(self, span: Span) -> _Writer:
        file = self._layout.temporary / names.compacted(len(self._outputs))
        return _Writer(self._storage, span, file, self._is_archive)

    def _end(self, writer: _Writer | None) -> None:
        if writer is not None:
            self._outputs.append(Output(writer.span, writer.file, writer.end()))


class _Writer:
    """Writes one file, block by block."""

    def __init__(self, storage: Storage, span: Span, file: Path, is_archive: bool) -> None:
        self.span = span
        self.file = file
        self._storage = storage
        self._is_archive = is_archive
        self._items: list[Item] = []
        self._size = 0
        self._blocks: list[Block] = []
        self._offset = self._file_offset = self._crc = 0
        storage.unlink(file)
        self._fd = storage.create(file)

    def add(self, items: list[Item]) -> None:
        """Take items that are behind all before."""
        self._items += items
        self._size += sum(map(len, map(_content, items))) + len(items)
        if self._size >= BLOCK_SIZE:
            self._write_full()

    def end(self) -> tuple[Block, ...]:
        """Write and sync what is left; the blocks."""
        try:
            if self._items:
                self._write(self._items)
            self._storage.sync(self._fd)
        finally:
            self.close()
        return tuple(self._blocks)

    def close(self) -> None:
        """Close the file, once."""
        if self._fd >= 0:
            fd, self._fd = self._fd, -1
            self._storage.close(fd)

    def _write_full(self) -> None:
        """Write all blocks that are full."""
        ends = list(accumulate(map(add, map(len, map(_content, self._items)), repeat(1))))
        at = 0
        while ends[-1] - (before := ends[at - 1] if at else 0) >= BLOCK_SIZE:
            # As many as fit, and one at least.
            end = max(bisect_right(ends, before + BLOCK_SIZE, at), at + 1)
            self._write(self._items[at:end])
            at = end
            if at == len(ends):
                break
        self._size = ends[-1] - (ends[at - 1] if at else 0)
        del self._items[:at]

    def _write(self, items: list[Item]) -> None:
        data = b"\n".join(map(_content, items)) + b"\n"
        stored = compress_frame(data) if self._is_archive else data
        self._storage.write(self._fd, stored)
        tags = {tag for each in set(map(_tags, items)) for tag in each}
        block = Block(
            "",
            self._offset,
            len(data),
            len(items),
            positions.pack(list(map(_position, items))),
            from_datetime(items[0].timestamp),
            from_datetime(items[-1].timestamp),
            self._crc,
            crc32(data, self._crc),
            names_of(tags),
            names_of(set(map(_source, items))),
            (self._file_offset, len(stored)) if self._is_archive else None,
        )
        self._blocks.append(block)
        self._offset, self._crc = block.end, block.crc
        self._file_offset += len(stored)

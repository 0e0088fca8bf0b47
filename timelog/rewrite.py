"""`Rewriter`: writes what is left of some segments of a day anew, sorted by time.

Line by line as it stands; only what was deleted or has expired is left out. What is written goes to
``.timelog/tmp``, and counts for nothing until a commit puts it in place. Memory is bounded as that
of a search in order (`timelog.merge`); lines in no order at all are sorted in runs before.
"""

from __future__ import annotations

import errno
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from datetime import datetime
from functools import partial
from itertools import accumulate, compress
from operator import attrgetter
from pathlib import Path
from typing import NamedTuple

import msgspec

from timelog import names, positions
from timelog.blocktext import read_text
from timelog.codec import NOT_EVENTS
from timelog.damage import Damage
from timelog.encode import BLOCK_SIZE
from timelog.errors import TRANSIENT, DamagedError, StorageError
from timelog.horizons import Keeping
from timelog.journal import Block
from timelog.merge import Loader, Part, in_order, merge
from timelog.names import Layout
from timelog.scan import Found
from timelog.sortedfile import Item, SortedFile
from timelog.span import Span
from timelog.storage import Storage
from timelog.timestamp import from_datetime, to_datetime

_timestamp = attrgetter("timestamp")
_position = attrgetter("position")
_tags = attrgetter("tags")
_source = attrgetter("source")


class _Meta(msgspec.Struct, gc=False):
    """What of a line decides where it goes."""

    timestamp: datetime
    source: str
    tags: tuple[str, ...]


_decoder = msgspec.json.Decoder(_Meta)


class Output(NamedTuple):
    """A file that was written: its blocks are without their path."""

    span: Span
    file: Path
    blocks: tuple[Block, ...]


# Where blocks of more text than this overlap, they are sorted in runs first; of so much text each,
# in blocks of this size.
MOST_OVERLAP = 4 * 1024 * 1024
RUN_SIZE = 16 * 1024 * 1024
_RUN_BLOCK = 64 * 1024


class Rewritten(NamedTuple):
    """What rewriting came to: the files, and the ascending positions of what was erased."""

    outputs: tuple[Output, ...]
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

    ``keeping`` and ``deleted`` say what is left out; ``expire`` is told the positions of what has
    expired. Who calls it holds the compaction's lock.
    """

    def __init__(
        self,
        layout: Layout,
        storage: Storage,
        span_of: Callable[[int], Span],
        keeping: Keeping,
        deleted: frozenset[int],
        expire: Callable[[list[int]], None],
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
        self._expire = expire
        self._erased: list[int] = []
        self._outputs: list[Output] = []
        self._files: list[Path] = []

    def run(self, blocks: Sequence[Block]) -> Rewritten:
        """Write the lines of ``blocks``; what was written is synced.

        Raises `DamagedSegment`, `Stopped` and ``OSError``, and leaves nothing behind then.
        """
        try:
            if _overlap(blocks) <= MOST_OVERLAP:
                self._write(blocks)
            else:
                self._write_runs(blocks)
        except BaseException:
            self.discard()
            raise
        return Rewritten(tuple(self._outputs), tuple(sorted(self._erased)))

    def discard(self) -> None:
        """Remove what was written."""
        for file in self._files:
            self._storage.unlink(file)

    def _write(self, blocks: Iterable[Block]) -> None:
        """Write the lines of blocks to the files where they belong."""
        parts = in_order(
            (Part(block.first, block.last, block) for block in blocks), descending=False
        )
        loader = Loader(self._load, self._lines)
        with ExitStack() as opened:
            span: Span | None = None
            writer: SortedFile | None = None
            for items in merge(parts, loader, descending=False):
                for wanted, some in self._by_span(self._left(items)):
                    if span != wanted:
                        self._end(span, writer)
                        span, writer = wanted, self._begin(self._is_archive, BLOCK_SIZE)
                        opened.callback(writer.close)
                    assert writer is not None
                    writer.add(some)
            self._end(span, writer)

    def _write_runs(self, blocks: Sequence[Block]) -> None:
        """`_write` what is in no order: in runs that fit in memory, and then together.

        The blocks of a run are small and overlap none of the same run. Without that, text would
        have to be read again and again.
        """
        runs: list[Block] = []
        for some in _pieces(blocks):
            items = [item for block in some for item in self._load(block).events]
            # Two sorts of plain values take less time than one of pairs.
            items.sort(key=_position)
            items.sort(key=_timestamp)
            writer = self._begin(False, _RUN_BLOCK)
            path = str(self._files[-1].relative_to(self._layout.root))
            try:
                writer.add(self._left(items))
                written = writer.end(durable=False)
            finally:
                writer.close()
            runs += (msgspec.structs.replace(block, path=path) for block in written)
        files = list(self._files)
        try:
            self._write(runs)
        except DamagedSegment as error:
            # Nobody else knows of these files.
            words = f"what compaction wrote cannot be read again: {error.damage}"
            raise StorageError(errno.EIO, words) from error
        for file in files:
            self._storage.unlink(file)

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
            if not all(kept):
                self._expire(
                    [
                        item.position
                        for item, is_kept in zip(items, kept, strict=True)
                        if not is_kept
                    ]
                )
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

    def _begin(self, is_archive: bool, block_size: int) -> SortedFile:
        file = self._layout.temporary / names.compacted(len(self._files))
        self._files.append(file)
        return SortedFile(self._storage, file, is_archive=is_archive, block_size=block_size)

    def _end(self, span: Span | None, writer: SortedFile | None) -> None:
        if span is not None and writer is not None:
            self._outputs.append(Output(span, self._files[-1], writer.end(durable=True)))


def _overlap(blocks: Iterable[Block]) -> int:
    """The most bytes of text that are in blocks which all have some time in common."""
    edges = [(block.first, block.length) for block in blocks]
    edges += [(block.last + 1, -block.length) for block in blocks]
    return max(accumulate(length for _, length in sorted(edges)), default=0)


def _pieces(blocks: Iterable[Block]) -> Iterator[list[Block]]:
    """Cut blocks into pieces of `RUN_SIZE` of text, or a little more."""
    piece: list[Block] = []
    size = 0
    for block in blocks:
        piece.append(block)
        size += block.length
        if size >= RUN_SIZE:
            yield piece
            piece, size = [], 0
    if piece:
        yield piece

"""`SortedFile`: writes lines that come in order to a file, as blocks for the index."""

from __future__ import annotations

from bisect import bisect_right
from datetime import datetime
from itertools import accumulate, repeat
from operator import add, attrgetter
from pathlib import Path

import msgspec

from timelog import positions
from timelog.checksum import crc32
from timelog.frames import compress as compress_frame
from timelog.journal import Block
from timelog.segment import names_of
from timelog.storage import Storage
from timelog.timestamp import from_datetime

_position = attrgetter("position")
_content = attrgetter("content")
_tags = attrgetter("tags")
_source = attrgetter("source")


class Item(msgspec.Struct, gc=False):
    """A line as it stands (``content``), its position, and what decides where it goes."""

    timestamp: datetime
    position: int
    content: bytes
    source: str
    tags: tuple[str, ...]


class SortedFile:
    """One file that is being written. ``block_size``: bytes of text of a block, or one larger line.

    Not thread-safe.
    """

    def __init__(self, storage: Storage, file: Path, *, is_archive: bool, block_size: int) -> None:
        self._block_size = block_size
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
        if self._size >= self._block_size:
            self._write_full()

    def end(self, *, durable: bool) -> tuple[Block, ...]:
        """Write what is left, sync the file if it is to be ``durable``, and close it; its blocks.

        These are without their path.
        """
        try:
            if self._items:
                self._write(self._items)
            if durable:
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
        while ends[-1] - (before := ends[at - 1] if at else 0) >= self._block_size:
            # As many as fit, and one at least.
            end = max(bisect_right(ends, before + self._block_size, at), at + 1)
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

"""The text of blocks, whether their segment is plain or archived.

Pure but for the function that reads, which is given. Thread-safe.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from timelog.errors import DamagedError
from timelog.frames import decompress
from timelog.journal import Block

# Nobody writes larger frames; more is not taken on the word of an index.
_MOST = 1 << 27

# Returns bytes of a file, from an offset on, as many as asked for; fewer only at the end.
Read = Callable[[int, int], bytes]


def read_text(read: Read, blocks: Sequence[Block]) -> bytes:
    """The text of neighbouring blocks of one file, with one call of ``read``.

    Shorter where the file is. What cannot be decompressed comes as NULs, for which no crc holds.
    Raises `MissingExtra` for an archive without zstandard, and what ``read`` does.
    """
    first, last = blocks[0], blocks[-1]
    if first.frame is None:
        return read(first.offset, last.end - first.offset)
    start = first.frame[0]
    data = memoryview(read(start, last.file_end - start))
    return b"".join([_text(data, start, block) for block in blocks])


def _text(data: memoryview, start: int, block: Block) -> bytes:
    at, length = block.frame or (0, 0)
    try:
        if block.length <= _MOST:
            return decompress(data[at - start : at - start + length], block.length)
    except DamagedError:
        pass
    return bytes(min(block.length, _MOST))

"""Compressed text: frames of zstd (RFC 8878) that need nothing but themselves to be read.

An archived segment is a sequence of frames and nothing else, a frame for each block. So any block
can be had without the others, and ``zstdcat``, ``zstdgrep``, ``rg -z`` or DuckDB read the whole.
Each frame says how long its text is. It has no checksum of zstd's own, which would take a sixth of
the time of decompressing: the log has a crc of each block's text.

All functions are pure and thread-safe: the objects of the package zstandard are not, so each call
makes its own, for 4 µs. Without the package, of the extra ``zstd``, they raise `MissingExtra`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from types import ModuleType
from typing import NamedTuple

from timelog.errors import DamagedError, missing_extra

# The level of zstd, chosen together with the most text of a block and so of a frame, 256 KiB. A day
# of real log lines, one thread of an AMD EPYC, zstd 1.5.7; the size beside that of the same file
# under ``zstd -3`` whole (``python -m benchmarks.frames`` measures it again):
#
#     frame     level  size   compress    decompress   decompress and decode an event
#     256 KiB     1    0.98   483 MB/s    1096 MB/s    1326 ns
#     256 KiB     3    1.06   312 MB/s     970 MB/s    1360 ns
#     256 KiB     6    0.91    82 MB/s    1187 MB/s    1289 ns
#     256 KiB     9    0.88    56 MB/s    1205 MB/s
#     512 KiB     1    0.95   451 MB/s    1142 MB/s    1350 ns
#     1 MiB       1    0.93   456 MB/s    1141 MB/s    1460 ns
#     1 MiB       6    0.87    84 MB/s    1257 MB/s    1429 ns
#
# In so short frames of lines that are much alike level 1 is smaller than 2 and 3, and what more is
# to be had costs six times the time. Larger frames save less than a twentieth, and a search for
# one event decompresses all of its frame.
LEVEL = 1

# The most bytes that the header of a frame has.
_HEADER = 18
_MAGIC = b"\x28\xb5\x2f\xfd"
# Each block of a frame begins with one bit that says whether it is the last, two bits of its kind
# and 21 of its size. Kinds are bytes as they are, one byte repeated, and compressed bytes.
_BLOCK_HEADER = 3
_REPEATED, _COMPRESSED = 1, 2
# The most bytes that a block has, and that it is decompressed to.
_MOST_BLOCK = 128 * 1024
# No writer makes blocks of less text on average, beside a few: who follows blocks through a file
# that somebody forged is not to look at every few bytes of it again and again.
_LEAST_BLOCK = 1024
_FEW = 8
# Every reader of the format is to have so much memory for what a frame looks back at.
_MOST_WINDOW = 8 * 1024 * 1024
# The most bytes that are looked through at once for the beginning of a frame.
_CHUNK = 256 * 1024

# Returns the bytes from an offset on, as many as asked for; fewer only at the end.
Read = Callable[[int, int], bytes]


class Piece(NamedTuple):
    """A part of a file: ``offset`` and ``length`` in bytes.

    ``text``: how many bytes of text it is decompressed to; 0 where it is not a frame.
    """

    offset: int
    length: int
    text: int


def check_installed() -> None:
    """Raise `MissingExtra` where the package zstandard is not installed."""
    _zstandard()


def compress(text: bytes | memoryview) -> bytes:
    """Return ``text``, at least one byte, as one frame."""
    frame: bytes = _zstandard().ZstdCompressor(level=LEVEL, write_checksum=False).compress(text)
    return frame


def decompress(frame: bytes | memoryview, length: int) -> bytes:
    """Return the text of ``frame``, which has ``length`` bytes, at least one.

    Raises `DamagedError` where ``frame`` is anything but one whole frame that says the same length
    and comes to it, without a dictionary. Whether that is the text that was compressed only a crc
    can tell. Memory: ``length`` bytes, if so many can come of the frame at all, and 200 kB.
    """
    zstandard = _zstandard()
    text, end = _follow(zstandard, lambda at, size: bytes(frame[at : at + size]), 0, length)
    if text != length or end != len(frame):
        raise DamagedError(
            f"a frame of {end} bytes, of {text} bytes of text, stands where one of {len(frame)}, "
            f"of {length}, belongs"
        )
    try:
        # The package gives the length that the frame says, or an error.
        whole: bytes = zstandard.ZstdDecompressor().decompress(frame)
    except zstandard.ZstdError as error:
        raise DamagedError(f"a frame cannot be decompressed: {error}") from error
    return whole


def require() -> None:
    """See that there is what the others need; raises `MissingExtra`."""
    _zstandard()


def scan(read: Read, size: int, most: int) -> Iterator[Piece]:
    """Yield what a file of ``size`` bytes consists of, in order and without gaps.

    This finds the frames of an archive whose index is lost. Only the headers of frames and of
    their blocks are looked at: `decompress` tells whether the rest is good. What is not a frame of
    one to ``most`` bytes of text, such as one that is cut off, comes as a piece without text, up to
    where the next frame begins.

    ``read(offset, length)`` returns bytes of the file. Memory: 300 kB, whatever the file holds.
    Cost: a read of a few bytes for each block of at most 128 KiB; what is not a frame is read too.
    """
    zstandard = _zstandard()

    def within(at: int, length: int) -> bytes:
        return read(at, min(length, size - at)) if at < size else b""

    bad = offset = 0
    while offset < size:
        piece = _piece(zstandard, within, offset, size, most)
        if piece.text:
            if bad < offset:
                yield Piece(bad, offset - bad, 0)
            yield piece
            bad = offset + piece.length
        offset += piece.length
    if bad < size:
        yield Piece(bad, size - bad, 0)


def _zstandard() -> ModuleType:
    try:
        import zstandard
    except ImportError as error:
        raise missing_extra("an archived segment", "zstd") from error
    return zstandard


def _piece(zstandard: ModuleType, read: Read, offset: int, size: int, most: int) -> Piece:
    """The frame at ``offset``; where there is none, all up to where the next may begin."""
    try:
        text, end = _follow(zstandard, read, offset, most)
    except DamagedError:
        return Piece(offset, _find(read, offset + 1, size) - offset, 0)
    # A block's size that changed may lead past the beginnings of other frames. That one stands in
    # the middle of a frame by chance happens too, once in 4 GiB; then this one ends well.
    if end == size or read(end, len(_MAGIC)) == _MAGIC:
        return Piece(offset, end - offset, text)
    following = _find(read, offset + 1, size)
    if end <= following:
        return Piece(offset, end - offset, text)
    return Piece(offset, following - offset, 0)


def _find(read: Read, offset: int, size: int) -> int:
    """Where a frame may begin, from ``offset`` on; ``size`` for nowhere."""
    # The next may be near: a file of nothing but marks is not to be read in large pieces again
    # and again.
    length = _CHUNK // 512
    while offset < size:
        chunk = read(offset, length)
        found = chunk.find(_MAGIC)
        if found >= 0:
            return offset + found
        # The mark may begin in its last three bytes.
        offset += max(len(chunk) - len(_MAGIC) + 1, 1)
        length = min(2 * length, _CHUNK)
    return size


def _follow(zstandard: ModuleType, read: Read, start: int, most: int) -> tuple[int, int]:
    """Go from block to block of the frame at ``start``; return the text's length and the end.

    Raises `DamagedError` where it is no frame, or one of more than ``most`` bytes of text. The end
    may be behind that of the file, where the last block is cut off.
    """
    header = read(start, _HEADER)
    # The package also takes what is to be skipped for a frame.
    if not header.startswith(_MAGIC):
        raise DamagedError("no frame of zstd begins here")
    try:
        said = zstandard.get_frame_parameters(header)
        at = start + zstandard.frame_header_size(header)
    except zstandard.ZstdError as error:
        raise DamagedError(f"the header of a frame cannot be read: {error}") from error
    text: int = said.content_size
    # A frame that does not say it has the largest number there.
    if not 0 < text <= most:
        raise DamagedError(f"a frame says that its text has {text} bytes, not 1 to {most}")
    if said.dict_id or said.window_size > max(text, _MOST_WINDOW):
        raise DamagedError("a frame needs a dictionary, or looks back too far")
    room = blocks = last = 0
    while not last:
        head = int.from_bytes(read(at, _BLOCK_HEADER), "little")
        last, kind, length = head & 1, head >> 1 & 3, head >> 3
        blocks += 1
        if kind > _COMPRESSED or length > _MOST_BLOCK or blocks > text // _LEAST_BLOCK + _FEW:
            raise DamagedError("a frame has a block that cannot be")
        room += _MOST_BLOCK if kind == _COMPRESSED else length
        at += _BLOCK_HEADER + (1 if kind == _REPEATED else length)
    if room < text:
        raise DamagedError(f"a frame of {room} bytes at most says that its text has {text}")
    return text, at + 4 * said.has_checksum

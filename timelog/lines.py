"""`read_lines`: the text of a segment as lines that are events, and stretches that are not.

What may be relied on is the text alone: a line counts when it is whole, decodes as an event, and
its time lies in the span that the file's name says. An archive is read frame by frame. Memory stays
bounded, whatever the bytes are.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from itertools import groupby
from typing import NamedTuple

import msgspec

from timelog.codec import (
    NOT_EVENTS,
    Line,
    decode_line,
    decode_lines,
    encode_lines,
    parse_lines,
    to_line,
)
from timelog.damage import Damage
from timelog.encode import BLOCK_SIZE
from timelog.errors import DamagedError
from timelog.frames import Piece, decompress, scan
from timelog.names import Layout, is_archived
from timelog.span import Span
from timelog.storage import Storage
from timelog.timestamp import END, FIRST, from_datetime, from_text

# A longer line is damage, and is skipped without being held: as much as all memory for events that
# a log has by default. So is a frame of more text.
MOST_LINE = 64 * 1024 * 1024
EVER = Span(FIRST, END)

_LEAST_READ = 64 * 1024
_STAMP = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", re.ASCII)

_TOO_LONG = f"a line of more than {MOST_LINE:,} bytes"
TORN = "torn: the line does not end"
_NOT_JSON = "not JSON"
_NO_EVENT = "not an event"
_OUTSIDE = "the timestamp is outside the span of the file"
_NO_FRAME = "not a frame of compressed text"


class Good(NamedTuple):
    """Whole lines that are events, one behind the other: at most a block, or one line.

    ``data``: their bytes as they are in the file from ``offset`` on; of an archive, in its text.
    ``is_own``: whether the log itself would write just these bytes, which searches in raw text rely
    on. ``frame``: offset and length in the file of the frame of which they are the whole text; None
    where they are not, or stand in a plain file.
    """

    offset: int
    data: bytes
    lines: list[Line]
    is_own: bool
    frame: tuple[int, int] | None = None

    @property
    def raw_lines(self) -> list[bytes]:
        """The lines, each without its newline."""
        return self.data[:-1].split(b"\n")


def read_lines(
    layout: Layout,
    storage: Storage,
    path: str,
    span: Span,
    start: int = 0,
    end: int | None = None,
) -> Iterator[Good | Damage]:
    """Yield all bytes of ``[start, end)`` of a segment, in order, as good lines and as damage.

    ``span``: which times are good. ``start``: where a line, or a frame, begins; ``end``: None is
    the end of the file. Offsets in what comes of an archive are those of the text behind ``start``,
    but of bytes that are not compressed text those of the file. Raises ``OSError``, and
    `MissingExtra` for an archive without zstandard. Cost: each line is decoded twice and encoded
    once, in C; memory for a block, or for one line or frame of at most `MOST_LINE` bytes.
    """
    with storage.reading(layout.segment(path)) as fd:
        end = storage.size(fd) if end is None else end
        if is_archived(path):
            yield from _frames(storage, fd, path, span, start, end)
            return
        for offset, data, length in _pieces(storage, fd, start, end):
            if data is None:
                yield Damage(path, offset, length, _TOO_LONG)
            else:
                yield from _judged(path, offset, data, span)


def _frames(
    storage: Storage, fd: int, path: str, span: Span, start: int, end: int
) -> Iterator[Good | Damage]:
    def read(offset: int, length: int) -> bytes:
        return storage.read_at(fd, start + offset, max(min(length, end - start - offset), 0))

    at = 0
    for piece in scan(read, end - start, MOST_LINE):
        frame = (start + piece.offset, piece.length)
        text = _text(read, piece)
        if text is None:
            yield Damage(path, *frame, _NO_FRAME)
        else:
            offset = at
            for data in _blocks(text):
                for part in _judged(path, offset, data, span):
                    if isinstance(part, Good) and len(part.data) == len(text):
                        yield part._replace(frame=frame)
                    else:
                        yield part
                offset += len(data)
        at += piece.text


def _text(read: Callable[[int, int], bytes], piece: Piece) -> bytes | None:
    """The text of a frame; None where it is none."""
    # Nothing that anybody compressed is larger than its text and some.
    if not piece.text or piece.length > 2 * MOST_LINE:
        return None
    try:
        return decompress(read(piece.offset, piece.length), piece.text)
    except DamagedError:
        return None


def _judged(path: str, offset: int, data: bytes, span: Span) -> Iterator[Good | Damage]:
    """Tell what whole lines are; or a line that does not end."""
    if not data.endswith(b"\n"):
        yield Damage(path, offset, len(data), TORN)
    elif lines := _own_lines(data, span):
        yield Good(offset, data, lines, True)
    else:
        yield from _one_by_one(path, offset, data, span)


def _pieces(
    storage: Storage, fd: int, at: int, end: int
) -> Iterator[tuple[int, bytes | None, int]]:
    """Yield (offset, bytes, length) of whole lines, of at most a block or one line.

    None for the bytes of a line that is too long. The last piece may be a line that does not end.
    """
    held = bytearray()
    is_skipping = False
    read = at
    while read < end:
        wanted = max(BLOCK_SIZE - len(held), _LEAST_READ)
        data = storage.read_at(fd, read, min(wanted, end - read))
        if not data:
            break
        read += len(data)
        if is_skipping:
            cut = data.find(b"\n") + 1
            if not cut:
                continue
            begin = read - len(data) + cut
            yield at, None, begin - at
            at, data, is_skipping = begin, data[cut:], False
        cut = data.rfind(b"\n") + 1
        held += data[:cut] if cut else data
        if cut:
            for piece in _blocks(bytes(held)):
                yield at, piece, len(piece)
                at += len(piece)
            held = bytearray(data[cut:])
        if len(held) > MOST_LINE:
            held.clear()
            is_skipping = True
    if is_skipping:
        yield at, None, read - at
    elif held:
        yield at, bytes(held), len(held)


def _blocks(text: bytes) -> Iterator[bytes]:
    """Cut lines into pieces of at most a block, or one line; the last may be one without an end."""
    at = 0
    while at < len(text):
        end = text.rfind(b"\n", at, at + BLOCK_SIZE) + 1 or text.find(b"\n", at) + 1 or len(text)
        yield text[at:end]
        at = end


def _own_lines(data: bytes, span: Span) -> list[Line]:
    """The lines, where all are events of the span and just as the log writes them; else none."""
    try:
        # What a reader will do with them.
        decode_lines(data)
        lines = parse_lines(data)
    except NOT_EVENTS:
        return []
    stamps = [line.timestamp for line in lines]
    if encode_lines(lines) != data or not all(map(_STAMP.fullmatch, stamps)):
        return []
    first, last = from_text(min(stamps)), from_text(max(stamps))
    return lines if span.start <= first and last < span.end else []


def _one_by_one(path: str, offset: int, data: bytes, span: Span) -> Iterator[Good | Damage]:
    raw_lines = [raw + b"\n" for raw in data[:-1].split(b"\n")]
    judged = [(raw, *_judge(raw, span)) for raw in raw_lines]
    for (is_own, problem), group in groupby(judged, key=lambda each: (each[2], each[3])):
        together = list(group)
        part = b"".join([raw for raw, *_ in together])
        if problem:
            yield Damage(path, offset, len(part), problem)
        else:
            yield Good(offset, part, [line for _, line, *_ in together if line], is_own)
        offset += len(part)


def _judge(raw: bytes, span: Span) -> tuple[Line | None, bool, str]:
    """A line's event, whether the log writes it so, and why it is none."""
    if own := _own_lines(raw, span):
        return own[0], True, ""
    try:
        event = decode_line(raw)
    except msgspec.ValidationError:
        return None, False, _NO_EVENT
    except NOT_EVENTS:
        return None, False, _NOT_JSON
    if event.timestamp.tzinfo is None:
        return None, False, _NO_EVENT
    if not span.start <= from_datetime(event.timestamp) < span.end:
        return None, False, _OUTSIDE
    return to_line(event), False, ""

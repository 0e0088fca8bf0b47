"""Lines of any size from any bytes, in bounded memory."""

from __future__ import annotations

import codecs
from collections.abc import Callable, Iterator
from dataclasses import dataclass

CHUNK = 256 * 1024


@dataclass
class Tally:
    """What was met while reading lines; added to as reading goes on.

    ``refused``: events that the log does not take, mostly as they have expired already.
    """

    events: int = 0
    bytes: int = 0
    not_utf8: int = 0
    cut: int = 0
    without_time: int = 0
    refused: int = 0


def read_lines(read: Callable[[int], bytes], limit: int, tally: Tally) -> Iterator[list[str]]:
    r"""Yield the lines of a stream, some thousands at a time, without their ``\n``.

    ``read(n)`` returns at most ``n`` bytes, ``b""`` at the end; what it returns is passed on
    before it is called again, so a slow pipe's lines do not wait for a chunk to fill. ``limit``:
    the most bytes of UTF-8 that a line may become. A longer one ends in `` [cut: N bytes]``, N
    being the bytes left out; only its first ``limit`` bytes are held. Bytes that are not UTF-8
    become ``\xNN``. A last line without ``\n`` is a line. Counts into ``tally``.
    """
    held, dropped = b"", 0  # the start of a line whose end is still to come, and what is past it
    while chunk := read(CHUNK):
        tally.bytes += len(chunk)
        first, last = chunk.find(b"\n"), chunk.rfind(b"\n")
        if first < 0:
            held, dropped = hold(held, dropped, chunk, limit)
            continue
        held, dropped = hold(held, dropped, chunk[:first], limit)
        lines = [one_line(held, dropped, limit, tally)]
        if first < last:
            lines += whole_lines(chunk[first + 1 : last], limit, tally)
        held, dropped = hold(b"", 0, chunk[last + 1 :], limit)
        yield lines
    if held:
        yield [one_line(held, dropped, limit, tally)]


def hold(held: bytes, dropped: int, more: bytes, limit: int) -> tuple[bytes, int]:
    """Return what is held and left out of a line after ``more`` of it came."""
    room = limit - len(held)
    return held + more[:room], dropped + max(0, len(more) - room)


def whole_lines(block: bytes, limit: int, tally: Tally) -> list[str]:
    """Return the lines of ``block``, which ends without the newline of its last line."""
    if len(block) <= limit:
        try:
            return block.decode().split("\n")
        except UnicodeDecodeError:
            pass
    return [one_line(line[:limit], len(line[limit:]), limit, tally) for line in block.split(b"\n")]


def one_line(held: bytes, dropped: int, limit: int, tally: Tally) -> str:
    """Return the text of the line ``held``, of which ``dropped`` further bytes were not held."""
    fits = True
    try:
        text = held.decode()
    except UnicodeDecodeError:
        if not (dropped and _begins_well(held)):
            tally.not_utf8 += 1
        text = held.decode("utf-8", "backslashreplace")
        fits = len(text.encode()) <= limit
    if fits and not dropped:
        return text
    tally.cut += 1
    return _cut(held, len(held) + dropped, limit)


def _cut(held: bytes, total: int, limit: int) -> str:
    """Return as much of a line of ``total`` bytes as fits before the marker that says so."""
    room = max(0, limit - len(f" [cut: {total} bytes]"))
    low, high = 0, min(room, len(held))
    # Each byte that is not UTF-8 takes four, so how many fit has to be searched for.
    while low < high:
        middle = (low + high + 1) // 2
        if len(_escaped(held, middle).encode()) <= room:
            low = middle
        else:
            high = middle - 1
    kept = _character_start(held, low)
    marker = f" [cut: {total - kept} bytes]"
    return (_escaped(held, low) + marker)[:limit]


def _escaped(held: bytes, end: int) -> str:
    return held[: _character_start(held, end)].decode("utf-8", "backslashreplace")


def _character_start(held: bytes, end: int) -> int:
    """Return the largest place at or before ``end`` that is not inside a character of UTF-8."""
    for place in range(end, max(-1, end - 4), -1):
        if place == len(held) or held[place] & 0xC0 != 0x80:
            return place
    return end


def _begins_well(held: bytes) -> bool:
    """Whether ``held`` is UTF-8 whose last character only the limit has cut short."""
    try:
        codecs.getincrementaldecoder("utf-8")().decode(held)
    except UnicodeDecodeError:
        return False
    return True

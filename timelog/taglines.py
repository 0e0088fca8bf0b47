"""Where the lines of rare tags are, so that a search for one reads nothing else.

A tag is rare that few lines of the text have that one file of the text index covers. For each such
tag the file has a table of the blocks that hold it: which lines, where they are, and a crc of them,
so that they can be read alone and still be trusted. Tables are made of blocks that were checked.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

import msgspec

from timelog.checksum import crc32
from timelog.codec import json_text
from timelog.journal import Block

# A tag that more of the lines have is not rare; nor is one that more than twice as many of the
# first lines have.
_RARE = 1 / 64
_FIRST = 4096
# One line is noted for each so many bytes of text, at about 11 bytes.
_TEXT_A_LINE = 2500
# After so many blocks it is seen which tags are not rare, and which are too many for one block.
_OFTEN = 16
_MOST_TAGS = 8

_OPENING, _CLOSING = b'"tags":[', b'],"content":'


class Held(msgspec.Struct, gc=False, frozen=True, array_like=True):
    """The lines of one block that hold a tag.

    ``segment``: the ordinal of its segment in the file; ``offset``: where the block begins.
    ``crc`` is that of the lines, one behind the other. ``numbers``: which lines of the block they
    are, ``starts`` and ``lengths``: where they are in it, in bytes.
    """

    segment: int
    offset: int
    crc: int
    numbers: tuple[int, ...]
    starts: tuple[int, ...]
    lengths: tuple[int, ...]


NO_LINES = Held(0, 0, 0, (), (), ())

_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(tuple[Held, ...])


def decode_table(data: bytes) -> tuple[Held, ...]:
    """The table of a tag; raises `msgspec.DecodeError` where it is none."""
    return _decoder.decode(data)


class TableMaker:
    """Makes the tables of the text that one file covers. Not thread-safe.

    Cost: for each rare tag of a block looking through its text once.
    """

    def __init__(self, most_text: int) -> None:
        self._most = most_text // _TEXT_A_LINE
        self._tables: dict[str, list[Held]] = {}
        self._counts: Counter[str] = Counter()
        self._not_rare: set[str] = set()
        self._lines = 0
        self._blocks = 0
        # Whether the tags of all blocks are known.
        self._is_whole = True

    def add(self, segment: int, block: Block, data: bytes) -> None:
        """Add a block of a segment and its bytes."""
        if block.tags is None or not self._is_whole:
            self._is_whole = False
            return
        self._lines += block.count
        self._blocks += 1
        rare = set(block.tags) - self._not_rare
        for tag in rare:
            held = _held(segment, block, data, tag)
            self._tables.setdefault(tag, []).append(held)
            self._counts[tag] += len(held.numbers)
        if self._blocks % _OFTEN == 0:
            by_count = sorted(rare, key=lambda tag: (self._counts[tag], tag))
            self._not_rare.update(by_count[_MOST_TAGS:])
            self._drop(1 if self._lines < _FIRST else 2 * _RARE)

    def tables(self, ordinals: Mapping[int, int]) -> dict[str, bytes]:
        """The table of each rare tag; ``ordinals`` are those in the file of the segments in it."""
        if not self._is_whole:
            return {}
        self._drop(_RARE)
        return {
            tag: _encoder.encode(
                [
                    msgspec.structs.replace(held, segment=ordinals[held.segment])
                    for held in table
                    if held.segment in ordinals
                ]
            )
            for tag, table in self._tables.items()
        }

    def _drop(self, share: float) -> None:
        """Drop the tables of tags that more than ``share`` of the lines have, and what is most."""
        left = self._counts.total()
        for tag, count in self._counts.most_common():
            if count <= share * self._lines and left <= self._most:
                break
            left -= count
            self._not_rare.add(tag)
        for tag in self._not_rare.intersection(self._tables):
            del self._tables[tag], self._counts[tag]


def _held(segment: int, block: Block, data: bytes, tag: str) -> Held:
    """The lines of a block that have a tag, and maybe some with a tag that ends like it."""
    written = b'"%b"' % json_text(tag)
    numbers, starts, lines = [], [], []
    number = end = 0
    while (hit := data.find(written, end)) >= 0:
        start = data.rfind(b"\n", end, hit) + 1 or end
        number += data.count(b"\n", end, start)
        end = data.find(b"\n", hit) + 1 or len(data)
        # Within a source or a tag the quotes of these would be escaped.
        opening = data.find(_OPENING, start, end)
        if data.find(written, opening, data.find(_CLOSING, opening, end)) >= 0:
            numbers.append(number)
            starts.append(start)
            lines.append(data[start:end])
        number += 1
    lengths = tuple(map(len, lines))
    return Held(
        segment, block.offset, crc32(b"".join(lines)), tuple(numbers), tuple(starts), lengths
    )

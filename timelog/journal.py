"""The journal: the append-only file of commits since the last checkpoint.

A record is a header of 20 bytes and a payload::

    mark b"tlJ1" | offset of the record in the file, u64 | length of the payload, u32
    | crc32 of offset, length and payload, u32 | payload: a msgpack map

(integers little-endian). The offset in the header lets reading find the next whole record behind a
damaged one. `read` is pure and may be called at any time, while another process writes: a record
counts only when it is whole. The maps are described in ``docs/format.md``.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from typing import Annotated, NamedTuple

import msgspec

from timelog.checksum import crc32
from timelog.errors import VersionError
from timelog.positions import Natural, Runs, ends
from timelog.timestamp import END, FIRST

MARK = b"tlJ1"
# Damage hardly ever looks like the beginning of a record: who wrote more of these meant harm.
_MOST_IN_VAIN = 8
_HEADER = struct.Struct("<4sQII")
_CHECKED = struct.Struct("<QI")

Microseconds = Annotated[int, msgspec.Meta(ge=FIRST, lt=END)]


class Block(msgspec.Struct, gc=False, frozen=True, array_like=True):
    """The bytes that one flush added to one segment (or several neighbours, coalesced).

    ``runs`` are the positions of its lines in order, see `timelog.positions`.
    ``crc`` is the crc32 of the block's bytes, continued from ``seed``, the crc of the bytes before
    it in the file. ``tags`` and ``sources`` are all that occur, or None for "any". Of an archived
    segment ``offset`` and ``length`` are those of the text, and ``frame`` says where its one frame
    (offset and length) stands in the file.
    """

    path: str
    offset: Natural
    length: Natural
    count: Natural
    runs: Runs
    first: Microseconds
    last: Microseconds
    seed: Natural
    crc: Natural
    tags: tuple[str, ...] | None
    sources: tuple[str, ...] | None
    frame: tuple[Natural, Natural] | None = None

    @property
    def end(self) -> int:
        """The offset behind the block's last byte."""
        return self.offset + self.length

    @property
    def stored(self) -> int:
        """How many bytes of the file it takes."""
        return self.length if self.frame is None else self.frame[1]

    @property
    def file_start(self) -> int:
        """Where the block begins in the file."""
        return self.offset if self.frame is None else self.frame[0]

    @property
    def file_end(self) -> int:
        """Up to where the block and what is before it reach in the file."""
        return self.end if self.frame is None else sum(self.frame)

    @property
    def lowest(self) -> int:
        """The lowest position of its lines."""
        return ends(self.runs)[0]

    @property
    def position_end(self) -> int:
        """The position behind the highest of its lines."""
        return ends(self.runs)[1]

    def problem(self, data: bytes | memoryview) -> str:
        """Why ``data`` is not what was written as this block; ``""`` where it is."""
        if len(data) != self.length:
            return "the file is too short"
        return "" if crc32(data, self.seed) == self.crc else "the crc does not hold"


class Tombstone(msgspec.Struct, gc=False, frozen=True, array_like=True):
    """One event was deleted.

    ``timestamp``: the event's. ``digest``: HMAC-SHA-256 (RFC 2104) of its line, without the
    newline, under the key of the log. ``is_erased``: whether its text is gone, too.
    """

    position: Natural
    id: str
    timestamp: Microseconds
    digest: bytes
    is_erased: bool = False


# The start of a day on which something was committed, and how many events of these.
Entered = tuple[int, Natural]


class Expiry(msgspec.Struct, gc=False, frozen=True):
    """What expired by the commit that has this.

    ``horizons``: see `timelog.horizons`; they hide all that those before did. ``days``:
    the starts of those that went whole. ``events``: how many went with them.
    """

    horizons: tuple[dict[str, int], ...]
    days: tuple[Microseconds, ...] = ()
    events: tuple[Entered, ...] = ()


class Gone(msgspec.Struct, gc=False, frozen=True, array_like=True):
    """A segment that was replaced: how many events it held, in how many bytes of text and file."""

    path: str
    count: Natural
    bytes: Natural
    stored: Natural


class Replacement(msgspec.Struct, gc=False, frozen=True):
    """Segments of one day that the blocks of the commit replace, as they hold what is left of them.

    ``expired``: how many events were left out because they had expired; ``erased``: the positions
    of those that were deleted. ``is_clean``: whether nothing is left in the day that has to go.
    """

    day: Microseconds
    segments: tuple[Gone, ...]
    expired: tuple[Entered, ...] = ()
    erased: tuple[Natural, ...] = ()
    is_clean: bool = True


class Commit(
    msgspec.Struct, gc=False, frozen=True, tag_field="kind", tag="commit", omit_defaults=True
):
    """One change of the log: it exists when this record does. Times are microseconds since 1970.

    Mostly a flush, which adds events. ``synced``: up to which sequence commits were durable already
    when it was written. ``refused``: how many events its writer had refused since its commit
    before, by the name of the error. ``clock``: which time could be trusted then, 0 for ``time``.
    """

    sequence: Natural
    time: int
    writer: str
    batch: int
    durable: bool
    sealed_before: int
    position: Natural
    count: Natural
    cursors: dict[str, bytes]
    blocks: tuple[Block, ...]
    synced: Natural = 0
    refused: dict[str, int] = {}
    clock: int = 0
    expiry: Expiry | None = None
    replacement: Replacement | None = None
    tombstones: tuple[Tombstone, ...] = ()


class Begin(msgspec.Struct, gc=False, frozen=True, tag_field="kind", tag="begin"):
    """The first record of a journal file.

    The file before it is valid up to ``valid`` bytes; ``restated`` are the commits that stood
    behind that and still count. ``fenced`` files take no more blocks. ``position``: of the next
    event, as far as was known, without those of ``restated``.
    """

    log: str
    number: Natural
    sequence: Natural
    time: int
    valid: Natural
    restated: tuple[Commit, ...] = ()
    fenced: tuple[str, ...] = ()
    position: int = 0


Record = Commit | Begin
_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Record)


class Entry(NamedTuple):
    """A record of a journal file, and where it ends."""

    record: Record
    start: int
    end: int


class Bad(NamedTuple):
    """A stretch of a journal file that is no record."""

    start: int
    end: int


def pack(record: Record, offset: int) -> bytes:
    """Return the bytes of ``record`` for a journal file at ``offset``."""
    payload = _encoder.encode(record)
    header = _HEADER.pack(MARK, offset, len(payload), _crc(offset, payload))
    return header + payload


def read(data: bytes, base: int) -> Iterator[Entry | Bad]:
    """Yield the records in ``data``, which was read from ``base`` in the file up to its end.

    In order of their offset. Stretches that are no record come as `Bad` and reading goes on at the
    next whole record. Cost: one crc32 and one msgpack decoding a record; whatever the data, no more
    than `_MOST_IN_VAIN` times its length is looked at.
    """
    at = 0
    left = _MOST_IN_VAIN * len(data)
    while at < len(data):
        entry = _record(data, at, base)
        if entry is not None:
            yield entry
            at = entry.end - base
            continue
        end = at
        while True:
            left -= _claimed(data, end, base)
            end = data.find(MARK, end + 1)
            if end < 0 or left <= 0:
                end = len(data)
                break
            if _payload(data, end, base) is not None:
                break
        yield Bad(base + at, base + end)
        at = end


def _payload(data: bytes, at: int, base: int) -> bytes | None:
    """The payload of the record at ``data[at]``, or None where there is no whole record."""
    length = _claimed(data, at, base)
    if not length:
        return None
    start = at + _HEADER.size
    payload = data[start : start + length]
    _, offset, _, crc = _HEADER.unpack_from(data, at)
    return payload if _crc(offset, payload) == crc else None


def _claimed(data: bytes, at: int, base: int) -> int:
    """How long the payload of a record at ``data[at]`` would be; 0 where there cannot be one."""
    if len(data) - at < _HEADER.size:
        return 0
    mark, offset, length, _ = _HEADER.unpack_from(data, at)
    fits = mark == MARK and offset == base + at and at + _HEADER.size + length <= len(data)
    return int(length) if fits else 0


def _record(data: bytes, at: int, base: int) -> Entry | None:
    payload = _payload(data, at, base)
    if payload is None:
        return None
    try:
        record = _decoder.decode(payload)
    except msgspec.DecodeError as error:
        # Its crc holds, so it was written as it is: by a release that knows more kinds.
        raise VersionError(
            f"the journal has a record that this release does not know ({error}); open the log "
            "with a newer release of timelog"
        ) from None
    return Entry(record, base + at, base + at + _HEADER.size + len(payload))


def _crc(offset: int, payload: bytes) -> int:
    return zlib.crc32(payload, zlib.crc32(_CHECKED.pack(offset, len(payload))))

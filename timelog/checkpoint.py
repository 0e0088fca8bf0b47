"""Checkpoints: the index on disk, so that opening reads little.

A checkpoint is one ``index/root`` and one index file for each day. Each file is::

    mark b"tlX1" | length of the payload, u32 | crc32 of the payload, u32 | payload: a msgpack map

(integers little-endian). Day files are written under new names and never change; replacing
``root`` is the step that makes the checkpoint. Pure functions here; the index does the I/O.
"""

from __future__ import annotations

import struct
import zlib
from typing import TypeVar

import msgspec

from timelog.damage import Damage
from timelog.errors import DamagedError
from timelog.journal import Block, Entered, Microseconds, Tombstone
from timelog.ledger import Row
from timelog.names import SegmentName, is_day_index, parse_segment
from timelog.positions import Natural, Runs
from timelog.removal import Removal
from timelog.segment import FileIndex, Segment

MARK = b"tlX1"
# Behind all positions.
POSITIONS_END = 1 << 53
_HEADER = struct.Struct("<4sII")


class DaySummary(msgspec.Struct, gc=False, frozen=True):
    """What the root says of one day: its index file, and enough to skip the day unread."""

    day: Microseconds
    file: str
    crc: Natural
    segments: Natural
    count: Natural
    bytes: Natural
    first: Microseconds
    last: Microseconds
    floor: Natural = 0
    is_due: bool = False
    # Bytes of its files, and how many of them are plain.
    stored: Natural = 0
    plain: Natural = 0
    entered: tuple[Entered, ...] = ()
    # Its positions are among those from ``lowest`` to before ``position_end``; an older release
    # did not say.
    lowest: Natural = 0
    position_end: Natural = POSITIONS_END


class Root(msgspec.Struct, frozen=True):
    """The state of the log as of a place in the journal."""

    log: str
    number: Natural
    journal: Natural
    offset: Natural
    sequence: Natural
    position: Natural
    time: int
    sealed_before: int
    cursors: dict[str, bytes]
    writers: dict[str, int]
    days: tuple[DaySummary, ...]
    # (first, last) positions whose commits were damaged in the journal.
    missing: tuple[tuple[Natural, Natural], ...] = ()
    # Damage that was met in journal files, which do not last.
    damage: tuple[Damage, ...] = ()
    # How many commits power cuts took from the log, by permission of sync="off".
    lost: Natural = 0
    # Begins with the first commit after the last checkpoint of a release that kept none.
    ledger: tuple[Row, ...] = ()
    removal: Removal = msgspec.field(default_factory=Removal)


# A block without its path.
_StoredBlock = tuple[
    Natural,
    Natural,
    Natural,
    Runs,
    Microseconds,
    Microseconds,
    Natural,
    Natural,
    tuple[str, ...] | None,
    tuple[str, ...] | None,
    tuple[Natural, Natural] | None,
]


class _StoredSegment(msgspec.Struct, gc=False, frozen=True, array_like=True):
    path: str
    created: int
    fenced: bool
    blocks: tuple[_StoredBlock, ...]


class _StoredDay(msgspec.Struct, frozen=True):
    day: int
    segments: tuple[_StoredSegment, ...]
    tombstones: tuple[Tombstone, ...] = ()


_encoder = msgspec.msgpack.Encoder()
_Payload = TypeVar("_Payload", Root, _StoredDay)


def pack_root(root: Root) -> bytes:
    """Return the bytes of ``index/root``."""
    return _pack(root)


def parse_root(data: bytes) -> Root:
    """Return what the bytes of ``index/root`` say; raises `DamagedError`."""
    root = _parse(data, Root, "index/root")
    for kept in root.days:
        if not is_day_index(kept.file):
            raise DamagedError(f"index/root names {kept.file!r}, which is no index of a day")
    return root


def pack_day(day: int, files: FileIndex) -> bytes:
    """Return the bytes of a day's index file."""
    segments = tuple(
        _StoredSegment(
            segment.path,
            segment.created,
            segment.fenced,
            tuple(msgspec.structs.astuple(block)[1:] for block in segment.blocks),
        )
        for segment in files
    )
    return _pack(_StoredDay(day, segments, tuple(files.tombstones.values())))


def parse_day(data: bytes, summary: DaySummary) -> FileIndex:
    """Return the segments in a day's index file; raises `DamagedError`."""
    stored = _parse(data, _StoredDay, summary.file)
    if crc_of(data) != summary.crc or stored.day != summary.day:
        raise DamagedError(
            f"{summary.file} is not the file that index/root names; run 'timelog repair'"
        )
    files = FileIndex()
    for kept in stored.segments:
        name = _name(kept.path, summary.file)
        segment = Segment(name, kept.created, kept.fenced, kept.path)
        segment.blocks = [Block(segment.path, *block) for block in kept.blocks]
        files.add(segment)
    files.tombstones = {each.position: each for each in stored.tombstones}
    return files


def crc_of(data: bytes) -> int:
    """The crc by which the root knows a day's index file."""
    return zlib.crc32(data)


def _name(path: str, file: str) -> SegmentName:
    name = parse_segment(path)
    if name is None:
        raise DamagedError(f"{file} names {path!r}, which is no segment")
    return name


def _pack(value: Root | _StoredDay) -> bytes:
    payload = _encoder.encode(value)
    return _HEADER.pack(MARK, len(payload), zlib.crc32(payload)) + payload


def _parse(data: bytes, kind: type[_Payload], file: str) -> _Payload:
    if len(data) >= _HEADER.size:
        mark, length, crc = _HEADER.unpack_from(data)
        payload = data[_HEADER.size :]
        if mark == MARK and len(payload) == length and zlib.crc32(payload) == crc:
            try:
                return msgspec.msgpack.decode(payload, type=kind)
            except msgspec.DecodeError as error:
                raise DamagedError(
                    f"{file} does not hold what its name says ({error}); run 'timelog repair'"
                ) from None
    raise DamagedError(f"{file} is damaged: its crc does not hold; run 'timelog repair'")

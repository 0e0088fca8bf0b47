"""The bytes of a saved state, and the names of the files that hold them. Pure.

A file is a head and a body. The head tells everything but the state, and is read alone; each has
its own crc::

    bytes 0-7     "timelogS"
    bytes 8-27    length u32 and crc u32 of the head, length u64 and crc u32 of the body
                  (little-endian)
    then          the head: a msgpack map; then the body: the state in msgpack

A name is the time of saving in UTC, to the microsecond, and the kind, so names sort as time does:
``20261121T101503.123456Z-periodic.state``.
"""

from __future__ import annotations

import re
import struct
from datetime import datetime
from typing import Any, NamedTuple

import msgpack
import msgspec

from timelog.checksum import crc32
from timelog.consume.ranges import Ranges
from timelog.errors import DamagedError, InvalidInput
from timelog.timestamp import from_datetime, to_text

PERIODIC, SAFETY = "periodic", "safety"
# As much as has to be read to know how long the rest is.
START = 28

_MAGIC = b"timelogS"
_SIZES = struct.Struct("<IIQI")
_NAME = re.compile(rf"(\d{{8}}T\d{{6}}\.\d{{6}}Z)-({PERIODIC}|{SAFETY})\.state", re.ASCII)


class Marks(msgspec.Struct, frozen=True):
    """Which positions a projection leaves out; ``number`` grows with every change of them."""

    number: int = 0
    superseded: Ranges = ()


class Head(msgspec.Struct, frozen=True):
    """What a file says of the state in it.

    ``name``: of the projection; ``version``: of the state's schema; ``position``: of the first
    event that is not in it, and ``cursor``: the same for `EventLog.follow`; ``marks``: what was
    left out when it was saved; ``time``: when, in microseconds since 1970.
    """

    name: str
    version: int
    position: int
    cursor: str | int
    marks: Marks
    time: int


def file_name(us: int, kind: str) -> str:
    """The name of a file that is saved at ``us``."""
    return f"{to_text(us).replace('-', '').replace(':', '')}-{kind}.state"


def parse_name(name: str) -> tuple[int, str] | None:
    """The time and the kind of a file's name, or None where it is not one."""
    match = _NAME.fullmatch(name)
    try:
        return (from_datetime(datetime.fromisoformat(match[1])), match[2]) if match else None
    except ValueError:
        return None


def pack_state(state: Any) -> bytes:
    """A state as bytes; raises `InvalidInput` where `unpack_state` would not give back the same."""
    try:
        # Strict: a tuple would come back as a list, and a set not at all.
        data: bytes = msgpack.packb(state, strict_types=True)
    except (TypeError, ValueError, OverflowError) as error:
        raise InvalidInput(
            "the state of a projection must be made of dicts, lists, text, bytes, numbers, "
            f"booleans and None: {error}"
        ) from None
    return data


def unpack_state(data: bytes) -> Any:
    """The state of some bytes."""
    # Twice as fast as msgpack's own; a start waits for it.
    return msgspec.msgpack.decode(data)


def pack(head: Head, body: bytes) -> bytes:
    """The bytes of a file."""
    data = msgspec.msgpack.encode(head)
    sizes = _SIZES.pack(len(data), crc32(data), len(body), crc32(body))
    return _MAGIC + sizes + data + body


class Sizes(NamedTuple):
    """What the first `START` bytes of a file say of the rest."""

    head: int
    head_crc: int
    body: int
    body_crc: int


def parse_start(start: bytes, size: int) -> Sizes:
    """The first `START` bytes of a file of ``size`` bytes; raises `DamagedError`."""
    if len(start) < START or not start.startswith(_MAGIC):
        raise DamagedError("it is not the file of a state, or cut off")
    sizes = Sizes(*_SIZES.unpack_from(start, len(_MAGIC)))
    if START + sizes.head + sizes.body != size:
        raise DamagedError("it is cut off, or longer than it was")
    return sizes


def parse_head(packed: bytes, crc: int) -> Head:
    """The head of a file; raises `DamagedError`."""
    if crc32(packed) != crc:
        raise DamagedError("its head is damaged")
    try:
        return msgspec.msgpack.decode(packed, type=Head)
    except msgspec.MsgspecError as error:
        raise DamagedError(f"its head cannot be read: {error}") from None


def pack_marks(marks: Marks) -> bytes:
    """The bytes of the file that tells what is left out."""
    data = msgspec.msgpack.encode(marks)
    return struct.pack("<I", crc32(data)) + data


def parse_marks(data: bytes) -> Marks:
    """What that file says; raises `DamagedError`."""
    if len(data) < 4 or struct.unpack_from("<I", data)[0] != crc32(data[4:]):
        raise DamagedError("it is damaged, or cut off")
    try:
        return msgspec.msgpack.decode(data[4:], type=Marks)
    except msgspec.MsgspecError as error:
        raise DamagedError(f"it cannot be read: {error}") from None

"""The manifest of a snapshot: what is in it, so that what is missing or was changed is found out.

``.timelog/manifest`` is two lines: a JSON object, and ``crc32`` with the crc-32 of the first line
in eight hexadecimal digits. Pure functions here.
"""

from __future__ import annotations

import re

import msgspec

from timelog import names
from timelog.checksum import crc32
from timelog.errors import DamagedError, VersionError
from timelog.journal import Microseconds
from timelog.positions import Natural

VERSION = 1
KINDS = (names.PERIODIC, names.SAFETY)
NAME = f"{names.CONTROL}/{names.MANIFEST}"
# Files of the log that are taken as they are, where they are there.
PLAIN = tuple(
    f"{names.CONTROL}/{name}"
    for name in (
        names.FORMAT,
        f"{names.STATE}/{names.KEY}",
        f"{names.STATE}/{names.RETENTION}",
    )
)
ROOT = f"{names.CONTROL}/{names.INDEX}/{names.ROOT}"
_DIRECTORIES = {
    names.CONTROL,
    *(f"{names.CONTROL}/{name}" for name in (names.JOURNAL, names.INDEX, names.STATE)),
}
_LINES = re.compile(rb"([^\n]*)\ncrc32 ([0-9a-f]{8})\n", re.ASCII)


class File(msgspec.Struct, gc=False, frozen=True, array_like=True):
    """A file of a snapshot: its path in it, its size, and the crc-32 of its bytes.

    ``text``: of an archived segment the crc-32 of its text.
    """

    name: str
    size: Natural
    crc: Natural
    text: Natural | None = None


class Manifest(msgspec.Struct, frozen=True):
    """What a snapshot is, and what is in it.

    ``position`` and ``sequence``: of the next event, and of the last commit; ``time``: of that
    commit. ``new``: how many bytes no other file had, so that they were written. ``damage``: files
    that were damaged or missing in the log, and are so in the snapshot.
    """

    log: str
    position: Natural
    sequence: Natural
    time: Microseconds
    kind: str
    new: Natural
    files: tuple[File, ...]
    damage: tuple[str, ...] = ()
    format: str = "timelog snapshot"
    version: int = VERSION

    @property
    def bytes(self) -> int:
        """How long all files are together."""
        return sum(file.size for file in self.files)


_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(Manifest)


def pack(manifest: Manifest) -> bytes:
    """The bytes of a manifest."""
    line = _encoder.encode(manifest)
    return b"%b\ncrc32 %08x\n" % (line, crc32(line))


def parse(data: bytes) -> Manifest:
    """What the bytes of a manifest say; raises `DamagedError`, and `VersionError` for a newer one.

    For who opens the files that it names `check_names` comes next.
    """
    match = _LINES.fullmatch(data)
    if match is None or crc32(match[1]) != int(match[2], 16):
        raise DamagedError(f"{NAME} is damaged: its crc does not hold")
    try:
        manifest = _decoder.decode(match[1])
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise DamagedError(f"{NAME} does not hold what its name says ({error})") from None
    if manifest.version > VERSION:
        raise VersionError(f"{NAME} was written by a newer release of timelog; use that")
    if manifest.kind not in KINDS:
        raise DamagedError(f"{NAME} says it is of the kind {manifest.kind!r}, which there is not")
    return manifest


def check_names(manifest: Manifest) -> None:
    """Raise `DamagedError` unless each file is one that a snapshot may have, and is named once."""
    listed = [file.name for file in manifest.files]
    for name in listed:
        if not is_file_name(name):
            raise DamagedError(f"{NAME} names {name!r}, which is no file of a snapshot")
    if len(set(listed)) < len(listed):
        raise DamagedError(f"{NAME} names a file twice")


def is_file_name(name: str) -> bool:
    """Whether a snapshot may have a file of that path, beside its manifest."""
    if names.parse_segment(name) is not None or name in PLAIN or name == ROOT:
        return True
    folder, _, file = name.rpartition("/")
    if folder == f"{names.CONTROL}/{names.JOURNAL}":
        return names.parse_journal(file) is not None
    return folder == f"{names.CONTROL}/{names.INDEX}" and names.is_day_index(file)


def is_directory_name(name: str) -> bool:
    """Whether a snapshot may have a directory of that path."""
    return name in _DIRECTORIES or names.parse_partition(name) is not None

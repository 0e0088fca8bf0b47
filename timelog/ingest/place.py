"""`Place`: what a file was, and how far it was read; and the rules by which it is known again.

A file is known by its device and inode, and by a hash of its first bytes: an inode that another
file got since does not count. What was read of it is known by a running crc, too, so that a copy or
a compressed form of the same text is recognised. All functions are pure.
"""

from __future__ import annotations

import re
from hashlib import blake2b
from typing import NamedTuple

HEAD = 1024
TAIL = 64
# name.<number>.txt, and with .part while it is being written.
_RUN = re.compile(rb".+\.\d+\.txt(\.part)?", re.DOTALL)
_PART = b".part"
_PACKED = re.compile(rb"\.(gz|xz|bz2|zst)$")
_DIGITS = tuple(bytes([digit]) for digit in b"0123456789")
_LEAST_DATE = 6
_ROTATED = re.compile(rb"[-._](\d{1,14}([-_.T:]\d+)*|old)(?=\.|$)")


class Place(NamedTuple):
    """How far a file was read. ``id``: a number that no other place of the name has had.

    ``offset``: bytes whose events are stored, of the text (not of the compressed file); ``crc``: of
    these bytes; ``head_length`` and ``head``: how many of the first of them were hashed, and the
    hash; ``tail``: the crc of the last up to 64 of them. ``name``: of the file, ``root``: a hash
    of where it was looked for. ``form``: of its times, empty where not known, after ``looked``
    lines; ``last_us``: the last time read. ``gone``: when it was found to be gone or truncated, in
    Unix seconds, else 0. ``packed``: bytes of a compressed file that was read to its end.
    ``is_over``: it was renamed, or is a copy: soon nobody writes to it any more. ``is_cut``: it is
    gone because the file was truncated.
    """

    id: int
    device: int
    inode: int
    offset: int = 0
    crc: int = 0
    head_length: int = 0
    head: bytes = b""
    tail: int = 0
    name: bytes = b""
    root: bytes = b""
    form: str = ""
    looked: int = 0
    last_us: int | None = None
    gone: int = 0
    packed: int = 0
    is_over: bool = False
    is_cut: bool = False

    @property
    def key(self) -> tuple[int, int]:
        """Device and inode."""
        return (self.device, self.inode)


def head_of(data: bytes) -> bytes:
    """Return the hash of a file's first bytes."""
    return blake2b(data, digest_size=8).digest()


def root_of(directory: bytes) -> bytes:
    """Return what stands for a watched directory in a `Place`."""
    return blake2b(directory, digest_size=8).digest()


def is_run(name: bytes) -> bool:
    """Whether a name is ``name.<number>.txt`` or that with ``.part``."""
    return _RUN.fullmatch(name) is not None


def is_part(name: bytes) -> bool:
    """Whether a name says that the file is still being written, and will be renamed."""
    return name.endswith(_PART) and is_run(name)


def final_name(name: bytes) -> bytes:
    """Return the name that the file has when it is complete."""
    return name.removesuffix(_PART) if is_part(name) else name


def text_of(name: bytes) -> str:
    """Return the final name as text; bytes that are not UTF-8 become ``\\xNN``."""
    return final_name(name).decode("utf-8", "backslashreplace")


def packing_of(name: bytes) -> str:
    """Return how a name says that the file is compressed: gz, xz, bz2, zst, or nothing."""
    match = _PACKED.search(name)
    return match[1].decode() if match else ""


def family_of(name: bytes) -> bytes:
    """Return a name without what rotation puts into it: numbers, dates, ``.old``, ``.gz``."""
    return _ROTATED.sub(b"", _PACKED.sub(b"", name))


def may_be_copy(name: bytes) -> bool:
    """Whether a name may be that of what rotation copied or compressed."""
    return not is_run(name) and family_of(name) != name


def dates_of(name: bytes) -> list[bytes]:
    """Return the dates that rotation put into a name; numbers are shifted, dates are not."""
    marks = [match[1] for match in _ROTATED.finditer(_PACKED.sub(b"", name))]
    return [mark for mark in marks if sum(map(mark.count, _DIGITS)) >= _LEAST_DATE]

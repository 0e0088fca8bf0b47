"""`Source`: a file that is imported, and places in it that are found again.

A place is a list of the file's name, an offset, a checksum of the bytes before it, and what a
reader needs beside. It is stored as a cursor; a file that is not the same up to there any more is
refused.
"""

from __future__ import annotations

import os
import stat
import sys
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from timelog.errors import DamagedError, InvalidInput, storage_error

_HEAD = _TAIL = 4096
_MOST_NAME = 256


class Place(NamedTuple):
    """Where an earlier import stopped."""

    name: str
    offset: int
    checksum: int
    state: tuple[Any, ...]


class Source:
    """A file to read from; ``-`` is stdin, whose places are not found again. For one thread."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._path = os.fspath(path)

    @property
    def name(self) -> str:
        """The path, as texts have it."""
        return os.fsencode(self._path).decode("utf-8", "backslashreplace")

    def is_file(self) -> bool:
        """Whether it can be read again; a pipe or a FIFO cannot, nor what is not there."""
        if self._path == "-":
            return False
        try:
            return stat.S_ISREG(os.stat(self._path).st_mode)
        except (FileNotFoundError, NotADirectoryError):
            return False
        except OSError as error:
            raise storage_error(f"reading {self.name}", error) from error

    def size(self) -> int:
        """The bytes it has now. Raises `StorageError`."""
        try:
            return os.stat(self._path).st_size
        except OSError as error:
            raise storage_error(f"reading {self.name}", error) from error

    def check_outside(self, log: Path) -> None:
        """Raise `InvalidInput` if it is a file of the log: it could grow while it is read."""
        if self.is_file() and Path(_real(self._path)).is_relative_to(_real(log)):
            raise InvalidInput(f"{self.name} is a part of the log that it would be stored in")

    @contextmanager
    def opened(self, offset: int = 0) -> Iterator[BinaryIO]:
        """Open it and go to ``offset``. Raises `StorageError` where it cannot be read."""
        if self._path == "-":
            if sys.stdin is None:
                raise InvalidInput("stdin is closed; name a file")
            yield sys.stdin.buffer
            return
        try:
            with open(self._path, "rb") as file:
                if offset:
                    file.seek(offset)
                yield file
        except OSError as error:
            raise storage_error(f"reading {self.name}", error) from error

    def cursor_name(self, format: str) -> str | None:
        """The name of the cursor of its import: by its path, and by how the file begins.

        None for what cannot be read again. A file that took the place of another begins otherwise
        and is imported from its beginning.
        """
        if not self.is_file():
            return None
        with self.opened() as file:
            head = file.readline(_HEAD).rstrip(b"\r\n")
        return cursor_name(format, self._path, f" {zlib.crc32(head):08x}")

    def place(self, offset: int, state: tuple[Any, ...]) -> list[Any]:
        """The place at ``offset`` as a cursor's value."""
        return [os.path.basename(self.name), offset, self._checksum(offset), *state]

    def check(self, place: Place) -> None:
        """Raise `InvalidInput` if the bytes before ``place`` are not those of then."""
        if self.size() < place.offset or self._checksum(place.offset) != place.checksum:
            raise InvalidInput(
                f"{self.name} is not the file any more of which {place.offset} bytes are imported; "
                "import what is new under another name"
            )

    def _checksum(self, offset: int) -> int:
        start = max(0, offset - _TAIL)
        with self.opened(start) as file:
            return zlib.crc32(file.read(offset - start))


def cursor_name(format: str, path: str | os.PathLike[str], behind: str = "") -> str:
    """The name of the cursor of an import of ``path``, at most 256 characters."""
    real = os.fsencode(_real(path))
    shown = real.decode("utf-8", "backslashreplace")
    name = f"import {format} {shown}{behind}"
    if len(name) <= _MOST_NAME:
        return name
    return f"import {format} {sha256(real).hexdigest()}{behind}"


def place_of(value: Any, states: int) -> Place | None:
    """The place that a cursor's value is, with so many values of state; None for None."""
    match value:
        case None:
            return None
        case [str(name), int(offset), int(checksum), *state] if len(state) == states:
            return Place(name, offset, checksum, tuple(state))
    raise DamagedError("what is stored as the place of an earlier import is none; see its cursor")


def _real(path: str | os.PathLike[str]) -> str:
    """The path without links. Raises `StorageError`: half of it would be another name."""
    try:
        return os.fspath(os.path.realpath(path, strict=True))
    except OSError as error:
        raise storage_error("finding out the path", error) from error

"""`Copier`: fills a new directory with files of another, by links where that is possible.

A file that is taken is linked (then both names are one file, which never changes any more), or
linked from the snapshot before, or else copied. Nothing is durable before `finish`.
"""

from __future__ import annotations

import errno
import stat
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple

from timelog.checksum import crc32
from timelog.manifest import File
from timelog.rotate import FILES_AT_ONCE
from timelog.storage import Storage

# Bytes that are read and written at once.
_PIECE = 1 << 20
# What a file system says that does not link these two.
_NOT_LINKED = frozenset(
    {
        *(errno.EXDEV, errno.EPERM, errno.EMLINK, errno.ENOSYS),
        *(errno.ENOTSUP, errno.EOPNOTSUPP),
    }
)


class Wanted(NamedTuple):
    """A file to be taken, and what is known of it before it is looked at.

    ``size``: only so many bytes of it, None for all. ``crc``: of these, None to find out. ``text``:
    as in `File`. ``is_final``: it never changes any more, if it is no longer than ``size``.
    """

    name: str
    size: int | None = None
    crc: int | None = None
    text: int | None = None
    is_final: bool = False


class Copier:
    """For one thread. ``before``: a directory, and the files in it, that never change any more.

    ``files``: what was taken or written so far.
    """

    def __init__(
        self,
        storage: Storage,
        source: Path,
        target: Path,
        before: tuple[Path, Iterable[File]] | None = None,
        advance: Callable[[int], None] = lambda done: None,
    ) -> None:
        self.files: dict[str, File] = {}
        self._storage = storage
        self._source = source
        self._target = target
        self._before, known = before if before is not None else (target, ())
        self._known = {file.name: file for file in known}
        self._advance = advance
        self._directories: set[str] = {""}
        self._written: set[str] = set()
        # Written, and not yet synced.
        self._open: list[int] = []

    @property
    def new(self) -> int:
        """How many bytes were written, and not linked."""
        return sum(file.size for name, file in self.files.items() if name in self._written)

    def take(self, wanted: Wanted) -> File:
        """Take a file; fewer bytes than wanted where it has no more. Twice is once.

        Raises ``FileNotFoundError`` where it is gone, and ``OSError``.
        """
        taken = self.files.get(wanted.name)
        if taken is not None and _fits(taken, wanted):
            return taken
        # Text, since making paths would take longer than linking.
        source, target = f"{self._source}/{wanted.name}", f"{self._target}/{wanted.name}"
        status = self._storage.status(source)
        self._make_room(wanted.name)
        known = self._known.get(wanted.name)
        if known is not None and not _fits(known, wanted):
            known = None
        is_whole = wanted.size is None or status.st_size <= wanted.size
        is_plain = stat.S_ISREG(status.st_mode)
        if wanted.is_final and is_whole and is_plain and self._link(source, target):
            crc = wanted.crc if known is None else known.crc
            if crc is None or wanted.size not in (None, status.st_size):
                crc = crc_of(self._storage, Path(target))
            file = File(wanted.name, status.st_size, crc, wanted.text)
        elif known is not None and self._link_known(known, target):
            file = known
        else:
            size = status.st_size if wanted.size is None else wanted.size
            file = self._copy(Path(source), Path(target), size, wanted)
        self.files[wanted.name] = file
        return file

    def write(self, name: str, data: bytes) -> None:
        """Write a file of these bytes."""
        self._make_room(name)
        fd = self._storage.create(self._target / name)
        self._open.append(fd)
        self.files[name] = File(name, len(data), crc32(data))
        self._written.add(name)
        self._storage.write(fd, data)
        self._sync_some()

    def keep(self, wanted: Iterable[str]) -> None:
        """Drop all files but these."""
        for name in set(self.files).difference(wanted):
            self._make_room(name)

    def finish(self) -> None:
        """Return when everything is durable."""
        self._sync()
        used = {""}
        for name in self.files:
            while name:
                name = name.rpartition("/")[0]
                used.add(name)
        for name in sorted(self._directories - used, reverse=True):
            self._storage.remove_directory(self._target / name)
        # The inner ones first.
        directories = [self._target / name for name in sorted(used, reverse=True)]
        self._storage.sync_all((), directories)

    def close(self) -> None:
        """Close what is still open, whatever became of it."""
        while self._open:
            self._storage.close(self._open.pop())

    # -- inside ---------------------------------------------------------------------------

    def _make_room(self, name: str) -> None:
        """See that there is a directory for a file, and no file of that name."""
        if self.files.pop(name, None) is not None:
            self._written.discard(name)
            self._storage.unlink(self._target / name)
        missing = []
        parent = name.rpartition("/")[0]
        while parent not in self._directories:
            missing.append(parent)
            parent = parent.rpartition("/")[0]
        for directory in reversed(missing):
            self._storage.make_directory(self._target / directory)
            self._directories.add(directory)

    def _link(self, source: str, target: str) -> bool:
        """Whether the file could be linked."""
        try:
            self._storage.link(source, target)
        except OSError as error:
            if error.errno not in _NOT_LINKED:
                raise
            return False
        return True

    def _link_known(self, known: File, target: str) -> bool:
        source = f"{self._before}/{known.name}"
        try:
            status = self._storage.status(source)
            is_same = stat.S_ISREG(status.st_mode) and status.st_size == known.size
            return is_same and self._link(source, target)
        except FileNotFoundError:
            return False

    def _copy(self, source: Path, target: Path, size: int, wanted: Wanted) -> File:
        with self._storage.reading(source) as fd:
            out = self._storage.create(target)
            self._open.append(out)
            self._written.add(wanted.name)
            at = crc = 0
            while at < size and (data := self._storage.read_at(fd, at, min(_PIECE, size - at))):
                self._storage.write(out, data)
                crc = crc32(data, crc)
                at += len(data)
                self._advance(len(data))
        self._sync_some()
        return File(wanted.name, at, crc, wanted.text)

    def _sync_some(self) -> None:
        if len(self._open) >= FILES_AT_ONCE:
            self._sync()

    def _sync(self) -> None:
        self._storage.sync_all(self._open)
        self.close()


def crc_of(storage: Storage, path: Path, advance: Callable[[int], None] = lambda done: None) -> int:
    """The crc-32 of a file's bytes."""
    at = crc = 0
    with storage.reading(path) as fd:
        while data := storage.read_at(fd, at, _PIECE):
            crc = crc32(data, crc)
            at += len(data)
            advance(len(data))
    return crc


def _fits(file: File, wanted: Wanted) -> bool:
    """Whether a file is what is wanted, as far as that is known."""
    if wanted.text is not None:
        # Of an archive that says more than its bytes do.
        return (file.size, file.text) == (wanted.size, wanted.text)
    return wanted.crc is not None and file.crc == wanted.crc and wanted.size in (None, file.size)

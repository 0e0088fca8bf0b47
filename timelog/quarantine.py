"""`Quarantine`: where bytes go that are not the log's, before they are cut away.

Nothing is overwritten there, and nothing is removed elsewhere before its copy is on the disk. A
kill between the two leaves a copy that is found to be one the next time.
"""

from __future__ import annotations

from pathlib import Path

from timelog import names
from timelog.names import Layout
from timelog.storage import Storage

_CHUNK = 1 << 20


class Quarantine:
    """The quarantine of one log, or a directory in it; needs the store lock to be held."""

    def __init__(self, layout: Layout, storage: Storage, directory: Path | None = None) -> None:
        self._layout = layout
        self._storage = storage
        self._directory = directory or layout.quarantine

    def cut(self, path: str, length: int, sequence: int) -> bool:
        """Move what stands behind ``length`` in a segment here; True where there was any.

        A file of which nothing is left is removed. ``sequence``: that of the newest commit.
        """
        file = self._layout.segment(path)
        try:
            size = self._storage.status(file).st_size
        except FileNotFoundError:
            return False
        if size <= length:
            return False
        self.keep(file, length, size, names.quarantined(path, length, sequence))
        if length:
            self._storage.truncate(file, length)
        else:
            self._storage.unlink(file)
            self._storage.sync_directory(file.parent)
        return True

    def keep(self, file: Path, start: int, end: int, name: str) -> None:
        """Put a synced copy of some of a file's bytes here, under this name or one like it."""
        kept = self._directory / name
        while self._storage.exists(kept) and not self._is_copy(kept, file, start, end):
            kept = self._next(kept)
        self.copy(file, start, end, kept)

    def copy(self, file: Path, start: int, end: int, target: Path) -> None:
        """Put a synced copy of some of a file's bytes in the place of ``target``."""
        storage = self._storage
        temporary = self._layout.temporary / target.name
        storage.unlink(temporary)
        out = storage.create(temporary)
        try:
            with storage.reading(file) as fd:
                for at in range(start, end, _CHUNK):
                    storage.write(out, storage.read_at(fd, at, min(_CHUNK, end - at)))
            storage.sync(out)
        finally:
            storage.close(out)
        storage.rename(temporary, target)
        storage.sync_directory(target.parent)

    def move(self, path: str, sequence: int) -> None:
        """Move a whole segment here; see `cut`."""
        file = self._layout.segment(path)
        fd = self._storage.open_append(file)
        try:
            self._storage.sync(fd)
        finally:
            self._storage.close(fd)
        self.put_away(file, names.quarantined(path, 0, sequence))

    def put_away(self, file: Path, name: str) -> None:
        """Move what bears a name, whatever it is, here under this name or one like it."""
        kept = self._free(self._directory / name)
        self._storage.rename(file, kept)
        self._storage.sync_directory(kept.parent)
        self._storage.sync_directory(file.parent)

    def make_directory(self, name: str) -> Path:
        """Make a new directory here, of this name or one like it."""
        directory = self._free(self._directory / name)
        self._storage.make_directory(directory)
        self._storage.sync_directory(directory.parent)
        return directory

    def _free(self, path: Path) -> Path:
        while self._storage.exists(path):
            path = self._next(path)
        return path

    @staticmethod
    def _next(path: Path) -> Path:
        """``name``, ``name+2``, ``name+3`` …"""
        name, plus, number = path.name.rpartition("+")
        if not plus:
            return path.with_name(f"{path.name}+2")
        return path.with_name(f"{name}+{int(number) + 1}")

    def _is_copy(self, kept: Path, file: Path, start: int, end: int) -> bool:
        """Whether ``kept`` holds just these bytes of ``file``."""
        storage = self._storage
        with storage.reading(kept) as one, storage.reading(file) as two:
            if storage.size(one) != end - start:
                return False
            for at in range(start, end, _CHUNK):
                length = min(_CHUNK, end - at)
                if storage.read_at(one, at - start, length) != storage.read_at(two, at, length):
                    return False
        return True

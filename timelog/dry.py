"""`DryStorage`: a storage that changes nothing, for who wants to know what another would do."""

from __future__ import annotations

from pathlib import Path

from timelog.storage import Storage

_UNCHANGED = (
    "time_ns",
    "monotonic",
    "boot_id",
    "open_read",
    "reading",
    "read_at",
    "read_file",
    "read_device",
    "size",
    "inode",
    "status",
    "resolve",
    "is_directory",
    "exists",
    "names",
    "entries",
    "free",
    "is_named",
    "is_locked",
    "lock",
)
_NOWHERE = -1


class DryStorage(Storage):
    """Looks through ``storage``, and changes nothing at all.

    What was "written" cannot be read. The lock file must be there; it is locked.
    """

    def __init__(self, storage: Storage) -> None:
        super().__init__()
        self._storage = storage
        for name in _UNCHANGED:
            setattr(self, name, getattr(storage, name))

    def close(self, fd: int) -> None:
        """Close what was opened for reading."""
        if fd != _NOWHERE:
            self._storage.close(fd)

    def create(self, path: Path) -> int:
        """A descriptor to "write" to."""
        return _NOWHERE

    def open_append(self, path: Path) -> int:
        """A descriptor to "write" to."""
        return _NOWHERE

    def open_lock(self, path: Path) -> int:
        """The lock file, for reading."""
        return self._storage.open_read(path)

    def make_directory(self, path: Path) -> bool:
        """Nothing, as everything below."""
        return False

    def write(self, fd: int, *parts: bytes) -> None:
        """Nothing."""

    def overwrite(self, fd: int, data: bytes, offset: int) -> None:
        """Nothing."""

    def sync(self, fd: int) -> None:
        """Nothing."""

    def sync_directory(self, path: Path) -> None:
        """Nothing."""

    def truncate(self, path: Path, length: int) -> None:
        """Nothing."""

    def link(self, source: Path | str, target: Path | str) -> None:
        """Nothing."""

    def rename(self, source: Path, target: Path) -> None:
        """Nothing."""

    def unlink(self, path: Path) -> None:
        """Nothing."""

    def remove_directory(self, path: Path) -> bool:
        """Nothing."""
        return False

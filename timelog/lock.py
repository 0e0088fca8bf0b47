"""The store lock, and the busy mark in it.

One writer at a time changes the disk: it holds ``flock`` on ``.timelog/lock``. Before its first
write it puts a busy mark into the file (boot, journal place, files it will touch), and takes it out
when its commit is durable, leaving the place to which the journal then reaches. Who takes the lock
and finds a mark repairs first; readers do not go beyond the marked place of the journal. The file
is never truncated and never removed; it is hardly ever synced, since a boot id in it tells when the
page cache is gone. Where somebody else removed or replaced it, two processes may hold "the" lock:
each looks whether its file is still the one of that name, when it has taken it and when it has
written.

Layout: length u32, crc32 u32 (little-endian), then a msgpack map.
"""

from __future__ import annotations

import os
import struct
import threading
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import msgspec

from timelog.clockguard import Reference
from timelog.errors import LockTimeout
from timelog.storage import UNKNOWN_BOOT, Storage

_HEADER = struct.Struct("<II")
_RETRIES = 100

# A child shares the lock of every descriptor that was open at the fork, so it must know them all
# to close them: no fork happens between opening (or closing) one and noting that.
_no_fork = threading.Lock()
os.register_at_fork(
    before=_no_fork.acquire, after_in_parent=_no_fork.release, after_in_child=_no_fork.release
)


class Mark(msgspec.Struct, frozen=True):
    """An unfinished flush: files beyond their committed length are not to be trusted.

    ``suspect``: files whose fsync failed: what is committed of them may not be on the disk, and
    another fsync of them would not tell. ``whole``: files that are put in place whole, and hold
    nothing that others do not while they are not committed.
    """

    pid: int
    journal: int
    offset: int
    files: tuple[str, ...]
    suspect: tuple[str, ...] = ()
    whole: tuple[str, ...] = ()


# Less than what the journal can say, which goes on from there.
_Number = Annotated[int, msgspec.Meta(ge=0, le=1 << 52)]


class End(msgspec.Struct, frozen=True, array_like=True):
    """A place of the journal, and what was committed up to there: the next position."""

    journal: _Number
    offset: _Number
    sequence: _Number
    position: _Number


class State(msgspec.Struct, frozen=True):
    """What the lock file says: the boot of the last holder, and its mark if it is unfinished.

    ``end``: how far the journal was when this was written; ``synced``: how far all was durable. By
    them what the journal lost is told from what it never had. ``clock``: a time that could be
    trusted in this boot. In a copy of the file, which has
    another ``inode``, they say nothing and are left out; the lock itself looks after that.
    """

    boot: str
    busy: Mark | None = None
    end: End | None = None
    synced: End | None = None
    inode: int = 0
    clock: Reference | None = None

    def committed(self, boot: str) -> End | None:
        """What must be in the journal where the machine runs as ``boot`` now."""
        return self.end if self.boot == boot != UNKNOWN_BOOT else self.synced


class FileLock:
    """``flock`` on a file of the log. One thread at a time."""

    def __init__(self, storage: Storage, path: Path, timeout: float) -> None:
        self._storage = storage
        self._path = path
        self._timeout = timeout
        self._fd = -1

    @contextmanager
    def held(self) -> Iterator[None]:
        """Hold the lock; raises ``TimeoutError`` after ``timeout`` seconds."""
        try:
            self._take()
            yield
        finally:
            with _no_fork:
                self._close()

    def is_current(self) -> bool:
        """Whether the file that is locked is still the one of that name."""
        return self._storage.is_named(self._fd, self._path)

    def after_fork(self) -> None:
        """In a child: close what is the parent's, and do not unlock it."""
        self._close()

    def _take(self) -> None:
        while True:
            with _no_fork:
                self._close()
                self._fd = self._storage.open_lock(self._path)
            self._storage.lock(self._fd, self._timeout)
            if self.is_current():
                return

    def _close(self) -> None:
        if self._fd >= 0:
            # In this order, since an interrupt may come between any two steps.
            fd, self._fd = self._fd, -1
            self._storage.close(fd)


class StoreLock(FileLock):
    """The lock of who changes the log, with what its file says; raises `LockTimeout`."""

    def _take(self) -> None:
        try:
            super()._take()
        except TimeoutError:
            raise LockTimeout(
                f"another process held {self._path} for {self._timeout:g} seconds; find it with "
                "fuser or lslocks (a stopped process keeps its lock), or raise lock_timeout"
            ) from None

    def read(self) -> State | None:
        """What the file says (the lock must be held); None where it cannot be read."""
        return _parse(self._storage, self._fd)

    def write(self, state: State) -> None:
        """Put ``state`` into the file (the lock must be held)."""
        state = msgspec.structs.replace(state, inode=self._storage.inode(self._fd))
        payload = msgspec.msgpack.encode(state)
        header = _HEADER.pack(len(payload), zlib.crc32(payload))
        self._storage.overwrite(self._fd, header + payload, 0)

    def sync(self) -> None:
        """Make durable what was put into the file (the lock must be held)."""
        self._storage.sync(self._fd)


def is_held(storage: Storage, path: Path) -> bool:
    """Whether some process holds the lock just now."""
    try:
        with storage.reading(path) as fd:
            return storage.is_locked(fd)
    except FileNotFoundError:
        return False


def read_mark(storage: Storage, path: Path, boot: str) -> Mark | None:
    """The busy mark as a reader sees it, without the lock: None where nothing is unfinished.

    A mark of an earlier boot says nothing about this one's page cache and is left out.
    """
    state = read_state(storage, path)
    return state.busy if state is not None and state.boot == boot else None


def read_state(storage: Storage, path: Path) -> State | None:
    """What the lock file says, read without the lock; None where it is absent or unreadable."""
    try:
        with storage.reading(path) as fd:
            # A writer may be in the middle of changing it; that takes it microseconds.
            for _ in range(_RETRIES):
                state = _parse(storage, fd)
                if state is not None:
                    return state
    except FileNotFoundError:
        pass
    return None


def _parse(storage: Storage, fd: int) -> State | None:
    header = storage.read_at(fd, 0, _HEADER.size)
    if len(header) < _HEADER.size:
        return State(boot="") if not header else None
    length, crc = _HEADER.unpack(header)
    payload = storage.read_at(fd, _HEADER.size, min(length, storage.size(fd)))
    if len(payload) != length or zlib.crc32(payload) != crc:
        return None
    try:
        state = msgspec.msgpack.decode(payload, type=State)
    except (msgspec.DecodeError, UnicodeDecodeError):
        # NULs, for one, have the right crc.
        return None
    if state.inode != storage.inode(fd):
        return State(state.boot, state.busy)
    return msgspec.structs.replace(state, inode=0)

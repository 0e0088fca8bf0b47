"""What the package might get wrong: faults of its own that the tests with faults must find."""

from __future__ import annotations

import os
from contextlib import AbstractContextManager, suppress
from pathlib import Path
from typing import Any, NamedTuple
from unittest import mock

from timelog import flush
from timelog.buffer import Buffer
from timelog.flush import Flusher
from timelog.repair import Repairer
from timelog.storage import Storage


class Control(NamedTuple):
    """Something in the package, and the wrong thing in its place."""

    name: str
    where: object
    what: str
    wrong: object

    def put_in(self) -> AbstractContextManager[Any]:
        """Have the package get it wrong."""
        return mock.patch.object(self.where, self.what, self.wrong)


def _write(self: Storage, fd: int, *parts: bytes) -> None:
    os.writev(fd, parts)


def _sync(self: Storage, fd: int) -> None:
    with suppress(OSError):
        os.fsync(fd)


def _sync_directory(self: Storage, path: Path) -> None:
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    self.sync(fd)
    os.close(fd)


SHORT_WRITES = Control("a short write is taken for a whole one", Storage, "write", _write)
UNFINISHED_STAYS = Control(
    "an unfinished flush stays", Repairer, "_cut", lambda self, path, length: False
)
NO_LOCK = Control("nobody waits for the lock", Storage, "lock", lambda self, fd, timeout: None)
UNKEPT_PROMISE = Control("a sync does nothing", Flusher, "sync", lambda self: None)
CONTROLS = (
    SHORT_WRITES,
    UNFINISHED_STAYS,
    Control("nobody hears of a failed fsync", Storage, "sync", _sync),
    Control("a descriptor stays open", Storage, "sync_directory", _sync_directory),
    Control("a batch is stored twice", Buffer, "holds", lambda self, number: True),
    Control("errors are not the library's", flush, "storage_error", lambda doing, error: error),
)

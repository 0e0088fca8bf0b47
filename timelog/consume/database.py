"""`Database`: an SQLite file that threads share, one transaction at a time, with typed errors."""

from __future__ import annotations

import errno
import os
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from timelog.consume.schema import migrate
from timelog.errors import ClosedError, DamagedError, InvalidInput, StorageError, storage_error

_PATIENCE = 10.0
# KiB of memory for a large queue, and pages of changes after which they are put in their places:
# keys are in no order, so each time that touches pages all over the file.
_CACHE = 32 * 1024
_CHECKPOINT = 8_192
_ERRNO = {sqlite3.SQLITE_FULL: errno.ENOSPC, sqlite3.SQLITE_READONLY: errno.EROFS}


class Database:
    """The tables of a queue in the file ``path``, made where it is not there. Thread-safe.

    Other processes may have it open, too. A transaction survives a kill at any moment; a power cut
    may take the last ones, whole. Raises `InvalidInput`, `VersionError`, `DamagedError` and
    `StorageError`.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.RLock()
        try:
            # SQLite gives its other files the mode of this one.
            os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
        except OSError as error:
            raise storage_error(f"the queue {path} could not be opened", error) from None
        self._db: sqlite3.Connection | None = sqlite3.connect(
            path, timeout=_PATIENCE, isolation_level=None, check_same_thread=False
        )
        try:
            with self._errors():
                self._db.execute("PRAGMA journal_mode = WAL")
                self._db.execute(f"PRAGMA cache_size = -{_CACHE}")
                self._db.execute(f"PRAGMA wal_autocheckpoint = {_CHECKPOINT}")
                migrate(self._db)
        except BaseException:
            self.close()
            raise

    @contextmanager
    def change(self, *, durable: bool = False) -> Iterator[sqlite3.Connection]:
        """Within the block there is one transaction; an error undoes it.

        ``durable``: no power cut takes it back, or what came before it.
        """
        with self.read() as db:
            db.execute(f"PRAGMA synchronous = {'FULL' if durable else 'NORMAL'}")
            db.execute("BEGIN IMMEDIATE")
            try:
                yield db
                db.execute("COMMIT")
            finally:
                if db.in_transaction:
                    db.execute("ROLLBACK")

    @contextmanager
    def read(self) -> Iterator[sqlite3.Connection]:
        """Within the block no other thread of this process uses the connection."""
        with self._lock, self._errors():
            if self._db is None:
                raise ClosedError(f"the queue {self._path} was closed; open it again")
            yield self._db

    def close(self) -> None:
        """Close it. May be repeated."""
        with self._lock:
            if self._db is not None:
                self._db.close()
                self._db = None

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except InvalidInput as error:
            raise InvalidInput(f"{self._path}: {error}") from None
        except sqlite3.Error as error:
            code = getattr(error, "sqlite_errorcode", 0) & 0xFF
            if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
                raise DamagedError(
                    f"the queue {self._path} cannot be used ({error}); move it away, and what the "
                    "log holds is taken in anew"
                ) from error
            raise StorageError(
                _ERRNO.get(code, errno.EIO), f"the queue {self._path} could not be used: {error}"
            ) from error

"""Where a state may be kept, and the lock that keeps two processes from working with one."""

from __future__ import annotations

from pathlib import Path

from timelog.errors import InUseError, InvalidInput, storage_error
from timelog.storage import Storage


def place(storage: Storage, path: Path) -> Path:
    """``path`` without links; raises `InvalidInput` where it is inside a log, `StorageError`."""
    try:
        resolved = storage.resolve(path)
        around = [
            each
            for each in (resolved, *resolved.parents)
            if storage.is_directory(each / ".timelog")
        ]
    except OSError as error:
        raise storage_error(f"where {path} is could not be found out", error) from None
    if around:
        raise InvalidInput(f"{path} is inside the log {around[0]}; choose a path outside of it")
    return resolved


def hold(storage: Storage, path: Path, what: str) -> int:
    """Lock the file ``path``, made where it is not there; return what is to be closed at the end.

    It is not removed then: who waits for it would hold a lock on nothing. ``what`` names what is
    locked in errors. Raises `InUseError` and `StorageError`.
    """
    try:
        fd = storage.open_lock(path)
    except OSError as error:
        raise storage_error(f"{what} could not be locked", error) from None
    try:
        storage.lock(fd, 0)
    except BaseException as error:
        storage.close(fd)
        if isinstance(error, TimeoutError):
            raise InUseError(
                f"another process works with {what}; stop it, or name another"
            ) from None
        if isinstance(error, OSError):
            raise storage_error(f"{what} could not be locked", error) from None
        raise
    return fd

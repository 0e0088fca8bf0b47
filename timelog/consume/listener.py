"""`Listener`: a Unix socket at a path, that only its owner can connect to."""

from __future__ import annotations

import fcntl
import os
import socket
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from timelog.errors import InUseError, InvalidInput, storage_error

_BACKLOG = 128
# What the kernel takes, with the NUL behind it.
_LONGEST = 107


class Listener:
    """A listening socket at ``path``, with mode 0600 from the beginning. For one thread.

    What a killed process left there is replaced, if it is a socket of this user and nobody listens
    at it. Raises `InUseError` where somebody does; `InvalidInput` where anything else stands there
    or the path is too long; `StorageError`.
    """

    def __init__(self, path: Path) -> None:
        self._path = path.absolute()
        if len(os.fsencode(self._path)) > _LONGEST:
            raise InvalidInput(
                f"the path of a socket can have {_LONGEST} bytes, and {self._path} has more; "
                "choose a shorter one"
            )
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            # Linux gives the file the mode of the socket.
            os.fchmod(self.socket.fileno(), 0o600)
            with _locked(self._path.parent):
                _clear(self._path)
                self.socket.bind(os.fspath(self._path))
                self._inode = _inode(self._path)
                self.socket.listen(_BACKLOG)
            self.socket.setblocking(False)
        except OSError as error:
            self.socket.close()
            raise storage_error(f"cannot listen at {self._path}", error) from None
        except BaseException:
            self.socket.close()
            raise

    def close(self) -> None:
        """Stop listening, and remove the socket if it is still this one. May be repeated."""
        if self.socket.fileno() < 0:
            return
        self.socket.close()
        try:
            with _locked(self._path.parent):
                if _inode(self._path) == self._inode:
                    os.unlink(self._path)
        except FileNotFoundError:
            pass  # the directory went, and the socket with it


@contextmanager
def _locked(directory: Path) -> Iterator[None]:
    """Let one process at a time look at what stands in a directory and replace it."""
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        os.close(fd)


def _inode(path: Path) -> tuple[int, int] | None:
    try:
        status = os.lstat(path)
    except FileNotFoundError:
        return None
    return status.st_dev, status.st_ino


def _clear(path: Path) -> None:
    try:
        status = os.lstat(path)
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(status.st_mode):
        raise InvalidInput(f"{path} is there, and no socket; choose another path")
    if status.st_uid != os.geteuid():
        raise InvalidInput(f"{path} is the socket of another user; choose another path")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        # A full backlog must not make this wait.
        probe.setblocking(False)
        try:
            probe.connect(os.fspath(path))
        except ConnectionRefusedError:
            os.unlink(path)
            return
        except BlockingIOError:
            pass
    raise InUseError(f"another process listens at {path}; stop it, or choose another path")

"""`written`: where an export goes, a file that is there whole or not at all, or an open one."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, TypeAlias

from timelog.errors import InvalidInput, TimelogError, storage_error

Target: TypeAlias = str | os.PathLike[str] | BinaryIO


@contextmanager
def written(target: Target, overwrite: bool) -> Iterator[BinaryIO]:
    """Yield the file to write to.

    A path becomes a new file, for its owner only (0600), in one step and synced, when the block
    ends without an error; else nothing is there of it. What is there already is replaced only with
    ``overwrite``, and only where it is a plain file. An open binary file is written as it is, and
    not closed.

    Raises `InvalidInput` for a path where something is, and `StorageError`.
    """
    if not isinstance(target, str | os.PathLike):
        yield target
        return
    # A link stays, and what it leads to is replaced.
    path = Path(os.path.realpath(target))
    _check(path, overwrite)
    try:
        fd, name = tempfile.mkstemp(".part", f".{path.name[:100]}.", path.parent)
    except OSError as error:
        raise storage_error(f"writing {path}", error) from error
    try:
        with os.fdopen(fd, "wb") as file:
            yield file
            file.flush()
            os.fsync(fd)
        _put(name, path, overwrite)
    except OSError as error:
        _remove(name)
        if isinstance(error, TimelogError):
            raise
        raise storage_error(f"writing {path}", error) from error
    except BaseException:
        _remove(name)
        raise


def _check(path: Path, overwrite: bool) -> None:
    if not path.exists():
        return
    if not path.is_file():
        raise InvalidInput(f"{path} is not a plain file; name another")
    if not overwrite:
        raise InvalidInput(f"{path} is there already; name another file, or ask to overwrite it")


def _put(name: str, path: Path, overwrite: bool) -> None:
    """Let the finished file ``name`` be ``path``, durably."""
    if overwrite:
        os.replace(name, path)
    else:
        try:
            # Unlike a rename it does not replace what somebody else made meanwhile.
            os.link(name, path)
        except FileExistsError:
            _check(path, overwrite)
            raise
        except OSError:  # a file system without links
            _check(path, overwrite)
            os.rename(name, path)
        else:
            os.unlink(name)
    directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def _remove(name: str) -> None:
    try:
        os.unlink(name)
    except FileNotFoundError:
        pass

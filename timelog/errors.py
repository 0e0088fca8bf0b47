"""Every error the library raises on purpose.

::

    TimelogError
    ├── InvalidInput (ValueError)      an argument is wrong; nothing was written
    │   ├── InvalidEvent               content, source, tags, id, fields
    │   ├── InvalidTime                a time that cannot be read, or is out of range
    │   ├── ExpiredError               an event is older than what the log keeps of such events
    │   └── InvalidPattern             a regular expression that does not compile, or is refused
    ├── MissingExtra (ImportError)     an optional package is needed; says how to install it
    ├── SearchTimeout (TimeoutError)   a search took longer than its ``timeout``
    ├── EventNotFound (LookupError)    no event has that id
    ├── CursorError                    a position that this log does not have
    ├── ClosedError                    the log was closed
    ├── ReadOnlyError                  the log was opened with mode="r", or cannot be written
    ├── NotALogError                   the path is not a timelog
    ├── VersionError                   the log was written by a newer format
    ├── DamagedError                   what the log's own records say cannot be relied on
    ├── ReentryError (RuntimeError)    used by a signal handler in the middle of its own call
    ├── BufferFull                     events come faster than they can be stored
    ├── LockTimeout                    another process holds the store lock
    ├── InUseError                     another process works at that socket, or with that state
    ├── FoldError                      a function of a projection raised; ``position`` tells where
    ├── GapError                       events that a projection has to see are gone
    └── StorageError (OSError)         the disk refused; says how, and ``errno`` is kept
        └── DegradedError              a repair failed too: call ``reopen()`` when the disk is well
"""

from __future__ import annotations

import errno

__all__ = [
    "BufferFull",
    "ClosedError",
    "CursorError",
    "DamagedError",
    "DegradedError",
    "EventNotFound",
    "ExpiredError",
    "FoldError",
    "GapError",
    "InUseError",
    "InvalidEvent",
    "InvalidInput",
    "InvalidPattern",
    "InvalidTime",
    "LockTimeout",
    "MissingExtra",
    "NotALogError",
    "ReadOnlyError",
    "ReentryError",
    "SearchTimeout",
    "StorageError",
    "TimelogError",
    "VersionError",
]


class TimelogError(Exception):
    """The root of all errors of this library."""


class InvalidInput(TimelogError, ValueError):
    """An argument is wrong; nothing was written."""


class InvalidEvent(InvalidInput):
    """The content, source, tags, id or fields of an event cannot be stored."""


class InvalidTime(InvalidInput):
    """A time cannot be read, has no zone, or is out of range."""


class ExpiredError(InvalidInput):
    """An event is older than what the log keeps of such events."""


class InvalidPattern(InvalidInput):
    """A regular expression is not a string, does not compile, or the engine cannot express it."""


class MissingExtra(TimelogError, ImportError):
    """A package that is optional is needed for this and not installed."""


class SearchTimeout(TimelogError, TimeoutError):
    """A search took longer than its ``timeout``."""


class EventNotFound(TimelogError, LookupError):
    """No event of the log has the id asked for."""


class CursorError(TimelogError):
    """A position is ahead of the log, or of another log."""


class ClosedError(TimelogError):
    """The log was closed; open it again."""


class ReadOnlyError(TimelogError):
    """Writing was asked of a log that can only be read."""


class NotALogError(TimelogError):
    """The path holds something that is not a timelog."""


class VersionError(TimelogError):
    """The log was written in a format that this release does not know."""


class DamagedError(TimelogError):
    """The log's own records are damaged and cannot be relied on."""


class ReentryError(TimelogError, RuntimeError):
    """A signal handler or finalizer used the log in the middle of a call of the same thread."""


class BufferFull(TimelogError):
    """The buffer is full and could not be flushed in time; nothing of the call was taken."""


class LockTimeout(TimelogError):
    """Another process holds the store lock for longer than ``lock_timeout``."""


class InUseError(TimelogError):
    """Another process works at that socket, or with that state."""


class FoldError(TimelogError):
    """A function of a projection raised, which is the ``__cause__``; nothing was lost.

    ``position``: of the event that it was given, which will be given to it again.
    """

    def __init__(self, text: str, position: int) -> None:
        super().__init__(text)
        self.position = position


class GapError(TimelogError):
    """Events that a projection has to see are gone: ``first`` to ``last``, both positions."""

    def __init__(self, text: str, first: int, last: int) -> None:
        super().__init__(text)
        self.first = first
        self.last = last


class StorageError(TimelogError, OSError):
    """The disk refused a call. ``errno`` tells which way, the text says it in words."""


class DegradedError(StorageError):
    """A repair failed too. What is in memory is kept; ``reopen()`` tries again."""


_WORDS = {
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "the disk quota is exceeded",
    errno.EROFS: "the file system is read-only",
    errno.EACCES: "permission is denied",
    errno.EPERM: "permission is denied",
    errno.EMFILE: "this process has too many open files",
    errno.ENFILE: "the system has too many open files",
    errno.EFBIG: "the file would be larger than allowed",
    errno.EIO: "the device reported an input/output error",
    errno.ELOOP: "a symbolic link stands where a file of the log belongs; move it away",
    errno.ENOTDIR: "a link or a file stands where a directory of the log belongs; move it away",
    errno.EISDIR: "a directory stands where a file of the log belongs; move it away",
    errno.ENXIO: "it is not a plain file; move it away",
}

# What passes by itself when somebody makes room; trying again is right.
TRANSIENT = frozenset(
    {errno.ENOSPC, errno.EDQUOT, errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EFBIG}
)

# What opening says where a link, a directory or a FIFO stands in the place of a file.
NOT_PLAIN = frozenset({errno.ELOOP, errno.EINVAL, errno.EISDIR, errno.ENOTDIR, errno.ENXIO})


def in_words(error: OSError) -> str:
    """Say in words what an ``OSError`` means for a user: full, quota, read-only …"""
    words = _WORDS.get(error.errno or 0, error.strerror or str(error))
    where = f" ({error.filename!s})" if error.filename else ""
    return f"{words}{where}"


def missing_extra(what: str, extra: str) -> MissingExtra:
    """Say that ``what`` needs the packages of ``extra``, and how they are installed."""
    return MissingExtra(
        f"{what} needs the extra {extra!r}; install it with pip install 'timelog[{extra}]'"
    )


def storage_error(doing: str, error: OSError) -> StorageError:
    """Wrap ``error`` as a `StorageError` that says what was being done."""
    if isinstance(error, StorageError):
        return error
    return StorageError(error.errno, f"{doing}: {in_words(error)}")

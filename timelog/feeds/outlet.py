"""`Outlet`: the log that a feed puts its events into, and the count of what it could not."""

from __future__ import annotations

import logging
import os
import threading
import weakref
from collections.abc import Mapping
from typing import Any

import timelog
from timelog.errors import BufferFull, InvalidInput, TimelogError
from timelog.timestamp import Time

SOURCE = "timelog.feeds"
_OWN = "timelog"


class Outlet:
    """Puts events into a log without ever waiting for the disk. Thread-safe.

    ``log``: an open log, which stays the caller's to close, or the path of one, which is opened
    with ``options`` (those of `timelog.open`) and closed by `close`. Raises what `timelog.open`
    does.
    """

    def __init__(
        self, log: timelog.EventLog | str | os.PathLike[str], options: Mapping[str, Any]
    ) -> None:
        self._is_own = not isinstance(log, timelog.EventLog)
        if isinstance(log, timelog.EventLog):
            if options:
                raise InvalidInput(
                    f"{', '.join(options)}: options belong to a path; this log is open already"
                )
            self.log = log
        else:
            self.log = timelog.open(log, **options)
        self._append = self.log.append
        self._dropped = 0
        self._failed = 0
        self._untold = 0
        # Reentrant: a signal handler may log, too.
        self._lock = threading.RLock()
        _outlets.add(self)

    @property
    def dropped(self) -> int:
        """How many events the full buffer could not take."""
        return self._dropped

    @property
    def failed(self) -> int:
        """How many events were lost for another reason."""
        return self._failed

    def put(
        self,
        content: str,
        source: str,
        tags: tuple[str, ...],
        timestamp: Time | None = None,
        fields: Mapping[str, Any] | None = None,
    ) -> None:
        """Append an event that fits, see `timelog.fit`; raises what `EventLog.append` does.

        Who calls it passes what was raised to `note`. Cost: that of ``append``, no I/O.
        """
        self._append(
            content, source=source, tags=tags, timestamp=timestamp, fields=fields, block=False
        )
        if self._untold:
            self._tell()

    def note(self, error: Exception) -> bool:
        """Count an event that was lost; return whether to report it.

        Of events that are dropped one after the other only the first is worth a report.
        """
        with self._lock:
            if not isinstance(error, BufferFull):
                self._failed += 1
                return True
            self._dropped += 1
            self._untold += 1
            return self._untold == 1

    def flush(self) -> None:
        """Flush the log. Errors as `EventLog.flush`."""
        self.log.flush()

    def close(self) -> None:
        """Close the log if it was opened here, else flush it. Errors as `EventLog.close`."""
        if self.log.is_closed:
            return
        if self._untold:
            self._tell()
        if self._is_own:
            self.log.close()
        else:
            self.log.flush()

    def _tell(self) -> None:
        """Leave a mark in the log of what was dropped since the last one."""
        with self._lock:
            count, self._untold = self._untold, 0
        if not count:
            return
        try:
            self._append(
                f"{count} events were dropped here: the buffer was full",
                source=SOURCE,
                tags=("warning",),
                fields={"dropped": count},
                block=False,
            )
        except TimelogError:  # full again: the next event that finds room tells of them all
            with self._lock:
                self._untold += count


def is_from_timelog(source: str) -> bool:
    """Whether a logger of that name is the library's own.

    What it says of a log, such as of a full disk, must not become an event of that log: storing it
    could be what fails.
    """
    return source.startswith(_OWN) and source[len(_OWN) : len(_OWN) + 1] in ("", ".")


def say_aside(record: logging.LogRecord) -> None:
    """Show a record as `logging` does where nobody else takes it: on stderr, from WARNING on."""
    last = logging.lastResort
    if last is not None and record.levelno >= last.level:
        last.handle(record)


_outlets: weakref.WeakSet[Outlet] = weakref.WeakSet()


def _after_fork_in_child() -> None:
    # Another thread of the parent may have held it, and is not there to let go of it.
    for outlet in list(_outlets):
        outlet._lock = threading.RLock()


os.register_at_fork(after_in_child=_after_fork_in_child)

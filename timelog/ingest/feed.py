"""`Feed`: events into the log, with the places of their files, waiting while it is full."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from typing import Any

import timelog
from timelog.errors import (
    BufferFull,
    DegradedError,
    InvalidInput,
    LockTimeout,
    StorageError,
    TimelogError,
)
from timelog.ingest.lines import Tally
from timelog.ingest.place import Place
from timelog.ingest.places import Places

# One call of append_many; the text of each is bounded by the block of a file it came from.
_MOST_EVENTS = 5_000
_MOST_BYTES = 1024 * 1024
# Flushed by the amount, too: the timer alone lets a fast file fill half of the log's buffer.
FLUSH_BYTES = 8 * 1024 * 1024
FLUSH_EVENTS = 8 * _MOST_EVENTS
_FIRST_PAUSE = 0.1
_LONGEST_PAUSE = 30.0

_log = logging.getLogger("timelog")


class Stopped(Exception):
    """It was to stop while the log took nothing; what was not stored is read again."""


class Feed:
    """Collects events of files whose places are in one cursor, and stores them. For one thread."""

    def __init__(
        self, log: timelog.EventLog, places: Places, tally: Tally, stop: threading.Event
    ) -> None:
        self._log = log
        self._places = places
        self._tally = tally
        self._stop = stop
        self._events: list[dict[str, Any]] = []
        self._bytes = 0
        self._shard: int | None = None
        self._since_flush = [0, 0]
        self._said = ""

    def add(self, place: Place, events: list[dict[str, Any]], size: int) -> None:
        """Take events of ``size`` bytes that were read up to ``place``."""
        shard = self._places.shard_of(place)
        if shard != self._shard:
            self.store()
            self._shard = shard
        self._places.put(place)
        self._events += events
        self._bytes += size
        if len(self._events) >= _MOST_EVENTS or self._bytes >= _MOST_BYTES:
            self.store()

    def store(self) -> None:
        """Store what was added. Raises `Stopped`, and what the log cannot recover from."""
        if self._shard is None:
            return
        cursor = self._places.next_value(self._shard)
        events, size = self._events, self._bytes
        self._events, self._bytes, self._shard = [], 0, None
        self._append(events, cursor)
        self._since_flush[0] += size
        self._since_flush[1] += len(events)
        if self._since_flush[0] >= FLUSH_BYTES or self._since_flush[1] >= FLUSH_EVENTS:
            self._since_flush = [0, 0]
            self._flush()

    def _append(self, events: list[dict[str, Any]], cursor: tuple[str, Any]) -> None:
        pause = _FIRST_PAUSE
        while True:
            try:
                self._log.append_many(iter(events), cursor=cursor)
                return
            except InvalidInput:
                # Mostly lines that have expired already; one makes the log refuse them all.
                takes = [event for event in events if self._takes(event)]
                if len(takes) == len(events):
                    raise
                self._tally.refused += len(events) - len(takes)
                events = takes
                continue
            except (BufferFull, LockTimeout, StorageError) as error:
                self._warn(error)
                # Where only the flush failed, the log has them and goes on trying.
                if self._log.cursor(cursor[0]) == cursor[1]:
                    return
                if isinstance(error, DegradedError):
                    self._reopen()
            if self._stop.wait(pause):
                raise Stopped
            pause = min(2 * pause, _LONGEST_PAUSE)

    def _takes(self, event: dict[str, Any]) -> bool:
        """Whether the log would take an event by itself; nothing is stored."""

        class Enough(Exception):
            """Ends the call before anything is taken."""

        def one() -> Iterator[dict[str, Any]]:
            yield event
            raise Enough

        try:
            self._log.append_many(one())
        except Enough:
            return True
        except InvalidInput:
            return False
        return True

    def _flush(self) -> None:
        try:
            self._log.flush()
        except (LockTimeout, StorageError) as error:
            self._warn(error)  # the log keeps them and tries again

    def _reopen(self) -> None:
        try:
            self._log.reopen()
        except TimelogError as error:
            self._warn(error)

    def _warn(self, error: TimelogError) -> None:
        if str(error) != self._said:
            self._said = str(error)
            _log.warning("files are not read on for now: %s", error)

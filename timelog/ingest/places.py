"""`Places`: all places of a name, kept as cursors of the log.

Cursors cannot be removed from a log, so there is not one for each file: each holds up to some
hundred places, and those of files that are gone are dropped from it. So the number of cursors grows
with the most files there were at one time only. A cursor is stored in the commit of the events that
move its places.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

import msgspec

import timelog
from timelog.errors import DamagedError
from timelog.ingest.place import Place

# The name of a file takes at most 255 bytes: with these a cursor stays under its 64 KiB.
MOST = 120
_MOST_GONE = 40
_VERSION = 1

_log = logging.getLogger("timelog")


class _Shard(msgspec.Struct, array_like=True):
    """The value of one cursor. ``turn`` is another one in each commit."""

    version: int
    turn: int
    places: list[Place]


class Places:
    """What ``name`` keeps in ``log``. For one thread.

    A cursor that does not read as it should is named in a warning, and its files count as not
    read: rather twice than lost.
    """

    def __init__(self, log: timelog.EventLog, name: str) -> None:
        self._name = name
        self._shards: list[dict[int, Place]] = []
        self._turns: list[int] = []
        self._where: dict[int, int] = {}  # the shard of each id
        self._live: dict[tuple[int, int], int] = {}
        for number in range(1 << 20):
            try:
                value = log.cursor(self._cursor(number))
            except DamagedError as error:
                _log.warning("%s; its files will be read again", error)
                value = ()
            if value is None:
                break
            self._load(number, value)
        self._next = max(self._where, default=0) + 1

    def _load(self, number: int, value: Any) -> None:
        try:
            shard = msgspec.convert(value, _Shard)
            if shard.version != _VERSION:
                raise ValueError(f"version {shard.version} is not known")
        except (msgspec.ValidationError, ValueError) as error:
            if value != ():
                _log.warning(
                    "the cursor %r holds no places of files (%s); its files will be read again",
                    self._cursor(number),
                    error,
                )
            shard = _Shard(_VERSION, 0, [])
        self._turns.append(shard.turn)
        self._shards.append({})
        for place in shard.places:
            self._set(number, place)

    def _set(self, number: int, place: Place) -> None:
        self._shards[number][place.id] = place
        self._where[place.id] = number
        if place.gone:
            if self._live.get(place.key) == place.id:
                del self._live[place.key]
        else:
            # Of two that a kill may have left the newer counts.
            self._live[place.key] = max(place.id, self._live.get(place.key, 0))

    def _cursor(self, number: int) -> str:
        return f"ingest/{self._name}/{number}"

    def __iter__(self) -> Iterator[Place]:
        for shard in self._shards:
            yield from shard.values()

    def live(self, key: tuple[int, int]) -> Place | None:
        """Return the place of the file that has that device and inode."""
        id = self._live.get(key)
        return None if id is None else self._shards[self._where[id]][id]

    def gone(self) -> list[Place]:
        """Return the places of files that are gone, or were truncated."""
        return [place for place in self if place.gone]

    def new(self, key: tuple[int, int], beside: Place | None = None) -> Place:
        """Return the first place of a file; in the same cursor as that of ``beside``."""
        place = Place(self._next, *key)
        self._next += 1
        if beside is not None:
            self._set(self._where[beside.id], place)
            return place
        # Files that are found together are together, so that one call can store events of many.
        rooms = (number for number, shard in enumerate(self._shards) if len(shard) < MOST)
        number = next(rooms, len(self._shards))
        if number == len(self._shards):
            self._shards.append({})
            self._turns.append(0)
        self._set(number, place)
        return place

    def put(self, place: Place) -> None:
        """Replace the place of that id."""
        self._set(self._where[place.id], place)

    def drop(self, place: Place) -> None:
        """Forget a place."""
        number = self._where.pop(place.id)
        del self._shards[number][place.id]
        if self._live.get(place.key) == place.id:
            del self._live[place.key]

    def shard_of(self, place: Place) -> int:
        """Return the number of the cursor that holds a place."""
        return self._where[place.id]

    def next_value(self, number: int) -> tuple[str, Any]:
        """Return the cursor ``number`` as it is to be stored next: name and value."""
        shard = self._shards[number]
        gone = sorted((place for place in shard.values() if place.gone), key=lambda one: one.gone)
        for place in gone[:-_MOST_GONE]:
            self.drop(place)
        self._turns[number] += 1
        value = [_VERSION, self._turns[number], [list(place) for place in shard.values()]]
        return self._cursor(number), value

"""`EntryMaker`: from what a caller passes to an entry of the buffer, or an error that says why."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from typing import Any

import msgpack
import msgspec

from timelog.buffer import EVENT_OVERHEAD, Entry
from timelog.errors import ExpiredError, InvalidEvent, InvalidInput, InvalidTime
from timelog.event import (
    Event,
    Limits,
    check_content,
    check_fields,
    check_id,
    check_source,
    check_tags,
)
from timelog.horizons import Keeping
from timelog.timestamp import SECOND, Time, to_us

# Pairs of source and tags that passed the checks; a program uses few of them again and again.
_MOST_KINDS = 4096
_NO_KIND = ("", ())
_MOST_CURSOR = 64 * 1024
_KEYS = frozenset({"content", "source", "tags", "timestamp", "id", "fields"})


class EntryMaker:
    """Checks events for one log. Thread-safe. ``keeping``: asked for what has expired.

    ``kinds`` are the pairs of source and tags that passed before; a look there replaces the checks.
    """

    def __init__(
        self,
        limits: Limits,
        time_ns: Callable[[], int],
        max_future: float,
        keeping: Callable[[], Keeping],
    ) -> None:
        self._limits = limits
        self._time_ns = time_ns
        self._max_future = max_future
        self._keeping = keeping
        self.kinds: dict[tuple[str, tuple[str, ...]], tuple[str, tuple[str, ...]]] = {
            _NO_KIND: _NO_KIND
        }

    def kind(self, source: object, tags: object) -> tuple[str, tuple[str, ...], int]:
        """Return source and tags as they are stored, checked, and the memory that they take.

        They are remembered for the next event, which shares them and takes none.
        """
        if isinstance(tags, list):
            tags = tuple(tags)
            try:
                return (*self.kinds[source, tags], 0)  # type: ignore[index]
            except (KeyError, TypeError):
                pass
        kind = (check_source(source, self._limits), check_tags(tags, self._limits))
        if len(self.kinds) >= _MOST_KINDS:
            # In place: the log's append looks into this very dictionary.
            self.kinds.clear()
            self.kinds[_NO_KIND] = _NO_KIND
        return (*self.kinds.setdefault(kind, kind), sum(map(sys.getsizeof, (*kind, *kind[1]))))

    def of(self, event: Event | Mapping[str, Any]) -> Entry:
        """Return the entry of an `Event`, or of a mapping with append's argument names."""
        if isinstance(event, Event):
            event = msgspec.structs.asdict(event)
        elif not isinstance(event, Mapping):
            raise InvalidEvent(
                f"append_many takes Event objects or mappings, not {type(event).__name__}"
            )
        if not _KEYS.issuperset(event):
            unknown = min(map(str, set(event) - _KEYS))
            raise InvalidEvent(f"an event has no {unknown!r}; put further values into 'fields'")
        if "content" not in event:
            raise InvalidEvent("an event needs a 'content'")
        content, size = check_content(event["content"], self._limits)
        if not content.isascii():
            size += 4 * len(content)
        source, tags = event.get("source", ""), event.get("tags", ())
        try:
            source, tags = self.kinds[source, tags]
        except (KeyError, TypeError):
            source, tags, extra = self.kind(source, tags)
            size += extra
        timestamp, id, fields = event.get("timestamp"), event.get("id"), event.get("fields")
        return self.entry(content, source, tags, timestamp, id, fields, size + EVENT_OVERHEAD)

    def entry(
        self,
        content: str,
        source: str,
        tags: tuple[str, ...],
        timestamp: Time | None,
        id: str | None,
        fields: Mapping[str, Any] | None,
        size: int,
    ) -> Entry:
        """Return the entry of an event whose content, source and tags are checked already."""
        us = None
        if timestamp is not None:
            now = self._time_ns() // 1000
            us = to_us(timestamp, now)
            if us > now + self._max_future * SECOND:
                raise InvalidTime(
                    f"{timestamp!r} is further ahead of the clock than max_future "
                    f"({self._max_future:g} seconds); check both clocks"
                )
            keeping = self._keeping()
            if us < keeping.high and keeping.is_expired(us, source, tags):
                raise ExpiredError(
                    f"{timestamp!r} is older than what the log keeps of such events; they would "
                    "be gone at once"
                )
        if id is not None:
            id = check_id(id, self._limits)
            size += len(id)
        raw: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
        if fields is not None:
            raw = check_fields(fields, self._limits)
            size += len(raw) if isinstance(raw, msgspec.Raw) else 0
        return Entry(us, id, source, tags, content, raw, size)


def pack_cursor(cursor: tuple[str, Any]) -> tuple[str, bytes]:
    """Return a cursor's name and its value packed; raises `InvalidInput`."""
    try:
        name, value = cursor
    except (TypeError, ValueError):
        raise InvalidInput(f"cursor must be a pair (name, value), not {cursor!r}") from None
    if not isinstance(name, str) or not 1 <= len(name) <= 256:
        raise InvalidInput(f"a cursor's name must be a str of 1 to 256 characters, not {name!r}")
    try:
        name.encode()
        packed: bytes = msgpack.packb(value)
        # A list as a key, for one, can be packed and never be read.
        msgpack.unpackb(packed, strict_map_key=False)
    except (TypeError, ValueError, OverflowError) as error:
        raise InvalidInput(f"the cursor {name!r} cannot be stored: {error}") from None
    if len(packed) > _MOST_CURSOR:
        raise InvalidInput(
            f"the cursor {name!r} has {len(packed)} bytes, more than the limit of {_MOST_CURSOR}"
        )
    return name, packed

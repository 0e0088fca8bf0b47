"""`import_jsonl`: JSON lines, whatever their keys are called."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import tzinfo
from typing import Any, BinaryIO, TypeAlias

import msgspec

from timelog import EventLog
from timelog.errors import InvalidInput
from timelog.exchange.intake import Found, Imported, take
from timelog.exchange.moments import moment
from timelog.exchange.source import Source, place_of

Roles: TypeAlias = Mapping[str, tuple[str, ...]]  # the keys that may hold a part, the best first

# What programs call the parts of an event.
ROLES: Roles = {
    "timestamp": ("timestamp", "time", "ts", "t", "at", "asctime", "@timestamp"),
    "level": ("level", "levelname", "severity"),
    "content": ("content", "message", "msg", "event", "body"),
    "source": ("source",),
    "tags": ("tags",),
    "id": (),
}
_NOT_JSON = (ValueError, RecursionError)
_FOREIGN = re.compile("[\udc80-\udcff]")
# No event can be larger, however it is written.
_MOST_LINE = 16 * 1024 * 1024


def import_jsonl(
    log: EventLog,
    path: str | os.PathLike[str],
    *,
    mapping: Mapping[str, str | Iterable[str]] | None = None,
    source: str = "",
    tags: Iterable[str] = (),
    zone: tzinfo | None = None,
    advance: Callable[[int], None] | None = None,
) -> Imported:
    """Append the objects of a file of JSON lines to ``log``, and sync it. ``-`` is stdin.

    Parts of the event are taken from the first of these keys that a line has:

    - timestamp: ``timestamp time ts t at asctime @timestamp`` (see `moments.moment`);
    - level, which becomes a tag, in lower case: ``level levelname severity``;
    - content: ``content message msg event body``, if it is a text;
    - ``source``; ``tags``, a list, or one text.

    All else goes into the fields. ``mapping`` gives other keys for a part, such as
    ``{"content": "text", "id": "uid"}``; ``id`` has none of its own. A line without a content has
    its own text for one. A line that timelog wrote comes back as it was, with its id. ``source``
    and ``tags``: for all events; a source of the line's own comes first, tags are added. ``zone``:
    of times that name none; None is the machine's own. A line without a time takes that of the line
    before it, at the beginning of a file the present.

    Lines that are no JSON objects are skipped and reported by byte. Cut off, the next call for the
    same file goes on behind the last event that was stored, and lines that were added since are
    imported; a pipe is read as it comes. ``advance``: called with the bytes that were read.

    Raises `InvalidInput` for a mapping of an unknown part, and for a file that has changed before
    the place where its import stopped; `StorageError`; and what `EventLog.append_many` does.
    """
    roles = _roles(mapping or {})
    report = Imported()
    file = Source(path)
    file.check_outside(log.path)
    name = file.cursor_name("jsonl")
    place = place_of(None if name is None else log.cursor(name), 1)
    start, last = 0, None
    if place is not None:
        file.check(place)
        report.resumed = True
        start, last = place.offset, place.state[0]
    reader = _Reader(file, roles, source, tuple(tags), zone, last, report)
    take(log, name, reader.found(start, advance or _ignore), report)
    return report


class _Own(msgspec.Struct, forbid_unknown_fields=True):
    """A line that timelog wrote: these keys, these types, and no other key."""

    timestamp: str
    id: str
    source: str
    tags: list[str]
    content: str
    fields: dict[str, Any] = {}


class _Reader:
    """Reads one file; ``last`` is the time of the line before."""

    def __init__(
        self,
        file: Source,
        roles: Roles,
        source: str,
        tags: tuple[str, ...],
        zone: tzinfo | None,
        last: int | None,
        report: Imported,
    ) -> None:
        self._file = file
        self._roles = roles
        self._source = source
        self._tags = tags
        self._zone = zone
        self._last = last
        self._report = report

    def found(self, start: int, advance: Callable[[int], None]) -> Iterator[Found]:
        """Yield the events from byte ``start`` on."""
        with self._file.opened(start) as raw:
            for line, size in _lines(raw):
                end = start + size
                if line is None:
                    self._report.skip(self._file, start, f"the line has over {_MOST_LINE} bytes")
                elif not line.isspace():
                    event = self._event(line, start)
                    if event is not None:
                        yield Found(event, self._file, start, end, (self._last,))
                advance(size)
                start = end

    def _event(self, line: bytes, offset: int) -> dict[str, Any] | None:
        """The event of a line, or None where it is noted as skipped."""
        try:
            values = _decoded(line)
        except _NOT_JSON as error:
            torn = "" if line.endswith(b"\n") else "the last line is torn: "
            self._report.skip(self._file, offset, f"{torn}no JSON: {error}")
            return None
        if not isinstance(values, dict):
            self._report.skip(self._file, offset, "the line is no JSON object")
            return None
        own = _own(values)
        if own is not None:
            return self._report.event(
                own.content,
                source=own.source,
                tags=(*own.tags, *self._tags),
                us=self._time(values),
                id=own.id,
                fields=own.fields,
            )
        us = self._time(values)
        level = self._part(values, "level", (str, int, float))
        content = self._part(values, "content", (str,))
        source = self._part(values, "source", (str, int))
        named = self._part(values, "tags", (str, list))
        id = self._part(values, "id", (str, int))
        tags = [str(level).lower()] if level not in (None, "") else []
        tags += [named] if isinstance(named, str) else map(str, named or ())
        return self._report.event(
            line.decode("utf-8", "backslashreplace").strip() if content is None else content,
            source=self._source if source in (None, "") else str(source),
            tags=dict.fromkeys([*tags, *self._tags]),
            us=us,
            id=None if id is None else str(id),
            fields=values,
        )

    def _part(self, values: dict[str, Any], role: str, kinds: tuple[type, ...]) -> Any:
        """Take a part out of ``values``, where it is one of ``kinds``; else None."""
        for key in self._roles[role]:
            if type(values.get(key)) in kinds:
                return values.pop(key)
        return None

    def _time(self, values: dict[str, Any]) -> int | None:
        """Take the time out of ``values``; without one it is that of the line before."""
        for key in self._roles["timestamp"]:
            us = moment(values.get(key), self._zone)
            if us is not None:
                del values[key]
                self._last = us
                return us
        self._report.without_time += self._last is not None
        return self._last


def _lines(file: BinaryIO) -> Iterator[tuple[bytes | None, int]]:
    """Yield lines and their size; None for one that is too long, which is not held."""
    while line := file.readline(_MOST_LINE):
        size = len(line)
        if size < _MOST_LINE or line.endswith(b"\n"):
            yield line, size
            continue
        while more := file.readline(_MOST_LINE):
            size += len(more)
            if more.endswith(b"\n"):
                break
        yield None, size


def _decoded(line: bytes) -> Any:
    """The value of a line; bytes that are not UTF-8 become ``\\xNN`` in its texts."""
    try:
        return msgspec.json.decode(line)
    except _NOT_JSON:
        # What only Python takes for JSON: NaN, lone surrogates. And a mark of UTF-8.
        text = line.decode("utf-8", "surrogateescape").removeprefix("\ufeff")
        escaped = _FOREIGN.sub(lambda match: f"\\\\x{ord(match[0]) - 0xDC00:02x}", text)
        return json.loads(escaped)


def _own(values: dict[str, Any]) -> _Own | None:
    if "content" not in values or "id" not in values:
        return None
    try:
        return msgspec.convert(values, _Own)
    except msgspec.ValidationError:
        return None


def _roles(mapping: Mapping[str, str | Iterable[str]]) -> Roles:
    roles = dict(ROLES)
    for role, keys in mapping.items():
        if role not in ROLES:
            raise InvalidInput(f"{role!r} is no part of an event; parts are {', '.join(ROLES)}")
        roles[role] = (keys,) if isinstance(keys, str) else tuple(keys)
    return roles


def _ignore(size: int) -> None:
    pass

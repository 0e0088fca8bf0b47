"""`import_journald`: the journal export format of systemd, as ``journalctl -o export`` writes it.

Entries end with an empty line. A field is ``NAME=value`` and a newline, or, where the value is not
plain text, ``NAME``, a newline, the value's size in eight bytes (little endian), the value, and a
newline. See https://systemd.io/JOURNAL_EXPORT_FORMATS/.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Iterator
from typing import Any, BinaryIO

from timelog import EventLog
from timelog.exchange.intake import Found, Imported, take
from timelog.exchange.source import Source, place_of

_TIME = "__REALTIME_TIMESTAMP"
_SOURCES = ("SYSLOG_IDENTIFIER", "_COMM", "_SYSTEMD_UNIT")
# As the other feeds call the levels of syslog.
_LEVELS = ("emergency", "alert", "critical", "error", "warning", "notice", "info", "debug")
_NAME = re.compile(rb"[A-Za-z_][A-Za-z0-9_]{0,63}")
# No field can fit into an event that is larger than this.
_MOST_VALUE = 16 * 1024 * 1024
_PIECE = 1024 * 1024


class _Malformed(Exception):
    """An entry cannot be read; the text says why. What follows may be."""


class _Torn(Exception):
    """The input ends in the middle of an entry."""


def import_journald(
    log: EventLog,
    path: str | os.PathLike[str],
    *,
    tags: Iterable[str] = (),
    advance: Callable[[int], None] | None = None,
) -> Imported:
    """Append the entries of a journal export to ``log``, and sync it. ``-`` is stdin.

    ``MESSAGE`` is the content, the first of ``SYSLOG_IDENTIFIER``, ``_COMM`` and ``_SYSTEMD_UNIT``
    the source, ``PRIORITY`` a tag (``error``, ``info``), ``__REALTIME_TIMESTAMP`` the timestamp.
    All other fields keep their names; those that come several times are lists. Bytes that are not
    UTF-8 become ``\\\\xNN``. ``tags``: further ones, for all events.

    Entries that are malformed are skipped and reported by byte. Cut off, the next call for the same
    file goes on behind the last event that was stored; a pipe is read as it comes. ``advance``:
    called with the bytes that were read.

    Raises `InvalidInput` for a file that has changed before the place where its import stopped;
    `StorageError`; and what `EventLog.append_many` does. Memory holds a batch of events.
    """
    report = Imported()
    file = Source(path)
    file.check_outside(log.path)
    name = file.cursor_name("journald")
    place = place_of(None if name is None else log.cursor(name), 0)
    start = 0
    if place is not None:
        file.check(place)
        report.resumed, start = True, place.offset
    take(log, name, _found(file, start, tuple(tags), report, advance or _ignore), report)
    return report


def _found(
    file: Source,
    start: int,
    tags: tuple[str, ...],
    report: Imported,
    advance: Callable[[int], None],
) -> Iterator[Found]:
    with file.opened(start) as raw:
        entries = _Entries(raw)
        while True:
            begin = start + entries.read
            try:
                fields = entries.next()
            except _Malformed as error:
                report.skip(file, begin, str(error))
            except _Torn:
                report.skip(file, begin, "the entry is torn: the input ends in the middle of it")
                return
            else:
                if fields is None:
                    return
                if fields:
                    event = _event(fields, tags, report)
                    yield Found(event, file, begin, start + entries.read)
            advance(start + entries.read - begin)


class _Entries:
    """Reads entries one after the other; ``read`` counts the bytes."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.read = 0

    def next(self) -> dict[str, list[bytes]] | None:
        """Return the fields of the next entry, none for an empty line too many; None at the end.

        Raises `_Malformed`, and is then behind the entry, and `_Torn`.
        """
        fields: dict[str, list[bytes]] = {}
        wrong = ""
        while True:
            line = self._line()
            if not line:
                # The last entry needs no empty line behind it.
                if wrong:
                    raise _Malformed(wrong)
                return fields or None
            if line == b"\n":
                if wrong:
                    raise _Malformed(wrong)
                return fields
            name, equals, value = line.rstrip(b"\n").partition(b"=")
            if not line.endswith(b"\n"):
                raise _Torn
            if not _NAME.fullmatch(name):
                wrong = wrong or "a line of the entry is no field"
                continue
            if not equals:
                size = int.from_bytes(self._bytes(8), "little")
                if size > _MOST_VALUE:
                    wrong = wrong or f"{name.decode()} would have {size} bytes"
                    self._skip(size)
                else:
                    value = self._bytes(size)
                if self._bytes(1) != b"\n":
                    wrong = wrong or f"{name.decode()} does not end where its size says"
                    continue
            fields.setdefault(name.decode(), []).append(value)

    def _line(self) -> bytes:
        line = self._file.readline(_MOST_VALUE)
        self.read += len(line)
        return line

    def _bytes(self, size: int) -> bytes:
        data = self._file.read(size)
        self.read += len(data)
        if len(data) < size:
            raise _Torn
        return data

    def _skip(self, size: int) -> None:
        while size:
            size -= len(self._bytes(min(size, _PIECE)))


def _event(
    entry: dict[str, list[bytes]], tags: tuple[str, ...], report: Imported
) -> dict[str, Any]:
    fields: dict[str, Any] = {}
    for name, values in entry.items():
        texts = [value.decode("utf-8", "backslashreplace") for value in values]
        fields[name] = texts[0] if len(texts) == 1 else texts
    us = fields.get(_TIME)
    priority = fields.get("PRIORITY")
    level: tuple[str, ...] = ()
    if isinstance(us, str) and us.isascii() and us.isdigit() and len(us) < 18:
        del fields[_TIME]
    else:
        us = None
    if priority in tuple("01234567"):
        level = (_LEVELS[int(fields.pop("PRIORITY"))],)
    content = fields.pop("MESSAGE") if isinstance(fields.get("MESSAGE"), str) else ""
    source = ""
    for name in _SOURCES:
        if isinstance(fields.get(name), str):
            source = fields.pop(name)
            break
    return report.event(
        content,
        source=source,
        tags=(*level, *tags),
        us=None if us is None else int(us),
        fields=fields,
    )


def _ignore(size: int) -> None:
    pass

"""`import_theia`: the data directory of a theia event store (`theia.naivestore`, 0.9).

Each file is named ``<first second>-<last second>`` and holds events, one after the other, in order
of arrival::

    event: <bytes of header and content> <bytes of header> <bytes of content>
    id:<text>
    timestamp: <Unix seconds, seven digits behind the point>
    source:<text>
    tags:<text>,<text>
    <content>
    <blank>

Its own reader stops at the first event that is torn, and at a source with a newline; here the sizes
count, and behind what cannot be read the next event is looked for. Files may overlap, and an event
may be in the file of another minute: neither matters here.
"""

from __future__ import annotations

import os
import re
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple

from timelog import EventLog
from timelog.errors import InvalidInput, storage_error
from timelog.exchange.intake import Found, Imported, take
from timelog.exchange.source import Place, Source, cursor_name, place_of
from timelog.timestamp import END, FIRST, SECOND

_NAME = re.compile(r"(-?\d{1,15})-(-?\d{1,15})")
_PREAMBLE = re.compile(rb"event: (\d{1,18}) (\d{1,18}) (\d{1,18})\n")
_HEADER = re.compile(
    rb"id:(.*?)\ntimestamp: ?(-?\d{1,15}(?:\.\d{1,30})?)\nsource:(.*?)\ntags:(.*)\n", re.DOTALL
)
_MOST_PREAMBLE = 80
# No event of theia is larger that it could have sent or held.
_MOST_EVENT = 64 * 1024 * 1024
_PIECE = 1024 * 1024


class _Torn(Exception):
    """An event cannot be read; the text says why."""


class _Read(NamedTuple):
    id: str
    us: int
    source: str
    tags: tuple[str, ...]
    content: str
    end: int


def import_theia(
    log: EventLog,
    directory: str | os.PathLike[str],
    *,
    advance: Callable[[int], None] | None = None,
) -> Imported:
    """Append every event of the theia data directory ``directory`` to ``log``, and sync it.

    Ids, times, sources, tags and contents stay as they are; a tag with a comma theia has split
    itself. Events that are torn or malformed are skipped and reported by file and byte; files with
    other names are left alone and reported. Cut off, the next call goes on behind the last event
    that was stored. theia should not be writing meanwhile: it writes its files anew, and a file
    that changed before the place where an import stopped is refused.

    ``advance``: called with the bytes that were read, again and again. Raises `InvalidInput` for
    such a file, and for what is no directory; `StorageError`; and what `EventLog.append_many` does.
    Memory holds a batch of events; of the directory, the names.
    """
    root = Path(directory)
    if not root.is_dir():
        raise InvalidInput(f"{root} is not a directory; name theia's data directory")
    report = Imported()
    name = cursor_name("theia", root)
    place = place_of(log.cursor(name), 1)
    report.resumed = place is not None
    take(log, name, _found(root, place, report, advance or _ignore), report)
    return report


def _found(
    root: Path, place: Place | None, report: Imported, advance: Callable[[int], None]
) -> Iterator[Found]:
    before = 0
    for name in _data_files(root, report):
        source = Source(root / name)
        offset = 0
        if place is not None and name == place.name:
            if before != place.state[0]:
                break
            source.check(place)
            offset, place = place.offset, None
        size = source.size()
        if place is None:
            with source.opened() as file:
                yield from _events(file, size, source, offset, before, report, advance)
        # Another size, or another file among them, is another number.
        before = zlib.crc32(f"{name} {size}\n".encode(), before)
    if place is not None:
        raise InvalidInput(
            f"files of {root} that were imported up to {place.name} have been added, removed or "
            "changed since; import what is new from a directory of its own"
        )


def _data_files(root: Path, report: Imported) -> list[str]:
    """The names of data files in order of time; others are noted."""
    found: list[tuple[int, int, str]] = []
    try:
        entries = sorted((entry.name, entry.is_file()) for entry in os.scandir(root))
    except OSError as error:
        raise storage_error(f"reading {root}", error) from error
    for name, is_file in entries:
        match = _NAME.fullmatch(name)
        if match and is_file:
            found.append((int(match[1]), int(match[2]), name))
        else:
            report.left_alone.append(os.fsencode(name).decode("utf-8", "backslashreplace"))
    return [name for _, _, name in sorted(found)]


def _events(
    file: BinaryIO,
    size: int,
    source: Source,
    offset: int,
    before: int,
    report: Imported,
    advance: Callable[[int], None],
) -> Iterator[Found]:
    """Yield the events of one file from ``offset`` on."""
    while offset < size:
        try:
            read = _read_event(file, offset, size)
        except _Torn as torn:
            behind = _next_event(file, offset + 1, size)
            report.skip(source, offset, f"{torn}; {behind - offset} bytes")
            advance(behind - offset)
            offset = behind
            continue
        if read is not None:
            event = report.event(
                read.content, source=read.source, tags=read.tags, us=read.us, id=read.id
            )
            yield Found(event, source, offset, read.end, (before,))
        end = offset + 1 if read is None else read.end
        advance(end - offset)
        offset = end


def _read_event(file: BinaryIO, offset: int, size: int) -> _Read | None:
    """Read the event at ``offset``; None where there is only a newline. Raises `_Torn`."""
    file.seek(offset)
    line = file.readline(_MOST_PREAMBLE)
    if line == b"\n":
        return None
    match = _PREAMBLE.fullmatch(line)
    if match is None:
        raise _Torn("no event begins here")
    total, header_size, content_size = map(int, match.groups())
    if total != header_size + content_size:
        raise _Torn("the sizes of the event contradict each other")
    start = offset + len(line)
    if total > _MOST_EVENT:
        raise _Torn(f"the event would have {total} bytes")
    if start + total > size:
        raise _Torn("the event is torn: the file ends before it")
    body = file.read(total)
    # The newline behind an event; at the end of the file alone it may be missing.
    if file.read(1) not in (b"\n", b""):
        raise _Torn("the event does not end where its sizes say")
    header = _HEADER.fullmatch(body[:header_size])
    if header is None:
        raise _Torn("the header of the event cannot be read")
    id, moment, origin, tags = header.groups()
    us = _microseconds(moment)
    if not FIRST <= us < END:
        raise _Torn(f"the time {moment.decode()} is outside the years 1 to 9999")
    return _Read(
        _text(id),
        us,
        _text(origin),
        tuple(tag for tag in _text(tags).split(",") if tag),
        _text(body[header_size:]),
        start + total + 1,
    )


def _next_event(file: BinaryIO, offset: int, size: int) -> int:
    """Where the next event begins that can be read, or the end."""
    at, held = offset, b""
    file.seek(at)
    while piece := file.read(_PIECE):
        text = held + piece
        base = at - len(held)
        found = -1
        while (found := text.find(b"\nevent: ", found + 1)) >= 0:
            candidate = base + found + 1
            try:
                if _read_event(file, candidate, size) is not None:
                    return candidate
            except _Torn:
                continue
        at += len(piece)
        held = text[-len(b"\nevent:") :]
        file.seek(at)
    return size


def _microseconds(text: bytes) -> int:
    """Unix seconds as microseconds, exactly, and rounded to the nearest."""
    whole, _, fraction = text.decode().lstrip("-").partition(".")
    us = int(whole) * SECOND + (int(fraction[:7].ljust(7, "0")) + 5) // 10
    return -us if text.startswith(b"-") else us


def _text(data: bytes) -> str:
    return data.decode("utf-8", "backslashreplace")


def _ignore(size: int) -> None:
    pass

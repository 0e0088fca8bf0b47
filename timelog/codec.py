"""Events as lines of text: JSON Lines with a fixed order of keys.

A line is one JSON object (RFC 8259) in UTF-8, ended by one newline, with the keys ``timestamp``,
``id``, ``source``, ``tags``, ``content`` and, only where not empty, ``fields``. Control characters
are escaped, so no content can end a line or begin another. Encoding and decoding work on whole
batches, in C; both are pure and thread-safe.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import msgspec

from timelog.event import Event
from timelog.timestamp import from_datetime, to_text


class Line(msgspec.Struct, gc=False, omit_defaults=True):
    """An event as it is held in memory until it is encoded: the time is the final text."""

    timestamp: str
    id: str
    source: str
    tags: tuple[str, ...]
    content: str
    fields: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET


class _Content(msgspec.Struct, gc=False):
    """A line of which only the content is wanted; the rest has to be there all the same."""

    timestamp: msgspec.Raw
    id: msgspec.Raw
    source: msgspec.Raw
    tags: msgspec.Raw
    content: str


_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(Event)
_line_decoder = msgspec.json.Decoder(Line)
_content_decoder = msgspec.json.Decoder(_Content)
_fields_decoder = msgspec.json.Decoder(dict[str, Any])
_timestamp_decoder = msgspec.json.Decoder(datetime)

DecodeError = msgspec.DecodeError
# What decoding raises for bytes that are no events; the last where JSON is nested too deep.
NOT_EVENTS = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


def encode_lines(lines: Sequence[Line]) -> bytes:
    """Return the text of a batch, each line ended by a newline."""
    return _encoder.encode_lines(lines)


def decode_lines(text: bytes | memoryview) -> list[Event]:
    """Return the events of whole lines; raises `DecodeError` where one is not an event."""
    return _decoder.decode_lines(text)


def parse_lines(text: bytes | memoryview) -> list[Line]:
    """Return whole lines as they were held before they were encoded; raises `DecodeError`.

    Looks less closely than `decode_lines`: any text passes for a time, anything for fields.
    """
    return _line_decoder.decode_lines(text)


def decode_contents(text: bytes | memoryview) -> list[str]:
    """Return only the contents of whole lines; raises `DecodeError` where one lacks a key."""
    return [line.content for line in _content_decoder.decode_lines(text)]


def decode_line(text: bytes) -> Event:
    """Return the event of one line; raises `DecodeError` where it is not an event."""
    return _decoder.decode(text)


def to_event(line: Line) -> Event:
    """Return the event that ``line`` will be read back as."""
    timestamp = _timestamp_decoder.decode(f'"{line.timestamp}"'.encode())
    if line.fields is msgspec.UNSET:
        return Event(timestamp, line.id, line.source, line.tags, line.content)
    fields = _fields_decoder.decode(bytes(line.fields))
    return Event(timestamp, line.id, line.source, line.tags, line.content, fields)


def to_line(event: Event) -> Line:
    """Return the line that ``event`` is to be stored as."""
    return Line(
        to_text(from_datetime(event.timestamp)),
        event.id,
        event.source,
        event.tags,
        event.content,
        msgspec.Raw(_encoder.encode(event.fields)) if event.fields else msgspec.UNSET,
    )


def json_text(text: str) -> bytes:
    """Return ``text`` as JSON writes it between the quotes: what to look for in raw lines."""
    return _encoder.encode(text)[1:-1]

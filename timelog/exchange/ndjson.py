"""`export_jsonl`: events as JSON lines (NDJSON), as they are in a segment."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec

from timelog import Event
from timelog.exchange.target import Target, written
from timelog.timestamp import from_datetime, to_text

_PIECE = 1_000


class _Line(msgspec.Struct, gc=False, omit_defaults=True):
    """The keys of a segment's line, in their order; ``fields`` only where there are any."""

    timestamp: str
    id: str
    source: str
    tags: tuple[str, ...]
    content: str
    fields: dict[str, Any] = {}


_encoder = msgspec.json.Encoder()


def json_line(event: Event) -> bytes:
    """Return the line that the event is in its segment, with its newline."""
    return _encoder.encode(_line(event)) + b"\n"


def export_jsonl(events: Iterable[Event], target: Target, *, overwrite: bool = False) -> int:
    """Write ``events`` to ``target``, one JSON object a line; return how many there were.

    ``target``: a path, see `target.written`, or a binary file. The lines are those of the log's own
    segments: `import_jsonl` makes equal events of them, with the same ids. Raises `InvalidInput`,
    `StorageError`, and what reading the events does. Memory holds some thousand events.
    """
    count = 0
    lines: list[_Line] = []
    with written(target, overwrite) as file:
        for event in events:
            lines.append(_line(event))
            if len(lines) == _PIECE:
                file.write(_encoder.encode_lines(lines))
                count += len(lines)
                lines.clear()
        file.write(_encoder.encode_lines(lines))
        return count + len(lines)


def _line(event: Event) -> _Line:
    time = to_text(from_datetime(event.timestamp))
    return _Line(time, event.id, event.source, event.tags, event.content, event.fields)

"""`export_csv`: events as a table that spreadsheets and other programs read."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable

import msgspec

from timelog import Event
from timelog.exchange.target import Target, written
from timelog.timestamp import from_datetime, to_text

COLUMNS = ("timestamp", "id", "source", "tags", "content", "fields")
# What makes a spreadsheet take a cell for a formula and run it.
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")


def export_csv(
    events: Iterable[Event], target: Target, *, overwrite: bool = False, exact: bool = False
) -> int:
    """Write ``events`` to ``target`` as CSV with a line of names; return how many there were.

    RFC 4180 in UTF-8: commas, double quotes where needed, CR LF. ``tags`` and ``fields`` are JSON,
    ``fields`` empty where there are none. Anybody may have written what is in a log, and a
    spreadsheet runs what begins as a formula: a source, id or content that does has an apostrophe
    before it, unless ``exact``. ``target``: a path, see `target.written`, or a binary file.

    Raises `InvalidInput`, `StorageError`, and what reading the events does.
    """
    safe = _exact if exact else _safe
    count = 0
    with written(target, overwrite) as file:
        text = io.TextIOWrapper(file, "utf-8", newline="", write_through=False)
        try:
            rows = csv.writer(text)
            rows.writerow(COLUMNS)
            for event in events:
                rows.writerow(
                    (
                        to_text(from_datetime(event.timestamp)),
                        safe(event.id),
                        safe(event.source),
                        msgspec.json.encode(event.tags).decode(),
                        safe(event.content),
                        msgspec.json.encode(event.fields).decode() if event.fields else "",
                    )
                )
                count += 1
        finally:
            text.detach()
    return count


def _exact(text: str) -> str:
    return text


def _safe(text: str) -> str:
    return f"'{text}" if text.startswith(_FORMULA) else text

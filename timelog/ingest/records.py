"""Records of several lines: which line begins one."""

from __future__ import annotations

import re
from collections.abc import Callable

from timelog.errors import InvalidInput
from timelog.ingest.stamps import LineTimes

INDENT = "indent"
TIME = "time"


def make_start(
    how: str | None,
) -> Callable[[str, LineTimes | None], object] | None:
    """Return what tells whether a line begins a record; None where each line is one.

    ``how``: ``"indent"`` (a line that begins with a blank or a tab goes on with the one before),
    ``"time"`` (a line with a time begins one; in a file without times each line does), or a regular
    expression that is found in each record's first line. Raises `InvalidInput`.
    """
    if how is None:
        return None
    if how == INDENT:
        return lambda line, times: line[:1] not in (" ", "\t")
    if how == TIME:
        return lambda line, times: times is None or times.find(line) is not None
    try:
        find = re.compile(how).search
    except re.error as error:
        raise InvalidInput(f"the start pattern {how!r} is no regular expression: {error}") from None
    return lambda line, times: find(line)


def join(lines: list[str], starts: list[int], end: int, limit: int) -> list[str]:
    """Return the records of ``lines[:end]`` that begin at the numbers ``starts``.

    One of more than ``limit`` bytes becomes several, divided between lines.
    """
    if end == len(starts):
        return lines[:end]
    records = []
    for first, last in zip(starts, [*starts[1:], end], strict=True):
        record = "\n".join(lines[first:last])
        if len(record) * 4 > limit and len(record.encode()) > limit:
            records += _divide(lines[first:last], limit)
        else:
            records.append(record)
    return records


def _divide(lines: list[str], limit: int) -> list[str]:
    parts: list[str] = []
    held: list[str] = []
    size = 0
    for line in lines:
        length = len(line.encode()) + 1
        if held and size + length > limit:
            parts.append("\n".join(held))
            held, size = [], 0
        held.append(line)
        size += length
    return [*parts, "\n".join(held)]

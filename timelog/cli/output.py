"""How an event is written for a reader: the formats of ``-o``, and colour."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import TypeAlias, TypeVar

import msgspec

from timelog import Event
from timelog.cli.escape import escape, escape_json, escape_lines
from timelog.exchange import ndjson
from timelog.timestamp import EPOCH
from timelog.zones import MONTHS, Zone, in_zone

Format: TypeAlias = Callable[[Event], str]  # an event as text, with its newline at the end
_T = TypeVar("_T")
_SECOND = timedelta(seconds=1)

NAMES = ("short", "short-iso", "json", "json-pretty", "cat", "verbose")

_RESET, _TIME, _SOURCE, _TAGS, _MATCH = "\x1b[0m", "\x1b[32m", "\x1b[36m", "\x1b[33m", "\x1b[1;31m"


_encode = msgspec.json.Encoder().encode


def make_format(
    name: str,
    *,
    zone: Zone = None,
    terminal: bool = False,
    color: bool = False,
    pattern: re.Pattern[str] | None = None,
) -> Format:
    """Return the function that turns an event into text.

    ``name``: one of `NAMES`. ``zone``: for times that are shown; None is the machine's own.
    ``terminal``: whether a terminal will show it, which ``cat`` and ``json`` are escaped for;
    the other formats always are. ``color``: mark the parts, and what ``pattern`` matches.
    """
    if name == "json":
        return _terminal_json if terminal else json_line
    if name == "json-pretty":
        return lambda event: _pretty_json(event, terminal)
    if name == "cat":
        return lambda event: (escape_lines(event.content) if terminal else event.content) + "\n"
    if name == "verbose":
        return _verbose(zone, color)
    stamp = _short_iso(zone) if name == "short-iso" else _short_time(zone)
    return _colored(stamp, pattern) if color else _plain(stamp)


def iso(moment: datetime, zone: Zone) -> str:
    """Return ``2026-11-21T10:15:03.123456+01:00``: a time in ``zone``, with its offset."""
    return in_zone(moment, zone).isoformat(timespec="microseconds")


def utc(moment: datetime) -> str:
    """Return the 27 characters that a segment has for a time: ``2026-11-21T10:15:03.123456Z``."""
    return moment.isoformat(timespec="microseconds")[:26] + "Z"


def json_line(event: Event) -> str:
    """Return the line that the event is in its segment."""
    return ndjson.json_line(event).decode()


def _terminal_json(event: Event) -> str:
    return escape_json(json_line(event)[:-1]) + "\n"


def _pretty_json(event: Event, terminal: bool) -> str:
    pretty = msgspec.json.format(json_line(event)[:-1], indent=2)
    # Newlines are the layout here; inside of texts JSON has escaped them.
    return ("\n".join(map(escape_json, pretty.split("\n"))) if terminal else pretty) + "\n"


def _plain(stamp: Callable[[datetime], str]) -> Format:
    label = _labels("", "", "")

    def line(event: Event) -> str:
        return f"{stamp(event.timestamp)} {label(event)}: {escape(event.content)}\n"

    return line


def _colored(stamp: Callable[[datetime], str], pattern: re.Pattern[str] | None) -> Format:
    label = _labels(_SOURCE, _TAGS, _RESET)

    def line(event: Event) -> str:
        content = escape(event.content) if pattern is None else _mark(event.content, pattern)
        return f"{_TIME}{stamp(event.timestamp)}{_RESET} {label(event)}: {content}\n"

    return line


def _labels(source_on: str, tags_on: str, off: str) -> Callable[[Event], str]:
    """Return what writes ``source[tags]``; of the few different ones there are, each once."""

    @functools.lru_cache(4096)
    def label(source: str, tags: tuple[str, ...]) -> str:
        shown = f"{source_on}{escape(source) or '-'}{off}"
        return f"{shown}{tags_on}[{escape(','.join(tags))}]{off}" if tags else shown

    return lambda event: label(event.source, event.tags)


def _mark(content: str, pattern: re.Pattern[str]) -> str:
    """Escape ``content`` piece by piece, with each match in the colour of matches."""
    parts, at = [], 0
    for match in pattern.finditer(content):
        if match[0]:
            parts += [escape(content[at : match.start()]), _MATCH, escape(match[0]), _RESET]
            at = match.end()
    return "".join(parts) + escape(content[at:])


def _verbose(zone: Zone, color: bool) -> Format:
    """Everything an event holds, one value a line; lines of the content are indented."""
    on, off = (_SOURCE, _RESET) if color else ("", "")

    def lines(event: Event) -> str:
        shown = [
            ("source", escape(event.source)),
            ("tags", escape(", ".join(event.tags))),
            ("content", escape_lines(event.content).replace("\n", "\n      ")),
        ]
        shown += [
            (f"fields.{escape(key)}", escape(_encode(value).decode()))
            for key, value in event.fields.items()
        ]
        time = (
            f"{_TIME}{iso(event.timestamp, zone)}{_RESET}" if color else iso(event.timestamp, zone)
        )
        body = "".join(f"  {on}{name}{off}: {value}\n" for name, value in shown)
        return f"{time} {escape(event.id)}\n{body}"

    return lines


def _short_iso(zone: Zone) -> Callable[[datetime], str]:
    def around_fraction(second: datetime) -> tuple[str, str]:
        whole = iso(second, zone)
        return whole[:19], whole[26:]

    parts = _per_second(around_fraction)

    def text(moment: datetime) -> str:
        head, offset = parts(moment)
        return f"{head}.{moment.microsecond:06}{offset}"

    return text


def _short_time(zone: Zone) -> Callable[[datetime], str]:
    def text(second: datetime) -> str:
        local = in_zone(second, zone)
        # Not strftime, whose month depends on the locale: what is shown must be accepted back.
        return f"{MONTHS[local.month - 1]} {local.day:02} {local:%H:%M:%S}"

    return _per_second(text)


def _per_second(answer_of: Callable[[datetime], _T]) -> Callable[[datetime], _T]:
    """Remember the last answer: events come in order, many in one second."""
    begin = end = EPOCH
    answer: _T

    def remembered(moment: datetime) -> _T:
        nonlocal begin, end, answer
        if not begin <= moment < end:
            begin = moment.replace(microsecond=0)
            end = begin + _SECOND
            answer = answer_of(begin)
        return answer

    return remembered

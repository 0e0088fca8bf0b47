"""Times: what callers may pass, and the one integer and one text they become.

Inside the library a time is an ``int``: microseconds since 1970-01-01T00:00:00Z. In a segment it
is a text of 27 characters (RFC 3339 in UTC, always six fraction digits), so that text sorts as
time does. All functions are pure and thread-safe.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import TypeAlias

from timelog.errors import InvalidTime

Time: TypeAlias = datetime | int | float | str

MICROSECOND = timedelta(microseconds=1)
SECOND = 1_000_000
MINUTE = 60 * SECOND
HOUR = 60 * MINUTE
DAY = 24 * HOUR
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
FIRST = (datetime(1, 1, 1, tzinfo=UTC) - EPOCH) // MICROSECOND
# Exclusive. The last day of year 9999 is left out: the end of its spans has no four-digit year.
END = (datetime(9999, 12, 31, tzinfo=UTC) - EPOCH) // MICROSECOND

# What a duration may be written in, and its microseconds.
UNITS = {
    "us": 1,
    "ms": 1000,
    "s": SECOND,
    "sec": SECOND,
    "second": SECOND,
    "m": MINUTE,
    "min": MINUTE,
    "minute": MINUTE,
    "h": HOUR,
    "hour": HOUR,
    "d": DAY,
    "day": DAY,
    "w": 7 * DAY,
    "week": 7 * DAY,
}
_PART = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([a-z]+)")
_RFC3339 = re.compile(
    r"(\d{4}-\d\d-\d\d)[Tt ](\d\d:\d\d(?::\d\d)?)(?:\.(\d+))?\s?([Zz]|[+-]\d\d:?\d\d)", re.ASCII
)


def to_us(value: Time, now_us: int) -> int:
    """Turn a caller's time into microseconds since 1970 (UTC).

    ``value``: an aware ``datetime``, Unix seconds (``int`` or ``float``, rounded to the nearest
    microsecond), RFC 3339 text with a zone, ``"now"``, or text relative to ``now_us`` such as
    ``"-1h30m"``. Raises `InvalidTime` for anything else, for a ``datetime`` or a text without a
    zone, for NaN and infinity, and outside the years 1 to 9999.
    """
    if isinstance(value, datetime):
        if value.tzinfo is not UTC and value.utcoffset() is None:
            raise InvalidTime(
                f"the datetime {value!r} has no time zone; make it aware, "
                "for example with .astimezone() or tzinfo=datetime.UTC"
            )
        return _in_range((value - EPOCH) // MICROSECOND, value)
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise InvalidTime(
            f"a time must be an aware datetime, Unix seconds or text, not {type(value).__name__}"
        )
    if isinstance(value, str):
        return _from_text(value, now_us)
    if isinstance(value, float) and not math.isfinite(value):
        raise InvalidTime(f"a time must be a finite number of seconds, not {value!r}")
    if not FIRST <= value * SECOND < END:
        raise InvalidTime(
            f"{value!r} seconds is outside the years 1 to 9999; Unix times are in seconds, "
            "divide milliseconds by 1,000"
        )
    if isinstance(value, int):
        return value * SECOND
    # Apart, since a product of the whole would lose digits far from 1970.
    fraction, whole = math.modf(value)
    return _in_range(int(whole) * SECOND + round(fraction * SECOND), value)


def parse_relative(text: str, units: Mapping[str, int] = UNITS) -> int:
    """Return the signed microseconds of text like ``"-1h30m"``, ``"+2 days"`` or ``"90s"``.

    Units: us, ms, s, m, h, d, w and their English names, unless others are given in lower case;
    each also with an ``s`` behind it. Raises `InvalidTime`.
    """
    body = text.strip().lower()
    sign = -1 if body.startswith("-") else 1
    body = body[1:] if body[:1] in ("-", "+") else body
    total, at = 0.0, 0
    while match := _PART.match(body, at):
        unit = units.get(match[2]) or units.get(match[2].removesuffix("s"))
        if unit is None:
            break
        total += float(match[1]) * unit
        at = match.end()
    if not at or body[at:].strip() or not math.isfinite(total):
        raise InvalidTime(f"{text!r} is not a duration; write it like -1h, -1h30m, -2w or -90s")
    return sign * round(total)


def to_text(us: int) -> str:
    """Return the 27 characters that a segment holds: ``2026-11-21T10:15:03.123456Z``."""
    return to_datetime(us).isoformat(timespec="microseconds")[:26] + "Z"


def to_datetime(us: int) -> datetime:
    """Return the aware UTC ``datetime`` of ``us``."""
    return EPOCH + timedelta(microseconds=us)


def from_datetime(value: datetime) -> int:
    """Return the microseconds of an aware ``datetime``."""
    return (value - EPOCH) // MICROSECOND


def from_text(text: str) -> int:
    """Return the microseconds of a text that `to_text` made."""
    return (datetime.fromisoformat(text) - EPOCH) // MICROSECOND


def _from_text(text: str, now_us: int) -> int:
    body = text.strip()
    if body == "now":
        return _in_range(now_us, text)
    if body[:1] in ("-", "+"):
        return _in_range(now_us + parse_relative(body), text)
    match = _RFC3339.fullmatch(body)
    if not match:
        raise InvalidTime(
            f"{text!r} is not a time with a zone; write it like 2026-11-21T10:15:00Z, "
            "2026-11-21T10:15:00+01:00, -1h or now"
        )
    date, clock, fraction, zone = match.groups()
    try:
        moment = datetime.fromisoformat(f"{date}T{clock}{zone.upper()}")
    except ValueError as error:
        raise InvalidTime(f"{text!r} is not a time: {error}") from None
    # Digits past the sixth are rounded here, before anything chooses a span.
    micros = round(float(f"0.{fraction or 0}") * SECOND)
    return _in_range((moment - EPOCH) // MICROSECOND + micros, text)


def _in_range(us: int, value: object) -> int:
    if not FIRST <= us < END:
        raise InvalidTime(f"{value!r} is outside the years 1 to 9999")
    return us

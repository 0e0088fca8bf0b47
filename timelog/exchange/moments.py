"""`moment`: the times that programs write into JSON."""

from __future__ import annotations

import math
import re
from datetime import datetime, tzinfo
from typing import Any

from timelog.timestamp import END, EPOCH, FIRST, MICROSECOND, SECOND

_NUMBER = re.compile(r"[+-]?\d{1,30}(?:\.\d{1,30})?", re.ASCII)


def moment(value: Any, zone: tzinfo | None) -> int | None:
    """Return the microseconds since 1970 that ``value`` means; None for what is no time.

    Numbers, and texts of them, are Unix time in seconds, milliseconds, microseconds or nanoseconds,
    whichever is between the years 1973 and 5138. Other texts are ISO 8601 as `datetime` reads it,
    with a point or a comma; without a zone they are in ``zone``, None being the machine's own.
    """
    us: int | None = None
    if isinstance(value, str):
        text = value.strip()
        if _NUMBER.fullmatch(text):
            us = _unix(float(text) if "." in text else int(text))
        else:
            us = _iso(text, zone)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        us = _unix(value)
    return us if us is not None and FIRST <= us < END else None


def _unix(number: int | float) -> int | None:
    if not math.isfinite(number):
        return None
    # As seconds, each of these would be past the year 5000.
    size = abs(number)
    if size >= 10**17:
        return round(number) // 1000
    if size >= 10**14:
        return round(number)
    if size >= 10**11:
        return round(number * 1000)
    if isinstance(number, int):
        return number * SECOND
    # Apart, since a product of the whole would lose digits.
    fraction, whole = math.modf(number)
    return int(whole) * SECOND + round(fraction * SECOND)


def _iso(text: str, zone: tzinfo | None) -> int | None:
    try:
        read = datetime.fromisoformat(text)
        if read.tzinfo is None:
            read = read.astimezone() if zone is None else read.replace(tzinfo=zone)
        return (read - EPOCH) // MICROSECOND
    except (ValueError, OverflowError, OSError):
        return None

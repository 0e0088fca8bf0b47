"""Time zones by their names, and moments that come without a zone or a year.

Where a clock is put back, an hour happens twice: the first is meant (``fold=0``). Where it is put
forward, an hour does not happen: the offset from before the change counts. All functions are pure,
but for the machine's own zone.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from typing import TypeAlias
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from timelog.errors import InvalidTime
from timelog.timestamp import SECOND, from_datetime

Zone: TypeAlias = tzinfo | None  # None: the machine's own zone

MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
OFFSET = r"[+-]\d\d(?::?\d\d(?::\d\d(?:\.\d{1,6})?)?)?"

_FIXED = re.compile(OFFSET, re.ASCII)


def find_zone(name: str) -> Zone:
    """Return the zone that ``name`` says.

    ``name``: of the zone database (``Europe/Berlin``), ``UTC``, ``Z``, an offset (``+01:00``), or
    ``local`` for the machine's own zone (returned as None). Raises `InvalidTime`.
    """
    if name.lower() == "local":
        return None
    if name.upper() in ("UTC", "Z", "GMT"):  # also where there is no zone database
        return UTC
    if _FIXED.fullmatch(name):
        return fixed_zone(name)
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        # ValueError: a path such as ../x. OSError: a directory of zones such as "Europe".
        raise InvalidTime(
            f"{name!r} is not a time zone of this machine's zone database; "
            "write it like Europe/Berlin, UTC or +01:00"
        ) from None


def fixed_zone(offset: str) -> tzinfo:
    """Return the zone of an offset such as ``+01:00`` or ``Z``. Raises `InvalidTime`."""
    if offset in ("Z", "z"):
        return UTC
    # An offset with seconds is what a zone's own name prints for times before its standard time.
    parts = offset[1:].replace(":", "")
    seconds = timedelta(
        hours=int(parts[:2]), minutes=int(parts[2:4] or 0), seconds=float(parts[4:] or 0)
    )
    try:
        return timezone(-seconds if offset[0] == "-" else seconds)
    except ValueError:
        raise InvalidTime(f"{offset!r} is not an offset from UTC; it is less than a day") from None


def in_zone(moment: datetime, zone: Zone) -> datetime:
    """Return an aware ``moment`` in ``zone``; in UTC where the years 1 to 9999 end within."""
    try:
        return moment.astimezone(zone)
    except (OverflowError, ValueError):
        return moment.astimezone(UTC)


def to_us(moment: datetime, zone: Zone) -> int:
    """Return the microseconds of ``moment``, which is in ``zone`` if it says no zone itself.

    Raises `InvalidTime` where the machine's own zone cannot say what the years 1 or 9999 mean.
    """
    if moment.tzinfo is None and zone is None:
        # Not astimezone(), which for an hour that does not happen takes the offset after it.
        try:
            seconds = round(moment.replace(microsecond=0).timestamp())
        except (OverflowError, ValueError):
            raise InvalidTime(f"{moment} is outside the years 1 to 9999") from None
        return seconds * SECOND + moment.microsecond
    return from_datetime(moment if moment.tzinfo else moment.replace(tzinfo=zone))


def latest_year(year: int, last_us: int, moment_in: Callable[[int], int]) -> int:
    """Return the latest moment at or before ``last_us`` of a date that comes without its year.

    ``year``: where to begin. ``moment_in(year)``: the microseconds of the date in a year, or a
    ``ValueError`` where the year does not have it: the 29th of February may be eight years back.
    """
    for candidate in range(year, year - 9, -1):
        try:
            us = moment_in(candidate)
        except ValueError:
            continue
        if us <= last_us:
            return us
    raise ValueError("no recent year has that day")


def micros(fraction: str | None) -> int:
    """Return the microseconds of the digits after a decimal point, rounded to the nearest."""
    if not fraction:
        return 0
    digits = fraction[:7].ljust(7, "0")
    return (int(digits) + 5) // 10

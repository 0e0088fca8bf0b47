"""Times as people write them on a command line, turned into microseconds since 1970 (UTC).

Accepted, and always whatever the tool itself prints::

    -1h   -1h30m   -2w   1h ago            before now; +1h is after it
    now   today   yesterday                the last two: midnight
    10:00   10:00:30   yesterday 10:00     today, or the day named
    2026-11-21   2026-11-21 10:00          midnight, or that minute
    2026-11-21T10:00:30.123456             seconds and a fraction of them
    Nov 21 10:15:03                        the latest such date that is not in the future
    @1700000000.5                          Unix seconds

Anything with a clock time may end in ``Z`` or an offset (``+01:00``), any date or clock time in a
blank and the name of a zone (``Europe/Berlin``, ``UTC``). A time without a zone is read in the zone
asked for (``--utc``, ``--tz``, ``TIMELOG_TZ``), else in the machine's own.

Where a clock is put back, an hour happens twice: the first is meant (``fold=0``). Where it is put
forward, an hour does not happen: the offset from before the change counts, so that 02:30 means
what is then called 03:30. All functions are pure, but for the machine's own zone.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, date, datetime, time, timedelta, timezone, tzinfo
from typing import TypeAlias
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from timelog.errors import InvalidTime
from timelog.timestamp import (
    END,
    FIRST,
    SECOND,
    from_datetime,
    parse_relative,
    to_datetime,
)

Zone: TypeAlias = tzinfo | None  # None: the machine's own zone

MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")

_OFFSET = r"[+-]\d\d(?::?\d\d(?::\d\d(?:\.\d{1,6})?)?)?"
_MOMENT = re.compile(
    rf"""
    (?: (?P<date> \d{{4}}-\d\d-\d\d)
      | (?P<word> today | yesterday)
      | (?P<month> {"|".join(MONTHS)}) \s+ (?P<day> \d\d?)
    )?
    (?: (?: (?<=\d) T | (?<=\w) \s+ | ^)
        (?P<clock> \d\d? : \d\d (?: : \d\d)?) (?: [.,] (?P<fraction> \d{{1,30}}))?
        (?: \s? (?P<offset> Z | {_OFFSET}))?
    )?
    (?: (?<=\w) \s+ (?P<zone> [a-z][a-z0-9_+/-]*))?
    """,
    re.VERBOSE | re.IGNORECASE | re.ASCII,
)
_UNIX = re.compile(r"@(?P<sign>-?)(?P<seconds>\d{1,15})(?:[.,](?P<fraction>\d{1,30}))?", re.ASCII)
_FIXED = re.compile(_OFFSET, re.ASCII)
_HINT = "write it like -1h, 10:00, today, '2026-11-21 10:00', 2026-11-21T10:00:00Z or @1700000000"


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
        return _fixed(name)
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        # ValueError: a path such as ../x. OSError: a directory of zones such as "Europe".
        raise InvalidTime(
            f"{name!r} is not a time zone of this machine's zone database; "
            "write it like Europe/Berlin, UTC or +01:00"
        ) from None


def parse_time(text: str, *, zone: Zone, now_us: int) -> int:
    """Return the microseconds since 1970 that ``text`` means; the module says what is accepted.

    ``zone``: where ``text`` has none; None is the machine's own. ``now_us``: the present, in
    microseconds. Raises `InvalidTime` for anything else and outside the years 1 to 9999.
    """
    body = text.strip()
    lowered = body.lower()
    if lowered == "now":
        return now_us
    if lowered.endswith(" ago") and body[:1].isdigit():
        return _checked(now_us - _duration(body[:-4], text), text)
    if body[:1] in ("-", "+"):
        return _checked(now_us + _duration(body, text), text)
    if match := _UNIX.fullmatch(body):
        us = int(match["seconds"]) * SECOND + micros(match["fraction"])
        return _checked(-us if match["sign"] else us, text)
    match = _MOMENT.fullmatch(body)
    if not match or not (match["date"] or match["word"] or match["month"] or match["clock"]):
        raise InvalidTime(f"{text!r} is not a time; {_HINT}")
    if match["offset"] and match["zone"]:
        raise InvalidTime(f"{text!r} has both an offset and a zone; leave one out")
    if match["offset"]:
        zone = _fixed(match["offset"])
    elif match["zone"]:
        zone = find_zone(match["zone"])
    try:
        return _checked(_moment(match, zone, now_us), text)
    except ValueError as error:
        if isinstance(error, InvalidTime):
            raise
        raise InvalidTime(f"{text!r} is not a time: {error}") from None


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


def _moment(match: re.Match[str], zone: Zone, now_us: int) -> int:
    clock = match["clock"] or "0:00"
    at = time.fromisoformat("0" + clock if clock[1] == ":" else clock)
    fraction = micros(match["fraction"])

    def on(day: date) -> int:
        return to_us(datetime.combine(day, at), zone) + fraction

    today = in_zone(to_datetime(now_us), zone).date()
    if match["date"]:
        return on(date.fromisoformat(match["date"]))
    if match["month"]:
        month = MONTHS.index(match["month"].capitalize()) + 1
        day = int(match["day"])
        return latest_year(today.year, now_us, lambda year: on(date(year, month, day)))
    yesterday = (match["word"] or "").lower() == "yesterday"
    return on(today - timedelta(days=1) if yesterday else today)


def _fixed(offset: str) -> tzinfo:
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


def _duration(body: str, text: str) -> int:
    try:
        return parse_relative(body)
    except OverflowError:
        raise InvalidTime(f"{text!r} is outside the years 1 to 9999") from None


def _checked(us: int, text: str) -> int:
    if not FIRST <= us < END:
        raise InvalidTime(f"{text!r} is outside the years 1 to 9999")
    return us

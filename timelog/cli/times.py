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
from datetime import date, datetime, time, timedelta

from timelog.errors import InvalidTime
from timelog.timestamp import END, FIRST, SECOND, parse_relative, to_datetime
from timelog.zones import (
    MONTHS,
    OFFSET,
    Zone,
    find_zone,
    fixed_zone,
    in_zone,
    latest_year,
    micros,
    to_us,
)

_MOMENT = re.compile(
    rf"""
    (?: (?P<date> \d{{4}}-\d\d-\d\d)
      | (?P<word> today | yesterday)
      | (?P<month> {"|".join(MONTHS)}) \s+ (?P<day> \d\d?)
    )?
    (?: (?: (?<=\d) T | (?<=\w) \s+ | ^)
        (?P<clock> \d\d? : \d\d (?: : \d\d)?) (?: [.,] (?P<fraction> \d{{1,30}}))?
        (?: \s? (?P<offset> Z | {OFFSET}))?
    )?
    (?: (?<=\w) \s+ (?P<zone> [a-z][a-z0-9_+/-]*))?
    """,
    re.VERBOSE | re.IGNORECASE | re.ASCII,
)
_UNIX = re.compile(r"@(?P<sign>-?)(?P<seconds>\d{1,15})(?:[.,](?P<fraction>\d{1,30}))?", re.ASCII)
_HINT = "write it like -1h, 10:00, today, '2026-11-21 10:00', 2026-11-21T10:00:00Z or @1700000000"


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
        zone = fixed_zone(match["offset"])
    elif match["zone"]:
        zone = find_zone(match["zone"])
    try:
        return _checked(_moment(match, zone, now_us), text)
    except ValueError as error:
        if isinstance(error, InvalidTime):
            raise
        raise InvalidTime(f"{text!r} is not a time: {error}") from None


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


def _duration(body: str, text: str) -> int:
    try:
        return parse_relative(body)
    except OverflowError:
        raise InvalidTime(f"{text!r} is outside the years 1 to 9999") from None


def _checked(us: int, text: str) -> int:
    if not FIRST <= us < END:
        raise InvalidTime(f"{text!r} is outside the years 1 to 9999")
    return us

"""`LineTimes`: the time that a line says, read in one form."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import datetime

import msgspec

from timelog.ingest.forms import FORMS, JSON, Form
from timelog.ingest.strptime import compile_format
from timelog.timestamp import DAY, FIRST, SECOND, to_datetime
from timelog.zones import MONTHS, Zone, fixed_zone, in_zone, latest_year, micros, to_us

_MONTHS = {name: number for number, name in enumerate(MONTHS, 1)}
_MOST_MINUTES = 4096
FOREVER = 2**62


class LineTimes:
    """Reads the time at the start of each line of one or more files. For one thread.

    ``form``: the name of one of `FORMS` (``"iso"``, ``"syslog"``, ``"unix"``, ``"unix-ms"`` …),
    ``"json"`` (a line is an object, with the time under one of the usual keys), or a format of
    ``strptime``. ``zone``: where a line says none. ``clock``: returns the present in microseconds.
    ``year``: of the first line, for forms without one.

    Without a year in the form, and not told, the first line gets the latest year that does not put
    it after ``limit_us`` (when the file was changed last) or into the future, where a day's grace
    is given: clocks differ, and so do zones. A later line gets the year nearest to the line
    before it that does so, and with ``year`` simply the nearest. Lines of a time that no log would
    take, more than that day ahead, count as having none. Raises `InvalidInput` for a format that
    cannot be used.
    """

    def __init__(
        self, form: str, zone: Zone, clock: Callable[[], int], year: int | None = None
    ) -> None:
        self.name = form
        self.limit_us = FOREVER
        self.last_us: int | None = None
        self._zone = zone
        self._clock = clock
        self._year = year
        self._latest = 0  # a day after the clock, when it was looked at
        self._groups: Mapping[str, int] = {}
        self._known: dict[str, int] = {}
        self._text = ""
        self._text_us: int | None = None
        self._format = ""
        self._has_year = True
        self.find: Callable[[str], int | None] = self._find
        if form == JSON:
            self.find = self._find_json
            self._start = FORMS["iso"].start
            self._groups = self._start.groupindex
            self._read: Callable[[re.Match[str]], int] = self._date
        elif form in FORMS:
            known: Form = FORMS[form]
            self._start = known.start
            self._groups = known.start.groupindex
            self._has_year = known.has_year
            self._unit = known.unit
            self._read = self._number if known.unit else self._date
        else:
            self._format, self._start, self._has_year = compile_format(form)
            self._read = self._strptime

    def _find(self, line: str) -> int | None:
        """Return the microseconds of the time that ``line`` says; None if there is none."""
        match = self._start.match(line)
        return None if match is None else self._of(match)

    def _of(self, match: re.Match[str]) -> int | None:
        text = match[0]
        # Lines of one time mostly stand together.
        if text == self._text:
            return self._text_us
        try:
            us = self._read(match)
        except (ValueError, OverflowError):
            return None
        if not FIRST <= us <= self._latest:
            self._latest = self._clock() + DAY
            if not FIRST <= us <= self._latest:
                return None
        self._text, self._text_us = text, us
        self.last_us = us
        return us

    def _date(self, match: re.Match[str]) -> int:
        key, second, fraction = match.group("minute", "S", "f")
        zone = match["z"] if "z" in self._groups else None
        late = match["Y2"] if "Y2" in self._groups else None
        key += zone or late or ""
        us = self._known.get(key)
        if us is None:
            us = self._minute(match.groupdict(), zone, late)
            # Without a year it may be another one's the next time.
            if not self._has_year or len(self._known) >= _MOST_MINUTES:
                self._known.clear()
            self._known[key] = us
        if second:
            seconds = int(second)
            if seconds > 60:
                raise ValueError(f"no second {seconds}")
            us += seconds * SECOND
        if fraction:
            us += micros(fraction)
        elif "ms" in self._groups and match["ms"]:
            us += int(match["ms"]) * 1000
        return us

    def _minute(self, parts: dict[str, str], zone: str | None, late: str | None) -> int:
        month = _MONTHS[parts["b"]] if "b" in parts else int(parts["m"])
        day, hour, minute = int(parts["d"]), int(parts["H"]), int(parts["M"])
        where = self._zone if zone is None else fixed_zone(zone)

        def moment_in(year: int) -> int:
            return to_us(datetime(year, month, day, hour, minute), where)

        if "y" in parts:
            short = int(parts["y"])
            return moment_in(short + (1900 if short >= 69 else 2000))
        text = late or parts.get("Y")
        return moment_in(int(text)) if text else self._choose_year(moment_in)

    def _choose_year(self, moment_in: Callable[[int], int]) -> int:
        """Return the moment of a date in the year that it most likely is of."""
        last = self.last_us
        if self._year is not None and last is None:
            return moment_in(self._year)
        limit = min(self._clock(), self.limit_us) + DAY
        if last is None:
            return latest_year(in_zone(to_datetime(limit), self._zone).year, limit, moment_in)
        near = in_zone(to_datetime(last), self._zone).year
        best: int | None = None
        for year in (near - 1, near, near + 1):
            try:
                us = moment_in(year)
            except ValueError:
                continue
            if (self._year is not None or us <= limit) and (
                best is None or abs(us - last) <= abs(best - last)
            ):
                best = us
        if best is None:
            return latest_year(near, limit, moment_in)
        return best

    def _number(self, match: re.Match[str]) -> int:
        us = int(match["n"]) * SECOND // self._unit
        if self._unit == 1:
            us += micros(match["f"])
        to_datetime(us)  # refuses what is past the last year
        return us

    def _strptime(self, match: re.Match[str]) -> int:
        text = match[0]
        if self._has_year:
            return to_us(datetime.strptime(text, self._format), self._zone)
        # Not replaced afterwards: strptime knows the 29th of February only in its year.
        return self._choose_year(
            lambda year: to_us(
                datetime.strptime(f"{year:04} {text}", f"%Y {self._format}"), self._zone
            )
        )

    def _find_json(self, line: str) -> int | None:
        if not line.startswith("{"):
            return None
        try:
            keys = _decode(line)
        except (msgspec.MsgspecError, UnicodeEncodeError, RecursionError):
            return None
        for value in (getattr(keys, name) for name in _Keys.__struct_fields__):
            us = self._json_value(value)
            if us is not None:
                self.last_us = us
                return us
        return None

    def _json_value(self, value: object) -> int | None:
        if isinstance(value, str):
            match = self._start.match(value)
            if match is not None:
                return self._of(match)
            if not value.isascii() or not value.replace(".", "", 1).isdigit() or len(value) > 30:
                return None
            value = float(value) if "." in value else int(value)
        if isinstance(value, bool) or not isinstance(value, int | float):
            return None
        us = number_us(value)
        return us if us is not None and FIRST <= us <= self._clock() + DAY else None


class _Keys(msgspec.Struct, gc=False):
    """The keys under which lines of JSON have their time, the likeliest first."""

    timestamp: object = None
    at_timestamp: object = msgspec.field(default=None, name="@timestamp")
    time: object = None
    ts: object = None
    t: object = None
    at: object = None
    asctime: object = None


_decode = msgspec.json.Decoder(_Keys).decode


def number_us(value: float) -> int | None:
    """Return the microseconds of a Unix time in seconds, or by its size in ms, us or ns."""
    size = abs(value)
    if not size < 1e20:  # nor is a NaN
        return None
    # Seconds from the year 5138 on are taken for milliseconds, and so on.
    unit = 1 if size < 1e11 else 1_000 if size < 1e14 else 1_000_000 if size < 1e17 else 10**9
    if isinstance(value, int):
        return value * SECOND // unit
    return round(value * (SECOND / unit))

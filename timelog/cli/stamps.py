"""Finding the time at the start of a line, for ``timelog ingest --timestamp-format``."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime

from timelog.cli.base import CommandError
from timelog.cli.times import Zone, in_zone, latest_year, micros, to_us
from timelog.timestamp import DAY, FIRST, SECOND, to_datetime

# How far a directive of strptime reaches. `datetime.strptime` decides what the text means, and
# whether it means anything; it cannot say where a time ends and the rest of a line begins.
_REACH = {
    "a": r"[^\W\d_]+",
    "A": r"[^\W\d_]+",
    "b": r"[^\W\d_]+",
    "B": r"[^\W\d_]+",
    "d": r"\d{1,2}",
    "f": r"\d{1,6}",
    "H": r"\d{1,2}",
    "I": r"\d{1,2}",
    "j": r"\d{1,3}",
    "m": r"\d{1,2}",
    "M": r"\d{1,2}",
    "p": r"[AP]M",
    "S": r"\d{1,2}",
    "y": r"\d\d",
    "Y": r"\d{4}",
    "z": r"(?:Z|[+-]\d\d:?[0-5]\d(?::?[0-5]\d(?:\.\d{1,6})?)?)",
    "%": "%",
}
# What `date` and strftime know as well.
_SHORTHANDS = {
    "F": "%Y-%m-%d",
    "T": "%H:%M:%S",
    "R": "%H:%M",
    "D": "%m/%d/%y",
    "e": "%d",
    "h": "%b",
}
_DIRECTIVE = re.compile(r"%(.?)", re.DOTALL)

_ISO = re.compile(
    r"(\d{4}-\d\d-\d\d[T ]\d\d:\d\d(?::\d\d)?)(?:[.,](\d{1,30}))?(?: ?(Z|[+-]\d\d:?\d\d)(?!\w))?",
    re.ASCII,
)
_UNIX = re.compile(r"(\d{1,15})(?:[.,](\d{1,30}))?(?!\w)", re.ASCII)


class LineTimes:
    """Reads the time at the start of each line of one or more files. For one thread.

    ``form``: ``"iso"``, ``"unix"`` (seconds) or a format of ``strptime``. ``zone``: where a line
    says none. ``clock``: returns the present in microseconds.

    Without a year in the format the latest year counts that does not put the line into the
    future, where a day's grace is given: clocks differ, and so do zones. Lines of a time that no
    log would take, more than that day ahead, count as having none. Raises `CommandError` for a
    format that cannot be used.
    """

    def __init__(self, form: str, zone: Zone, clock: Callable[[], int]) -> None:
        self._zone = zone
        self._clock = clock
        self._last_text = ""
        self._last_us: int | None = None
        self._format, self._has_year = "", True
        self._read: Callable[[re.Match[str]], int]
        if form == "iso":
            self._start, self._read = _ISO, self._iso
        elif form == "unix":
            self._start, self._read = _UNIX, _unix
        else:
            self._format, self._start, self._has_year = _compile(form)
            self._read = self._strptime

    def find(self, line: str) -> int | None:
        """Return the microseconds of the time at the start of ``line``; None if there is none."""
        match = self._start.match(line)
        if match is None:
            return None
        # Lines of one second mostly stand together, and strptime is slow.
        if match[0] != self._last_text:
            try:
                us = self._read(match)
            except (ValueError, OverflowError):
                return None
            if not FIRST <= us <= self._clock() + DAY:
                return None
            self._last_text, self._last_us = match[0], us
        return self._last_us

    def _iso(self, match: re.Match[str]) -> int:
        text, fraction, offset = match.groups()
        return to_us(datetime.fromisoformat(text + (offset or "")), self._zone) + micros(fraction)

    def _strptime(self, match: re.Match[str]) -> int:
        text = match[0]
        if self._has_year:
            return to_us(datetime.strptime(text, self._format), self._zone)

        def moment_in(year: int) -> int:
            # Not replaced afterwards: strptime knows the 29th of February only in its year.
            return to_us(datetime.strptime(f"{year:04} {text}", f"%Y {self._format}"), self._zone)

        last_us = self._clock() + DAY
        return latest_year(in_zone(to_datetime(last_us), self._zone).year, last_us, moment_in)


def _unix(match: re.Match[str]) -> int:
    us = int(match[1]) * SECOND + micros(match[2])
    to_datetime(us)  # refuses what is past the last year
    return us


def _compile(form: str) -> tuple[str, re.Pattern[str], bool]:
    """Return the format that strptime takes, a pattern that reaches as far, and "has a year"."""
    form = _DIRECTIVE.sub(lambda match: _SHORTHANDS.get(match[1], match[0]), form)
    pattern, at = "", 0
    seen: set[str] = set()
    for match in _DIRECTIVE.finditer(form):
        if match[1] not in _REACH:
            known = " ".join(f"%{letter}" for letter in [*_REACH, *_SHORTHANDS])
            raise CommandError(f"--timestamp-format: {match[0]!r} is not known; known are {known}")
        seen.add(match[1])
        pattern += _literal(form[at : match.start()]) + _REACH[match[1]]
        at = match.end()
    pattern += _literal(form[at:])
    if not ("j" in seen or ("d" in seen and seen & set("mbB"))):
        raise CommandError(
            f"--timestamp-format: {form!r} does not say the month and the day; "
            "without them a line's day is not known"
        )
    has_year = bool(seen & set("yY"))
    _try_out(form if has_year else f"%Y {form}")
    return form, re.compile(pattern, re.IGNORECASE), has_year


def _literal(text: str) -> str:
    return r"\s+".join(map(re.escape, re.split(r"\s+", text)))


def _try_out(form: str) -> None:
    """Find out now, not at every line, whether strptime takes the format."""
    try:
        datetime.strptime(datetime(2000, 1, 1, tzinfo=UTC).strftime(form), form)
    except (ValueError, re.error) as error:
        raise CommandError(f"--timestamp-format: {form!r} cannot be used: {error}") from None

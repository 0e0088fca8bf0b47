"""Sizes, counts and ages: what callers may write, and how messages write them.

A size is an ``int`` of bytes, an age an ``int`` of microseconds. The functions are pure and
thread-safe; those that parse raise `InvalidInput` with one sentence that says what would be right.
"""

from __future__ import annotations

import re
from datetime import timedelta
from fractions import Fraction

from timelog.errors import InvalidInput, InvalidTime
from timelog.timestamp import DAY, HOUR, MICROSECOND, MINUTE, SECOND, UNITS, parse_relative

# Exclusive: more than any disk, any log and 64 bits with a sign can hold.
_END = 2**63
_MONTH = 30 * DAY
_YEAR = 365 * DAY

# The minute is not among them as "m": who keeps a log for "6M" means months.
_AGES = {unit: length for unit, length in UNITS.items() if unit != "m"} | {
    "month": _MONTH,
    "y": _YEAR,
    "year": _YEAR,
}
_PREFIXES = "KMGTPE"
_SIZE = re.compile(
    rf"(\d{{1,30}}(?:\.\d{{1,30}})?)\s*(?:([{_PREFIXES}])(?:i?B)?|B|bytes?|)",
    re.ASCII | re.IGNORECASE,
)
_LENGTHS = ((DAY, "day"), (HOUR, "hour"), (MINUTE, "minute"))


def parse_size(value: str | int, what: str = "a size") -> int:
    """Return the bytes of a size such as ``"10 GB"``, ``"500M"``, ``"1.5 GiB"`` or ``4096``.

    K, M, G, T, P and E are powers of 1024, as journalctl and ``du`` have them, however they are
    written: ``10G``, ``10 GB`` and ``10 GiB`` are the same. Without a unit it is bytes. A fraction
    of a byte is cut off. ``what`` names the value in errors. Raises `InvalidInput`, also for less
    than one byte and for 8 EiB or more.
    """
    right = f"{what} must be text such as '10 GB' or '500M', or whole bytes"
    if isinstance(value, str):
        match = _SIZE.fullmatch(value.strip())
        if match is None:
            raise InvalidInput(f"{right}, not {_shown(value)}")
        power = _PREFIXES.index(match[2].upper()) + 1 if match[2] else 0
        number = int(Fraction(match[1]) * 1024**power)
    elif isinstance(value, int) and not isinstance(value, bool):
        number = int(value)
    else:
        raise InvalidInput(f"{right}, not {_shown(value)}")
    return _within(number, value, f"{what} must be at least 1 byte and less than 8 EiB")


def parse_count(value: str | int, what: str = "a count") -> int:
    """Return a whole number such as ``400`` or ``"400"``.

    ``what`` names the value in errors. Raises `InvalidInput`, also for zero and less.
    """
    text = value if isinstance(value, str) else ""
    is_number = isinstance(value, int) and not isinstance(value, bool)
    if not is_number and not re.fullmatch(r"\s*\d{1,30}\s*", text, re.ASCII):
        raise InvalidInput(f"{what} must be a whole number such as 400, not {_shown(value)}")
    return _within(int(value), value, f"{what} must be at least 1 and less than 2**63")


def parse_age(value: str | timedelta, what: str = "an age") -> int:
    """Return the microseconds of an age such as ``"30 days"``, ``"12h"`` or ``timedelta(7)``.

    Units: s, min, h, d, w, y and their English names, and months: a month is 30 days and a year
    365. ``m`` alone is refused, since it may be meant as either. ``what`` names the value in
    errors. Raises `InvalidInput`, also for zero and less, for a number without a unit, and for more
    than 292,000 years.
    """
    right = f"{what} must be text such as '30 days', '12h' or '3 years', or a timedelta"
    if isinstance(value, timedelta):
        number = value // MICROSECOND
    elif isinstance(value, str):
        try:
            number = parse_relative(value, _AGES)
        except InvalidTime:
            is_unclear = re.search(r"\d\s*m(?![a-z])", value.lower())
            hint = "; write 'min' or 'months' for 'm'" if is_unclear else ""
            raise InvalidInput(f"{right}, not {_shown(value)}{hint}") from None
    else:
        raise InvalidInput(f"{right}, not {_shown(value)}")
    return _within(number, value, f"{what} must be more than 0 and less than 292,000 years")


def size_text(size: int) -> str:
    """Say a size in words: ``"512 bytes"``, ``"1.5 KiB"``, ``"10 GiB"``; see `parse_size`.

    Rounded to a tenth of the unit.
    """
    if abs(size) < 1024:
        return _counted(size, "byte")
    power = 1
    while abs(size) >= 1024**power * 1023.95 and power < len(_PREFIXES):
        power += 1
    return f"{size / 1024**power:.1f}".removesuffix(".0") + f" {_PREFIXES[power - 1]}iB"


def age_text(us: int) -> str:
    """Say a length of time in words: ``"3 years"``, ``"1 day 12 hours"``, ``"1.5 seconds"``.

    Exact: in years where it is whole years, else in days and less. `parse_age` reads it.
    """
    if us < 0:
        return f"-{age_text(-us)}"
    if us and us % _YEAR == 0:
        return _counted(us // _YEAR, "year")
    words: list[str] = []
    for length, unit in _LENGTHS:
        if us >= length:
            words.append(_counted(us // length, unit))
            us %= length
    seconds, micros = divmod(us, SECOND)
    if micros:
        words.append(f"{seconds}.{micros:06}".rstrip("0") + " seconds")
    elif seconds or not words:
        words.append(_counted(seconds, "second"))
    return " ".join(words)


def _counted(number: int, unit: str) -> str:
    return f"{number} {unit}" if abs(number) == 1 else f"{number} {unit}s"


def _within(number: int, value: object, right: str) -> int:
    if not 0 < number < _END:
        raise InvalidInput(f"{right}, not {_shown(value)}")
    return number


def _shown(value: object) -> str:
    """``value`` as errors show it: the whole of it could be megabytes, or too long to convert."""
    if isinstance(value, int) and not isinstance(value, bool) and value.bit_length() > 128:
        return "a number of more than 128 bits"
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:59]}…"

"""A format of ``strptime`` at the start of a line: how far it reaches, and whether it can be used.

`datetime.strptime` decides what the text means, and whether it means anything; it cannot say where
a time ends and the rest of a line begins.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime

from timelog.errors import InvalidInput

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


def compile_format(form: str) -> tuple[str, re.Pattern[str], bool]:
    """Return the format that strptime takes, a pattern that reaches as far, and "has a year".

    ``%F %T %R %D %e %h`` are known as well. Raises `InvalidInput` for what cannot be used.
    """
    form = _DIRECTIVE.sub(lambda match: _SHORTHANDS.get(match[1], match[0]), form)
    pattern, at = "", 0
    seen: set[str] = set()
    for match in _DIRECTIVE.finditer(form):
        if match[1] not in _REACH:
            known = " ".join(f"%{letter}" for letter in [*_REACH, *_SHORTHANDS])
            raise InvalidInput(f"timestamp format: {match[0]!r} is not known; known are {known}")
        seen.add(match[1])
        pattern += _literal(form[at : match.start()]) + _REACH[match[1]]
        at = match.end()
    pattern += _literal(form[at:])
    if not ("j" in seen or ("d" in seen and seen & set("mbB"))):
        raise InvalidInput(
            f"timestamp format: {form!r} does not say the month and the day; "
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
        raise InvalidInput(f"timestamp format: {form!r} cannot be used: {error}") from None

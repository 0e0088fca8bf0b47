"""Finding out in which form the lines of a file say their times."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from timelog.ingest.forms import FORMS, JSON
from timelog.ingest.stamps import LineTimes
from timelog.timestamp import DAY
from timelog.zones import Zone

# So many of the first lines are looked at at once, and so many altogether before giving up.
SAMPLE = 100
PATIENCE = 1_000
# A form of digits alone has to fit nearly all lines, and to be of these years.
_NEARLY_ALL = 0.9
_SOME = 0.05
_OLDEST_PLAIN = 20 * 365 * DAY  # 1990, about


def detect(lines: Sequence[str], zone: Zone, clock: Callable[[], int]) -> str | None:
    """Return the name of the form that most of the first `SAMPLE` of ``lines`` are in, or None.

    Blank lines do not count. Of forms that fit as many lines the more special one is taken. Cost:
    about a millisecond.
    """
    sample = [line for line in lines[:SAMPLE] if line and not line.isspace()]
    best, most = None, 0
    for name in (JSON, *FORMS):
        if name in FORMS and not any(map(FORMS[name].start.match, sample)):
            continue
        times = LineTimes(name, zone, clock)
        found = [us for us in map(times.find, sample) if us is not None]
        needed = _SOME
        if name in FORMS and FORMS[name].is_plain:
            found = [us for us in found if us >= _OLDEST_PLAIN]
            needed = _NEARLY_ALL
        if len(found) > most and len(found) >= needed * len(sample):
            best, most = name, len(found)
    return best

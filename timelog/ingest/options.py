"""What all files of one ingest share: labels, times, records, limits."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any

from timelog.errors import InvalidInput
from timelog.ingest.forms import AUTO, NONE
from timelog.ingest.lines import Tally
from timelog.ingest.records import make_start
from timelog.ingest.stamps import LineTimes
from timelog.zones import Zone, find_zone

# The library's own limits, which an event of a line must not exceed.
MAX_CONTENT = 1024 * 1024
_MAX_SOURCE = 256


def now_us() -> int:
    """Return the present in microseconds."""
    return time.time_ns() // 1000


@dataclass
class Options:
    """How lines become events, and what was counted.

    ``source``: None for the file's name. ``timestamps``: a form, or several by the globs of
    names, the first that fits. ``marks``: events for files themselves, too. ``notice``: told what
    was detected.
    """

    source: str | None = None
    tags: tuple[str, ...] = ()
    timestamps: str | Mapping[str, str] = AUTO
    zone: Zone | str = None
    year: int | None = None
    multiline: str | None = None
    marks: bool = False
    notice: Callable[[str], None] | None = None
    clock: Callable[[], int] = now_us
    tally: Tally = field(default_factory=Tally)

    def __post_init__(self) -> None:
        self.zone_used = find_zone(self.zone) if isinstance(self.zone, str) else self.zone
        if self.year is not None and not 1 <= self.year <= 9999:
            raise InvalidInput(f"year must be from 1 to 9999, not {self.year!r}")
        self.starts = make_start(self.multiline)
        forms = self.timestamps
        for form in [forms] if isinstance(forms, str) else forms.values():
            if form not in (AUTO, NONE):
                self.times(form)  # refuses what cannot be used

    def times(self, form: str) -> LineTimes:
        """Return what reads times in that form."""
        return LineTimes(form, self.zone_used, self.clock, self.year)

    def form_for(self, name: str) -> str:
        """Return the form that is asked for in a file of that name: may be auto, or none."""
        if isinstance(self.timestamps, str):
            return self.timestamps
        for glob, form in self.timestamps.items():
            if fnmatchcase(name, glob):
                return form
        return AUTO

    def source_of(self, name: str) -> str:
        """Return the source of events from a file of that name."""
        return name[:_MAX_SOURCE] if self.source is None else self.source

    def mark(self, name: str, tag: str) -> dict[str, Any]:
        """Return the event that says what became of a file."""
        content = f"{name}: {tag.replace('-', ' ')}"
        return {"content": content, "source": self.source_of(name), "tags": (*self.tags, tag)}

    def tell(self, text: str) -> None:
        """Tell whoever wants to know."""
        if self.notice is not None:
            self.notice(text)

"""`Maker`: from the lines of one file to events, with the times that they say."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from timelog.ingest.detect import PATIENCE, detect
from timelog.ingest.forms import AUTO, NONE
from timelog.ingest.options import Options
from timelog.ingest.stamps import LineTimes
from timelog.timestamp import to_datetime


class Maker:
    """Makes events of one file's lines. For one thread.

    ``name``: of the file, as its source is called. ``form``: in which its times are, as a `Maker`
    before this one found out (empty: not yet), ``looked`` how many lines it looked at for that, and
    ``last_us`` the last time it read.
    """

    def __init__(
        self,
        options: Options,
        name: str,
        form: str = "",
        looked: int = 0,
        last_us: int | None = None,
    ) -> None:
        self._options = options
        self._name = name
        self.source = options.source_of(name)
        self.looked = looked
        self.times: LineTimes | None = None
        self._last: datetime | None = None
        asked = options.form_for(name)
        self._is_asked = asked != AUTO
        self.form = asked if self._is_asked else form
        if self.form and self.form != NONE:
            self._use(self.form, last_us)

    @property
    def last_us(self) -> int | None:
        """The last time that was read."""
        return self.times.last_us if self.times is not None else None

    @property
    def detected(self) -> str:
        """The form that was found out; empty where it was not, or was asked for."""
        return "" if self._is_asked else self.form

    def look(self, lines: Sequence[str], limit_us: int) -> None:
        """Find out the form from the file's next lines, if it is not known.

        ``limit_us``: when the file was changed last.
        """
        if not self.form:
            found = detect(lines, self._options.zone_used, self._options.clock)
            self.looked += len(lines)
            if found is not None:
                self.form = found
                self._use(found, None)
                self._options.tell(f"{self._name or '-'}: times are read as {found!r}")
            elif self.looked >= PATIENCE:
                self.form = NONE
        if self.times is not None:
            self.times.limit_us = limit_us

    def events(self, contents: Sequence[str]) -> list[dict[str, Any]]:
        """Return the events of lines or records."""
        source, tags = self.source, self._options.tags
        tally = self._options.tally
        tally.events += len(contents)
        if self.times is None:
            return [{"content": content, "source": source, "tags": tags} for content in contents]
        find = self.times.find
        last, last_us = self._last, None
        made: list[dict[str, Any]] = []
        for content in contents:
            us = find(content)
            if us is None:
                tally.without_time += 1
            elif us != last_us:
                last_us, last = us, to_datetime(us)
            if last is None:
                made.append({"content": content, "source": source, "tags": tags})
            else:
                made.append({"content": content, "source": source, "tags": tags, "timestamp": last})
        self._last = last
        return made

    def _use(self, form: str, last_us: int | None) -> None:
        self.times = self._options.times(form)
        self.times.last_us = last_us
        self._last = None if last_us is None else to_datetime(last_us)

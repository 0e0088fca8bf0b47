"""`take`: found events into a log, exactly once, and `Imported`, the report of an import."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from timelog import EventLog
from timelog.errors import BufferFull, InvalidInput
from timelog.exchange.source import Source
from timelog.fit import fit_content, fit_fields, fit_source, fit_tags
from timelog.timestamp import to_datetime

# Of one commit at most, and between two flushes.
_MOST_EVENTS = 5_000
_MOST_TEXT = 4 * 1024 * 1024
_FLUSH_EVENTS = 8 * _MOST_EVENTS
_FLUSH_TEXT = 2 * _MOST_TEXT
_MOST_NOTES = 1_000


class Skipped(NamedTuple):
    """What of a source was not imported: the file, the byte it begins at, and why."""

    file: str
    offset: int
    reason: str

    def __str__(self) -> str:
        return f"{self.file}, byte {self.offset}: {self.reason}"


class Found(NamedTuple):
    """An event of a source, as `EventLog.append_many` takes it.

    It stands at ``[start, end)`` of ``source``; ``state`` is what the reader needs beside ``end``
    to go on behind it.
    """

    event: dict[str, Any]
    source: Source
    start: int
    end: int
    state: tuple[Any, ...] = ()


@dataclass
class Imported:
    """What an import did; ``str()`` of it is what the command prints.

    ``events``: how many were stored. ``changed``: how many of them had something that an event
    cannot hold, and were cut, shortened or escaped. ``without_time``: how many showed no time that
    can be read. ``skipped``: how many places could not be read or stored; ``notes`` are the first
    thousand of them. ``left_alone``: files that are none of the format's. ``resumed``: whether an
    earlier import was gone on with.
    """

    events: int = 0
    changed: int = 0
    without_time: int = 0
    skipped: int = 0
    notes: list[Skipped] = field(default_factory=list)
    left_alone: list[str] = field(default_factory=list)
    resumed: bool = False

    @property
    def ok(self) -> bool:
        """Whether nothing was skipped."""
        return not self.skipped

    def skip(self, source: Source, offset: int, reason: str) -> None:
        """Note a place that was not imported."""
        self.skipped += 1
        if len(self.notes) < _MOST_NOTES:
            self.notes.append(Skipped(source.name, offset, reason))

    def event(
        self,
        content: str,
        *,
        source: str = "",
        tags: Iterable[object] = (),
        us: int | None = None,
        id: str | None = None,
        fields: dict[str, Any] | None = None,
    ) -> dict[str, Any]:
        """Return the mapping of an event, made to fit; counts where it had to be changed.

        ``us``: microseconds since 1970, or None, which counts as an event without a time.
        """
        tags = tuple(tags)
        event: dict[str, Any] = {
            "content": fit_content(content),
            "source": fit_source(source),
            "tags": fit_tags(tags),
        }
        is_changed = (event["content"], event["source"], event["tags"]) != (content, source, tags)
        if us is None:
            self.without_time += 1
        else:
            event["timestamp"] = to_datetime(us)
        if id is not None:
            if 1 <= len(id) <= 256 and id.isprintable():
                event["id"] = id
            else:
                fields = {**(fields or {}), "id": id}
                is_changed = True
        if fields:
            event["fields"] = fit_fields(fields)
            is_changed = is_changed or event["fields"] != fields
        self.changed += is_changed
        return event

    def __str__(self) -> str:
        parts = [f"{self.events:,} events"]
        if self.resumed:
            parts[0] += " more"
        parts += [
            f"{count:,} {what}"
            for count, what in (
                (self.changed, "made to fit"),
                (self.without_time, "without a time"),
                (self.skipped, "places skipped"),
                (len(self.left_alone), "files left alone"),
            )
            if count
        ]
        return ", ".join(parts)


def take(log: EventLog, name: str | None, found: Iterable[Found], report: Imported) -> None:
    """Store what is found, with the place behind it as the cursor ``name``, and sync the log.

    With None there is no cursor. Where the log refuses an event it is skipped. Raises what
    `EventLog.append_many` and `EventLog.sync` do. Memory holds one batch.
    """
    batch: list[Found] = []
    size = unflushed_events = unflushed_text = 0
    for each in found:
        batch.append(each)
        size += len(each.event["content"])
        if len(batch) >= _MOST_EVENTS or size >= _MOST_TEXT:
            _store(log, name, batch, report)
            # The log's own timer alone would let a fast source fill the buffer.
            unflushed_events += len(batch)
            unflushed_text += size
            if unflushed_events >= _FLUSH_EVENTS or unflushed_text >= _FLUSH_TEXT:
                log.flush()
                unflushed_events = unflushed_text = 0
            batch, size = [], 0
    _store(log, name, batch, report)
    log.sync()


def _store(log: EventLog, name: str | None, batch: list[Found], report: Imported) -> None:
    read = 0

    def events(of: list[Found]) -> Iterator[dict[str, Any]]:
        nonlocal read
        for read, each in enumerate(of, 1):  # noqa: B007
            yield each.event

    while batch:
        try:
            report.events += log.append_many(events(batch), cursor=_cursor(name, batch[-1]))
            return
        except InvalidInput as error:
            # The event read last is the one: those before it passed, and none of them is stored.
            good, bad, batch = batch[: read - 1], batch[read - 1], batch[read:]
            report.skip(bad.source, bad.start, str(error))
            if good:
                report.events += log.append_many(events(good), cursor=_cursor(name, good[-1]))
        except BufferFull:
            if len(batch) == 1:
                raise
            # A log with a small buffer; where it is the disk that is slow or full, this says so.
            log.flush()
            middle = len(batch) // 2
            _store(log, name, batch[:middle], report)
            batch = batch[middle:]


def _cursor(name: str | None, last: Found) -> tuple[str, Any] | None:
    return None if name is None else (name, last.source.place(last.end, last.state))

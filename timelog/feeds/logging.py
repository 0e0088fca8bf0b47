"""`LogHandler`: records of the standard library's `logging` as events."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterable, Mapping
from time import time
from typing import Any

from timelog import EventLog
from timelog.feeds.outlet import SOURCE, Outlet, is_from_timelog, say_aside
from timelog.fit import LIMITS, fit_content, fit_fields, fit_source, fit_tags

_PLAIN = frozenset(logging.makeLogRecord({}).__dict__)
# What formatters of other handlers leave behind in a record.
_KNOWN = _PLAIN | {"message", "asctime"}
_PLAIN_COUNT = len(_PLAIN)
_MOST_CONTENT = LIMITS.content
_MOST_KINDS = 4096
# Seconds. A younger record has the time of its append, which costs a third of passing a time.
_FRESH = 0.001


class LogHandler(logging.Handler):
    """A `logging.Handler` that appends each record to a log. Thread-safe, without a lock.

    ``log``: an open log, or the path of one, which is then opened with ``options`` (those of
    `timelog.open`) and closed with the handler. ``level``: as of every handler. ``tags``: for
    every event, behind the level. For `logging.config.dictConfig` the class is
    ``timelog.feeds.logging.LogHandler``, with ``log`` a path or ``ext://module.name``.

    The content is what the formatter makes of the record: without one the message, with the text
    of an exception and of the stack below it. The logger's name is the source, the level in lower
    case a tag, the time of the record the timestamp (of a record less than a millisecond old, the
    time it got here). What was given as ``extra`` is in the fields, where JSON has no such value as
    its ``str()``. Texts over the limits of an event are cut.

    Nothing raises into the application and nothing waits for the disk. What could not be stored is
    reported as every handler does (``handleError``) and counted: ``dropped`` where the buffer was
    full (of many in a row the first is reported, and the log gets an event that tells how many),
    ``failed`` for all else. What timelog's own logger says goes to its other handlers, or to
    stderr, never into the log. With ``flush_interval=0`` each record is flushed in the call.

    Raises what `timelog.open` does. Cost: one `EventLog.append` beside making the message.
    """

    def __init__(
        self,
        log: EventLog | str | os.PathLike[str],
        *,
        level: int | str = logging.NOTSET,
        tags: Iterable[str] = (),
        **options: Any,
    ) -> None:
        super().__init__(level)
        self._tags = fit_tags(tags)
        self._outlet = Outlet(log, options)
        self._put = self._outlet.put
        self._kinds: dict[tuple[str, str], tuple[str, tuple[str, ...]]] = {}

    @property
    def log(self) -> EventLog:
        """The log that the records go to."""
        return self._outlet.log

    @property
    def dropped(self) -> int:
        """How many records the full buffer could not take."""
        return self._outlet.dropped

    @property
    def failed(self) -> int:
        """How many records were lost for another reason."""
        return self._outlet.failed

    def handle(self, record: logging.LogRecord) -> bool:
        """Emit the record if the filters let it pass; without the lock, which a log has itself."""
        passed: object = self.filter(record) if self.filters else True
        if passed:
            # From Python 3.12 on a filter may return another record.
            self.emit(passed if isinstance(passed, logging.LogRecord) else record)
        return bool(passed)

    def emit(self, record: logging.LogRecord) -> None:
        """Append the record as an event."""
        try:
            name = record.name
            try:
                source, tags = self._kinds[name, record.levelname]
            except KeyError:
                if is_from_timelog(name):
                    _say_elsewhere(record)
                    return
                source, tags = self._kind(name, record.levelname)
            if (
                self.formatter is None
                and record.exc_info is None
                and record.exc_text is None
                and record.stack_info is None
            ):
                content = record.getMessage()
            else:
                content = self.format(record)
            if not content.isascii() or len(content) > _MOST_CONTENT:
                content = fit_content(content)
            values = record.__dict__
            fields = None if len(values) == _PLAIN_COUNT else _extra(values)
            created: float | None = record.created
            if 0 <= time() - record.created < _FRESH:
                created = None
            self._put(content, source, tags, created, fields)
        except RecursionError:  # as logging's own handlers do, see its issue 36272
            raise
        except Exception as error:
            if self._outlet.note(error):
                self.handleError(record)

    def flush(self) -> None:
        """Flush the log; what goes wrong is reported as for a record."""
        if not self.log.is_closed:
            self._reported(self._outlet.flush, "flushed")

    def close(self) -> None:
        """Close the log, or flush it if it was open before; errors as `flush`."""
        self._reported(self._outlet.close, "closed")
        super().close()

    def __repr__(self) -> str:
        level = logging.getLevelName(self.level)
        return f"<LogHandler {str(self.log.path)!r} ({level}) dropped={self.dropped}>"

    def _kind(self, name: str, level: str) -> tuple[str, tuple[str, ...]]:
        """The source and the tags of such records; a program has few different ones."""
        if len(self._kinds) >= _MOST_KINDS:
            self._kinds.clear()
        kind = (fit_source(name), fit_tags((level.lower(), *self._tags)))
        self._kinds[name, level] = kind
        return kind

    def _reported(self, act: Callable[[], None], done: str) -> None:
        try:
            act()
        except Exception:
            what = f"the log {self.log.path} could not be {done}"
            self.handleError(logging.makeLogRecord({"name": SOURCE, "msg": what}))


def _extra(values: Mapping[str, Any]) -> dict[str, Any] | None:
    """What the application added to a record."""
    extra = {key: value for key, value in values.items() if key not in _KNOWN}
    return fit_fields(extra) if extra else None


def _say_elsewhere(record: logging.LogRecord) -> None:
    """Leave a record of timelog's own to its other handlers; where there is none, say it aside."""
    logger: logging.Logger | None = logging.getLogger(record.name)
    while logger is not None:
        if any(not isinstance(each, LogHandler | logging.NullHandler) for each in logger.handlers):
            return
        logger = logger.parent if logger.propagate else None
    say_aside(record)

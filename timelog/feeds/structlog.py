"""`Processor`: structlog's event dictionaries as events. Needs the extra ``structlog``."""

from __future__ import annotations

import logging
import os
import sys
import traceback
from collections.abc import Iterable, Mapping, MutableMapping
from typing import Any

from timelog import EventLog
from timelog.errors import InvalidTime, missing_extra
from timelog.feeds.outlet import Outlet, is_from_timelog, say_aside
from timelog.fit import fit_content, fit_fields, fit_source, fit_tags
from timelog.timestamp import Time, to_us

try:
    from structlog import DropEvent
except ModuleNotFoundError as error:
    raise missing_extra("timelog.feeds.structlog", "structlog") from error

# What structlog itself makes of these methods' names.
_LEVELS = {"warn": "warning", "exception": "error", "fatal": "critical"}
_ROLES = ("event", "level", "logger", "logger_name", "timestamp", "exception", "exc_info", "stack")


class Processor:
    """A structlog processor that appends each event dictionary to a log. Thread-safe.

    ``log``: an open log, or the path of one, which is then opened with ``options`` (those of
    `timelog.open`) and closed by `close`. ``passes_on``: False (default) for the last processor of
    a chain: nothing is printed beside. True: the dictionary goes on, unchanged, to the next one.
    ``tags``: for every event, behind the level.

    ``event`` is the content, with ``exception`` (or ``exc_info``) and ``stack`` below it; the level
    or else the method's name is a tag; ``logger`` or else the logger's name the source;
    ``timestamp`` counts if it has a zone or is Unix seconds, else it stays a field and now counts.
    All else is in the fields.

    Never raises into the application: what could not be stored is reported on stderr as `logging`
    does, and counted in ``dropped`` (the buffer was full) and ``failed``. Raises what
    `timelog.open` does. Cost: one `EventLog.append`, no I/O.
    """

    def __init__(
        self,
        log: EventLog | str | os.PathLike[str],
        *,
        passes_on: bool = False,
        tags: Iterable[str] = (),
        **options: Any,
    ) -> None:
        self._passes_on = passes_on
        self._tags = fit_tags(tags)
        self._outlet = Outlet(log, options)

    def __call__(
        self, logger: Any, method: str, event_dict: MutableMapping[str, Any]
    ) -> MutableMapping[str, Any]:
        """Store the event; raise ``DropEvent``, which ends the chain, or pass it on."""
        try:
            self._store(logger, method, event_dict)
        except Exception as error:
            if self._outlet.note(error):
                # It prints the error as handlers do, unless the application wants none of that.
                logging.Handler().handleError(
                    logging.makeLogRecord({"name": __name__, "msg": event_dict.get("event")})
                )
        if self._passes_on:
            return event_dict
        raise DropEvent

    @property
    def log(self) -> EventLog:
        """The log that the events go to."""
        return self._outlet.log

    @property
    def dropped(self) -> int:
        """How many events the full buffer could not take."""
        return self._outlet.dropped

    @property
    def failed(self) -> int:
        """How many events were lost for another reason."""
        return self._outlet.failed

    def close(self) -> None:
        """Close the log if it was opened here, else flush it. Errors as `EventLog.close`."""
        self._outlet.close()

    def _store(self, logger: Any, method: str, values: Mapping[str, Any]) -> None:
        source = values.get("logger") or values.get("logger_name") or getattr(logger, "name", "")
        source = fit_source(str(source or ""))
        level = str(values.get("level") or _LEVELS.get(method, method)).lower()
        content = fit_content(_content(values))
        if is_from_timelog(source):
            number = logging.getLevelNamesMapping().get(level.upper(), logging.WARNING)
            say_aside(logging.makeLogRecord({"name": source, "msg": content, "levelno": number}))
            return
        timestamp = _time(values.get("timestamp"))
        rest = {key: value for key, value in values.items() if key not in _ROLES}
        if timestamp is None and "timestamp" in values:
            rest["timestamp"] = values["timestamp"]
        tags = fit_tags((level, *self._tags))
        self._outlet.put(content, source, tags, timestamp, fit_fields(rest) if rest else None)


def _content(values: Mapping[str, Any]) -> str:
    """The message, and below it what tells of an exception and of the stack."""
    event = values.get("event", "")
    parts = [event if isinstance(event, str) else str(event)]
    exception, exc_info = values.get("exception"), values.get("exc_info")
    if exception:
        # Text of format_exc_info; structured by dict_tracebacks.
        parts.append(exception if isinstance(exception, str) else repr(exception))
    elif exc_info:
        if isinstance(exc_info, BaseException):
            exc_info = (type(exc_info), exc_info, exc_info.__traceback__)
        elif not isinstance(exc_info, tuple):
            exc_info = sys.exc_info()
        if exc_info[0] is not None:
            parts.append("".join(traceback.format_exception(*exc_info)).rstrip("\n"))
    if values.get("stack"):
        parts.append(str(values["stack"]))
    return "\n".join(parts)


def _time(value: Any) -> Time | None:
    """``value`` if an event can have it as its time."""
    try:
        to_us(value, 0)
    except InvalidTime:
        return None
    time: Time = value
    return time

"""`Sink`: messages of loguru as events. Needs the extra ``loguru``."""

from __future__ import annotations

import logging
import os
import traceback
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from timelog import EventLog
from timelog.feeds.outlet import Outlet, is_from_timelog, say_aside
from timelog.fit import fit_content, fit_fields, fit_source, fit_tags

if TYPE_CHECKING:
    from loguru import Message, Record


class Sink:
    """A sink for ``logger.add`` that appends each message to a log. Thread-safe.

    ``log``: an open log, or the path of one, which is then opened with ``options`` (those of
    `timelog.open`) and closed by ``logger.remove``. ``tags``: for every event, behind the level.

    The message is the content, with the text of an exception below it, whatever the ``format`` of
    the sink; the name of the module is the source, the level in lower case a tag, and what was
    bound (``extra``) is in the fields.

    What could not be stored is counted in ``dropped`` (the buffer was full) and ``failed``, and
    raised to loguru, which reports it on stderr (unless the sink was added with ``catch=False``).
    Raises what `timelog.open` does. Cost: one `EventLog.append`, no I/O.
    """

    # Without a `flush`: loguru would call it after every message.

    def __init__(
        self, log: EventLog | str | os.PathLike[str], *, tags: Iterable[str] = (), **options: Any
    ) -> None:
        self._tags = fit_tags(tags)
        self._outlet = Outlet(log, options)

    def write(self, message: Message) -> None:
        """Store the message."""
        record = message.record
        try:
            source = fit_source(record["name"] or "")
            content = fit_content(_content(record))
            if is_from_timelog(source):
                number = record["level"].no
                own = {"name": source, "msg": content, "levelno": number}
                say_aside(logging.makeLogRecord(own))
                return
            tags = fit_tags((record["level"].name.lower(), *self._tags))
            extra = record["extra"]
            fields = fit_fields(extra) if extra else None
            self._outlet.put(content, source, tags, record["time"], fields)
        except Exception as error:
            if self._outlet.note(error):
                raise

    def stop(self) -> None:
        """Close the log if it was opened here, else flush it: loguru calls it at the end."""
        self._outlet.close()

    @property
    def log(self) -> EventLog:
        """The log that the messages go to."""
        return self._outlet.log

    @property
    def dropped(self) -> int:
        """How many messages the full buffer could not take."""
        return self._outlet.dropped

    @property
    def failed(self) -> int:
        """How many messages were lost for another reason."""
        return self._outlet.failed


def _content(record: Record) -> str:
    exception = record["exception"]
    if exception is None or exception.type is None:
        return record["message"]
    lines = traceback.format_exception(exception.type, exception.value, exception.traceback)
    return "\n".join([record["message"], "".join(lines).rstrip("\n")])

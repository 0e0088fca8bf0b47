"""`Once`: files and pipes read once, from the beginning to the end, without keeping places."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import timelog
from timelog.ingest.feed import FLUSH_BYTES, FLUSH_EVENTS
from timelog.ingest.lines import Tally, read_lines
from timelog.ingest.making import Maker
from timelog.ingest.opening import open_stream
from timelog.ingest.options import MAX_CONTENT, Options
from timelog.ingest.records import join
from timelog.ingest.stamps import FOREVER

_BATCH = 5_000  # events; their text is bounded by what `read_lines` yields at once


def files(log: timelog.EventLog, *paths: str | os.PathLike[str], **options: Any) -> Tally:
    """Store the lines of whole files, once, and return what was met.

    ``options``: as `Watcher` takes them: ``source``, ``tags``, ``timestamps``, ``zone``, ``year``,
    ``multiline``, ``notice``. Compressed files (.gz, .xz, .bz2, .zst) are known by their names. A
    last line without its newline is a line. No places are kept: what is read twice is stored twice.
    Raises ``OSError``, ``EOFError`` for compressed data that is cut off (what comes before that is
    stored), `InvalidInput`, and what `EventLog.append_many` does. Cost: about half as much again as
    that.
    """
    asked = Options(**options)
    once = Once(log, asked)
    for path in paths:
        with open_stream(path) as stream:
            name = os.path.basename(os.fsencode(path)).decode("utf-8", "backslashreplace")
            changed_us = os.fstat(stream.fileno()).st_mtime_ns // 1000
            once.store(stream.read, name, asked.source_of(name), changed_us)
    return asked.tally


class Once:
    """Stores lines in ``log``, one file after the other. For one thread."""

    def __init__(self, log: timelog.EventLog, options: Options) -> None:
        self._log = log
        self._options = options
        self._flushed = (0, 0)  # bytes and events that were read when it was flushed last

    def store(
        self, read: Callable[[int], bytes], name: str, source: str, limit_us: int = FOREVER
    ) -> None:
        """Store all that ``read`` returns until it returns nothing.

        ``name``: of the file, for messages and where a form is asked for by name. ``limit_us``:
        when it was changed last. Raises what ``read`` and `EventLog.append_many` do.
        """
        maker = Maker(self._options, name)
        maker.source = source
        starts = self._options.starts
        waiting: list[str] = []
        for lines in read_lines(read, MAX_CONTENT, self._options.tally):
            maker.look(lines, limit_us)
            if starts is not None:
                lines = waiting + lines
                times = maker.times
                begins = [n for n, line in enumerate(lines) if starts(line, times) or not n]
                count = begins[-1]
                if count:
                    begins.pop()
                elif sum(map(len, lines)) > MAX_CONTENT:
                    count = len(lines)  # too large for one record: it is divided
                waiting = lines[count:]
                if not count:
                    continue
                lines = join(lines, begins, count, MAX_CONTENT)
            self._put(maker, lines)
        if waiting:
            self._put(maker, join(waiting, [0], len(waiting), MAX_CONTENT))

    def _put(self, maker: Maker, lines: list[str]) -> None:
        for start in range(0, len(lines), _BATCH):
            self._log.append_many(maker.events(lines[start : start + _BATCH]))
            self._flush_if_due()

    def _flush_if_due(self) -> None:
        tally = self._options.tally
        if (
            tally.bytes - self._flushed[0] >= FLUSH_BYTES
            or tally.events - self._flushed[1] >= FLUSH_EVENTS
        ):
            self._flushed = (tally.bytes, tally.events)
            self._log.flush()

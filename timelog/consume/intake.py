"""`Intake`: follows a log in a thread of its own, and keeps what came until it is taken."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import timelog
from timelog.consume.tasks import COMPLETE, GONE, Mark, Task, split_entry
from timelog.errors import ClosedError, InvalidInput

# So many entries may wait to be taken; then the log is not read on.
MOST = 2000


class Taken(NamedTuple):
    """Entries in order of position, how many were malformed, and the cursor behind them all."""

    tasks: list[Task | Mark]
    skipped: int
    cursor: str


class Intake:
    """Made for one following of a log; `run` belongs to a thread, `take` to another.

    ``following``: of the log, waiting for more. ``feed_of``: the feed and the run of an event's
    source. ``wake``: called when something can be taken, or the thread has ended. ``on_skip``:
    called with an entry that is malformed, and why; ``on_gap``: with a gap.
    """

    def __init__(
        self,
        following: Any,
        feed_of: Callable[[str], tuple[str, int]],
        *,
        wake: Callable[[], None],
        on_skip: Callable[[timelog.Entry, str], None],
        on_gap: Callable[[timelog.Gap], None],
    ) -> None:
        self._following = following
        self._feed_of = feed_of
        self._wake = wake
        self._on_skip = on_skip
        self._on_gap = on_gap
        self._changed = threading.Condition()
        self._tasks: list[Task | Mark] = []
        self._skipped = 0
        self._cursor: str | None = None
        self._is_stopped = False
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="timelog-intake", daemon=True)

    def take(self) -> Taken | None:
        """Return what came since the last call; None for nothing. Raises what ended the thread."""
        with self._changed:
            if self._cursor is None:
                if self._failure is not None:
                    raise self._failure
                return None
            taken = Taken(self._tasks, self._skipped, self._cursor)
            self._tasks, self._skipped, self._cursor = [], 0, None
            self._changed.notify_all()
        if self._failure is not None:
            # Not told yet: the next call does.
            self._wake()
        return taken

    @contextmanager
    def running(self) -> Iterator[None]:
        """Follow the log as long as the block runs."""
        self._thread.start()
        try:
            yield
        finally:
            with self._changed:
                self._is_stopped = True
                self._changed.notify_all()
            self._following.close()
            self._thread.join()

    def _run(self) -> None:
        try:
            for item in self._following:
                self._pass_on(item, self._following.cursor)
            if not self._is_stopped:
                raise ClosedError("the log was closed while its events were handed out")
        except BaseException as error:
            # Raised again in the thread that takes.
            self._failure = error
        self._wake()

    def _pass_on(self, item: timelog.Entry | timelog.Gap, cursor: str) -> None:
        task = None
        if isinstance(item, timelog.Gap):
            self._on_gap(item)
        else:
            task = self._task(item)
        with self._changed:
            while len(self._tasks) >= MOST and not self._is_stopped:
                self._changed.wait()
            if task is not None:
                self._tasks.append(task)
            elif isinstance(item, timelog.Entry):
                self._skipped += 1
            is_first = self._cursor is None
            self._cursor = cursor
        if is_first:
            self._wake()

    def _task(self, entry: timelog.Entry) -> Task | Mark | None:
        event = entry.event
        feed, run = self._feed_of(event.source)
        if COMPLETE in event.tags or GONE in event.tags:
            return Mark(feed, run, GONE in event.tags, entry.position)
        try:
            key, payload = split_entry(event.content)
        except InvalidInput as error:
            self._on_skip(entry, str(error))
            return None
        return Task(feed, run, key, payload, entry.position)

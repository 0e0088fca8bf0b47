"""`Dispatcher`: hands the events of a log to workers that connect to a Unix socket."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from os import PathLike
from pathlib import Path
from types import TracebackType
from typing import Any

import timelog
from timelog.consume.entries import Run
from timelog.consume.held import hold, place
from timelog.consume.intake import Intake
from timelog.consume.listener import Listener
from timelog.consume.server import Server
from timelog.consume.tasks import feed_of as feed_of_source
from timelog.consume.workqueue import PATIENCE, Counts, Queue
from timelog.errors import ReadOnlyError
from timelog.storage import Storage

_log = logging.getLogger("timelog")
_SHOWN = 60


class Dispatcher:
    """Takes the events of ``log`` into a `Queue`, and serves workers at ``socket`` from it.

    An event's content is ``key rest-of-line``, its source names the feed (`feed_of`). What is
    malformed is skipped and counted. Each event is taken in exactly once: the place in the log is
    stored in the same transaction. `run` belongs to one thread, everything else to any.

    ``state``: the file of the queue; beside the log by default. ``tags``, ``source``, ``pattern``:
    which events, as `EventLog.search` takes them. ``after``: where a new queue begins, as
    `EventLog.follow` takes it; at the beginning of the log by default. ``feed_of``: from a source
    to feed and run. ``on_skip``: called with a malformed entry and why, ``on_gap`` with a `Gap`;
    both are logged by default, and are called in a thread of their own. ``patience``: seconds
    after which a key is free again of which nothing was heard, 43,200.

    Raises `InUseError` where the socket or the state is used by another process, `CursorError`
    where the state is of another log, and as `Queue`, `Listener` and `EventLog.follow` do.
    """

    def __init__(
        self,
        log: timelog.EventLog,
        socket: str | PathLike[str],
        *,
        state: str | PathLike[str] | None = None,
        tags: Iterable[str] = (),
        source: str | Iterable[str] | None = None,
        pattern: str | None = None,
        after: int | str | None = 0,
        feed_of: Callable[[str], tuple[str, int]] = feed_of_source,
        on_skip: Callable[[timelog.Entry, str], None] | None = None,
        on_gap: Callable[[timelog.Gap], None] | None = None,
        patience: float = PATIENCE,
    ) -> None:
        self._log = log
        self._open: list[Callable[[], Any]] = []
        storage = Storage()
        path = place(storage, Path(state) if state is not None else _beside(log))
        try:
            fd = hold(storage, path.with_name(f"{path.name}.lock"), f"the queue {path}")
            self._open.append(lambda: storage.close(fd))
            self.queue = Queue(path, patience=patience)
            self._open.append(self.queue.close)
            cursor = self.queue.cursor
            following = log.follow(
                after if cursor is None else cursor, tags=tags, source=source, pattern=pattern
            )
            self._open.append(following.close)
            place(storage, Path(socket))
            listener = Listener(Path(socket))
            self._open.append(listener.close)
            self._server = Server(listener, self.queue, self._take_in)
            self._open.append(self._server.close)
        except BaseException:
            self.close()
            raise
        self._intake = Intake(
            following,
            feed_of,
            wake=self._server.wake,
            on_skip=on_skip or _warn_of_skipped,
            on_gap=on_gap or _warn_of_gap,
        )

    def run(self) -> None:
        """Take events in and serve workers, until `stop` or an error; can be called once.

        Raises what the log or the queue raised, and `ClosedError` where the log was closed.
        Nothing is lost by that: a new dispatcher goes on.
        """
        with self._intake.running():
            self._server.run()

    def stop(self) -> None:
        """Let `run` return soon. Any thread may call this, and a signal handler."""
        self._server.stop()

    def complete(self, feed: str, run: int) -> None:
        """Say that a run is complete, as `Queue.complete`."""
        self.queue.complete(feed, run)

    def drop(self, feed: str, run: int) -> None:
        """Forget a run, with what of it waits, as `Queue.drop`.

        What this process appended of it so far, or others flushed, is forgotten as well.
        """
        self.queue.drop(feed, run, before=self._end())

    def retain(self, present: Iterable[tuple[str, int]]) -> list[Run]:
        """Drop all runs but those that are ``present``, as `drop` does; return which went."""
        return self.queue.retain(present, before=self._end())

    def counts(self) -> Counts:
        """How much waits and is out; see `Queue.counts`."""
        return self.queue.counts()

    def close(self) -> None:
        """Close socket and queue. What workers have stays theirs. After `run`; may be repeated."""
        while self._open:
            self._open.pop()()

    def __enter__(self) -> Dispatcher:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _take_in(self) -> None:
        taken = self._intake.take()
        if taken is not None:
            self.queue.add(taken.tasks, cursor=taken.cursor, skipped=taken.skipped)

    def _end(self) -> int:
        try:
            self._log.flush()
        except ReadOnlyError:
            pass  # then nothing of it is in memory
        return self._log.position


def _beside(log: timelog.EventLog) -> Path:
    return log.path.with_name(f"{log.path.name}.dispatch")


def _warn_of_skipped(entry: timelog.Entry, why: str) -> None:
    content = entry.event.content
    shown = content if len(content) <= _SHOWN else f"{content[: _SHOWN - 1]}…"
    _log.warning("the event at position %d is skipped: %s: %r", entry.position, why, shown)


def _warn_of_gap(gap: timelog.Gap) -> None:
    _log.warning(
        "the events from position %d to %d cannot be handed out: %s",
        gap.first,
        gap.last,
        gap.reason,
    )

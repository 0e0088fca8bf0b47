"""`Watcher`: follows files as they grow, are rotated, truncated, compressed and deleted."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from types import TracebackType
from typing import NamedTuple

import timelog
from timelog.errors import InvalidInput
from timelog.ingest.claim import Claim
from timelog.ingest.feed import Stopped
from timelog.ingest.forms import AUTO
from timelog.ingest.lines import Tally
from timelog.ingest.lookout import Lookout
from timelog.ingest.options import Options
from timelog.ingest.scan import Root
from timelog.ingest.waiting import Waiter
from timelog.zones import Zone

# However well the system tells of changes, everything is looked at again after so many seconds.
RESCAN = 10.0
_TURN = 0.2


class FileState(NamedTuple):
    """A file that is followed: up to which byte it was read, and the form of its times."""

    path: str
    offset: int
    form: str


class Watcher:
    """Reads files into ``log`` as they grow, each line once, whatever happens to them.

    ``paths``: directories, which exist, and of which the files are read whose names fit one of the
    globs ``glob`` (``"*"``; one with a ``/`` is compared with the path below the directory), and
    files, which need not exist yet. ``recursive``: directories below them, too. ``source``: of the
    events; the file's name by default. ``tags``: of the events.

    ``timestamps``: in which form lines say their times: ``"auto"`` finds out from the first lines,
    ``"none"`` takes the time of arrival; see `timelog.ingest`; or a mapping of globs of file names
    to such. ``zone``: of times that say none, local by default. ``year``: of a file's first line,
    where its times say none. ``multiline``: what begins a record of several lines: ``"indent"``,
    ``"time"`` or a regular expression; None, each line is one.

    ``name``: the places, up to where each file was read, are kept in the log under it, and stored
    in the commit of the events they follow, so that a kill at any moment loses nothing and repeats
    nothing. One process at a time may use a name. ``poll``: seconds between two looks; None, the
    default, is told by the system (needs the extra ``ingest``; else every second). ``marks``: store
    an event, tagged ``file-complete`` or ``file-gone``, when a run ``name.<number>.txt`` was read
    to its end, and when any file is gone. ``notice``: told in words what was detected. ``stop``:
    ends `run` when it is set.

    A context manager: inside, a thread follows the files. Or call `run` in a thread of your own, or
    `read` now and then. Raises `InvalidInput`, also where the name is in use.
    """

    def __init__(
        self,
        log: timelog.EventLog,
        *paths: str | os.PathLike[str],
        glob: str | Iterable[str] = "*",
        recursive: bool = False,
        source: str | None = None,
        tags: Iterable[str] = (),
        timestamps: str | Mapping[str, str] = AUTO,
        zone: Zone | str = None,
        year: int | None = None,
        multiline: str | None = None,
        name: str = "default",
        poll: float | None = None,
        marks: bool = False,
        notice: Callable[[str], None] | None = None,
        stop: threading.Event | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        globs = (glob,) if isinstance(glob, str) else tuple(glob)
        if not paths or not globs:
            raise InvalidInput("name at least one directory or file, and at least one glob")
        if not 1 <= len(name) <= 200:
            raise InvalidInput(f"name must have 1 to 200 characters, not {len(name)}")
        if poll is not None and not 0 < poll < float("inf"):
            raise InvalidInput(f"poll must be seconds above 0, not {poll!r}")
        self._options = Options(
            source, tuple(tags), timestamps, zone, year, multiline, marks, notice
        )
        self._stop = stop if stop is not None else threading.Event()
        self._poll = poll
        self._monotonic = monotonic
        self._thread: threading.Thread | None = None
        self._ended = threading.Event()
        self._error: BaseException | None = None
        self._claim = Claim(log.path, name)
        try:
            self._lookout = Lookout(
                log,
                [_root(path) for path in paths],
                globs,
                recursive,
                name,
                self._options,
                self._stop,
                monotonic,
            )
        except BaseException:
            self._claim.release()
            raise

    @property
    def tally(self) -> Tally:
        """What was read so far, and what was met: lines not UTF-8, cut, without a time."""
        return self._options.tally

    @property
    def files(self) -> list[FileState]:
        """The files that are followed, by path."""
        tails = sorted([*self._lookout.tails.values()], key=lambda tail: tail.path)
        return [FileState(os.fsdecode(tail.path), tail.place.offset, tail.form) for tail in tails]

    def read(self) -> int:
        """Look once and read all that is there; return how many events that were.

        An unfinished last line waits for the next call. Not while `run` is running. Raises what
        `EventLog.append_many` does and is not a matter of waiting.
        """
        before = self.tally.events
        self._lookout.scan()
        self._read_all()
        return self.tally.events - before

    def run(self) -> None:
        """Follow the files until `close` is called from another thread, or ``stop`` is set.

        While the log is full or its disk refuses, reading waits. Errors as `read`.
        """
        lookout = self._lookout
        waiter = Waiter(self._poll, self._stop)
        due = 0.0
        try:
            while not self._stop.is_set():
                now = self._monotonic()
                if now >= due:
                    lookout.scan()
                    # What came to a new directory before it was watched was not told.
                    while waiter.watch(lookout.scanner.directories):
                        lookout.scan()
                    due = now + (RESCAN if waiter.is_told else 0)
                lookout.read()
                lookout.finish_idle()
                if lookout.has_work:
                    continue
                changed = waiter.wait()
                if changed is None or lookout.is_undecided or lookout.changed(changed):
                    due = 0.0
            lookout.finish_deleted()
        except Stopped:
            pass
        finally:
            waiter.close()

    def _read_all(self) -> None:
        try:
            self._lookout.read()
            while self._lookout.has_work and not self._stop.is_set():
                self._lookout.read()
            self._lookout.finish_idle()
        except Stopped:
            pass

    def start(self) -> None:
        """Follow the files in a thread of its own until `close`."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="timelog ingest", daemon=True)
            self._thread.start()

    def join(self) -> None:
        """Wait until the thread ends; raise the error that ended it."""
        if self._thread is not None:
            # Not its own join, which takes a thread for ended where a signal interrupts it; and in
            # short turns, as a signal that another thread of the process got wakes nobody here.
            while not self._ended.wait(_TURN):
                pass
            self._thread.join()
        if self._error is not None:
            error, self._error = self._error, None
            raise error

    def close(self) -> None:
        """Stop, and let go of all files. May be repeated. Errors as `join`."""
        self._stop.set()
        try:
            self.join()
        finally:
            self._lookout.close()
            self._claim.release()

    def __enter__(self) -> Watcher:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _run(self) -> None:
        try:
            self.run()
        except BaseException as error:
            self._error = error
        finally:
            self._ended.set()


def _root(path: str | os.PathLike[str]) -> Root:
    name = os.path.abspath(os.fsencode(path))
    if os.path.isdir(name):
        return Root(name)
    return Root(os.path.dirname(name), os.path.basename(name))

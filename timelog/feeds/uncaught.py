"""`record_uncaught`: exceptions that nobody caught, on the disk before the process is gone."""

from __future__ import annotations

import logging
import sys
import threading
import traceback
from collections.abc import Iterable
from types import TracebackType

from timelog import EventLog
from timelog.fit import fit_content, fit_fields, fit_source, fit_tags

# A person's Ctrl-C, and how a program or a thread ends on purpose.
_WANTED = (KeyboardInterrupt, SystemExit)


class Uncaught:
    """What `record_uncaught` put in the place of the hooks; a context manager that takes it back.

    ``failed``: how many exceptions could not be stored.
    """

    def __init__(self, log: EventLog, source: str, tags: tuple[str, ...]) -> None:
        self._log = log
        self._source = source
        self._tags = tags
        self._is_installed = True
        self._in_process = sys.excepthook
        self._in_thread = threading.excepthook
        self.failed = 0
        # Each attribute of an object is a new bound method; these are compared at the end.
        self._hooks = (self._process_hook, self._thread_hook)
        sys.excepthook, threading.excepthook = self._hooks

    def uninstall(self) -> None:
        """Put the hooks of before back, unless others were installed since. May be repeated."""
        self._is_installed = False
        if sys.excepthook is self._hooks[0]:
            sys.excepthook = self._in_process
        if threading.excepthook is self._hooks[1]:
            threading.excepthook = self._in_thread

    def __enter__(self) -> Uncaught:
        return self

    def __exit__(self, *_: object) -> None:
        self.uninstall()

    def _process_hook(
        self,
        kind: type[BaseException],
        error: BaseException,
        trace: TracebackType | None,
    ) -> None:
        try:
            self._store(kind, error, trace, threading.current_thread().name)
        finally:
            self._in_process(kind, error, trace)

    def _thread_hook(self, args: threading.ExceptHookArgs) -> None:
        try:
            name = args.thread.name if args.thread is not None else ""
            self._store(args.exc_type, args.exc_value, args.exc_traceback, name)
        finally:
            self._in_thread(args)

    def _store(
        self,
        kind: type[BaseException],
        error: BaseException | None,
        trace: TracebackType | None,
        thread: str,
    ) -> None:
        if not self._is_installed or issubclass(kind, _WANTED):
            return
        try:
            text = "".join(traceback.format_exception(kind, error, trace)).rstrip("\n")
            self._log.append(
                fit_content(text),
                source=self._source,
                tags=self._tags,
                fields=fit_fields({"exception": kind.__qualname__, "thread": thread}),
                sync=True,
            )
        except Exception:
            # The exception itself is still to be reported by the hook of before.
            self.failed += 1
            what = {"name": __name__, "msg": "an exception could not be stored"}
            logging.Handler().handleError(logging.makeLogRecord(what))


def record_uncaught(
    log: EventLog, *, source: str = "", tags: Iterable[str] = ("critical", "uncaught")
) -> Uncaught:
    """Append exceptions that nobody caught, in any thread, to ``log``, and sync it.

    Sets ``sys.excepthook`` and ``threading.excepthook``; those of before are called afterwards.
    The traceback is the content; the exception's type and the thread's name are in the fields
    ``exception`` and ``thread``. ``KeyboardInterrupt`` and ``SystemExit`` are not recorded. What
    cannot be stored is reported on stderr. Cost: none until then, and then one fsync or two.
    """
    return Uncaught(log, fit_source(source), fit_tags(tags))

"""What every command shares: exit codes, the error with one sentence, the log's directory.

Exit codes are grep's, and the shell's for signals. Data goes to stdout; `complain` is the one way
to stderr.
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
from datetime import UTC
from typing import Literal

import timelog
from timelog.cli.escape import escape
from timelog.zones import Zone, find_zone

FOUND = 0
NOTHING = 1
ERROR = 2
DAMAGE = 3
INTERRUPTED = 130
PIPE_CLOSED = 141
TERMINATED = 143

_said: set[str] = set()  # by this run of a command


class CommandError(Exception):
    """What was asked cannot be done; the text is one sentence for the user. Exit code 2."""


def complain(text: str) -> None:
    """Write ``timelog: text`` to stderr, made safe for a terminal."""
    if sys.stderr is None:  # started with stderr closed
        return
    try:
        print(f"timelog: {escape(text)}", file=sys.stderr, flush=True)
    except OSError:  # nobody reads it any more, and there is no other place to say so
        pass


class LibraryMessages(logging.Handler):
    """Says what the library warns of, each thing once, for as long as the ``with`` lasts."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self._logger = logging.getLogger("timelog")

    def __enter__(self) -> None:
        _said.clear()
        self._logger.addHandler(self)

    def __exit__(self, *_: object) -> None:
        self._logger.removeHandler(self)

    def emit(self, record: logging.LogRecord) -> None:
        """Pass a message on."""
        complain_once(record.getMessage())


def complain_once(text: str) -> None:
    """`complain`, unless the same was said already: the library and a search may both tell."""
    if text not in _said:
        _said.add(text)
        complain(text)


def sentence(error: Exception) -> str:
    """Return what ``error`` says, without Python's ``[Errno 28]`` and quoting."""
    if isinstance(error, OSError) and error.strerror:
        where = f"{os.fsdecode(error.filename)}: " if isinstance(error.filename, str) else ""
        return f"{where}{error.strerror}"
    return str(error) or type(error).__name__


def log_directory(args: argparse.Namespace) -> str:
    """Return the directory named by ``--dir``, else by ``TIMELOG_DIR``; else `CommandError`."""
    named: str | None = getattr(args, "dir", None)
    if named == "":
        raise CommandError("--dir needs the name of a directory")
    directory = named or os.environ.get("TIMELOG_DIR")
    if not directory:
        raise CommandError("no log was named; give --dir DIR, or set TIMELOG_DIR")
    return directory


def open_log(args: argparse.Namespace, mode: Literal["a", "r"]) -> timelog.EventLog:
    """Open the log that ``args`` name: ``"r"`` writes nothing at all, ``"a"`` creates it."""
    return timelog.open(log_directory(args), mode=mode)


def open_to_change(args: argparse.Namespace) -> timelog.EventLog:
    """Open the log that ``args`` name for writing, if it is there."""
    open_log(args, "r").close()
    return open_log(args, "a")


def chosen_zone(args: argparse.Namespace) -> Zone:
    """Return the zone of times that say none: ``--utc``, ``--tz``, ``TIMELOG_TZ``, else local."""
    if args.utc:
        return UTC
    return find_zone(args.tz or os.environ.get("TIMELOG_TZ") or "local")


def text_argument(value: str) -> str:
    """Return a command-line argument as text: bytes that are not UTF-8 become ``\\xNN``."""
    return os.fsencode(value).decode("utf-8", "backslashreplace")

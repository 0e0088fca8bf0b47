"""From an event to what the queue holds: ``key rest-of-line``, and the feed and run it is of.

All functions are pure.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from timelog.errors import InvalidInput

MOST_KEY = 1024
# Tags of what a watcher of files tells of a file.
COMPLETE, GONE = "file-complete", "file-gone"
# ``name.<number>.txt``, and ``name.<number>.txt.part`` while it is being written.
_RUN = re.compile(r"(.+)\.(\d{1,18})\.txt(?:\.part)?", re.ASCII | re.DOTALL)


class Task(NamedTuple):
    """One entry of a feed: of run ``run`` (0 where a feed has none), at ``position`` of the log."""

    feed: str
    run: int
    key: str
    payload: str
    position: int


class Mark(NamedTuple):
    """What became of a run, as a watcher of files tells: its file is complete, or is gone."""

    feed: str
    run: int
    is_gone: bool
    position: int


def feed_of(source: str) -> tuple[str, int]:
    """The feed and the run of an event by its source.

    ``name.<number>.txt``, with ``.part`` behind it or not, is the run ``<number>`` of the feed
    ``name``; every other source is a feed of its own, and has the one run 0.
    """
    match = _RUN.fullmatch(source)
    return (match[1], int(match[2])) if match else (source, 0)


def split_entry(content: str) -> tuple[str, str]:
    """The key and the rest of ``key rest-of-line``; the rest may be empty.

    Raises `InvalidInput` with the reason where it is no entry: no key, a key of more than 1,024
    characters or with control characters in it, or more than one line.
    """
    line = content.removesuffix("\n").removesuffix("\r")
    key, _, payload = line.partition(" ")
    if not key:
        raise InvalidInput("it does not begin with a key")
    if len(key) > MOST_KEY:
        raise InvalidInput(f"its key has more than {MOST_KEY} characters")
    if not is_key(key):
        raise InvalidInput("its key has a control character or white space in it")
    if any(each in payload for each in "\n\r\0"):
        raise InvalidInput("it has more than one line, or a NUL, in it")
    return key, payload


def is_key(text: str) -> bool:
    """Whether ``text`` can be a key: something, without white space and control characters."""
    return bool(text) and not any(each.isspace() or ord(each) < 32 for each in text)

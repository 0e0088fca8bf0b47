"""The lines that workers and the dispatcher exchange.

::

    READY                        give me something to do
    DONE <key> <exit code>       that is done; give me something else
    JOB <key> <rest>             do this (``JOB <key>`` where there is no rest)
    NOJOBS                       nothing waits; ask again later
    ERROR <sentence>             the line was not understood, or is not true; nothing was changed

Each ends with a newline, is UTF-8, and of a request has at most 8 KiB. All functions are pure.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from timelog.consume.tasks import is_key
from timelog.errors import InvalidInput

LONGEST = 8 * 1024
NOJOBS = b"NOJOBS\n"
_EXIT_CODE = re.compile(r"-?\d{1,9}", re.ASCII)


class Request(NamedTuple):
    """What a worker says: that it is ready, or first that ``key`` ended with ``exit_code``."""

    key: str | None = None
    exit_code: int = 0


def parse_request(line: bytes) -> Request:
    """Return what a line says, without its newline; raises `InvalidInput` with what is wrong."""
    try:
        words = line.removesuffix(b"\r").decode().split(" ")
    except UnicodeDecodeError:
        raise InvalidInput("the line is not UTF-8") from None
    if words == ["READY"]:
        return Request()
    if words[0] != "DONE":
        raise InvalidInput("say READY, or DONE <key> <exit code>")
    if len(words) != 3 or not is_key(words[1]) or not _EXIT_CODE.fullmatch(words[2]):
        raise InvalidInput("DONE needs a key and an exit code: DONE <key> <exit code>")
    return Request(words[1], int(words[2]))


def job_line(key: str, payload: str) -> bytes:
    """The answer that hands out a key."""
    return (f"JOB {key} {payload}\n" if payload else f"JOB {key}\n").encode()


def error_line(sentence: str) -> bytes:
    """The answer to what cannot be done."""
    return f"ERROR {sentence}\n".encode()

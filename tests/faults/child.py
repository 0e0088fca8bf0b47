"""A part of a test in a process of its own, forked, which may end in the middle."""

from __future__ import annotations

import os
import tempfile
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager

# How a child ends: in the middle, as it was to; after its last step; with an error.
CUT, ENDED, FAILED = 0, 1, 2


def in_child(function: Callable[[], None]) -> int:
    """Run ``function`` in a forked child and return how it ended; as `start` and `finish`."""
    return finish(start(function))


def start(function: Callable[[], None]) -> tuple[int, int]:
    """Begin ``function`` in a forked child; `finish` waits for it."""
    words, into = os.pipe()
    pid = os.fork()
    if pid == 0:
        status = FAILED
        try:
            function()
            status = ENDED
        except BaseException:
            os.write(into, traceback.format_exc().encode()[-60_000:])
        finally:
            os._exit(status)
    os.close(into)
    return pid, words


def finish(child: tuple[int, int]) -> int:
    """Wait for the child; raises ``AssertionError`` with its traceback where it failed."""
    pid, words = child
    with os.fdopen(words, "rb") as text:
        said = text.read().decode()
    _, status = os.waitpid(pid, 0)
    code = os.waitstatus_to_exitcode(status)
    if code not in (CUT, ENDED):
        raise AssertionError(f"the child ended with {code}: {said}")
    return code


@contextmanager
def acks_file() -> Iterator[int]:
    """A descriptor of a new file in memory for acknowledgements."""
    with tempfile.TemporaryFile(dir="/dev/shm") as file:
        yield file.fileno()

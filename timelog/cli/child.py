"""A second process for ``torture``: made by fork, talks in lines, and can be killed at any time."""

from __future__ import annotations

import logging
import os
import select
import signal
import time
from collections.abc import Callable
from types import TracebackType
from typing import NoReturn, TypeAlias

from timelog.cli.base import sentence

_PATIENCE = 60.0


class Failed(Exception):
    """A child met an error; the text says which, and ``errno`` what the system called it, or 0."""

    def __init__(self, text: str, errno: int = 0) -> None:
        super().__init__(text)
        self.errno = errno


class Line:
    """A child's end of what connects it with its parent."""

    def __init__(self, says: int, hears: int) -> None:
        self._says = says
        self._hears = hears

    def say(self, text: str) -> None:
        """Tell the parent a line; ends the child where there is no parent any more."""
        os.write(self._says, f"{text}\n".encode())

    def is_told(self) -> bool:
        """Whether the parent said `Child.go` since the last `wait`, or is gone."""
        return bool(select.select([self._hears], [], [], 0)[0])

    def wait(self) -> None:
        """Wait until the parent says `Child.go`, or is gone."""
        os.read(self._hears, 1)


Act: TypeAlias = Callable[[Line], None]


class Child:
    """A process that runs ``act``; a context manager, at whose end it is killed if need be.

    Start it while this process has no threads that matter: the child has only the one. What the
    library logs in it is not shown: it works where things go wrong on purpose.
    """

    def __init__(self, act: Act) -> None:
        self._heard, says = os.pipe()
        hears, self._told = os.pipe()
        self._rest = b""
        self._status: int | None = None
        self._pid = os.fork()
        if self._pid == 0:
            os.close(self._heard)
            os.close(self._told)
            _run(act, Line(says, hears))
        os.close(says)
        os.close(hears)

    def __enter__(self) -> Child:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.kill()
        os.close(self._heard)
        os.close(self._told)

    def go(self) -> None:
        """Let the child go on from where it waits."""
        try:
            os.write(self._told, b".")
        except BrokenPipeError:  # it is gone, and `line` tells why
            pass

    def line(self) -> str:
        """Return the next line that the child says; empty when it has ended.

        Raises `Failed` where it met an error, and ``TimeoutError`` where it says nothing for a
        minute.
        """
        end = time.monotonic() + _PATIENCE
        while b"\n" not in self._rest:
            if not select.select([self._heard], [], [], max(end - time.monotonic(), 0))[0]:
                raise TimeoutError(f"a process did nothing for {_PATIENCE:g} seconds")
            data = os.read(self._heard, 65536)
            if not data:
                return ""
            self._rest += data
        line, _, self._rest = self._rest.partition(b"\n")
        text = line.decode()
        if text.startswith("!"):
            number, _, words = text[1:].partition(" ")
            raise Failed(words, int(number))
        return text

    def lines(self) -> list[str]:
        """Return all that it says from now on; returns when it has ended. Errors as `line`."""
        lines = []
        while line := self.line():
            lines.append(line)
        return lines

    def kill(self) -> None:
        """Kill it, with ``kill -9``, and wait until it is gone. May be repeated."""
        if self._status is None:
            os.kill(self._pid, signal.SIGKILL)
            self._status = os.waitpid(self._pid, 0)[1]


def _run(act: Act, line: Line) -> NoReturn:
    try:
        logging.disable(logging.CRITICAL)
        act(line)
    except BaseException as error:
        number = (isinstance(error, OSError) and error.errno) or 0
        words = (
            sentence(error) if isinstance(error, OSError) else f"{type(error).__name__}: {error}"
        )
        line.say(" ".join(f"!{number} {words}".split())[:1000])
    finally:
        # Nothing of the parent's is written out, closed or removed here.
        os._exit(0)

"""Where the data goes: stdout in large pieces of UTF-8, or a pager on a terminal."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import IO

from timelog.cli.base import CommandError

_PIECE = 64 * 1024
_PAUSE = 0.1


class Out:
    """Text collected into pieces, so that printing costs little; for one thread.

    A piece goes out when it is large, when the last one went out a tenth of a second ago (what
    comes slowly is seen at once), and at `flush`.
    """

    def __init__(self, raw: IO[bytes]) -> None:
        self._raw = raw
        self._parts: list[str] = []
        self._size = 0
        self._last = 0.0

    def write(self, text: str) -> None:
        """Add ``text``; whatever of it UTF-8 cannot hold is written as an escape."""
        self._parts.append(text)
        self._size += len(text)
        if self._size >= _PIECE or time.monotonic() - self._last >= _PAUSE:
            self.flush()

    def flush(self) -> None:
        """Hand everything over. Raises ``BrokenPipeError`` where nobody reads it any more."""
        data = "".join(self._parts).encode("utf-8", "backslashreplace")
        self._parts.clear()
        self._size = 0
        try:
            self._raw.write(data)
            self._raw.flush()
        except BrokenPipeError:
            raise
        except OSError as error:
            raise CommandError(f"the output could not be written: {error.strerror}") from None
        self._last = time.monotonic()


def stdout() -> Out:
    """Return stdout. Raises `CommandError` where the process was started without one."""
    if sys.stdout is None:
        raise CommandError("stdout is closed; there is nowhere to write to")
    sys.stdout.flush()
    return Out(sys.stdout.buffer)


def put(text: str) -> None:
    """Write ``text`` and a newline to stdout, now."""
    out = stdout()
    out.write(text + "\n")
    out.flush()


def is_terminal() -> bool:
    """Whether stdout is a terminal."""
    return sys.stdout is not None and sys.stdout.isatty()


def use_color(when: str, environ: Mapping[str, str] = os.environ) -> bool:
    """Whether to colour: ``when`` says ``always``, ``never``, or ``auto``.

    ``auto``: not with ``NO_COLOR``, always with ``FORCE_COLOR`` (neither counts while empty),
    otherwise on a terminal that is not ``dumb``.
    """
    if when != "auto":
        return when == "always"
    if environ.get("NO_COLOR"):
        return False
    if environ.get("FORCE_COLOR", "0") not in ("", "0"):
        return True
    return is_terminal() and environ.get("TERM") != "dumb"


def pager_command(environ: Mapping[str, str] = os.environ) -> str | None:
    """Return the shell command that pages: ``PAGER``, else ``less -FRX`` where there is one."""
    command = environ.get("PAGER")
    if command is None:
        return "less -FRX" if shutil.which("less") else None
    return command if command.strip() not in ("", "cat") else None


@contextmanager
def paged(wanted: bool) -> Iterator[Out]:
    """Yield the place to write to: a pager where ``wanted`` on a terminal, else stdout.

    Leaving the pager before the end is no error; Ctrl-C is the pager's own affair.
    """
    command = pager_command() if wanted and is_terminal() else None
    if command is None:
        out = stdout()
        yield out
        out.flush()
        return
    # Without FRX a bare `PAGER=less` would show colours as text and stay for two lines.
    environ = {"LESS": "FRX", "LESSCHARSET": "utf-8", **os.environ}
    with subprocess.Popen(command, shell=True, stdin=subprocess.PIPE, env=environ) as pager:
        assert pager.stdin is not None
        out = Out(pager.stdin)
        try:
            yield out
            out.flush()
            pager.stdin.close()
        except BrokenPipeError:
            pass
        finally:
            _await(pager)


def _await(pager: subprocess.Popen[bytes]) -> None:
    while True:
        try:
            if pager.stdin is not None and not pager.stdin.closed:
                pager.stdin.close()
        except BrokenPipeError:
            pass
        try:
            pager.wait()
            return
        except KeyboardInterrupt:
            continue  # less took it, too, and stays

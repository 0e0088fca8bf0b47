"""`Inotify`: told by Linux when a directory's files change (inotify(7)).

Python has no call for it, and packages that do pause before they tell, which a follower would wait
for; so the three calls are made directly. One thread waits, any may wake it.
"""

from __future__ import annotations

import ctypes
import os
import select
from pathlib import Path

_MODIFY, _MOVED_TO, _CREATE = 0x2, 0x80, 0x100
_ONLY_DIRECTORY = 0x01000000


class Inotify:
    """Watches one directory. Raises ``OSError`` where the system cannot."""

    def __init__(self, directory: Path) -> None:
        try:
            libc = ctypes.CDLL(None, use_errno=True)
            start, add = libc.inotify_init1, libc.inotify_add_watch
        except (AttributeError, TypeError) as missing:
            raise OSError(f"this system has no inotify: {missing}") from None
        self._fd = start(os.O_CLOEXEC | os.O_NONBLOCK)
        if self._fd < 0:
            raise _last_error()
        what = _MODIFY | _MOVED_TO | _CREATE | _ONLY_DIRECTORY
        if add(self._fd, os.fsencode(directory), what) < 0:
            error = _last_error()
            os.close(self._fd)
            raise error
        self._woken = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)

    def wait(self, timeout: float) -> None:
        """Return when something changed, when `wake` was called, or after so many seconds."""
        ready, _, _ = select.select((self._fd, self._woken), (), (), timeout)
        for fd in ready:
            try:
                os.read(fd, 64 * 1024)
            except BlockingIOError:
                pass

    def wake(self) -> None:
        """Let `wait` return."""
        os.eventfd_write(self._woken, 1)

    def close(self) -> None:
        """Let go of what it holds; nobody may be waiting."""
        for fd in (self._fd, self._woken):
            os.close(fd)


def _last_error() -> OSError:
    number = ctypes.get_errno()
    return OSError(number, os.strerror(number))

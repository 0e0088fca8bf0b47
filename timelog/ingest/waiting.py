"""Waiting for files to change: told by the system where it can, else looking now and then."""

from __future__ import annotations

import logging
import os
import threading
from typing import Any

_log = logging.getLogger("timelog")

TICK = 1.0  # seconds
# Changes that come together are told together.
_STEP = 20  # milliseconds
_LONGEST_STEPS = 200


class Waiter:
    """Waits until something in some directories changed. For one thread.

    ``interval``: seconds between two looks where the system does not tell; None asks it to.
    """

    def __init__(self, interval: float | None, stop: threading.Event) -> None:
        self._interval = interval if interval is not None else TICK
        self._stop = stop
        self._make = _find_notifier() if interval is None else None
        self._directories: frozenset[bytes] = frozenset()
        self._notifier: Any = None

    @property
    def is_told(self) -> bool:
        """Whether the system tells what changes."""
        return self._notifier is not None

    def watch(self, directories: set[bytes]) -> bool:
        """From now on wait for these; whether that is news: what came before is not told."""
        if self._make is None or directories == self._directories:
            return False
        self.close()
        self._directories = frozenset(directories)
        if not directories:
            return False
        try:
            self._notifier = self._make(
                [os.fsdecode(each) for each in sorted(directories)],
                False,  # debug
                False,  # poll
                300,
                False,  # recursive
                True,  # pass over what must not be read
            )
        except (OSError, RuntimeError) as error:
            # Too many of them, or one went away meanwhile.
            _log.warning("files are looked at every second, as the system does not tell: %s", error)
            self._make = None
            return False
        return True

    def wait(self) -> set[bytes] | None:
        """Return the paths that changed within about a second; None where that is not known."""
        if self._notifier is None:
            self._stop.wait(self._interval)
            return None
        told = self._notifier.watch(_LONGEST_STEPS, _STEP, int(TICK * 1000), self._stop)
        if isinstance(told, str):  # a timeout, or it is to stop
            return set()
        return {os.fsencode(path) for _, path in told}

    def close(self) -> None:
        """Let go of what the system gave."""
        if self._notifier is not None:
            self._notifier.close()
        self._notifier = None


def _find_notifier() -> Any:
    """Return what the extra ``ingest`` has for this, or None."""
    try:
        from watchfiles._rust_notify import RustNotify
    except ImportError:
        return None
    return RustNotify

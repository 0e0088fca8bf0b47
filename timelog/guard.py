"""Locks against re-entry: a signal handler or finalizer that uses the log it has interrupted.

It runs in the thread that holds the lock, so waiting would be for ever. The locks are reentrant
ones only because those know their holder; nobody takes one twice on purpose except the index's.
They are always taken by ``with``: an interrupt may come after any call, and so also between an
``acquire()`` and the ``try`` that would release it.
"""

from __future__ import annotations

from collections.abc import Callable
from threading import RLock

from timelog.errors import ReentryError


def is_mine(lock: RLock) -> Callable[[], bool]:
    """Return a function that tells whether the calling thread holds ``lock``, cheaply."""
    known: Callable[[], bool] = lock._is_owned  # type: ignore[attr-defined]
    return known


def check_reentry(lock: RLock, doing: str) -> None:
    """Raise `ReentryError` if the calling thread holds ``lock``; ``doing`` says for what."""
    if is_mine(lock)():
        raise ReentryError(
            f"a signal handler or finalizer used the log in the middle of {doing}; let it set a "
            "flag or raise, and use the log afterwards"
        )

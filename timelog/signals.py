"""SIGTERM and SIGHUP: what is in memory is stored before one of them ends the process.

Left to itself, Python ends at once, without what `atexit` was told. So while a log is open that
wants it, a handler stands where nobody else has put one. It runs in the main thread in the middle
of anything, perhaps of a flush with its locks held: it starts a thread that stores, and waits for
it only a moment, so that what was interrupted can go on. When all is stored the signal is sent
again, and ends the process with the status that it would have had. One that arrives meanwhile
changes nothing.
"""

from __future__ import annotations

import _thread
import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Protocol

NUMBERS = (signal.SIGTERM, signal.SIGHUP)
# Seconds that writing may take, besides those of waiting for another process.
_WRITING = 20.0
# Seconds that what was interrupted stands still, which is nearly always long enough.
_STANDING = 0.1
# How often the main thread is asked to end the process, and the seconds between: it needs them
# where it runs no Python, and where a signal comes while it begins to wait for something.
_ASKING = 100
_PAUSE = 0.01


class Keeper(Protocol):
    """What holds something in memory. Thread-safe; no method raises."""

    def store_before_end(self) -> None:
        """Store it; where that fails, log it."""

    def log_loss(self, reason: object) -> None:
        """Log what could not be stored, if anything."""


class _State:
    """How far the process is on its way to the end."""

    def __init__(self) -> None:
        # Held by the one thread that obeys a signal.
        self.obeying = _thread.allocate_lock()
        self.storing = _thread.allocate_lock()
        self.storing.acquire()
        self.arrived = 0
        self.is_stored = False
        self.is_exiting = False


# With the seconds that each may wait for another process.
_keepers: dict[Keeper, float] = {}
_state = _State()


def watch(keeper: Keeper, patience: float) -> None:
    """Let ``keeper``, which waits ``patience`` seconds for others, store before the process ends.

    A signal that somebody handles or ignores is left alone, and so are all where this is not the
    main thread of the main interpreter.
    """
    _keepers[keeper] = patience
    for number in NUMBERS:
        if signal.getsignal(number) is signal.SIG_DFL:
            _set(number, _handle)


def forget(keeper: Keeper) -> None:
    """Take `watch` back; after the last keeper the signals are as they were before the first."""
    _keepers.pop(keeper, None)
    if not _keepers:
        for number in NUMBERS:
            if signal.getsignal(number) is _handle:
                _set(number, signal.SIG_DFL)


@contextmanager
def exiting() -> Iterator[None]:
    """The block stores all at the exit of the interpreter; a signal ends the process after it."""
    _state.is_exiting = True
    yield
    if _state.arrived:
        _end(_state.arrived)


def _handle(number: int, frame: FrameType | None) -> None:
    if _state.is_stored or not _keepers:
        _end(_state.arrived or number)
    elif _state.is_exiting:
        _state.arrived = number
    else:
        # It is not where a handler of the application's calls the one that it found.
        signal.signal(number, _handle)
        try:
            # Not of `threading`: what was interrupted may hold what the start of those waits for.
            _thread.start_new_thread(_obey, (number, _thread.get_ident()))
        except RuntimeError:
            # The system had no thread to give. Refused, and logged, where a flush was interrupted.
            _store()
            _end(number)
        if _state.storing.acquire(timeout=_STANDING):
            _end(_state.arrived)


def _obey(number: int, main: int) -> None:
    """Store, in bounded time, and let the main thread end the process. Runs in a thread."""
    state = _state
    if not state.obeying.acquire(blocking=False):
        return
    state.arrived = number
    limit = max(_keepers.copy().values(), default=0.0) + _WRITING
    if not _ends_within(_store, limit):
        for keeper in list(_keepers):
            keeper.log_loss(f"storing them took longer than {limit:g} seconds")
    state.is_stored = True
    state.storing.release()
    # Only the main thread can let a signal do again what it does by itself.
    for _ in range(_ASKING):
        signal.pthread_kill(main, number)
        # Nobody lets go of it.
        state.obeying.acquire(timeout=_PAUSE)
    os._exit(128 + number)


def _ends_within(act: Callable[[], None], limit: float) -> bool:
    """Call ``act`` in a thread; whether it returned within ``limit`` seconds."""
    running = _thread.allocate_lock()
    running.acquire()

    def run() -> None:
        act()
        running.release()

    try:
        _thread.start_new_thread(run, ())
    except RuntimeError:
        run()
    return running.acquire(timeout=min(limit, threading.TIMEOUT_MAX))


def _store() -> None:
    for keeper in list(_keepers):
        keeper.store_before_end()


def _end(number: int) -> None:
    """End the process as the signal by itself does. In the main thread."""
    signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)


def _set(number: int, handler: signal.Handlers | Callable[[int, FrameType | None], None]) -> None:
    try:
        signal.signal(number, handler)
    except ValueError:
        # This is not the main thread of the main interpreter.
        pass


def _after_fork_in_child() -> None:
    global _state
    _state = _State()


os.register_at_fork(after_in_child=_after_fork_in_child)

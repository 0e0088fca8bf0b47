"""Ctrl-C and SIGTERM: both unwind the stack, so that logs are closed and nothing is lost.

Handlers can be set in the main thread only; elsewhere (a program that calls `main` in a thread of
its own) all of this does nothing.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType


class Terminated(BaseException):
    """SIGTERM arrived."""


@contextmanager
def terminating() -> Iterator[None]:
    """Within the block SIGTERM raises `Terminated`."""

    def arrived(number: int, frame: FrameType | None) -> None:
        raise Terminated

    with _handled(arrived, signal.SIGTERM):
        yield


@contextmanager
def stopping(stop: Callable[[], object]) -> Iterator[None]:
    """Within the block Ctrl-C and SIGTERM call ``stop``; raised at its end. A second one at once.

    ``stop`` must be safe in a signal handler.
    """
    arrived: list[type[BaseException]] = []

    def remember(number: int, frame: FrameType | None) -> None:
        arrived.append(KeyboardInterrupt if number == signal.SIGINT else Terminated)
        if len(arrived) > 1:
            raise arrived[0]
        stop()

    with _handled(remember, signal.SIGINT, signal.SIGTERM):
        yield
    if arrived:
        raise arrived[0]


class Interrupts:
    """Puts Ctrl-C and SIGTERM off until nothing is half done; a second one does not wait.

    Made for one loop: entered around all of it, and `waiting` around what may be given up.
    """

    def __init__(self) -> None:
        self._is_waiting = False
        self._arrived: type[BaseException] | None = None

    @contextmanager
    def put_off(self) -> Iterator[None]:
        """Within the block a signal is only remembered, except in `waiting`."""
        with _handled(self._remember, signal.SIGINT, signal.SIGTERM):
            yield

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """Raise what has arrived, and within the block what arrives."""
        self._is_waiting = True
        try:
            if self._arrived is not None:
                raise self._arrived
            yield
        finally:
            self._is_waiting = False

    def _remember(self, number: int, frame: FrameType | None) -> None:
        again = self._arrived is not None
        self._arrived = KeyboardInterrupt if number == signal.SIGINT else Terminated
        if again or self._is_waiting:
            raise self._arrived


@contextmanager
def _handled(
    handler: Callable[[int, FrameType | None], None], *numbers: signal.Signals
) -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = [(number, signal.signal(number, handler)) for number in numbers]
    try:
        yield
    finally:
        for number, handler_before in before:
            signal.signal(number, handler_before)

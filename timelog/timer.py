"""`PeriodicTimer`: a thread that runs an action again and again, and can be woken or stopped.

The interval is waited *after* each run, so runs never overlap and never bunch up. The thread is a
daemon: it does not keep a program alive that forgot to stop it. Thread-safe.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from queue import Empty, SimpleQueue


class PeriodicTimer:
    """Run ``action()`` every ``interval`` seconds from `start` until `stop`.

    ``action`` returns the seconds to wait before the next run, or None for ``interval``. An
    exception is given to ``failed`` and the timer goes on. ``stop`` before ``start`` is remembered.
    """

    def __init__(
        self,
        interval: float,
        action: Callable[[], float | None],
        failed: Callable[[Exception], None],
        name: str = "timelog-timer",
    ) -> None:
        self._interval = interval
        self._action = action
        self._failed = failed
        self._woken: SimpleQueue[None] = SimpleQueue()
        self._stopped = False
        self._name = name
        self._thread = self._make_thread()

    def start(self) -> None:
        """Begin; the first run comes after one interval. May be repeated."""
        # Known by the thread itself, since an interrupt may come while it starts.
        if not self._stopped and self._thread.ident is None:
            try:
                self._thread.start()
            except RuntimeError:
                # The system had no thread to give; this object cannot be started again.
                self._thread = self._make_thread()
                raise

    def wake(self) -> None:
        """Run the action now, without waiting for the interval to pass."""
        self._woken.put(None)

    def stop(self) -> None:
        """End, at once where the action is not running, else when it returns. May be repeated."""
        self._stopped = True
        self._woken.put(None)
        if self._thread.is_alive() and self._thread is not threading.current_thread():
            self._thread.join()

    def renewed(self) -> PeriodicTimer:
        """A timer like this one that has not been started."""
        return PeriodicTimer(self._interval, self._action, self._failed, self._name)

    @property
    def is_stopping(self) -> bool:
        """Whether `stop` was called: an action that takes long may look."""
        return self._stopped

    @property
    def is_alive(self) -> bool:
        """Whether the thread is running."""
        return self._thread.is_alive()

    @property
    def is_current(self) -> bool:
        """Whether the calling thread is the timer's."""
        return threading.current_thread() is self._thread

    def _make_thread(self) -> threading.Thread:
        return threading.Thread(target=self._run, name=self._name, daemon=True)

    def _run(self) -> None:
        pause = self._interval
        while True:
            try:
                self._woken.get(timeout=min(pause, threading.TIMEOUT_MAX))
                while True:
                    self._woken.get_nowait()
            except Empty:
                pass
            if self._stopped:
                return
            pause = self._interval
            try:
                wanted = self._action()
            except Exception as error:
                self._failed(error)
            else:
                if wanted is not None:
                    pause = wanted

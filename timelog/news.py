"""`News`: wakes those who follow a log when new events are committed, by whatever process.

One an open log. What this process commits is told by its index. For what others commit a thread
looks while somebody waits: woken by the kernel where that can watch the control directory (a commit
of any process ends by writing the lock file), else again and again, with pauses that grow while
nothing comes.
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from timelog.inotify import Inotify

# Seconds between two looks: the first pause, doubled up to the longest; and where the kernel tells,
# in case it could not.
_FIRST_PAUSE = 0.002
_LONGEST_PAUSE = 0.05
_PAUSE_IF_TOLD = 1.0


class News:
    """Thread-safe. ``look``: catches up with the log, so that `tell` is called for what is new."""

    def __init__(self, control: Path, look: Callable[[], None]) -> None:
        self._control = control
        self._look = look
        self._changed = threading.Condition()
        self._callbacks: list[Callable[[], None]] = []
        self._followers: weakref.WeakSet[object] = weakref.WeakSet()
        self._thread: threading.Thread | None = None
        self._watch: Inotify | None = None
        self._is_closed = False
        # How often there was something new.
        self.version = 0
        self._error: Exception | None = None

    def tell(self) -> None:
        """There are new events."""
        with self._changed:
            self.version += 1
            self._changed.notify_all()
            callbacks, self._callbacks = self._callbacks, []
        for callback in callbacks:
            callback()

    def wait(self, follower: object, version: int, timeout: float) -> None:
        """Return when there is more news than ``version``, or after so many seconds.

        Raises what looking at the log raised.
        """
        self._begin(follower)
        with self._changed:
            self._changed.wait_for(lambda: self.version != version or self._is_closed, timeout)
        self._check()

    @contextmanager
    def calling(
        self, follower: object, version: int, callback: Callable[[], None]
    ) -> Iterator[None]:
        """Call ``callback``, once, from any thread, when there is more news than ``version``."""
        self._begin(follower)
        with self._changed:
            is_late = self.version != version or self._is_closed
            if not is_late:
                self._callbacks.append(callback)
        if is_late:
            callback()
        try:
            yield
        finally:
            with self._changed:
                self._callbacks = [each for each in self._callbacks if each is not callback]
        self._check()

    def leave(self, follower: object) -> None:
        """Nobody needs to look for this follower any more."""
        with self._changed:
            self._followers.discard(follower)
        self._wake()

    def close(self) -> None:
        """Wake everybody, and end the thread."""
        self._is_closed = True
        self.tell()
        self._wake()
        thread = self._thread
        if thread is not None and thread is not threading.current_thread():
            thread.join()

    def after_fork(self) -> None:
        """In a child: let go of what is the parent's; the thread is not here."""
        if self._watch is not None:
            self._watch.close()

    # -- inside ---------------------------------------------------------------------------

    def _begin(self, follower: object) -> None:
        with self._changed:
            self._followers.add(follower)
            if self._thread is None and not self._is_closed:
                self._thread = threading.Thread(
                    target=self._run, name="timelog-follow", daemon=True
                )
                self._thread.start()

    def _wake(self) -> None:
        with self._changed:
            if self._watch is not None:
                self._watch.wake()

    def _check(self) -> None:
        error, self._error = self._error, None
        if error is not None:
            raise error

    def _run(self) -> None:
        try:
            watch = Inotify(self._control)
        except OSError:
            self._keep_looking(None)
            return
        try:
            self._keep_looking(watch)
        finally:
            watch.close()

    def _keep_looking(self, watch: Inotify | None) -> None:
        """Look again and again, until nobody follows."""
        pause = _FIRST_PAUSE
        while True:
            version = self.version
            try:
                self._look()
            except Exception as error:
                # For whoever follows; this thread goes on.
                self._error = error
                self.tell()
            pause = _FIRST_PAUSE if self.version != version else min(2 * pause, _LONGEST_PAUSE)
            with self._changed:
                if self._is_closed or not self._followers:
                    # In the same step: who comes now begins another thread.
                    self._thread = self._watch = None
                    return
                self._watch = watch
                if watch is None:
                    self._changed.wait(pause)
                    continue
            watch.wait(_PAUSE_IF_TOLD)

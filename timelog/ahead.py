"""`Ahead`: work done by helper threads before its results are asked for, in order.

Reading, scanning and checking bytes are done in C, without the interpreter's lock, so helpers gain
time even beside a thread that computes in Python.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Generic, TypeVar

_MOST_THREADS = 4
# Results that may wait to be asked for, for each thread.
_WAITING = 2

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


class Ahead(Generic[_Item, _Result]):
    """Calls ``act`` on items ahead of the one thread that asks for the results.

    No thread is started before the asking thread itself has done items of ``inline`` in sum of
    their ``size``: a small job is not worth one. ``act`` must be thread-safe. `close` it.
    """

    def __init__(
        self,
        act: Callable[[_Item], _Result],
        size: Callable[[_Item], int],
        inline: int,
    ) -> None:
        self._act = act
        self._size = size
        self._inline = inline
        self._executor: ThreadPoolExecutor | None = None
        self._pid = 0
        self._threads = 0

    def results(self, items: Iterable[_Item]) -> Iterator[_Result]:
        """Yield ``act(item)`` for each of ``items``, in order; errors of ``act`` as they come."""
        waiting: deque[tuple[_Item, Future[_Result] | None]] = deque()
        coming = iter(items)
        while True:
            while len(waiting) <= self._threads * _WAITING:
                item = next(coming, None)
                if item is None:
                    break
                waiting.append((item, self._submit(item)))
            if not waiting:
                return
            item, future = waiting.popleft()
            if future is None or self._pid != os.getpid():
                # In a child made by fork there are no helpers.
                yield self._act(item)
            else:
                yield future.result()

    def close(self) -> None:
        """Let the helpers end; what they have not begun is not done."""
        if self._executor is not None and self._pid == os.getpid():
            self._executor.shutdown(wait=False, cancel_futures=True)
        self._executor = None

    def _submit(self, item: _Item) -> Future[_Result] | None:
        """Give an item to a helper; None where the asking thread is to do it."""
        if self._inline > 0:
            self._inline -= self._size(item)
            return None
        if self._executor is not None and self._pid != os.getpid():
            return None
        try:
            if self._executor is None:
                # The asking thread is busy, too.
                free = len(os.sched_getaffinity(0)) - 1
                self._threads = min(max(free, 1), _MOST_THREADS)
                self._executor = ThreadPoolExecutor(self._threads, "timelog-read")
                self._pid = os.getpid()
            return self._executor.submit(self._act, item)
        except RuntimeError:
            # No thread can be had: too many, or the interpreter is about to end.
            return None

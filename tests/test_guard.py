"""Locks against re-entry: who holds one is refused, anybody else waits."""

from __future__ import annotations

import threading

import pytest

from timelog.errors import ReentryError
from timelog.guard import check_reentry, is_mine


def test_the_holder_is_refused_and_told_what_for() -> None:
    lock = threading.RLock()
    check_reentry(lock, "a test")
    with lock, pytest.raises(ReentryError, match="in the middle of a test; let it set a flag"):
        check_reentry(lock, "a test")
    check_reentry(lock, "a test")


def test_another_thread_is_not_refused() -> None:
    lock = threading.RLock()
    mine: list[bool] = []
    with lock:
        thread = threading.Thread(target=lambda: mine.append(is_mine(lock)()))
        thread.start()
        thread.join()
        mine.append(is_mine(lock)())
    assert mine == [False, True]

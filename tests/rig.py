"""A storage that fails or dies at its n-th call, and the oracle of every fault test."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path

import timelog
from timelog import signals
from timelog.storage import Storage
from timelog.store import _open_stores


class Killed(BaseException):
    """The process is gone: nothing after this happens."""


# Every call of the seam that changes the disk.
CHANGES = (
    "create",
    "open_append",
    "open_lock",
    "overwrite",
    "write",
    "sync",
    "make_directory",
    "truncate",
    "link",
    "rename",
    "unlink",
    "remove_directory",
)


class FaultyStorage(Storage):
    """Counts the calls that change the disk; from the ``at``-th on, ``fault`` happens.

    ``fault``: "kill" (before the call), "torn" (half of a write, then killed), or an errno name.
    ``sticky``: every later call fails too; else just the one. ``only``: count only these calls.
    """

    # One after the other: each run is to be the same.
    syncs_at_once = 1

    def __init__(
        self, at: int = 0, fault: str = "kill", *, sticky: bool = False, only: str = ""
    ) -> None:
        super().__init__()
        self.at = at
        self.fault = fault
        self.sticky = sticky
        self.only = only
        self.calls: list[str] = []
        self.dead = False

    def happened(self) -> bool:
        """Whether the call that was to fail came at all."""
        return 0 < self.at <= len(self.calls)

    def arm(self, fault: str, only: str) -> None:
        """Let the next call of ``only`` fail."""
        self.fault, self.only = fault, only
        self.at = len(self.calls) + 1

    def heal(self) -> None:
        """No more faults."""
        self.at = 0

    def _before(self, name: str) -> bool:
        """Count a call; True where a write is to be torn."""
        if self.dead:
            raise Killed
        if self.only and name != self.only:
            return False
        self.calls.append(name)
        count = len(self.calls)
        if not self.at or count < self.at or (count > self.at and not self.sticky):
            return False
        if self.fault in ("kill", "torn"):
            self.dead = True
            if self.fault == "torn" and name in ("write", "overwrite"):
                return True
            raise Killed
        number = getattr(errno, self.fault)
        raise OSError(number, os.strerror(number))


def _counted(name: str) -> Callable[..., object]:
    plain = getattr(Storage, name)

    def call(self: FaultyStorage, *args: object) -> object:
        if self._before(name):
            fd, *rest = args
            offset = [rest.pop()] if name == "overwrite" else []
            data = b"".join(rest)  # type: ignore[arg-type]
            plain(self, fd, data[: len(data) // 2], *offset)
            raise Killed
        return plain(self, *args)

    return call


for _name in CHANGES:
    setattr(FaultyStorage, _name, _counted(_name))


def abandon(log: timelog.EventLog) -> None:
    """Let go of a log as a killed process does: nothing is flushed, nothing repaired."""
    log._store.is_closed = True
    signals.forget(log._store)
    log._store.timer.stop()


def abandon_all() -> None:
    """`abandon` every log of this process that is open."""
    for store in list(_open_stores):
        store.is_closed = True
        store.timer.stop()
        _open_stores.discard(store)


def contents(path: Path, **options: object) -> list[str]:
    """What a fresh reader finds, after whoever writes next has repaired the log."""
    with timelog.open(path, flush_interval=3600.0, **options):  # type: ignore[arg-type]
        pass
    with timelog.open(path, mode="r") as log:
        report = log.verify(deep=True)
        assert report.ok, str(report)
        books = log.audit()
        assert books.ok, str(books)
        found = [event.content for event in log.search()]
        assert books.stored == len(found), str(books)
        return found


def check(
    found: list[str], acknowledged: list[str], issued: list[str], flushes: list[list[str]]
) -> None:
    """Acknowledged ⊆ found ⊆ issued; nothing twice; each flush whole or absent."""
    assert len(found) == len(set(found)), "an event came twice"
    assert set(acknowledged) <= set(found), "an acknowledged event is lost"
    assert set(found) <= set(issued), "an event came that nobody appended"
    for flush in flushes:
        present = set(flush) & set(found)
        assert present in (set(), set(flush)), f"half a flush: {sorted(present)} of {flush}"

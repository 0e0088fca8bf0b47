"""One workload, run again and again with faults, and judged by what each run leaves.

Runs that do the same leave the same bytes, whatever their fault was, so that a directory which is
known need not be recovered again.
"""

from __future__ import annotations

import hashlib
import itertools
import os
import secrets
import shutil
import signal
import traceback
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple, Protocol
from unittest import mock

from tests.faults.oracle import (
    Found,
    Group,
    Violation,
    check,
    check_leftovers,
    recover,
    temporary_files,
)
from tests.faults.real import RealStorage, read_acks
from tests.faults.stubborn import StubbornRun, run_stubbornly
from tests.faults.workloads import Workload
from timelog import names
from timelog.event import Event
from timelog.storage import Storage

_BOOT = "first boot"
# Apart from the numbers of runs.
_RECOVERY = 1_000_000


class Breaker(Protocol):
    """What makes runs fail."""

    def begin(self, base: Path, case: Any | None) -> None:
        """A run in ``base`` begins, which is to meet the fault ``case``."""

    def heal(self) -> None:
        """No more faults in this run."""

    def end(self) -> None:
        """The run is over."""


class Before(NamedTuple):
    """What a run begins with: the number of events, a directory to copy, and what its log holds."""

    number: int = 0
    tree: Path | None = None
    groups: tuple[Group, ...] = ()

    @property
    def events(self) -> list[Event]:
        """What is certain to be in the log."""
        gone = {id for group in self.groups for id in group.gone}
        events = (event for group in self.groups if not group.killed for event in group.events)
        return [event for event in events if event.id not in gone]

    @property
    def perhaps(self) -> list[Event]:
        """What was about to be stored, or to go, when a process was killed."""
        gone = {id for group in self.groups if not group.killed for id in group.gone}
        going = {id for group in self.groups if group.killed for id in group.gone}
        return [
            event
            for group in self.groups
            for event in group.events
            if event.id not in gone and (group.killed or event.id in going)
        ]


NOTHING = Before()


class Trial:
    """A workload, and what may break it; runs are made in the directory ``base`` of ``directory``.

    ``groups`` are the flushes of a run without faults, ``errors`` counts those that were met.
    """

    def __init__(
        self, workload: Workload, directory: Path, breaker: Breaker, before: Before = NOTHING
    ) -> None:
        self.workload = workload
        self.base = directory / "run"
        self._before = before
        self._breaker = breaker
        self._acks = os.open(directory / "acks", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        # A run in this process tells itself how far it is; and the disk may be full.
        self._nowhere = os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC)
        # By what is on the disk.
        self._known: dict[bytes, Found] = {}
        self.errors: Counter[str] = Counter()
        # Twice, since some things are looked at once in a process.
        for _ in range(2):
            with self.directory():
                run = self._run(None, self._nowhere)
        if run.errors:
            raise Violation(f"an error although there was no fault: {run.errors}")
        self.groups = tuple(run.groups)
        cursors = {group.cursor[0] for group in before.groups + self.groups if group.cursor}
        self._cursors = tuple(sorted(cursors))

    @property
    def distinct(self) -> int:
        """How many different directories runs left."""
        return len(self._known)

    @contextmanager
    def directory(self) -> Iterator[None]:
        """What a run begins with; it is removed at the end."""
        os.ftruncate(self._acks, 0)
        if self._before.tree is not None:
            shutil.copytree(self._before.tree, self.base)
        else:
            self.base.mkdir()
        try:
            yield
        finally:
            shutil.rmtree(self.base)

    def fail(self, case: object) -> StubbornRun:
        """Run in this process with a fault; raises `Violation` where that ends badly.

        The log's are the only errors, and no descriptor is left open.
        """
        descriptors = open_descriptors()
        try:
            run = self._run(case, self._nowhere)
        except Violation:
            raise
        except Exception as error:
            way = " > ".join(each.name for each in traceback.extract_tb(error.__traceback__)[-3:])
            raise Violation(f"the run ended with {error!r}, from {way}") from error
        self.errors.update(type(error).__name__ for error in run.errors)
        if left := open_descriptors() - descriptors:
            raise Violation(f"descriptors are left open: {left}")
        return run

    def kill(self, case: object) -> tuple[int, int]:
        """Run in a process that the fault kills; how many flushes had begun, and had returned."""
        pid = os.fork()
        if not pid:
            try:
                self._run(case, self._acks)
            finally:
                os._exit(0)
        status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        if status != -signal.SIGKILL:
            raise Violation(f"the process was not killed, it ended with {status}")
        return read_acks(self._acks)

    def leave(self, case: object, tree: Path) -> Before:
        """What a process that was killed leaves to a run after it, kept in ``tree``."""
        with self.directory():
            begun, acknowledged = self.kill(case)
            shutil.copytree(self.base, tree)
        groups = [
            group._replace(killed=number >= acknowledged)
            for number, group in enumerate(self.groups[:begun])
        ]
        return Before(self._before.number + 1000, tree, (*self._before.groups, *groups))

    def check(self, groups: tuple[Group, ...], acknowledged: int) -> None:
        """Let the next process, of the same boot, find what is left, and compare with ``groups``.

        All these had begun, and the first were ``acknowledged``.
        """
        key = digest(self.base)
        found = self._known.get(key)
        if found is None:
            log = self.base / "log"
            boots = (_BOOT, _BOOT)
            with alike(_RECOVERY):
                found = recover(
                    log,
                    self._cursors,
                    text=self.workload.text,
                    removes=self.workload.removes,
                    boots=boots,
                )
            if found.lost:
                raise Violation(f"{found.lost} commits were given up although no power was cut")
            if left := temporary_files(log):
                raise Violation(f"temporary files are left: {left}")
            self._known[key] = found
        before = self._before.groups
        check(found, [*before, *groups], len(before) + acknowledged)
        check_leftovers(found)

    def _run(self, case: object | None, acks: int) -> StubbornRun:
        storage = RealStorage(self.base, acks, _BOOT)
        before = self._before
        sync = "off" if self.workload.off else "flush"
        run = StubbornRun(storage, sync, self._breaker.heal, before.number)
        run.expect(before.events, before.perhaps)
        self._breaker.begin(self.base, case)
        try:
            with alike(before.number):
                run_stubbornly(self.workload, run)
        finally:
            self._breaker.end()
        return run


@contextmanager
def alike(number: int) -> Iterator[None]:
    """Let runs that do the same leave the same bytes: no chance, the same process and inode.

    So a copy of a log goes on as the log itself would.
    """
    count = itertools.count(number * 1000)
    with (
        mock.patch.object(secrets, "token_hex", lambda size: f"{next(count):0{size * 2}x}"),
        mock.patch.object(secrets, "token_bytes", lambda size: b"\1" * size),
        mock.patch.object(os, "getpid", lambda: 1),
        mock.patch.object(Storage, "inode", lambda storage, fd: 1),
    ):
        yield


def digest(base: Path) -> bytes:
    """What tells apart what stands below two directories, but for what nobody reads again."""
    whole = hashlib.blake2b(digest_size=16)
    for directory, directories, files in os.walk(base):
        directories.sort()
        relative = os.path.relpath(directory, base)
        whole.update(f"{relative}\0".encode())
        is_copy = os.path.basename(directory) == names.QUARANTINE
        for name in sorted(files):
            # The lock file has its own inode in it.
            is_left_out = is_copy or name == names.LOCK
            data = b"" if is_left_out else Path(directory, name).read_bytes()
            whole.update(f"{relative}/{name}\0{len(data)}\0".encode())
            whole.update(data)
    return whole.digest()


def open_descriptors() -> set[str]:
    """Which descriptors this process has, and of which files."""
    found = set()
    for name in os.listdir("/proc/self/fd"):
        try:
            found.add(f"{name} {os.readlink(f'/proc/self/fd/{name}')}")
        except FileNotFoundError:
            # Of the listing itself.
            pass
    return found

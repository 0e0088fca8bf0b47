"""Cuts the power of a mounted file system under a workload, and lets the oracle judge what is left.

A cut is made again by its kind of file system, workload, seed and number, which the words of every
violation name (see `replay`). When a timer chose the moment there is nothing that makes it again.
"""

from __future__ import annotations

import os
import random
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import timelog
from tests.faults import cuts
from tests.faults.child import CUT, acks_file, finish, in_child, start
from tests.faults.cuts import SEED, Recorded
from tests.faults.mounts import NO_LOG_FLUSH, Mount, mounted, shut_down
from tests.faults.oracle import (
    Violation,
    check,
    check_leftovers,
    check_lost,
    newest_commit,
    recover,
)
from tests.faults.power import Cut, CutStorage
from tests.faults.real import read_acks, run_on
from tests.faults.workloads import Workload, registry
from timelog.storage import Storage

# This share of the cuts is followed by one in the repair, at one of its first operations.
_TWICE = 0.25
_OPERATIONS_OF_A_REPAIR = 20

Make = Callable[[Path, int, Cut | None], CutStorage]


def plain(base: Path, acks: int, cut: Cut | None) -> CutStorage:
    """The storage of production."""
    return CutStorage(base, acks, cut=cut)


class Cuts:
    """Power cuts in a recorded workload on a mounted file system; counts those that it made.

    ``ram``: a directory outside. ``make``: makes the storage of the runs.
    """

    def __init__(self, mount: Mount, recorded: Recorded, ram: Path, make: Make = plain) -> None:
        self.made = 0
        self.in_repairs = 0
        self._mount = mount
        self._recorded = recorded
        self._make = make
        self.operations = self._count(ram / "count")

    def cut(self, number: int, seed: int = SEED) -> None:
        """Cut at a random operation; raises `Violation` with what makes it again."""
        workload = self._recorded.workload
        rng = random.Random(f"{seed} {workload.name} {number}")
        operation = rng.randrange(self.operations) + 1
        of_repair = rng.randrange(_OPERATIONS_OF_A_REPAIR) + 1 if rng.random() < _TWICE else 0
        base = self._begin()
        with acks_file() as acks:
            how = in_child(lambda: run_on(workload, self._make(base, acks, Cut(operation, rng))))
            begun, acknowledged = read_acks(acks)
        if how != CUT:
            raise AssertionError(f"{workload.name} ended before its operation {operation}")
        self.made += 1
        self._mount.remount()
        newest = written(base / "log")
        where = f"operation {operation} of {self.operations}"
        if of_repair:
            again = random.Random(f"{seed} {workload.name} {number} repair")
            self._cut_repair(base, Cut(of_repair, again))
            where += f", then operation {of_repair} of the repair"
        where += f", number {number}, seed {seed}"
        self._judge(base, begun, acknowledged, newest, where)

    def cut_by_time(self, seconds: float) -> None:
        """Cut so many seconds after the workload began; counted where that was before its end."""
        base = self._begin()
        with acks_file() as acks:
            storage = self._make(base, acks, None)
            storage.syncs_at_once = Storage.syncs_at_once
            child = start(lambda: _run_until_it_fails(self._recorded.workload, storage))
            time.sleep(seconds)
            shut_down(self._mount.path, NO_LOG_FLUSH)
            self.made += finish(child) == CUT
            begun, acknowledged = read_acks(acks)
        self._mount.remount()
        where = f"after {seconds * 1000:.3f} ms"
        self._judge(base, begun, acknowledged, written(base / "log"), where)

    def duration(self) -> float:
        """How many seconds the workload takes."""
        base = self._begin()
        with acks_file() as acks:
            begun = time.perf_counter()
            in_child(lambda: run_on(self._recorded.workload, self._make(base, acks, None)))
            duration = time.perf_counter() - begun
        shutil.rmtree(base)
        return duration

    def _count(self, base: Path) -> int:
        base.mkdir()
        with acks_file() as acks:
            storage = self._make(base, acks, None)
            run_on(self._recorded.workload, storage)
        return storage.calls

    def _begin(self) -> Path:
        base = self._mount.path / "base"
        base.mkdir()
        Storage().sync_directory(self._mount.path)
        return base

    def _cut_repair(self, base: Path, cut: Cut) -> None:
        """Cut in the repair, or behind it where it has not so many operations."""

        def repair() -> None:
            storage = CutStorage(base, acks, "boot of the repair", cut)
            timelog.open(
                base / "log", flush_interval=3600.0, text_index=False, storage=storage
            ).close()

        with acks_file() as acks:
            if in_child(repair) == CUT:
                self.in_repairs += 1
            else:
                shut_down(base, NO_LOG_FLUSH)
        self._mount.remount()

    def _judge(
        self, base: Path, begun: int, acknowledged: int, newest: tuple[int, int], where: str
    ) -> None:
        try:
            judge(self._recorded, base / "log", begun, acknowledged, newest)
        except (Violation, timelog.TimelogError) as error:
            name = self._recorded.workload.name
            raise Violation(f"{name}, {where}: {type(error).__name__}: {error}") from error
        shutil.rmtree(base)


def written(log: Path) -> tuple[int, int]:
    """As `newest_commit`, of the log as a power cut left it."""
    return newest_commit({str(file): file.read_bytes() for file in log.rglob("*.journal")})


def judge(
    recorded: Recorded, log: Path, begun: int, acknowledged: int, newest: tuple[int, int]
) -> None:
    """Recover the log and compare with what was issued; raises `Violation`.

    ``newest``: what `written` said before anybody repaired the log.
    """
    workload = recorded.workload
    found = recover(log, recorded.cursors, text=workload.text, removes=workload.removes)
    if recorded.workload.off:
        check_lost(found, newest)
    elif found.lost:
        raise Violation(f"{found.lost} commits were given up although all were durable")
    check(found, recorded.groups[:begun], acknowledged)
    check_leftovers(found)


def replay(kind: str, name: str, number: int, base: Path, seed: int = SEED) -> None:
    """Make one cut of the workload ``name`` again, with what it needs in the directory ``base``."""
    recorded = cuts.run(registry[name], base / "run")
    with mounted(kind, base) as mount:
        Cuts(mount, recorded, base).cut(number, seed)


def _run_until_it_fails(workload: Workload, storage: CutStorage) -> None:
    try:
        run_on(workload, storage)
    except (OSError, timelog.TimelogError):
        os._exit(CUT)

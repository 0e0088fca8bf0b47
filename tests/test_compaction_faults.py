"""Compaction where things go wrong: full disks, kills, damage, others that come between."""

from __future__ import annotations

import os
import shutil
from itertools import count
from pathlib import Path
from random import Random
from typing import Any

import pytest

import timelog
from tests.plain import Plain, check_books, check_same, files, grow, lines_of, row_of, rows
from tests.rig import FaultyStorage, Killed, abandon
from tests.test_compaction import NOW, Clock
from timelog import rewrite, rotate
from timelog.storage import Storage
from timelog.timestamp import DAY

OPTIONS: dict[str, Any] = {"flush_interval": 3600.0, "text_index": False, "scrub_interval": 0}


class Faulty(FaultyStorage):
    """One of which the clock stands still."""

    def time_ns(self) -> int:
        return NOW * 1000


def make(path: Path, seed: int = 7) -> Plain:
    """A log of some days with deleted and expired events."""
    random = Random(seed)
    events = Plain()
    with timelog.open(path, storage=Clock(), **OPTIONS) as log:
        grow(log, events, random, 6)
        for _ in range(3):
            row = events.first_with(random.choice(events.left).id)
            log.delete(row.id)
            events.gone.add(row.position)
        log.expire(age="99 days", tags={"audit": "200 days"})
        events.horizons.append({"": NOW - 99 * DAY, "audit": NOW - 200 * DAY})
        grow(log, events, random, 3)
    return events


def check_all(path: Path, events: Plain) -> None:
    """A fresh look at the log finds everything; the next compaction leaves nothing over."""
    with timelog.open(path, storage=Clock(), **OPTIONS) as log:
        assert list(map(row_of, log.search())) == rows(events.left)
        check_books(log)
        log.compact()
        check_same(log, events, Random(1))
        check_books(log)
        assert lines_of(log).total() == len(events.left)
        assert len(files(path)) == len({file.parent for file in files(path)})
        assert log.verify(deep=True).ok and not log.verify().foreign
        assert log.health().ok
        log.append("still of use", sync=True)
    layout = log._store.layout
    assert not list(layout.temporary.iterdir())
    assert not layout.trash.exists() or not list(layout.trash.iterdir())


def compact_with(path: Path, storage: Storage, *, archive: bool) -> Exception | None:
    """Compact once; what went wrong, or None. A kill ends it as it ends a process."""
    log = None
    try:
        log = timelog.open(path, storage=storage, **OPTIONS)
        log.compact(archive=archive)
    except Killed:
        if log is not None:
            abandon(log)
    except timelog.TimelogError as error:
        return error
    else:
        log.close()
    return None


# Each third call is killed, and each other one meets one of the others: the first, and how many on.
# The fault programme has all of them.
CALLS = {"kill": (1, 3), "torn": (2, 6), "EIO": (3, 6), "ENOSPC": (5, 6)}


@pytest.mark.parametrize("archive", [False, True], ids=["plain", "archive"])
@pytest.mark.parametrize("fault", list(CALLS))
def test_a_fault_at_every_disk_call_of_a_compaction(
    ram: Path, fault: str, archive: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rotate, "MOST_COMMITS", 2)
    # Once in one pass, and once sorted in runs before.
    monkeypatch.setattr(rewrite, "MOST_OVERLAP", -1 if archive else 1 << 40)
    events = make(ram / "whole")
    descriptors = len(os.listdir("/proc/self/fd"))
    for at in count(*CALLS[fault]):
        path = ram / str(at)
        shutil.copytree(ram / "whole", path)
        storage = Faulty(at, fault)
        error = compact_with(path, storage, archive=archive)
        if not storage.happened():
            assert error is None
            break
        try:
            if fault in ("EIO", "ENOSPC"):
                for log in list(timelog.log._open_logs):
                    if log.path == path and not log.is_closed:
                        # Without opening it again, too.
                        log.compact(archive=archive)
                        check_books(log)
                        log.close()
            check_all(path, events)
        except BaseException as problem:
            calls = storage.calls
            raise AssertionError(f"{fault} at call {at}, {calls[at - 1]}: {error}") from problem
    assert at > 40
    assert len(os.listdir("/proc/self/fd")) == descriptors

"""SIGTERM and SIGHUP at random times, under load: nothing that was appended before is lost."""

from __future__ import annotations

import mmap
import os
import random
import signal
import time
from pathlib import Path

import pytest

import timelog
from tests.faults import report
from tests.faults.cuts import IS_FULL, SEED

ROUNDS = 200 if IS_FULL else 20
SHARES = 2


def write(path: Path, interval: float, appends_a_sync: int, appended: mmap.mmap) -> None:
    """Append for ever; ``appended`` says how many calls have returned."""
    log = timelog.open(path, flush_interval=interval)
    count = 0
    while True:
        log.append(str(count))
        count += 1
        appended[:8] = count.to_bytes(8, "little")
        if count % appends_a_sync == 0:
            log.sync()


@pytest.mark.parametrize("share", range(SHARES))
def test_a_signal_under_load_loses_nothing(ram: Path, share: int) -> None:
    chance = random.Random(SEED + share)
    appended = mmap.mmap(-1, 8)  # shared with the children

    def count() -> int:
        return int.from_bytes(appended[:8], "little")

    events = 0
    for n in range(ROUNDS):
        where = f"seed {SEED + share}, round {n}"
        appended[:8] = bytes(8)
        interval, appends = chance.choice((0.001, 0.01, 3600.0)), chance.choice((50, 10**9))
        pid = os.fork()
        if pid == 0:
            try:
                for number in (signal.SIGTERM, signal.SIGHUP):
                    signal.signal(number, signal.SIG_DFL)
                write(ram / str(n), interval, appends, appended)
            finally:
                os._exit(99)
        while not count():
            time.sleep(0.001)
        time.sleep(chance.uniform(0, 0.1))
        before = count()
        number = chance.choice((signal.SIGTERM, signal.SIGHUP))
        os.kill(pid, number)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -number, where
        with timelog.open(ram / str(n), mode="r") as log:
            # Nothing is half done either: there is nothing for the next one to repair.
            assert log.verify(deep=True).ok, where
            found = [event.content for event in log.search()]
        assert found == [str(n) for n in range(len(found))], where
        assert len(found) >= before, where
        events += len(found)
    report.record(
        f"SIGTERM and SIGHUP under load: {ROUNDS} processes, {events} events, seed {SEED + share}"
    )

"""What finds out mutants of what takes events out of a log; see `tests.faults.detectors`."""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable
from pathlib import Path
from unittest import mock

import timelog
from tests import test_erasing
from tests.faults import test_clocks
from tests.faults.cuts import SEED
from tests.faults.detectors import Hooked
from tests.faults.model import Disk, ModelStorage, materialise
from tests.faults.oracle import Booted, Violation
from tests.rig import FaultyStorage, Killed, abandon
from timelog import names, rotate
from timelog.errors import LockTimeout, TimelogError
from timelog.storage import Storage

_DAY = 86_400
_BOOT = Storage().boot_id()


def _open(path: Path, storage: Storage | None = None, **options: object) -> timelog.EventLog:
    options = {"flush_interval": 3600.0, "text_index": False, **options}
    return timelog.open(path, storage=storage, **options)  # type: ignore[arg-type]


def _fill(log: timelog.EventLog) -> None:
    """Two flushes to two minutes of each of three days."""
    for n in range(2):
        log.append_many(
            {"content": f"{n} {at}", "timestamp": at, "id": f"{n} {at}"}
            for day in range(3)
            for at in (day * _DAY + n, day * _DAY + 60 + n)
        )
        log.flush()


def _compact(log: timelog.EventLog) -> None:
    log.compact()


def _expire(log: timelog.EventLog) -> None:
    log.expire(partitions=1)


def _erase(log: timelog.EventLog) -> None:
    log.delete(f"0 {_DAY}", erase=True)


def kills(ram: Path) -> None:
    """A process dies at each call of a compaction, an expiry, an erasure, and another goes on."""
    _at_each_call(ram, _BOOT)


def kills_and_checkpoints(ram: Path) -> None:
    """The same, with a checkpoint behind each commit."""
    with mock.patch.object(rotate, "MOST_COMMITS", 1):
        _at_each_call(ram, _BOOT)


def boots(ram: Path) -> None:
    """The same, and the next process is of another boot."""
    _at_each_call(ram, "another boot")


def _at_each_call(ram: Path, boot: str) -> None:
    path = ram / "log"
    with _open(path) as log:
        _fill(log)
    shutil.copytree(path, ram / "before")
    for act in (_compact, _expire, _erase):
        number = 0
        died = True
        while died:
            number += 1
            died = _dies(path, act, number)
            try:
                _check_going_on(path, act, boot)
            except TimelogError as error:
                raise Violation(f"behind {act.__name__[1:]}: {error}") from error
            shutil.rmtree(path)
            shutil.copytree(ram / "before", path)


def _dies(path: Path, act: Callable[[timelog.EventLog], None], number: int) -> bool:
    """Do it, and die before the n-th call, where there are so many."""
    storage = FaultyStorage()
    log = _open(path, storage)
    storage.at = len(storage.calls) + number
    try:
        act(log)
    except Killed:
        pass
    abandon(log)
    return storage.happened()


def _check_going_on(path: Path, act: Callable[[timelog.EventLog], None], boot: str) -> None:
    every = {
        f"{n} {at}" for n in range(2) for d in range(3) for at in (d * _DAY + n, d * _DAY + 60 + n)
    }
    gone = {
        _compact: set(),
        _expire: {each for each in every if int(each.split()[1]) < 2 * _DAY},
        _erase: {f"0 {_DAY}"},
    }[act]
    with _open(path, Booted(boot)) as log:
        found = [event.id for event in log]
        _expect(set(found) in (every, every - gone) and len(set(found)) == len(found), str(found))
        log.append("new", timestamp=2 * _DAY + 5, id="new", sync=True)
        log.compact()
        _expect([event.id for event in log if event.id != "new"] == found, "compacting changed it")
        report = log.verify(deep=True)
        _expect(report.ok and log.audit().ok, f"{report} {log.audit()}")
        control = path / names.CONTROL
        for directory in (names.TEMPORARY, names.TRASH, names.QUARANTINE):
            left = [each.name for each in (control / directory).iterdir()]
            # Of files that a boot cut off nobody knows what they were for: they are kept.
            if boot == _BOOT or directory != names.QUARANTINE:
                _expect(not left, f"left in {directory}: {left}")
        committed = {str(each.path.relative_to(path)) for each in log.files()}
        there = {str(each.relative_to(path)) for each in path.glob("*-*-*/*")}
        _expect(committed == there, f"{sorted(there)} are there, not {sorted(committed)}")


def finished_removals(ram: Path) -> None:
    """What is committed, and not carried out, is carried out after a boot, and not kept."""
    for act, call in ((_compact, "unlink"), (_expire, "rename")):
        path = ram / act.__name__
        storage = FaultyStorage()
        log = _open(path, storage)
        _fill(log)
        position = log.position
        number = 0
        while True:
            # The first such call that comes behind the commit.
            number += 1
            shutil.copytree(path, ram / "copy")
            other = FaultyStorage(0, "kill", only=call)
            copy = _open(ram / "copy", other)
            other.at = len(other.calls) + number
            try:
                act(copy)
            except Killed:
                pass
            abandon(copy)
            state = _open(ram / "copy", mode="r")
            is_committed = bool(state._store.index.removal.segments) or bool(
                state._store.index.removal.partitions
            )
            if is_committed:
                break
            shutil.rmtree(ram / "copy")
            _expect(number < 20, "nothing was committed")
        with _open(ram / "copy", Booted("another boot")) as log:
            _expect(log.position == position, "positions changed")
        left = list((ram / "copy" / names.CONTROL / names.QUARANTINE).iterdir())
        _expect(not left, f"what went is kept in quarantine: {left}")
        shutil.rmtree(ram / "copy")


def late_writers(ram: Path) -> None:
    """While a day is rewritten, another process appends to one of its segments."""
    storage = Hooked()
    log = _open(ram / "log", storage)
    _fill(log)

    def append() -> None:
        with _open(ram / "log", Hooked()) as other:
            other.append("late", timestamp=3, id="late", sync=True)

    storage.before("sync", "compacted", append)
    log.compact()
    log.close()
    with _open(ram / "log") as log:
        found = {event.id for event in log}
        _expect("late" in found and len(found) == 13 and log.audit().ok, f"found {sorted(found)}")


def second_compactors(ram: Path) -> None:
    """While one process compacts, another is kept out."""
    storage = Hooked()
    log = _open(ram / "log", storage)
    _fill(log)
    kept_out: list[int] = []

    def compact() -> None:
        with _open(ram / "log", Hooked(), lock_timeout=0.0) as other:
            try:
                other.compact()
            except LockTimeout:
                kept_out.append(1)

    storage.before("sync", "compacted", compact)
    try:
        log.compact()
    except TimelogError as error:
        raise Violation(f"two compacted at once: {error}") from error
    _expect(bool(kept_out), "two processes compacted at once")


def names_used_again(ram: Path) -> None:
    """What another process has still to unlink must not bear the name of what came after it."""
    one = _open(ram / "log", Hooked())
    one.append("gone", timestamp=0, id="gone", sync=True)
    two = _open(ram / "log", Hooked())
    one.delete("gone", erase=True)
    _expect(not list(two), "it is still there")
    one.append("new", timestamp=1, id="new", sync=True)
    two._store.upkeep.step(lambda: False)
    report = two.verify()
    _expect(report.ok and [event.id for event in one] == ["new"], f"the new file is gone: {report}")
    for log in (one, two):
        log.close()
    # Also of a day of which nothing at all is left, and of which the index says nothing any more.
    path = ram / "other"
    one = _open(path, Hooked())
    one.append("gone", timestamp=0, id="gone", sync=True)
    one.append("kept", timestamp=5 * _DAY, id="kept", sync=True)
    two = _open(path, Hooked())
    two.position  # noqa: B018
    one.expire(partitions=1)
    _expect(two.position == 2, "nothing came")
    report = two.verify()
    _expect(report.ok, str(report))
    for log in (one, two):
        log.close()


def proofs(ram: Path) -> None:
    """Of a deletion that is there after a power cut it can be proved which event went."""
    storage = ModelStorage(ram)
    log = _open(ram / "log", storage)
    log.append_many({"content": f"{n}", "timestamp": n, "id": f"{n}"} for n in range(3))
    log.sync()
    begun = len(storage.ops)
    (segment,) = (ram / "log").glob("*/*.jsonl")
    line = segment.read_bytes().split(b"\n")[1]
    log.delete("1")
    log.close()
    found = 0
    for count in range(begun, len(storage.ops) + 1):
        disk = Disk({})
        for op in storage.ops[:count]:
            disk.apply(op)
        for number in range(4):
            rng = random.Random(f"{SEED} {count} {number}")
            materialise(disk.posix(rng, least=not number), ram / "state")
            with _open(ram / "state" / "log", Booted("second boot")) as again:
                for each in again.deletions():
                    found += 1
                    _expect(again.proof(line) == each, f"nothing proves {each}")
            shutil.rmtree(ram / "state")
    _expect(bool(found), "nothing was deleted")


def jumps(ram: Path) -> None:
    """The clock jumps, and nothing expires for that."""
    for number, way in enumerate(test_clocks._EXPIRIES):
        directory = ram / str(number)
        directory.mkdir()
        test_clocks.test_a_jump_lets_nothing_expire_early(directory, way)
    test_clocks.test_a_jump_at_any_look_at_the_clock_lets_nothing_expire_early(ram, "2038")


def damaged_segments(ram: Path) -> None:
    """One of the segments that are compacted is damaged: it stays, and its bytes go nowhere."""
    log = _open(ram / "log")
    _fill(log)
    damaged = min((ram / "log" / "1970-01-02").iterdir())
    data = damaged.read_bytes().replace(b"0 86400", b"0 86499")
    damaged.write_bytes(data)
    done = log.compact()
    report = log.verify(deep=True)
    files = {each.file for each in report.damage}
    name = f"1970-01-02/{damaged.name}"
    _expect(files == {name} == {each.file for each in done.damage}, f"{report}, {done}")
    _expect(damaged.read_bytes() == data and len(list(log)) == 10, "it did not stay as it was")
    log.close()


def days_that_come_back(ram: Path) -> None:
    """A checkpoint knows that files are gone, and then the power is cut."""
    storage = ModelStorage(ram)
    log = _open(ram / "log", storage)
    _fill(log)
    with mock.patch.object(rotate, "MOST_COMMITS", 1):
        log.expire(partitions=1)
        log.delete(f"0 {2 * _DAY}", erase=True)
        # To a file that is there: no directory is synced for it.
        log.append("more", timestamp=2 * _DAY + 62, sync=True)
    log.close()
    disk = Disk({})
    for op in storage.ops:
        disk.apply(op)
    materialise(disk.posix(random.Random(SEED), least=True), ram / "state")
    with _open(ram / "state" / "log", Booted("second boot")) as log:
        report = log.verify()
        there = {each.name for each in log.path.iterdir()}
    expected = {names.CONTROL, "1970-01-03"}
    _expect(report.ok and there == expected, f"{report}; there are {sorted(there)}")
    kept = [each.name for each in (log.path / names.CONTROL / names.QUARANTINE).iterdir()]
    _expect(not kept, f"what was erased is in quarantine: {kept}")


def left_texts(ram: Path) -> None:
    """An erasure comes behind a compaction that was killed."""
    with _Opener(ram / "log") as open_log:
        test = test_erasing.test_what_a_killed_compaction_left_goes_with_an_erasure
        test(ram / "log", open_log)


class _Opener:
    """Opens a log as tests do, and closes what was opened."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._opened: list[timelog.EventLog] = []

    def __call__(self, **options: object) -> timelog.EventLog:
        self._opened.append(_open(self._path, **options))  # type: ignore[arg-type]
        return self._opened[-1]

    def __enter__(self) -> _Opener:
        return self

    def __exit__(self, *args: object) -> None:
        for log in self._opened:
            abandon(log)


def _expect(holds: bool, words: str) -> None:
    if not holds:
        raise Violation(words)

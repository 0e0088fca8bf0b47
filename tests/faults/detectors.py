"""What finds a mutant out: each raises `Violation` where the package breaks a promise.

Each takes an empty directory and passes with the package as it is.
"""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from pathlib import Path
from threading import Event as Flag
from threading import Thread
from unittest import mock

import timelog
from tests import test_faults
from tests.faults import cuts
from tests.faults.cuts import SEED, Counts, Samples
from tests.faults.model import Disk, ModelStorage, materialise
from tests.faults.oracle import Booted, Violation
from tests.faults.test_power_cuts import KNOWN
from tests.faults.workloads import Workload, registry
from tests.rig import Killed, abandon
from timelog import rotate
from timelog.storage import UNKNOWN_BOOT, Storage

Detector = Callable[[Path], None]
_DAY = "1970-01-01"
_FIRST = f"{_DAY}/19700101T0000Z-19700101T0001Z.jsonl"
_WAIT = 60.0


class Hooked(Storage):
    """Lets something happen before the next call of some kind on some path.

    ``boot``: what the boot is called.
    """

    syncs_at_once = 1

    def __init__(self, boot: str = "boot") -> None:
        super().__init__()
        self._boot = boot
        self._hooks: list[tuple[str, str, Callable[[], None]]] = []

    def before(self, kind: str, where: str, then: Callable[[], None]) -> None:
        """Call ``then`` before the next ``kind`` on a path with ``where`` in it."""
        self._hooks.append((kind, where, then))

    def boot_id(self) -> str:
        """The boot that the test chose."""
        return self._boot

    def happens(self, kind: str, path: str) -> None:
        """Such a call comes."""
        for hook in self._hooks:
            if hook[0] == kind and hook[1] in path:
                self._hooks.remove(hook)
                hook[2]()
                return

    def create(self, path: Path) -> int:
        """As `Storage.create`."""
        self.happens("create", str(path))
        return super().create(path)

    def lock(self, fd: int, timeout: float) -> None:
        """As `Storage.lock`."""
        self.happens("lock", _name(fd))
        super().lock(fd, timeout)

    def write(self, fd: int, *parts: bytes) -> None:
        """As `Storage.write`."""
        self.happens("write", _name(fd))
        super().write(fd, *parts)

    def overwrite(self, fd: int, data: bytes, offset: int) -> None:
        """As `Storage.overwrite`."""
        self.happens("overwrite", _name(fd))
        super().overwrite(fd, data, offset)

    def sync(self, fd: int) -> None:
        """As `Storage.sync`."""
        self.happens("sync", _name(fd))
        super().sync(fd)


def _name(fd: int) -> str:
    return os.readlink(f"/proc/self/fd/{fd}")


# -- power cuts, kills and errors ---------------------------------------------------------


# Not more than the tests of power cuts try.
_FEW = Samples(2, 2, 3)


def cut(name: str) -> Detector:
    """Power cuts at every operation of a workload."""

    def power_cuts(ram: Path) -> None:
        cuts.judge(cuts.run(registry[name], ram / name), ram, _FEW, SEED, Counts(), KNOWN)

    power_cuts.__name__ = f"power cuts of {name}"
    return power_cuts


def every_cut_of_making(ram: Path) -> None:
    """All that power cuts may leave from when the format file has its name."""
    making = Workload("making", lambda run: run.close(run.open()), False, False, False, ())
    recorded = cuts.run(making, ram / "run")
    (named,) = (n for n, op in enumerate(recorded.ops) if op.target == "log/.timelog/format")
    states = (state for state in cuts.every_state(recorded) if state.operation > named)
    cuts.judge_states(recorded, states, ram, SEED, Counts(), KNOWN)


def kills(ram: Path) -> None:
    """A process dies at each disk call, in the middle of writes too."""
    _as_violation(lambda: test_faults.test_killed_at_every_disk_call(ram, "torn"))


def errors(ram: Path) -> None:
    """Each disk call fails once; later everything is stored, once."""
    _as_violation(
        lambda: test_faults.test_an_error_at_every_disk_call_is_told_and_made_good(
            ram, "EIO", False
        )
    )


def _as_violation(test: Callable[[], None]) -> None:
    with mock.patch.object(rotate, "MOST_COMMITS", 3):
        try:
            test()
        except timelog.TimelogError as error:
            raise Violation(str(error)) from error


def cursors(ram: Path) -> None:
    """A cursor without events is durable when `sync` returns."""
    storage = ModelStorage(ram)
    log = _open(ram / "log", storage, sync="off")
    log.append_many([], cursor=("file", 7))
    log.flush()
    log.sync()
    abandon(log)
    disk = Disk({})
    for op in storage.ops:
        disk.apply(op)
    materialise(disk.posix(random.Random(SEED), least=True), ram / "state")
    with _open(ram / "state" / "log", Booted("second boot")) as again:
        _expect(again.cursor("file") == 7, f"the cursor is {again.cursor('file')}")


def made_parents(ram: Path) -> None:
    """The directories above a new log are named for good."""
    storage = ModelStorage(ram)
    _open(ram / "a" / "b" / "log", storage).close()
    synced = {op.path for op in storage.ops if op.kind == "sync directory"}
    _expect({".", "a", "a/b", "a/b/log"} <= synced, f"synced were {sorted(synced)}")


def system_calls(ram: Path) -> None:
    """Whatever the seam syncs, the system syncs: the models take its word for it."""
    synced: list[str] = []
    storage = Storage()
    (ram / "file").write_bytes(b"0123456789")
    with mock.patch.object(os, "fsync", lambda fd: synced.append(Path(_name(fd)).name)):
        fd = storage.create(ram / "new")
        storage.sync(fd)
        storage.close(fd)
        storage.sync_directory(ram)
        storage.truncate(ram / "file", 5)
        storage.replace(ram / "target", b"data", ram / "temporary")
    _expect(synced == ["new", ram.name, "file", "temporary", ram.name], f"synced: {synced}")


def short_writes(ram: Path) -> None:
    """The system writes a part of what it is given, again and again."""
    plain, placed = os.writev, os.pwrite

    def some(fd: int, parts: list[memoryview]) -> int:
        return plain(fd, [parts[0][: max(1, len(parts[0]) // 2)]])

    def few(fd: int, data: memoryview, offset: int) -> int:
        return placed(fd, data[: max(1, len(data) // 2)], offset)

    with mock.patch.object(os, "writev", some), mock.patch.object(os, "pwrite", few):
        storage = Storage()
        fd = storage.open_lock(ram / "lock")
        storage.overwrite(fd, b"0123456789", 0)
        storage.close(fd)
        _expect((ram / "lock").read_bytes() == b"0123456789", "a short write in place")
        try:
            log = _open(ram / "log")
            log.append("a", timestamp=0, sync=True)
            log.close()
        except timelog.TimelogError as error:
            raise Violation(f"short writes are not gone on with: {error}") from error
    _check(ram / "log", ["a"])


# -- others at the same time --------------------------------------------------------------


def readers(ram: Path) -> None:
    """A reader sees nothing of a flush before it is durable, and all of it afterwards."""
    storage = Hooked()
    log = _open(ram / "log", storage)
    log.append("a", timestamp=0, sync=True)
    log.append("b", timestamp=1)
    seen: list[str] = []
    storage.before("sync", ".journal", lambda: seen.extend(_read(ram / "log")))
    log.sync()
    _expect(seen == ["a"], f"before the flush was durable a reader saw {seen}")
    seen = _read(ram / "log")
    _expect(seen == ["a", "b"], f"after the flush a reader sees {seen}")
    log.append("c", timestamp=2)
    storage.before("sync", ".journal", _die)
    _killed(log)
    seen = _read(ram / "log")
    _expect(seen == ["a", "b"], f"before the repair a reader sees {seen}")
    _open(ram / "log").close()
    seen = _read(ram / "log")
    _expect(seen == ["a", "b", "c"], f"after the repair a reader sees {seen}")


def second_writers(ram: Path) -> None:
    """While one writes, another is kept out, also where the lock file was replaced meanwhile."""
    storage = Hooked()
    log = _open(ram / "log", storage)
    lock = ram / "log" / ".timelog" / "lock"
    tries: list[int] = []

    def replace() -> None:
        lock.unlink()
        lock.touch()

    def try_it() -> None:
        try:
            _open(ram / "log", lock_timeout=0.0).close()
        except timelog.errors.LockTimeout:
            tries.append(1)
        else:
            raise Violation("a second writer came in")

    for prepare in (lambda: None, lambda: storage.before("lock", "/lock", replace)):
        log.append("a", timestamp=len(tries))
        prepare()
        storage.before("write", ".jsonl", try_it)
        log.sync()
    log.close()
    _expect(len(tries) == 2, "no second writer tried to come in")
    _check(ram / "log", ["a", "a"])


def lock_taken_away_late(ram: Path) -> None:
    """The lock file goes when the commit is about to be written, and another writer comes in."""
    storage = Hooked()
    log = _open(ram / "log", storage)
    log.append("a", timestamp=0, sync=True)
    log.append("b", timestamp=1)

    def other() -> None:
        (ram / "log" / ".timelog" / "lock").unlink()
        with _open(ram / "log") as another:
            another.append("c", timestamp=2, sync=True)

    storage.before("write", ".journal", other)
    _until_stored(log)
    _check(ram / "log", ["a", "b", "c"])


def lock_taken_away_early(ram: Path) -> None:
    """The lock file goes when a flush begins; both writers reach the journal at the same time."""
    storage, second = Hooked(), Hooked()
    log = _open(ram / "log", storage)
    log.append("a", timestamp=0, sync=True)
    log.append("b", timestamp=120)
    has_lock, is_writing, is_done = Flag(), Flag(), Flag()

    def pause() -> None:
        has_lock.set()
        is_writing.wait(_WAIT)

    def meet() -> None:
        is_writing.set()
        is_done.wait(_WAIT)

    def flush() -> None:
        try:
            log.sync()
        except timelog.errors.StorageError:
            pass
        finally:
            is_done.set()

    storage.before("create", ".jsonl", pause)
    thread = Thread(target=flush)
    thread.start()
    has_lock.wait(_WAIT)
    (ram / "log" / ".timelog" / "lock").unlink()
    try:
        other = _open(ram / "log", second)
        second.before("write", ".journal", meet)
        other.append("c", timestamp=240)
        _until_stored(other)
        other.close()
    finally:
        is_writing.set()
        thread.join()
    _until_stored(log)
    # What the first had begun to write may stay, since its mark went with the lock file.
    _check(ram / "log", ["a", "b", "c"], may_be_torn=True)


def lock_taken_away_in_a_write(ram: Path) -> None:
    """The lock file goes, another writer comes and goes, and the first adds to a segment."""
    storage = Hooked()
    log = _open(ram / "log", storage)
    log.append("a", timestamp=0, sync=True)
    log.append("b", timestamp=1)

    def other() -> None:
        (ram / "log" / ".timelog" / "lock").unlink()
        with _open(ram / "log") as another:
            another.append("c", timestamp=240, sync=True)

    storage.before("write", ".jsonl", other)
    _until_stored(log)
    _check(ram / "log", ["a", "b", "c"])


def lock_taken_away_after_an_error(ram: Path) -> None:
    """A flush fails, and before it is tried again somebody removes the lock file with its mark."""
    storage = Hooked()
    log = _open(ram / "log", storage)
    log.append("a", timestamp=0, sync=True)
    log.append("b", timestamp=1)
    storage.before("sync", ".jsonl", _fail)
    try:
        log.sync()
    except timelog.errors.StorageError:
        (ram / "log" / ".timelog" / "lock").unlink()
    _until_stored(log)
    _check(ram / "log", ["a", "b"])


def creators(ram: Path) -> None:
    """Another process makes the same log, uses it, and the first goes on making it."""
    for number, hook in enumerate((("lock", "/lock"), ("create", ".journal"))):
        path = ram / str(number)
        storage = Hooked()
        stored: list[str] = []

        def other(path: Path = path, stored: list[str] = stored) -> None:
            try:
                with _open(path, lock_timeout=0.0) as another:
                    another.append("a", timestamp=0, sync=True)
                    stored.append("a")
            except timelog.errors.LockTimeout:
                pass

        storage.before(*hook, other)
        try:
            _open(path, storage).close()
        except timelog.TimelogError as error:
            raise Violation(f"making a log met another who made it: {error}") from error
        _check(path, stored)


# -- what others put there ----------------------------------------------------------------


def foreign_files(ram: Path) -> None:
    """A file appears where a segment is about to be made."""
    path = ram / "log"
    storage = Hooked()
    log = _open(path, storage)
    storage.before("create", ".jsonl", lambda: _put_file(path / _FIRST))
    log.append("a", timestamp=0)
    _until_stored(log)
    log.close()
    kept = [*(path / ".timelog" / "quarantine").iterdir(), path / _FIRST]
    there = [each.read_bytes() for each in kept if each.exists()]
    _expect(b"foreign" in there, "a foreign file was written to")
    _check(path, ["a"])


def planted_links(ram: Path) -> None:
    """A segment is replaced by a link to a file of the same size."""
    log = _open(ram / "log")
    log.append("a", timestamp=0, sync=True)
    segment = ram / "log" / _FIRST
    data = segment.read_bytes()
    outside = ram / "outside"
    outside.write_bytes(data)
    segment.unlink()
    segment.symlink_to(outside)
    # Of the size that `lstat` says of a link, which is the length of its target's name.
    with mock.patch.object(Storage, "status", lambda storage, path: os.stat(path)):
        log.append("b", timestamp=1)
        try:
            log.sync()
        except timelog.errors.StorageError:
            pass
    abandon(log)
    _expect(outside.read_bytes() == data, "a link was followed")


def foreign_bytes(where: str) -> Detector:
    """Somebody appends to a file, a segment or the journal, while it is written."""

    def appended(ram: Path) -> None:
        storage = Hooked()
        log = _open(ram / "log", storage)
        log.append("a", timestamp=0, sync=True)
        log.append("b", timestamp=1)

        def other() -> None:
            for file in sorted((ram / "log").rglob(f"*{where}")):
                with file.open("ab") as out:
                    out.write(b"foreign\n")

        # Before the file is opened: by then its size is known.
        storage.before("overwrite", "/lock", other)
        _until_stored(log)
        log.close()
        _check(ram / "log", ["a", "b"])

    appended.__name__ = f"foreign bytes in a {where[1:]} file"
    return appended


def foreign_directories(ram: Path) -> None:
    """A directory with anything in it, or whose format file is gone, does not become a log."""
    (ram / "mine").mkdir()
    (ram / "mine" / "letter").write_text("dear")
    with _open(ram / "log") as log:
        log.append("a", timestamp=0, sync=True)
    (ram / "log" / ".timelog" / "format").unlink()
    (ram / "log" / _FIRST).unlink()
    (ram / "log" / _DAY).rmdir()
    for name in ("mine", "log"):
        try:
            _open(ram / name).close()
        except (timelog.errors.NotALogError, timelog.errors.DamagedError):
            continue
        raise Violation(f"{name} was made a log")


def exchanged_logs(ram: Path) -> None:
    """The control directory, or the format file, is that of another log."""
    one, two = ram / "one", ram / "two"
    log = _open(one)
    log.append("a", timestamp=0, sync=True)
    with mock.patch.object(rotate, "MOST_COMMITS", 1), _open(two) as other:
        for n in range(3):
            other.append("b", timestamp=n, sync=True)
    (one / ".timelog").rename(ram / "away")
    (two / ".timelog").rename(one / ".timelog")
    log.append("c", timestamp=1)
    try:
        log.sync()
    except timelog.TimelogError:
        abandon(log)
    else:
        raise Violation("events were stored in a log that was exchanged")
    (ram / "away" / "format").replace(one / ".timelog" / "format")
    try:
        _open(one).close()
    except timelog.errors.DamagedError:
        return
    raise Violation("a log was opened whose format file is that of another")


def unknown_boots(ram: Path) -> None:
    """Where no boot is known, each process takes it for another."""
    with _open(ram / "log", Hooked(UNKNOWN_BOOT)) as log:
        log.append("a", timestamp=0, sync=True)
    with (ram / "log" / _FIRST).open("ab") as segment:
        segment.write(b"left by a power cut")
    with _open(ram / "log", Hooked(UNKNOWN_BOOT)):
        pass
    with _open(ram / "log", Hooked(UNKNOWN_BOOT), mode="r") as log:
        _expect(log.verify().ok, "what a power cut left is still there")


# -- inside -------------------------------------------------------------------------------


def _open(path: Path, storage: Storage | None = None, **options: object) -> timelog.EventLog:
    options = {"flush_interval": 3600.0, "text_index": False, "lock_timeout": 5.0, **options}
    return timelog.open(path, storage=storage or Hooked(), **options)  # type: ignore[arg-type]


def _read(path: Path) -> list[str]:
    """What a reader sees now."""
    with _open(path, mode="r") as log:
        return [event.content for event in log.search()]


def _check(
    path: Path, expected: list[str], storage: Storage | None = None, *, may_be_torn: bool = False
) -> None:
    """All is there, once, as a reader and the next writer find it."""
    try:
        with _open(path, storage) as log:
            report = log.verify(deep=True)
            found = [event.content for event in log.search()]
    except timelog.TimelogError as error:
        raise Violation(f"opening: {error}") from error
    _expect(report.ok or (may_be_torn and not report.damage), str(report))
    _expect(sorted(found) == expected, f"found {found}, stored {expected}")


def _until_stored(log: timelog.EventLog) -> None:
    """Sync, again where it fails: then it is stored once."""
    for _ in range(3):
        try:
            log.sync()
            return
        except timelog.errors.StorageError:
            continue
    raise Violation("the events could not be stored")


def _expect(holds: bool, words: str) -> None:
    if not holds:
        raise Violation(words)


def _put_file(path: Path) -> None:
    path.write_bytes(b"foreign")


def _die() -> None:
    raise Killed


def _fail() -> None:
    raise OSError(5, "input/output error")


def _killed(log: timelog.EventLog) -> None:
    """Flush, die in it, and let go."""
    try:
        log.sync()
    except Killed:
        pass
    abandon(log)

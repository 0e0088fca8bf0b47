"""The rig can fail: storages that do one thing wrong, each of which power cuts must find out."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.faults import cuts, report
from tests.faults.cuts import SEED, Counts, Samples
from tests.faults.model import ModelStorage, Op
from tests.faults.oracle import Violation
from tests.faults.test_power_cuts import KNOWN
from tests.faults.workloads import Run, Workload, registry

# Not more than the tests of power cuts try with a storage that does all right.
_SAMPLES = Samples(2, 2, 3)


class Forgetful(ModelStorage):
    """Leaves out the syncs of files and directories for which ``is_forgotten`` says so."""

    def __init__(self, base: Path, is_forgotten: Callable[[str], bool]) -> None:
        super().__init__(base)
        self._is_forgotten = is_forgotten

    def sync(self, fd: int) -> None:
        """Nothing, where it is forgotten."""
        if not self._is_forgotten(self._open[fd][1]):
            super().sync(fd)

    def sync_directory(self, path: Path) -> None:
        """Nothing, where it is forgotten."""
        if not self._is_forgotten(self._name(path) + "/"):
            super().sync_directory(path)


class JournalFirst(ModelStorage):
    """Syncs segments, but only after the journal."""

    def __init__(self, base: Path) -> None:
        super().__init__(base)
        self._later: list[tuple[int, str]] = []

    def sync(self, fd: int) -> None:
        """Put off, where it is a segment; else with all that was put off, behind it."""
        if self._open[fd][1].endswith(".jsonl"):
            self._later.append(self._open[fd])
            return
        super().sync(fd)
        for file, name in self._later:
            self._note(Op("sync", name, file))
        self._later.clear()


class OneLate(ModelStorage):
    """Makes each sync when the next one comes."""

    def __init__(self, base: Path) -> None:
        super().__init__(base)
        self._last: Op | None = None

    def sync(self, fd: int) -> None:
        """The one before."""
        if self._last is not None:
            self._note(self._last)
        file, name = self._open[fd]
        self._last = Op("sync", name, file)


class WrongFile(ModelStorage):
    """Syncs the file that was made last, whatever it is to sync."""

    def sync(self, fd: int) -> None:
        """The newest file."""
        self._note(Op("sync", self._open[fd][1], self._made))


class WrongDirectory(ModelStorage):
    """Syncs the directory above the one it is to sync."""

    def sync_directory(self, path: Path) -> None:
        """The parent, if there is one below the base."""
        super().sync_directory(path if path == self.base else path.parent)


class Lying(ModelStorage):
    """Does not say that a sync failed."""

    def sync(self, fd: int) -> None:
        """Fine, always."""
        try:
            super().sync(fd)
        except OSError:
            pass


class Lossy(ModelStorage):
    """Loses what stands behind the last whole sector of a write."""

    def _note(self, op: Op) -> None:
        if op.kind == "write" and op.path.endswith(".jsonl"):
            end = (op.offset + len(op.data)) // 512 * 512
            op = op._replace(data=op.data[: max(0, end - op.offset)])
        super()._note(op)


class Slow(ModelStorage):
    """Lets a write reach the file when that was synced already."""

    def __init__(self, base: Path) -> None:
        super().__init__(base)
        self._writes: list[Op] = []

    def _note(self, op: Op) -> None:
        if op.kind == "write" and op.path.endswith(".journal"):
            self._writes.append(op)
            return
        super()._note(op)
        if op.kind == "sync" and "/journal/" in op.path:
            self.ops += self._writes
            self._writes.clear()


class TooShort(ModelStorage):
    """Cuts a byte more than it is to cut."""

    def truncate(self, path: Path, length: int) -> None:
        """One byte less than was asked for."""
        super().truncate(path, length - 1)


class RenamedFirst(ModelStorage):
    """Syncs a file that takes another's place when it has taken it."""

    def replace(self, path: Path, data: bytes, temporary: Path) -> None:
        """As `Storage.replace`, in another order."""
        self.unlink(temporary)
        fd = self.create(temporary)
        self.write(fd, data)
        self.rename(temporary, path)
        self.sync(fd)
        self.close(fd)
        self.sync_directory(path.parent)


class RemovedFirst(ModelStorage):
    """Removes a file before another takes its place."""

    def replace(self, path: Path, data: bytes, temporary: Path) -> None:
        """As `Storage.replace`, with a moment in which there is none."""
        self.unlink(path)
        super().replace(path, data, temporary)


class InPlace(ModelStorage):
    """Writes a file where it stands, and has no other to fall back on."""

    def replace(self, path: Path, data: bytes, temporary: Path) -> None:
        """Not in one step."""
        if path.exists():
            self.truncate(path, 0)
            fd = self.open_append(path)
        else:
            fd = self.create(path)
        self.write(fd, data)
        self.sync(fd)
        self.close(fd)
        self.sync_directory(path.parent)


class Copying(ModelStorage):
    """Renames by making another file, as across file systems."""

    def rename(self, source: Path, target: Path) -> None:
        """A copy, which nobody syncs."""
        self.unlink(target)
        fd = self.create(target)
        self.write(fd, source.read_bytes())
        self.close(fd)
        self.unlink(source)


def _forgets(is_forgotten: Callable[[str], bool]) -> Callable[[Path], ModelStorage]:
    return lambda base: Forgetful(base, is_forgotten)


def _fails(run: Run) -> None:
    """An fsync of a segment fails in the second of three flushes."""
    log = run.open()
    run.append_sync(log, 1)
    run.storage.arm("sync", ".jsonl", "EIO")
    run.append_sync(log, 2)
    run.append_sync(log, 3)
    run.close(log)


_FAILS = Workload("an fsync fails", _fails, False, False, True, ())

# What is wrong, and the workload that shows it.
CONTROLS: dict[str, tuple[Workload, Callable[[Path], ModelStorage]]] = {
    "no sync of files": (registry["flushes"], _forgets(lambda name: not name.endswith("/"))),
    "no sync of directories": (registry["flushes"], _forgets(lambda name: name.endswith("/"))),
    "the journal before the data": (registry["flushes"], JournalFirst),
    "no sync of segments": (
        registry["sync_appends"],
        _forgets(lambda name: name.endswith(".jsonl")),
    ),
    "no sync of the journal": (
        registry["sync_appends"],
        _forgets(lambda name: "/journal/" in name and not name.endswith("/")),
    ),
    "no sync of the log's directory": (
        registry["flushes"],
        _forgets(lambda name: name == "log/"),
    ),
    "no sync of partitions": (
        registry["flushes"],
        _forgets(lambda name: name[:6] == "log/20" and name[-1] == "/"),
    ),
    "no sync of the parent": (registry["flushes"], _forgets(lambda name: name == "./")),
    "no sync of the control directory": (
        registry["flushes"],
        _forgets(lambda name: name == "log/.timelog/"),
    ),
    "no sync of the journal's directory": (
        registry["checkpoints"],
        _forgets(lambda name: name.endswith("/journal/")),
    ),
    "no sync of the index's directory": (
        registry["checkpoints"],
        _forgets(lambda name: name.endswith("/index/")),
    ),
    "no sync of new files": (registry["checkpoints"], _forgets(lambda name: "/tmp/" in name)),
    "no sync of old files": (
        registry["unsynced_checkpoints"],
        _forgets(lambda name: name.endswith(".jsonl")),
    ),
    "a sync of the wrong file": (registry["flushes"], WrongFile),
    "a sync of the wrong directory": (registry["flushes"], WrongDirectory),
    "a sync that comes with the next one": (registry["sync_appends"], OneLate),
    "a sync that does not say that it failed": (_FAILS, Lying),
    "a write that loses its last sector": (registry["flushes"], Lossy),
    "a write that comes behind its sync": (registry["sync_appends"], Slow),
    "a cut that is too short": (registry["repaired"], TooShort),
    "a rename before the sync": (registry["checkpoints"], RenamedFirst),
    "a rename of a copy": (registry["checkpoints"], Copying),
    "a file that goes before the next one comes": (registry["checkpoints"], RemovedFirst),
    "a file that is written in place": (registry["checkpoints"], InPlace),
    "a boot that is not another": (
        registry["unsynced"],
        lambda base: ModelStorage(base, boot="second boot"),
    ),
}


@pytest.mark.parametrize("control", CONTROLS)
def test_a_storage_that_does_one_thing_wrong_is_found_out(ram: Path, control: str) -> None:
    workload, make = CONTROLS[control]
    recorded = cuts.run(workload, ram / "run", make)
    counts = Counts()
    with pytest.raises(Violation) as found:
        cuts.judge(recorded, ram, _SAMPLES, SEED, counts, KNOWN)
    report.record(
        f"negative control, {control}: found at state {counts.states:,}: "
        f"{str(found.value.__cause__).splitlines()[0][:60]}"
    )


def test_a_sync_that_fails_and_says_so_is_no_fault(ram: Path) -> None:
    """The control that has a workload of its own: with a storage that does all right."""

    def told(run: Run) -> None:
        log = run.open()
        run.append_sync(log, 1)
        run.put(log, 2)
        run.failed(log, "sync", ".jsonl")
        run.sync(log)
        run.append_sync(log, 3)
        run.close(log)

    recorded = cuts.run(Workload("told", told, False, False, True, ()), ram / "run")
    cuts.judge(recorded, ram, _SAMPLES, SEED, Counts(), KNOWN)

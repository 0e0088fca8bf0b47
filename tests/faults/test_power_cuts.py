"""The power is cut at every operation of every workload: what was promised is there.

The number of states grows tenfold with the environment variable ``TIMELOG_FAULTS=full``.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from pathlib import Path

import pytest

import timelog
from tests.faults import cuts, report
from tests.faults.cuts import IS_FULL, SEED, Counts, Samples
from tests.faults.model import ModelStorage, Op
from tests.faults.oracle import Booted, Violation
from tests.faults.workloads import Workload, registry
from tests.rig import abandon
from timelog.indexer import is_possible

pytestmark = pytest.mark.timeout(1800)

# Faults that are not mended yet, by what the oracle says of them: counted and printed.
KNOWN: dict[str, str] = {}
_FEW = Samples(1, 1, 1)
_USUAL = Samples(2, 2, 3)
_MANY = _USUAL.times(10) if IS_FULL else _USUAL


@pytest.fixture(params=registry.values(), ids=list(registry))
def workload(request: pytest.FixtureRequest) -> Workload:
    """Each workload of the registry."""
    found: Workload = request.param
    if found.text and not is_possible():
        pytest.skip("NOT RUN: power cuts while the text index is built: numpy is not installed")
    return found


def test_a_power_cut_at_every_operation(ram: Path, workload: Workload) -> None:
    recorded = cuts.run(workload, ram / "run")
    counts = Counts()
    start = time.perf_counter()
    cuts.judge(recorded, ram, _MANY, SEED, counts, KNOWN)
    assert counts.distinct > len(recorded.ops) / 2
    _record(f"power cuts, {workload.name}", counts, start)


def test_another_power_cut_while_the_first_is_repaired(ram: Path, workload: Workload) -> None:
    """Of some of the states the repair is cut as well, at every operation that it has."""
    recorded = cuts.run(workload, ram / "run")
    counts = Counts()
    start = time.perf_counter()
    rng = random.Random(f"{SEED} {workload.name}")
    share = 0.15 if IS_FULL else 0.015
    for state in cuts.states(recorded, Samples(2, 2, 2), SEED):
        if rng.random() >= share:
            continue
        try:
            repair = cuts.record_repair(recorded, state, ram / "repair")
        except timelog.TimelogError:
            # Judged by the test above.
            continue
        try:
            cuts.judge(repair, ram, _FEW._replace(posix=2), SEED, counts, KNOWN)
        except Violation as error:
            raise Violation(
                f"operation {state.operation}, model {state.model}, sample {state.sample}, and "
                f"then in the repair: {error}"
            ) from error
    _record(f"power cuts in repairs, {workload.name}", counts, start)


# -- the rig can fail ---------------------------------------------------------------------


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
            self._note(_sync(name, file))
        self._later.clear()


def _sync(name: str, file: int) -> Op:
    return Op("sync", name, file)


def _forgets(is_forgotten: Callable[[str], bool]) -> Callable[[Path], ModelStorage]:
    return lambda base: Forgetful(base, is_forgotten)


# What is left out, and the workload that shows it.
CONTROLS: dict[str, tuple[str, Callable[[Path], ModelStorage]]] = {
    "no sync of files": ("flushes", _forgets(lambda name: not name.endswith("/"))),
    "no sync of directories": ("flushes", _forgets(lambda name: name.endswith("/"))),
    "the journal before the data": ("flushes", JournalFirst),
    "no sync of segments": ("sync_appends", _forgets(lambda name: name.endswith(".jsonl"))),
    "no sync of the journal": (
        "sync_appends",
        _forgets(lambda name: "/journal/" in name and not name.endswith("/")),
    ),
    "no sync of the log's directory": ("flushes", _forgets(lambda name: name == "log/")),
    "no sync of partitions": (
        "flushes",
        _forgets(lambda name: name[:6] == "log/20" and name[-1] == "/"),
    ),
    "no sync of the parent": ("flushes", _forgets(lambda name: name == "./")),
    "no sync of the control directory": (
        "flushes",
        _forgets(lambda name: name == "log/.timelog/"),
    ),
    "no sync of the journal's directory": (
        "checkpoints",
        _forgets(lambda name: name.endswith("/journal/")),
    ),
    "no sync of the index's directory": (
        "checkpoints",
        _forgets(lambda name: name.endswith("/index/")),
    ),
    "no sync of new files": ("checkpoints", _forgets(lambda name: "/tmp/" in name)),
    "no sync of old files": (
        "unsynced_checkpoints",
        _forgets(lambda name: name.endswith(".jsonl")),
    ),
}


@pytest.mark.parametrize("control", CONTROLS)
def test_a_storage_that_leaves_out_a_sync_is_found_out(ram: Path, control: str) -> None:
    name, make = CONTROLS[control]
    recorded = cuts.run(registry[name], ram / "run", make)
    counts = Counts()
    with pytest.raises(Violation) as found:
        cuts.judge(recorded, ram, _USUAL, SEED, counts, KNOWN)
    report.record(
        f"negative control, {control}: found at state {counts.states:,}: "
        f"{str(found.value.__cause__).splitlines()[0][:60]}"
    )


# -- losses that were seen once ------------------------------------------------------------


def test_bytes_of_a_flush_that_no_commit_names_are_moved_away(ram: Path) -> None:
    """A file that was new in the flush whose power was cut."""
    recorded = cuts.run(registry["sync_appends"], ram / "run")
    cuts.judge(recorded, ram, _FEW, SEED, Counts(), {})


def test_a_journal_record_of_which_a_sector_is_missing_is_torn(ram: Path) -> None:
    """Its last sector is on the disk, and one before is not."""
    storage = ModelStorage(ram)
    log = timelog.open(ram / "log", flush_interval=3600.0, text_index=False, storage=storage)
    log.append("kept", timestamp=0, sync=True)
    log.append_many({"content": f"lost {n}", "timestamp": n * 60} for n in range(15))
    journal = ram / "log" / ".timelog" / "journal" / "0000000001.journal"
    before = journal.stat().st_size
    lock = ram / "log" / ".timelog" / "lock"
    unfinished = lock.read_bytes()
    log.flush()
    abandon(log)
    # The power went before the journal's sync came back.
    lock.write_bytes(unfinished)
    data = bytearray(journal.read_bytes())
    sector = before // 512 * 512 + 512
    assert sector + 512 < len(data)
    data[sector : sector + 512] = bytes(512)
    journal.write_bytes(data)
    with timelog.open(ram / "log", flush_interval=3600.0, storage=Booted("second boot")) as again:
        assert [event.content for event in again.search()] == ["kept"]
        assert again.health().status == "healthy"


def test_the_format_file_is_named_when_the_journal_is_on_the_disk(ram: Path) -> None:
    storage = ModelStorage(ram)
    timelog.open(ram / "log", storage=storage).close()
    ops = [(op.kind, op.path) for op in storage.ops]
    named = ops.index(("rename", "log/.timelog/tmp/format"))
    assert ("sync directory", "log/.timelog") in ops[:named]


@pytest.mark.parametrize("boot", ["one", "two"])
def test_damage_of_the_newest_record_stays_in_sight(ram: Path, boot: str) -> None:
    """Whatever boot finds it, and however often the log is opened."""
    path = ram / "log"
    with timelog.open(path, flush_interval=3600.0, storage=Booted("one")) as log:
        log.append("a", timestamp=0, sync=True)
        log.append("b", timestamp=1, sync=True)
    journal = path / ".timelog" / "journal" / "0000000001.journal"
    data = bytearray(journal.read_bytes())
    data[-20] ^= 1
    journal.write_bytes(data)
    for number in range(3):
        with timelog.open(path, flush_interval=3600.0, storage=Booted(boot)) as log:
            report = log.verify(deep=True)
            assert report.exit_code == 1 and log.health().status == "critical"
            assert {damage.file for damage in report.damage if damage.length} == {
                ".timelog/journal/0000000001.journal"
            }
            log.append(f"after {number}", timestamp=2, sync=True)
    with timelog.open(path, mode="r", storage=Booted(boot)) as log:
        assert [event.content for event in log] == ["a", "after 0", "after 1", "after 2"]


# -- replaying ----------------------------------------------------------------------------


def test_a_state_can_be_made_again(ram: Path) -> None:
    """From what a failure names: twice the same sizes and names."""
    shapes = []
    for n in range(2):
        base = ram / str(n)
        base.mkdir()
        _, state = cuts.replay(registry["checkpoints"], base, 100, "posix", 3)
        shapes.append({path: data and len(data) for path, data in state.tree.items()})
    assert shapes[0] == shapes[1]


def _record(what: str, counts: Counts, start: float) -> None:
    known = "".join(f"; known: {fault}, {n:,} times" for fault, n in counts.known.items())
    report.record(
        f"{what}: {counts.states:,} states ({counts.distinct:,} distinct) of "
        f"{counts.operations:,} operations in {time.perf_counter() - start:.1f} s, "
        f"seed {SEED}{known}"
    )

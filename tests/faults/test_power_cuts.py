"""The power is cut at every operation of every workload: what was promised is there.

The number of states grows tenfold with the environment variable ``TIMELOG_FAULTS=full``.
"""

from __future__ import annotations

import random
import shutil
import time
from pathlib import Path
from unittest import mock

import pytest

import timelog
from tests.faults import cuts, report
from tests.faults.cuts import IS_FULL, SEED, Counts, Samples
from tests.faults.model import Disk, ModelStorage, Op, materialise
from tests.faults.oracle import Booted, Violation
from tests.faults.workloads import Run, Workload, registry
from tests.rig import abandon
from timelog import rotate

pytestmark = pytest.mark.timeout(1800)

# Faults that are not mended yet, by what the oracle says of them: counted and printed.
KNOWN: dict[str, str] = {}
_FEW = Samples(1, 1, 1)
_USUAL = Samples(2, 2, 3)
_MANY = Samples(2, 4, 6).times(10 if IS_FULL else 1)
# Of what takes something out: it has many operations, and each state is looked at twice as long.
_LESS = Samples(2, 3, 5).times(10 if IS_FULL else 1)


@pytest.fixture(params=registry.values(), ids=list(registry))
def workload(request: pytest.FixtureRequest) -> Workload:
    """Each workload of the registry."""
    found: Workload = request.param
    if found.missing:
        pytest.skip(f"NOT RUN: power cuts in {found.name}: {found.missing}")
    return found


def test_a_power_cut_at_every_operation(ram: Path, workload: Workload) -> None:
    recorded = cuts.run(workload, ram / "run")
    counts = Counts()
    start = time.process_time()
    samples = _LESS if workload.removes else _MANY
    cuts.judge(recorded, ram, samples, SEED, counts, KNOWN)
    assert counts.distinct > len(recorded.ops) / 2
    _record(f"power cuts, {workload.name}", counts, start)


def test_another_power_cut_while_the_first_is_repaired(ram: Path, workload: Workload) -> None:
    """Of some of the states the repair is cut as well, at every operation that it has."""
    recorded = cuts.run(workload, ram / "run")
    counts = Counts()
    start = time.process_time()
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


def _twice(run: Run) -> None:
    """Two flushes into the same two files, and a cursor."""
    log = run.open()
    run.put(log, 1, 61, cursor=("file", 1))
    run.flush(log)
    run.put(log, 2, 62)
    run.flush(log)
    run.close(log)


def _once_unsynced(run: Run) -> None:
    """A flush that nothing syncs, and one that syncs both."""
    log = run.open()
    run.put(log, 1, cursor=("file", 1))
    run.flush(log)
    run.append_sync(log, 2)
    run.close(log)


_SHORT = {
    "two flushes": Workload("two flushes", _twice, False, False, False, ()),
    "an unsynced flush": Workload("an unsynced flush", _once_unsynced, True, False, False, ()),
    "two unsynced flushes": Workload("two unsynced flushes", _twice, True, False, False, ()),
}


@pytest.mark.parametrize("name", list(_SHORT) if IS_FULL else list(_SHORT)[:2])
def test_every_subset_of_what_is_not_synced_at_every_operation(ram: Path, name: str) -> None:
    """No samples: all there are."""
    recorded = cuts.run(_SHORT[name], ram / "run")
    counts = Counts()
    start = time.process_time()
    cuts.judge_states(recorded, cuts.every_state(recorded), ram, SEED, counts, KNOWN)
    assert counts.distinct > 10 * len(recorded.ops)
    _record(f"power cuts, every subset, {name}", counts, start)


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


@pytest.mark.parametrize("sync", ["flush", "off"])
@pytest.mark.parametrize("call", ["append_many", "sync", "flush and sync"])
def test_a_cursor_without_events_is_durable_when_sync_returns(
    ram: Path, sync: str, call: str
) -> None:
    storage = ModelStorage(ram)
    log = timelog.open(ram / "log", flush_interval=3600.0, sync=sync, storage=storage)
    log.append("a", timestamp=0, sync=True)
    log.append_many([], cursor=("file", 7), sync=call == "append_many")
    if call == "flush and sync":
        log.flush()
    log.sync()
    abandon(log)
    assert _cursors(storage, ram) == [7]


def test_a_cursor_without_events_does_not_damage_the_journal(ram: Path) -> None:
    """Its commit is the last of a journal file, without a sync, and another file follows."""
    storage = ModelStorage(ram)
    with mock.patch.object(rotate, "MOST_COMMITS", 3):
        log = timelog.open(ram / "log", flush_interval=3600.0, sync="off", storage=storage)
        log.append("a", timestamp=0, sync=True)
        for number in range(3):
            log.append_many([], cursor=("file", number))
            log.flush()
    abandon(log)
    first = storage.ops.index(Op("rename", "log/.timelog/tmp/format", target="log/.timelog/format"))
    for count in range(first + 2, len(storage.ops) + 1):
        assert _cursors(storage, ram, count) in ([None], [0], [1], [2])


def _cursors(storage: ModelStorage, ram: Path, count: int | None = None) -> list[object]:
    """The cursor after a power cut that left only what was synced, and no damage."""
    disk = Disk({})
    for op in storage.ops[:count]:
        disk.apply(op)
    materialise(disk.posix(random.Random(SEED), least=True), ram / "state")
    try:
        path = ram / "state" / "log"
        with timelog.open(path, flush_interval=3600.0, storage=Booted("second boot")) as log:
            report = log.verify(deep=True)
            assert report.ok and log.health().status == "healthy", str(report)
            return [log.cursor("file")]
    finally:
        shutil.rmtree(ram / "state")


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
        f"{counts.operations:,} operations in {time.process_time() - start:.1f} s of one core, "
        f"seed {SEED}{known}"
    )

"""Power cuts while a snapshot is taken or restored: what has its name is whole, and stays so."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

import timelog
from tests.faults.model import MODELS, Disk, ModelStorage, Op, Tree, materialise
from timelog import names
from timelog.copier import Copier
from timelog.timestamp import MINUTE

SEED = 20261121


def taken(base: Path) -> tuple[list[Op], int]:
    """A log, a snapshot, more events, and another; what changed, and when the first was there."""
    base.mkdir()
    storage = ModelStorage(base)
    log = timelog.open(
        base / "log", flush_interval=3600.0, text_index=False, scrub_interval=0, storage=storage
    )
    for minute in range(3):
        log.append(f"first {minute}", timestamp=minute * 60, sync=True)
    # They take no more.
    storage.now += 3 * MINUTE * 1000
    log.append("sealed", timestamp=0, sync=True)
    log.snapshot(base / "snapshots")
    acknowledged = len(storage.ops)
    log.append("second", timestamp=9, sync=True)
    log.snapshot(base / "snapshots")
    log.close()
    return storage.ops, acknowledged


def states(ops: list[Op], rng: random.Random) -> list[tuple[int, str, Tree]]:
    """What may be left after each change, once by each model."""
    disk = Disk({})
    found = []
    for number, op in enumerate(ops, 1):
        disk.apply(op)
        following = ops[number] if number < len(ops) else None
        for model in MODELS:
            if model == "ordered":
                tree = disk.ordered(rng, following)
            else:
                tree = (disk.ext4 if model == "ext4" else disk.posix)(rng, rng.random() < 0.3)
            found.append((number, model, tree))
    return found


def whole(shelf: Path) -> list[int]:
    """How many events the snapshots have that have their names; each must be whole."""
    counts = []
    for path in sorted(shelf.iterdir()) if shelf.is_dir() else ():
        if names.parse_snapshot(path.name) is not None:
            new = shelf / f"{path.name}-restored"
            timelog.restore_snapshot(path, new)
            with timelog.open(path, mode="r") as log:
                assert log.verify(deep=True).ok
                counts.append(log.search().count())
            with timelog.open(new, flush_interval=3600.0) as log:
                assert log.search().count() == counts[-1]
    return counts


def test_what_has_its_name_is_whole_after_a_power_cut_at_any_moment(ram: Path) -> None:
    print(f"seed {SEED}")
    ops, acknowledged = taken(ram / "run")
    linked = [op for op in ops if op.kind == "link"]
    assert len(linked) >= 6
    for number, model, tree in states(ops, random.Random(SEED)):
        base = ram / f"{number}-{model}"
        materialise(tree, base)
        try:
            counts = whole(base / "snapshots")
            assert counts in ([], [4], [4, 5])
            assert counts or number < acknowledged
        except (AssertionError, timelog.TimelogError) as error:
            pytest.fail(
                f"seed {SEED}, after operation {number} ({ops[number - 1]}), {model}: {error}"
            )


@pytest.mark.parametrize("step", ["_sync", "finish"])
def test_a_snapshot_that_is_not_synced_is_found_out(
    ram: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    monkeypatch.setattr(Copier, step, Copier.close)
    with pytest.raises(pytest.fail.Exception):
        test_what_has_its_name_is_whole_after_a_power_cut_at_any_moment(ram)


def test_a_restored_log_is_whole_after_a_power_cut_at_any_moment(ram: Path) -> None:
    print(f"seed {SEED}")
    taken(ram / "run")
    snapshot = max((ram / "run" / "snapshots").glob("*-periodic"))
    base = ram / "restored"
    base.mkdir()
    storage = ModelStorage(base)
    timelog.restore_snapshot(snapshot, base / "new", storage=storage)
    for number, model, tree in states(storage.ops, random.Random(SEED)):
        left = ram / f"{number}-{model}"
        materialise(tree, left)
        new = left / "new"
        if not new.exists():
            assert number < len(storage.ops)
            timelog.restore_snapshot(snapshot, new)
        with timelog.open(new, flush_interval=3600.0) as log:
            assert log.verify(deep=True).ok, f"seed {SEED}, operation {number}, {model}"
            assert log.search().count() == 5
        # Of a rename the old name may stay as well.
        assert {each.name for each in left.iterdir()} <= {"new", names.restoring("new")}

"""Which snapshot is the latest, when the next is due, and which may go."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import timelog
from tests.clocked import MIDNIGHT, Clocked
from timelog import errors, names
from timelog.shelf import MOST_PERIODIC, SAFETY_AGE, Snapshot, is_due, to_prune
from timelog.timestamp import DAY, MINUTE, SECOND

Open = Callable[..., timelog.EventLog]
T = MIDNIGHT / SECOND


def snapshot(time: int, kind: str = "periodic", problem: str = "", files: int = 3) -> Snapshot:
    return Snapshot(names.snapshot(time, kind), kind, time, 1, files, problem=problem)


@pytest.fixture
def dest(tmp_path: Path) -> Path:
    return tmp_path / "snapshots"


def test_the_newest_five_periodic_ones_are_kept() -> None:
    found = [snapshot(time * DAY) for time in range(8)]
    assert to_prune(found, 100 * DAY) == found[:3]
    assert to_prune(found[:5], 100 * DAY) == []
    assert to_prune([], 0) == []


def test_a_broken_one_does_not_push_out_a_good_one() -> None:
    good = [snapshot(time) for time in range(5)]
    broken = [snapshot(time, problem="short") for time in range(5, 12)]
    assert to_prune([*good, *broken], DAY) == []
    older = snapshot(-1, problem="short")
    assert to_prune([older, *good], DAY) == [older]
    # Nobody knows whose it is.
    unknown = snapshot(-2, problem="no manifest", files=0)
    assert to_prune([unknown, older, *good], DAY) == [older]
    # While there is no good one, each may be what is left.
    assert to_prune([snapshot(0, "safety", "short")], 100 * DAY) == []


def test_safety_ones_are_kept_for_fourteen_days_of_the_log() -> None:
    one, two, last = snapshot(0, "safety"), snapshot(2 * DAY, "safety"), snapshot(9 * DAY)
    assert to_prune([one, two, last], SAFETY_AGE) == []
    assert to_prune([one, two, last], SAFETY_AGE + 1) == [one]
    assert to_prune([one, two, last], 100 * DAY) == [one, two]
    assert to_prune([one, two], 100 * DAY) == [one]


_SNAPSHOTS = st.lists(
    st.builds(
        snapshot,
        st.integers(0, 40).map(lambda day: day * DAY),
        st.sampled_from(["periodic", "safety"]),
        st.sampled_from(["", "", "short"]),
        st.sampled_from([3, 3, 0]),
    ),
    max_size=25,
    unique_by=lambda each: each.path,
)


@given(_SNAPSHOTS, st.integers(0, 60))
def test_what_is_kept_and_what_goes(found: list[Snapshot], day: int) -> None:
    found = sorted(
        (s if s.files else Snapshot(s.path, s.kind, s.time, problem="x") for s in found),
        key=lambda each: each.path,
    )
    good = [each for each in found if each.ok]
    gone = to_prune(found, day * DAY)
    kept = [each for each in found if each not in gone]
    periodic = [each for each in good if each.kind == "periodic"]
    assert set(periodic[-MOST_PERIODIC:]) <= set(kept)
    assert set(good[-1:]) <= set(kept)
    assert all(each.files for each in gone)
    now = max([day * DAY, *(each.time for each in good)])
    for each in gone:
        if each.kind == "periodic":
            assert sum(other.path > each.path for other in periodic) >= MOST_PERIODIC
        else:
            assert now - each.time > SAFETY_AGE
    if good:
        # Nothing more is kept than that.
        left = [s for s in kept if s.files and s is not good[-1]]
        assert all(now - s.time <= SAFETY_AGE for s in left if s.kind == "safety")
        assert len([s for s in left if s.ok and s.kind == "periodic"]) <= MOST_PERIODIC
    assert to_prune(kept, day * DAY) == []


def test_one_is_due_after_so_many_events_or_so_long_if_anything_came() -> None:
    last = Snapshot("", "periodic", 1000 * MINUTE, 50, 3)
    limits = {"events": 100, "minutes": 30.0}
    now = 1000 * MINUTE

    def due(position: int, minutes: float) -> bool:
        return is_due(last, position, now + int(minutes * MINUTE), **limits)  # type: ignore[arg-type]

    assert due(150, 0) and not due(149, 29.9)
    assert due(51, 30) and not due(51, 29.9)
    # A log that rests needs none, however long, nor does a clock that went back make one due.
    assert not due(50, 10_000_000) and not due(51, -10_000)
    assert is_due(None, 1, 0, events=100, minutes=30.0)
    assert not is_due(None, 0, now, events=1, minutes=0.0)


def test_due_looks_at_the_newest_whole_one_and_at_memory(open_log: Open, dest: Path) -> None:
    log = open_log(storage=(clock := Clocked()))
    assert not log.is_snapshot_due(dest) and not dest.exists()
    log.append("one", timestamp=T)
    assert log.is_snapshot_due(dest)
    log.snapshot(dest)
    clock.pass_by(30 * DAY)
    assert not log.is_snapshot_due(dest)
    log.append("two", timestamp=T)
    assert log.is_snapshot_due(dest) and not log.is_snapshot_due(dest, minutes=100 * 1440)
    made = log.snapshot(dest)
    assert not log.is_snapshot_due(dest, events=1, minutes=0)
    next(Path(made.path).rglob("*.jsonl")).unlink()
    assert log.is_snapshot_due(dest, events=1)
    for wrong in ({"events": 0}, {"minutes": -1.0}, {"minutes": float("nan")}):
        with pytest.raises(errors.InvalidInput):
            log.is_snapshot_due(dest, **wrong)  # type: ignore[arg-type]


def test_pruning_removes_only_whole_directories_of_this_log(
    open_log: Open, dest: Path, tmp_path: Path
) -> None:
    log = open_log(storage=(clock := Clocked()))
    made = []
    for number in range(9):
        clock.pass_by(DAY)
        log.append(str(number), timestamp=T, sync=True)
        made.append(Path(log.snapshot(dest).path))
    (made[1] / "notes.txt").write_text("mine")
    (made[2] / ".timelog" / "manifest").unlink()
    foreign = dest / names.snapshot(0, "periodic")
    foreign.mkdir()
    (foreign / "file").write_text("mine")
    (dest / names.snapshot(1, "periodic")).symlink_to(tmp_path)
    (dest / "20260101").mkdir()
    (dest / "file").write_text("mine")
    gone = log.prune_snapshots(dest)
    assert [Path(each.path) for each in gone] == [made[0], made[3]]
    left = {each.name for each in dest.iterdir()}
    assert left == {
        *(each.name for n, each in enumerate(made) if n not in (0, 3)),
        *(foreign.name, names.snapshot(1, "periodic"), "20260101", "file", names.SNAPSHOT_LOCK),
    }
    assert (foreign / "file").exists() and (made[1] / "notes.txt").exists()
    assert log.prune_snapshots(dest) == []


def test_a_log_that_rests_loses_none_by_the_clock(open_log: Open, dest: Path) -> None:
    log = open_log(storage=(clock := Clocked()))
    log.append("one", timestamp=T, sync=True)
    old = log.snapshot(dest, kind="safety")
    log.append("two", timestamp=T, sync=True)
    log.snapshot(dest)
    clock.pass_by(1000 * DAY)
    assert log.prune_snapshots(dest) == []
    log.append("three", timestamp=clock.now / SECOND, sync=True)
    assert [each.path for each in log.prune_snapshots(dest)] == [old.path]


def test_the_names_of_snapshots() -> None:
    made = [names.snapshot(us, kind) for us in (0, 1, 10**15, 10**15 + 1) for kind in ("periodic",)]
    assert made == sorted(made) and made[0] == "19700101T000000.000000Z-periodic"
    assert [names.parse_snapshot(name) for name in made] == [
        (us, "periodic") for us in (0, 1, 10**15, 10**15 + 1)
    ]
    for wrong in ("", "x", "19700101T000000.000000Z-other", "19701301T000000.000000Z-safety"):
        assert names.parse_snapshot(wrong) is None
    assert names.is_partial(names.partial("0123456789ab"))
    assert not names.is_partial(".partial-x") and names.restoring("new") == ".new.restoring"

"""What goes on in the background as years go by, and how it is told when it does not."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import pytest

import timelog
from tests.clocked import MIDNIGHT, Clocked
from timelog import errors, store
from timelog.errors import StorageError
from timelog.lock import FileLock
from timelog.names import partition
from timelog.timestamp import DAY, SECOND
from timelog.upkeep import Upkeep

Open = Callable[..., timelog.EventLog]


@pytest.fixture
def clock() -> Clocked:
    return Clocked()


def fill(log: timelog.EventLog, days: int = 4, minutes: int = 8) -> None:
    for day in reversed(range(days)):
        for minute in range(minutes):
            at = (MIDNIGHT - day * DAY) / SECOND + minute * 60
            log.append(f"{day} {minute}", timestamp=at)
        log.flush()


def files(log: timelog.EventLog) -> list[int]:
    """How many segments each day has, the oldest first."""
    days = sorted(each for each in log.path.iterdir() if each.name != ".timelog")
    return [len(list(day.iterdir())) for day in days]


def step(log: timelog.EventLog) -> None:
    log._store.upkeep.step(lambda: False)


def test_a_day_is_compacted_so_long_after_its_end(open_log: Open, clock: Clocked) -> None:
    log = open_log(storage=clock, compact_after="1 day")
    fill(log)
    # What was made a moment ago may still be written to.
    step(log)
    assert files(log) == [8, 8, 8, 8]
    clock.pass_by(180 * SECOND)
    step(log)
    assert files(log) == [1, 1, 8, 8]
    clock.pass_by(DAY)
    step(log)
    assert files(log) == [1, 1, 1, 8]
    assert log.search().count() == 32


def test_late_events_do_not_have_a_day_written_anew_each_time(
    open_log: Open, clock: Clocked
) -> None:
    log = open_log(storage=clock, compact_after="1 day")
    fill(log, days=3)
    clock.pass_by(300 * SECOND)
    step(log)
    oldest = log.path / partition(MIDNIGHT - 2 * DAY)
    (compacted,) = oldest.iterdir()
    for late in range(3):
        at = (MIDNIGHT - 2 * DAY) / SECOND + late * 600
        log.append(f"late {late}", timestamp=at)
        log.flush()
        clock.pass_by(300 * SECOND)
        step(log)
    assert compacted in oldest.iterdir()
    assert len(list(oldest.iterdir())) == 4
    log.append("late 4", timestamp=(MIDNIGHT - 2 * DAY) / SECOND + 3000)
    log.flush()
    clock.pass_by(300 * SECOND)
    step(log)
    assert len(list(oldest.iterdir())) == 1
    assert compacted not in oldest.iterdir()
    assert log.search().count() == 28


def test_days_are_archived_later(open_log: Open, clock: Clocked) -> None:
    pytest.importorskip("zstandard")
    log = open_log(storage=clock, compact_after="1 day", archive_after="2 days")
    fill(log)
    clock.pass_by(300 * SECOND)
    step(log)
    kinds = [path.suffix for path in sorted(log.path.glob("2*/*"))]
    assert kinds == [".zst", ".jsonl", *[".jsonl"] * 16]
    step(log)
    assert [path.suffix for path in sorted(log.path.glob("2*/*"))] == kinds
    assert log.search().count() == 32


def test_nothing_is_compacted_where_nobody_wants_it(open_log: Open, clock: Clocked) -> None:
    log = open_log(storage=clock, compact_after=None)
    fill(log)
    clock.pass_by(100 * DAY)
    step(log)
    assert files(log) == [8, 8, 8, 8]


def test_what_a_killed_process_left_in_the_trash_goes(open_log: Open, clock: Clocked) -> None:
    log = open_log(storage=clock)
    fill(log, days=2)
    oldest = log.path / partition(MIDNIGHT - DAY)
    names = [file.name for file in oldest.iterdir()]
    log.expire(partitions=1)
    trash = log.path / ".timelog" / "trash"
    for name in (f"7-{oldest.name}", f"8-{oldest.name}"):
        (trash / name).mkdir()
        for file in names:
            (trash / name / file).touch()
    (trash / f"7-{oldest.name}" / "notes").touch()
    (trash / "somebody's").mkdir()
    step(log)
    assert sorted(each.name for each in trash.iterdir()) == [f"7-{oldest.name}", "somebody's"]
    assert [each.name for each in (trash / f"7-{oldest.name}").iterdir()] == ["notes"]


def test_another_process_that_compacts_is_left_alone(open_log: Open, clock: Clocked) -> None:
    log = open_log(storage=clock, compact_after="1 day", lock_timeout=0.05)
    fill(log)
    clock.pass_by(300 * SECOND)
    with FileLock(clock, log.path / ".timelog" / "compact.lock", 1).held():
        step(log)
        assert files(log) == [8, 8, 8, 8]
        with pytest.raises(errors.LockTimeout, match="being compacted"):
            log.compact()
    step(log)
    assert files(log) == [1, 1, 8, 8]


def test_a_failure_to_expire_is_told_until_it_works(
    open_log: Open, clock: Clocked, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = open_log(storage=clock, retention="1 day")
    fill(log, days=1)

    def fail(*_: object, **__: object) -> None:
        raise StorageError(5, "the disk says no")

    clock.pass_by(5 * DAY)
    log._store.upkeep._expired_at = None
    with monkeypatch.context() as patch:
        patch.setattr(log._store.upkeep.expirer, "expire", fail)
        with pytest.raises(StorageError):
            step(log)
    assert any("nothing expires: " in reason for reason in log.health().reasons)
    assert log.search().count() == 8
    log._store.upkeep._expired_at = None
    step(log)
    assert log.health().ok
    assert log.search().count() == 0


def test_it_runs_in_a_thread_of_its_own_after_the_first_flush(
    open_log: Open, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    came = threading.Event()
    monkeypatch.setattr(store, "_UPKEEP_INTERVAL", 0.01)
    monkeypatch.setattr(Upkeep, "step", lambda self, is_stopped: came.set())
    log = open_log(flush_interval=0.01)
    log.append("x")
    assert came.wait(60)
    log.close()
    assert not any(thread.name == "timelog-upkeep" for thread in threading.enumerate())


@pytest.mark.parametrize("option", ["compact_after", "archive_after"])
@pytest.mark.parametrize("value", ["0 days", "-1 day", "soon", 7])
def test_ages_that_make_no_sense_are_refused(path: Path, option: str, value: object) -> None:
    with pytest.raises(errors.InvalidInput, match=option):
        timelog.open(path, **{option: value})  # type: ignore[arg-type]
    assert not path.exists()

"""Expiry: what goes, when, in which step, and what stops it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import timelog
from tests.clocked import MIDNIGHT, NOON, Clocked
from timelog import errors
from timelog.names import partition
from timelog.timestamp import DAY, SECOND

Open = Callable[..., timelog.EventLog]


@pytest.fixture
def clock() -> Clocked:
    return Clocked()


def fill(log: timelog.EventLog, days: int = 10, each: int = 6) -> None:
    """``each`` events on each of the last days: audit, debug, and neither, in turn."""
    for day in reversed(range(days)):
        log.append_many(
            {
                "content": f"{day} {number}",
                "timestamp": (MIDNIGHT - day * DAY) / SECOND + number,
                "tags": [("audit",), ("debug",), ()][number % 3],
                "source": ["a", "b"][number % 2],
            }
            for number in range(each)
        )
    log.sync()


def days_of(log: timelog.EventLog) -> list[int]:
    """How many days ago the events are that can be found."""
    return sorted({int(event.content.split()[0]) for event in log.search()})


def partitions(path: Path) -> list[str]:
    return sorted(each.name for each in path.iterdir() if each.name != ".timelog")


# -- by age, size and number --------------------------------------------------------------


def test_a_day_goes_when_its_end_is_too_old_and_not_before(open_log: Open, clock: Clocked) -> None:
    log = open_log(storage=clock)
    fill(log)
    report = log.expire("5 days")
    # The fifth day before began 5.5 days ago, and its end is 4.5 days old.
    assert days_of(log) == [0, 1, 2, 3, 4, 5]
    assert [each.name for each in report.partitions] == [
        partition(MIDNIGHT - day * DAY) for day in (9, 8, 7, 6)
    ]
    assert report.events == 24
    assert {each.why for each in report.partitions} == {"age"}
    assert partitions(log.path) == [partition(MIDNIGHT - day * DAY) for day in range(5, -1, -1)]
    assert list((log.path / ".timelog" / "trash").iterdir()) == []
    assert log.expire("5 days").partitions == ()
    assert log.audit().ok


def test_number_and_size_are_hard_limits(open_log: Open, clock: Clocked) -> None:
    log = open_log(storage=clock)
    fill(log)
    log.expire(partitions=7, tags={"audit": "3 years"})
    assert days_of(log) == list(range(7))
    used = log.status().usage
    assert used is not None
    two = sum(list(used.partitions.values())[:2])
    report = log.expire(size=used.total - two + 1)
    assert {each.why for each in report.partitions} == {"size"}
    assert max(days_of(log)) < 5
    log.expire(size=1)
    assert days_of(log) == [0]


def test_a_rule_keeps_longer_and_another_lets_go_sooner(open_log: Open, clock: Clocked) -> None:
    log = open_log(storage=clock)
    fill(log)
    log.expire("5 days", tags={"audit": "3 years", "debug": "2 days"})
    assert sorted({e.content.split()[0] for e in log.search(tags=["debug"])}) == ["0", "1", "2"]
    assert len(days_of(log)) == 10
    assert log.search(tags=["audit"]).count() == 20
    assert log.search().count() == len(log.search().to_list()) == 20 + 6 + 12
    text = b"".join(each.read_bytes() for each in log.path.glob("2*/*.jsonl"))
    assert text.count(b"\n") == 60
    done = log.compact()
    assert done.expired == 60 - 38
    assert log.search().count() == 38
    text = b"".join(each.read_bytes() for each in log.path.glob("2*/*.jsonl"))
    assert text.count(b"\n") == 38


def test_what_was_hidden_never_comes_back(open_log: Open, clock: Clocked) -> None:
    log = open_log(storage=clock)
    fill(log)
    log.expire(tags={"debug": "2 days"})
    before = [event.id for event in log.search()]
    log.expire("10 years", tags={"audit": "5 years"})
    assert [event.id for event in log.search()] == before


def test_a_dry_run_changes_nothing(open_log: Open, clock: Clocked) -> None:
    log = open_log(storage=clock)
    fill(log)
    report = log.expire("2 days", dry_run=True)
    assert len(report.partitions) == 7
    assert report.dry_run
    assert "would go" in str(report)
    assert len(days_of(log)) == 10
    assert len(partitions(log.path)) == 10


def test_a_policy_is_kept_with_the_log_and_applied_at_opening(
    open_log: Open, clock: Clocked
) -> None:
    log = open_log(storage=clock)
    fill(log)
    log.close()
    log = open_log(storage=clock, retention={"age": "5 days", "sources": {"b": "1 day"}})
    assert days_of(log) == [0, 1, 2, 3, 4, 5]
    log.close()
    clock.pass_by(3 * DAY)
    # Nobody says it again, and a reader sees it as well.
    log = open_log(storage=clock)
    assert days_of(log) == [0, 1, 2]
    assert str(log.retention) == "events are kept for 5 days, those of source 'b' for 1 day"
    assert log.status().next_expiry == MIDNIGHT - 2 * DAY + DAY + 5 * DAY
    reader = open_log(mode="r", storage=clock)
    assert days_of(reader) == [0, 1, 2]
    log.close()
    log = open_log(storage=clock, retention={})
    clock.pass_by(100 * DAY)
    assert log.expire().partitions == ()


# -- what is too old at once --------------------------------------------------------------


def test_an_event_that_has_expired_is_refused_and_counted(open_log: Open, clock: Clocked) -> None:
    log = open_log(storage=clock, retention={"age": "5 days", "tags": {"audit": "1 year"}})
    old = (MIDNIGHT - 8 * DAY) / SECOND
    with pytest.raises(errors.ExpiredError, match="older than what the log keeps"):
        log.append("x", timestamp=old)
    with pytest.raises(errors.ExpiredError):
        log.append_many([{"content": "y"}, {"content": "x", "timestamp": old}])
    log.append("kept", timestamp=old, tags=["audit"])
    log.append("new")
    assert [event.content for event in log.search()] == ["kept", "new"]
    assert log.audit().refused == {"ExpiredError": 3}
    assert log.audit().ok


def test_an_event_whose_time_passes_while_it_waits_is_hidden_and_goes(
    open_log: Open, clock: Clocked
) -> None:
    log = open_log(storage=clock)
    fill(log, days=3)
    other = open_log(storage=clock)
    other.append("2 waits", timestamp=(MIDNIGHT - 2 * DAY) / SECOND)
    log.expire(partitions=2)
    other.sync()
    assert days_of(log) == days_of(other) == [0, 1]
    assert log.verify(deep=True).ok
    log.expire(partitions=2)
    assert len(partitions(log.path)) == 2
    assert log.audit().ok


def test_a_day_that_comes_back_never_uses_a_name_again(open_log: Open, clock: Clocked) -> None:
    log = open_log(storage=clock)
    fill(log, days=3)
    oldest = log.path / partition(MIDNIGHT - 2 * DAY)
    used = {file.name for file in oldest.iterdir()}
    log.expire("1 day", tags={"law": "9 years"})
    assert not oldest.exists()
    log.append("2 back", timestamp=(MIDNIGHT - 2 * DAY) / SECOND, tags=["law"])
    log.sync()
    assert days_of(log) == [0, 1, 2]
    assert used.isdisjoint(file.name for file in oldest.iterdir())


# -- what is wrong ------------------------------------------------------------------------


@pytest.mark.parametrize(
    "limits",
    [
        {"age": "0 days"},
        {"age": "-1 day"},
        {"age": "soon"},
        {"age": 30},
        {"size": "0"},
        {"size": "-1G"},
        {"size": "3x"},
        {"partitions": 0},
        {"partitions": -1},
        {"partitions": True},
        {"tags": {"audit": "0h"}},
        {"tags": {"": "1 day"}},
        {"sources": ["a"]},
    ],
)
def test_limits_that_make_no_sense_are_refused(
    open_log: Open, clock: Clocked, limits: dict[str, object]
) -> None:
    log = open_log(storage=clock)
    fill(log, days=2)
    with pytest.raises(errors.InvalidInput):
        log.expire(**limits)  # type: ignore[arg-type]
    with pytest.raises(errors.InvalidInput):
        timelog.open(log.path, retention=limits, storage=clock)
    assert days_of(log) == [0, 1]
    assert log.retention is None


def test_without_limits_there_has_to_be_a_policy(open_log: Open, clock: Clocked) -> None:
    log = open_log(storage=clock)
    with pytest.raises(errors.InvalidInput, match="no retention"):
        log.expire()
    with pytest.raises(errors.InvalidInput, match="retention has no 'days'"):
        open_log(storage=clock, retention={"days": 3})


def test_a_damaged_policy_lets_nothing_expire_and_is_told(open_log: Open, clock: Clocked) -> None:
    log = open_log(storage=clock, retention="2 days")
    fill(log, days=1)
    log.close()
    (log.path / ".timelog" / "state" / "retention").write_bytes(b"{")
    clock.pass_by(50 * DAY)
    log = open_log(storage=clock)
    assert days_of(log) == [0]
    assert any("retention" in reason for reason in log.health().reasons)
    with pytest.raises(errors.DamagedError):
        log.expire()


def test_suspended_is_suspended_whoever_asks(open_log: Open, clock: Clocked) -> None:
    log = open_log(storage=clock, retention="2 days")
    log.suspend_expiry()
    log.append("0 x")
    log.sync()
    clock.pass_by(10 * DAY)
    assert log.expire().suspended
    assert log.expire("1 day").suspended
    log.close()
    log = open_log(storage=clock, retention="1 day")
    assert days_of(log) == [0]
    log.resume_expiry()
    assert len(log.expire().partitions) == 1
    assert days_of(log) == []


# -- only what is the log's ---------------------------------------------------------------


def test_a_file_of_somebody_else_stays_and_the_partition_with_it(
    open_log: Open, clock: Clocked
) -> None:
    log = open_log(storage=clock)
    fill(log, days=3)
    oldest = log.path / partition(MIDNIGHT - 2 * DAY)
    (oldest / "notes.txt").write_text("mine")
    log.expire(partitions=1)
    assert partitions(log.path) == [oldest.name, partition(MIDNIGHT)]
    assert [each.name for each in oldest.iterdir()] == ["notes.txt"]


def test_a_link_in_the_place_of_a_partition_is_left_alone(
    open_log: Open, clock: Clocked, tmp_path: Path
) -> None:
    log = open_log(storage=clock)
    fill(log, days=3)
    oldest = log.path / partition(MIDNIGHT - 2 * DAY)
    elsewhere = tmp_path / "elsewhere"
    oldest.rename(elsewhere)
    oldest.symlink_to(elsewhere)
    log.expire(partitions=1)
    assert oldest.is_symlink()
    assert list(elsewhere.iterdir())


# -- clocks -------------------------------------------------------------------------------


def test_a_clock_that_jumps_expires_nothing_until_it_is_confirmed(
    open_log: Open, clock: Clocked
) -> None:
    log = open_log(storage=clock, retention="2 days")
    fill(log, days=2)
    clock.now += 400 * DAY
    assert "expiry is suspended" in log.expire().suspended
    # Also when commits were made by that clock, by another process and after an opening.
    log.append("0 by the wrong clock", timestamp=NOON / SECOND)
    log.sync()
    other = open_log(storage=clock)
    assert other.expire().suspended
    assert any("the clock says" in reason for reason in other.health().reasons)
    assert days_of(log) == [0, 1]
    clock.now -= 400 * DAY
    assert log.expire().suspended == ""
    assert days_of(log) == [0, 1]
    clock.now += 400 * DAY
    assert len(log.expire(confirm_clock=True).partitions) == 2
    assert not log.expire().suspended


def test_time_that_passes_by_both_clocks_is_time(open_log: Open, clock: Clocked) -> None:
    log = open_log(storage=clock, retention="2 days")
    fill(log, days=2)
    log.close()
    clock.pass_by(30 * DAY)
    log = open_log(storage=clock)
    assert days_of(log) == []


@pytest.mark.parametrize(("away", "is_trusted"), [(DAY - SECOND, True), (2 * DAY, False)])
def test_after_a_boot_the_newest_commit_says_what_can_be(
    open_log: Open, clock: Clocked, away: int, is_trusted: bool
) -> None:
    log = open_log(storage=clock, retention="1 day")
    fill(log, days=2)
    log.close()
    clock.boot = "boot two"
    clock.up = 10.0
    clock.now += away
    log = open_log(storage=clock)
    assert (log.expire().suspended == "") == is_trusted


def test_timestamps_of_events_never_count_for_the_clock(open_log: Open, clock: Clocked) -> None:
    log = open_log(storage=clock, retention="2 days", max_future=4000 * 86_400.0)
    fill(log, days=2)
    log.append("0 far ahead", timestamp=(NOON + 3000 * DAY) / SECOND)
    log.sync()
    log.expire()
    assert days_of(log) == [0, 1]


# -- views --------------------------------------------------------------------------------


def test_a_search_that_began_before_goes_on_without_what_is_gone(
    open_log: Open, clock: Clocked
) -> None:
    log = open_log(storage=clock)
    fill(log, days=4)
    results = log.search()
    seen: Iterator[timelog.Event] = iter(results)
    first = next(seen)
    assert first.content.startswith("3")
    log.expire(partitions=1)
    left = [event.content for event in seen]
    # What was read of the first day before, and all of the last one.
    assert [content for content in left if content.startswith("0")] == [f"0 {n}" for n in range(6)]
    assert results.damage == []


def test_as_of_says_when_something_of_it_has_expired(open_log: Open, clock: Clocked) -> None:
    log = open_log(storage=clock)
    fill(log, days=4)
    position = log.position
    before = [event.id for event in log.search(as_of=position)]
    log.append("0 later")
    log.sync()
    results = log.search(as_of=position)
    assert [event.id for event in results] == before
    assert results.gone == ""
    log.expire("1 day")
    results = log.search(as_of=position)
    assert [event.id for event in results] == before[12:]
    assert "have expired" in results.gone
    assert log.search(NOON / SECOND, as_of=position).gone == ""
    assert log.search().gone == ""


def test_another_process_sees_it_in_one_step(open_log: Open, clock: Clocked) -> None:
    log = open_log(storage=clock)
    fill(log, days=4)
    reader = open_log(mode="r", storage=clock)
    assert days_of(reader) == [0, 1, 2, 3]
    script = (
        f"import timelog; timelog.open({str(log.path)!r}).expire(partitions=2, confirm_clock=True)"
    )
    subprocess.run([sys.executable, "-c", script], check=True, timeout=60)
    assert days_of(reader) == days_of(log) == [0, 1]
    assert log.verify(deep=True).ok


def test_after_a_boot_time_goes_on_from_when_the_log_was_opened(
    open_log: Open, clock: Clocked
) -> None:
    """Where nothing is committed for a day, that day is known to have passed all the same."""
    log = open_log(storage=clock, retention="5 days")
    fill(log, days=2)
    log.close()
    clock.boot = "boot two"
    clock.up = 10.0
    clock.pass_by(3600 * SECOND)
    log = open_log(storage=clock)
    assert log.health().ok
    clock.pass_by(3 * DAY)
    assert log.expire().suspended == ""

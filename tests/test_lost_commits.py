"""Commits that are gone from the journal without a trace, and what only looks like that."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

import timelog
from tests.faults.oracle import Booted
from tests.rig import abandon

MINUTE = "1970-01-01/19700101T0000Z-19700101T0001Z"


def open_at(path: Path, boot: str = "one") -> timelog.EventLog:
    return timelog.open(path, flush_interval=3600.0, storage=Booted(boot))


def journal(path: Path, number: int = 1) -> Path:
    return path / ".timelog" / "journal" / f"{number:010d}.journal"


def two_flushes(path: Path, *, cursor_only: bool) -> bytes:
    """A log of two commits; the journal as it was between them."""
    with open_at(path) as log:
        log.append("kept", timestamp=0, sync=True)
        before = journal(path).read_bytes()
        events = [] if cursor_only else [{"content": "gone", "timestamp": 1}]
        log.append_many(events, cursor=("place", 7), sync=True)
    return before


@pytest.mark.parametrize("boot", ["one", "two"])
@pytest.mark.parametrize("cursor_only", [True, False], ids=["cursor", "events"])
def test_a_commit_that_is_cut_off_whole_is_missed_for_ever(
    path: Path, boot: str, cursor_only: bool
) -> None:
    journal(path).write_bytes(two_flushes(path, cursor_only=cursor_only))
    for number in range(2):
        with open_at(path, boot) as log:
            assert log.health().status == "critical"
            report = log.verify()
            assert any("commits 2 to 2 are missing" in damage.reason for damage in report.damage)
            assert any("no positions 1 to 1" in damage.reason for damage in report.damage) == (
                not cursor_only
            )
            log.append(f"after {number}", timestamp=2, sync=True)
            # What was acknowledged keeps its position.
            assert log.position == (1 if cursor_only else 2) + number + 1
    with open_at(path, boot) as log:
        assert [event.content for event in log] == ["kept", "after 0", "after 1"]
        assert log.verify().exit_code == 1 and log.health().status == "critical"


def test_a_reader_misses_it_too(path: Path) -> None:
    journal(path).write_bytes(two_flushes(path, cursor_only=True))
    with timelog.open(path, mode="r", storage=Booted("one")) as log:
        assert log.verify().exit_code == 1


def test_a_copy_that_was_taken_while_the_log_was_written_has_lost_nothing(
    path: Path, tmp_path: Path
) -> None:
    """The lock file is copied after the journal, and names a place that the copy never had."""
    before = two_flushes(path, cursor_only=True)
    copy = tmp_path / "copy"
    shutil.copytree(path, copy)
    journal(copy).write_bytes(before)
    with open_at(copy) as log:
        assert log.health().status == "healthy" and log.verify().ok
        assert [event.content for event in log] == ["kept"]


def test_what_ends_the_journal_was_cut_off_only_where_it_was_not_durable(path: Path) -> None:
    with open_at(path) as log:
        log.append("kept", timestamp=0, sync=True)
    with journal(path).open("ab") as file:
        file.write(b"tlJ1 and the machine stopped")
    # Of the same boot nobody was in the middle of anything.
    with timelog.open(path, mode="r", storage=Booted("one")) as log:
        assert log.verify().exit_code == 1
    with timelog.open(path, mode="r", storage=Booted("two")) as log:
        assert log.verify().exit_code == 3
    with open_at(path, "two") as log:
        assert log.verify().exit_code == 0 and log.health().status == "healthy"


def test_a_partition_that_vanished_is_named_and_takes_events_again(path: Path) -> None:
    with open_at(path) as log:
        log.append("gone", timestamp=0, sync=True)
        log.append("kept", timestamp=86_400, sync=True)
        shutil.rmtree(path / "1970-01-01")
        results = log.search()
        assert [event.content for event in results] == ["kept"]
        assert [damage.file for damage in results.damage] == [f"{MINUTE}.jsonl"]
        log.append("new", timestamp=1, sync=True)
        assert [event.content for event in log.search()] == ["new", "kept"]
        report = log.verify(deep=True)
    assert report.exit_code == 1
    assert [(damage.file, "No such file" in damage.reason) for damage in report.damage] == [
        (f"{MINUTE}.jsonl", True)
    ]
    assert (path / f"{MINUTE}.2.jsonl").exists()


def test_what_a_power_cut_left_beside_the_committed_goes_to_quarantine(path: Path) -> None:
    """In new files of any day that changed since, and behind the end of one not long closed."""
    log = open_at(path)
    log.append("kept", timestamp=0, sync=True)
    with open(path / f"{MINUTE}.jsonl", "ab") as file:
        file.write(b"unfinished")
    for name in (f"{MINUTE}.2.jsonl", "1970-01-02/19700102T0000Z-19700102T0001Z.jsonl"):
        (path / name).parent.mkdir(exist_ok=True)
        (path / name).write_bytes(b"unfinished")
    abandon(log)
    with open_at(path, "two") as log:
        assert log.verify().ok
        assert [event.content for event in log] == ["kept"]
    kept = sorted(file.read_bytes() for file in (path / ".timelog" / "quarantine").iterdir())
    assert kept == [b"unfinished"] * 3
    assert os.listdir(path / "1970-01-02") == []


@pytest.mark.parametrize("same_size", [True, False])
def test_a_control_directory_of_another_log_is_not_written_to(
    path: Path, tmp_path: Path, same_size: bool
) -> None:
    """Also where it has no checkpoint, and a journal that ends where ours did."""
    other = tmp_path / "other"
    with open_at(other) as log:
        log.append("other" if same_size else "another one", timestamp=0, sync=True)
    log = open_at(path)
    log.append("first", timestamp=0, sync=True)
    (path / ".timelog").rename(tmp_path / "taken")
    (other / ".timelog").rename(path / ".timelog")
    before = journal(path).read_bytes()
    with pytest.raises(timelog.errors.DamagedError, match="another log"):
        log.append("second", timestamp=1, sync=True)
    assert journal(path).read_bytes() == before
    (path / ".timelog").rename(other / ".timelog")
    (tmp_path / "taken").rename(path / ".timelog")
    log.sync()
    assert [event.content for event in log.search()] == ["first", "second"]
    log.close()

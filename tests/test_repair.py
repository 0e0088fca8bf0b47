"""The repair path: each finding that leads there, and that a sound log is left as it is."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

import timelog
from tests.rig import FaultyStorage, Killed, abandon
from timelog.storage import Storage

Open = Callable[..., timelog.EventLog]
T = 1_700_000_000


def everything(path: Path) -> dict[Path, bytes]:
    """All files but the lock, whose holder changes it."""
    return {
        file: file.read_bytes()
        for file in path.rglob("*")
        if file.is_file() and file.name != "lock"
    }


def contents(log: timelog.EventLog) -> list[str]:
    return [event.content for event in log.search()]


class AnotherBoot(Storage):
    def boot_id(self) -> str:
        return "another boot"


def killed_while_it_wrote(path: Path, call: str) -> None:
    storage = FaultyStorage()
    log = timelog.open(path, flush_interval=3600, storage=storage)
    log.append("uncommitted", timestamp=T)
    storage.arm("torn", only=call)
    with pytest.raises(Killed):
        log.flush()
    abandon(log)


@pytest.mark.parametrize("storage", [None, AnotherBoot()], ids=["same boot", "another boot"])
def test_a_sound_log_is_not_changed(open_log: Open, path: Path, storage: Storage | None) -> None:
    with open_log() as log:
        log.append("a", timestamp=T)
    before = everything(path)
    for _ in range(2):
        open_log(storage=storage).close()
    assert everything(path) == before


def test_repairing_twice_changes_nothing_more(open_log: Open, path: Path) -> None:
    with open_log() as log:
        log.append("a", timestamp=T)
    killed_while_it_wrote(path, "write")
    open_log().close()
    before = everything(path)
    open_log().close()
    assert everything(path) == before
    assert contents(open_log(mode="r")) == ["a"]


def test_a_reader_repairs_nothing(open_log: Open, path: Path) -> None:
    with open_log() as log:
        log.append("a", timestamp=T)
    killed_while_it_wrote(path, "write")
    before = everything(path)
    assert contents(open_log(mode="r")) == ["a"]
    assert everything(path) == before


def test_a_commit_that_was_written_whole_is_kept(open_log: Open, path: Path) -> None:
    """Killed between the journal's record and its fsync: the batch is there, once."""
    storage = FaultyStorage()
    log = timelog.open(path, flush_interval=3600, storage=storage)
    log.append("first", timestamp=T, sync=True)
    log.append("second", timestamp=T)
    # Of an existing segment: its own fsync is the first, the journal's the second.
    storage.only, storage.fault, storage.at = "sync", "kill", len(storage.calls) + 2
    storage.calls = storage.calls[: len(storage.calls)]
    with pytest.raises(Killed):
        log.flush()
    abandon(log)
    assert contents(open_log(mode="r")) == ["first"], "a reader stops at the mark"
    assert contents(open_log()) == ["first", "second"]
    assert contents(open_log(mode="r")) == ["first", "second"]


def test_garbage_in_the_lock_file_lets_the_tails_be_checked(open_log: Open, path: Path) -> None:
    with open_log() as log:
        log.append("a", timestamp=T)
    killed_while_it_wrote(path, "write")
    (path / ".timelog" / "lock").write_bytes(b"\xff" * 100)
    log = open_log()
    assert contents(log) == ["a"]
    log.append("b", timestamp=T, sync=True)
    assert log.verify(deep=True).ok


def test_a_mark_that_names_what_is_no_segment_touches_nothing(
    open_log: Open, path: Path, tmp_path: Path
) -> None:
    from timelog.lock import Mark, State, StoreLock

    outside = tmp_path / "outside"
    outside.write_text("mine")
    open_log().close()
    lock = StoreLock(Storage(), path / ".timelog" / "lock", 1.0)
    with lock.held():
        end = (path / ".timelog" / "journal" / "0000000001.journal").stat().st_size
        mark = Mark(1, 1, end, ("../outside", str(outside), "2026-11-21/../../outside"))
        lock.write(State(Storage().boot_id(), mark))
    with open_log() as log:
        log.append("a", sync=True)
    assert outside.read_text() == "mine"
    assert contents(open_log(mode="r")) == ["a"]


def test_a_torn_tail_after_a_power_cut_is_cut_and_kept(open_log: Open, path: Path) -> None:
    with open_log() as log:
        log.append("a", timestamp=T)
    [segment] = path.glob("[0-9]*/*")
    whole = segment.read_bytes()
    segment.write_bytes(whole + b'{"timestamp":"2023' + b"\0" * 50)
    with open_log(storage=AnotherBoot()) as log:
        assert contents(log) == ["a"]
    assert segment.read_bytes() == whole
    [kept] = (path / ".timelog" / "quarantine").iterdir()
    assert kept.read_bytes().endswith(b"\0" * 50)


def test_positions_that_a_damaged_record_used_stay_used(open_log: Open, path: Path) -> None:
    """Also where the writer that found the damage ended without a commit."""
    with open_log() as log:
        log.append("kept", sync=True)
        journal = path / ".timelog" / "journal" / "0000000001.journal"
        before = journal.stat().st_size
        log.append_many([{"content": "damaged"}] * 5, sync=True)
    data = bytearray(journal.read_bytes())
    data[before + 40] ^= 1
    journal.write_bytes(data)
    for _ in range(3):
        with open_log() as log:
            assert (log.position, log.health().missing) == (6, 5)
        # The journal itself says so now.
        (path / ".timelog" / "lock").unlink()
    with open_log() as log:
        log.append("after", sync=True)
        assert (log.position, log.health().missing) == (7, 5)
        assert [event.content for event in log] == ["kept", "after"]

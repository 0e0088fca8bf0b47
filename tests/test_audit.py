"""The books balance: every event that was entered is accounted for, and what is not is named."""

from __future__ import annotations

import errno
import shutil
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import timelog
from tests.aged import ALL, NEVER, make_aged, save
from tests.faults.oracle import Booted
from tests.rig import FaultyStorage, Killed, abandon
from timelog import flush, rotate
from timelog.audit import Audit
from timelog.checkpoint import Root, crc_of, pack_day, pack_root, parse_day, parse_root
from timelog.errors import (
    BufferFull,
    ClosedError,
    InvalidEvent,
    InvalidInput,
    InvalidTime,
    ReadOnlyError,
    StorageError,
    TimelogError,
)
from timelog.journal import Commit, Entry, read
from timelog.names import Layout
from timelog.segment import FileIndex
from timelog.storage import Storage
from timelog.timestamp import DAY, SECOND

OpenLog = Callable[..., timelog.EventLog]


class Clock(Storage):
    """A wall clock that the test sets, in microseconds."""

    us = 20_000 * DAY

    def time_ns(self) -> int:
        """What the test says."""
        return self.us * 1000


def events(*times: float) -> list[dict[str, Any]]:
    return [{"content": f"at {time}", "timestamp": time} for time in times]


def store(log: timelog.EventLog, *counts: int) -> None:
    """A flush of so many events each."""
    for count in counts:
        log.append_many(events(*range(count)))
        log.flush()


def commits(path: Path) -> list[tuple[Path, Entry, Commit]]:
    """Every commit that is in the journal, and where."""
    found = []
    for file in sorted((path / ".timelog" / "journal").iterdir()):
        for item in read(file.read_bytes(), 0):
            if isinstance(item, Entry) and isinstance(item.record, Commit):
                found.append((file, item, item.record))
    return found


def flip(file: Path, offset: int) -> None:
    data = bytearray(file.read_bytes())
    data[offset] ^= 1
    file.write_bytes(data)


def accounts(audit: Audit) -> tuple[int, ...]:
    return (
        audit.entered,
        audit.stored,
        audit.damaged,
        audit.waiting,
        sum(audit.refused.values()),
        audit.missing,
        audit.lost,
    )


# -- entered ------------------------------------------------------------------------------


def test_the_books_of_an_empty_log_balance(open_log: OpenLog) -> None:
    audit = open_log().audit()
    assert accounts(audit) == (0, 0, 0, 0, 0, 0, 0)
    assert audit.ok and audit.exit_code == 0 and audit.differences == audit.damage == ()


def test_an_event_is_in_memory_and_then_stored(open_log: OpenLog) -> None:
    log = open_log()
    log.append_many(events(1, 2, DAY / SECOND))
    assert accounts(log.audit()) == (3, 0, 0, 3, 0, 0, 0)
    log.flush()
    log.append("waits")
    audit = log.audit()
    assert accounts(audit) == (4, 3, 0, 1, 0, 0, 0)
    assert audit.ok
    # What another process has in memory is its own.
    assert accounts(open_log(mode="r").audit()) == (3, 3, 0, 0, 0, 0, 0)


def test_a_flush_that_failed_leaves_its_events_in_memory(open_log: OpenLog) -> None:
    storage = FaultyStorage()
    log = open_log(storage=storage)
    storage.arm("ENOSPC", "write")
    with pytest.raises(StorageError):
        log.append("is taken", sync=True)
    storage.heal()
    log.append("comes after")
    assert accounts(log.audit()) == (2, 0, 0, 2, 0, 0, 0)
    log.flush()
    assert accounts(log.audit()) == (2, 2, 0, 0, 0, 0, 0)


def test_what_is_in_memory_must_be_what_was_put_there(open_log: OpenLog) -> None:
    log = open_log()
    log.append_many(events(1, 2, 3))
    files = log._store.buffer._files
    lost = dict(files)
    files.clear()
    audit = log.audit()
    assert (audit.exit_code, audit.difference) == (1, 3)
    assert audit.differences == ("3 events wait to be committed, and 0 are in memory",)
    files.update(lost)
    log.flush()
    assert log.audit().ok


# -- refused ------------------------------------------------------------------------------

REFUSED: list[tuple[type[TimelogError], int, Callable[[timelog.EventLog], object]]] = [
    (InvalidEvent, 1, lambda log: log.append(7)),  # type: ignore[arg-type]
    (InvalidEvent, 1, lambda log: log.append("x", tags=["a\nb"])),
    (InvalidEvent, 1, lambda log: log.append("x", id="")),
    (InvalidTime, 1, lambda log: log.append("x", timestamp="when it rained")),
    (InvalidTime, 1, lambda log: log.append("x", timestamp="+3d")),
    # Of a list all are refused, of an iterator those that were asked for.
    (InvalidEvent, 3, lambda log: log.append_many([*events(1), {"no": 1}, *events(3)])),
    (InvalidEvent, 2, lambda log: log.append_many(iter([*events(1), {"no": 1}, *events(3)]))),
    (BufferFull, 200, lambda log: log.append_many(events(*range(200)))),
    (InvalidInput, 2, lambda log: log.append_many(events(1, 2), cursor=("", 1))),
]


@pytest.mark.parametrize("case", range(len(REFUSED)))
def test_what_is_refused_is_counted_with_the_reason(open_log: OpenLog, case: int) -> None:
    kind, number, attempt = REFUSED[case]
    log = open_log(max_buffer=70_000, max_content=1_000)
    with pytest.raises(kind) as raised:
        attempt(log)
    expected = {type(raised.value).__name__: number}
    assert log.audit().refused == expected
    log.append("goes with them")
    log.flush()
    log.append("waits")
    for audit in (log.audit(), open_log(mode="r").audit()):
        assert audit.refused == expected
        assert audit.entered == 1 + number + audit.waiting
        assert audit.ok


def test_an_event_for_which_there_is_no_room_is_refused(open_log: OpenLog) -> None:
    log = open_log(max_buffer=70_000, max_content=20_000)
    taken = 0
    with pytest.raises(BufferFull):
        while True:
            log.append("x" * 20_000, block=False)
            taken += 1
    with pytest.raises(BufferFull):
        log.append("x" * 20_000, timestamp=1, block=False)
    assert accounts(log.audit()) == (taken + 2, 0, 0, taken, 2, 0, 0)
    assert log.audit().refused == {"BufferFull": 2}


def test_an_error_of_the_caller_refuses_nothing(open_log: OpenLog) -> None:
    def broken() -> Iterator[dict[str, Any]]:
        yield from events(1)
        raise ZeroDivisionError

    log = open_log()
    with pytest.raises(ZeroDivisionError):
        log.append_many(broken())
    assert accounts(log.audit()) == (0, 0, 0, 0, 0, 0, 0)


def test_a_reader_knows_what_it_was_refused_itself(open_log: OpenLog, path: Path) -> None:
    store(open_log(), 1)
    with open_log(mode="r") as reader:
        with pytest.raises(ReadOnlyError):
            reader.append("x")
        assert reader.audit().refused == {"ReadOnlyError": 1}
    assert open_log(mode="r").audit().refused == {}


def test_refusals_alone_make_no_commit_but_at_close(open_log: OpenLog, path: Path) -> None:
    log = open_log()
    with pytest.raises(InvalidTime):
        log.append("x", timestamp="never")
    log.flush()
    log.sync()
    assert commits(path) == []
    log.close()
    ((_, _, commit),) = commits(path)
    assert (commit.count, commit.refused) == (0, {"InvalidTime": 1})
    open_log().close()
    assert len(commits(path)) == 1
    assert open_log(mode="r").audit().refused == {"InvalidTime": 1}


def test_what_a_killed_process_was_refused_goes_with_its_memory(open_log: OpenLog) -> None:
    log = open_log()
    log.append("x")
    with pytest.raises(InvalidTime):
        log.append("x", timestamp="never")
    abandon(log)
    assert accounts(open_log().audit()) == (0, 0, 0, 0, 0, 0, 0)


def test_a_refusal_after_the_log_was_closed_changes_nothing(open_log: OpenLog) -> None:
    log = open_log()
    log.close()
    with pytest.raises(ClosedError):
        log.append("x")
    with pytest.raises(ClosedError):
        log.audit()
    assert open_log().audit().refused == {}


@pytest.mark.parametrize("fault", ["EIO", "kill"])
def test_a_refusal_counts_once_whatever_the_flush_meets(ram: Path, fault: str) -> None:
    """Every disk call of a flush fails once; it is tried again, by this process or another."""
    at = 0
    while True:
        at += 1
        path = ram / str(at)
        storage = FaultyStorage()
        log = timelog.open(path, flush_interval=3600.0, storage=storage, text_index=False)
        store(log, 2)
        with pytest.raises(InvalidEvent):
            log.append_many([*events(1), {}])
        log.append("goes with them")
        storage.fault, storage.at = fault, len(storage.calls) + at
        try:
            log.flush()
        except (StorageError, Killed):
            assert storage.happened()
        if not storage.happened():
            log.close()
            break
        audit = log.audit()
        if fault == "kill":
            abandon(log)
            log = timelog.open(path, flush_interval=3600.0, text_index=False)
            # The commit is there, whole, or not at all.
            audit = log.audit()
            assert (audit.stored, audit.refused) in [(2, {}), (3, {"InvalidEvent": 2})]
        else:
            assert audit.ok
            assert (audit.stored + audit.waiting, audit.refused) == (3, {"InvalidEvent": 2})
            storage.heal()
            log.flush()
            audit = log.audit()
            assert (audit.stored, audit.refused) == (3, {"InvalidEvent": 2})
        assert audit.ok
        log.close()
    assert at > 7, "a flush has more calls than that"


# -- since --------------------------------------------------------------------------------


def test_since_counts_whole_days_of_commit(ram: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rotate, "MOST_COMMITS", 2)
    clock = Clock()
    log = timelog.open(ram / "log", flush_interval=3600.0, storage=clock, text_index=False)
    for n, count in enumerate((3, 0, 5, 2)):
        clock.us = (20_000 + n) * DAY + 7 * SECOND
        # Of whatever time the events are: two flushes a day.
        store(log, count)
        with pytest.raises(InvalidEvent):
            log.append_many([{}] * (n + 1))
        store(log, count)
    log.append("waits")
    totals = [(audit := log.audit(n * DAY / SECOND)).entered for n in range(20_000, 20_005)]
    # The refusals of the day without events were told by the first commit of the next.
    assert totals == [31, 24, 24, 9, 1]
    for n, stored in ((20_000, 20), (20_001, 14), (20_002, 14), (20_003, 4), (20_004, 0)):
        for time in (n * DAY, n * DAY + DAY - 1):
            audit = log.audit(time / SECOND)
            assert (audit.stored, audit.waiting, audit.since) == (stored, 1, n * DAY)
            assert audit.ok, str(audit)
    assert log.audit().since is None
    assert accounts(log.audit()) == accounts(log.audit(0))
    log.close()


def test_a_log_of_a_release_without_a_ledger_counts_from_its_positions(
    open_log: OpenLog, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(flush, "COMMITS_AT_CLOSE", 1)
    with open_log() as log:
        store(log, 4, 3)
    change_root(path, lambda root: msgspec.structs.replace(root, ledger=()))
    with open_log() as log:
        assert accounts(log.audit()) == (7, 7, 0, 0, 0, 0, 0)
        assert accounts(log.audit("-1h")) == (0, 0, 0, 0, 0, 0, 0)
        store(log, 2)
        assert accounts(log.audit()) == (9, 9, 0, 0, 0, 0, 0)
        assert accounts(log.audit("-1h")) == (2, 2, 0, 0, 0, 0, 0)
        assert log.audit().ok and log.audit("-1h").ok
    audit = open_log(mode="r").audit()
    assert audit.ok and audit.stored == 9


# -- lost and damaged ---------------------------------------------------------------------


def test_events_of_a_damaged_record_of_the_journal_are_missing(
    open_log: OpenLog, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with open_log() as log:
        store(log, 3, 5, 2)
    file, entry, _ = commits(path)[1]
    flip(file, entry.start + 40)
    monkeypatch.setattr(flush, "COMMITS_AT_CLOSE", 1)
    for _ in range(3):
        with open_log() as log:
            audit = log.audit()
            assert accounts(audit) == (10, 5, 0, 0, 0, 5, 0)
            assert (audit.exit_code, audit.difference, audit.ok) == (3, 0, False)
            assert file.name in audit.damage[0]
            assert str(audit).startswith("balanced, with damage: 10 events entered\n")


def test_the_events_of_a_damaged_newest_record_are_missing(open_log: OpenLog, path: Path) -> None:
    """The lock file says how many there were."""
    with open_log() as log:
        store(log, 3, 5)
    file, entry, _ = commits(path)[1]
    flip(file, entry.start + 40)
    reader, writer = open_log(mode="r"), open_log()
    for _ in range(2):
        for log in (reader, writer, open_log(mode="r")):
            audit = log.audit()
            assert accounts(audit)[1:] == (log.position - 5, 0, 0, 0, 5, 0)
            assert audit.entered == log.position and audit.exit_code == 3
            assert file.name in audit.damage[0]
        store(writer, 1)


@pytest.mark.parametrize("is_cut", [True, False])
def test_a_commit_that_vanishes_is_missing_for_who_is_there(
    open_log: OpenLog, path: Path, is_cut: bool
) -> None:
    log, reader = open_log(), open_log(mode="r")
    store(log, 3)
    assert reader.position == 3
    store(log, 5)
    file, entry, _ = commits(path)[1]
    if is_cut:
        file.write_bytes(file.read_bytes()[: entry.start])
    else:
        flip(file, entry.start + 40)
    for audit in (log.audit(), reader.audit(), open_log(mode="r").audit()):
        assert accounts(audit) == (8, 3, 0, 0, 0, 5, 0)
        assert audit.exit_code == 3 and file.name in audit.damage[0]


def test_blocks_that_are_withheld_count_as_damaged(open_log: OpenLog, path: Path) -> None:
    log = open_log()
    log.append_many(events(1, 2, 3, 61))
    log.flush()
    log.append_many(events(121, 122))
    log.flush()
    (file,) = path.glob("*/*T0000Z-*T0001Z.jsonl")
    flip(file, 10)
    # No text is read, so nothing is known yet.
    assert log.audit().ok
    assert len(log.search().to_list()) == 3
    audit = log.audit()
    assert accounts(audit) == (6, 3, 3, 0, 0, 0, 0)
    assert (audit.exit_code, audit.difference) == (3, 0)
    assert len(audit.damage) == 1 and file.name in audit.damage[0]
    assert open_log(mode="r").audit().ok


def test_what_the_scrub_of_another_process_found_counts_too(open_log: OpenLog, path: Path) -> None:
    log = open_log()
    store(log, 3)
    (file,) = path.glob("*/*.jsonl")
    flip(file, 10)
    log._store.scrubber.step()
    assert accounts(open_log(mode="r").audit()) == (3, 0, 3, 0, 0, 0, 0)


def test_a_day_whose_index_is_damaged_is_damaged(
    open_log: OpenLog, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(flush, "COMMITS_AT_CLOSE", 1)
    with open_log() as log:
        log.append_many(events(1, DAY / SECOND, 2))
        log.flush()
        log.append_many(events(DAY / SECOND, 3))
    (file,) = (path / ".timelog" / "index").glob("1970-01-02.*")
    flip(file, 30)
    audit = open_log(mode="r").audit()
    assert accounts(audit) == (5, 3, 2, 0, 0, 0, 0)
    assert audit.exit_code == 3
    assert [file.name in text for text in audit.damage] == [True]
    file.unlink()
    assert accounts(open_log(mode="r").audit()) == (5, 3, 2, 0, 0, 0, 0)


@pytest.mark.parametrize("first_lost", [0, 1, 3, 4])
def test_events_that_a_power_cut_took_by_permission_are_counted(ram: Path, first_lost: int) -> None:
    path = ram / "log"
    counts = [3, 1, 4, 1, 5]
    log = timelog.open(path, flush_interval=3600.0, sync="off", storage=Booted("one"))
    for n, count in enumerate(counts):
        log.append_many([{"content": "x", "timestamp": n * 60}] * count)
        with pytest.raises(InvalidEvent):
            log.append("x", tags=["\n"])
        log.flush()
    abandon(log)
    (file,) = path.glob(f"*/*T00{first_lost:02}Z-*T00{first_lost + 1:02}Z.jsonl")
    file.write_bytes(b"")
    kept, lost = sum(counts[:first_lost]), sum(counts[first_lost:])
    with timelog.open(path, flush_interval=3600.0, sync="off", storage=Booted("two")) as log:
        audit = log.audit()
        assert accounts(audit) == (14 + 5, kept, 0, 0, 5, 0, lost)
        assert audit.ok, str(audit)
        log.append_many(events(*range(600, 607)))
        log.flush()
        assert accounts(log.audit()) == (14 + 5 + 7, kept + 7, 0, 0, 5, 0, lost)
    # And once more.
    (file,) = path.glob("*/*T0010Z-*T0011Z.jsonl")
    file.write_bytes(b"")
    with timelog.open(path, flush_interval=3600.0, sync="off", storage=Booted("three")) as log:
        audit = log.audit()
        assert accounts(audit) == (14 + 5 + 7, kept, 0, 0, 5, 0, lost + 7)
        assert audit.ok, str(audit)


# -- tampering ----------------------------------------------------------------------------


def change_root(path: Path, change: Callable[[Root], Root]) -> None:
    file = Layout(path).index_root
    file.write_bytes(pack_root(change(parse_root(file.read_bytes()))))


def change_days(path: Path, change: Callable[[FileIndex], None]) -> None:
    """Change what the index files say, with crcs that hold."""

    def changed(root: Root) -> Root:
        days = []
        for day in root.days:
            file = Layout(path).index / day.file
            files = parse_day(file.read_bytes(), day)
            change(files)
            data = pack_day(day.day, files)
            file.write_bytes(data)
            days.append(msgspec.structs.replace(day, crc=crc_of(data)))
        return msgspec.structs.replace(root, days=tuple(days))

    change_root(path, changed)


@pytest.fixture
def saved(open_log: OpenLog, path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A log of three segments with 4, 3 and 2 events, all in a checkpoint."""
    monkeypatch.setattr(flush, "COMMITS_AT_CLOSE", 1)
    with open_log() as log:
        for n, count in enumerate((4, 3, 2)):
            log.append_many([{"content": "x", "timestamp": n * 60}] * count)
            log.flush()
    assert open_log(mode="r").audit().ok
    return path


def drop(files: FileIndex) -> None:
    list(files)[1].blocks.clear()


def repeat(files: FileIndex) -> None:
    segment = list(files)[2]
    segment.blocks.append(segment.blocks[0])


def replace_positions(files: FileIndex) -> None:
    segment = list(files)[2]
    segment.blocks[0] = msgspec.structs.replace(segment.blocks[0], runs=(12, 2))


def drop_and_repeat(files: FileIndex) -> None:
    drop(files)
    repeat(files)


TAMPERED: list[tuple[Callable[[FileIndex], None], int, list[str]]] = [
    (drop, 3, ["positions 4 to 6 are in no block"]),
    (repeat, 2, ["positions 7 to 8 are held more than once"]),
    (
        drop_and_repeat,
        5,
        ["positions 4 to 6 are in no block", "positions 7 to 8 are held more than once"],
    ),
    (
        replace_positions,
        7,
        [
            "positions 7 to 8 are in no block",
            "blocks hold positions up to 13, which no commit entered",
        ],
    ),
]


@pytest.mark.parametrize("case", range(len(TAMPERED)))
def test_a_changed_index_is_found(open_log: OpenLog, saved: Path, case: int) -> None:
    change, difference, differences = TAMPERED[case]
    change_days(saved, change)
    audit = open_log(mode="r").audit()
    assert (audit.difference, list(audit.differences)) == (difference, differences)
    assert audit.exit_code == 1 and not audit.ok
    assert str(audit).startswith(f"{difference} events differ: 9 events entered\n")
    assert all(f"difference {each}" in str(audit) for each in differences)


def test_a_changed_index_is_found_by_a_process_that_knew_better(
    open_log: OpenLog, saved: Path
) -> None:
    log = open_log()
    assert log.search().count() == 9
    change_days(saved, drop)
    assert log.audit().difference == 3


@pytest.mark.parametrize("events_in_row", [8, 10, 0])
def test_a_changed_ledger_is_found(open_log: OpenLog, saved: Path, events_in_row: int) -> None:
    def change(root: Root) -> Root:
        (row,) = root.ledger
        return msgspec.structs.replace(
            root, ledger=(msgspec.structs.replace(row, events=events_in_row),)
        )

    change_root(saved, change)
    audit = open_log(mode="r").audit()
    assert audit.difference == abs(9 - events_in_row)
    assert audit.differences == (
        f"the ledger has {events_in_row} events for the 9 positions from 0 on",
    )


def test_missing_positions_that_a_block_holds_are_a_difference(
    open_log: OpenLog, saved: Path
) -> None:
    change_root(saved, lambda root: msgspec.structs.replace(root, missing=((2, 4),)))
    audit = open_log(mode="r").audit()
    assert audit.differences == ("positions 2 to 4 are held more than once",)


# -- what went ----------------------------------------------------------------------------


def test_what_expired_and_was_deleted_is_accounted_for(open_log: OpenLog, path: Path) -> None:
    make_aged(path)
    for mode in ("r", "a", "r"):
        audit = open_log(mode=mode).audit()
        assert accounts(audit) == (144, 105, 0, 0, 0, 0, 0)
        assert (audit.expired, audit.deleted) == (36, 3)
        assert audit.ok and audit.exit_code == 0
        assert "expired                 36  by the retention\n" in str(audit)
        assert str(audit).endswith("deleted                  3  hidden or erased")


def test_what_a_rule_hides_is_stored_until_a_compaction_removes_it(
    open_log: OpenLog, path: Path
) -> None:
    visible = make_aged(path)
    log = open_log()
    log.compact()
    audit = log.audit()
    assert accounts(audit) == (144, len(visible), 0, 0, 0, 0, 0)
    assert (audit.expired, audit.deleted) == (144 - len(visible) - 3, 3) and audit.ok


def test_an_event_that_is_deleted_and_then_expires_has_expired(
    open_log: OpenLog, path: Path
) -> None:
    make_aged(path)
    log = open_log()
    log.expire(partitions=1)
    audit = log.audit()
    assert accounts(audit) == (144, 36, 0, 0, 0, 0, 0)
    assert (audit.expired, audit.deleted) == (107, 1) and audit.ok


def test_what_went_counts_with_the_day_of_its_commit(open_log: OpenLog) -> None:
    clock = Clock()
    clock.us = 20_000 * DAY
    log = open_log(storage=clock, max_future=1e9, compact_after=None)
    for day in range(3):
        clock.us = (20_000 + day) * DAY
        log.append_many(
            {"content": "x", "timestamp": n * DAY / SECOND, "id": f"{day}.{n}"} for n in range(4)
        )
        log.flush()
    # These days are not those that passed.
    log.expire(partitions=2, confirm_clock=True)
    log.delete("1.3")
    log.delete("2.3", erase=True)
    for since, days in ((None, 3), (20_000 * DAY / SECOND, 3), (20_001 * DAY / SECOND, 2)):
        audit = log.audit(since)
        assert accounts(audit) == (4 * days, 2 * days - 2, 0, 0, 0, 0, 0), str(audit)
        assert (audit.expired, audit.deleted) == (2 * days, 2) and audit.ok
    audit = log.audit(20_002 * DAY / SECOND)
    assert (audit.entered, audit.stored, audit.expired, audit.deleted) == (4, 1, 2, 1)


def test_deleted_events_in_a_damaged_block_are_deleted(open_log: OpenLog) -> None:
    log = open_log()
    log.append_many([{"content": "x", "timestamp": 1, "id": f"{n}"} for n in range(5)])
    log.flush()
    log.delete("2")
    (file,) = log.path.glob("*/*.jsonl")
    flip(file, 10)
    log.verify()
    log._store.scrubber.step()
    audit = log.audit()
    assert accounts(audit) == (5, 0, 4, 0, 0, 0, 0)
    assert audit.deleted == 1 and audit.exit_code == 3 and not audit.difference


@pytest.mark.parametrize(
    ("change", "difference", "words"),
    [
        ({"expired": 35}, 1, "37 positions are in no block, and 36 events expired or were erased"),
        ({"expired": 38}, 2, "37 positions are in no block, and 39 events expired or were erased"),
        ({"erased": 0}, 1, "37 positions are in no block, and 36 events expired or were erased"),
        ({"deleted": 2}, 1, "1 events are hidden as deleted, whose deletion was not booked"),
    ],
)
def test_a_ledger_that_has_other_events_gone_is_found(
    open_log: OpenLog, path: Path, change: dict[str, int], difference: int, words: str
) -> None:
    make_aged(path)
    with open_log() as log:
        save(log)

    def changed(root: Root) -> Root:
        (row,) = root.ledger
        return msgspec.structs.replace(root, ledger=(msgspec.structs.replace(row, **change),))

    change_root(path, changed)
    audit = open_log(mode="r").audit()
    assert audit.exit_code == 1
    assert (audit.difference, audit.differences) == (difference, (words,))


LIVES = st.lists(
    st.one_of(
        st.tuples(st.just("append"), st.lists(st.integers(0, 9), min_size=1, max_size=8)),
        st.tuples(st.sampled_from(["delete", "erase"]), st.integers(0, 99)),
        st.tuples(st.sampled_from(["partitions"]), st.integers(1, 3)),
        st.tuples(st.sampled_from(["rule", "compact", "archive", "save", "reopen"])),
    ),
    max_size=20,
)


@settings(max_examples=30)
@given(steps=LIVES)
def test_the_books_of_a_log_that_lives_are_those_of_a_plain_count(
    ram: Path, steps: list[tuple[Any, ...]]
) -> None:
    """A naive model: events by id, and what became of them."""
    path = ram / "log"
    shutil.rmtree(path, ignore_errors=True)

    def open_log() -> timelog.EventLog:
        return timelog.open(path, flush_interval=3600.0, text_index=False, compact_after=None)

    log = open_log()
    there: dict[str, tuple[int, bool]] = {}
    hidden: set[str] = set()
    entered = expired = erased = 0
    horizon, is_ruled = 0, False

    def visible() -> list[str]:
        return [
            id
            for id, (_, is_tagged) in there.items()
            if id not in hidden and not (is_ruled and is_tagged)
        ]

    for name, *rest in steps:
        if name == "append":
            new = []
            for n in rest[0]:
                day, is_tagged = n % 4, n > 6
                if day >= horizon and not (is_ruled and is_tagged):
                    there[f"{entered}"] = (day, is_tagged)
                    new.append(
                        {
                            "content": "x",
                            "timestamp": day * DAY / SECOND + n,
                            "id": f"{entered}",
                            "tags": ["drop"] if is_tagged else [],
                        }
                    )
                    entered += 1
            log.append_many(new)
            log.flush()
        elif name in ("delete", "erase"):
            found = visible()
            if found:
                id = found[rest[0] % len(found)]
                log.delete(id, erase=name == "erase")
                hidden.add(id)
                if name == "erase":
                    day = there[id][0]
                    erased += 1
                    del there[id]
                    # Its segment was written anew, without anything that was to go of it.
                    assert day >= horizon
        elif name == "partitions":
            went = {each.name for each in log.expire(partitions=rest[0]).partitions}
            days = {int(each[-2:]) - 1 for each in went}
            horizon = max([horizon, *(day + 1 for day in days)])
            expired += sum(day < horizon for day, _ in there.values())
            there = {id: each for id, each in there.items() if each[0] >= horizon}
        elif name == "rule":
            log.expire(NEVER, tags={"drop": ALL})
            is_ruled = True
        elif name in ("compact", "archive"):
            log.compact(archive=name == "archive")
        elif name == "save":
            save(log)
        else:
            log.close()
            log = open_log()
        audit = log.audit()
        assert audit.ok and audit.entered == entered, str(audit)
        # What was to go anyway may have gone with whatever was written anew.
        kept = [id for id in there if id not in hidden]
        assert len(visible()) <= audit.stored <= len(kept), str(audit)
        assert audit.expired >= expired and audit.deleted >= erased
        assert audit.stored + audit.expired + audit.deleted == entered
        assert sorted(event.id for event in log.search()) == sorted(visible())
    log.close()


# -- all together -------------------------------------------------------------------------

STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("append"), st.integers(0, 1), st.lists(st.integers(0, 9), max_size=8)),
        st.tuples(st.sampled_from(["refuse", "flush", "reopen", "kill"]), st.integers(0, 1)),
    ),
    max_size=25,
)


@settings(max_examples=80)
@given(steps=STEPS, data=st.data())
def test_the_books_are_those_of_a_plain_count(
    ram: Path, steps: list[tuple[Any, ...]], data: st.DataObject
) -> None:
    """Two writers; and at the end a record of the journal is damaged, but not the newest."""
    path = ram / "log"
    shutil.rmtree(path, ignore_errors=True)

    def open_log() -> timelog.EventLog:
        return timelog.open(path, flush_interval=3600.0, text_index=False, storage=Booted("one"))

    logs = [open_log(), open_log()]
    waiting, refused_waiting = [0, 0], [0, 0]
    committed: list[tuple[int, int]] = []

    def commit(writer: int, *, closing: bool) -> None:
        if waiting[writer] or (closing and refused_waiting[writer]):
            committed.append((waiting[writer], refused_waiting[writer]))
            waiting[writer] = refused_waiting[writer] = 0

    for name, writer, *rest in steps:
        log = logs[writer]
        if name == "append":
            times = [n % 3 * DAY / SECOND + n for n in rest[0]]
            waiting[writer] += log.append_many(events(*times))
        elif name == "refuse":
            with pytest.raises(InvalidTime):
                log.append("x", timestamp="soon")
            refused_waiting[writer] += 1
        elif name == "flush":
            log.flush()
            commit(writer, closing=False)
        elif name == "reopen":
            log.close()
            commit(writer, closing=True)
            logs[writer] = open_log()
        else:
            abandon(log)
            waiting[writer] = refused_waiting[writer] = 0
            logs[writer] = open_log()
        stored = sum(count for count, _ in committed)
        for each, log in enumerate(logs):
            refused = sum(count for _, count in committed) + refused_waiting[each]
            expected = (stored + waiting[each] + refused, stored, 0, waiting[each], refused, 0, 0)
            audit = log.audit()
            assert accounts(audit) == expected and audit.ok, str(audit)
    for writer, log in enumerate(logs):
        log.close()
        commit(writer, closing=True)
    records = commits(path)
    assert [(record.count, sum(record.refused.values())) for _, _, record in records] == committed
    # Where nothing behind it has a position, nobody can know how many it had.
    last = max((n for n, (count, _) in enumerate(committed) if count), default=0)
    if last:
        number = data.draw(st.integers(0, last - 1))
        file, entry, _ = records[number]
        flip(file, entry.end - 1)
        missing, untold = committed[number]
        stored = sum(count for count, _ in committed) - missing
        refused = sum(count for _, count in committed) - untold
        for mode in ("r", "a", "r"):
            with timelog.open(path, mode=mode, storage=Booted("one")) as log:
                audit = log.audit()
                assert accounts(audit) == (
                    stored + missing + refused,
                    stored,
                    0,
                    0,
                    refused,
                    missing,
                    0,
                )
                assert (audit.difference, audit.exit_code) == (0, 3)


def test_an_audit_in_the_middle_of_everything_balances(open_log: OpenLog) -> None:
    """Each event is in memory or stored, at every moment, whoever looks."""
    log = open_log(max_buffer=1 << 24)
    issued = [0, 0]
    number = 400

    def write(writer: int) -> None:
        for n in range(number):
            log.append(f"{writer} {n}")
            issued[writer] += 1
            if n % 20 == 0:
                log.flush()

    threads = [threading.Thread(target=write, args=(writer,)) for writer in (0, 1)]
    for thread in threads:
        thread.start()
    looks = 0
    while any(thread.is_alive() for thread in threads):
        before = sum(issued)
        audit = log.audit()
        # Each thread may be between an append and its note of it.
        assert before <= audit.entered <= sum(issued) + 2
        assert audit.ok and audit.stored + audit.waiting == audit.entered, str(audit)
        looks += 1
    assert looks
    log.flush()
    assert accounts(log.audit()) == (2 * number, 2 * number, 0, 0, 0, 0, 0)


def test_an_audit_that_cannot_read_says_so(open_log: OpenLog, saved: Path) -> None:
    class Unreadable(Storage):
        """The index files of days cannot be read."""

        def read_file(self, path: Path) -> bytes:
            if path.suffix == ".index":
                raise OSError(errno.EMFILE, "Too many open files", str(path))
            return super().read_file(path)

    log = open_log(mode="r", storage=Unreadable())
    with pytest.raises(StorageError, match="too many open files"):
        log.audit()

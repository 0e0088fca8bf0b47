"""The index of a day is made anew from its text; what else there is says which positions it has."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

import timelog
from tests.broken import START, events_of, everything, kept, make_log, segments
from tests.rig import FaultyStorage, Killed, abandon
from timelog.names import Layout, partition
from timelog.rotate import write_checkpoint
from timelog.timestamp import DAY


@pytest.fixture
def path(ram: Path) -> Path:
    return ram / "log"


def index_file(path: Path, day: int) -> Path:
    [file] = Layout(path).index.glob(f"{partition(day)}.*.index")
    return file


def positions(path: Path) -> dict[str, int]:
    """The position of each event."""
    found: dict[str, int] = {}
    with timelog.open(path, mode="r") as log:
        for position in range(log.position):
            new = {event.id for event in log.search(as_of=position + 1)} - found.keys()
            found |= dict.fromkeys(new, position)
    return found


def test_the_order_of_arrival_is_lost_within_the_day_alone(path: Path) -> None:
    events = make_log(path)
    before = positions(path)
    with timelog.open(path, mode="r") as log:
        id, cursor = log._store.id, log.cursor("reader")
    file = index_file(path, START)
    bytes_before = file.read_bytes()
    file.write_bytes(bytes_before[:-1] + b"\xff")
    report = timelog.repair(path)
    assert report.ok and report.quarantined == ()
    [note] = report.notes
    assert note.startswith(f"{partition(START)}: its index was made anew from the text, since ")
    assert "32 events, whose order of arrival is lost" in note
    assert kept(path) == [bytes_before[:-1] + b"\xff"]
    assert events_of(path) == events
    with timelog.open(path, mode="r") as log:
        assert (log._store.id, log.cursor("reader")) == (id, cursor)
    after = positions(path)
    other_day = {event.id for event in events if event.timestamp.timestamp() * 10**6 >= START + DAY}
    assert {id: after[id] for id in other_day} == {id: before[id] for id in other_day}
    assert sorted(after.values()) == sorted(before.values()) == list(range(len(events)))
    # What the journal has of the day keeps its place, too.
    newest = max(before.values()) - 9
    assert {n for n in after.values() if n > newest} and all(
        after[each] == n for each, n in before.items() if n > newest
    )


def test_lines_that_are_gone_are_missing_positions(path: Path) -> None:
    make_log(path)
    index_file(path, START).unlink()
    file = next(each for each in segments(path) if each.name.startswith("20241004T0000Z-20241005"))
    lines = file.read_bytes().splitlines(keepends=True)
    file.write_bytes(b"".join(lines[:5] + lines[8:]))
    report = timelog.repair(path)
    assert report.exit_code == 1
    assert "; 3 events are missing" in report.notes[0]
    assert "no positions" in str(report)
    with timelog.open(path, mode="r") as log:
        assert log.health().missing == 3
        count = log.search().count()
        assert (log.position, count) == (count + 3, report.events)
    before = everything(path)
    again = timelog.repair(path)
    assert not again.found and again.damage == report.damage
    assert everything(path) == before


def test_more_lines_than_were_stored_go_to_quarantine(path: Path) -> None:
    events = make_log(path)
    index_file(path, START).unlink()
    # The last file of the day that the journal knows nothing of.
    file = next(each for each in segments(path) if each.name.startswith("20241004T0000Z-20241005"))
    data = file.read_bytes()
    extra = data.splitlines(keepends=True)[0].replace(b"imported", b"uncommitted")
    file.write_bytes(data + extra + extra + b'{"torn')
    report = timelog.repair(path)
    assert report.ok
    assert "; 2 lines more than were stored are left out" in report.notes[0]
    [place] = report.quarantined
    assert place.offset == len(data)
    assert kept(path) == [extra + extra + b'{"torn']
    assert events_of(path) == events


def test_what_the_journal_knows_of_a_file_says_where_its_text_ends(path: Path) -> None:
    events = make_log(path)
    index_file(path, START).unlink()
    known = next(each for each in segments(path) if each.name.startswith("20241004T0000Z-20241004"))
    with known.open("ab") as file:
        file.write(known.read_bytes().splitlines(keepends=True)[0])
    report = timelog.repair(path)
    assert report.ok and "more than" not in report.notes[0]
    assert len(report.quarantined) == 1
    assert events_of(path) == events


def test_bytes_that_changed_are_found_where_the_journal_can_tell(path: Path) -> None:
    make_log(path)
    index_file(path, START).unlink()
    known = next(each for each in segments(path) if each.name.startswith("20241004T0000Z-20241004"))
    known.write_bytes(known.read_bytes().replace(b"content 1 0", b"content 1 9"))
    for _ in range(2):
        report = timelog.repair(path)
        assert report.exit_code == 1
        assert [damage.file for damage in report.damage] == [str(known.relative_to(path))]
    with timelog.open(path, mode="r") as log:
        results = log.search()
        assert not any("content 1 9" in event.content for event in results)
        assert [damage.file for damage in results.damage] == [str(known.relative_to(path))]


def test_a_day_whose_partition_is_gone_too_is_missing(path: Path) -> None:
    events = make_log(path, flushes=1, checkpoint=False)
    with timelog.open(path) as log:
        write_checkpoint(log._store.layout, log._store.storage, log._store.index)
    index_file(path, START + DAY).unlink()
    shutil.rmtree(path / partition(START + DAY))
    report = timelog.repair(path)
    assert "0 events" in report.notes[0] and "; 3 events are missing" in report.notes[0]
    with timelog.open(path, mode="r") as log:
        assert log.search().count() == len(events) - 3
        assert log.health().missing == 3
    assert not timelog.repair(path).found


def test_a_flush_that_was_cut_off_does_not_stand_in_the_way(path: Path) -> None:
    """Nobody can open the log to write then: what is marked belongs to the damaged day."""
    events = make_log(path)
    storage = FaultyStorage()
    log = timelog.open(path, flush_interval=3600, storage=storage)
    log.append("uncommitted", timestamp=events[0].timestamp)
    storage.arm("torn", only="write")
    with pytest.raises(Killed):
        log.flush()
    abandon(log)
    index_file(path, START).unlink()
    report = timelog.repair(path)
    assert report.ok and report.quarantined
    assert events_of(path) == events

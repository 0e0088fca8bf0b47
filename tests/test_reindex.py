"""The index of a day is made anew from its text; what else there is says which positions it has."""

from __future__ import annotations

import shutil
from pathlib import Path

import hypothesis.strategies as st
import pytest
from hypothesis import given, settings

import timelog
from tests.aged import ALL, NEVER, archives, blocks_of, fill, make_aged, nothing_unlinked, save
from tests.broken import START, events_of, everything, kept, make_log, segments, sorted_events
from tests.rig import FaultyStorage, Killed, abandon
from timelog.names import Layout, partition
from timelog.positions import stretches
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


# -- logs that have lived -----------------------------------------------------------------


def lose(path: Path, *days: int) -> None:
    for day in days:
        index_file(path, START + day * DAY).unlink()


def held(path: Path) -> list[int]:
    """The positions that blocks hold."""
    with timelog.open(path, mode="r") as log:
        return sorted(
            position
            for block in blocks_of(log)
            for first, end in stretches(block.runs, block.count)
            for position in range(first, end)
        )


def test_archives_are_indexed_frame_by_frame(path: Path) -> None:
    make_aged(path)
    with timelog.open(path, mode="r") as log:
        before = [(block.path, block.offset, block.crc, block.frame) for block in blocks_of(log)]
    lose(path, 1)
    assert timelog.repair(path).ok
    with timelog.open(path, mode="r") as log:
        after = [(block.path, block.offset, block.crc, block.frame) for block in blocks_of(log)]
        assert log.verify(deep=True).ok
    assert after == before


@pytest.mark.parametrize("lost", [(1,), (2,), (3,), (1, 2), (1, 2, 3)])
def test_positions_of_what_is_gone_are_neither_given_away_nor_missing(
    path: Path, lost: tuple[int, ...]
) -> None:
    make_aged(path)
    before = held(path)
    lose(path, *lost)
    report = timelog.repair(path)
    assert report.ok, str(report)
    with timelog.open(path) as log:
        books = log.audit()
        assert books.ok, str(books)
        assert (books.entered, books.expired, books.missing) == (144, 36, 0)
        assert books.stored + books.deleted == 144 - 36
        # What went first was what came first.
        assert held(path)[-72:] == before[-72:]
        log.expire(partitions=1)
        assert log.audit().ok and log.audit().expired == 36 + 35 + 36


def test_deletions_follow_their_events_where_the_journal_has_them(path: Path) -> None:
    expected = make_aged(path)
    lose(path, 1, 2)
    report = timelog.repair(path)
    assert report.ok
    assert not any("visible again" in note for note in report.notes)
    with timelog.open(path, mode="r") as log:
        assert sorted_events(log) == expected
        assert {each.id for each in log.deletions()} == {"1.70.2.3", "2.0.1.1"}
        for each in log.deletions():
            assert not each.is_erased
    with timelog.open(path) as log:
        log.compact()
        assert {each.id: each.is_erased for each in log.deletions()} == {
            "1.70.2.3": True,
            "2.0.1.1": True,
        }
        assert sorted_events(log) == expected
        assert log.audit().ok and log.audit().deleted == 3


def test_deletions_that_the_lost_index_alone_had_are_said_to_be_visible(path: Path) -> None:
    expected = make_aged(path)
    with timelog.open(path) as log:
        save(log)
    lose(path, 1)
    report = timelog.repair(path)
    assert report.ok
    assert report.notes[-1] == "up to 1 events that were deleted, but not erased, are visible again"
    with timelog.open(path, mode="r") as log:
        found = {event.id for event in log.search()} - {event.id for event in expected}
        assert found == {"1.70.2.3"}
        books = log.audit()
        assert books.ok and books.deleted == 2, str(books)


def test_what_was_replaced_and_not_unlinked_is_not_of_the_day(path: Path) -> None:
    with timelog.open(path, flush_interval=3600.0, text_index=False) as log:
        fill(log, 0, 1)
        expected = sorted_events(log)
        save(log)
        with nothing_unlinked():
            log.compact(archive=True)
            save(log)
    lose(path, 0)
    report = timelog.repair(path)
    assert report.ok and report.quarantined == ()
    assert events_of(path) == expected


def test_a_day_that_was_compacted_since_the_checkpoint_is_that_of_the_journal(path: Path) -> None:
    with timelog.open(path, flush_interval=3600.0, text_index=False) as log:
        fill(log, 0, 1)
        log.delete("0.0.0.0")
        log.delete("1.0.0.0")
        save(log)
        files = {day: index_file(path, START + day * DAY).read_bytes() for day in (0, 1)}
        assert files
        log.compact(archive=True)
        log.delete("0.1.1.1")
        expected = sorted_events(log)
    lose(path, 0, 1)
    report = timelog.repair(path)
    assert report.ok and report.quarantined == (), str(report)
    with timelog.open(path, mode="r") as log:
        assert sorted_events(log) == expected
        books = log.audit()
        assert books.ok and (books.stored, books.deleted) == (72 - 3, 3), str(books)


def test_a_damaged_frame_is_missing_and_the_others_are_there(path: Path) -> None:
    with timelog.open(path, flush_interval=3600.0, text_index=False) as log:
        log.append_many(
            {"content": f"{n} " + "x" * 900, "timestamp": 1_728_000_000 + n} for n in range(900)
        )
        log.flush()
        log.compact(archive=True)
        save(log)
        frames = [block.frame for block in blocks_of(log)]
        counts = [block.count for block in blocks_of(log)]
    assert len(frames) > 3 and frames[1] is not None
    [file] = archives(path)
    data = bytearray(file.read_bytes())
    data[frames[1][0]] ^= 1
    file.write_bytes(data)
    lose(path, 0)
    for _ in range(2):
        report = timelog.repair(path)
        assert report.exit_code == 1
        assert [
            tuple(each) for each in report.damage if each.file == str(file.relative_to(path))
        ] == [(str(file.relative_to(path)), *frames[1], "belongs to no block")]
    with timelog.open(path, mode="r") as log:
        assert log.search().count() == 900 - counts[1]
        books = log.audit()
        assert (books.missing, books.difference) == (counts[1], 0)


def test_days_whose_positions_alternate_get_them_packed(path: Path) -> None:
    with timelog.open(path, flush_interval=3600.0, text_index=False, sync="off") as log:
        for n in range(300):
            log.append(f"{n}", timestamp=(START + n % 2 * DAY) // 10**6 + n / 10)
            if n % 2:
                log.flush()
        save(log)
        expected = sorted_events(log)
    lose(path, 1)
    assert timelog.repair(path).ok
    assert events_of(path) == expected
    with timelog.open(path, mode="r") as log:
        kinds = {type(block.runs) for block in blocks_of(log) if block.first >= START + DAY}
        assert kinds == {bytes}
    assert held(path) == list(range(300))


def test_rules_go_on_hiding_in_a_day_that_was_made_anew(path: Path) -> None:
    expected = make_aged(path)
    with timelog.open(path) as log:
        save(log)
    lose(path, 3)
    assert timelog.repair(path).ok
    with timelog.open(path) as log:
        assert sorted_events(log) == expected
        assert log.expire(NEVER).events == 0


_LIVES = st.lists(
    st.one_of(
        st.tuples(st.just("append"), st.lists(st.integers(0, 9), min_size=1, max_size=8)),
        st.tuples(st.sampled_from(["delete", "erase"]), st.integers(0, 99)),
        st.tuples(st.just("partitions"), st.integers(2, 3)),
        st.tuples(st.sampled_from(["rule", "compact", "archive", "save"])),
    ),
    min_size=3,
    max_size=16,
)


@settings(max_examples=40)
@given(steps=_LIVES, lost=st.lists(st.integers(0, 3), min_size=1, unique=True))
def test_whatever_a_log_has_lived_through_its_books_balance_with_days_made_anew(
    ram: Path, steps: list[tuple[object, ...]], lost: list[int]
) -> None:
    path = ram / "log"
    shutil.rmtree(path, ignore_errors=True)
    log = timelog.open(path, flush_interval=3600.0, text_index=False, compact_after=None)
    is_ruled, oldest = False, 0
    for name, *rest in steps:
        visible = sorted_events(log)
        if name == "append":
            numbers: list[int] = rest[0]  # type: ignore[assignment]
            log.append_many(
                {
                    "content": f"{n}",
                    "timestamp": (START + n % 4 * DAY) // 10**6 + n,
                    "tags": ["drop"] if n > 6 else [],
                }
                for n in numbers
                if n % 4 >= oldest and not (is_ruled and n > 6)
            )
            log.flush()
        elif name in ("delete", "erase") and visible:
            number: int = rest[0]  # type: ignore[assignment]
            log.delete(visible[number % len(visible)].id, erase=name == "erase")
        elif name == "partitions":
            went = log.expire(partitions=rest[0]).partitions  # type: ignore[arg-type]
            oldest = max([oldest, *(int(each.name[-2:]) - 3 for each in went)])
        elif name == "rule":
            is_ruled = True
            log.expire(NEVER, tags={"drop": ALL})
        elif name in ("compact", "archive"):
            log.compact(archive=name == "archive")
        elif name == "save":
            save(log)
    visible, books = sorted_events(log), log.audit()
    hidden = {each.id for each in log.deletions() if not each.is_erased}
    log.close()
    for day in lost:
        for file in Layout(path).index.glob(f"{partition(START + day * DAY)}.*.index"):
            file.unlink()
    report = timelog.repair(path)
    assert report.ok and report.quarantined == (), str(report)
    with timelog.open(path, mode="r") as log:
        found, after = sorted_events(log), log.audit()
        assert log.verify(deep=True).ok
    assert {event.id for event in visible} <= {event.id for event in found}
    assert {event.id for event in found} - {event.id for event in visible} <= hidden
    assert after.ok and after.missing == 0, str(after)
    assert (after.entered, after.expired) == (books.entered, books.expired)
    again = timelog.repair(path)
    assert again.ok and not again.found

"""The index: what the root and the journal say, and nothing else."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from timelog import index as module
from timelog import indexstate
from timelog.create import create_log
from timelog.damage import Damage
from timelog.errors import DamagedError, NotALogError
from timelog.index import Index
from timelog.indexstate import Place
from timelog.journal import (
    Begin,
    Block,
    Commit,
    Expiry,
    Gone,
    Record,
    Replacement,
    Tombstone,
    pack,
)
from timelog.lock import Mark, State, StoreLock
from timelog.names import Layout, SegmentName
from timelog.rotate import begin_journal, write_checkpoint
from timelog.span import Span
from timelog.storage import Storage
from timelog.timestamp import DAY, END, HOUR, MINUTE

STORAGE = Storage()
START = 20_000 * DAY


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    """A new log."""
    return new_log(tmp_path / "log")


def new_log(path: Path) -> Layout:
    layout = Layout(path)
    create_log(layout, STORAGE, 1.0)
    return layout


def index_of(
    layout: Layout, writer: str = "", released: Callable[[int], None] = lambda batch: None
) -> Index:
    index = Index(layout, STORAGE, writer, released)
    index.refresh()
    return index


def path_of(us: int, number: int = 1) -> str:
    return SegmentName(Span.minute(us), number).path


def block(us: int, offset: int, position: int, count: int = 1) -> Block:
    return Block(
        path_of(us),
        offset,
        10 * count,
        count,
        (position, count),
        us,
        us,
        offset,
        offset + 1,
        (),
        (),
    )


def commit(sequence: int, **changed: Any) -> Commit:
    """The commit of one event a second, one commit a second."""
    us = START + (sequence - 1) * 1_000_000
    values: dict[str, Any] = {
        "sequence": sequence,
        "time": us,
        "writer": "w",
        "batch": sequence,
        "durable": True,
        "sealed_before": us - MINUTE,
        "position": sequence - 1,
        "count": 1,
        "cursors": {},
        "blocks": (block(us, (sequence - 1) % 60 * 10, sequence - 1),),
    }
    return Commit(**{**values, **changed})


def write(layout: Layout, *records: Record, journal: int = 1) -> Place:
    """Add records to a journal file; where it ends."""
    path = layout.journal(journal)
    data = path.read_bytes() if path.exists() else b""
    for record in records:
        data += pack(record, len(data))
    path.write_bytes(data)
    return Place(journal, len(data))


def flip(path: Path, at: int) -> None:
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.write_bytes(data)


def state(index: Index) -> dict[str, Any]:
    """All that readers can see."""
    days = {}
    for start, day in index.days.items():
        files = [
            (each.name, each.created, each.fenced, tuple(each.blocks)) for each in index.files(day)
        ]
        days[start] = (day.first, day.last, day.count, day.bytes, files)
    return {
        "log": index.log,
        "sequence": index.sequence,
        "position": index.position,
        "time": index.time,
        "sealed_before": index.sealed_before,
        "cursors": index.cursors,
        "writers": dict(index.writers),
        "missing": index.missing,
        "days": days,
    }


def events(index: Index) -> list[int]:
    """The positions of all events, segment by segment."""
    found = []
    for day in index.between(None, None):
        for _, blocks in index.blocks(day, None, None, index.position):
            for each in blocks:
                for first, count in zip(each.runs[::2], each.runs[1::2], strict=True):
                    found += range(first, first + count)
    return found


# -- catching up --------------------------------------------------------------------------


def test_a_new_log_is_empty(layout: Layout) -> None:
    index = index_of(layout)
    assert (index.position, index.sequence) == (0, 0)
    assert index.between(None, None) == []
    assert index.log


def test_an_index_catches_up_with_what_others_write(layout: Layout) -> None:
    index = index_of(layout)
    for n in range(1, 100):
        end = write(layout, commit(n))
        index.refresh()
        index.refresh()
        assert index.place == end
        assert index.position == n
    assert events(index) == list(range(99))
    assert state(index) == state(index_of(layout))


def test_a_commit_twice_counts_once(layout: Layout) -> None:
    write(layout, commit(1), commit(1), commit(2))
    assert events(index_of(layout)) == [0, 1]


def test_a_record_that_is_being_written_counts_when_it_is_whole(layout: Layout) -> None:
    write(layout, commit(1))
    path = layout.journal(1)
    before = path.read_bytes()
    record = pack(commit(2), len(before))
    index = index_of(layout)
    for cut in range(len(record)):
        path.write_bytes(before + record[:cut])
        index.refresh()
        assert index.position == 1
        assert (index.bad_tail is not None) == (cut > 0)
        assert not index.damage
    path.write_bytes(before + record)
    index.refresh()
    assert index.position == 2
    assert index.bad_tail is None


def test_the_newest_cursor_and_batch_are_known(layout: Layout) -> None:
    write(
        layout,
        commit(1, cursors={"a": b"1", "b": b"1"}),
        commit(2, cursors={"a": b"2"}, writer="v", batch=7),
        commit(3, batch=9),
    )
    index = index_of(layout)
    assert index.cursors == {"a": b"2", "b": b"1"}
    assert index.writers == {"w": 9, "v": 7}


def test_writers_beyond_the_most_are_forgotten_oldest_first(
    layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(indexstate, "MOST_WRITERS", 2)
    write(layout, *(commit(n, writer=w) for n, w in enumerate("abacd", 1)))
    assert list(index_of(layout).writers) == ["c", "d"]


def test_time_and_sealing_never_go_back(layout: Layout) -> None:
    write(layout, commit(1, time=10**17, sealed_before=400), commit(2, time=9, sealed_before=50))
    index = index_of(layout)
    assert (index.time, index.sealed_before) == (10**17, 400)


def test_own_batches_are_released_when_they_turn_out_to_be_committed(layout: Layout) -> None:
    released: list[int] = []
    index = index_of(layout, "w", released.append)
    write(layout, commit(1), commit(2, writer="other"), commit(3, batch=8))
    index.refresh()
    assert released == [1, 8]
    write_checkpoint(layout, STORAGE, index)
    index.reload()
    assert released == [1, 8, 8]


def test_what_is_not_durable_is_known_until_a_durable_commit(layout: Layout) -> None:
    write(layout, commit(1, durable=False))
    index = index_of(layout)
    assert index.unsynced == {path_of(START)}
    write(layout, commit(2))
    index.refresh()
    assert index.unsynced == set()


# -- unfinished flushes -------------------------------------------------------------------


def mark(layout: Layout, place: Place, boot: str | None = None) -> None:
    lock = StoreLock(STORAGE, layout.lock, 1.0)
    with lock.held():
        lock.write(State(boot or STORAGE.boot_id(), Mark(1, *place, ())))


def test_a_reader_stops_where_an_unfinished_flush_began(layout: Layout) -> None:
    place = write(layout, commit(1))
    mark(layout, place)
    end = write(layout, commit(2))
    index = index_of(layout)
    assert index.position == 1
    index.refresh(until=place)
    assert index.position == 1
    index.refresh(until=None)
    assert index.position == 2
    assert index.place == end


def test_a_reader_goes_on_when_the_mark_is_gone(layout: Layout) -> None:
    mark(layout, write(layout, commit(1)))
    write(layout, commit(2))
    index = index_of(layout)
    lock = StoreLock(STORAGE, layout.lock, 1.0)
    with lock.held():
        lock.write(State(STORAGE.boot_id()))
    index.refresh()
    assert index.position == 2


def test_the_mark_of_another_boot_stops_nobody(layout: Layout) -> None:
    mark(layout, write(layout, commit(1)), boot="another")
    write(layout, commit(2))
    assert index_of(layout).position == 2


# -- journal files ------------------------------------------------------------------------


def test_the_next_journal_file_is_followed(layout: Layout) -> None:
    write(layout, commit(1))
    index = index_of(layout)
    begin_journal(layout, STORAGE, index)
    write(layout, commit(2), journal=2)
    index.refresh()
    assert index.position == 2
    assert index.place.journal == 2
    assert state(index) == state(index_of(layout))


def test_what_a_repair_did_not_restate_never_was(layout: Layout) -> None:
    index = index_of(layout)
    valid = write(layout, commit(1))
    write(layout, commit(2, cursors={"a": b"lost"}), commit(3))
    index.refresh(until=valid)
    kept = commit(2, cursors={"a": b"kept"})
    begin_journal(
        layout, STORAGE, index, valid=valid, restated=(kept,), fenced=(path_of(START, 2),)
    )
    write(layout, commit(3, batch=77), journal=2)
    for reader in (index, index_of(layout)):
        reader.refresh()
        assert reader.position == 3
        assert reader.cursors == {"a": b"kept"}
        assert reader.writers == {"w": 77}
        fenced = reader.segment(path_of(START, 2))
        assert fenced is not None
        assert fenced.fenced
        assert events(reader) == [0, 1, 2]


def test_a_journal_that_a_checkpoint_removed_is_no_loss(layout: Layout) -> None:
    write(layout, *(commit(n) for n in range(1, 10)))
    slow, writer = index_of(layout), index_of(layout)
    write(layout, *(commit(n) for n in range(10, 20)))
    writer.refresh()
    write_checkpoint(layout, STORAGE, writer)
    write(layout, commit(20), journal=2)
    writer.refresh()
    write_checkpoint(layout, STORAGE, writer)
    assert not layout.journal(1).exists()
    assert not layout.journal(2).exists()
    slow.refresh()
    assert events(slow) == list(range(20))


def test_the_first_checkpoint_may_come_while_the_journal_is_looked_for(layout: Layout) -> None:
    write(layout, *(commit(n) for n in range(1, 10)))
    writer = index_of(layout)

    class Overtaken(Storage):
        def read_file(self, path: Path) -> bytes:
            try:
                return super().read_file(path)
            except FileNotFoundError:
                if path == layout.index_root:
                    write_checkpoint(layout, STORAGE, writer)
                raise

    slow = Index(layout, Overtaken(), "", lambda batch: None)
    slow.refresh()
    assert not layout.journal(1).exists()
    assert events(slow) == events(writer)


def test_a_log_without_a_journal_is_refused(layout: Layout) -> None:
    layout.journal(1).unlink()
    with pytest.raises(NotALogError):
        index_of(layout)


def test_a_journal_that_is_gone_behind_the_root_is_named(layout: Layout) -> None:
    write(layout, commit(1))
    write_checkpoint(layout, STORAGE, index_of(layout))
    layout.journal(2).unlink()
    with pytest.raises(DamagedError, match=r"0000000002\.journal is gone"):
        index_of(layout)


def test_the_journal_of_another_log_is_refused(layout: Layout) -> None:
    place = write(layout, commit(1))
    write(layout, Begin("another", 2, 1, 0, place.offset), journal=2)
    with pytest.raises(DamagedError, match="another log"):
        index_of(layout)


def test_a_next_journal_that_does_not_begin_as_one_is_refused(layout: Layout) -> None:
    layout.journal(2).write_bytes(b"nonsense")
    with pytest.raises(DamagedError, match=r"0000000002\.journal"):
        index_of(layout)


# -- damage -------------------------------------------------------------------------------


def test_a_damaged_record_loses_its_own_events_and_they_are_known(layout: Layout) -> None:
    one = write(layout, commit(1))
    two = write(layout, commit(2), commit(3))
    write(layout, commit(4))
    flip(layout.journal(1), one.offset + 30)
    index = index_of(layout)
    assert events(index) == [0, 2, 3]
    assert index.missing == [(1, 1)]
    (damage,) = index.damage
    assert damage.file == ".timelog/journal/0000000001.journal"
    assert damage.offset == one.offset
    assert one.offset < damage.offset + damage.length < two.offset


def test_damage_is_reported_once(layout: Layout, caplog: pytest.LogCaptureFixture) -> None:
    index = index_of(layout)
    for _ in range(3):
        index.found_damage(Damage("file", 1, 2, "reason"))
        index.tell()
    assert list(index.damage) == [Damage("file", 1, 2, "reason")]
    assert [record.levelno for record in caplog.records] == [logging.ERROR]
    assert "file: 2 bytes at 1: reason" in caplog.text


def test_a_damaged_root_is_refused(layout: Layout) -> None:
    write(layout, commit(1))
    write_checkpoint(layout, STORAGE, index_of(layout))
    flip(layout.index_root, 20)
    with pytest.raises(DamagedError, match="index/root"):
        index_of(layout)


@pytest.mark.parametrize("gone", [True, False])
def test_a_damaged_day_is_named_and_other_days_are_read(layout: Layout, gone: bool) -> None:
    write(layout, commit(1), commit(2, blocks=(block(START + DAY, 0, 1),)))
    write_checkpoint(layout, STORAGE, index_of(layout))
    (file,) = layout.index.glob("2024-10-04.*.index")
    if gone:
        file.unlink()
    else:
        flip(file, 20)
    index = index_of(layout)
    with pytest.raises(DamagedError, match=file.name):
        index.blocks(START, None, None, 2)
    assert len(index.blocks(START + DAY, None, None, 2)) == 1


# -- looking ------------------------------------------------------------------------------


hours = st.integers(-30, 100).map(lambda n: START + n * HOUR)
bounds = st.none() | hours | hours.map(lambda us: us + 1)


@given(st.lists(hours, min_size=1, max_size=20), bounds, bounds)
def test_between_and_blocks_miss_no_event_of_the_range(
    times: list[int], start: int | None, end: int | None
) -> None:
    index = Index(Layout(Path("/nowhere")), STORAGE, "", lambda batch: None)
    for n, us in enumerate(times):
        index.apply(commit(n + 1, blocks=(block(us, 10 * n, n),)), Place(1, n))
    days = index.between(start, end)
    assert days == sorted(set(days))

    def is_asked(us: int) -> bool:
        return (start is None or start <= us) and (end is None or us < end)

    found = {
        each.first
        for day in days
        for _, blocks in index.blocks(day, start, end, len(times))
        for each in blocks
    }
    assert {us for us in times if is_asked(us)} <= found
    if start is None or end is None or start < end:
        naive = {us - us % DAY for us in times if is_asked(us)}
        assert naive <= set(days)
        lows = {us - us % DAY: min(t for t in times if t // DAY == us // DAY) for us in times}
        highs = {us - us % DAY: max(t for t in times if t // DAY == us // DAY) for us in times}
        assert days == [
            day
            for day in sorted(lows)
            if (start is None or highs[day] >= start) and (end is None or lows[day] < end)
        ]


def test_a_view_sees_no_block_that_came_later(layout: Layout) -> None:
    write(layout, *(commit(n, blocks=(block(START + n * MINUTE, 0, n - 1),)) for n in (1, 2, 3)))
    index = index_of(layout)
    for position in range(4):
        seen = [each for _, blocks in index.blocks(START, None, None, position) for each in blocks]
        assert [each.runs[0] for each in seen] == list(range(position))
    assert index.blocks(START + DAY, None, None, 3) == []


def test_a_view_at_the_end_sees_all_blocks_and_none_that_came_later(layout: Layout) -> None:
    """Also of a segment that grew since, and where small blocks became one."""
    index = index_of(layout)
    for n in range(1, 30):
        write(layout, commit(n, blocks=(block(START + n // 10 * MINUTE, n % 10 * 10, n - 1),)))
        index.refresh()
        for position in (n - 1, n, n + 1):
            found = index.blocks(START, None, None, position)
            assert [name.path for name, _ in found] == [
                path_of(START + m * MINUTE) for m in range(n // 10 + 1)
            ]
            for name, blocks in found:
                segment = index.segment(name.path)
                assert segment is not None
                assert blocks == tuple(each for each in segment.blocks if each.runs[0] < position)
    all_of_it = index.blocks(START, None, None, index.position)
    assert all_of_it == index.blocks(START, None, None, index.position + 1000)
    write(layout, commit(30, blocks=(block(START + 9 * MINUTE, 0, 29),)))
    index.refresh()
    assert [(name, blocks) for name, blocks in index.blocks(START, None, None, 29) if blocks] == (
        all_of_it
    )


# -- sealed -------------------------------------------------------------------------------


def sealed(index: Index, before: int, day: int = START) -> list[str]:
    return [path for path, _ in index.sealed(day, before)]


def test_a_segment_is_sealed_when_its_span_and_the_minute_that_made_it_are_over(
    layout: Layout,
) -> None:
    """The second is late: of the first minute, made ten minutes later."""
    late = START + 10 * MINUTE
    write(
        layout,
        commit(1, time=START + 5),
        commit(2, time=late + 5, blocks=(replace(block(START, 0, 1), path=path_of(START, 2)),)),
        commit(3, time=late + 6, blocks=(block(START + HOUR, 0, 2),)),
    )
    index = index_of(layout)
    one, two, three = path_of(START), path_of(START, 2), path_of(START + HOUR)
    for before, paths in (
        (START, []),
        (START + MINUTE - 1, []),
        (START + MINUTE, [one]),
        (late + MINUTE - 1, [one]),
        (late + MINUTE, [one, two]),
        (START + HOUR + MINUTE - 1, [one, two]),
        (START + HOUR + MINUTE, [one, two, three]),
        (END, [one, two, three]),
    ):
        assert sealed(index, before) == paths
    assert sealed(index, END, START + DAY) == []


def test_sealed_segments_come_with_all_their_blocks(layout: Layout) -> None:
    write(layout, *(commit(n) for n in range(1, 100)))
    index = index_of(layout)
    for found in (index, index_after_checkpoint(layout)):
        for path, blocks in found.sealed(START, END):
            segment = found.segment(path)
            assert segment is not None
            assert blocks == tuple(segment.blocks)
        assert sum(block.count for _, blocks in found.sealed(START, END) for block in blocks) == 99


def index_after_checkpoint(layout: Layout) -> Index:
    write_checkpoint(layout, STORAGE, index_of(layout))
    return index_of(layout)


def test_a_fenced_segment_is_sealed_and_one_without_blocks_is_not_named(layout: Layout) -> None:
    write(layout, commit(1))
    index = index_of(layout)
    begin_journal(layout, STORAGE, index, fenced=(path_of(START), path_of(START, 2)))
    again = index_of(layout)
    assert sealed(again, START) == [path_of(START)]
    assert sealed(again, END) == [path_of(START)]


def test_what_is_sealed_on_a_damaged_day_is_not_known(layout: Layout) -> None:
    write(layout, commit(1), commit(2, blocks=(block(START + DAY, 0, 1),)))
    write_checkpoint(layout, STORAGE, index_of(layout))
    (file,) = layout.index.glob("2024-10-04.*.index")
    flip(file, 20)
    index = index_of(layout)
    with pytest.raises(DamagedError, match=file.name):
        index.sealed(START, END)
    assert sealed(index, END, START + DAY) == [path_of(START + DAY)]


# -- looking for one ----------------------------------------------------------------------


def test_a_segment_is_found_by_its_path(layout: Layout) -> None:
    write(layout, commit(1), commit(2))
    index = index_of(layout)
    segment = index.segment(path_of(START))
    assert segment is not None
    assert (segment.count, segment.length) == (2, 20)
    assert index.segment(path_of(START, 2)) is None
    assert index.segment(path_of(START + DAY)) is None


def test_totals_are_those_of_all_days(layout: Layout) -> None:
    assert index_of(layout).totals() == (0, 0, 0, 0, 0, 0)
    times = [START + DAY, START, START + HOUR]
    write(layout, *(commit(n + 1, blocks=(block(us, 0, n),)) for n, us in enumerate(times)))
    index = index_of(layout)
    expected = (2, 3, 3, 30, START, START + DAY)
    assert index.totals() == expected
    write_checkpoint(layout, STORAGE, index)
    assert index_of(layout).totals() == expected


# -- days in memory -----------------------------------------------------------------------


def loaded(index: Index) -> list[int]:
    return [(start - START) // DAY for start, day in index.days.items() if day.files is not None]


def test_days_are_loaded_when_they_are_looked_at_and_dropped_when_many_are(
    layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MOST_LOADED", 2)
    days = range(5)
    write(layout, *(commit(n + 1, blocks=(block(START + n * DAY, 0, n),)) for n in days))
    write_checkpoint(layout, STORAGE, index_of(layout))
    index = index_of(layout)
    assert loaded(index) == []
    for n in (0, 1, 0, 2):
        assert len(index.blocks(START + n * DAY, None, None, 5)) == 1
    assert loaded(index) == [0, 2]
    assert events(index) == list(days)
    assert len(loaded(index)) == 2


def test_a_day_with_changes_that_are_not_on_disk_is_never_dropped(
    layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MOST_LOADED", 1)
    days = range(4)
    write(layout, *(commit(n + 1, blocks=(block(START + n * DAY, 0, n),)) for n in days))
    index = index_of(layout)
    assert events(index) == list(days)
    assert loaded(index) == list(days)
    write_checkpoint(layout, STORAGE, index)
    write(layout, commit(5, blocks=(block(START, 10, 4),)), journal=2)
    index.refresh()
    assert sorted(events(index)) == [0, 1, 2, 3, 4]
    assert 0 in loaded(index)
    assert len(loaded(index)) <= 2


# -- what goes ----------------------------------------------------------------------------


def account(index: Index) -> dict[str, Any]:
    """All that is known of days, and of what went."""
    with index.lock:
        days = {}
        for start, day in index.days.items():
            files = index.files(day)
            if len(files) or files.tombstones:
                days[start] = (
                    *(day.first, day.last, day.count, day.bytes, day.stored, day.floor),
                    *(day.is_due, dict(day.entered), dict(files.tombstones)),
                    [(each.name, each.fenced, tuple(each.blocks)) for each in files],
                )
        return {"days": days, "ledger": list(index.ledger), "removal": index.removal}


def removing(sequence: int, **changed: Any) -> Commit:
    return commit(sequence, position=3, count=0, blocks=(), batch=-1, **changed)


def replacing(sequence: int, *erased: int) -> Commit:
    """The three events of the first minute become a file of the day, those erased left out."""
    path = SegmentName(Span.day(START), sequence).path
    count = 3 - len(erased)
    new = Block(path, 0, 10 * count, count, (0, count), START, START, 0, 1, (), ())
    gone = (Gone(path_of(START), 3, 30, 30),)
    replacement = Replacement(START, gone, (), erased)
    return replace(
        removing(sequence, replacement=replacement), blocks=(new,) if len(erased) < 3 else ()
    )


def buried(position: int) -> Tombstone:
    return Tombstone(position, "id", START + position * 1_000_000, b"d" * 32)


# Behind the time at which the log was made, by which events are booked else.
ENTERED = 60_000 * DAY
FIRST_THREE = [commit(n, time=ENTERED + n) for n in (1, 2, 3)]
REMOVALS: dict[str, list[Commit]] = {
    "deleted": [removing(4, tombstones=(buried(1),))],
    "replaced": [replacing(4)],
    "deleted and erased": [removing(4, tombstones=(buried(1),)), replacing(5, 1)],
    "all erased": [
        removing(4, tombstones=tuple(map(buried, range(3)))),
        replacing(5, 0, 1, 2),
    ],
    "expired": [removing(4, expiry=Expiry(({"": START + DAY},), (START,), ((ENTERED, 3),)))],
    "expired by a rule": [removing(4, expiry=Expiry(({"tag:a": START + DAY, "": 0},)))],
    "and back": [
        removing(4, expiry=Expiry(({"tag:a": START},), (START,), ((ENTERED, 3),))),
        commit(
            5,
            position=3,
            blocks=(replace(block(START, 0, 3), path=path_of(START, 5)),),
        ),
    ],
}


@pytest.mark.parametrize("what", REMOVALS)
def test_what_went_is_the_same_however_it_was_read(layout: Layout, what: str) -> None:
    """At once, step by step, with a checkpoint before each step, loaded or not, and after all."""
    commits = [*FIRST_THREE, *REMOVALS[what]]
    stepwise, kept = index_of(layout), new_log(layout.root.parent / "kept")
    loaded = new_log(layout.root.parent / "loaded")
    for number, each in enumerate(commits):
        write(layout, each)
        stepwise.refresh()
        for other in (kept, loaded):
            write(other, each, journal=number + 1)
            index = index_of(other)
            if other is loaded:
                account(index)
            write_checkpoint(other, STORAGE, index)
            assert totals_of(index) == totals_of(stepwise)
    expected = account(index_of(layout))
    assert account(stepwise) == expected
    for other in (kept, loaded):
        found = account(index_of(other))
        if what in ("expired", "all erased"):
            # Days of which nothing is left are known no more, but for what was used up.
            found["removal"] = expected["removal"]
        assert found == expected
    rows = expected["ledger"]
    positions = sum(day[2] for day in expected["days"].values())
    assert sum(row.events - row.expired - row.erased for row in rows) == positions


def totals_of(index: Index) -> tuple[Any, ...]:
    return index.totals(), index.totals_of_days()


def test_a_day_of_which_nothing_is_left_is_known_no_more_but_its_names_are_used_up(
    layout: Layout,
) -> None:
    erased = replacing(4, 0, 1, 2)
    write(layout, *FIRST_THREE, erased)
    index = index_of(layout)
    assert index.totals() == (0, 0, 0, 0, 0, 0) and index.between(None, None) == []
    write_checkpoint(layout, STORAGE, index)
    for each in (index, index_of(layout)):
        assert START not in each.days
        assert each.day(START).floor == 4
        assert each.day(START + DAY).floor == 0
        assert each.removal.segments == {path_of(START): None}
    assert not [file for file in layout.index.iterdir() if file.name != "root"]


def test_damage_and_unsynced_files_go_with_what_went(layout: Layout) -> None:
    write(layout, *(replace(each, durable=False) for each in FIRST_THREE))
    index = index_of(layout)
    index.found_damage(Damage(path_of(START), 0, 10, "broken"))
    index.found_damage(Damage(path_of(START + DAY), 0, 10, "broken"))
    assert index.unsynced == {path_of(START)}
    write(layout, replace(replacing(4), durable=False))
    index.refresh()
    assert [damage.file for damage in index.damage] == [path_of(START + DAY)]
    assert index.unsynced == {SegmentName(Span.day(START), 4).path}

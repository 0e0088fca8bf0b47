"""Checkpoints and journal files: the state on disk before and after is the same."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.rig import FaultyStorage, Killed
from timelog import rotate as module
from timelog.create import create_log
from timelog.index import Index
from timelog.indexstate import Place
from timelog.journal import Begin, Block, Commit, Entry, pack, read
from timelog.names import Layout, SegmentName
from timelog.rotate import begin_journal, is_due, sync_files, write_checkpoint
from timelog.span import Span
from timelog.storage import Storage
from timelog.timestamp import DAY, MINUTE

STORAGE = Storage()
START = 20_000 * DAY


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    """A log with four commits of two days."""
    layout = Layout(tmp_path / "log")
    create_log(layout, STORAGE, 1.0)
    for n in range(4):
        add(layout, n)
    return layout


def index_of(layout: Layout) -> Index:
    index = Index(layout, STORAGE, "", lambda batch: None)
    index.refresh()
    return index


def path_of(n: int) -> str:
    return SegmentName(Span.minute(START + n * (DAY // 2)), 1).path


def add(layout: Layout, n: int, *, durable: bool = True) -> None:
    """Commit the event number ``n``: each half a day later, with its file."""
    us = START + n * (DAY // 2)
    block = Block(path_of(n), 0, 10, 1, (n, 1), us, us, 0, 5, ("t",), ("s",))
    commit = Commit(n + 1, us, "w", n, durable, us - MINUTE, n, 1, {"place": b"%d" % n}, (block,))
    path = sorted(layout.journals.iterdir())[-1]
    data = path.read_bytes()
    path.write_bytes(data + pack(commit, len(data)))
    file = layout.segment(path_of(n))
    file.parent.mkdir(exist_ok=True)
    file.write_bytes(b"0123456789")


def state(index: Index) -> dict[str, Any]:
    return {
        "events": [
            block
            for day in index.between(None, None)
            for _, blocks in index.blocks(day, None, None, index.position)
            for block in blocks
        ],
        "fenced": [
            each.path for day in index.days.values() for each in index.files(day) if each.fenced
        ],
        "sums": [(day.count, day.bytes, day.first, day.last) for day in index.days.values()],
        "log": index.log,
        "sequence": index.sequence,
        "position": index.position,
        "time": index.time,
        "sealed_before": index.sealed_before,
        "cursors": index.cursors,
        "writers": dict(index.writers),
        "missing": index.missing,
        "lost": index.lost,
        "ledger": list(index.ledger),
    }


def names_in(directory: Path) -> list[str]:
    return sorted(os.listdir(directory))


# -- checkpoints --------------------------------------------------------------------------


def test_a_checkpoint_changes_nothing_that_is_seen(layout: Layout) -> None:
    index = index_of(layout)
    index.missing.append((7, 9))
    index.lost = 3
    before = state(index)
    write_checkpoint(layout, STORAGE, index)
    assert state(index) == before
    assert state(index_of(layout)) == before


def test_a_checkpoint_leaves_one_journal_one_root_and_a_file_for_each_day(layout: Layout) -> None:
    write_checkpoint(layout, STORAGE, index_of(layout))
    assert names_in(layout.journals) == ["0000000002.journal"]
    assert names_in(layout.index) == ["2024-10-04.2.index", "2024-10-05.2.index", "root"]
    assert names_in(layout.temporary) == []


def test_only_changed_days_are_written_again(layout: Layout) -> None:
    index = index_of(layout)
    write_checkpoint(layout, STORAGE, index)
    add(layout, 4)
    index.refresh()
    before = state(index)
    write_checkpoint(layout, STORAGE, index)
    write_checkpoint(layout, STORAGE, index)
    assert names_in(layout.index) == [
        "2024-10-04.2.index",
        "2024-10-05.2.index",
        "2024-10-06.3.index",
        "root",
    ]
    assert state(index_of(layout)) == before


def test_a_fence_survives_the_checkpoint_of_a_day_that_was_not_loaded(layout: Layout) -> None:
    write_checkpoint(layout, STORAGE, index_of(layout))
    index = index_of(layout)
    begin_journal(layout, STORAGE, index, fenced=(path_of(0), path_of(0).replace(".", ".7.")))
    index.refresh()
    write_checkpoint(layout, STORAGE, index)
    assert state(index_of(layout))["fenced"] == [path_of(0), path_of(0).replace(".", ".7.")]


def test_what_was_left_behind_goes_and_what_is_foreign_stays(layout: Layout) -> None:
    (layout.temporary / "remainder").write_bytes(b"x")
    (layout.index / "2024-10-04.99.index").write_bytes(b"x")
    (layout.index / "notes.txt").write_bytes(b"x")
    (layout.journals / "notes.txt").write_bytes(b"x")
    write_checkpoint(layout, STORAGE, index_of(layout))
    assert names_in(layout.temporary) == []
    assert "2024-10-04.99.index" not in names_in(layout.index)
    assert "notes.txt" in names_in(layout.index)
    assert "notes.txt" in names_in(layout.journals)


@pytest.mark.parametrize("fault", ["kill", "torn", "EIO"])
def test_a_fault_at_any_step_of_a_checkpoint_loses_nothing(layout: Layout, fault: str) -> None:
    write_checkpoint(layout, STORAGE, index_of(layout))
    add(layout, 4, durable=False)
    before = state(index_of(layout))
    at = 0
    while True:
        at += 1
        copy = Layout(layout.root.with_name(f"copy{at}"))
        shutil.copytree(layout.root, copy.root)
        storage = FaultyStorage(at, fault)
        try:
            write_checkpoint(copy, storage, index_of(copy))
        except (Killed, OSError):
            pass
        if not storage.happened():
            break
        index = index_of(copy)
        assert state(index) == before, at
        assert not index.damage
        write_checkpoint(copy, STORAGE, index)
        assert state(index_of(copy)) == before, at
        assert names_in(copy.temporary) == []
        assert len(names_in(copy.journals)) == 1
        assert len(names_in(copy.index)) == 4
    assert at > 10


# -- when ---------------------------------------------------------------------------------


def test_a_checkpoint_is_due_after_many_commits_or_much_journal(
    layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    index = index_of(layout)
    assert not is_due(index)
    monkeypatch.setattr(module, "MOST_COMMITS", index.since_checkpoint)
    assert is_due(index)
    monkeypatch.setattr(module, "MOST_COMMITS", index.since_checkpoint + 1)
    assert not is_due(index)
    monkeypatch.setattr(module, "MOST_JOURNAL", index.place.offset)
    assert is_due(index)
    write_checkpoint(layout, STORAGE, index)
    assert not is_due(index)


# -- journal files ------------------------------------------------------------------------


def test_a_new_journal_says_where_the_one_before_ends(layout: Layout) -> None:
    index = index_of(layout)
    fenced = (path_of(0),)
    place = begin_journal(layout, STORAGE, index, fenced=fenced)
    data = layout.journal(2).read_bytes()
    assert place == Place(2, len(data))
    (entry,) = read(data, 0)
    assert isinstance(entry, Entry)
    length = layout.journal(1).stat().st_size
    assert entry.record == Begin(
        index.log, 2, index.sequence, index.time, length, (), fenced, index.position
    )


# -- syncing ------------------------------------------------------------------------------


class Recorder(Storage):
    """Notes what was synced."""

    def __init__(self) -> None:
        super().__init__()
        self.synced: list[str] = []

    def sync(self, fd: int) -> None:
        self.synced.append(os.readlink(f"/proc/self/fd/{fd}"))
        super().sync(fd)


def test_files_of_commits_that_were_not_durable_are_synced_before_the_journal(
    layout: Layout,
) -> None:
    add(layout, 4, durable=False)
    add(layout, 5, durable=False)
    recorder = Recorder()
    sync_files(layout, recorder, index_of(layout))
    root = str(layout.root)
    files = [f"{root}/{path_of(4)}", f"{root}/{path_of(5)}"]
    assert sorted(recorder.synced[:2]) == sorted(files)
    assert recorder.synced[2] == str(layout.journal(1))
    assert set(recorder.synced[3:]) == {os.path.dirname(files[0]), root}


def test_nothing_is_synced_where_all_is_durable(layout: Layout) -> None:
    recorder = Recorder()
    sync_files(layout, recorder, index_of(layout))
    assert recorder.synced == []


def test_a_checkpoint_names_no_file_that_is_not_synced(layout: Layout) -> None:
    add(layout, 4, durable=False)
    recorder = Recorder()
    write_checkpoint(layout, recorder, index_of(layout))
    assert recorder.synced[0] == f"{layout.root}/{path_of(4)}"

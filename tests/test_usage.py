"""Usage: what a log takes on the disk, held against a look at every file."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import timelog
from timelog.rotate import write_checkpoint
from timelog.storage import Storage
from timelog.timestamp import DAY, SECOND
from timelog.usage import PIECE, Usage, usage

OpenLog = Callable[..., timelog.EventLog]


def used(log: timelog.EventLog, storage: Storage | None = None) -> Usage:
    store = log._store
    return usage(store.layout, storage or store.storage, store.index)


def du(*paths: Path) -> int:
    """The bytes on the disk of these, and of all that is in them; no link is followed."""
    total = 0
    for path in paths:
        total += os.lstat(path).st_blocks * 512
        if path.is_dir() and not path.is_symlink():
            total += du(*path.iterdir())
    return total


def checkpoint(log: timelog.EventLog) -> None:
    store = log._store
    write_checkpoint(store.layout, store.storage, store.index)


def days(log: timelog.EventLog, *counts: int, size: int = 4) -> None:
    """A flush for each day from 1970-01-01 on, with so many events, each of a minute of its own."""
    for day, count in enumerate(counts):
        for n in range(count):
            log.append("x" * size, timestamp=(day * DAY + n * 60 * SECOND) // SECOND)
        log.flush()


def test_an_empty_log_takes_its_directories_and_its_journal(open_log: OpenLog, path: Path) -> None:
    found = used(open_log())
    assert found.partitions == {} and found.segments == 0
    assert found.journal == du(*(path / ".timelog" / "journal").iterdir()) > 0
    assert found.total == du(path)


@settings(max_examples=25)
@given(
    sizes=st.lists(st.lists(st.integers(0, 3 * PIECE), min_size=1, max_size=6), max_size=4),
    is_saved=st.booleans(),
)
def test_it_is_never_less_than_there_is_and_at_most_a_piece_a_segment_more(
    tmp_path_factory: pytest.TempPathFactory, sizes: list[list[int]], is_saved: bool
) -> None:
    path = tmp_path_factory.mktemp("log")
    with timelog.open(path, flush_interval=3600.0, sync="off") as log:
        for day, lengths in enumerate(sizes):
            for minute, length in enumerate(lengths):
                log.append("x" * length, timestamp=day * 86_400 + minute * 60)
        log.flush()
        if is_saved:
            checkpoint(log)
        found = used(log)
        segments = sum(map(len, sizes))
        assert du(path) <= found.total <= du(path) + segments * PIECE
        for day, lengths in enumerate(sizes):
            there = du(path / f"1970-01-{day + 1:02}")
            assert there <= found.partitions[day * DAY] <= there + len(lengths) * PIECE


def test_each_kind_is_counted_apart(open_log: OpenLog, path: Path) -> None:
    log = open_log()
    days(log, 2, 3)
    checkpoint(log)
    control = path / ".timelog"
    before = used(log)
    assert before.index == du(*(control / "index").iterdir()) > 0
    assert (before.text_index, before.trash, before.quarantine, before.temporary) == (0, 0, 0, 0)
    (control / "trash" / "7-1970-01-01").mkdir()
    places = {
        "trash": "trash/7-1970-01-01/a.jsonl",
        "quarantine": "quarantine/7-1970-01-01-a@10",
        "temporary": "tmp/text",
        "state": "state/scrub",
        "journal": "journal/0000000099.journal",
        "text_index": "index/1970-01-01.0123456789ab.text",
        "index": "index/1970-01-01.99.index",
        "other": "whatever",
    }
    for number, place in enumerate(places.values()):
        (control / place).write_bytes(b"x" * (number * PIECE + 1))
    after = used(log)
    added = {name: size - before.control()[name] for name, size in after.control().items()}
    expected = {name: du(control / place) for name, place in places.items()}
    expected["trash"] += os.lstat(control / "trash" / "7-1970-01-01").st_blocks * 512
    assert added == expected
    assert after.partitions == before.partitions
    assert after.total == sum(after.control().values()) + sum(after.partitions.values())


def test_what_is_not_the_logs_does_not_count(open_log: OpenLog, path: Path, tmp_path: Path) -> None:
    log = open_log()
    days(log, 2)
    before = used(log)
    (path / "notes.txt").write_bytes(b"x" * 100_000)
    (path / "1970-01-05").mkdir()
    (path / "1970-01-05" / "mine").write_bytes(b"x" * 100_000)
    (path / "1970-01-01" / "mine.txt").write_bytes(b"x" * 100_000)
    assert used(log) == before


def test_no_link_is_followed(open_log: OpenLog, path: Path, tmp_path: Path) -> None:
    log = open_log()
    days(log, 2)
    large = tmp_path / "large"
    large.mkdir()
    (large / "file").write_bytes(b"x" * 1_000_000)
    (path / ".timelog" / "trash" / "link").symlink_to(large)
    (path / ".timelog" / "trash" / "file").symlink_to(large / "file")
    assert used(log).total < 500_000
    (path / "1970-01-01").rename(tmp_path / "elsewhere")
    (path / "1970-01-01").symlink_to(tmp_path / "elsewhere")
    assert used(log).partitions == {}


def test_a_log_behind_a_link_is_looked_at(open_log: OpenLog, path: Path, tmp_path: Path) -> None:
    days(open_log(), 2, 1)
    (tmp_path / "link").symlink_to(path)
    assert set(used(open_log(tmp_path / "link", mode="r")).partitions) == {0, DAY}


def test_a_partition_that_somebody_removed_takes_nothing(open_log: OpenLog, path: Path) -> None:
    log = open_log()
    days(log, 2, 1)
    for file in (path / "1970-01-01").iterdir():
        file.unlink()
    (path / "1970-01-01").rmdir()
    assert set(used(log).partitions) == {DAY}


def test_what_vanishes_meanwhile_does_not_count(open_log: OpenLog, path: Path) -> None:
    log = open_log()
    trash = path / ".timelog" / "trash"
    (trash / "1-1970-01-01").mkdir()
    (trash / "1-1970-01-01" / "file").write_bytes(b"x" * 10_000)

    class Emptying(Storage):
        """Somebody empties the trash as soon as it was listed."""

        def entries(
            self, path: Path, *, follow: bool = False
        ) -> Iterator[tuple[str, os.stat_result]]:
            found = list(super().entries(path, follow=follow))
            if path == trash:
                (trash / "1-1970-01-01" / "file").unlink()
                (trash / "1-1970-01-01").rmdir()
            yield from found

    assert used(log, Emptying()).trash < 10_000
    assert used(log).trash == 0


def test_a_directory_that_cannot_be_listed_is_an_error(open_log: OpenLog, path: Path) -> None:
    log = open_log()

    class Forbidding(Storage):
        def entries(
            self, path: Path, *, follow: bool = False
        ) -> Iterator[tuple[str, os.stat_result]]:
            if path.name == "quarantine":
                raise PermissionError(13, "Permission denied", str(path))
            return super().entries(path, follow=follow)

    with pytest.raises(PermissionError):
        used(log, Forbidding())


def test_no_index_of_a_day_is_read(open_log: OpenLog, path: Path) -> None:
    log = open_log()
    days(log, 2, 1, 1)
    checkpoint(log)
    expected = used(log)
    for file in (path / ".timelog" / "index").glob("*.index"):
        file.write_bytes(bytes(file.stat().st_size))
    assert used(open_log(mode="r")).partitions == expected.partitions


# -- the storage's part ---------------------------------------------------------------------


def test_free_is_what_statvfs_says(tmp_path: Path) -> None:
    class Info:
        f_bavail, f_bfree, f_frsize, f_bsize = 7, 9, 512, 4096

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "statvfs", lambda path: Info)
        assert Storage().free(tmp_path) == 7 * 512
    assert Storage().free(tmp_path) > 0
    with pytest.raises(FileNotFoundError):
        Storage().free(tmp_path / "none")


def test_entries_are_what_is_there(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"abc")
    (tmp_path / "directory").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "directory")
    storage = Storage()
    found = dict(storage.entries(tmp_path))
    assert found == {name: os.lstat(tmp_path / name) for name in os.listdir(tmp_path)}
    assert list(storage.entries(tmp_path / "link", follow=True)) == []
    for wrong in ("link", "file"):
        with pytest.raises(NotADirectoryError):
            list(storage.entries(tmp_path / wrong))
    before = os.listdir("/proc/self/fd")
    next(storage.entries(tmp_path))
    assert os.listdir("/proc/self/fd") == before

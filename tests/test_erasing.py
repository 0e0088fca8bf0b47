"""Erasing: no file has the text, also where an attempt before failed or was killed."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from pathlib import Path

import pytest

import timelog
from tests.rig import FaultyStorage, Killed, abandon
from timelog import names
from timelog.errors import StorageError

OpenLog = Callable[..., timelog.EventLog]


def filled(log: timelog.EventLog) -> None:
    log.append_many(
        {"content": f"text-{n}", "timestamp": n, "id": f"id-{n}", "tags": ["t"]} for n in range(4)
    )
    log.flush()


def files_with(path: Path, text: str) -> list[str]:
    """The files below the log that have the text."""
    return [
        str(file.relative_to(path))
        for file in path.rglob("*")
        if file.is_file() and text.encode() in file.read_bytes()
    ]


def test_no_file_has_what_was_erased(path: Path, open_log: OpenLog) -> None:
    log = open_log()
    filled(log)
    assert log.delete("id-2", erase=True).is_erased
    assert not files_with(path, "text-2")
    assert [event.id for event in log] == ["id-0", "id-1", "id-3"]


def test_what_a_killed_compaction_left_goes_with_an_erasure(path: Path, open_log: OpenLog) -> None:
    storage = FaultyStorage()
    log = open_log(storage=storage)
    filled(log)
    log.append("another minute", timestamp=600, id="id-9", sync=True)
    # Behind the write of the text.
    storage.arm("kill", "rename")
    with pytest.raises(Killed):
        log.compact()
    abandon(log)
    temporary = path / names.CONTROL / names.TEMPORARY
    # As where it wrote more files than this erasure will.
    (temporary / names.compacted(0)).rename(temporary / names.compacted(7))
    log = open_log()
    assert len(files_with(path, "text-2")) == 2
    log.delete("id-2", erase=True)
    assert not files_with(path, "text-2")
    log.compact()
    assert [event.id for event in log] == ["id-0", "id-1", "id-3", "id-9"]


def test_an_erasure_that_failed_is_made_again(path: Path, open_log: OpenLog) -> None:
    kinds = ["create", "rename", "unlink", "write", "sync"]
    failed = set()
    for only, number in product(kinds, range(5)):
        storage = FaultyStorage()
        log = open_log(path.with_name(f"{only} {number}"), storage=storage)
        filled(log)
        log.delete("id-0")
        storage.arm("EIO", only)
        storage.at += number
        try:
            log.delete("id-2", erase=True)
        except StorageError:
            failed.add(only)
        storage.heal()
        assert log.delete("id-2", erase=True).is_erased
        assert [event.id for event in log] == ["id-1", "id-3"]
        assert not files_with(log.path, "text-2"), only
        for deleted in ("id-0", "id-2"):
            with pytest.raises(timelog.errors.EventNotFound):
                log.delete(deleted)
    assert failed == set(kinds)


def test_what_could_not_be_read_goes_at_the_next_compaction(path: Path, open_log: OpenLog) -> None:
    log = open_log()
    filled(log)
    log.delete("id-2")
    (segment,) = path.glob("1970-01-01/*.jsonl")
    segment.rename(path.with_name("aside"))
    done = log.compact()
    assert done.damage and not done.days
    path.with_name("aside").rename(segment)
    done = log.compact()
    assert (done.days, done.erased, done.damage) == (1, 1, ())
    assert not files_with(path, "text-2")

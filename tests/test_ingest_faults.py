"""The log's disk fails, or its process dies, at any call: every line exactly once in the end."""

from __future__ import annotations

from pathlib import Path

import pytest

import timelog
from tests.rig import FaultyStorage, Killed, abandon, contents
from timelog.ingest import Watcher

LINES = [f"{name} {number}" for name in "ab" for number in range(6)]


def follow(folder: Path, storage: FaultyStorage) -> None:
    """Files grow and are rotated between looks; each is flushed."""
    watched = folder / "watched"
    log = timelog.open(
        folder / "log", flush_interval=3600.0, storage=storage, text_index=False, scrub_interval=0
    )
    watcher = None
    try:
        watcher = Watcher(log, watched, timestamps="none")
        watcher.read()
        log.flush()
        for number in range(6):
            for name in "ab":
                line = f"{name} {number}"
                if line not in written(watched):
                    with open(watched / name, "a") as file:
                        file.write(line + "\n")
            if number == 3 and not (watched / "a.1").exists():
                (watched / "a").rename(watched / "a.1")
            watcher.read()
            log.flush()
        log.close()
    finally:
        if watcher is not None:
            watcher.close()
        abandon(log)


def written(watched: Path) -> set[str]:
    return {line for path in watched.iterdir() for line in path.read_text().splitlines()}


@pytest.mark.parametrize("fault", ["kill", "torn"])
def test_killed_at_any_call(ram: Path, fault: str) -> None:
    at = 0
    while True:
        at += 1
        folder = ram / f"{at}"
        (folder / "watched").mkdir(parents=True)
        storage = FaultyStorage(at, fault)
        try:
            follow(folder, storage)
        except Killed:
            pass
        if not storage.happened():
            break
        follow(folder, FaultyStorage())
        assert sorted(contents(folder / "log")) == LINES, at
    assert at > 50


@pytest.mark.parametrize("fault", ["ENOSPC", "EIO"])
def test_a_disk_that_fails_at_any_call(ram: Path, fault: str) -> None:
    at = 0
    while True:
        at += 1
        folder = ram / f"{at}"
        (folder / "watched").mkdir(parents=True)
        storage = FaultyStorage(at, fault)
        try:
            follow(folder, storage)
        except (timelog.TimelogError, OSError):
            pass
        if not storage.happened():
            break
        follow(folder, FaultyStorage())
        assert sorted(contents(folder / "log")) == LINES, at

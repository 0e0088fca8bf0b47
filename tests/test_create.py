"""Making a log, and telling whether a directory is one."""

from __future__ import annotations

import errno
import os
import resource
import shutil
import stat
import subprocess
import sys
import threading
from functools import partial
from pathlib import Path

import pytest

import timelog
from tests.rig import FaultyStorage, Killed
from timelog.create import create_log, log_id
from timelog.errors import DamagedError, NotALogError, StorageError, VersionError
from timelog.index import Index
from timelog.names import DIRECTORIES, Layout
from timelog.storage import Storage

STORAGE = Storage()
CREATE = """
import sys
from pathlib import Path
from timelog.create import create_log
from timelog.names import Layout
from timelog.storage import Storage
print(create_log(Layout(Path(sys.argv[1])), Storage(), 30))
"""


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    return Layout(tmp_path / "log")


def create(layout: Layout, storage: Storage = STORAGE) -> str:
    return create_log(layout, storage, 5.0)


def position(layout: Layout) -> int:
    index = Index(layout, STORAGE, "", lambda batch: None)
    index.refresh()
    return index.position


def test_a_new_log_has_an_id_of_its_own(layout: Layout, tmp_path: Path) -> None:
    id = create(layout)
    assert log_id(layout, STORAGE) == id
    assert position(layout) == 0
    assert create(Layout(tmp_path / "other")) != id


def test_a_new_log_consists_of_what_is_documented(layout: Layout) -> None:
    create(layout)
    assert os.listdir(layout.root) == [".timelog"]
    assert sorted(os.listdir(layout.control)) == sorted(["format", "lock", *DIRECTORIES])
    assert os.listdir(layout.journals) == ["0000000001.journal"]
    assert os.listdir(layout.temporary) == []
    assert layout.format.read_text().startswith('{"format":"timelog","version":1,"id":"')


def test_a_new_log_is_private(layout: Layout) -> None:
    create(layout)
    for path in [layout.control, *layout.control.rglob("*")]:
        assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0, path


def test_making_a_log_again_changes_nothing(layout: Layout) -> None:
    id = create(layout)
    before = {path: path.read_bytes() for path in layout.root.rglob("*") if path.is_file()}
    assert create(layout) == id
    assert before == {path: path.read_bytes() for path in layout.root.rglob("*") if path.is_file()}


def test_parents_are_made(tmp_path: Path) -> None:
    layout = Layout(tmp_path / "a" / "b" / "log")
    assert create(layout) == log_id(layout, STORAGE)


class Recorder(FaultyStorage):
    """Notes the directories that were synced."""

    def __init__(self, at: int = 0, fault: str = "kill") -> None:
        super().__init__(at, fault)
        self.synced: set[Path] = set()

    def sync_directory(self, path: Path) -> None:
        super().sync_directory(path)
        self.synced.add(path)


def made(layout: Layout) -> list[Path]:
    """The directories that a log in a new directory needs."""
    return [layout.root.parent, layout.root, layout.control, layout.journals, layout.quarantine]


def test_every_directory_that_was_made_survives_a_power_cut(tmp_path: Path) -> None:
    """The name of each is synced in the directory above it."""
    layout = Layout(tmp_path / "a" / "log")
    storage = Recorder()
    create(layout, storage)
    assert {path.parent for path in made(layout)} <= storage.synced


@pytest.mark.parametrize("fault", ["kill", "EIO"])
def test_what_a_first_try_made_but_did_not_sync_the_next_one_syncs(
    tmp_path: Path, fault: str
) -> None:
    for at in range(1, 20):
        layout = Layout(tmp_path / str(at) / "log")
        first, second = Recorder(at, fault), Recorder()
        try:
            create(layout, first)
        except (Killed, StorageError):
            pass
        create(layout, second)
        _, *needed = made(layout)
        assert {path.parent for path in needed} <= first.synced | second.synced, at


def test_an_empty_directory_becomes_a_log(layout: Layout) -> None:
    layout.root.mkdir()
    assert log_id(layout, STORAGE) is None
    create(layout)


@pytest.mark.parametrize("name", ["notes.txt", ".git", "2026-11-21", ".timelog2"])
def test_a_directory_with_anything_else_is_refused_and_named(layout: Layout, name: str) -> None:
    (layout.root / name).mkdir(parents=True)
    with pytest.raises(NotALogError, match=name.replace(".", r"\.")):
        create(layout)
    assert os.listdir(layout.root) == [name]


def test_a_file_is_refused(layout: Layout) -> None:
    layout.root.write_bytes(b"text")
    for call in (partial(log_id, storage=STORAGE), create):
        with pytest.raises(NotALogError, match="is a file"):
            call(layout)
    below = Layout(layout.root / "below")
    with pytest.raises((NotALogError, StorageError)):
        create(below)
    assert layout.root.read_bytes() == b"text"


def test_text_without_its_control_directory_is_not_taken_over(layout: Layout) -> None:
    create(layout)
    (layout.root / "2026-11-21").mkdir()
    shutil.rmtree(layout.control)
    assert log_id(layout, STORAGE) is None
    with pytest.raises(NotALogError, match="2026-11-21"):
        create(layout)


def test_a_control_directory_with_an_index_but_no_format_is_damaged(layout: Layout) -> None:
    create(layout)
    layout.format.unlink()
    layout.index_root.write_bytes(b"")
    with pytest.raises(DamagedError, match="format is gone"):
        create(layout)


@pytest.mark.parametrize(
    "text",
    [
        '{"format":"timelog","version":2,"id":"a"}',
        '{"format":"another","version":1,"id":"a"}',
        '{"format":"timelog","version":99,"id":"a","more":true}',
    ],
)
def test_a_newer_format_is_refused(layout: Layout, text: str) -> None:
    create(layout)
    layout.format.write_text(text)
    for call in (partial(log_id, storage=STORAGE), create):
        with pytest.raises(VersionError, match="newer release"):
            call(layout)


@pytest.mark.parametrize(
    "data",
    [
        *(b"", b"\0" * 50, b"{}", b"nonsense", b'{"format":"\xff"}', b"[1]"),
        b'{"format":"timelog","version":0,"id":"0"}',
    ],
)
def test_a_damaged_format_is_named(layout: Layout, data: bytes) -> None:
    create(layout)
    layout.format.write_bytes(data)
    with pytest.raises(DamagedError, match="format is damaged"):
        log_id(layout, STORAGE)


def test_a_link_in_the_place_of_the_format_is_not_followed(layout: Layout, tmp_path: Path) -> None:
    create(layout)
    layout.format.rename(tmp_path / "elsewhere")
    layout.format.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError):
        log_id(layout, STORAGE)


@pytest.mark.parametrize("fault", ["kill", "torn"])
def test_a_kill_at_any_step_leaves_a_directory_in_which_the_next_try_succeeds(
    tmp_path: Path, fault: str
) -> None:
    at = 0
    while True:
        at += 1
        layout = Layout(tmp_path / str(at))
        storage = FaultyStorage(at, fault)
        try:
            create(layout, storage)
        except Killed:
            pass
        if not storage.happened():
            break
        id = create(layout)
        assert log_id(layout, STORAGE) == id
        assert position(layout) == 0
    assert at > 10


@pytest.mark.parametrize("number", ["ENOSPC", "EIO", "EACCES", "EROFS"])
def test_a_disk_that_refuses_is_a_timelog_error_and_the_next_try_succeeds(
    tmp_path: Path, number: str
) -> None:
    for at in range(1, 12):
        layout = Layout(tmp_path / str(at))
        with pytest.raises(Exception) as caught:
            create(layout, FaultyStorage(at, number))
        assert type(caught.value).__module__ == "timelog.errors", (at, caught.value)
        assert log_id(layout, STORAGE) in (None, create(layout))


@pytest.mark.parametrize("mode", ["a", "r"])
def test_a_log_that_cannot_be_looked_at_is_a_timelog_error(path: Path, mode: str) -> None:
    timelog.open(path).close()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, hard))
    try:
        with pytest.raises(StorageError, match="too many open files"):
            timelog.open(path, mode=mode)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_a_directory_that_cannot_be_listed_is_a_timelog_error(
    layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: Path) -> list[str]:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "listdir", refuse)
    with pytest.raises(StorageError, match=r"creating the log .* input/output error"):
        create_log(layout, Storage(), 1.0)


def test_threads_that_make_the_same_log_get_one(layout: Layout) -> None:
    ids: list[str] = []
    threads = [threading.Thread(target=lambda: ids.append(create(layout))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(ids) == 8
    assert set(ids) == {log_id(layout, STORAGE)}


def test_processes_that_make_the_same_log_get_one(layout: Layout) -> None:
    command = [sys.executable, "-c", CREATE, str(layout.root)]
    processes = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    ids = {process.communicate()[0].strip() for process in processes}
    assert [process.returncode for process in processes] == [0, 0, 0]
    assert ids == {log_id(layout, STORAGE)}

"""What kind of file system a path is on, and the warning where it is a network's."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from pathlib import Path

import pytest

import timelog
from timelog import mounts
from timelog.mounts import FileSystem, file_system
from timelog.storage import Storage

Open = Callable[..., timelog.EventLog]


@pytest.fixture
def table(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Let mountinfo say something."""

    def say(*rows: tuple[str, Path | str, str, str]) -> None:
        lines = (
            f"{n} 1 {device} / {str(point).replace(' ', chr(92) + '040')} rw - {kind} {source} rw\n"
            for n, (device, point, kind, source) in enumerate(rows)
        )
        text = "a line that is not one\n" + "".join(lines)
        monkeypatch.setattr(Storage, "mounts", lambda self: text)

    return say


def device_of(path: Path) -> str:
    number = path.stat().st_dev
    return f"{os.major(number)}:{os.minor(number)}"


def test_the_nearest_mount_point_is_it(tmp_path: Path, table: Callable[..., None]) -> None:
    place = tmp_path / "a place" / "log"
    place.mkdir(parents=True)
    table(
        ("0:99", "/", "ext4", "/dev/sda"),
        ("0:98", tmp_path / "a place", "nfs4", "box:/export"),
        ("0:97", tmp_path / "a", "xfs", "/dev/sdb"),
        ("0:96", place / "below", "xfs", "/dev/sdb"),
    )
    assert file_system(place) == FileSystem("nfs4", "box:/export")
    assert file_system(tmp_path) == FileSystem("ext4", "/dev/sda")


def test_the_device_decides_where_it_is_known(tmp_path: Path, table: Callable[..., None]) -> None:
    table((device_of(tmp_path), "/", "ext4", "/dev/sda"), ("0:98", tmp_path, "xfs", "hidden"))
    assert file_system(tmp_path) == FileSystem("ext4", "/dev/sda")
    table(("0:98", tmp_path, "xfs", "first"), ("0:98", tmp_path, "cifs", "//box/on"))
    assert file_system(tmp_path) == FileSystem("cifs", "//box/on")


def test_what_a_link_leads_to_counts(tmp_path: Path, table: Callable[..., None]) -> None:
    (tmp_path / "there").mkdir()
    (tmp_path / "link").symlink_to("there")
    table(("0:99", "/", "ext4", "/dev/sda"), ("0:98", tmp_path / "there", "nfs4", "box:/export"))
    assert file_system(tmp_path / "link") == FileSystem("nfs4", "box:/export")


def test_where_nothing_is_known(tmp_path: Path, table: Callable[..., None]) -> None:
    table()
    assert file_system(tmp_path) is None
    with pytest.raises(FileNotFoundError):
        file_system(tmp_path / "none")


@pytest.mark.parametrize(
    ("kind", "is_network", "is_memory"),
    [
        ("ext4", False, False),
        ("overlay", False, False),
        ("tmpfs", False, True),
        ("nfs4", True, False),
        ("cifs", True, False),
        ("fuse.sshfs", True, False),
        ("fuse", True, False),
        ("fuseblk", False, False),
        ("virtiofs", True, False),
    ],
)
def test_which_are_networks(kind: str, is_network: bool, is_memory: bool) -> None:
    found = FileSystem(kind, "x")
    assert (found.is_network, found.is_memory) == (is_network, is_memory)


def test_memory_is_known_here() -> None:
    if not Storage().mounts() or not Path("/dev/shm").is_dir():
        pytest.skip("NOT RUN: 1 look at a real mount: this system has no /dev/shm or no mountinfo")
    found = file_system(Path("/dev/shm"))
    assert found is not None and found.is_memory


def test_a_log_on_a_network_is_warned_of_once(
    tmp_path: Path,
    open_log: Open,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(mounts, "_known", set())
    monkeypatch.setattr(os, "major", lambda device: 0)
    monkeypatch.setattr(
        mounts, "file_system", lambda path, storage: FileSystem("nfs4", "box:/export")
    )
    with caplog.at_level(logging.WARNING, "timelog"):
        open_log(tmp_path / "one").close()
        open_log(tmp_path / "one", mode="r")
        open_log(tmp_path / "two")
    (record,) = caplog.records
    assert "one/.timelog is on a network file system, nfs4 (box:/export)" in record.getMessage()


def test_a_log_on_a_device_is_not_looked_up(
    open_log: Open, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(mounts, "_known", set())
    monkeypatch.setattr(os, "major", lambda device: 8)
    monkeypatch.setattr(mounts, "file_system", None)
    open_log()
    assert not caplog.records

"""Making a log of a snapshot: all of it or nothing, over nothing, and only of what is whole."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

import timelog
from tests.clocked import MIDNIGHT, Clocked
from tests.rig import FaultyStorage, Killed
from timelog import errors, manifest, names
from timelog.lock import FileLock
from timelog.manifest import File, Manifest
from timelog.names import Layout
from timelog.storage import Storage
from timelog.timestamp import SECOND

Open = Callable[..., timelog.EventLog]
T = MIDNIGHT / SECOND - 2 * 86_400


@pytest.fixture
def made(open_log: Open, tmp_path: Path) -> Path:
    """A snapshot of a log of a few segments, with a day index, a cursor, and a deletion."""
    log = open_log()
    for minute in range(3):
        log.append_many(
            [{"content": f"{minute} {n}", "timestamp": T + minute * 60 + n} for n in range(4)],
            cursor=("place", minute),
        )
        log.sync()
    log.delete(next(iter(log)).id)
    return Path(log.snapshot(tmp_path / "snapshots").path)


@pytest.fixture
def new(tmp_path: Path) -> Path:
    return tmp_path / "deep" / "new"


def tree(top: Path) -> dict[str, bytes | None]:
    return {
        str(each.relative_to(top)): each.read_bytes() if each.is_file() else None
        for each in top.rglob("*")
    }


def write(path: Path, data: bytes) -> None:
    """Not in place: the log has the same file."""
    path.unlink(missing_ok=True)
    path.write_bytes(data)


def contents(path: Path) -> list[str]:
    """What is found after somebody has opened the log to write."""
    with timelog.open(path, flush_interval=3600.0) as log:
        report = log.verify(deep=True)
        assert report.ok and not report.foreign, str(report)
        return [event.content for event in log]


def test_the_log_goes_on_where_the_snapshot_ended(made: Path, new: Path, open_log: Open) -> None:
    before = tree(made)
    told: list[tuple[int, int]] = []
    restored = timelog.restore_snapshot(made, new, progress=lambda *far: told.append(far))
    assert (restored.position, restored.damage) == (12, ()) and str(new) in str(restored)
    assert told[-1] == (2 * restored.bytes, 2 * restored.bytes)
    original = open_log()
    ids = [each.id for each in original]
    log = open_log(new)
    assert [each.id for each in log] == ids and len(ids) == 11
    assert log._store.id == original._store.id
    assert log.position == 12 and log.cursor("place") == 2
    log.append("more", timestamp=T, sync=True)
    assert log.position == 13 and log.search(as_of=12).count() == 11
    assert [each.digest for each in log.deletions()] == [
        each.digest for each in original.deletions()
    ]
    log.compact()
    assert log.verify(deep=True).ok
    assert tree(made) == before
    # It has snapshots of its own, in the same place too.
    assert log.snapshot(made.parent).position == 13


def test_nothing_is_shared_with_the_snapshot(made: Path, new: Path) -> None:
    timelog.restore_snapshot(made, new)
    assert all(each.stat().st_nlink == 1 for each in new.rglob("*") if each.is_file())
    left = {name for name, data in tree(new).items() if data is not None}
    expected = {name for name, data in tree(made).items() if data is not None}
    assert left == expected - {manifest.NAME} | {".timelog/lock"}


def test_an_empty_directory_will_do(made: Path, new: Path, tmp_path: Path) -> None:
    new.mkdir(parents=True)
    (tmp_path / "link").symlink_to(new)
    timelog.restore_snapshot(made, tmp_path / "link")
    assert len(contents(new)) == 11


@pytest.mark.parametrize("what", ["file", "directory", "log", "snapshot", "inside", "dangling"])
def test_nothing_is_overwritten(
    made: Path, new: Path, what: str, path: Path, tmp_path: Path
) -> None:
    new.parent.mkdir()
    target = {"log": path, "snapshot": made, "inside": made / "x"}.get(what, new)
    if what == "file":
        new.write_text("mine")
    elif what == "directory":
        new.mkdir()
        (new / "mine").write_text("mine")
    elif what == "dangling":
        (tmp_path / "file").write_text("mine")
        new.symlink_to(tmp_path / "file" / "x")
    before = tree(tmp_path)
    error = errors.StorageError if what == "dangling" else errors.InvalidInput
    with pytest.raises(error):
        timelog.restore_snapshot(made, target)
    assert tree(tmp_path) == before


def test_what_is_no_snapshot_is_refused(made: Path, new: Path, path: Path, tmp_path: Path) -> None:
    for other in (path, tmp_path, tmp_path / "none", made / manifest.NAME, made.parent):
        with pytest.raises(errors.NotALogError, match="is no snapshot"):
            timelog.restore_snapshot(other, new)
    for places in (("", new), (made, ""), (made, "a\0b")):
        with pytest.raises(errors.InvalidInput):
            timelog.restore_snapshot(*places)
    assert not new.parent.exists()


def files_of(snapshot: Path) -> list[str]:
    return [file.name for file in manifest.parse((snapshot / manifest.NAME).read_bytes()).files]


@pytest.mark.parametrize("damage", ["missing", "shorter", "longer", "altered", "a link"])
def test_each_file_that_was_changed_is_refused_by_name(
    made: Path, new: Path, damage: str, tmp_path: Path
) -> None:
    names_of = files_of(made)
    assert len(names_of) == 8
    for name in names_of:
        broken = tmp_path / "broken" / made.name
        shutil.copytree(made, broken)
        data = (broken / name).read_bytes()
        if damage == "missing":
            (broken / name).unlink()
        elif damage == "a link":
            (broken / name).unlink()
            (broken / name).symlink_to(made / name)
        else:
            at = len(data) // 2
            changed = {
                "shorter": data[:-1],
                "longer": data + b"\n",
                "altered": data[:at] + bytes([data[at] ^ 4]) + data[at + 1 :],
            }[damage]
            write(broken / name, changed)
        with pytest.raises(errors.DamagedError, match=f"(?s){name}.*take an older one"):
            timelog.restore_snapshot(broken, new)
        assert not new.parent.exists()
        shutil.rmtree(broken.parent)


def test_every_byte_of_a_snapshot_counts(made: Path, new: Path) -> None:
    files = [each for each in made.rglob("*") if each.is_file()]
    for file in files:
        data = file.read_bytes()
        for at in range(0, len(data), max(len(data) // 40, 1)):
            write(file, data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])
            with pytest.raises(errors.DamagedError, match=str(file.relative_to(made))):
                timelog.restore_snapshot(made, new)
        write(file, data)
    timelog.restore_snapshot(made, new)


@pytest.mark.parametrize(
    "extra",
    [
        "notes.txt",
        ".timelog/lock",
        ".timelog/index/2026-01-01.9.index",
        "2026-01-01/20260101T0000Z-20260101T0001Z.jsonl",
        ".timelog/tmp/",
        "2026-01-99/",
    ],
)
def test_what_is_not_listed_is_refused_by_name(made: Path, new: Path, extra: str) -> None:
    if extra.endswith("/"):
        (made / extra).mkdir()
    else:
        (made / extra).parent.mkdir(exist_ok=True)
        (made / extra).write_text("x")
    with pytest.raises(errors.DamagedError, match=f"{extra.rstrip('/')} is not in its manifest"):
        timelog.restore_snapshot(made, new)
    assert not new.parent.exists()


def repacked(snapshot: Path, **changes: object) -> None:
    """Let the manifest say something else, with a crc that holds."""
    import msgspec

    known = manifest.parse((snapshot / manifest.NAME).read_bytes())
    write(snapshot / manifest.NAME, manifest.pack(msgspec.structs.replace(known, **changes)))


def test_a_manifest_that_somebody_forged_leads_nowhere(
    made: Path, new: Path, tmp_path: Path
) -> None:
    (tmp_path / "secret").write_text("x")
    for name in ("../../secret", "/etc/passwd", "x", ".timelog/lock", "", "a/../b"):
        repacked(made, files=(File(name, 1, 0),))
        with pytest.raises(errors.DamagedError):
            timelog.restore_snapshot(made, new)
        assert not new.parent.exists()


def test_a_missing_or_newer_manifest_is_refused(made: Path, new: Path) -> None:
    repacked(made, version=manifest.VERSION + 1)
    with pytest.raises(errors.VersionError, match="newer release"):
        timelog.restore_snapshot(made, new)
    (made / manifest.NAME).unlink()
    with pytest.raises(errors.DamagedError, match="manifest is missing"):
        timelog.restore_snapshot(made, new)


def test_who_restores_waits_for_nobody(made: Path, new: Path) -> None:
    making = Layout(new.with_name(names.restoring(new.name)))
    making.control.mkdir(parents=True)
    with FileLock(Storage(), making.lock, 0).held():
        with pytest.raises(errors.LockTimeout, match="another process restores"):
            timelog.restore_snapshot(made, new)
        assert making.lock.exists()
    timelog.restore_snapshot(made, new)
    assert sorted(each.name for each in new.parent.iterdir()) == ["new"]


def test_a_file_that_changes_while_it_is_copied_is_found_out(made: Path, new: Path) -> None:
    class Changing(Storage):
        def make_directory(self, path: Path) -> bool:
            if path.name == names.restoring("new"):
                segment = next(made.rglob("*.jsonl"))
                data = segment.read_bytes()
                write(segment, data[:5] + b"x" + data[6:])
            return super().make_directory(path)

    with pytest.raises(errors.DamagedError, match="was altered"):
        timelog.restore_snapshot(made, new, storage=Changing())
    assert list(new.parent.iterdir()) == []


def count(made: Path, ram: Path) -> int:
    storage = FaultyStorage()
    timelog.restore_snapshot(made, ram / "counted" / "new", storage=storage)
    return len(storage.calls)


@pytest.mark.parametrize("fault", ["kill", "torn"])
def test_killed_at_every_disk_call(made: Path, ram: Path, fault: str) -> None:
    total = count(made, ram)
    assert total > 30
    for at in range(1, total + 1):
        new = ram / str(at) / "new"
        with pytest.raises(Killed):
            timelog.restore_snapshot(made, new, storage=FaultyStorage(at, fault))
        if new.exists():
            assert len(contents(new)) == 11
        else:
            timelog.restore_snapshot(made, new)
            assert len(contents(new)) == 11
        assert [each.name for each in new.parent.iterdir()] == ["new"]


@pytest.mark.parametrize("fault", ["ENOSPC", "EIO"])
@pytest.mark.parametrize("sticky", [False, True], ids=["once", "sticky"])
def test_an_error_at_every_disk_call_leaves_nothing_behind(
    made: Path, ram: Path, fault: str, sticky: bool
) -> None:
    for at in range(1, count(made, ram) + 1):
        new = ram / str(at) / "new"
        storage = FaultyStorage(at, fault, sticky=sticky)
        with pytest.raises(errors.StorageError) as caught:
            timelog.restore_snapshot(made, new, storage=storage)
        assert "restoring" in str(caught.value)
        if not sticky:
            assert not new.parent.exists() or list(new.parent.iterdir()) == []
        if not new.exists():
            timelog.restore_snapshot(made, new)
        assert len(contents(new)) == 11


def test_no_descriptor_is_left_open_by_faults(made: Path, ram: Path) -> None:
    before = len(os.listdir("/proc/self/fd"))
    for at in range(1, count(made, ram), 3):
        with pytest.raises(errors.StorageError):
            timelog.restore_snapshot(
                made, ram / str(at) / "new", storage=FaultyStorage(at, "ENOSPC")
            )
    assert len(os.listdir("/proc/self/fd")) == before


def test_an_archived_log_is_restored(open_log: Open, tmp_path: Path, new: Path) -> None:
    log = open_log(storage=Clocked())
    log.append_many({"content": str(n), "timestamp": T - 86_400 + n * 60} for n in range(50))
    log.sync()
    log.compact(archive=True)
    made = log.snapshot(tmp_path / "snapshots")
    assert [file for file in files_of(Path(made.path)) if file.endswith(".zst")]
    timelog.restore_snapshot(made.path, new)
    assert len(contents(new)) == 50


def test_a_manifest_holds_what_was_put_into_it() -> None:
    known = Manifest(
        "id", 5, 2, 7, "safety", 3, (File(manifest.PLAIN[0], 1, 2), File(manifest.ROOT, 3, 4, 5))
    )
    data = manifest.pack(known)
    assert manifest.parse(data) == known
    for at in range(len(data)):
        for changed in (data[:at], data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]):
            with pytest.raises(errors.DamagedError):
                manifest.parse(changed)

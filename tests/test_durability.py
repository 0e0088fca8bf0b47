"""What the disk, other processes and power cuts do between two steps; each loss was seen once."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

import timelog
from tests.rig import FaultyStorage, Killed, abandon
from timelog import rotate
from timelog.errors import DamagedError, StorageError
from timelog.lock import Mark, State, StoreLock
from timelog.storage import Storage

Open = Callable[..., timelog.EventLog]
T = 1_700_000_000


class AnotherBoot(Storage):
    """The machine was booted since."""

    def boot_id(self) -> str:
        return "another"


class Hooked(Storage):
    """Calls ``hook``, once, after the next call of one kind."""

    hook: Callable[[], object] | None = None
    after = "write"

    def _called(self, name: str) -> None:
        if self.hook is not None and name == self.after:
            hook, self.hook = self.hook, None
            hook()

    def write(self, fd: int, *parts: bytes) -> None:
        super().write(fd, *parts)
        self._called("record" if parts[0].startswith(b"tlJ1") else "write")

    def sync(self, fd: int) -> None:
        super().sync(fd)
        self._called("sync")

    def overwrite(self, fd: int, data: bytes, offset: int) -> None:
        super().overwrite(fd, data, offset)
        self._called("mark")


class Names(Storage):
    """Notes which directories were synced, and may fail or die doing it."""

    def __init__(self) -> None:
        super().__init__()
        self.synced: list[str] = []
        self.error: BaseException | None = None

    def sync_directory(self, path: Path) -> None:
        if self.error is not None and path.name == "journal":
            error, self.error = self.error, None
            raise error
        self.synced.append(path.name)
        super().sync_directory(path)


def contents(path: Path, storage: Storage | None = None) -> list[str]:
    with timelog.open(path, flush_interval=3600, storage=storage) as log:
        assert log.verify(deep=True).ok
        return [event.content for event in log.search()]


def segments(path: Path) -> list[Path]:
    return sorted(path.glob("[0-9]*/*"))


# -- the lock file is removed or replaced -------------------------------------------------


def remove(lock: Path) -> None:
    lock.unlink()


def replace(lock: Path) -> None:
    copy = lock.with_name("copy")
    shutil.copy(lock, copy)
    os.replace(copy, lock)


@pytest.mark.parametrize("after", ["mark", "write", "sync", "record"])
@pytest.mark.parametrize("change", [remove, replace])
def test_two_processes_that_hold_two_lock_files_lose_nothing(
    tmp_path: Path, change: Callable[[Path], None], after: str
) -> None:
    path = tmp_path / "log"
    storage = Hooked()
    one = timelog.open(path, flush_interval=3600, storage=storage)
    one.append("a0", timestamp=T, sync=True)

    def another() -> None:
        change(path / ".timelog" / "lock")
        with timelog.open(path, flush_interval=3600) as two:
            two.append("b", timestamp=T, sync=True)

    storage.hook, storage.after = another, after
    with pytest.raises(StorageError, match=r"removed or replaced|changed by somebody"):
        one.append("a1", timestamp=T, sync=True)
    one.append("a2", timestamp=T, sync=True)
    one.close()
    assert sorted(contents(path)) == ["a0", "a1", "a2", "b"]


def test_a_lock_file_that_is_replaced_while_it_is_waited_for_is_opened_anew(
    tmp_path: Path,
) -> None:
    path = tmp_path / "lock"
    other = path.with_name("other")

    class Late(Storage):
        """Somebody replaces the file between opening and locking it."""

        tries = 0

        def lock(self, fd: int, timeout: float) -> None:
            self.tries += 1
            if self.tries == 1:
                os.close(super().open_lock(other))
                os.replace(other, path)
            super().lock(fd, timeout)

    storage = Late()
    lock = StoreLock(storage, path, 1.0)
    with lock.held():
        assert lock.is_current() and storage.tries == 2
        path.unlink()
        assert not lock.is_current()


# -- an fsync that failed -----------------------------------------------------------------


def test_a_failed_fsync_is_not_believed_the_second_time(tmp_path: Path) -> None:
    """The kernel may drop what it could not write, and then say that all is well."""
    path = tmp_path / "log"
    storage = FaultyStorage()
    with timelog.open(path, sync="off", flush_interval=3600, storage=storage) as log:
        log.append("x", timestamp=T)
        log.append("y", timestamp=T + 60)
        log.flush()
        before = {file: file.stat().st_ino for file in (*segments(path), journal(path))}
        storage.arm("EIO", only="sync")
        with pytest.raises(StorageError):
            log.sync()
        storage.heal()
        log.sync()
        for file in segments(path):
            assert file.stat().st_ino != before[file]
        # A journal that goes on under the next number need not be written anew.
        assert journal(path) not in before or journal(path).stat().st_ino != before[journal(path)]
        assert [event.content for event in log.search()] == ["x", "y"]
    assert contents(path) == ["x", "y"]


def test_what_a_failed_fsync_took_is_named(tmp_path: Path) -> None:
    path = tmp_path / "log"
    storage = FaultyStorage()
    with timelog.open(path, sync="off", flush_interval=3600, storage=storage) as log:
        log.append("x" * 1000, timestamp=T)
        log.append("y", timestamp=T + 60)
        log.flush()
        storage.arm("EIO", only="sync")
        with pytest.raises(StorageError):
            log.sync()
        storage.heal()
        # The page is read from the disk again, where nothing was written.
        first = segments(path)[0]
        first.write_bytes(bytes(first.stat().st_size))
        log.sync()
        assert log.health().status == "critical"
        assert [event.content for event in log.search()] == ["y"]


def test_the_next_process_does_not_believe_it_either(tmp_path: Path) -> None:
    path = tmp_path / "log"
    storage = FaultyStorage()
    log = timelog.open(path, sync="off", flush_interval=3600, storage=storage)
    log.append("x", timestamp=T)
    log.flush()
    before = segments(path)[0].stat().st_ino
    storage.arm("EIO", only="sync")
    with pytest.raises(StorageError):
        log.sync()
    abandon(log)
    with timelog.open(path, flush_interval=3600) as log:
        log.append("y", timestamp=T, sync=True)
    assert segments(path)[0].stat().st_ino != before
    assert contents(path) == ["x", "y"]


def journal(path: Path) -> Path:
    return max((path / ".timelog" / "journal").iterdir())


# -- names that are not on the disk -------------------------------------------------------


@pytest.mark.parametrize("error", [Killed(), OSError(5, "Input/output error")])
def test_a_journal_is_relied_on_only_when_its_name_is_on_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    path = tmp_path / "log"
    storage = Names()
    log = timelog.open(path, flush_interval=3600, storage=storage)
    log.append("a", timestamp=T, sync=True)
    monkeypatch.setattr(rotate, "MOST_COMMITS", 1)
    storage.error = error
    try:
        log.append("b", timestamp=T, sync=True)
    except Killed:
        abandon(log)
        storage = Names()
        log = timelog.open(path, flush_interval=3600, storage=storage)
    monkeypatch.setattr(rotate, "MOST_COMMITS", 4096)
    storage.synced.clear()
    log.append("c", timestamp=T, sync=True)
    assert "journal" in storage.synced
    storage.synced.clear()
    log.append("d", timestamp=T, sync=True)
    assert "journal" not in storage.synced
    log.close()
    assert contents(path) == ["a", "b", "c", "d"]


# -- a mark of another log ----------------------------------------------------------------


@pytest.mark.parametrize("journal,offset", [(0, 100), (1, 10**9), (99, 0)])
def test_a_mark_that_is_not_about_these_files_does_not_lock_a_log_up(
    tmp_path: Path, journal: int, offset: int
) -> None:
    """A copy that was made in the middle of a flush may have the mark of one moment, and the
    journal of another."""
    path = tmp_path / "log"
    with timelog.open(path, flush_interval=3600) as log:
        log.append("a", timestamp=T, sync=True)
    (segment,) = segments(path)
    with open(segment, "ab") as file:
        file.write(b"unfinished")
    lock = StoreLock(Storage(), path / ".timelog" / "lock", 1.0)
    named = str(segment.relative_to(path))
    with lock.held():
        lock.write(State(Storage().boot_id(), Mark(1, journal, offset, (named,))))
    with timelog.open(path, flush_interval=3600) as log:
        log.append("b", timestamp=T, sync=True)
    assert contents(path) == ["a", "b"]


# -- a power cut of a log with sync="off" -------------------------------------------------


@pytest.mark.parametrize("durable", [0, 1, 3])
@pytest.mark.parametrize("hole", [3, 4])
def test_the_newest_commits_go_from_the_first_that_is_not_there(
    tmp_path: Path, durable: int, hole: int
) -> None:
    """Pages of the journal may reach the disk in any order."""
    path = tmp_path / "log"
    ends = []
    log = timelog.open(path, sync="off", flush_interval=3600)
    for number in range(6):
        log.append(f"e{number}", timestamp=T + number, sync=number == durable)
        log.flush()
        ends.append(journal(path).stat().st_size)
    abandon(log)
    data = bytearray(journal(path).read_bytes())
    data[ends[hole - 1] : ends[hole]] = bytes(ends[hole] - ends[hole - 1])
    journal(path).write_bytes(data)
    with timelog.open(path, flush_interval=3600, storage=AnotherBoot()) as log:
        left = [event.content for event in log.search()]
        health = log.health()
        if durable == hole:
            # Promised to be there, and gone: that is damage.
            assert left == [f"e{n}" for n in range(6) if n != hole]
            assert health.status == "critical" and health.lost_commits == 0
            return
        assert left == [f"e{n}" for n in range(hole)]
        assert health.lost_commits == 6 - hole and health.status == "warning"
        log.append("next", timestamp=T + 9, sync=True)
    assert contents(path, AnotherBoot()) == [*left, "next"]


def test_damage_before_what_a_power_cut_took_stays_in_sight(tmp_path: Path) -> None:
    path = tmp_path / "log"
    ends = []
    log = timelog.open(path, sync="off", flush_interval=3600)
    for number in range(6):
        log.append(f"e{number}", timestamp=T + number, sync=number == 2)
        log.flush()
        ends.append(journal(path).stat().st_size)
    abandon(log)
    data = bytearray(journal(path).read_bytes())
    for hole in (1, 4):
        data[ends[hole - 1] : ends[hole]] = bytes(ends[hole] - ends[hole - 1])
    journal(path).write_bytes(data)
    for _ in range(2):
        with timelog.open(path, flush_interval=3600, storage=AnotherBoot()) as log:
            assert [event.content for event in log.search()] == ["e0", "e2", "e3"]
            assert log.health().status == "critical" and log.health().lost_commits == 2
            assert len(log.verify().damage) >= 1


# -- a look at a log that is being written ------------------------------------------------


@pytest.mark.parametrize("after", ["write", "record"])
def test_a_flush_that_goes_on_is_nothing_unfinished(tmp_path: Path, after: str) -> None:
    path = tmp_path / "log"
    storage = Hooked()
    reports = []

    def look() -> None:
        with timelog.open(path, mode="r") as reader:
            reports.append(reader.verify(deep=True))

    with timelog.open(path, flush_interval=3600, storage=storage) as log:
        log.append("a", timestamp=T, sync=True)
        storage.hook, storage.after = look, after
        # In the file that is known, and in one that is not.
        log.append("b", timestamp=T)
        log.append("c", timestamp=T + 3600, sync=True)
    (report,) = reports
    assert report.ok and report.exit_code == 0 and report.events == 1


def test_what_a_killed_flush_left_is_unfinished(tmp_path: Path) -> None:
    path = tmp_path / "log"
    storage = FaultyStorage()
    log = timelog.open(path, flush_interval=3600, storage=storage)
    log.append("a", timestamp=T, sync=True)
    storage.arm("torn", only="write")
    with pytest.raises(Killed):
        log.append("b", timestamp=T, sync=True)
    abandon(log)
    with timelog.open(path, mode="r") as reader:
        assert reader.verify().exit_code == 3


def test_each_bit_of_the_journal_is_looked_at(tmp_path: Path) -> None:
    """Also what stands before the place from which the index reads it."""
    path = tmp_path / "log"
    with timelog.open(path, flush_interval=3600) as log:
        for number in range(70):
            log.append(f"{number}", timestamp=T, sync=True)
    assert (path / ".timelog" / "index" / "root").exists()
    data = journal(path).read_bytes()
    for at in range(len(data)):
        changed = bytearray(data)
        changed[at] ^= 1 << at % 8
        journal(path).write_bytes(changed)
        with timelog.open(path, mode="r") as reader:
            assert reader.verify().exit_code == 1, at
    journal(path).write_bytes(data)
    assert len(contents(path)) == 70


def test_verify_of_an_open_log_reads_what_is_on_the_disk(tmp_path: Path) -> None:
    path = tmp_path / "log"
    with timelog.open(path, flush_interval=3600) as log:
        for number in range(70):
            log.append(f"{number}", timestamp=T, sync=True)
    with timelog.open(path, mode="r") as log:
        assert log.search().count() == 70
        (file,) = (path / ".timelog" / "index").glob("*.index")
        data = bytearray(file.read_bytes())
        data[len(data) // 2] ^= 1
        file.write_bytes(data)
        assert log.verify().exit_code == 1


# -- what is said of failures -------------------------------------------------------------


def test_an_error_that_nobody_expects_is_a_failed_flush(tmp_path: Path) -> None:
    class Full(Storage):
        is_full = False

        def write(self, fd: int, *parts: bytes) -> None:
            if self.is_full:
                raise MemoryError("no memory left")
            super().write(fd, *parts)

    storage = Full()
    with timelog.open(tmp_path / "log", flush_interval=3600, storage=storage) as log:
        storage.is_full = True
        log.append("a", timestamp=T)
        pauses = [log._store._flush_in_background() for _ in range(2)]
        assert pauses[0] is not None and pauses[1] is not None and pauses[0] <= pauses[1]
        health = log.health()
        assert health.status == "critical" and "no memory left" in str(health)
        assert (health.errors, health.waiting) == (2, 1)
        storage.is_full = False
        assert log._store._flush_in_background() is None
        assert log.health().status == "healthy"
        assert [event.content for event in log.search()] == ["a"]


def test_a_call_that_fails_shows_in_health_until_one_succeeds(tmp_path: Path) -> None:
    storage = FaultyStorage()
    with timelog.open(tmp_path / "log", flush_interval=3600, storage=storage) as log:
        storage.arm("ENOSPC", only="write")
        with pytest.raises(StorageError):
            log.append("a", timestamp=T, sync=True)
        assert log.health().status == "critical"
        log.sync()
        assert log.health().status == "healthy"


def test_a_thread_that_ended_is_noticed(tmp_path: Path) -> None:
    with timelog.open(tmp_path / "log", flush_interval=3600) as log:
        log.append("a", timestamp=T)
        assert log.health().status == "healthy"
        log._store.timer.stop()
        assert "does not run" in str(log.health())


def test_health_is_told_whatever_the_disk_says(tmp_path: Path) -> None:
    path = tmp_path / "log"
    with timelog.open(path, flush_interval=3600) as log:
        log.append("a", timestamp=T, sync=True)
        planted = journal(path).with_name("0000000002.journal")
        planted.write_bytes(b"garbage")
        health = log.health()
        assert health.status == "critical" and health.events == 1
        planted.unlink()
        assert log.health().status == "healthy"


def test_what_killed_processes_left_in_tmp_goes_when_the_log_is_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "log"
    monkeypatch.setattr(rotate, "MOST_COMMITS", 2)
    storage = FaultyStorage()
    log = timelog.open(path, flush_interval=3600, storage=storage)
    log.append("a", timestamp=T, sync=True)
    storage.arm("kill", only="rename")
    with pytest.raises(Killed):
        for number in range(3):
            log.append(f"{number}", timestamp=T, sync=True)
    abandon(log)
    left = path / ".timelog" / "tmp"
    assert os.listdir(left)
    (left / "text").write_bytes(b"somebody builds the text index")
    (left / "scrub").write_bytes(b"somebody scrubs")
    monkeypatch.setattr(rotate, "MOST_COMMITS", 4096)
    with timelog.open(path, flush_interval=3600):
        assert sorted(os.listdir(left)) == ["scrub", "text"]


# -- smaller things -----------------------------------------------------------------------


def test_a_log_of_cursors_only_is_not_made_anew_where_its_format_is_lost(tmp_path: Path) -> None:
    path = tmp_path / "log"
    with timelog.open(path, flush_interval=3600) as log:
        log.append_many([], cursor=("place", 7), sync=True)
    kept = (path / ".timelog" / "format").read_bytes()
    (path / ".timelog" / "format").unlink()
    with pytest.raises(DamagedError, match="format is gone"):
        timelog.open(path)
    (path / ".timelog" / "format").write_bytes(kept)
    with timelog.open(path) as log:
        assert log.cursor("place") == 7


def test_what_a_repair_cuts_is_gone_for_good(tmp_path: Path) -> None:
    path = tmp_path / "log"
    storage = FaultyStorage()
    log = timelog.open(path, flush_interval=3600, storage=storage)
    log.append("a", timestamp=T, sync=True)
    storage.arm("torn", only="write")
    log.append("b", timestamp=T)
    log.append("c", timestamp=T + 3600)
    with pytest.raises(Killed):
        log.flush()
    abandon(log)

    class Cuts(Names):
        def truncate(self, path: Path, length: int) -> None:
            self.synced.append("cut")
            super().truncate(path, length)

        def unlink(self, path: Path) -> None:
            self.synced.append("removed") if path.suffix == ".jsonl" else None
            super().unlink(path)

        def sync(self, fd: int) -> None:
            self.synced.append(Path(os.readlink(f"/proc/self/fd/{fd}")).name)
            super().sync(fd)

    watched = Cuts()
    (segment,) = segments(path)
    with timelog.open(path, flush_interval=3600, storage=watched):
        pass
    at = watched.synced.index("cut")
    assert watched.synced[at + 1] == segment.name
    assert contents(path) == ["a"]


def test_a_device_that_takes_nothing_is_an_error_and_no_endless_loop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage = Storage()
    fd = storage.create(tmp_path / "file")
    monkeypatch.setattr(os, "writev", lambda fd, parts: 0)
    monkeypatch.setattr(os, "pwrite", lambda fd, data, offset: 0)
    with pytest.raises(OSError, match="takes no bytes"):
        storage.write(fd, b"x")
    with pytest.raises(OSError, match="takes no bytes"):
        storage.overwrite(fd, b"x", 0)
    os.close(fd)


def test_a_descriptor_that_cannot_be_looked_at_is_closed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_bytes(b"")
    before = len(os.listdir("/proc/self/fd"))

    def fails(fd: int) -> os.stat_result:
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fstat", fails)
        with pytest.raises(OSError, match="Input/output"):
            Storage().open_append(tmp_path / "file")
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_directory_that_is_exchanged_while_it_is_open_is_not_written_to(tmp_path: Path) -> None:
    path, other = tmp_path / "log", tmp_path / "other"
    for place in (path, other):
        with timelog.open(place, flush_interval=3600) as log:
            for number in range(70):
                log.append(f"{place.name} {number}", timestamp=T, sync=True)
    log = timelog.open(path, flush_interval=3600)
    before = contents(other)
    path.rename(tmp_path / "away")
    other.rename(path)
    with pytest.raises(DamagedError, match="another log"):
        log.append("x", timestamp=T, sync=True)
    assert contents(path) == before
    path.rename(other)
    (tmp_path / "away").rename(path)
    log.append("y", timestamp=T, sync=True)
    log.close()
    assert contents(path)[-2:] == ["x", "y"]

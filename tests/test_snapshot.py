"""Snapshots: consistent while everything goes on, whole or not at all, and never changed again."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

import timelog
from tests.clocked import MIDNIGHT, Clocked
from tests.rig import FaultyStorage, Killed, abandon, contents
from timelog import errors, manifest, names, rotate, shelf
from timelog.lock import FileLock
from timelog.storage import Storage
from timelog.timestamp import MINUTE, SECOND

Open = Callable[..., timelog.EventLog]
T = MIDNIGHT / SECOND - 5 * 86_400


class Apart(Clocked):
    """A storage of two file systems: nothing is linked from the log to the outside."""

    def __init__(self, log: Path) -> None:
        super().__init__()
        self._log = f"{log}/"

    def link(self, source: Path | str, target: Path | str) -> None:
        if str(source).startswith(self._log):
            raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))
        super().link(source, target)


@pytest.fixture
def clock() -> Clocked:
    return Clocked()


@pytest.fixture
def dest(tmp_path: Path) -> Path:
    return tmp_path / "snapshots"


def fill(log: timelog.EventLog, days: int = 3, minutes: int = 4) -> None:
    """Some events in some minutes of some days, committed one minute at a time."""
    for day in range(days):
        for minute in range(minutes):
            log.append_many(
                {"content": f"{day} {minute} {n}", "timestamp": T + day * 86_400 + minute * 60 + n}
                for n in range(5)
            )
            log.flush()
    log.sync()


def seal(log: timelog.EventLog, clock: Clocked) -> None:
    """Let what is there take no more blocks."""
    clock.pass_by(3 * MINUTE)
    log.append("seals", timestamp=T, sync=True)


def tree(path: Path | str) -> dict[str, bytes]:
    """The bytes of every file of a directory."""
    top = Path(path)
    return {
        str(each.relative_to(top)): each.read_bytes() for each in top.rglob("*") if each.is_file()
    }


def found(path: Path | str) -> list[tuple[object, ...]]:
    """All events of a log that is not changed by looking."""
    before = tree(path)
    with timelog.open(path, mode="r") as log:
        report = log.verify(deep=True)
        assert report.ok and not report.foreign, str(report)
        events = [(each.timestamp, each.id, each.content) for each in log.search()]
    assert tree(path) == before
    return events


def names_in(dest: Path) -> list[str]:
    return sorted(each.name for each in dest.iterdir() if each.name != names.SNAPSHOT_LOCK)


# -- what is in it --------------------------------------------------------------------------


def test_a_snapshot_is_the_log_at_its_position(open_log: Open, dest: Path, clock: Clocked) -> None:
    log = open_log(storage=clock)
    fill(log)
    log.append_many([{"content": "with cursor", "timestamp": T}], cursor=("place", 7))
    made = log.snapshot(dest)
    assert made.ok and made.kind == "periodic" and made.position == log.position == 61
    log.append("later", timestamp=T, sync=True)
    expected = [(each.timestamp, each.id, each.content) for each in log.search(as_of=61)]
    assert found(made.path) == expected
    with timelog.open(made.path, mode="r") as copy:
        assert copy.position == 61 and copy.cursor("place") == 7
        assert copy.search(as_of=30).count() == 30
        assert copy.audit().ok and copy.status().health.events == 61
    assert Path(made.path).name == names.snapshot(made.time, "periodic")
    assert names_in(dest) == [Path(made.path).name]


def test_what_no_longer_changes_is_linked_and_the_rest_is_copied(
    open_log: Open, dest: Path, clock: Clocked
) -> None:
    log = open_log(storage=clock)
    fill(log)
    seal(log, clock)
    log.append("open", timestamp=T + 30 * 60, sync=True)
    made = log.snapshot(dest)
    linked = {file.name for file in Path(made.path).rglob("*.jsonl") if file.stat().st_nlink > 1}
    assert len(linked) == 12
    written = sum(
        file.stat().st_size
        for file in Path(made.path).rglob("*")
        if file.is_file() and file.stat().st_nlink == 1 and file.name != names.MANIFEST
    )
    assert made.new == written < made.bytes


def test_nothing_that_happens_to_the_log_changes_it(
    open_log: Open, dest: Path, clock: Clocked, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rotate, "MOST_COMMITS", 3)
    log = open_log(storage=clock)
    fill(log)
    seal(log, clock)
    ids = [each.id for each in log]
    made = log.snapshot(dest)
    before, events = tree(made.path), found(made.path)
    fill(log)
    log.delete(ids[3], erase=True)
    log.compact()
    log.expire(partitions=1)
    log.append_many({"content": "again", "timestamp": T + 2 * 86_400 + n} for n in range(9))
    log.compact(archive=True)
    log.close()
    timelog.repair(log.path)
    assert tree(made.path) == before
    assert found(made.path) == events


def test_a_snapshot_after_compaction_archives_expiry_and_deletion(
    open_log: Open, dest: Path, clock: Clocked
) -> None:
    log = open_log(storage=clock)
    fill(log, days=4)
    ids = [each.id for each in log]
    log.delete(ids[-1])
    log.delete(ids[-2], erase=True)
    log.compact(archive=True, older_than="3 days")
    log.expire(partitions=3)
    made = log.snapshot(dest)
    assert found(made.path) == [(each.timestamp, each.id, each.content) for each in log.search()]
    again = log.snapshot(dest)
    assert again.new < made.new
    archives = list(Path(again.path).rglob("*.zst"))
    assert archives and all(file.stat().st_nlink > 1 for file in archives)
    with timelog.open(made.path, mode="r") as copy:
        assert [each.digest for each in copy.deletions()] == [
            each.digest for each in log.deletions()
        ]


def test_a_log_that_is_only_read_can_be_taken(open_log: Open, dest: Path, clock: Clocked) -> None:
    log = open_log(storage=clock)
    fill(log)
    before = tree(log.path)
    made = open_log(mode="r").snapshot(dest)
    assert len(found(made.path)) == 60
    assert tree(log.path) == before


def test_what_is_not_durable_yet_is_copied(open_log: Open, dest: Path, clock: Clocked) -> None:
    """A power cut could take it back, and other bytes would come to the same files."""
    log = open_log(storage=clock, sync="off")
    fill(log)
    clock.pass_by(3 * MINUTE)
    log.append("seals", timestamp=T)
    log.flush()
    made = open_log(mode="r").snapshot(dest)
    assert made.new == made.bytes - (log.path / manifest.PLAIN[0]).stat().st_size
    assert len(found(made.path)) == 61
    # Who may write makes it durable first.
    assert log.snapshot(dest).new < made.new


def test_commits_that_others_did_not_sync_are_left_out(
    open_log: Open, dest: Path, clock: Clocked, monkeypatch: pytest.MonkeyPatch
) -> None:
    log, other = open_log(storage=clock), open_log(storage=clock, sync="off")
    fill(log)
    seal(log, clock)
    taker = log._store.snapshots
    sync = taker._sync

    def sync_and_go_on() -> None:
        sync()
        other.append("not synced", timestamp=T)
        other.flush()

    monkeypatch.setattr(taker, "_sync", sync_and_go_on)
    made = log.snapshot(dest)
    assert made.position == 61 and log.position == 62
    assert len(found(made.path)) == 61
    assert sum(file.stat().st_nlink > 1 for file in Path(made.path).rglob("*.jsonl")) == 12


def test_an_empty_log(open_log: Open, dest: Path) -> None:
    log = open_log()
    assert not log.is_snapshot_due(dest)
    made = log.snapshot(dest)
    assert made.position == 0 and found(made.path) == []


def test_bytes_behind_what_is_committed_are_not_taken(open_log: Open, dest: Path) -> None:
    log = open_log()
    fill(log, 1, 1)
    segment = next(log.path.glob("2*/*"))
    with segment.open("ab") as file:
        file.write(b"torn")
    made = log.snapshot(dest)
    assert len(found(made.path)) == 5


def test_a_snapshot_is_never_written_to(open_log: Open, dest: Path) -> None:
    log = open_log()
    fill(log, 1, 1)
    made = log.snapshot(dest)
    with pytest.raises(errors.ReadOnlyError, match="is a snapshot"):
        timelog.open(made.path)
    with pytest.raises(errors.ReadOnlyError, match="is a snapshot"):
        timelog.repair(made.path)


# -- while everything goes on -----------------------------------------------------------------


_WRITER = """
import sys, timelog
log = timelog.open(sys.argv[1], flush_interval=0.005)
n = 0
while not sys.stdin.closed and n < 20_000:
    log.append(f"process {n}", timestamp=float(sys.argv[2]) + n % 500 * 60)
    n += 1
    if n % 50 == 0:
        log.flush()
        print(n, flush=True)
log.close()
"""


def test_it_is_consistent_while_threads_and_processes_write_and_compact(
    open_log: Open, dest: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rotate, "MOST_COMMITS", 7)
    log = open_log(flush_interval=0.005)
    fill(log)
    done = threading.Event()
    failed: list[BaseException] = []

    def write(number: int) -> None:
        try:
            n = 0
            while not done.is_set():
                log.append(f"thread {number} {n}", timestamp=T + n % 900 * 90)
                n += 1
                if n % 40 == 0:
                    log.flush()
        except BaseException as error:
            failed.append(error)

    def compact() -> None:
        try:
            while not done.is_set():
                log.compact()
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=write, args=(n,)) for n in range(2)]
    threads.append(threading.Thread(target=compact))
    child = subprocess.Popen(
        [sys.executable, "-c", _WRITER, str(log.path), str(T)], stdout=subprocess.PIPE
    )
    assert child.stdout is not None
    child.stdout.readline()
    for thread in threads:
        thread.start()
    try:
        made = []
        for number in range(6):
            mine = f"mine {number}"
            log.append(mine, timestamp=T)
            made.append((mine, log.snapshot(dest)))
    finally:
        done.set()
        for thread in threads:
            thread.join()
        child.kill()
        child.communicate()
    assert not failed
    for mine, each in made:
        events = found(each.path)
        assert mine in {content for _, _, content in events}
        expected = log.search(as_of=each.position)
        assert sorted(events) == sorted((e.timestamp, e.id, e.content) for e in expected)


class Interfering(Clocked):
    """Lets something happen to the log before a link or a look at a segment, once."""

    def __init__(self) -> None:
        super().__init__()
        self.act: Callable[[], None] | None = None
        self.times = 1

    def link(self, source: Path | str, target: Path | str) -> None:
        if self.act is not None and self.times and "snapshots" not in str(source):
            self.times -= 1
            self.act()
        super().link(source, target)


@pytest.mark.parametrize("what", ["compact", "expire", "checkpoint"])
@pytest.mark.parametrize("times", [1, 3])
def test_files_that_go_underneath_make_it_begin_again(
    open_log: Open, dest: Path, what: str, times: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage = Interfering()
    log = open_log(storage=storage)
    fill(log, days=6)
    seal(log, storage)
    # So that there are index files, which a checkpoint replaces.
    log.close()
    log = open_log(storage=storage)
    monkeypatch.setattr(rotate, "MOST_COMMITS", 1)
    other = open_log(storage=Clocked(storage.now))
    kept = iter((5, 4, 3))

    def act() -> None:
        if what == "compact":
            other.compact()
            fill(other, days=6)
        elif what == "expire":
            other.expire(partitions=next(kept))
        else:
            fill(other, days=6)

    storage.act, storage.times = act, times
    made = log.snapshot(dest)
    storage.act = None
    assert made.ok and not made.damage
    expected = [(e.timestamp, e.id, e.content) for e in log.search(as_of=made.position)]
    assert sorted(found(made.path)) == sorted(expected)


def test_it_gives_up_where_files_go_again_and_again(open_log: Open, dest: Path) -> None:
    storage = Interfering()
    log = open_log(storage=storage)
    fill(log, days=4)
    seal(log, storage)
    other = open_log(storage=Clocked(storage.now))

    def act() -> None:
        # Each time under other names.
        fill(other, days=4)
        other.compact()

    storage.act, storage.times = act, 1000
    with pytest.raises(errors.StorageError, match="went faster than they could be copied"):
        log.snapshot(dest)
    assert names_in(dest) == []


# -- damage ---------------------------------------------------------------------------------


def test_what_is_damaged_in_the_log_is_taken_and_named(
    open_log: Open, dest: Path, tmp_path: Path
) -> None:
    log = open_log(storage=(clock := Clocked()))
    fill(log, 1, 4)
    seal(log, clock)
    log.close()
    missing, short, changed = sorted(log.path.glob("2*/*"))[1:4]
    missing.unlink()
    short.write_bytes(short.read_bytes()[:-9])
    changed.write_bytes(changed.read_bytes().replace(b"0", b"1", 1))
    log = open_log(storage=clock)
    # Somebody meets it.
    assert len(list(log)) == 6
    made = log.snapshot(dest)
    damaged = [f"{each.parent.name}/{each.name}" for each in (missing, short, changed)]
    assert list(made.damage) == damaged and made.ok
    assert f"damaged in the log, and in the snapshot: {damaged[0]}" in str(made)
    with timelog.open(made.path, mode="r") as copy:
        assert {each.file for each in copy.verify().damage} == set(damaged)
    restored = timelog.restore_snapshot(made.path, tmp_path / "new")
    assert restored.damage == made.damage


def test_damage_that_is_met_while_copying_is_named(path: Path, open_log: Open, dest: Path) -> None:
    log = open_log(storage=Apart(path))
    fill(log, 1, 2)
    segment = sorted(path.glob("2*/*"))[0]
    segment.write_bytes(segment.read_bytes().replace(b"0", b"1", 1))
    made = log.snapshot(dest)
    assert made.damage == (f"{segment.parent.name}/{segment.name}",)
    # It is not spread from there.
    assert log.snapshot(dest).damage == made.damage


def test_a_damaged_index_is_refused(open_log: Open, dest: Path) -> None:
    log = open_log()
    fill(log)
    with log._store.index.lock:
        rotate.write_checkpoint(log._store.layout, log._store.storage, log._store.index)
    index = next((log.path / ".timelog" / "index").glob("*.index"))
    index.write_bytes(b"x")
    with pytest.raises(errors.DamagedError, match="repair"):
        log.snapshot(dest)
    assert names_in(dest) == []


# -- where it goes ----------------------------------------------------------------------------


def test_a_destination_in_the_log_or_around_it_is_refused(
    path: Path, open_log: Open, dest: Path, tmp_path: Path
) -> None:
    log = open_log()
    fill(log, 1, 1)
    made = log.snapshot(dest)
    (tmp_path / "file").write_text("x")
    (tmp_path / "into").symlink_to(path / ".timelog")
    (tmp_path / "around").symlink_to(tmp_path)
    before = tree(tmp_path)
    for place, why in (
        (path, "inside the log"),
        (path / "snapshots", "inside the log"),
        (path / "2026-01-01" / "deep", "inside the log"),
        (path / ".timelog" / "tmp", "inside the log"),
        (tmp_path / "into" / "x", "inside the log"),
        (path / ".." / "log" / "x", "inside the log"),
        (Path(made.path), "inside the log or snapshot"),
        (Path(made.path) / "x", "inside the log or snapshot"),
        (tmp_path, "the log .* is inside"),
        (tmp_path / "around", "the log .* is inside"),
        (Path("/"), "the log .* is inside"),
        (tmp_path / "file", "is a file"),
        (Path("nul\0"), "is no path"),
        ("", "must be the path"),
    ):
        with pytest.raises(errors.InvalidInput, match=why):
            log.snapshot(place)
        with pytest.raises(errors.InvalidInput, match=why):
            log.prune_snapshots(place)
    with pytest.raises(errors.InvalidInput, match="periodic"):
        log.snapshot(dest, kind="daily")
    assert tree(tmp_path) == before


def test_snapshots_of_another_log_are_refused(open_log: Open, dest: Path, tmp_path: Path) -> None:
    log, other = open_log(), open_log(tmp_path / "other")
    made = log.snapshot(dest)
    for call in (other.snapshot, other.snapshots, other.prune_snapshots, other.is_snapshot_due):
        with pytest.raises(errors.InvalidInput, match="of another log"):
            call(dest)
    assert names_in(dest) == [Path(made.path).name]


def test_two_of_one_position_get_names_of_their_own(open_log: Open, dest: Path) -> None:
    log = open_log()
    log.append("one", timestamp=T, sync=True)
    made = [log.snapshot(dest, kind=kind) for kind in ("periodic", "periodic", "safety")]
    assert len({each.path for each in made}) == 3
    assert [each.path for each in made] == sorted(each.path for each in made)
    assert [each.time for each in log.snapshots(dest)] == [made[0].time] * 3


def test_who_takes_one_waits_for_another(open_log: Open, dest: Path) -> None:
    log = open_log(lock_timeout=0.01)
    dest.mkdir()
    held = FileLock(Storage(), dest / names.SNAPSHOT_LOCK, 0).held()
    with held, pytest.raises(errors.LockTimeout, match="takes a snapshot"):
        log.snapshot(dest)
    log.snapshot(dest)


def test_a_child_takes_its_own_while_the_parent_takes_one(
    open_log: Open, dest: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = open_log()
    fill(log, 1, 1)
    taker = log._store.snapshots
    children: list[int] = []
    fill_one = taker._fill

    def fork_first(*args: object) -> object:
        if not children:
            pid = os.fork()
            if pid == 0:
                # The parent's lock is not the child's, and must not be kept from the parent.
                signal.pause()
            children.append(pid)
        return fill_one(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(taker, "_fill", fork_first)
    thread = threading.Thread(target=log.snapshot, args=(dest,))
    thread.start()
    thread.join()
    assert log.snapshot(dest).ok
    os.kill(children[0], signal.SIGKILL)
    os.waitpid(children[0], 0)
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            log.append("of the child", timestamp=T)
            code = 0 if len(log.snapshots(dest)) == 2 and log.snapshot(dest).position == 6 else 2
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert len(log.snapshots(dest)) == 3


def test_where_nothing_is_linked_a_second_one_costs_what_is_new(
    path: Path, open_log: Open, dest: Path
) -> None:
    storage = Apart(path)
    log = open_log(storage=storage)
    fill(log)
    seal(log, storage)
    first = log.snapshot(dest)
    assert first.new == first.bytes
    log.append("one more", timestamp=T, sync=True)
    second = log.snapshot(dest)
    segments = list(Path(second.path).rglob("*.jsonl"))
    assert [file.stat().st_nlink for file in segments].count(1) == 1
    assert second.new < first.new
    third = log.snapshot(dest)
    assert all(file.stat().st_nlink > 1 for file in Path(third.path).rglob("*.jsonl"))
    before = tree(third.path)
    # The ones before may go.
    for each in (first, second):
        shelf.discard(Storage(), Path(each.path))
    assert tree(third.path) == before and len(found(third.path)) == 62


def test_a_broken_newest_one_stops_nothing(path: Path, open_log: Open, dest: Path) -> None:
    log = open_log(storage=Apart(path))
    fill(log)
    good = log.snapshot(dest)
    for damage in ("manifest", "short", "missing"):
        log.append("more", timestamp=T, sync=True)
        broken = Path(log.snapshot(dest).path)
        segment = next(broken.rglob("*.jsonl"))
        if damage == "manifest":
            (broken / manifest.NAME).write_bytes(b"{}")
        elif damage == "short":
            # Not in place: other snapshots share the file.
            data = segment.read_bytes()
            segment.unlink()
            segment.write_bytes(data[:-1])
        else:
            segment.unlink()
    states = log.snapshots(dest)
    assert [each.ok for each in states] == [True, False, False, False]
    assert "manifest is damaged" in states[1].problem
    assert "is shorter than" in states[2].problem and "is missing" in states[3].problem
    assert log._store.snapshots.latest(dest) == shelf.summary(
        Path(good.path), shelf.read_manifest(Storage(), Path(good.path))
    )
    made = log.snapshot(dest)
    assert made.ok and log.snapshots(dest)[-1].ok and len(found(made.path)) == 63


# -- faults -----------------------------------------------------------------------------------


class _Run:
    """A log of some days, a snapshot, more events, and then what a fault happens to."""

    def __init__(self, base: Path) -> None:
        self.path, self.dest = base / "log", base / "snapshots"
        with timelog.open(self.path, flush_interval=3600.0) as log:
            fill(log, 2, 2)
            self.first = log.snapshot(self.dest)
            log.append("more", timestamp=T, sync=True)
        self.before = tree(self.first.path)

    def open(self, storage: FaultyStorage) -> timelog.EventLog:
        """The log with an event in memory; what follows is counted from here."""
        log = timelog.open(self.path, flush_interval=3600.0, storage=storage)
        log.append("mine", timestamp=T)
        storage.calls.clear()
        return log

    def check(self) -> None:
        """The log is whole, and so are at most two snapshots, with nothing beside them."""
        assert tree(self.first.path) == self.before
        kept = contents(self.path)
        assert len(kept) == len(set(kept)) and {"more", "0 1 4"} <= set(kept)
        with timelog.open(self.path, flush_interval=3600.0) as log:
            states = log.snapshots(self.dest)
            assert all(each.ok for each in states) and 1 <= len(states) <= 2
            assert [len(found(each.path)) for each in states] in ([20], [20, 22])
            made = log.snapshot(self.dest)
            assert names_in(self.dest) == sorted(Path(each.path).name for each in [*states, made])


def calls(ram: Path) -> int:
    storage = FaultyStorage()
    run = _Run(ram / "counted")
    with run.open(storage) as log:
        log.snapshot(run.dest)
        return len(storage.calls)


@pytest.mark.parametrize("fault", ["kill", "torn"])
def test_killed_at_every_disk_call(ram: Path, fault: str) -> None:
    total = calls(ram)
    assert total > 40
    for at in range(1, total + 1):
        run = _Run(ram / str(at))
        storage = FaultyStorage(0, fault)
        log = run.open(storage)
        storage.at = at
        try:
            with pytest.raises(Killed):
                log.snapshot(run.dest)
        finally:
            abandon(log)
        run.check()


@pytest.mark.parametrize("fault", ["ENOSPC", "EIO"])
@pytest.mark.parametrize("sticky", [False, True], ids=["once", "sticky"])
def test_an_error_at_every_disk_call_leaves_nothing_behind(
    ram: Path, fault: str, sticky: bool
) -> None:
    for at in range(1, calls(ram) + 1):
        run = _Run(ram / str(at))
        storage = FaultyStorage(0, fault, sticky=sticky)
        log = run.open(storage)
        storage.at = at
        words = "the disk is full" if fault == "ENOSPC" else "input/output"
        try:
            log.snapshot(run.dest)
            # Nothing but making room may fail unheard.
            assert storage.calls[at - 1] in ("unlink", "remove_directory"), storage.calls[at - 1]
        except errors.StorageError as error:
            assert words in str(error)
            if not sticky and storage.calls[at - 1] not in ("unlink", "remove_directory"):
                assert names_in(run.dest) == [Path(run.first.path).name]
        storage.heal()
        if log._store.flusher.committer.degraded is not None:
            log.reopen()
        log.close()
        run.check()


def test_no_descriptor_is_left_open_by_faults(ram: Path) -> None:
    run = _Run(ram)
    before = len(os.listdir("/proc/self/fd"))
    for at in range(1, 60, 4):
        storage = FaultyStorage(0, "ENOSPC")
        with run.open(storage) as log:
            storage.at = at
            try:
                log.snapshot(run.dest)
            except errors.StorageError:
                pass
            storage.heal()
    assert len(os.listdir("/proc/self/fd")) == before


def test_only_what_is_its_own_is_swept(open_log: Open, dest: Path) -> None:
    log = open_log()
    ours = dest / names.partial("0123456789ab")
    (ours / ".timelog" / "index").mkdir(parents=True)
    (ours / ".timelog" / "index" / "root").write_text("x")
    (ours / "2026-01-01").mkdir()
    (ours / "2026-01-01" / "20260101T0000Z-20260101T0001Z.jsonl").write_text("x")
    kept = [dest / ".partial-notes", dest / "2026-01-01", dest / names.partial("0123456789ac")]
    for each in kept:
        each.mkdir()
        (each / "notes.txt").write_text("mine")
    made = log.snapshot(dest)
    assert names_in(dest) == sorted([Path(made.path).name, *(each.name for each in kept)])
    assert all((each / "notes.txt").read_text() == "mine" for each in kept)


# -- who has deleted events -------------------------------------------------------------------


def test_a_deletion_names_the_snapshots_that_have_the_event(
    open_log: Open, dest: Path, tmp_path: Path
) -> None:
    log = open_log()
    first = log.append("first", timestamp=T, sync=True)
    one = log.snapshot(dest)
    second = log.append("second", timestamp=T, sync=True)
    two = log.snapshot(tmp_path / "else where ü")
    third = log.append("third", timestamp=T, sync=True)
    assert log.delete(third).snapshots == ()
    assert log.delete(second).snapshots == (two.path,)
    assert log.delete(first, erase=True).snapshots == (one.path, two.path)
    # What is gone is not named, and is dropped when something is entered.
    shelf.discard(Storage(), Path(one.path))
    fourth = log.append("fourth", timestamp=T, sync=True)
    three = log.snapshot(dest)
    assert log.delete(fourth).snapshots == (three.path,)
    assert one.path not in (log.path / ".timelog" / "state" / "snapshots").read_text()


def test_a_snapshot_that_is_just_being_made_is_named(open_log: Open, dest: Path) -> None:
    storage = Interfering()
    log = open_log(storage=storage)
    fill(log, 1, 2)
    seal(log, storage)
    other = open_log(storage=Clocked(storage.now))
    id = next(iter(other)).id
    named: list[tuple[str, ...]] = []
    storage.act = lambda: named.append(other.delete(id).snapshots)
    log.snapshot(dest)
    assert len(named) == 1 and Path(named[0][0]).parent == dest


def test_snapshots_that_were_moved_are_known_again(open_log: Open, dest: Path) -> None:
    log = open_log()
    id = log.append("first", timestamp=T, sync=True)
    moved = dest.with_name("moved")
    name = Path(log.snapshot(dest).path).name
    dest.rename(moved)
    second = log.snapshot(moved)
    assert log.delete(id).snapshots == (second.path, str(moved / name))


def test_a_damaged_list_of_snapshots_is_told_and_begun_anew(
    open_log: Open, dest: Path, caplog: pytest.LogCaptureFixture
) -> None:
    log = open_log()
    ids = [log.append("text", timestamp=T, sync=True) for _ in range(2)]
    made = log.snapshot(dest)
    (log.path / ".timelog" / "state" / "snapshots").write_text("[")
    with pytest.raises(errors.DamagedError, match="snapshots"):
        log.delete(ids[0])
    again = log.snapshot(dest)
    assert "begun anew" in caplog.text
    assert set(log.delete(ids[1]).snapshots) == {made.path, again.path}

"""`Watcher`: one look at a time, at files to which everything happens."""

from __future__ import annotations

import bz2
import errno
import gzip
import lzma
import os
import shutil
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import timelog
from tests.rig import abandon
from timelog.errors import BufferFull, DegradedError, InvalidInput, StorageError
from timelog.ingest import Watcher
from timelog.ingest.feed import Feed, Stopped
from timelog.ingest.lines import Tally
from timelog.ingest.place import dates_of, family_of, is_part, is_run, may_be_copy
from timelog.ingest.places import MOST, Places
from timelog.ingest.waiting import Waiter

Open = Callable[..., timelog.EventLog]
MIB = 1024 * 1024


class Looking:
    """A watched directory, and a watcher that looks when it is told."""

    def __init__(self, open_log: Open, tmp_path: Path) -> None:
        self.dir = tmp_path / "watched"
        self.dir.mkdir()
        self._open_log = open_log
        self.log = open_log()
        self.now = 0.0
        self._options: dict[str, object] = {}
        self.watcher: Watcher | None = None

    def use(self, *paths: Path, **options: object) -> Looking:
        self._options = options
        self._paths = paths or (self.dir,)
        self.begin()
        return self

    def begin(self) -> None:
        self.watcher = Watcher(
            self.log,
            *self._paths,
            monotonic=lambda: self.now,
            **{"timestamps": "none", **self._options},  # type: ignore[arg-type]
        )

    def again(self) -> None:
        """End it, and begin anew with what the log has."""
        self.close()
        self.begin()

    def kill(self) -> None:
        """As `again`, but what was not flushed is gone."""
        self.close()
        abandon(self.log)
        self.log = self._open_log()
        self.begin()

    def close(self) -> None:
        if self.watcher is not None:
            self.watcher.close()

    def look(self, later: float = 0.0) -> list[str]:
        """What came by looking once, in order of arrival."""
        assert self.watcher is not None
        self.now += later
        before = len(self.contents())
        self.watcher.read()
        return self.contents()[before:]

    def contents(self) -> list[str]:
        # Without times in lines, events are found in order of arrival.
        return [event.content for event in self.log.search()]

    def write(self, name: str, data: str | bytes) -> Path:
        with open(self.dir / name, "ab") as file:
            file.write(data.encode() if isinstance(data, str) else data)
        return self.dir / name


@pytest.fixture
def looking(open_log: Open, tmp_path: Path) -> Iterator[Looking]:
    made = Looking(open_log, tmp_path)
    yield made
    made.close()


def test_a_file_is_read_as_it_grows(looking: Looking) -> None:
    looking.use()
    assert looking.look() == []
    looking.write("a.log", "one\ntwo\nth")
    assert looking.look() == ["one", "two"]
    looking.write("a.log", "r")
    assert looking.look() == []
    looking.write("a.log", "ee\n\n")
    assert looking.look() == ["three", ""]
    (event,) = looking.log.search(pattern="three")
    assert event.source == "a.log"


def test_half_a_character_waits_for_the_other_half(looking: Looking) -> None:
    looking.use()
    looking.write("a", "€".encode()[:2])
    assert looking.look() == []
    looking.write("a", "€\n".encode()[2:])
    assert looking.look() == ["€"]


def test_where_it_was_is_known_after_the_end_and_after_a_kill(looking: Looking) -> None:
    looking.use()
    looking.write("a", "one\n")
    assert looking.look() == ["one"]
    looking.again()
    assert looking.look() == []
    looking.log.flush()
    looking.write("a", "two\n")
    assert looking.look() == ["two"]
    looking.kill()
    assert looking.contents() == ["one"]  # what was not flushed is gone with its place
    assert looking.look() == ["two"]


def test_the_old_file_is_finished_before_the_new_one(looking: Looking) -> None:
    looking.use()
    looking.write("a.log", "1\n")
    looking.look()
    looking.write("a.log", "2\n")
    os.utime(looking.dir / "a.log", (1, 1))
    os.rename(looking.dir / "a.log", looking.dir / "a.log.1")
    looking.write("a.log", "3\n")
    assert looking.look() == ["2", "3"]
    looking.write("a.log.1", "late, by who still has it open\n")
    assert looking.look() == ["late, by who still has it open"]


def test_a_renamed_file_is_followed_under_a_name_that_nobody_asked_for(looking: Looking) -> None:
    looking.use(looking.dir / "a.log")
    looking.write("other", "not asked for\n")
    looking.write("a.log", "1\n")
    assert looking.look() == ["1"]
    looking.write("a.log", "2\n")
    os.rename(looking.dir / "a.log", looking.dir / "rotated")
    looking.write("a.log", "3\n")
    looking.again()
    assert sorted(looking.look()) == ["2", "3"]
    looking.write("rotated", "4\n")
    looking.again()
    assert looking.look() == ["4"]


def test_what_others_read_under_the_same_name_is_left_alone(looking: Looking) -> None:
    looking.use()
    looking.write("a.log", "1\n")
    looking.write("b.log", "2\n")
    looking.look()
    looking.close()
    looking.use(looking.dir / "a.log")
    looking.write("b.log", "not asked for\n")
    assert looking.look() == []
    looking.close()
    looking.use()
    assert looking.look() == ["not asked for"]


def test_the_last_line_of_a_rotated_file_needs_no_newline(looking: Looking) -> None:
    looking.use()
    looking.write("a.log", "1\nlast")
    looking.look()
    assert looking.look(later=100) == []
    os.rename(looking.dir / "a.log", looking.dir / "a.log.1")
    assert looking.look() == []
    assert looking.look(later=11) == ["last"]
    assert looking.look(later=11) == []
    looking.again()
    assert looking.look(later=11) == []


def test_what_is_left_of_a_deleted_file_is_read(looking: Looking) -> None:
    looking.use()
    looking.write("a", "1\n")
    looking.look()
    with open(looking.dir / "a", "a") as writer:
        os.unlink(looking.dir / "a")
        writer.write("2\n")
        writer.flush()
        assert looking.look() == ["2"]
        writer.write("3\nlast")
    assert looking.look() == ["3"]
    assert looking.look(later=11) == ["last"]
    assert looking.watcher is not None and looking.watcher.files == []


def test_truncated(looking: Looking) -> None:
    looking.use()
    looking.write("a", "1\n2\n")
    looking.look()
    os.truncate(looking.dir / "a", 0)
    looking.look()
    looking.write("a", "3\n")
    assert looking.look() == ["3"]
    # And where it has grown past the old place before anybody looked.
    os.truncate(looking.dir / "a", 0)
    looking.write("a", "4\n5\n6\n")
    assert looking.look() == ["4", "5", "6"]


@pytest.mark.parametrize("size", [1, 100, 5000])
def test_an_inode_that_another_file_got_has_no_old_place(looking: Looking, size: int) -> None:
    looking.use()
    looking.write("a", f"{'old' * size}\n" * 3)
    looking.look()
    looking.close()
    # The same inode, with other text up to and past the old place.
    (looking.dir / "a").write_text(f"{'new' * size}\n" * 4)
    looking.begin()
    assert looking.look() == ["new" * size] * 4


def test_a_file_shorter_than_what_is_hashed_keeps_its_identity_as_it_grows(
    looking: Looking,
) -> None:
    looking.use()
    for number in range(60):
        looking.write("a", f"{number} {'x' * 40}\n")
        looking.again()
        assert looking.look() == [f"{number} {'x' * 40}"]


def test_copied_and_truncated_with_the_copy_watched(looking: Looking) -> None:
    looking.use()
    looking.write("a.log", "1\n2\n")
    looking.look()
    looking.write("a.log", "3\n")
    shutil.copyfile(looking.dir / "a.log", looking.dir / "a.log.1")
    os.truncate(looking.dir / "a.log", 0)
    looking.write("a.log", "4\n")
    assert sorted(looking.look() + looking.look()) == ["3", "4"]
    looking.kill()
    assert sorted(looking.look() + looking.look()) == ["1", "2", "3", "4"]


def test_a_copy_of_what_stays_is_another_file_in_the_end(looking: Looking) -> None:
    looking.use()
    looking.write("a.log", "1\n")
    looking.look()
    shutil.copyfile(looking.dir / "a.log", looking.dir / "a.log.1")
    assert looking.look() == []
    assert looking.look(later=4) == []
    assert looking.look(later=2) == ["1"]


def test_files_that_begin_alike_are_all_read(looking: Looking) -> None:
    looking.use()
    for name in ("a.log", "b.log", "c-20261121.log", "c-20261122.log", "d.1.txt", "d.2.txt"):
        looking.write(name, "started\n")
        assert looking.look() == ["started"], name
    os.unlink(looking.dir / "c-20261122.log")
    looking.look(later=11)
    looking.write("c-20261123.log", "started\n")
    assert looking.look() == ["started"]


PACKERS = {"gz": gzip.compress, "xz": lzma.compress, "bz2": bz2.compress}


@pytest.mark.parametrize("packing", ["gz", "xz", "bz2", "zst"])
def test_compressed_files_are_read_once(looking: Looking, packing: str) -> None:
    if packing == "zst":
        zstandard = pytest.importorskip("zstandard")
        PACKERS["zst"] = zstandard.ZstdCompressor().compress
    looking.use()
    pack = PACKERS[packing]
    text = "".join(f"{number} {'x' * (number % 100)}\n" for number in range(20_000))
    # Two of them behind each other are one, as the tools have it.
    looking.write(f"old.{packing}", pack(text[:500_000].encode()) + pack(text[500_000:].encode()))
    assert "\n".join(looking.look()) + "\n" == text
    assert looking.look() == []
    looking.again()
    assert looking.look() == []
    os.rename(looking.dir / f"old.{packing}", looking.dir / f"old.1.{packing}")
    assert looking.look() == []

    looking.write("a.log", "1\n2\n")
    looking.look()
    looking.write("a.log", "3\nlast")
    looking.write(f"a.log.1.{packing}", pack((looking.dir / "a.log").read_bytes()))
    os.unlink(looking.dir / "a.log")
    looking.close()
    looking.begin()
    assert looking.look() == ["3", "last"]


def test_a_compressed_file_that_is_being_written(looking: Looking) -> None:
    looking.use()
    lines = [f"{number * number}" for number in range(50_000)]
    data = gzip.compress("\n".join(lines).encode())
    looking.write("a.gz", data[: len(data) // 2])
    first = looking.look()
    assert 0 < len(first) < len(lines)
    looking.write("a.gz", data[len(data) // 2 :])
    assert looking.look() == []
    assert first + looking.look(later=2) == lines


def test_a_compressed_file_that_stays_cut_off_is_told_once(
    looking: Looking, caplog: pytest.LogCaptureFixture
) -> None:
    looking.use()
    looking.write("a.gz", gzip.compress(b"1\n2\n" * 9)[:-9])
    looking.write("b.gz", "no gzip at all")
    looking.look()
    for _ in range(3):
        looking.look(later=11)
    assert [record.getMessage() for record in caplog.records] == [
        f"{looking.dir}/a.gz: its compressed data is cut off",
        f"{looking.dir}/b.gz: its compressed data is cut off",
    ]


def test_runs_that_are_renamed_when_they_are_complete(looking: Looking) -> None:
    looking.use(glob="*.txt")
    part = looking.write("pkgs.7.txt.part", "one\ntwo\nhalf")
    looking.write("plain.part", "not asked for\n")
    assert looking.look() == ["one", "two"]
    os.rename(part, looking.dir / "pkgs.7.txt")
    assert looking.look() == ["half"]
    looking.again()
    assert looking.look() == []
    assert {event.source for event in looking.log.search()} == {"pkgs.7.txt"}
    looking.write("a.b.txt", "a name without a number\n")
    assert looking.look() == ["a name without a number"]
    other = looking.write("../moved", "moved in\n")
    os.rename(other, looking.dir / "pkgs.8.txt")
    assert looking.look() == ["moved in"]


def test_what_becomes_of_files_is_stored_once(looking: Looking) -> None:
    looking.use(marks=True)
    part = looking.write("pkgs.7.txt.part", "one\nhalf")
    looking.write("pkgs.6.txt", "old\n")
    assert sorted(looking.look()) == ["old", "one", "pkgs.6.txt: file complete"]
    looking.log.flush()
    os.rename(part, looking.dir / "pkgs.7.txt")
    os.unlink(looking.dir / "pkgs.6.txt")
    assert looking.look() == ["half", "pkgs.7.txt: file complete"]
    looking.kill()
    assert looking.look() == ["pkgs.6.txt: file gone", "half", "pkgs.7.txt: file complete"]
    looking.again()
    assert looking.look(later=11) == []
    (event,) = looking.log.search(tags=["file-gone"])
    assert event.source == "pkgs.6.txt"


def test_what_is_no_file_is_told_once_and_never_opened(
    looking: Looking, caplog: pytest.LogCaptureFixture
) -> None:
    looking.use()
    os.mkfifo(looking.dir / "fifo")
    (looking.dir / "dir").mkdir()
    os.symlink("loop", looking.dir / "loop")
    os.symlink("nothing", looking.dir / "dangling")
    os.symlink(looking.dir / "good", looking.dir / "link")
    looking.write("good", "good\n")
    secret = looking.write("secret", "secret\n")
    secret.chmod(0)
    is_root = os.geteuid() == 0
    for _ in range(3):
        looking.look()
    assert looking.contents() == ["good", *(["secret"] if is_root else [])]
    told = {record.getMessage().rpartition("/")[2] for record in caplog.records}
    assert told == {
        "fifo: it is a FIFO, not a plain file",
        "dir: it is a directory, not a plain file",
        f"loop: {os.strerror(errno.ELOOP)}",
        "dangling: it is a link to nothing",
        *([] if is_root else [f"secret: {os.strerror(errno.EACCES)}"]),
    }
    assert len(caplog.records) == len(told)


def test_a_file_that_becomes_a_directory_and_comes_back(looking: Looking) -> None:
    looking.use(looking.dir / "a")
    looking.write("a", "1\n")
    looking.look()
    os.unlink(looking.dir / "a")
    (looking.dir / "a").mkdir()
    assert looking.look() == []
    (looking.dir / "a").rmdir()
    looking.write("a", "2\n")
    assert looking.look() == ["2"]


def test_directories_below(looking: Looking, caplog: pytest.LogCaptureFixture) -> None:
    looking.use(recursive=True, glob=["*.log", "deep/*.txt"])
    (looking.dir / "deep" / "er").mkdir(parents=True)
    os.symlink(looking.dir, looking.dir / "deep" / "loop.log")
    looking.write("a.log", "1\n")
    looking.write("a.txt", "no\n")
    looking.write(".hidden.log", "no\n")
    looking.write("deep/b.txt", "2\n")
    looking.write("deep/er/c.log", "3\n")
    assert sorted(looking.look()) == ["1", "2", "3"]


def test_the_log_is_not_read_into_itself(
    open_log: Open, path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    log = open_log()
    log.append("an event", sync=True)
    watcher = Watcher(log, path.parent, recursive=True)
    assert watcher.read() == 0
    assert "it is the log" in caplog.text
    watcher.close()


def test_a_line_over_the_limit_is_cut_in_bounded_memory(looking: Looking) -> None:
    looking.use()
    path = looking.write("a", "before\n")
    with open(path, "ab") as file:
        for _ in range(40):
            file.write(b"x" * MIB)
    looking.write("b", "short\n")
    tracemalloc.start()
    try:
        assert sorted(looking.look()) == ["before", "short"]
        assert tracemalloc.get_traced_memory()[1] < 12 * MIB
    finally:
        tracemalloc.stop()
    looking.write("a", "yz")
    assert looking.look() == []
    looking.write("a", "\nafter\n")
    cut, after = looking.look()
    assert cut.startswith("xxx") and cut.endswith(" bytes]") and len(cut) == MIB
    assert int(cut.rpartition("cut: ")[2].split()[0]) + cut.index(" [cut") == 40 * MIB + 2
    assert after == "after"
    assert looking.watcher is not None and looking.watcher.tally.cut == 1


def test_a_long_line_is_begun_again_by_the_next_process(looking: Looking) -> None:
    looking.use()
    looking.write("a", "x" * 700_000)
    assert looking.look() == []
    looking.again()
    looking.write("a", "y" * 10 + "\n")
    assert looking.look() == ["x" * 700_000 + "y" * 10]


def test_bytes_of_any_kind(looking: Looking) -> None:
    looking.use()
    looking.write("a", b"nul \x00\nlatin \xe9\nutf \xc3\xa9\n\x1b[2J\r\n")
    assert looking.look() == ["nul \x00", "latin \\xe9", "utf é", "\x1b[2J\r"]
    assert looking.watcher is not None and looking.watcher.tally.not_utf8 == 1


def test_a_name_of_any_bytes(looking: Looking) -> None:
    looking.use()
    looking.write(os.fsdecode(b"\xff\n.log"), "1\n")
    assert looking.look() == ["1"]
    looking.again()
    assert looking.look() == []
    assert looking.log.search().to_list()[0].source == "\\xff\n.log"


@pytest.mark.parametrize(
    "value", ["text", 7, [], [1], [1, 2, [["x"]]], [99, 0, []], {"a": 1}, [1, -1, [[1] * 17]]]
)
def test_a_cursor_of_anything_else_does_not_stop_it(
    looking: Looking, value: object, caplog: pytest.LogCaptureFixture
) -> None:
    looking.write("a", "1\n")
    looking.log.append_many([], cursor=("ingest/default/0", value))
    looking.use()
    assert looking.look() == ["1"]
    assert "ingest/default/0" in caplog.text
    looking.again()
    assert looking.look() == []


def test_thousands_of_files_with_few_descriptors_and_cursors(looking: Looking) -> None:
    looking.use()
    count = 400
    for number in range(count):
        looking.write(f"{number}.log", f"{number}\n")
    assert sorted(looking.look()) == sorted(map(str, range(count)))
    assert len(os.listdir("/proc/self/fd")) < 400
    for number in range(count):
        looking.write(f"{number}.log", f"more {number}\n")
    looking.again()
    assert len(looking.look()) == count
    for generation in range(2):
        for number in range(count):
            (looking.dir / f"{number}.log").unlink(missing_ok=True)
            (looking.dir / f"{generation}-{number}.txt").write_text(f"{generation} {number}\n")
        assert len(looking.look()) == count
        for number in range(count):
            (looking.dir / f"{generation}-{number}.txt").unlink()
        looking.look(later=11)
    shards = 0
    while looking.log.cursor(f"ingest/default/{shards}") is not None:
        shards += 1
    assert shards <= 3 * (count // MOST + 1)


def test_a_name_is_used_by_one_at_a_time(looking: Looking) -> None:
    looking.use()
    with pytest.raises(InvalidInput, match="'default' already"):
        Watcher(looking.log, looking.dir)
    Watcher(looking.log, looking.dir, name="other").close()
    looking.again()


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"multiline": "("}, "regular expression"),
        ({"timestamps": "%Q"}, "%Q"),
        ({"timestamps": {"*.log": "%H:%M"}}, "month and the day"),
        ({"year": 0}, "year"),
        ({"name": ""}, "name"),
        ({"poll": 0}, "poll"),
        ({"glob": ()}, "glob"),
        ({"zone": "Nowhere/At_all"}, "time zone"),
    ],
)
def test_what_cannot_be_used_is_refused_at_once(
    looking: Looking, options: dict[str, object], says: str
) -> None:
    for _ in range(2):  # nothing is left claimed
        with pytest.raises(InvalidInput, match=says):
            Watcher(looking.log, looking.dir, **options)  # type: ignore[arg-type]
    with pytest.raises(InvalidInput, match="at least one directory"):
        Watcher(looking.log)


def test_lines_that_have_expired_are_counted_and_the_others_stored(looking: Looking) -> None:
    looking.log.close()
    looking.log = timelog.open(looking.log.path, retention="30 days")
    looking.use(timestamps="iso", zone="UTC")
    now = looking.log.append("now")
    year = looking.log.get(now).timestamp.year
    looking.write("a", f"{year - 2}-01-01 00:00:00 old\nno time\n")
    looking.write("b", f"{looking.log.get(now).timestamp:%Y-%m-%d %H:%M:%S} new\n")
    looking.look()
    assert looking.watcher is not None
    assert looking.watcher.tally.refused == 2
    assert len(looking.contents()) == 2
    assert looking.look() == []
    looking.close()
    looking.log.close()


class Refusing:
    """A log that refuses what is asked of it a few times."""

    def __init__(self, errors: list[Exception], takes: bool) -> None:
        self._errors = errors
        self._takes = takes
        self.events: list[object] = []
        self.value: object = None
        self.reopened = 0

    def cursor(self, name: str) -> object:
        return self.value

    def append_many(self, events: Iterator[object], *, cursor: tuple[str, object]) -> None:
        error = self._errors.pop(0) if self._errors else None
        if error is None or self._takes:
            self.events += events
            self.value = cursor[1]
        if error is not None:
            raise error

    def flush(self) -> None:
        pass

    def reopen(self) -> None:
        self.reopened += 1


class Patient:
    """An event that is never set, and for which nobody waits."""

    def __init__(self, is_set: bool = False) -> None:
        self._is_set = is_set

    def wait(self, seconds: float) -> bool:
        return self._is_set

    def is_set(self) -> bool:
        return self._is_set


@pytest.mark.parametrize("takes", [False, True])
@pytest.mark.parametrize(
    "error", [BufferFull("full"), StorageError(errno.ENOSPC, "disk"), DegradedError(5, "broken")]
)
def test_a_log_that_refuses_is_waited_for(error: Exception, takes: bool) -> None:
    log = Refusing([error, error], takes)
    places = Places(log, "x")  # type: ignore[arg-type]
    feed = Feed(log, places, Tally(), Patient())  # type: ignore[arg-type]
    feed.add(places.new((1, 2)), [{"content": "one"}], 3)
    feed.store()
    assert log.events == [{"content": "one"}]
    assert bool(log.reopened) == (isinstance(error, DegradedError) and not takes)


def test_waiting_for_the_log_ends_when_it_is_to_stop() -> None:
    log = Refusing([BufferFull("full")], False)
    places = Places(log, "x")  # type: ignore[arg-type]
    feed = Feed(log, places, Tally(), Patient(True))  # type: ignore[arg-type]
    feed.add(places.new((1, 2)), [{"content": "one"}], 3)
    with pytest.raises(Stopped):
        feed.store()
    assert log.events == []


def test_a_lost_notification_is_made_good(
    looking: Looking, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is ever told, and still all is found by looking again now and then."""
    looking.use()
    watcher = looking.watcher
    assert watcher is not None
    turns = 0

    def wait(self: Waiter) -> set[bytes]:
        nonlocal turns
        turns += 1
        if turns == 2:
            looking.write("a", "1\n")
        if turns == 3:
            assert looking.contents() == []  # it was told that nothing happened
            looking.now += 11.0
        if turns == 4:
            watcher._stop.set()
        return set()

    monkeypatch.setattr(Waiter, "wait", wait)
    monkeypatch.setattr(Waiter, "is_told", True)
    watcher.run()
    assert looking.contents() == ["1"]


def test_an_error_that_waiting_does_not_heal_ends_it(looking: Looking) -> None:
    looking.use(poll=0.01)
    assert looking.watcher is not None
    looking.log.close()
    looking.write("a", "1\n")
    looking.watcher.start()
    with pytest.raises(timelog.errors.ClosedError):
        looking.watcher.join()


def test_a_thread_follows_until_it_is_closed(open_log: Open, tmp_path: Path) -> None:
    (tmp_path / "w").mkdir()
    log = open_log()
    with Watcher(log, tmp_path / "w", poll=0.01) as watcher:
        (tmp_path / "w" / "a").write_text("1\n")
        while not log.search().count():
            assert watcher._thread is not None and watcher._thread.is_alive()
    assert [file.offset for file in watcher.files] == [2]
    watcher.close()


@pytest.mark.parametrize(
    ("name", "family", "dates"),
    [
        ("app.log", "app.log", []),
        ("app.log.1", "app.log", []),
        ("app.log.12.gz", "app.log", []),
        ("app.1.log", "app.log", []),
        ("app.log-20261121", "app.log", ["20261121"]),
        ("app-2026-11-21.log.xz", "app.log", ["2026-11-21"]),
        ("app.log.old", "app.log", []),
        ("syslog.2.zst", "syslog", []),
        ("v2", "v2", []),
    ],
)
def test_what_rotation_puts_into_names(name: str, family: str, dates: list[str]) -> None:
    assert family_of(name.encode()) == family.encode()
    assert dates_of(name.encode()) == [date.encode() for date in dates]
    assert may_be_copy(name.encode()) == (name != family)


def test_names_of_runs() -> None:
    assert is_run(b"pkgs.7.txt") and is_run(b"a.b.12.txt.part") and not is_run(b"a.b.txt")
    assert is_part(b"pkgs.7.txt.part") and not is_part(b"pkgs.txt.part")
    assert not may_be_copy(b"pkgs.7.txt")

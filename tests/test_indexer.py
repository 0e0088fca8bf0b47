"""Building the text index: what is covered, what a fault or a second builder does, the thread."""

from __future__ import annotations

import logging
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from random import Random
from typing import Any

import pytest

import timelog
from tests.patterns import WORDS
from tests.rig import FaultyStorage, Killed, abandon
from timelog import indexer, names, scan, segment, store
from timelog.errors import LockTimeout, MissingExtra, ReentryError, StorageError
from timelog.grams import FilterMaker
from timelog.indexer import Indexing
from timelog.journal import Entry, read
from timelog.names import Layout
from timelog.rotate import write_checkpoint
from timelog.storage import Storage
from timelog.textindex import TextFile, TextIndex
from timelog.timestamp import DAY, END, MINUTE, SECOND

ROOT = Path(__file__).parents[1]
SEED = 20261122
# A day of the past, in seconds.
START = 20_000 * DAY // SECOND
SOON = 20.0
Open = Callable[..., timelog.EventLog]


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Little text is worth an index, and each flush is a block; the disk is not waited for."""
    monkeypatch.setenv("TIMELOG_SYNC", "off")
    monkeypatch.setattr(indexer, "LEAST_TEXT", 1)
    monkeypatch.setattr(indexer, "_WORTH", 100_000)
    monkeypatch.setattr(indexer, "STRETCH", 1000)
    monkeypatch.setattr(segment, "COALESCE", 0)
    monkeypatch.setattr(scan, "_WORTH", 0)


class Clock(Storage):
    """The plain storage with a clock that a test may put forward, in minutes."""

    ahead = 0

    def time_ns(self) -> int:
        """Nanoseconds since 1970, and what it is ahead."""
        return super().time_ns() + self.ahead * MINUTE * 1000


class Watched(Clock):
    """Calls ``met`` with each file of the text index before it gets its name."""

    def __init__(self, met: Callable[[Path], object] = lambda path: None) -> None:
        super().__init__()
        self.met = met

    def rename(self, source: Path, target: Path) -> None:
        """Replace ``target`` by ``source``."""
        if target.suffix == ".text":
            self.met(target)
        super().rename(source, target)


def fill(log: timelog.EventLog, days: Sequence[int] = (0,), flushes: int = 3) -> None:
    """Two minutes of each day, a block of each with each flush: 40 events a day and flush."""
    random = Random(f"{days} {flushes}")
    for _ in range(flushes):
        for day in days:
            log.append_many(
                {
                    "content": " ".join(random.choices(WORDS, k=4)) + f" day{day} number{number}",
                    "timestamp": START + day * 86_400 + number * 3,
                }
                for number in range(40)
            )
        log.flush()


class Looks:
    """What a step asks whether it is stopped, which it is not; counts how often."""

    count = 0

    def __call__(self) -> bool:
        """Count a look."""
        self.count += 1
        return False


def text_files(path: Path) -> list[Path]:
    """The files of a log's text index, by name."""
    return sorted((path / ".timelog" / "index").glob("*.text"))


def segments(path: Path) -> dict[str, int]:
    """The segments of a log and their sizes."""
    return {str(file.relative_to(path)): file.stat().st_size for file in path.glob("[0-9]*/*")}


def covered(path: Path) -> list[str]:
    """The paths that the files of the text index name, each as often as it is named."""
    return sorted(name for file in text_files(path) for name in TextFile(file, Storage()).segments)


def temporary(path: Path) -> list[str]:
    return os.listdir(path / ".timelog" / "tmp")


PATTERNS = ["ERROR", "day1 number1", "(?i)SSHD|kernel", "^full .*disk", "timeout.*day0", "nowhere"]


def answers(log: timelog.EventLog) -> list[list[str]]:
    return [[event.content for event in log.search(pattern=each)] for each in PATTERNS]


def check_searches(path: Path) -> None:
    """With the text index a search finds what it finds without."""
    with timelog.open(path, mode="r") as log:
        for each in PATTERNS:
            results = log.search(pattern=each)
            assert results.to_list() == results.using(()).to_list(), each
        assert log.verify(deep=True).ok


def skipped(log: timelog.EventLog, pattern: str = "nobody wrote this") -> int:
    """How many blocks the text index rules out."""
    return log.search(pattern=pattern).explain().text_index.blocks


def checkpoint(log: timelog.EventLog) -> None:
    """As a flush does after many commits."""
    parts = log._store
    parts.refresh()
    write_checkpoint(parts.layout, parts.storage, parts.index)


# -- what is covered ----------------------------------------------------------------------


def test_everything_committed_is_covered_and_told(small: None, open_log: Open) -> None:
    log = open_log()
    fill(log, (0, 1, 5))
    log.append("in memory", timestamp=START + 3 * 86_400)
    built = log.index_text()
    files, sizes = text_files(log.path), segments(log.path)
    assert built == Indexing(4, 7, sum(sizes.values()), sum(file.stat().st_size for file in files))
    assert str(built) == (
        f"7 segments, {built.text:,} bytes of text: 4 files, {built.written:,} bytes"
    )
    assert covered(log.path) == sorted(sizes)
    assert [names.parse_text_index(file.name) for file in files] == [
        START * SECOND + day * DAY for day in (0, 1, 3, 5)
    ]
    assert temporary(log.path) == []
    assert skipped(log) == 19
    check_searches(log.path)


def test_what_is_covered_is_not_built_again(small: None, open_log: Open) -> None:
    log = open_log()
    fill(log, (0, 1))
    log.index_text()
    before = {file: file.stat().st_mtime_ns for file in text_files(log.path)}
    again = log.index_text()
    assert again == Indexing()
    assert "nothing" in str(again)
    with open_log() as other:
        assert other.index_text() == Indexing()
    assert {file: file.stat().st_mtime_ns for file in text_files(log.path)} == before


def test_only_what_is_new_is_built(small: None, open_log: Open) -> None:
    log = open_log()
    fill(log, (0, 1))
    log.index_text()
    before = text_files(log.path)
    fill(log, (2,))
    assert log.index_text()[:2] == (1, 2)
    assert set(before) < set(text_files(log.path))
    assert covered(log.path) == sorted(segments(log.path))


def test_a_segment_that_grew_is_covered_anew(small: None, open_log: Open) -> None:
    log = open_log()
    fill(log, (0, 1))
    log.index_text()
    old = text_files(log.path)
    log.append("day0 is late", timestamp=START + 1)
    assert log.index_text()[:2] == (1, 1)
    assert set(old) < set(text_files(log.path)), "it covers another minute still"
    assert skipped(log) == 13
    log.append("day0 is late", timestamp=START + 61)
    assert log.index_text()[:2] == (1, 1)
    assert not old[0].exists(), "it covers nothing any more"
    assert skipped(log) == 14
    check_searches(log.path)


def test_an_empty_log_has_nothing_to_build(open_log: Open) -> None:
    log = open_log()
    assert log.index_text() == Indexing()
    assert text_files(log.path) == []


def test_less_than_it_takes_is_left_to_scanning(
    small: None, open_log: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = open_log()
    fill(log, (0,))
    size = sum(segments(log.path).values())
    monkeypatch.setattr(indexer, "LEAST_TEXT", size + 1)
    assert log.index_text() == Indexing()
    monkeypatch.setattr(indexer, "LEAST_TEXT", size)
    assert log.index_text().text == size


def test_one_file_covers_so_much_and_no_more(
    small: None, open_log: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = open_log()
    for minute in range(6):
        log.append("x" * 1000, timestamp=START + 60 * minute)
    log.flush()
    (size,) = set(segments(log.path).values())
    monkeypatch.setattr(indexer, "_MOST_TEXT", 2 * size + 1)
    assert log.index_text()[:2] == (3, 6)
    assert [len(TextFile(file, Storage()).segments) for file in text_files(log.path)] == [2, 2, 2]
    assert len(covered(log.path)) == len(set(covered(log.path)))
    shutil.rmtree(log.path / ".timelog" / "index")
    (log.path / ".timelog" / "index").mkdir()
    monkeypatch.setattr(indexer, "_MOST_TEXT", 1)
    assert log.index_text()[:2] == (6, 6), "never less than one segment"


def test_an_import_of_today_is_covered(small: None, open_log: Open) -> None:
    """At noon, of the hours before, which go into one file of the day; and of the future."""
    now = START + 86_400 // 2

    class Noon(Storage):
        def time_ns(self) -> int:
            return now * 10**9

    log = open_log(storage=Noon())
    log.append_many({"content": f"number{n}", "timestamp": now - 3600 + 60 * n} for n in range(100))
    log.flush()
    assert log.index_text().segments == 1


def test_what_another_process_committed_is_covered(small: None, open_log: Open) -> None:
    log, other = open_log(), open_log()
    fill(other, (0,))
    assert log.index_text().segments == 2


def test_it_needs_numpy(path: Path, open_log: Open) -> None:
    """And says so; in the background nothing happens, and nothing is told."""
    with open_log() as log:
        fill(log)
    program = """
import sys
sys.modules["numpy"] = None
import timelog
from timelog import indexer
indexer.LEAST_TEXT = indexer._WORTH = 1
with timelog.open(sys.argv[1], flush_interval=3600) as log:
    log.append("x", timestamp=0)
    log._store._flush_in_background()
    assert not log._store._indexing.is_alive
    assert not log._store.indexer.step(lambda: False)
    try:
        log.index_text()
    except timelog.errors.MissingExtra as error:
        print(error)
"""
    done = run(program, path)
    assert "timelog[fast]" in done.stdout and not done.stderr
    assert issubclass(MissingExtra, timelog.TimelogError)
    assert text_files(path) == []


def run(program: str, *args: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", program, *map(str, args)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )


# -- size ---------------------------------------------------------------------------------


def text_of(random: Random) -> str:
    """Words for contents: a piece of it is unlike any other."""
    return " ".join(
        f"{random.choice(WORDS)} {random.choice(WORDS)}={random.randrange(10**6)}"
        for _ in range(20_000)
    )


@pytest.mark.parametrize("megabytes", [8.5, 9, 20, 60])
def test_it_takes_at_most_a_twentieth_of_the_text(ram: Path, megabytes: float) -> None:
    """With real constants, and flushes of any size."""
    random = Random(f"{SEED} {megabytes}")
    text = text_of(random)
    size, second = 0, START * 1.0
    with timelog.open(ram / "log", flush_interval=3600, sync="off") as log:
        while size < megabytes * 1e6:
            flush = random.choice((10, 100, 200, 300, 1000, 3000)) * 1000
            size += flush
            while flush > 0:
                at, length = random.randrange(len(text)), random.randint(500, 8000)
                log.append(text[at : at + length], timestamp=second)
                second += random.choice((0.001, 0.1, 10))
                flush -= length
            log.flush()
        built = log.index_text()
        sizes = segments(log.path)
        assert built.text == sum(sizes.values())
        assert built.segments == len(sizes)
        assert built.written <= built.text / 20
        assert skipped(log) > 0


def test_blocks_that_fit_badly_take_no_more(ram: Path) -> None:
    """Two are just too much for a stretch, and the last column of filters has one."""
    random = Random(SEED)
    text = text_of(random) * 2
    with timelog.open(ram / "log", flush_interval=3600, sync="off") as log:
        for number in range(49):
            at = random.randrange(100_000)
            log.append(text[at : at + 196_700], timestamp=START + 60 * number)
            log.flush()
        built = log.index_text()
        assert built.segments == 49
        assert built.written <= built.text / 20
        (file,) = text_files(log.path)
        assert {each.stretches for each in TextFile(file, Storage()).segments.values()} == {
            (number,) for number in range(49)
        }


def test_blocks_are_put_together_to_stretches(
    small: None, open_log: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = open_log()
    for number in range(12):
        log.append("x" * 900, timestamp=START + number * 10)
        log.flush()
    size = sum(segments(log.path).values()) // 12
    monkeypatch.setattr(indexer, "STRETCH", 5 * size)
    log.index_text()
    (file,) = text_files(log.path)
    stretches = [each.stretches for each in TextFile(file, Storage()).segments.values()]
    assert stretches == [(0, 0, 0, 0, 0, 1), (1, 1, 1, 1, 2, 2)]


# -- damage -------------------------------------------------------------------------------


def flip(path: Path, at: int) -> None:
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.write_bytes(data)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def bit(path: Path) -> None:
    flip(path, path.stat().st_size - 30)


@pytest.mark.parametrize("damage", [bit, cut, Path.unlink], ids=["bit", "cut", "gone"])
def test_a_damaged_segment_is_named_and_not_covered_and_the_others_are(
    small: None, open_log: Open, damage: Callable[[Path], object]
) -> None:
    with open_log() as log:
        fill(log, (0, 1))
    first = min(log.path.glob("2*/*"))
    damage(first)
    with open_log() as log:
        assert log.index_text()[:2] == (2, 3)
        name = str(first.relative_to(log.path))
        assert covered(log.path) == sorted({*segments(log.path)} - {name})
        assert any(name in each for each in log.health().damage)
        assert log.index_text() == Indexing()
        results = log.search(pattern="number1")
        assert results.count() == results.using(()).count() > 30
        assert results.damage


def test_where_all_is_damaged_there_is_no_file(small: None, open_log: Open) -> None:
    with open_log() as log:
        fill(log, (0,))
    for file in log.path.glob("2*/*"):
        bit(file)
    with open_log() as log:
        assert log.index_text() == Indexing()
        assert text_files(log.path) == []


def test_a_day_whose_index_is_damaged_is_left_out(small: None, open_log: Open) -> None:
    with open_log() as log:
        fill(log, (0, 1))
        checkpoint(log)
    flip(min(log.path.glob(".timelog/index/2*.index")), 20)
    with open_log() as log:
        assert log.index_text()[:2] == (1, 2)


def test_of_a_day_whose_index_is_damaged_the_files_stay(small: None, open_log: Open) -> None:
    """The index may come back from a copy."""
    with open_log() as log:
        fill(log, (0, 1))
        log.index_text()
        checkpoint(log)
    before = text_files(log.path)
    file = min(log.path.glob(".timelog/index/2*.index"))
    flip(file, 20)
    with open_log() as log:
        log.index_text()
    flip(file, 20)
    assert text_files(log.path) == before
    with open_log() as log:
        assert skipped(log) == 12
        assert log.index_text() == Indexing()


def test_a_day_whose_index_cannot_be_read_is_left_out(small: None, open_log: Open) -> None:
    with open_log() as log:
        fill(log, (0, 1))
        checkpoint(log)
    file = min(log.path.glob(".timelog/index/2*.index"))
    file.unlink()
    file.mkdir()
    with open_log() as log:
        assert log.search(pattern="day1").count() == 120
        assert log.index_text()[:2] == (1, 2)


@pytest.mark.parametrize("lengths", [(200, 50, 350), (350, 50, 200)], ids=["before", "behind"])
def test_a_segment_of_which_a_part_is_not_known_is_left_out_until_it_is(
    small: None, open_log: Open, monkeypatch: pytest.MonkeyPatch, lengths: tuple[int, ...]
) -> None:
    """A record of the journal is damaged, and brought back after the index was built.

    What it named is a part of the first or the second block then; there are two before and after.
    """
    monkeypatch.setattr(segment, "COALESCE", 600)
    with open_log() as log:
        for length in lengths:
            log.append("x" * length + f"number{length}", timestamp=START)
            log.flush()
    journal = log.path / ".timelog" / "journal" / names.journal(1)
    whole = journal.read_bytes()
    places = [entry.end for entry in read(whole, 0) if isinstance(entry, Entry)]
    journal.write_bytes(whole[: places[2] - 9] + b"?" + whole[places[2] - 8 :])
    with open_log() as log:
        assert log.search().count() == 2
        assert block_count(log) == 2
        log.index_text()
    journal.write_bytes(whole)
    with open_log() as log:
        assert block_count(log) == 2
        for length in lengths:
            assert log.search(pattern=f"number{length}").count() == 1
        log.index_text()
        assert covered(log.path) == sorted(segments(log.path))


def block_count(log: timelog.EventLog) -> int:
    """How many blocks the one segment has."""
    ((_, blocks),) = log._store.index.sealed(START * SECOND, END)
    return len(blocks)


# -- what is swept ------------------------------------------------------------------------

FOREIGN = [
    "notes.text",
    "2024-10-04.text",
    "2024-10-04.0123456789AB.text",
    "2024-10-04.0123456789ab.text.bak",
    "2024-10-4.0123456789ab.text",
    "2024-13-04.0123456789ab.text",
    "0123456789ab.text",
    ".2024-10-04.0123456789ab.text",
]


def test_files_of_foreign_names_stay(small: None, open_log: Open) -> None:
    log = open_log()
    fill(log, (0,))
    folder = log.path / ".timelog" / "index"
    for name in FOREIGN:
        (folder / name).write_bytes(b"foreign")
    (folder / "a.text").mkdir()
    log.index_text()
    checkpoint(log)
    log.index_text()
    assert all((folder / name).read_bytes() == b"foreign" for name in FOREIGN)
    assert (folder / "a.text").is_dir()
    assert len(text_files(log.path)) == 2 + sum(name[-5:] == ".text" for name in FOREIGN)


def damaged(file: Path) -> None:
    file.write_bytes(b"nonsense")


def empty(file: Path) -> None:
    file.write_bytes(b"")


def of_another_day(file: Path) -> None:
    file.rename(file.with_name(names.text_index(START * SECOND + 5 * DAY, "0123456789ab")))


def a_link(file: Path) -> None:
    target = file.parent / "elsewhere"
    file.rename(target)
    file.symlink_to(target)


def a_fifo(file: Path) -> None:
    file.unlink()
    os.mkfifo(file)


def a_link_to_a_directory(file: Path) -> None:
    file.unlink()
    file.symlink_to(file.parent)


UNUSABLE = [damaged, empty, of_another_day, a_link, a_link_to_a_directory, a_fifo]


@pytest.mark.parametrize("put", UNUSABLE, ids=lambda put: put.__name__)
def test_what_cannot_be_used_is_removed_and_built_again(
    small: None, open_log: Open, put: Callable[[Path], object]
) -> None:
    with open_log() as log:
        fill(log, (0,))
        log.index_text()
    put(text_files(log.path)[0])
    with open_log() as log:
        assert log.index_text()[:2] == (1, 2)
        (file,) = text_files(log.path)
        assert file.stat().st_size > 65_536 and not file.is_symlink()
        assert covered(log.path) == sorted(segments(log.path))
        assert log.index_text() == Indexing()


def test_a_directory_in_the_place_of_a_file_does_not_hinder(small: None, open_log: Open) -> None:
    with open_log() as log:
        fill(log, (0,))
        log.index_text()
    (file,) = text_files(log.path)
    file.unlink()
    file.mkdir()
    with open_log() as log:
        assert log.index_text()[:2] == (1, 2)


@pytest.mark.parametrize("at", [3000, 30_000, -3], ids=["first", "middle", "last"])
def test_a_file_with_a_damaged_page_is_built_again(small: None, open_log: Open, at: int) -> None:
    with open_log() as log:
        fill(log, (0,))
        log.index_text()
    (file,) = text_files(log.path)
    flip(file, at)
    with open_log() as log:
        assert log.index_text()[:2] == (1, 2)


def test_the_files_of_another_process_are_not_swept(small: None, open_log: Open) -> None:
    """An idle process does not know the segments that they cover."""
    idle = open_log(storage=(clock := Clock()))
    fill(idle, (0,))
    other = open_log()
    fill(other, (1,))
    other.index_text()
    files = text_files(idle.path)
    clock.ahead = 5
    while idle._store.indexer.step(lambda: False):
        pass
    assert set(files) <= set(text_files(idle.path))


def test_a_checkpoint_leaves_the_text_index(small: None, open_log: Open) -> None:
    log = open_log()
    fill(log, (0, 1))
    log.index_text()
    before = text_files(log.path)
    for _ in range(3):
        log.append("x", timestamp=START + 5 * 86_400)
        log.flush()
        checkpoint(log)
    assert text_files(log.path) == before
    with open_log() as again:
        assert skipped(again) == 12
        assert again.index_text()[:2] == (1, 1)


def test_a_file_system_with_coarse_times_is_no_problem(small: None, open_log: Open) -> None:
    """As FAT (two seconds) and ext3 (one) have: what comes within one is not told by the time."""
    built: list[Path] = []

    def met(path: Path) -> None:
        built.append(path)
        assert len(built) <= 2, "the same again and again"

    class Coarse(Watched):
        def rename(self, source: Path, target: Path) -> None:
            super().rename(source, target)
            os.utime(target.parent, (START, START))

    log = open_log(storage=Coarse(met))
    fill(log, (0, 1))
    os.utime(log.path / ".timelog" / "index", (START, START))
    assert log.index_text()[:2] == (2, 4)


def test_what_another_process_made_is_known_on_such_a_file_system(
    small: None, open_log: Open
) -> None:
    log, other = open_log(), open_log()
    folder = log.path / ".timelog" / "index"
    fill(log, (0,))
    os.utime(folder, (START, START))
    assert skipped(log) == 0
    other.index_text()
    os.utime(folder, (START, START))
    assert log.index_text() == Indexing()
    assert skipped(log) == 6


# -- faults -------------------------------------------------------------------------------


@pytest.fixture
def template(small: None, ram: Path) -> Path:
    """A log of three days: covered, covered before it grew, and not covered."""
    path = ram / "template"
    with timelog.open(path, flush_interval=3600, sync="off") as log:
        fill(log, (0, 1))
        log.index_text()
        log.append("day1 number1 late", timestamp=START + 86_400)
        log.append("day1 number1 late", timestamp=START + 86_461)
        fill(log, (2,))
    (path / ".timelog" / "index" / "foreign.text").write_bytes(b"foreign")
    return path


def build_with(path: Path, storage: FaultyStorage, at: int) -> Indexing | None:
    """Build where the ``at``-th call of it fails; None where the process was killed."""
    log = timelog.open(path, flush_interval=3600, storage=storage)
    storage.calls.clear()
    storage.at = at
    try:
        built = log.index_text()
    except Killed:
        abandon(log)
        return None
    except StorageError:
        storage.heal()
        assert log.health().ok
        log.append("nowhere else", timestamp=START, sync=True)
        log.close()
        raise
    log.close()
    return built


def calls_of_a_build(template: Path, path: Path) -> list[str]:
    shutil.copytree(template, path)
    storage = FaultyStorage()
    assert build_with(path, storage, 0) is not None
    return storage.calls


def check_after(path: Path) -> None:
    """Everything is there, the next build completes, and nothing is left over."""
    check_searches(path)
    with timelog.open(path, flush_interval=3600, sync="off") as log:
        log.index_text()
        assert covered_again(path) == sorted(segments(path))
        assert log.index_text() == Indexing()
        checkpoint(log)
    assert temporary(path) == []
    assert (path / ".timelog" / "index" / "foreign.text").read_bytes() == b"foreign"
    check_searches(path)


def covered_again(path: Path) -> list[str]:
    """The segments that are covered as they are, each once."""
    found = []
    with timelog.open(path, mode="r") as log:
        index = log._store.index
        texts = TextIndex(Layout(path), Storage())
        for day in index.between(None, None):
            known = index.blocks(day, None, None, index.position)
            for file in texts.files(day):
                found += [
                    name.path
                    for name, blocks in known
                    if name.path in file.segments and file.segments[name.path].is_still(blocks)
                ]
    return sorted(found)


@pytest.mark.parametrize("fault", ["kill", "torn"])
def test_killed_at_every_call_of_a_build(template: Path, ram: Path, fault: str) -> None:
    total = len(calls_of_a_build(template, ram / "counted"))
    assert total >= 12
    for at in range(1, total + 1):
        path = ram / str(at)
        shutil.copytree(template, path)
        storage = FaultyStorage(fault=fault)
        assert build_with(path, storage, at) is None, (at, storage.calls)
        check_after(path)


@pytest.mark.parametrize("fault", ["EIO", "ENOSPC"])
@pytest.mark.parametrize("sticky", [False, True], ids=["once", "sticky"])
def test_an_error_at_every_call_of_a_build_is_told_and_harms_nothing(
    template: Path, ram: Path, fault: str, sticky: bool
) -> None:
    calls = calls_of_a_build(template, ram / "counted")
    for at in range(1, len(calls) + 1):
        path = ram / str(at)
        shutil.copytree(template, path)
        with pytest.raises(StorageError, match="building the text index"):
            build_with(path, FaultyStorage(fault=fault, sticky=sticky), at)
        check_after(path)


def test_builds_that_fail_again_and_again_leave_nothing_behind(template: Path) -> None:
    """Else what was left of a disk goes, every 30 seconds a piece."""
    storage = FaultyStorage(fault="ENOSPC", sticky=True)
    with timelog.open(template, flush_interval=3600, storage=storage) as log:
        storage.arm("ENOSPC", only="sync")
        for _ in range(3):
            with pytest.raises(StorageError):
                log.index_text()
        storage.heal()
        assert len(temporary(template)) <= 1


def test_an_interrupt_leaves_the_lock_free(small: None, open_log: Open) -> None:
    storage = Watched()
    log = open_log(storage=storage)
    fill(log, (0,))

    def met(path: Path) -> None:
        raise KeyboardInterrupt

    storage.met = met
    with pytest.raises(KeyboardInterrupt):
        log.index_text()
    storage.met = lambda path: None
    assert log.index_text()[:2] == (1, 2)


def test_no_descriptor_is_left_open(template: Path, ram: Path) -> None:
    before = len(os.listdir("/proc/self/fd"))
    for at in range(1, len(calls_of_a_build(template, ram / "counted")) + 1, 3):
        shutil.copytree(template, ram / str(at))
        assert build_with(ram / str(at), FaultyStorage(fault="torn"), at) is None
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_checkpoint_in_the_middle_of_a_build_harms_nothing(small: None, open_log: Open) -> None:
    """It empties ``tmp``, where the new file is just then."""
    storage = Watched()
    log, other = open_log(storage=storage), open_log()
    other.append("x", timestamp=START + 5 * 86_400)
    other.flush()
    fill(log, (0, 1))
    checkpoints: list[Path] = []

    def met(path: Path) -> None:
        if not checkpoints:
            checkpoints.append(path)
            checkpoint(other)

    storage.met = met
    assert log.index_text()[:2] == (3, 5)
    assert checkpoints
    assert covered(log.path) == sorted(segments(log.path))
    assert temporary(log.path) == []
    check_searches(log.path)


# -- several who build --------------------------------------------------------------------

BUILDER = """
import sys
from pathlib import Path
import timelog
from timelog import indexer, segment
from timelog.storage import Storage
indexer.LEAST_TEXT = indexer._WORTH = 1
indexer.STRETCH = 1000
segment.COALESCE = 0

class Waiting(Storage):
    def rename(self, source, target):
        if target.suffix == ".text" and sys.argv[2] == "wait":
            print("building", flush=True)
            sys.stdin.readline()
        super().rename(source, target)

with timelog.open(sys.argv[1], flush_interval=3600, storage=Waiting()) as log:
    print("open", flush=True)
    sys.stdin.readline()
    try:
        print(tuple(log.index_text()))
    except timelog.errors.LockTimeout as error:
        print(error)
"""


def builder(path: Path, how: str) -> subprocess.Popen[str]:
    """A process that has opened the log and builds when it reads a line."""
    process = subprocess.Popen(
        [sys.executable, "-c", BUILDER, str(path), how],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None and process.stdout.readline() == "open\n"
    return process


def go_on(process: subprocess.Popen[str]) -> None:
    assert process.stdin is not None
    process.stdin.write("\n")
    process.stdin.flush()


def test_while_one_process_builds_another_is_told(small: None, open_log: Open) -> None:
    log = open_log(storage=(clock := Clock()), lock_timeout=0.1)
    fill(log, (0,))
    clock.ahead = 5
    process = builder(log.path, "wait")
    go_on(process)
    assert process.stdout is not None and process.stdout.readline() == "building\n"
    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(LockTimeout, match="another process builds"):
        log.index_text()
    assert len(os.listdir("/proc/self/fd")) == before
    assert not log._store.indexer.step(lambda: False)
    assert text_files(log.path) == []
    log.append("appends go on", timestamp=START + 86_400, sync=True)
    out, _ = process.communicate("\n", timeout=60)
    assert process.returncode == 0
    assert out.startswith("(1, 2, ")
    assert log.index_text()[:2] == (1, 1)


def test_who_comes_second_waits_for_the_first(small: None, open_log: Open) -> None:
    trying = threading.Event()

    class Trying(Storage):
        def lock(self, fd: int, timeout: float) -> None:
            trying.set()
            super().lock(fd, timeout)

    log = open_log(storage=Trying(), lock_timeout=60.0)
    fill(log, (0,))
    process = builder(log.path, "wait")
    go_on(process)
    assert process.stdout is not None and process.stdout.readline() == "building\n"
    trying.clear()
    built: list[Indexing] = []
    thread = threading.Thread(target=lambda: built.append(log.index_text()))
    thread.start()
    assert trying.wait(SOON)
    out, _ = process.communicate("\n", timeout=60)
    thread.join()
    assert out.startswith("(1, 2, ")
    assert built == [Indexing()]


def test_a_signal_handler_that_builds_during_a_build_is_told(small: None, open_log: Open) -> None:
    told: list[ReentryError] = []

    def met(path: Path) -> None:
        try:
            log.index_text()
        except ReentryError as error:
            told.append(error)

    log = open_log(storage=Watched(met))
    fill(log, (0,))
    assert log.index_text()[:2] == (1, 2)
    assert len(told) == 1 and "text index" in str(told[0])


def test_a_builder_that_was_killed_does_not_keep_the_lock(small: None, open_log: Open) -> None:
    log = open_log()
    fill(log, (0,))
    process = builder(log.path, "wait")
    go_on(process)
    assert process.stdout is not None and process.stdout.readline() == "building\n"
    process.kill()
    process.communicate()
    assert len(temporary(log.path)) == 1
    assert log.index_text()[:2] == (1, 2)
    checkpoint(log)
    assert temporary(log.path) == []


def test_two_processes_at_once_do_nothing_twice(small: None, open_log: Open) -> None:
    with open_log() as log:
        fill(log, (0, 1, 2, 3))
    processes = [builder(log.path, "go") for _ in range(2)]
    for process in processes:
        go_on(process)
    told = [process.communicate(timeout=60)[0].strip() for process in processes]
    assert all(process.returncode == 0 for process in processes)
    assert {line[:6] for line in told} <= {"(4, 8,", "(0, 0,", "anothe"}, told
    assert sum(line[:6] == "(4, 8," for line in told) == 1, told
    assert covered(log.path) == sorted(segments(log.path))


def test_a_child_made_during_a_build_does_not_keep_the_lock(small: None, open_log: Open) -> None:
    reading, writing = os.pipe()
    children: list[int] = []

    def met(path: Path) -> None:
        pid = os.fork()
        if pid == 0:
            os.close(writing)
            os.read(reading, 1)
            os._exit(0)
        children.append(pid)

    storage = Watched(met)
    log = open_log(storage=storage)
    fill(log, (0,))
    try:
        assert log.index_text()[:2] == (1, 2)
        storage.met = lambda path: None
        assert log.index_text() == Indexing()
    finally:
        os.close(writing)
        for pid in children:
            os.waitpid(pid, 0)
        os.close(reading)


def test_a_build_waits_for_that_of_the_own_thread(small: None, open_log: Open) -> None:
    began, go = threading.Event(), threading.Event()

    def met(path: Path) -> None:
        if threading.current_thread() is not threading.main_thread():
            began.set()
            assert go.wait(SOON)

    storage = Watched(met)
    log = open_log(storage=storage)
    fill(log, (0, 1))
    storage.ahead = 5
    thread = threading.Thread(target=log._store.indexer.step, args=(lambda: False,))
    thread.start()
    assert began.wait(SOON)
    timer = threading.Timer(0.05, go.set)
    timer.start()
    try:
        log.index_text()
    finally:
        go.set()
        thread.join()
        timer.join()


# -- the thread ---------------------------------------------------------------------------


@pytest.fixture
def eager(small: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """The thread looks all the time."""
    monkeypatch.setattr(store, "_INDEX_INTERVAL", 0.001)
    monkeypatch.setattr(store, "_INDEX_PAUSE", 0.001)


class Ahead(Watched):
    """For the thread that builds it is later, so all that was flushed is sealed."""

    def time_ns(self) -> int:
        """Nanoseconds since 1970; in that thread, ten minutes more."""
        is_building = threading.current_thread().name == "timelog-index"
        return super().time_ns() + is_building * 10 * MINUTE * 1000


class Files:
    """Lets a test wait for files of the text index."""

    def __init__(self) -> None:
        self.made = threading.Semaphore(0)
        self.storage = Ahead(lambda path: self.made.release())

    def wait(self, number: int = 1) -> None:
        """Return when so many more are about to appear."""
        for _ in range(number):
            assert self.made.acquire(timeout=SOON)


@pytest.fixture
def files() -> Iterator[Files]:
    made = Files()
    yield made


def flush_in_background(log: timelog.EventLog) -> None:
    """Let the timer's thread flush, which starts the other thread."""
    log._store.timer.start()
    log._store.timer.wake()


def indexing(log: timelog.EventLog) -> threading.Thread:
    return log._store._indexing._thread


def test_files_appear_by_themselves(eager: None, open_log: Open, files: Files) -> None:
    log = open_log(storage=files.storage)
    assert indexing(log).ident is None, "nothing runs before a flush"
    fill(log, (0, 1))
    flush_in_background(log)
    files.wait(2)
    log.close()
    assert covered(log.path) == sorted(segments(log.path))
    check_searches(log.path)


def test_what_comes_later_is_covered_too(eager: None, open_log: Open, files: Files) -> None:
    log = open_log(storage=files.storage)
    flush_in_background(log)
    for day in range(4):
        fill(log, (day,), flushes=1)
        files.wait()
    log.close()
    assert covered(log.path) == sorted(segments(log.path))


def test_where_there_is_more_to_do_the_next_look_comes_soon(
    small: None, open_log: Open, files: Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "_INDEX_INTERVAL", 3600.0)
    monkeypatch.setattr(store, "_INDEX_PAUSE", 0.001)
    log = open_log(storage=files.storage)
    fill(log, (0, 1, 2))
    log._store._flush_in_background()
    log._store._indexing.wake()
    files.wait(3)
    log.close()
    assert covered(log.path) == sorted(segments(log.path))


def test_what_is_not_sealed_is_not_covered(small: None, open_log: Open) -> None:
    """Late events of the past would go into segments that were made a moment ago."""
    log = open_log(storage=Clock())
    fill(log, (0,))
    assert not log._store.indexer.step(lambda: False)
    assert text_files(log.path) == []


def test_what_is_not_sealed_is_covered_later(small: None, open_log: Open) -> None:
    """An import of last week, first looked at half a minute after its flush."""
    log = open_log(storage=(clock := Clock()))
    fill(log, (0,))
    step = log._store.indexer.step
    assert not step(lambda: False)
    clock.ahead = 5
    assert step(lambda: False)
    assert covered(log.path) == sorted(segments(log.path))


def test_a_day_that_goes_on_waits_for_more(
    small: None, open_log: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a day that is over less is enough."""
    log = open_log(storage=(clock := Clock()))
    today = log._store.storage.time_ns() // 10**9 // 86_400 * 86_400
    for at in (START, today):
        log.append("x" * 1000, timestamp=at)
    log.flush()
    monkeypatch.setattr(indexer, "LEAST_TEXT", 1000)
    monkeypatch.setattr(indexer, "_WORTH", 2000)
    clock.ahead = 5
    step = log._store.indexer.step
    while step(lambda: False):
        pass
    assert [name[:10] for name in covered(log.path)] == [names.partition(START * SECOND)]
    monkeypatch.setattr(indexer, "_WORTH", 1000)
    while step(lambda: False):
        pass
    assert len(covered(log.path)) == 2


def test_a_day_is_not_looked_at_again_before_it_has_more(small: None, open_log: Open) -> None:
    log = open_log(storage=(clock := Clock()))
    fill(log, (0,))
    clock.ahead = 5
    step = log._store.indexer.step
    while step(lambda: False):
        pass
    looks = Looks()
    step(looks)
    assert not looks.count
    fill(log, (0,), flushes=1)
    clock.ahead = 10
    assert step(looks)
    assert looks.count


def test_one_step_writes_one_file(small: None, open_log: Open) -> None:
    log = open_log(storage=(clock := Clock()))
    fill(log, (0, 1, 2))
    clock.ahead = 5
    step = log._store.indexer.step
    for number in (1, 2, 3):
        assert step(lambda: False)
        assert len(text_files(log.path)) == number
    while step(lambda: False):
        pass
    assert covered(log.path) == sorted(segments(log.path))


def test_a_step_that_is_stopped_writes_nothing(small: None, open_log: Open) -> None:
    log = open_log(storage=(clock := Clock()))
    fill(log, (0, 1))
    clock.ahead = 5
    assert not log._store.indexer.step(lambda: True)
    assert text_files(log.path) == []


def test_a_step_looks_at_each_block_whether_it_is_stopped(small: None, open_log: Open) -> None:
    log = open_log(storage=(clock := Clock()))
    for _ in range(20):
        log.append("one segment of twenty blocks", timestamp=START)
        log.flush()
    clock.ahead = 5
    looks = Looks()
    assert log._store.indexer.step(looks)
    assert looks.count >= 20


def test_close_ends_a_build_in_the_middle(
    eager: None, open_log: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    began = threading.Event()
    adds: list[bool] = []

    class Slow(FilterMaker):
        """Goes on when the log is being closed."""

        def add(self, data: bytes) -> None:
            timer = log._store._indexing
            adds.append(timer.is_stopping)
            began.set()
            while not timer.is_stopping:
                stopping.wait(0.001)
            super().add(data)

    stopping = threading.Event()
    monkeypatch.setattr(indexer, "FilterMaker", Slow)
    monkeypatch.setattr(indexer, "_WORTH", 10**9)
    log = open_log(storage=Ahead())
    fill(log, (0, 1, 2, 3), flushes=1)
    flush_in_background(log)
    assert began.wait(SOON)
    log.close()
    assert not indexing(log).is_alive()
    assert len(adds) == 1, "the rest of the day was not looked at"
    assert text_files(log.path) == []
    check_searches(log.path)


def test_a_handler_that_closes_the_log_may_be_called_by_the_thread(
    eager: None, open_log: Open
) -> None:
    """While another thread is closing it: the thread tells of damage that it met."""
    with open_log() as log:
        fill(log, (0,))
    bit(min(log.path.glob("2*/*")))
    log = open_log(storage=Ahead())
    told = threading.Event()

    class Closing(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if threading.current_thread() is indexing(log):
                told.set()
                while not log._store._indexing.is_stopping:
                    pause.wait(0.001)
                log.close()

    pause = threading.Event()
    handler = Closing()
    logging.getLogger("timelog").addHandler(handler)
    try:
        log._store._flush_in_background()
        assert told.wait(SOON)
        log.close()
    finally:
        logging.getLogger("timelog").removeHandler(handler)
    assert log.is_closed and not indexing(log).is_alive()


def test_it_can_be_turned_off(eager: None, open_log: Open) -> None:
    log = open_log(storage=Ahead(), text_index=False)
    fill(log, (0,))
    log.append("x", timestamp=START)
    flush_in_background(log)
    log.close()
    assert log._store.flusher.counters.flushes > 0
    assert indexing(log).ident is None
    assert text_files(log.path) == []
    with open_log(text_index=False) as again:
        assert again.index_text().segments == 2, "on request it is built all the same"


def test_a_reader_never_builds(eager: None, open_log: Open) -> None:
    with open_log() as log:
        fill(log, (0,))
    reader = open_log(mode="r", storage=Ahead())
    assert answers(reader)
    reader.close()
    assert indexing(reader).ident is None
    assert text_files(log.path) == []


def test_a_log_that_is_not_written_to_starts_no_thread(eager: None, open_log: Open) -> None:
    with open_log() as log:
        fill(log, (0,))
    with open_log() as again:
        assert answers(again)
    assert indexing(again).ident is None


def test_a_child_made_by_fork_has_a_thread_of_its_own(
    small: None, open_log: Open, files: Files
) -> None:
    """The parent's is there, too, but nobody wakes it."""
    log = open_log(storage=files.storage)
    log._store._flush_in_background()
    assert indexing(log).is_alive()
    pid = os.fork()
    if pid == 0:
        try:
            is_new = indexing(log).ident is None
            files.made = threading.Semaphore(0)
            fill(log, (1,))
            log._store._flush_in_background()
            log._store._indexing.wake()
            files.wait()
            log.close()
            whole = covered(log.path) == sorted(segments(log.path))
            os._exit(0 if is_new and whole else 1)
        finally:
            os._exit(2)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert indexing(log).is_alive()
    log.close()
    assert not indexing(log).is_alive()
    check_searches(log.path)


def test_a_build_that_fails_is_a_warning_and_appends_go_on(
    eager: None, open_log: Open, caplog: pytest.LogCaptureFixture
) -> None:
    failed = threading.Semaphore(0)
    is_well = threading.Event()

    def met(path: Path) -> None:
        if not is_well.is_set():
            failed.release()
            raise OSError(5, "Input/output error")

    storage = Ahead(met)
    log = open_log(storage=storage)
    fill(log, (0,))
    flush_in_background(log)
    for number in range(3):
        assert failed.acquire(timeout=SOON)
        log.append("nowhere to be found", timestamp=START + number, sync=True)
    assert log.health().ok
    assert text_files(log.path) == []
    found = threading.Event()
    storage.met = lambda path: found.set()
    is_well.set()
    assert found.wait(SOON)
    log.close()
    told = [record for record in caplog.records if "text index" in record.message]
    assert told
    assert {record.levelno for record in told} == {logging.WARNING}
    check_searches(log.path)


def test_after_a_failed_close_it_goes_on(eager: None, open_log: Open, files: Files) -> None:
    class Failing(Ahead):
        fails = False

        def open_append(self, path: Path) -> int:
            if self.fails:
                raise OSError(5, "Input/output error")
            return super().open_append(path)

    storage = Failing(files.storage.met)
    log = open_log(storage=storage)
    fill(log, (0,))
    flush_in_background(log)
    log.append("x", timestamp=START)
    storage.fails = True
    with pytest.raises(StorageError):
        log.close()
    assert not indexing(log).is_alive()
    storage.fails = False
    log.append("y", timestamp=START + 86_400)
    log.flush()
    log._store.timer.wake()
    files.wait()
    log.close()
    assert not indexing(log).is_alive()


def test_threads_search_while_it_is_built(eager: None, open_log: Open, files: Files) -> None:
    log = open_log(storage=files.storage)
    fill(log, (0, 1, 2, 3))
    expected = answers(log)
    wrong: list[object] = []
    done = threading.Event()

    def ask() -> None:
        try:
            while not done.is_set():
                assert answers(log) == expected
            assert answers(log) == expected
        except BaseException as error:
            wrong.append(error)

    threads = [threading.Thread(target=ask) for _ in range(3)]
    for thread in threads:
        thread.start()
    flush_in_background(log)
    files.wait(4)
    for file in text_files(log.path):
        file.unlink()
    done.set()
    for thread in threads:
        thread.join()
    assert not wrong


def test_a_log_that_is_dropped_ends_its_thread(eager: None, path: Path) -> None:
    files = Files()
    log: Any = timelog.open(path, flush_interval=3600, storage=files.storage)
    fill(log, (0,))
    flush_in_background(log)
    files.wait()
    thread, timer = indexing(log), log._store.timer._thread
    del log
    timer.join(SOON)
    thread.join(SOON)
    assert not thread.is_alive()

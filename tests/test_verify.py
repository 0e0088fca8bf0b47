"""Verify: finds whatever is wrong, names it by file and offset, and changes nothing."""

from __future__ import annotations

import os
import shutil
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import timelog
from tests.aged import archives, make_aged, nothing_unlinked
from tests.rig import abandon
from timelog import segment as segment_module
from timelog.codec import decode_lines, encode_lines, to_line
from timelog.index import Index
from timelog.journal import Block
from timelog.names import Layout
from timelog.rotate import write_checkpoint
from timelog.storage import Storage
from timelog.timestamp import DAY, MINUTE, SECOND, to_datetime
from timelog.verify import Verification, verify

START = 20_000 * DAY
OpenLog = Callable[..., timelog.EventLog]


@pytest.fixture
def log(open_log: OpenLog, monkeypatch: pytest.MonkeyPatch) -> Iterator[timelog.EventLog]:
    """A log of two days, two minutes each, three blocks in each minute."""
    monkeypatch.setattr(segment_module, "COALESCE", 0)
    log = open_log()
    for n in range(3):
        for us in (START, START + MINUTE, START + DAY, START + DAY + MINUTE):
            for m in range(2):
                log.append(
                    f"content {n} {m}",
                    timestamp=to_datetime(us + n * SECOND + m),
                    source=f"s{m}",
                    tags=(f"t{n}",),
                )
        log.flush()
    return log


def fresh(log: timelog.EventLog, *, deep: bool = False) -> Verification:
    """What another process finds that has seen nothing yet."""
    layout = Layout(log.path)
    index = Index(layout, Storage(), "", lambda batch: None)
    index.refresh()
    return verify(layout, Storage(), index, deep=deep)


def segments(log: timelog.EventLog) -> list[Path]:
    return sorted(log.path.glob("20*/*.jsonl"))


def name(log: timelog.EventLog, path: Path) -> str:
    return str(path.relative_to(log.path))


def flip(path: Path, at: int) -> None:
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.write_bytes(data)


def checkpoint(log: timelog.EventLog) -> None:
    write_checkpoint(log._store.layout, log._store.storage, log._store.index)


def reports(log: timelog.EventLog) -> list[Verification]:
    return [log.verify(), log.verify(deep=True), fresh(log), fresh(log, deep=True)]


# -- clean --------------------------------------------------------------------------------


def test_a_new_log_is_clean(open_log: OpenLog) -> None:
    report = open_log().verify(deep=True)
    assert report.ok
    assert (report.events, report.blocks, report.bytes) == (0, 0, 0)
    assert str(report) == "ok: 0 events in 0 blocks decoded and checked, 0 bytes"


def test_a_clean_log_is_ok_and_all_of_it_was_looked_at(log: timelog.EventLog) -> None:
    size = sum(path.stat().st_size for path in segments(log))
    for report in reports(log):
        assert report.ok
        assert report.exit_code == 0
        assert (report.events, report.bytes) == (24, size)
        assert report.damage == report.torn == report.foreign == ()
        assert str(report).startswith("ok: 24 events in ")
    checkpoint(log)
    assert fresh(log, deep=True).ok


def test_verify_changes_nothing(log: timelog.EventLog) -> None:
    (log.path / "foreign").write_bytes(b"x")
    with segments(log)[0].open("ab") as file:
        file.write(b"torn")
    flip(segments(log)[1], 5)
    before = {path: path.read_bytes() for path in log.path.rglob("*") if path.is_file()}
    fresh(log, deep=True)
    assert before == {path: path.read_bytes() for path in log.path.rglob("*") if path.is_file()}


def test_what_waits_in_memory_is_not_counted(log: timelog.EventLog) -> None:
    log.append("waiting")
    assert log.verify().events == 24


# -- damage -------------------------------------------------------------------------------


def test_a_flipped_bit_is_named_by_file_and_block(log: timelog.EventLog) -> None:
    path = segments(log)[1]
    size = path.stat().st_size
    flip(path, size // 2)
    for report in reports(log):
        (damage,) = report.damage
        assert not report.ok
        assert report.exit_code == 1
        assert damage.file == name(log, path)
        assert damage.offset <= size // 2 < damage.offset + damage.length
        assert damage.length < size
        assert damage.reason == "the crc does not hold"
        assert report.events == 24
        assert f"damaged     {damage.file}: {damage.length} bytes at" in str(report)


def test_bytes_all_over_a_segment_are_checked(log: timelog.EventLog) -> None:
    path = segments(log)[0]
    for at in range(0, path.stat().st_size, 13):
        flip(path, at)
        assert len(log.verify().damage) == 1, at
        flip(path, at)
    assert log.verify().ok


def test_several_damages_are_all_named(log: timelog.EventLog) -> None:
    for path in segments(log):
        flip(path, 0)
    assert [damage.file for damage in fresh(log).damage] == [
        name(log, path) for path in segments(log)
    ]


def test_a_missing_file_is_named(log: timelog.EventLog) -> None:
    path = segments(log)[2]
    path.unlink()
    for report in reports(log):
        assert {damage.file for damage in report.damage} == {name(log, path)}
        assert "No such file" in report.damage[0].reason


def test_a_missing_partition_is_named(log: timelog.EventLog) -> None:
    paths = segments(log)[:2]
    shutil.rmtree(paths[0].parent)
    for report in reports(log):
        assert {damage.file for damage in report.damage} == {name(log, path) for path in paths}


def test_a_file_that_was_cut_is_damaged_from_the_first_block_it_lost(
    log: timelog.EventLog,
) -> None:
    path = segments(log)[0]
    size = path.stat().st_size
    os.truncate(path, size - 1)
    (damage,) = log.verify().damage
    assert damage.reason == "the file is too short"
    assert damage.offset + damage.length == size
    os.truncate(path, 0)
    assert len(log.verify().damage) == 3


def test_a_link_or_a_directory_in_the_place_of_a_file_is_damage(
    log: timelog.EventLog, tmp_path: Path
) -> None:
    one, two, *_ = segments(log)
    one.rename(tmp_path / "moved")
    one.symlink_to(tmp_path / "moved")
    two.rename(tmp_path / "other")
    two.mkdir()
    report = fresh(log)
    assert {damage.file for damage in report.damage} == {name(log, one), name(log, two)}


def test_two_exchanged_files_are_damage(log: timelog.EventLog, tmp_path: Path) -> None:
    one, two, *_ = segments(log)
    one.rename(tmp_path / "moved")
    two.rename(one)
    (tmp_path / "moved").rename(two)
    assert {damage.file for damage in fresh(log).damage} == {name(log, one), name(log, two)}


def test_a_damaged_journal_record_is_named_and_so_are_the_positions(log: timelog.EventLog) -> None:
    journal = log.path / ".timelog" / "journal" / "0000000001.journal"
    data = journal.read_bytes()
    flip(journal, data.index(b"tlJ1", 20) + 30)
    report = fresh(log)
    assert not report.ok
    text = str(report)
    assert "0000000001.journal" in text
    assert "no positions 0 to 7" in text
    gaps = {damage.file for damage in report.damage if "belongs to no block" in damage.reason}
    assert gaps == {name(log, path) for path in segments(log)}
    assert report.events == 16


@pytest.mark.parametrize("gone", [True, False])
def test_a_damaged_index_of_a_day_is_named_and_the_rest_is_checked(
    log: timelog.EventLog, gone: bool
) -> None:
    checkpoint(log)
    file = sorted((log.path / ".timelog" / "index").glob("20*"))[0]
    if gone:
        file.unlink()
    else:
        flip(file, 40)
    for report in (fresh(log), fresh(log, deep=True)):
        assert not report.ok
        assert report.exit_code == 1
        assert file.name in str(report)
        assert report.events == 12
        assert report.foreign == ()


def test_a_journal_that_ends_before_the_checkpoint_is_damage_and_the_log_goes_on(
    log: timelog.EventLog, open_log: OpenLog
) -> None:
    """The commits since the checkpoint were in it: nothing else could tell that they are gone."""
    checkpoint(log)
    log.append("behind the checkpoint", sync=True)
    journal = Layout(log.path).journal(log._store.index.place.journal)
    abandon(log)
    for length in (0, 1, 30):
        journal.write_bytes(journal.read_bytes()[:length])
        with timelog.open(log.path, mode="r") as reader:
            assert name(log, journal) in [damage.file for damage in reader.verify().damage]
            assert reader.health().damage
    again = open_log()
    again.append("more", sync=True)
    assert again.search(pattern="more").count() == 1
    again.close()
    assert not fresh(log).ok


def test_damage_that_was_met_before_and_is_mended_is_not_reported(log: timelog.EventLog) -> None:
    path = segments(log)[0]
    flip(path, 0)
    assert log.search().count() == 24
    assert len(log.search().to_list()) < 24
    assert not log.verify().ok
    flip(path, 0)
    assert log.verify().ok


def test_an_index_of_a_day_that_was_not_readable_for_a_while_is_not_damage_for_ever(
    log: timelog.EventLog,
) -> None:
    checkpoint(log)
    with timelog.open(log.path, flush_interval=3600.0) as other:
        file = sorted((log.path / ".timelog" / "index").glob("20*"))[0]
        file.rename(file.with_suffix(".away"))
        file.mkdir()
        assert len({found.path.parent for found in other.files()}) == 1
        assert other.health().damage
        assert not other.verify().ok
        file.rmdir()
        file.with_suffix(".away").rename(file)
        other.append("more", sync=True)
        other._store.flusher._exclusive(None, True, closing=True)
        assert other.verify().ok
    assert fresh(log).ok


# -- unfinished writes --------------------------------------------------------------------


def test_a_torn_tail_is_named_and_is_no_damage(log: timelog.EventLog) -> None:
    path = segments(log)[0]
    size = path.stat().st_size
    with path.open("ab") as file:
        file.write(b'{"timestamp":"2024')
    for report in reports(log):
        (torn,) = report.torn
        assert (torn.file, torn.offset, torn.length) == (name(log, path), size, 18)
        assert report.damage == ()
        assert not report.ok
        assert report.exit_code == 3
        assert str(report).startswith("unfinished write: 24 events")
        assert f"unfinished  {torn.file}: 18 bytes at {size}" in str(report)


def test_a_file_that_no_commit_named_is_unfinished_unless_it_is_empty(
    log: timelog.EventLog,
) -> None:
    path = segments(log)[0]
    other = path.with_name(path.name.replace(".jsonl", ".2.jsonl"))
    other.write_bytes(b"")
    assert log.verify().ok
    other.write_bytes(b"text")
    for report in reports(log):
        (torn,) = report.torn
        assert (torn.file, torn.offset, torn.length) == (name(log, other), 0, 4)


def test_the_last_record_cannot_be_torn_where_nobody_was_cut_off(log: timelog.EventLog) -> None:
    """One flipped bit in its length makes it look short: that is damage, and is said."""
    journal = log.path / ".timelog" / "journal" / "0000000001.journal"
    start = journal.read_bytes().rindex(b"tlJ1")
    flip(journal, start + 14)
    report = fresh(log)
    [damage] = [damage for damage in report.damage if damage.file.endswith(".journal")]
    assert (damage.offset, report.torn) == (start, report.torn)
    # It is still said when others have gone on writing, and after a checkpoint.
    log.close()
    for n in range(70):
        with timelog.open(log.path) as writer:
            assert writer.health().status == "critical"
            writer.append(str(n))
    assert (log.path / ".timelog" / "index" / "root").exists()
    assert damage in fresh(log).damage


def test_a_torn_journal_is_named(log: timelog.EventLog) -> None:
    journal = log.path / ".timelog" / "journal" / "0000000001.journal"
    # As a power cut leaves it: the lock file knows another boot, or none.
    (log.path / ".timelog" / "lock").write_bytes(b"")
    size = journal.stat().st_size
    with journal.open("ab") as file:
        file.write(journal.read_bytes()[:10] + b"\0" * 20)
    report = fresh(log)
    (torn,) = report.torn
    assert (torn.file, torn.offset, torn.length) == (
        ".timelog/journal/0000000001.journal",
        size,
        30,
    )
    assert report.exit_code == 3


def test_damage_outweighs_an_unfinished_write(log: timelog.EventLog) -> None:
    one, two, *_ = segments(log)
    flip(one, 0)
    with two.open("ab") as file:
        file.write(b"torn")
    report = fresh(log)
    assert report.exit_code == 1
    assert len(report.damage) == len(report.torn) == 1


# -- names that are not the log's ---------------------------------------------------------


def test_foreign_names_are_reported_and_nothing_is_wrong(
    log: timelog.EventLog, tmp_path: Path
) -> None:
    first = segments(log)[0]
    day = first.parent
    others = [first.name.replace(".jsonl", end) for end in (".jsonl.bak", ".1.jsonl", ".3.jsonl")]
    (log.path / "notes.txt").write_bytes(b"x")
    (log.path / "sub").mkdir()
    (log.path / "2026-01-01").write_bytes(b"a file, not a day")
    (log.path / "2026-01-02").symlink_to(tmp_path)
    (log.path / "2026-01-03").mkdir()
    (log.path / "2026-01-03" / first.name).write_bytes(b"the file of another day")
    (day / others[0]).write_bytes(b"x")
    (day / others[1]).write_bytes(b"x")
    os.mkfifo(day / others[2])
    (day / "directory").mkdir()
    expected = ["notes.txt", "sub", "2026-01-01", "2026-01-02", f"2026-01-03/{first.name}"]
    expected += [f"{day.name}/{each}" for each in [*others, "directory"]]
    for report in reports(log):
        assert report.ok
        assert report.foreign == tuple(sorted(expected))
        assert "foreign     notes.txt: not a file of the log, left alone" in str(report)


# -- deep ---------------------------------------------------------------------------------


def with_block(log: timelog.EventLog, data: bytes, **changed: object) -> Verification:
    """Verify, deep, a log whose first segment is ``data`` as one block with a crc that holds."""
    layout = Layout(log.path)
    index = Index(layout, Storage(), "", lambda batch: None)
    index.refresh()
    path = segments(log)[0]
    path.write_bytes(data)
    segment = index.segment(name(log, path))
    assert segment is not None
    segment.blocks = [block_of(name(log, path), data, **changed)]
    assert verify(layout, Storage(), index, deep=False).ok
    return verify(layout, Storage(), index, deep=True)


def block_of(path: str, data: bytes, **changed: object) -> Block:
    values: dict[str, object] = {
        "path": path,
        "offset": 0,
        "length": len(data),
        "count": 1,
        "runs": (0, 1),
        "first": START,
        "last": START,
        "seed": 0,
        "crc": zlib.crc32(data),
        "tags": ("t",),
        "sources": ("s",),
    }
    return Block(**{**values, **changed})  # type: ignore[arg-type]


def one_line() -> bytes:
    event = timelog.Event(to_datetime(START), "1", "s", ("t",), "text")
    return encode_lines([to_line(event)])


def test_deep_accepts_what_agrees(log: timelog.EventLog) -> None:
    assert with_block(log, one_line()).ok
    assert with_block(log, one_line(), tags=None, sources=None).ok


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"count": 2, "runs": (0, 2)}, "number of events"),
        ({"first": START - 1}, "times"),
        ({"last": START + 1}, "times"),
        ({"tags": ("t", "u")}, "tags"),
        ({"tags": ()}, "tags"),
        ({"sources": ("x",)}, "sources"),
        ({"runs": (0, 2)}, "positions"),
    ],
)
def test_deep_finds_an_index_that_says_something_else(
    log: timelog.EventLog, changed: dict[str, object], reason: str
) -> None:
    (damage,) = with_block(log, one_line(), **changed).damage
    assert reason in damage.reason


@pytest.mark.parametrize(
    "data", [b"nonsense\n", b"{}\n", b"\xff\n", b"\n", b"", b'{"id":"\xff"}\n']
)
def test_deep_finds_lines_that_are_no_events(log: timelog.EventLog, data: bytes) -> None:
    report = with_block(log, data)
    assert not report.ok
    assert {damage.file for damage in report.damage} == {name(log, segments(log)[0])}


def test_the_events_that_deep_decodes_are_those_of_the_log(log: timelog.EventLog) -> None:
    text = b"".join(path.read_bytes() for path in segments(log))
    assert sorted(event.id for event in decode_lines(text)) == sorted(event.id for event in log)


def test_progress_is_told_up_to_the_end(log: timelog.EventLog) -> None:
    told: list[tuple[int, int]] = []
    report = log.verify(progress=lambda done, total: told.append((done, total)))
    assert told[-1] == (report.bytes, report.bytes) != (0, 0)
    assert told == sorted(told)


# -- logs that have lived -----------------------------------------------------------------


def test_a_log_that_has_lived_is_ok(open_log: OpenLog, path: Path) -> None:
    make_aged(path)
    log = open_log()
    for report in reports(log):
        assert report.ok and report.foreign == (), str(report)
        assert report.events == 107
    (log.path / ".timelog" / "trash" / "1-2024-10-01").mkdir()
    (log.path / ".timelog" / "tmp" / "compacted-0").write_bytes(b"x")
    assert all(report.ok for report in reports(log))
    told: list[tuple[int, int]] = []
    log.verify(progress=lambda done, total: told.append((done, total)))
    size = sum(file.stat().st_size for file in log.path.glob("20*/*"))
    assert told[-1] == (size, size)


def test_bytes_all_over_an_archive_are_checked(open_log: OpenLog, path: Path) -> None:
    make_aged(path)
    log = open_log()
    [file] = archives(path)
    data = file.read_bytes()
    for at in range(0, len(data), 37):
        flip(file, at)
        for deep in (False, True):
            report = fresh(log, deep=deep)
            [damage] = report.damage
            assert (damage.file, damage.reason) == (name(log, file), "the crc does not hold")
        file.write_bytes(data)
    with file.open("ab") as out:
        out.write(b"tail")
    [torn] = fresh(log).torn
    assert (torn.file, torn.offset, torn.length) == (name(log, file), len(data), 4)


def test_what_was_replaced_and_not_unlinked_is_nothing(open_log: OpenLog, path: Path) -> None:
    make_aged(path)
    log = open_log()
    with nothing_unlinked():
        log.compact(archive=True)
        assert len(list(path.glob("20*/*"))) > 3
        for report in reports(log):
            assert report.ok and report.foreign == (), str(report)


class Meanwhile(Storage):
    """Calls something before the so manieth file is opened for reading."""

    def __init__(self, number: int, act: Callable[[], object]) -> None:
        super().__init__()
        self.left = number
        self.act = act

    def open_read(self, path: Path) -> int:
        if path.suffix in (".jsonl", ".zst"):
            self.left -= 1
            if not self.left:
                self.act()
        return super().open_read(path)


@pytest.mark.parametrize("number", range(1, 9))
@pytest.mark.parametrize("what", ["compact", "archive", "expire", "expire all", "erase"])
def test_what_goes_meanwhile_is_not_damage_and_what_replaces_it_is_checked(
    open_log: OpenLog, path: Path, number: int, what: str
) -> None:
    make_aged(path)
    log = open_log()
    acts: dict[str, Callable[[], object]] = {
        "compact": log.compact,
        "archive": lambda: log.compact(archive=True),
        "expire": lambda: log.expire(partitions=1),
        "expire all": lambda: log.expire("1 day"),
        "erase": lambda: log.delete("3.0.1.2", erase=True),
    }
    layout = Layout(path)
    index = Index(layout, Storage(), "", lambda batch: None)
    index.refresh()
    storage = Meanwhile(number, acts[what])
    report = verify(layout, storage, index, deep=True)
    assert report.ok and report.foreign == (), str(report)
    assert report.events <= 107
    after = fresh(log, deep=True)
    assert after.ok
    if what in ("compact", "archive") and storage.left <= 0:
        # Of a day it was either all before or all after.
        assert after.events <= report.events


def test_damage_in_what_replaces_is_found(open_log: OpenLog, path: Path) -> None:
    make_aged(path)
    log = open_log()

    def act() -> None:
        log.compact(archive=True)
        for file in archives(path):
            flip(file, file.stat().st_size - 5)

    layout = Layout(path)
    index = Index(layout, Storage(), "", lambda batch: None)
    index.refresh()
    report = verify(layout, Meanwhile(2, act), index, deep=False)
    assert {damage.file for damage in report.damage} >= {
        name(log, file) for file in archives(path)[1:]
    }

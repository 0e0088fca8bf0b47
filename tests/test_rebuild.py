"""A log whose records are gone or of no use is made anew from its text."""

from __future__ import annotations

import random
import shutil
from itertools import pairwise
from pathlib import Path

import hypothesis.strategies as st
import pytest
from hypothesis import example, given, settings

import timelog
from tests.aged import archives, blocks_of, fill, make_aged, nothing_unlinked
from tests.broken import events_of, everything, kept, make_log, segments, sorted_events
from tests.faults.model import ModelStorage, Op, Tree
from timelog import compaction, lines
from timelog.codec import Line, encode_lines
from timelog.encode import BLOCK_SIZE
from timelog.errors import DamagedError
from timelog.event import Event
from timelog.names import Layout
from timelog.timestamp import DAY, MINUTE, SECOND, to_datetime, to_text

START = 20_000 * DAY
MINUTE_FILE = "20241004T0000Z-20241004T0001Z"
DAY_FILE = "20241004T0000Z-20241005T0000Z"


@pytest.fixture
def path(ram: Path) -> Path:
    return ram / "log"


def line(id: str, us: int = START, content: str = "") -> bytes:
    return encode_lines([Line(to_text(us), id, "s", ("t",), content or f"content of {id}")])


def write(path: Path, name: str, data: bytes) -> Path:
    file = path / "2024-10-04" / f"{name}.jsonl"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(data)
    return file


def ids(path: Path) -> list[str]:
    return [event.id for event in events_of(path)]


def test_the_log_has_a_new_id_and_what_was_left_of_the_old_one_is_kept(path: Path) -> None:
    events = make_log(path)
    layout = Layout(path)
    with timelog.open(path, mode="r") as log:
        old = log._store.id
        assert log.cursor("reader") == 2
    state = {file.read_bytes() for file in layout.control.rglob("*") if file.is_file()}
    state -= {layout.lock.read_bytes(), layout.index_root.read_bytes()}
    layout.index_root.write_bytes(b"garbage")
    shutil.rmtree(layout.index / "none", ignore_errors=True)
    report = timelog.repair(path)
    assert report.ok and report.log != old
    assert "root is damaged: its crc does not hold" in report.notes[0]
    assert "what was left of .timelog is in .timelog/quarantine/control" in report.notes
    assert state | {b"garbage"} <= set(kept(path))
    assert events_of(path) == events
    with timelog.open(path, mode="r") as log:
        assert log._store.id == report.log
        assert log.position == len(events)
        assert log.cursor("reader") is None


def test_who_had_the_old_log_open_is_told(path: Path) -> None:
    make_log(path)
    with timelog.open(path, flush_interval=3600.0) as log:
        Layout(path).index_root.write_bytes(b"garbage")
        timelog.repair(path)
        with pytest.raises(DamagedError, match="belongs to another log"):
            log.search().count()


def test_a_log_without_records_is_not_opened_and_the_error_says_what_to_do(path: Path) -> None:
    make_log(path)
    shutil.rmtree(path / ".timelog")
    before = everything(path)
    for mode in ("a", "r"):
        with pytest.raises(DamagedError, match="'timelog repair' makes it anew"):
            timelog.open(path, mode=mode)
    assert everything(path) == before


def ops_of_repair(path: Path) -> list[Op]:
    """Repair the log and return what was done to the disk, by paths below the parent."""
    tree: Tree = {
        each.relative_to(path.parent).as_posix(): each.read_bytes() if each.is_file() else None
        for each in sorted(path.parent.rglob("*"))
    }
    storage = ModelStorage(path.parent, tree=tree)
    timelog.repair(path, storage=storage)
    return storage.ops


def test_the_text_is_durable_before_the_records_say_so(path: Path) -> None:
    """Who wrote it may not have synced it, or not the directories."""
    make_log(path)
    Layout(path).index_root.write_bytes(b"garbage")
    ops = ops_of_repair(path)
    [root] = [n for n, op in enumerate(ops) if op.target.endswith("/index/root")]
    synced = {(op.kind, op.path) for op in ops[:root]}
    for file in segments(path):
        assert ("sync", file.relative_to(path.parent).as_posix()) in synced
        assert ("sync directory", file.parent.relative_to(path.parent).as_posix()) in synced
    assert ("sync directory", "log") in synced
    # What it says of the old journal must not come back after the new one is there.
    assert ("sync", "log/.timelog/lock") in synced


def test_the_good_lines_are_durable_before_the_file_with_the_bad_ones_goes(path: Path) -> None:
    write(path, MINUTE_FILE, line("a") + b"bad\n")
    ops = ops_of_repair(path)
    new = f"log/2024-10-04/{MINUTE_FILE}.2.jsonl"
    [written] = [n for n, op in enumerate(ops) if op.target == new]
    [moved] = [
        n for n, op in enumerate(ops) if op.path.endswith(f"{MINUTE_FILE}.jsonl") and op.target
    ]
    assert ("sync", ops[written].path) in {(op.kind, op.path) for op in ops[:written]}
    assert ("sync directory", "log/2024-10-04") in {(op.kind, op.path) for op in ops[written:moved]}


def test_positions_follow_spans_then_files_then_lines(path: Path) -> None:
    write(path, f"{MINUTE_FILE}.2", line("c", START) + line("d", START + 1))
    write(path, f"{MINUTE_FILE}.10", line("e", START + 5))
    write(path, MINUTE_FILE, line("b", START + 9) + line("a", START + 3))
    write(path, DAY_FILE, line("f", START + MINUTE))
    # The longer first: it may have replaced the others.
    assert timelog.repair(path).ok
    with timelog.open(path, mode="r") as log:
        first = [log.search(as_of=n).to_list() for n in range(7)]
    new = [{event.id for event in events} for events in first]
    assert [*map(sorted, (two - one for one, two in pairwise(new)))] == [
        [each] for each in "fbacde"
    ]


def test_files_that_are_whole_are_used_as_they_are(path: Path) -> None:
    make_log(path)
    before = {file: file.read_bytes() for file in segments(path)}
    shutil.rmtree(path / ".timelog")
    assert timelog.repair(path).quarantined == ()
    assert {file: file.read_bytes() for file in segments(path)} == before


def test_blocks_are_no_larger_than_those_of_a_flush(path: Path) -> None:
    rng = random.Random(1)
    data = [line(f"i{n}", START + n, "x" * rng.randrange(3000)) for n in range(800)]
    data.insert(400, line("large", START + 400, "y" * (2 * BLOCK_SIZE)))
    write(path, MINUTE_FILE, b"".join(data))
    write(path, f"{MINUTE_FILE}.2", b"{}\n" + b"".join(x.replace(b':"i', b':"j') for x in data))
    assert timelog.repair(path).ok
    assert len(ids(path)) == 2 * 800 + 1
    with timelog.open(path, mode="r") as log:
        blocks = [
            block for _, some in log._store.index.blocks(START, None, None, 10**9) for block in some
        ]
    assert max(block.length for block in blocks if block.count > 1) <= BLOCK_SIZE
    assert len(blocks) < 2.5 * sum(map(len, data)) / BLOCK_SIZE


def test_the_good_lines_of_a_file_go_to_a_next_one_and_it_to_quarantine(path: Path) -> None:
    bad = line("a") + b"\0\0\n" + line("b") + line("a") + b"[]\n[]\n" + line("c") + b'{"x'
    file = write(path, MINUTE_FILE, bad)
    write(path, f"{MINUTE_FILE}.4", line("d"))
    report = timelog.repair(path)
    assert report.ok
    name = str(file.relative_to(path))
    size = len(line("a"))
    assert [tuple(place) for place in report.quarantined] == [
        (name, size, 3, "not JSON"),
        (name, 2 * size + 3, size, "an equal line stands before it"),
        (name, 3 * size + 3, 6, "not an event"),
        (name, 4 * size + 9, 3, "torn: the line does not end"),
    ]
    assert kept(path) == [bad]
    assert not file.exists()
    assert (file.parent / f"{MINUTE_FILE}.5.jsonl").read_bytes() == line("a") + line("b") + line(
        "c"
    )
    assert ids(path) == ["a", "b", "c", "d"]


def test_of_equal_lines_the_first_is_kept_also_across_files(path: Path) -> None:
    us = START + 3 * MINUTE
    other = line("a", us, "another content")
    write(path, DAY_FILE, line("a", us) + line("b", us) + other)
    late = write(path, "20241004T0003Z-20241004T0004Z", line("c", us) + line("b", us))
    report = timelog.repair(path)
    assert [place.file for place in report.quarantined] == [str(late.relative_to(path))]
    assert ids(path) == ["a", "a", "b", "c"], "one id with two contents is two events"


def test_lines_that_the_log_writes_otherwise_are_written_so(path: Path) -> None:
    """A search in raw text would not find them as they are."""
    spaced = line("a", content="größe").replace(b'":"', b'": "').replace("ß".encode(), b"\\u00df")
    file = write(path, MINUTE_FILE, spaced + line("b"))
    report = timelog.repair(path)
    assert report.ok and report.quarantined == ()
    assert kept(path) == [spaced + line("b")]
    assert (file.parent / f"{MINUTE_FILE}.2.jsonl").read_bytes() == line(
        "a", content="größe"
    ) + line("b")
    with timelog.open(path, mode="r") as log:
        assert [event.id for event in log.search(pattern="größe")] == ["a"]


def test_a_file_with_nothing_good_goes_to_quarantine(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lines, "MOST_LINE", BLOCK_SIZE)
    file = write(path, MINUTE_FILE, b"\0" * (3 * BLOCK_SIZE))
    empty = write(path, f"{MINUTE_FILE}.2", b"")
    report = timelog.repair(path)
    assert report.ok and report.events == 0
    assert not file.exists() and not empty.exists()
    assert kept(path) == [b"", b"\0" * (3 * BLOCK_SIZE)]
    assert ids(path) == []


def test_very_many_bad_places_are_counted(path: Path) -> None:
    write(path, MINUTE_FILE, (line("a") + b"x\n") * 3000)
    report = timelog.repair(path)
    assert len(report.quarantined) == 1000
    assert report.unnamed == 2 * 3000 - 1 - 1000
    assert f"quarantined {report.unnamed:,} more places" in str(report)
    assert ids(path) == ["a"]


def test_a_second_loss_does_not_mix_with_the_first(path: Path) -> None:
    events = make_log(path)
    for n in range(3):
        Layout(path).index_root.write_bytes(b"garbage %d" % n)
        assert timelog.repair(path).ok
    assert sorted(each.name for each in Layout(path).quarantine.iterdir()) == [
        "control",
        "control+2",
        "control+3",
    ]
    assert events_of(path) == events


# -- logs that have lived -----------------------------------------------------------------


def test_a_whole_archive_is_used_as_it_is(path: Path) -> None:
    make_aged(path)
    before = {file: file.read_bytes() for file in [*archives(path), *segments(path)]}
    shutil.rmtree(path / ".timelog")
    report = timelog.repair(path)
    assert report.ok and report.quarantined == ()
    assert {file: file.read_bytes() for file in [*archives(path), *segments(path)]} == before
    # What was hidden is there again, but not what was erased or went with its day.
    found = {event.id for event in events_of(path)}
    assert len(found) == 3 * 36 - 1
    assert {"1.70.2.3", "2.0.1.1"} <= found and "1.1.0.2" not in found
    with timelog.open(path) as log:
        archived = [block for block in blocks_of(log) if block.path.endswith(".zst")]
        assert archived and all(block.frame for block in archived)
        assert log.search(pattern="content 1 70 .* ü").count() == 12
        log.append("late", timestamp=to_datetime(START + DAY), sync=True)
    assert len(events_of(path)) == len(found) + 1
    assert archives(path)[0].read_bytes() == before[archives(path)[0]]


def test_what_the_log_is_to_keep_stays_and_lets_events_expire_again(path: Path) -> None:
    make_aged(path)
    with timelog.open(path, compact_after=None) as log:
        log.append("new", sync=True)
    with timelog.open(path, compact_after=None, retention="30 days") as log:
        assert [event.content for event in log.search()] == ["new"]
    trash = Layout(path).trash / "9-2020-01-01"
    trash.mkdir()
    (trash / "20200101T0000Z-20200101T0001Z.jsonl").write_bytes(line("gone"))
    Layout(path).index_root.write_bytes(b"garbage")
    assert timelog.repair(path).ok
    assert trash.exists() and not list(Layout(path).quarantine.rglob("*20200101*"))
    with timelog.open(path, mode="r") as log:
        assert log.retention is not None and log.retention.age == 30 * DAY


def test_what_the_trash_still_has_is_not_in_the_way_of_what_goes_there(path: Path) -> None:
    """The commits of a log that was made anew are counted anew."""
    make_aged(path)
    for sequence in range(1, 9):
        left = Layout(path).trash / f"{sequence}-2024-10-05"
        left.mkdir()
        (left / "somebody's").touch()
    shutil.rmtree(Layout(path).index)
    assert timelog.repair(path).ok
    with timelog.open(path) as log:
        assert [each.name for each in log.expire(partitions=2).partitions] == ["2024-10-05"]
        assert not (path / "2024-10-05").exists()
        assert log.verify().ok and log.audit().ok


def test_the_good_lines_of_a_damaged_archive_go_to_a_next_plain_file(path: Path) -> None:
    with timelog.open(path, flush_interval=3600.0, text_index=False) as log:
        fill(log, 0)
        log.compact(archive=True)
        expected = sorted_events(log)
    [file] = archives(path)
    data = file.read_bytes()
    for bad in (data + b"tail", b"\0" * 9 + data):
        file.write_bytes(bad)
        shutil.rmtree(path / ".timelog")
        report = timelog.repair(path)
        assert report.ok and [place.length for place in report.quarantined] == [
            len(bad) - len(data)
        ]
        assert not archives(path) and len(segments(path)) == 1
        assert bad in kept(path)
        assert events_of(path) == expected
        segments(path)[0].unlink()


@pytest.mark.parametrize("archive", [True, False])
@pytest.mark.parametrize("by_hour", [True, False])
def test_of_what_was_replaced_and_not_unlinked_each_line_is_kept_once(
    path: Path, monkeypatch: pytest.MonkeyPatch, archive: bool, by_hour: bool
) -> None:
    if by_hour:
        monkeypatch.setattr(compaction, "MOST_DAY", 1)
    with timelog.open(path, flush_interval=3600.0, text_index=False) as log:
        fill(log, 0, 1)
        expected = sorted_events(log)
        old = segments(path)
        with nothing_unlinked():
            log.compact(archive=archive)
        new = {file: file.read_bytes() for file in [*archives(path), *segments(path)]}
        new = {file: data for file, data in new.items() if file not in old}
        assert len(new) == (4 if by_hour else 2)
    shutil.rmtree(path / ".timelog")
    report = timelog.repair(path)
    assert report.ok
    assert {place.file for place in report.quarantined} == {
        str(file.relative_to(path)) for file in old
    }
    assert {place.reason for place in report.quarantined} == {"an equal line stands before it"}
    assert {file: file.read_bytes() for file in [*archives(path), *segments(path)]} == new
    assert events_of(path) == expected


def test_a_file_that_somebody_compressed_beside_its_own_is_told_from_it(path: Path) -> None:
    zstandard = pytest.importorskip("zstandard")
    expected = make_log(path)
    for file in segments(path):
        other = file.with_name(f"{file.name}.zst")
        other.write_bytes(zstandard.compress(file.read_bytes()))
    before = {file: file.read_bytes() for file in segments(path)}
    for is_lost in (False, True):
        if is_lost:
            shutil.rmtree(path / ".timelog")
            for file, data in before.items():
                file.with_name(f"{file.name}.zst").write_bytes(zstandard.compress(data))
        assert timelog.repair(path).ok
        assert not archives(path)
        assert {file: file.read_bytes() for file in segments(path)} == before
        assert events_of(path) == expected


# -- any log --------------------------------------------------------------------------------

_EVENTS = st.lists(
    st.tuples(
        st.sampled_from([0, 1, 61, 3600, 86_399, 86_400, 200_000]),
        st.text(max_size=20),
        st.sampled_from(["", "a", "ü\n"]),
        st.lists(st.sampled_from(["x", "y", "é"]), max_size=2, unique=True),
        st.sampled_from([None, {"n": 1.5, "deep": {"a": [None, "\x00"]}}]),
        st.sampled_from(["", "", "flush", "close", "many", "compact", "archive"]),
    ),
    max_size=25,
)


@settings(max_examples=60)
@given(_EVENTS, st.booleans())
@example([(0, "", "", [], None, "")], True)
@example([], False)
@example([(0, "", "", [], None, "archive"), (0, "", "", [], None, "flush")], False)
def test_of_any_log_the_text_gives_all_events_again(
    tmp_path_factory: pytest.TempPathFactory, entries: list[tuple[object, ...]], garbage: bool
) -> None:
    path = tmp_path_factory.mktemp("any") / "log"
    log = timelog.open(path, flush_interval=3600.0, text_index=False, sync="off")
    for seconds, content, source, tags, fields, then in entries:
        event = {
            "content": content,
            "timestamp": to_datetime(START + seconds * SECOND),  # type: ignore[operator]
            "source": source,
            "tags": tags,
            "fields": fields,
        }
        event = {name: value for name, value in event.items() if value is not None}
        # With many, a file of the day.
        copies = [
            {**event, "timestamp": to_datetime(START + n * MINUTE)}
            for n in range(17 if then == "many" else 0)
        ]
        log.append_many([event, *copies])
        if then == "flush":
            log.flush()
        elif then in ("compact", "archive"):
            log.compact(archive=then == "archive")
        elif then == "close":
            log.close()
            log = timelog.open(path, flush_interval=3600.0, text_index=False, sync="off")
    log.flush()
    before: list[Event] = sorted_events(log)
    log.close()
    if garbage:
        for file in sorted(Layout(path).control.rglob("*")):
            if file.is_file():
                file.write_bytes(b"\xff" * 30)
    else:
        shutil.rmtree(Layout(path).control)
    if before or garbage:
        report = timelog.repair(path)
        assert report.ok and report.quarantined == ()
        assert events_of(path) == before

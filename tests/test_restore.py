"""`timelog.repair`: bytes that no commit names, adopting, damage, and what it leaves alone."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import timelog
from tests.aged import archives, fill, make_aged, nothing_unlinked, save
from tests.broken import (
    BREAKS,
    START,
    events_of,
    everything,
    kept,
    make_log,
    segments,
    sorted_events,
)
from tests.faults.oracle import Booted
from tests.rig import FaultyStorage, Killed, abandon
from timelog import frames, leftovers
from timelog.codec import Line, encode_lines
from timelog.dry import DryStorage
from timelog.errors import (
    LockTimeout,
    MissingExtra,
    NotALogError,
    StorageError,
    VersionError,
    missing_extra,
)
from timelog.frames import compress
from timelog.lock import StoreLock
from timelog.names import Layout
from timelog.storage import Storage
from timelog.timestamp import to_text

TORN = b'{"timestamp":"2024'


@pytest.fixture
def path(ram: Path) -> Path:
    return ram / "log"


def line(id: str, us: int = 20_000 * 86_400_000_000) -> bytes:
    return encode_lines([Line(to_text(us), id, "hand", ("x",), f"content of {id}")])


def add(file: Path, data: bytes) -> None:
    with file.open("ab") as out:
        out.write(data)


# -- nothing wrong ------------------------------------------------------------------------


@pytest.mark.parametrize("checkpoint", [True, False])
@pytest.mark.parametrize("adopt", [True, False])
def test_a_sound_log_is_not_changed(path: Path, checkpoint: bool, adopt: bool) -> None:
    events = make_log(path, checkpoint=checkpoint)
    before = everything(path)
    report = timelog.repair(path, adopt=adopt)
    assert report.ok and report.exit_code == 0
    assert (report.events, report.notes, report.quarantined, report.damage) == (
        len(events),
        (),
        (),
        (),
    )
    size = sum(file.stat().st_size for file in segments(path))
    assert str(report) == f"ok: nothing to repair; {len(events)} events, {size:,} bytes"
    assert everything(path) == before


def test_what_is_no_log_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "foreign").write_text("x")
    (tmp_path / "full" / "2026-11-21").mkdir()
    before = everything(tmp_path)
    for name in ("file", "full", "nothing"):
        for dry_run in (True, False):
            with pytest.raises(NotALogError):
                timelog.repair(tmp_path / name, dry_run=dry_run)
    assert everything(tmp_path) == before


def test_a_log_of_a_newer_format_is_left_alone(path: Path) -> None:
    make_log(path)
    Layout(path).format.write_text('{"format":"timelog","version":2,"id":"x"}\n')
    before = everything(path)
    with pytest.raises(VersionError):
        timelog.repair(path)
    assert everything(path) == before


def test_others_go_on_with_a_log_that_is_open_meanwhile(path: Path) -> None:
    make_log(path)
    with timelog.open(path, flush_interval=3600.0) as log:
        log.append("in memory")
        add(segments(path)[0], TORN)
        assert timelog.repair(path).ok
        log.append("after", sync=True)
    assert {"in memory", "after"} <= {event.content for event in events_of(path)}


def test_a_lock_that_is_held_is_waited_for(path: Path) -> None:
    make_log(path)
    with StoreLock(Storage(), Layout(path).lock, 1.0).held():
        for dry_run in (True, False):
            with pytest.raises(LockTimeout):
                timelog.repair(path, lock_timeout=0.01, dry_run=dry_run)


# -- bytes that no commit names -----------------------------------------------------------


def test_tails_and_unknown_files_go_to_quarantine(path: Path) -> None:
    events = make_log(path)
    one, two, *_ = segments(path)
    add(one, TORN)
    add(two, line("mine"))
    unknown = two.with_name(two.name.replace(".jsonl", ".9.jsonl"))
    unknown.write_bytes(line("another"))
    empty = two.with_name(two.name.replace(".jsonl", ".8.jsonl"))
    empty.touch()
    sizes = [file.stat().st_size for file in (one, two)]
    report = timelog.repair(path)
    assert report.ok and report.adopted == 0
    assert [(place.file, place.offset, place.length) for place in report.quarantined] == [
        (str(one.relative_to(path)), sizes[0] - len(TORN), len(TORN)),
        (str(two.relative_to(path)), sizes[1] - len(line("mine")), len(line("mine"))),
        (str(empty.relative_to(path)), 0, 0),
        (str(unknown.relative_to(path)), 0, len(line("another"))),
    ]
    assert report.quarantined[1].reason == "not committed, never served; whole events in it: 1"
    assert kept(path) == sorted([TORN, line("mine"), b"", line("another")])
    assert not unknown.exists() and not empty.exists()
    assert events_of(path) == events
    before = everything(path)
    assert str(timelog.repair(path)).startswith("ok: nothing to repair")
    assert everything(path) == before


def test_what_is_in_quarantine_is_never_overwritten(path: Path) -> None:
    make_log(path)
    file = segments(path)[0]
    for data in (b"one", b"two", b"two", b"three"):
        add(file, data)
        timelog.repair(path)
    assert kept(path) == [b"one", b"three", b"two"]


def test_foreign_names_are_left_alone(path: Path, tmp_path: Path) -> None:
    make_log(path)
    day = segments(path)[0].parent
    (tmp_path / "outside").write_text("mine")
    (day / "notes.txt").write_text("x")
    (day / "20241004T0007Z-20241004T0008Z.jsonl").symlink_to(tmp_path / "outside")
    (day / "20241004T0009Z-20241004T0010Z.jsonl").mkdir()
    os.mkfifo(day / "20241004T0008Z-20241004T0009Z.jsonl")
    (path / "2026-11-21").symlink_to(tmp_path)
    names = sorted(day.iterdir())
    assert timelog.repair(path).quarantined == ()
    shutil.rmtree(path / ".timelog")
    assert timelog.repair(path).quarantined == ()
    assert sorted(day.iterdir()) == names
    assert (tmp_path / "outside").read_text() == "mine"


def test_an_unfinished_flush_is_finished_first_and_said(path: Path) -> None:
    events = make_log(path)
    storage = FaultyStorage()
    log = timelog.open(path, flush_interval=3600, storage=storage)
    log.append("uncommitted", timestamp=events[0].timestamp)
    storage.arm("torn", only="write")
    with pytest.raises(Killed):
        log.flush()
    abandon(log)
    dry = timelog.repair(path, dry_run=True)
    report = timelog.repair(path, adopt=True)
    assert report.ok and report.adopted == 0
    assert "unfinished flush" in report.notes[0]
    assert dry.quarantined == report.quarantined != ()
    assert events_of(path) == events


# -- adopting -----------------------------------------------------------------------------


def test_events_of_unknown_ids_are_adopted_and_the_rest_is_quarantined(path: Path) -> None:
    events = make_log(path)
    one, two, *_ = segments(path)
    with one.open("rb") as file:
        known = file.readline()
    spaced = line("spaced").replace(b'":"', b'": "')
    unfit = line("has a control character").replace(b'["x"]', b'["\\u0001"]')
    add(one, line("a") + known + line("a") + spaced + b"garbage\n" + unfit + TORN)
    unknown = two.with_name(two.name.replace(".jsonl", ".9.jsonl"))
    unknown.write_bytes(line("b"))
    position = len(events)
    report = timelog.repair(path, adopt=True)
    assert report.ok and report.adopted == 3
    assert "adopted     3 events" in str(report)
    found = events_of(path)
    new = [event for event in found if event not in events]
    assert {event.id for event in new} == {"a", "b", "spaced"}
    assert len(found) == position + 3
    with timelog.open(path, mode="r") as log:
        assert log.search(as_of=position).count() == position, "they come after all others"
        assert log.get("a").content == "content of a"
        assert log.get("a").tags == ("x",)
    before = everything(path)
    assert timelog.repair(path, adopt=True).adopted == 0
    assert everything(path) == before


@pytest.mark.parametrize("boot", ["", "another boot"])
def test_what_a_flush_left_is_adopted_only_where_its_process_is_gone_for_certain(
    path: Path, boot: str
) -> None:
    """In the same boot it may live, with the events in memory, and store them once more."""
    events = make_log(path)
    storage = FaultyStorage()
    log = timelog.open(path, flush_interval=3600, storage=storage)
    log.append("cut off", timestamp=events[0].timestamp)
    # The first is that of the journal's name, the second that of the segment.
    storage.arm("kill", only="sync")
    storage.at += 1
    with pytest.raises(Killed):
        log.flush()
    abandon(log)
    here = Booted(boot) if boot else Storage()
    dry = timelog.repair(path, adopt=True, dry_run=True, storage=here)
    report = timelog.repair(path, adopt=True, storage=here)
    assert report.ok and len(report.quarantined) == 1
    assert dry.adopted == report.adopted == (1 if boot else 0)
    assert len(events_of(path)) == len(events) + report.adopted


def test_adopting_is_one_commit_unless_it_is_a_lot(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_log(path)

    def sequence() -> int:
        with timelog.open(path, mode="r") as log:
            return log._store.index.sequence

    first = sequence()
    add(segments(path)[0], b"".join(line(f"one{n}") for n in range(50)))
    assert timelog.repair(path, adopt=True).adopted == 50
    assert sequence() == first + 1
    monkeypatch.setattr(leftovers, "_COMMIT", 4096)
    add(segments(path)[0], b"".join(line(f"two{n}") for n in range(50)))
    assert timelog.repair(path, adopt=True).adopted == 50
    assert sequence() > first + 3
    assert {f"two{n}" for n in range(50)} <= {event.id for event in events_of(path)}


def test_events_of_a_commit_whose_record_is_damaged_are_adopted(path: Path) -> None:
    """They stand between committed bytes, and stay there."""
    events = make_log(path, checkpoint=False)
    journal = Layout(path).journal(1)
    data = bytearray(journal.read_bytes())
    marks = [at for at in range(len(data)) if data.startswith(b"tlJ1", at)]
    data[marks[2] + 30] ^= 1
    journal.write_bytes(data)
    with timelog.open(path, mode="r") as log:
        lost = len(events) - log.search().count()
        assert lost == 9
    dry = timelog.repair(path, adopt=True, dry_run=True)
    report = timelog.repair(path, adopt=True)
    assert dry.adopted == report.adopted == lost
    assert report.exit_code == 1 and "not a record of the journal" in str(report)
    with timelog.open(path, mode="r") as log:
        assert sorted(event.id for event in log) == sorted(event.id for event in events)
    assert timelog.repair(path, adopt=True).adopted == 0


# -- logs that have lived -----------------------------------------------------------------


@pytest.mark.parametrize("adopt", [True, False])
@pytest.mark.parametrize("checkpoint", [True, False])
def test_a_log_that_has_lived_is_not_changed(path: Path, adopt: bool, checkpoint: bool) -> None:
    expected = make_aged(path, checkpoint=checkpoint)
    before = everything(path)
    report = timelog.repair(path, adopt=adopt)
    assert report.ok and not report.found and report.events == 107
    assert everything(path) == before
    with timelog.open(path, mode="r") as log:
        assert sorted_events(log) == expected


def test_a_dry_storage_removes_no_directory(tmp_path: Path) -> None:
    assert not DryStorage(Storage()).remove_directory(tmp_path)
    assert tmp_path.exists()


def test_what_was_replaced_and_not_unlinked_is_no_leftover(path: Path) -> None:
    with timelog.open(path, flush_interval=3600.0, text_index=False) as log:
        fill(log, 0, 1)
        with nothing_unlinked():
            log.compact(archive=True)
        expected = sorted_events(log)
    before = everything(path)
    report = timelog.repair(path, adopt=True)
    assert report.ok and not report.found
    assert everything(path) == before
    with timelog.open(path, mode="r") as log:
        assert sorted_events(log) == expected and log.verify().ok


def test_bytes_behind_the_frames_of_an_archive_are_cut_and_whole_frames_adopted(
    path: Path,
) -> None:
    expected = make_aged(path)
    [file] = archives(path)
    size = file.stat().st_size
    us = START + 86_400_000_000
    tail = compress(line("a", us) + line("b", us)) + b"garbage" + compress(line("c", us))[:-2]
    add(file, tail)
    unknown = file.with_name(file.name.replace(".jsonl", ".9.jsonl"))
    unknown.write_bytes(compress(line("d", us)))
    dry = timelog.repair(path, adopt=True, dry_run=True)
    report = timelog.repair(path, adopt=True)
    assert report.ok and report.adopted == dry.adopted == 3
    assert [tuple(place) for place in report.quarantined] == [
        (
            str(file.relative_to(path)),
            size,
            len(tail),
            "not committed, never served; whole events in it: 2",
        ),
        (
            str(unknown.relative_to(path)),
            0,
            len(compress(line("d", us))),
            "not committed, never served; whole events in it: 1",
        ),
    ]
    assert tail in kept(path) and file.stat().st_size == size
    with timelog.open(path, mode="r") as log:
        new = {event.id for event in log.search()} - {event.id for event in expected}
        assert new == {"a", "b", "d"}
        assert log.verify(deep=True).ok and log.audit().ok
    assert timelog.repair(path, adopt=True).adopted == 0


def test_what_was_deleted_or_has_expired_is_not_adopted(path: Path) -> None:
    expected = make_aged(path)
    file = segments(path)[0]
    us = START + 2 * 86_400_000_000
    expired = line("old", START) + line("rule", us).replace(b'["x"]', b'["drop"]')
    add(file, line("1.1.0.2", us) + line("2.0.1.1", us) + expired + line("new", us))
    report = timelog.repair(path, adopt=True)
    assert report.ok and report.adopted == 1
    with timelog.open(path, mode="r") as log:
        assert {event.id for event in log.search()} == {"new", *(each.id for each in expected)}
        assert log.position == 145


def test_a_frame_that_is_gone_from_the_index_is_named_and_adopted(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its record cannot be damaged alone, but nobody relies on that."""
    with timelog.open(path, flush_interval=3600.0, text_index=False) as log:
        log.append_many(
            {"content": f"{n} " + "x" * 900, "timestamp": 1_728_000_000 + n} for n in range(900)
        )
        log.flush()
        log.compact(archive=True)
        expected = sorted_events(log)
        index = log._store.index
        with index.lock:
            [segment] = index.files(index.day(1_728_000_000 * 10**6))
            gone = segment.blocks.pop(1)
            save(log)
    assert gone.frame is not None
    before = timelog.repair(path)
    assert [tuple(each)[1:] for each in before.damage] == [(*gone.frame, "belongs to no block")]
    assert timelog.repair(path, adopt=True).adopted == gone.count
    with timelog.open(path, mode="r") as log:
        assert sorted_events(log) == expected


def test_without_the_extra_nothing_is_begun(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_aged(path)
    Layout(path).index_root.write_bytes(b"garbage")
    before = everything(path)

    def missing() -> None:
        raise missing_extra("an archived segment", "zstd")

    monkeypatch.setattr(frames, "_zstandard", missing)
    with pytest.raises(MissingExtra, match="zstd"):
        timelog.repair(path)
    assert everything(path) == before


# -- damage -------------------------------------------------------------------------------


def test_damaged_events_are_named_and_left(path: Path) -> None:
    make_log(path)
    file = segments(path)[0]
    data = bytearray(file.read_bytes())
    data[30] ^= 1
    file.write_bytes(data)
    before = everything(path)
    for _ in range(2):
        report = timelog.repair(path)
        assert not report.ok and report.exit_code == 1
        [damage] = report.damage
        assert damage.file == str(file.relative_to(path))
        assert damage.reason == "the crc does not hold"
        assert f"damaged     {damage}" in str(report)
        assert everything(path) == before


def test_a_partition_that_is_gone_is_named_with_what_it_had(path: Path) -> None:
    events = make_log(path)
    days = sorted({file.parent for file in segments(path)})
    count = sum(len(file.read_bytes().splitlines()) for file in days[1].iterdir())
    shutil.rmtree(days[1])
    before = everything(path)
    report = timelog.repair(path)
    assert report.exit_code == 1
    [damage] = report.damage
    assert damage.file == days[1].name
    assert damage.reason == (
        f"the partition is gone, with {count} events of positions 6 to {len(events) - 1}"
    )
    assert everything(path) == before


# -- every way of breaking it -------------------------------------------------------------


@pytest.mark.parametrize("way", BREAKS)
def test_a_dry_run_changes_nothing_and_says_what_is_done(path: Path, way: str) -> None:
    make_log(path)
    BREAKS[way](path)
    before = everything(path)
    dry = timelog.repair(path, dry_run=True, adopt=True)
    assert everything(path) == before
    assert not dry.ok and dry.exit_code == 1 and dry.found
    assert "nothing was changed" in str(dry)
    report = timelog.repair(path, adopt=True)
    assert report.found
    for field in ("notes", "quarantined", "adopted", "damage"):
        assert getattr(report, field) == getattr(dry, field), field
    if not report.adopted:
        assert (report.events, report.bytes) == (dry.events, dry.bytes)


@pytest.mark.parametrize("way", BREAKS)
def test_whatever_was_wrong_the_events_are_there_and_the_log_goes_on(path: Path, way: str) -> None:
    events = make_log(path)
    BREAKS[way](path)
    report = timelog.repair(path)
    assert report.ok, str(report)
    assert events_of(path) == events
    before = everything(path)
    again = timelog.repair(path)
    assert again.ok and not again.found and again.log == report.log
    assert everything(path) == before
    with timelog.open(path) as log:
        log.append("afterwards", timestamp=events[0].timestamp, id="afterwards", sync=True)
        log.append("late", timestamp=events[-1].timestamp, id="late", sync=True)
        assert log.position == len(events) + 2
    assert len(events_of(path)) == len(events) + 2


@pytest.mark.parametrize("way", BREAKS)
def test_an_error_of_the_disk_is_raised_and_the_next_call_goes_on(path: Path, way: str) -> None:
    events = make_log(path)
    BREAKS[way](path)
    storage = FaultyStorage(4, "EIO", sticky=True)
    with pytest.raises(StorageError, match="input/output error"):
        timelog.repair(path, storage=storage)
    assert timelog.repair(path).ok
    assert events_of(path) == events


# -- the command --------------------------------------------------------------------------


def command(path: Path, *words: str) -> tuple[int, str, str]:
    argv = [sys.executable, "-m", "timelog", "--dir", str(path), "repair", *words]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout, done.stderr


def test_the_command_prints_the_report(path: Path) -> None:
    make_log(path)
    assert command(path)[0] == 0
    add(segments(path)[0], line("new") + TORN)
    code, out, err = command(path, "--dry-run")
    assert (code, err) == (1, "")
    assert out.startswith("not ok: to be repaired; ") and "quarantined " in out
    assert command(path, "--dry-run", "-q") == (1, "", "")
    code, out, err = command(path, "--adopt", "--json")
    assert (code, err) == (0, "")
    report = json.loads(out)
    assert (report["ok"], report["exit_code"], report["adopted"]) == (True, 0, 1)
    assert command(path) == (0, str(timelog.repair(path)) + "\n", "")


def test_the_command_says_what_it_could_not_do(path: Path) -> None:
    code, out, err = command(path)
    assert (code, out) == (2, "")
    assert err.startswith("timelog: ") and "check the path" in err


def test_progress_is_told_up_to_the_end(path: Path) -> None:
    make_log(path)
    size = sum(file.stat().st_size for file in segments(path))
    for way, times in (("tail", 1), ("control gone", 2)):
        BREAKS[way](path)
        told: list[tuple[int, int]] = []
        timelog.repair(path, progress=lambda done, total, told=told: told.append((done, total)))
        assert told == sorted(told)
        done, total = told[-1]
        assert times * size <= done <= total

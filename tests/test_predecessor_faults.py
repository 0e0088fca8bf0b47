"""Each fault of the systems that timelog takes over from, by name.

T1 to T9: a naive event store; S1 to S4: an event cache; N2 to N4: snapshots over an event log.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

import timelog
from tests.clocked import MIDNIGHT, Clocked
from tests.rig import FaultyStorage, Killed, abandon
from timelog import errors
from timelog.errors import InvalidEvent, TimelogError
from timelog.journal import Block
from timelog.names import SegmentName
from timelog.segment import FileIndex, Segment
from timelog.span import Span
from timelog.timer import PeriodicTimer
from timelog.timestamp import DAY, SECOND

Open = Callable[..., timelog.EventLog]
ROOT = Path(__file__).parents[1]


def names(log: timelog.EventLog, *args: object, **options: object) -> list[str]:
    return [event.content for event in log.search(*args, **options)]  # type: ignore[arg-type]


def run(program: str, *args: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", program, *map(str, args)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


# -- T1: what an event can hold -----------------------------------------------------------


def test_t1_grep_ties_content_to_tags_on_one_line(open_log: Open, path: Path) -> None:
    with open_log() as log:
        log.append("first\nsecond line", source="app", tags=("audit",), timestamp=0)
    text = (path / "1970-01-01/19700101T0000Z-19700101T0001Z.jsonl").read_text()
    assert text.count("\n") == 1 and '"tags":["audit"]' in text and "second line" in text


@pytest.mark.parametrize("odd", [",", ":", ", ", "a,b", "a:b", "\u2028", "[]", '"', "\\", "é"])
def test_t1_comma_and_colon_in_tags_source_and_id(open_log: Open, odd: str) -> None:
    log = open_log()
    id = (
        log.append("x", source=f"s{odd}s", tags=(f"t{odd}t", odd), id=f"i{odd}i")
        if (odd.isprintable())
        else log.append("x", source=f"s{odd}s", tags=(f"t{odd}t", odd))
    )
    log.flush()
    event = log.get(id)
    assert (event.source, event.tags) == (f"s{odd}s", (f"t{odd}t", odd))
    assert names(log, tags=[odd]) == names(log, source=f"s{odd}s") == ["x"]


def test_t1_newline_in_source_comes_back_and_the_file_stays_readable(open_log: Open) -> None:
    log = open_log()
    log.append("x", source="two\nlines")
    log.append("y")
    log.flush()
    assert names(log) == ["x", "y"]
    assert names(log, source="two\nlines") == ["x"]


def test_t1_newline_in_a_tag_or_id_is_refused_before_anything_is_written(open_log: Open) -> None:
    log = open_log()
    for wrong in ({"tags": ("a\nb",)}, {"id": "a\nb"}):
        with pytest.raises(InvalidEvent):
            log.append("x", **wrong)
    assert log.search().count() == 0


def test_t1_one_torn_event_hides_nothing_else(open_log: Open, path: Path) -> None:
    log = open_log()
    log.append("whole", timestamp=0, sync=True)
    segment = path / "1970-01-01/19700101T0000Z-19700101T0001Z.jsonl"
    with segment.open("ab") as file:
        file.write(b'{"timestamp":"1970-01-01T00:00:00.0')
    log.append("later", timestamp=1, sync=True)
    assert names(log) == ["whole", "later"]
    report = log.verify()
    assert not report.ok and report.exit_code == 3 and "not committed" in str(report)


def test_t1_timestamp_zero_is_1970(open_log: Open) -> None:
    log = open_log()
    log.append("x", timestamp=0)
    log.flush()
    assert log.search().to_list()[0].timestamp.isoformat() == "1970-01-01T00:00:00+00:00"


# -- T2: spans ----------------------------------------------------------------------------


def test_t2_a_late_event_makes_no_overlapping_file_and_comes_in_order(
    open_log: Open, path: Path
) -> None:
    log = open_log()
    for name, time in (("b", 1000), ("c", 1059), ("a", 980)):
        log.append(name, timestamp=time, sync=True)
    files = sorted(file.name for file in (path / "1970-01-01").iterdir())
    assert files == ["19700101T0016Z-19700101T0017Z.jsonl", "19700101T0017Z-19700101T0018Z.jsonl"]
    assert names(log) == ["a", "b", "c"]


def test_t2_an_event_in_the_gap_between_two_segments_is_found_in_its_own_range(
    open_log: Open,
) -> None:
    log = open_log()
    for time in (0, 600, 300):
        log.append(str(time), timestamp=time, sync=True)
    assert names(log, 299, 301) == ["300"]
    assert names(log, 240, 360) == ["300"]
    assert names(log, 60, 240) == []


# -- T3: the memory file ------------------------------------------------------------------


def test_t3_a_flush_writes_only_what_is_new(open_log: Open, path: Path) -> None:
    log = open_log()
    log.append("a", timestamp=0, sync=True)
    segment = path / "1970-01-01/19700101T0000Z-19700101T0001Z.jsonl"
    before, inode = segment.read_bytes(), segment.stat().st_ino
    log.append("b", timestamp=0, sync=True)
    assert segment.read_bytes().startswith(before) and segment.stat().st_ino == inode


def test_t3_a_flush_releases_the_memory(open_log: Open) -> None:
    log = open_log()
    log.append("x" * 1000)
    assert log.health().waiting == 1 and log.health().buffer_bytes > 1000
    log.flush()
    assert log.health().waiting == 0 and log.health().buffer_bytes == 0


def test_t3_no_temporary_file_is_left(open_log: Open, path: Path) -> None:
    with open_log() as log:
        for n in range(100):
            log.append("x", timestamp=n, sync=True)
    assert list((path / ".timelog" / "tmp").iterdir()) == []
    assert all(f.name.endswith(".jsonl") for f in path.glob("*/*") if f.parent.name[0] != ".")


def test_t3_a_restart_within_a_minute_loses_nothing(open_log: Open) -> None:
    for n in range(5):
        with open_log() as log:
            log.append(str(n), timestamp=30)
    assert names(open_log()) == ["0", "1", "2", "3", "4"]


def test_t3_append_during_a_flush(open_log: Open) -> None:
    """Four threads append while another flushes without pause: all there, each once."""
    log = open_log()
    done = threading.Event()

    def flush() -> None:
        while not done.is_set():
            log.flush()

    def append(worker: int) -> None:
        for n in range(500):
            log.append(f"{worker}-{n}", timestamp=n % 7 * 60)

    flusher = threading.Thread(target=flush)
    workers = [threading.Thread(target=append, args=(n,)) for n in range(4)]
    for thread in (flusher, *workers):
        thread.start()
    for thread in workers:
        thread.join()
    done.set()
    flusher.join()
    found = names(log)
    assert sorted(found) == sorted(f"{w}-{n}" for w in range(4) for n in range(500))


def test_t3_append_during_close_is_stored_or_refused(open_log: Open) -> None:
    for _ in range(20):
        log = open_log()
        stored: list[str] = []

        def append(log: timelog.EventLog = log, stored: list[str] = stored) -> None:
            try:
                while True:
                    stored.append(log.append("x"))
            except timelog.errors.ClosedError:
                pass

        threads = [threading.Thread(target=append) for _ in range(3)]
        for thread in threads:
            thread.start()
        while len(stored) < 10:
            pass
        log.close()
        for thread in threads:
            thread.join()
        with open_log(mode="r") as again:
            assert set(stored) <= {event.id for event in again.search()}


# -- T4: the timer ------------------------------------------------------------------------


def test_t4_an_exit_without_close_flushes_and_ends(path: Path) -> None:
    done = run(
        "import sys, timelog\n"
        "log = timelog.open(sys.argv[1], flush_interval=3600)\n"
        "log.append('kept')\n",
        path,
    )
    assert done.returncode == 0, done.stderr
    with timelog.open(path, mode="r") as log:
        assert names(log) == ["kept"]


def test_t4_a_log_that_is_collected_flushes(path: Path) -> None:
    log = timelog.open(path, flush_interval=3600.0)
    log.append("kept")
    del log
    # The collector may come in the middle of anything, so the timer's thread does it.
    waiting = threading.Event()
    with timelog.open(path, mode="r") as reader:
        while names(reader) != ["kept"]:
            waiting.wait(0.001)


def test_t4_errors_in_the_background_are_reported_and_it_goes_on(
    open_log: Open, path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    from tests.rig import FaultyStorage

    storage = FaultyStorage(fault="EIO")
    log = open_log(storage=storage, flush_interval=0.01)
    log.append("first", sync=True)
    storage.arm("ENOSPC", only="write")
    storage.sticky = True
    log.append("second")
    failed = threading.Event()
    while not log.health().errors:
        failed.wait(0.001)
    assert log.health().status == "critical" and "the disk is full" in str(log.health())
    assert "a flush failed" in caplog.text
    storage.heal()
    log._store.timer.wake()
    while log.health().status != "healthy":
        failed.wait(0.001)
    assert log.health().waiting == 0
    assert names(log) == ["first", "second"]


def test_t4_cancelling_does_not_wait_for_the_interval() -> None:
    timer = PeriodicTimer(3600.0, lambda: None, lambda error: None)
    timer.start()
    timer.stop()
    assert not timer.is_alive


def test_t4_a_cancel_before_the_start_is_remembered() -> None:
    ran: list[int] = []
    timer = PeriodicTimer(0.0, lambda: ran.append(1), lambda error: None)
    timer.stop()
    timer.start()
    assert not timer.is_alive and not ran


# -- T5: the file index -------------------------------------------------------------------


def test_t5_a_bak_beside_the_segments_does_not_stop_the_open(open_log: Open, path: Path) -> None:
    with open_log() as log:
        log.append("x", timestamp=0)
    stray = path / "1970-01-01" / "19700101T0000Z-19700101T0001Z.jsonl.bak"
    stray.write_text("not an event\n")
    with open_log() as log:
        assert names(log) == ["x"]
        report = log.verify()
    assert report.ok and report.foreign == (f"1970-01-01/{stray.name}",)
    assert stray.read_text() == "not an event\n"


def test_t5_a_file_registered_twice_returns_its_events_once() -> None:
    files = FileIndex()
    segment = Segment(SegmentName(Span.minute(0), 1), 0)
    segment.add(Block(segment.path, 0, 1, 1, (0, 1), 0, 0, 0, 0, (), ()))
    files.add(segment)
    files.add(segment)
    assert files.find(None, None) == [segment] and len(files) == 1


# -- T6, T7: search -----------------------------------------------------------------------


def test_t6_descending_is_the_exact_reverse(open_log: Open) -> None:
    log = open_log()
    for n, time in enumerate((5, 1, 5, 3, 1)):
        log.append(str(n), timestamp=time)
        if n % 2:
            log.flush()
    assert names(log) == ["1", "4", "3", "0", "2"]
    assert names(log, order="desc") == ["2", "0", "3", "4", "1"]


def test_t6_events_are_visible_before_the_first_flush(open_log: Open) -> None:
    log = open_log()
    assert names(log) == []
    log.append("x")
    assert names(log) == ["x"]


def test_t6_empty_content_does_not_pass_every_pattern(open_log: Open) -> None:
    log = open_log()
    log.append("")
    for _ in range(2):
        assert names(log, pattern="a") == []
        assert names(log, pattern="^$") == [""]
        log.flush()


def test_t6_no_tags_come_back_as_no_tags(open_log: Open) -> None:
    log = open_log()
    log.append("x", tags=[])
    log.flush()
    assert log.search().to_list()[0].tags == ()


def test_t6_an_end_of_zero_means_1970(open_log: Open) -> None:
    log = open_log()
    log.append("before", timestamp=-1)
    log.append("after", timestamp=0)
    assert names(log, None, 0) == ["before"]
    assert names(log, 0) == ["after"]


def test_t6_a_pattern_means_search_in_memory_and_on_disk(open_log: Open) -> None:
    log = open_log()
    log.append("in the middle")
    assert names(log, pattern="the") == ["in the middle"]
    log.flush()
    assert names(log, pattern="the") == ["in the middle"]


def test_t7_a_search_that_looks_at_no_content_counts_without_reading(open_log: Open) -> None:
    log = open_log()
    for n in range(100):
        log.append("x", timestamp=n)
    log.flush()
    plan = log.search(0, 120).explain()
    assert (plan.matched.events, plan.read.bytes, plan.decoded.events) == (100, 0, 0)
    assert log.search(tags=["none"]).explain().read.bytes == 0


# -- T8, T9 -------------------------------------------------------------------------------


def test_t8_an_interval_of_zero_flushes_in_the_call(path: Path) -> None:
    with timelog.open(path, flush_interval=0) as log:
        log.append("x")
        with timelog.open(path, mode="r") as reader:
            assert names(reader) == ["x"]


def test_t8_the_timer_flushes_by_itself(path: Path) -> None:
    with timelog.open(path, flush_interval=0.01) as log:
        log.append("x")
        waiting = threading.Event()
        with timelog.open(path, mode="r") as reader:
            while names(reader) != ["x"]:
                waiting.wait(0.001)


def test_t9_get_finds_by_id_in_memory_and_on_disk(open_log: Open) -> None:
    log = open_log()
    own, foreign = log.append("own"), log.append("foreign", id="a,b:c")
    for _ in range(2):
        assert log.get(own).content == "own"
        assert log.get(foreign).content == "foreign"
        log.flush()
    with pytest.raises(timelog.EventNotFound):
        log.get("absent")
    with pytest.raises(TimelogError):
        log.get(own[:-1] + ("0" if own[-1] != "0" else "1"))


def test_t9_of_equal_ids_the_first_by_position_is_got(open_log: Open) -> None:
    log = open_log()
    log.append("first", id="same", timestamp=1000)
    log.append("second", id="same", timestamp=10)
    log.flush()
    assert log.get("same").content == "first"
    assert os.path.isdir(log.path)


# -- S: expiry; N: snapshots --------------------------------------------------------------


def events_of_days(log: timelog.EventLog, *ago: int) -> None:
    """An event of noon of so many days ago, each."""
    for day in ago:
        log.append(f"{day} days ago", timestamp=(MIDNIGHT - day * DAY) / SECOND + 43_200)
    log.sync()


def test_s1_what_has_to_go_goes_and_once(open_log: Open) -> None:
    """The list of what to remove was emptied before anything was removed."""
    log = open_log(storage=Clocked())
    events_of_days(log, 5, 4, 3, 0)
    assert len(log.expire("3 days").partitions) == 2
    assert names(log) == ["3 days ago", "0 days ago"]
    assert log.expire("3 days").partitions == ()


def test_s1_a_day_does_not_go_for_its_oldest_event(open_log: Open) -> None:
    log = open_log(storage=Clocked())
    begins = MIDNIGHT - 3 * DAY
    log.append("first of its day", timestamp=begins / SECOND)
    log.append("last of its day", timestamp=(begins + DAY - SECOND) / SECOND)
    log.sync()
    # By now the first is 3.5 days old, and the last 2.5.
    log.expire("3 days")
    assert names(log) == ["first of its day", "last of its day"]
    log.expire("2 days")
    assert names(log) == []


def test_s2_who_adds_what_is_too_old_is_told(open_log: Open) -> None:
    log = open_log(storage=Clocked(), retention="3 days")
    with pytest.raises(errors.ExpiredError):
        events_of_days(log, 9)
    assert log.audit().refused == {"ExpiredError": 1}


def test_s3_a_crash_does_not_leave_the_queue_for_ever(open_log: Open, path: Path) -> None:
    """Killed when the partition is in the trash: the next that looks after the log empties it."""
    storage = FaultyStorage(only="unlink")
    log = open_log(storage=storage)
    events_of_days(log, 5, 4, 0)
    storage.arm("kill", "unlink")
    with pytest.raises(Killed):
        log.expire(partitions=1, confirm_clock=True)
    abandon(log)
    trash = path / ".timelog" / "trash"
    assert any(trash.iterdir())
    log = open_log()
    assert log.search().count() == 1
    log._store.upkeep.step(lambda: False)
    assert list(trash.iterdir()) == []


def test_s3_only_whole_names_of_the_log_are_touched(open_log: Open, path: Path) -> None:
    """Membership was decided by the beginning of a path."""
    log = open_log(storage=Clocked())
    events_of_days(log, 5, 0)
    gone = next(each for each in sorted(path.iterdir()) if each.name != ".timelog")
    others = [path.parent / f"{path.name}-copy" / gone.name, path / f"{gone.name}-notes"]
    for other in others:
        other.mkdir(parents=True)
        (other / "20261031T0000Z-20261031T0001Z.jsonl").write_text("mine")
    log.expire(partitions=1)
    assert not gone.exists()
    assert all(len(list(other.iterdir())) == 1 for other in others)


def test_s4_it_can_be_forced_and_suspended(open_log: Open) -> None:
    clock = Clocked()
    log = open_log(storage=clock, retention="3 days")
    events_of_days(log, 2)
    log.suspend_expiry()
    clock.pass_by(9 * DAY)
    assert log.expire().suspended
    assert names(log) == ["2 days ago"]
    log.resume_expiry()
    assert len(log.expire().partitions) == 1


def test_n2_an_idle_log_takes_no_snapshot_and_loses_none(open_log: Open, tmp_path: Path) -> None:
    """The clock alone pushed out good ones."""
    clock = Clocked()
    log = open_log(storage=clock)
    dest = tmp_path / "snapshots"
    events_of_days(log, 1)
    log.snapshot(dest)
    log.snapshot(dest, kind="safety")
    clock.pass_by(100 * DAY)
    assert not log.is_snapshot_due(dest, events=1, minutes=1)
    assert log.prune_snapshots(dest) == []
    assert len(log.snapshots(dest)) == 2


def test_n3_the_fourteen_days_are_kept_to(open_log: Open, tmp_path: Path) -> None:
    clock = Clocked()
    log = open_log(storage=clock)
    dest = tmp_path / "snapshots"
    for _ in range(3):
        log.append("more")
        log.snapshot(dest, kind="safety")
        clock.pass_by(8 * DAY)
    log.append("more")
    log.snapshot(dest)
    gone = log.prune_snapshots(dest)
    assert len(gone) == 2
    assert len(log.snapshots(dest)) == 2


def test_n4_two_of_one_moment_do_not_overwrite_each_other(open_log: Open, tmp_path: Path) -> None:
    log = open_log(storage=Clocked())
    dest = tmp_path / "snapshots"
    events_of_days(log, 1)
    one, two = log.snapshot(dest), log.snapshot(dest)
    assert one.path < two.path
    Path(two.path, ".timelog", "manifest").write_bytes(b"broken")
    # A broken newest one stops nothing.
    assert log.snapshot(dest).ok
    assert [each.ok for each in log.snapshots(dest)] == [True, False, True]

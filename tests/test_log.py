"""`EventLog`: what callers may pass, what they get, and what they are told."""

from __future__ import annotations

import math
import os
import re
import stat
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

import timelog
from timelog import errors
from timelog.errors import (
    BufferFull,
    ClosedError,
    CursorError,
    InvalidEvent,
    InvalidInput,
    InvalidPattern,
    InvalidTime,
    NotALogError,
    ReadOnlyError,
    VersionError,
)

Open = Callable[..., timelog.EventLog]


def names(log: timelog.EventLog, *args: Any, **options: Any) -> list[str]:
    return [event.content for event in log.search(*args, **options)]


# -- append -------------------------------------------------------------------------------


def test_an_event_comes_back_as_it_went_in(open_log: Open) -> None:
    log = open_log()
    moment = datetime(2026, 11, 21, 10, 15, 3, 123456, tzinfo=timezone(timedelta(hours=1)))
    fields = {"n": 1, "x": 1.5, "list": [True, None, "é"], "deep": {"a": {}}}
    id = log.append("text", source="s", tags=["a", "b"], timestamp=moment, fields=fields)
    expected = timelog.Event(moment.astimezone(UTC), id, "s", ("a", "b"), "text", fields)
    for _ in range(2):
        assert log.search().to_list() == [expected]
        assert log.get(id) == expected
        log.flush()


@pytest.mark.parametrize(
    ("time", "expected"),
    [
        (0, "1970-01-01T00:00:00.000000Z"),
        (-1.5, "1969-12-31T23:59:58.500000Z"),
        (1700000000.123456, "2023-11-14T22:13:20.123456Z"),
        (59.9999999, "1970-01-01T00:01:00.000000Z"),
        ("2026-11-21T10:15:00Z", "2026-11-21T10:15:00.000000Z"),
        ("2026-11-21 10:15:00.5+01:00", "2026-11-21T09:15:00.500000Z"),
        ("0001-01-01T00:00:00Z", "0001-01-01T00:00:00.000000Z"),
    ],
)
def test_times_are_rounded_before_the_span_is_chosen(
    open_log: Open, path: Path, time: Any, expected: str
) -> None:
    with open_log() as log:
        log.append("x", timestamp=time)
    [segment] = path.glob("[0-9]*/*.jsonl")
    assert f'"timestamp":"{expected}"' in segment.read_text()
    stamp = expected[:16].replace("-", "").replace(":", "")
    assert segment.name.startswith(stamp)


def test_a_relative_time_counts_from_now(open_log: Open) -> None:
    log = open_log()
    log.append("old", timestamp="-2h")
    log.append("new")
    assert names(log, "-1h") == ["new"]
    assert names(log, "-1 week", "-1h30m") == ["old"]


WRONG_EVENTS = [
    ({"content": 5}, "content must be a str"),
    ({"content": b"x"}, "content must be a str"),
    ({"content": "\ud800"}, "lone surrogate"),
    ({"content": "x" * 1001}, "max_content"),
    ({"content": "é" * 501}, "1002 bytes"),
    ({"source": None}, "source must be a str"),
    ({"source": ["x"]}, "source must be a str"),
    ({"source": "\udfff"}, "lone surrogate"),
    ({"source": "x" * 257}, "256"),
    ({"tags": "auth"}, r"\('auth',\)"),
    ({"tags": [1]}, "a tag must be a str"),
    ({"tags": [["a"]]}, "a tag must be a str"),
    ({"tags": 5}, "sequence"),
    ({"tags": {"a": 1}}, "mapping"),
    ({"tags": [""]}, "1 to 128"),
    ({"tags": ["x" * 129]}, "1 to 128"),
    ({"tags": ["a\x07b"]}, "control character"),
    ({"tags": ["\x85"]}, "control character"),
    ({"tags": ["\ud800"]}, "lone surrogate"),
    ({"tags": [str(n) for n in range(65)]}, "64"),
    ({"id": ""}, "1 to 256"),
    ({"id": "x" * 257}, "1 to 256"),
    ({"id": 7}, "an id must be a str"),
    ({"id": "a\u2028b"}, "printable"),
    ({"id": "\ud800"}, "printable"),
    ({"fields": [1]}, "fields must be a dict"),
    ({"fields": {1: 2}}, "must be a str"),
    ({"fields": {"a": math.nan}}, "JSON has no nan"),
    ({"fields": {"a": [math.inf]}}, "JSON has no inf"),
    ({"fields": {"a": 2**64}}, "64 bits"),
    ({"fields": {"a": datetime.now(UTC)}}, "no JSON form"),
    ({"fields": {"a": "\ud800"}}, "lone surrogate"),
    ({"fields": {"a": "x" * 300_000}}, "limit"),
]
WRONG_TIMES = [
    (datetime(2026, 1, 1), "no time zone"),
    (math.nan, "finite"),
    (math.inf, "finite"),
    (-math.inf, "finite"),
    (1e300, "years 1 to 9999"),
    (-1e12, "years 1 to 9999"),
    (1_700_000_000_000, "milliseconds"),
    (True, "not bool"),
    (b"now", "not bytes"),
    ("yesterday-ish", "not a time with a zone"),
    ("2026-11-21T10:15:00", "not a time with a zone"),
    ("2026-02-30T10:15:00Z", "not a time"),
    ("", "not a time"),
    ("-1 fortnight", "not a duration"),
    ("+2 days", "max_future"),
]


@pytest.mark.parametrize(("wrong", "message"), WRONG_EVENTS, ids=lambda value: str(value)[:40])
def test_a_wrong_event_is_refused_before_anything_is_written(
    open_log: Open, path: Path, wrong: dict[str, Any], message: str
) -> None:
    log = open_log(max_content=1000)
    event = {"content": "x", **wrong}
    content = event.pop("content")
    with pytest.raises(InvalidEvent, match=message):
        log.append(content, **event)
    with pytest.raises(InvalidEvent, match=message):
        log.append_many([{"content": "fine"}, {"content": content, **event}])
    log.close()
    assert list(path.glob("[0-9]*")) == []


@pytest.mark.parametrize(("wrong", "message"), WRONG_TIMES, ids=lambda value: str(value)[:40])
def test_a_wrong_time_is_refused(open_log: Open, wrong: Any, message: str) -> None:
    log = open_log()
    with pytest.raises(InvalidTime, match=message):
        log.append("x", timestamp=wrong)
    if message != "max_future":
        with pytest.raises(InvalidTime, match=message):
            log.search(wrong)
    assert log.search().count() == 0


def test_fields_that_contain_themselves_are_refused(open_log: Open) -> None:
    loop: dict[str, Any] = {}
    loop["loop"] = loop
    with pytest.raises(InvalidEvent, match="contain themselves"):
        open_log().append("x", fields=loop)


def test_an_event_keeps_the_fields_of_the_moment(open_log: Open) -> None:
    log = open_log()
    fields = {"list": [1]}
    log.append("x", fields=fields)
    fields["list"].append(2)
    assert log.search().to_list()[0].fields == {"list": [1]}


def test_ids_increase_with_time_and_are_unique(open_log: Open) -> None:
    log = open_log()
    ids = [log.append("x") for _ in range(10_000)]
    assert ids == sorted(set(ids))
    same = [log.append("x", timestamp=1000) for _ in range(5000)]
    assert same == sorted(set(same))


# -- append_many and cursors --------------------------------------------------------------


def test_append_many_takes_events_and_mappings(open_log: Open) -> None:
    log = open_log()
    event = timelog.Event(datetime(2026, 1, 1, tzinfo=UTC), "id", "s", ("t",), "c", {"a": 1})
    assert log.append_many([event, {"content": "d", "tags": ["t"], "timestamp": 0}]) == 2
    log.flush()
    assert log.get("id") == event
    assert names(log) == ["d", "c"]


def test_append_many_is_all_or_nothing(open_log: Open) -> None:
    log = open_log()
    with pytest.raises(InvalidEvent, match="'contents'"):
        log.append_many([{"content": "a"}, {"contents": "b"}])
    with pytest.raises(InvalidEvent, match="needs a 'content'"):
        log.append_many([{"content": "a"}, {"source": "b"}])
    with pytest.raises(InvalidEvent, match="not int"):
        log.append_many([{"content": "a"}, 5])  # type: ignore[list-item]
    assert log.search().count() == 0 and log.append_many([]) == 0


def test_a_cursor_is_stored_with_its_events(open_log: Open) -> None:
    log = open_log()
    assert log.cursor("place") is None
    log.append_many([{"content": "a"}], cursor=("place", {"inode": 5, "offset": [1, 2]}))
    assert log.cursor("place") == {"inode": 5, "offset": [1, 2]}
    log.close()
    assert open_log(mode="r").cursor("place") == {"inode": 5, "offset": [1, 2]}
    log = open_log()
    log.append_many([], cursor=("place", 0))
    log.append_many([], cursor=("other", None))
    log.sync()
    assert (log.cursor("place"), log.cursor("other")) == (0, None)


@pytest.mark.parametrize("wrong", ["x", ("", 1), (1, 2), ("n", object()), ("n", b"x" * 70_000)])
def test_a_wrong_cursor_takes_no_event(open_log: Open, wrong: Any) -> None:
    log = open_log()
    with pytest.raises(InvalidInput):
        log.append_many([{"content": "a"}], cursor=wrong)
    assert log.search().count() == 0


def test_more_than_the_buffer_holds_is_refused_whole(open_log: Open) -> None:
    log = open_log(max_buffer=100_000, max_content=50_000)
    with pytest.raises(BufferFull, match="smaller parts"):
        log.append_many({"content": "x" * 10_000} for _ in range(20))
    assert log.search().count() == 0


def test_a_full_buffer_refuses_or_waits(open_log: Open) -> None:
    log = open_log(max_buffer=100_000, max_content=50_000)
    log._store.timer.stop()
    with pytest.raises(BufferFull, match="max_buffer"):
        while True:
            log.append("x" * 10_000, block=False)
    stored = log.health().waiting
    waiting = threading.Thread(target=log.append, args=("waits",))
    waiting.start()
    log.flush()
    waiting.join()
    assert log.search().count() == stored + 1


# -- search -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"start": 2, "end": 1}, InvalidInput, "after end"),
        ({"pattern": "("}, InvalidPattern, "does not compile"),
        ({"pattern": b"x"}, InvalidPattern, "must be a str"),
        ({"pattern": re.compile(b"x")}, InvalidPattern, "must be a str"),
        ({"order": "up"}, InvalidInput, "'asc' or 'desc'"),
        ({"limit": -1}, InvalidInput, "limit"),
        ({"limit": 1.5}, InvalidInput, "limit"),
        ({"limit": True}, InvalidInput, "limit"),
        ({"as_of": -1}, InvalidInput, "as_of"),
        ({"as_of": 1}, CursorError, "ahead of the log"),
        ({"tags": "auth"}, InvalidEvent, "sequence of str"),
        ({"source": 5}, InvalidInput, "source must be"),
        ({"where": 5}, InvalidInput, "callable"),
    ],
    ids=lambda value: str(value)[:30],
)
def test_a_wrong_search_is_refused(
    open_log: Open, options: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        open_log().search(**options)


def test_a_search_sees_the_log_as_it_was_when_it_was_made(open_log: Open) -> None:
    log = open_log()
    log.append("committed", timestamp=0, sync=True)
    log.append("in memory", timestamp=1)
    results = log.search()
    log.append("too late", timestamp=0.5)
    log.flush()
    assert [event.content for event in results] == ["committed", "in memory"]
    assert [event.content for event in results] == ["committed", "in memory"]
    assert results.count() == 2
    first = results.first()
    assert first is not None and first.content == "committed"
    assert names(log) == ["committed", "too late", "in memory"]


def test_as_of_gives_the_same_answer_for_ever(open_log: Open) -> None:
    log = open_log()
    log.append_many([{"content": "a", "timestamp": 5}, {"content": "b", "timestamp": 6}])
    log.flush()
    position = log.position
    assert position == 2
    for n in range(5):
        log.append(f"later {n}", timestamp=n, sync=True)
        assert names(log, as_of=position) == ["a", "b"]
        assert names(log, as_of=1) == ["a"]
        assert names(log, as_of=0) == []


def test_sources_are_any_of_and_tags_all_of(open_log: Open) -> None:
    log = open_log()
    log.append("1", source="a", tags=("x",))
    log.append("2", source="b", tags=("x", "y"))
    log.append("3", source="c", tags=("y",))
    for _ in range(2):
        assert names(log, source=["a", "b"]) == ["1", "2"]
        assert names(log, source=[]) == []
        assert names(log, tags=["x", "y"]) == ["2"]
        assert names(log, tags=["x"], source="a", pattern="1") == ["1"]
        assert names(log, where=lambda event: event.content > "1") == ["2", "3"]
        log.flush()


def test_a_damaged_block_is_withheld_and_named(
    open_log: Open, path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    log = open_log()
    log.append_many({"content": f"bad {n}", "timestamp": n} for n in range(3))
    log.append("good", timestamp=100)
    log.flush()
    segment = path / "1970-01-01/19700101T0000Z-19700101T0001Z.jsonl"
    data = bytearray(segment.read_bytes())
    data[data.index(b"bad 1") + 4] ^= 1
    segment.write_bytes(data)
    results = log.search()
    assert [event.content for event in results] == ["good"]
    [damage] = results.damage
    assert (damage.file, damage.offset, damage.length) == (
        "1970-01-01/" + segment.name,
        0,
        len(data),
    )
    assert "crc" in caplog.text and segment.name in caplog.text
    assert log.health().status == "critical"
    assert names(log, salvage=True) == ["bad 0", "bad 0", "bad 2", "good"]
    report = log.verify()
    assert not report.ok and report.exit_code == 1 and segment.name in str(report)
    segment.unlink()
    assert names(log) == ["good"]


# -- open and close -----------------------------------------------------------------------


def test_closing_twice_is_fine_and_using_a_closed_log_is_not(open_log: Open) -> None:
    log = open_log()
    log.close()
    log.close()
    assert log.is_closed and "closed" in repr(log)
    for use in (
        lambda: log.append("x"),
        lambda: log.append_many([{"content": "x"}]),
        lambda: log.search(),
        lambda: log.get("x"),
        lambda: log.flush(),
        lambda: log.sync(),
        lambda: log.verify(),
        lambda: log.health(),
        lambda: log.reopen(),
        lambda: log.cursor("x"),
        lambda: log.position,
    ):
        with pytest.raises(ClosedError, match="open it again"):
            use()


def test_a_file_is_not_a_log(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("mine")
    for mode in ("a", "r"):
        with pytest.raises(NotALogError, match="is a file"):
            timelog.open(file, mode=mode)
    assert file.read_text() == "mine"


def test_a_foreign_directory_is_not_turned_into_a_log(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    for mode in ("a", "r"):
        with pytest.raises(NotALogError, match="not a timelog"):
            timelog.open(tmp_path, mode=mode)
    assert os.listdir(tmp_path) == ["mine.txt"]


def test_reading_what_is_not_there_creates_nothing(path: Path) -> None:
    with pytest.raises(NotALogError):
        timelog.open(path, mode="r")
    assert not path.exists()


def test_a_newer_format_is_refused(open_log: Open, path: Path) -> None:
    open_log().close()
    file = path / ".timelog" / "format"
    file.write_text('{"format":"timelog","version":2,"id":"x"}')
    with pytest.raises(VersionError, match="newer release"):
        open_log()
    file.write_text("garbage")
    with pytest.raises(errors.DamagedError, match="format is damaged"):
        open_log()


@pytest.mark.parametrize(
    "options",
    [
        {"mode": "w"},
        {"sync": "always"},
        {"flush_interval": -1},
        {"flush_interval": math.nan},
        {"max_buffer": 10},
        {"max_buffer": "64"},
        {"lock_timeout": -1},
        {"max_content": 0},
        {"max_future": math.inf},
        {"max_content": 10**9},
    ],
    ids=str,
)
def test_a_wrong_option_creates_nothing(path: Path, options: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput):
        timelog.open(path, **options)
    assert not path.exists()


def test_sync_comes_from_the_environment(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TIMELOG_SYNC", "never")
    with pytest.raises(InvalidInput, match="TIMELOG_SYNC"):
        timelog.open(path)
    monkeypatch.setenv("TIMELOG_SYNC", "off")
    with timelog.open(path) as log:
        assert log._store.options.sync == "off"


def test_a_read_only_directory_is_told_from_others(ram: Path) -> None:
    """Run by somebody who may read the directory and nothing more."""
    timelog.open(ram / "log").close()
    subprocess.run(["chmod", "-R", "a+rX,a-w", ram], check=True)
    program = """
import os, sys, timelog
if os.geteuid() == 0:
    os.setuid(65534)
for name in ("log", "new"):
    try:
        timelog.open(os.path.join(sys.argv[1], name))
    except timelog.errors.ReadOnlyError as error:
        print(error)
print(timelog.open(os.path.join(sys.argv[1], "log"), mode="r").search().count())
"""
    done = subprocess.run(
        [sys.executable, "-c", program, ram],
        capture_output=True,
        text=True,
        check=False,
        cwd=Path(__file__).parents[1],
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("permission is denied") == 2, done.stdout and done.stdout.endswith(
        "0\n"
    )


def test_a_read_only_log_writes_nothing(open_log: Open, path: Path) -> None:
    with open_log() as log:
        log.append("x")
    before = {file: file.stat().st_mtime_ns for file in path.rglob("*")}
    with open_log(mode="r") as log:
        assert names(log) == ["x"]
        assert log.verify(deep=True).ok and log.health().ok
        for write in (lambda: log.append("y"), log.flush, log.sync, log.reopen):
            with pytest.raises(ReadOnlyError, match="mode='a'"):
                write()
    assert {file: file.stat().st_mtime_ns for file in path.rglob("*")} == before


def test_files_are_private_unless_the_group_may_read(tmp_path: Path) -> None:
    for group, directory, file in ((False, 0o700, 0o600), (True, 0o750, 0o640)):
        root = tmp_path / str(group)
        with timelog.open(root, group=group) as log:
            log.append("x")
        [segment] = root.glob("[0-9]*/*.jsonl")
        assert stat.S_IMODE(segment.stat().st_mode) == file
        assert stat.S_IMODE(segment.parent.stat().st_mode) == directory


def test_a_partial_creation_is_finished(path: Path) -> None:
    (path / ".timelog").mkdir(parents=True)
    with timelog.open(path) as log:
        log.append("x")
    with timelog.open(path, mode="r") as log:
        assert names(log) == ["x"]


def test_sync_off_leaves_the_disk_alone_until_asked(path: Path) -> None:
    from tests.rig import FaultyStorage

    storage = FaultyStorage(only="sync")
    log = timelog.open(path, sync="off", flush_interval=3600, storage=storage)
    created = len(storage.calls)
    log.append("a", timestamp=0)
    log.flush()
    assert len(storage.calls) == created
    log.sync()
    synced = len(storage.calls)
    assert synced > created
    log.sync()
    assert len(storage.calls) == synced
    log.close()


def test_the_top_level_has_at_most_a_dozen_names() -> None:
    assert len(timelog.__all__) <= 12
    assert all(hasattr(timelog, name) for name in timelog.__all__)


def test_a_file_cut_to_nothing_is_named(open_log: Open, path: Path) -> None:
    log = open_log()
    log.append("x", timestamp=0, sync=True)
    [segment] = path.glob("1970*/*")
    segment.write_bytes(b"")
    results = log.search()
    assert results.to_list() == []
    assert [damage.reason for damage in results.damage] == ["the file is too short"]


@given(
    st.lists(
        st.tuples(
            st.text(st.characters(exclude_categories=["Cs"]), max_size=20),
            st.text(st.characters(exclude_categories=["Cs"]), max_size=10),
            st.lists(
                st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=5),
                max_size=3,
            ),
        ),
        min_size=1,
        max_size=5,
    )
)
@example(
    [("".join(map(chr, range(256))), "\x00\n\r\x1c\x85\u2028\u2029", ["\u2028", "\ufeff", ","])]
)
@settings(max_examples=60)
def test_every_character_comes_back_from_memory_and_from_disk(
    rows: list[tuple[str, str, list[str]]],
) -> None:
    with tempfile.TemporaryDirectory() as name, timelog.open(name + "/log", sync="off") as log:
        for content, source, tags in rows:
            log.append(content, source=source, tags=tags, timestamp=0)
        for _ in range(2):
            found = [(e.content, e.source, list(e.tags)) for e in log.search()]
            assert found == rows
            for content, source, tags in rows:
                again = log.search(source=source, tags=tags, pattern=re.escape(content))
                assert (content, source, tags) in [
                    (e.content, e.source, list(e.tags)) for e in again
                ]
            log.flush()

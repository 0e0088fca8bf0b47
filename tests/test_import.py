"""Imports: every event once, whatever is wrong with a file, wherever an import was cut off."""

from __future__ import annotations

import io
import itertools
import json
import logging
import math
import os
import random
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from theia.model import Event as TheiaEvent
from theia.model import EventSerializer
from theia.naivestore import NaiveEventStore

import timelog
from tests.rig import FaultyStorage, Killed, abandon_all
from timelog.errors import DamagedError, InvalidInput
from timelog.exchange import intake
from timelog.exchange.intake import Imported
from timelog.exchange.journald import import_journald
from timelog.exchange.jsonl import ROLES, import_jsonl
from timelog.exchange.moments import moment
from timelog.exchange.theia import import_theia

Open = Callable[..., timelog.EventLog]
START = 1_700_000_000


def contents(log: timelog.EventLog) -> list[str]:
    return [event.content for event in log.search()]


# -- theia ------------------------------------------------------------------------------------


def theia_event(number: int, **changed: Any) -> TheiaEvent:
    values: dict[str, Any] = {
        "id": f"id-{number}",
        "source": f"/var/log/{number % 3}",
        "timestamp": START + number * 7.5,
        "tags": ["a", f"t{number % 4}"],
        "content": f"event {number}\nof several lines, größe\n\nevent: 1 2 3\n",
        **changed,
    }
    return TheiaEvent(**values)


def theia_directory(folder: Path, count: int = 60) -> Path:
    """What theia itself writes for ``count`` events of some minutes, not in order of time."""
    folder.mkdir()
    store = NaiveEventStore(str(folder), flush_interval=0)
    numbers = list(range(count))
    random.Random(3).shuffle(numbers)
    for number in numbers:
        store.save(theia_event(number))
    store.close()
    return folder


def serialized(event: TheiaEvent) -> bytes:
    return bytes(EventSerializer().serialize(event)) + b"\n"


def test_everything_that_theia_wrote(open_log: Open, tmp_path: Path) -> None:
    root = theia_directory(tmp_path / "theia")
    assert len(list(root.iterdir())) > 3
    log = open_log()
    report = import_theia(log, root)
    assert (report.events, report.ok, report.changed, report.resumed) == (60, True, 0, False)
    events = log.search().to_list()
    assert [event.id for event in events] == [f"id-{number}" for number in range(60)]
    for number, event in enumerate(events):
        wanted = theia_event(number)
        assert event.timestamp.timestamp() == wanted.timestamp
        assert (event.source, list(event.tags)) == (wanted.source, wanted.tags)
        assert event.content == wanted.content
    again = import_theia(log, root)
    assert (again.events, again.resumed, str(again)) == (0, True, "0 events more")
    assert log.search().count() == 60


def test_what_theia_itself_cannot_read(open_log: Open, tmp_path: Path) -> None:
    """A newline in the source, a comma in a tag, no tags, an event outside of its file's span."""
    root = tmp_path / "theia"
    root.mkdir()
    events = [
        theia_event(0, source="two\nlines", tags=[]),
        theia_event(1, tags=["a,b", "c\nd"], content=""),
        theia_event(2, timestamp=START + 10_000.1234567, id="id:with:colons"),
        theia_event(3, timestamp=-5.25),
    ]
    (root / f"{START}-{START + 60}").write_bytes(b"".join(map(serialized, events)))
    log = open_log()
    report = import_theia(log, root)
    assert (report.events, report.skipped, report.changed) == (4, 0, 1)
    found = {event.content or "empty": event for event in log.search()}
    assert len(found) == 4
    assert log.get("id-0").source == "two\nlines" and log.get("id-0").tags == ()
    assert log.get("id-1").tags == ("a", "b", "c\N{REPLACEMENT CHARACTER}d")
    assert log.get("id:with:colons").timestamp.microsecond == 123457
    assert log.get("id-3").timestamp == datetime(1969, 12, 31, 23, 59, 54, 750_000, UTC)


@pytest.mark.parametrize("cut", range(1, 125, 6))
def test_a_torn_end_is_reported_and_taken_up_later(
    open_log: Open, tmp_path: Path, cut: int
) -> None:
    root = tmp_path / "theia"
    root.mkdir()
    file = root / f"{START}-{START + 60}"
    whole = b"".join(serialized(theia_event(number)) for number in range(3))
    file.write_bytes(whole[:-cut])
    log = open_log()
    report = import_theia(log, root)
    if cut <= 2:  # only newlines are missing
        assert (report.events, report.skipped) == (3, 0)
    else:
        assert (report.events, report.skipped) == (2, 1)
        (note,) = report.notes
        assert note.file == str(file) and whole[note.offset :].startswith(b"event: ")
    file.write_bytes(whole)
    assert import_theia(log, root).events == 3 - report.events
    assert [event.id for event in log.search()] == ["id-0", "id-1", "id-2"]


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"event: ", b"evnt: "),
        (b"timestamp: 17", b"timestamp: xx"),
        (b"timestamp: 17", b"timestamp: 1000000000017"),
        (b"id:id-1", b"id/id-1"),
        (b"/var/log", b""),
        (b"/var/log", b"/longer/var/log"),
        (b"event: ", b"event: 9"),
        (b"event: ", b"event: 99999999999"),
    ],
)
def test_a_malformed_event_is_skipped_and_the_next_one_found(
    open_log: Open, tmp_path: Path, old: bytes, new: bytes
) -> None:
    root = tmp_path / "theia"
    root.mkdir()
    parts = [serialized(theia_event(number)) for number in range(4)]
    start = len(parts[0])
    parts[1] = parts[1].replace(old, new, 1)
    (root / f"{START}-{START + 60}").write_bytes(b"".join(parts))
    log = open_log()
    report = import_theia(log, root)
    assert [event.id for event in log.search()] == ["id-0", "id-2", "id-3"]
    assert report.skipped == 1
    assert report.notes[0].offset == start
    assert str(report) == "3 events, 1 places skipped"


@given(st.data())
def test_no_damage_is_fatal_or_silent(tmp_path_factory: Any, data: st.DataObject) -> None:
    """Whatever bytes change: what is whole is imported, the rest is reported."""
    root = tmp_path_factory.mktemp("theia")
    parts = [serialized(theia_event(number, content=f"event {number}")) for number in range(5)]
    text = bytearray(b"".join(parts))
    at = data.draw(st.integers(0, len(text) - 1))
    length = data.draw(st.integers(0, 40))
    text[at : at + length] = data.draw(st.binary(max_size=40))
    (root / f"{START}-{START + 60}").write_bytes(text)
    untouched, start = [], 0
    for number, part in enumerate(parts):
        # What stands right before an event can make its first line another one.
        if start + len(part) <= at or start > at + length:
            untouched.append(f"event {number}")
        start += len(part)
    with timelog.open(root / "log", flush_interval=3600.0) as log:
        report = import_theia(log, root)
        found = contents(log)
        assert set(untouched) <= set(found)
        # A change within a text shows in the event; any other is reported.
        assert len(found) + report.skipped >= len(parts) - (length > 0)


def test_other_files_are_left_alone_and_named(open_log: Open, tmp_path: Path) -> None:
    root = theia_directory(tmp_path / "theia", 5)
    (root / "1000-1060.bak").write_text("x")
    (root / "tmpab12").write_bytes(serialized(theia_event(77)))
    (root / "5-6").mkdir()
    log = open_log()
    report = import_theia(log, root)
    assert report.events == 5
    assert report.left_alone == ["1000-1060.bak", "5-6", "tmpab12"]
    assert "3 files left alone" in str(report)
    with pytest.raises(InvalidInput, match="not a directory"):
        import_theia(log, tmp_path / "none")


def test_a_directory_that_grew_goes_on_and_one_that_changed_is_refused(
    open_log: Open, tmp_path: Path
) -> None:
    root = theia_directory(tmp_path / "theia", 30)
    log = open_log()
    import_theia(log, root)
    late = START + 90_000
    (root / f"{late}-{late + 60}").write_bytes(serialized(theia_event(900, timestamp=late)))
    assert import_theia(log, root).events == 1
    early = root / f"{START - 500}-{START - 440}"
    early.write_bytes(serialized(theia_event(901, timestamp=START - 500)))
    with pytest.raises(InvalidInput, match="added, removed or changed"):
        import_theia(log, root)
    early.unlink()
    assert import_theia(log, root).events == 0
    last = max(root.iterdir())
    last.write_bytes(serialized(theia_event(902, timestamp=late, content="another")))
    with pytest.raises(InvalidInput, match="not the file any more"):
        import_theia(log, root)
    last.unlink()
    with pytest.raises(InvalidInput, match="added, removed or changed"):
        import_theia(log, root)
    assert log.search().count() == 31


# -- exactly once -------------------------------------------------------------------------------


def journal_entry(number: int) -> bytes:
    return f"__REALTIME_TIMESTAMP={START + number}000000\nMESSAGE=event {number}\n\n".encode()


def make_source(kind: str, folder: Path) -> tuple[Path, int]:
    """A source of some events with something malformed among them; how many can be read."""
    folder.mkdir()
    if kind == "theia":
        first = b"".join(serialized(theia_event(n, content=f"event {n}")) for n in range(8))
        second = b"".join(serialized(theia_event(n, content=f"event {n}")) for n in range(8, 20))
        (folder / "1-61").write_bytes(first)
        (folder / "61-121").write_bytes(b"nonsense\n" + second)
        return folder, 20
    if kind == "jsonl":
        lines = [json.dumps({"t": START + n, "msg": f"event {n}"}) for n in range(20)]
        lines.insert(7, "{nonsense")
    else:
        lines = [journal_entry(n).decode() for n in range(20)]
        lines.insert(7, "no field\n\n")
    (folder / "file").write_text("".join(lines) if kind == "journald" else "\n".join(lines) + "\n")
    return folder / "file", 20


IMPORTS: dict[str, Callable[..., Imported]] = {
    "theia": import_theia,
    "jsonl": import_jsonl,
    "journald": import_journald,
}


@pytest.mark.parametrize("kind", IMPORTS)
@pytest.mark.parametrize("fault", ["kill", "torn"])
def test_killed_at_any_moment_each_event_comes_once(
    kind: str, fault: str, ram: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(intake, "_MOST_EVENTS", 3)
    monkeypatch.setattr(intake, "_FLUSH_EVENTS", 6)
    source, count = make_source(kind, ram / "source")
    for at in itertools.count(1, 3):
        path = ram / f"log-{at}"
        storage = FaultyStorage(at, fault)
        try:
            with timelog.open(path, flush_interval=3600.0, storage=storage) as log:
                IMPORTS[kind](log, source)
        except Killed:
            abandon_all()
        with timelog.open(path, flush_interval=3600.0) as log:
            report = IMPORTS[kind](log, source)
            assert contents(log) == [f"event {number}" for number in range(count)], at
            assert log.verify(deep=True).ok and log.audit().ok
            assert report.events <= count
        if not storage.happened():
            return


@pytest.mark.parametrize("kind", IMPORTS)
def test_an_import_in_another_process_goes_on(kind: str, path: Path, tmp_path: Path) -> None:
    source, count = make_source(kind, tmp_path / "source")
    with timelog.open(path) as log:
        assert IMPORTS[kind](log, source).events == count
    with timelog.open(path) as log:
        report = IMPORTS[kind](log, source)
        assert (report.events, report.resumed) == (0, True)


def test_a_cursor_that_is_no_place_is_an_error(open_log: Open, tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("{}\n")
    log = open_log()
    from timelog.exchange.source import Source

    name = Source(file).cursor_name("jsonl")
    assert name is not None
    log.append_many([], cursor=(name, ["something"]))
    with pytest.raises(DamagedError):
        import_jsonl(log, file)


def test_what_the_log_refuses_is_skipped_by_place(open_log: Open, tmp_path: Path) -> None:
    """Events past the limit into the future, and such that have expired, among good ones."""
    now = datetime.now(UTC)
    times = [now, now + timedelta(days=9), now, now - timedelta(days=400), now, now]
    lines = [json.dumps({"at": time.isoformat(), "msg": f"{n}"}) for n, time in enumerate(times)]
    file = tmp_path / "file"
    file.write_text("\n".join(lines) + "\n")
    log = open_log(retention="30 days")
    report = import_jsonl(log, file)
    assert sorted(contents(log)) == ["0", "2", "4", "5"]
    assert (report.events, report.skipped) == (4, 2)
    ahead, expired = report.notes
    assert ahead.offset == len(lines[0]) + 1 and "max_future" in ahead.reason
    assert "older than what the log keeps" in expired.reason
    assert import_jsonl(log, file).events == 0
    assert log.audit().ok


def test_a_log_with_a_small_buffer_takes_smaller_batches(open_log: Open, tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("".join(f'{{"t": {START + n}, "msg": "event {n}"}}\n' for n in range(1000)))
    log = open_log(max_buffer=65_536, max_content=9_000, max_fields=9_000)
    assert import_jsonl(log, file).events == 1000
    assert contents(log) == [f"event {number}" for number in range(1000)]
    file.write_text(file.read_text() + '{"msg": "%s"}\n' % ("x" * 10_000))
    report = import_jsonl(log, file)
    assert (report.events, report.skipped) == (0, 1)
    assert "max_content" in report.notes[0].reason


def test_a_name_that_is_not_utf8(open_log: Open, tmp_path: Path) -> None:
    file = Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff\x1b"))
    file.write_text('{"msg": "x"}\nnonsense\n')
    log = open_log()
    report = import_jsonl(log, file)
    assert (report.events, report.skipped) == (1, 1)
    assert "\\xff\x1b, byte 13" in str(report.notes[0])
    assert import_jsonl(log, file).events == 0


def test_a_part_of_the_log_is_refused(open_log: Open, path: Path) -> None:
    log = open_log()
    log.append("x", sync=True)
    (segment,) = path.glob("2*/*.jsonl")
    for act in (import_jsonl, import_journald):
        with pytest.raises(InvalidInput, match="part of the log"):
            act(log, segment)
    with pytest.raises(timelog.errors.StorageError, match="reading"):
        import_jsonl(log, path)


def test_a_disk_that_cannot_be_read_is_told_of(
    open_log: Open, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Never as if there were no earlier import: the events would come twice."""
    file = tmp_path / "file"
    file.write_text('{"msg": "x"}\n')
    log = open_log()
    import_jsonl(log, file)
    plain = {name: getattr(os, name) for name in ("stat", "lstat")}
    for name in plain:

        def fail(path: Any, *args: Any, name: str = name, **options: Any) -> Any:
            if os.fspath(path) == str(file):
                raise OSError(5, "Input/output error")
            return plain[name](path, *args, **options)

        monkeypatch.setattr(os, name, fail)
        with pytest.raises(timelog.errors.StorageError):
            import_jsonl(log, file)
        monkeypatch.undo()
    assert log.search().count() == 1


# -- JSON lines -----------------------------------------------------------------------------


def imported(log: timelog.EventLog, tmp_path: Path, *lines: Any, **options: Any) -> Imported:
    file = tmp_path / f"{len(list(tmp_path.iterdir()))}.jsonl"
    texts = [line if isinstance(line, str) else json.dumps(line) for line in lines]
    file.write_bytes("\n".join([*texts, ""]).encode("utf-8", "surrogateescape"))
    return import_jsonl(log, file, **options)


@pytest.mark.parametrize(
    ("part", "key"),
    [(part, key) for part in ("timestamp", "level", "content") for key in ROLES[part]],
)
def test_the_usual_keys(open_log: Open, tmp_path: Path, part: str, key: str) -> None:
    keys = {"timestamp": "time", "level": "severity", "content": "msg", part: key}
    log = open_log()
    line = {
        keys["timestamp"]: "2026-07-01T10:00:00.5Z", keys["level"]: "WARN",
        keys["content"]: "größe", "source": "a", "tags": ["b", "c"], "user": {"id": 7}, "id": "x7",
    }  # fmt: skip
    report = imported(log, tmp_path, line)
    assert str(report) == "1 events"
    (event,) = log.search()
    assert event.timestamp == datetime(2026, 7, 1, 10, 0, 0, 500_000, UTC)
    assert (event.content, event.source, event.tags) == ("größe", "a", ("warn", "b", "c"))
    assert event.fields == {"user": {"id": 7}, "id": "x7"}


def test_keys_of_ones_own(open_log: Open, tmp_path: Path) -> None:
    log = open_log()
    line = {"when": START, "text": "x", "who": "a", "uid": 7, "kind": "b", "msg": "another"}
    mapping = {"timestamp": "when", "content": ["none", "text"], "source": "who", "id": "uid",
               "tags": "kind"}  # fmt: skip
    imported(log, tmp_path, line, mapping=mapping, source="unused", tags=["d"])
    (event,) = log.search()
    assert (event.id, event.content, event.source) == ("7", "x", "a")
    assert (event.tags, event.fields) == (("b", "d"), {"msg": "another"})
    assert event.timestamp.timestamp() == START
    with pytest.raises(InvalidInput, match="'what' is no part of an event"):
        imported(log, tmp_path, line, mapping={"what": "x"})


def test_what_is_no_text_stays_a_field(open_log: Open, tmp_path: Path) -> None:
    log = open_log()
    imported(
        log, tmp_path,
        {"event": {"kind": 1}, "message": "m", "t": START},
        {"n": 1, "t": START + 1},
        {"message": "", "source": None, "tags": "one", "level": 30, "t": START + 2},
        {"message": "x", "tags": {"a": 1}, "timestamp": "no time", "t": START + 3},
    )  # fmt: skip
    first, second, third, fourth = log.search()
    assert (first.content, first.fields) == ("m", {"event": {"kind": 1}})
    assert second.content == f'{{"n": 1, "t": {START + 1}}}' and second.fields == {"n": 1}
    assert (third.content, third.tags, third.fields) == ("", ("30", "one"), {"source": None})
    assert fourth.fields == {"tags": {"a": 1}, "timestamp": "no time"}


def test_a_line_without_a_time_takes_that_of_the_line_before(
    open_log: Open, tmp_path: Path
) -> None:
    log = open_log()
    file = tmp_path / "file"
    lines = [{"msg": "a"}, {"msg": "b", "t": START}, {"msg": "c"}]
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert import_jsonl(log, file).without_time == 2
    with file.open("a") as more:
        more.write('{"msg": "d"}\n')
    assert import_jsonl(log, file).events == 1
    b, c, d, a = log.search()
    assert [each.content for each in (a, b, c, d)] == ["a", "b", "c", "d"]
    assert {each.timestamp.timestamp() for each in (b, c, d)} == {START}
    assert abs((datetime.now(UTC) - a.timestamp).total_seconds()) < 600


def test_lines_that_are_no_objects_are_skipped_by_place(open_log: Open, tmp_path: Path) -> None:
    log = open_log()
    bad = ["{", "[1]", "7", '{"a":1}}', "[" * 100_000, '{"msg": "x" "y"}', "\x00"]
    lines = list(itertools.chain.from_iterable((text, '{"msg": "good"}') for text in bad))
    report = imported(log, tmp_path, *lines, "", "   ")
    assert report.events == report.skipped == len(bad)
    offsets = list(itertools.accumulate([0] + [len(line) + 1 for line in lines]))[:-1:2]
    assert [note.offset for note in report.notes] == offsets


def test_what_only_python_writes_is_read(open_log: Open, tmp_path: Path) -> None:
    log = open_log()
    report = imported(
        log, tmp_path,
        '\ufeff{"msg": "bom"}',
        json.dumps({"msg": "nan", "n": math.nan, "big": 2**80}),
        '{"msg": "lone \\ud800"}',
        '{"msg": "latin \udce9\\n", "k\udcff": "\\\\"}',
    )  # fmt: skip
    assert (report.events, report.skipped, report.changed) == (4, 0, 2)
    found = {event.content: event.fields for event in log.search()}
    assert found == {
        "bom": {},
        "nan": {"n": "nan", "big": str(2**80)},
        "lone \\ud800": {},
        "latin \\xe9\n": {"k\\xff": "\\"},
    }


def test_a_line_of_any_length(
    open_log: Open, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from timelog.exchange import jsonl

    monkeypatch.setattr(jsonl, "_MOST_LINE", 100)
    log = open_log()
    exact = json.dumps({"msg": "x" * 88})
    assert len(exact) == 99
    report = imported(log, tmp_path, exact, "x" * 100, "y" * 350, exact, "z" * 99)
    assert (report.events, report.skipped) == (2, 3)
    assert [note.offset for note in report.notes] == [100, 201, 652]


def test_the_last_line_waits_for_its_end(open_log: Open, tmp_path: Path) -> None:
    file = tmp_path / "file"
    line = '{"msg": "whole"}\n'
    log = open_log()
    for length in range(len(line) + 1):
        file.write_text(line + line[:length])
        report = import_jsonl(log, file)
        assert report.events == (length in (0, len(line) - 1))
        assert report.skipped == (0 < length < len(line) - 1)
        assert all("torn" in note.reason for note in report.notes)
    assert contents(log) == ["whole", "whole"]


def test_a_file_in_the_place_of_another_is_imported_whole(open_log: Open, tmp_path: Path) -> None:
    file = tmp_path / "file"
    log = open_log()
    file.write_text('{"msg": "monday 1"}\n{"msg": "monday 2"}\n')
    assert import_jsonl(log, file).events == 2
    file.write_text('{"msg": "tuesday 1"}\n')
    assert import_jsonl(log, file).events == 1
    file.write_text('{"msg": "monday 1"}\n{"msg": "changed"}\n{"msg": "monday 3"}\n')
    with pytest.raises(InvalidInput, match="not the file any more"):
        import_jsonl(log, file)
    file.write_text('{"msg": "monday 1"}\n')
    with pytest.raises(InvalidInput, match="not the file any more"):
        import_jsonl(log, file)


def test_what_timelog_exported_comes_back_as_it_was(path: Path, tmp_path: Path) -> None:
    from timelog.exchange.ndjson import export_jsonl

    with timelog.open(path) as log:
        log.append("a", source="s\n", tags=["t, u", "v"], fields={"level": "x", "n": [1, None]})
        log.append("", id="own", timestamp="0001-01-01T00:00:00Z")
        log.append("\x1b[31m é", timestamp=-1.5, fields={"fields": {}})
        events = log.search().to_list()
        export_jsonl(log.search(), tmp_path / "out")
    with timelog.open(tmp_path / "copy") as copy:
        assert str(import_jsonl(copy, tmp_path / "out")) == "3 events"
        assert copy.search().to_list() == events


@pytest.mark.parametrize(
    "changed", [{"tags": 5}, {"tags": [5]}, {"source": None}, {"fields": "x"}, {"id": 7}, {"x": 1}]
)
def test_what_only_looks_like_a_line_of_timelog(
    open_log: Open, tmp_path: Path, changed: dict[str, Any]
) -> None:
    log = open_log()
    own = {"timestamp": "2026-07-01T10:00:00.000000Z", "id": "x7", "source": "s", "tags": ["t"],
           "content": "c", "fields": {"a": 1}}  # fmt: skip
    assert str(imported(log, tmp_path, own | changed)) == "1 events"
    (event,) = log.search()
    assert event.id != "x7" and event.content == "c"
    assert event.fields["id"] == (own | changed)["id"]


def test_deep_and_wide_fields_stay(open_log: Open, tmp_path: Path) -> None:
    deep: Any = "end"
    for _ in range(60):
        deep = [deep]
    log = open_log()
    wide = list(range(30_000))
    assert str(imported(log, tmp_path, {"t": 1, "msg": "x", "deep": deep, "wide": wide})) == (
        "1 events"
    )
    (event,) = log.search()
    assert event.fields == {"deep": deep, "wide": wide}


def test_stdin(open_log: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    log = open_log()
    stdin = io.TextIOWrapper(io.BytesIO(b'{"msg": "a"}\n{"msg": "b"}'))
    monkeypatch.setattr(sys, "stdin", stdin)
    report = import_jsonl(log, "-")
    assert (report.events, report.resumed) == (2, False)
    monkeypatch.setattr(sys, "stdin", None)
    with pytest.raises(InvalidInput, match="stdin is closed"):
        import_jsonl(log, "-")


# -- times in JSON -----------------------------------------------------------------------------

US = START * 1_000_000


@pytest.mark.parametrize(
    ("value", "us"),
    [
        (START, US),
        (START + 0.25, US + 250_000),
        (START * 1000 + 5, US + 5_000),
        (US + 5, US + 5),
        (US * 1000 + 5_999, US + 5),
        (str(START), US),
        (f"{START}.000001", US + 1),
        (0, 0),
        (-1.5, -1_500_000),
        ("2023-11-14T22:13:20Z", US),
        ("2023-11-14 22:13:20,250", US + 250_000),
        ("2023-11-14T23:13:20.25+01:00", US + 250_000),
        ("2023-11-14T22:13:20.123456789Z", US + 123_456),
        ("yesterday", None),
        ("", None),
        (None, None),
        (True, None),
        ([START], None),
        (math.nan, None),
        (math.inf, None),
        (10**30, None),
        ("9" * 30, None),
        ("0000-01-01T00:00:00Z", None),
        ("0001-01-01T00:00:00+14:00", None),
    ],
)
def test_a_time_in_json(value: Any, us: int | None) -> None:
    assert moment(value, UTC) == us


def test_a_time_without_a_zone_is_in_the_zone_asked_for() -> None:
    zone = timezone(timedelta(hours=2))
    assert moment("2023-11-15 00:13:20", zone) == US
    here = datetime(2023, 11, 15, 0, 13, 20).astimezone()
    assert moment("2023-11-15 00:13:20", None) == int(here.timestamp()) * 1_000_000


# -- journald ---------------------------------------------------------------------------------


def binary(name: str, value: bytes) -> bytes:
    return name.encode() + b"\n" + len(value).to_bytes(8, "little") + value + b"\n"


def journal(log: timelog.EventLog, tmp_path: Path, data: bytes) -> Imported:
    file = tmp_path / f"{len(list(tmp_path.iterdir()))}.export"
    file.write_bytes(data)
    return import_journald(log, file)


def test_an_entry_of_the_journal(open_log: Open, tmp_path: Path) -> None:
    log = open_log()
    data = (
        b"__CURSOR=s=1;i=2\n__REALTIME_TIMESTAMP=1342540861416409\nPRIORITY=4\n"
        b"SYSLOG_IDENTIFIER=gdm\n_COMM=gdm-session\nMESSAGE=a = b\nX=1\nX=2\n"
        + binary("BINARY", b"\x00\xff\n\nMESSAGE=no\n")
        + b"\n"
        + b"_COMM=sh\n"
        + binary("MESSAGE", b"two\nlines\n")
        + b"PRIORITY=99\n\n\n\n"
        + b"MESSAGE=last, without an empty line behind\nPRIORITY=3\n"
    )
    report = journal(log, tmp_path, data)
    assert str(report) == "3 events, 2 without a time"
    first, second, third = log.search()
    assert first.timestamp == datetime(2012, 7, 17, 16, 1, 1, 416_409, UTC)
    assert (first.content, first.source, first.tags) == ("a = b", "gdm", ("warning",))
    assert first.fields == {
        "__CURSOR": "s=1;i=2",
        "_COMM": "gdm-session",
        "X": ["1", "2"],
        "BINARY": "\x00\\xff\n\nMESSAGE=no\n",
    }
    assert (second.content, second.source) == ("two\nlines\n", "sh")
    assert (second.tags, second.fields) == ((), {"PRIORITY": "99"})
    assert third.tags == ("error",)


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (b"no field\nMESSAGE=x\n\n", "is no field"),
        (b"=x\n\n", "is no field"),
        (b"MESSAGE\n" + (2**40).to_bytes(8, "little"), "torn"),
        (b"MESSAGE\n\x02\0\0\0\0\0\0\0abc\n\n", "does not end"),
        (b"MESSAGE\n\x02", "torn"),
        (b"MESSAGE\n\x09\0\0\0\0\0\0\0abc", "torn"),
        (b"MESSAGE=half", "torn"),
    ],
)
def test_a_malformed_entry_is_skipped_by_place(
    open_log: Open, tmp_path: Path, bad: bytes, reason: str
) -> None:
    log = open_log()
    before, behind = journal_entry(1), journal_entry(2)
    is_torn = reason == "torn"
    report = journal(log, tmp_path, before + bad + (b"" if is_torn else behind))
    assert contents(log) == ["event 1"] if is_torn else ["event 1", "event 2"]
    (note,) = report.notes
    assert note.offset == len(before) and reason in note.reason


def test_a_value_that_is_too_large_is_skipped_with_its_entry(
    open_log: Open, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from timelog.exchange import journald

    monkeypatch.setattr(journald, "_MOST_VALUE", 100)
    log = open_log()
    large = b"X=1\n" + binary("CORE", b"\n\nx" * 90) + b"MESSAGE=no\n\n"
    report = journal(log, tmp_path, large + journal_entry(2))
    assert contents(log) == ["event 2"]
    assert "CORE would have 270 bytes" in report.notes[0].reason


@given(st.binary(max_size=200), st.integers(0, 60))
def test_no_journal_is_fatal(tmp_path_factory: Any, noise: bytes, at: int) -> None:
    folder = tmp_path_factory.mktemp("journal")
    entry = journal_entry(1)
    (folder / "file").write_bytes(entry[:at] + noise + entry[at:] + b"\n\n" + journal_entry(2))
    with timelog.open(folder / "log", flush_interval=3600.0) as log:
        report = import_journald(log, folder / "file")
        assert report.events + report.skipped >= 1
        assert log.search().count() == report.events


# -- the command ------------------------------------------------------------------------------


def run(*words: str, data: bytes = b"") -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [sys.executable, "-m", "timelog", *words], input=data, capture_output=True, timeout=60,
        env={**os.environ, "TZ": "UTC"},
    )  # fmt: skip
    return subprocess.CompletedProcess(
        done.args, done.returncode, done.stdout.decode(), done.stderr.decode()
    )


def test_the_command(tmp_path: Path) -> None:
    log, root = str(tmp_path / "log"), theia_directory(tmp_path / "theia", 12)
    (root / "stray").touch()
    done = run("--dir", log, "import", "--format", "theia", str(root))
    assert done.returncode == 0 and "12 events, 1 files left alone" in done.stderr
    assert "left alone:" in done.stderr and done.stdout == ""
    done = run("--dir", log, "import", "--format", "theia", str(root), "-q")
    assert (done.returncode, done.stderr.count("\n")) == (0, 1)
    lines = b'{"text": "a", "when": "2026-07-01 10:00"}\nnonsense\n'
    words = ("--map", "content=text", "--map", "timestamp=when", "--tz", "+02:00", "-s", "x")
    done = run("--dir", log, "import", "--format", "jsonl", "-", *words, "-t", "y", data=lines)
    assert done.returncode == 1
    assert "skipped: -, byte 42: no JSON" in done.stderr and "1 events" in done.stderr
    done = run("--dir", log, "import", "--format", "journald", "-", data=journal_entry(5))
    assert done.returncode == 0
    with timelog.open(log, mode="r") as opened:
        assert opened.search().count() == 14
        (event,) = opened.search(source="x")
    assert event.timestamp == datetime(2026, 7, 1, 8, 0, tzinfo=UTC)
    assert (event.content, event.tags) == ("a", ("y",))


def test_the_command_and_its_mistakes(tmp_path: Path) -> None:
    log = ("--dir", str(tmp_path / "log"))
    good = tmp_path / "good"
    good.write_text('{"msg": "x"}\n')
    done = run(*log, "import", "--format", "jsonl", str(tmp_path / "none"), str(good))
    assert done.returncode == 2
    assert "none" in done.stderr and "1 events" in done.stderr
    for words, said in (
        (("--format", "theia", str(tmp_path), "-s", "x"), "--source is not for --format theia"),
        (("--format", "journald", "-", "--map", "a=b"), "--map is not for --format journald"),
        (("--format", "jsonl", "-", "--map", "content"), "--map needs PART=KEY"),
        (("--format", "jsonl", "-", "--map", "what=x"), "'what' is no part of an event"),
        (("--format", "xml", "-"), "invalid choice"),
    ):
        done = run(*log, "import", *words)
        assert (done.returncode, said in done.stderr) == (2, True), done.stderr


def test_imports_log_nothing(open_log: Open, tmp_path: Path, caplog: Any) -> None:
    with caplog.at_level(logging.DEBUG):
        imported(open_log(), tmp_path, {"msg": "x"})
    assert caplog.records == []

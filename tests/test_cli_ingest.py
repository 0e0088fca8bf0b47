"""``timelog ingest``: bytes to lines, lines to events, and what is said about them."""

from __future__ import annotations

import gzip
import io
import os
import re
import signal
import subprocess
import sys
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

import timelog
from timelog.cli import main
from timelog.cli.progress import progress_of
from timelog.ingest.lines import Tally, read_lines
from timelog.timestamp import from_datetime, to_text

LOGHUB = Path(__file__).resolve().parents[2] / "shared/data/loghub"
MIB = 1024 * 1024


def chunked(data: bytes, size: int) -> Callable[[int], bytes]:
    """A stream that returns ``size`` bytes at a time, as a slow pipe may."""
    stream = io.BytesIO(data)
    return lambda most: stream.read(min(size, most))


def lines_of(data: bytes, limit: int = MIB, size: int = 7) -> tuple[list[str], Tally]:
    tally = Tally()
    lines = [line for batch in read_lines(chunked(data, size), limit, tally) for line in batch]
    assert tally.bytes == len(data)
    return lines, tally


@pytest.mark.parametrize(
    ("data", "lines"),
    [
        (b"", []),
        (b"a", ["a"]),
        (b"a\n", ["a"]),
        (b"a\nb", ["a", "b"]),
        (b"\n", [""]),
        (b"\n\n", ["", ""]),
        (b"a\n\n\nb\n", ["a", "", "", "b"]),
        (b"a\r\nb\r", ["a\r", "b\r"]),
        (b"a\x0bb\x0c\x1c\x85\n", ["a\x0bb\x0c\x1c\\x85"]),
        ("é\u2028\x85x\n".encode(), ["é\u2028\x85x"]),
        (b"\x00\n", ["\x00"]),
        (b"a\xffb\nc\n", ["a\\xffb", "c"]),
        (b"\xed\xa0\x80", ["\\xed\\xa0\\x80"]),
    ],
)
@pytest.mark.parametrize("size", [1, 2, 3, 1000])
def test_lines_end_at_newlines_only(data: bytes, lines: list[str], size: int) -> None:
    assert lines_of(data, size=size)[0] == lines


@given(
    data=st.lists(
        st.sampled_from([b"\n", b"a", "é€😀".encode(), b"\xff", b"\x80", b"longer text"])
    ).map(b"".join),
    size=st.integers(1, 40),
    limit=st.integers(20, 60),
)
def test_every_byte_is_kept_or_counted(data: bytes, size: int, limit: int) -> None:
    lines, tally = lines_of(data, limit, size)
    raw = data.split(b"\n")
    if raw[-1] == b"":
        raw.pop()
    assert len(lines) == len(raw)
    cut = 0
    for line, source in zip(lines, raw, strict=True):
        whole = source.decode("utf-8", "backslashreplace")
        if len(source) <= limit and len(whole.encode()) <= limit:
            assert line == whole
            continue
        cut += 1
        match = re.fullmatch(r"(.*) \[cut: (\d+) bytes\]", line)
        assert match and len(line.encode()) <= limit
        kept = source[: len(source) - int(match[2])]
        assert match[1] == kept.decode("utf-8", "backslashreplace")
    assert tally.cut == cut
    assert tally.not_utf8 <= sum("\\x" in line for line in lines) + cut


def test_a_line_at_the_limit_is_whole_and_one_byte_more_is_cut() -> None:
    assert lines_of(b"x" * 100 + b"\n", 100)[0] == ["x" * 100]
    (line,), tally = lines_of(b"x" * 101 + b"\n", 100)
    assert line == "x" * 83 + " [cut: 18 bytes]"
    assert tally.cut == 1


def test_a_character_is_never_cut_in_the_middle() -> None:
    for length in range(40, 48):
        (line,), tally = lines_of(b"x" * (length - 40) + "€".encode() * 40, 60)
        assert set(line.partition(" [cut")[0].lstrip("x")) <= {"€"}
        assert (tally.cut, tally.not_utf8) == (1, 0)


def test_a_line_of_gigabytes_is_not_held_in_memory() -> None:
    left = 300  # chunks: enough to tell, quick enough for every run
    chunk = b"x" * MIB

    def read(size: int) -> bytes:
        nonlocal left
        left -= 1
        return chunk[:size] if left >= 0 else b""

    tracemalloc.start()
    try:
        tally = Tally()
        ((line,),) = read_lines(read, MIB, tally)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    marker = re.search(r" \[cut: (\d+) bytes\]$", line)
    assert marker and len(line) == MIB
    assert marker.start() + int(marker[1]) == tally.bytes
    assert peak < 12 * MIB


# -- the command ----------------------------------------------------------------------------


class Ingested(NamedTuple):
    code: int
    out: str
    err: str
    events: list[timelog.Event]

    @property
    def contents(self) -> list[str]:
        return [event.content for event in self.events]


Ingest = Callable[..., Ingested]


@pytest.fixture
def ingest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Ingest:
    """Run ``timelog ingest`` in this process; return the log's events in order of arrival."""
    monkeypatch.delenv("TIMELOG_TZ", raising=False)
    monkeypatch.setenv("TIMELOG_DIR", str(tmp_path / "log"))

    def run(*argv: str) -> Ingested:
        code = main(["ingest", *argv])
        out, err = capsys.readouterr()
        with timelog.open(tmp_path / "log", mode="r") as log:
            events = list(log.search())
        return Ingested(code, out, err, events)

    return run


def in_process(log: Path, *argv: str, data: bytes = b"") -> tuple[int, str, list[str]]:
    """Run ``timelog ingest`` as a process that reads ``data``; code, stderr, contents."""
    done = subprocess.run(
        [sys.executable, "-m", "timelog", "--dir", str(log), "ingest", *argv],
        input=data,
        capture_output=True,
        timeout=60,
    )
    assert done.stdout == b""
    with timelog.open(log, mode="r") as opened:
        return done.returncode, done.stderr.decode(), [event.content for event in opened.search()]


def test_a_file_is_stored_line_by_line(ingest: Ingest, tmp_path: Path) -> None:
    (tmp_path / "app.log").write_bytes(b"one\n\ntwo\r\n\xff\nl\xc3\xa4st")
    before = time.time()
    done = ingest(str(tmp_path / "app.log"), "--tag", "a", "-t", "b")
    assert done.contents == ["one", "", "two\r", "\\xff", "läst"]
    assert {(event.source, event.tags) for event in done.events} == {("app.log", ("a", "b"))}
    assert all(before - 1 <= event.timestamp.timestamp() <= time.time() for event in done.events)
    assert (done.code, done.out) == (0, "")
    assert re.fullmatch(
        r"timelog: 5 events, 17 bytes, 1 lines not UTF-8, 0 lines cut, "
        r"0 lines without a time, \d+\.\d\d s\n",
        done.err,
    )


def test_a_source_can_be_given_for_all(ingest: Ingest, tmp_path: Path) -> None:
    (tmp_path / "one").write_text("1\n")
    (tmp_path / "two").write_text("2\n")
    done = ingest(str(tmp_path / "one"), str(tmp_path / "two"), "-s", "mine", "-q")
    assert [event.source for event in done.events] == ["mine", "mine"]
    assert done.err == ""


def test_what_cannot_be_read_is_reported_and_the_rest_is_stored(
    ingest: Ingest, tmp_path: Path
) -> None:
    (tmp_path / "good").write_text("good\n")
    done = ingest(str(tmp_path / "none"), str(tmp_path), str(tmp_path / "good"))
    assert done.code == 2 and done.contents == ["good"]
    lines = done.err.splitlines()
    assert lines[0] == f"timelog: {tmp_path}/none: No such file or directory"
    assert lines[1] == f"timelog: {tmp_path}: Is a directory"
    assert lines[2].startswith("timelog: 1 events, 5 bytes")
    assert len(lines) == 3


def test_the_log_is_not_read_into_itself(ingest: Ingest, tmp_path: Path) -> None:
    (tmp_path / "good").write_text("good\n")
    ingest(str(tmp_path / "good"))
    (segment,) = tmp_path.glob("log/*/*.jsonl")
    done = ingest(str(segment))
    assert done.code == 2 and "part of the log" in done.err
    assert done.contents == ["good"]


def test_lines_take_the_time_they_begin_with(ingest: Ingest, tmp_path: Path) -> None:
    (tmp_path / "a").write_text(
        "no time yet\n"
        "2026-03-01 10:00:00 one\n"
        "    at somewhere\n"
        "2026-03-01 09:00:00 earlier\n"
        "2026-33-01 09:00:00 wrong\n"
        "9999-01-01 09:00:00 far ahead\n"
    )
    (tmp_path / "b").write_text("a new file knows no time yet\n")
    files = (str(tmp_path / "a"), str(tmp_path / "b"))
    done = ingest(*files, "--timestamp-format", "iso", "--tz", "Europe/Berlin")
    assert [to_text(from_datetime(event.timestamp))[:19] for event in done.events[:5]] == [
        "2026-03-01T08:00:00",
        "2026-03-01T08:00:00",
        "2026-03-01T08:00:00",
        "2026-03-01T09:00:00",
        "2026-03-01T09:00:00",
    ]
    assert done.contents[:5] == [
        "2026-03-01 09:00:00 earlier",
        "2026-33-01 09:00:00 wrong",
        "9999-01-01 09:00:00 far ahead",
        "2026-03-01 10:00:00 one",
        "    at somewhere",
    ]
    assert sorted(done.contents[5:]) == ["a new file knows no time yet", "no time yet"]
    assert all(time.time() - event.timestamp.timestamp() < 60 for event in done.events[5:])
    assert "5 lines without a time" in done.err


def test_a_line_over_the_limit_is_cut_and_counted(ingest: Ingest, tmp_path: Path) -> None:
    (tmp_path / "long").write_bytes(b"a\n" + b"\xff" * (2 * MIB) + b"\nb\n" + b"x" * MIB + b"\n")
    done = ingest(str(tmp_path / "long"))
    first, long, third, whole = done.contents
    assert (done.code, first, third) == (0, "a", "b")
    assert whole == "x" * MIB
    assert MIB - 4 < len(long) <= MIB
    kept = MIB // 4 - 6
    assert re.fullmatch(rf"(\\xff){{{kept}}} \[cut: {2 * MIB - kept} bytes\]", long)
    assert "1 lines not UTF-8, 1 lines cut" in done.err


def test_an_empty_file_is_no_event(ingest: Ingest, tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    done = ingest(str(tmp_path / "empty"))
    assert (done.code, done.events) == (0, [])
    assert done.err.startswith("timelog: 0 events, 0 bytes")


def test_a_name_that_is_not_utf8_and_drives_a_terminal(ingest: Ingest, tmp_path: Path) -> None:
    name = os.fsdecode(os.fsencode(tmp_path) + b"/\xff\x1b[2J")
    Path(name).write_text("x\n")
    assert ingest(name).events[0].source == "\\xff\x1b[2J"
    done = ingest(name + "none")
    assert done.code == 2 and "\\xff\\x1b[2Jnone" in done.err


def test_a_pipe(tmp_path: Path) -> None:
    code, err, contents = in_process(tmp_path / "a", "-", data=b"one\ntwo")
    assert (code, contents) == (0, ["one", "two"])
    assert "2 events" in err
    assert in_process(tmp_path / "b", "/dev/stdin", "-q", data=b"x\n") == (0, "", ["x"])
    with timelog.open(tmp_path / "a", mode="r") as log:
        assert {event.source for event in log.search()} == {""}


def test_a_fifo(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    child = subprocess.Popen(
        [sys.executable, "-m", "timelog", "--dir", str(tmp_path / "log"), "ingest", "-q",
         str(tmp_path / "fifo")]
    )  # fmt: skip
    with open(tmp_path / "fifo", "wb") as fifo:  # waits for the reader
        fifo.write(b"through a fifo\n")
    assert child.wait(60) == 0
    with timelog.open(tmp_path / "log", mode="r") as log:
        (event,) = log.search()
    assert (event.content, event.source) == ("through a fifo", "fifo")


def test_lines_of_a_pipe_are_not_held_back(tmp_path: Path) -> None:
    """What has come is stored although the pipe stays open and no chunk is full."""
    child = subprocess.Popen(
        [sys.executable, "-m", "timelog", "--dir", str(tmp_path), "ingest", "-q", "-"],
        stdin=subprocess.PIPE,
    )
    assert child.stdin is not None
    os.set_blocking(child.stdin.fileno(), False)  # as some programs leave it for their children
    child.stdin.write(b"early\n")
    child.stdin.flush()
    deadline = time.monotonic() + 60
    found: list[str] = []
    while not found and time.monotonic() < deadline:
        try:
            with timelog.open(tmp_path, mode="r") as log:
                found = [event.content for event in log.search()]
        except timelog.TimelogError:
            continue  # it is just being made
    assert found == ["early"]
    child.stdin.close()
    assert child.wait(60) == 0


def test_many_lines_arrive_whole_and_in_order(tmp_path: Path) -> None:
    lines = [f"{number} " + "é" * (number % 400) for number in range(30_000)]
    code, err, contents = in_process(tmp_path, "-", data="\n".join(lines).encode())
    assert code == 0
    assert contents == lines
    assert err.count("\n") == 1  # no word about a buffer that fills up


def test_stdin_that_is_closed(tmp_path: Path) -> None:
    code = f"{sys.executable} -m timelog --dir {tmp_path} ingest - <&-"
    done = subprocess.run(["sh", "-c", code], capture_output=True)
    assert done.returncode == 2
    assert done.stderr.startswith(b"timelog: -: stdin is closed\n")


def test_a_progress_bar_only_on_a_terminal(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "100")
    (tmp_path / "a").write_bytes(b"x" * 1000)
    with progress_of([str(tmp_path / "a")], True) as advance:
        advance(1000)
    assert capsys.readouterr() == ("", "")
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    with progress_of([str(tmp_path / "a")], False) as advance:
        advance(1000)
    assert capsys.readouterr() == ("", "")
    with progress_of([str(tmp_path / "a"), str(tmp_path / "none")], True) as advance:
        advance(1000)
    out, err = capsys.readouterr()
    assert out == "" and "1,000/1,000 bytes" in err


def test_without_rich_there_is_no_bar(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    for name in [name for name in sys.modules if name.partition(".")[0] == "rich"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "rich", None)
    with progress_of([str(tmp_path)], True) as advance:
        advance(1)
    assert capsys.readouterr() == ("", "")


# -- what is found out, and following -------------------------------------------------------


def test_times_are_found_out_and_that_is_said(ingest: Ingest, tmp_path: Path) -> None:
    (tmp_path / "a.log").write_text("2026-03-01T10:00:00Z one\n")
    (tmp_path / "b.log").write_text("Mar  1 11:00:00 host two\n")
    (tmp_path / "c.log").write_text("01/03/2019 three\n")
    names = [str(tmp_path / name) for name in ("a.log", "b.log", "c.log")]
    done = ingest(*names, "--utc", "--timestamp-format-for", "c*=%d/%m/%Y", "--year", "2020")
    assert done.err.splitlines()[:2] == [
        "timelog: a.log: times are read as 'iso'",
        "timelog: b.log: times are read as 'syslog'",
    ]
    times = {event.source: f"{event.timestamp:%Y-%m-%d %H:%M}" for event in done.events}
    assert times == {
        "a.log": "2026-03-01 10:00",
        "b.log": "2020-03-01 11:00",
        "c.log": "2019-03-01 00:00",
    }
    done = ingest(names[0], "--timestamp-format", "none", "-q")
    assert done.err == ""
    assert sum(event.timestamp.year == 2026 for event in done.events) == 2


def test_compressed_files_and_records(ingest: Ingest, tmp_path: Path) -> None:
    (tmp_path / "a.log.gz").write_bytes(gzip.compress(b"one\n  more\ntwo\n"))
    torn = gzip.compress(b"three\n" * 9)[:-9]
    (tmp_path / "b.log.gz").write_bytes(torn)
    done = ingest(str(tmp_path / "a.log.gz"), str(tmp_path / "b.log.gz"), "--multiline", "indent")
    assert done.code == 2 and "b.log.gz: Compressed file ended" in done.err
    assert done.contents[:2] == ["one\n  more", "two"]


@pytest.mark.parametrize(
    ("argv", "says"),
    [
        (["-", "--follow"], "stdin cannot be followed"),
        (["a", "--year", "x"], "not a year"),
        (["a", "--multiline", "("], "no regular expression"),
        (["a", "--timestamp-format-for", "*=%Q"], "%Q"),
    ],
)
def test_what_cannot_be_done_is_said(
    ingest: Ingest, argv: list[str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["ingest", *argv]) == 2
    assert says in capsys.readouterr().err


def test_following_files_until_a_signal(tmp_path: Path) -> None:
    (tmp_path / "a.log").write_text("2026-03-01T10:00:00Z one\n")
    log = tmp_path / "log"

    def follow() -> subprocess.Popen[str]:
        argv = ["--dir", str(log), "ingest", "--follow", "--poll", "0.05", str(tmp_path / "a.log")]
        return subprocess.Popen(
            [sys.executable, "-m", "timelog", *argv], stderr=subprocess.PIPE, text=True
        )

    def until(contents: list[str]) -> None:
        deadline = time.monotonic() + 60
        found: list[str] = []
        while found != contents and time.monotonic() < deadline:
            try:
                with timelog.open(log, mode="r") as opened:
                    found = [event.content[21:] for event in opened.search()]
            except timelog.TimelogError:
                continue  # it is just being made
        assert found == contents

    child = follow()
    until(["one"])
    with open(tmp_path / "a.log", "a") as file:
        file.write("2026-03-01T10:00:01Z two\nhalf")
    until(["one", "two"])
    child.send_signal(signal.SIGINT)
    _, err = child.communicate(timeout=60)
    assert child.returncode == 130
    assert err.splitlines()[0] == "timelog: a.log: times are read as 'iso'"
    assert err.splitlines()[1].startswith("timelog: stopped after 2 events, 50 bytes")
    child = follow()
    with open(tmp_path / "a.log", "a") as file:
        file.write("\n2026-03-01T10:00:02Z three\n")
    until(["one", "two", "", "three"])
    child.terminate()
    child.communicate(timeout=60)
    assert child.returncode == 143


# -- real log files -------------------------------------------------------------------------


@pytest.mark.skipif(not LOGHUB.is_dir(), reason="the loghub samples are not beside the checkout")
@pytest.mark.parametrize(
    ("name", "form", "timed"),
    [
        ("Apache_2k.log", "[%a %b %d %H:%M:%S %Y]", 2000),
        ("HDFS_2k.log", "%y%m%d %H%M%S", 2000),
        ("HealthApp_2k.log", "%Y%m%d-%H:%M:%S:%f", 2000),
        ("Linux_2k.log", "%b %d %H:%M:%S", 2000),
        ("OpenSSH_2k.log", "%b %d %H:%M:%S", 2000),
        ("Proxifier_2k.log", "[%m.%d %H:%M:%S]", 2000),
        ("Zookeeper_2k.log", "iso", 2000),
        ("OpenStack_2k.log", "iso", 0),
    ],
)
def test_real_files(ingest: Ingest, name: str, form: str, timed: int) -> None:
    lines = (LOGHUB / name).read_bytes().decode().split("\n")
    if lines[-1] == "":
        lines.pop()
    done = ingest(str(LOGHUB / name), "--timestamp-format", form)
    assert done.code == 0
    assert sorted(done.contents) == sorted(lines)
    assert f" {len(lines) - timed:,} lines without a time" in done.err
    if name == "Zookeeper_2k.log":
        assert done.events[0].content.startswith("2015-07-29")
        assert done.events[0].source == name

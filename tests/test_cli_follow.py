"""``timelog follow`` and ``search -f``: what they print, the place they keep, their exit codes."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

import timelog
from timelog.cli import main

ROOT = Path(__file__).parents[1]
Run = Callable[..., tuple[int, str, str]]
DAY = 86_400


@pytest.fixture
def run(path: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run a command on a log of four events, the third of which is late: code, stdout, stderr."""

    def once(*words: str) -> tuple[int, str, str]:
        code = main(["--dir", str(path), *words])
        return code, *capsys.readouterr()

    midnight = time.time() // DAY * DAY
    with timelog.open(path) as log:
        for number, days in enumerate((3, 2, 4, 1)):
            log.append(
                f"event {number}",
                timestamp=midnight - days * DAY,
                tags=["even"] if number % 2 == 0 else [],
                source="test",
            )
            log.flush()
    return once


def test_all_is_printed_as_it_arrived(run: Run) -> None:
    everything = ("follow", "--all", "--no-wait", "-o", "cat")
    assert run(*everything) == (0, "event 0\nevent 1\nevent 2\nevent 3\n", "")
    assert run(*everything, "-t", "even") == (0, "event 0\nevent 2\n", "")
    assert run(*everything, "-g", "EVENT [13]", "-i") == (0, "event 1\nevent 3\n", "")
    assert run(*everything, "-s", "other") == (1, "", "")


def test_the_last_events_come_first_by_time(run: Run) -> None:
    assert run("follow", "-n", "3", "--no-wait", "-o", "cat") == (
        0,
        "event 0\nevent 1\nevent 3\n",
        "",
    )
    assert run("follow", "-n", "0", "--no-wait") == (1, "", "")


def test_a_place_is_kept_in_a_file(run: Run, path: Path, tmp_path: Path) -> None:
    file = tmp_path / "place"
    words = ("follow", "--all", "--no-wait", "-o", "cat", "--cursor-file", str(file))
    assert run(*words, "-t", "even")[1] == "event 0\nevent 2\n"
    assert run(*words) == (1, "", "")
    with timelog.open(path) as log:
        log.append("new")
    assert run(*words) == (0, "new\n", "")
    assert list(tmp_path.glob("place*")) == [file]
    code, _, err = run("follow", "-n", "0", "--no-wait", "--show-cursor")
    assert (code, err) == (1, f"timelog: cursor: {':'.join(file.read_text().split(':')[:2])}\n")
    cursor = err.split()[-1]
    assert run("follow", "--after-cursor", cursor, "--no-wait") == (1, "", "")


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"nonsense\n", "'nonsense' is not a cursor of a log"),
        (b"two\nlines\n", "does not hold a cursor"),
        (b"\xff\xfe", "does not hold a cursor"),
        (b"0123:4\n", "of another log"),
    ],
)
def test_a_file_that_holds_something_else_is_refused(
    run: Run, tmp_path: Path, content: bytes, says: str
) -> None:
    file = tmp_path / "place"
    file.write_bytes(content)
    code, out, err = run("follow", "--no-wait", "--cursor-file", str(file))
    assert (code, out) == (2, "")
    assert says in err
    assert file.read_bytes() == content


def test_a_place_that_cannot_be_kept_is_an_error(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "missing" / "place"
    code, _, err = run("follow", "--all", "--no-wait", "--cursor-file", str(file))
    assert code == 2
    assert "could not be written: No such file" in err
    assert run("follow", "--no-wait", "--cursor-file", str(tmp_path))[0] == 2


def test_what_is_gone_is_reported(run: Run) -> None:
    assert run("vacuum", "--files", "2", "-q")[0] == 0
    code, out, err = run("follow", "--all", "--no-wait", "-o", "cat")
    assert (code, out) == (0, "event 1\nevent 3\n")
    assert err.splitlines() == [
        "timelog: the event at position 0 has expired, and is not printed",
        "timelog: the event at position 2 has expired, and is not printed",
    ]
    assert run("follow", "--all", "--no-wait", "--strict")[0] == 3


def test_search_does_not_follow_what_has_an_end(run: Run) -> None:
    for words in (["--until", "now"], ["-r"], ["--count"], ["--as-of", "2"], ["-q"]):
        code, _, err = run("search", "-f", *words)
        assert code == 2
        assert "does not go with --follow" in err


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_goes_on_until_a_signal_and_keeps_the_place(
    run: Run, path: Path, tmp_path: Path, number: signal.Signals
) -> None:
    file = tmp_path / "place"
    words = [sys.executable, "-m", "timelog", "--dir", str(path), "follow", "-o", "cat", "--all"]
    command = [*words, "--cursor-file", str(file)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT) as process:
        assert process.stdout is not None
        lines = [process.stdout.readline() for _ in range(4)]
        assert lines == [f"event {n}\n" for n in range(4)]
        with timelog.open(path) as log:
            log.append("while it runs")
        assert process.stdout.readline() == "while it runs\n"
        process.send_signal(number)
        assert process.wait(60) == 128 + number
        assert process.stdout.read() == ""
    assert run("follow", "--no-wait", "--cursor-file", str(file)) == (1, "", "")


def test_search_goes_on_from_some_time_on(run: Run, path: Path) -> None:
    words = [sys.executable, "-m", "timelog", "--dir", str(path), "search", "-f", "-o", "cat"]
    command = [*words, "--since", "-60h", "--source", "test"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT) as process:
        assert process.stdout is not None
        first = process.stdout.readline()
        assert first in ("event 1\n", "event 3\n")
        with timelog.open(path) as log:
            log.append("not this")
            log.append("and this", source="test", timestamp=0)
        rest = [process.stdout.readline() for _ in range(2 if first == "event 1\n" else 1)]
        assert rest[-1] == "and this\n"
        process.send_signal(signal.SIGINT)
        process.wait(60)


def test_a_reader_that_goes_away_loses_nothing(path: Path, tmp_path: Path) -> None:
    with timelog.open(path) as log:
        log.append_many({"content": f"{n} " + "x" * 200} for n in range(3_000))
    file = tmp_path / "place"
    words = [sys.executable, "-m", "timelog", "--dir", str(path), "follow", "-o", "cat", "--all"]
    command = [*words, "--no-wait", "--cursor-file", str(file)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT) as process:
        assert process.stdout is not None
        process.stdout.readline()
        process.stdout.close()
        assert process.wait(60) == 141
    found = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=True).stdout
    # Nothing but what was read, or waited in the pipe, may be missing.
    first = int(found.split(" ", 1)[0])
    assert first <= 64 * 1024 * 2 // 200
    assert found.splitlines()[-1].startswith("2999 ")

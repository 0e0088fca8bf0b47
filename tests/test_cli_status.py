"""``timelog status``: the table at every width, on a terminal and in a pipe, and its JSON."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

import timelog
from timelog.cli import main

_STYLE = re.compile(r"\x1b\[[0-9;]*m")
_BLOCKS = set("▁▂▃▄▅▆▇█")


@pytest.fixture(autouse=True)
def plain_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("TIMELOG_DIR", "TIMELOG_TZ", "NO_COLOR", "FORCE_COLOR", "COLUMNS"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def days(tmp_path: Path) -> Path:
    """A log of forty days, with ten events on the last."""
    path = tmp_path / "days"
    with timelog.open(path, flush_interval=3600.0) as log:
        start = 1_750_000_000
        log.append_many({"content": "text", "timestamp": start + n * 86_400} for n in range(40))
        log.append_many({"content": "text", "timestamp": start + 39 * 86_400} for _ in range(9))
    return path


@pytest.fixture
def hours(tmp_path: Path) -> Path:
    """A log of five hours."""
    path = tmp_path / "hours"
    with timelog.open(path, flush_interval=3600.0) as log:
        log.append_many({"content": "text", "timestamp": n * 3600} for n in range(5))
    return path


def status(path: Path, capsys: pytest.CaptureFixture[str], *argv: str) -> str:
    assert main(["--dir", str(path), "status", *argv]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    return out


def on_terminal(path: Path, columns: int, env: Mapping[str, str] = {}) -> str:
    """What a process shows on a terminal so wide, without its colours."""
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    argv = [sys.executable, "-m", "timelog", "--dir", str(path), "status", "--utc"]
    environ = {**os.environ, "TERM": "xterm", "PYTHONIOENCODING": "utf-8", **env}
    child = subprocess.Popen(argv, stdin=slave, stdout=slave, stderr=slave, env=environ)
    os.close(slave)
    shown = b""
    try:
        while chunk := os.read(master, 65536):
            shown += chunk
    except OSError:  # Linux says so when the last writer has gone
        pass
    os.close(master)
    assert child.wait(60) == 0
    return _STYLE.sub("", shown.decode(environ["PYTHONIOENCODING"]).replace("\r\n", "\n"))


@pytest.fixture
def without_rich(tmp_path: Path) -> dict[str, str]:
    """An environment in which rich cannot be imported."""
    (tmp_path / "none" / "rich").mkdir(parents=True)
    (tmp_path / "none" / "rich" / "__init__.py").write_text("raise ImportError\n")
    root = str(Path(timelog.__file__).parents[1])
    return {"PYTHONPATH": os.pathsep.join([str(tmp_path / "none"), root])}


# -- on a terminal --------------------------------------------------------------------------


@pytest.mark.parametrize("columns", [60, 80, 120])
def test_the_table_fits_the_terminal(days: Path, columns: int) -> None:
    lines = on_terminal(days, columns).splitlines()
    assert max(map(len, lines)) <= columns
    bars = [line.split("│")[2].strip() for line in lines if _BLOCKS & set(line)]
    assert len(bars) == 4
    # Of thirty days the last has ten times the events of each before.
    assert len(bars[-1]) == (30 if columns == 60 else 60)
    assert set(bars[-1][:-2]) == {"▄"} and set(bars[0]) == {"█"}
    assert any("2025-06-25 to 2025-07-24: at most 10 a day" in line for line in lines)


def test_a_terminal_that_is_very_narrow_gets_a_table_too(days: Path) -> None:
    lines = on_terminal(days, 30).splitlines()
    assert max(map(len, lines)) <= 30 and any("healthy" in line for line in lines)


def test_without_rich_it_is_plain_text(days: Path, without_rich: dict[str, str]) -> None:
    lines = on_terminal(days, 80, without_rich).splitlines()
    assert "health      healthy" in lines and "events      49" in lines
    assert f"            {'▄' * 58}██" in lines
    (line,) = (line for line in lines if line.startswith("by day"))
    assert line == f"by day{' ' * 64}██"


def test_a_terminal_without_utf8_gets_ascii(days: Path, without_rich: dict[str, str]) -> None:
    for env in ({}, without_rich):
        shown = on_terminal(days, 80, {**env, "PYTHONIOENCODING": "latin-1"})
        assert shown.isascii() and "#" * 60 in shown


# -- in a pipe ------------------------------------------------------------------------------


def test_a_pipe_gets_plain_text(days: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = status(days, capsys, "--utc")
    lines = out.splitlines()
    assert out.isascii() and "oldest      2025-06-15T15:06:40.000000+00:00" in lines
    assert "segments    40" in lines and "partitions  40" in lines
    assert f"            {'#' * 60}" in lines
    assert "memory" not in out


def test_hours_are_told_in_the_zone_asked_for(
    hours: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = status(hours, capsys, "--tz", "Asia/Kolkata")
    assert "1970-01-01T05:30:00.000000+05:30 to 1970-01-01T10:30:00.000000+05:30" in out
    assert "at most 1 an hour" in out


def test_hostile_names_drive_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "[red]x\x1b[31m\nhealth \x9b\u202e"
    with timelog.open(path) as log:
        log.append("text")
    path.chmod(0o777)
    assert main(["--dir", str(path), "status"]) == 0
    assert main(["--dir", str(path), "status", "--json"]) == 0
    out, err = capsys.readouterr()
    shown = on_terminal(path, 120)
    assert "anybody may write" in out and "anybody may write" in shown
    for text in (out, err, shown):
        assert not {"\x1b", "\x9b", "\u202e"} & set(text)
        assert "[red]x\\x1b[31m\\nhealth \\x9b\\u202e" in text.replace("\\\\", "\\")


def test_a_name_that_is_no_text_is_shown_as_one(tmp_path: Path) -> None:
    path = tmp_path / os.fsdecode(b"\xff")
    path.mkdir()
    for words in (["append", "text"], ["status", "--json"]):
        path.chmod(0o777)
        command = [sys.executable, "-m", "timelog", "--dir", str(path), *words]
        done = subprocess.run(command, capture_output=True, check=True, timeout=60)
    report = json.loads(done.stdout)
    assert report["path"].endswith("\\udcff") and "\\udcff" in report["reasons"][0]


# -- JSON -----------------------------------------------------------------------------------


def test_json_has_everything(days: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = status(days, capsys, "--json")
    assert out.count("\n") == 1
    report: dict[str, Any] = json.loads(out)
    with timelog.open(days, mode="r") as log:
        expected = log.status()
    assert expected.usage is not None and expected.histogram is not None
    disk = report["disk"]
    assert disk["used"]["total"] == expected.usage.total
    assert sum(disk["used"].values()) == 2 * expected.usage.total
    assert disk["used"]["segments"] == expected.usage.segments
    assert disk["free"] > 0 and disk["unseen"] == ""
    assert report["histogram"] == {
        "start": "2025-06-25T00:00:00.000000Z",
        "step": 86_400,
        "events": list(expected.histogram.counts),
    }
    (rate,) = report["committed"]
    assert rate["events"] == 49 and rate["until"] == report["time"]
    assert rate["since"] == f"{report['time'][:10]}T00:00:00.000000Z"
    assert (report["status"], report["reasons"], report["damage"]) == ("healthy", [], [])
    # What the process that looks has in memory is nothing, and says nothing of the log.
    assert not {"waiting", "buffer_bytes", "flushes", "errors"} & set(report)


def test_json_of_an_empty_log(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    timelog.open(tmp_path / "empty").close()
    report = json.loads(status(tmp_path / "empty", capsys, "--json"))
    assert (report["committed"], report["histogram"], report["disk"]["full"]) == ([], None, None)
    assert report["disk"]["used"]["segments"] == 0 < report["disk"]["used"]["total"]

"""Real logs: every line comes back byte for byte, every pattern agrees, every reader can read."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

import timelog

PATTERNS = [
    "error",
    "POSSIBLE BREAK-IN ATTEMPT!",
    "blk_-6952295868487656571",
    r"\[error\]",
    r"^\[",
    r"\d{1,3}(\.\d{1,3}){3}",
    r"port \d+ ssh2$",
    "[Ff]ailed password",
    "(?i)FAILED",
    "(?i)sshd",
    "ssh2|INFO|chrome",
    r"(\d)\1\1\1",
    r"(?<=user )\w+(?= from)",
    r"(?<!invalid )user",
    r"(?!.*INFO)^.*nova",
    '"GET /v2/',
    '"',
    r"\\",
    "\t",
    r"\s{2,}",
    r"[^\x00-\x7f]",
    "é|ü|ñ|中",
    "",
    "^$",
    "x*",
    r"\bkernel\b",
    "workerEnv.*state [67]",
    r"(?:lifetime|bytes) .*\d\d:\d\d",
    r"(?P<ip>\d+\.\d+\.\d+\.\d+).*(?P=ip)",
    "zzz-not-there-zzz",
    r"(?m)^Jun",
    r"(?s)a.b",
]
# What JSON writes as it is: the raw text of a segment then holds the same matches.
PLAIN = [
    "error",
    "ssh2",
    "BREAK-IN",
    "INFO",
    "chrome.exe",
    "kernel:",
    "blk_",
    "zzz-not-there-zzz",
    "Failed password for invalid user",
    "1-1:",
    "HTTPS",
    "onStandStepChanged",
]


@pytest.fixture(scope="module")
def lines(real_logs: list[Path]) -> list[tuple[str, str]]:
    """(file, line) of every line that is UTF-8."""
    found = []
    for file in real_logs:
        for raw in file.read_bytes().split(b"\n"):
            if raw:
                found.append((file.name, raw.decode()))
    assert len(found) == 16_000
    return found


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory, lines: list[tuple[str, str]]) -> Path:
    """A log of them, by appends in several flushes, every line at a time of its own."""
    path = tmp_path_factory.mktemp("real") / "log"
    with timelog.open(path, flush_interval=3600) as log:
        for n, (source, line) in enumerate(lines):
            log.append(line, source=source, timestamp=1_700_000_000 + n * 0.05)
            if n % 3000 == 0:
                log.flush()
    return path


@pytest.fixture(scope="module")
def segments(stored: Path) -> list[str]:
    return sorted(str(file) for file in stored.glob("[0-9]*/*.jsonl"))


def test_every_line_comes_back_byte_for_byte(stored: Path, lines: list[tuple[str, str]]) -> None:
    with timelog.open(stored, mode="r") as log:
        assert [(e.source, e.content) for e in log.search()] == lines
        assert log.verify(deep=True).ok


@pytest.mark.parametrize("pattern", PATTERNS)
def test_a_pattern_finds_what_re_search_finds(
    stored: Path, lines: list[tuple[str, str]], pattern: str
) -> None:
    compiled = re.compile(pattern)
    expected = [line for _, line in lines if compiled.search(line)]
    with timelog.open(stored, mode="r") as log:
        assert [event.content for event in log.search(pattern=pattern)] == expected
        assert log.search(pattern=compiled, order="desc").count() == len(expected)


@pytest.mark.parametrize("pattern", PLAIN)
def test_grep_over_the_segments_agrees(
    segments: list[str], lines: list[tuple[str, str]], pattern: str
) -> None:
    done = subprocess.run(
        ["grep", "-hc", "-F", f"{pattern}", *segments], capture_output=True, text=True, check=False
    )
    counted = sum(map(int, done.stdout.split()))
    # The source stands in the line too.
    assert counted == sum(pattern in line or pattern in source for source, line in lines)


@pytest.mark.skipif(not shutil.which("jq"), reason="NOT RUN: jq is not installed")
def test_jq_reads_the_segments(segments: list[str], lines: list[tuple[str, str]]) -> None:
    done = subprocess.run(["jq", "-c", ".content", *segments], capture_output=True, check=True)
    assert [json.loads(line) for line in done.stdout.splitlines()] == [line for _, line in lines]


def test_duckdb_reads_the_segments(segments: list[str], lines: list[tuple[str, str]]) -> None:
    duckdb = pytest.importorskip("duckdb", reason="NOT RUN: duckdb is not installed")
    rows = duckdb.sql(
        "select source, content from read_json($files, format='newline_delimited') "
        'order by "timestamp", id',
        params={"files": segments},
    ).fetchall()
    assert rows == lines


def test_polars_reads_the_segments(segments: list[str], lines: list[tuple[str, str]]) -> None:
    polars = pytest.importorskip("polars", reason="NOT RUN: polars is not installed")
    frame = polars.scan_ndjson(segments).sort("timestamp").select("source", "content").collect()
    assert frame.rows() == lines


def test_the_command_line_ingests_them_all(
    tmp_path: Path, real_logs: list[Path], lines: list[tuple[str, str]]
) -> None:
    from timelog.cli import main

    path = tmp_path / "log"
    assert main(["--dir", str(path), "ingest", *map(str, real_logs)]) == 0
    with timelog.open(path, mode="r") as log:
        found = [(event.source, event.content) for event in log.search()]
    assert sorted(found) == sorted(lines)


Fixture = Callable[..., object]

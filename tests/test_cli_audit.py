"""``timelog audit``: where the events are, in words, in JSON, and in the exit code."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

import timelog
from timelog.cli import main
from timelog.stock import Stock, Stretches

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(path: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run the command on the log at ``path``: exit code, stdout, stderr."""

    def once(*words: str) -> tuple[int, str, str]:
        code = main(["--dir", str(path), "audit", *words])
        return code, *capsys.readouterr()

    with timelog.open(path) as log:
        log.append_many([{"content": "x" * 40}] * 1_200)
        log.flush()
        with pytest.raises(timelog.errors.InvalidTime):
            log.append("x", timestamp="never")
        log.append("y", timestamp=0)
    return once


def test_it_says_where_the_events_are(run: Run) -> None:
    code, out, err = run()
    assert (code, err) == (0, "")
    assert out.splitlines() == [
        "balanced: 1,202 events entered",
        "stored               1,201",
        "damaged                  0",
        "in memory                0",
        "refused                  1  InvalidTime 1",
        "missing                  0",
        "lost                     0",
        "expired                  0",
        "deleted                  0",
    ]


def test_it_says_so_in_json(run: Run) -> None:
    code, out, err = run("--json")
    assert (code, err) == (0, "")
    assert json.loads(out) == {
        "ok": True,
        "exit_code": 0,
        "since": None,
        "entered": 1_202,
        "stored": 1_201,
        "damaged": 0,
        "waiting": 0,
        "refused": {"InvalidTime": 1},
        "missing": 0,
        "lost": 0,
        "expired": 0,
        "deleted": 0,
        "difference": 0,
        "differences": [],
        "damage": [],
    }


def test_since_is_a_time_as_every_command_takes_it(run: Run) -> None:
    code, out, _ = run("--since", "2026-11-21 23:59", "--tz", "Europe/Berlin")
    assert code == 0 and out.startswith("balanced: 1,202 events entered since 2026-11-21\n")
    code, out, _ = run("-S", "+30d", "--json")
    assert code == 0 and json.loads(out)["entered"] == 0
    assert json.loads(out)["since"].endswith("T00:00:00.000000Z")
    assert run("--since", "soon")[0] == 2


def test_damage_that_took_events_is_told_by_the_exit_code(run: Run, path: Path) -> None:
    journal = path / ".timelog" / "journal" / "0000000001.journal"
    data = bytearray(journal.read_bytes())
    # In the first commit, which is behind the record that begins the file.
    data[data.index(b"commit")] ^= 1
    journal.write_bytes(data)
    code, out, _ = run()
    assert code == 3
    assert out.startswith("balanced, with damage: 1,202 events entered\n")
    assert "missing              1,200  the records of their commits are damaged\n" in out
    assert f"damage     .timelog/journal/{journal.name}: " in out
    assert json.loads(run("--json")[1])["exit_code"] == 3


def test_a_difference_is_told_by_the_exit_code(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("timelog.audit.take_stock", _less_one)
    code, out, _ = run()
    assert code == 1
    assert out.startswith("1 events differ: 1,202 events entered\n")
    assert out.endswith("difference position 7 is in no block\n")


def _less_one(*_: object) -> Stock:
    return Stock(Stretches(1, ((7, 8),)), Stretches(0, ()))


def test_what_cannot_be_looked_at_is_an_error(run: Run, path: Path) -> None:
    (path / ".timelog" / "journal" / "0000000001.journal").unlink()
    code, out, err = run()
    assert (code, out) == (2, "") and err.startswith("timelog: ")

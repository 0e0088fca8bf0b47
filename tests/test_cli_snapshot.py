"""``timelog snapshot`` and ``timelog restore``."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

import timelog
from timelog.cli import main

Capture = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def plain_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TIMELOG_DIR", raising=False)


@pytest.fixture
def log_dir(path: Path) -> Path:
    """A log of three events."""
    with timelog.open(path, flush_interval=3600.0) as log:
        log.append_many({"content": str(n), "timestamp": n} for n in range(3))
    return path


@pytest.fixture
def dest(tmp_path: Path) -> Path:
    return tmp_path / "snapshots"


def run(capsys: Capture, *argv: object, code: int = 0) -> str:
    assert main(list(map(str, argv))) == code
    out, err = capsys.readouterr()
    assert bool(err) == (code == 2), err
    return out if code != 2 else err


def add(log_dir: Path, number: int) -> None:
    with timelog.open(log_dir, flush_interval=3600.0) as log:
        log.append_many({"content": "more", "timestamp": n} for n in range(number))


def test_a_snapshot_is_taken_listed_and_restored(
    log_dir: Path, dest: Path, tmp_path: Path, capsys: Capture
) -> None:
    command = ("--dir", log_dir, "snapshot", dest)
    assert run(capsys, *command, "--list", code=1) == "no snapshots\n"
    line = run(capsys, *command)
    made = next(dest.glob("*-periodic"))
    assert line.startswith(f"{made}: periodic, position 3, ") and line.count("\n") == 1
    add(log_dir, 1)
    run(capsys, *command, "--kind", "safety")
    lines = run(capsys, *command, "--list").splitlines()
    assert [each.split(": ")[1].split(",")[0] for each in lines] == ["periodic", "safety"]
    assert f"{lines[0]}\n" == line
    restored = run(capsys, "restore", made, tmp_path / "new")
    assert restored.startswith(f"{tmp_path / 'new'}: the log at position 3, ")
    assert run(capsys, "--dir", tmp_path / "new", "search", "--count") == "3\n"
    assert run(capsys, "--dir", made, "search", "--count") == "3\n"
    assert run(capsys, "restore", "-q", made, tmp_path / "quiet") == ""


def test_json(log_dir: Path, dest: Path, tmp_path: Path, capsys: Capture) -> None:
    command = ("--dir", log_dir, "snapshot", dest, "--json")
    made = json.loads(run(capsys, *command))
    assert made["ok"] and made["position"] == 3 and made["kind"] == "periodic"
    assert made["time"].endswith("Z") and 0 < made["new"] < made["bytes"]
    assert json.loads(run(capsys, *command, "--list")) == made
    restored = json.loads(run(capsys, "restore", "--json", made["path"], tmp_path / "new"))
    assert restored["position"] == 3 and restored["path"] == str(tmp_path / "new")
    assert run(capsys, *command, "--prune") == ""


def test_none_is_taken_unless_one_is_due(log_dir: Path, dest: Path, capsys: Capture) -> None:
    command = ("--dir", log_dir, "snapshot", dest, "--if-due")
    assert "position 3" in run(capsys, *command)
    assert run(capsys, *command, "--events", 1, "--minutes", 0.001) == "no snapshot is due\n"
    add(log_dir, 99)
    assert run(capsys, *command) == "no snapshot is due\n"
    assert "position 102" in run(capsys, *command, "--events", 99)
    add(log_dir, 100)
    assert "position 202" in run(capsys, *command)


def test_pruning_prints_what_goes(log_dir: Path, dest: Path, capsys: Capture) -> None:
    command = ("--dir", log_dir, "snapshot", dest)
    lines = []
    for _ in range(7):
        lines.append(run(capsys, *command))
        add(log_dir, 1)
    assert run(capsys, *command, "--prune") == "".join(lines[:2])
    assert run(capsys, *command, "--prune") == "nothing to remove\n"
    assert len(run(capsys, *command, "--list").splitlines()) == 5


def test_a_broken_one_is_named_and_the_code_says_so(
    log_dir: Path, dest: Path, tmp_path: Path, capsys: Capture
) -> None:
    command = ("--dir", log_dir, "snapshot", dest)
    run(capsys, *command)
    made = next(dest.glob("*-periodic"))
    segment = next(made.rglob("*.jsonl"))
    segment.unlink()
    name = str(segment.relative_to(made))
    assert run(capsys, *command, "--list", code=3) == f"{made}: {name} is missing\n"
    assert f"{name} is missing" in run(capsys, "restore", made, tmp_path / "new", code=2)
    assert not (tmp_path / "new").exists()


def test_a_damaged_log_is_taken_and_the_code_says_so(
    log_dir: Path, dest: Path, tmp_path: Path, capsys: Capture
) -> None:
    next(log_dir.glob("1*/*")).unlink()
    out = run(capsys, "--dir", log_dir, "snapshot", dest, code=3)
    assert "damaged in the log, and in the snapshot: 1970-01-01/" in out
    made = next(dest.glob("*-periodic"))
    assert "damaged in the log" in run(capsys, "restore", made, tmp_path / "new", code=3)


def test_what_cannot_be_done_is_told(
    log_dir: Path, dest: Path, tmp_path: Path, capsys: Capture
) -> None:
    def told(*argv: object) -> str:
        return run(capsys, *argv, code=2)

    assert "inside the log" in told("--dir", log_dir, "snapshot", log_dir / "x")
    assert "DEST" in told("--dir", log_dir, "snapshot", "")
    assert "is not a timelog" in told("--dir", tmp_path / "none", "snapshot", dest)
    assert not (tmp_path / "none").exists() and not dest.exists()
    assert "no log was named" in told("snapshot", dest)
    assert "--if-due" in told("--dir", log_dir, "snapshot", dest, "--events", 5)
    for option in (("--events", 0), ("--events", "x"), ("--minutes", -1), ("--kind", "x")):
        assert "see 'timelog snapshot --help'" in told(
            "--dir", log_dir, "snapshot", dest, "--if-due", *option
        )
    assert "not allowed" in told("--dir", log_dir, "snapshot", dest, "--list", "--prune")
    assert "is no snapshot" in told("restore", log_dir, tmp_path / "new")
    assert "names of directories" in told("restore", "", tmp_path / "new")
    run(capsys, "--dir", log_dir, "snapshot", dest)
    made = next(dest.glob("*-periodic"))
    assert "nothing is overwritten" in told("restore", made, log_dir)
    assert "is a snapshot" in told("--dir", made, "append", "x")


def test_output_is_escaped(log_dir: Path, tmp_path: Path, capsys: Capture) -> None:
    dest = tmp_path / "a\x1b[31m\nb"
    out = run(capsys, "--dir", log_dir, "snapshot", dest)
    assert "\x1b" not in out
    assert "\x1b" not in run(capsys, "--dir", log_dir, "snapshot", dest, "--json")


def test_a_path_that_is_not_utf8(log_dir: Path, tmp_path: Path) -> None:
    dest = bytes(tmp_path) + b"/\xff"
    command = [sys.executable, "-m", "timelog", "--dir", str(log_dir), "snapshot", dest]
    for extra in ((), ("--list",), ("--json",)):
        done = subprocess.run([*command, *extra], capture_output=True, check=False)
        assert done.returncode == 0 and not done.stderr, done.stderr

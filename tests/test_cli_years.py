"""``timelog vacuum``, ``compact`` and ``delete``: what they print, their JSON, their exit codes."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path

import pytest

import timelog
from timelog.cli import main

Run = Callable[..., tuple[int, str, str]]
DAY = 86_400


@pytest.fixture
def run(path: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run a command on a log of five days, two events each: exit code, stdout, stderr."""

    def once(*words: str) -> tuple[int, str, str]:
        code = main(["--dir", str(path), *words])
        return code, *capsys.readouterr()

    midnight = time.time() // DAY * DAY
    with timelog.open(path) as log:
        for day in range(5, 0, -1):
            for number in range(2):
                log.append(
                    f"event {day} {number}",
                    timestamp=midnight - day * DAY + number * 60,
                    tags=["audit"] if number else [],
                    id=f"{day}-{number}",
                )
    return once


def found(run: Run) -> list[str]:
    return run("search", "-o", "cat")[1].splitlines()


# -- vacuum -------------------------------------------------------------------------------


def test_vacuum_lets_old_days_go(run: Run) -> None:
    code, out, err = run("vacuum", "--time", "3 days", "--dry-run")
    assert (code, err) == (0, "")
    assert out.splitlines()[0].startswith("2 partitions would go: 4 events, ")
    assert len(found(run)) == 10
    code, out, err = run("vacuum", "--time", "3 days", "--tag", "audit=1 year")
    assert (code, err) == (0, "")
    assert out.splitlines()[0] == "0 partitions went: 0 events, 0 bytes"
    assert len(found(run)) == 8
    code, out, err = run("vacuum", "--files", "2", "--json")
    assert (code, err) == (0, "")
    report = json.loads(out)
    assert [each["why"] for each in report["partitions"]] == ["partitions"] * 3
    assert len(found(run)) == 4
    assert run("vacuum", "--size", "1K", "-q") == (0, "", "")
    assert len(found(run)) == 2
    assert run("verify")[0] == 0


def test_vacuum_can_be_suspended(run: Run) -> None:
    assert run("vacuum", "--suspend") == (0, "expiry is suspended\n", "")
    code, out, _ = run("vacuum", "--time", "1 day")
    assert (code, out) == (1, "expiry is suspended: until it is resumed\n")
    assert len(found(run)) == 10
    assert run("vacuum", "--resume") == (0, "expiry is resumed\n", "")
    assert run("vacuum", "--time", "1 day")[0] == 0
    assert len(found(run)) == 2


@pytest.mark.parametrize(
    "words",
    [
        ["--time", "0"],
        ["--time", "-1 day"],
        ["--size", "0"],
        ["--size", "lots"],
        ["--files", "0"],
        ["--files", "two"],
        ["--tag", "audit"],
        ["--tag", "=1 day"],
        ["--source", "a=soon"],
        ["--suspend", "--resume"],
        [],
    ],
)
def test_limits_that_make_no_sense_are_one_sentence(run: Run, words: list[str]) -> None:
    code, out, err = run("vacuum", *words)
    assert (code, out) == (2, "")
    assert err.startswith("timelog: ")
    assert err.count("\n") == 1
    assert len(found(run)) == 10


@pytest.mark.parametrize("words", [["vacuum", "--time", "1d"], ["compact"], ["delete", "x"]])
def test_no_log_is_made(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], words: list[str]
) -> None:
    assert main(["--dir", str(tmp_path / "none"), *words]) == 2
    assert "is not a timelog" in capsys.readouterr().err
    assert not (tmp_path / "none").exists()


# -- compact ------------------------------------------------------------------------------


def test_compact_makes_one_file_of_a_day(run: Run, path: Path) -> None:
    before = found(run)
    code, out, err = run("compact", "--older-than", "2 days")
    assert (code, err) == (0, "")
    assert out.startswith("3 days compacted: 6 segments of ")
    assert len(list(path.glob("2*/*.jsonl"))) == 3 + 4
    report = json.loads(run("compact", "--json")[1])
    assert (report["days"], report["segments"], report["new_segments"]) == (2, 4, 2)
    assert run("compact") == (0, "nothing to compact\n", "")
    assert run("compact", "-q") == (0, "", "")
    assert found(run) == before


def test_compact_archives(run: Run, path: Path) -> None:
    pytest.importorskip("zstandard")
    before = found(run)
    assert run("compact", "--archive")[0] == 0
    assert len(list(path.glob("2*/*.jsonl.zst"))) == len(list(path.glob("2*/*"))) == 5
    assert found(run) == before
    assert run("verify", "--deep")[0] == 0
    assert run("search", "-g", "event 3 1", "--count") == (0, "1\n", "")


def test_compact_says_what_is_damaged(run: Run, path: Path) -> None:
    first = sorted(path.glob("2*/*"))[0]
    first.write_bytes(first.read_bytes().replace(b"event 5 0", b"event 6 0"))
    code, out, _ = run("compact")
    assert code == 3
    assert f"damaged, and left as it is: {first.parent.name}/{first.name}" in out
    assert len(found(run)) == 9


# -- delete -------------------------------------------------------------------------------


def test_delete_hides_lists_and_proves(run: Run, path: Path, tmp_path: Path) -> None:
    line = tmp_path / "line"
    line.write_text(run("search", "-g", "event 4 0", "-o", "json")[1])
    code, out, err = run("delete", "4-0", "--utc")
    assert (code, err) == (0, "")
    assert out.startswith("hidden  20")
    assert "4-0  position 2  " in out
    assert "event 4 0" not in found(run)
    code, out, _ = run("delete", "--list", "--json")
    assert code == 0
    deletion = json.loads(out)
    assert (deletion["id"], deletion["position"], deletion["is_erased"]) == ("4-0", 2, False)
    assert run("delete", "--prove", str(line))[0] == 0
    line.write_text(run("search", "-g", "event 4 1", "-o", "json")[1])
    code, out, err = run("delete", "--prove", str(line))
    assert (code, out, err) == (1, "", "timelog: no deletion has that line\n")
    assert run("delete", "4-1", "--erase")[1].startswith("erased  ")
    assert b"event 4 1" not in b"".join(each.read_bytes() for each in path.glob("2*/*"))


def test_delete_says_what_is_not_there_and_does_the_others(run: Run) -> None:
    code, out, err = run("delete", "nope", "5-0", "-q")
    assert (code, out, err) == (1, "", "timelog: no event has the id 'nope'\n")
    assert "event 5 0" not in found(run)


@pytest.mark.parametrize("words", [[], ["x", "--list"], ["--list", "--prove", "-"]])
def test_delete_does_one_thing(run: Run, words: list[str]) -> None:
    code, _, err = run("delete", *words)
    assert code == 2
    assert err == "timelog: give the ids of events, or --list, or --prove FILE\n"


def test_nothing_was_deleted(run: Run) -> None:
    assert run("delete", "--list") == (1, "", "")

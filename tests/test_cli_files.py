"""``timelog files``: paths and ranges that other tools can use as they are."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

import timelog
from timelog import segment as segment_module
from timelog.cli import main
from timelog.codec import decode_lines
from timelog.rotate import write_checkpoint
from timelog.timestamp import DAY, HOUR, MINUTE, SECOND, to_datetime, to_text

START = 20_000 * DAY  # 2024-10-04
CUT = """while IFS=$'\\t' read -r path start end; do
    tail -c +$((start + 1)) "$path" | head -c $((end - start)); done"""


@pytest.fixture(autouse=True)
def plain_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("TIMELOG_DIR", "TIMELOG_TZ"):
        monkeypatch.delenv(name, raising=False)
    # The command, as it is installed.
    scripts = Path(sys.executable).parent
    monkeypatch.setenv("PATH", f"{scripts}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("TZ", "UTC")


@pytest.fixture
def log_dir(tmp_path: Path) -> Path:
    """A log of three days, with two minutes in the first."""
    directory = tmp_path / "log"
    with timelog.open(directory) as log:
        for us in (START, START + MINUTE, START + DAY, START + 2 * DAY):
            log.append(f"at {us}", timestamp=to_datetime(us))
            log.flush()
    return directory


def shell(script: str, at: Path, env: Mapping[str, str] = {}) -> subprocess.CompletedProcess[bytes]:
    """Run a line of bash with the real command."""
    return subprocess.run(
        ["bash", "-o", "pipefail", "-c", script],
        cwd=at,
        env={**os.environ, **env},
        capture_output=True,
        timeout=60,
        check=False,
    )


def contents(lines: bytes) -> list[str]:
    return [event.content for event in decode_lines(lines)]


# -- which --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("argv", "found"),
    [
        ([], "abcd"),
        (["-S", "2024-10-04T00:01Z"], "bcd"),
        (["-U", "2024-10-05T00:00Z"], "ab"),
        (["--since", "2024-10-05", "--until", "2024-10-06"], "c"),
        (["--from", "2024-10-05 02:00", "--to", "2024-10-06 03:00", "--tz", "+02:00"], "cd"),
        (["-S", "2024-10-07", "--utc"], ""),
        (["-U", "2024-10-04"], ""),
        (["-S", "-1h"], ""),
    ],
)
def test_the_files_of_a_range(
    log_dir: Path, argv: list[str], found: str, capfd: pytest.CaptureFixture[str]
) -> None:
    files = dict(zip("abcd", sorted(log_dir.glob("[0-9]*/*")), strict=True))
    code = main(["--dir", str(log_dir), "files", *argv])
    assert capfd.readouterr() == ("".join(f"{files[each]}\n" for each in found), "")
    assert code == (0 if found else 1)


@pytest.mark.parametrize("seed", range(3))
def test_ranges_through_tail_and_head_are_the_lines(
    ram: Path, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(segment_module, "COALESCE", 0)
    dice = random.Random(seed)
    known: list[int] = []
    with timelog.open(ram / "log") as log:
        for _ in range(12):
            at = START + dice.randrange(48) * HOUR
            width = dice.choice([SECOND, 5 * MINUTE, 30 * MINUTE])
            for _ in range(dice.randint(1, 20)):
                known.append(at + dice.randrange(width))
                log.append(str(known[-1]), timestamp=to_datetime(known[-1]))
            log.flush()
        # Only in this process is a block as small as the flush it came from.
        write_checkpoint(log._store.layout, log._store.storage, log._store.index)
    for _ in range(2):
        start, end = sorted(dice.sample(known, 2))
        asked = f"timelog --dir log files -S {to_text(start)} -U {to_text(end)}"
        cut = shell(f"{asked} --ranges | {CUT}", ram)
        assert cut.returncode == 0 and cut.stderr == b""
        inside = {str(us) for us in known if start <= us < end}
        assert inside <= set(contents(cut.stdout)) <= set(map(str, known))
        paths = shell(asked, ram).stdout.decode().splitlines()
        for path in paths:
            held = list(map(int, contents((ram / path).read_bytes())))
            # Where a block lies around the range, only reading it tells that it has nothing of it.
            assert inside & set(map(str, held)) or (min(held) < start and max(held) >= end)


def test_several_stretches_of_a_file_are_one_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(segment_module, "COALESCE", 0)
    with timelog.open(tmp_path / "log") as log:
        for second in (1, 40, 2):
            log.append(f"{second}", timestamp=to_datetime(START + second * SECOND))
            log.flush()
    argv = ["--dir", str(tmp_path / "log"), "files", "-U", "2024-10-04T00:00:30Z"]
    assert main(argv) == 0
    [path] = capfd.readouterr().out.splitlines()
    assert main([*argv, "--ranges"]) == 0
    ranges = [line.split("\t") for line in capfd.readouterr().out.splitlines()]
    data = Path(path).read_bytes()
    assert [each[0] for each in ranges] == [path, path]
    assert [contents(data[int(start) : int(end)]) for _, start, end in ranges] == [["1"], ["2"]]


def test_what_a_process_still_has_in_memory_is_in_no_file(log_dir: Path) -> None:
    with timelog.open(log_dir, flush_interval=3600) as log:
        log.append("x")
        assert shell("timelog --dir log files --since -1h", log_dir.parent).returncode == 1
        log.flush()
        done = shell("timelog --dir log files --since -1h | xargs grep -c .", log_dir.parent)
        assert done.stdout == b"1\n"


# -- how they are written -----------------------------------------------------------------


def test_paths_are_relative_where_they_are_below(log_dir: Path, tmp_path: Path) -> None:
    first = "2024-10-04/20241004T0000Z-20241004T0001Z.jsonl"
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    for at, named, shown in (
        (tmp_path, "log", f"log/{first}"),
        (tmp_path, str(log_dir), f"log/{first}"),
        (log_dir, ".", f"./{first}"),
        (elsewhere, str(log_dir), f"{log_dir}/{first}"),
        (elsewhere, "../log", f"../log/{first}"),
    ):
        done = shell(f"timelog --dir {named} files -U 2024-10-04T00:01Z", at)
        assert done.stdout.decode() == f"{shown}\n"
        assert (at / shown).is_file()


@pytest.mark.parametrize("name", ["-v", "a=b", "two words", "new\nline", "tab\t", "größe", b"\xff"])
def test_any_name_of_a_directory_can_be_passed_on(
    log_dir: Path, tmp_path: Path, name: str | bytes
) -> None:
    named = os.fsdecode(name)
    try:
        log_dir.rename(tmp_path / named)
    except OSError:
        pytest.skip("this file system does not take such names")
    env = {"TIMELOG_DIR": named, "LC_ALL": "C", "PYTHONUTF8": "0"}
    done = shell("timelog files -0 | xargs -0 awk 1", tmp_path, env)
    assert (done.returncode, done.stderr, len(contents(done.stdout))) == (0, b"", 4)
    done = shell("timelog files --ranges -0", tmp_path, env)
    ends = [record.rsplit(b"\t", 2)[1:] for record in done.stdout.split(b"\0")]
    assert len(ends) == 5 and ends[-1] == [] and all(start == b"0" for start, _ in ends[:-1])


@pytest.mark.skipif(shutil.which("rg") is None, reason="ripgrep is not installed")
def test_ripgrep_reads_the_files(log_dir: Path) -> None:
    done = shell(
        "timelog --dir log files -S 2024-10-05 | xargs rg --no-filename -c at", log_dir.parent
    )
    assert done.stdout == b"1\n1\n"


# -- exit codes, damage -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("argv", "says"),
    [
        (["-S", "noon"], "'noon' is not a time"),
        (["-S", "2026-07-02", "-U", "2026-07-01"], "--since 2026-07-02 is after"),
        (["--tz", "Nowhere"], "not a time zone"),
        (["--since"], "expected one argument"),
        (["extra"], "unrecognized"),
    ],
)
def test_what_is_wrong_is_one_sentence(
    log_dir: Path, argv: list[str], says: str, capfd: pytest.CaptureFixture[str]
) -> None:
    assert main(["--dir", str(log_dir), "files", *argv]) == 2
    out, err = capfd.readouterr()
    assert out == "" and err.startswith("timelog: ") and err.count("\n") == 1 and says in err


def test_a_directory_that_is_no_log_is_not_made_one(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert main(["--dir", str(tmp_path / "none"), "files"]) == 2
    assert capfd.readouterr().err.startswith("timelog: ")
    assert not (tmp_path / "none").exists()


def test_a_damaged_day_is_named_and_strict_says_so(log_dir: Path) -> None:
    with timelog.open(log_dir) as log:
        write_checkpoint(log._store.layout, log._store.storage, log._store.index)
    [index] = log_dir.glob(".timelog/index/2024-10-05.*")
    index.write_bytes(index.read_bytes()[:-1])
    done = shell("timelog --dir log files", log_dir.parent)
    assert done.returncode == 0
    assert [line.split(b"/")[1] for line in done.stdout.splitlines()] == [
        b"2024-10-04", b"2024-10-04", b"2024-10-06",
    ]  # fmt: skip
    assert done.stderr.startswith(b"timelog: damaged: .timelog/index (2024-10-05)")
    assert done.stderr.count(b"\n") == 1
    day = "-S 2024-10-05 -U 2024-10-06"
    assert shell(f"timelog --dir log files {day}", log_dir.parent).returncode == 1
    assert shell(f"timelog --dir log files {day} --strict", log_dir.parent).returncode == 3
    # A day that is not asked for is not looked at.
    other = shell("timelog --dir log files -S 2024-10-06 --strict", log_dir.parent)
    assert (other.returncode, other.stderr) == (0, b"")


def test_events_that_a_damaged_journal_named_are_missing(log_dir: Path) -> None:
    with timelog.open(log_dir) as log:
        log.append("more", sync=True)
    [journal] = log_dir.glob(".timelog/journal/*")
    data = bytearray(journal.read_bytes())
    data[data.index(b"tlJ1", data.index(b"tlJ1", 1) + 1) + 30] ^= 1
    journal.write_bytes(data)
    done = shell("timelog --dir log files --strict", log_dir.parent)
    assert done.returncode == 3
    assert b"1 events are missing: the records that named them are damaged" in done.stderr
    assert len(done.stdout.splitlines()) == 4


def test_a_closed_pipe_and_a_full_disk(log_dir: Path) -> None:
    done = shell("timelog --dir log files | true", log_dir.parent)
    assert done.returncode in (0, 141) and done.stderr == b""
    if os.path.exists("/dev/full"):
        done = shell("timelog --dir log files > /dev/full", log_dir.parent)
        assert done.returncode == 2
        assert done.stderr.startswith(b"timelog: ") and done.stderr.count(b"\n") == 1
    done = shell("timelog --dir log files >&-", log_dir.parent)
    assert done.returncode == 2 and b"Traceback" not in done.stderr


def test_nothing_is_written(log_dir: Path, capfd: pytest.CaptureFixture[str]) -> None:
    def tree() -> dict[Path, tuple[int, int]]:
        return {path: (path.stat().st_mtime_ns, path.stat().st_size) for path in log_dir.rglob("*")}

    before = tree()
    assert main(["--dir", str(log_dir), "files", "--ranges"]) == 0
    assert tree() == before

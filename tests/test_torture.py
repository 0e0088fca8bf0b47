"""`timelog torture`: that it finds nothing where all is well, and finds out what is not."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import random
import re
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from itertools import chain
from pathlib import Path
from typing import Any

import pytest

import timelog
from tests.test_cli import complete_in_bash, on_terminal
from timelog.cli import disk, main, trial
from timelog.cli.child import Child, Failed, Line
from timelog.cli.guarantee import FAILS, HOLDS, UNKNOWN, Finding, find
from timelog.cli.tally import Tally, contents_of, tally
from timelog.mounts import FileSystem, file_system

SEED = 20261125
Patch = pytest.MonkeyPatch


def torture(place: Path, *words: str, capsys: pytest.CaptureFixture[str]) -> tuple[int, Any, str]:
    code = main(["torture", str(place), "--seconds", "1", "--seed", str(SEED), *words])
    out, err = capsys.readouterr()
    return code, out, err


def checked(guarantee: str, place: Path) -> Finding:
    """What comes of one check of the file system."""
    (name,) = (name for name in disk._CHECKS if name.startswith(guarantee))
    return find(name, lambda: disk._CHECKS[name](place, 0.2))


def tried(guarantee: str, place: Path, seconds: float = 0.01) -> Finding:
    """What comes of one trial of the library: one round, or some."""
    (name,) = (name for name in trial._TRIALS if name.startswith(guarantee))
    act = trial._TRIALS[name][0]
    return find(name, lambda: act(place, seconds, random.Random(SEED)))


# -- where all is well -----------------------------------------------------------------------


@pytest.fixture(params=["disk", "memory"])
def somewhere(request: pytest.FixtureRequest, tmp_path: Path, ram: Path) -> Path:
    return tmp_path if request.param == "disk" else ram


def test_all_holds_here_and_nothing_is_left(
    somewhere: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (somewhere / "mine.txt").write_text("mine")
    code, out, err = torture(somewhere, "--json", capsys=capsys)
    data = json.loads(out)
    verdicts = {one["guarantee"]: one["verdict"] for one in data["findings"]}
    found = file_system(somewhere)
    is_memory = found is not None and found.is_memory
    assert verdicts.pop(disk.POWER) == (FAILS if is_memory else UNKNOWN)
    if found is not None and not found.is_network:
        assert set(verdicts.values()) == {HOLDS}, out
    assert len(verdicts) == 10
    assert code == (1 if is_memory else 0) and data["ok"] == (code == 0)
    assert data["seed"] == SEED and f"with seed {SEED}" in err
    assert data["kept"] is None
    counts = {one["guarantee"]: one["counts"] for one in data["findings"]}
    kills = counts["kill -9: what is acknowledged stays"]
    assert kills["kills"] >= 1 and kills["acknowledged"] >= 1 and kills["lost"] == 0
    assert [path.name for path in somewhere.iterdir()] == ["mine.txt"]


def test_the_table_is_plain_where_no_terminal_is(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: Patch
) -> None:
    some = [
        Finding("one", HOLDS, "well", {}),
        Finding("another", FAILS, "ill \x1b[31m", {}),
        Finding("third", UNKNOWN, "who knows", {}),
    ]
    monkeypatch.setattr(disk, "findings", lambda *_: some)
    monkeypatch.setattr(trial, "findings", lambda *_: [])
    code, out, _ = torture(tmp_path, capsys=capsys)
    (kept,) = tmp_path.iterdir()
    assert code == 1
    assert out.splitlines() == [
        "holds        one      well",
        "fails        another  ill \\x1b[31m",
        "not checked  third    who knows",
        f"1 hold, 1 fail, 1 not checked; seed {SEED}",
        f"what was tried is kept in {kept}; remove it when you have looked",
    ]


def test_a_terminal_gets_a_table(tmp_path: Path) -> None:
    pytest.importorskip("rich")
    shown = on_terminal("torture", str(tmp_path), "--seconds", "0.1", env={"COLUMNS": "100"})
    assert "guarantee" in shown and "┃" in shown and "flock: one process holds" in shown
    assert list(tmp_path.iterdir()) == []


def test_completions_offer_directories(
    tmp_path: Path, monkeypatch: Patch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["completion", "bash"]) == 0
    script = capsys.readouterr().out
    (tmp_path / "place").mkdir()
    (tmp_path / "file").write_text("")
    monkeypatch.chdir(tmp_path)
    assert complete_in_bash(script, "timelog", "torture", "") == {"place"}


@pytest.mark.parametrize("name", ["none", "a file", "/proc"])
def test_where_nothing_can_be_tried(
    tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "a file").write_text("")
    code, out, err = torture(tmp_path / name, capsys=capsys)
    assert code == 2 and not out and err.count("\n") == 1
    assert ("nothing can be made in" if name == "/proc" else "is not a directory") in err


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interrupt_ends_it_and_leaves_nothing(
    tmp_path: Path, number: signal.Signals, code: int
) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "timelog", "torture", str(tmp_path), "--seconds", "600"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    while not list(tmp_path.glob("*/kills/.timelog/format")):
        assert process.poll() is None
        time.sleep(0.005)
    os.killpg(process.pid, number)  # as a terminal does: the children get it, too
    out, err = process.communicate(timeout=60)
    assert process.returncode == code, err
    assert out == "" and err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(ProcessLookupError):
        os.killpg(process.pid, 0)


# -- a file system that is not what a log needs ----------------------------------------------


def test_files_that_are_created_twice(tmp_path: Path, monkeypatch: Patch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(os, "O_EXCL", 0)
        patch.setattr(disk, "_NEW", os.O_WRONLY | os.O_CREAT)
        finding = checked("O_EXCL", tmp_path)
    assert finding.verdict == FAILS
    assert finding.text == "200 of 200 files were created by each of two processes"


def test_files_that_are_created_by_nobody(tmp_path: Path) -> None:
    (tmp_path / "exclusive-7").write_text("")
    finding = checked("O_EXCL", tmp_path)
    assert finding.verdict == FAILS
    assert finding.text == "1 of 200 files were created by neither of two processes"


def test_a_flock_that_excludes_nobody(tmp_path: Path, monkeypatch: Patch) -> None:
    monkeypatch.setattr(fcntl, "flock", lambda fd, operation: None)
    finding = checked("flock", tmp_path)
    assert finding.verdict == FAILS and "two processes held" in finding.text


def test_a_flock_that_is_lost_with_another_descriptor(tmp_path: Path, monkeypatch: Patch) -> None:
    """Locks of POSIX, by which some network file systems make up for flock, are like this."""
    monkeypatch.setattr(fcntl, "flock", fcntl.lockf)
    finding = checked("flock", tmp_path)
    assert finding.verdict == FAILS and "closed another descriptor" in finding.text


def test_a_flock_that_outlives_its_holder(tmp_path: Path, monkeypatch: Patch) -> None:
    kill = Child.kill
    kills: list[Child] = []

    def kill_later(child: Child) -> None:
        kills.append(child)
        if len(kills) > 1:
            kill(child)

    monkeypatch.setattr(Child, "kill", kill_later)
    monkeypatch.setattr(disk, "_RELEASE", 0.05)
    finding = checked("flock", tmp_path)
    assert finding.verdict == FAILS and "after kill -9 its lock was still held" in finding.text


def test_a_flock_that_is_refused(tmp_path: Path, monkeypatch: Patch) -> None:
    def refuse(fd: int, operation: int) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refuse)
    finding = checked("flock", tmp_path)
    assert finding.verdict == FAILS and finding.text == "flock is refused: No locks available"


@pytest.mark.parametrize("how", ["mixed", "missing"])
def test_a_rename_in_two_steps(tmp_path: Path, monkeypatch: Patch, how: str) -> None:
    seen = tmp_path / "seen"

    def rename(source: Path, target: Path) -> None:
        data = source.read_bytes()
        if how == "missing":
            target.unlink()
        else:
            target.write_bytes(data[: len(data) // 2])
        # Until the reader has met it, by which nothing is left to time.
        while not seen.exists():
            time.sleep(0.001)
        target.write_bytes(data)

    read = Path.read_bytes

    def reading(path: Path) -> bytes:
        try:
            data = read(path)
        except FileNotFoundError:
            seen.touch()
            raise
        if path.name == "renamed" and len(data) != disk._SIZE:
            seen.touch()
        return data

    monkeypatch.setattr(os, "rename", rename)
    monkeypatch.setattr(Path, "read_bytes", reading)
    finding = checked("rename", tmp_path)
    assert finding.verdict == FAILS
    words = re.fullmatch(r"of .* (\d+) found no file and (\d+) neither .*", finding.text)
    assert words is not None and int(words[1 if how == "missing" else 2]) >= 1


def test_an_append_that_overwrites(tmp_path: Path, monkeypatch: Patch) -> None:
    monkeypatch.setattr(os, "O_APPEND", 0)
    finding = checked("O_APPEND", tmp_path)
    assert finding.verdict == FAILS and "of 1000 appended records are not whole" in finding.text


def test_an_fsync_that_fails(tmp_path: Path, monkeypatch: Patch) -> None:
    def fail(fd: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "fsync", fail)
    finding = checked("fsync", tmp_path)
    assert finding.verdict == FAILS and finding.text == "fsync fails: Input/output error"


def test_an_fsync_that_is_too_fast_is_told_of(tmp_path: Path, monkeypatch: Patch) -> None:
    for threshold, is_told in ((1e9, True), (0.0, False)):
        monkeypatch.setattr(disk, "_SUSPICIOUS", threshold)
        place = tmp_path / str(threshold)
        place.mkdir()
        finding = checked("fsync", place)
        assert finding.verdict == HOLDS
        assert ("suspiciously fast" in finding.text) is is_told


def test_what_cannot_be_seen_from_here_is_not_said_to_hold(
    tmp_path: Path, monkeypatch: Patch
) -> None:
    for found, local, power in (
        (FileSystem("nfs4", "box:/export"), UNKNOWN, UNKNOWN),
        (FileSystem("tmpfs", "tmpfs"), HOLDS, FAILS),
        (FileSystem("ext4", "/dev/sda"), HOLDS, UNKNOWN),
        (None, UNKNOWN, UNKNOWN),
    ):
        monkeypatch.setattr(disk, "file_system", lambda path, found=found: found)
        assert checked("a local", tmp_path).verdict == local
        assert checked(disk.POWER, tmp_path).verdict == power


def test_a_call_that_fails_is_not_a_verdict(tmp_path: Path) -> None:
    assert checked("O_APPEND", tmp_path / "none").verdict == UNKNOWN


# -- a log that is not what it promises ------------------------------------------------------

append_many = timelog.EventLog.append_many
Events = Iterable[dict[str, Any]]


def lose(log: timelog.EventLog, events: Events) -> int:
    some = list(events)
    return 0 if " 3 " in some[0]["content"] else append_many(log, some)


def repeat(log: timelog.EventLog, events: Events) -> int:
    some = list(events)
    append_many(log, some)
    return append_many(log, some)


def halve(log: timelog.EventLog, events: Events) -> int:
    some = list(events)
    return append_many(log, some[: -1 if len(some) > 1 else None])


def alter(log: timelog.EventLog, events: Events) -> int:
    return append_many(log, [event | {"content": event["content"] + "!"} for event in events])


@pytest.mark.parametrize(
    ("how", "count"),
    [(lose, "lost"), (repeat, "twice"), (halve, "halves"), (alter, "altered")],
)
@pytest.mark.parametrize("guarantee", ["two writers", "a full disk"])
def test_a_log_that_loses_repeats_halves_or_alters(
    ram: Path, monkeypatch: Patch, guarantee: str, how: Callable[..., int], count: str
) -> None:
    monkeypatch.setattr(timelog.EventLog, "append_many", how)
    finding = tried(guarantee, ram)
    assert finding.verdict == FAILS and finding.counts[count] > 0, finding
    assert list(ram.iterdir()), "the log that shows it is kept"


def test_an_acknowledgement_that_comes_too_early(ram: Path, monkeypatch: Patch) -> None:
    """Killed before anything is stored."""
    monkeypatch.setattr(timelog.EventLog, "sync", lambda log: None)
    plain = timelog.open
    monkeypatch.setattr(
        timelog, "open", lambda path, **options: plain(path, **options | {"flush_interval": 3600.0})
    )
    finding = tried("kill -9", ram)
    assert finding.verdict == FAILS and finding.counts["lost"] > 0, finding
    assert (ram / "kills").is_dir()


def test_a_reader_that_sees_less_than_before(ram: Path, monkeypatch: Patch) -> None:
    search = timelog.EventLog.search

    def forget(log: timelog.EventLog, **options: Any) -> Any:
        found = list(search(log, **options))
        return found[1:] if log._store.options.mode == "r" else found

    monkeypatch.setattr(timelog.EventLog, "search", forget)
    finding = tried("two writers", ram)
    assert finding.verdict == FAILS and finding.counts["wrong_reads"] > 0, finding
    assert finding.counts["lost"] == 0


def test_a_disk_that_is_never_full(ram: Path, monkeypatch: Patch) -> None:
    monkeypatch.setattr(resource, "setrlimit", lambda *_: None)
    monkeypatch.setattr(trial, "_BATCHES_UNTIL_FULL", 20)
    finding = tried("a full disk", ram)
    assert finding.verdict == UNKNOWN and "no write was refused" in finding.text


def test_flips_that_nobody_finds(ram: Path, monkeypatch: Patch) -> None:
    class Fine:
        ok = True
        damage = ()

    monkeypatch.setattr(timelog.EventLog, "verify", lambda log, deep=False: Fine)
    finding = tried("a flipped bit", ram)
    assert finding.verdict == FAILS and finding.counts["not_found"] > 0, finding


def test_an_end_that_verify_does_not_like(ram: Path, monkeypatch: Patch) -> None:
    def sync(log: timelog.EventLog) -> None:
        (log.path / "2020-01-01").mkdir(exist_ok=True)
        (log.path / "2020-01-01" / "20200101T0000Z-20200101T0001Z.jsonl").write_text("{}\n")
        plain(log)

    plain = timelog.EventLog.sync
    monkeypatch.setattr(timelog.EventLog, "sync", sync)
    finding = tried("a full disk", ram)
    assert finding.verdict == FAILS and finding.text.startswith("verify --deep: unfinished")


# -- the parts -------------------------------------------------------------------------------


def test_a_child_talks_waits_and_fails() -> None:
    def act(line: Line) -> None:
        line.say("one")
        line.wait()
        line.say("two")
        raise ValueError("of\nno use")

    with Child(act) as child:
        assert child.line() == "one"
        child.go()
        assert child.line() == "two"
        with pytest.raises(Failed, match=r"^ValueError: of no use$"):
            child.line()
        assert child.line() == ""
        child.kill()
        child.go()


def test_a_child_that_fails_is_a_log_that_fails(ram: Path, monkeypatch: Patch) -> None:
    def refuse(log: timelog.EventLog, events: Events) -> int:
        raise timelog.errors.StorageError(number, "the device is ill")

    monkeypatch.setattr(timelog.EventLog, "append_many", refuse)
    for guarantee in ("kill -9", "a flipped"):  # one in a child, the other here
        for number in (errno.EIO, errno.ENOSPC):
            place = ram / f"{guarantee} {number}"
            place.mkdir()
            finding = tried(guarantee, place)
            if number == errno.EIO:
                assert finding.verdict == FAILS
                assert finding.text == "the log met an error: the device is ill"
            else:
                assert finding.verdict == UNKNOWN
                assert finding.text == "there is no room to try it: the device is ill"


def test_the_tally() -> None:
    sizes = [len(contents_of("w", batch)) for batch in range(8)]
    assert min(sizes) == 1 and max(sizes) == 8
    batches = [contents_of("w", batch) for batch in range(5)]
    all_of = [*chain(*batches)]

    def count(found: list[str], acknowledged: int = 3) -> Tally:
        return tally("w", acknowledged, found)

    events = sum(sizes[:3])
    assert count(all_of) == Tally(events, len(all_of), batches=5)
    assert count([*chain(*batches[:3])]) == Tally(events, events, batches=3)
    assert count(all_of[:-1]).halves == 1
    assert count(all_of[1:]).lost == 1 and count(all_of[1:]).halves == (sizes[0] > 1)
    assert count([]) == Tally(events, 0, lost=events)
    assert count([*all_of, all_of[0]]).twice == 1
    for foreign in ("other", "w 1 0 y", "w x", "v 0 0 "):
        assert count([*all_of, foreign]).altered == 1
    # Of batches that nobody acknowledged, one is missing before one that is there.
    assert count([*chain(*batches[:3], batches[4])]).halves == 1
    both = count(all_of) + count(all_of[1:])
    assert both.found == 2 * len(all_of) - 1 and not both.ok
    assert str(both).endswith(f"{both.found} found, 1 lost, 0 twice")

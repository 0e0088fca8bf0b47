"""`timelog watch` as a process, killed again and again beside files that grow and are rotated."""

from __future__ import annotations

import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

import timelog

SEED = 20261125
PATIENCE = 60.0

# Lines as eight kinds of programs write them: how the time is written, and the form it is read as.
KINDS = {
    "Apache": ("[Sun Dec 04 04:47:{:02} 2005] [error] ", "apache"),
    "HDFS": ("081109 2036{:02} 148 INFO ", "digits"),
    "HealthApp": ("20171223-22:15:{:02}:606|Step_LSC|", "compact"),
    "Linux": ("Jun 14 15:16:{:02} combo sshd[19939]: ", "syslog"),
    "OpenSSH": ("Dec 10 06:55:{:02} LabSZ sshd[24200]: ", "syslog"),
    "OpenStack": ("nova.log.1.2017-05-16_13:53:08 2017-05-16 00:00:{:02}.008 INFO ", "iso-later"),
    "Proxifier": ("[10.30 16:49:{:02}] chrome.exe - ", "month-day"),
    "Zookeeper": ("2015-07-29 17:41:{:02},747 - INFO ", "iso"),
}  # fmt: skip


class Watching:
    """The process, and what the log has of it."""

    def __init__(self, log: Path, watched: Path, *argv: str) -> None:
        self.log = log
        self._argv = [
            *(sys.executable, "-m", "timelog", "--dir", str(log), "watch", str(watched)),
            *("--tz", "UTC", *argv),
        ]
        self._errors = log.parent / "stderr"
        self.start()

    def start(self) -> None:
        with open(self._errors, "ab") as errors:
            self._process = subprocess.Popen(self._argv, stderr=errors)

    def kill(self) -> None:
        self._process.send_signal(signal.SIGKILL)
        self._process.wait()
        self.start()

    def end(self) -> int:
        self._process.terminate()
        return self._process.wait(PATIENCE)

    def said(self) -> str:
        return self._errors.read_text()

    def contents(self) -> Counter[str]:
        with timelog.open(self.log, mode="r") as log:
            return Counter(event.content for event in log.search())

    def until(self, lines: Counter[str]) -> None:
        """Return when the log has them all; it never has more."""
        deadline = time.monotonic() + PATIENCE
        found: Counter[str] = Counter()
        while time.monotonic() < deadline:
            assert self._process.poll() is None, self.said()
            try:
                found = self.contents()
            except timelog.TimelogError:
                continue  # it is just being made, or repaired
            assert not found - lines, found - lines
            if found == lines:
                return
        raise AssertionError(f"missing: {lines - found}\n{self.said()}")


class Program:
    """One program with its log file."""

    def __init__(self, folder: Path, name: str, lines: Iterator[str]) -> None:
        self.path = folder / f"{name}.log"
        self._lines = lines
        self._rotations = 0

    def write(self, count: int, random: random.Random) -> list[str]:
        """Append some lines, in pieces that end anywhere."""
        lines = [line for line, _ in zip(self._lines, range(count), strict=False)]
        data = "".join(line + "\n" for line in lines).encode()
        with open(self.path, "ab", buffering=0) as file:
            at = 0
            while at < len(data):
                size = random.randrange(1, len(data) + 1)
                file.write(data[at : at + size])
                at += size
        return lines

    def rename(self) -> None:
        self._rotations += 1
        os.rename(self.path, f"{self.path}.{self._rotations}")

    def copy_and_truncate(self, beside: Path) -> None:
        """The copy is not watched: what was not read is lost."""
        shutil.copyfile(self.path, beside / self.path.name)
        os.truncate(self.path, 0)


def work(watching: Watching, programs: list[Program], chance: random.Random) -> None:
    """Write, rotate, truncate, delete and kill; then all lines are there, each once."""
    lines: Counter[str] = Counter()
    beside = watching.log.parent / "beside"
    beside.mkdir()
    for turn in range(12):
        for program in programs:
            lines.update(program.write(chance.randrange(1, 30), chance))
            act = chance.choice(["nothing", "nothing", "rename", "rename and write"])
            if act != "nothing":
                program.rename()
                if act != "rename":
                    lines.update(program.write(chance.randrange(1, 5), chance))
        if turn % 3 == 0:
            watching.kill()
        if turn % 4 == 3:
            # What is to be truncated or deleted has to be read before.
            watching.until(lines)
            for program in chance.sample(programs, 3):
                if program.path.exists():
                    act = chance.choice(["truncate", "delete"])
                    program.copy_and_truncate(beside) if act == "truncate" else os.unlink(
                        program.path
                    )
            watching.kill()
    watching.until(lines)
    watching.kill()
    lines.update(programs[0].write(3, chance))
    watching.until(lines)
    assert watching.end() == 143
    assert watching.contents() == lines


def made_up(name: str, start: str) -> Iterator[str]:
    number = 0
    while True:
        number += 1
        yield f"{start.format(number % 60)}{name} line {number} " + "x" * (number % 50)


@pytest.mark.parametrize("how", [(), ("--poll", "0.05")], ids=["told", "polling"])
def test_growing_rotated_truncated_and_deleted_with_kills_between(
    tmp_path: Path, how: tuple[str, ...]
) -> None:
    print(f"seed {SEED}")
    if not how:
        pytest.importorskip("watchfiles")
    (tmp_path / "watched").mkdir()
    watching = Watching(tmp_path / "log", tmp_path / "watched", *how)
    programs = [
        Program(tmp_path / "watched", name, made_up(name, start))
        for name, (start, _) in KINDS.items()
    ]
    work(watching, programs, random.Random(SEED))
    said = watching.said()
    for name, (_, form) in KINDS.items():
        assert f"{name}.log: times are read as {form!r}" in said or re.search(
            rf"{name}\.log\.\d+: times are read as '{form}'", said
        )


def test_the_eight_real_logs(tmp_path: Path, real_logs: list[Path]) -> None:
    print(f"seed {SEED}")
    (tmp_path / "watched").mkdir()
    watching = Watching(tmp_path / "log", tmp_path / "watched")
    programs = []
    for file in real_logs:
        lines = iter(file.read_bytes().decode("utf-8", "backslashreplace").split("\n"))
        programs.append(Program(tmp_path / "watched", file.stem, lines))
    work(watching, programs, random.Random(SEED))

"""The floors: the least that each job must cost in Python on this machine."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from datetime import datetime
from pathlib import Path
from time import time_ns

import msgspec

from benchmarks.ours import moment
from benchmarks.rivals import Row, batches


class Flat(msgspec.Struct, frozen=True, gc=False):
    """A line of a segment, and nothing more."""

    timestamp: datetime
    id: str
    source: str
    tags: tuple[str, ...]
    content: str


class AppendFloor:
    """Appending: a loop of an f-string of the five columns and `list.append`.

    The time is read and the id counted in the loop, since timelog makes its own, too.
    """

    def __init__(self, folder: Path) -> None:
        self.lines: list[str] = []

    def append(self, rows: Sequence[tuple[int, str, str, str, str]]) -> int:
        """`rows` with their tags as one text each."""
        add = self.lines.append
        for number, (_, _, source, tags, content) in enumerate(rows):
            add(f"{time_ns()}\t{number}\t{source}\t{tags}\t{content}")
        return len(self.lines)

    def close(self) -> None:
        self.lines.clear()


class EncodeFloor:
    """Writing batches: encode each in one call, write it to one file; one fsync at the end."""

    def __init__(self, folder: Path) -> None:
        self.fd = os.open(folder / "events.jsonl", os.O_CREAT | os.O_WRONLY | os.O_APPEND, 0o600)

    def append_many(self, prepared: Iterable[list[Flat]]) -> int:
        encode = msgspec.json.Encoder().encode_lines
        done = 0
        for batch in prepared:
            data = encode(batch)
            while data:
                data = data[os.write(self.fd, data) :]
            done += len(batch)
        os.fsync(self.fd)
        return done

    @staticmethod
    def prepare(rows: Sequence[Row]) -> list[list[Flat]]:
        return [[Flat(moment(row[0]), *row[1:]) for row in batch] for batch in batches(rows)]

    def close(self) -> None:
        os.close(self.fd)


class ReadFloor:
    """Reading: the bytes of the segment files of `root`, one after the other, nothing else."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.paths = sorted(str(path) for path in root.glob("[0-9]*/*.jsonl"))
        if not self.paths:
            raise FileNotFoundError(f"no segments below {root}")

    def read_all(self) -> None:
        read(self.paths)

    def time_range(self, start: int, end: int) -> None:
        read(self.within(start, end))

    def tag(self, tag: str) -> None:
        read(self.paths)

    def regex(self, pattern: str) -> None:
        read(self.paths)

    def open(self) -> None:
        """The bytes of the log's own directory, which is what opening may have to read."""
        read(str(path) for path in (self.root / ".timelog").rglob("*") if path.is_file())

    def within(self, start: int, end: int) -> list[str]:
        """The segments whose name says that they overlap `[start, end)`."""
        low, high = f"{moment(start):%Y%m%dT%H%MZ}", f"{moment(end):%Y%m%dT%H%MZ}"
        spans = ((path, Path(path).name.partition(".")[0].partition("-")) for path in self.paths)
        return [path for path, (first, _, last) in spans if first < high and last > low]

    def close(self) -> None:
        pass


class DecodeFloor:
    """Decoding: the lines, already cut and in memory, to a Struct each, nothing else."""

    def __init__(self, files: ReadFloor) -> None:
        self.files = files
        self.lines = {path: Path(path).read_bytes().splitlines() for path in files.paths}

    def read_all(self) -> int:
        return _decode(self.lines.values())

    def time_range(self, start: int, end: int) -> int:
        return _decode([self.lines[path] for path in self.files.within(start, end)])

    def close(self) -> None:
        self.lines.clear()


def read(paths: Iterable[str]) -> int:
    """Read whole files, return how many bytes they had."""
    total = 0
    for path in paths:
        fd = os.open(path, os.O_RDONLY)
        try:
            total += len(os.read(fd, os.fstat(fd).st_size))
        finally:
            os.close(fd)
    return total


def _decode(files: Iterable[list[bytes]]) -> int:
    decode = msgspec.json.Decoder(Flat).decode
    done = 0
    for lines in files:
        for line in lines:
            decode(line)
        done += len(lines)
    return done

"""Disks whose writes can fail, and that note what was written: a FUSE server behind a loop device.

The program `diskserver` serves the one file of the disk. It keeps the bytes in an image, notes
every write and flush in a log, and fails the writes that an order names.
"""

from __future__ import annotations

import ctypes.util
import importlib.util
import os
import struct
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import NamedTuple

from tests.faults import mounts

FILE = "disk"
# How many writes pass before some fail; how many fail then; how many have failed.
ORDERS = struct.Struct("<III")
# Of a noted write: its place and how many bytes follow. A flush has none.
HEAD = struct.Struct("<QI")
FOREVER = (1 << 32) - 1


class Write(NamedTuple):
    """One write; without ``data`` a flush of all before. ``end``: of its note in the log."""

    offset: int
    data: bytes
    end: int


class Disk:
    """A disk that is served. ``file``: the disk; ``image``: what it has really stored."""

    def __init__(self, base: Path, image: Path) -> None:
        self.image = image
        self.log = base / "log of writes"
        self.orders = base / "orders"
        self.directory = base / "served"
        self.file = self.directory / FILE
        self.log.touch()
        self.orders.write_bytes(ORDERS.pack(0, 0, 0))
        self.directory.mkdir()

    def fail(self, writes: int = FOREVER, *, after: int = 0) -> None:
        """Fail so many writes, once ``after`` of them have passed."""
        self._order(after, writes)

    def heal(self) -> None:
        """All writes work from now on."""
        self._order(0, 0)

    @property
    def failed(self) -> int:
        """How many writes failed in all."""
        *_, failed = ORDERS.unpack(self.orders.read_bytes())
        return int(failed)

    def writes(self) -> list[Write]:
        """What was written and flushed, in order."""
        log = self.log.read_bytes()
        found: list[Write] = []
        at = 0
        while at < len(log):
            offset, length = HEAD.unpack_from(log, at)
            at += HEAD.size + length
            found.append(Write(offset, log[at - length : at], at))
        return found

    def _order(self, passes: int, failures: int) -> None:
        fd = os.open(self.orders, os.O_WRONLY)
        try:
            os.pwrite(fd, ORDERS.pack(passes, failures, self.failed), 0)
        finally:
            os.close(fd)


@contextmanager
def served(kind: str, base: Path) -> Iterator[Disk]:
    """A disk with an empty file system, with what it needs in the directory ``base``."""
    image = base / f"{kind}.image"
    mounts.make_file_system(kind, image)
    disk = Disk(base, image)
    command = [sys.executable, "-m", "tests.faults.diskserver"]
    paths = [disk.image, disk.orders, disk.log, disk.directory]
    root = Path(__file__).parents[2]
    server = subprocess.Popen([*command, *paths], cwd=root, stdout=subprocess.PIPE)
    assert server.stdout is not None
    try:
        if server.stdout.readline() != b"ready\n":
            raise OSError(f"the server of the disk ended with {server.wait()}")
        try:
            yield disk
        finally:
            mounts.detach(disk.directory)
    finally:
        try:
            server.wait(10)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()
        server.stdout.close()
        image.unlink()


@cache
def reason_not_to(kind: str) -> str:
    """Why such disks with this kind of file system do not work here; empty where they do."""
    reason = mounts.reason_not_to(kind)
    if reason:
        return reason
    if importlib.util.find_spec("mfusepy") is None:
        return "mfusepy is not installed"
    if ctypes.util.find_library("fuse3") is None and ctypes.util.find_library("fuse") is None:
        return "libfuse is not installed"
    if not Path("/dev/fuse").exists():
        return "there is no /dev/fuse"
    return ""

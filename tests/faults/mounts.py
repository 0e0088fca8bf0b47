"""File systems of their own in files in memory, whose power can be cut.

All of it needs root, loop devices and the tools that make the file systems: `reason_not_to` says
what is missing. Whatever was mounted or attached is undone when its context is left.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import shutil
import struct
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

_MB = 1 << 20
# Kind of file system to size, and what mkfs is told.
_KINDS = {
    "ext4": (64 * _MB, ("-q", "-b", "4096", "-E", "lazy_itable_init=0,lazy_journal_init=0")),
    # The least that mkfs makes.
    "xfs": (300 * _MB, ("-q",)),
    # With one copy of its own blocks, so that one failed write counts.
    "btrfs": (128 * _MB, ("-q", "-m", "single")),
}
# Small files have blocks of their own, as those of any use have.
_OPTIONS = {"btrfs": b"max_inline=0"}
_FS_IOC_SHUTDOWN = (2 << 30) | (4 << 16) | (ord("X") << 8) | 125
# What the file system still writes before its power is gone: its own log, or nothing.
LOG_FLUSH = 1
NO_LOG_FLUSH = 2
_MNT_DETACH = 2
_libc = ctypes.CDLL(None, use_errno=True)


class Mount:
    """A file system on a block device; mounted at ``path`` between `mount` and `unmount`."""

    def __init__(self, device: str, kind: str, path: Path) -> None:
        self.path = path
        self._device = device
        self._kind = kind
        self._is_mounted = False

    def mount(self) -> None:
        """Mount it; raises ``OSError`` where the kernel refuses."""
        options = _OPTIONS.get(self._kind)
        _call("mount", self._device.encode(), bytes(self.path), self._kind.encode(), 0, options)
        self._is_mounted = True

    def unmount(self) -> None:
        """Unmount it, which forgets all that is cached of it; nothing in it may be open."""
        _call("umount2", bytes(self.path), 0)
        self._is_mounted = False

    def remount(self) -> None:
        """As another boot finds it."""
        self.unmount()
        self.mount()

    def release(self) -> None:
        """Unmount it where it is mounted, even while files are open."""
        if self._is_mounted:
            detach(self.path)
            self._is_mounted = False


def detach(path: Path) -> None:
    """Unmount what is mounted at ``path``, even while it is in use."""
    _call("umount2", bytes(path), _MNT_DETACH)


def shut_down(path: Path, flush: int) -> None:
    """Cut the power of the file system at ``path``: what is only cached never gets to its device.

    ``flush``: `LOG_FLUSH` or `NO_LOG_FLUSH`. Every later call on it fails until it is mounted anew.
    """
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.ioctl(fd, _FS_IOC_SHUTDOWN, struct.pack("I", flush))
    finally:
        os.close(fd)


def write_back(path: Path, offset: int, length: int) -> None:
    """Let the kernel write a range of a file's data, as it may at any time; not what names it."""
    fd = os.open(path, os.O_RDONLY)
    try:
        wait_before_write_wait_after = 7
        _call(
            "sync_file_range",
            fd,
            ctypes.c_int64(offset),
            ctypes.c_int64(length),
            wait_before_write_wait_after,
        )
    finally:
        os.close(fd)


def make_file_system(kind: str, file: Path) -> None:
    """Make ``file``, sparse, with an empty file system in it."""
    size, options = _KINDS[kind]
    with file.open("xb") as out:
        out.truncate(size)
    _run(f"mkfs.{kind}", *options, str(file))


@contextmanager
def attached(file: Path) -> Iterator[str]:
    """The loop device of ``file``."""
    device = _attach(file)
    try:
        yield device
    finally:
        _run("losetup", "-d", device)


@contextmanager
def mounted(kind: str, base: Path) -> Iterator[Mount]:
    """A new file system, mounted below the directory ``base``, which must be in memory."""
    image = base / f"{kind}.image"
    make_file_system(kind, image)
    try:
        with mounted_file(kind, image, base) as mount:
            yield mount
    finally:
        image.unlink()


@contextmanager
def mounted_file(kind: str, file: Path, base: Path) -> Iterator[Mount]:
    """The file system in ``file``, mounted below the directory ``base``."""
    path = base / "mount"
    path.mkdir()
    try:
        with attached(file) as device:
            mount = Mount(device, kind, path)
            try:
                mount.mount()
                yield mount
            finally:
                mount.release()
    finally:
        path.rmdir()


@cache
def reason_not_to(kind: str) -> str:
    """Why file systems of this kind cannot be mounted here; empty where they can."""
    if os.geteuid():
        return "only root may mount"
    for program in (f"mkfs.{kind}", "losetup"):
        if shutil.which(program) is None:
            return f"{program} is not installed"
    if not Path("/dev/shm").is_dir():
        return "there is no /dev/shm"
    with tempfile.TemporaryDirectory(dir="/dev/shm") as base:
        try:
            with mounted(kind, Path(base)):
                return ""
        except (OSError, subprocess.CalledProcessError) as error:
            return f"{kind} cannot be mounted: {getattr(error, 'stderr', '') or error}"


def _attach(file: Path) -> str:
    command = ("losetup", "-f", "--show", str(file))
    for _ in range(20):
        try:
            return _run(*command).strip()
        except subprocess.CalledProcessError:
            # Another process may take the free device that was found.
            time.sleep(0.05)
    return _run(*command).strip()


def _run(*command: str) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def _call(name: str, *args: object) -> None:
    if getattr(_libc, name)(*args) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{name}: {os.strerror(number)}")

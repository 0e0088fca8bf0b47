"""A storage on a real file system whose power goes at one of its calls, with its process."""

from __future__ import annotations

import errno
import os
import random
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from tests.faults.child import CUT
from tests.faults.mounts import LOG_FLUSH, NO_LOG_FLUSH, shut_down, write_back
from tests.faults.real import RealStorage
from tests.rig import Killed


class Cut(NamedTuple):
    """The power goes at the ``operation``-th call that changes the disk.

    ``rng`` chooses the rest: how much of a write was done, what the kernel had written back by
    itself, and whether the file system's own log got out.
    """

    operation: int
    rng: random.Random


class CutStorage(RealStorage):
    """The storage of a run; counts its calls, cuts the power at one, and fails as it is armed."""

    def __init__(
        self, base: Path, acks: int, boot: str = "first boot", cut: Cut | None = None
    ) -> None:
        super().__init__(base, acks, boot)
        self.calls = 0
        self._cut = cut
        self._fault: tuple[str, str, str] | None = None
        self._dead = False

    def arm(self, kind: str, where: str, fault: str) -> None:
        """As `Stage.arm`."""
        self._fault = (kind, where, fault)

    def revive(self) -> None:
        """As `Stage.revive`."""
        self._dead = False

    # -- changes --------------------------------------------------------------------------

    def create(self, path: Path) -> int:
        """As `Storage.create`."""
        self._before("create", path)
        return super().create(path)

    def open_append(self, path: Path) -> int:
        """As `Storage.open_append`; changes nothing."""
        self._before("open", path)
        return super().open_append(path)

    def open_lock(self, path: Path) -> int:
        """As `Storage.open_lock`."""
        self._before("open", path)
        return super().open_lock(path)

    def write(self, fd: int, *parts: bytes) -> None:
        """As `Storage.write`; may be torn."""
        data = b"".join(parts)
        torn = self._before("write", _path(fd), lambda n: os.write(fd, data[:n]), len(data))
        if torn:
            super().write(fd, data[: len(data) // 2])
            self._die()
        super().write(fd, *parts)

    def overwrite(self, fd: int, data: bytes, offset: int) -> None:
        """As `Storage.overwrite`."""
        self._before("overwrite", _path(fd))
        super().overwrite(fd, data, offset)

    def sync(self, fd: int) -> None:
        """As `Storage.sync`; of a directory another kind of call."""
        path = _path(fd)
        self._before("sync directory" if path.is_dir() else "sync", path)
        super().sync(fd)

    def make_directory(self, path: Path) -> bool:
        """As `Storage.make_directory`."""
        self._before("make directory", path)
        return super().make_directory(path)

    def truncate(self, path: Path, length: int) -> None:
        """As `Storage.truncate`."""
        self._before("truncate", path)
        super().truncate(path, length)

    def link(self, source: Path | str, target: Path | str) -> None:
        """As `Storage.link`."""
        self._before("link", Path(source))
        super().link(source, target)

    def rename(self, source: Path, target: Path) -> None:
        """As `Storage.rename`."""
        self._before("rename", source)
        super().rename(source, target)

    def unlink(self, path: Path) -> None:
        """As `Storage.unlink`."""
        self._before("unlink", path)
        super().unlink(path)

    def remove_directory(self, path: Path) -> bool:
        """As `Storage.remove_directory`."""
        self._before("remove directory", path)
        return super().remove_directory(path)

    # -- inside ---------------------------------------------------------------------------

    def _before(
        self, kind: str, path: Path, write: Callable[[int], object] | None = None, length: int = 0
    ) -> bool:
        """Count a call and do what is to happen at it; True where a write is to be torn."""
        if self._dead:
            raise Killed
        self.calls += 1
        if self._cut is not None and self.calls == self._cut.operation:
            rng = self._cut.rng
            if write is not None:
                write(rng.randrange(length + 1))
            lose_power(self.base, rng)
            os._exit(CUT)
        name = path.relative_to(self.base).as_posix()
        if self._fault is None or self._fault[0] != kind or self._fault[1] not in name:
            return False
        fault, self._fault = self._fault[2], None
        if fault == "killed":
            self._die()
        if fault != "torn":
            number = getattr(errno, fault)
            raise OSError(number, os.strerror(number))
        return True

    def _die(self) -> None:
        self._dead = True
        raise Killed


def lose_power(base: Path, rng: random.Random) -> None:
    """Cut the power below ``base``, after the kernel has written some of it by itself, or not."""
    share = rng.choice((0.0, 0.0, 0.5, 1.0))
    for file in sorted(each for each in base.rglob("*") if each.is_file()):
        size = file.stat().st_size
        if size and rng.random() < share:
            write_back(file, 0, rng.choice((size, rng.randrange(size) + 1)))
    shut_down(base, rng.choice((NO_LOG_FLUSH, NO_LOG_FLUSH, LOG_FLUSH)))


def _path(fd: int) -> Path:
    return Path(os.readlink(f"/proc/self/fd/{fd}"))

"""A program that serves one file, which is a disk whose writes can fail, by FUSE.

`tests.faults.disks` starts it and explains the arguments.
"""

from __future__ import annotations

import errno
import os
import stat
import sys
from typing import Any

import mfusepy

from tests.faults.disks import FILE, HEAD, ORDERS


class Server(mfusepy.Operations):  # type: ignore[misc]
    """Hands everything to the file ``image``; one thread."""

    use_ns = True

    def __init__(self, image: str, orders: str, log: str) -> None:
        self._image = os.open(image, os.O_RDWR)
        self._orders = os.open(orders, os.O_RDWR)
        self._log = os.open(log, os.O_WRONLY | os.O_APPEND)
        self._size = os.fstat(self._image).st_size

    def init(self, path: str) -> None:
        """The kernel has mounted it."""
        print("ready", flush=True)

    def getattr(self, path: str, fh: int | None = None) -> dict[str, Any]:
        """A directory with one file."""
        if path == "/":
            return {"st_mode": stat.S_IFDIR | 0o700, "st_nlink": 2}
        if path != f"/{FILE}":
            raise mfusepy.FuseOSError(errno.ENOENT)
        return {"st_mode": stat.S_IFREG | 0o600, "st_nlink": 1, "st_size": self._size}

    def open(self, path: str, flags: int) -> int:
        """Nothing to do."""
        return 0

    def read(self, path: str, size: int, offset: int, fh: int) -> bytes:
        """Of the image."""
        return os.pread(self._image, size, offset)

    def write(self, path: str, data: bytes, offset: int, fh: int) -> int:
        """To the image, and note it; or fail as ordered."""
        if self._fails():
            raise mfusepy.FuseOSError(errno.EIO)
        os.writev(self._log, [HEAD.pack(offset, len(data)), data])
        return os.pwrite(self._image, data, offset)

    def fsync(self, path: str, datasync: int, fh: int) -> int:
        """Note it."""
        os.write(self._log, HEAD.pack(0, 0))
        return 0

    def _fails(self) -> bool:
        passes, failures, failed = ORDERS.unpack(os.pread(self._orders, ORDERS.size, 0))
        if not failures:
            return False
        fails = not passes
        if fails:
            failures, failed = failures - 1, failed + 1
        else:
            passes -= 1
        os.pwrite(self._orders, ORDERS.pack(passes, failures, failed), 0)
        return fails


if __name__ == "__main__":
    image, orders, log, path = sys.argv[1:]
    mfusepy.FUSE(Server(image, orders, log), path, foreground=True, nothreads=True, direct_io=True)

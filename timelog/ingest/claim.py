"""`Claim`: one process at a time reads under one name into one log.

The places of a name are kept as a whole, so two that move them would undo each other. The claim is
a name of the kernel's (Linux only): nothing is left behind by a process that was killed. Processes
in containers with networks of their own do not see each other's.
"""

from __future__ import annotations

import os
import socket
import sys
from pathlib import Path

from timelog.errors import InvalidInput, storage_error


class Claim:
    """Holds ``name`` for the log in the directory ``path`` until `release`.

    Raises `InvalidInput` where somebody else holds it.
    """

    def __init__(self, path: Path, name: str) -> None:
        self._socket: socket.socket | None = None
        if sys.platform != "linux":
            return
        try:
            status = os.stat(path)
        except OSError as error:
            raise storage_error(f"looking at {path}", error) from None
        held = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        try:
            mark = f"\0timelog ingest {status.st_dev} {status.st_ino} ".encode()
            held.bind(mark + name.encode().hex().encode()[-48:])
        except OSError:
            held.close()
            raise InvalidInput(
                f"files are being read into this log under the name {name!r} already; stop that, "
                "or give this another name"
            ) from None
        self._socket = held

    def release(self) -> None:
        """Let go of it. May be repeated."""
        if self._socket is not None:
            self._socket.close()
        self._socket = None

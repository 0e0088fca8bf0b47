"""Who is at the other end of a Unix socket, as the kernel says it, and whether it still lives."""

from __future__ import annotations

import os
import select
import socket
import struct
from pathlib import Path

_CREDENTIALS = struct.Struct("3i")
_BOOT = Path("/proc/sys/kernel/random/boot_id")


def credentials(peer: socket.socket) -> tuple[int, int]:
    """The process id and the user id of who connected; the process id is 0 where it is hidden."""
    raw = peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    pid, uid, _ = _CREDENTIALS.unpack(raw)
    return pid, uid


def may_connect(uid: int) -> bool:
    """Whether a user may talk to this process: the one that it runs as, and root."""
    return uid in (os.geteuid(), 0)


def name_process(pid: int) -> str:
    """A name that no other process has, before or after a boot; empty where there is none."""
    started = _started(pid)
    return f"{_boot()}/{pid}/{started}" if started else ""


def is_alive(name: str) -> bool:
    """Whether the process of a name that `name_process` made still runs."""
    boot, pid, started = name.split("/")
    return boot == _boot() and _started(int(pid)) == started


def has_hung_up(peer: socket.socket) -> bool:
    """Whether the other end is closed for both directions, not just done with sending."""
    poll = select.poll()
    poll.register(peer, select.POLLIN)
    return any(event & (select.POLLHUP | select.POLLERR) for _, event in poll.poll(0))


def _boot() -> str:
    return _BOOT.read_text().strip()


def _started(pid: int) -> str:
    """When a process was started, in ticks since the boot; empty where it is gone, or a zombie."""
    try:
        status = Path(f"/proc/{pid}/stat").read_bytes()
    except OSError:
        return ""
    # The program's name is in brackets, and may have brackets in it.
    fields = status.rpartition(b")")[2].split()
    return "" if fields[0] in (b"Z", b"X") else fields[19].decode()

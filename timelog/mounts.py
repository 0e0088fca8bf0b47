"""On what kind of file system a path is, as far as Linux tells."""

from __future__ import annotations

import logging
import os
import re
from pathlib import Path
from typing import NamedTuple

from timelog.storage import Storage

_log = logging.getLogger("timelog")
_known: set[int] = set()
_plain_storage = Storage()
_NETWORK = re.compile(
    "9p|acfs|afs|beegfs|ceph|cifs|coda|davfs|drvfs|glusterfs|gfs2?|gpfs|lustre|ncpfs|nfs4?|ocfs2"
    "|orangefs|prl_fs|pvfs2|smb3|smbfs|vboxsf|virtiofs|vmhgfs"
    # What a program serves (fuse.sshfs) is taken for distant, with few exceptions.
    r"|fuse(?!blk$|\.ext4$|\.fuse-overlayfs$|\.lxcfs$|\.mergerfs$).*"
)
_MEMORY = frozenset(("tmpfs", "ramfs", "devtmpfs"))


class FileSystem(NamedTuple):
    """``kind`` as ``mount -t`` has it, and what is mounted."""

    kind: str
    source: str

    @property
    def is_network(self) -> bool:
        """Whether other machines, or a program, decide what locks and fsync mean."""
        return _NETWORK.fullmatch(self.kind) is not None

    @property
    def is_memory(self) -> bool:
        """Whether everything goes with the power."""
        return self.kind in _MEMORY

    def __str__(self) -> str:
        return f"{self.kind} ({self.source})"


def file_system(path: Path, storage: Storage = _plain_storage) -> FileSystem | None:
    """Return the file system of an existing ``path``; None where it cannot be told.

    Cost: some 100 µs, more with very many mounts. Raises ``OSError`` where there is no ``path``.
    """
    real = os.path.realpath(path)
    device = storage.status(Path(real)).st_dev
    best: tuple[bool, int, FileSystem] | None = None
    for line in storage.mounts().split("\n"):
        left, _, right = line.partition(" - ")
        mount, what = left.split(" "), right.split(" ")
        if len(mount) < 5 or len(what) < 2:
            continue
        point = _plain(mount[4])
        if real != point and not real.startswith(point.rstrip("/") + "/"):
            continue
        # A subvolume has a device of its own; then the nearest mount point is what is known. Of
        # several mounts on one point the last one is seen.
        is_same = mount[2] == f"{os.major(device)}:{os.minor(device)}"
        if best is None or (is_same, len(point)) >= best[:2]:
            best = (is_same, len(point), FileSystem(what[0], _plain(what[1])))
    return best[2] if best else None


def warn_of_network(path: Path, storage: Storage) -> None:
    """Log a warning, once a process and device, where ``path``, no link, is on a network.

    Cost: a ``stat`` where it is on a device of this machine's, else that of `file_system`, once.
    Raises as that does.
    """
    device = storage.status(path).st_dev
    # What has no device of its own: a network, and some that are local nevertheless.
    if os.major(device) != 0 or device in _known:
        return
    _known.add(device)
    found = file_system(path, storage)
    if found is not None and found.is_network:
        _log.warning(
            "%s is on a network file system, %s: nothing is promised there, see what "
            "'timelog torture' finds",
            path,
            found,
        )


def _plain(text: str) -> str:
    """Undo the escapes of mountinfo: ``\\040`` is a space."""
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), text)

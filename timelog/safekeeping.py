"""`Safekeeping`: the part of `EventLog` that keeps snapshots of a log."""

from __future__ import annotations

import os
from pathlib import Path

from timelog.care import Care
from timelog.errors import InvalidInput
from timelog.shelf import EVENTS, MINUTES, Snapshot, is_due

# A path, as `timelog.open` takes it.
Place = str | os.PathLike[str]


class Safekeeping(Care):
    """What `EventLog` can do for when the disk fails, or somebody makes a mistake. Thread-safe."""

    def snapshot(self, dest: Place, *, kind: str = "periodic") -> Snapshot:
        """Take a snapshot: a copy of the log at one position, made while it is written.

        ``dest``: a directory for the snapshots of this log, made where there is none; not in the
        log, nor around it. The snapshot is a new directory in it, there whole or not at all, and
        a log that ``timelog.open(…, mode="r")`` opens; nothing that happens to the log changes it.
        ``kind``: ``"periodic"``, or ``"safety"`` before something risky; see `prune_snapshots`.

        Everything appended before is in it (with ``mode="r"``: everything committed). Appends,
        flushes and compaction go on. Of a log opened with ``mode="r"`` it is not noted that there
        is a snapshot, and so deletions will not name it.

        Raises `InvalidInput`, `LockTimeout` where another process takes one there for longer than
        ``lock_timeout``, `DamagedError` where the index is damaged, `StorageError` (nothing is
        left then), and as `sync` does. What is damaged or missing in the log is so in the
        snapshot, and named. Cost: on one file system a link for each segment, some 30 µs; else a
        copy of what the snapshot before in ``dest`` has not got.
        """
        store = self._readable()
        return store.snapshots.take(_path(dest), kind, store.options.lock_timeout)

    def snapshots(self, dest: Place) -> list[Snapshot]:
        """The snapshots of this log in ``dest``, the oldest first; of each whether it is whole.

        For that its manifest is read, and the size of each file looked at. Whatever else is there
        is left out. Raises `InvalidInput` where they are of another log, and `StorageError`.
        """
        return self._readable().snapshots.snapshots(_path(dest))

    def is_snapshot_due(
        self, dest: Place, *, events: int = EVENTS, minutes: float = MINUTES
    ) -> bool:
        """Whether it is time for another snapshot in ``dest``.

        It is when something was appended since the newest whole one, and that is ``events`` events
        or was taken ``minutes`` ago; a log that rests needs none. Errors as `snapshots`.
        """
        if events < 1 or not minutes >= 0:
            raise InvalidInput("events must be from 1, and minutes from 0")
        path = _path(dest)
        store = self._readable()
        last = store.snapshots.latest(path)
        store.refresh()
        position = store.index.position + store.buffer.waiting
        now = store.storage.time_ns() // 1000
        return is_due(last, position, now, events=events, minutes=minutes)

    def prune_snapshots(self, dest: Place) -> list[Snapshot]:
        """Remove the snapshots of this log in ``dest`` that are not kept any more; those removed.

        Kept are the 5 newest periodic ones that are whole, those of the kind "safety" for 14 days,
        and always the newest that is whole. The days are those of the log, up to its last commit:
        a log that rests loses none. Nothing is removed that has no manifest of this log, or
        something foreign in it. Errors as `snapshot`.
        """
        path = _path(dest)
        store = self._readable()
        store.refresh()
        return store.snapshots.prune(path, store.options.lock_timeout)


def _path(dest: Place) -> Path:
    if not os.fspath(dest):
        raise InvalidInput("dest must be the path of a directory")
    return Path(dest)

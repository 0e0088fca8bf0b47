"""`SnapshotTaker`: copies of a log at one position, taken while it is written.

The view is an index read anew; what it names is linked or copied into a directory under a name of
its own, which gets the snapshot's name when all is durable. Segments that take no more blocks never
change, so they are linked. No lock of the log is held meanwhile, so files may go underneath: then
it goes on with a newer view. The store lock is taken twice, to enter the snapshot in the list of
those that hold deleted events.
"""

from __future__ import annotations

import errno
import secrets
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from timelog import manifest, names, shelf
from timelog.commit import Committer
from timelog.copier import Copier
from timelog.errors import (
    DamagedError,
    InvalidInput,
    LockTimeout,
    StorageError,
    VersionError,
    storage_error,
)
from timelog.filling import Filling, Gone
from timelog.guard import check_reentry
from timelog.holders import Holder, enter, holder, unknown
from timelog.index import Index
from timelog.lock import FileLock
from timelog.manifest import Manifest
from timelog.names import Layout
from timelog.scrub import read_scrubbed
from timelog.shelf import Snapshot, read_manifest
from timelog.storage import Storage
from timelog.timestamp import END, FIRST
from timelog.tree import make_directories

# So many newer views are tried where the files of one go before they are taken.
_TRIES = 20


class SnapshotTaker:
    """Takes snapshots of one open log. Thread-safe: one thread at a time does.

    ``id`` is the log's. ``read_index`` reads the index anew, as far as it is durable; ``sync``
    makes all durable that is in memory. ``committer``: None where the log is not to be written;
    then snapshots are not entered anywhere.
    """

    def __init__(
        self,
        layout: Layout,
        storage: Storage,
        id: str,
        index: Index,
        read_index: Callable[[], Index],
        sync: Callable[[], None],
        committer: Committer | None,
    ) -> None:
        self._layout = layout
        self._storage = storage
        self._id = id
        self._index = index
        self._read_index = read_index
        self._sync = sync
        self._committer = committer
        self._lock = threading.RLock()
        self._held: FileLock | None = None

    def take(self, given: Path, kind: str, timeout: float) -> Snapshot:
        """Take a snapshot of all that there is by now into the directory ``given``.

        ``timeout``: seconds to wait for another process that takes one there. Raises `InvalidInput`
        for a wrong kind or directory, `LockTimeout`, `DamagedError` where the index is damaged,
        `StorageError`, and as a flush does; then nothing is left of it. Cost: a link for each
        segment, and a copy of the few that still grow; where nothing can be linked, a copy of what
        the snapshot before has not got.
        """
        if kind not in manifest.KINDS:
            raise InvalidInput(f"kind must be 'periodic' or 'safety', not {kind!r}")
        with self._only_one(given, timeout) as place:
            shelf.sweep(self._storage, place)
            before = next((each for each in self._on(place) if isinstance(each[1], Manifest)), None)
            making = place / names.partial(secrets.token_hex(6))
            path = None
            try:
                self._storage.make_directory(making)
                # First: who deletes an event from now on is told of this one.
                self._enter([holder(making, making, 0, FIRST, kind)])
                self._sync()
                known = self._fill(making, kind, before)
                path = self._free(place, known)
                others = self._not_entered(place)
                mine = holder(path, making, known.position, known.time, kind)
                self._enter([mine, *others])
                self._storage.rename(making, path)
                self._storage.sync_directory(place)
            except BaseException:
                self._undo(making, path)
                raise
            return shelf.summary(path, known)

    def snapshots(self, given: Path) -> list[Snapshot]:
        """The snapshots of this log in a directory, the oldest first; errors as `take`."""
        with self._errors("looking at snapshots"):
            place = shelf.check_path(self._storage, self._layout, given)
            if not self._storage.is_directory(place):
                return []
            return shelf.look(self._storage, place, self._id)

    def latest(self, given: Path) -> Snapshot | None:
        """The newest of them that can be relied on; errors as `take`."""
        with self._errors("looking at snapshots"):
            place = shelf.check_path(self._storage, self._layout, given)
            if not self._storage.is_directory(place):
                return None
            return shelf.latest(self._storage, place, self._id)

    def prune(self, given: Path, timeout: float) -> list[Snapshot]:
        """Remove the snapshots that are not kept, and return them; errors as `take`."""
        with self._only_one(given, timeout) as place:
            shelf.sweep(self._storage, place)
            found = shelf.look(self._storage, place, self._id)
            gone = [
                each
                for each in shelf.to_prune(found, self._index.time)
                if shelf.discard(self._storage, Path(each.path))
            ]
            self._storage.sync_directory(place)
            return gone

    def after_fork(self) -> None:
        """In a child: let go of the parent's lock, without unlocking it."""
        self._lock = threading.RLock()
        if self._held is not None:
            self._held.after_fork()

    # -- inside ---------------------------------------------------------------------------

    @contextmanager
    def _only_one(self, given: Path, timeout: float) -> Iterator[Path]:
        """Hold the lock of a directory of snapshots, which is made where there is none."""
        check_reentry(self._lock, "taking a snapshot")
        with self._lock, self._errors("taking a snapshot"):
            place = shelf.check_path(self._storage, self._layout, given)
            make_directories(self._storage, place)
            self._held = FileLock(self._storage, place / names.SNAPSHOT_LOCK, timeout)
            try:
                with self._held.held():
                    yield place
            except TimeoutError:
                raise LockTimeout(
                    f"another process held {place / names.SNAPSHOT_LOCK} for {timeout:g} seconds: "
                    "it takes a snapshot there; try again later"
                ) from None

    @contextmanager
    def _errors(self, doing: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise storage_error(doing, error) from error

    def _on(self, place: Path) -> Iterator[tuple[Path, Manifest | str]]:
        return shelf.newest_first(self._storage, place, self._id)

    def _enter(self, holders: list[Holder]) -> None:
        committer = self._committer
        if committer is not None:
            committer.exclusive(lambda: enter(self._layout, self._storage, holders))
            committer.tell()

    def _not_entered(self, place: Path) -> list[Holder]:
        """Snapshots that are there and not entered: they came from elsewhere."""
        found = [place / each for each in self._storage.names(place) if names.parse_snapshot(each)]
        holders = []
        for path in unknown(self._layout, self._storage, found):
            try:
                known = read_manifest(self._storage, path)
            except (DamagedError, VersionError):
                continue
            if known.log == self._id:
                holders.append(holder(path, None, known.position, known.time, known.kind))
        return holders

    def _free(self, place: Path, known: Manifest) -> Path:
        """The path that the snapshot is to have: its time, or the next at which there is none."""
        there = map(names.parse_snapshot, self._storage.names(place))
        taken = {found[0] for found in there if found is not None}
        time = known.time
        while time in taken:
            time += 1
        return place / names.snapshot(time, known.kind)

    def _undo(self, making: Path, path: Path | None) -> None:
        """Leave nothing of what did not succeed; what cannot be removed now is swept later."""
        try:
            if path is not None and self._storage.exists(path):
                self._storage.rename(path, making)
            if self._storage.exists(making):
                shelf.clear(self._storage, making)
        except OSError:
            # That it failed is told anyway.
            pass

    # -- what is in it --------------------------------------------------------------------

    def _fill(
        self, making: Path, kind: str, before: tuple[Path, Manifest | str] | None
    ) -> Manifest:
        known = None
        if before is not None and isinstance(before[1], Manifest):
            known = (before[0], before[1].files)
        copier = Copier(self._storage, self._layout.root, making, known)
        filling = Filling(self._layout, self._storage, copier, self._damaged())
        try:
            for _ in range(_TRIES):
                index = self._read_index()
                try:
                    filling.fill(index)
                except Gone:
                    continue
                found = Manifest(
                    index.log,
                    index.position,
                    index.sequence,
                    min(max(index.time, FIRST), END - 1),
                    kind,
                    copier.new,
                    tuple(copier.files[name] for name in sorted(copier.files)),
                    tuple(sorted(filling.damage)),
                )
                copier.write(manifest.NAME, manifest.pack(found))
                copier.finish()
                return found
        finally:
            copier.close()
        raise StorageError(
            errno.EAGAIN,
            "taking a snapshot: the files of the log went faster than they could be copied; take "
            "it when less is compacted",
        )

    def _damaged(self) -> set[str]:
        """The files that are known to be damaged, by this process or by who scrubs."""
        with self._index.lock:
            known = list(self._index.damage)
        known += read_scrubbed(self._layout, self._storage).damage
        return {damage.file for damage in known}

"""`recover`: makes a log of a snapshot, to be written to.

Everything is compared with the manifest before anything is written. Then it is copied, not linked:
one file under two names is lost under both when the disk loses it, and the segments of the last
minute would grow under both. What is copied has a name of its own until all is durable.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import msgspec

from timelog import manifest, names, shelf
from timelog.copier import Copier, Wanted, crc_of
from timelog.errors import DamagedError, InvalidInput, LockTimeout, NotALogError, storage_error
from timelog.lock import FileLock
from timelog.manifest import Manifest
from timelog.names import Layout
from timelog.storage import Storage
from timelog.timestamp import to_text
from timelog.tree import make_directories


class Recovered(msgspec.Struct, frozen=True):
    """The log that was made of a snapshot. ``str()`` of it is what the command prints.

    ``position``: of its next event, and ``time`` (microseconds since 1970): of its last commit.
    ``damage``: files that were damaged or missing in the log that the snapshot was taken of.
    """

    path: str
    position: int
    time: int
    files: int
    bytes: int
    damage: tuple[str, ...] = ()

    def __str__(self) -> str:
        lines = [
            f"{self.path}: the log at position {self.position:,}, {to_text(self.time)}, "
            f"{self.files:,} files of {self.bytes:,} bytes"
        ]
        lines += (f"damaged in the log, and in the snapshot: {name}" for name in self.damage)
        return "\n".join(lines)


def recover(
    snapshot: Path, dest: Path, storage: Storage, progress: Callable[[int, int], None] | None
) -> Recovered:
    """Make a log at ``dest`` of the snapshot at ``snapshot``; see `timelog.restore_snapshot`."""
    try:
        place = _check_place(storage, dest)
        known = _check_snapshot(storage, snapshot)
        done, total = 0, 2 * known.bytes

        def advance(more: int) -> None:
            nonlocal done
            done += more
            if progress is not None:
                progress(done, total)

        _check_files(storage, snapshot, known, advance)
        make_directories(storage, place.parent)
        _copy(storage, snapshot, known, place, advance)
        return Recovered(
            str(place), known.position, known.time, len(known.files), known.bytes, known.damage
        )
    except OSError as error:
        raise storage_error(f"restoring {snapshot}", error) from error


def _check_place(storage: Storage, dest: Path) -> Path:
    try:
        place = storage.resolve(dest)
    except ValueError as error:
        raise InvalidInput(f"{str(dest)!r} is no path: {error}") from None
    inside = shelf.log_around(storage, place.parent)
    if inside is not None:
        raise InvalidInput(
            f"{dest} is inside the log or snapshot {inside}; choose a directory outside of it"
        )
    _check_vacant(storage, place)
    return place


def _check_vacant(storage: Storage, place: Path) -> None:
    if storage.exists(place) and not (storage.is_directory(place) and not storage.names(place)):
        raise InvalidInput(
            f"{place} is there already, and nothing is overwritten; choose a new or an empty "
            "directory"
        )


def _check_snapshot(storage: Storage, snapshot: Path) -> Manifest:
    """The manifest of a snapshot, whose files are there and have the right sizes."""
    is_named = names.parse_snapshot(snapshot.name) is not None and storage.is_directory(snapshot)
    if not is_named and not storage.exists(Layout(snapshot).manifest):
        raise NotALogError(f"{snapshot} is no snapshot: it has no manifest; check the path")
    try:
        known = shelf.read_manifest(storage, snapshot)
        manifest.check_names(known)
    except DamagedError as error:
        raise _refused(snapshot, str(error)) from None
    problem = shelf.problem_of(storage, snapshot, known)
    if problem:
        raise _refused(snapshot, problem)
    return known


def _check_files(
    storage: Storage, snapshot: Path, known: Manifest, advance: Callable[[int], None]
) -> None:
    for file in known.files:
        if crc_of(storage, snapshot / file.name, advance) != file.crc:
            raise _altered(snapshot, file.name)


def _copy(
    storage: Storage,
    snapshot: Path,
    known: Manifest,
    place: Path,
    advance: Callable[[int], None],
) -> None:
    """Copy everything to a directory beside ``place``, and put that there."""
    making = place.with_name(names.restoring(place.name))
    layout = Layout(making)
    copier = Copier(storage, snapshot, making, advance=advance)
    is_placed = False
    try:
        for directory in (making, layout.control):
            storage.make_directory(directory)
        # The lock file becomes that of the log.
        with FileLock(storage, layout.lock, 0).held():
            try:
                # What was left by who was killed.
                shelf.clear(storage, making)
                for file in known.files:
                    copied = copier.take(Wanted(file.name, file.size, file.crc, file.text))
                    if copied != file:
                        raise _altered(snapshot, file.name)
                copier.finish()
                _check_vacant(storage, place)
                storage.rename(making, place)
                is_placed = True
                storage.sync_directory(place.parent)
            except BaseException:
                if is_placed:
                    storage.rename(place, making)
                storage.unlink(layout.lock)
                shelf.clear(storage, making)
                raise
            finally:
                copier.close()
    except TimeoutError:
        raise LockTimeout(f"another process restores a snapshot to {place}; wait for it") from None
    except OSError:
        # Where there was no room for the lock file either. What somebody else makes stays.
        for directory in (layout.control, making):
            storage.remove_directory(directory)
        raise


def _altered(snapshot: Path, name: str) -> DamagedError:
    return _refused(snapshot, f"{name} was altered: its crc is not that of the manifest")


def _refused(snapshot: Path, why: str) -> DamagedError:
    return DamagedError(f"{snapshot} cannot be restored: {why}; take an older one")

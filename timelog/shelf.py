"""A directory of snapshots: what is in it, which is the latest, which may go.

Snapshots are told by their names, and belong to a log by their manifests; whatever else is in the
directory is left alone. What is being made or removed has a name of its own, so that a snapshot is
there whole or not at all. Who changes the directory holds the lock in it.
"""

from __future__ import annotations

import secrets
import stat
from collections.abc import Iterator
from pathlib import Path

import msgspec

from timelog import manifest, names
from timelog.errors import DamagedError, InvalidInput, VersionError
from timelog.manifest import Manifest
from timelog.names import Layout
from timelog.storage import Storage
from timelog.timestamp import DAY, MINUTE, to_text
from timelog.tree import everything

# How many periodic snapshots are kept, and for how long those before something risky.
MOST_PERIODIC = 5
SAFETY_AGE = 14 * DAY
# After so many events, or minutes, another periodic snapshot is due.
EVENTS = 100
MINUTES = 30.0


class Snapshot(msgspec.Struct, frozen=True):
    """A snapshot of a log. ``str()`` of it is what the command prints.

    ``position``: of the next event of the log then, and ``time`` (microseconds since 1970): of its
    last commit. ``kind``: "periodic" or "safety". ``files`` and ``bytes``: what is in it; ``new``:
    how many of the bytes were written for it, and are not shared with the log or a snapshot before.
    ``damage``: files that were damaged or missing in the log, and so are here. ``problem``: why it
    cannot be relied on, empty where it can; where the manifest is of no use, only ``path``,
    ``kind`` and ``time`` are known.
    """

    path: str
    kind: str
    time: int
    position: int = 0
    files: int = 0
    bytes: int = 0
    new: int = 0
    damage: tuple[str, ...] = ()
    problem: str = ""

    @property
    def ok(self) -> bool:
        """Whether it can be relied on."""
        return not self.problem

    def __str__(self) -> str:
        if self.problem:
            return f"{self.path}: {self.problem}"
        lines = [
            f"{self.path}: {self.kind}, position {self.position:,}, {to_text(self.time)}, "
            f"{self.files:,} files of {self.bytes:,} bytes, {self.new:,} of them written"
        ]
        lines += (f"damaged in the log, and in the snapshot: {name}" for name in self.damage)
        return "\n".join(lines)


def summary(path: Path, known: Manifest, problem: str = "") -> Snapshot:
    """What is told of the snapshot at ``path``."""
    return Snapshot(
        str(path),
        known.kind,
        known.time,
        known.position,
        len(known.files),
        known.bytes,
        known.new,
        known.damage,
        problem,
    )


def read_manifest(storage: Storage, path: Path) -> Manifest:
    """The manifest of the snapshot at ``path``; raises `DamagedError`, and ``OSError``."""
    try:
        return manifest.parse(storage.read_file(Layout(path).manifest))
    except FileNotFoundError:
        raise DamagedError(f"{manifest.NAME} is missing") from None


def newest_first(storage: Storage, shelf: Path, log: str) -> Iterator[tuple[Path, Manifest | str]]:
    """The snapshots in a directory, and their manifests, or why these cannot be used.

    Raises `InvalidInput` at the first one of another log. Cost: reading a manifest for each one.
    """
    for name in reversed(storage.names(shelf)):
        if names.parse_snapshot(name) is None or not storage.is_directory(shelf / name):
            continue
        try:
            known = read_manifest(storage, shelf / name)
        except (DamagedError, VersionError) as error:
            yield shelf / name, str(error)
            continue
        if known.log != log:
            raise InvalidInput(
                f"{shelf} holds snapshots of another log ({name}); choose a directory of its own"
            )
        yield shelf / name, known


def look(storage: Storage, shelf: Path, log: str) -> list[Snapshot]:
    """The snapshots in a directory, the oldest first; of each file the size is looked at.

    Errors as `newest_first`; also ``OSError``.
    """
    found = []
    for path, known in newest_first(storage, shelf, log):
        if isinstance(known, Manifest):
            found.append(summary(path, known, problem_of(storage, path, known)))
        else:
            time, kind = names.parse_snapshot(path.name) or (0, "")
            found.append(Snapshot(str(path), kind, time, problem=known))
    return found[::-1]


def latest(storage: Storage, shelf: Path, log: str) -> Snapshot | None:
    """The newest snapshot in a directory that can be relied on; errors as `look`."""
    for path, known in newest_first(storage, shelf, log):
        if isinstance(known, Manifest) and not problem_of(storage, path, known):
            return summary(path, known)
    return None


def problem_of(storage: Storage, path: Path, known: Manifest) -> str:
    """Which file of a snapshot is missing, of another size, or too much; empty where none is."""
    left = {file.name: file.size for file in known.files}
    for parts, status in everything(storage, path):
        name = "/".join(parts)
        is_plain = stat.S_ISREG(status.st_mode)
        if is_plain and name in left:
            size = left.pop(name)
            if status.st_size != size:
                how = "shorter" if status.st_size < size else "longer"
                return f"{name} is {how} than its manifest says"
        elif not (is_plain and name == manifest.NAME) and not (
            stat.S_ISDIR(status.st_mode) and manifest.is_directory_name(name)
        ):
            return f"{name} is not in its manifest"
    return f"{min(left)} is missing" if left else ""


def is_due(last: Snapshot | None, position: int, now: int, *, events: int, minutes: float) -> bool:
    """Whether something came since the last snapshot, and enough of it, or long enough ago.

    ``position``: of the next event; ``now``: microseconds by the clock.
    """
    if last is None:
        return position > 0
    added = position - last.position
    return added > 0 and (added >= events or now - last.time >= minutes * MINUTE)


def to_prune(found: list[Snapshot], now: int) -> list[Snapshot]:
    """Which of the snapshots, the oldest first, are not kept; ``now``: the time of the log.

    Never the newest good one. A broken one counts for none of those kept; one whose manifest is of
    no use stays, as nobody knows whose it is.
    """
    good = [each for each in found if each.ok]
    if not good:
        return []
    now = max(now, *(each.time for each in good))
    periodic = [each for each in good if each.kind == names.PERIODIC]
    gone = []
    is_old = len(periodic) >= MOST_PERIODIC
    for each in found:
        if is_old and each is periodic[-MOST_PERIODIC]:
            is_old = False
        if each is good[-1] or not each.files:
            continue
        if is_old if each.kind == names.PERIODIC else now - each.time > SAFETY_AGE:
            gone.append(each)
    return gone


def discard(storage: Storage, path: Path) -> bool:
    """Remove a snapshot; False where something foreign is in it, and it stays. ``OSError``."""
    for parts, status in everything(storage, path):
        if not _is_ours("/".join(parts), status.st_mode):
            return False
    partial = path.with_name(names.partial(secrets.token_hex(6)))
    storage.rename(path, partial)
    storage.sync_directory(path.parent)
    clear(storage, partial)
    return True


def sweep(storage: Storage, shelf: Path) -> None:
    """Remove what killed attempts left in a directory. Its lock must be held."""
    for name in storage.names(shelf):
        if names.is_partial(name) and storage.is_directory(shelf / name):
            clear(storage, shelf / name)


def clear(storage: Storage, directory: Path) -> None:
    """Remove a directory with what a snapshot may have; with anything else in it, it stays."""
    found = [("/".join(parts), status.st_mode) for parts, status in everything(storage, directory)]
    for name, mode in reversed(found):
        if not _is_ours(name, mode):
            continue
        if stat.S_ISDIR(mode):
            storage.remove_directory(directory / name)
        else:
            storage.unlink(directory / name)
    storage.remove_directory(directory)


def _is_ours(name: str, mode: int) -> bool:
    if stat.S_ISDIR(mode):
        return manifest.is_directory_name(name)
    is_file = manifest.is_file_name(name) or name == manifest.NAME
    return stat.S_ISREG(mode) and is_file


def log_around(storage: Storage, path: Path) -> Path | None:
    """The log that a resolved path is in, or that is there; None where there is none."""
    for each in (path, *path.parents):
        if storage.is_directory(each / names.CONTROL):
            return each
    return None


def check_path(storage: Storage, layout: Layout, given: Path) -> Path:
    """The resolved path of a directory for snapshots of a log; it need not be there yet.

    Raises `InvalidInput` where it is a file, or in a log, or has the log in it; and ``OSError``.
    """
    try:
        path = storage.resolve(given)
        root = storage.resolve(layout.root)
    except ValueError as error:
        raise InvalidInput(f"{str(given)!r} is no path: {error}") from None
    if storage.exists(path) and not storage.is_directory(path):
        raise InvalidInput(f"{given} is a file; snapshots need a directory, choose another path")
    inside = log_around(storage, path)
    if inside is not None:
        raise InvalidInput(
            f"{given} is inside the log or snapshot {inside}; choose a directory outside of it"
        )
    if any(_is_same(storage, each, path) for each in (root, *root.parents)):
        raise InvalidInput(
            f"the log {layout.root} is inside {given}; choose a directory that it is not in"
        )
    return path


def _is_same(storage: Storage, one: Path, two: Path) -> bool:
    """Whether two paths are one directory, perhaps mounted twice."""
    try:
        first, second = storage.status(one), storage.status(two)
    except FileNotFoundError:
        return False
    return (first.st_dev, first.st_ino) == (second.st_dev, second.st_ino)

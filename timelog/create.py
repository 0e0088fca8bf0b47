"""Making a log, and telling whether a directory is one."""

from __future__ import annotations

import secrets

import msgspec

from timelog import names
from timelog.errors import DamagedError, NotALogError, ReadOnlyError, VersionError, storage_error
from timelog.journal import Begin, Commit, Entry, pack, read
from timelog.lock import StoreLock
from timelog.names import Layout
from timelog.storage import Storage
from timelog.tree import all_segments, make_directories

VERSION = 1


class _Format(msgspec.Struct, frozen=True):
    format: str
    version: int
    id: str


def log_id(layout: Layout, storage: Storage) -> str | None:
    """The id of the log at ``layout``; None where there is no log yet.

    Raises `NotALogError` for what is not a directory or no path, `VersionError` for a newer format,
    `DamagedError` where the format file does not say what it should, or is gone where there are
    segments, and `StorageError` where it cannot be read.
    """
    try:
        data = storage.read_file(layout.format)
    except FileNotFoundError:
        if storage.is_directory(layout.root, follow=True) and any(all_segments(layout, storage)):
            raise DamagedError(f"{layout.format} is gone; 'timelog repair' makes it anew") from None
        return None
    except NotADirectoryError:
        raise _not_a_directory(layout, storage) from None
    except OSError as error:
        raise storage_error(f"opening {layout.root}", error) from error
    except ValueError as error:
        # NUL in it, or a lone surrogate.
        raise NotALogError(f"{str(layout.root)!r} is no path: {error}") from None
    try:
        found = msgspec.json.decode(data, type=_Format)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise DamagedError(
            f"{layout.format} is damaged ({error}); 'timelog repair' makes it anew"
        ) from None
    if found.version < 1:
        raise DamagedError(
            f"{layout.format} is damaged (version {found.version}); 'timelog repair' makes it anew"
        )
    if found.format != "timelog" or found.version > VERSION:
        raise VersionError(
            f"{layout.root} is in format {found.format} {found.version}, and this release knows "
            f"timelog {VERSION}; open it with a newer release"
        )
    return found.id


def check_no_snapshot(layout: Layout, storage: Storage) -> None:
    """Raise `ReadOnlyError` where the log is a snapshot, which is never written to; ``OSError``."""
    if storage.exists(layout.manifest):
        raise ReadOnlyError(
            f"{layout.root} is a snapshot; open it with mode='r', or make a log of it with "
            "'timelog restore'"
        )


def create_log(layout: Layout, storage: Storage, lock_timeout: float) -> str:
    """Make an empty log, or find that another process just made it; return its id.

    Refuses a directory that holds anything that is not the beginning of a log (`NotALogError`).
    A kill at any step leaves a directory in which the next call succeeds.
    """
    try:
        _check_empty(layout, storage)
        make_directories(storage, layout.control)
        with StoreLock(storage, layout.lock, lock_timeout).held():
            known = log_id(layout, storage)
            return known if known is not None else _create(layout, storage)
    except PermissionError as error:
        raise ReadOnlyError(
            f"{layout.root} cannot be written: permission is denied; choose another path, or open "
            "an existing log with mode='r'"
        ) from error
    except OSError as error:
        raise storage_error(f"creating the log {layout.root}", error) from error


def _create(layout: Layout, storage: Storage) -> str:
    for name in names.DIRECTORIES:
        storage.make_directory(layout.control / name)
    id = secrets.token_hex(16)
    begin = Begin(id, 1, 0, storage.time_ns() // 1000, 0)
    first = layout.journal(1)
    storage.replace(first, pack(begin, 0), layout.temporary / first.name)
    # Here too, since an attempt that was cut off may have made them.
    storage.sync_directory(layout.root)
    storage.sync_directory(layout.root.parent)
    storage.sync_directory(layout.control)
    # Last, since it says that the rest is there.
    write_format(layout, storage, id)
    return id


def write_format(layout: Layout, storage: Storage, id: str) -> None:
    """Put the format file of the log ``id`` in its place."""
    text = msgspec.json.encode(_Format("timelog", VERSION, id)) + b"\n"
    storage.replace(layout.format, text, layout.temporary / names.FORMAT)


def _check_empty(layout: Layout, storage: Storage) -> None:
    root = layout.root
    try:
        found = storage.names(root)
    except FileNotFoundError:
        return
    except NotADirectoryError:
        raise _not_a_directory(layout, storage) from None
    except PermissionError:
        raise ReadOnlyError(f"{root} cannot be read: permission is denied") from None
    foreign = sorted(set(found) - {names.CONTROL})
    if foreign:
        raise NotALogError(
            f"{root} is not a timelog and is not empty (it holds {foreign[0]!r}); choose an empty "
            "or new directory"
        )
    if found and (storage.exists(layout.index_root) or _has_commits(layout, storage)):
        raise DamagedError(f"{layout.format} is gone; 'timelog repair' makes it anew")


def _not_a_directory(layout: Layout, storage: Storage) -> NotALogError:
    if storage.is_directory(layout.root, follow=True):
        return NotALogError(f"{layout.control} is a link or a file and no directory; move it away")
    return NotALogError(f"{layout.root} is a file; a log is a directory, choose another path")


def _has_commits(layout: Layout, storage: Storage) -> bool:
    """Whether there is a journal with more in it than making a log puts there."""
    try:
        records = read(storage.read_file(layout.journal(1)), 0)
    except FileNotFoundError:
        return False
    return any(not isinstance(each, Entry) or isinstance(each.record, Commit) for each in records)

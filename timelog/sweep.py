"""What follows a commit that removed something: the files go, too.

A partition that went is moved to ``.timelog/trash`` as a whole, in one rename, and emptied there in
the background; segments that were replaced are unlinked. Only names of the log are touched. A kill
at any step leaves what the next call finishes; doing it twice changes nothing.
"""

from __future__ import annotations

import stat
from collections.abc import Callable
from pathlib import Path

from timelog import names
from timelog.index import Index
from timelog.names import Layout
from timelog.storage import Storage


def move_to_trash(layout: Layout, storage: Storage, index: Index) -> None:
    """Move the partitions that went to the trash. The store lock must be held.

    Where somebody else put something into one, it stays, and its segments are unlinked one by one.
    """
    with index.lock:
        going = dict(index.removal.partitions)
    for partition, sequence in going.items():
        path = layout.root / partition
        day = names.parse_partition(partition)
        with index.lock:
            is_back = day is None or day.start in index.days
        # What is there again is not what went: this process knew of it late.
        if not is_back and storage.is_directory(path):
            found = dict(storage.entries(path))
            ours = [
                name
                for name, status in found.items()
                if stat.S_ISREG(status.st_mode) and names.parse_segment(f"{partition}/{name}")
            ]
            if len(ours) == len(found):
                # A log that was made anew counts its commits anew.
                while storage.exists(layout.trash / names.trashed(partition, sequence)):
                    sequence += 1
                storage.rename(path, layout.trash / names.trashed(partition, sequence))
            else:
                with index.lock:
                    index.removal.segments |= {f"{partition}/{name}": None for name in ours}
        # Also where it is not there: whoever moved it may have met an error here.
        storage.sync_directory(layout.trash)
        storage.sync_directory(layout.root)
        with index.lock:
            index.removal.partitions.pop(partition, None)


def clear(
    layout: Layout,
    storage: Storage,
    index: Index,
    is_stopped: Callable[[], bool] = lambda: False,
) -> None:
    """Unlink segments that were replaced, all that is in the trash, and its text index.

    Needs no lock. Ends early where ``is_stopped`` says so. Raises ``OSError``. Cost: an unlink for
    each file.
    """
    unlink_replaced(layout, storage, index, is_stopped)
    for name in storage.names(layout.trash) if storage.is_directory(layout.trash) else ():
        partition = names.parse_trashed(name)
        path = layout.trash / name
        if partition is None or not storage.is_directory(path):
            continue
        for file in storage.names(path):
            if is_stopped():
                return
            if names.parse_segment(f"{partition}/{file}") is not None:
                storage.unlink(path / file)
        storage.remove_directory(path)
    _unlink_text_indexes(layout, storage, index)


def _unlink_text_indexes(layout: Layout, storage: Storage, index: Index) -> None:
    """Unlink the text index of days that went."""
    for name in storage.names(layout.index):
        day = names.parse_text_index(name)
        with index.lock:
            is_gone = day is not None and day < index.removal.before and day not in index.days
        if is_gone:
            storage.unlink(layout.index / name)


def unlink_replaced(
    layout: Layout,
    storage: Storage,
    index: Index,
    is_stopped: Callable[[], bool] = lambda: False,
) -> None:
    """Unlink the segments that were replaced. Raises ``OSError``."""
    with index.lock:
        going = list(index.removal.segments)
    done: list[str] = []
    directories: set[Path] = set()
    for path in going:
        if is_stopped():
            break
        file = layout.segment(path)
        # Names are never used again, so it is what was replaced, or gone.
        if _is_segment(layout, storage, path):
            storage.unlink(file)
        done.append(path)
        directories.add(file.parent)
    for directory in sorted(directories):
        # Where a segment is gone already, whoever unlinked it may have met an error here.
        if storage.is_directory(directory):
            storage.sync_directory(directory)
    with index.lock:
        for path in done:
            index.removal.segments.pop(path, None)


def _is_segment(layout: Layout, storage: Storage, path: str) -> bool:
    """Whether a plain file of that name is there, and the name is one of the log."""
    if names.parse_segment(path) is None:
        return False
    try:
        return stat.S_ISREG(storage.status(layout.segment(path)).st_mode)
    except FileNotFoundError:
        return False

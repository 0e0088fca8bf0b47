"""Checkpoint and journal rotation: what makes opening cheap and lets old journal files go.

Called with the store lock held and nothing unfinished. A kill at any step leaves either the old
root with a journal that still leads to everything, or the new one; the left-over files go at the
next rotation.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from timelog import checkpoint, names
from timelog.damage import Damage
from timelog.day import Day
from timelog.index import Index
from timelog.indexstate import Place
from timelog.journal import Begin, Commit, pack
from timelog.names import Layout
from timelog.storage import Storage

# Either is reason enough for a checkpoint.
MOST_COMMITS = 4096
MOST_JOURNAL = 1024 * 1024
# So many segments are open, and synced together, at a time.
FILES_AT_ONCE = 64


def is_due(index: Index) -> bool:
    """Whether enough came since the last checkpoint to write another."""
    return index.since_checkpoint >= MOST_COMMITS or index.place.offset >= MOST_JOURNAL


def write_checkpoint(layout: Layout, storage: Storage, index: Index) -> None:
    """Save the index, begin a new journal file, and remove what neither needs any more."""
    with index.lock:
        sync_files(layout, storage, index)
        number = _next_number(index)
        changed = [day for day in index.days.values() if day.changed]
        summaries = {
            day.start: day.summary for day in index.days.values() if day.summary is not None
        }
        held = [day for day in changed if len(files := index.files(day)) or files.tombstones]
        saved = save_days(layout, storage, index, held)
        summaries |= saved
        for day in changed:
            if day.start not in saved and day.floor:
                # Nothing is left of it.
                summaries.pop(day.start, None)
                index.removal.emptied(day.start, day.floor)
        place = begin_journal(layout, storage, index)
        days = tuple(summaries[start] for start in sorted(summaries))
        root = root_of(index, number, place, days)
        temporary = layout.temporary / names.ROOT
        storage.replace(layout.index_root, checkpoint.pack_root(root), temporary)
        for day in changed:
            if day.start in summaries:
                day.summary = summaries[day.start]
                day.changed = False
            elif day.floor:
                del index.days[day.start]
        index.checkpointed(place)
        _sweep(layout, storage, root)


def save_days(
    layout: Layout, storage: Storage, index: Index, days: Sequence[Day]
) -> dict[int, checkpoint.DaySummary]:
    """Write the index files of days for the next checkpoint; what its root is to say, by start.

    Synced together, some at a time: a compaction may have changed many.
    """
    summaries: dict[int, checkpoint.DaySummary] = {}
    for at in range(0, len(days), storage.syncs_at_once):
        moves: list[tuple[Path, Path]] = []
        with ExitStack() as opened:
            fds = []
            for day in days[at : at + storage.syncs_at_once]:
                data, summary = day_of(index, day, _next_number(index))
                temporary = layout.temporary / summary.file
                storage.unlink(temporary)
                fds.append(storage.create(temporary))
                opened.callback(storage.close, fds[-1])
                storage.write(fds[-1], data)
                moves.append((temporary, layout.index / summary.file))
                summaries[day.start] = summary
            storage.sync_all(fds)
        for temporary, file in moves:
            storage.rename(temporary, file)
    if days:
        storage.sync_directory(layout.index)
    return summaries


def root_of(
    index: Index, number: int, place: Place, days: tuple[checkpoint.DaySummary, ...]
) -> checkpoint.Root:
    """The root numbered ``number`` that says what ``index`` knows, with the journal at ``place``"""
    return checkpoint.Root(
        index.log,
        number,
        *place,
        index.sequence,
        index.position,
        index.time,
        index.sealed_before,
        index.cursors,
        dict(index.writers),
        days,
        tuple(index.missing),
        tuple(damage for damage in index.damage if names.is_in_journal(damage.file)),
        index.lost,
        tuple(index.ledger),
        index.removal,
    )


def day_of(index: Index, day: Day, number: int) -> tuple[bytes, checkpoint.DaySummary]:
    """The bytes of a day's index file for the root ``number``, and what that is to say of it."""
    files = index.files(day)
    data = checkpoint.pack_day(day.start, files)
    file = names.day_index(day.start, number)
    return data, checkpoint.DaySummary(
        day.start,
        file,
        checkpoint.crc_of(data),
        len(files),
        day.count,
        day.bytes,
        day.first,
        day.last,
        day.floor,
        day.is_due,
        day.stored,
        sum(not segment.name.is_archive for segment in files),
        tuple(sorted(day.entered.items())),
        day.lowest,
        day.position_end,
    )


def _next_number(index: Index) -> int:
    """The number of the next checkpoint.

    Never used before, whatever root this process has seen: each root began a journal file.
    """
    return index.place.journal + 1


def begin_journal(
    layout: Layout,
    storage: Storage,
    index: Index,
    *,
    valid: Place | None = None,
    restated: tuple[Commit, ...] = (),
    fenced: tuple[str, ...] = (),
) -> Place:
    """Create the journal file after the current one; return the place behind its first record.

    It appears whole or not at all: written and synced under another name, then renamed.
    """
    place = valid or index.place
    if index.unsynced:
        # Nobody will sync the file that ends here any more.
        sync_file(storage, layout.journal(place.journal))
    begin = Begin(
        index.log,
        place.journal + 1,
        index.sequence,
        index.time,
        place.offset,
        restated,
        fenced,
        index.position,
    )
    record = pack(begin, 0)
    path = layout.journal(begin.number)
    storage.replace(path, record, layout.temporary / path.name)
    return Place(begin.number, len(record))


def sync_files(layout: Layout, storage: Storage, index: Index) -> None:
    """Make everything durable that commits so far named without syncing it, whoever wrote it."""
    if not index.unsynced:
        return
    directories = {layout.root}
    files = sorted(index.unsynced)
    for at in range(0, len(files), FILES_AT_ONCE):
        with ExitStack() as opened:
            fds = []
            for name in files[at : at + FILES_AT_ONCE]:
                path = layout.segment(name)
                try:
                    fd = storage.open_append(path)
                except FileNotFoundError:
                    index.found_damage(Damage(name, 0, 0, "is gone before it was synced"))
                    continue
                opened.callback(storage.close, fd)
                fds.append(fd)
                directories.add(path.parent)
            storage.sync_all(fds)
    sync_file(storage, layout.journal(index.place.journal))
    storage.sync_all((), sorted(directories, reverse=True))
    index.unsynced.clear()


def sync_file(storage: Storage, path: Path) -> None:
    """Make a file's bytes durable, whoever wrote them."""
    fd = storage.open_append(path)
    try:
        storage.sync(fd)
    finally:
        storage.close(fd)


def _sweep(layout: Layout, storage: Storage, root: checkpoint.Root) -> None:
    """Remove journal files and day indexes that ``root`` does not lead to.

    Journal files in order: who is still reading one then finds either it or the next, or none.
    """
    for name in storage.names(layout.journals):
        number = names.parse_journal(name)
        if number is not None and number < root.journal:
            storage.unlink(layout.journals / name)
    kept = {summary.file for summary in root.days}
    for name in storage.names(layout.index):
        if names.is_day_index(name) and name not in kept:
            storage.unlink(layout.index / name)
    sweep_temporary(layout, storage)


def sweep_temporary(layout: Layout, storage: Storage) -> None:
    """Remove what killed processes left unfinished; the store lock keeps others from beginning.

    Who builds the text index, scrubs or compacts holds another lock; what is theirs stays.
    """
    for name in storage.names(layout.temporary):
        if name not in (names.TEXT_TEMPORARY, names.SCRUB) and not names.is_compacted(name):
            storage.unlink(layout.temporary / name)

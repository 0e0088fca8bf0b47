"""`Filling`: what is in a snapshot, told by an index that was read anew.

Segments, up to their committed length; the index files of days, written anew for those that changed
since the checkpoint; a root and a journal file without commits, as after a checkpoint; and what
goes with the log as it is. Nobody else has this index, so it stays at one position.
"""

from __future__ import annotations

import logging

from timelog import checkpoint, manifest, names
from timelog.copier import Copier, Wanted
from timelog.day import Day
from timelog.errors import DamagedError
from timelog.index import Index
from timelog.indexstate import Place
from timelog.journal import Begin, pack
from timelog.names import Layout
from timelog.rotate import day_of, root_of
from timelog.segment import FileIndex, Segment
from timelog.storage import Storage

_log = logging.getLogger("timelog")


class Gone(Exception):
    """A file that the view names is gone; a newer view may not name it."""


class Filling:
    """Lets a `Copier` take what an index names. For one thread.

    ``suspect``: files that are known to be damaged. ``damage``: those that are, or are missing, in
    the log. Raises ``OSError``, and `DamagedError` where an index file is damaged.
    """

    def __init__(self, layout: Layout, storage: Storage, copier: Copier, suspect: set[str]) -> None:
        self.damage: set[str] = set()
        self._layout = layout
        self._storage = storage
        self._copier = copier
        self._suspect = suspect
        # Were gone in the view before: if a newer one names them, they are missing.
        self._gone: set[str] = set()
        self._wanted: set[str] = set()

    def fill(self, index: Index) -> None:
        """Take all of a view that nobody else has; raises `Gone` where a newer one is needed."""
        self.damage.clear()
        self._wanted.clear()
        number = index.place.journal + 1
        summaries = []
        for day in list(index.days.values()):
            files = self._files(index, day)
            for segment in files:
                if segment.blocks:
                    self._segment(index, segment)
            if len(files) or files.tombstones:
                summaries.append(self._day(index, day, number))
            elif day.floor:
                index.removal.emptied(day.start, day.floor)
            elif day.summary is not None:
                summaries.append(day.summary)
        for name in manifest.PLAIN:
            if self._storage.exists(self._layout.root / name):
                self._wanted.add(name)
                self._copier.take(Wanted(name, is_final=True))
        # Nothing that went before stands in the snapshot.
        index.removal.partitions.clear()
        index.removal.segments.clear()
        begin = Begin(
            index.log,
            number,
            index.sequence,
            index.time,
            index.place.offset,
            (),
            (),
            index.position,
        )
        record = pack(begin, 0)
        root = root_of(index, number, Place(number, len(record)), tuple(summaries))
        self._write(f"{names.CONTROL}/{names.JOURNAL}/{names.journal(number)}", record)
        self._write(manifest.ROOT, checkpoint.pack_root(root))
        self._copier.keep(self._wanted)

    def _files(self, index: Index, day: Day) -> FileIndex:
        try:
            return index.files(day)
        except DamagedError as error:
            assert day.summary is not None
            _log.warning("while a snapshot is taken: %s", error)
            self._note_gone(f"{names.CONTROL}/{names.INDEX}/{day.summary.file}")
            raise

    def _note_gone(self, name: str) -> None:
        """Ask for a newer view where a file is gone for the first time."""
        if name not in self._gone:
            self._gone.add(name)
            raise Gone

    def _segment(self, index: Index, segment: Segment) -> None:
        is_archive = segment.name.is_archive
        is_suspect = segment.path in self._suspect
        wanted = Wanted(
            segment.path,
            segment.size,
            None if is_archive or is_suspect else segment.crc,
            segment.crc if is_archive else None,
            # What is not durable yet may be taken back by a power cut, and written anew.
            not index.unsynced and segment.is_sealed(index.sealed_before),
        )
        try:
            file = self._copier.take(wanted)
        except FileNotFoundError:
            self._note_gone(segment.path)
            self.damage.add(segment.path)
            return
        self._wanted.add(segment.path)
        if file.size < segment.size or (not is_archive and file.crc != segment.crc):
            self.damage.add(segment.path)

    def _day(self, index: Index, day: Day, number: int) -> checkpoint.DaySummary:
        """Take a day's index file, or write it; what the root is to say of it."""
        summary = day.summary
        if summary is not None and not day.changed:
            name = f"{names.CONTROL}/{names.INDEX}/{summary.file}"
            try:
                file = self._copier.take(Wanted(name, crc=summary.crc, is_final=True))
                self._wanted.add(name)
                if file.crc == summary.crc:
                    return summary
            except FileNotFoundError:
                # A checkpoint has just replaced it, but what it says is in memory.
                pass
        data, summary = day_of(index, day, number)
        self._write(f"{names.CONTROL}/{names.INDEX}/{summary.file}", data)
        return summary

    def _write(self, name: str, data: bytes) -> None:
        self._wanted.add(name)
        self._copier.write(name, data)

"""`Index`: which blocks exist, as the root and the journal say; shared by all threads of a log.

It is read from disk at first use and then catches up with the journal, which other processes
write too (`timelog.catchup`). A reader keeps the position it started at and ignores everything from
there on, so it needs no copy. Days are loaded at first use and, when many are loaded, dropped again
as long as the disk has all of them.
"""

from __future__ import annotations

from typing import NamedTuple

from timelog import checkpoint, names
from timelog.catchup import CatchUp
from timelog.damage import Damage
from timelog.day import Day, segment_name
from timelog.errors import TRANSIENT, DamagedError, NotALogError, in_words, storage_error
from timelog.journal import Block, Tombstone
from timelog.names import SegmentName
from timelog.segment import FileIndex, Segment
from timelog.timestamp import DAY

# Loaded days are dropped, least recently used first, beyond this many blocks of 500 bytes or so.
MOST_LOADED = 100_000


class Totals(NamedTuple):
    """How much a log holds; ``oldest`` and ``newest`` timestamps in microseconds, 0 if empty."""

    partitions: int
    segments: int
    events: int
    bytes: int
    oldest: int
    newest: int


class DayTotals(NamedTuple):
    """How much the day that starts at ``day`` holds; the rest as in `Totals`.

    ``bytes`` are those of the text, ``stored`` those of the files.
    """

    day: int
    segments: int
    events: int
    bytes: int
    stored: int
    oldest: int
    newest: int


class Arrived(NamedTuple):
    """What holds a range of positions.

    ``blocks``: those that hold any of them, in no order. ``deleted``: those of them that hold
    deleted events. ``unknown``: ranges that a day has of which nothing can be said.
    """

    blocks: list[Block]
    deleted: list[int]
    unknown: list[tuple[int, int]]


class Index(CatchUp):
    """The index of one log. Thread-safe; ``lock`` may be held to make several looks one.

    ``released`` is called, with the lock held, with the number of each batch of ``writer`` that
    turns out to be committed; ``moved``, likewise, when there are new events.
    """

    def files(self, day: Day) -> FileIndex:
        """The segments of a day, loaded where they are not. The lock must be held.

        Raises `DamagedError` where the day's index file is damaged or gone or cannot be read, and
        `StorageError` where it may be read later.
        """
        if day.files is None:
            assert day.summary is not None
            path = self._layout.index / day.summary.file
            try:
                data = self._storage.read_file(path)
            except FileNotFoundError:
                raise DamagedError(
                    f"{day.summary.file} is gone; 'timelog repair' makes it anew"
                ) from None
            except OSError as error:
                if error.errno in TRANSIENT:
                    raise storage_error(f"reading {path}", error) from error
                raise DamagedError(
                    f"{day.summary.file} cannot be read: {in_words(error)}"
                ) from error
            day.loaded(checkpoint.parse_day(data, day.summary))
        assert day.files is not None
        self._used(day)
        return day.files

    def find_files(self, start: int) -> FileIndex | None:
        """As `files`, for the day that starts at ``start``; None where it has nothing.

        An index file that another process's checkpoint replaced is looked for in the new root. The
        lock must be held.
        """
        while (day := self.days.get(start)) is not None:
            try:
                return self.files(day)
            except DamagedError:
                try:
                    if self._is_loaded and self._root_seen == self._root_now():
                        raise
                    self.refresh()
                except OSError as error:
                    raise storage_error("reading the index", error) from error
        return None

    def segment(self, path: str) -> Segment | None:
        """The segment of that path, or None where nothing of it is committed."""
        name = segment_name(path)
        with self.lock:
            files = self.find_files(name.span.start - name.span.start % DAY)
            return files.get(name) if files is not None else None

    def is_gone(self, block: Block) -> bool:
        """Whether a block that was committed is not any more: it was replaced, or has expired.

        For who does not find its file. Raises `StorageError`.
        """
        try:
            self.refresh()
            return self.segment(block.path) is None
        except (DamagedError, NotALogError):
            # Nothing can be said without an index that can be used; that is reported.
            return False
        except OSError as error:
            raise storage_error("reading the index", error) from error

    def is_kept(self, path: str) -> bool:
        """Whether what was found in a file still matters: not where it was replaced or has expired.

        Cost: the day's index file is read.
        """
        if names.parse_segment(path) is None:
            return True
        try:
            return self.segment(path) is not None
        except (DamagedError, OSError):
            # Nothing can be said without an index that can be used; that is reported.
            return True

    def between(self, start: int | None, end: int | None) -> list[int]:
        """The days that have events in ``[start, end)``, in order; None is open."""
        with self.lock:
            low = None if start is None else start - start % DAY
            return [
                at
                for at in self.days.irange(low, end)
                if self.days[at].count
                and (start is None or self.days[at].last >= start)
                and (end is None or self.days[at].first < end)
            ]

    def blocks(
        self, day: int, start: int | None, end: int | None, position: int
    ) -> list[tuple[SegmentName, tuple[Block, ...]]]:
        """The blocks of a day's segments in ``[start, end)`` that a view of ``position`` may see.

        Raises `DamagedError` where that day's index file is damaged or gone.
        """
        with self.lock:
            files = self.find_files(day)
            if files is None:
                return []
            found = files.find(start, end)
            if position >= self.position:
                return [(segment.name, tuple(segment.blocks)) for segment in found]
            return [
                (segment.name, tuple(b for b in segment.blocks if b.lowest < position))
                for segment in found
            ]

    def deleted(self, day: int) -> list[int]:
        """The positions of a day's deleted events, in order; errors as `blocks`."""
        with self.lock:
            files = self.find_files(day)
            return sorted(files.tombstones) if files is not None else []

    def arrived(self, start: int, end: int) -> Arrived:
        """What holds the positions in ``[start, end)``, each day's index file read where needed.

        Cost: that of the blocks, where they are of the newest commits.
        """
        with self.lock:
            if start >= self._recent_blocks.start:
                newest = self._recent_blocks.since(start)
                return Arrived([b for b in newest if b.lowest < end], [], [])
            blocks: list[Block] = []
            deleted: list[int] = []
            unknown: list[tuple[int, int]] = []
            for day in list(self.days.values()):
                if day.lowest >= end or day.position_end <= start:
                    continue
                try:
                    files = self.find_files(day.start)
                except DamagedError as error:
                    self.found_damage(damaged_day(day.start, error))
                    unknown.append((day.lowest, day.position_end))
                    continue
                if files is None:
                    continue
                blocks += [
                    block
                    for segment in files
                    for block in segment.blocks
                    if block.lowest < end and block.position_end > start
                ]
                deleted += [at for at in files.tombstones if start <= at < end]
            return Arrived(blocks, sorted(deleted), unknown)

    def next_position(self, position: int) -> int:
        """The lowest position from ``position`` on that may hold an event, as far as is cheap."""
        with self.lock:
            if position >= self._recent_blocks.start:
                return position
            days = (day for day in self.days.values() if day.position_end > position)
            return max(position, min((day.lowest for day in days), default=self.position))

    def tombstones(self, day: int) -> list[Tombstone]:
        """The deleted events of a day, by position; errors as `blocks`."""
        with self.lock:
            files = self.find_files(day)
            found = files.tombstones if files is not None else {}
            return [found[position] for position in sorted(found)]

    def sealed(self, day: int, before: int) -> list[tuple[str, tuple[Block, ...]]]:
        """The paths and blocks of a day's segments that are sealed if ``before`` is what seals.

        Raises `DamagedError` where that day's index file is damaged or gone.
        """
        with self.lock:
            return [
                (segment.path, tuple(segment.blocks))
                for segment in self.find_files(day) or ()
                if segment.blocks and segment.is_sealed(before)
            ]

    def totals(self) -> Totals:
        """How much is committed, and between which times."""
        with self.lock:
            days = self.totals_of_days()
            return Totals(
                len(days),
                sum(day.segments for day in days),
                sum(day.events for day in days),
                sum(day.bytes for day in days),
                min((day.oldest for day in days), default=0),
                max((day.newest for day in days), default=0),
            )

    def totals_of_days(self) -> list[DayTotals]:
        """How much is committed of each day that has events, in order.

        Cost: a few µs a day; the index file is read of days that changed since the checkpoint.
        """
        with self.lock:
            return [
                DayTotals(
                    day.start,
                    self._segments_of(day),
                    day.count,
                    day.bytes,
                    day.stored,
                    day.first,
                    day.last,
                )
                for day in list(self.days.values())
                if day.count
            ]

    def _segments_of(self, day: Day) -> int:
        if day.summary is not None and not day.changed:
            return day.summary.segments
        try:
            return len(self.find_files(day.start) or ())
        except (DamagedError, OSError):
            # Reported by whoever looks for its events.
            return day.summary.segments if day.summary else 0

    # -- inside ---------------------------------------------------------------------------

    def _used(self, day: Day) -> None:
        """Note that a loaded day was used, and drop others where too much is loaded."""
        self._loaded += day.weight - self._recent.pop(day.start, 0)
        self._recent[day.start] = day.weight
        if self._loaded <= MOST_LOADED:
            return
        for start in list(self._recent):
            other = self.days.get(start)
            if start == day.start or (other is not None and other.changed):
                continue
            self._loaded -= self._recent.pop(start)
            if other is not None:
                other.files = None
            if self._loaded <= MOST_LOADED:
                return


def damaged_day(day: int, error: Exception) -> Damage:
    """How a day is named whose index file cannot be used."""
    name = f"{names.CONTROL}/{names.INDEX} ({names.partition(day)})"
    return Damage(name, 0, 0, str(error))

"""`Index`: which blocks exist, as the root and the journal say; shared by all threads of a log.

It is read from disk at first use and then catches up with the journal, which other processes
write too. What a commit adds becomes visible in one step under the lock. A reader keeps the
position it started at and ignores everything from there on, so it needs no copy. Days are loaded
at first use and, when many are loaded, dropped again as long as the disk has all of them.
"""

from __future__ import annotations

import logging
import threading
from collections import OrderedDict, deque
from collections.abc import Callable
from typing import NamedTuple

from sortedcontainers import SortedDict

from timelog import checkpoint, names
from timelog.damage import Damage
from timelog.day import Day, segment_name
from timelog.errors import TRANSIENT, DamagedError, NotALogError, in_words, storage_error
from timelog.horizons import Facts, Keeping
from timelog.journal import Bad, Begin, Block, Commit, Entry, Expiry, Tombstone, read
from timelog.ledger import Ledger
from timelog.lock import End, read_mark, read_state
from timelog.names import Layout, SegmentName
from timelog.recent import Recent
from timelog.segment import FileIndex, Segment
from timelog.storage import UNKNOWN_BOOT, Storage
from timelog.timestamp import DAY

_log = logging.getLogger("timelog")

# Loaded days are dropped, least recently used first, beyond this many blocks of 500 bytes or so.
MOST_LOADED = 100_000
# Damage is remembered, for health() and verify(), up to this many places.
MOST_DAMAGE = 1_000
# A retry must find its own batch, so the last batch of this many writers is remembered.
MOST_WRITERS = 4_096
_TRIES = 100


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


class Place(NamedTuple):
    """A place in the journal: file number and offset."""

    journal: int
    offset: int


class Tail(NamedTuple):
    """What ends the journal and is no record: ``torn``, a write that was cut off, or damage."""

    start: int
    end: int
    torn: bool


_EMPTY = checkpoint.Root("", 0, 1, 0, 0, 0, 0, 0, {}, {}, ())
# For `Index.refresh`: stop where the busy mark says.
READER = Place(0, 0)


class _Replaced(Exception):
    """Another file stands where a journal file was that has been read already."""


class Index:
    """The index of one log. Thread-safe; ``lock`` may be held to make several looks one.

    ``released`` is called, with the lock held, with the number of each batch of ``writer`` that
    turns out to be committed; ``moved``, likewise, when there are new events.
    """

    def __init__(
        self,
        layout: Layout,
        storage: Storage,
        writer: str,
        released: Callable[[int], None],
        moved: Callable[[], None] = lambda: None,
    ) -> None:
        self.lock = threading.RLock()
        self.writer = writer
        # Blocks that this process read and found intact, by hash; see `timelog.reader`.
        self.intact: set[int] = set()
        self._layout = layout
        self._released = released
        self._moved = moved
        self._storage = storage
        self._boot = storage.boot_id()
        # False also while something is being changed: an interrupt then lets all be read anew.
        self._is_loaded = False
        self._untold: deque[Damage] = deque()
        self._root_seen: tuple[int, ...] | None = None
        self._recent: OrderedDict[int, int] = OrderedDict()
        self.log = ""
        self.damage: dict[Damage, None] = {}
        self._take(_EMPTY)

    def _take(self, root: checkpoint.Root) -> None:
        """Begin with the state that ``root`` says."""
        self.log = root.log or self.log
        self.place = Place(root.journal, root.offset)
        self.sequence = root.sequence
        self.position = root.position
        self.time = root.time
        self.sealed_before = root.sealed_before
        self.cursors = dict(root.cursors)
        self.writers: OrderedDict[str, int] = OrderedDict(root.writers)
        self.days: SortedDict = SortedDict((kept.day, Day(kept.day, kept)) for kept in root.days)
        self.missing = list(root.missing)
        self.lost = root.lost
        self.ledger = Ledger(root.ledger)
        self.removal = root.removal.copy()
        self._recent_blocks = Recent(root.position)
        self.unsynced: set[str] = set()
        self.synced = root.sequence
        self.synced_end = self.end
        self.since_checkpoint = 0
        self.bad_tail: Tail | None = None
        # What was found in segments is not found again by reading the journal.
        met = (damage for damage in self.damage if names.parse_segment(damage.file))
        self.damage = dict.fromkeys((*root.damage, *met))
        self._recent.clear()
        self._loaded = 0
        # The number and the inode of the journal file that was read.
        self._reading = (0, 0)

    # -- reading the disk -----------------------------------------------------------------

    def load(self) -> None:
        """Read all there is for the first time, and miss what should be there."""
        # First the lock: somebody may commit meanwhile.
        state = read_state(self._storage, self._layout.lock)
        self.refresh()
        if state is not None:
            self.expect(state.committed(self._boot))

    def refresh(self, until: Place | None = READER) -> None:
        """Catch up with the journal, as far as ``until``.

        A reader stops where an unfinished flush began. Who holds the store lock may give the place
        itself, or None for all there is. Cost where nothing is new: a few system calls. Raises
        `DamagedError` where the journal cannot be followed, and ``OSError``.
        """
        # What is opened below looks for links in the last directory only.
        self._storage.check_directory(self._layout.control)
        with self.lock:
            for _ in range(_TRIES):
                if not self._is_loaded or self._root_seen != self._root_now():
                    self.reload()
                try:
                    while self._step(until):
                        pass
                    return
                except (FileNotFoundError, _Replaced):
                    # A checkpoint removed the journal under us; its root knows all that was in it.
                    # Or the directory was exchanged, which its first record tells.
                    self._is_loaded = False
            raise DamagedError(
                f"the journal file {self._layout.journal(self.place.journal)} is gone; "
                "'timelog repair' makes it anew"
            )

    def reload(self) -> None:
        """Begin anew from ``index/root``."""
        with self.lock:
            self._is_loaded = False
            # Looked at first: if it is replaced while it is read, the next refresh notices.
            self._root_seen = self._root_now()
            try:
                root = checkpoint.parse_root(self._storage.read_file(self._layout.index_root))
            except FileNotFoundError:
                # No checkpoint yet: everything is in the first journal file.
                root = _EMPTY
            if self.log and root.log and root.log != self.log:
                raise DamagedError(
                    f"{self._layout.index_root} belongs to another log: the directory was "
                    "exchanged while it was open; close it and open it again"
                )
            self._take(root)
            self._is_loaded = True
            self._moved()
            if self.writer in self.writers:
                self._released(self.writers[self.writer])

    def _root_now(self) -> tuple[int, ...] | None:
        """What tells one ``index/root`` from the next; None where there is none."""
        try:
            info = self._storage.status(self._layout.index_root)
        except FileNotFoundError:
            return None
        return info.st_ino, info.st_mtime_ns, info.st_size

    def checkpointed(self, place: Place) -> None:
        """This process has just replaced the root; the journal goes on at ``place``."""
        self._root_seen = self._root_now()
        self.place = place
        self.since_checkpoint = 0

    def _step(self, until: Place | None) -> bool:
        """Read what the current journal file has beyond our place; True to read on."""
        # Looked for first: a file that has a successor does not grow any more.
        following = self._begin_of(self.place.journal + 1)
        data, size = self._read_journal()
        if size < self.place.offset:
            self.bad_tail = Tail(size, self.place.offset, torn=False)
            self._damaged_journal(size, self.place.offset)
        if not data and following is None:
            return False
        if until is READER:
            mark = read_mark(self._storage, self._layout.lock, self._boot)
            until = Place(mark.journal, mark.offset) if mark else None
        stop = until is not None and until.journal <= self.place.journal
        start = self.place.offset
        end = start + len(data)
        if until is not None and stop:
            end = min(end, until.offset)
        if following:
            end = min(end, following[0].valid)
        self._read_records(data[: max(end - self.place.offset, 0)], final=following is not None)
        tail = self.bad_tail
        if tail is not None and tail.torn and not self._may_be_torn(tail.start):
            if self._read_journal()[0] != data[self.place.offset - start :] or (
                following is None and self._begin_of(self.place.journal + 1) is not None
            ):
                # Somebody was just writing or repairing it.
                return True
            self.bad_tail = tail._replace(torn=False)
            self._damaged_journal(tail.start, tail.end)
        if following is None or stop:
            return False
        begin, offset = following
        if end < begin.valid:
            self._damaged_journal(end, begin.valid)
        self._begin(begin, offset)
        return True

    def _may_be_torn(self, start: int) -> bool:
        """Whether what ends the journal at ``start`` may be a write that was cut off.

        In the boot of the last holder of the lock only if it left a mark. Since then power may
        have gone, and all may be torn that is not known to have been durable before.
        """
        state = read_state(self._storage, self._layout.lock)
        if state is not None and state.boot == self._boot != UNKNOWN_BOOT:
            return state.busy is not None
        durable = [self.synced_end]
        if state is not None and state.synced is not None:
            durable.append(state.synced)
        return (self.place.journal, start) >= max((end.journal, end.offset) for end in durable)

    def _read_records(self, data: bytes, *, final: bool) -> None:
        bad: Bad | None = None
        for item in read(data, self.place.offset):
            if isinstance(item, Bad):
                bad = item
                continue
            if bad is not None:
                self._damaged_journal(*bad)
            self._record(item, is_known_gap=bad is not None)
            bad = None
        self.bad_tail = None if bad is None else Tail(*bad, torn=not final)
        if bad is not None and final:
            self._damaged_journal(*bad)

    def _record(self, entry: Entry, *, is_known_gap: bool) -> None:
        record = entry.record
        if isinstance(record, Begin):
            self._begin(record, entry.end)
            return
        if not is_known_gap:
            self._note_gap(record.sequence - 1)
        self.apply(record, Place(self.place.journal, entry.end))

    def _note_gap(self, sequence: int) -> None:
        """All commits up to ``sequence`` were in the journal; those that we do not have are lost"""
        if sequence > self.sequence:
            lost = f"commits {self.sequence + 1} to {sequence} are missing"
            self.found_damage(Damage(self._journal_name(), self.place.offset, 0, lost))

    def expect(self, end: End | None) -> None:
        """Take for lost, and name as damage, what was committed up to ``end`` and is not there.

        For who holds the store lock, or read ``end`` before the journal. The positions stay used.
        """
        if end is not None:
            with self.lock:
                self._miss(end.sequence, end.position)

    def _miss(self, sequence: int, position: int) -> None:
        if self.bad_tail is None:
            self._note_gap(sequence)
        if position > self.position:
            self.missing.append((self.position, position - 1))
            self.ledger.enter(self.time, self.position, position - self.position, {})
        self.sequence = max(sequence, self.sequence)
        self.position = max(position, self.position)

    def _begin(self, begin: Begin, offset: int) -> None:
        self.log = self.log or begin.log
        if begin.log != self.log:
            raise DamagedError(
                "the journal belongs to another log: where the directory was exchanged while it "
                "was open, put back the one that was there, else run 'timelog repair'"
            )
        self._miss(begin.sequence, begin.position)
        for commit in begin.restated:
            self.apply(commit, self.place)
        for path in begin.fenced:
            name = segment_name(path)
            self.day(name.span.start).fence(name, begin.time)
        self.time = max(self.time, begin.time)
        self.place = Place(begin.number, offset)
        if not self.unsynced:
            self.synced_end = self.end
        # It was that of the file before.
        self.bad_tail = None
        self.since_checkpoint += 1

    def _begin_of(self, number: int) -> tuple[Begin, int] | None:
        """The first record of a journal file and where it ends; None where there is no file."""
        try:
            data = self._storage.read_file(self._layout.journal(number))
        except FileNotFoundError:
            return None
        first = next(read(data, 0), None)
        if not isinstance(first, Entry) or not isinstance(first.record, Begin):
            raise DamagedError(
                f"{self._layout.journal(number)} does not begin as a journal does; "
                "'timelog repair' makes it anew"
            )
        return first.record, first.end

    def _read_journal(self) -> tuple[bytes, int]:
        """What the current journal file has beyond our place, and how long it is."""
        path = self._layout.journal(self.place.journal)
        if (
            not self.place.offset
            and not self.log
            and not self._storage.exists(path)
            # Looked for last: the first checkpoint puts it there before it removes the journal.
            and self._root_now() is None
        ):
            raise NotALogError(f"{self._layout.root} has no journal; run 'timelog repair'")
        parts = []
        with self._storage.reading(path) as fd:
            file = (self.place.journal, self._storage.inode(fd))
            if file[0] == self._reading[0] and file != self._reading:
                raise _Replaced
            self._reading = file
            at = self.place.offset
            while part := self._storage.read_at(fd, at, 1 << 20):
                parts.append(part)
                at += len(part)
            size = self._storage.size(fd)
        return b"".join(parts), size

    def _damaged_journal(self, start: int, end: int) -> None:
        reason = "not a record of the journal; the events it named are missing"
        self.found_damage(Damage(self._journal_name(), start, end - start, reason))

    def _journal_name(self) -> str:
        return str(self._layout.journal(self.place.journal).relative_to(self._layout.root))

    def found_damage(self, damage: Damage) -> None:
        """Remember damage that somebody met; `tell` reports it, once."""
        with self.lock:
            if damage not in self.damage and len(self.damage) < MOST_DAMAGE:
                self.damage[damage] = None
                self._untold.append(damage)

    def found_sound(self, block: Block) -> None:
        """Forget damage that was found in a block which is as it was written after all."""
        with self.lock:
            for damage in [damage for damage in self.damage if lies_in(damage, block)]:
                del self.damage[damage]

    def tell(self) -> None:
        """Log the damage that was found. No lock may be held: a handler may use this very log."""
        while self._untold:
            _log.error("damaged: %s", self._untold.popleft())

    # -- adding ---------------------------------------------------------------------------

    def apply(self, commit: Commit, place: Place) -> None:
        """Add a commit's blocks; the journal has been read up to ``place``.

        A commit that is known already changes nothing but the place.
        """
        with self.lock:
            self.place = place
            if commit.sequence <= self.sequence:
                return
            self._is_loaded = False
            gap = max(commit.position - self.position, 0)
            if gap:
                self.missing.append((self.position, commit.position - 1))
            self.time = max(self.time, commit.time)
            # What is missing was entered, too, by the commits that are.
            self.ledger.enter(self.time, self.position, gap + commit.count, commit.refused)
            self.sequence = commit.sequence
            self.position = commit.position + commit.count
            self.sealed_before = max(self.sealed_before, commit.sealed_before)
            self.cursors.update(commit.cursors)
            self.writers[commit.writer] = commit.batch
            self.writers.move_to_end(commit.writer)
            while len(self.writers) > MOST_WRITERS:
                self.writers.popitem(last=False)
            self.since_checkpoint += 1
            self._remove(commit)
            if commit.count:
                self._recent_blocks.add(commit)
            if commit.replacement or commit.expiry or commit.tombstones:
                # It may have some that are gone by now.
                self._recent_blocks = Recent(self.position)
            for block in commit.blocks:
                day = self.day(segment_name(block.path).span.start)
                if commit.replacement is not None:
                    day.add(block, commit.time)
                    continue
                day.enter(block, commit.time, self.time)
                # It waited while its time passed.
                day.is_due = day.is_due or block.first < self.removal.high
            if commit.durable:
                self.unsynced.clear()
                self.synced = commit.sequence
                self.synced_end = self.end
            else:
                self.synced = max(self.synced, commit.synced)
                # One that has but a cursor is in the journal alone.
                files = [block.path for block in commit.blocks] or [self._journal_name()]
                self.unsynced.update(files)
            if commit.writer == self.writer:
                self._released(commit.batch)
            self._is_loaded = True
            if commit.count:
                self._moved()

    def _remove(self, commit: Commit) -> None:
        """Take out what a commit expires, replaces and deletes."""
        if commit.expiry is not None:
            self._expire(commit.expiry)
        self.removal.apply(commit)
        if commit.replacement is not None:
            replacement = commit.replacement
            day = self.day(replacement.day)
            erased = self.ledger.share_out((at, at + 1) for at in replacement.erased)
            day.replace(replacement, erased, commit.sequence)
            for block in commit.blocks:
                # It is whole as it is.
                day.fence(segment_name(block.path), commit.time)
            self.ledger.expire(replacement.expired)
            for position in replacement.erased:
                self.ledger.erase(position)
            self._forget(frozenset(gone.path for gone in replacement.segments).__contains__)
        for tombstone in commit.tombstones:
            self.day(tombstone.timestamp).bury(tombstone)
            self.ledger.delete(tombstone.position)

    def _expire(self, expiry: Expiry) -> None:
        for start in expiry.days:
            self.days.pop(start, None)
            self._loaded -= self._recent.pop(start, 0)
        self.ledger.expire(expiry.events)
        partitions = tuple(f"{names.partition(day)}/" for day in expiry.days)
        self._forget(lambda path: path.startswith(partitions))
        # What some rule lets go in the other days stands between what another keeps.
        before, after = Keeping(self.removal.horizons), Keeping(expiry.horizons)
        for start, day in self.days.items():
            end = start + DAY
            if after.may_hide(Facts(start, end - 1)) and after.passed(end) != before.passed(end):
                day.is_due = day.changed = True

    def _forget(self, is_gone: Callable[[str], bool]) -> None:
        """Forget the damage, and the need for a sync, of files that are gone."""
        self.unsynced = {path for path in self.unsynced if not is_gone(path)}
        self.damage = {each: None for each in self.damage if not is_gone(each.file)}

    @property
    def end(self) -> End:
        """How far the journal has been read, and what was committed up to there."""
        return End(*self.place, self.sequence, self.position)

    def publish(self, commit: Commit, place: Place) -> bool:
        """Add the commit that was just written up to ``place``; whether it counts now."""
        with self.lock:
            if self._is_loaded:
                self.apply(commit, place)
            else:
                # A reader failed while it read the index anew.
                self.refresh(until=None)
            return self.sequence == commit.sequence and self.writers.get(commit.writer) == (
                commit.batch
            )

    def day(self, us: int) -> Day:
        """The day that holds ``us``, created where there is none. The lock must be held."""
        start = us - us % DAY
        day = self.days.get(start)
        if day is None:
            day = self.days[start] = Day(start, None)
            day.floor = self.removal.floor(start)
        known: Day = day
        return known

    # -- looking --------------------------------------------------------------------------

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
                    files = self.find_files(day.start) or FileIndex()
                except DamagedError as error:
                    self.found_damage(damaged_day(day.start, error))
                    unknown.append((day.lowest, day.position_end))
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
        """The lowest position from ``position`` on that may hold an event, as far as days tell."""
        with self.lock:
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


def lies_in(damage: Damage, block: Block) -> bool:
    """Whether damage was found in a block."""
    return damage.file == block.path and block.offset <= damage.offset < block.end

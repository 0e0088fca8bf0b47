"""`IndexState`: what is committed, as far as it has been read: the root, and each commit since.

What a commit adds becomes visible in one step under the lock. `timelog.catchup` reads the disk,
`timelog.index` answers questions; both are the same object.
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
from timelog.horizons import Facts, Keeping
from timelog.journal import Block, Commit, Expiry
from timelog.ledger import Ledger
from timelog.lock import End
from timelog.names import Layout
from timelog.recent import Recent
from timelog.storage import Storage
from timelog.timestamp import DAY

_log = logging.getLogger("timelog")

# Damage is remembered, for health() and verify(), up to this many places.
MOST_DAMAGE = 1_000
# A retry must find its own batch, so the last batch of this many writers is remembered.
MOST_WRITERS = 4_096


class Place(NamedTuple):
    """A place in the journal: file number and offset."""

    journal: int
    offset: int


class Tail(NamedTuple):
    """What ends the journal and is no record: ``torn``, a write that was cut off, or damage."""

    start: int
    end: int
    torn: bool


# The state before the first checkpoint.
EMPTY = checkpoint.Root("", 0, 1, 0, 0, 0, 0, 0, {}, {}, ())


class IndexState:
    """Thread-safe; ``lock`` may be held to make several looks one. See `Index`."""

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
        self._take(EMPTY)

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

    def day(self, us: int) -> Day:
        """The day that holds ``us``, created where there is none. The lock must be held."""
        start = us - us % DAY
        day = self.days.get(start)
        if day is None:
            day = self.days[start] = Day(start, None)
            day.floor = self.removal.floor(start)
        known: Day = day
        return known

    def _journal_name(self) -> str:
        return str(self._layout.journal(self.place.journal).relative_to(self._layout.root))


def lies_in(damage: Damage, block: Block) -> bool:
    """Whether damage was found in a block."""
    return damage.file == block.path and block.offset <= damage.offset < block.end

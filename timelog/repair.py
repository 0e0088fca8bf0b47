"""The one repair path: what whoever takes the store lock does before anything else.

Three findings lead here: a busy mark (a flush was killed or failed), a boot that is not the one the
lock file knows (the page cache is gone), and a journal that does not end with a record. Each ends
the same way: bytes behind the committed length of a file are copied to ``quarantine/`` and cut,
those files take no more blocks, and a new journal file says up to where the old one is valid. What
is not committed is never adopted. A kill at any step leaves the finding in place, so the repair
begins again; doing it twice changes nothing.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from functools import partial
from pathlib import Path

from timelog import names
from timelog.blocktext import read_text
from timelog.checkpoint import Root
from timelog.damage import Damage
from timelog.errors import DamagedError
from timelog.index import Index
from timelog.indexstate import Place
from timelog.journal import Bad, Block, Commit, read
from timelog.lock import Mark, State, StoreLock
from timelog.names import Layout
from timelog.quarantine import Quarantine
from timelog.rotate import begin_journal, sweep_temporary, write_checkpoint
from timelog.storage import UNKNOWN_BOOT, Storage
from timelog.sweep import move_to_trash, unlink_replaced
from timelog.timestamp import MINUTE

_CHUNK = 1 << 20
# Microseconds for which a flush may go on in a segment that another made.
_UNSEALED = 3 * MINUTE


class Repairer:
    """Repairs one log. Every method needs the store lock to be held.

    ``tell`` is given what is to be logged, which must wait until locks are released.
    """

    def __init__(
        self,
        layout: Layout,
        storage: Storage,
        index: Index,
        lock: StoreLock,
        tell: Callable[[str], None],
    ) -> None:
        self._layout = layout
        self._storage = storage
        self._index = index
        self._lock = lock
        self._tell = tell
        self._quarantine = Quarantine(layout, storage)
        self._boot = storage.boot_id()
        self._checked_boot = False
        self._is_swept = False

    def repair(self, *, unfinished: bool = False) -> None:
        """Bring the log to a state that can be written, and the index up to date with it.

        ``unfinished``: this process left a mark, which somebody may have taken away with the file.
        Cost where nothing is wrong: reading the lock file and catching up with the journal.
        Raises ``OSError`` where the disk refuses; the finding then stays for the next holder.
        """
        state = self._lock.read()
        boot_changed = state is None or state.boot != self._boot
        if self._boot == UNKNOWN_BOOT and not self._checked_boot:
            boot_changed = True
        if state is not None and state.busy is not None and not boot_changed:
            self._finish(state.busy)
        elif boot_changed or unfinished:
            self._check_tails(state.busy if state is not None else None)
        self._index.refresh(until=None)
        if state is not None:
            self._index.expect(state.committed(self._boot))
        if self._index.bad_tail is not None:
            begin_journal(self._layout, self._storage, self._index, valid=self._valid())
            self._index.refresh(until=None)
        if boot_changed or (state is not None and state.busy is not None):
            clock = state.clock if state is not None and not boot_changed else None
            self._lock.write(
                State(self._boot, None, self._index.end, self._index.synced_end, clock=clock)
            )
        if not self._is_swept:
            sweep_temporary(self._layout, self._storage)
            self._is_swept = True
        self._checked_boot = True

    def _finish(self, mark: Mark) -> None:
        """Undo or complete the flush that left ``mark``."""
        place = Place(mark.journal, mark.offset)
        self._index.refresh(until=place)
        if self._index.place != place:
            # It is not about these files: the log was copied while that flush ran.
            self._check_tails(None)
            return
        if self._storage.exists(self._layout.journal(mark.journal + 1)):
            # A repair was cut off behind its last write.
            return
        for path in mark.suspect:
            self._write_anew(path, place)
        journal = self._storage.read_file(self._layout.journal(mark.journal))
        written = _commits(journal[place.offset :], place)
        names_in_mark = [path for path in mark.files if names.parse_segment(path)]
        lengths = {path: self._committed(path) for path in names_in_mark}
        for commit in written:
            for block in commit.blocks:
                lengths[block.path] = max(lengths.get(block.path, 0), block.file_end)
        for path, length in lengths.items():
            if path in mark.whole and not length:
                # What it would have replaced is all there.
                self._storage.unlink(self._layout.segment(path))
            else:
                self._cut(path, length)
        begin_journal(
            self._layout,
            self._storage,
            self._index,
            valid=place,
            restated=tuple(written),
            fenced=tuple(names_in_mark),
        )
        self._tell(
            f"repaired after an unfinished flush of process {mark.pid}: {len(written)} commits "
            f"kept, files {', '.join(names_in_mark)}"
        )

    def _write_anew(self, path: str, place: Place) -> None:
        """Store what is committed of a file whose fsync failed in another file of that name."""
        journal = self._layout.journal(place.journal)
        if self._layout.root / path == journal:
            length = place.offset
        elif names.parse_segment(path) is not None:
            length = self._committed(path)
        else:
            return
        try:
            self._quarantine.copy(self._layout.root / path, 0, length, self._layout.root / path)
        except FileNotFoundError:
            # Reported by whoever looks for what was in it.
            return
        segment = self._index.segment(path) if self._layout.root / path != journal else None
        for block in segment.blocks if segment else ():
            if not self._holds(block):
                self._index.found_damage(
                    Damage(path, block.offset, block.length, "changed when its fsync failed")
                )

    def _check_tails(self, mark: Mark | None) -> None:
        """After a boot: look at every file that was written since the last checkpoint.

        ``mark``: what was going on then.
        """
        history = _History(self._layout, self._storage)
        history.refresh(until=None)
        kept = history.surviving(self._holds)
        if kept < len(history.commits):
            self._forget(history, kept)
        self._index.reload()
        self._index.refresh(until=None)
        # What was replaced is committed nowhere, and yet it is no unfinished write.
        move_to_trash(self._layout, self._storage, self._index)
        unlink_replaced(self._layout, self._storage, self._index)
        for path in mark.whole if mark is not None else ():
            if names.parse_segment(path) is not None and not self._is_committed(path):
                self._storage.unlink(self._layout.segment(path))
        suspect = {block.path for commit in history.commits for block in commit.blocks}
        suspect |= self._recent(history.since)
        cut = tuple(path for path in sorted(suspect) if self._cut_tail(path))
        if cut or self._index.bad_tail is not None:
            valid = self._valid()
            begin_journal(self._layout, self._storage, self._index, valid=valid, fenced=cut)

    def _valid(self) -> Place:
        """Up to where the journal counts: what was torn goes, what is damaged stays in sight."""
        place, tail = self._index.place, self._index.bad_tail
        return place if tail is None or tail.torn else Place(place.journal, tail.end)

    def _recent(self, since: int) -> set[str]:
        """The segments of partitions that changed since then, by the file system's clock.

        An unfinished flush, of which the journal has nothing, may have made or continued them: it
        continues only what was made in the minutes before.
        """
        storage, root = self._storage, self._layout.root
        earliest = (since - _UNSEALED) * 1000
        return {
            path
            for partition in storage.names(root)
            if names.parse_partition(partition) is not None
            and storage.is_directory(root / partition)
            and storage.status(root / partition).st_mtime_ns >= earliest
            for name in storage.names(root / partition)
            if names.parse_segment(path := f"{partition}/{name}") is not None
        }

    def _cut_tail(self, path: str) -> bool:
        """`_cut` what no commit names; nothing where the index of that day cannot be read."""
        try:
            length = self._committed(path)
        except DamagedError:
            # Reported by whoever looks for its events.
            return False
        return self._cut(path, length)

    def _forget(self, history: _History, kept: int) -> None:
        """Make a checkpoint of the state in which only the first ``kept`` commits happened."""
        state = Index(self._layout, self._storage, "", lambda batch: None)
        state.reload()
        state.log = history.log
        for commit in history.commits[:kept]:
            state.apply(commit, history.place)
        state.place = history.place
        state.damage = history.damage_before(kept)
        lost = history.commits[-1].sequence - history.sequence_before(kept)
        state.lost += lost
        state.ledger = history.ledger
        state.ledger.lose(state.position, history.position)
        write_checkpoint(self._layout, self._storage, state)
        self._tell(f"a power cut took the newest {lost} commits of a log with sync='off'")

    def _holds(self, block: Block) -> bool:
        crc, left, at = block.seed, block.length, block.offset
        try:
            with self._storage.reading(self._layout.segment(block.path)) as fd:
                if block.frame is not None:
                    return not block.problem(
                        read_text(partial(self._storage.read_at, fd), (block,))
                    )
                while left and (data := self._storage.read_at(fd, at, min(left, _CHUNK))):
                    crc = zlib.crc32(data, crc)
                    at, left = at + len(data), left - len(data)
        except FileNotFoundError:
            return False
        return not left and crc == block.crc

    def _is_committed(self, path: str) -> bool:
        """Whether something of a segment is committed, or may be."""
        try:
            return self._committed(path) > 0
        except DamagedError:
            return True

    def _committed(self, path: str) -> int:
        segment = self._index.segment(path)
        return segment.size if segment else 0

    def _cut(self, path: str, length: int) -> bool:
        """Move what stands behind ``length`` in a file to quarantine; True where there was any."""
        return self._quarantine.cut(path, length, self._index.sequence)


class _History(Index):
    """The index, read anew, with the commits since the last checkpoint in order, and their ends."""

    commits: list[Commit]
    ends: list[Place]

    def __init__(self, layout: Layout, storage: Storage) -> None:
        super().__init__(layout, storage, "", lambda batch: None)

    def _take(self, root: Root) -> None:
        super()._take(root)
        self.commits, self.ends = [], []
        self.before = root.sequence
        self.since = root.time
        self.start = self.place

    def apply(self, commit: Commit, place: Place) -> None:
        if commit.sequence > self.sequence:
            self.commits.append(commit)
            self.ends.append(place)
        super().apply(commit, place)

    def surviving(self, holds: Callable[[Block], bool]) -> int:
        """How many commits are left where the newest go, from the first that fails.

        Those that were made durable stay, or are damage. One that fails is not there, or its blocks
        do not hold.
        """
        for n, commit in enumerate(self.commits):
            if commit.sequence <= self.synced:
                continue
            if commit.sequence > max(self.sequence_before(n), self.synced) + 1:
                return n
            if not all(map(holds, commit.blocks)):
                return n
        return len(self.commits)

    def sequence_before(self, number: int) -> int:
        """The sequence of the commit before the one with this number."""
        return self.commits[number - 1].sequence if number else self.before

    def damage_before(self, number: int) -> dict[Damage, None]:
        """The damage that is known, but of the journal only what is before that commit."""
        end = self.ends[number - 1] if number else self.start
        return {
            damage: None
            for damage in self.damage
            if (names.parse_journal(Path(damage.file).name) or 0, damage.offset) < end
        }


def _commits(data: bytes, place: Place) -> list[Commit]:
    found: list[Commit] = []
    for item in read(data, place.offset):
        if isinstance(item, Bad):
            break
        if isinstance(item.record, Commit):
            found.append(item.record)
    return found

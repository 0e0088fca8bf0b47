"""The one repair path: what whoever takes the store lock does before anything else.

Three findings lead here: a busy mark (a flush was killed or failed), a boot that is not the one the
lock file knows (the page cache is gone), and a journal that does not end with a record. Each ends
the same way: bytes behind the committed length of a file are copied to ``quarantine/`` and cut,
those files take no more blocks, and a new journal file says up to where the old one is valid. What
is not committed is never adopted. A kill at any step leaves the finding in place, so the repair
begins again; doing it twice changes nothing.
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Callable
from pathlib import Path

from timelog import names
from timelog.index import Index, Place
from timelog.journal import Bad, Block, Commit, read
from timelog.lock import Mark, State, StoreLock
from timelog.names import Layout
from timelog.rotate import begin_journal, write_checkpoint
from timelog.storage import UNKNOWN_BOOT, Storage, read_at, read_file, reading

_CHUNK = 1 << 20


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
        self._boot = storage.boot_id()
        self._checked_boot = False

    def repair(self) -> None:
        """Bring the log to a state that can be written, and the index up to date with it.

        Cost where nothing is wrong: reading the lock file and catching up with the journal.
        Raises ``OSError`` where the disk refuses; the finding then stays for the next holder.
        """
        state = self._lock.read()
        boot_changed = state is None or state.boot != self._boot
        if self._boot == UNKNOWN_BOOT and not self._checked_boot:
            boot_changed = True
        if state is not None and state.busy is not None and not boot_changed:
            self._finish(state.busy)
        elif boot_changed:
            self._check_tails()
        self._index.refresh(until=None)
        tail = self._index.bad_tail
        if tail is not None:
            # What was torn is nothing; what is damaged stays in sight.
            end = self._index.place if tail.torn else Place(self._index.place.journal, tail.end)
            begin_journal(self._layout, self._storage, self._index, valid=end)
            self._index.refresh(until=None)
        if boot_changed or (state is not None and state.busy is not None):
            self._lock.write(State(self._boot))
        self._checked_boot = True

    def _finish(self, mark: Mark) -> None:
        """Undo or complete the flush that left ``mark``."""
        place = Place(mark.journal, mark.offset)
        self._index.refresh(until=place)
        successor = self._layout.journal(mark.journal + 1)
        if successor.exists():
            # A repair was cut off behind its last write; its name may not be on the disk yet.
            self._storage.sync_directory(self._layout.journals)
            return
        written = _commits(read_file(self._layout.journal(mark.journal))[place.offset :], place)
        names_in_mark = [path for path in mark.files if names.parse_segment(path)]
        lengths = {path: self._committed(path) for path in names_in_mark}
        for commit in written:
            for block in commit.blocks:
                lengths[block.path] = max(lengths.get(block.path, 0), block.end)
        for path, length in lengths.items():
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

    def _check_tails(self) -> None:
        """After a boot: look at every file that was written since the last checkpoint."""
        history = _History(self._layout, self._storage)
        history.refresh(until=None)
        kept = self._surviving(history.commits)
        if len(kept) < len(history.commits):
            self._forget(kept, len(history.commits) - len(kept), history)
        self._index.reload()
        self._index.refresh(until=None)
        touched = {block.path for commit in history.commits for block in commit.blocks}
        cut = tuple(path for path in sorted(touched) if self._cut(path, self._committed(path)))
        if cut or self._index.bad_tail is not None:
            begin_journal(self._layout, self._storage, self._index, fenced=cut)

    def _surviving(self, commits: list[Commit]) -> list[Commit]:
        """Leave out the newest commits that were never made durable, from the first that fails."""
        last_durable = max((n for n, commit in enumerate(commits) if commit.durable), default=-1)
        for n in range(last_durable + 1, len(commits)):
            if not all(self._holds(block) for block in commits[n].blocks):
                return commits[:n]
        return commits

    def _forget(self, kept: list[Commit], lost: int, history: _History) -> None:
        """Make a checkpoint of the state in which only ``kept`` was committed."""
        state = Index(self._layout, self._storage, "", lambda batch: None)
        state.reload()
        state.log = history.log
        for commit in kept:
            state.apply(commit, history.place)
        state.place = history.place
        state.lost += lost
        write_checkpoint(self._layout, self._storage, state)
        self._tell(f"a power cut took the newest {lost} commits of a log with sync='off'")

    def _holds(self, block: Block) -> bool:
        crc, left, at = block.seed, block.length, block.offset
        try:
            with reading(self._layout.segment(block.path)) as fd:
                while left and (data := read_at(fd, at, min(left, _CHUNK))):
                    crc = zlib.crc32(data, crc)
                    at, left = at + len(data), left - len(data)
        except FileNotFoundError:
            return False
        return not left and crc == block.crc

    def _committed(self, path: str) -> int:
        segment = self._index.segment(path)
        return segment.length if segment else 0

    def _cut(self, path: str, length: int) -> bool:
        """Move what stands behind ``length`` in a file to quarantine; True where there was any."""
        file = self._layout.segment(path)
        try:
            size = file.lstat().st_size
        except FileNotFoundError:
            return False
        if size <= length:
            return False
        kept = self._layout.quarantine / names.quarantined(path, length, self._index.sequence)
        self._copy(file, length, size, kept)
        if length:
            self._storage.truncate(file, length)
        else:
            self._storage.unlink(file)
        return True

    def _copy(self, file: Path, start: int, end: int, target: Path) -> None:
        storage = self._storage
        temporary = self._layout.temporary / target.name
        storage.unlink(temporary)
        out = storage.create(temporary)
        try:
            with reading(file) as fd:
                for at in range(start, end, _CHUNK):
                    storage.write(out, read_at(fd, at, min(_CHUNK, end - at)))
            storage.sync(out)
        finally:
            os.close(out)
        storage.rename(temporary, target)
        storage.sync_directory(target.parent)


class _History(Index):
    """The index, read anew, with the commits since the last checkpoint in order."""

    def __init__(self, layout: Layout, storage: Storage) -> None:
        self.commits: list[Commit] = []
        super().__init__(layout, storage, "", lambda batch: None)

    def apply(self, commit: Commit, place: Place) -> None:
        if commit.sequence > self.sequence:
            self.commits.append(commit)
        super().apply(commit, place)


def _commits(data: bytes, place: Place) -> list[Commit]:
    found: list[Commit] = []
    for item in read(data, place.offset):
        if isinstance(item, Bad):
            break
        if isinstance(item.record, Commit):
            found.append(item.record)
    return found

"""`CatchUp`: the index follows the disk: first the root, then the journal that others write."""

from __future__ import annotations

from timelog import checkpoint
from timelog.damage import Damage
from timelog.day import segment_name
from timelog.errors import DamagedError, NotALogError
from timelog.indexstate import EMPTY, IndexState, Place, Tail
from timelog.journal import Bad, Begin, Commit, Entry, read
from timelog.lock import End, read_mark, read_state
from timelog.storage import UNKNOWN_BOOT

# For `refresh`: stop where the busy mark says.
READER = Place(0, 0)
_TRIES = 100


class _Replaced(Exception):
    """Another file stands where a journal file was that has been read already."""


class CatchUp(IndexState):
    """Thread-safe."""

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
                root = EMPTY
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

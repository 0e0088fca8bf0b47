"""`restore`: everything that can be put right in a log, in one go, by whoever asks for it.

The repair that each writer makes when it takes the store lock (`timelog.repair`) is bounded: it
looks where something was unfinished. This one comes after it and looks everywhere: at records that
cannot be used, at the index of every day, at all bytes that no commit names. Nothing is removed
before its copy is in quarantine, and what cannot be put right is named.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from timelog import names
from timelog.create import check_no_snapshot, log_id, write_format
from timelog.damage import Damage
from timelog.dry import DryStorage
from timelog.errors import (
    NOT_PLAIN,
    DamagedError,
    NotALogError,
    ReadOnlyError,
    in_words,
    storage_error,
)
from timelog.frames import check_installed
from timelog.index import Index
from timelog.leftovers import (
    Leftover,
    adopt,
    cut,
    describe,
    find_gaps,
    find_tails,
    put_away,
    staged,
)
from timelog.lock import State, StoreLock, read_state
from timelog.names import Layout
from timelog.quarantine import Quarantine
from timelog.rebuild import rebuild
from timelog.reindex import damaged_days, reindex
from timelog.repair import Repairer
from timelog.repaired import Findings, Repaired
from timelog.rotate import sync_file
from timelog.storage import Storage
from timelog.tree import all_segments
from timelog.verify import verify


def restore(
    layout: Layout,
    storage: Storage,
    *,
    adopting: bool,
    lock_timeout: float,
    progress: Callable[[int, int], None] | None,
) -> Repaired:
    """Put right what can be put right; see `timelog.repair`. With a `DryStorage` say only what."""
    try:
        return _Restorer(layout, storage, adopting, lock_timeout, progress).run()
    except OSError as error:
        if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
            raise ReadOnlyError(f"{layout.root} cannot be repaired: {in_words(error)}") from error
        raise storage_error(f"repairing {layout.root}", error) from error


class _Restorer:
    def __init__(
        self,
        layout: Layout,
        storage: Storage,
        adopting: bool,
        lock_timeout: float,
        progress: Callable[[int, int], None] | None,
    ) -> None:
        self._layout = layout
        self._storage = storage
        self._is_dry = isinstance(storage, DryStorage)
        self._adopting = adopting
        self._lock_timeout = lock_timeout
        self._lock = StoreLock(storage, layout.lock, lock_timeout)
        self._findings = Findings(progress)
        self._cut_now: list[Leftover] = []
        self._is_gone = not storage.exists(layout.control)

    def run(self) -> Repaired:
        """Do everything."""
        self._check_path()
        found = list(all_segments(self._layout, self._storage))
        if any(each.name.is_archive for each in found):
            # Not in the middle of it.
            check_installed()
        size = sum(each.size for each in found)
        # Checked in the end.
        self._findings.total = size
        with self._locked():
            index, why = self._usable()
            is_rebuilt = index is None
            if index is None:
                self._findings.total += size
                self._reset_lock()
                index = rebuild(self._layout, self._storage, self._findings, why)
            else:
                index = self._mend(index)
        if self._adopting and not is_rebuilt:
            self._adopt(index)
        if is_rebuilt and self._is_dry:
            # Its text was decoded; what it will be in cannot be read.
            return self._report(index, index.position, index.totals().bytes, ())
        if not self._is_dry:
            index = self._read_index()
        checked = verify(
            self._layout, self._storage, index, deep=False, advance=self._findings.advance
        )
        damage = tuple(self._damage(checked.damage, index))
        return self._report(index, checked.events, checked.bytes, damage)

    def _report(self, index: Index, events: int, size: int, damage: tuple[Damage, ...]) -> Repaired:
        found = self._findings
        return Repaired(
            self._is_dry,
            index.log,
            events,
            size,
            tuple(found.notes),
            tuple(found.quarantined),
            found.unnamed,
            found.adopted,
            damage,
        )

    # -- what there is --------------------------------------------------------------------

    def _check_path(self) -> None:
        root = self._layout.root
        if not self._storage.is_directory(root, follow=True):
            raise NotALogError(f"{root} is not a directory; check the path")
        if self._is_gone and not any(all_segments(self._layout, self._storage)):
            raise NotALogError(f"{root} has nothing of a timelog; check the path")
        check_no_snapshot(self._layout, self._storage)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Hold the store lock; of a dry run only where there is one."""
        layout = self._layout
        if self._is_dry and not self._storage.exists(layout.lock):
            yield
            return
        if self._storage.make_directory(layout.control):
            self._storage.sync_directory(layout.root)
        with self._lock.held():
            yield

    def _read_index(self) -> Index:
        """The index as it is on the disk; raises `DamagedError` where it cannot be followed."""
        index = Index(self._layout, self._storage, "", lambda batch: None)
        index.refresh(until=None)
        return index

    def _usable(self) -> tuple[Index | None, str]:
        """The index, or why the records cannot be used."""
        if self._is_gone:
            return None, f"{self._layout.control} is gone"
        # Raises for a newer format, whatever else is wrong.
        self._format()
        try:
            index = self._read_index()
        except (DamagedError, NotALogError) as error:
            return None, _cause(error)
        except OSError as error:
            if error.errno not in NOT_PLAIN:
                raise
            return None, in_words(error)
        return (index, "") if index.log else (None, "its journal does not name a log")

    def _format(self) -> tuple[str | None, str]:
        """The id in the format file, or what is wrong with the file."""
        try:
            return log_id(self._layout, self._storage), f"{self._layout.format} is gone"
        except DamagedError as error:
            return None, _cause(error)
        except OSError as error:
            if error.errno not in NOT_PLAIN:
                raise
            return None, in_words(error)

    # -- putting right --------------------------------------------------------------------

    def _reset_lock(self) -> None:
        """Take out what the lock file says of a journal that cannot be used."""
        if self._is_dry:
            return
        self._lock.write(State(self._storage.boot_id()))
        # After a power cut nobody shall take the end of the old journal for that of the new one.
        sync_file(self._storage, self._layout.lock)

    def _mend(self, index: Index) -> Index:
        """Put right what is wrong with records that can be used, and move tails; the index."""
        layout, storage = self._layout, self._storage
        for name in names.DIRECTORIES:
            storage.make_directory(layout.control / name)
        self._mend_format(index.log)
        damaged = damaged_days(index)
        before = [] if damaged else self._tails(index)
        mine = self._not_to_be_finished(before)
        self._cut(index, mine)
        is_repaired = self._repair_as_writers_do(damaged)
        if not self._is_dry:
            index = self._read_index()
        if damaged:
            reindex(layout, storage, index, damaged, self._findings)
            if not is_repaired:
                before = self._tails(index)
                self._repair_as_writers_do({})
        self._cut(index, [each for each in self._tails(index, before) if each not in before])
        return index

    def _tails(self, index: Index, known: Sequence[Leftover] = ()) -> list[Leftover]:
        """The tails that are there; those that are not ``known`` are noted."""
        tails = find_tails(self._layout, self._storage, index)
        self._findings.quarantine(
            describe(self._layout, self._storage, tail) for tail in tails if tail not in known
        )
        return tails

    def _not_to_be_finished(self, tails: list[Leftover]) -> list[Leftover]:
        """The tails that no process may come back to, as it may where it left a mark of a flush.

        Where the lock file cannot be read, there may be a mark on any.
        """
        state = read_state(self._storage, self._layout.lock)
        if state is None:
            return []
        busy = state.busy.files if state.busy and state.boot == self._storage.boot_id() else ()
        return [tail for tail in tails if tail.path not in busy]

    def _mend_format(self, log: str) -> None:
        id, why = self._format()
        if id == log:
            return
        why = why if id is None else f"{self._layout.format} is that of another log"
        if self._storage.exists(self._layout.format):
            Quarantine(self._layout, self._storage).put_away(self._layout.format, names.FORMAT)
        write_format(self._layout, self._storage, log)
        self._findings.notes.append(f"the format file was made anew, since {why}")

    def _repair_as_writers_do(self, damaged: dict[int, str]) -> bool:
        """What comes before anything a writer does; False where ``damaged`` days are in the way."""
        if self._is_dry:
            return True
        index = Index(self._layout, self._storage, "", lambda batch: None)
        tell = self._findings.notes.append
        try:
            Repairer(self._layout, self._storage, index, self._lock, tell).repair()
        except DamagedError:
            if not damaged:
                raise
            return False
        return True

    def _cut(self, index: Index, tails: list[Leftover]) -> None:
        layout, storage = self._layout, self._storage
        if tails:
            cut(layout, storage, tails, index.sequence, adopting=self._adopting)
            self._cut_now += tails

    def _adopt(self, index: Index) -> None:
        """Adopt what is good of all that was cut to be adopted, now or before, and of gaps."""
        layout, storage = self._layout, self._storage
        there = staged(layout, storage)
        leftovers = [*(self._cut_now if self._is_dry else ()), *there, *find_gaps(index)]
        if leftovers:
            self._findings.adopted = adopt(layout, storage, leftovers, self._lock_timeout)
        if there:
            with self._locked():
                put_away(layout, storage, there)

    def _damage(self, damage: tuple[Damage, ...], index: Index) -> Iterator[Damage]:
        """What is still wrong; of partitions that are gone only that."""
        gone: dict[str, int] = {}
        for each in damage:
            partition = each.file.partition("/")[0]
            day = names.parse_partition(partition)
            if day is None or self._storage.is_directory(self._layout.root / partition):
                yield each
            else:
                gone[partition] = day.start
        for partition, start in gone.items():
            blocks = [
                block
                for _, some in index.blocks(start, None, None, index.position)
                for block in some
            ]
            events = sum(block.count for block in blocks)
            if not blocks:
                # It has just expired.
                continue
            first = min(block.lowest for block in blocks)
            last = max(block.position_end for block in blocks) - 1
            yield Damage(
                partition,
                0,
                sum(block.length for block in blocks),
                f"the partition is gone, with {events:,} events of positions {first} to {last}",
            )


def _cause(error: Exception) -> str:
    """What an error says is wrong, without what is to be done about it."""
    return str(error).partition(";")[0]

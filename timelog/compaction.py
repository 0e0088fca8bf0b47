"""`Compactor`: turns the minute segments of days that are over into few segments, sorted by time.

What was deleted or has expired is left out. Each day is one commit: readers and writers go on, and
see either the old segments or the new ones. One process compacts at a time, the one that holds
``compact.lock``. A kill at any step loses nothing: what was written but not committed goes at the
next compaction, what was replaced but not unlinked when the log is next looked after.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import NamedTuple

import msgspec

from timelog import names
from timelog.commit import Committer, Draft
from timelog.damage import Damage
from timelog.day import Day
from timelog.errors import DamagedError, LockTimeout, MissingExtra, storage_error
from timelog.frames import require
from timelog.guard import check_reentry
from timelog.horizons import Horizons, Keeping
from timelog.index import Index, damaged_day
from timelog.journal import Block, Gone, Replacement
from timelog.lock import FileLock
from timelog.names import Layout, SegmentName, parse_segment
from timelog.positions import hold_any
from timelog.rewrite import DamagedSegment, Output, Rewriter, Rewritten, Stopped
from timelog.segment import FileIndex
from timelog.span import Span
from timelog.storage import Storage
from timelog.sweep import clear, unlink_replaced
from timelog.timestamp import DAY, END, MINUTE

# A day with more text than this becomes segments of an hour.
MOST_DAY = 1024 * 1024 * 1024
# How often a day that changed meanwhile is begun again.
_TRIES = 3

_Segment = tuple[str, tuple[Block, ...]]


class _Task(NamedTuple):
    """Segments of a day that are to be written anew, and what of them is to be left out."""

    day: int
    segments: Sequence[_Segment]
    horizons: Horizons
    deleted: Sequence[int]


class Compaction(msgspec.Struct, frozen=True):
    """What compacting did. ``str()`` of it is what the command prints.

    ``days`` were compacted; in them ``segments`` and their ``bytes`` on the disk were replaced by
    ``new_segments`` and ``new_bytes``; ``expired`` and ``erased`` are how many events were left
    out. ``damage``: why segments stay as they are.
    """

    days: int = 0
    segments: int = 0
    bytes: int = 0
    new_segments: int = 0
    new_bytes: int = 0
    expired: int = 0
    erased: int = 0
    damage: tuple[Damage, ...] = ()

    def plus(self, other: Compaction) -> Compaction:
        """The sum of both."""
        pairs = zip(msgspec.structs.astuple(self), msgspec.structs.astuple(other), strict=True)
        return Compaction(*(one + two for one, two in pairs))

    def __str__(self) -> str:
        lines = ["nothing to compact"]
        if self.days:
            lines = [
                f"{self.days:,} days compacted: {self.segments:,} segments of {self.bytes:,} bytes "
                f"became {self.new_segments:,} of {self.new_bytes:,}"
            ]
        if self.expired or self.erased:
            lines.append(
                f"left out: {self.expired:,} events that had expired, {self.erased:,} deleted"
            )
        lines += (f"damaged, and left as it is: {damage}" for damage in self.damage)
        return "\n".join(lines)


class Compactor:
    """Compacts one open log. Thread-safe: one thread at a time compacts."""

    def __init__(
        self, layout: Layout, storage: Storage, index: Index, committer: Committer
    ) -> None:
        self._layout = layout
        self._storage = storage
        self._index = index
        self._committer = committer
        self._lock = threading.RLock()
        self._held: FileLock | None = None

    def compact(
        self,
        before: int,
        *,
        archive: bool,
        timeout: float,
        least: int = 1,
        is_stopped: Callable[[], bool] = lambda: False,
    ) -> Compaction:
        """Compact all days that ended by ``before`` (microseconds) and are worth it.

        ``archive``: compress, too. ``timeout``: seconds to wait for another process that compacts,
        then `LockTimeout` is raised. ``least``: how many segments a day must have too many.
        Raises also `StorageError` and what a flush raises; the days before are done then. Without
        zstandard it raises `MissingExtra`, when all days that have no archive are done.
        """
        if archive:
            require()
        done = Compaction()
        missing: MissingExtra | None = None
        with self.only_one(timeout):
            self._index.refresh()
            for day in self.due(before, archive=archive, least=least):
                if is_stopped():
                    break
                try:
                    found = self.compact_day(
                        day, archive=archive, least=least, is_stopped=is_stopped
                    )
                except MissingExtra as error:
                    # Of an archive; other days can do without.
                    missing = error
                else:
                    done = done.plus(found)
            clear(self._layout, self._storage, self._index, is_stopped)
        self._committer.tell()
        if missing is not None:
            raise missing
        return done

    def due(self, before: int, *, archive: bool, least: int) -> list[int]:
        """The days that ended by ``before`` and may be worth it, without loading any."""
        now = self._storage.time_ns() // 1000
        with self._index.lock:
            days = list(self._index.days.values())
        return [
            day.start
            for day in days
            if day.start + DAY <= min(before, now - MINUTE)
            and (
                day.is_due
                or day.changed
                or day.summary is None
                or (archive and day.summary.plain)
                or day.summary.segments > least
            )
        ]

    def compact_day(
        self,
        day: int,
        *,
        archive: bool,
        least: int = 1,
        is_stopped: Callable[[], bool] = lambda: False,
    ) -> Compaction:
        """Compact one day, if it is worth it; needs `only_one`. Errors as `compact`."""
        left_alone: dict[str, Damage] = {}
        tries = 0
        while tries < _TRIES:
            # Who asks for it wants all there is, but not at the cost of waiting for writers.
            is_asked = least == 1
            segments = self._segments(day, only_sealed=not is_asked or tries > 0)
            known = () if is_asked else {damage.file for damage in list(self._index.damage)}
            segments = [each for each in segments if each[0] not in (*left_alone, *known)]
            span_of = Span.day if _text(segments) <= MOST_DAY else Span.hour
            if not _is_worth(segments, span_of, archive, least) and not self._is_due(day, segments):
                break
            to_archive = archive or any(parse(path).is_archive for path, _ in segments)
            try:
                done = self._rewrite(day, segments, span_of, to_archive, is_stopped)
            except DamagedSegment as error:
                if self._index.is_gone(error.block):
                    # It has expired meanwhile.
                    tries += 1
                    continue
                left_alone[error.damage.file] = error.damage
                self._index.found_damage(error.damage)
            except Stopped:
                break
            else:
                if done is not None:
                    return msgspec.structs.replace(done, damage=tuple(left_alone.values()))
                tries += 1
        return Compaction(damage=tuple(left_alone.values()))

    def erase(self, path: str) -> None:
        """Write a segment anew without what was deleted in it, and unlink it; needs `only_one`.

        Errors as `compact`; `DamagedError` where it is damaged.
        """
        name = parse(path)
        day = name.span.start - name.span.start % DAY
        rewrite = partial(self._rewrite_one, day, name)
        if not any(rewrite() for _ in range(_TRIES)):
            # Whoever writes to it has to wait.
            self._committer.exclusive(rewrite)
        unlink_replaced(self._layout, self._storage, self._index)

    @contextmanager
    def only_one(self, timeout: float) -> Iterator[None]:
        """Hold the lock of who compacts; raises `LockTimeout` where another process does."""
        check_reentry(self._lock, "compacting")
        if not self._lock.acquire(timeout=min(timeout, threading.TIMEOUT_MAX)):
            raise _is_compacted_by_others(timeout)
        try:
            self._held = FileLock(self._storage, self._layout.compact_lock, timeout)
            try:
                with self._held.held():
                    self._sweep()
                    yield
            except TimeoutError:
                raise _is_compacted_by_others(timeout) from None
            except OSError as error:
                raise storage_error("compacting", error) from error
        finally:
            self._lock.release()

    def after_fork(self) -> None:
        """In a child: let go of the parent's lock, without unlocking it."""
        self._lock = threading.RLock()
        if self._held is not None:
            self._held.after_fork()

    # -- inside ---------------------------------------------------------------------------

    def _sweep(self) -> None:
        """Remove what a killed compaction wrote: it may have text that was erased since."""
        for name in self._storage.names(self._layout.temporary):
            if names.is_compacted(name):
                self._storage.unlink(self._layout.temporary / name)

    def _segments(self, day: int, *, only_sealed: bool) -> list[_Segment]:
        """The segments of a day."""
        now = self._storage.time_ns() // 1000
        try:
            return self._index.sealed(day, now - now % MINUTE - MINUTE if only_sealed else END)
        except DamagedError as error:
            self._index.found_damage(damaged_day(day, error))
            return []

    def _is_due(self, day: int, segments: Sequence[_Segment]) -> bool:
        """Whether something in these segments of a day has to go."""
        index = self._index
        with index.lock:
            known = index.days.get(day)
            if known is None or not known.is_due:
                return False
            blocks = [block for _, blocks in segments for block in blocks]
            keeping = Keeping(index.removal.horizons)
            return any(map(keeping.may_hide, blocks)) or _hold(
                blocks, _to_erase(index.files(known))
            )

    def _rewrite_one(self, day: int, name: SegmentName) -> bool:
        """Rewrite one segment to one of the same span; whether that worked, or it is gone."""
        segment = self._index.segment(name.path)
        if segment is None or not segment.blocks:
            return True
        segments = [(name.path, tuple(segment.blocks))]
        try:
            done = self._rewrite(
                day, segments, lambda us: name.span, name.is_archive, lambda: False
            )
        except DamagedSegment as error:
            self._index.found_damage(error.damage)
            raise DamagedError(
                f"{error.damage}; what was deleted in it stays hidden, but cannot be erased"
            ) from None
        return done is not None

    def _rewrite(
        self,
        day: int,
        segments: Sequence[_Segment],
        span_of: Callable[[int], Span],
        is_archive: bool,
        is_stopped: Callable[[], bool],
    ) -> Compaction | None:
        """Rewrite segments of a day and commit; None where something came between."""
        with self._index.lock:
            task = _Task(
                day, segments, self._index.removal.horizons, tuple(self._index.deleted(day))
            )
        expired: Counter[int] = Counter()
        rewriter = Rewriter(
            self._layout,
            self._storage,
            span_of,
            Keeping(task.horizons),
            frozenset(task.deleted),
            lambda positions: self._share_out(positions, expired),
            is_archive=is_archive,
            is_stopped=is_stopped,
        )
        rewritten = rewriter.run([block for _, blocks in segments for block in blocks])
        try:
            is_done = self._committer.exclusive(lambda: self._commit(task, rewritten, expired))
        finally:
            # Those that were put in place are no longer there.
            rewriter.discard()
        if not is_done:
            return None
        return Compaction(
            1,
            len(segments),
            sum(blocks[-1].file_end for _, blocks in segments),
            len(rewritten.outputs),
            sum(output.blocks[-1].file_end for output in rewritten.outputs),
            expired.total(),
            len(rewritten.erased),
        )

    def _share_out(self, positions: list[int], shares: Counter[int]) -> None:
        """Add to ``shares`` when the events at these positions were committed."""
        with self._index.lock:
            shares += self._index.ledger.share_out((at, at + 1) for at in positions)

    def _commit(self, task: _Task, rewritten: Rewritten, expired: Counter[int]) -> bool:
        """Put what was written in the place of the segments, unless they changed; whether so."""
        index = self._index
        with index.lock:
            known = index.days.get(task.day)
            if known is None or not all(self._is_same(*segment) for segment in task.segments):
                return False
            targets = [self._target(output) for output in rewritten.outputs]
            is_clean = not self._is_left(known, task, rewritten)
        replacement = Replacement(
            task.day,
            tuple(
                Gone(
                    path,
                    sum(block.count for block in blocks),
                    sum(block.length for block in blocks),
                    sum(block.stored for block in blocks),
                )
                for path, blocks in task.segments
            ),
            tuple(sorted(expired.items())),
            rewritten.erased,
            is_clean,
        )
        moves = list(zip(rewritten.outputs, targets, strict=True))
        draft = Draft(
            tuple(target.path for target in targets),
            lambda position: self._put_in_place(moves),
            is_whole=True,
            replacement=replacement,
        )
        self._committer.commit(draft, durable=True)
        return True

    def _is_left(self, day: Day, task: _Task, rewritten: Rewritten) -> bool:
        """Whether something has to go that does not go with the task. With the index's lock.

        What is in damaged segments does not count: another attempt would not reach it.
        """
        index = self._index
        files = index.files(day)
        keeping = Keeping(index.removal.horizons)
        to_erase = _to_erase(files)
        damaged = {damage.file for damage in index.damage}
        done = damaged.union(path for path, _ in task.segments)
        others = [block for each in files if each.path not in done for block in each.blocks]
        new = [block for output in rewritten.outputs for block in output.blocks]
        # Of what was written anew only what came since.
        since = sorted(set(to_erase).difference(task.deleted))
        is_same = task.horizons == index.removal.horizons
        return (
            _hold(others, to_erase)
            or _hold(new, since)
            or any(map(keeping.may_hide, others if is_same else (*others, *new)))
        )

    def _is_same(self, path: str, blocks: Sequence[Block]) -> bool:
        segment = self._index.segment(path)
        return segment is not None and segment.blocks == list(blocks)

    def _target(self, output: Output) -> SegmentName:
        """The name of a next file of the span. The index's lock must be held."""
        day = self._index.day(output.span.start)
        newest = self._index.files(day).newest(SegmentName(output.span, 1))
        is_archive = output.blocks[0].frame is not None
        number = max(newest.name.number if newest else 0, day.floor) + 1
        while any(
            self._storage.exists(self._layout.segment(SegmentName(output.span, number, kind).path))
            for kind in (False, True)
        ):
            number += 1
        return SegmentName(output.span, number, is_archive)

    def _put_in_place(self, moves: Sequence[tuple[Output, SegmentName]]) -> list[Block]:
        """Give the files that were written their names; their blocks."""
        blocks: list[Block] = []
        directories = set()
        for output, name in moves:
            file = self._layout.segment(name.path)
            self._storage.rename(output.file, file)
            directories.add(file.parent)
            blocks += (msgspec.structs.replace(block, path=name.path) for block in output.blocks)
        self._storage.sync_all((), sorted(directories))
        return blocks


def _is_compacted_by_others(timeout: float) -> LockTimeout:
    return LockTimeout(f"the log was being compacted for {timeout:g} seconds; try again later")


def parse(path: str) -> SegmentName:
    """The name of a segment that the index has."""
    name = parse_segment(path)
    assert name is not None
    return name


def _to_erase(files: FileIndex) -> list[int]:
    """The positions of a day's deleted events whose text is still there, in order."""
    return sorted(at for at, each in files.tombstones.items() if not each.is_erased)


def _hold(blocks: Iterable[Block], wanted: Sequence[int]) -> bool:
    """Whether some block has an event at one of the positions, in order; damaged ones do not."""
    for block in blocks:
        try:
            if hold_any(block.runs, block.count, wanted):
                return True
        except DamagedError:
            continue
    return False


def _text(segments: Sequence[_Segment]) -> int:
    return sum(blocks[-1].end for _, blocks in segments)


def _is_worth(
    segments: Sequence[_Segment], span_of: Callable[[int], Span], archive: bool, least: int
) -> bool:
    """Whether there are ``least`` segments more than they would become, or some to archive."""
    known = [parse(path) for path, _ in segments]
    needed = {span_of(name.span.start) for name in known}
    if archive and not all(name.is_archive for name in known):
        return True
    return len(known) - len(needed) >= least

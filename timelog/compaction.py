"""`Compactor`: turns the minute segments of days that are over into few segments, sorted by time.

What was deleted or has expired is left out. Each day is one commit: readers and writers go on, and
see either the old segments or the new ones. One process compacts at a time, the one that holds
``compact.lock``. A kill at any step loses nothing: what was written but not committed goes at the
next compaction, what was replaced but not unlinked when the log is next looked after.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial

import msgspec

from timelog.commit import Committer, Draft
from timelog.damage import Damage
from timelog.day import Day
from timelog.errors import DamagedError, LockTimeout, storage_error
from timelog.guard import check_reentry
from timelog.horizons import Keeping
from timelog.index import Index, damaged_day
from timelog.journal import Block, Gone, Replacement
from timelog.lock import FileLock
from timelog.names import Layout, SegmentName, parse_segment
from timelog.rewrite import DamagedSegment, Output, Rewriter, Rewritten, Stopped
from timelog.span import Span
from timelog.storage import Storage
from timelog.sweep import clear, unlink_replaced
from timelog.timestamp import DAY, END, MINUTE

# A day with more text than this becomes segments of an hour.
MOST_DAY = 1024 * 1024 * 1024
# In the background so many segments more than needed are left: a day to which late events come is
# not written anew for each.
_LEFT = 4
# How often a day that changed meanwhile is begun again.
_TRIES = 3

_Segment = tuple[str, tuple[Block, ...]]


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
        Raises also `StorageError` and what a flush raises; the days before are done then.
        """
        done = Compaction()
        with self.only_one(timeout):
            self._index.refresh()
            for day in self.due(before, archive=archive, least=least):
                if is_stopped():
                    break
                done = done.plus(
                    self.compact_day(day, archive=archive, least=least, is_stopped=is_stopped)
                )
            clear(self._layout, self._storage, self._index, is_stopped)
        self._committer.tell()
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
            segments = self._segments(day, left_alone, only_sealed=least > 1 or tries > 0)
            with self._index.lock:
                known = self._index.days.get(day)
                is_due = known is not None and known.is_due
            span_of = Span.day if _text(segments) <= MOST_DAY else Span.hour
            if not is_due and not _is_worth(segments, span_of, archive, least):
                break
            to_archive = archive or any(parse(path).is_archive for path, _ in segments)
            try:
                done = self._rewrite(day, segments, span_of, to_archive, is_stopped)
            except DamagedSegment as error:
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
                    yield
            except TimeoutError:
                raise _is_compacted_by_others(timeout) from None
            except OSError as error:
                raise storage_error("compacting", error) from error
        finally:
            self._lock.release()

    def after_fork(self) -> None:
        """In a child: let go of the parent's lock, without unlocking it."""
        if self._held is not None:
            self._held.after_fork()

    # -- inside ---------------------------------------------------------------------------

    def _segments(
        self, day: int, left_alone: dict[str, Damage], *, only_sealed: bool
    ) -> list[_Segment]:
        """The segments of a day that are not known to be damaged."""
        now = self._storage.time_ns() // 1000
        try:
            found = self._index.sealed(day, now - now % MINUTE - MINUTE if only_sealed else END)
        except DamagedError as error:
            self._index.found_damage(damaged_day(day, error))
            return []
        return [(path, blocks) for path, blocks in found if path not in left_alone]

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
            horizons = self._index.removal.horizons
            deleted = frozenset(self._index.deleted(day))
        rewriter = Rewriter(
            self._layout,
            self._storage,
            span_of,
            Keeping(horizons),
            deleted,
            is_archive=is_archive,
            is_stopped=is_stopped,
        )
        rewritten = rewriter.run([block for _, blocks in segments for block in blocks])
        try:
            is_done = self._committer.exclusive(
                lambda: self._commit(day, segments, rewritten, horizons)
            )
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
            len(rewritten.expired),
            len(rewritten.erased),
        )

    def _commit(
        self,
        day: int,
        segments: Sequence[_Segment],
        rewritten: Rewritten,
        horizons: tuple[dict[str, int], ...],
    ) -> bool:
        """Put what was written in the place of ``segments``, unless they changed; whether so."""
        index = self._index
        with index.lock:
            known = index.days.get(day)
            if known is None or not all(self._is_same(*segment) for segment in segments):
                return False
            targets = [self._target(output) for output in rewritten.outputs]
            shares = index.ledger.share_out((at, at + 1) for at in rewritten.expired)
            is_clean = not self._is_left(known, segments, rewritten, horizons)
        replacement = Replacement(
            day,
            tuple(
                Gone(
                    path,
                    sum(block.count for block in blocks),
                    sum(block.length for block in blocks),
                    sum(block.stored for block in blocks),
                )
                for path, blocks in segments
            ),
            tuple(sorted(shares.items())),
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

    def _is_left(
        self,
        day: Day,
        segments: Sequence[_Segment],
        rewritten: Rewritten,
        horizons: tuple[dict[str, int], ...],
    ) -> bool:
        """Whether something has to go that is not gone with ``segments``. With the index's lock.

        What is in damaged segments does not count: another attempt would not reach it.
        """
        index = self._index
        files = index.files(day)
        keeping = Keeping(index.removal.horizons)
        positions = {at for at, each in files.tombstones.items() if not each.is_erased}
        positions -= set(rewritten.erased)
        damaged = {damage.file for damage in index.damage}
        done = {path for path, _ in segments}
        others = [
            block
            for segment in files
            if segment.path not in done and segment.path not in damaged
            for block in segment.blocks
        ]
        new = [block for output in rewritten.outputs for block in output.blocks]
        return any(
            block.lowest <= at < block.position_end for block in (*others, *new) for at in positions
        ) or any(
            keeping.may_hide(block)
            for block in (others if horizons == index.removal.horizons else (*others, *new))
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

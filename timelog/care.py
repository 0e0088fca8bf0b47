"""`Care`: the part of `EventLog` that looks after a log: checks, tells, and what years ask for."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import msgspec

from timelog.audit import Audit, audit
from timelog.codec import DecodeError, decode_line
from timelog.compaction import Compaction
from timelog.damage import Damage
from timelog.deletion import Deleted, deleted
from timelog.errors import (
    ClosedError,
    DamagedError,
    EventNotFound,
    InvalidInput,
    LockTimeout,
    ReadOnlyError,
    storage_error,
)
from timelog.event import check_id
from timelog.expiry import Expired
from timelog.health import Health, health
from timelog.holders import holding
from timelog.indexer import Indexing
from timelog.lookup import find_event
from timelog.quantity import parse_age
from timelog.retention import Age, Retention, retention
from timelog.status import Status, status
from timelog.store import Store
from timelog.timestamp import DAY, END, Time, from_datetime, to_us
from timelog.verify import Verification, verify


class Care:
    """What `EventLog` can do beside writing and reading. Thread-safe."""

    def __init__(self, store: Store) -> None:
        self._store = store

    @property
    def path(self) -> Path:
        """The log's directory."""
        return self._store.layout.root

    @property
    def is_closed(self) -> bool:
        """Whether `close` was called."""
        return self._store.is_closed

    def verify(
        self, *, deep: bool = False, progress: Callable[[int, int], None] | None = None
    ) -> Verification:
        """Check every committed byte against its crc; ``deep`` also decodes every event.

        Read-only, bounded by what was committed when it began. See `Verification`. ``progress`` is
        told how many bytes are checked, and of how many, again and again. Raises `DamagedError` and
        `StorageError` where the log cannot be checked.
        """
        store = self._readable()
        index = store.read_index()
        done, total = 0, sum(day.stored for day in index.totals_of_days())

        def advance(more: int) -> None:
            nonlocal done
            done += more
            if progress is not None:
                progress(done, total)

        try:
            return verify(store.layout, store.storage, index, deep=deep, advance=advance)
        except OSError as error:
            raise storage_error("verifying", error) from error

    def audit(self, since: Time | None = None) -> Audit:
        """Balance the books: account for every event that was ever entered. See `Audit`.

        ``since``, as `append` takes times: only what was committed from the beginning of that UTC
        day on. No text is read, so what it says of damage is what searches and the scrub have met.
        Read-only. Raises `InvalidTime`, `StorageError`, `DamagedError` and `ClosedError`. Cost:
        reading the day's index file of every day.
        """
        store = self._readable()
        low, _ = self._range(since, None)
        return audit(store, low)

    def index_text(self) -> Indexing:
        """Build the text index of everything that is committed, now; what was built.

        With it a search for a text reads only the blocks that may hold it. It is built in the
        background anyway, of what is sealed: call this after an import, or where no process stays.
        Flushes first. Raises `MissingExtra` without numpy, `StorageError`, and `LockTimeout` where
        another process builds for longer than ``lock_timeout``. Cost: about 6 ns a byte of text,
        and 4 % of its size on the disk.
        """
        store = self._writable()
        store.flusher.flush()
        store.refresh()
        try:
            return store.indexer.build(store.options.lock_timeout)
        except TimeoutError:
            raise LockTimeout("another process builds the text index; wait for it") from None
        except OSError as error:
            raise storage_error("building the text index", error) from error

    def health(self) -> Health:
        """How the log is doing. Cheap; see `Health`."""
        return health(self._readable())

    def status(self) -> Status:
        """How much there is, how fast it grows, and how long the disk will do. See `Status`.

        What can be told of a log that is not well is told; its `health` is part of it. Read-only.
        Raises `ClosedError`. Cost: no text is read; about 20 µs a day of the log and a file of
        ``.timelog``, and in a log of less than two days the index files of these.
        """
        return status(self._readable())

    # -- over the years -------------------------------------------------------------------

    @property
    def retention(self) -> Retention | None:
        """What the log keeps, by ``timelog.open(retention=)``; None where nobody said.

        Raises `DamagedError` and `StorageError`.
        """
        return self._readable().upkeep.policy()

    def expire(
        self,
        age: Age | None = None,
        size: str | int | None = None,
        partitions: str | int | None = None,
        *,
        tags: Mapping[str, Age] | None = None,
        sources: Mapping[str, Age] | None = None,
        dry_run: bool = False,
        confirm_clock: bool = False,
    ) -> Expired:
        """Let go what is not to be kept, by the limits given, else by the log's `retention`.

        ``age``: how long events are kept, such as ``"30 days"``; ``size``: how much the log may
        take on the disk, such as ``"10 GB"``; ``partitions``: of how many days. ``tags`` and
        ``sources``: ages for events with such a tag, or of such a source, in place of ``age``; of
        several the longest counts. Whole days go: a day when its end is too old, and for size and
        number the oldest first, whatever the rules say. Nothing comes back by other limits later.

        Events are invisible, for every process, before the first file is unlinked. ``dry_run``:
        only say what would go. ``confirm_clock``: the clock is right; where it is more than a day
        from what the newest commit and the time since let expect, nothing goes without that.

        Raises `InvalidInput`, also without limits in a log without retention, and as `flush` does.
        Cost: a commit, then an unlink for each segment; the index file of a day is read only where
        a rule may keep something of it.
        """
        store = self._writable()
        policy = retention(age, size, partitions, tags, sources)
        known = store.upkeep.policy()
        if policy == Retention():
            if known is None:
                raise InvalidInput(
                    "the log has no retention; pass age, size or partitions, or open it with "
                    "retention="
                )
            policy = known
        elif known is not None and known.suspended:
            policy = known
        return store.upkeep.expirer.expire(policy, dry_run=dry_run, confirm_clock=confirm_clock)

    def suspend_expiry(self) -> None:
        """Let nothing expire until `resume_expiry`, whoever asks. Errors as `flush`."""
        self._writable().upkeep.suspend(suspended=True)

    def resume_expiry(self) -> None:
        """Let events expire again. Errors as `flush`."""
        self._writable().upkeep.suspend(suspended=False)

    def compact(self, *, older_than: Age | None = None, archive: bool = False) -> Compaction:
        """Make few segments, sorted by time, of those of days that are over. See `Compaction`.

        What was deleted, or has expired by a rule, is left out. ``older_than``: only days that
        ended so long ago, such as ``"7 days"``. ``archive``: compress them, too, as ``.jsonl.zst``
        (needs the extra ``zstd``). Readers and writers go on; positions, cursors and ``as_of`` keep
        their meaning. It is done in the background anyway, see ``timelog.open(compact_after=)``.

        Flushes first. Raises `InvalidInput`, `MissingExtra`, `LockTimeout` where another process
        compacts for longer than ``lock_timeout``, and as `flush` does. Cost: reading and writing
        the text of these days; memory as for a search.
        """
        store = self._writable()
        before = END
        if older_than is not None:
            before = store.storage.time_ns() // 1000 - parse_age(older_than, "older_than")
        store.flusher.flush()
        return store.upkeep.compactor.compact(
            before, archive=archive, timeout=store.options.lock_timeout
        )

    def delete(self, id: str, *, erase: bool = False) -> Deleted:
        """Hide the event with that id for ever; of several the one that `get` gives.

        It is hidden from every search, `get` and reader when the call returns, durably; its text
        goes at the next compaction of its day. ``erase``: write its segment anew now, so that the
        text is gone from the log when the call returns; also that of an event which was deleted
        before, such as by a call that failed then. A `Deleted` is returned, which can be proved
        later; it names snapshots that still hold the text.

        Flushes first. Raises `EventNotFound`, `InvalidEvent` for what is no id, `DamagedError`
        where the block that holds it, or may hold it, is damaged, and as `flush` does. Cost: that
        of `get`, and a commit; with ``erase`` reading and writing a segment.
        """
        check_id(id, self._store.options.limits)
        store = self._writable()
        store.flusher.flush()
        view = store.view()._replace(memory=())
        damage: list[Damage] = []
        found = find_event(store, view, id, None, None, damage)
        if found is not None:
            position, timestamp = found[0], from_datetime(found[1].timestamp)
            done = store.deleter.delete(id, position, timestamp)
        else:
            buried = (each for each in store.deleter.tombstones() if erase and each.id == id)
            tombstone = next(buried, None)
            if tombstone is None and damage:
                raise DamagedError(
                    f"no event that can be read has the id {id!r}, and it may be where something "
                    f"is damaged: {damage[0]}"
                )
            if tombstone is None:
                raise EventNotFound(f"no event has the id {id!r}")
            position, timestamp = tombstone.position, tombstone.timestamp
        if erase:
            store.deleter.erase(position, timestamp, store.options.lock_timeout)
            done = next(
                deleted(each)
                for each in store.deleter.tombstones(timestamp - timestamp % DAY)
                if each.position == position
            )
        try:
            snapshots = holding(store.layout, store.storage, position)
        except OSError as error:
            raise storage_error("looking for snapshots", error) from error
        return msgspec.structs.replace(done, snapshots=snapshots)

    def deletions(self) -> Iterator[Deleted]:
        """All deletions of events whose days are still there, by day and position.

        Raises `DamagedError` and `StorageError`. Cost: the index file of each day is read.
        """
        store = self._readable()
        store.refresh()
        return map(deleted, store.deleter.tombstones())

    def proof(self, line: str | bytes) -> Deleted | None:
        """The deletion of the event that this was the line of; None where there is none.

        ``line``: as it stood in the segment, with or without its newline. Only the log's own key
        can tell, so nobody learns of a deleted event by its digest. Raises `InvalidInput` for what
        is no line of an event, `DamagedError` and `StorageError`.
        """
        store = self._readable()
        raw = (line.encode() if isinstance(line, str) else bytes(line)).removesuffix(b"\n")
        try:
            timestamp = from_datetime(decode_line(raw).timestamp)
        except (DecodeError, UnicodeDecodeError) as error:
            raise InvalidInput(f"that is not the line of an event: {error}") from None
        store.refresh()
        found = store.deleter.proof(raw, timestamp)
        return None if found is None else deleted(found)

    # -- inside ---------------------------------------------------------------------------

    def _range(self, start: Time | None, end: Time | None) -> tuple[int | None, int | None]:
        now = self._store.storage.time_ns() // 1000
        low = None if start is None else to_us(start, now)
        high = None if end is None else to_us(end, now)
        if low is not None and high is not None and low > high:
            raise InvalidInput(f"start ({start!r}) is after end ({end!r}); exchange them")
        return low, high

    def _readable(self) -> Store:
        if self._store.is_closed:
            raise ClosedError("the log is closed; open it again")
        return self._store

    def _writable(self) -> Store:
        store = self._readable()
        if not store.options.is_writable:
            raise ReadOnlyError("the log was opened with mode='r'; use mode='a'")
        return store

"""`Expirer`: lets events go as a policy says, each time as one commit.

What goes is chosen by `timelog.retention`, from what the index knows. The commit makes events
invisible in one step, however many there are; then their partitions are moved to the trash, and
unlinked when nobody has to wait for it (`timelog.sweep`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from functools import partial

import msgspec

from timelog import names
from timelog.commit import Committer, Draft
from timelog.errors import DamagedError, storage_error
from timelog.horizons import Facts, Held, Keeping
from timelog.index import Index
from timelog.journal import Expiry
from timelog.names import Layout
from timelog.quantity import size_text
from timelog.retention import Choice, DayFacts, Retention, advance
from timelog.storage import Storage
from timelog.sweep import clear, move_to_trash
from timelog.timestamp import DAY, to_datetime
from timelog.usage import usage


class Partition(msgspec.Struct, frozen=True):
    """A partition that went, or would go: its ``name``, how much it held, and ``why``."""

    name: str
    events: int
    bytes: int
    why: str


class Expired(msgspec.Struct, frozen=True):
    """What expired, or would. ``str()`` of it is what the command prints.

    ``before``: of what no rule keeps longer, all events before this time (microseconds since 1970)
    have expired; 0 for none. ``suspended``: why nothing was let go, empty where it was.
    """

    dry_run: bool
    partitions: tuple[Partition, ...]
    before: int
    suspended: str

    @property
    def events(self) -> int:
        """How many events went with partitions."""
        return sum(each.events for each in self.partitions)

    def __str__(self) -> str:
        if self.suspended:
            return f"expiry is suspended: {self.suspended}"
        what = "would go" if self.dry_run else "went"
        lines = [
            f"{len(self.partitions):,} partitions {what}: {self.events:,} events, "
            f"{size_text(sum(each.bytes for each in self.partitions))}"
        ]
        lines += (
            f"{each.name}  {each.events:>15,} events  {size_text(each.bytes):>10}  by {each.why}"
            for each in self.partitions
        )
        if self.before:
            lines.append(f"events before {to_datetime(self.before):%Y-%m-%d} have expired")
        return "\n".join(lines)


class Expirer:
    """Lets events of one open log go. Thread-safe."""

    def __init__(
        self, layout: Layout, storage: Storage, index: Index, committer: Committer
    ) -> None:
        self._layout = layout
        self._storage = storage
        self._index = index
        self._committer = committer

    def expire(
        self, policy: Retention, *, dry_run: bool = False, confirm_clock: bool = False
    ) -> Expired:
        """Let go what ``policy`` does not keep. Errors as of a flush.

        ``confirm_clock``: the clock is right, whatever the newest commits say.
        """
        if policy.suspended:
            return Expired(dry_run, (), self.before, "until it is resumed")
        try:
            self._index.refresh()
            if policy.size is not None and not dry_run:
                # What has gone already does not push out more.
                clear(self._layout, self._storage, self._index)
            if dry_run:
                now = self._now()
                doubt = "" if confirm_clock else self._committer.clock_doubt(now)
                expired = self._report(self._choose(policy, now), dry_run, doubt)
            else:
                expired = self._committer.exclusive(partial(self._expire, policy, confirm_clock))
                if expired.partitions:
                    clear(self._layout, self._storage, self._index)
        except OSError as error:
            raise storage_error("letting events expire", error) from error
        self._committer.tell()
        return expired

    @property
    def before(self) -> int:
        """Before which time everything has expired that no rule keeps longer; 0 for none."""
        return default_horizon(self._index)

    def facts(self, sizes: dict[int, int]) -> list[DayFacts]:
        """What a choice needs to know of all days; ``sizes`` on the disk, by start."""
        return [
            DayFacts(
                day.day, sizes.get(day.day, day.stored), day.events, partial(self._held, day.day)
            )
            for day in self._index.totals_of_days()
        ]

    # -- inside ---------------------------------------------------------------------------

    def _expire(self, policy: Retention, confirm_clock: bool) -> Expired:
        """`expire` with the store taken."""
        index = self._index
        now = self._now()
        doubt = "" if confirm_clock else self._committer.clock_doubt(now)
        if doubt:
            return self._report(Choice(index.removal.horizons, ()), False, doubt)
        choice = self._choose(policy, now)
        expired = self._report(choice, False, "")
        if choice.days or choice.horizons != index.removal.horizons or confirm_clock:
            events: Counter[int] = Counter()
            with index.lock:
                for gone in choice.days:
                    events += index.days[gone.start].entered
            expiry = Expiry(
                choice.horizons,
                tuple(gone.start for gone in choice.days),
                tuple(sorted(events.items())),
            )
            self._committer.commit(Draft(expiry=expiry), durable=True, confirm_clock=confirm_clock)
            move_to_trash(self._layout, self._storage, index)
        return msgspec.structs.replace(expired, before=self.before)

    def _now(self) -> int:
        return self._storage.time_ns() // 1000

    def _choose(self, policy: Retention, now: int) -> Choice:
        overhead, sizes = 0, {}
        if policy.size is not None:
            used = usage(self._layout, self._storage, self._index)
            overhead, sizes = used.total - used.segments, used.partitions
        return advance(self._index.removal.horizons, policy, now, self.facts(sizes), overhead)

    def _held(self, day: int) -> Iterator[Held]:
        """The blocks of a day, or all it could be where its index cannot be used."""
        index = self._index
        try:
            for _, blocks in index.blocks(day, None, None, index.position):
                yield from blocks
        except DamagedError:
            yield Facts(day, day + DAY - 1)

    def _report(self, choice: Choice, dry_run: bool, doubt: str) -> Expired:
        with self._index.lock:
            days = self._index.days
            partitions = tuple(
                Partition(
                    names.partition(gone.start),
                    days[gone.start].count,
                    days[gone.start].stored,
                    gone.why,
                )
                for gone in choice.days
            )
        return Expired(dry_run, partitions, self.before, doubt)


def default_horizon(index: Index) -> int:
    """Before which time everything has expired that no rule keeps longer; 0 for none."""
    return max((horizon.get("", 0) for horizon in index.removal.horizons), default=0)


def gone_since(index: Index, position: int, start: int | None) -> str:
    """What of the events before ``position`` has expired from ``start`` on, in a sentence.

    ``start`` in microseconds, None for all; empty where it is nothing.
    """
    with index.lock:
        horizons = index.removal.horizons
        high = Keeping(horizons).high
        if start is not None and start >= high:
            return ""
        has_gone = any(row.expired for row in index.ledger if row.position < position)
        is_hidden = any(day.count for day in index.days.values() if day.start < high)
    if not has_gone and not is_hidden:
        return ""
    before = default_horizon(index) or high
    return (
        f"not all that was there as of position {position}: events before "
        f"{to_datetime(before):%Y-%m-%d} have expired"
    )

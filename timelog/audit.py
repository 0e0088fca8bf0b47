"""`Audit`: the books of a log. Every event that was entered is accounted for, or it is said.

One side is the ledger, which each commit continues; the other are the positions that the blocks
hold. Two different parts of the program make them, so that what one forgets the other shows. Of
what expired or was erased only the number is known: so many positions must be in no block.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator

import msgspec

from timelog import names
from timelog.buffer import Books
from timelog.damage import Damage
from timelog.errors import DamagedError, storage_error
from timelog.index import Index, damaged_day
from timelog.indexstate import lies_in
from timelog.journal import Block
from timelog.names import parse_segment
from timelog.positions import stretches
from timelog.scrub import read_scrubbed
from timelog.stock import Stretch, take_stock
from timelog.store import Store
from timelog.timestamp import DAY


class Audit(msgspec.Struct, frozen=True):
    """Where the events are that were entered. ``str()`` of it is what the command line prints.

    ``entered``: all that were handed to the log, which must be the sum of the others:

    - ``stored``: in blocks, not deleted, and as far as is known without reading them not damaged;
      also those that a rule of the retention hides, until a compaction removes them;
    - ``damaged``: in blocks that are known to be damaged, and withheld;
    - ``waiting``: in the memory of this process;
    - ``refused``: not taken, by the name of the error; of other processes, what their commits told;
    - ``missing``: lost, as the records of their commits are damaged;
    - ``lost``: to power cuts, as ``sync="off"`` permits;
    - ``expired``: gone by the retention, with their day or at a compaction, whether deleted before
      or not;
    - ``deleted``: hidden, or erased.

    ``difference``: how many events are not accounted for exactly once; ``differences`` says which,
    ``damage`` what is damaged. ``since``: the start of the first day that counts, in microseconds
    since 1970; None for all. What was committed before there were ledgers counts only in an audit
    of all.
    """

    since: int | None
    entered: int
    stored: int
    damaged: int
    waiting: int
    refused: dict[str, int]
    missing: int
    lost: int
    expired: int
    deleted: int
    difference: int
    differences: tuple[str, ...]
    damage: tuple[str, ...]

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong: the books balance, and no damage took anything."""
        return self.exit_code == 0

    @property
    def exit_code(self) -> int:
        """0 balanced, 3 balanced but something is damaged or missing, 1 not balanced."""
        return 1 if self.difference else 3 if self.damage or self.missing else 0

    def __str__(self) -> str:
        verdict = "balanced" if not self.difference else f"{self.difference:,} events differ"
        if self.exit_code == 3:
            verdict += ", with damage"
        since = f" since {names.partition(self.since)}" if self.since is not None else ""
        reasons = ", ".join(f"{why} {count:,}" for why, count in sorted(self.refused.items()))
        rows = [
            ("stored", self.stored, ""),
            ("damaged", self.damaged, "withheld from searches"),
            ("in memory", self.waiting, ""),
            ("refused", sum(self.refused.values()), reasons),
            ("missing", self.missing, "the records of their commits are damaged"),
            ("lost", self.lost, "to power cuts, as sync='off' permits"),
            ("expired", self.expired, "by the retention"),
            ("deleted", self.deleted, "hidden or erased"),
        ]
        lines = [f"{verdict}: {self.entered:,} events entered{since}"]
        lines += (
            f"{name:<10} {count:>15,}{f'  {remark}' if count and remark else ''}"
            for name, count, remark in rows
        )
        lines += (f"difference {difference}" for difference in self.differences)
        lines += (f"damage     {damage}" for damage in self.damage)
        return "\n".join(lines)


def audit(store: Store, since: int | None) -> Audit:
    """Balance the books of an open log; ``since`` in microseconds. See `Audit`."""
    store.refresh()
    with store.index.lock:
        # No batch is released while the lock is held: each event is on one side only.
        index = store.reread_index()
        books = store.buffer.books()
        known = dict.fromkeys((*store.index.damage, *index.damage))
    try:
        known.update(dict.fromkeys(read_scrubbed(store.layout, store.storage).damage))
        return _Auditor(index, books, tuple(known), since).run()
    except OSError as error:
        raise storage_error("auditing the log", error) from error


class _Auditor:
    def __init__(
        self, index: Index, books: Books, known: tuple[Damage, ...], since: int | None
    ) -> None:
        self._index = index
        self._books = books
        self._known = known
        self._since = None if since is None else since - since % DAY
        rows = [row for row in index.ledger if self._since is None or row.day >= self._since]
        self._rows = rows
        self._position = index.position
        begun = rows[0].position if rows else index.position
        # Before the ledger only positions tell how many events there were.
        self._before = begun if self._since is None else 0
        self._start = begun - self._before
        # The days whose index file cannot be read, and what must be in them.
        self._unread: dict[int, int] = {}
        self._damage: list[str] = []
        # The positions of deleted events that blocks still hold.
        self._hidden: list[int] = []
        self._end = 0

    def run(self) -> Audit:
        stock = take_stock(self._held, self._start, self._position)
        expired = sum(row.expired for row in self._rows)
        erased = sum(row.erased for row in self._rows)
        gone = expired + erased
        unread = min(max(stock.none.number - gone, 0), sum(self._unread.values()))
        none = stock.none.number - unread - gone
        several = stock.several.number
        missing = sum(last - first for first, last in self._missing())
        self._hidden = self._deleted()
        damaged = unread + self._damaged()
        committed = self._before + sum(row.events for row in self._rows)
        lost = sum(row.lost for row in self._rows)
        differences = [
            *(f"{_positions(each)} in no block" for each in stock.none.first if none and not gone),
            *(f"{_positions(each)} held more than once" for each in stock.several.first),
        ]
        if none and gone:
            differences.insert(
                0,
                f"{stock.none.number - unread:,} positions are in no block, and {gone:,} events "
                "expired or were erased",
            )
        untold = self._untold(erased)
        if untold:
            differences.append(
                f"{untold:,} events are hidden as deleted, whose deletion was not booked"
            )
        beyond = max(self._end - max(self._index.position, self._position), 0)
        if beyond:
            end = self._end - 1
            differences.append(f"blocks hold positions up to {end:,}, which no commit entered")
        unbooked = abs(self._position - self._start - (committed - lost))
        if unbooked:
            differences.append(
                f"the ledger has {committed - lost:,} events for the "
                f"{self._position - self._start:,} positions from {self._start:,} on"
            )
        strayed = abs(self._books.due - self._books.waiting)
        if strayed:
            differences.append(
                f"{self._books.due:,} events wait to be committed, and {self._books.waiting:,} "
                "are in memory"
            )
        refused = Counter(self._books.refused)
        for row in self._rows:
            refused.update(row.refused)
        return Audit(
            since=self._since,
            entered=committed + self._books.due + sum(refused.values()),
            stored=self._position
            - self._start
            - stock.none.number
            - missing
            - damaged
            + unread
            - len(self._hidden),
            damaged=damaged,
            waiting=self._books.waiting,
            refused=dict(refused),
            missing=missing,
            lost=lost,
            expired=expired,
            deleted=erased + len(self._hidden),
            difference=abs(none) + several + beyond + untold + unbooked + strayed,
            differences=tuple(differences),
            damage=tuple(dict.fromkeys(self._damage)),
        )

    def _held(self) -> Iterator[Stretch]:
        """What blocks hold, and what is known to be missing."""
        yield from self._missing()
        for block in self._blocks():
            for first, last in stretches(block.runs, block.count):
                self._end = max(self._end, last)
                yield first, last

    def _missing(self) -> Iterator[Stretch]:
        for first, last in self._index.missing:
            if last >= self._start:
                yield max(first, self._start), last + 1

    def _blocks(self) -> Iterator[Block]:
        index = self._index
        for day in index.between(None, None):
            try:
                segments = index.blocks(day, None, None, index.position)
            except DamagedError as error:
                self._unread[day] = index.day(day).count
                self._damage.append(str(damaged_day(day, error)))
                continue
            for _, blocks in segments:
                yield from blocks

    def _damaged(self) -> int:
        """How many events are in blocks that are known to be damaged; the damage is noted."""
        damaged: dict[tuple[str, int], int] = {}
        for damage in self._known:
            if damage.file.startswith(f"{names.CONTROL}/{names.JOURNAL}/"):
                self._damage.append(str(damage))
            block = self._block_of(damage)
            if block is not None:
                self._damage.append(str(damage))
                damaged[block.path, block.offset] = sum(
                    max(min(last, self._position) - max(first, self._start), 0)
                    - self._hidden_in(first, last)
                    for first, last in stretches(block.runs, block.count)
                )
        return sum(damaged.values())

    def _deleted(self) -> list[int]:
        """The positions of deleted events that blocks still hold, in order."""
        found: list[int] = []
        for day in self._index.between(None, None):
            if day not in self._unread:
                found += (
                    tombstone.position
                    for tombstone in self._index.tombstones(day)
                    if not tombstone.is_erased
                    and self._start <= tombstone.position < self._position
                )
        return sorted(found)

    def _hidden_in(self, first: int, end: int) -> int:
        return bisect_left(self._hidden, end) - bisect_left(self._hidden, first)

    def _untold(self, erased: int) -> int:
        """How many more events are hidden as deleted than were booked.

        Fewer may be: hidden ones that expired, or whose tombstones were lost with the index of
        their day. Where that was made anew, they may count with another day of the ledger.
        """
        if self._since is not None:
            return 0
        booked = sum(row.deleted for row in self._rows) - erased
        return max(len(self._hidden) - booked, 0)

    def _block_of(self, damage: Damage) -> Block | None:
        """The block in which damage was found; None where it is gone, or was another thing."""
        if parse_segment(damage.file) is None:
            return None
        try:
            segment = self._index.segment(damage.file)
        except DamagedError:
            # All of that day is damaged already.
            return None
        blocks = segment.blocks if segment else ()
        return next((block for block in blocks if lies_in(damage, block)), None)


def _positions(stretch: Stretch) -> str:
    first, end = stretch
    if end - first == 1:
        return f"position {first:,} is"
    return f"positions {first:,} to {end - 1:,} are"

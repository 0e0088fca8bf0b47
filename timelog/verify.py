"""`verify`: a read-only check of everything the log's records promise.

Bounded by what was committed when it began; of what is replaced meanwhile, what replaces it is
checked, and of what expires nothing. Structure: the root, every day's index file, the
journal since. Content: every block against its crc; ``deep`` also decodes every event and compares
counts, times, tags and sources with the index. Besides: bytes behind committed lengths, files that
the index does not know, names that are not the log's.
"""

from __future__ import annotations

import stat
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from operator import attrgetter

import msgspec

from timelog import names
from timelog.blocktext import read_text
from timelog.codec import DecodeError, decode_lines
from timelog.damage import Damage
from timelog.errors import TRANSIENT, DamagedError
from timelog.exposure import exposed
from timelog.index import Index, damaged_day
from timelog.journal import Bad, Block, read
from timelog.lock import is_held
from timelog.names import Layout
from timelog.positions import fits
from timelog.storage import Storage
from timelog.timestamp import from_datetime

_timestamp = attrgetter("timestamp")
_tags = attrgetter("tags")
_source = attrgetter("source")


class Verification(msgspec.Struct, frozen=True):
    """What `verify` found. ``str()`` of it is what the command line prints.

    ``damage``: committed bytes that are not what was written. ``torn``: bytes of an unfinished
    write, never served. ``foreign``: names in the directory that are not the log's; left alone.
    ``exposed``: directories of the log that anybody may write to.
    """

    events: int
    blocks: int
    bytes: int
    deep: bool
    damage: tuple[Damage, ...]
    torn: tuple[Damage, ...]
    foreign: tuple[str, ...]
    exposed: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong: no damage, and no torn write either."""
        return not self.damage and not self.torn

    @property
    def exit_code(self) -> int:
        """0 clean, 3 an unfinished write only, 1 damage."""
        return 1 if self.damage else 3 if self.torn else 0

    def __str__(self) -> str:
        verdict = "damaged" if self.damage else "unfinished write" if self.torn else "ok"
        checked = "decoded and checked" if self.deep else "checked"
        lines = [
            f"{verdict}: {self.events:,} events in {self.blocks:,} blocks {checked}, "
            f"{self.bytes:,} bytes"
        ]
        lines += (f"damaged     {damage}" for damage in self.damage)
        lines += (f"unfinished  {torn}" for torn in self.torn)
        lines += (f"foreign     {name}: not a file of the log, left alone" for name in self.foreign)
        lines += (f"exposed     {name}: anybody may write to it" for name in self.exposed)
        return "\n".join(lines)


def verify(
    layout: Layout,
    storage: Storage,
    index: Index,
    *,
    deep: bool,
    advance: Callable[[int], None] = lambda done: None,
) -> Verification:
    """Check a log; see `Verification`. Cost: reading it all, and with ``deep`` decoding it all.

    ``advance``: told how many more bytes are checked. Raises ``OSError`` where that cannot be done,
    for want of descriptors for example.
    """
    return _Verifier(layout, storage, index, deep, advance).run()


class _Gone(Exception):
    """A segment was replaced, or has expired, since the index was looked at."""


class _Verifier:
    def __init__(
        self,
        layout: Layout,
        storage: Storage,
        index: Index,
        deep: bool,
        advance: Callable[[int], None],
    ) -> None:
        self._layout = layout
        self._storage = storage
        self._index = index
        self._deep = deep
        self._advance = advance
        self._events = self._blocks = self._bytes = 0
        self._damage: list[Damage] = []
        self._torn: list[Damage] = []
        self._foreign: list[str] = []
        self._partitions: list[str] = []
        # The segments that were checked.
        self._known: set[str] = set()

    def run(self) -> Verification:
        index = self._index
        with index.lock:
            # What searches met counts only if it is still there; the journal's stays.
            self._damage += (damage for damage in index.damage if names.is_in_journal(damage.file))
            self._damage += (
                Damage(f"{names.CONTROL}/{names.JOURNAL}", 0, 0, f"no positions {first} to {last}")
                for first, last in index.missing
            )
            tail = index.bad_tail
            if tail is not None and tail.torn:
                tail = None if self._is_being_written() else index.bad_tail
            if tail is not None and tail.torn:
                name = f"{names.CONTROL}/{names.JOURNAL}/{names.journal(index.place.journal)}"
                self._torn.append(
                    Damage(name, tail.start, tail.end - tail.start, "an unfinished record")
                )
            position, place = index.position, index.place
        self._journal(place.journal, place.offset)
        for day in index.between(None, None):
            self._day(day, position)
        self._names()
        return Verification(
            self._events,
            self._blocks,
            self._bytes,
            self._deep,
            tuple(dict.fromkeys(self._damage)),
            tuple(self._torn),
            tuple(sorted(self._foreign)),
            exposed(self._layout, self._storage, self._partitions),
        )

    def _journal(self, number: int, end: int) -> None:
        """Read again the records that the index was made of."""
        file = f"{names.CONTROL}/{names.JOURNAL}/{names.journal(number)}"
        try:
            data = self._storage.read_file(self._layout.root / file)[:end]
        except FileNotFoundError:
            # A checkpoint has just removed it: the root knows all that was in it.
            return
        known = {damage.offset for damage in self._damage if damage.file == file}
        for item in read(data, 0):
            if isinstance(item, Bad) and item.start not in known:
                reason = "not a record of the journal"
                self._damage.append(Damage(file, item.start, item.end - item.start, reason))

    def _day(self, day: int, position: int) -> None:
        """Check a day; from the beginning where segments were replaced meanwhile."""
        counted = self._events, self._blocks, self._bytes
        damage, torn = len(self._damage), len(self._torn)
        while True:
            try:
                segments = self._index.blocks(day, None, None, position)
            except DamagedError as error:
                self._damage.append(damaged_day(day, error))
                return
            try:
                for segment, blocks in segments:
                    self._known.add(segment.path)
                    self._segment(segment.path, blocks)
            except _Gone:
                self._events, self._blocks, self._bytes = counted
                del self._damage[damage:], self._torn[torn:]
            else:
                return

    def _segment(self, path: str, blocks: tuple[Block, ...]) -> None:
        end = 0
        try:
            with self._storage.reading(self._layout.segment(path)) as fd:
                for block in blocks:
                    if block.file_start != end:
                        gap = Damage(path, end, block.file_start - end, "belongs to no block")
                        self._damage.append(gap)
                    end = block.file_end
                    self._block(block, read_text(partial(self._storage.read_at, fd), (block,)))
                self._tail(path, blocks[-1].file_end if blocks else 0, self._storage.size(fd))
        except OSError as error:
            if error.errno in TRANSIENT:
                raise
            if isinstance(error, FileNotFoundError) and blocks and self._index.is_gone(blocks[0]):
                raise _Gone from None
            for block in blocks:
                self._bad(block, f"cannot be read: {error.strerror or error}")

    def _block(self, block: Block, data: bytes) -> None:
        self._blocks += 1
        self._events += block.count
        self._bytes += block.length
        self._advance(block.stored)
        if problem := block.problem(data):
            self._bad(block, problem)
        elif self._deep:
            for problem in _deep_problems(block, data):
                self._bad(block, problem)

    def _bad(self, block: Block, reason: str) -> None:
        self._damage.append(Damage(block.path, block.offset, block.length, reason))

    def _tail(self, path: str, end: int, size: int) -> None:
        if size > end and not self._is_being_written():
            # A flush may have ended since the check began.
            segment = self._index.segment(path)
            end = max(end, segment.size if segment else 0)
            if size > end:
                self._torn.append(Damage(path, end, size - end, "not committed, never served"))

    def _names(self) -> None:
        """Look at every name in the directory and its partitions."""
        storage, root = self._storage, self._layout.root
        for entry in storage.names(root):
            if entry == names.CONTROL:
                continue
            if names.parse_partition(entry) is None or not storage.is_directory(root / entry):
                self._foreign.append(entry)
                continue
            self._partitions.append(entry)
            with suppress(FileNotFoundError):
                for file in storage.names(root / entry):
                    with suppress(FileNotFoundError):
                        self._name(f"{entry}/{file}")

    def _name(self, path: str) -> None:
        info = self._storage.status(self._layout.root / path)
        if names.parse_segment(path) is None or not stat.S_ISREG(info.st_mode):
            self._foreign.append(path)
        elif (
            path not in self._known
            and info.st_size
            and not self._is_being_written()
            and not self._is_committed(path)
            and not self._index.removal.is_going(path)
        ):
            self._torn.append(Damage(path, 0, info.st_size, "not committed, never served"))

    def _is_being_written(self) -> bool:
        """Whether bytes that no commit names may be those of a flush that goes on right now."""
        if is_held(self._storage, self._layout.lock):
            return True
        # Whoever held the lock a moment ago has committed what it wrote.
        self._index.refresh()
        return False

    def _is_committed(self, path: str) -> bool:
        """Whether a flush since the check began named the segment."""
        try:
            return self._index.segment(path) is not None
        except DamagedError:
            # Of a day whose index is damaged nothing can be said; that is reported.
            return True


def _deep_problems(block: Block, data: bytes) -> Iterator[str]:
    try:
        events = decode_lines(data)
    except (DecodeError, UnicodeDecodeError) as error:
        yield f"a line is not an event: {error}"
        return
    if not events:
        yield "there are no events in it"
        return
    times = list(map(_timestamp, events))
    first, last = from_datetime(min(times)), from_datetime(max(times))
    checks: list[tuple[str, Callable[[], bool]]] = [
        ("the number of events is another", lambda: len(events) == block.count),
        ("the times are others", lambda: (first, last) == (block.first, block.last)),
        (
            "the tags are others",
            lambda: (
                block.tags is None
                or {tag for tags in set(map(_tags, events)) for tag in tags} == set(block.tags)
            ),
        ),
        (
            "the sources are others",
            lambda: block.sources is None or set(map(_source, events)) == set(block.sources),
        ),
        ("the positions are others", lambda: fits(block.runs, block.count)),
    ]
    yield from (f"{what} than the index says" for what, holds in checks if not holds())

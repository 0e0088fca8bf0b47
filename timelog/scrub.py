"""`Scrubber`: reads what is committed again and again, some of it at a time, and checks it.

Bytes that nobody reads may change on the disk without anybody knowing until they are needed. In
each cycle one shard of all committed blocks is read from the device, past the page cache, and
checked against the crc; after so many cycles as there are shards all were, and it begins again. A
shard grows with the log, up to a limit that bounds what a cycle reads: a log that is larger takes
more cycles. Of several processes one scrubs at a time, the one that holds ``scrub.lock``; what it
finds it leaves in ``state/scrub``, a JSON object, for the others.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from functools import partial

import msgspec

from timelog import names
from timelog.blocktext import read_text
from timelog.damage import Damage
from timelog.errors import TRANSIENT, DamagedError
from timelog.index import Index, damaged_day
from timelog.indexstate import MOST_DAMAGE, lies_in
from timelog.journal import Block
from timelog.lock import FileLock
from timelog.names import Layout
from timelog.reader import forget_intact
from timelog.storage import Storage
from timelog.timestamp import END, SECOND

# What a cycle reads at least, so that a small log is checked in few, and at most.
LEAST = 1024 * 1024
MOST = 16 * 1024 * 1024
# Microseconds after which it is noted again that all was checked: a log that rests is not written.
_NOTED = 600 * SECOND


class Scrubbed(msgspec.Struct, frozen=True):
    """What is known of a log by scrubbing it.

    ``passed``: when all had been checked last, in microseconds since 1970, 0 for never.
    """

    passed: int = 0
    damage: tuple[Damage, ...] = ()


def read_scrubbed(layout: Layout, storage: Storage) -> Scrubbed:
    """What whoever scrubs has left; nothing where it is damaged: it is found again.

    Raises ``OSError`` where it cannot be read.
    """
    try:
        found = msgspec.json.decode(storage.read_file(layout.scrub), type=Scrubbed)
    except (FileNotFoundError, msgspec.DecodeError, UnicodeDecodeError):
        return Scrubbed()
    # A clock may have been anywhere.
    return found if 0 <= found.passed < END else Scrubbed(0, found.damage)


class Scrubber:
    """Scrubs one open log. One thread at a time.

    ``passes``: how often all blocks were checked since the log was opened; ``bytes``: how many
    bytes were.
    """

    def __init__(self, layout: Layout, storage: Storage, index: Index, shards: int) -> None:
        self._layout = layout
        self._storage = storage
        self._index = index
        self._shards = shards
        self._lock = FileLock(storage, layout.scrub_lock, 0)
        self._pass: Iterator[Block] | None = None
        self._shard = 0
        self.passes = 0
        self.bytes = 0

    def step(self, is_stopped: Callable[[], bool] = lambda: False) -> None:
        """Do one cycle; nothing where another process scrubs. Raises ``OSError``.

        What is damaged is told to the index, and so shows in ``health()``.
        """
        try:
            with self._lock.held():
                self._cycle(is_stopped)
        except TimeoutError:
            return
        self._index.tell()

    def after_fork(self) -> None:
        """In a child: let go of the parent's lock, without unlocking it."""
        self._lock.after_fork()

    def _cycle(self, is_stopped: Callable[[], bool]) -> None:
        if self._pass is None:
            self._index.refresh()
            total = self._index.totals().bytes
            self._shard = min(max(total // self._shards, LEAST), MOST)
            self._pass = self._blocks()
        before = self._known()
        found = dict.fromkeys(before.damage)
        left = self._shard
        for block in self._pass:
            self._check(block, found)
            self.bytes += block.length
            left -= block.length
            if left <= 0 or is_stopped():
                break
        else:
            self._pass = None
        if self._pass is None and found:
            self._index.refresh()
            # Of what was replaced or has expired, no block is checked any more.
            found = {damage: None for damage in found if self._index.is_kept(damage.file)}
        after = Scrubbed(before.passed, tuple(found)[:MOST_DAMAGE])
        now = self._storage.time_ns() // 1000
        if self._pass is None and not 0 <= now - before.passed < _NOTED:
            after = msgspec.structs.replace(after, passed=now)
        if after != before:
            data = msgspec.json.encode(after) + b"\n"
            temporary = self._layout.temporary / names.SCRUB
            self._storage.replace(self._layout.scrub, data, temporary)
        self.passes += self._pass is None

    def _known(self) -> Scrubbed:
        try:
            return read_scrubbed(self._layout, self._storage)
        except OSError as error:
            if error.errno in TRANSIENT:
                raise
            # It is written anew, or that says why not.
            return Scrubbed()

    def _blocks(self) -> Iterator[Block]:
        """All blocks, beginning with any day: processes that live for minutes do their part."""
        days = self._index.between(None, None)
        first = secrets.randbelow(len(days)) if days and not self.passes else 0
        for day in days[first:] + days[:first]:
            try:
                segments = self._index.blocks(day, None, None, self._index.position)
            except OSError:
                # What comes then was not looked at, and must not pass for it.
                self._pass = None
                raise
            except DamagedError as error:
                self._index.found_damage(damaged_day(day, error))
                continue
            for _, blocks in segments:
                yield from blocks

    def _check(self, block: Block, found: dict[Damage, None]) -> None:
        """Read a block; ``found`` is the damage that is known, by whomever."""
        for damage in [damage for damage in found if lies_in(damage, block)]:
            del found[damage]
        try:
            path = self._layout.segment(block.path)
            data = read_text(partial(self._storage.read_device, path), (block,))
        except OSError as error:
            if error.errno in TRANSIENT:
                # It says nothing of the block, and what was not checked must not pass for it.
                self._pass = None
                raise
            if isinstance(error, FileNotFoundError) and self._index.is_gone(block):
                return
            reason = f"cannot be read: {error.strerror or error}"
        else:
            reason = block.problem(data)
        if reason:
            forget_intact(self._index.intact, block)
            damage = Damage(block.path, block.offset, block.length, reason)
            found[damage] = None
            self._index.found_damage(damage)
        else:
            self._index.found_sound(block)

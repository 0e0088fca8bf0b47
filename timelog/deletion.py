"""`Deleter`: hides single events for ever, and can prove later which ones.

A deletion is a commit with a tombstone. The event is hidden when that is durable; its text goes
when the segment is written anew: at the next compaction, or at once. The tombstone stays as long as
the day: position, id, time, and an HMAC-SHA-256 (RFC 2104, FIPS 180-4) of the line under a random
key of the log, which tells nothing of the line to who has not got it, and proves it to who has.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Iterator
from functools import partial

import msgspec

from timelog import names, positions
from timelog.blocktext import read_text
from timelog.commit import Committer, Draft
from timelog.compaction import Compactor
from timelog.errors import DamagedError, EventNotFound, in_words, storage_error
from timelog.index import Index
from timelog.journal import Block, Tombstone
from timelog.names import Layout
from timelog.storage import Storage
from timelog.sweep import unlink_replaced
from timelog.timestamp import DAY

_KEY = 32


class Deleted(msgspec.Struct, frozen=True):
    """What a deletion did.

    ``position``, ``id`` and ``timestamp`` (microseconds since 1970) of the event; ``digest``: the
    HMAC of its line, in hexadecimal; ``is_erased``: whether its text is gone as well; ``snapshots``
    that still hold it.
    """

    position: int
    id: str
    timestamp: int
    digest: str
    is_erased: bool
    snapshots: tuple[str, ...] = ()


class Deleter:
    """Deletes from one open log. Thread-safe."""

    def __init__(
        self,
        layout: Layout,
        storage: Storage,
        index: Index,
        committer: Committer,
        compactor: Compactor,
    ) -> None:
        self._layout = layout
        self._storage = storage
        self._index = index
        self._committer = committer
        self._compactor = compactor

    def delete(self, id: str, position: int, timestamp: int) -> Deleted:
        """Hide the committed event of that id, position and time (microseconds).

        Returns when that is durable. Raises `EventNotFound` where somebody else just deleted it, or
        it has expired, `DamagedError` where its block is damaged, and as a flush does.
        """
        try:
            tombstone = self._committer.exclusive(partial(self._bury, id, position, timestamp))
        except OSError as error:
            raise storage_error("deleting an event", error) from error
        self._committer.tell()
        return deleted(tombstone)

    def erase(self, position: int, timestamp: int, timeout: float) -> None:
        """Remove the text of a deleted event now; errors as of a compaction."""
        with self._compactor.only_one(timeout):
            self._index.refresh()
            for path, block in self._blocks(position, timestamp):
                if _place(block, position) is not None:
                    self._compactor.erase(path)
            # The text is gone when the file is, also where an attempt before left it.
            unlink_replaced(self._layout, self._storage, self._index)

    def tombstones(self, day: int | None = None) -> Iterator[Tombstone]:
        """The tombstones of all days, or of one, by day and position.

        Raises `DamagedError` and `StorageError`. Cost: the index file of each day is read.
        """
        index = self._index
        with index.lock:
            days = list(index.days) if day is None else [day]
        for start in days:
            yield from index.tombstones(start)

    def proof(self, line: bytes, timestamp: int) -> Tombstone | None:
        """The tombstone of the event whose line, without its newline, this was; else None."""
        digest = self._digest(line)
        for tombstone in self.tombstones(timestamp - timestamp % DAY):
            if hmac.compare_digest(tombstone.digest, digest):
                return tombstone
        return None

    # -- inside ---------------------------------------------------------------------------

    def _bury(self, id: str, position: int, timestamp: int) -> Tombstone:
        """`delete` with the store taken."""
        day = timestamp - timestamp % DAY
        line = None
        if position not in self._index.deleted(day):
            line = self._line(position, timestamp)
        if line is None:
            raise EventNotFound(f"no event has the id {id!r} any more")
        self._make_key()
        tombstone = Tombstone(position, id, timestamp, self._digest(line))
        self._committer.commit(Draft(tombstones=(tombstone,)), durable=True)
        return tombstone

    def _blocks(self, position: int, timestamp: int) -> list[tuple[str, Block]]:
        """The blocks that may have the event."""
        index = self._index
        found = index.blocks(timestamp - timestamp % DAY, timestamp, timestamp + 1, index.position)
        return [
            (segment.path, block)
            for segment, blocks in found
            for block in blocks
            if block.first <= timestamp <= block.last
            and block.lowest <= position < block.position_end
        ]

    def _line(self, position: int, timestamp: int) -> bytes | None:
        """The line of the event, without its newline; None where there is no such event."""
        for path, block in self._blocks(position, timestamp):
            number = _place(block, position)
            if number is None:
                continue
            try:
                with self._storage.reading(self._layout.segment(path)) as fd:
                    data = read_text(partial(self._storage.read_at, fd), (block,))
                problem = block.problem(data)
            except FileNotFoundError as error:
                problem = in_words(error)
            if problem:
                raise DamagedError(f"{path}: {problem}; an event in it cannot be deleted singly")
            return data.split(b"\n")[number]
        return None

    def _make_key(self) -> None:
        """See that the log has a key. The store lock must be held."""
        if not self._storage.exists(self._layout.key):
            self._storage.replace(
                self._layout.key, secrets.token_bytes(_KEY), self._layout.temporary / names.KEY
            )

    def _digest(self, line: bytes) -> bytes:
        try:
            key = self._storage.read_file(self._layout.key)
        except FileNotFoundError:
            # Nothing was ever deleted.
            key = b""
        except OSError as error:
            raise storage_error("reading the key of the log", error) from error
        if len(key) not in (0, _KEY):
            raise DamagedError(
                f"{self._layout.key} is damaged; put back a copy of it, without which deletions "
                "cannot be proved"
            )
        return hmac.new(key, line, hashlib.sha256).digest()


def deleted(tombstone: Tombstone) -> Deleted:
    """What a tombstone says."""
    return Deleted(
        tombstone.position,
        tombstone.id,
        tombstone.timestamp,
        tombstone.digest.hex(),
        tombstone.is_erased,
    )


def _place(block: Block, position: int) -> int | None:
    """Which line of a block has that position; None for none."""
    passed = 0
    for first, end in positions.stretches(block.runs, block.count):
        if first <= position < end:
            return passed + position - first
        passed += end - first
    return None

"""Bytes in a log's files that no commit names: finding them, adopting what is good, and cutting.

They come from writes that were cut off, from other programs, and from records that are lost. They
are never served. Whoever takes the store lock looks for them where it has a reason to; here they
are looked for everywhere.
"""

from __future__ import annotations

import errno
import secrets
from collections.abc import Iterable, Iterator
from functools import partial
from typing import NamedTuple

import msgspec

from timelog.blocktext import read_text
from timelog.buffer import EVENT_OVERHEAD, Buffer, Entry
from timelog.codec import NOT_EVENTS, Line
from timelog.damage import Damage
from timelog.dry import DryStorage
from timelog.errors import NOT_PLAIN, InvalidEvent
from timelog.event import Limits, check_id, check_source, check_tags
from timelog.flush import Flusher
from timelog.horizons import Keeping
from timelog.index import Index
from timelog.lines import EVER, MOST_LINE, Good, read_lines
from timelog.names import Layout
from timelog.quarantine import Quarantine
from timelog.storage import Storage
from timelog.timestamp import from_text
from timelog.tree import all_segments

# Bytes of memory for the events of one commit, as estimated.
_COMMIT = 32 * 1024 * 1024
_LIMITS = Limits(content=MOST_LINE, fields=MOST_LINE)


class Leftover(NamedTuple):
    """Bytes of a file of the log that no commit names; ``path`` is below the log's directory.

    ``start`` and ``end`` are offsets in the file, also of an archive.
    """

    path: str
    start: int
    end: int


def find_tails(layout: Layout, storage: Storage, index: Index) -> list[Leftover]:
    """What stands behind the committed length of every segment that is there, or all of it.

    The store lock must be held, or it may be a flush that goes on. Cost: no segment is opened.
    """
    found = []
    for each in all_segments(layout, storage):
        if index.removal.is_going(each.path):
            continue
        segment = index.segment(each.path)
        length = segment.size if segment else 0
        # An empty file is one as well: whoever began it has not come back.
        if each.size > length or (not length and (segment is None or not segment.fenced)):
            found.append(Leftover(each.path, length, each.size))
    return found


def find_gaps(index: Index) -> Iterator[Leftover]:
    """What stands between committed blocks: the records of the blocks there are lost."""
    for day in index.between(None, None):
        for name, blocks in index.blocks(day, None, None, index.position):
            end = 0
            for block in blocks:
                if block.file_start > end:
                    yield Leftover(name.path, end, block.file_start)
                end = block.file_end


def describe(layout: Layout, storage: Storage, leftover: Leftover) -> Damage:
    """What a leftover is, in words."""
    path, start, end = leftover
    parts = read_lines(layout, storage, path, EVER, start, end)
    events = sum(len(part.lines) for part in parts if isinstance(part, Good))
    inside = f"; whole events in it: {events:,}" if events else ""
    return Damage(path, start, end - start, f"not committed, never served{inside}")


def cut(
    layout: Layout,
    storage: Storage,
    tails: Iterable[Leftover],
    sequence: int,
    *,
    adopting: bool = False,
) -> None:
    """Move tails to quarantine; the store lock must be held.

    ``adopting``: to a directory of their own, where `staged` finds them until `put_away`.
    """
    quarantine = Quarantine(layout, storage, layout.adopting if adopting else None)
    if adopting and storage.make_directory(layout.adopting):
        storage.sync_directory(layout.quarantine)
    for path, start, _ in tails:
        if start:
            quarantine.cut(path, start, sequence)
        else:
            quarantine.move(path, sequence)


def staged(layout: Layout, storage: Storage) -> list[Leftover]:
    """What was cut to be adopted, and has not been put away: perhaps it is adopted."""
    found = []
    for name in storage.names(layout.adopting) if storage.is_directory(layout.adopting) else ():
        file = layout.adopting / name
        path = str(file.relative_to(layout.root))
        found.append(Leftover(path, 0, storage.status(file).st_size))
    return found


def put_away(layout: Layout, storage: Storage, leftovers: Iterable[Leftover]) -> None:
    """Put with the rest of the quarantine what was staged; the store lock must be held."""
    quarantine = Quarantine(layout, storage)
    for leftover in leftovers:
        file = layout.segment(leftover.path)
        if storage.exists(file):
            quarantine.put_away(file, file.name)


def adopt(layout: Layout, storage: Storage, leftovers: list[Leftover], lock_timeout: float) -> int:
    """Append the events among leftovers whose ids the log does not have; how many.

    Nor those of events that were deleted, as far as that is known, and those that have expired.
    Through an ordinary flush, which takes the store lock: in one commit up to 32 MiB of memory,
    else in several. Cut off, the next call goes on, as it knows the ids. Errors as of a flush.
    Cost: the ids of all lines of the log are read; memory for those of the leftovers.
    """
    return _Adoption(layout, storage, leftovers, lock_timeout).run()


class _Adoption:
    def __init__(
        self, layout: Layout, storage: Storage, leftovers: list[Leftover], lock_timeout: float
    ) -> None:
        self._layout = layout
        self._storage = storage
        self._leftovers = leftovers
        self._is_dry = isinstance(storage, DryStorage)
        self._buffer = Buffer(storage, 2 * _COMMIT + MOST_LINE, lambda: None, lambda: None)
        self._index = Index(layout, storage, secrets.token_hex(6), self._buffer.release)
        self._flusher = Flusher(
            layout,
            storage,
            self._index,
            self._buffer,
            sync_flushes=True,
            lock_timeout=lock_timeout,
        )

    def run(self) -> int:
        self._index.refresh()
        keeping = Keeping(self._index.removal.horizons)
        known = self._known({line.id for line, _ in self._lines()})
        adopted = size = 0
        entries: list[Entry] = []
        for line, length in self._lines():
            if line.id in known:
                continue
            if keeping.is_expired(from_text(line.timestamp), line.source, line.tags):
                continue
            known.add(line.id)
            adopted += 1
            if self._is_dry:
                continue
            entry = _entry(line, length)
            entries.append(entry)
            size += entry.size
            if size >= _COMMIT:
                self._commit(entries, size)
                entries, size = [], 0
        if entries:
            self._commit(entries, size)
        return adopted

    def _commit(self, entries: list[Entry], size: int) -> None:
        self._buffer.put_many(entries, None, size, False)
        self._flusher.sync()

    def _lines(self) -> Iterator[tuple[Line, int]]:
        """The lines among the leftovers that can be stored, with their length."""
        for path, start, end in self._leftovers:
            for part in read_lines(self._layout, self._storage, path, EVER, start, end):
                if isinstance(part, Good):
                    for line, raw in zip(part.lines, part.raw_lines, strict=True):
                        if _is_storable(line):
                            yield line, len(raw)

    def _known(self, ids: set[str]) -> set[str]:
        """Those of ``ids`` that events of the log have."""
        known: set[str] = set()
        index = self._index
        for day in index.between(None, None) if ids else ():
            known |= ids & {tombstone.id for tombstone in index.tombstones(day)}
            for name, blocks in index.blocks(day, None, None, index.position):
                try:
                    with self._storage.reading(self._layout.segment(name.path)) as fd:
                        for block in blocks:
                            text = read_text(partial(self._storage.read_at, fd), (block,))
                            known |= ids & _ids(text)
                except OSError as error:
                    # What is gone, or no file, is reported as damage.
                    if error.errno not in NOT_PLAIN | {errno.ENOENT}:
                        raise
        return known


class _Id(msgspec.Struct, gc=False):
    """A line of which only the id is wanted."""

    id: str


_id_decoder = msgspec.json.Decoder(_Id)


def _ids(data: bytes) -> set[str]:
    """The ids of a block's lines, as far as they can be read."""
    try:
        return {each.id for each in _id_decoder.decode_lines(data)}
    except NOT_EVENTS:
        found = set()
        for raw in data.split(b"\n"):
            try:
                found.add(_id_decoder.decode(raw).id)
            except NOT_EVENTS:
                # The block is damaged, and this line with it.
                continue
        return found


def _is_storable(line: Line) -> bool:
    """Whether `EventLog.append` would take it."""
    try:
        check_id(line.id, _LIMITS)
        check_source(line.source, _LIMITS)
        check_tags(line.tags, _LIMITS)
    except InvalidEvent:
        return False
    return True


def _entry(line: Line, length: int) -> Entry:
    return Entry(
        from_text(line.timestamp),
        line.id,
        line.source,
        line.tags,
        line.content,
        line.fields,
        4 * length + EVENT_OVERHEAD,
    )

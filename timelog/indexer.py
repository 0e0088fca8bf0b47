"""`TextIndexer`: builds the text index, beside everything else.

It reads segments that are sealed and not covered yet, checks their crc, and writes one file of the
text index at a time. Nothing waits for it, and nothing is lost where it fails or is killed: what it
has not written is scanned. Of several processes one builds, the one that holds ``text.lock``.
"""

from __future__ import annotations

import importlib.util
import secrets
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from itertools import pairwise
from typing import NamedTuple

from timelog import names
from timelog.blocktext import read_text
from timelog.damage import Damage
from timelog.errors import DamagedError, missing_extra
from timelog.grams import FilterMaker
from timelog.guard import check_reentry
from timelog.index import Index
from timelog.journal import Block
from timelog.lock import FileLock
from timelog.names import Layout
from timelog.storage import Storage
from timelog.taglines import TableMaker
from timelog.textindex import VERSION, Covered, Header, TextFile, TextIndex, pack
from timelog.timestamp import DAY, END, MINUTE

# Blocks are put together up to this many bytes of text for each filter of 8 KiB.
STRETCH = 384 * 1024
# One file covers at most so many bytes (its filters are in memory while it is made), and at least
# so many: with filters by the eight, a smaller one would take more than 5 % of its text.
_MOST_TEXT = 256 * 1024 * 1024
LEAST_TEXT = 8 * 1024 * 1024
# While a day goes on, the background builder waits for more.
_WORTH = 16 * 1024 * 1024

_Segment = tuple[str, tuple[Block, ...]]


class Indexing(NamedTuple):
    """What building did: ``text`` bytes of ``segments`` were covered by ``written`` bytes."""

    files: int = 0
    segments: int = 0
    text: int = 0
    written: int = 0

    def __str__(self) -> str:
        if not self.files:
            return "nothing to build: all that is worth it is covered"
        return (
            f"{self.segments:,} segments, {self.text:,} bytes of text: {self.files:,} files, "
            f"{self.written:,} bytes"
        )

    def plus(self, other: Indexing) -> Indexing:
        """The sum of both."""
        return Indexing(*(one + two for one, two in zip(self, other, strict=True)))


class TextIndexer:
    """Builds for one open log. Thread-safe: one thread builds at a time."""

    def __init__(self, layout: Layout, storage: Storage, index: Index, texts: TextIndex) -> None:
        self._layout = layout
        self._storage = storage
        self._index = index
        self._texts = texts
        self._lock = threading.RLock()
        self._held: FileLock | None = None
        # Days that are over and covered, and how many bytes each had.
        self._done: dict[int, int] = {}

    def build(self, timeout: float) -> Indexing:
        """Cover every segment that is committed now, sealed or not.

        Waits ``timeout`` seconds for another process that builds, then raises ``TimeoutError``.
        Raises `MissingExtra` without numpy, and ``OSError``.
        """
        if not is_possible():
            raise missing_extra("the text index", "fast")
        check_reentry(self._lock, "building the text index")
        done = Indexing()
        with self._lock, self._only_one(timeout):
            for day in self._sizes():
                self._texts.check(day)
                while True:
                    todo = self._uncovered(day, END)
                    made = self._cover(day, todo, LEAST_TEXT, _MOST_TEXT, lambda: False)
                    if not made.files:
                        break
                    done = done.plus(made)
            self._sweep(self._texts.days())
        return done

    def step(self, is_stopped: Callable[[], bool]) -> bool:
        """Write at most one file, of sealed segments; whether there may be more to do.

        Does nothing without numpy, and while another process builds. Raises `DamagedError` and
        ``OSError``.
        """
        if not is_possible():
            return False
        with self._lock:
            self._index.refresh()
            todo = {
                day: size
                for day, size in self._sizes().items()
                if self._done.get(day, 0) + LEAST_TEXT <= size
            }
            if not todo:
                return False
            try:
                with self._only_one(0):
                    return self._step(todo, is_stopped)
            except TimeoutError:
                return False

    def after_fork(self) -> None:
        """In a child: let go of the parent's lock, without unlocking it."""
        if self._held is not None:
            self._held.after_fork()

    # -- inside ---------------------------------------------------------------------------

    def _step(self, todo: dict[int, int], is_stopped: Callable[[], bool]) -> bool:
        now = self._storage.time_ns() // 1000
        # What is sealed now stays so if the next commit comes at once.
        before = now - now % MINUTE - MINUTE
        for day, size in todo.items():
            is_over = day + DAY <= before
            least = LEAST_TEXT if is_over else _WORTH
            made = self._cover(day, self._uncovered(day, before), least, _WORTH, is_stopped)
            if made.files or is_stopped():
                return bool(made.files)
            if is_over and _size(self._uncovered(day, END)) < LEAST_TEXT:
                self._done[day] = size
        self._sweep(todo)
        return False

    def _sizes(self) -> dict[int, int]:
        """The days that there are, and how many bytes each has."""
        with self._index.lock:
            return {day: known.bytes for day, known in self._index.days.items()}

    def _cover(
        self,
        day: int,
        todo: list[_Segment],
        least: int,
        most: int,
        is_stopped: Callable[[], bool],
    ) -> Indexing:
        """Write a file for segments of a day, if they have ``least`` bytes."""
        if _size(todo) < least:
            return Indexing()
        maker = FilterMaker(day, names.partition(day))
        tables = TableMaker(most)
        covered: list[Covered] = []
        ordinals: dict[int, int] = {}
        text = size = 0
        for number, (path, blocks) in enumerate(todo):
            length = blocks[-1].end
            if covered and text + length > most:
                break
            stretches = []
            try:
                for block, data in self._read(path, blocks):
                    if is_stopped():
                        return Indexing()
                    if not maker.count or size + block.length > STRETCH:
                        maker.begin()
                        size = 0
                    size += block.length
                    maker.add(data)
                    tables.add(number, block, data)
                    stretches.append(maker.count - 1)
            except (DamagedError, OSError) as error:
                if isinstance(error, FileNotFoundError) and self._index.is_gone(blocks[0]):
                    continue
                self._index.found_damage(Damage(path, 0, length, str(error)))
                self._index.tell()
                continue
            ends = tuple([block.end for block in blocks])
            ordinals[number] = len(covered)
            covered.append(Covered(path, blocks[-1].crc, ends, tuple(stretches)))
            text += length
        if not covered:
            return Indexing()
        header = Header(VERSION, day, maker.width, text, tuple(covered), {})
        data = b"".join(pack(header, maker.rows(), tables.tables(ordinals)))
        self._write(names.text_index(day, secrets.token_hex(6)), data)
        return Indexing(1, len(covered), text, len(data))

    def _write(self, name: str, data: bytes) -> None:
        # Always the same place, so that builds that fail leave no more than one behind.
        temporary = self._layout.temporary / names.TEXT_TEMPORARY
        try:
            self._storage.replace(self._layout.index / name, data, temporary)
        except FileNotFoundError:
            # A checkpoint has just emptied the place.
            self._storage.replace(self._layout.index / name, data, temporary)
        self._texts.look_again()

    def _uncovered(self, day: int, before: int) -> list[_Segment]:
        """The segments of a day that no file covers as they are, if sealed by ``before``."""
        files = self._texts.files(day)
        damaged = {damage.file for damage in self._index.damage}
        try:
            sealed = self._index.sealed(day, before)
        except DamagedError:
            # Reported by whoever looks for the day's events.
            return []
        return [
            (path, blocks)
            for path, blocks in sealed
            if path not in damaged
            and _is_unbroken(blocks)
            and not any(_covers(file, path, blocks) for file in files)
        ]

    def _read(self, path: str, blocks: tuple[Block, ...]) -> Iterator[tuple[Block, bytes]]:
        with self._storage.reading(self._layout.segment(path)) as fd:
            for block in blocks:
                data = read_text(partial(self._storage.read_at, fd), (block,))
                if problem := block.problem(data):
                    raise DamagedError(problem)
                yield block, data

    def _sweep(self, days: Iterable[int]) -> None:
        """Remove files of ``days`` that cannot be used, or cover nothing that is as it was."""
        for day in days:
            files = {file.path.name: file for file in self._texts.files(day)}
            try:
                segments = self._index.sealed(day, END)
            except DamagedError:
                # It may come back from a copy.
                continue
            for name in self._texts.names(day):
                file = files.get(name)
                if file is not None and any(
                    _covers(file, path, blocks) for path, blocks in segments
                ):
                    continue
                path = self._layout.index / name
                # A directory cannot be ours.
                if not self._storage.is_directory(path):
                    self._storage.unlink(path)
                    self._texts.look_again()

    @contextmanager
    def _only_one(self, timeout: float) -> Iterator[None]:
        """Hold the lock of who builds; raises ``TimeoutError`` where another process does."""
        self._held = FileLock(self._storage, self._layout.text_lock, timeout)
        with self._held.held():
            # The folder's time need not tell what another process has just made.
            self._texts.look_again()
            yield


def _size(segments: list[_Segment]) -> int:
    return sum(blocks[-1].end for _, blocks in segments)


def _is_unbroken(blocks: tuple[Block, ...]) -> bool:
    """Whether the blocks stand one behind the other from the beginning of the file."""
    return not blocks[0].offset and all(one.end == two.offset for one, two in pairwise(blocks))


def is_possible() -> bool:
    """Whether numpy is there; it is not imported for that."""
    return importlib.util.find_spec("numpy") is not None


def _covers(file: TextFile, path: str, blocks: tuple[Block, ...]) -> bool:
    covered = file.segments.get(path)
    return covered is not None and covered.is_still(blocks)

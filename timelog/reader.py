"""`BlockReader`: from the disk to the lines of a block that may match.

It reads neighbouring blocks in one call, lets a finder look at the raw text of all of them at once,
checks their crc, and cuts the candidate lines out. A block is checked each time before something of
it is passed on, and the first time that the process reads it; where it was intact then and has no
candidates, it is not checked again.
"""

from __future__ import annotations

import time
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from itertools import compress
from typing import NamedTuple

from timelog.blocktext import Read, read_text
from timelog.checksum import crc32
from timelog.errors import TRANSIENT, storage_error
from timelog.finder import Finder, Lines
from timelog.index import Index
from timelog.journal import Block
from timelog.names import Layout
from timelog.required import Text, fold
from timelog.storage import Storage
from timelog.taglines import Held

# Neighbouring blocks are read and looked at together up to this size, beginning with less: who
# wants only the first event shall not wait for more.
_FIRST = 256 * 1024
_STRETCH = 1024 * 1024
# About 60 bytes each; the others are checked whenever they are read.
_MOST_INTACT = 200_000
# Where nearly all lines are candidates, so many stretches are not looked at.
_PAUSE = 16


class Replaced(Exception):
    """The file of a block is gone since something took its place, or since its day expired."""


class Stretch(NamedTuple):
    """Neighbouring blocks of one file; or any blocks of it, of which only lines are ``held``."""

    blocks: tuple[Block, ...]
    held: tuple[Held, ...] = ()

    @property
    def length(self) -> int:
        """How many bytes it has."""
        if self.held:
            return sum([sum(held.lengths) for held in self.held])
        return self.blocks[-1].end - self.blocks[0].offset


class Raw(NamedTuple):
    """What reading a block gave.

    ``data``: the bytes of its stretch, in which it begins at ``start``. ``text``: the lines of it
    that may match. ``starts``: where these begin in ``data``, None where they are all, unless
    ``numbers`` says which they are. ``problem``: why the block is damaged, ``""`` where it is not.
    """

    block: Block
    data: bytes
    start: int
    text: bytes | memoryview
    starts: list[int] | None
    problem: str
    numbers: Sequence[int] | None = None

    @property
    def whole(self) -> bytes:
        """The bytes of the block."""
        return self.data[self.start : self.start + self.block.length]


class Fetched(NamedTuple):
    """A stretch as it was read: ``checked`` says of each block whether its crc holds, or None.

    ``problem``: why nothing could be read. ``seconds``: what it took. ``texts``: of each block the
    lines that are held, None where their crc does not hold.
    """

    stretch: Stretch
    data: bytes
    checked: list[bool | None]
    problem: str
    seconds: float
    texts: Sequence[bytes | None] = ()


class Reading(NamedTuple):
    """The blocks of a stretch, and how many seconds reading and looking through them took."""

    raws: list[Raw]
    read: float
    found: float


class BlockReader:
    """Reads for one search: `fetch` may be called by many threads at once, the others by one.

    Without a ``finder`` every line is a candidate.
    """

    def __init__(
        self, layout: Layout, storage: Storage, index: Index, finder: Finder | None
    ) -> None:
        self._layout = layout
        self._storage = storage
        self._index = index
        self._intact = index.intact
        self._finder = finder
        self._pause = 0
        # Whether most blocks have candidates, so that all are better checked ahead.
        self._is_usual = finder is None

    def read(self, stretch: Stretch) -> Reading:
        """Read the blocks of a stretch."""
        return self.examine(self.fetch(stretch))

    def fetch(self, stretch: Stretch) -> Fetched:
        """Read a stretch, and check what will be needed: work in C, without the interpreter.

        Raises `Replaced` where the file is gone, and rightly so, and `StorageError` where it may be
        read later: no descriptor is to be had.
        """
        blocks = stretch.blocks
        began = time.perf_counter()
        try:
            with self._storage.reading(self._layout.segment(blocks[0].path)) as fd:
                if stretch.held:
                    held = zip(blocks, stretch.held, strict=True)
                    texts = [self._lines(fd, *each) for each in held]
                    return Fetched(stretch, b"", [], "", time.perf_counter() - began, texts)
                data = read_text(partial(self._storage.read_at, fd), blocks)
        except OSError as error:
            if error.errno in TRANSIENT:
                # It says nothing of the blocks, and their events must not be missing in silence.
                raise storage_error("reading events", error) from error
            if isinstance(error, FileNotFoundError) and self._index.is_gone(blocks[0]):
                raise Replaced from error
            problem = f"cannot be read: {error.strerror or error}"
            return Fetched(stretch, b"", [], problem, time.perf_counter() - began)
        view = memoryview(data)
        base = blocks[0].offset
        checked = [
            not block.problem(view[block.offset - base : block.end - base])
            if self._is_usual or _key(block) not in self._intact
            else None
            for block in blocks
        ]
        return Fetched(stretch, data, checked, "", time.perf_counter() - began)

    def _lines(self, fd: int, block: Block, held: Held) -> bytes | None:
        """The lines that are held of a block, None where their crc does not hold."""
        read: Read = partial(self._storage.read_at, fd)
        start = block.offset
        if block.frame is not None:
            whole = read_text(read, (block,))
            read, start = (lambda at, length: whole[at : at + length]), 0
        places = zip(held.starts, held.lengths, strict=True)
        text = b"".join([read(start + at, length) for at, length in places])
        return text if crc32(text) == held.crc else None

    def examine(self, fetched: Fetched) -> Reading:
        """Look through what was read, and cut out the lines that may match."""
        blocks = fetched.stretch.blocks
        if fetched.problem:
            raws = [Raw(block, b"", 0, b"", None, fetched.problem) for block in blocks]
            return Reading(raws, fetched.seconds, 0)
        began = time.perf_counter()
        if fetched.texts:
            raws = list(self._held(fetched))
            return Reading(raws, fetched.seconds, time.perf_counter() - began)
        raws = list(self._cut(fetched, self._candidates(fetched)))
        self._is_usual = 2 * sum(1 for raw in raws if raw.text) > len(raws)
        return Reading(raws, fetched.seconds, time.perf_counter() - began)

    def _held(self, fetched: Fetched) -> Iterator[Raw]:
        """Yield each block with the lines that are held of it."""
        blocks, held, texts = *fetched.stretch, fetched.texts
        for block, lines, text in zip(blocks, held, texts, strict=True):
            if text is None:
                # Something changed: the block may have been intact before.
                forget_intact(self._intact, block)
                yield from self.read(Stretch((block,))).raws
            else:
                yield Raw(block, b"", 0, text, [], "", lines.numbers)

    def _candidates(self, fetched: Fetched) -> Lines | None:
        """The candidate lines, None where all lines are to be decoded."""
        if self._finder is None:
            return None
        if self._pause:
            self._pause -= 1
            return None
        most = sum(block.count for block in fetched.stretch.blocks) * self._finder.dense
        lines = self._finder.lines(fetched.data, int(most))
        if lines is None:
            self._pause = _PAUSE
        return lines

    def _cut(self, fetched: Fetched, lines: Lines | None) -> Iterator[Raw]:
        """Yield each block with its candidate lines."""
        blocks, data = fetched.stretch.blocks, fetched.data
        view = memoryview(data)
        base = blocks[0].offset
        last = 0
        for block, checked in zip(blocks, fetched.checked, strict=True):
            start, end = block.offset - base, block.end - base
            chosen = None
            if lines is not None:
                first, last = last, bisect_right(lines.ends, end, last)
                chosen = Lines(lines.starts[first:last], lines.ends[first:last])
                if first == last and checked is not False:
                    if checked:
                        self._keep(block)
                    yield Raw(block, b"", 0, b"", [], "")
                    continue
            piece = view[start:end]
            if not (checked if checked is not None else not block.problem(piece)):
                yield Raw(block, data, start, piece, None, block.problem(piece))
                continue
            self._keep(block)
            if chosen is None:
                yield Raw(block, data, start, piece, None, "")
                continue
            if chosen.starts[0] < start:
                # The block before is damaged: its last line does not end.
                chosen.starts[0] = start
            yield Raw(block, data, start, *self._join(data, chosen), "")

    def _keep(self, block: Block) -> None:
        """Note that a block was found intact."""
        if len(self._intact) < _MOST_INTACT:
            self._intact.add(_key(block))

    def _join(self, data: bytes, chosen: Lines) -> tuple[bytes, list[int]]:
        """Those of the lines that have all that is required, as one text, and where they begin."""
        starts = chosen.starts
        lines = [data[start:end] for start, end in zip(*chosen, strict=True)]
        for clause in self._finder.left() if self._finder else ():
            passed = [_has(line, clause) for line in lines]
            starts, lines = list(compress(starts, passed)), list(compress(lines, passed))
        return b"".join(lines), starts


def stretches(
    blocks: Iterable[Block], held: Callable[[Block], Held | None] = lambda block: None
) -> Iterator[Stretch]:
    """Put neighbours together, and blocks of a file of which only lines are ``held``, in order."""
    together: list[Block] = []
    lines: list[Held] = []
    size, most = 0, _FIRST
    for block in blocks:
        only = held(block)
        length = block.length if only is None else sum(only.lengths)
        if together and (
            block.path != together[-1].path
            or (only is None) == bool(lines)
            or (only is None and block.offset != together[-1].end)
            or size + length > most
        ):
            yield Stretch(tuple(together), tuple(lines))
            most = min(most + size, _STRETCH)
            together, lines, size = [], [], 0
        together.append(block)
        lines += () if only is None else (only,)
        size += length
    if together:
        yield Stretch(tuple(together), tuple(lines))


def _has(line: bytes, clause: tuple[Text, ...]) -> bool:
    return any(text.raw in (fold(line) if text.folded else line) for text in clause)


def forget_intact(intact: set[int], block: Block) -> None:
    """Let a block be checked again by whoever reads it."""
    intact.discard(_key(block))


def _key(block: Block) -> int:
    return hash((block.path, block.offset, block.crc))

"""`BlockReader`: from the disk to the lines of a block that may match.

It reads neighbouring blocks in one call, lets a finder look at the raw text of all of them at once,
checks their crc, and cuts the candidate lines out. A block is checked each time before something of
it is passed on, and the first time that the process reads it; where it was intact then and has no
candidates, it is not checked again.
"""

from __future__ import annotations

import time
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from itertools import compress
from typing import NamedTuple

from timelog.checksum import crc32
from timelog.finder import Finder
from timelog.journal import Block
from timelog.names import Layout
from timelog.required import Text, fold
from timelog.storage import read_at, reading

# Neighbouring blocks are read and looked at together up to this size, beginning with less: who
# wants only the first event shall not wait for more.
_FIRST = 256 * 1024
_STRETCH = 1024 * 1024
# About 60 bytes each; the others are checked whenever they are read.
_MOST_INTACT = 200_000
# Where nearly all lines are candidates, so many stretches are not looked at.
_PAUSE = 16


class Stretch(NamedTuple):
    """Neighbouring blocks of one file."""

    blocks: tuple[Block, ...]

    @property
    def length(self) -> int:
        """How many bytes it has."""
        return self.blocks[-1].end - self.blocks[0].offset


class Raw(NamedTuple):
    """What reading a block gave.

    ``data``: its bytes. ``text``: the lines of it that may match. ``starts``: where these begin in
    ``data``, None where they are all. ``problem``: why the block is damaged, ``""`` where it is
    not.
    """

    block: Block
    data: bytes
    text: bytes
    starts: list[int] | None
    problem: str


class Fetched(NamedTuple):
    """A stretch as it was read: ``checked`` says of each block whether its crc holds, or None.

    ``problem``: why nothing could be read. ``seconds``: what it took.
    """

    stretch: Stretch
    data: bytes
    checked: list[bool | None]
    problem: str
    seconds: float


class Reading(NamedTuple):
    """The blocks of a stretch, and how many seconds reading and looking through them took."""

    raws: list[Raw]
    read: float
    found: float


class BlockReader:
    """Reads for one search: `fetch` may be called by many threads at once, the others by one.

    ``intact``: the blocks that were found intact, for all searches of the process. Without a
    ``finder`` every line is a candidate.
    """

    def __init__(self, layout: Layout, intact: set[int], finder: Finder | None) -> None:
        self._layout = layout
        self._intact = intact
        self._finder = finder
        self._pause = 0
        # Whether most blocks have candidates, so that all are better checked ahead.
        self._is_usual = finder is None

    def read(self, stretch: Stretch) -> Reading:
        """Read the blocks of a stretch."""
        return self.examine(self.fetch(stretch))

    def fetch(self, stretch: Stretch) -> Fetched:
        """Read a stretch, and check what will be needed: work in C, without the interpreter."""
        blocks = stretch.blocks
        began = time.perf_counter()
        try:
            with reading(self._layout.segment(blocks[0].path)) as fd:
                data = read_at(fd, blocks[0].offset, stretch.length)
        except OSError as error:
            problem = f"cannot be read: {error.strerror or error}"
            return Fetched(stretch, b"", [], problem, time.perf_counter() - began)
        view = memoryview(data)
        base = blocks[0].offset
        checked = [
            _holds(block, view[block.offset - base : block.end - base])
            if self._is_usual or _key(block) not in self._intact
            else None
            for block in blocks
        ]
        return Fetched(stretch, data, checked, "", time.perf_counter() - began)

    def examine(self, fetched: Fetched) -> Reading:
        """Look through what was read, and cut out the lines that may match."""
        blocks = fetched.stretch.blocks
        if fetched.problem:
            raws = [Raw(block, b"", b"", None, fetched.problem) for block in blocks]
            return Reading(raws, fetched.seconds, 0)
        began = time.perf_counter()
        ends = self._candidates(fetched.data, sum(block.count for block in blocks))
        raws = list(self._cut(fetched, ends))
        self._is_usual = 2 * sum(1 for raw in raws if raw.text) > len(raws)
        return Reading(raws, fetched.seconds, time.perf_counter() - began)

    def _candidates(self, data: bytes, lines: int) -> list[int] | None:
        """Where the candidate lines end, None where all lines are to be decoded."""
        if self._finder is None:
            return None
        if self._pause:
            self._pause -= 1
            return None
        ends = self._finder.ends(data, int(lines * self._finder.dense))
        if ends is None:
            self._pause = _PAUSE
        return ends

    def _cut(self, fetched: Fetched, ends: list[int] | None) -> Iterator[Raw]:
        """Yield each block with its candidate lines."""
        blocks, data = fetched.stretch.blocks, fetched.data
        base = blocks[0].offset
        passed = 0
        for block, checked in zip(blocks, fetched.checked, strict=True):
            start, end = block.offset - base, block.end - base
            chosen = None
            if ends is not None:
                last = bisect_right(ends, end, passed)
                chosen = [each - start for each in ends[passed:last]]
                passed = last
            if chosen == [] and checked is not False:
                if checked:
                    self._keep(block)
                yield Raw(block, b"", b"", [], "")
                continue
            piece = data if len(blocks) == 1 else data[start:end]
            if not (_holds(block, piece) if checked is None else checked):
                is_short = len(piece) < block.length
                problem = "the file is too short" if is_short else "the crc does not hold"
                yield Raw(block, piece, piece, None, problem)
                continue
            self._keep(block)
            if chosen is None:
                yield Raw(block, piece, piece, None, "")
            else:
                yield Raw(block, piece, *self._lines(piece, chosen), "")

    def _keep(self, block: Block) -> None:
        """Note that a block was found intact."""
        if len(self._intact) < _MOST_INTACT:
            self._intact.add(_key(block))

    def _lines(self, data: bytes, ends: list[int]) -> tuple[bytes, list[int]]:
        """The lines that end at ``ends`` and have all that is required, and where they begin."""
        rfind = data.rfind
        starts = [rfind(b"\n", 0, end - 1) + 1 for end in ends]
        lines = [data[start:end] for start, end in zip(starts, ends, strict=True)]
        for clause in self._finder.left() if self._finder else ():
            passed = [_has(line, clause) for line in lines]
            starts, lines = list(compress(starts, passed)), list(compress(lines, passed))
        return b"".join(lines), starts


def stretches(blocks: Iterable[Block]) -> Iterator[Stretch]:
    """Put neighbours together, keeping the order."""
    together: list[Block] = []
    size, most = 0, _FIRST
    for block in blocks:
        if together and (
            block.path != together[-1].path
            or block.offset != together[-1].end
            or size + block.length > most
        ):
            yield Stretch(tuple(together))
            most = min(most + size, _STRETCH)
            together, size = [], 0
        together.append(block)
        size += block.length
    if together:
        yield Stretch(tuple(together))


def _has(line: bytes, clause: tuple[Text, ...]) -> bool:
    return any(text.raw in (fold(line) if text.folded else line) for text in clause)


def _holds(block: Block, data: bytes | memoryview) -> bool:
    return len(data) == block.length and crc32(data, block.seed) == block.crc


def _key(block: Block) -> int:
    return hash((block.path, block.offset, block.crc))

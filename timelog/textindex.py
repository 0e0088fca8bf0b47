"""The text index: files that prove which blocks cannot hold a text.

A file ``index/<day>.<token>.text`` covers some segments of one day, whole. Their blocks are put
together to stretches of up to 384 KiB, each with a filter of its grams (see `timelog.grams`)::

    mark b"tlT1" | length of the header, u32 | crc32 of the header, u32 | header: a msgpack map
    page | page | … | table | table | …

(integers little-endian). A page is the crc32 of the header's crc (u32), the page's number (u32) and
its rows, then the rows. A row is one bit of all filters: bit k of a row belongs to stretch k. All
rows have the same length, ``width``; a page has as many as fit into 4 KiB, at least one. A text is
looked up by reading the rows of its grams: a few pages, whatever the size of the day. A table says
where the lines of a rare tag are (see `timelog.taglines`); the header says where it is.

Nothing depends on these files. One that is damaged, or of an older release, is ignored, as is what
it says of a segment that has changed since. Only `timelog.indexer` writes them.
"""

from __future__ import annotations

import logging
import struct
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import reduce
from operator import and_, or_
from pathlib import Path

import msgspec

from timelog import grams
from timelog.errors import TRANSIENT, DamagedError, storage_error
from timelog.journal import Block
from timelog.names import Layout, parse_text_index
from timelog.positions import Natural
from timelog.required import AllOf, Need, Text
from timelog.storage import Storage
from timelog.taglines import NO_LINES, Held, decode_table

_log = logging.getLogger("timelog")

MARK = b"tlT1"
VERSION = 2
# The lines with a tag, by the path of the segment and the offset of the block.
Table = dict[tuple[str, int], Held]

_HEADER = struct.Struct("<4sII")
_CRC = struct.Struct("<I")
_PLACE = struct.Struct("<II")
_PAGE = 4096 - _CRC.size
# Headers kept in memory; a header has about 100 bytes for each segment.
_MOST_FILES = 1024


class Covered(msgspec.Struct, gc=False, frozen=True, array_like=True):
    """A segment as it was when it was indexed: where each of its blocks ended, and its stretch.

    The blocks stood one behind the other from the beginning; ``crc`` is that of all of them.
    """

    path: str
    crc: int
    ends: tuple[Natural, ...]
    stretches: tuple[Natural, ...]

    @property
    def length(self) -> int:
        """How many bytes were indexed."""
        return self.ends[-1]

    def is_still(self, blocks: Sequence[Block]) -> bool:
        """Whether these are the blocks that were indexed, or lie within them."""
        return (
            len(blocks) == len(self.ends)
            and blocks[-1].crc == self.crc
            and self.ends == tuple([block.end for block in blocks])
        )


class Header(msgspec.Struct, gc=False, frozen=True):
    """What the header of a file says. ``bytes`` is the text that it covers.

    ``tables``: for each rare tag the offset of its table behind the pages, its length and crc32.
    """

    version: int
    day: int
    width: int
    bytes: int
    segments: tuple[Covered, ...]
    tables: dict[str, tuple[int, int, int]]


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Header)


def pack(header: Header, rows: bytes, tables: dict[str, bytes]) -> Iterator[bytes]:
    """Yield the bytes of a file; ``rows`` are those of all `grams.BITS` bits.

    ``tables`` are those of the rare tags; the header's are ignored.
    """
    places = {}
    at = 0
    for tag, table in tables.items():
        places[tag] = at, len(table), zlib.crc32(table)
        at += len(table)
    payload = _encoder.encode(msgspec.structs.replace(header, tables=places))
    crc = zlib.crc32(payload)
    yield _HEADER.pack(MARK, len(payload), crc) + payload
    size = _rows_a_page(header.width) * header.width
    view = memoryview(rows)
    for number, at in enumerate(range(0, len(rows), size)):
        page = view[at : at + size]
        yield _CRC.pack(_crc(crc, number, page))
        yield bytes(page)
    yield from tables.values()


class TextFile:
    """One file of the text index. Immutable and thread-safe; opened for each lookup."""

    def __init__(self, path: Path, storage: Storage) -> None:
        """Read the header; raises `DamagedError` where it cannot be relied on, and ``OSError``."""
        self.path = path
        self._storage = storage
        with storage.reading(path) as fd:
            first = storage.read_at(fd, 0, _HEADER.size)
            if len(first) < _HEADER.size:
                raise DamagedError(f"{path.name} is too short")
            mark, length, crc = _HEADER.unpack(first)
            payload = storage.read_at(fd, _HEADER.size, min(length, storage.size(fd)))
        if mark != MARK or len(payload) != length or zlib.crc32(payload) != crc:
            raise DamagedError(f"{path.name} is damaged, or of another release")
        try:
            header = _decoder.decode(payload)
        except msgspec.DecodeError as error:
            raise DamagedError(f"{path.name} is of another release: {error}") from None
        if (
            header.version != VERSION
            or not 0 < header.width <= _PAGE
            or any(len(each.ends) != len(each.stretches) for each in header.segments)
        ):
            raise DamagedError(f"{path.name} is of another release")
        self.day = header.day
        self.bytes = header.bytes
        self.segments = {covered.path: covered for covered in header.segments}
        self._paths = [covered.path for covered in header.segments]
        self.tables = header.tables
        self._width = header.width
        self._crc = crc
        self._start = _HEADER.size + length

    def holders(self, need: Need) -> int:
        """The stretches that may hold what is needed, as bits.

        Raises `DamagedError` where a page is damaged, and ``OSError``.
        """
        with self._storage.reading(self.path) as fd:
            return self._holders(need, fd, {})

    def rarest(self, tags: Iterable[str]) -> str | None:
        """Which of ``tags`` has the shortest table; None where none of them has one."""
        rare = [tag for tag in tags if tag in self.tables]
        return min(rare, key=lambda tag: self.tables[tag][1], default=None)

    def table(self, tag: str) -> Table:
        """The lines with a rare tag, by segment and block.

        Raises `DamagedError` where the table is damaged, and ``OSError``.
        """
        at, length, crc = self.tables[tag]
        pages = -(-grams.BITS // _rows_a_page(self._width))
        start = self._start + grams.BITS * self._width + pages * _CRC.size
        with self._storage.reading(self.path) as fd:
            data = self._storage.read_at(fd, start + at, length)
        if len(data) != length or zlib.crc32(data) != crc:
            raise DamagedError(f"{self.path.name} is damaged")
        try:
            return {(self._paths[held.segment], held.offset): held for held in decode_table(data)}
        except (msgspec.DecodeError, IndexError) as error:
            raise DamagedError(f"{self.path.name} is of another release: {error}") from None

    def check(self) -> None:
        """Read all of it; raises `DamagedError` where something is damaged, and ``OSError``."""
        together = _rows_a_page(self._width)
        with self._storage.reading(self.path) as fd:
            for page in range(0, grams.BITS, together):
                self._row(page, fd, {})
        for tag in self.tables:
            self.table(tag)

    def _holders(self, need: Need, fd: int, pages: dict[int, bytes]) -> int:
        everything = (1 << 8 * self._width) - 1
        if isinstance(need, Text):
            rows = (self._row(number, fd, pages) for number in grams.numbers(need))
            return reduce(and_, rows, everything)
        parts = (self._holders(part, fd, pages) for part in need.parts)
        return reduce(and_, parts, everything) if isinstance(need, AllOf) else reduce(or_, parts, 0)

    def _row(self, number: int, fd: int, pages: dict[int, bytes]) -> int:
        width = self._width
        together = _rows_a_page(width)
        page, row = divmod(number, together)
        if page not in pages:
            size = min(together, grams.BITS - page * together) * width + _CRC.size
            data = self._storage.read_at(
                fd, self._start + page * (together * width + _CRC.size), size
            )
            if len(data) != size or _CRC.unpack_from(data)[0] != _crc(
                self._crc, page, data[_CRC.size :]
            ):
                raise DamagedError(f"{self.path.name} is damaged")
            pages[page] = data
        at = _CRC.size + row * width
        return int.from_bytes(pages[page][at : at + width], "little")


class TextIndex:
    """All files of a log's text index, found again when they change. Thread-safe."""

    def __init__(self, layout: Layout, storage: Storage) -> None:
        self._storage = storage
        self._folder = layout.index
        self._seen = -1
        self._names: dict[int, tuple[str, ...]] = {}
        # None for a file that cannot be used.
        self._files: dict[str, TextFile | None] = {}
        self._checked: set[str] = set()

    def files(self, day: int) -> list[TextFile]:
        """The files of a day that can be used."""
        self._look()
        found = (self._file(name) for name in self._names.get(day, ()))
        return [file for file in found if file is not None]

    def names(self, day: int) -> tuple[str, ...]:
        """The names of all files of a day, usable or not."""
        self._look()
        return self._names.get(day, ())

    def days(self) -> list[int]:
        """The days that have files, in order."""
        self._look()
        return sorted(self._names)

    def look_again(self) -> None:
        """Forget what files there are: some were made or removed."""
        self._seen = -1

    def check(self, day: int) -> None:
        """Read all of a day's files once, so that those that are damaged are not used any more."""
        for file in self.files(day):
            if file.path.name not in self._checked:
                try:
                    file.check()
                    self._checked.add(file.path.name)
                except FileNotFoundError:
                    continue
                except (DamagedError, OSError) as error:
                    self._refuse(file.path.name, error)

    def ruling(self, day: int, need: Need, tags: Iterable[str] = ()) -> Ruling:
        """Which blocks of a day may hold what is needed, and all ``tags``.

        Cost: some pages for each file, and the table of a tag.
        """
        files = []
        for file in self.files(day):
            try:
                files.append((file, file.holders(need), file.rarest(tags)))
            except FileNotFoundError:
                # Somebody replaced it; what it covered is read.
                continue
            except (DamagedError, OSError) as error:
                self._refuse(file.path.name, error)
        return Ruling(files, self._refuse)

    def _look(self) -> None:
        """List the folder where it has changed."""
        try:
            changed = self._storage.status(self._folder).st_mtime_ns
            if changed == self._seen:
                return
            found = self._storage.names(self._folder)
        except OSError as error:
            if error.errno in TRANSIENT:
                raise storage_error("reading the text index", error) from error
            # Copies often leave out directories that are empty.
            self._names = {}
            return
        names: dict[int, list[str]] = {}
        for name in found:
            day = parse_text_index(name)
            if day is not None:
                names.setdefault(day, []).append(name)
        self._names = {day: tuple(those) for day, those in names.items()}
        self._seen = changed

    def _file(self, name: str) -> TextFile | None:
        if name not in self._files:
            if len(self._files) >= _MOST_FILES:
                self._files.clear()
            try:
                self._files[name] = TextFile(self._folder / name, self._storage)
            except FileNotFoundError:
                return None
            except (DamagedError, OSError) as error:
                self._refuse(name, error)
        return self._files.get(name)

    def _refuse(self, name: str, error: Exception) -> None:
        """Do not use a file any more; raises `StorageError` where it may be read later."""
        if isinstance(error, OSError) and error.errno in TRANSIENT:
            raise storage_error("reading the text index", error) from error
        _log.warning("a file of the text index is ignored until it is built again: %s", error)
        self._files[name] = None


class Ruling:
    """What the text index says of one day's blocks for one search. Not thread-safe."""

    def __init__(
        self,
        files: Sequence[tuple[TextFile, int, str | None]],
        refuse: Callable[[str, Exception], None],
    ) -> None:
        self._files = files
        self._refuse = refuse
        # Of each segment that was asked about, the file and the tag whose table to use.
        self._tables: dict[str, tuple[TextFile, str]] = {}
        # The table used last: those of a whole day may be large.
        self._table: tuple[TextFile | None, Table | None] = (None, None)

    def candidates(self, path: str, blocks: Sequence[Block]) -> Sequence[Block]:
        """Those of a segment's blocks that may hold what is needed; all where nothing is known."""
        for file, holders, tag in self._files:
            covered = file.segments.get(path)
            if covered is None or not covered.is_still(blocks):
                continue
            if tag is not None:
                self._tables[path] = file, tag
            return [
                block
                for block, stretch in zip(blocks, covered.stretches, strict=True)
                if holders >> stretch & 1
            ]
        return blocks

    def held(self, block: Block) -> Held | None:
        """The lines of a candidate that have a rare tag which was asked for; None for any."""
        file, tag = self._tables.get(block.path, (None, ""))
        if file is None:
            return None
        if self._table[0] is not file:
            self._table = file, self._read(file, tag)
        table = self._table[1]
        return None if table is None else table.get((block.path, block.offset), NO_LINES)

    def _read(self, file: TextFile, tag: str) -> Table | None:
        try:
            return file.table(tag)
        except FileNotFoundError:
            # Somebody replaced it; what it covered is read.
            return None
        except (DamagedError, OSError) as error:
            # What it says is not used then.
            self._refuse(file.path.name, error)
            return None


def _rows_a_page(width: int) -> int:
    return max(_PAGE // width, 1)


def _crc(header: int, number: int, rows: bytes | memoryview) -> int:
    return zlib.crc32(rows, zlib.crc32(_PLACE.pack(header, number)))

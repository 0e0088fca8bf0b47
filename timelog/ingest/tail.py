"""`Tail`: one file that grows, read block by block from its place on."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

from timelog.checksum import crc32
from timelog.ingest.lines import CHUNK, Tally, hold, one_line, whole_lines
from timelog.ingest.making import Maker
from timelog.ingest.opening import Packed, Plain, open_content
from timelog.ingest.options import MAX_CONTENT, Options
from timelog.ingest.place import HEAD, TAIL, Place, head_of, packing_of
from timelog.ingest.records import join


class Rewritten(Exception):
    """The file does not hold any more what was read of it: it was truncated, or is another one."""


@dataclass
class _Long:
    """The beginning of a line that is longer than a block."""

    at: int  # up to where it was read
    crc: int
    last: bytes
    held: bytes = b""
    dropped: int = 0


class Tail:
    """A file at ``path``, read from ``place`` on. For one thread.

    Holds no bytes of the file but the beginning of a line longer than `CHUNK`, of which at most
    `MAX_CONTENT`; the rest of an unfinished line is read again when there is more.
    """

    def __init__(self, options: Options, path: bytes, name: str, place: Place) -> None:
        self.path = path
        self.first_path = path  # which another file may have by now
        self.name = name
        self.place = place
        self.size = -1  # as it was when it was last read to its end
        self.changed_ns = -1
        self.looked_ns = 0  # when it was changed, as a scan saw it
        self.final_name = b""  # that of a complete run, until it was read to its end
        self.is_taken = False  # a compressed file has all that it has
        self.was_torn = False  # when it was last read, see `is_torn`
        self.tried = -1  # the size with which records were taken as they are
        self.idle_since: float | None = None  # something unfinished waits since then
        self.packing = packing_of(place.name)
        self._options = options
        self._content: Plain | Packed | None = None
        self._long: _Long | None = None
        self._head = b""
        self._block = CHUNK
        self._maker = Maker(options, name, place.form, place.looked, place.last_us)

    @property
    def is_open(self) -> bool:
        """Whether a descriptor is held."""
        return self._content is not None

    @property
    def has_rest(self) -> bool:
        """Whether, when it was last read to its end, something unfinished was left."""
        return self.was_torn or (not self.packing and self.size > self.place.offset)

    @property
    def held(self) -> int:
        """How many bytes of an unfinished line are in memory."""
        return len(self._long.held) if self._long else 0

    @property
    def form(self) -> str:
        """In which form its times are read; empty where that is not known yet."""
        return self._maker.form

    def open(self) -> None:
        """Open it, if it is not.

        Raises ``OSError``, and `Rewritten` where the first bytes are not those of its place.
        """
        if self._content is not None:
            return
        content = open_content(self.path, self.packing, self.place.key)
        try:
            head = content.read_at(0, self.place.head_length) if self.place.head_length else b""
            if head_of(head) != self.place.head and self.place.head_length:
                raise Rewritten
        except BaseException:
            content.close()
            raise
        self._content, self._head = content, head

    def close(self) -> None:
        """Close it; it may be opened again."""
        if self._content is not None:
            self._content.close()
        self._content = None
        self._long = None

    def check(self) -> None:
        """Raise `Rewritten` if the open file has been emptied, or begins in another way now."""
        if isinstance(self._content, Plain) and (
            os.fstat(self._content.fd).st_size < self.place.offset
            or self._content.read_at(0, len(self._head)) != self._head
        ):
            raise Rewritten

    def status(self) -> os.stat_result:
        """Return what the open file is now."""
        assert self._content is not None
        return os.fstat(self._content.fd)

    @property
    def is_torn(self) -> bool:
        """Whether it is a compressed file whose end is missing."""
        return isinstance(self._content, Packed) and self._content.is_torn

    def read(self, *, limit_us: int, ends_line: bool, ends_record: bool) -> list[dict[str, Any]]:
        """Return the events of the next block and move the place on; nothing at the end.

        ``limit_us``: when the file was changed last. ``ends_line``: nothing more will come, so an
        unfinished last line is one. ``ends_record``: nothing came for a while, so the lines that
        there are make a record. Raises ``OSError``, and `Rewritten`.
        """
        assert self._content is not None
        while True:
            if self._long is not None:
                events, goes_on = self._read_long(limit_us, ends_line)
            else:
                events, goes_on = self._read_block(limit_us, ends_line, ends_line or ends_record)
            if events or not goes_on:
                return events

    def _read_block(
        self, limit_us: int, ends_line: bool, ends_record: bool
    ) -> tuple[list[dict[str, Any]], bool]:
        """Read a block; whether it is worth to go on where no event came of it."""
        assert self._content is not None
        place = self.place
        before = min(TAIL, place.offset)
        data = self._content.read_at(place.offset - before, before + self._block)
        self._check_before(data, before)
        ends_line = ends_line and not self.is_torn
        is_full = len(data) == before + self._block
        end = data.rfind(b"\n", before) + 1
        if not end:
            if is_full:
                self._start_long(data, before)
                return [], True
            if not ends_line or len(data) == before:
                return [], False
        if ends_line and not is_full:
            end = len(data)
        text = data[before : end - 1 if data[end - 1] == 10 else end]
        counted = Tally()
        lines = whole_lines(text, MAX_CONTENT, counted)
        self._maker.look(lines, limit_us)
        if self._options.starts is not None:
            begins = self._begins(lines)
            count = len(lines) if ends_record and not is_full else begins[-1]
            if not count and is_full:
                if self._block <= MAX_CONTENT:
                    self._block *= 2
                    return [], True
                count = len(lines)  # too large for one record: it is divided
            if not count:
                return [], False
            if count < len(lines):
                begins.pop()
                end = _start_of_last(data, end, len(lines) - count)
                counted = Tally()
                whole_lines(data[before : end - 1], MAX_CONTENT, counted)
            lines = join(lines, begins, count, MAX_CONTENT)
            self._block = CHUNK
        self._options.tally.not_utf8 += counted.not_utf8
        self._options.tally.cut += counted.cut
        events = self._maker.events(lines)
        view = memoryview(data)[before:end]
        self._advance(place.offset + end - before, crc32(view, place.crc), data[:end])
        return events, True

    def _begins(self, lines: list[str]) -> list[int]:
        """Return the numbers of the lines that begin a record; the first always does."""
        starts, times = self._options.starts, self._maker.times
        assert starts is not None
        return [number for number, line in enumerate(lines) if starts(line, times) or not number]

    def _start_long(self, data: bytes, before: int) -> None:
        line = data[before:]
        crc = crc32(line, self.place.crc)
        self._long = _Long(self.place.offset + len(line), crc, data[-TAIL:], line)

    def _read_long(self, limit_us: int, ends_line: bool) -> tuple[list[dict[str, Any]], bool]:
        assert self._content is not None and self._long is not None
        long = self._long
        data = self._content.read_at(long.at - len(long.last), len(long.last) + CHUNK)
        before = len(long.last)
        if data[:before] != long.last:
            raise Rewritten
        ends_line = ends_line and not self.is_torn
        end = data.find(b"\n", before) + 1
        is_full = len(data) == before + CHUNK
        text = data[before : end - 1] if end else data[before:]
        if not end and not is_full and not ends_line:
            # Kept for when there is more of it.
            self._go_on(long, text, data)
            return [], False
        long.held, long.dropped = hold(long.held, long.dropped, text, MAX_CONTENT)
        stop = end or len(data)
        long.crc = crc32(memoryview(data)[before:stop], long.crc)
        long.at += stop - before
        long.last = data[:stop][-TAIL:]
        if not end and is_full:
            return [], True
        lines = [one_line(long.held, long.dropped, MAX_CONTENT, self._options.tally)]
        self._maker.look(lines, limit_us)
        events = self._maker.events(lines)
        self._long = None
        self._advance(long.at, long.crc, long.last)
        return events, True

    def _go_on(self, long: _Long, text: bytes, data: bytes) -> None:
        long.held, long.dropped = hold(long.held, long.dropped, text, MAX_CONTENT)
        long.crc = crc32(text, long.crc)
        long.at += len(text)
        long.last = data[-TAIL:]

    def _check_before(self, data: bytes, before: int) -> None:
        if len(data) < before:
            raise Rewritten
        if before and crc32(data[:before]) != self.place.tail:
            raise Rewritten

    def _advance(self, offset: int, crc: int, data: bytes) -> None:
        """Move the place to ``offset``, where ``data`` ends."""
        place = self.place
        self._options.tally.bytes += offset - place.offset
        if len(self._head) < HEAD:
            at = offset - len(data)
            if at <= len(self._head):
                self._head = (self._head[:at] + data)[:HEAD]
            else:  # the end of a long line
                assert self._content is not None
                self._head = self._content.read_at(0, HEAD)
        self.place = place._replace(
            offset=offset,
            crc=crc,
            tail=crc32(data[-min(TAIL, offset) :]),
            head_length=len(self._head),
            head=head_of(self._head),
            form=self._maker.detected,
            looked=self._maker.looked,
            last_us=self._maker.last_us,
        )


def _start_of_last(data: bytes, end: int, count: int) -> int:
    """Return where the last ``count`` lines of ``data[:end]`` begin."""
    if not count:
        return end
    at = end - 1 if data[end - 1] == 10 else end
    for _ in range(count):
        at = data.rfind(b"\n", 0, at)
    return at + 1

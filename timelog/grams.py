"""Which texts a stretch of lines may hold: a filter of the 4-grams of its folded text.

A filter is a set of 65,536 bits, one for each hash of four bytes in a row. A text can only be
there where the bits of all its grams are set (Bloom's filter of 1970, of n-grams instead of words).
Lines are taken without what is looked for by time instead: the timestamp, and an id that carries
the time of its event. Pure functions; making filters needs numpy, asking them does not.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from timelog.required import SPECIAL, Text, fold

BITS = 1 << 16
_SIZE = 4
_MULTIPLIER = 0x9E3779B1
# A text of more grams is known well enough by so many of them.
_MOST_GRAMS = 24

_HEAD = b'{"timestamp":"....-..-..T..:..:...000000Z","id":"........-....-7...-....-............",'
_TIME = 14
_ID = 49
_DIGITS = [column + _TIME for column in (11, 12, 14, 15, 17, 18, 20, 21, 22)]
_WEIGHTS = (36_000_000, 3_600_000, 600_000, 60_000, 10_000, 1_000, 100, 10, 1)
_HEX = [column + _ID for column in range(36) if column not in (8, 13, 18, 23)]
_MILLISECONDS = 12
_VARIANT = 16


def numbers(text: Text) -> list[int]:
    """The bits that are set where ``text`` occurs; none where it is too short to say."""
    raw = fold(text.raw)
    grams = [raw[at : at + _SIZE] for at in range(len(raw) - _SIZE + 1)]
    if len(grams) > _MOST_GRAMS:
        step = len(grams) / _MOST_GRAMS
        grams = [grams[int(number * step)] for number in range(_MOST_GRAMS)]
    return sorted({_hash(gram) for gram in grams})


class FilterMaker:
    """Makes the filters of some stretches of one day, eight to a column of bytes.

    ``day`` is the start of the day in microseconds, ``date`` its text. Needs numpy. Not
    thread-safe. Cost: about 4 ns a byte of text.
    """

    def __init__(self, day: int, date: str) -> None:
        import numpy

        self._numpy = numpy
        self._day = day // 1000
        self._fixed, constant = _constants(date)
        self._constant = numpy.frombuffer(constant, numpy.uint8)
        self._digits = _values(numpy, b"0123456789")
        self._hexes = _values(numpy, b"0123456789abcdef")
        self._weights = numpy.array(_WEIGHTS, numpy.int64)
        self._powers = numpy.int64(16) ** numpy.arange(_MILLISECONDS - 1, -1, -1)
        self._columns: list[Any] = []
        # Used again and again: fresh memory of this size costs as much as what is done with it.
        self._scratch = numpy.empty(0, numpy.uint32), numpy.empty(0, numpy.intp)
        self.count = 0

    def begin(self) -> None:
        """Begin the filter of a next stretch."""
        if self.count % 8 == 0:
            self._columns.append(self._numpy.zeros(BITS, self._numpy.uint8))
        self.count += 1

    def add(self, data: bytes) -> None:
        """Add whole lines to the stretch that was begun last."""
        numpy = self._numpy
        text = b"\n".join(self._without_times(data)).lower()
        values = numpy.frombuffer(text, numpy.uint8)
        # Few bytes are not ASCII: folding all, where none of these needs it, would take long.
        others = values[numpy.flatnonzero(values > 0x7F)].tobytes()
        if any(char in others for char in SPECIAL):
            text = fold(text)
        is_set = numpy.zeros(BITS, numpy.uint8)
        for shift in range(min(_SIZE, max(len(text) - _SIZE + 1, 0))):
            grams = numpy.frombuffer(text, "<u4", (len(text) - shift) // _SIZE, shift)
            hashes, places = (scratch[: len(grams)] for scratch in self._scratches(len(grams)))
            numpy.multiply(grams, numpy.uint32(_MULTIPLIER), out=hashes)
            # The index type that numpy would convert to by itself, at twice the cost.
            places[:] = numpy.right_shift(hashes, 16, out=hashes)
            is_set[places] = 1
        self._columns[-1] |= is_set << ((self.count - 1) % 8)

    def rows(self) -> bytes:
        """For each bit one row: the byte of each column, so bit k of a row is of filter k."""
        rows: bytes = self._numpy.stack(self._columns, axis=1).tobytes()
        return rows

    @property
    def width(self) -> int:
        """How many bytes a row has."""
        return len(self._columns)

    def _scratches(self, size: int) -> tuple[Any, Any]:
        """Arrays for at least ``size`` hashes and their places."""
        if len(self._scratch[0]) < size:
            numpy = self._numpy
            self._scratch = numpy.empty(size, numpy.uint32), numpy.empty(size, numpy.intp)
        return self._scratch

    def _without_times(self, data: bytes) -> list[bytes]:
        """The lines without the timestamp, and without an id that carries it."""
        numpy = self._numpy
        values = numpy.frombuffer(data, numpy.uint8)
        ends = numpy.flatnonzero(values == 0x0A)
        if not data.endswith(b"\n"):
            ends = numpy.append(ends, len(data))
        starts = numpy.append(0, ends[:-1] + 1)
        length = len(_HEAD)
        begins = starts + _ID - 6
        usual = numpy.flatnonzero(ends - starts > length)
        if len(usual):
            heads = numpy.lib.stride_tricks.sliding_window_view(values, length)[starts[usual]]
            begins[usual[self._carry_their_time(heads)]] += length - (_ID - 6)
        return [data[at:end] for at, end in zip(begins.tolist(), ends.tolist(), strict=True)]

    def _carry_their_time(self, heads: Any) -> Any:
        """For each row of ``heads`` whether the id is a UUIDv7 of the very millisecond."""
        ok = (heads[:, self._fixed] == self._constant).all(axis=1)
        digits = self._digits[heads[:, _DIGITS]]
        hexes = self._hexes[heads[:, _HEX]]
        ok &= (digits >= 0).all(axis=1) & (hexes >= 0).all(axis=1)
        ok &= hexes[:, _VARIANT] >> 2 == 2
        return ok & (hexes[:, :_MILLISECONDS] @ self._powers == digits @ self._weights + self._day)


def _constants(date: str) -> tuple[list[int], bytes]:
    """Where in its head a line with an own id is the same all day, and what is there."""
    head = _HEAD[:_TIME] + date.encode() + _HEAD[_TIME + len(date) :]
    # The digits behind the millisecond do not matter.
    fixed = [at for at, byte in enumerate(head) if byte not in b".0" or at < _TIME + len(date)]
    return fixed, bytes(head[at] for at in fixed)


def _values(numpy: Any, digits: bytes) -> Any:
    """The value of each byte as a digit, -1 where it is none."""
    values = numpy.full(256, -1, numpy.int64)
    values[numpy.frombuffer(digits, numpy.uint8)] = numpy.arange(len(digits))
    return values


def _hash(gram: Sequence[int] | bytes) -> int:
    return (int.from_bytes(bytes(gram), "little") * _MULTIPLIER & 0xFFFFFFFF) >> 16

"""Ids that sort by time: UUIDv7 (RFC 9562, section 5.7) for the events of one process.

The first 48 bits are the event's timestamp in milliseconds. The rest is random once per
`Uuid7`, with a counter in the last 48 bits (the RFC's method 1), so ids increase for timestamps
that do not decrease, and two processes meet only if 26 random bits and the counters agree.
Not thread-safe: the buffer calls it under its lock.
"""

from __future__ import annotations

import random
import uuid
from collections.abc import Iterator

# The counter's last 12 bits, ready as text: an id then costs one concatenation.
_LOW = tuple(f"{n:03x}" for n in range(4096))
_COUNTER_BITS = 36


class Uuid7:
    """A source of ids, in two parts so that the buffer's inner loop only joins them."""

    def __init__(self) -> None:
        source = random.SystemRandom()
        self._random = f"7{source.getrandbits(12):03x}-{0x8000 | source.getrandbits(14):04x}"
        self._counter = source.getrandbits(_COUNTER_BITS - 1)
        self._era = -1
        self._front = ""

    def start(self, ms: int) -> tuple[str, Iterator[str]]:
        """Return the front, and one by one the ends, of 4,096 ids.

        They carry the millisecond ``ms`` (before 1970: zero).
        """
        ms = max(ms, 0)
        # The first eight digits last for 65 seconds.
        if ms >> 16 != self._era:
            self._era = ms >> 16
            self._front = f"{self._era:08x}"
        self._counter = (self._counter + 1) % (1 << _COUNTER_BITS)
        front = f"{self._front}-{ms & 0xFFFF:04x}-{self._random}-{self._counter:09x}"
        return front, iter(_LOW)


def milliseconds(id: str) -> int | None:
    """The time in an id that is a UUIDv7, in milliseconds since 1970; None for other ids."""
    try:
        value = uuid.UUID(id)
    except ValueError:
        return None
    if value.version != 7 or str(value) != id:
        return None
    return value.int >> 80

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
_HIGH_BITS = 36


class Uuid7:
    """A source of ids. ``prefix`` and ``suffixes`` are read by the buffer's inner loop."""

    def __init__(self) -> None:
        source = random.SystemRandom()
        self._random = f"7{source.getrandbits(12):03x}-{0x8000 | source.getrandbits(14):04x}"
        self._high = source.getrandbits(_HIGH_BITS - 1)
        self.prefix = ""
        self.suffixes: Iterator[str] = iter(())

    def start(self, ms: int) -> None:
        """Make the next 4,096 ids carry the millisecond ``ms`` (before 1970: zero)."""
        self._high = (self._high + 1) % (1 << _HIGH_BITS)
        time = f"{max(ms, 0):012x}"
        self.prefix = f"{time[:8]}-{time[8:]}-{self._random}-{self._high:09x}"
        self.suffixes = iter(_LOW)


def milliseconds(id: str) -> int | None:
    """The time in an id that is a UUIDv7, in milliseconds since 1970; None for other ids."""
    try:
        value = uuid.UUID(id)
    except ValueError:
        return None
    if value.version != 7 or str(value) != id:
        return None
    return value.int >> 80

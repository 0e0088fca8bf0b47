"""A storage whose clocks a test sets."""

from __future__ import annotations

from timelog.storage import Storage
from timelog.timestamp import DAY, SECOND

# Noon of a day in 2026.
NOON = 1_793_880_000 * SECOND
MIDNIGHT = NOON - NOON % DAY


class Clocked(Storage):
    """``now``: microseconds since 1970 by the wall clock; ``up``: seconds since the boot."""

    def __init__(self, now: int = NOON, boot: str = "boot one") -> None:
        super().__init__()
        self.now = now
        self.up = 1000.0
        self.boot = boot
        self.time_ns = lambda: self.now * 1000  # type: ignore[method-assign]

    def uptime(self) -> float:
        """Seconds since the boot."""
        return self.up

    def boot_id(self) -> str:
        """Which boot this is."""
        return self.boot

    def pass_by(self, us: int) -> None:
        """Let time pass, by both clocks."""
        self.now += us
        self.up += us / SECOND

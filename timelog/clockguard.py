"""`ClockGuard`: whether "now" can be relied on, so that a clock that jumped expires nothing.

The wall clock counts if it is within one day of a wall time that was trusted before, plus the time
that a clock which nobody sets (the monotonic one) says has passed since. Event timestamps never
come into it.

The reference follows the wall clock, since the two clocks drift apart, but only by a thousandth of
the time that passes: twice what an oscillator or a slewing time server does, so drift never adds
up; and a clock that jumps by just under a day again and again is found out at the second jump,
instead of taking the reference along. Pure: who uses it says what the clocks say.
"""

from __future__ import annotations

from typing import NamedTuple

from timelog.quantity import age_text
from timelog.timestamp import DAY, END, FIRST, SECOND, to_text

# Inclusive.
_BAND = DAY
# The reference follows the wall clock by at most this part of the time that passed.
_DRIFT = 0.001


class Reference(NamedTuple):
    """A wall time in microseconds since 1970, and the monotonic seconds at that moment.

    Both clocks go on for as long as the machine runs: a reference serves every process of one boot.
    """

    wall: int
    monotonic: float


class ClockGuard:
    """Judges one wall clock. Thread-safe: the reference is one immutable value.

    ``reference``: what is trusted, None for nothing yet: then any time is plausible. Who keeps it
    with the id of the boot can give it to the guards of other processes, so that one which starts
    after the jump is not taken in. The monotonic clock must be one that goes on while the machine
    sleeps, or sleeping passes for a jump.
    """

    def __init__(self, reference: Reference | None = None) -> None:
        self.reference = reference

    def is_plausible(self, wall: int, monotonic: float) -> bool:
        """Whether a wall time (microseconds) at a monotonic time (seconds) can be relied on."""
        reference = self.reference
        return reference is None or abs(wall - _expected(reference, monotonic)) <= _BAND

    def trust(self, wall: int, monotonic: float) -> None:
        """Follow the wall clock of a commit; one that is not plausible changes nothing.

        ``wall`` may be from another process's commit. The first one becomes the reference.
        """
        reference = self.reference
        if reference is None:
            self.confirm(wall, monotonic)
            return
        passed = monotonic - reference.monotonic
        # Not for less than a second: the step would be rounded to nothing, again and again.
        if passed >= 1 and self.is_plausible(wall, monotonic):
            expected = _expected(reference, monotonic)
            most = int(passed * _DRIFT * SECOND)
            step = min(max(wall - expected, -most), most)
            self.reference = Reference(expected + step, monotonic)

    def confirm(self, wall: int, monotonic: float) -> None:
        """Take the wall clock for right, whatever was trusted before: somebody looked at it."""
        self.reference = Reference(wall, monotonic)

    def expected(self, monotonic: float) -> int:
        """What the wall clock should say, as far as is known; 0 where nothing is."""
        return _expected(self.reference, monotonic) if self.reference is not None else 0

    def why(self, wall: int, monotonic: float) -> str:
        """Say why expiry is suspended; ``""`` where the time is plausible."""
        reference = self.reference
        if reference is None or self.is_plausible(wall, monotonic):
            return ""
        passed = max(round(monotonic - reference.monotonic), 0) * SECOND
        return (
            f"the clock says {_moment(wall)}, but {age_text(passed)} after the newest commit it "
            f"should be about {_moment(_expected(reference, monotonic))}; expiry is suspended "
            "until the clock is set right or confirmed"
        )


def _expected(reference: Reference, monotonic: float) -> int:
    return reference.wall + round((monotonic - reference.monotonic) * SECOND)


def _moment(us: int) -> str:
    return to_text(min(max(us, FIRST), END - 1))[:19] + "Z"

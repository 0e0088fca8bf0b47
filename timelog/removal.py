"""`Removal`: what went from a log, and what of that still stands on the disk.

Kept in ``index/root`` and continued by commits. A commit makes events go in one step; that the
files go too comes after it, and whoever takes the store lock finishes what a crash left.
"""

from __future__ import annotations

import msgspec

from timelog import names
from timelog.journal import Commit, Expiry, Replacement
from timelog.positions import Natural
from timelog.timestamp import DAY, FIRST, SECOND


class Removal(msgspec.Struct):
    """Changed only under the index's lock, or where it is nobody else's.

    ``horizons``: what expired, see `timelog.horizons`. ``partitions``:
    those that went whole and are to be moved to the trash, by the sequence of the commit.
    ``segments``: those that were replaced and are to be unlinked. ``before`` and ``sequence``: days
    before that time may have gone, the last by that commit. ``trusted``: the time of the newest
    commit, as far as the clock could be trusted; 0 where there is none.
    """

    horizons: tuple[dict[str, int], ...] = ()
    partitions: dict[str, Natural] = {}
    segments: dict[str, None] = {}
    before: int = FIRST
    sequence: Natural = 0
    trusted: int = 0

    def copy(self) -> Removal:
        """One of its own."""
        return msgspec.structs.replace(
            self, partitions=dict(self.partitions), segments=dict(self.segments)
        )

    def apply(self, commit: Commit) -> None:
        """Take in what a commit removed."""
        if commit.expiry is not None:
            self._expire(commit.expiry, commit)
        if commit.replacement is not None:
            self._replace(commit.replacement)
        self.trusted = commit.clock or commit.time

    def emptied(self, day: int, sequence: int) -> None:
        """Note that nothing is left of a day by the commit ``sequence``."""
        self.before = max(self.before, day + DAY)
        self.sequence = max(self.sequence, sequence)

    def floor(self, day: int) -> int:
        """Numbers of files of a day that has none: those up to this one may have been used."""
        return self.sequence if day < self.before else 0

    @property
    def high(self) -> int:
        """What is not older than this has not expired, whatever it is."""
        return max((max(horizon.values()) for horizon in self.horizons), default=FIRST)

    def is_going(self, path: str) -> bool:
        """Whether nothing of a file is committed any more, and it may still stand on the disk."""
        return path in self.segments or path.partition("/")[0] in self.partitions

    def _expire(self, expiry: Expiry, commit: Commit) -> None:
        self.horizons = expiry.horizons
        # Which numbers were used nobody knows without reading the day's index: as many as seconds
        # have passed since 1970 were not.
        floor = max(commit.sequence, commit.time // SECOND)
        for day in expiry.days:
            self.partitions[names.partition(day)] = commit.sequence
            self.emptied(day, floor)

    def _replace(self, replacement: Replacement) -> None:
        self.segments |= dict.fromkeys(gone.path for gone in replacement.segments)

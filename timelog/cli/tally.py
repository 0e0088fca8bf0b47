"""Which events the writers of ``torture`` append, and how what is found compares with them.

A batch is what one `append_many` takes: all of its events are stored, or none. A writer's batches
are numbered from 0, and stored in that order.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import NamedTuple


class Tally(NamedTuple):
    """Numbers of events, and of ``batches`` that are there whole.

    ``lost``: acknowledged and not there. ``twice``: there more than once. ``altered``: never
    appended. ``halves``: batches of which a part is there, or one before which is missing.
    """

    acknowledged: int = 0
    found: int = 0
    lost: int = 0
    twice: int = 0
    altered: int = 0
    halves: int = 0
    batches: int = 0

    @property
    def ok(self) -> bool:
        """Whether all is as promised."""
        return not (self.lost or self.twice or self.altered or self.halves)

    def __add__(self, other: Tally) -> Tally:  # type: ignore[override]
        return Tally(*(mine + its for mine, its in zip(self, other, strict=True)))

    def __str__(self) -> str:
        text = (
            f"{self.acknowledged:,} events acknowledged, {self.found:,} found, {self.lost} lost, "
            f"{self.twice} twice"
        )
        if self.altered or self.halves:
            text += f", {self.altered} altered, {self.halves} half commits"
        return text

    def counts(self) -> dict[str, float]:
        """The numbers of events, by name."""
        return {name: value for name, value in self._asdict().items() if name != "batches"}


def contents_of(writer: str, batch: int) -> list[str]:
    """Return the contents of a batch, each like no other, of one to eight events."""
    return [f"{writer} {batch} {n} {'x' * (batch * 7919 % 400)}" for n in range(1 + batch * 37 % 8)]


def tally(writer: str, acknowledged: int, found: Iterable[str]) -> Tally:
    """Compare ``found`` with what ``writer`` appended, whose first batches are acknowledged."""
    times = Counter(found)
    left = set(times)
    events = lost = halves = batches = batch = 0
    while left or batch < acknowledged:
        wanted = set(contents_of(writer, batch))
        there = wanted & left
        if not there and batch >= acknowledged:
            break
        left -= there
        if batch < acknowledged:
            events += len(wanted)
            lost += len(wanted - there)
        halves += len(there) not in (0, len(wanted))
        batches += there == wanted
        batch += 1
    # What is left was never appended, or comes after a batch that is missing.
    appended = {text for text in left if _is_appended(writer, text)}
    return Tally(
        events,
        sum(times.values()),
        lost,
        sum(count - 1 for count in times.values()),
        len(left - appended),
        halves + bool(appended),
        batches,
    )


def _is_appended(writer: str, text: str) -> bool:
    words = text.split(" ")
    return len(words) > 1 and words[1].isdigit() and text in contents_of(writer, int(words[1]))

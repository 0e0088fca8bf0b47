"""`Ledger`: how many events were entered and refused, by the UTC day of their commit.

One side of the books that `timelog.audit` compares; the other is what the blocks hold. It is
continued by every commit and kept in ``index/root``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping

import msgspec

from timelog.timestamp import DAY


class Row(msgspec.Struct, gc=False, frozen=True, array_like=True):
    """What was committed on one UTC day.

    ``day``: its start; ``position``: of the first event; ``events``: how many were committed;
    ``lost``: how many of them power cuts took; ``refused``: how many were not taken, by the name
    of the error.
    """

    day: int
    position: int
    events: int
    lost: int
    refused: dict[str, int]


class Ledger:
    """The rows of one log, in order. Changed only under the index's lock."""

    def __init__(self, rows: Iterable[Row]) -> None:
        self._rows = list(rows)

    def __iter__(self) -> Iterator[Row]:
        return iter(self._rows)

    def enter(self, time: int, position: int, events: int, refused: Mapping[str, int]) -> None:
        """Book a commit of ``time``, whose events stand from ``position`` on."""
        day = time - time % DAY
        if not self._rows or self._rows[-1].day < day:
            self._rows.append(Row(day, position, events, 0, dict(refused)))
            return
        row = self._rows[-1]
        if refused:
            row = msgspec.structs.replace(
                row, refused=dict(Counter(row.refused) + Counter(refused))
            )
        self._rows[-1] = msgspec.structs.replace(row, events=row.events + events)

    def lose(self, position: int, end: int) -> None:
        """Book the events from ``position`` to ``end``, where the log ended, as lost."""
        for number in reversed(range(len(self._rows))):
            row = self._rows[number]
            if end <= position:
                return
            self._rows[number] = msgspec.structs.replace(
                row,
                position=min(row.position, position),
                lost=row.lost + end - max(row.position, position),
            )
            end = row.position

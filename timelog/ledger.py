"""`Ledger`: how many events were entered, refused and removed, by the UTC day of their commit.

One side of the books that `timelog.audit` compares; the other is what the blocks hold. It is
continued by every commit and kept in ``index/root``.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping

import msgspec

from timelog.timestamp import DAY


class Row(msgspec.Struct, gc=False, frozen=True, array_like=True):
    """What was committed on one UTC day.

    ``day``: its start; ``position``: of the first event; ``events``: how many were committed;
    ``lost``: how many of them power cuts took; ``refused``: how many were not taken, by the name
    of the error. Of the events committed ``expired`` and ``erased`` are in no block any more, and
    ``deleted`` says how many were deleted, erased or not.
    """

    day: int
    position: int
    events: int
    lost: int
    refused: dict[str, int]
    expired: int = 0
    deleted: int = 0
    erased: int = 0


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

    def expire(self, entered: Iterable[tuple[int, int]]) -> None:
        """Book events as expired: for some rows their day, and how many."""
        numbers = {row.day: number for number, row in enumerate(self._rows)}
        for day, events in entered:
            if day in numbers:
                number = numbers[day]
                row = self._rows[number]
                self._rows[number] = msgspec.structs.replace(row, expired=row.expired + events)

    def delete(self, position: int) -> None:
        """Book the event at ``position`` as deleted."""
        number = self._row_of(position)
        row = self._rows[number]
        self._rows[number] = msgspec.structs.replace(row, deleted=row.deleted + 1)

    def erase(self, position: int) -> None:
        """Book the deleted event at ``position`` as erased."""
        number = self._row_of(position)
        row = self._rows[number]
        self._rows[number] = msgspec.structs.replace(row, erased=row.erased + 1)

    def share_out(self, stretches: Iterable[tuple[int, int]]) -> Counter[int]:
        """How many of these positions, from the first to before the second, each row has: by day.

        What was committed before there was a ledger counts with the first row.
        """
        shares: Counter[int] = Counter()
        for first, end in stretches if self._rows else ():
            number = self._row_of(first)
            while first < end:
                following = self._rows[number + 1].position if number + 1 < len(self._rows) else end
                reach = min(max(following, first), end)
                shares[self._rows[number].day] += reach - first
                first = reach
                number += 1
        return shares

    def _row_of(self, position: int) -> int:
        return max(bisect_right(self._rows, position, key=_position) - 1, 0)


def _position(row: Row) -> int:
    return row.position

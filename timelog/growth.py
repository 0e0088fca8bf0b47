"""`Rate`: how fast a log grows, by its ledger; and when the disk is full at that rate."""

from __future__ import annotations

import msgspec

from timelog.index import Index
from timelog.timestamp import DAY, END, HOUR, SECOND

# The ledger counts by days of UTC, so the week is today and six whole days.
_WEEK = 6 * DAY
# What was in less than that says nothing of days to come.
_LEAST = HOUR
_CENTURY = 36_525 * DAY


class Rate(msgspec.Struct, frozen=True):
    """What was committed from ``since`` to ``until``, in microseconds since 1970.

    ``bytes`` of text is an estimate: the events, times the mean length of those of these days.
    """

    since: int
    until: int
    events: int
    bytes: int

    @property
    def seconds(self) -> float:
        """How long it took."""
        return (self.until - self.since) / SECOND

    @property
    def is_short(self) -> bool:
        """Whether it took too little to tell from it how much comes in a day."""
        return self.until - self.since < _LEAST


def rates(index: Index, now: int) -> tuple[Rate, ...]:
    """The rate of today and that of seven days, both days of UTC and until ``now``.

    Both begin no earlier than the ledger, or than the first event where that was on its first day;
    just one where they begin together. Empty where nothing was committed by ``now``.
    """
    with index.lock:
        days = index.totals_of_days()
        rows = [row for row in index.ledger if row.day <= now]
    if not rows or not days:
        return ()
    begun = rows[0].day
    oldest = min(day.oldest for day in days)
    if not rows[0].position and begun <= oldest < begun + DAY:
        begun = oldest
    found: dict[int, Rate] = {}
    today = now - now % DAY
    for start in (today, today - _WEEK):
        since = max(start, begun)
        if since >= now:
            continue
        recent = [day for day in days if start <= day.day <= now] or days
        mean = sum(day.bytes for day in recent) / sum(day.events for day in recent)
        events = sum(row.events - row.lost for row in rows if row.day >= start)
        found[since] = Rate(since, now, events, round(events * mean))
    return tuple(found.values())


def full_at(rate: Rate, free: int, factor: float) -> int | None:
    """When ``free`` bytes are used up at a rate, in microseconds since 1970.

    ``factor``: bytes on the disk for each byte of text. None where nothing grows, where that is
    over a century away, and where the rate is of less than an hour.
    """
    growth = rate.bytes * factor
    if not growth or rate.is_short:
        return None
    left = free / growth * (rate.until - rate.since)
    if left > _CENTURY or rate.until + left >= END:
        return None
    return rate.until + round(left)

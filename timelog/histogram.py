"""`Histogram`: how many events there are of each day, or hour, up to the newest."""

from __future__ import annotations

import msgspec

from timelog.errors import DamagedError, StorageError
from timelog.index import DayTotals, Index, damaged_day
from timelog.journal import Block
from timelog.timestamp import DAY, HOUR

MOST_DAYS = 30
# Those are in two days at most.
MOST_HOURS = 24
# Of less than that the hours are told.
_SHORT = 2 * DAY
_HEIGHT = 4
_WIDEST = 2


class Histogram(msgspec.Struct, frozen=True):
    """The number of events of each of some neighbouring days, or hours, of UTC, in order.

    ``start``: of the first, in microseconds since 1970; ``step``: the length of each.
    """

    start: int
    step: int
    counts: tuple[int, ...]

    def latest(self, number: int) -> Histogram:
        """At most so many, the last ones; ``number`` from 1."""
        left_out = max(len(self.counts) - number, 0)
        return Histogram(self.start + left_out * self.step, self.step, self.counts[left_out:])

    def draw(self, width: int, *, blocks: bool) -> tuple[str, ...]:
        """Columns in four lines of at most ``width`` characters, or as many as there are counts.

        ``blocks``: with the characters from ``▁`` to ``█`` instead of ``#``. Whatever is not 0 is
        seen.
        """
        ramp = " ▁▂▃▄▅▆▇█" if blocks else " #"
        step = len(ramp) - 1
        # The last of them may be of days without any.
        most = max(*self.counts, 1)
        columns = max(min(width // len(self.counts), _WIDEST), 1)
        heights = [-(-count * _HEIGHT * step // most) for count in self.counts]
        return tuple(
            "".join(ramp[min(max(high - low, 0), step)] * columns for high in heights).rstrip()
            for low in reversed(range(0, _HEIGHT * step, step))
        )


def histogram(index: Index) -> Histogram | None:
    """Count the events of each of the last 30 days; of the last 24 hours in a log of under two.

    None for an empty log. Of the text nothing is read: what one flush added counts as spread evenly
    over its time. Cost: a few µs a day; for hours the index files of two days.
    """
    with index.lock:
        days = index.totals_of_days()
        if not days:
            return None
        oldest, newest = min(day.oldest for day in days), max(day.newest for day in days)
        if newest - oldest < _SHORT:
            by_hour = _by_hour(index, oldest, newest)
            if by_hour is not None:
                return by_hour
    return _by_day(days)


def _by_day(days: list[DayTotals]) -> Histogram:
    last = days[-1].day
    start = max(days[0].day, last - (MOST_DAYS - 1) * DAY)
    events = {day.day: day.events for day in days}
    return Histogram(start, DAY, tuple(events.get(day, 0) for day in range(start, last + 1, DAY)))


def _by_hour(index: Index, oldest: int, newest: int) -> Histogram | None:
    """The hours up to ``newest``; None where the index of a day cannot be used."""
    end = newest - newest % HOUR + HOUR
    start = max(oldest - oldest % HOUR, end - MOST_HOURS * HOUR)
    counts = [0] * ((end - start) // HOUR)
    for day in index.between(start, end):
        try:
            segments = index.blocks(day, start, end, index.position)
        except DamagedError as error:
            index.found_damage(damaged_day(day, error))
            return None
        except StorageError:
            # The days are known without it, and tell nearly as much.
            return None
        for _, blocks in segments:
            for block in blocks:
                _spread(block, start, counts)
    return Histogram(start, HOUR, tuple(counts))


def _spread(block: Block, start: int, counts: list[int]) -> None:
    """Add a block's events to the hours from ``start`` on in which they may lie."""
    first, length = block.first, block.last - block.first + 1
    begin = max((first - start) // HOUR, 0)
    end = min((block.last - start) // HOUR + 1, len(counts))
    for hour in range(begin, end):
        low = max(start + hour * HOUR - first, 0)
        high = min(start + (hour + 1) * HOUR - first, length)
        # Differences of a rounded sum, so that none is lost.
        counts[hour] += block.count * high // length - block.count * low // length

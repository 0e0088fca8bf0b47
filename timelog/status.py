"""`Status`: how much a log holds, how fast it grows, and how long the disk will do."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from timelog import names
from timelog.errors import TimelogError, in_words
from timelog.growth import Rate, full_at, rates
from timelog.health import Health, health
from timelog.histogram import Histogram, histogram
from timelog.quantity import size_text
from timelog.retention import Retention, next_expiry
from timelog.store import Store
from timelog.timestamp import DAY, SECOND, to_text
from timelog.usage import Usage, usage

# A name, and the lines of what there is to say.
Row = tuple[str, tuple[str, ...]]

_WIDTH = 60


class Status(msgspec.Struct, frozen=True):
    """What there is to know of an open log. ``str()`` prints it as a table, with times in UTC.

    ``mode``: how it was opened, ``"a"`` or ``"r"``. ``time``: when this was, in microseconds since
    1970. ``health``: also the numbers of partitions, segments and events, and the bytes of text.
    ``usage``: the bytes on the disk; ``free``: those that the file system has left; both None where
    they cannot be told, and ``unseen`` says why. ``rates``: what was committed today, and in seven
    days, of UTC. ``full``: when the disk is full at the last of them, if this log is all that
    grows; None where nothing does, or in over a century. ``retention``: what the log keeps, None
    where nobody said, or it cannot be read; ``next_expiry``: when the next day goes by age, None
    for never. ``histogram``: the events of each day or
    hour; None for an empty log.
    """

    path: str
    mode: str
    time: int
    health: Health
    usage: Usage | None
    free: int | None
    unseen: str
    rates: tuple[Rate, ...]
    full: int | None
    retention: Retention | None
    next_expiry: int | None
    histogram: Histogram | None

    def rows(
        self, show: Callable[[int], str] = to_text, *, width: int = _WIDTH, blocks: bool = False
    ) -> list[Row]:
        """What `str` prints, row by row.

        ``show`` turns microseconds into text. ``width``: characters for the histogram, which is the
        last row; ``blocks`` as in `Histogram.draw`. The path, and what health says, are as they
        are: escape them for a terminal.
        """
        health = self.health
        rows = [
            ("log", (self.path,)),
            ("health", ("; ".join([health.status, *health.reasons]),)),
            ("events", (f"{health.events:,}",)),
            ("position", (f"{health.position:,}",)),
            ("oldest", (show(health.oldest) if health.events else "-",)),
            ("newest", (show(health.newest) if health.events else "-",)),
            ("partitions", (f"{health.partitions:,}",)),
            ("segments", (f"{health.segments:,}",)),
            ("bytes", (f"{health.bytes:,}",)),
            ("on disk", (self._on_disk(),)),
            ("committed", tuple(map(_rate, self.rates)) or ("-",)),
        ]
        if self.mode == "a":
            rows.append(("in memory", (self._in_memory(),)))
        rows += [
            ("disk left", (self._left(),)),
            ("disk full", (self._full(show),)),
            ("keeps", (str(self.retention) if self.retention is not None else "everything",)),
            ("next expiry", (show(self.next_expiry) if self.next_expiry is not None else "-",)),
            ("checked", (show(health.last_scrub) if health.last_scrub else "-",)),
        ]
        if self.histogram is not None:
            rows.append(_chart(self.histogram.latest(max(width, 1)), show, width, blocks))
        return rows

    def __str__(self) -> str:
        return "\n".join(
            f"{name if not number else '':<11} {line}".rstrip()
            for name, lines in self.rows()
            for number, line in enumerate(lines)
        )

    def _on_disk(self) -> str:
        if self.usage is None:
            return f"- ({self.unseen})"
        kinds = {"segments": self.usage.segments, **self.usage.control()}
        parts = ", ".join(
            f"{name.replace('_', ' ')} {_size(kinds[name])}"
            for name in sorted(kinds, key=lambda name: -kinds[name])
            if kinds[name]
        )
        return f"{_size(self.usage.total)} at most: {parts}"

    def _in_memory(self) -> str:
        health = self.health
        return (
            f"{health.waiting:,} events, {_size(health.buffer_bytes)} of {_size(health.max_buffer)}"
        )

    def _left(self) -> str:
        return _size(self.free) if self.free is not None else f"- ({self.unseen})"

    def _full(self, show: Callable[[int], str]) -> str:
        if self.full is None:
            return "-"
        is_near = self.full - self.time < 2 * DAY
        return f"at this rate {show(self.full) if is_near else f'on {names.partition(self.full)}'}"


def status(store: Store) -> Status:
    """Look at an open log, and at the disk; see `Status`."""
    report = health(store)
    index = store.index
    known = len(index.damage)
    bars = histogram(index)
    if len(index.damage) > known:
        # A day that was looked at just now cannot be used.
        index.tell()
        report = health(store)
    now = store.storage.time_ns() // 1000
    used = free = full = None
    unseen = ""
    try:
        free = store.storage.free(store.layout.root)
        used = usage(store.layout, store.storage, index)
    except OSError as error:
        unseen = in_words(error)
    policy = next_one = None
    try:
        policy = store.upkeep.policy()
    except TimelogError:
        # Health says so.
        pass
    if policy is not None:
        facts = store.upkeep.expirer.facts({})
        next_one = next_expiry(index.removal.horizons, policy, facts, now)
    recent = rates(index, now)
    if recent and used is not None and free is not None and report.bytes:
        # The journal and the rest do not grow with the log.
        factor = (used.segments + used.index + used.text_index) / report.bytes
        full = full_at(recent[-1], free, factor)
    return Status(
        path=str(store.layout.root),
        mode="a" if store.options.is_writable else "r",
        time=now,
        health=report,
        usage=used,
        free=free,
        unseen=unseen,
        rates=recent,
        full=full,
        retention=policy,
        next_expiry=next_one,
        histogram=bars,
    )


def _chart(bars: Histogram, show: Callable[[int], str], width: int, blocks: bool) -> Row:
    last = bars.start + (len(bars.counts) - 1) * bars.step
    most = f"{max(bars.counts):,}"
    lines = bars.draw(width, blocks=blocks)
    if bars.step == DAY:
        stretch = f"{names.partition(bars.start)} to {names.partition(last)}"
        return "by day", (*lines, f"{stretch}: at most {most} a day")
    stretch = f"{show(bars.start)} to {show(last + bars.step)}"
    return "by hour", (*lines, f"{stretch}: at most {most} an hour")


def _rate(rate: Rate) -> str:
    second = rate.events / rate.seconds
    per_day = DAY / SECOND / rate.seconds
    often = []
    if second >= 0.1:
        often.append(f"{second:,.1f} a second")
    elif not rate.is_short:
        often.append(f"{rate.events * per_day:,.1f} a day")
    if not rate.is_short:
        often.append(f"{_size(rate.bytes * per_day)} of text a day")
    count = f"{rate.events:,} in {_time(rate.seconds)}"
    return f"{count}: {', '.join(often)}" if often else count


def _time(seconds: float) -> str:
    """``6.2 days``."""
    for unit, length in (("days", 86_400), ("hours", 3_600), ("minutes", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.1f} {unit}"
    return f"{seconds:.1f} seconds"


def _size(number: float) -> str:
    return size_text(round(number))

"""`Health`: how a log is doing, in one word, in sentences and in numbers."""

from __future__ import annotations

import msgspec

from timelog.errors import DamagedError, StorageError
from timelog.scrub import read_scrubbed
from timelog.store import Store


class Health(msgspec.Struct, frozen=True):
    """A report on an open log. Times are microseconds since 1970, 0 for never.

    ``status`` is ``"healthy"``, ``"warning"`` or ``"critical"``; ``reasons`` says why it is not
    healthy. ``scrubbed`` are bytes that were read from the device and checked in the background,
    ``scrub_passes`` how often everything was; ``last_scrub`` is when it had been last, by whichever
    process. An idle log is healthy. ``oldest`` and ``newest`` are the times of the oldest and the
    newest stored event. The counters are those of this process since it opened the log.
    """

    status: str
    reasons: tuple[str, ...]
    partitions: int
    segments: int
    events: int
    bytes: int
    oldest: int
    newest: int
    position: int
    waiting: int
    buffer_bytes: int
    max_buffer: int
    flushes: int
    flushed_events: int
    errors: int
    last_flush: int
    last_error: str
    damage: tuple[str, ...]
    missing: int
    lost_commits: int
    scrubbed: int
    scrub_passes: int
    last_scrub: int

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong."""
        return self.status == "healthy"

    def __str__(self) -> str:
        lines = [self.status, *(f"  {reason}" for reason in self.reasons)]
        lines += [
            f"stored     {self.events:,} events, {self.bytes:,} bytes, {self.segments:,} segments "
            f"in {self.partitions:,} partitions",
            f"in memory  {self.waiting:,} events, {self.buffer_bytes:,} bytes of "
            f"{self.max_buffer:,}",
            f"flushes    {self.flushes:,} with {self.flushed_events:,} events, "
            f"{self.errors:,} errors",
        ]
        return "\n".join(lines)


def health(store: Store) -> Health:
    """Look at an open log; see `Health`."""
    index, buffer, flusher = store.index, store.buffer, store.flusher
    critical: list[str] = []
    warnings: list[str] = []
    try:
        store.refresh()
    except (DamagedError, StorageError) as error:
        # What is known from before is told nevertheless.
        critical.append(str(error))
    totals = index.totals()
    counters = flusher.counters
    scrubbed = read_scrubbed(store.layout, store.storage)
    damage = {**index.damage, **dict.fromkeys(scrubbed.damage)}
    if flusher.degraded is not None:
        critical.append(str(flusher.degraded))
    elif counters.failures:
        critical.append(
            f"the last {counters.failures} flushes failed, {buffer.waiting} events wait in memory: "
            f"{counters.last_error}"
        )
    elif buffer.waiting and not store.timer.is_alive and not store.is_closed:
        critical.append("events wait in memory, and the thread that stores them does not run")
    if damage or index.missing:
        critical.append(f"{len(damage) + len(index.missing)} damaged places; run verify")
    if buffer.size > 0.9 * store.options.max_buffer:
        critical.append("the buffer is nearly full")
    elif buffer.size > 0.5 * store.options.max_buffer:
        warnings.append("the buffer is more than half full")
    if counters.checkpoint_error:
        warnings.append(f"checkpoints fail, the journal grows: {counters.checkpoint_error}")
    if index.lost:
        warnings.append(f"power cuts took {index.lost} commits, as sync='off' permits")
    return Health(
        status="critical" if critical else "warning" if warnings else "healthy",
        reasons=(*critical, *warnings),
        partitions=totals.partitions,
        segments=totals.segments,
        events=totals.events,
        bytes=totals.bytes,
        oldest=totals.oldest,
        newest=totals.newest,
        position=index.position,
        waiting=buffer.waiting,
        buffer_bytes=buffer.size,
        max_buffer=store.options.max_buffer,
        flushes=counters.flushes,
        flushed_events=counters.events,
        errors=counters.errors,
        last_flush=counters.last_flush,
        last_error=counters.last_error,
        damage=tuple(map(str, damage)),
        missing=sum(last - first + 1 for first, last in index.missing),
        lost_commits=index.lost,
        scrubbed=store.scrubber.bytes,
        scrub_passes=store.scrubber.passes,
        last_scrub=scrubbed.passed,
    )

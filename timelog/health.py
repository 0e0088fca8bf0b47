"""`Health`: how a log is doing, in one word, in sentences and in numbers."""

from __future__ import annotations

import msgspec

from timelog.errors import DamagedError, StorageError, in_words
from timelog.exposure import exposed, warning
from timelog.scrub import Scrubbed, read_scrubbed
from timelog.store import Store

# Seconds, beyond flush_interval, for which events may wait.
_PATIENCE = 300.0
# More errors a try than that are worth a warning, for so many seconds after the last; of fewer
# tries the rate says nothing.
_MOST_ERRORS = 0.01
_LEAST_CYCLES = 100
_RECENT = 3600.0


class Health(msgspec.Struct, frozen=True):
    """A report on an open log. Times are microseconds since 1970, 0 for never.

    ``status`` is ``"healthy"``, ``"warning"`` or ``"critical"``; ``reasons`` says why it is not
    healthy. ``cycles`` is how often a flush was tried, ``flushes`` how often it worked, and
    ``error_rate`` the errors a try. ``scrubbed`` are bytes that were read from the device and
    checked in the background, ``scrub_passes`` how often everything was; ``last_scrub`` is when it
    had been last, by whichever process. An idle log is healthy. ``oldest`` and ``newest`` are the
    times of the oldest and the newest stored event. The counters are those of this process since it
    opened the log.
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
    cycles: int
    flushes: int
    flushed_events: int
    errors: int
    error_rate: float
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
            f"{self.errors:,} errors ({self.error_rate:.1%})",
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
    scrubbed = Scrubbed()
    try:
        scrubbed = read_scrubbed(store.layout, store.storage)
    except OSError as error:
        warnings.append(f"what the scrub found cannot be read: {in_words(error)}")
    damage = [
        each
        for each in {**index.damage, **dict.fromkeys(scrubbed.damage)}
        if index.is_kept(each.file)
    ]
    if flusher.committer.degraded is not None:
        critical.append(str(flusher.committer.degraded))
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
    now = store.storage.monotonic()
    since = buffer.waits_since
    if since is not None and now - since > _PATIENCE + store.options.flush_interval:
        warnings.append(f"nothing was stored for {now - since:.0f} seconds, and events wait")
    error_rate = counters.errors / max(counters.cycles, 1)
    is_recent = counters.cycles >= _LEAST_CYCLES and now - counters.failed_at < _RECENT
    if error_rate > _MOST_ERRORS and is_recent and not counters.failures:
        warnings.append(
            f"{counters.errors} errors in {counters.cycles} flushes, the last: "
            f"{counters.last_error}"
        )
    if flusher.committer.checkpoint_error:
        warnings.append(
            f"checkpoints fail, the journal grows: {flusher.committer.checkpoint_error}"
        )
    if index.lost:
        warnings.append(f"power cuts took {index.lost} commits, as sync='off' permits")
    try:
        policy = store.upkeep.policy()
        now = store.storage.time_ns() // 1000
        doubt = store.flusher.committer.clock_doubt(now) if policy is not None else ""
        if doubt:
            warnings.append(doubt)
    except (DamagedError, StorageError) as error:
        warnings.append(str(error))
    except OSError as error:
        warnings.append(f"the lock file cannot be read: {in_words(error)}")
    if store.upkeep.expiry_error:
        warnings.append(f"nothing expires: {store.upkeep.expiry_error}")
    try:
        if found := exposed(store.layout, store.storage):
            warnings.append(warning(store.layout.root, found))
    except OSError as error:
        warnings.append(f"the log's directories cannot be looked at: {in_words(error)}")
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
        cycles=counters.cycles,
        flushes=counters.flushes,
        flushed_events=counters.events,
        errors=counters.errors,
        error_rate=error_rate,
        last_flush=counters.last_flush,
        last_error=counters.last_error,
        damage=tuple(map(str, damage)),
        missing=sum(last - first + 1 for first, last in index.missing),
        lost_commits=index.lost,
        scrubbed=store.scrubber.bytes,
        scrub_passes=store.scrubber.passes,
        last_scrub=scrubbed.passed,
    )

"""``timelog ingest``: store the lines of files or of a pipe, one event a line."""

from __future__ import annotations

import argparse
import errno
import os
import select
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from io import FileIO
from pathlib import Path
from typing import Any

import timelog
from timelog.cli.base import (
    ERROR,
    FOUND,
    chosen_zone,
    complain,
    open_log,
    text_argument,
)
from timelog.cli.lines import Tally, read_lines
from timelog.cli.progress import Advance, progress_of
from timelog.cli.signals import Interrupts
from timelog.cli.stamps import LineTimes
from timelog.timestamp import to_datetime

# The library's own limits, which an event of a line must not exceed.
_MAX_CONTENT = 1024 * 1024
_MAX_SOURCE = 256
_BATCH = 5_000  # events; their text is bounded by what `read_lines` yields at once
# Flushed by the amount, too: the timer alone lets a fast file fill half of the log's buffer.
_FLUSH_BYTES = 8 * 1024 * 1024
_FLUSH_EVENTS = 8 * _BATCH


@dataclass
class _Job:
    """What the files of one run share, and what was counted so far."""

    tags: tuple[str, ...]
    source: str | None
    times: LineTimes | None
    interrupts: Interrupts = field(default_factory=Interrupts)
    tally: Tally = field(default_factory=Tally)
    events: int = 0
    without_time: int = 0
    flushed: tuple[int, int] = (0, 0)  # bytes and events that were read when it was flushed last

    def is_flush_due(self) -> bool:
        """Whether much has been read since the last flush; the answer counts as one."""
        new_bytes = self.tally.bytes - self.flushed[0]
        if new_bytes < _FLUSH_BYTES and self.events - self.flushed[1] < _FLUSH_EVENTS:
            return False
        self.flushed = (self.tally.bytes, self.events)
        return True


def run(args: argparse.Namespace) -> int:
    """Store the lines of ``args.files``; when this returns 0 they are all on the disk.

    A file that cannot be read is reported, and the others are still stored (exit code 2).
    """
    times = None
    if args.timestamp_format is not None:
        times = LineTimes(args.timestamp_format, chosen_zone(args), _now_us)
    job = _Job(tuple(args.tags), args.source, times)
    started = time.monotonic()
    finished = False
    try:
        with (
            job.interrupts.put_off(),
            open_log(args, "a") as log,
            progress_of(args.files, not args.quiet) as advance,
        ):
            code = _store_files(job, log, args.files, advance)
            log.sync()
        finished = True
    finally:
        if not args.quiet:
            summary = _summary(job, time.monotonic() - started)
            complain(summary if finished else f"stopped after {summary}")
    return code


def _store_files(job: _Job, log: timelog.EventLog, names: Sequence[str], advance: Advance) -> int:
    code = FOUND
    for name in names:
        try:
            with _reader(job, name, log.path, advance) as read:
                _store(job, log, _source(job, name), read)
        except timelog.TimelogError:  # the log's own trouble, some of which is an OSError, too
            raise
        except OSError as error:
            complain(f"{text_argument(name)}: {error.strerror}")
            code = ERROR
    return code


def _store(job: _Job, log: timelog.EventLog, source: str, read: Callable[[int], bytes]) -> None:
    # The last time this file showed; until it shows one, lines have the time of their arrival.
    last_us, last = None, None

    def event(content: str) -> dict[str, Any]:
        nonlocal last_us, last
        made: dict[str, Any] = {"content": content, "source": source, "tags": job.tags}
        if job.times is not None:
            us = job.times.find(content)
            if us is None:
                job.without_time += 1
            elif us != last_us:
                last_us, last = us, to_datetime(us)
            if last is not None:
                made["timestamp"] = last
        return made

    for lines in read_lines(read, _MAX_CONTENT, job.tally):
        for start in range(0, len(lines), _BATCH):
            batch = [event(line) for line in lines[start : start + _BATCH]]
            job.events += log.append_many(batch)
            if job.is_flush_due():
                log.flush()


@contextmanager
def _reader(
    job: _Job, name: str, log_path: Path, advance: Advance
) -> Iterator[Callable[[int], bytes]]:
    """Open ``name`` and yield a function that reads at most so many bytes of it.

    Not buffered: a line that a pipe has brought must not wait for the lines after it.
    """
    with job.interrupts.waiting():  # a FIFO's writer may be long in coming
        raw = _open(name, log_path)

    def read(size: int) -> bytes:
        with job.interrupts.waiting():
            chunk: bytes | None = raw.read(size)
            while chunk is None:  # a pipe that somebody made non-blocking, and empty just now
                select.select([raw], [], [])
                chunk = raw.read(size)
        advance(len(chunk))
        return chunk

    with raw:
        yield read


def _open(name: str, log_path: Path) -> FileIO:
    if name == "-":
        if sys.stdin is None:
            raise OSError(errno.EBADF, "stdin is closed")
        return FileIO(0, closefd=False)
    path = Path(name).resolve()
    if path.is_file() and path.is_relative_to(log_path.resolve()):
        # It would grow while it is read, for ever.
        raise OSError(errno.EINVAL, "it is a part of the log that it would be stored in")
    return FileIO(name)


def _source(job: _Job, name: str) -> str:
    if job.source is not None:
        return job.source
    return "" if name == "-" else text_argument(os.path.basename(name))[:_MAX_SOURCE]


def _summary(job: _Job, seconds: float) -> str:
    parts = [f"{job.events:,} events", f"{job.tally.bytes:,} bytes"]
    parts += [
        f"{job.tally.not_utf8:,} lines not UTF-8",
        f"{job.tally.cut:,} lines cut",
        f"{job.without_time:,} lines without a time",
        f"{seconds:.2f} s",
    ]
    return ", ".join(parts)


def _now_us() -> int:
    return time.time_ns() // 1000

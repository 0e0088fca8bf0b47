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
from typing import IO

import timelog
from timelog.cli.base import (
    ERROR,
    FOUND,
    CommandError,
    complain,
    open_log,
    text_argument,
)
from timelog.cli.progress import Advance, progress_of
from timelog.cli.signals import Interrupts
from timelog.cli.watch import follow, keywords_of, summary
from timelog.ingest import Once, Options, open_stream


@dataclass
class _Job:
    """What the files of one run share."""

    options: Options
    interrupts: Interrupts = field(default_factory=Interrupts)


def run(args: argparse.Namespace) -> int:
    """Store the lines of ``args.files``; when this returns 0 they are all on the disk.

    A file that cannot be read is reported, and the others are still stored (exit code 2). With
    ``--follow`` goes on, as ``timelog watch`` does.
    """
    if args.follow:
        if "-" in args.files:
            raise CommandError("stdin cannot be followed with --follow; leave it out for a pipe")
        return follow(args, args.files)
    job = _Job(Options(**keywords_of(args)))
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
            text = summary(job.options.tally, time.monotonic() - started)
            complain(text if finished else f"stopped after {text}")
    return code


def _store_files(job: _Job, log: timelog.EventLog, names: Sequence[str], advance: Advance) -> int:
    once = Once(log, job.options)
    code = FOUND
    for name in names:
        try:
            with _reader(job, name, log.path, advance) as (read, changed_us):
                shown = "" if name == "-" else text_argument(os.path.basename(name))
                once.store(read, shown, job.options.source_of(shown), changed_us)
        except timelog.TimelogError:  # the log's own trouble, some of which is an OSError, too
            raise
        except OSError as error:
            complain(f"{text_argument(name)}: {error.strerror or error}")
            code = ERROR
        except EOFError as error:
            complain(f"{text_argument(name)}: {error}")
            code = ERROR
    return code


@contextmanager
def _reader(
    job: _Job, name: str, log_path: Path, advance: Advance
) -> Iterator[tuple[Callable[[int], bytes], int]]:
    """Open ``name``; yield a function that reads at most so many bytes, and when it was changed.

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
        yield read, os.fstat(raw.fileno()).st_mtime_ns // 1000


def _open(name: str, log_path: Path) -> IO[bytes]:
    if name == "-":
        if sys.stdin is None:
            raise OSError(errno.EBADF, "stdin is closed")
        return FileIO(0, closefd=False)
    path = Path(name).resolve()
    if path.is_file() and path.is_relative_to(log_path.resolve()):
        # It would grow while it is read, for ever.
        raise OSError(errno.EINVAL, "it is a part of the log that it would be stored in")
    return open_stream(name)

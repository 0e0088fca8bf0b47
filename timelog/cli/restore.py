"""``timelog restore``: make a log of a snapshot."""

from __future__ import annotations

import argparse

import msgspec

import timelog
from timelog.cli.base import DAMAGE, FOUND, CommandError
from timelog.cli.escape import escape, escape_lines
from timelog.cli.output import utc
from timelog.cli.progress import progress_bar
from timelog.cli.stream import put
from timelog.timestamp import to_datetime


def run(args: argparse.Namespace) -> int:
    """Print what was made: 0, or 3 where the log that the snapshot was taken of was damaged."""
    if not args.snapshot or not args.directory:
        raise CommandError("SNAPSHOT and DIR must be the names of directories")
    with progress_bar(not args.quiet) as reach:
        made = timelog.restore_snapshot(args.snapshot, args.directory, progress=reach)
    if args.json:
        data = msgspec.to_builtins(made)
        data["path"], data["time"] = escape(made.path), utc(to_datetime(made.time))
        put(msgspec.json.encode(data).decode())
    elif not args.quiet:
        put(escape_lines(str(made)))
    return DAMAGE if made.damage else FOUND

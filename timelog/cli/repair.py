"""``timelog repair``: put right what can be put right."""

from __future__ import annotations

import argparse

import msgspec

import timelog
from timelog.cli.base import log_directory
from timelog.cli.escape import escape_lines
from timelog.cli.progress import progress_bar
from timelog.cli.stream import put


def run(args: argparse.Namespace) -> int:
    """Print what was found and done: 0 nothing is wrong any more, 1 something is."""
    with progress_bar(not args.quiet) as reach:
        report = timelog.repair(
            log_directory(args), dry_run=args.dry_run, adopt=args.adopt, progress=reach
        )
    code: int = report.exit_code
    if args.json:
        data = {"ok": report.ok, "exit_code": code, **msgspec.to_builtins(report)}
        put(msgspec.json.encode(data).decode())
    elif not args.quiet:
        put(escape_lines(str(report)))
    return code

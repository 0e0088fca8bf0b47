"""``timelog repair``: put right what can be put right."""

from __future__ import annotations

import argparse

import timelog
from timelog.cli.base import log_directory
from timelog.cli.progress import progress_bar
from timelog.cli.report import put_report


def run(args: argparse.Namespace) -> int:
    """Print what was found and done: 0 nothing is wrong any more, 1 something is."""
    with progress_bar(not args.quiet) as reach:
        report = timelog.repair(
            log_directory(args), dry_run=args.dry_run, adopt=args.adopt, progress=reach
        )
    return put_report(report, args)

"""``timelog verify``: check the log against its checksums."""

from __future__ import annotations

import argparse

from timelog.cli.base import open_log
from timelog.cli.progress import progress_bar
from timelog.cli.report import put_report


def run(args: argparse.Namespace) -> int:
    """Print what was found: 0 clean, 3 only an unfinished write, 1 damage; writes nothing."""
    with open_log(args, "r") as log, progress_bar(not args.quiet) as reach:
        report = log.verify(deep=args.deep, progress=reach)
    return put_report(report, args)

"""``timelog compact``: make few segments of those of days that are over."""

from __future__ import annotations

import argparse

from timelog.cli.base import DAMAGE, FOUND, open_to_change
from timelog.cli.report import put_result


def run(args: argparse.Namespace) -> int:
    """Print what became of which segments: 0 done, 3 some are damaged and were left as they are."""
    with open_to_change(args) as log:
        report = log.compact(older_than=args.older_than, archive=args.archive)
    put_result(report, args)
    return DAMAGE if report.damage else FOUND

"""``timelog vacuum``: let go what is not to be kept, or suspend that."""

from __future__ import annotations

import argparse

from timelog.cli.base import FOUND, NOTHING, CommandError, open_to_change
from timelog.cli.report import put_result
from timelog.cli.stream import put


def run(args: argparse.Namespace) -> int:
    """Print what went, or would go: 0 done, 1 expiry is suspended."""
    with open_to_change(args) as log:
        if args.suspend or args.resume:
            if args.suspend:
                log.suspend_expiry()
            else:
                log.resume_expiry()
            put("expiry is suspended" if args.suspend else "expiry is resumed")
            return FOUND
        report = log.expire(
            args.time,
            args.size,
            args.files,
            tags=_rules(args.tags),
            sources=_rules(args.sources),
            dry_run=args.dry_run,
            confirm_clock=args.confirm_clock,
        )
    put_result(report, args)
    return NOTHING if report.suspended else FOUND


def _rules(given: list[str]) -> dict[str, str] | None:
    """``["audit=3 years"]`` as a mapping."""
    rules = {}
    for each in given:
        name, equals, age = each.rpartition("=")
        if not equals or not name:
            raise CommandError(f"{each!r} must be NAME=AGE, such as 'audit=3 years'")
        rules[name] = age
    return rules or None

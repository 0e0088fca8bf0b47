"""``timelog audit``: account for every event that was ever entered."""

from __future__ import annotations

import argparse
import time

import msgspec

from timelog.cli.base import chosen_zone, open_log
from timelog.cli.escape import escape_lines
from timelog.cli.output import utc
from timelog.cli.stream import put
from timelog.cli.times import parse_time
from timelog.timestamp import to_datetime, to_text


def run(args: argparse.Namespace) -> int:
    """Print where the events are: 0 balanced, 1 not, 3 balanced with damage; writes nothing."""
    since = None
    if args.since is not None:
        now_us = time.time_ns() // 1000
        since = to_text(parse_time(args.since, zone=chosen_zone(args), now_us=now_us))
    with open_log(args, "r") as log:
        report = log.audit(since)
    code: int = report.exit_code
    if args.json:
        data = {"ok": report.ok, "exit_code": code, **msgspec.to_builtins(report)}
        data["since"] = utc(to_datetime(report.since)) if report.since is not None else None
        put(msgspec.json.encode(data).decode())
    else:
        put(escape_lines(str(report)))
    return code

"""``timelog verify``: check the log against its checksums."""

from __future__ import annotations

import argparse

import msgspec

from timelog.cli.base import open_log
from timelog.cli.escape import escape_lines
from timelog.cli.progress import progress_bar
from timelog.cli.stream import put


def run(args: argparse.Namespace) -> int:
    """Print what was found: 0 clean, 3 only an unfinished write, 1 damage; writes nothing."""
    with open_log(args, "r") as log, progress_bar(not args.quiet) as reach:
        report = log.verify(deep=args.deep, progress=reach)
    code: int = report.exit_code
    if args.json:
        data = {"ok": report.ok, "exit_code": code, **msgspec.to_builtins(report)}
        put(msgspec.json.encode(data).decode())
    elif not args.quiet:
        put(escape_lines(str(report)))
    return code

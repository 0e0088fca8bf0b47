"""Printing what the library returns: as text, as a line of JSON, or only by the exit code."""

from __future__ import annotations

import argparse
from typing import Protocol

import msgspec

from timelog.cli.escape import escape_lines
from timelog.cli.stream import put


class Report(Protocol):
    """What `timelog.EventLog.verify` and `timelog.repair` return."""

    @property
    def ok(self) -> bool: ...

    @property
    def exit_code(self) -> int: ...


def put_report(report: Report, args: argparse.Namespace) -> int:
    """Print ``report`` as ``--json`` and ``--quiet`` say; return its exit code."""
    code = report.exit_code
    if args.json:
        data = {"ok": report.ok, "exit_code": code, **msgspec.to_builtins(report)}
        put(msgspec.json.encode(data).decode())
    elif not args.quiet:
        put(escape_lines(str(report)))
    return code


def put_result(result: object, args: argparse.Namespace) -> None:
    """Print what something did, as ``--json`` and ``--quiet`` say."""
    if args.json:
        put(msgspec.json.encode(result).decode())
    elif not args.quiet:
        put(escape_lines(str(result)))

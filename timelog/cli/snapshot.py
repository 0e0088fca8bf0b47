"""``timelog snapshot``: take a copy of the log at one position, and look after those there are."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any

import msgspec

import timelog
from timelog.cli.base import DAMAGE, FOUND, NOTHING, CommandError, open_log, open_to_change
from timelog.cli.escape import escape, escape_lines
from timelog.cli.output import utc
from timelog.cli.stream import put
from timelog.timestamp import to_datetime


def run(args: argparse.Namespace) -> int:
    """Take one, or list or remove them; 3 where one is damaged, 1 where none is there to list."""
    if not args.dest:
        raise CommandError("DEST must be the name of a directory")
    if not args.if_due and (args.events is not None or args.minutes is not None):
        raise CommandError("--events and --minutes say when one is due; add --if-due")
    if args.list:
        with open_log(args, "r") as log:
            return _put(log.snapshots(args.dest), args.json, NOTHING, "no snapshots")
    with open_to_change(args) as log:
        if args.prune:
            _put(log.prune_snapshots(args.dest), args.json, FOUND, "nothing to remove")
            return FOUND
        if args.if_due and not _is_due(log, args):
            return _put([], args.json, FOUND, "no snapshot is due")
        return _put([log.snapshot(args.dest, kind=args.kind)], args.json, FOUND, "")


def _is_due(log: timelog.EventLog, args: argparse.Namespace) -> bool:
    limits = {"events": args.events, "minutes": args.minutes}
    given = {name: value for name, value in limits.items() if value is not None}
    return log.is_snapshot_due(args.dest, **given)


def _put(found: Sequence[Any], as_json: bool, if_none: int, nothing: str) -> int:
    """Print snapshots, each on a line of its own; the exit code."""
    for each in found:
        if as_json:
            data = {"ok": each.ok, **msgspec.to_builtins(each)}
            data["path"], data["problem"] = escape(each.path), escape(each.problem)
            data["time"] = utc(to_datetime(each.time))
            put(msgspec.json.encode(data).decode())
        else:
            put(escape_lines(str(each)))
    if not found:
        if not as_json:
            put(nothing)
        return if_none
    return FOUND if all(each.ok and not each.damage for each in found) else DAMAGE

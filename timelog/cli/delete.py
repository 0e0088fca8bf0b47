"""``timelog delete``: hide single events for ever, and prove which ones."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

import timelog
from timelog.cli.base import (
    FOUND,
    NOTHING,
    CommandError,
    chosen_zone,
    complain,
    open_log,
    open_to_change,
)
from timelog.cli.escape import escape
from timelog.cli.output import iso, utc
from timelog.cli.stream import put
from timelog.timestamp import to_datetime
from timelog.zones import Zone


def run(args: argparse.Namespace) -> int:
    """Delete, list deletions, or prove them; 1 where an event is not there, or no proof."""
    if bool(args.ids) + args.list + (args.prove is not None) != 1:
        raise CommandError("give the ids of events, or --list, or --prove FILE")
    zone = chosen_zone(args)
    if args.ids:
        return _delete(args, zone)
    with open_log(args, "r") as log:
        if args.list:
            code = NOTHING
            for deletion in log.deletions():
                _print(deletion, args, zone)
                code = FOUND
            return code
        return _prove(log, args, zone)


def _delete(args: argparse.Namespace, zone: Zone) -> int:
    code = FOUND
    with open_to_change(args) as log:
        for id in args.ids:
            try:
                done = log.delete(id, erase=args.erase)
            except timelog.EventNotFound as error:
                complain(str(error))
                code = NOTHING
                continue
            _print(done, args, zone)
            for snapshot in done.snapshots:
                complain(f"the snapshot {snapshot} still holds the text of {id}")
    return code


def _prove(log: timelog.EventLog, args: argparse.Namespace, zone: Zone) -> int:
    code = FOUND
    for line in _lines(args.prove):
        deletion = log.proof(line)
        if deletion is None:
            complain("no deletion has that line")
            code = NOTHING
        else:
            _print(deletion, args, zone)
    return code


def _lines(file: str) -> Iterator[bytes]:
    """The lines of a file, or of stdin for ``-``."""
    try:
        data = sys.stdin.buffer.read() if file == "-" else Path(file).read_bytes()
    except OSError as error:
        raise CommandError(f"{file}: {error.strerror or error}") from error
    yield from data.splitlines()


def _print(deletion: Any, args: argparse.Namespace, zone: Zone) -> None:
    moment = to_datetime(deletion.timestamp)
    if args.json:
        data = {**msgspec.to_builtins(deletion), "timestamp": utc(moment)}
        put(msgspec.json.encode(data).decode())
    elif not args.quiet:
        state = "erased" if deletion.is_erased else "hidden"
        put(
            f"{state}  {iso(moment, zone)}  {escape(deletion.id)}  position {deletion.position:,}  "
            f"{deletion.digest}"
        )

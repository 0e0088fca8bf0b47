"""``timelog append``: store one event, durably, and print its id."""

from __future__ import annotations

import argparse
import time
from typing import Any

import msgspec

from timelog.cli.base import FOUND, CommandError, chosen_zone, open_log
from timelog.cli.stream import put
from timelog.cli.times import parse_time
from timelog.timestamp import to_text


def run(args: argparse.Namespace) -> int:
    """Store the event that ``args`` describe; when this returns, it is on the disk."""
    timestamp = None
    if args.timestamp is not None:
        now_us = time.time_ns() // 1000
        timestamp = to_text(parse_time(args.timestamp, zone=chosen_zone(args), now_us=now_us))
    fields = dict(map(_field, args.field))
    with open_log(args, "a") as log:
        id = log.append(
            args.text,
            source=args.source or "",
            tags=args.tags,
            timestamp=timestamp,
            id=args.id,
            fields=fields or None,
            sync=True,
        )
    put(id)
    return FOUND


def _field(text: str) -> tuple[str, Any]:
    """Return the key and the value of ``KEY=VALUE``; what is not JSON is a text."""
    key, equals, value = text.partition("=")
    if not (key and equals):
        raise CommandError(f"--field needs KEY=VALUE, not {text!r}")
    try:
        return key, msgspec.json.decode(value)
    except msgspec.DecodeError:
        return key, value

"""``timelog status``: how much there is, from when to when, and how the log is doing."""

from __future__ import annotations

import argparse
import sys
from typing import Any

import msgspec

import timelog
from timelog.cli.base import FOUND, chosen_zone, open_log
from timelog.cli.escape import escape
from timelog.cli.output import iso, utc
from timelog.cli.stream import is_terminal, put
from timelog.cli.times import Zone
from timelog.timestamp import to_datetime


def run(args: argparse.Namespace) -> int:
    """Print the state of the log; the code is 0 whatever its health, which ``status`` tells."""
    zone = chosen_zone(args)
    with open_log(args, "r") as log:
        if args.json:
            put(msgspec.json.encode(_as_data(log)).decode())
        else:
            _print_table(_rows(log, zone))
    return FOUND


def _as_data(log: timelog.EventLog) -> dict[str, Any]:
    health = log.health()
    return {
        "path": escape(str(log.path)),
        **msgspec.to_builtins(health),
        "oldest": utc(to_datetime(health.oldest)) if health.events else None,
        "newest": utc(to_datetime(health.newest)) if health.events else None,
    }


def _rows(log: timelog.EventLog, zone: Zone) -> list[tuple[str, str]]:
    health = log.health()
    return [
        ("log", escape(str(log.path))),
        ("health", escape("; ".join([health.status, *health.reasons]))),
        ("events", f"{health.events:,}"),
        ("position", f"{health.position:,}"),
        ("partitions", f"{health.partitions:,}"),
        ("segments", f"{health.segments:,}"),
        ("bytes", f"{health.bytes:,}"),
        ("checked", iso(to_datetime(health.last_scrub), zone) if health.last_scrub else "-"),
        ("oldest", iso(to_datetime(health.oldest), zone) if health.events else "-"),
        ("newest", iso(to_datetime(health.newest), zone) if health.events else "-"),
    ]


def _print_table(rows: list[tuple[str, str]]) -> None:
    if is_terminal() and _print_with_rich(rows):
        return
    put("\n".join(f"{name:<11} {value}" for name, value in rows))


def _print_with_rich(rows: list[tuple[str, str]]) -> bool:
    try:
        from rich.console import Console
        from rich.table import Table
        from rich.text import Text
    except ImportError:
        return False
    table = Table(show_header=False)
    for name, value in rows:
        style = {"healthy": "green", "warning": "yellow", "critical": "red"}.get(
            value.split(";")[0], ""
        )
        # Text: a path may hold what rich would take for its markup.
        table.add_row(name, Text(value, style=style, overflow="fold"))
    Console(file=sys.stdout).print(table)
    return True

"""``timelog status``: how much there is, how fast it grows, and how the log is doing."""

from __future__ import annotations

import argparse
import codecs
import shutil
import sys
from typing import Any

import msgspec

import timelog
from timelog.cli.base import FOUND, chosen_zone, open_log
from timelog.cli.escape import escape, escape_json
from timelog.cli.output import iso, utc
from timelog.cli.stream import is_terminal, put
from timelog.timestamp import SECOND, to_datetime
from timelog.zones import Zone

# Of health what is known of the log; the rest is of the process that has it open, and this one has
# just begun.
_KNOWN = (
    *("status", "reasons", "events", "position", "partitions", "segments", "bytes"),
    *("damage", "missing", "lost_commits", "last_scrub"),
)
_STYLES = {"healthy": "green", "warning": "yellow", "critical": "red"}
# Characters of a line that are not a row's text: its name, and in a table the lines and blanks.
_BEFORE = 17


def run(args: argparse.Namespace) -> int:
    """Print the state of the log; the code is 0 whatever its health, which ``status`` tells."""
    zone = chosen_zone(args)
    with open_log(args, "r") as log:
        if args.json:
            put(escape_json(msgspec.json.encode(_as_data(log)).decode()))
        else:
            _print(log, zone)
    return FOUND


def _as_data(log: timelog.EventLog) -> dict[str, Any]:
    status = log.status()
    health, usage, bars = status.health, status.usage, status.histogram
    known = {name: getattr(health, name) for name in _KNOWN}
    return {
        "path": escape(status.path),
        "time": _utc(status.time),
        **known,
        # Names of files may be in there.
        "reasons": [escape(reason) for reason in health.reasons],
        "damage": [escape(damage) for damage in health.damage],
        "oldest": _utc(health.oldest) if health.events else None,
        "newest": _utc(health.newest) if health.events else None,
        "committed": [
            {**msgspec.structs.asdict(rate), "since": _utc(rate.since), "until": _utc(rate.until)}
            for rate in status.rates
        ],
        "disk": {
            "used": None
            if usage is None
            else {"total": usage.total, "segments": usage.segments, **usage.control()},
            "free": status.free,
            "full": _utc(status.full) if status.full is not None else None,
            "unseen": escape(status.unseen),
        },
        "keeps": None if status.retention is None else msgspec.to_builtins(status.retention),
        "next_expiry": _utc(status.next_expiry) if status.next_expiry is not None else None,
        "histogram": None
        if bars is None
        else {
            "start": _utc(bars.start),
            "step": bars.step // SECOND,
            "events": bars.counts,
        },
    }


def _utc(us: int) -> str:
    return utc(to_datetime(us))


def _print(log: timelog.EventLog, zone: Zone) -> None:
    width = shutil.get_terminal_size().columns if is_terminal() else 80
    rows = [
        (name, [escape(line) for line in lines])
        for name, lines in log.status().rows(
            lambda us: iso(to_datetime(us), zone),
            width=width - _BEFORE,
            blocks=is_terminal() and _is_utf8(sys.stdout.encoding),
        )
    ]
    if not is_terminal() or not _print_with_rich(rows):
        lines = [
            f"{name if not number else '':<11} {line}".rstrip()
            for name, lines in rows
            for number, line in enumerate(lines)
        ]
        put("\n".join(lines))


def _print_with_rich(rows: list[tuple[str, list[str]]]) -> bool:
    try:
        from rich.console import Console
        from rich.table import Table
        from rich.text import Text
    except ImportError:
        return False
    table = Table(show_header=False)
    for name, lines in rows:
        style = _STYLES.get(lines[0].split(";")[0], "") if name == "health" else ""
        # Text: a path may hold what rich would take for its markup.
        table.add_row(name, Text("\n".join(lines), style=style, overflow="fold"))
    Console(file=sys.stdout).print(table)
    return True


def _is_utf8(encoding: str) -> bool:
    return codecs.lookup(encoding).name == "utf-8"

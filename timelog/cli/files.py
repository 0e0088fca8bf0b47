"""``timelog files``: print which files hold a range of time, for tools that read text."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator
from pathlib import Path

from timelog import EventLog
from timelog.cli import stream
from timelog.cli.base import DAMAGE, FOUND, NOTHING, complain_once, open_log
from timelog.cli.selection import time_range


def run(args: argparse.Namespace) -> int:
    """Print a path a line, or the ranges in each file; the exit code is that of ``search``."""
    since, until = time_range(args)
    with open_log(args, "r") as log:
        lines = list(_lines(log, since, until, ranges=args.ranges))
        damage = _damage(log)
    stream.stdout()
    # As bytes: a path need not be UTF-8, and has to arrive as it is.
    end = b"\0" if args.null else b"\n"
    sys.stdout.buffer.writelines(os.fsencode(line) + end for line in lines)
    for text in damage:
        complain_once(text)
    if damage and args.strict:
        return DAMAGE
    return FOUND if lines else NOTHING


def _lines(log: EventLog, since: str | None, until: str | None, *, ranges: bool) -> Iterator[str]:
    near = _near(log.path)
    last = None
    for path, start, end in log.files(since, until):
        shown = os.path.join(near, path.parent.name, path.name)
        if ranges:
            yield f"{shown}\t{start}\t{end}"
        elif path != last:
            yield shown
        last = path


def _near(path: Path) -> str:
    """Return ``path`` relative to the current directory if it is below, else as it is."""
    here = Path.cwd()
    if not path.is_relative_to(here):
        return str(path)
    near = str(path.relative_to(here))
    # Else others would take it for an option, or awk for an assignment.
    return f"./{near}" if near.startswith("-") or "=" in near else near


def _damage(log: EventLog) -> list[str]:
    """Return what is known to be damaged of the records that say what there is."""
    health = log.health()
    texts = [f"damaged: {damage}" for damage in health.damage]
    if health.missing:
        texts.append(
            f"{health.missing} events are missing: the records that named them are damaged"
        )
    return texts

"""``timelog import``: store the events of other programs' files."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from functools import partial

import timelog
from timelog.cli.base import (
    ERROR,
    FOUND,
    NOTHING,
    CommandError,
    chosen_zone,
    complain,
    open_log,
    sentence,
    text_argument,
)
from timelog.cli.progress import Advance, progress_of
from timelog.exchange.intake import Imported
from timelog.exchange.journald import import_journald
from timelog.exchange.jsonl import import_jsonl
from timelog.exchange.theia import import_theia

_DRAWN = 256 * 1024  # bytes
_Import = Callable[[timelog.EventLog, str, Advance], Imported]


def run(args: argparse.Namespace) -> int:
    """Import ``args.sources``; one that cannot be read is reported, and the others are imported."""
    act = _importer(args)
    code = FOUND
    with (
        open_log(args, "a") as log,
        progress_of(args.sources, not args.quiet) as advance,
    ):
        for source in args.sources:
            started = time.monotonic()
            try:
                report = act(log, source, _seldom(advance))
            except (timelog.errors.InvalidInput, OSError) as error:
                complain(sentence(error))
                code = ERROR
                continue
            _tell(args, source, report, time.monotonic() - started)
            if not report.ok and code == FOUND:
                code = NOTHING
    return code


def _importer(args: argparse.Namespace) -> _Import:
    mapping = dict(map(_pair, args.map))
    given = [
        option
        for option, value in (("--map", mapping), ("--source", args.source), ("--tag", args.tags))
        if value
    ]
    unused = {"theia": given, "journald": given[:-1] if args.tags else given, "jsonl": []}
    if unused[args.format]:
        raise CommandError(f"{unused[args.format][0]} is not for --format {args.format}")
    if args.format == "theia":
        return lambda log, path, advance: import_theia(log, path, advance=advance)
    if args.format == "journald":
        tags = args.tags
        return lambda log, path, advance: import_journald(log, path, tags=tags, advance=advance)
    jsonl = partial(
        import_jsonl,
        mapping=mapping,
        source=args.source or "",
        tags=args.tags,
        zone=chosen_zone(args),
    )
    return lambda log, path, advance: jsonl(log, path, advance=advance)


def _seldom(advance: Advance) -> Advance:
    """Pass on what is done when it is worth drawing: readers tell of every line."""
    undrawn = 0

    def more(size: int) -> None:
        nonlocal undrawn
        undrawn += size
        if undrawn >= _DRAWN:
            advance(undrawn)
            undrawn = 0

    return more


def _pair(text: str) -> tuple[str, str]:
    part, equals, key = text.partition("=")
    if not (part and equals and key):
        raise CommandError(f"--map needs PART=KEY, not {text!r}")
    return part, key


def _tell(args: argparse.Namespace, source: str, report: Imported, seconds: float) -> None:
    for note in report.notes:
        complain(f"skipped: {note}")
    if report.skipped > len(report.notes):
        complain(f"skipped: {report.skipped - len(report.notes):,} places more")
    for name in report.left_alone:
        complain(f"left alone: {text_argument(source)}: {name} is no data file")
    if not args.quiet:
        complain(f"{text_argument(source)}: {report}, {seconds:.2f} s")

"""``timelog watch``: follow the files of directories as they grow."""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from typing import Any

from timelog.cli.base import FOUND, CommandError, chosen_zone, complain, open_log
from timelog.ingest import Tally, Watcher


def run(args: argparse.Namespace) -> int:
    """Follow the files of ``args.paths`` until a signal ends it."""
    return follow(
        args, args.paths, glob=args.globs or ["*"], recursive=args.recursive, marks=args.marks
    )


def follow(args: argparse.Namespace, paths: Sequence[str], **places: Any) -> int:
    """Follow files until Ctrl-C or SIGTERM; what was read by then is on the disk."""
    started = time.monotonic()
    tally = Tally()
    try:
        with open_log(args, "a") as log:
            watcher = Watcher(
                log, *paths, name=args.name, poll=args.poll, **keywords_of(args), **places
            )
            tally = watcher.tally
            try:
                # In a thread of its own, so that a signal meets it in the middle of nothing.
                watcher.start()
                watcher.join()
            finally:
                watcher.close()
    finally:
        if not args.quiet:
            complain(f"stopped after {summary(tally, time.monotonic() - started)}")
    return FOUND


def keywords_of(args: argparse.Namespace) -> dict[str, Any]:
    """Return how lines become events, as the options of a command say."""
    form: str = args.timestamp_format or "auto"
    timestamps: str | dict[str, str] = form
    if args.timestamp_formats_for:
        # A dictionary keeps the order, and the first glob that fits counts.
        timestamps = dict(map(_glob_and_form, args.timestamp_formats_for))
        timestamps.setdefault("*", form)
    if args.year is not None and not (args.year.isascii() and args.year.isdigit()):
        raise CommandError(f"--year: {args.year!r} is not a year")
    return {
        "source": args.source,
        "tags": tuple(args.tags),
        "timestamps": timestamps,
        "zone": chosen_zone(args),
        "year": None if args.year is None else int(args.year),
        "multiline": args.multiline,
        "notice": None if args.quiet else complain,
    }


def _glob_and_form(text: str) -> tuple[str, str]:
    glob, equals, form = text.partition("=")
    if not glob or not equals:
        raise CommandError(f"--timestamp-format-for: {text!r} is not GLOB=FORMAT")
    return glob, form


def summary(tally: Tally, seconds: float) -> str:
    """Say in a line what was read."""
    parts = [
        f"{tally.events:,} events",
        f"{tally.bytes:,} bytes",
        f"{tally.not_utf8:,} lines not UTF-8",
        f"{tally.cut:,} lines cut",
        f"{tally.without_time:,} lines without a time",
    ]
    if tally.refused:
        parts.append(f"{tally.refused:,} lines refused")
    return ", ".join([*parts, f"{seconds:.2f} s"])

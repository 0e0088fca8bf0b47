"""``timelog export``: write the events that match to a file or to stdout."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import BinaryIO

from timelog import Results
from timelog.cli.base import DAMAGE, FOUND, NOTHING, CommandError, complain, complain_once, open_log
from timelog.cli.search import damage_met
from timelog.cli.selection import find_pattern, time_range
from timelog.errors import InvalidInput
from timelog.exchange.ndjson import export_jsonl
from timelog.exchange.parquet import export_parquet
from timelog.exchange.table import export_csv


def run(args: argparse.Namespace) -> int:
    """Write what matches; damage on the way is told, and never exit code 0."""
    if args.format == "parquet" and args.output_file is None:
        raise CommandError("--format parquet needs a file; name it with -O FILE")
    if args.exact and args.format != "csv":
        raise CommandError("--exact is for --format csv")
    since, until = time_range(args)
    pattern = find_pattern(args)
    with open_log(args, "r") as log:
        if args.output_file is not None and _is_within(args.output_file, log.path):
            raise CommandError(f"{args.output_file} would be a part of the log; name another file")
        results = log.search(
            since, until, tags=args.tags, source=args.sources or None, pattern=pattern
        )
        count = _write(args, results)
        damage = damage_met(log, results)
    if results.gone:
        complain(results.gone)
    for text in damage:
        complain_once(text)
    if damage:
        return DAMAGE
    return FOUND if count else NOTHING


def _write(args: argparse.Namespace, results: Results) -> int:
    target: str | BinaryIO
    if args.output_file is not None:
        target = args.output_file
    elif sys.stdout is None:
        raise CommandError("stdout is closed; name a file with -O FILE")
    else:
        sys.stdout.flush()
        target = sys.stdout.buffer
    try:
        if args.format == "parquet":
            return export_parquet(results, target, overwrite=args.force)
        if args.format == "csv":
            return export_csv(results, target, overwrite=args.force, exact=args.exact)
        return export_jsonl(results, target, overwrite=args.force)
    except InvalidInput as error:
        if args.output_file is not None and not args.force and Path(args.output_file).is_file():
            raise CommandError(
                f"{args.output_file} is there already; --force replaces it"
            ) from error
        raise


def _is_within(file: str, log: Path) -> bool:
    return Path(file).resolve().is_relative_to(log.resolve())

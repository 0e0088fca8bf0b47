"""``timelog torture``: try on a file system what a log needs and promises."""

from __future__ import annotations

import argparse
import logging
import random
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from timelog.cli import disk, trial
from timelog.cli.base import CommandError, complain, sentence
from timelog.cli.escape import escape
from timelog.cli.guarantee import FAILS, HOLDS, UNKNOWN, Finding
from timelog.cli.stream import is_terminal, put

# Of all seconds, those of each check of the file system by itself, at most.
_SHARE_OF_CHECK = 0.02


def run(args: argparse.Namespace) -> int:
    """Print a table of what holds: 0 nothing failed, 1 something did. Touches nothing foreign."""
    directory = Path(args.directory)
    seed = random.SystemRandom().getrandbits(32) if args.seed is None else args.seed
    place = _make(directory)
    kept = None
    try:
        complain(f"trying for about {args.seconds:g} seconds in {place}, with seed {seed}")
        with _quiet():
            findings = [
                *disk.findings(place, args.seconds * _SHARE_OF_CHECK),
                *trial.findings(place, args.seconds, random.Random(seed)),
            ]
        failed = {one.guarantee for one in findings if one.verdict == FAILS}
        # Of what is known without trying there is nothing to look at.
        if failed - {disk.POWER}:
            kept = place
    finally:
        if kept is None:
            _remove(place)
    _print(args, findings, seed, kept)
    return 1 if failed else 0


def _make(directory: Path) -> Path:
    if not directory.is_dir():
        raise CommandError(f"{directory} is not a directory; name one on the disk to be tried")
    try:
        return Path(tempfile.mkdtemp(prefix="timelog-torture-", dir=directory)).absolute()
    except OSError as error:
        raise CommandError(f"nothing can be made in {directory}: {error.strerror}") from None


def _remove(place: Path) -> None:
    try:
        shutil.rmtree(place)
    except OSError as error:
        complain(f"{place} could not be removed: {sentence(error)}")


@contextmanager
def _quiet() -> Iterator[None]:
    """Do not show what the library says of the faults that are made here."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        yield
    finally:
        logging.disable(before)


def _print(args: argparse.Namespace, findings: list[Finding], seed: int, kept: Path | None) -> None:
    if args.json:
        data = {
            "ok": all(finding.verdict != FAILS for finding in findings),
            "directory": escape(str(args.directory)),
            "seed": seed,
            "seconds": args.seconds,
            "kept": None if kept is None else escape(str(kept)),
            "findings": [finding._asdict() for finding in findings],
        }
        put(msgspec.json.encode(data).decode())
        return
    if not (is_terminal() and _print_with_rich(findings)):
        width = max(len(finding.guarantee) for finding in findings)
        for one in findings:
            put(f"{one.verdict:<11}  {one.guarantee:<{width}}  {escape(one.text)}")
    numbers = (
        f"{sum(finding.verdict == verdict for finding in findings)} {words}"
        for verdict, words in ((HOLDS, "hold"), (FAILS, "fail"), (UNKNOWN, "not checked"))
    )
    put(f"{', '.join(numbers)}; seed {seed}")
    if kept is not None:
        put(f"what was tried is kept in {escape(str(kept))}; remove it when you have looked")


def _print_with_rich(findings: list[Finding]) -> bool:
    try:
        from rich.console import Console
        from rich.table import Table
        from rich.text import Text
    except ImportError:
        return False
    table = Table("guarantee", "verdict", "what was seen")
    styles = {HOLDS: "green", FAILS: "bold red", UNKNOWN: "yellow"}
    for one in findings:
        # Text: a path may hold what rich would take for its markup.
        table.add_row(
            one.guarantee,
            Text(one.verdict, style=styles[one.verdict]),
            Text(escape(one.text), overflow="fold"),
        )
    Console(file=sys.stdout).print(table)
    return True

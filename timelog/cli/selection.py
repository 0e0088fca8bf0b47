"""What the options by which events are chosen say: the range of time, and the pattern."""

from __future__ import annotations

import argparse
import re
import time
import warnings

from timelog.cli.base import CommandError, chosen_zone, complain_once
from timelog.cli.times import parse_time
from timelog.timestamp import to_text


def time_range(args: argparse.Namespace) -> tuple[str | None, str | None]:
    """Return the times of ``--since`` and ``--until`` as the library takes them."""
    zone = chosen_zone(args)
    now_us = time.time_ns() // 1000
    since, until = (
        None if text is None else parse_time(text, zone=zone, now_us=now_us)
        for text in (args.since, args.until)
    )
    if since is not None and until is not None and since > until:
        raise CommandError(f"--since {args.since} is after --until {args.until}; exchange them")
    return (None if since is None else to_text(since)), (None if until is None else to_text(until))


def find_pattern(args: argparse.Namespace) -> re.Pattern[str] | None:
    """Return the regular expression of ``--grep``, None where there is none."""
    if args.grep is None:
        return None
    with warnings.catch_warnings(record=True) as met:
        warnings.simplefilter("always")
        try:
            pattern = re.compile(args.grep, re.IGNORECASE if args.ignore_case else 0)
        except re.error as error:
            said = f"--grep: {args.grep!r} is not a regular expression: {error}"
            raise CommandError(said) from None
    for warning in met:  # such as for [[:digit:]], which is not what it is for grep
        complain_once(f"--grep: {warning.message}")
    return pattern

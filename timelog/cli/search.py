"""``timelog search``: print the events that match."""

from __future__ import annotations

import argparse
import re
import time
import warnings
from collections.abc import Iterable

from timelog import Event, EventLog, Results
from timelog.cli import stream
from timelog.cli.base import (
    DAMAGE,
    FOUND,
    NOTHING,
    CommandError,
    chosen_zone,
    complain,
    complain_once,
    open_log,
)
from timelog.cli.output import make_format
from timelog.cli.times import parse_time
from timelog.timestamp import to_text


def run(args: argparse.Namespace) -> int:
    """Print what matches in the shape asked for; the exit code is grep's."""
    pattern = _pattern(args)
    since, until = time_range(args)
    with open_log(args, "r") as log:
        results = _search(args, log, since, until, pattern)
        if args.quiet:
            found = results.first() is not None
        elif args.count:
            number = results.count()
            stream.put(str(number))
            found = number > 0
        elif args.explain:
            explanation = results.explain()
            stream.put(str(explanation))
            found = explanation.matched.events > 0
        else:
            found = _print(args, results, pattern)
        if results.gone:
            complain(results.gone)
        damage = _damage(log, results)
    for text in damage:
        complain_once(text)
    if damage and args.strict:
        return DAMAGE
    return FOUND if found else NOTHING


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


def _search(
    args: argparse.Namespace,
    log: EventLog,
    since: str | None,
    until: str | None,
    pattern: re.Pattern[str] | None,
) -> Results:
    with warnings.catch_warnings():
        # Reading the pattern again to find its literals, the library is warned again.
        warnings.simplefilter("ignore", FutureWarning)
        return log.search(
            since,
            until,
            tags=args.tags,
            source=args.sources or None,
            pattern=pattern,
            # The last N are the first N from the end, whichever way round they are shown.
            order="desc" if args.reverse or args.lines is not None else "asc",
            limit=args.lines,
            as_of=args.as_of,
            engine=args.engine,
            timeout=args.timeout,
            salvage=args.salvage,
        )


def _print(args: argparse.Namespace, results: Results, pattern: re.Pattern[str] | None) -> bool:
    as_text = make_format(
        args.output,
        zone=chosen_zone(args),
        terminal=stream.is_terminal(),
        color=stream.use_color(args.color),
        pattern=pattern,
    )
    events: Iterable[Event] = results
    if args.lines is not None and not args.reverse:
        events = reversed(results.to_list())
    found = False
    with stream.paged(not args.no_pager) as out:
        for event in events:
            found = True
            out.write(as_text(event))
    return found


def _damage(log: EventLog, results: Results) -> list[str]:
    """Return what was met on the way: in blocks, and in the records that say which there are."""
    health = log.health()
    texts = [f"damaged: {damage}" for damage in (*map(str, results.damage), *health.damage)]
    if health.missing:
        texts.append(
            f"{health.missing} events are missing: the records that named them are damaged"
        )
    return list(dict.fromkeys(texts))


def _pattern(args: argparse.Namespace) -> re.Pattern[str] | None:
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

"""``timelog search``: print the events that match."""

from __future__ import annotations

import argparse
import re
import warnings
from collections.abc import Iterable

from timelog import Event, EventLog, Results
from timelog.cli import follow, stream
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
from timelog.cli.selection import find_pattern, time_range


def run(args: argparse.Namespace) -> int:
    """Print what matches in the shape asked for; the exit code is grep's."""
    if args.follow:
        return _follow(args)
    pattern = find_pattern(args)
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
        damage = damage_met(log, results)
    for text in damage:
        complain_once(text)
    if damage and args.strict:
        return DAMAGE
    return FOUND if found else NOTHING


def _follow(args: argparse.Namespace) -> int:
    for name in ("until", "reverse", "as_of", "salvage", "count", "explain", "quiet", "timeout"):
        if getattr(args, name):
            raise CommandError(
                f"--{name.replace('_', '-')} does not go with --follow; leave it out"
            )
    since, _ = time_range(args)
    args.lines = args.lines if args.lines is not None or since is not None else 10
    args.all = args.no_wait = args.show_cursor = False
    args.after_cursor = args.cursor_file = None
    return follow.print_and_follow(args, since)


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


def damage_met(log: EventLog, results: Results) -> list[str]:
    """Return what was met on the way: in blocks, and in the records that say which there are."""
    health = log.health()
    texts = [f"damaged: {damage}" for damage in (*map(str, results.damage), *health.damage)]
    if health.missing:
        texts.append(
            f"{health.missing} events are missing: the records that named them are damaged"
        )
    return list(dict.fromkeys(texts))

"""``timelog simulate``: make load as a real service does."""

from __future__ import annotations

import argparse
import contextlib
import time
import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from itertools import takewhile
from typing import Any

from timelog import Event
from timelog.cli.base import FOUND, chosen_zone, complain, open_log
from timelog.cli.load import Due, load
from timelog.cli.output import make_format
from timelog.cli.stream import is_terminal, stdout

_Put = Callable[[dict[str, Any]], object]


def run(args: argparse.Namespace) -> int:
    """Store or print events at ``args.rate`` until ``args.duration`` is over, or Ctrl-C."""
    due = load(args.rate, args.sources, args.seed)
    if args.duration is not None:
        due = takewhile(lambda each: each.seconds < args.duration, due)
    with _place(args) as put:
        started = time.monotonic()
        count = 0
        try:
            for count in play(due, put, time.monotonic, time.sleep):  # noqa: B007
                pass
            if args.duration is not None:
                # The last event is due before the end.
                time.sleep(max(0.0, started + args.duration - time.monotonic()))
        finally:
            seconds = time.monotonic() - started
            if not args.quiet:
                was = count / seconds if seconds else 0.0
                complain(
                    f"{count:,} events in {seconds:.1f} s, {was:,.1f} a second "
                    f"(asked for {args.rate:,g})"
                )
    return FOUND


def play(
    due: Iterator[Due], put: _Put, now: Callable[[], float], pause: Callable[[float], None]
) -> Iterator[int]:
    """Put each event when it is due, late ones at once; yield how many that makes.

    ``now`` and ``pause`` are the clock, in seconds.
    """
    started = now()
    for count, (seconds, event) in enumerate(due, 1):
        wait = started + seconds - now()
        if wait > 0:
            pause(wait)
        put(event)
        yield count


@contextlib.contextmanager
def _place(args: argparse.Namespace) -> Iterator[_Put]:
    if args.output is None:
        with open_log(args, "a") as log:
            yield lambda event: log.append(**event)
        return
    as_text = make_format(args.output, zone=chosen_zone(args), terminal=is_terminal())
    out = stdout()

    def show(event: dict[str, Any]) -> None:
        out.write(
            as_text(
                Event(
                    datetime.now(UTC),
                    str(uuid.uuid4()),
                    event["source"],
                    event["tags"],
                    event["content"],
                    event["fields"],
                )
            )
        )

    yield show
    out.flush()

"""``timelog dispatch``: hand the events of a log to workers that connect to a socket."""

from __future__ import annotations

import argparse

from timelog.cli.base import FOUND, complain, open_log
from timelog.cli.signals import stopping
from timelog.consume import Dispatcher


def run(args: argparse.Namespace) -> int:
    """Serve workers until a signal comes; keys that are out then stay theirs."""
    with (
        open_log(args, "r") as log,
        Dispatcher(
            log,
            args.socket,
            state=args.state,
            tags=args.tags,
            source=args.sources or None,
            pattern=args.grep,
            after=None if args.new else 0,
        ) as dispatcher,
    ):
        if not args.quiet:
            complain(f"workers can connect to {args.socket}")
        try:
            with stopping(dispatcher.stop):
                dispatcher.run()
        finally:
            if not args.quiet:
                counts = dispatcher.counts()
                complain(
                    f"{counts.waiting:,} keys wait, {counts.out:,} are handed out, "
                    f"{counts.skipped:,} events were malformed"
                )
    return FOUND

"""``timelog follow``, and ``search -f``: print events as they arrive, and go on."""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterable
from typing import Any

from timelog import Event, EventLog, Gap
from timelog.cli import stream
from timelog.cli.base import (
    DAMAGE,
    FOUND,
    NOTHING,
    chosen_zone,
    complain,
    open_log,
)
from timelog.cli.cursorfile import CursorFile
from timelog.cli.output import Format, make_format
from timelog.cli.selection import find_pattern
from timelog.cli.signals import Interrupts, Terminated

# Seconds between two times that the place is written while much comes.
_PAUSE = 1.0


def run(args: argparse.Namespace) -> int:
    """Print what matches as it arrives; until Ctrl-C, unless ``--no-wait`` says otherwise."""
    return print_and_follow(args, None)


def print_and_follow(args: argparse.Namespace, since: str | None) -> int:
    """Print events from ``since`` on, or the last ones, and what arrives then."""
    pattern = find_pattern(args)
    file = CursorFile(args.cursor_file) if args.cursor_file else None
    after: int | str | None = (file.read() if file else None) or args.after_cursor
    if after is None and args.all:
        after = 0
    as_text = make_format(
        args.output,
        zone=chosen_zone(args),
        terminal=stream.is_terminal(),
        color=stream.use_color(args.color),
        pattern=pattern,
    )
    out = stream.stdout()
    printer = _Printer(out, as_text, file)
    with open_log(args, "r") as log:
        asked = {"tags": args.tags, "source": args.sources or None, "pattern": pattern}
        if after is None:
            # Up to there is searched for, and from there on followed.
            after = log.position
            for event in _before(log, after, since, args.lines, asked):
                printer.put(event)
        printer.go_on(log, after, not args.no_wait, asked)
        if args.show_cursor:
            complain(f"cursor: {printer.cursor}")
    if printer.gone and args.strict:
        return DAMAGE
    return FOUND if printer.found else NOTHING


class _Printer:
    """Prints, and keeps the place behind what was printed."""

    def __init__(self, out: stream.Out, as_text: Format, file: CursorFile | None) -> None:
        self._out = out
        self._as_text = as_text
        self._file = file
        self.cursor = ""
        self.found = self.gone = False

    def put(self, event: Event) -> None:
        """Print an event."""
        self.found = True
        self._out.write(self._as_text(event))

    def go_on(self, log: EventLog, after: int | str, wait: bool, asked: dict[str, Any]) -> None:
        """Print what comes, until nothing does."""
        interrupts = Interrupts()
        with interrupts.put_off(), log.follow(after, wait=wait, **asked) as following:
            self.cursor = following.cursor
            self._settle()
            settled = time.monotonic()
            try:
                while True:
                    with interrupts.waiting():
                        item = next(following, None)
                    if item is None:
                        break
                    if isinstance(item, Gap):
                        self.gone = True
                        self._out.flush()
                        complain(_gap(item))
                    else:
                        self.put(item.event)
                    # No interrupt comes between: what was passed on is printed.
                    self.cursor = following.cursor
                    if not following.is_behind or time.monotonic() - settled >= _PAUSE:
                        self._settle()
                        settled = time.monotonic()
            except (KeyboardInterrupt, Terminated):
                self._settle()
                raise
            # What is not asked for may have come behind.
            self.cursor = following.cursor
            self._settle()

    def _settle(self) -> None:
        """Hand over what was printed, then note that it was."""
        self._out.flush()
        if self._file is not None:
            self._file.write(self.cursor)


def _before(
    log: EventLog,
    position: int,
    since: str | None,
    number: int | None,
    asked: dict[str, Any],
) -> Iterable[Event]:
    """The events before ``position``: the last ones, or those from ``since`` on."""
    if number is None:
        return log.search(since, as_of=position, **asked)
    last = log.search(since, order="desc", limit=number, as_of=position, **asked)
    return reversed(last.to_list())


def _gap(gap: Gap) -> str:
    number = gap.last - gap.first + 1
    what = "has expired" if gap.reason == "expired" else "is damaged"
    if number == 1:
        return f"the event at position {gap.first} {what}, and is not printed"
    what = "have expired" if gap.reason == "expired" else "are damaged"
    return f"{number} events, positions {gap.first} to {gap.last}, {what} and are not printed"

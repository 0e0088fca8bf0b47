"""``timelog index``: build the text index of what is stored, now."""

from __future__ import annotations

import argparse

from timelog.cli.base import open_log
from timelog.cli.stream import put


def run(args: argparse.Namespace) -> int:
    """Build it and print what was built; 0 also where there was nothing to do."""
    with open_log(args, "a") as log:
        built = log.index_text()
    if not args.quiet:
        put(str(built))
    return 0

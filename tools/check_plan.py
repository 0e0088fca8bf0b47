"""Prove on a log that ruling text out loses nothing: every pattern, with and without each way.

    python tools/check_plan.py DIR [PATTERNS]

PATTERNS is a file of regular expressions of Python, one a line (``-`` for standard input); without
it a list of its own is used. Each is searched once with nothing ruled out, which decodes every
event and asks ``re.search``, then with each way of ruling out alone, then with all. Prints how many
events each found and how long it took. Ends with 1 where any two differ, 2 on bad input.
"""

from __future__ import annotations

import argparse
import hashlib
import sys
import time
from pathlib import Path

import timelog
from timelog.scan import EXCLUSIONS

OWN = (
    r"error",
    r"(?i)ERROR|warn(ing)?",
    r"Failed password for (invalid user )?\w+",
    r"\d{1,3}(\.\d{1,3}){3}",
    r"^\[?\d+",
    r"[^\x00-\x7f]",
    r"\\",
    r"\"[^\"]*\"",
    r"\t|\n",
    r"a.*b.*c",
    r"(?<=user)\d+7\b",
    r"\b(\w)\w*\1\b",
    r"(?!)|zzzz",
    r"x*",
    r"(?i)s\S+k\b",
    r"timelog check_plan: a text that no log has",
)
WAYS: tuple[tuple[str, frozenset[str]], ...] = (
    ("nothing ruled out", frozenset()),
    *((f"only {way}", frozenset({way})) for way in sorted(EXCLUSIONS)),
    ("everything", EXCLUSIONS),
)


def main(argv: list[str] | None = None) -> int:
    """Check each pattern and print a line for each way."""
    parser = argparse.ArgumentParser(prog="check_plan", description=main.__doc__)
    parser.add_argument("log", metavar="DIR")
    parser.add_argument("patterns", metavar="PATTERNS", nargs="?")
    args = parser.parse_args(argv)
    differing = 0
    try:
        patterns = _patterns(args.patterns)
        with timelog.open(args.log, mode="r") as log:
            for pattern in patterns:
                differing += not check(log, pattern)
    except (OSError, timelog.TimelogError) as error:
        print(f"check_plan: {error}", file=sys.stderr)
        return 2
    print(f"{len(patterns)} patterns, {differing} with differences")
    return 1 if differing else 0


def check(log: timelog.EventLog, pattern: str) -> bool:
    """Whether all ways find the same events in the same order; one view for all of them."""
    print(repr(pattern))
    results = log.search(pattern=pattern)
    answers = set()
    for name, exclusions in WAYS:
        began = time.perf_counter()
        digest = hashlib.sha256()
        number = 0
        for event in results.using(exclusions):
            number += 1
            digest.update(event.id.encode())
        took = (time.perf_counter() - began) * 1000
        answers.add(digest.digest())
        counted = results.using(exclusions).count()
        if counted != number:
            answers.add(b"")
        print(f"  {name:20} {number:10,} events, {counted:10,} counted {took:10,.1f} ms")
    if len(answers) > 1:
        print("  DIFFERENT")
    return len(answers) == 1


def _patterns(file: str | None) -> list[str]:
    if file is None:
        return list(OWN)
    text = sys.stdin.read() if file == "-" else Path(file).read_text()
    return [line for line in text.splitlines() if line]


if __name__ == "__main__":
    sys.exit(main())

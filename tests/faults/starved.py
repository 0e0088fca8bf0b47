"""A program that uses a log with hardly any memory left.

``python -m tests.faults.starved PATH EXTRA``

A program of its own, since one that ran tests before has freed memory enough. ``EXTRA``: the bytes
of address space that it may still take. Prints as JSON how often each error was met; ends with an
error where anything that was acknowledged is not there afterwards.
"""

from __future__ import annotations

import json
import os
import resource
import sys
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path

import timelog
from timelog import scan
from timelog.errors import TimelogError

_LONG = "x" * 1_000_000


def main() -> None:
    """See the module."""
    path, extra = Path(sys.argv[1]), int(sys.argv[2])
    counts: Counter[str] = Counter()
    log = _open(path, sync="off")
    for n in range(50):
        log.append(f"before {n} needle", timestamp=n, sync=n == 49)
    # A thread that finds no memory to begin with is waited for by Python for ever.
    scan._INLINE = 1 << 40
    # Made before: noting needs no memory.
    taken = [False] * 20
    with open("/proc/self/statm") as file:
        size = int(file.read().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    hard = resource.getrlimit(resource.RLIMIT_AS)[1]
    resource.setrlimit(resource.RLIMIT_AS, (size + extra, hard))
    for n in range(20):
        steps: list[Callable[[], object]] = [partial(_add, log, n, taken)]
        steps += [log.flush] if n % 5 == 0 else [log.health]
        steps += [partial(_count, log)] if n % 5 == 1 else []
        steps += [log.verify] if n % 15 == 14 else []
        for use in steps:
            try:
                use()
            except (MemoryError, TimelogError) as error:
                counts[type(error).__name__] += 1
            else:
                counts["none"] += 1
    resource.setrlimit(resource.RLIMIT_AS, (hard, hard))
    log.close()
    with _open(path) as again:
        found = [event.content.removesuffix(_LONG) for event in again.search()]
        assert len(found) == len(set(found))
        assert {f"before {n} needle" for n in range(50)} <= set(found)
        assert {str(n) for n, is_taken in enumerate(taken) if is_taken} <= set(found)
        assert again.verify(deep=True).ok
    print(json.dumps(counts))


def _open(path: Path, sync: str = "flush") -> timelog.EventLog:
    return timelog.open(path, flush_interval=3600.0, sync=sync, text_index=False, scrub_interval=0)


def _count(log: timelog.EventLog) -> int:
    return log.search(pattern="needle").count()


def _add(log: timelog.EventLog, number: int, taken: list[bool]) -> None:
    log.append(f"{number}{_LONG}", timestamp=0)
    taken[number] = True


if __name__ == "__main__":
    main()

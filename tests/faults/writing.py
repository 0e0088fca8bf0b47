"""A process that writes until it is killed, and notes how far it is: see `tests.faults.killing`.

It imports little, so that new interpreters start fast.
"""

from __future__ import annotations

import os
import random
import signal
import sys
from datetime import UTC, datetime
from pathlib import Path

import timelog
from timelog.event import Event

_T = 1_700_000_000
_DAY = 86_400
_SLOT = 48
# Of one in so many groups the first event is deleted when the group is durable.
_DELETED = 5
# One in so many groups is followed by a compaction.
_COMPACTED = 25
# Then it waits for its end; what is in memory is flushed meanwhile.
_MOST_GROUPS = 100


class Note:
    """How far each writer is, in a file outside of the log: each call is whole or undone."""

    def __init__(self, path: Path) -> None:
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)

    def put(self, writer: int, begun: int, acknowledged: int, going: int, gone: int) -> None:
        """How many groups of events the writer began to append, and how many are durable.

        Of the first ``going`` groups it began to delete those that `doomed` says, of the first
        ``gone`` it has.
        """
        noted = b"%08d %08d %08d %08d" % (begun, acknowledged, going, gone)
        os.pwrite(self._fd, noted, writer * _SLOT)

    def get(self, writer: int) -> tuple[int, int, int, int] | None:
        """What was put; None where the writer had not even opened the log."""
        found = os.pread(self._fd, 35, writer * _SLOT).strip(b"\0")
        if not found:
            return None
        begun, acknowledged, going, gone = map(int, found.split())
        return begun, acknowledged, going, gone


def group(writer: int, number: int) -> list[Event]:
    """What a writer appends as one: up to three events over two days, no two of them alike."""
    return [
        Event(
            datetime.fromtimestamp(_T + number % 5 * 60 - n % 2 * _DAY, UTC),
            f"{writer}-{number}-{n}",
            f"writer {writer}",
            ("all", f"tag{number % 4}"),
            f"event {n} of group {number} ü {'x' * (number % 7 * 40)}",
            {"writer": writer, "number": number},
        )
        for n in range(number % 3 + 1)
    ]


def doomed(writer: int, number: int) -> set[str]:
    """The ids of the events of a group that its writer deletes."""
    return {f"{writer}-{number}-0"} if number % _DELETED == _DELETED - 1 else set()


def write(path: Path, sync: str, note: Note, writer: int, seed: str) -> None:
    """Append group after group, delete and compact some, until killed."""
    rng = random.Random(f"{seed} {writer}")
    log = timelog.open(
        path,
        sync=sync,
        flush_interval=rng.choice((0.001, 0.004)),
        text_index=False,
        scrub_interval=rng.choice((0.0, 0.01)),
    )
    acknowledged = gone = 0
    note.put(writer, 0, 0, 0, 0)
    for number in range(_MOST_GROUPS):
        note.put(writer, number + 1, acknowledged, gone, gone)
        how = rng.random()
        going = doomed(writer, number)
        is_synced = how < 0.2 or bool(going)
        log.append_many(group(writer, number), sync=is_synced)
        if how < 0.1:
            log.flush()
        if is_synced:
            acknowledged = number + 1
            note.put(writer, number + 1, acknowledged, number + 1, gone)
        for id in going:
            log.delete(id, erase=how < 0.3)
            gone = number + 1
            note.put(writer, number + 1, acknowledged, gone, gone)
        if not rng.randrange(_COMPACTED):
            log.compact()
    while True:
        signal.pause()


if __name__ == "__main__":
    place, how, notes, which, chance = sys.argv[1:]
    write(Path(place), how, Note(Path(notes)), int(which), chance)

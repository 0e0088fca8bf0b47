"""`Usage`: how many bytes everything of a log takes on the disk, as ``du`` counts them.

Of the segments the index is asked, since there may be millions of them: a look at each would take
seconds. It knows how many files a partition has, and how long they are together; each may end in a
piece of the disk that it does not fill. So what is said of segments is a bound: never less than
what ``du`` shows, and at most a piece a file more. Of everything else each file is looked at.
"""

from __future__ import annotations

import stat
from collections import Counter

import msgspec

from timelog import names
from timelog.index import Index
from timelog.names import Layout
from timelog.storage import Storage
from timelog.tree import everything

# File systems give files room in pieces of so many bytes; larger ones are rare.
PIECE = 4096
# What `stat` counts in.
_UNIT = 512
_KINDS = {
    names.JOURNAL: "journal",
    names.TRASH: "trash",
    names.QUARANTINE: "quarantine",
    names.TEMPORARY: "temporary",
    names.STATE: "state",
}


class Usage(msgspec.Struct, frozen=True):
    """Bytes that a log takes on the disk.

    ``partitions``: at most so many for the segments of each day, by its start in microseconds, and
    for the day's directory. ``index``: the root and the index files of days. ``temporary``: what is
    being made, or was left by who was killed. ``other``: the directories themselves, the locks and
    the format, and whatever else is in ``.timelog``.

    Foreign files beside the partitions, or in them, do not count, nor do segments that no commit
    names.
    """

    partitions: dict[int, int]
    journal: int = 0
    index: int = 0
    text_index: int = 0
    trash: int = 0
    quarantine: int = 0
    temporary: int = 0
    state: int = 0
    other: int = 0

    @property
    def segments(self) -> int:
        """Bytes of all partitions."""
        return sum(self.partitions.values())

    @property
    def total(self) -> int:
        """All of it."""
        return self.segments + sum(self.control().values())

    def control(self) -> dict[str, int]:
        """The bytes in ``.timelog``, by kind."""
        kinds: dict[str, int] = msgspec.structs.asdict(self)
        del kinds["partitions"]
        return kinds


def usage(layout: Layout, storage: Storage, index: Index) -> Usage:
    """Look how much the log takes, as far as ``index`` knows it; see `Usage`. Any thread.

    Follows no link; what vanishes meanwhile does not count. Raises ``OSError`` where a directory
    cannot be listed. Cost: about 10 µs for each partition, and for each file in ``.timelog`` and
    beside the partitions, however many segments there are.
    """
    directories = {
        name: status.st_blocks * _UNIT
        for name, status in storage.entries(layout.root, follow=True)
        if stat.S_ISDIR(status.st_mode)
    }
    partitions = {}
    for day in index.totals_of_days():
        own = directories.get(names.partition(day.day))
        # Who removed a partition by hand has its room.
        if own is not None:
            partitions[day.day] = own + day.stored + day.segments * PIECE
    kinds: Counter[str] = Counter()
    kinds["other"] = directories.get(names.CONTROL, 0)
    kinds["other"] += storage.status(layout.root).st_blocks * _UNIT
    for parts, status in everything(storage, layout.control):
        kinds[_kind(parts)] += status.st_blocks * _UNIT
    return Usage(partitions, **kinds)


def _kind(parts: tuple[str, ...]) -> str:
    """The field of `Usage` for what stands at a path in ``.timelog``."""
    if len(parts) < 2:
        return "other"
    if parts[0] != names.INDEX:
        return _KINDS.get(parts[0], "other")
    if parts[1] == names.ROOT or names.is_day_index(parts[1]):
        return "index"
    return "text_index" if names.is_text_index(parts[1]) else "other"

"""Every file name of a log: made, parsed and classified here and nowhere else.

::

    2026-11-21/                                     a partition: one UTC day
        20261121T1015Z-20261121T1016Z.jsonl         a segment of a minute
        20261121T1015Z-20261121T1016Z.2.jsonl       a next file of the same span
        20261121T0000Z-20261122T0000Z.7.jsonl.zst   an archived segment of a day
    .timelog/
        format  lock
        journal/0000000001.journal
        index/root  index/2026-11-21.7.index  index/2026-11-21.5f0c9a1b7d22.text
        trash/  tmp/  quarantine/  state/
        manifest                                    of a snapshot: what is in it

Names sort as time does. A name that `parse_segment` does not know is not a part of the log: it is
reported by ``verify`` and never opened, changed or removed. All functions are pure.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from timelog.span import Span
from timelog.timestamp import DAY, HOUR, MINUTE, from_datetime, to_datetime, to_text

CONTROL = ".timelog"
FORMAT = "format"
LOCK = "lock"
TEXT_LOCK = "text.lock"
SCRUB_LOCK = "scrub.lock"
SCRUB = "scrub"
STATE = "state"
RETENTION = "retention"
KEY = "key"
TEXT_TEMPORARY = "text"
JOURNAL = "journal"
INDEX = "index"
ROOT = "root"
TRASH = "trash"
QUARANTINE = "quarantine"
ADOPTING = "adopting"
TEMPORARY = "tmp"
COMPACT_LOCK = "compact.lock"
MANIFEST = "manifest"
SNAPSHOTS = "snapshots"
SNAPSHOT_LOCK = ".lock"
PERIODIC, SAFETY = "periodic", "safety"
DIRECTORIES = (JOURNAL, INDEX, TRASH, TEMPORARY, QUARANTINE, STATE)

_SEGMENT = re.compile(
    r"(\d{8}T\d{4}Z)-(\d{8}T\d{4}Z)(?:\.([1-9]\d{0,11}))?\.jsonl(\.zst)?", re.ASCII
)
_ARCHIVED = re.compile(r"\.jsonl\.zst(@\d+(\+\d+)?)?$", re.ASCII)
_PARTITION = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)
_JOURNAL = re.compile(r"(\d{10})\.journal", re.ASCII)
_TEXT_INDEX = re.compile(r"(\d{4}-\d\d-\d\d)\.([0-9a-f]{12})\.text", re.ASCII)
_TRASH = re.compile(r"([1-9]\d*)-(\d{4}-\d\d-\d\d)", re.ASCII)
_COMPACTED = re.compile(r"compacted-\d+", re.ASCII)
_SNAPSHOT = re.compile(rf"(\d{{8}}T\d{{6}}\.\d{{6}}Z)-({PERIODIC}|{SAFETY})", re.ASCII)
_PARTIAL = re.compile(r"\.partial-[0-9a-f]{12}", re.ASCII)
_DAY_INDEX = re.compile(r"(\d{4}-\d\d-\d\d)\.([1-9]\d*)\.index", re.ASCII)


class SegmentName(NamedTuple):
    """What a segment's name says: its span, which file of the span it is (from 1), and its kind."""

    span: Span
    number: int
    is_archive: bool = False

    @property
    def file(self) -> str:
        """The file name: ``20261121T1015Z-20261121T1016Z.2.jsonl``."""
        return _file(self)

    @property
    def path(self) -> str:
        """The path below the log's directory: ``2026-11-21/`` and the file name."""
        return _path(self)


def partition(us: int) -> str:
    """The directory of the day that holds ``us``: ``2026-11-21``."""
    return _partition(us - us % DAY)


def parse_partition(name: str) -> Span | None:
    """The day of a partition's name, or None where it is not one."""
    if not _PARTITION.fullmatch(name):
        return None
    try:
        start = datetime.fromisoformat(name).replace(tzinfo=UTC)
    except ValueError:
        return None
    return Span.day(from_datetime(start))


@lru_cache(maxsize=4096)
def parse_segment(path: str) -> SegmentName | None:
    """What ``2026-11-21/<file>`` names, or None where that is not a segment of the log.

    The span must be aligned, lie in the partition, and the name must be the one that
    `SegmentName.path` makes, so that two names never mean one segment.
    """
    match = _SEGMENT.fullmatch(path.rpartition("/")[2])
    if not match:
        return None
    start, end = _unstamp(match[1]), _unstamp(match[2])
    if start is None or end is None or not Span(start, end).is_aligned:
        return None
    name = SegmentName(Span(start, end), int(match[3] or 1), match[4] is not None)
    return name if name.path == path else None


def journal(number: int) -> str:
    """The name of the journal file ``number`` (from 1)."""
    return f"{number:010d}.journal"


def parse_journal(name: str) -> int | None:
    """The number of a journal file, or None where the name is not one."""
    match = _JOURNAL.fullmatch(name)
    return int(match[1]) if match else None


def is_in_journal(path: str) -> bool:
    """Whether a path below the log's directory is that of a file of the journal."""
    return path.startswith(f"{CONTROL}/{JOURNAL}/")


def day_index(day: int, number: int) -> str:
    """The name of the index file of the day that starts at ``day``, as of root ``number``."""
    return f"{partition(day)}.{number}.index"


def is_day_index(name: str) -> bool:
    """Whether ``name`` is one that `day_index` makes."""
    return _DAY_INDEX.fullmatch(name) is not None


def text_index(day: int, token: str) -> str:
    """The name of a file of the text index of the day that starts at ``day``."""
    return f"{partition(day)}.{token}.text"


def is_text_index(name: str) -> bool:
    """Whether ``name`` looks like one that `text_index` makes; cheaper than parsing it."""
    return _TEXT_INDEX.fullmatch(name) is not None


def parse_text_index(name: str) -> int | None:
    """The start of the day of a file of the text index, or None where the name is not one."""
    match = _TEXT_INDEX.fullmatch(name)
    span = parse_partition(match[1]) if match else None
    return span.start if span else None


def trashed(partition: str, sequence: int) -> str:
    """The name in the trash of a partition that went with the commit ``sequence``."""
    return f"{sequence}-{partition}"


def parse_trashed(name: str) -> str | None:
    """The partition of a name that `trashed` makes, or None where the name is not one."""
    match = _TRASH.fullmatch(name)
    return match[2] if match and parse_partition(match[2]) else None


def compacted(number: int) -> str:
    """The name of a temporary file that compaction writes."""
    return f"compacted-{number}"


def is_compacted(name: str) -> bool:
    """Whether ``name`` is one that `compacted` makes."""
    return _COMPACTED.fullmatch(name) is not None


def quarantined(path: str, offset: int, sequence: int) -> str:
    """The name under which bytes cut from ``path`` at ``offset`` are kept."""
    return f"{sequence}-{path.replace('/', '-')}@{offset}"


def is_archived(path: str) -> bool:
    """Whether a segment's path, or the name of what was cut from it, is that of an archive."""
    return _ARCHIVED.search(path) is not None


def snapshot(us: int, kind: str) -> str:
    """The name of a snapshot: ``20261121T101503.123456Z-periodic``."""
    return f"{to_text(us).replace('-', '').replace(':', '')}-{kind}"


def parse_snapshot(name: str) -> tuple[int, str] | None:
    """The time and the kind in the name of a snapshot, or None where the name is not one."""
    match = _SNAPSHOT.fullmatch(name)
    try:
        return (from_datetime(datetime.fromisoformat(match[1])), match[2]) if match else None
    except ValueError:
        return None


def partial(token: str) -> str:
    """The name of a snapshot that is being made or removed; ``token``: 12 hexadecimal digits."""
    return f".partial-{token}"


def is_partial(name: str) -> bool:
    """Whether ``name`` is one that `partial` makes."""
    return _PARTIAL.fullmatch(name) is not None


def restoring(name: str) -> str:
    """The name of what is to become the directory ``name``, while a snapshot is restored."""
    return f".{name}.restoring"


class Layout:
    """The absolute paths of one log."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.control = root / CONTROL
        self.format = self.control / FORMAT
        self.lock = self.control / LOCK
        self.text_lock = self.control / TEXT_LOCK
        self.scrub_lock = self.control / SCRUB_LOCK
        self.scrub = self.control / STATE / SCRUB
        self.journals = self.control / JOURNAL
        self.index = self.control / INDEX
        self.index_root = self.index / ROOT
        self.retention = self.control / STATE / RETENTION
        self.key = self.control / STATE / KEY
        self.snapshots = self.control / STATE / SNAPSHOTS
        self.manifest = self.control / MANIFEST
        self.quarantine = self.control / QUARANTINE
        self.adopting = self.quarantine / ADOPTING
        self.temporary = self.control / TEMPORARY
        self.trash = self.control / TRASH
        self.compact_lock = self.control / COMPACT_LOCK
        # The absolute path of a segment named relative to the log.
        self.segment = lru_cache(maxsize=1024)(root.joinpath)

    def journal(self, number: int) -> Path:
        """The absolute path of journal file ``number``."""
        return self.journals / journal(number)


# Of the few segments in use the names are asked for again and again.
@lru_cache(maxsize=1024)
def _file(name: SegmentName) -> str:
    number = f".{name.number}" if name.number > 1 else ""
    kind = "jsonl.zst" if name.is_archive else "jsonl"
    return f"{_stamp(name.span.start)}-{_stamp(name.span.end)}{number}.{kind}"


@lru_cache(maxsize=1024)
def _path(name: SegmentName) -> str:
    return f"{partition(name.span.start)}/{_file(name)}"


def _stamp(us: int) -> str:
    minute = us % DAY // MINUTE
    return f"{_compact(us - us % DAY)}T{minute // 60:02d}{minute % 60:02d}Z"


def _unstamp(text: str) -> int | None:
    """The time of ``20261121T1015Z``; None where there is no such time."""
    day = _day_of(text[:8])
    hour, minute = int(text[9:11]), int(text[11:13])
    return None if day is None or hour > 23 or minute > 59 else day + hour * HOUR + minute * MINUTE


# Few days occur again and again, and calendars are slow.
@lru_cache(maxsize=1024)
def _partition(day: int) -> str:
    return to_datetime(day).date().isoformat()


@lru_cache(maxsize=1024)
def _compact(day: int) -> str:
    return partition(day).replace("-", "")


@lru_cache(maxsize=1024)
def _day_of(text: str) -> int | None:
    try:
        return from_datetime(datetime(int(text[:4]), int(text[4:6]), int(text[6:]), tzinfo=UTC))
    except ValueError:
        return None

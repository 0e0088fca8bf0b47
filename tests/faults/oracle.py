"""What must hold of a log after a power cut, whatever was lost.

Flushes are groups of events, and what expires or is deleted are groups of events that go, in the
order in which they were committed. Of those that had begun, the first happened, at least up to the
last that was acknowledged: each whole or not at all, every event as it was issued, in order, none
twice, and none again that went. Cursors are those of the flushes that are there. Nothing is
damaged, no bytes are left that no commit names, the books balance, a second recovery finds the
same, and the log takes events again, and can be compacted. Of what was erased no file has the text.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import timelog
from timelog import names, shelf
from timelog.consume import Projection
from timelog.damage import Damage
from timelog.deletion import Deleted
from timelog.errors import DamagedError
from timelog.event import Event
from timelog.frames import decompress, scan
from timelog.journal import Block, Commit, Entry, read
from timelog.lock import read_state
from timelog.storage import Storage

NEEDLE = "needle"
# What begins the names of the places of those who follow.
FOLLOWER = "follow:"
# The name of the projection of a run.
PROJECTION = "ids"
# Where a run takes snapshots, beside its log.
SNAPSHOTS = "snapshots"
_LINE = re.compile(rb'{"timestamp":"[^"]+","id":"([^"]+)"')
_MOST_TEXT = 1 << 20


class Violation(AssertionError):
    """A promise that was not kept."""


class Group(NamedTuple):
    """One flush, or what goes in one step, which no other has.

    ``killed``: its process died in it, so it may be absent for ever. ``gone``: the ids of the
    events that go; ``erased``: of those whose text goes, too, by then.
    """

    events: tuple[Event, ...]
    cursor: tuple[str, Any] | None = None
    killed: bool = False
    gone: frozenset[str] = frozenset()
    erased: frozenset[str] = frozenset()


class Found(NamedTuple):
    """What a recovered log says."""

    events: tuple[Event, ...]
    cursors: dict[str, Any]
    sequence: int
    position: int
    lost: int
    # Events of these.
    lost_events: int
    # Places of bytes that no commit names.
    leftovers: tuple[str, ...]
    # How many are in blocks, hidden or not.
    held: int
    # Ids of which some file has the text; not looked for where nothing goes.
    texts: frozenset[str]


class Booted(Storage):
    """The storage of production after another boot, without waiting for the disk."""

    def __init__(self, boot: str) -> None:
        super().__init__()
        self._boot = boot

    def boot_id(self) -> str:
        """The boot that the test chose."""
        return self._boot

    def sync(self, fd: int) -> None:
        """Nothing: no power is lost from here on."""


class _Remade(Booted):
    """The same of a tree that was made anew: its files count as those of the run."""

    def inode(self, fd: int) -> int:
        """As that of `ModelStorage`."""
        return 1


def recover(
    path: Path,
    cursors: tuple[str, ...],
    *,
    text: bool,
    removes: bool = False,
    known: dict[bytes, Found] | None = None,
    boots: tuple[str, str] = ("second boot", "third boot"),
) -> Found:
    """Let the first writer repair the log, and look at it twice; also append.

    ``boots``: those of the two looks; the run's own where no power was cut. ``known``: what was
    found in logs of this run so far, by how they came out of the repair; of one that came out
    alike nothing else is looked at. ``removes``: look also whether what went is gone.
    """
    check_snapshots(path.parent / SNAPSHOTS)
    with _opened(path, boots[0]) as log:
        before = _state(log, cursors)
        lock = read_state(log._store.storage, log._store.layout.lock)
        alike = hashlib.blake2b(repr((before, lock)).encode(), digest_size=16)
        _add_files(alike, path, "")
        if _projections(log).is_dir():
            _add_files(alike, _projections(log), "projections/")
        found = known.get(alike.digest()) if known is not None else None
        if found is not None:
            return found
        found = _look(log, before, text)
        if removes:
            found = found._replace(texts=_texts(path))
    with _opened(path, boots[1]) as log:
        again = _state(log, cursors)
        if again != before:
            pairs = zip(_State._fields, before, again, strict=True)
            others = [f"{name} {one}, then {two}" for name, one, two in pairs if one != two]
            raise Violation(f"a second recovery found something else: {'; '.join(others)}")
        _append(log, found)
        if removes:
            _compact(log, found)
    if known is not None:
        known[alike.digest()] = found
    return found


def check_snapshots(place: Path) -> None:
    """Whatever has the name of a snapshot is a whole one."""
    for path in sorted(place.iterdir()) if place.is_dir() else ():
        if names.parse_snapshot(path.name) is None:
            continue
        with timelog.open(path, mode="r") as log:
            checked = log.verify(deep=True)
            shelved = shelf.look(Storage(), place, log._store.id)
            (known,) = (each for each in shelved if each.path == str(path))
        if not (checked.ok and known.ok) or known.position != checked.events:
            raise Violation(f"the snapshot {path.name} is not whole: {checked} {known}")


def check(found: Found, groups: list[Group], acknowledged: int) -> None:
    """Compare with what was issued: ``groups`` had begun, the first were ``acknowledged``."""
    there = {event.id for event in found.events}
    if len(there) != len(found.events):
        raise Violation("an event came twice")
    unknown = there - {event.id for group in groups for event in group.events}
    if unknown:
        raise Violation(f"events came that nobody appended: {sorted(unknown)}")
    # Of a flush that may be lost, and of which nothing is there, nothing can go.
    lost: set[str] = set()
    for group in groups[acknowledged:]:
        ids = {event.id for event in group.events}
        lost |= ids if not ids & there else set()
    gone: set[str] = set()
    for number, group in enumerate(groups):
        if group.gone and not group.gone & there:
            gone |= group.gone
        elif group.gone and not group.gone - lost <= there:
            left = sorted(group.gone & there)
            raise Violation(f"half of what goes by step {number}: {left} of {sorted(group.gone)}")
        elif group.gone and number < acknowledged and not group.killed:
            raise Violation(f"step {number} was acknowledged, and what went is there again")
        if number < acknowledged and not group.killed and group.erased & found.texts:
            raise Violation(f"the text of {sorted(group.erased & found.texts)} was erased")
    present: list[Group] = []
    absent = None
    for number, group in enumerate(groups):
        ids = {event.id for event in group.events} - gone
        if not ids and not (group.gone and group.gone <= there):
            # Whether it happened nothing tells, or what went: what was there before it was.
            present.append(group)
        elif group.gone:
            absent = number if absent is None and not group.killed else absent
        elif ids <= there:
            if absent is not None:
                raise Violation(f"flush {number} is there and flush {absent}, before it, is not")
            present.append(group)
        elif ids & there:
            raise Violation(f"half of flush {number}: {sorted(ids & there)} of {sorted(ids)}")
        elif not group.killed:
            if number < acknowledged:
                raise Violation(f"flush {number} was acknowledged and is lost: {sorted(ids)}")
            absent = number if absent is None else absent
    issued = [event for group in present for event in group.events if event.id not in gone]
    # Sorting is stable: of one time, in the order of arrival.
    expected = tuple(sorted(issued, key=lambda event: event.timestamp))
    if found.events != expected:
        raise Violation(f"other events than were issued, or in another order: {found.events}")
    last = dict(group.cursor for group in present if group.cursor is not None)
    if found.cursors != last:
        raise Violation(f"the cursors are {found.cursors}; the events that are there say {last}")


def check_leftovers(found: Found) -> None:
    """The repair must have moved away whatever no commit names."""
    if found.leftovers:
        raise Violation(f"left by the repair: {found.leftovers}")


def check_lost(found: Found, written: tuple[int, int]) -> None:
    """Commits whose record is in the journal and that were dropped must have been counted."""
    sequence, position = written
    expected = max(0, sequence - found.sequence), max(0, position - found.position)
    if (found.lost, found.lost_events) != expected:
        raise Violation(
            f"{found.lost} lost commits with {found.lost_events} events were counted, "
            f"{expected[0]} with {expected[1]} were dropped"
        )


def newest_commit(tree: dict[str, bytes | None]) -> tuple[int, int]:
    """The highest sequence of a whole record in the journal files of a tree, and where it ends."""
    newest = (0, 0)
    for path, data in tree.items():
        if data is not None and names.parse_journal(path.rpartition("/")[2]) is not None:
            if f"/{names.TEMPORARY}/" in path:
                continue
            for item in read(data, 0):
                if isinstance(item, Entry) and isinstance(item.record, Commit):
                    commit = item.record
                    newest = max(newest, (commit.sequence, commit.position + commit.count))
    return newest


class _State(NamedTuple):
    """What a process has in memory of a log, but how it came there."""

    sequence: int
    position: int
    lost: int
    missing: tuple[tuple[int, int], ...]
    damage: tuple[Damage, ...]
    cursors: dict[str, Any]
    blocks: tuple[tuple[str, tuple[Block, ...]], ...]
    tombstones: tuple[Deleted, ...]
    horizons: tuple[dict[str, int], ...]


def comparable(name: str, value: Any) -> Any:
    """What of a cursor is the same in every run: not the id of the log, nor inodes of files."""
    if name.startswith(FOLLOWER):
        return value.partition(":")[2]
    if not name.startswith("ingest/"):
        return value
    _, turn, places = value
    return [turn, [[place[0], place[3], place[8]] for place in places]]


def _opened(path: Path, boot: str) -> timelog.EventLog:
    return timelog.open(path, flush_interval=3600.0, text_index=False, storage=_Remade(boot))


def _state(log: timelog.EventLog, cursors: tuple[str, ...]) -> _State:
    index = log._store.index
    segments = [
        (segment.path, blocks)
        for day in index.between(None, None)
        for segment, blocks in index.blocks(day, None, None, index.position)
    ]
    return _State(
        index.sequence,
        index.position,
        index.lost,
        tuple(index.missing),
        tuple(index.damage),
        {
            name: comparable(name, value)
            for name in cursors
            if (value := log.cursor(name)) is not None
        },
        tuple(segments),
        tuple(log.deletions()),
        index.removal.horizons,
    )


def _add_files(whole: hashlib.blake2b, directory: Path | str, prefix: str) -> None:
    """Add all that is below a directory, but for what no later reader or repair looks at.

    That is what quarantine keeps, and what stands in the lock file behind what it says.
    """
    with os.scandir(directory) as found:
        entries = sorted(found, key=lambda entry: entry.name)
    for entry in entries:
        name = prefix + entry.name
        if entry.is_dir(follow_symlinks=False):
            whole.update(f"{name}\0-\0".encode())
            if name != f"{names.CONTROL}/{names.QUARANTINE}":
                _add_files(whole, entry.path, f"{name}/")
        elif name != f"{names.CONTROL}/{names.LOCK}":
            data = Path(entry.path).read_bytes()
            whole.update(f"{name}\0{len(data)}\0".encode())
            whole.update(data)


def _look(log: timelog.EventLog, state: _State, text: bool) -> Found:
    report = log.verify(deep=True)
    if report.damage or report.foreign:
        raise Violation(f"verify after the repair: {report}")
    leftovers = tuple(str(torn) for torn in report.torn)
    health = log.health()
    if health.status == "critical" or health.damage or health.missing:
        raise Violation(f"health after the repair: {health.reasons} {health.damage}")
    results = log.search()
    events = tuple(results)
    books = log.audit()
    # What a rule hides is stored until it is compacted.
    is_even = books.stored == len(events) or (
        any(any(horizon) for horizon in state.horizons) and books.stored > len(events)
    )
    if not books.ok or not is_even or books.waiting or books.refused:
        raise Violation(f"the books after the repair, with {len(events)} events: {books}")
    if results.damage:
        raise Violation(f"the search met damage: {results.damage}")
    _follow(log, events, state)
    _project(log, log._store.storage)
    if text:
        some = list(log.search(pattern=NEEDLE))
        if some != [event for event in events if NEEDLE in event.content]:
            raise Violation("a search by text found other events than a search of all")
    return Found(
        events,
        state.cursors,
        state.sequence,
        log.position,
        health.lost_commits,
        books.lost,
        leftovers,
        report.events,
        frozenset(),
    )


def _follow(log: timelog.EventLog, events: tuple[Event, ...], state: _State) -> None:
    """Who follows from the beginning gets each event once, and who saved a place can go on."""
    items = list(log.follow(0, wait=False))
    entries = [item for item in items if isinstance(item, timelog.Entry)]
    passed = sorted((entry.event for entry in entries), key=lambda event: event.timestamp)
    places = [item[0] for item in items]
    if tuple(passed) != events or places != sorted(set(places)):
        raise Violation(f"who follows gets {items}; there are {events}")
    if any(isinstance(item, timelog.Gap) and item.reason != "expired" for item in items):
        raise Violation(f"who follows is told of damage: {items}")
    for name in state.cursors:
        if name.startswith(FOLLOWER):
            after = log.follow(name=name.removeprefix(FOLLOWER), wait=False)
            first = after.position
            if list(after) != [item for item in items if item[0] >= first]:
                raise Violation(f"who goes on at {first} gets something else than {items}")


def fold_ids(state: list[str], entry: timelog.Entry) -> list[str]:
    """The projection of a run: all ids in order of arrival."""
    return [*state, entry.event.id]


def _projections(log: timelog.EventLog) -> Path:
    return log.path.with_name(f"{log.path.name}.projections")


def _project(log: timelog.EventLog, storage: Storage) -> None:
    """A projection that was saved goes on, and has what was folded and what came since."""
    if not _projections(log).is_dir():
        return
    with Projection(log, PROJECTION, fold_ids, initial=[], storage=storage) as projection:
        saved = projection.position
        if saved > log.position:
            raise Violation(f"a state of {saved} events was saved, and there are {log.position}")
        projection.update()
        items = log.follow(0, wait=False)
        expected = [item.event.id for item in items if isinstance(item, timelog.Entry)]
        if projection.state != expected:
            raise Violation(f"the projection has {projection.state}, the log {expected}")


def _append(log: timelog.EventLog, found: Found) -> None:
    """The log takes a further event, into a minute that may be there."""
    last = found.events[-1].timestamp if found.events else 1_700_000_000
    log.append("afterwards", timestamp=last, id="afterwards", sync=True)
    report = log.verify()
    if report.damage or report.events != found.held + 1:
        raise Violation(f"verify after one more event: {report}")


def _compact(log: timelog.EventLog, found: Found) -> None:
    """The log is compacted: it shows the same events, and nothing that went is left in it."""
    before = tuple(log)
    log.compact()
    if tuple(log) != before:
        raise Violation(f"compacted it shows other events: {list(log)}")
    _follow(log, before, _state(log, ()))
    report = log.verify(deep=True)
    books = log.audit()
    if not report.ok or not books.ok:
        raise Violation(f"after a compaction: {report}; {books}")
    trash = log.path / names.CONTROL / names.TRASH
    if left := [*os.listdir(trash), *temporary_files(log.path)]:
        raise Violation(f"left by a compaction: {left}")
    texts = {event.id for event in before}
    hidden = {each.id for each in log.deletions() if not each.is_erased}
    if left := _texts(log.path) - texts - hidden:
        raise Violation(f"after a compaction there are texts of {sorted(left)}")


def _texts(path: Path) -> frozenset[str]:
    """The ids of the events of which a file of the log has the text.

    Not in quarantine, and not in what is unfinished or on its way out: that goes later.
    """
    found: set[str] = set()
    for directory, _, files in os.walk(path):
        if Path(directory).is_relative_to(path / names.CONTROL):
            continue
        for name in files:
            data = Path(directory, name).read_bytes()
            if name.endswith(".zst"):
                data = b"".join(_frames(data))
            found.update(match.decode() for match in _LINE.findall(data))
    return frozenset(found)


def _frames(data: bytes) -> Iterator[bytes]:
    """The text of all whole frames in the bytes of a file."""
    for piece in scan(lambda at, size: data[at : at + size], len(data), _MOST_TEXT):
        if piece.text:
            with suppress(DamagedError):
                yield decompress(data[piece.offset : piece.offset + piece.length], piece.text)


def temporary_files(path: Path) -> list[str]:
    """What stands in the log's directory for files that are being written.

    Without those of the text index and of compactions, which are used again.
    """
    found = os.listdir(path / names.CONTROL / names.TEMPORARY)
    left = set(found) - {names.TEXT_TEMPORARY, names.SCRUB}
    return sorted(name for name in left if not names.is_compacted(name))

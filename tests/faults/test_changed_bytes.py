"""Every truncation and every flipped bit of every file of a log: seen by verify, never served.

All of them are 300,000 cases with ``TIMELOG_FAULTS=full``; else a sample of each file.
"""

from __future__ import annotations

import logging
import os
import random
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

import timelog
from tests.faults import report
from tests.faults.cuts import IS_FULL, SEED
from tests.faults.planted import DAYS, NOW, open_log
from tests.rig import FaultyStorage, Killed, abandon
from timelog import indexer, scan
from timelog.event import Event
from timelog.timestamp import to_datetime
from timelog.verify import verify

pytestmark = pytest.mark.timeout(6 * 3600 if IS_FULL else 600)

# Flips and truncations of each kind of file; all where there are fewer.
_CASES = {
    "segment": 6000,
    "journal": 5000,
    "root": 3500,
    "day index": 3500,
    "format": 1000,
    "lock": 800,
    "scrub state": 400,
    "text index": 400,
}
# With this the log has some 33,000 bytes; of the text index so many changes are tried.
_SCALE = 20 if IS_FULL else 1
_TEXT_CASES = 20_000
# Nothing depends on these: the log serves what it had, whatever they say. Besides, the newline that
# ends the format file may be gone.
_NEEDLESS = ("lock", "scrub state", "text index")


class Sample(NamedTuple):
    """A log that nobody has open. ``committed`` must be found; of ``issued`` the others may be."""

    path: Path
    committed: list[Event]
    issued: list[Event]

    def files(self, kind: str) -> list[Path]:
        control = self.path / ".timelog"
        patterns = {
            "segment": (self.path, "2*/*.jsonl"),
            "journal": (control, "journal/*"),
            "root": (control, "index/root"),
            "day index": (control, "index/*.index"),
            "format": (control, "format"),
            "lock": (control, "lock"),
            "scrub state": (control, "state/scrub"),
            "text index": (control, "index/*.text"),
        }
        where, pattern = patterns[kind]
        return sorted(where.glob(pattern))


class Change(NamedTuple):
    """A bit of a byte that is flipped, or where the file is cut (``bit`` is None)."""

    at: int
    bit: int | None


def event(number: int, at: int) -> Event:
    return Event(
        to_datetime(at * 1_000_000 + number),
        f"e{number}",
        f"s{number % 2}",
        ("all", f"t{number % 3}"),
        f"event {number} ü needle{number % 4}",
        {"n": number},
    )


def whole(path: Path, monkeypatch: pytest.MonkeyPatch) -> Sample:
    """Two days in a checkpoint, one more flush in each and another day in the journal."""
    monkeypatch.setattr(indexer, "LEAST_TEXT", 1)
    events = [event(n, DAYS[n % 2]) for n in range(6 * _SCALE)]
    with open_log(path) as log:
        log.append_many(events, cursor=("place", 1))
        log.flush()
        if indexer.is_possible():
            log.index_text()
        log._store.flusher._exclusive(None, True, closing=True)
        for at in (DAYS[0], DAYS[1], NOW):
            new = [event(len(events) + n, at) for n in range(2 * _SCALE)]
            log.append_many(new)
            log.flush()
            events += new
        log._store.scrubber.step()
    return Sample(path, events, events)


def torn(path: Path, fault: str) -> Sample:
    """A writer died in the middle of a flush, and nobody has repaired it yet."""
    storage = FaultyStorage()
    log = open_log(path, storage=storage)
    committed = [event(n, DAYS[0]) for n in range(3)]
    log.append_many(committed, sync=True)
    issued = [*committed, *(event(n, DAYS[n % 2]) for n in range(3, 6))]
    log.append_many(issued[3:])
    # The writes of a flush: two segments, then the journal.
    storage.arm(fault, only="write" if fault == "torn" else "sync")
    storage.at += 2
    with pytest.raises(Killed):
        log.flush()
    abandon(log)
    return Sample(path, committed, issued)


def changes(size: int) -> Iterator[Change]:
    for at in range(size):
        yield Change(at, None)
        for bit in range(8):
            yield Change(at, bit)


def apply(file: Path, change: Change, data: bytes) -> None:
    if change.bit is None:
        os.truncate(file, change.at)
        return
    fd = os.open(file, os.O_WRONLY)
    os.pwrite(fd, bytes([data[change.at] ^ 1 << change.bit]), change.at)
    os.close(fd)


def outcome(sample: Sample, *, by_text: bool) -> str:
    """What a reader makes of the log: "seen", or "exact" where nothing is missing.

    ``by_text``: search by text, too.
    """
    try:
        log = open_log(sample.path, mode="r")
    except timelog.TimelogError:
        return "seen"
    try:
        results = log.search()
        found = list(results)
        # As `EventLog.verify` does, with the index that was read a moment ago.
        store = log._store
        checked = verify(store.layout, store.storage, store.index, deep=False)
        some = list(log.search(pattern="needle3")) if by_text else []
        missing = {each.id for each in sample.committed} - {each.id for each in found}
        if missing or (log.cursor("place") != 1 and sample.issued is sample.committed):
            is_told = results.damage or log.health().status == "critical"
            assert is_told, f"missing in silence: {missing}"
            assert checked.damage or checked.torn, "verify did not see what the search saw"
    except timelog.TimelogError:
        return "seen"
    finally:
        log.close()
    by_id = {each.id: each for each in sample.issued}
    for each in (*found, *some):
        assert by_id.get(each.id) == each, f"an altered event was served: {each}"
    assert len({each.id for each in found}) == len(found), "an event came twice"
    expected = sorted(found, key=lambda each: (each.timestamp, sample.issued.index(each)))
    assert found == expected, "in another order"
    if by_text and not results.damage:
        assert some == [each for each in found if "needle3" in each.content]
    return "exact" if checked.ok else "seen"


def run(sample: Sample, kind: str, cases: int, must_be_seen: bool) -> Counter[str]:
    rng = random.Random(f"{SEED} {kind} {sample.path.name}")
    counts: Counter[str] = Counter()
    todo = []
    for file in sample.files(kind):
        todo += [(file, change) for change in changes(file.stat().st_size)]
    if IS_FULL:
        cases = _TEXT_CASES if kind == "text index" else len(todo)
    for file, change in rng.sample(todo, min(cases, len(todo))):
        data = file.read_bytes()
        apply(file, change, data)
        try:
            result = outcome(sample, by_text=kind in ("segment", "text index"))
            is_newline = kind == "format" and change == Change(len(data) - 1, None)
            assert result == "seen" or is_newline or not must_be_seen, "verify did not see it"
            counts[result] += 1
        except BaseException as error:
            error.add_note(f"{file.relative_to(sample.path)}: {change} of {len(data)} bytes")
            raise
        finally:
            file.write_bytes(data)
    return counts


@pytest.mark.parametrize("kind", _CASES)
def test_every_change_is_seen(ram: Path, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    logging.getLogger("timelog").setLevel(logging.CRITICAL + 1)
    monkeypatch.setattr(scan, "_WORTH", 0)
    if kind == "text index" and not indexer.is_possible():
        pytest.skip("NOT RUN: 400 changes of the text index: numpy is not installed")
    sample = whole(ram / "log", monkeypatch)
    counts = run(sample, kind, _CASES[kind], kind not in _NEEDLESS)
    assert counts["seen"] or kind in _NEEDLESS
    report.record(f"changed bytes, {kind}: {counts.total()} cases {dict(counts)}, seed {SEED}")


@pytest.mark.parametrize("fault", ["torn", "kill"])
@pytest.mark.parametrize("kind", ["journal", "lock", "segment"])
def test_changes_of_what_a_killed_writer_left(
    ram: Path, kind: str, fault: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    logging.getLogger("timelog").setLevel(logging.CRITICAL + 1)
    monkeypatch.setattr(scan, "_WORTH", 0)
    sample = torn(ram / "log", fault)
    counts = run(sample, kind, 300, must_be_seen=False)
    report.record(
        f"changed bytes, {kind} of a killed writer ({fault}): {counts.total()} cases "
        f"{dict(counts)}, seed {SEED}"
    )

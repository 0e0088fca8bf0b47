"""Detectors that change bytes of a log that rests: nothing altered is served, all is reported."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

import timelog
from tests.faults.detectors import Hooked, _check, _expect, _killed, _open, _read
from tests.rig import FaultyStorage
from timelog import indexer, rotate, scan
from timelog.journal import Block, Commit, Entry, pack, read
from timelog.scrub import Scrubber
from timelog.verify import Verification

_DAY = "1970-01-01"
_FIRST = f"{_DAY}/19700101T0000Z-19700101T0001Z.jsonl"
_STEP = 7
_WORDS = ("zebra", "quagga", "horse")


def flipped_segments(ram: Path) -> None:
    """A bit of a segment changes: before it is read, and after it was found intact."""
    log = _made(ram / "log")
    segment = ram / "log" / _FIRST
    whole = segment.read_bytes()
    issued = {event.content for event in log.search()}
    for at in range(0, len(whole), _STEP):
        for is_fresh in (True, False):
            segment.write_bytes(whole)
            if not is_fresh:
                # Now it is known to be intact, and a search for a text looks only at what has it.
                _expect({event.content for event in log.search()} == issued, "not all are there")
            segment.write_bytes(_flipped(whole, at))
            with _open(ram / "log", mode="r") as other:
                for one in (other,) if is_fresh else (log,):
                    for pattern in (None, "needle"):
                        results = one.search(pattern=pattern)
                        found = {event.content for event in results}
                        _expect(found <= issued, f"altered: {found - issued}, bit at {at}")
                        _expect(
                            bool(results.damage) or bool(pattern),
                            f"no damage was reported, bit at {at}",
                        )
    log.close()


def flipped_segments_unseen(ram: Path) -> None:
    """A bit of a segment changes, and nobody reads it but who checks."""
    log = _made(ram / "log")
    segment = ram / "log" / _FIRST
    whole = segment.read_bytes()
    for at in range(0, len(whole), 5 * _STEP):
        segment.write_bytes(_flipped(whole, at))
        _expect(log.verify().exit_code == 1, f"verify does not see the bit at {at}")
        store = log._store
        Scrubber(store.layout, store.storage, store.index, 1).step()
        _expect(log.health().status == "critical", f"scrub does not see the bit at {at}")
        segment.write_bytes(whole)
        Scrubber(store.layout, store.storage, store.index, 1).step()
    log.close()


def deep_damage(ram: Path) -> None:
    """What was written is what the crc says, but not what the index says of it."""
    with mock.patch("timelog.encode.Block", _lying):
        log = _made(ram / "log")
    _expect(log.verify(deep=True).exit_code == 1, "a deep check does not see other times")
    log.close()


def _lying(*values: object) -> Block:
    block = Block(*values)  # type: ignore[arg-type]
    return Block(*(*values[:5], block.first + 1, *values[6:]))  # type: ignore[arg-type]


def flipped_journal(ram: Path) -> None:
    """A bit of the journal changes."""
    _made(ram / "log").close()
    for at, report, found in _flips(ram / "log", ".timelog/journal/0000000001.journal"):
        issued = _read(ram / "log")
        _expect(set(found) <= set(issued), f"altered: {found}, bit at {at}")
        _expect(
            found == issued or report is None or report.exit_code == 1,
            f"events are missing and nobody says so, bit at {at}: {report}",
        )
        _expect(report is None or not report.ok, f"the bit at {at} is not seen")


def flipped_index(ram: Path) -> None:
    """A bit of a checkpoint changes."""
    with mock.patch.object(rotate, "MOST_COMMITS", 1):
        _made(ram / "log").close()
    index = ram / "log" / ".timelog" / "index"
    for name in sorted(each.name for each in index.iterdir()):
        for at, report, found in _flips(ram / "log", f".timelog/index/{name}"):
            _expect(report is None or report.exit_code == 1, f"{name}: bit at {at} is not seen")
            _expect(not found, f"{name}: bit at {at}: {found}")


def stale_index(ram: Path) -> None:
    """Of a day's index an older file, sound in itself, stands in the place of the newest."""
    index = ram / "log" / ".timelog" / "index"
    with mock.patch.object(rotate, "MOST_COMMITS", 1), _open(ram / "log") as log:
        log.append("a", timestamp=0, sync=True)
        (old,) = index.glob("*.index")
        data = old.read_bytes()
        log.append("b", timestamp=1, sync=True)
        (new,) = index.glob("*.index")
    new.write_bytes(data)
    with _open(ram / "log", mode="r") as log:
        _expect(log.verify().exit_code == 1, "an index that is too old passes for the newest")


def damaged_middle(ram: Path) -> None:
    """A record in the middle of the journal goes: what it named is missing, and that is said."""
    log = _open(ram / "log")
    for n in range(3):
        log.append("abc"[n], timestamp=n, sync=True)
    log.close()
    journal = ram / "log" / ".timelog" / "journal" / "0000000001.journal"
    data = journal.read_bytes()
    starts = [at for at in range(len(data)) if data.startswith(b"tlJ1", at)]
    journal.write_bytes(_flipped(data, starts[2] + 30))
    with _open(ram / "log", mode="r") as reader:
        _expect([event.content for event in reader] == ["a", "c"], "others than a and c are there")
        health = reader.health()
        _expect(health.status == "critical" and bool(health.missing), f"health: {health}")
        report = reader.verify()
        _expect(any("no positions 1 to 1" in str(each) for each in report.damage), str(report))


def record_in_a_record(ram: Path) -> None:
    """A cursor's value holds a record of the journal, and what is around it is damaged."""
    log = _open(ram / "log")
    log.append("a", timestamp=0, sync=True)
    journal = ram / "log" / ".timelog" / "journal" / "0000000001.journal"
    block = Block(_FIRST, 0, 5, 1, (0, 1), 0, 0, 0, 0, None, None)
    forged = pack(Commit(9, 0, "x", 0, True, 0, 1, 1, {}, (block,)), 0)
    size = journal.stat().st_size
    log.append_many([{"content": "b", "timestamp": 1}], cursor=("name", forged))
    log.sync()
    log.close()
    data = journal.read_bytes()
    if data.find(b"tlJ1", size + 1) < 0:
        raise AssertionError("the record is not stored as it is: this shows nothing")
    journal.write_bytes(_flipped(data, size + 1))
    with _open(ram / "log", mode="r") as reader:
        paths = [path for path, _ in reader._store.index.blocks(0, None, None, 9)]
        found = [event.content for event in reader.search()]
        _expect(reader._store.index.sequence < 9, f"a cursor passes for a record: {found} {paths}")


def flipped_lock(ram: Path) -> None:
    """A process dies in a write, and a bit of the mark that it left changes."""
    path = ram / "log"
    storage = FaultyStorage()
    log = _open(path, storage)
    for n in range(3):
        log.append(f"{n}", timestamp=n * 60, sync=True)
    log.append("torn", timestamp=1)
    storage.arm("torn", only="write")
    _killed(log)
    lock = path / ".timelog" / "lock"
    length = int.from_bytes(lock.read_bytes()[:4], "little")
    for at in range(8 + length):
        copy = ram / "copy"
        shutil.copytree(path, copy)
        (copy / ".timelog" / "lock").write_bytes(_flipped(lock.read_bytes(), at))
        try:
            # The boot goes on, so that the mark counts.
            _check(copy, ["0", "1", "2"], FaultyStorage())
        finally:
            shutil.rmtree(copy)


def quarantine(ram: Path) -> None:
    """What a repair cuts it keeps."""
    path = ram / "log"
    storage = FaultyStorage()
    log = _open(path, storage)
    log.append("a", timestamp=0, sync=True)
    log.append("torn", timestamp=1)
    storage.arm("torn", only="write")
    _killed(log)
    size = (path / _FIRST).stat().st_size
    tail = (path / _FIRST).read_bytes()
    _open(path).close()
    length = (path / _FIRST).stat().st_size
    _expect(length < size, "the tail is still there")
    kept = [each.read_bytes() for each in (path / ".timelog" / "quarantine").iterdir()]
    _expect(kept == [tail[length:]], f"quarantine keeps {kept}")


def damaged_durable(ram: Path) -> None:
    """A durable commit is damaged before a boot: it is reported, and nothing is given up for it."""
    path = ram / "log"
    with _open(path, Hooked("first")) as log:
        for n in range(3):
            log.append("abc"[n], timestamp=n * 60, sync=True)
    segment = path / _FIRST
    segment.write_bytes(_flipped(segment.read_bytes(), 20))
    with _open(path, Hooked("second")) as log:
        _expect([event.content for event in log.search()] == ["b", "c"], "b and c are not served")
        _expect(not log.health().lost_commits, "durable commits were given up")
        _expect(log.verify().exit_code == 1, "the damage is not reported")


def damaged_durable_record(ram: Path) -> None:
    """The record that made all before it durable is damaged: what came later still knows that."""
    path = ram / "log"
    log = _open(path, Hooked("first"), sync="off")
    log.append("a", timestamp=0)
    log.flush()
    log.append("b", timestamp=60, sync=True)
    log.append("c", timestamp=120)
    log.flush()
    log.close()
    journal = path / ".timelog" / "journal" / "0000000001.journal"
    data = journal.read_bytes()
    starts = [at for at in range(len(data)) if data.startswith(b"tlJ1", at)]
    journal.write_bytes(_flipped(data, starts[2] + 30))
    # As a copy would: without the lock file, which says it too.
    (path / ".timelog" / "lock").unlink()
    with _open(path, Hooked("second")) as log:
        _expect([event.content for event in log.search()] == ["a", "c"], "a and c are not served")
        _expect(not log.health().lost_commits, "what is not lost was given up")
        _expect(log.verify().exit_code == 1, "the damage is not reported")


def hole_in_the_journal(ram: Path) -> None:
    """A sector of a record that nothing synced was not written; what came behind it was."""
    path = ram / "log"
    journal = path / ".timelog" / "journal" / "0000000001.journal"
    log = _open(path, Hooked("first"), sync="off")
    log.append("a", timestamp=0)
    log.flush()
    size = journal.stat().st_size
    log.append_many({"content": f"b{n}", "timestamp": n * 60} for n in range(1, 15))
    log.flush()
    log.append("c", timestamp=1)
    log.flush()
    log.close()
    data = bytearray(journal.read_bytes())
    data[size + 512 : size + 1024] = bytes(512)
    journal.write_bytes(data)
    with _open(path, Hooked("second")) as again:
        found = [event.content for event in again.search()]
        _expect(found == ["a"], f"behind what is lost there is {found}")
        _expect(again.health().lost_commits == 2, f"{again.health().lost_commits} were counted")


def lost_end(ram: Path) -> None:
    """The newest records of the journal are gone, in the same boot and in another."""
    for boot in ("first", "second"):
        path = ram / boot
        with _open(path, Hooked("first")) as log:
            for n in range(3):
                log.append("abc"[n], timestamp=n * 60, sync=True)
        journal = path / ".timelog" / "journal" / "0000000001.journal"
        data = journal.read_bytes()
        with journal.open("r+b") as file:
            file.truncate(data.rindex(b"tlJ1"))
        with _open(path, Hooked(boot)) as log:
            _expect(log.verify().exit_code == 1, f"nobody misses the newest commit: {boot} boot")
            log.append("d", timestamp=3, sync=True)
            _expect([e.content for e in log.search()] == ["a", "d", "b"], "others are there")


def restated_twice(ram: Path) -> None:
    """A journal file restates a commit that the one before has too."""
    path = ram / "log"
    with _open(path) as log:
        log.append("a", timestamp=0, sync=True)
        store = log._store
        journal = path / ".timelog" / "journal" / "0000000001.journal"
        (commit,) = (
            item.record
            for item in read(journal.read_bytes(), 0)
            if isinstance(item, Entry) and isinstance(item.record, Commit)
        )
        rotate.begin_journal(store.layout, store.storage, store.index, restated=(commit,))
    with _open(path, mode="r") as reader:
        found = [event.content for event in reader.search()]
        _expect(found == ["a"], f"a commit that is named twice: {found}")


def text_index_of_damage(ram: Path) -> None:
    """A bit of a segment changes while the text index is built, and is well again later."""
    log = _made(ram / "log")
    segment = ram / "log" / _FIRST
    whole = segment.read_bytes()
    at = whole.index(b"zebra") + 2
    with mock.patch.object(indexer, "LEAST_TEXT", 1):
        segment.write_bytes(_flipped(whole, at))
        log.index_text()
        segment.write_bytes(whole)
    with mock.patch.object(scan, "_WORTH", 0), _open(ram / "log", mode="r") as reader:
        found = [event.content for event in reader.search(pattern="zebra")]
        _expect(found == ["event 0 zebra needle"], f"a search with the text index finds {found}")
    log.close()


def unfinished(ram: Path) -> None:
    """Bytes behind what is committed, in files that are known and in others, are reported."""
    _made(ram / "log").close()
    segment = ram / "log" / _FIRST
    whole = segment.read_bytes()
    segment.write_bytes(whole + b"tail\n")
    with _open(ram / "log", mode="r") as reader:
        _expect(reader.verify().exit_code == 3, "the tail is not reported")
    segment.write_bytes(whole)
    other = segment.with_name("19700101T0003Z-19700101T0004Z.jsonl")
    other.write_bytes(b"bytes\n")
    with _open(ram / "log", mode="r") as reader:
        _expect(reader.verify().exit_code == 3, "the unknown segment is not reported")
    other.rename(segment.with_name("letter"))
    with _open(ram / "log", mode="r") as reader:
        _expect(reader.verify().foreign == (f"{_DAY}/letter",), "the foreign name is not reported")


# -- inside -------------------------------------------------------------------------------


def _made(path: Path) -> timelog.EventLog:
    log = _open(path)
    for n in range(3):
        log.append_many(
            [{"content": f"event {n} {_WORDS[n]} needle", "timestamp": n, "tags": ["x"]}], sync=True
        )
    return log


def _flipped(data: bytes, at: int, bit: int = 1) -> bytes:
    changed = bytearray(data)
    changed[at] ^= bit
    return bytes(changed)


def _flips(path: Path, file: str) -> Iterator[tuple[int, Verification | None, list[str]]]:
    """Each place, and what a reader says and finds then: None where it cannot be opened."""
    whole = (path / file).read_bytes()
    for at in range(0, len(whole), _STEP):
        (path / file).write_bytes(_flipped(whole, at))
        try:
            with _open(path, mode="r") as reader:
                report: Verification | None = reader.verify(deep=True)
                found = [event.content for event in reader.search()]
        except timelog.TimelogError:
            report, found = None, []
        finally:
            (path / file).write_bytes(whole)
        yield at, report, found

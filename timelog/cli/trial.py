"""What a log promises, tried on a file system: whole logs, with real processes.

Each trial goes on for about ``seconds``, in rounds, at least one; what varies is drawn from
``chance``. It returns a sentence and counts, or raises `Broken` and leaves the log that shows it.
"""

from __future__ import annotations

import random
import resource
import shutil
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

import timelog
from timelog.cli.child import Child, Failed, Line
from timelog.cli.guarantee import Broken, Counts, Finding, Unchecked, find
from timelog.cli.tally import Tally, contents_of, tally
from timelog.errors import StorageError, TimelogError

_Trial: TypeAlias = Callable[[Path, float, random.Random], tuple[str, Counts]]

_ROUNDS_A_LOG = 10
_BATCHES_UNTIL_FULL = 2_000
_FLIPS_A_ROUND = 20
# The background has nothing to do here that is tried.
_OPTIONS: dict[str, Any] = {"text_index": False, "scrub_interval": 0, "lock_timeout": 60.0}


def findings(place: Path, seconds: float, chance: random.Random) -> Iterator[Finding]:
    """Yield what came of each trial, in order; together they take about ``seconds``."""
    for guarantee, (trial, share) in _TRIALS.items():
        # Its own, so that what one draws does not depend on how far another came.
        own = random.Random(chance.getrandbits(64))
        yield find(guarantee, partial(trial, place, seconds * share, own))


# -- writers and readers, each a process ----------------------------------------------------


def _write(path: Path, writer: str, interval: float, batches_a_sync: int, line: Line) -> None:
    """Append batch after batch until told to end; say how many are acknowledged."""
    with timelog.open(path, flush_interval=interval, **_OPTIONS) as log:
        batch = 0
        while not line.is_told():
            _append(log, writer, batch)
            batch += 1
            if batch % batches_a_sync == 0:
                log.sync()
                line.say(str(batch))
    line.say(str(batch))


def _append(log: timelog.EventLog, writer: str, batch: int) -> None:
    # In three spans, so that a commit is of several files.
    when = time.time() - batch % 3 * 60
    log.append_many(
        {"content": content, "source": writer, "timestamp": when}
        for content in contents_of(writer, batch)
    )


def _read(path: Path, writers: tuple[str, ...], line: Line) -> None:
    """Search until told to end: whole batches, never fewer than before."""
    seen = dict.fromkeys(writers, 0)
    reads = wrong = 0
    with timelog.open(path, mode="r") as log:
        line.say("ready")
        is_last = False
        while not is_last:
            is_last = line.is_told()
            for writer in writers:
                found = [event.content for event in log.search(source=writer)]
                result = tally(writer, seen[writer], found)
                wrong += not result.ok
                seen[writer] = result.batches
                reads += 1
    line.say(f"{reads} {wrong}")


def _acknowledged(lines: list[str]) -> int:
    """How many batches a writer said last; it said none where it ended before its first sync."""
    if not lines[0]:
        raise Failed("a writer ended by itself")
    return int(lines[-1])


# -- the trials -----------------------------------------------------------------------------


def _kills(place: Path, seconds: float, chance: random.Random) -> tuple[str, Counts]:
    total = Tally()
    rounds = torn = quarantined = 0
    path = place / "kills"
    for _ in _until(seconds):
        writer = f"writer-{rounds}"
        act = partial(
            _write, path, writer, chance.choice((0.001, 0.01, 0.05)), chance.randint(1, 20)
        )
        began = time.monotonic()
        with Child(act) as child:
            first = child.line()
            # As long as some flushes take here, and anywhere in them.
            time.sleep(chance.uniform(0, min(max(2 * (time.monotonic() - began), 0.05), 2)))
            child.kill()
            acknowledged = _acknowledged([first, *child.lines()])
        with timelog.open(path, mode="r") as log:
            report = log.verify()
            torn += len(report.torn)
            if report.damage:
                raise Broken(f"after a kill, before any repair: {report.damage[0]}")
        total += _judge(path, {writer: acknowledged})
        rounds += 1
        if not total.ok:
            break
        if rounds % _ROUNDS_A_LOG == 0:
            quarantined += _finish(path)
    else:
        if path.exists():
            quarantined += _finish(path)
    text = f"{rounds} kills, {torn} torn ends cut, {quarantined:,} bytes in quarantine; {total}"
    return _settle(text, total, {"kills": rounds, "torn": torn, "quarantined_bytes": quarantined})


def _many(place: Path, seconds: float, chance: random.Random) -> tuple[str, Counts]:
    total = Tally()
    rounds = reads = wrong = 0
    path = place / "many"
    writers = ("one", "two")
    for left in _until(seconds):
        timelog.open(path, **_OPTIONS).close()
        acts = [
            partial(_write, path, writer, chance.choice((0.001, 0.01)), chance.randint(1, 20))
            for writer in writers
        ]
        with (
            Child(acts[0]) as one,
            Child(acts[1]) as two,
            Child(partial(_read, path, writers)) as reader,
        ):
            reader.line()
            first = [child.line() for child in (one, two)]
            # Longer rounds are slow ones: the reader reads all, again and again.
            time.sleep(min(left, 1.0))
            for child in (one, two):
                child.go()
            acknowledged = {
                writer: _acknowledged([line, *child.lines()])
                for writer, line, child in zip(writers, first, (one, two), strict=True)
            }
            reader.go()
            some_reads, some_wrong = map(int, (reader.line() or "0 1").split())
        reads += some_reads
        wrong += some_wrong
        total += _judge(path, acknowledged)
        rounds += 1
        if wrong or not total.ok:
            break
        _finish(path)
    text = f"{rounds} rounds, {reads} reads beside them, {wrong} of them wrong; {total}"
    return _settle(text, total, {"rounds": rounds, "reads": reads, "wrong_reads": wrong}, wrong)


def _full(place: Path, seconds: float, chance: random.Random) -> tuple[str, Counts]:
    total = Tally()
    rounds = 0
    path = place / "full"
    for _ in _until(seconds):
        limit = chance.randint(1_000, 200_000)
        with Child(partial(_fill, path, limit, chance.randint(1, 10))) as child:
            acknowledged = _acknowledged([child.line()])
        if not acknowledged:
            raise Unchecked("no write was refused: the size of files cannot be limited here")
        total += _judge(path, {"writer": acknowledged})
        rounds += 1
        if not total.ok:
            break
        _finish(path)
    text = f"{rounds} times full and then not, without reopening; {total}"
    return _settle(text, total, {"rounds": rounds})


def _fill(path: Path, limit: int, batches_a_sync: int, line: Line) -> None:
    """Append until a write is refused, then let it through; say how many are acknowledged."""
    with timelog.open(path, flush_interval=3600.0, **_OPTIONS) as log:
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
        batch, is_refused = 0, False
        while not is_refused and batch < _BATCHES_UNTIL_FULL:
            _append(log, "writer", batch)
            batch += 1
            if batch % batches_a_sync == 0:
                try:
                    log.sync()
                except StorageError:
                    is_refused = True
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        log.sync()
        _append(log, "writer", batch)
    line.say(str(batch + 1 if is_refused else 0))


def _flips(place: Path, seconds: float, chance: random.Random) -> tuple[str, Counts]:
    path = place / "flips"
    batches = 70  # with a commit each, enough for a checkpoint
    with timelog.open(path, flush_interval=3600.0, **_OPTIONS) as log:
        for batch in range(batches):
            _append(log, "writer", batch)
            log.flush()
    with timelog.open(path, flush_interval=3600.0, **_OPTIONS) as log:
        # These stay in the journal.
        for batch in range(batches, batches + 5):
            _append(log, "writer", batch)
            log.flush()
        events = {event.content for event in log.search()}
    control = path / ".timelog"
    files = [*path.glob("*/*.jsonl"), control / "format"]
    files += [*(control / "journal").iterdir(), *(control / "index").iterdir()]
    files = sorted(file for file in files if file.stat().st_size)
    flips = missed = served = 0
    for _ in _until(seconds):
        for _ in range(_FLIPS_A_ROUND):
            file = chance.choice(files)
            before = file.read_bytes()
            at, bit = chance.randrange(len(before)), chance.randrange(8)
            file.write_bytes(before[:at] + bytes((before[at] ^ 1 << bit,)) + before[at + 1 :])
            try:
                with timelog.open(path, mode="r") as log:
                    missed += log.verify().ok
                    served += len({event.content for event in log.search()} - events)
            except TimelogError:  # it was found
                pass
            file.write_bytes(before)
            flips += 1
    text = (
        f"{flips} flips in {len(files)} files, {missed} not found, {served} altered events served"
    )
    counts: Counts = {"flips": flips, "not_found": missed, "altered_events_served": served}
    if missed or served:
        raise Broken(text, counts)
    _finish(path)
    return text, counts


# -- what they share ------------------------------------------------------------------------


def _until(seconds: float) -> Iterator[float]:
    """Yield the seconds that are left, at least once, until there are none."""
    end = time.monotonic() + seconds
    yield seconds
    while (left := end - time.monotonic()) > 0:
        yield left


def _judge(path: Path, acknowledged: dict[str, int]) -> Tally:
    """Open the log as whoever comes next does, and compare it with what was acknowledged."""
    total = Tally()
    with timelog.open(path, **_OPTIONS) as log:
        for writer, batches in acknowledged.items():
            found = [event.content for event in log.search(source=writer)]
            total += tally(writer, batches, found)
    return total


def _finish(path: Path) -> int:
    """Check all of a log, and remove it; return the bytes in its quarantine."""
    with timelog.open(path, mode="r") as log:
        report = log.verify(deep=True)
    if not report.ok:
        raise Broken(f"verify --deep: {'; '.join(str(report).splitlines()[:3])}")
    quarantine = path / ".timelog" / "quarantine"
    quarantined = sum(entry.stat().st_size for entry in quarantine.iterdir())
    shutil.rmtree(path)
    return quarantined


def _settle(text: str, total: Tally, counts: Counts, wrong: int = 0) -> tuple[str, Counts]:
    counts |= total.counts()
    if wrong or not total.ok:
        raise Broken(text, counts)
    return text, counts


_TRIALS: dict[str, tuple[_Trial, float]] = {
    "kill -9: what is acknowledged stays": (_kills, 0.5),
    "two writers and a reader at once": (_many, 0.2),
    "a full disk loses nothing": (_full, 0.15),
    "a flipped bit is found": (_flips, 0.15),
}

"""The files of a range of time: all of it, no file and no block too many, against brute force."""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

import timelog
from tests.rig import abandon
from timelog import segment as segment_module
from timelog.codec import decode_lines
from timelog.errors import ClosedError, InvalidInput, InvalidTime
from timelog.names import parse_segment
from timelog.rotate import write_checkpoint
from timelog.storage import Storage
from timelog.timestamp import DAY, HOUR, MINUTE, SECOND, from_datetime, to_datetime, to_text

Open = Callable[..., timelog.EventLog]
START = 20_000 * DAY


class Clock(Storage):
    """The real disk, and a clock that is set."""

    def __init__(self) -> None:
        super().__init__()
        self.us = START + 4 * DAY

    def time_ns(self) -> int:
        return self.us * 1000


class Stretch(NamedTuple):
    """What one flush added to one file, found by looking at the disk: the oracle's block."""

    path: Path
    start: int
    end: int
    times: list[int]


def sizes(log: timelog.EventLog) -> dict[Path, int]:
    return {path: path.stat().st_size for path in log.path.glob("[0-9]*/*")}


def read(path: Path, start: int, end: int) -> bytes:
    return path.read_bytes()[start:end]


def times(data: bytes) -> list[int]:
    return [from_datetime(event.timestamp) for event in decode_lines(data)]


def flush(log: timelog.EventLog) -> list[Stretch]:
    """Flush, and return what that added."""
    before = sizes(log)
    log.flush()
    return [
        Stretch(path, before.get(path, 0), size, times(read(path, before.get(path, 0), size)))
        for path, size in sizes(log).items()
        if size > before.get(path, 0)
    ]


def fill(log: timelog.EventLog, clock: Clock, dice: random.Random) -> list[Stretch]:
    """Some flushes around two midnights: in order, late, and as an import of many minutes."""
    stretches = []
    for _ in range(dice.randint(5, 25)):
        at = START + dice.randrange(2 * DAY // HOUR) * HOUR + dice.randrange(3) * MINUTE
        width = dice.choice([SECOND, MINUTE, 10 * MINUTE, 30 * MINUTE, 20 * HOUR])
        for _ in range(dice.randint(1, 40)):
            log.append("x", timestamp=to_datetime(at + dice.randrange(width)))
        stretches += flush(log)
        # After some minutes what is written is sealed: later events go into next files.
        clock.us += dice.choice([SECOND, 5 * MINUTE])
    return stretches


def by_name(one: Stretch) -> tuple[Any, ...]:
    """Span, then number, then offset."""
    return parse_segment(f"{one.path.parent.name}/{one.path.name}"), one.start


def fewest(
    stretches: list[Stretch], start: int | None, end: int | None
) -> list[tuple[object, ...]]:
    """The stretches that the range touches, neighbours joined, in order of name and offset."""
    joined: list[list[object]] = []
    for one in sorted(stretches, key=by_name):
        if (start is not None and max(one.times) < start) or (
            end is not None and min(one.times) >= end
        ):
            continue
        if joined and joined[-1][0] == one.path and joined[-1][2] == one.start:
            joined[-1][2] = one.end
        else:
            joined.append([one.path, one.start, one.end])
    return [tuple(each) for each in joined]


def some_ranges(dice: random.Random, known: list[int]) -> Iterator[tuple[int | None, int | None]]:
    """Open, anywhere, and just at the times of events."""
    yield None, None
    for _ in range(30):
        low, high = sorted(dice.choice(known) + dice.randint(-2, 2) for _ in range(2))
        yield dice.choice([(low, high), (low, low + 1), (None, high), (low, None)])
        low = START + dice.randrange(3 * DAY)
        yield low, low + dice.choice([SECOND, MINUTE, HOUR, DAY])


def as_time(us: int | None) -> str | None:
    return None if us is None else to_text(us)


@pytest.fixture
def blocks_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each flush stays a block of its own, however small."""
    monkeypatch.setattr(segment_module, "COALESCE", 0)


@pytest.mark.usefixtures("blocks_stay")
@pytest.mark.parametrize("seed", range(8))
def test_against_brute_force(open_log: Open, ram: Path, seed: int) -> None:
    dice, clock = random.Random(seed), Clock()
    log = open_log(ram / "log", storage=clock)
    stretches = fill(log, clock, dice)
    known = [us for one in stretches for us in one.times]
    for start, end in some_ranges(dice, known):
        found = log.files(as_time(start), as_time(end))
        if start is not None and start == end:
            assert found == []
            continue
        assert found == fewest(stretches, start, end)
        held = [times(read(*each)) for each in found]
        inside = [[us for us in each if is_in(us, start, end)] for each in held]
        assert sum(map(len, inside)) == sum(is_in(us, start, end) for us in known)
        for each, needed in zip(held, inside, strict=True):
            # All that an index can know: a block may lie around the range.
            assert needed or (min(each) < (start or 0) and max(each) >= (end or 0))


def is_in(us: int, start: int | None, end: int | None) -> bool:
    return (start is None or us >= start) and (end is None or us < end)


@pytest.mark.parametrize("seed", range(3))
def test_it_is_the_same_from_a_checkpoint_and_in_a_reader(
    open_log: Open, ram: Path, seed: int
) -> None:
    dice, clock = random.Random(seed), Clock()
    log = open_log(ram / "log", storage=clock)
    known = [us for one in fill(log, clock, dice) for us in one.times]
    reader = open_log(ram / "log", mode="r")
    write_checkpoint(log._store.layout, log._store.storage, log._store.index)
    later = open_log(ram / "log", mode="r")
    for start, end in some_ranges(dice, known):
        asked = as_time(start), as_time(end)
        assert log.files(*asked) == reader.files(*asked) == later.files(*asked)


def test_a_range_is_a_path_and_two_offsets(open_log: Open, path: Path) -> None:
    log = open_log()
    log.append("one", timestamp=to_datetime(START))
    log.append("two", timestamp=to_datetime(START + MINUTE))
    log.flush()
    found = log.files(to_datetime(START), to_datetime(START + MINUTE))
    assert [(each.path.name, each.start) for each in found] == [
        ("20241004T0000Z-20241004T0001Z.jsonl", 0)
    ]
    assert found[0].path.parent == path / "2024-10-04" and found[0].path.is_absolute()
    assert found[0].end == found[0].path.stat().st_size
    assert [each.path.name[9:13] for each in log.files()] == ["0000", "0001"]


def test_paths_are_absolute_also_where_the_log_s_is_not(
    open_log: Open, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    log = open_log(Path("here"))
    log.append("x", sync=True)
    assert [each.path.parents[1] for each in log.files()] == [tmp_path / "here"]


def test_neighbours_are_one_and_what_lies_between_is_left_out(
    open_log: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(segment_module, "COALESCE", 0)
    log = open_log()
    blocks = []
    for second in (1, 2, 30, 3, 40, 41):
        log.append("x", timestamp=to_datetime(START + second * SECOND))
        blocks += flush(log)
    found = log.files(to_datetime(START), to_datetime(START + 10 * SECOND))
    assert [(each.start, each.end) for each in found] == [
        (blocks[0].start, blocks[1].end),
        (blocks[3].start, blocks[3].end),
    ]


def test_an_import_is_found_in_the_file_of_its_day(open_log: Open) -> None:
    log = open_log()
    log.append_many(
        {"content": str(n), "timestamp": to_datetime(START + n * MINUTE)} for n in range(1440)
    )
    log.flush()
    [found] = log.files(to_datetime(START + HOUR), to_datetime(START + HOUR + SECOND))
    assert found.path.name == "20241004T0000Z-20241005T0000Z.jsonl"


def test_late_events_are_found_in_the_next_file(open_log: Open) -> None:
    clock = Clock()
    log = open_log(storage=clock)
    for second in (1, 5):
        log.append("x", timestamp=to_datetime(START + second * SECOND))
        log.flush()
        clock.us += HOUR
        log.append("x")
        log.flush()
    names = [each.path.name for each in log.files(None, to_datetime(START + MINUTE))]
    assert names == [f"20241004T0000Z-20241004T0001Z{number}.jsonl" for number in ("", ".2")]
    [late] = log.files(to_datetime(START + 4 * SECOND), to_datetime(START + MINUTE))
    assert late.path.name == names[1]


def test_what_is_in_memory_is_in_no_file(open_log: Open) -> None:
    log = open_log()
    reader = open_log(mode="r")
    log.append("x")
    assert log.files() == reader.files() == []
    log.flush()
    assert log.files() == reader.files() != []


def test_an_unfinished_flush_is_not_in_a_range(open_log: Open) -> None:
    log = open_log()
    log.append("x", timestamp=to_datetime(START))
    log.flush()
    [found] = log.files()
    abandon(log)
    with found.path.open("ab") as file:
        file.write(b'{"timestamp":"2024')
    assert open_log(mode="r").files() == [found]


def test_no_segment_is_opened(open_log: Open) -> None:
    log = open_log()
    log.append("x")
    log.flush()
    [found] = log.files()
    found.path.unlink()
    assert log.files() == [found]
    assert log.health().damage == ()


def test_an_empty_log_and_an_empty_range_have_none(open_log: Open) -> None:
    log = open_log()
    assert log.files() == []
    for second in (0, 2):
        log.append("x", timestamp=to_datetime(START + second * SECOND))
    log.flush()
    assert log.files(to_datetime(START + SECOND), to_datetime(START + SECOND)) == []
    assert log.files("-2s", "-1s") == []


def test_what_is_wrong_is_refused(open_log: Open) -> None:
    log = open_log()
    with pytest.raises(InvalidInput, match="is after end"):
        log.files("-1h", "-2h")
    with pytest.raises(InvalidTime):
        log.files("noon")
    log.close()
    with pytest.raises(ClosedError):
        log.files()


@pytest.mark.parametrize("fault", ["changed", "gone", "unreadable"])
def test_a_damaged_day_is_left_out_and_named(open_log: Open, fault: str) -> None:
    log = open_log()
    for day in range(3):
        log.append("x", timestamp=to_datetime(START + day * DAY))
    log.flush()
    write_checkpoint(log._store.layout, log._store.storage, log._store.index)
    [index] = log.path.glob(".timelog/index/2024-10-05.*")
    data = index.read_bytes()
    if fault == "changed":
        index.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    else:
        index.unlink()
        if fault == "unreadable":
            index.symlink_to(index.name)
    reader = open_log(mode="r")
    assert [each.path.parent.name for each in reader.files()] == ["2024-10-04", "2024-10-06"]
    [named] = reader.health().damage
    assert named.startswith(".timelog/index (2024-10-05)")
    reader.search().to_list()
    assert reader.health().damage == (named,)
    assert len(reader.files(None, to_datetime(START + DAY))) == 1


def test_nothing_is_left_open(open_log: Open) -> None:
    log = open_log()
    log.append("x", sync=True)
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(20):
        log.files()
    assert len(os.listdir("/proc/self/fd")) == before

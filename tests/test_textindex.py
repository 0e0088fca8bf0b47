"""The text index in use: a search finds what a plain list has, whatever happens to the files."""

from __future__ import annotations

import logging
import os
import re
import shutil
import subprocess
import sys
import threading
import uuid
import zlib
from collections.abc import Callable, Iterator, Sequence
from functools import reduce
from operator import and_, or_
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

import pytest
from msgspec.structs import replace

import timelog
from tests.patterns import contents, pattern
from timelog import grams, indexer, names, scan, segment, textindex
from timelog.codec import json_text
from timelog.errors import DamagedError, EventNotFound
from timelog.event import Event
from timelog.journal import Block
from timelog.names import Layout
from timelog.required import NOTHING, AllOf, AnyOf, Need, Text
from timelog.scan import EXCLUSIONS, TEXT_INDEX
from timelog.storage import Storage
from timelog.textindex import VERSION, Covered, Header, TextFile, TextIndex, pack
from timelog.timestamp import DAY, MINUTE, SECOND, from_datetime, to_datetime

ROOT = Path(__file__).parents[1]
SEED = 20261122
START = 20_000 * DAY
BITS = grams.BITS
Open = Callable[..., timelog.EventLog]

# Parsing tells about classes that may mean something else one day.
pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning")


@pytest.fixture(scope="module", autouse=True)
def small() -> Iterator[None]:
    """Little text is worth an index, each flush is a block, and few blocks are a stretch."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(indexer, "LEAST_TEXT", 1)
        patch.setattr(indexer, "STRETCH", 3000)
        patch.setattr(segment, "COALESCE", 0)
        patch.setattr(scan, "_WORTH", 0)
        yield


class Clock(Storage):
    """The plain storage with a clock that a test may put forward."""

    ahead = 0

    def time_ns(self) -> int:
        """Nanoseconds since 1970, and what it is ahead."""
        return super().time_ns() + self.ahead


def text_files(path: Path) -> list[Path]:
    """The files of a log's text index, by name."""
    return sorted((path / ".timelog" / "index").glob("*.text"))


def ids_of(events: Sequence[Event]) -> list[str]:
    return [event.id for event in events]


# -- files --------------------------------------------------------------------------------

WIDTHS = [1, 2, 3, 5, 17, 64]
COVERED = (
    Covered("2024-10-04/20241004T0000Z-20241004T0001Z.jsonl", 7, (50, 120, 200), (0, 0, 3)),
    Covered("2024-10-04/20241004T0001Z-20241004T0002Z.2.jsonl", 2**32 - 1, (9,), (7,)),
)


def write(path: Path, width: int, rows: bytes, **changed: Any) -> Path:
    """A file of the text index with these rows."""
    header = replace(Header(VERSION, START, width, 209, COVERED, {}), **changed)
    path.write_bytes(b"".join(pack(header, rows, {})))
    return path


def dense(random: Random, width: int) -> bytes:
    """Rows of which three of four bits are set, so that texts have holders."""
    size = BITS * width
    number = int.from_bytes(random.randbytes(size)) | int.from_bytes(random.randbytes(size))
    return number.to_bytes(size)


def some_need(random: Random, depth: int = 0) -> Need:
    """Any requirement: texts of any length, together and one of several, nested."""
    kind = random.random()
    if kind < 0.5 or depth > 2:
        return Text(random.randbytes(random.randint(0, 20)).hex().encode()[:30])
    parts = tuple(some_need(random, depth + 1) for _ in range(random.randint(0, 3)))
    return AllOf(parts) if kind < 0.75 else AnyOf(parts)


def naive_holders(need: Need, width: int, rows: bytes) -> int:
    """The stretches of which all bits of all texts are set."""
    everything = (1 << 8 * width) - 1
    if isinstance(need, Text):
        bits = (rows[bit * width :][:width] for bit in grams.numbers(need))
        return reduce(and_, (int.from_bytes(bit, "little") for bit in bits), everything)
    parts = [naive_holders(part, width, rows) for part in need.parts]
    return reduce(and_, parts, everything) if isinstance(need, AllOf) else reduce(or_, parts, 0)


@pytest.mark.parametrize("width", WIDTHS)
def test_a_file_is_read_back(tmp_path: Path, width: int) -> None:
    random = Random(width)
    rows = dense(random, width)
    file = TextFile(write(tmp_path / "file", width, rows), Storage())
    assert (file.day, file.bytes) == (START, 209)
    assert file.segments == {covered.path: covered for covered in COVERED}
    for _ in range(100):
        need = some_need(random)
        assert file.holders(need) == naive_holders(need, width, rows), need


def test_a_file_has_little_besides_its_rows(tmp_path: Path) -> None:
    for width in (1, 3, 100):
        rows = bytes(BITS * width)
        size = write(tmp_path / str(width), width, rows, segments=()).stat().st_size
        assert size - len(rows) < len(rows) // 500 + 300


@pytest.mark.parametrize(
    "need", [NOTHING, Text(b""), Text(b"abc"), AllOf((Text(b"a"), Text(b"b")))]
)
def test_what_says_nothing_rules_nothing_out(tmp_path: Path, need: Need) -> None:
    assert (
        TextFile(write(tmp_path / "file", 2, bytes(BITS * 2)), Storage()).holders(need) == 2**16 - 1
    )


def test_of_no_alternatives_nobody_has_one(tmp_path: Path) -> None:
    file = TextFile(write(tmp_path / "file", 1, b"\xff" * BITS), Storage())
    assert file.holders(AnyOf(())) == 0
    assert file.holders(AnyOf((Text(b"abc"), Text(b"defg")))) == 255


def answers(path: Path, needs: Sequence[Need]) -> list[int] | None:
    """What a file says, None where it is refused; any other error comes through."""
    try:
        file = TextFile(path, Storage())
        return [file.holders(need) for need in needs]
    except DamagedError:
        return None


def test_a_file_with_any_bit_flipped_is_refused_or_says_the_same(tmp_path: Path) -> None:
    """Every bit of the front; of the pages every bit of some bytes, asked for or not."""
    random = Random(SEED)
    rows = dense(random, 1)
    path = write(tmp_path / "file", 1, rows)
    data = path.read_bytes()
    front = len(data) - len(rows) - 4 * 17
    needs = [some_need(random) for _ in range(5)]
    before = answers(path, needs)
    assert before is not None
    refused = 0
    with open(path, "r+b", buffering=0) as file:
        for at in [*range(front), *random.sample(range(front, len(data)), 30)]:
            for bit in range(8):
                os.pwrite(file.fileno(), bytes([data[at] ^ 1 << bit]), at)
                found = answers(path, needs)
                assert found in (None, before), (at, bit)
                refused += found is None
                assert found is None or at >= front, (at, bit)
            os.pwrite(file.fileno(), data[at : at + 1], at)
    assert answers(path, needs) == before
    assert refused > 8 * front


def test_every_bit_of_what_is_asked_for_is_checked(tmp_path: Path) -> None:
    rows = dense(Random(SEED), 1)
    path = write(tmp_path / "file", 1, rows)
    data = path.read_bytes()
    need = Text(b"word")
    (number,) = grams.numbers(need)
    page = number // textindex._PAGE
    first = len(data) - len(rows) - 4 * 17 + page * (textindex._PAGE + 4)
    for at in range(first, min(first + textindex._PAGE + 4, len(data)), 37):
        path.write_bytes(data[:at] + bytes([data[at] ^ 0x10]) + data[at + 1 :])
        assert answers(path, [need]) is None, at


def test_a_file_that_was_cut_is_refused_or_says_the_same(tmp_path: Path) -> None:
    random = Random(SEED)
    path = write(tmp_path / "file", 3, dense(random, 3))
    data = path.read_bytes()
    needs = [some_need(random) for _ in range(5)]
    before = answers(path, needs)
    assert before is not None
    for size in [*range(0, 400, 3), *random.sample(range(400, len(data)), 60), len(data) - 1]:
        path.write_bytes(data[:size])
        assert answers(path, needs) in (None, before), size


def test_pages_in_another_order_are_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "file", 1, dense(Random(SEED), 1))
    data = path.read_bytes()
    size = 4096
    front = len(data) % size - (BITS % (size - 4) + 4)
    pages = [data[at : at + size] for at in range(front, len(data), size)]
    assert len(pages) == 17
    pages[0], pages[1] = pages[1], pages[0]
    path.write_bytes(data[:front] + b"".join(pages))
    for page in (0, 1):
        needs = [Text(b"%04x" % n) for n in range(4096) if page_of(b"%04x" % n) == page]
        assert answers(path, needs[:1]) is None


def page_of(gram: bytes) -> int:
    return grams.numbers(Text(gram))[0] // textindex._PAGE


@pytest.mark.parametrize(
    "changed", [{"version": VERSION - 1}, {"version": VERSION + 1}, {"width": 0}, {"width": 4093}]
)
def test_a_file_of_another_release_is_refused(tmp_path: Path, changed: dict[str, int]) -> None:
    path = write(tmp_path / "file", 1, bytes(BITS))
    rewrite_header(path, **changed)
    with pytest.raises(DamagedError, match="another release"):
        TextFile(path, Storage())


def rewrite_header(path: Path, **changed: int) -> None:
    """Change what the header says, and its crc; the pages stay."""
    data = path.read_bytes()
    size = textindex._HEADER.size
    _, length, _ = textindex._HEADER.unpack_from(data)
    header = replace(textindex._decoder.decode(data[size:][:length]), **changed)
    payload = textindex._encoder.encode(header)
    front = textindex._HEADER.pack(textindex.MARK, len(payload), zlib.crc32(payload))
    path.write_bytes(front + payload + data[size + length :])


@pytest.mark.parametrize(
    "payload", [b"", b"\xc0", b"\x93\x01\x02\x03", b"\x81\xa1a\x01", b"\xff" * 9]
)
def test_another_header_is_refused(tmp_path: Path, payload: bytes) -> None:
    """One that is as its crc says, but not what this release knows."""
    path = tmp_path / "file"
    crc = zlib.crc32(payload)
    path.write_bytes(textindex._HEADER.pack(textindex.MARK, len(payload), crc) + payload)
    with pytest.raises(DamagedError, match="another release"):
        TextFile(path, Storage())


# -- what is still as it was --------------------------------------------------------------


def blocks_of(*sizes: int, seed: int = 0) -> list[Block]:
    """Blocks one behind the other, as a segment has them."""
    made: list[Block] = []
    for number, size in enumerate(sizes):
        crc = seed + sum(sizes[: number + 1])
        before = made[-1].crc if made else 0
        offset = made[-1].end if made else 0
        path = COVERED[0].path
        made.append(Block(path, offset, size, 1, (number, 1), 0, 0, before, crc, (), ()))
    return made


def covered_of(blocks: Sequence[Block]) -> Covered:
    ends = tuple(block.end for block in blocks)
    return Covered(blocks[-1].path, blocks[-1].crc, ends, tuple(range(len(blocks))))


def test_a_segment_is_still_as_it_was_only_with_the_same_blocks() -> None:
    blocks = blocks_of(100, 50, 100)
    covered = covered_of(blocks)
    assert covered.is_still(blocks)
    assert not covered.is_still(blocks[:2])
    assert not covered.is_still([])
    assert not covered.is_still([*blocks, *blocks_of(1)])
    assert not covered.is_still(blocks_of(100, 50, 101))
    assert not covered.is_still(blocks_of(100, 50, 100, seed=1))
    assert not covered.is_still(blocks_of(250))
    assert not covered.is_still(blocks_of(100, 50, 99, seed=1)), "the crc by chance, not the length"


def test_a_segment_with_a_gap_that_was_filled_is_not_as_it_was() -> None:
    """A commit's record was damaged, the index built, and the journal brought back."""
    whole = blocks_of(250, 100)
    gap = [blocks_of(200)[0], whole[1]]
    assert not covered_of(gap).is_still(whole)


# -- a log that is searched ---------------------------------------------------------------

SOURCES = ("", "sshd", "app", 'x"y', "Kern\u0130l")
TAGS = ("prod", "auth", "é", 'a"b', "\\n", "\u212aelvin")


def own_id(us: int, random: Random) -> str:
    """A UUIDv7 of a time."""
    tail = 7 << 76 | random.getrandbits(12) << 64 | 2 << 62 | random.getrandbits(62)
    return str(uuid.UUID(int=us // 1000 << 80 | tail))


def foreign_id(us: int, random: Random) -> str:
    """An id that says nothing of the event's own time."""
    number = random.getrandbits(40)
    return random.choice(
        (
            own_id(us + 1000 * random.choice((-2, -1, 1, 2, 10**9)), random),
            own_id(us, random).upper(),
            str(uuid.UUID(int=random.getrandbits(128), version=4)),
            f'req "{number}" é\\',
            f"{number:x}",
        )
    )


def some_events(random: Random, n: int, days: int) -> list[Event]:
    """Events of all kinds, within five minutes of each of some days."""
    made = []
    for content in contents(random, n):
        us = START + random.randrange(days) * DAY + random.randrange(5 * MINUTE)
        if random.random() < 0.3:
            us -= us % (10 * SECOND)
        id = random.choice((own_id, foreign_id))(us, random)
        tags = tuple(random.sample(TAGS, random.randint(0, 2)))
        made.append(Event(to_datetime(us), id, random.choice(SOURCES), tags, content))
    return made


class World(NamedTuple):
    """A log and its events in order of position; the first ``committed`` are on disk."""

    log: timelog.EventLog
    events: list[Event]
    committed: int

    def naive(self, ask: dict[str, Any]) -> list[Event]:
        """What a search for ``ask`` finds in a plain list."""
        start, end, limit = ask.get("start"), ask.get("end"), ask.get("limit")
        tags, sources = set(ask.get("tags", ())), ask.get("source")
        found = [
            event
            for event in self.events[: ask.get("as_of", len(self.events))]
            if (start is None or start <= event.timestamp)
            and (end is None or event.timestamp < end)
            and tags <= set(event.tags)
            and (sources is None or event.source in sources)
            and ("pattern" not in ask or re.search(ask["pattern"], event.content))
        ]
        found.sort(key=lambda event: event.timestamp)
        if ask.get("order") == "desc":
            found.reverse()
        return found[:limit]

    def check(self, ask: dict[str, Any], log: timelog.EventLog | None = None) -> None:
        """A search of ``log``, this one by default, finds what the plain list has."""
        results = (log or self.log).search(**ask)
        found = results.to_list()
        assert found == self.naive(ask), ask
        assert results.count() == len(found), ask
        assert not results.damage


def some_pattern(random: Random, texts: Sequence[str]) -> str:
    """A pattern that most likely has a text: a literal, one of several, in any case, at ``^``."""

    def literal() -> str:
        text = random.choice(texts)
        at = random.randint(0, len(text))
        return re.escape(text[at : at + random.choice((3, 4, 5, 8, 20, 60))])

    kind = random.randrange(6)
    if kind == 0:
        return "|".join(literal() for _ in range(random.randint(2, 4)))
    if kind == 1:
        return "(?i)" + literal().swapcase()
    if kind == 2:
        return "^" + re.escape(random.choice(texts)[: random.randint(1, 12)])
    if kind == 3:
        return f"{literal()}.*{literal()}"
    if kind == 4:
        return pattern(random, texts)
    return literal()


def some_ask(random: Random, world: World) -> dict[str, Any]:
    """What a search may ask for, with a need that the text index knows of."""
    ask: dict[str, Any] = {}
    texts = [event.content for event in world.events]
    while not ask:
        if random.random() < 0.7:
            ask["pattern"] = some_pattern(random, texts)
        if random.random() < 0.3:
            ask["tags"] = random.sample(TAGS, random.randint(1, 2))
        if random.random() < 0.3:
            ask["source"] = random.sample(SOURCES, random.choice((1, 1, 2)))
    if random.random() < 0.3:
        times = sorted(random.choice(world.events).timestamp for _ in range(2))
        ask["start"], ask["end"] = times
    if random.random() < 0.4:
        ask["order"] = random.choice(("asc", "desc"))
    if random.random() < 0.2:
        ask["limit"] = random.choice((1, 2, 5))
    if random.random() < 0.2:
        ask["as_of"] = random.randint(0, world.committed)
    return ask


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """Covered, covered before more came, not covered, late and in memory, over four days."""
    random = Random(SEED)
    clock = Clock()
    path = tmp_path_factory.mktemp("world") / "log"
    events: list[Event] = []
    with timelog.open(path, flush_interval=3600, storage=clock) as log:

        def add(n: int, days: int, flushes: int) -> None:
            for _ in range(flushes):
                some = some_events(random, n, days)
                events.extend(some)
                log.append_many(some)
                log.flush()

        add(40, 2, 8)
        log.index_text()
        add(30, 2, 2)  # into segments that are covered, which they no longer are
        clock.ahead += 300 * 10**9
        add(30, 3, 4)  # late: into next files of the spans
        log.index_text()
        add(30, 4, 3)
        committed = len(events)
        memory = some_events(random, 40, 4)
        events.extend(memory)
        log.append_many(memory)
        yield World(log, events, committed)


def test_the_world_is_partly_indexed(world: World) -> None:
    """Else the tests below would tell little."""
    log = world.log
    assert log.position == world.committed < len(world.events)
    assert len(list(log.path.glob("*/*.2.jsonl"))) >= 5
    assert {file.name[:10] for file in text_files(log.path)} < {
        folder.name for folder in log.path.glob("2*")
    }
    told = log.search(pattern="a text that nobody wrote").explain()
    assert told.text_index.blocks > told.read.blocks > 0
    assert log.search().to_list() == world.naive({})


@pytest.mark.parametrize("part", range(6), ids=lambda part: f"{SEED} {part}")
def test_a_search_finds_what_a_plain_list_has(world: World, part: int) -> None:
    random = Random(f"{SEED} {part}")
    for _ in range(50):
        world.check(some_ask(random, world))


def test_the_text_index_rules_out_much_of_what_is_asked_for(world: World) -> None:
    """Else nothing could be lost here."""
    random = Random(f"{SEED} 0")
    told = [world.log.search(**some_ask(random, world)).explain() for _ in range(60)]
    assert sum(each.text_index.blocks > 0 for each in told) > 20
    assert sum(each.text_index.blocks > 0 and each.matched.events > 0 for each in told) > 8


def test_explain_accounts_for_every_block(world: World) -> None:
    random = Random(SEED)
    for _ in range(30):
        ask = {**some_ask(random, world), "limit": None}
        results = world.log.search(**ask)
        told, other = results.explain(), results.using(EXCLUSIONS - {TEXT_INDEX}).explain()
        assert other.text_index.blocks == 0
        assert told.matched.events == other.matched.events == len(world.naive(ask))
        assert told.decoded.events <= other.decoded.events
        stages = (told.time, told.tags, told.source, told.text_index, told.counted, told.read)
        for what in ("blocks", "bytes", "events"):
            total = getattr(told.range, what)
            assert total == sum(getattr(stage, what) for stage in stages), ask
            assert total == getattr(other.range, what)


def test_explain_tells_what_the_text_index_skipped(open_log: Open) -> None:
    log = open_log()
    filler = "x" * 2000
    for number in range(10):
        log.append(f"needle{number} {filler}", timestamp=START / SECOND + number * 20)
        log.flush()
    log.index_text()
    sizes = [file.stat().st_size for file in sorted(log.path.glob("*/*.jsonl"))]
    told = log.search(pattern="needle3").explain()
    assert told.range.segments == 4
    assert (told.text_index.blocks, told.text_index.events) == (9, 9)
    assert told.text_index.bytes == sum(sizes) * 9 // 10
    assert (told.read.blocks, told.matched.events) == (1, 1)
    row = next(line for line in str(told).splitlines() if "text index" in line)
    assert re.findall(r"[\d,]+", row)[1:4:2] == ["9", "9"]
    told = log.search(pattern="nowhere").explain()
    assert (told.text_index.blocks, told.text_index.segments, told.read.blocks) == (10, 4, 0)


def test_little_is_not_worth_asking_for(open_log: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    log = open_log()
    log.append("x" * 2000, timestamp=START / SECOND)
    log.index_text()
    size = log.health().bytes
    for worth, asked in ((size - 1, True), (size, False)):
        monkeypatch.setattr(scan, "_WORTH", worth)
        assert bool(log.search(pattern="needle").explain().text_index.blocks) == asked


# -- ids ----------------------------------------------------------------------------------


def is_own(event: Event) -> bool:
    """Whether the id carries the event's own millisecond, so that the index leaves it out."""
    try:
        id = uuid.UUID(event.id)
    except ValueError:
        return False
    ms = from_datetime(event.timestamp) // 1000
    return id.version == 7 and str(id) == event.id and id.int >> 80 == ms


def test_every_foreign_id_is_found(world: World) -> None:
    foreign = [event for event in world.events if not is_own(event)]
    assert len(foreign) > 150
    for event in foreign[::4]:
        assert world.log.get(event.id) == event


def test_every_id_that_carries_its_time_is_found(world: World) -> None:
    own = [event for event in world.events if is_own(event)]
    assert len(own) > 150
    for event in own[::4]:
        assert world.log.get(event.id) == event


def test_the_ids_that_the_log_gave_are_found(open_log: Open) -> None:
    log = open_log()
    times = [0, 0.999999, START / SECOND, (START + DAY - 1) / SECOND]
    ids = [log.append(f"at {time}", timestamp=time) for time in times]
    log.index_text()
    for id, time in zip(ids, times, strict=True):
        assert log.get(id).content == f"at {time}"


@pytest.mark.parametrize("us", [-62_135_596_800_000_000, -1, -1000, -DAY, -DAY - 1])
def test_an_own_id_from_before_1970_is_found(open_log: Open, us: int) -> None:
    """It carries the time zero, so it is as good as foreign."""
    log = open_log()
    id = log.append("old", timestamp=to_datetime(us))
    log.index_text()
    assert log.get(id).content == "old"
    assert log.get(id, end=to_datetime(us + 1)).content == "old"


def test_an_absent_id_is_told(world: World) -> None:
    random = Random(SEED)
    for _ in range(30):
        us = START + random.randrange(DAY)
        for id in (own_id(us, random), foreign_id(us, random)):
            with pytest.raises(EventNotFound):
                world.log.get(id)


def test_of_several_with_one_foreign_id_the_first_by_position_comes(open_log: Open) -> None:
    log = open_log()
    for number, second in enumerate((90, 30, 150, 30)):
        log.append(str(number), id="twice", timestamp=START / SECOND + second)
        log.flush()
    log.index_text()
    assert log.get("twice").content == "0"
    minute = START / SECOND
    assert log.get("twice", start=minute, end=minute + 60).content == "1"
    assert log.get("twice", start=minute + 100).content == "2"
    with pytest.raises(EventNotFound):
        log.get("twice", start=minute + 160)


def test_the_range_of_a_get_holds(world: World) -> None:
    for event in [event for event in world.events if not is_own(event)][::20]:
        us = to_datetime(1) - to_datetime(0)
        assert world.log.get(event.id, start=event.timestamp, end=event.timestamp + us) == event
        for bounds in ({"end": event.timestamp}, {"start": event.timestamp + us}):
            with pytest.raises(EventNotFound):
                world.log.get(event.id, **bounds)


# -- files that are not as they should be -------------------------------------------------


def make_plain(path: Path) -> World:
    """A small log, all of it covered by one file: three minutes of a day, 24 blocks."""
    random = Random(SEED)
    events: list[Event] = []
    with timelog.open(path, flush_interval=3600, sync="off") as log:
        for _ in range(8):
            for minute in range(3):
                for content in contents(random, 3):
                    us = START + minute * MINUTE + random.randrange(MINUTE)
                    events.append(Event(to_datetime(us), f"{len(events)}", "app", ("t",), content))
                    log.append_many(events[-1:])
            log.flush()
        log.index_text()
    assert len(text_files(path)) == 1
    return World(log, events, len(events))


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> World:
    """Such a log, to be copied."""
    return make_plain(tmp_path_factory.mktemp("plain") / "log")


@pytest.fixture
def copy(plain: World, path: Path) -> Path:
    """A copy of it, to be changed."""
    shutil.copytree(plain.log.path, path)
    return path


def asks(world: World, n: int, seed: int = SEED) -> list[dict[str, Any]]:
    random = Random(seed)
    texts = [event.content for event in world.events]
    return [{"pattern": some_pattern(random, texts)} for _ in range(n)]


def test_the_small_log_is_covered(plain: World, copy: Path) -> None:
    with timelog.open(copy, mode="r") as log:
        told = [log.search(**ask).explain() for ask in asks(plain, 30)]
        assert sum(each.text_index.blocks > 0 for each in told) > 10


def check_all(plain: World, path: Path, n: int = 3) -> None:
    """A new reader finds everything."""
    with timelog.open(path, mode="r") as log:
        for ask in asks(plain, n):
            plain.check(ask, log)


def test_searches_over_a_file_with_flipped_bits_lose_nothing(plain: World, copy: Path) -> None:
    random = Random(SEED)
    (file,) = text_files(copy)
    data = file.read_bytes()
    for at in [*range(0, 200, 9), *random.sample(range(200, len(data)), 30)]:
        file.write_bytes(data[:at] + bytes([data[at] ^ 1 << random.randrange(8)]) + data[at + 1 :])
        check_all(plain, copy, 2)


def test_searches_over_a_file_that_was_cut_lose_nothing(plain: World, copy: Path) -> None:
    random = Random(SEED)
    (file,) = text_files(copy)
    data = file.read_bytes()
    for size in [0, 3, 11, 12, 13, 100, len(data) - 1, *random.sample(range(len(data)), 15)]:
        file.write_bytes(data[:size])
        check_all(plain, copy, 2)


def test_a_damaged_file_is_told_once_by_each_process(
    plain: World, copy: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (file,) = text_files(copy)
    file.write_bytes(file.read_bytes()[:-70_000])
    with timelog.open(copy, mode="r") as log, caplog.at_level(logging.WARNING, "timelog"):
        for ask in asks(plain, 5):
            plain.check(ask, log)
        assert log.health().ok
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert file.name in caplog.text and "ignored" in caplog.text


def no_file(file: Path) -> None:
    file.unlink()


def a_directory(file: Path) -> None:
    file.unlink()
    file.mkdir()
    (file / "inside").write_bytes(b"x")


def a_fifo(file: Path) -> None:
    file.unlink()
    os.mkfifo(file)


def a_link(file: Path) -> None:
    """To a file that would do."""
    target = file.parent / "elsewhere"
    file.rename(target)
    file.symlink_to(target)


def a_link_to_itself(file: Path) -> None:
    file.unlink()
    file.symlink_to(file)


def a_link_to_nothing(file: Path) -> None:
    file.unlink()
    file.symlink_to(file.parent / "nothing")


def an_empty_file(file: Path) -> None:
    file.write_bytes(b"")


def another_kind_of_file(file: Path) -> None:
    file.write_bytes((file.parents[1] / "format").read_bytes() * 1000)


def of_another_release(file: Path) -> None:
    rewrite_header(file, version=VERSION + 1)


def zeros(file: Path) -> None:
    file.write_bytes(bytes(100_000))


def an_endless_header(file: Path) -> None:
    file.write_bytes(textindex._HEADER.pack(textindex.MARK, 2**32 - 1, 0))


INSTEAD = [
    no_file,
    a_directory,
    a_fifo,
    a_link,
    a_link_to_itself,
    a_link_to_nothing,
    an_empty_file,
    another_kind_of_file,
    of_another_release,
    zeros,
    an_endless_header,
]


@pytest.mark.parametrize("put", INSTEAD, ids=lambda put: put.__name__)
def test_something_else_in_the_place_of_a_file_changes_nothing(
    plain: World, copy: Path, put: Callable[[Path], None]
) -> None:
    """For who opens the log then, and for who had it open and used the file already."""
    (file,) = text_files(copy)
    with timelog.open(copy, mode="r") as log:
        for ask in asks(plain, 3):
            plain.check(ask, log)
        put(file)
        for ask in asks(plain, 10):
            plain.check(ask, log)
    check_all(plain, copy, 10)
    with timelog.open(copy, mode="r") as log:
        told = [log.search(**ask).explain() for ask in asks(plain, 10)]
        assert not any(each.text_index.blocks for each in told)


def test_a_file_of_another_day_under_this_day_s_name_says_nothing(plain: World, copy: Path) -> None:
    (file,) = text_files(copy)
    with timelog.open(copy, flush_interval=3600) as log:
        late = Event(to_datetime(START + DAY), "late", "", (), "needle")
        log.append_many([late])
        log.flush()
    file.rename(file.with_name(names.text_index(START + DAY, "0123456789ab")))
    world = World(plain.log, [*plain.events, late], plain.committed + 1)
    check_all(world, copy, 20)
    with timelog.open(copy, mode="r") as log:
        assert log.search(pattern="needle").to_list() == [late]
        told = log.search(pattern="nobody has this").explain()
        assert told.text_index.blocks == 0


def test_a_file_that_is_overwritten_by_another_while_it_is_in_use_says_nothing(
    open_log: Open,
) -> None:
    """By a restore that went wrong: both are whole, and of the same size."""
    log = open_log()
    for day in range(2):
        for _ in range(3):
            log.append(f"needle{day} " + "x" * 3000, timestamp=START / SECOND + day * 86_400)
            log.flush()
    log.index_text()
    one, two = text_files(log.path)
    for day in range(2):
        assert log.search(pattern=f"needle{day}").count() == 3
    shutil.copy(two, one)
    for day in range(2):
        assert log.search(pattern=f"needle{day}").count() == 3


def test_the_file_of_another_log_says_nothing(plain: World, copy: Path, tmp_path: Path) -> None:
    """With segments of the same names, blocks and lengths, but another content."""
    other = tmp_path / "other"
    with timelog.open(other, flush_interval=3600) as log:
        for number in range(3):
            for event in plain.events[number * 3 :: len(plain.events) // 8][:8]:
                us = to_datetime(START + number * MINUTE)
                log.append_many([Event(us, event.id, "app", ("t",), event.content)])
                log.flush()
        log.index_text()
    reversed_ = tmp_path / "reversed"
    with timelog.open(reversed_, flush_interval=3600) as log:
        for event in timelog.open(other, mode="r").search():
            text = "".join(reversed(event.content))
            log.append_many([Event(event.timestamp, event.id, "app", ("t",), text)])
            log.flush()
        events = log.search().to_list()
    (file,) = text_files(other)
    shutil.copy(file, reversed_ / ".timelog" / "index")
    lengths = [[each.stat().st_size for each in sorted(p.glob("2*/*"))] for p in (other, reversed_)]
    assert lengths[0] == lengths[1]
    check_all(World(log, events, len(events)), reversed_, 40)


@pytest.mark.parametrize("again", [False, True], ids=["one reader", "another reader"])
def test_a_segment_that_grew_is_read(plain: World, copy: Path, again: bool) -> None:
    with timelog.open(copy, mode="r") as reader:
        assert reader.search(pattern="needle").explain().text_index.blocks == 24
        with timelog.open(copy, flush_interval=3600) as log:
            log.append("needle", timestamp=START / SECOND)
        if again:
            with timelog.open(copy, mode="r") as other:
                assert other.search(pattern="needle").count() == 1
        told = reader.search(pattern="needle").explain()
        assert (told.matched.events, told.text_index.blocks) == (1, 16)


def test_what_was_seen_before_is_found_as_it_was(plain: World, copy: Path) -> None:
    """A view of before the segments grew, with the text index of after."""
    with timelog.open(copy, flush_interval=3600) as log:
        position = log.position
        old = [log.search(**ask) for ask in asks(plain, 20)]
        log.append("needle", timestamp=START / SECOND)
        log.index_text()
        assert log.search(pattern="needle").explain().text_index.blocks >= 20
        for results, ask in zip(old, asks(plain, 20), strict=True):
            assert results.to_list() == plain.naive(ask)
            assert log.search(**ask, as_of=position).to_list() == plain.naive(ask)
        assert log.search(pattern="needle", as_of=position).count() == 0


def hide(folder: Path, act: Callable[[], object]) -> None:
    """Do something to a folder that its time of change does not tell."""
    before = folder.stat()
    act()
    os.utime(folder, ns=(before.st_atime_ns, before.st_mtime_ns))


@pytest.mark.parametrize("is_read", [False, True], ids=["its name known", "its header read"])
def test_a_file_that_goes_after_it_was_listed_is_as_if_it_never_was(
    copy: Path, is_read: bool, caplog: pytest.LogCaptureFixture
) -> None:
    (file,) = text_files(copy)
    texts = TextIndex(Layout(copy), Storage())
    assert texts.names(START) == (file.name,)
    path = f"{names.partition(START)}/20241004T0000Z-20241004T0001Z.jsonl"
    if is_read:
        (known,) = texts.files(START)
        assert path in known.segments
    hide(file.parent, file.unlink)
    with timelog.open(copy, mode="r") as log:
        found = {
            name.path: blocks for name, blocks in log._store.index.blocks(START, None, None, 99)
        }
    ruling = texts.ruling(START, Text(b"nobody has this"))
    assert ruling.candidates(path, found[path]) == found[path]
    assert not caplog.records


def test_files_are_found_again_when_they_change(copy: Path) -> None:
    (file,) = text_files(copy)
    texts = TextIndex(Layout(copy), Storage())
    data = file.read_bytes()
    file.unlink()
    assert texts.days() == [] and texts.names(START) == () and texts.files(START) == []
    other = file.with_name(names.text_index(START, "00ff00ff00ff"))
    other.write_bytes(data)
    assert texts.days() == [START] and texts.names(START) == (other.name,)
    assert [each.path for each in texts.files(START)] == [other]
    (file.parent / "foreign.text").write_bytes(b"x")
    assert texts.days() == [START] and texts.names(START + DAY) == ()


def test_more_files_than_are_kept_in_memory_are_used(
    plain: World, copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(textindex, "_MOST_FILES", 2)
    (file,) = text_files(copy)
    for number in range(5):
        shutil.copy(file, file.with_name(names.text_index(START, f"{number:012x}")))
    texts = TextIndex(Layout(copy), Storage())
    for _ in range(3):
        assert len(texts.files(START)) == 6
        assert len(texts._files) <= 2
    check_all(plain, copy, 10)


def test_files_appear_and_vanish_while_a_search_goes_on(world: World, path: Path) -> None:
    shutil.copytree(world.log.path, path)
    random = Random(SEED)
    folder = path / ".timelog" / "index"
    kept = {file.name: file.read_bytes() for file in text_files(path)}
    on_disk = World(world.log, world.events[: world.committed], world.committed)

    def change() -> None:
        name = random.choice(sorted(kept))
        choice = random.randrange(4)
        (folder / name).unlink(missing_ok=True)
        if choice == 0:
            (folder / name).write_bytes(kept[name])
        elif choice == 1:
            (folder / name).write_bytes(kept[name][: random.randrange(len(kept[name]))])
        elif choice == 2:
            token = f"{random.getrandbits(48):012x}"
            (folder / f"{name[:10]}.{token}.text").write_bytes(kept[name])

    for number in range(25):
        ask = some_ask(random, on_disk)
        with timelog.open(path, mode="r") as log:
            results = log.search(**ask)
            found = []
            change()
            for event in results:
                change()
                found.append(event)
            assert found == on_disk.naive(ask), (number, ask)


def test_threads_may_ask_while_files_change(plain: World, copy: Path) -> None:
    (file,) = text_files(copy)
    data = file.read_bytes()
    wrong: list[object] = []
    with timelog.open(copy, mode="r") as log:

        def ask(seed: int) -> None:
            try:
                for each in asks(plain, 12, seed):
                    plain.check(each, log)
            except BaseException as error:
                wrong.append(error)

        threads = [threading.Thread(target=ask, args=(seed,)) for seed in range(4)]
        for thread in threads:
            thread.start()
        number = 0
        while any(thread.is_alive() for thread in threads):
            number += 1
            other = file.with_name(names.text_index(START, f"{number:012x}"))
            other.write_bytes(data if number % 3 else data[: number * 100])
            file.unlink(missing_ok=True)
            file = other
        for thread in threads:
            thread.join()
    assert not wrong


# -- reading only -------------------------------------------------------------------------


def tree(path: Path) -> dict[str, tuple[int, int, bytes]]:
    """All that could be changed below a directory."""
    return {
        str(each.relative_to(path)): (
            each.stat().st_mtime_ns,
            each.stat().st_mode,
            each.read_bytes() if each.is_file() else b"",
        )
        for each in sorted([path, *path.rglob("*")])
    }


def test_a_reader_uses_the_files_and_writes_nothing(plain: World, copy: Path) -> None:
    (file,) = text_files(copy)
    shutil.copy(file, file.with_name(names.text_index(START + DAY, "0123456789ab")))
    file.with_name(names.text_index(START, "0123456789ab")).write_bytes(b"damaged")
    before = tree(copy)
    with timelog.open(copy, mode="r") as log:
        assert log.search(pattern="nobody has this").explain().text_index.blocks == 24
        for ask in asks(plain, 10):
            plain.check(ask, log)
        with pytest.raises(timelog.errors.ReadOnlyError):
            log.index_text()
    assert tree(copy) == before


def test_a_reader_needs_no_folder_of_indexes(open_log: Open, path: Path) -> None:
    """Copies and archives often leave out directories that are empty, as this one is at first."""
    with open_log() as log:
        log.append("needle", timestamp=START / SECOND)
    (path / ".timelog" / "index").rmdir()
    with open_log(mode="r") as log:
        assert log.search().count() == 1
        assert log.search(pattern="needle").count() == 1


def test_it_is_read_without_numpy(plain: World, copy: Path) -> None:
    program = """
import sys
sys.modules["numpy"] = None
import timelog
from timelog import scan, segment
scan._WORTH = segment.COALESCE = 0
with timelog.open(sys.argv[1], mode="r") as log:
    print(log.search(pattern="nobody has this").explain().text_index.blocks)
    for pattern in sys.argv[2:]:
        print([event.id for event in log.search(pattern=pattern)])
"""
    patterns = [ask["pattern"] for ask in asks(plain, 30)]
    patterns = [each for each in patterns if "\0" not in each and not each.startswith("-")]
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", program, str(copy), *patterns],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    skipped, *found = done.stdout.splitlines()
    assert skipped == "24"
    assert found == [str(ids_of(plain.naive({"pattern": each}))) for each in patterns]


# -- what the text index may rule out -----------------------------------------------------


def test_no_block_that_holds_a_text_is_ruled_out(world: World) -> None:
    """Asked directly, for texts from anywhere in the lines behind their ids."""
    random = Random(SEED)
    store = world.log._store
    texts = TextIndex(store.layout, store.storage)
    skipped = 0
    for day in store.index.between(None, None):
        segments = store.index.blocks(day, None, None, store.index.position)
        data = {name.path: store.layout.segment(name.path).read_bytes() for name, _ in segments}
        for _ in range(150):
            name, blocks = random.choice(segments)
            block = random.choice(blocks)
            piece = data[name.path][block.offset : block.end]
            line = random.choice(piece.splitlines())
            rest = line[line.index(b'"source":') :]
            at = random.randrange(len(rest))
            text = rest[at : at + random.randint(1, 30)].decode(errors="ignore").encode()
            text = text if text in rest else rest
            ruling = texts.ruling(day, Text(text))
            for name, blocks in segments:
                left = ruling.candidates(name.path, blocks)
                skipped += len(blocks) - len(left)
                for block in blocks:
                    if text in data[name.path][block.offset : block.end]:
                        assert block in left, (text, block)
    assert skipped > 1000


def test_a_salvaging_search_reads_what_the_index_would_rule_out(plain: World, copy: Path) -> None:
    """A damaged line may have become one that matches."""
    path = min(copy.glob("2*/*.jsonl"))
    data = path.read_bytes()
    at = data.index(b'"source":"app"') + len(b'"source":"')
    path.write_bytes(data[:at] + b"APP" + data[at + 3 :])
    with timelog.open(copy, mode="r") as log:
        (found,) = log.search(source="APP", salvage=True)
        assert found.source == "APP"
        assert log.search(source="APP").count() == 0


def test_a_text_that_json_escapes_is_found_as_it_is_written(open_log: Open) -> None:
    log = open_log()
    texts = ['say "hi" now', "tab\there\nnewline", "back\\slash", "\x00\x1f\x7f", "a/b"]
    for number, text in enumerate(texts):
        log.append(text + "x" * 3000, timestamp=START / SECOND + number)
        log.flush()
    log.index_text()
    for text in texts:
        results = log.search(pattern=re.escape(text))
        assert [event.content.rstrip("x") for event in results] == [text]
        if len(json_text(text)) >= 8:
            assert results.explain().text_index.blocks == 4

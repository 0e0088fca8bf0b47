"""The lines of rare tags: tables that say where they are, and searches that read only these."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random

import pytest

import timelog
from timelog import indexer, merge, scan, segment, taglines
from timelog.checksum import crc32
from timelog.codec import Line, encode_lines
from timelog.journal import Block
from timelog.storage import Storage
from timelog.taglines import Held, TableMaker, decode_table
from timelog.textindex import TextFile, TextIndex
from timelog.timestamp import DAY, SECOND, to_text

SEED = 20261122
START = 20_000 * DAY // SECOND
# Rare ones, one that is in every line, and what is written with escapes or is part of another.
TAGS = ("rare", "RARE", "rar", 'q"', '"q', "b\\", "é", "a,b", 'x","rare', "prod")


def text_of(lines: list[Line]) -> bytes:
    return encode_lines(lines)


def block_of(lines: list[Line], offset: int = 0) -> Block:
    tags = tuple(sorted({tag for line in lines for tag in line.tags}))
    size = len(text_of(lines))
    return Block("day/file", offset, size, len(lines), (0, len(lines)), 0, 0, 0, 0, tags, ())


def some_lines(random: Random, count: int, tag: Callable[[], tuple[str, ...]]) -> list[Line]:
    words = ['"rare"', "rare", '["rare"],"content":"', "é", ""]
    return [Line(to_text(n), f"{n}", random.choice(words), tag(), "x") for n in range(count)]


def read(data: bytes, held: Held) -> list[bytes]:
    places = zip(held.starts, held.lengths, strict=True)
    return [data[start : start + length] for start, length in places]


def segments_of(table: bytes) -> set[int]:
    return {held.segment for held in decode_table(table)}


# -- tables -------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(20), ids=lambda seed: f"{SEED} {seed}")
def test_a_table_has_every_line_with_a_rare_tag(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(taglines, "_FIRST", 10)
    monkeypatch.setattr(taglines, "_OFTEN", 1)
    monkeypatch.setattr(taglines, "_MOST_TAGS", len(TAGS))
    random = Random(f"{SEED} {seed}")
    frequent = random.choice(TAGS)
    maker = TableMaker(10**9)
    made: list[tuple[bytes, list[Line]]] = []
    for ordinal in range(12):

        def tags() -> tuple[str, ...]:
            rare = random.choices(TAGS, k=random.randrange(3)) if random.random() < 0.01 else []
            return (*rare, frequent)

        lines = some_lines(random, 200, tags)
        data = text_of(lines)
        maker.add(ordinal, block_of(lines, 7 * ordinal), data)
        made.append((data, lines))
    tables = maker.tables({ordinal: 11 - ordinal for ordinal in range(12)})
    counts = Counter(tag for _, lines in made for line in lines for tag in set(line.tags))
    rare = {tag for tag, count in counts.items() if count <= 12 * 200 / 64}
    assert frequent not in rare
    assert set(tables) - {"rare"} == rare - {"rare"}
    for tag, table in tables.items():
        by_segment = {held.segment: held for held in decode_table(table)}
        for ordinal, (data, lines) in enumerate(made):
            numbers = [number for number, line in enumerate(lines) if tag in line.tags]
            held = by_segment.get(11 - ordinal)
            if held is None:
                assert not numbers
                continue
            assert held.offset == 7 * ordinal
            # What is written for x","rare ends like what is written for rare.
            assert numbers == [*held.numbers] or (tag == "rare" and {*numbers} <= {*held.numbers})
            rows = data.splitlines(keepends=True)
            assert read(data, held) == [rows[number] for number in held.numbers]
            assert crc32(b"".join(read(data, held))) == held.crc


def test_tags_of_a_segment_that_is_not_covered_are_left_out() -> None:
    maker = TableMaker(10**9)
    for ordinal in range(3):
        lines = [Line(to_text(n), "i", "", ("rare",) if n == 5 else (), "") for n in range(100)]
        maker.add(ordinal, block_of(lines), text_of(lines))
    assert segments_of(maker.tables({0: 0, 2: 1})["rare"]) == {0, 1}


def test_where_a_block_may_have_any_tag_there_are_no_tables() -> None:
    maker = TableMaker(10**9)
    lines = [Line(to_text(n), "i", "", ("rare",) if n == 5 else (), "") for n in range(100)]
    maker.add(0, block_of(lines), text_of(lines))
    many = [Line(to_text(n), "i", "", (f"{n}",), "") for n in range(100)]
    block = Block("day/file", 0, len(text_of(many)), 100, (0, 100), 0, 0, 0, 0, None, ())
    maker.add(1, block, text_of(many))
    assert maker.tables({0: 0, 1: 1}) == {}


def test_a_tag_that_begins_late_has_a_whole_table_and_one_that_was_dropped_none() -> None:
    maker = TableMaker(10**9)
    none = [Line(to_text(n), "i", "", (), "") for n in range(1000)]
    late = [Line(to_text(n), "i", "", ("late",) * (n == 3), "") for n in range(1000)]
    often = [Line(to_text(n), "i", "", ("often",), "") for n in range(1000)]
    for ordinal, lines in enumerate([often, often, none, none, none, *[none] * 200, late]):
        maker.add(ordinal, block_of(lines), text_of(lines))
    assert list(maker.tables({n: n for n in range(206)})) == ["late"]


def test_what_tables_take_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """By tags of a block, and by lines: those that most lines have are left out."""
    random = Random(SEED)
    names = [f"tag {n}" for n in range(30)]
    weights = [n + 1 for n in range(30)]

    def tags() -> tuple[str, ...]:
        return tuple(random.choices(names, weights)) if random.random() < 0.2 else ()

    monkeypatch.setattr(taglines, "_OFTEN", 1)
    blocks = [some_lines(random, 2000, tags) for _ in range(5)]
    counts = Counter(tag for lines in blocks for line in lines for tag in line.tags)

    def tables(most_text: int) -> dict[str, bytes]:
        maker = TableMaker(most_text)
        for ordinal, lines in enumerate(blocks):
            maker.add(ordinal, block_of(lines), text_of(lines))
        return maker.tables({n: n for n in range(5)})

    for ordinal in range(5):
        held = [table for table in tables(10**9).values() if ordinal in segments_of(table)]
        assert 0 < len(held) <= taglines._MOST_TAGS
    few = tables(100 * taglines._TEXT_A_LINE)
    assert few and sum(counts[tag] for tag in few) <= 100


# -- searches -----------------------------------------------------------------------------


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Little text is worth an index, each flush is a block, and tags are rare soon."""
    monkeypatch.setenv("TIMELOG_SYNC", "off")
    monkeypatch.setattr(indexer, "LEAST_TEXT", 1)
    monkeypatch.setattr(segment, "COALESCE", 0)
    monkeypatch.setattr(scan, "_WORTH", 0)
    monkeypatch.setattr(taglines, "_RARE", 1 / 6)
    monkeypatch.setattr(taglines, "_FIRST", 10**9)
    monkeypatch.setattr(taglines, "_MOST_TAGS", len(TAGS))


@pytest.fixture
def indexed(tmp_path: Path, small: None) -> Iterator[tuple[timelog.EventLog, list[str]]]:
    """A log whose times overlap, with a text index of some segments, and the tags in it."""
    random = Random(SEED)
    with timelog.open(tmp_path / "log", text_index=False) as log:
        for flush in range(8):
            log.append_many(
                {
                    "content": f"{flush} {n} " + random.choice(["rare", '"rare"', "x"]),
                    "timestamp": START + random.randrange(150) + (flush > 6) * 240,
                    "source": random.choice(["rare", "a", ""]),
                    "tags": [*random.sample(TAGS[:-1], random.random() < 0.3), "prod"],
                    "fields": {"tags": ["rare"]} if n % 7 == 0 else {},
                }
                for n in range(60)
            )
            log.flush()
            if flush == 6:
                log.index_text()
        yield log, list(TAGS)


def searches(random: Random, tags: list[str]) -> Iterator[dict[str, object]]:
    for _ in range(60):
        asked: dict[str, object] = {"tags": random.sample(tags, random.choice((1, 1, 2)))}
        if random.random() < 0.3:
            asked["pattern"] = random.choice(["rare", r"\d 1", '"', "x$"])
        if random.random() < 0.3:
            asked["source"] = random.choice(["rare", "a"])
        if random.random() < 0.3:
            asked["start"] = START + random.randrange(150)
        if random.random() < 0.3:
            asked["order"] = "desc"
        if random.random() < 0.3:
            asked["limit"] = random.choice((1, 3, 10))
        if random.random() < 0.2:
            asked["where"] = lambda event: "2" in event.content
        yield asked


def test_searches_find_the_same_with_tables_as_without(
    indexed: tuple[timelog.EventLog, list[str]],
) -> None:
    log, tags = indexed
    (file,) = (log.path / ".timelog" / "index").glob("*.text")
    assert TextFile(file, Storage()).rarest(tags)
    some = 0
    for asked in searches(Random(SEED), tags):
        results = log.search(**asked)  # type: ignore[arg-type]
        plain = results.using(())
        assert results.to_list() == plain.to_list(), asked
        assert results.count() == plain.count(), asked
        assert results.first_arrived() == plain.first_arrived(), asked
        some += bool(results.to_list())
    assert some > 30


def test_only_the_lines_are_read(indexed: tuple[timelog.EventLog, list[str]]) -> None:
    log, _ = indexed
    found = log.search(tags=["é"])
    told = found.explain()
    assert told.matched.events == found.count() > 0
    with_all = found.using({"blocks"}).explain()
    # What came after the index was built is read whole.
    assert told.read.bytes < with_all.read.bytes / 2
    assert told.read.events < with_all.read.events / 2


def test_a_line_that_changed_is_not_served(indexed: tuple[timelog.EventLog, list[str]]) -> None:
    log, _ = indexed
    whole = log.search(tags=["é"]).to_list()
    victim = next(event for event in whole if not event.content.startswith("7 "))
    path = next(path for path in log.path.glob("2*/*") if victim.id.encode() in path.read_bytes())
    data = bytearray(path.read_bytes())
    at = data.index(victim.id.encode())
    end = data.index(b"\n", at)
    data[end - 3] ^= 1
    path.write_bytes(data)
    found = log.search(tags=["é"])
    served = found.to_list()
    assert victim.id not in {event.id for event in served}
    assert [event for event in whole if event in served] == served
    (damage,) = found.damage
    assert damage.offset <= at < damage.offset + damage.length


def test_damage_behind_the_first_look_is_named_and_its_neighbours_are_served(
    indexed: tuple[timelog.EventLog, list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever was intact before, and whether lines are read once or again to be put in order."""
    log, _ = indexed
    whole = log.search(tags=["é"]).to_list()
    assert log.search().count() == log.search(where=lambda event: True).count()
    for victim in (event for event in whole if not event.content.startswith("7 ")):
        path = next(
            path for path in log.path.glob("2*/*") if victim.id.encode() in path.read_bytes()
        )
        data = path.read_bytes()
        at = data.index("é".encode(), data.index(victim.id.encode()))
        path.write_bytes(data[:at] + b"??" + data[at + 2 :])
        answers = []
        for waiting in (8 * 1024 * 1024, 1):
            monkeypatch.setattr(merge, "MOST_WAITING", waiting)
            found = log.search(tags=["é"])
            answers.append(found.to_list())
            assert len(found.damage) == 1
            assert found.count() == len(answers[-1])
        assert answers[0] == answers[1] == [event for event in whole if event in answers[0]]
        assert victim not in answers[0]
        path.write_bytes(data)


def test_a_damaged_line_beside_hides_no_line_with_the_tag(
    indexed: tuple[timelog.EventLog, list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    log, _ = indexed
    whole = log.search(tags=["é"]).to_list()
    other = next(event for event in log.search() if "é" not in event.tags)
    path = next(path for path in log.path.glob("2*/*") if other.id.encode() in path.read_bytes())
    path.write_bytes(path.read_bytes().replace(other.id.encode(), b"x" * 36))
    for waiting in (8 * 1024 * 1024, 1):
        monkeypatch.setattr(merge, "MOST_WAITING", waiting)
        found = log.search(tags=["é"])
        assert found.to_list() == whole and found.count() == len(whole)


def test_a_damaged_table_is_not_used(indexed: tuple[timelog.EventLog, list[str]]) -> None:
    log, _ = indexed
    whole = log.search(tags=["é"]).to_list()
    (path,) = (log.path / ".timelog" / "index").glob("*.text")
    data = bytearray(path.read_bytes())
    table = sum(length for _, length, _ in TextFile(path, Storage()).tables.values())
    unaided = log.search(tags=["é"]).using({"blocks"}).explain().read.events
    used = 0
    for at in range(len(data) - table, len(data)):
        data[at] ^= 4
        path.write_bytes(data)
        data[at] ^= 4
        with timelog.open(log.path, mode="r") as other:
            found = other.search(tags=["é"])
            assert found.to_list() == whole and not found.damage
            used += found.explain().read.events < unaided
    assert 0 < used < table


def test_checking_reads_the_tables(
    indexed: tuple[timelog.EventLog, list[str]], caplog: pytest.LogCaptureFixture
) -> None:
    log, _ = indexed
    (path,) = (log.path / ".timelog" / "index").glob("*.text")
    (day,) = TextIndex(log._store.layout, log._store.storage).days()
    texts = TextIndex(log._store.layout, log._store.storage)
    texts.check(day)
    assert len(texts.files(day)) == 1
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    texts = TextIndex(log._store.layout, log._store.storage)
    texts.check(day)
    assert texts.files(day) == [] and "damaged" in caplog.text

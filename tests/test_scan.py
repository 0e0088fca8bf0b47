"""Scanning blocks: what is skipped cannot match, and what is damaged is never served."""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.test_pattern import ALPHABET, patterns
from tests.test_reader import File
from tests.test_required import raw_line
from timelog import reader, scan
from timelog.codec import Line, encode_lines
from timelog.damage import Damage
from timelog.event import Event
from timelog.explain import Stage
from timelog.filter import Filter
from timelog.horizons import Keeping
from timelog.index import Index
from timelog.journal import Block
from timelog.memfile import Slice
from timelog.names import Layout, SegmentName
from timelog.pattern import compile_pattern, make_pattern
from timelog.scan import EXCLUSIONS, Found, Scanner
from timelog.span import Span
from timelog.storage import Storage
from timelog.timestamp import SECOND, to_datetime, to_text

SPAN = Span.minute(0)
PATH = SegmentName(SPAN, 1).path
EVERYTHING = Filter(None, None, frozenset(), frozenset(), None, None, False)


class Log:
    """One segment with one block, and searches of it."""

    def __init__(self, root: Path) -> None:
        self.layout = Layout(root)
        self.file = self.layout.segment(PATH)
        self.file.parent.mkdir(parents=True, exist_ok=True)
        self.lines: list[Line] = []
        self.damage: list[Damage] = []

    def write(self, lines: Sequence[Line], runs: tuple[int, ...] = (), before: bytes = b"") -> None:
        """Put the lines into the file, behind ``before``."""
        self.lines = list(lines)
        data = encode_lines(lines)
        self.file.write_bytes(before + data)
        seed = zlib.crc32(before)
        micros = [us_of(line) for line in lines]
        self.block = Block(
            PATH,
            len(before),
            len(data),
            len(lines),
            runs or (0, len(lines)),
            min(micros),
            max(micros),
            seed,
            zlib.crc32(data, seed),
            tuple(sorted({tag for line in lines for tag in line.tags})),
            tuple(sorted({line.source for line in lines})),
        )

    def scanner(self, asked: Filter, position: int = 10**9, *, salvage: bool = False) -> Scanner:
        index = Index(self.layout, Storage(), "", lambda batch: None)
        self.damage = []
        return Scanner(
            self.layout,
            Storage(),
            index,
            asked,
            position,
            Keeping(()),
            self.damage,
            salvage=salvage,
            deadline=None,
            exclusions=EXCLUSIONS,
        )

    def find(self, asked: Filter, position: int = 10**9, *, salvage: bool = False) -> Found:
        scanner = self.scanner(asked, position, salvage=salvage)
        try:
            if not scanner.may_match(self.block):
                return Found([], tuple, tuple)
            return scanner.block(self.block)
        finally:
            scanner.close()

    def change(self, old: bytes, new: bytes) -> None:
        """Change bytes of the file behind the log's back; ``old`` is there once."""
        data = self.file.read_bytes()
        assert data.count(old) == 1
        self.file.write_bytes(data.replace(old, new))


@pytest.fixture
def log(tmp_path: Path) -> Log:
    return Log(tmp_path)


def line(content: str = "", us: int = 0, source: str = "", tags: tuple[str, ...] = ()) -> Line:
    return Line(to_text(us), "1", source, tags, content)


def us_of(line: Line) -> int:
    return int(line.timestamp[17:19]) * SECOND + int(line.timestamp[20:26])


def asks(**wanted: Any) -> Filter:
    """A filter as `EventLog.search` makes it."""
    sources = wanted.pop("sources", None)
    pattern = wanted.pop("pattern", None)
    return EVERYTHING._replace(
        tags=frozenset(wanted.pop("tags", ())),
        sources=frozenset(sources or ()),
        by_source=sources is not None,
        pattern=None if pattern is None else make_pattern(compile_pattern(pattern)),
        **wanted,
    )


def contents(found: Found) -> list[str]:
    return [event.content for event in found.events]


FILLER = [line("zzz", source="filler")] * 30


# -- against a naive search ---------------------------------------------------------------


@given(patterns, st.lists(st.text(ALPHABET, max_size=6), min_size=1, max_size=8), st.booleans())
@example("a", ['"a', "\\a", "b"], True)
@example(r"\n", ["a\nb"], True)
@example('"', ['say "hi"'], True)
@example(r"\\", ["C:\\"], True)
def test_no_match_of_a_pattern_is_excluded(
    tmp_path_factory: pytest.TempPathFactory, text: str, found_in: list[str], sparse: bool
) -> None:
    log = Log(tmp_path_factory.getbasetemp() / "scan")
    lines = [*map(line, found_in), *(FILLER if sparse else [])]
    log.write(lines)
    naive = [(n, each.content) for n, each in enumerate(lines) if re.search(text, each.content)]
    found = log.find(asks(pattern=text))
    assert list(zip(found.positions(), contents(found), strict=True)) == naive


words = st.text('ab"\\é\u2028', min_size=1, max_size=2)
lines = st.builds(
    line,
    st.text('ab"\\\n[],:{}', max_size=4),
    st.integers(0, 59_999_999),
    st.one_of(st.just(""), words),
    st.lists(words, max_size=2).map(tuple),
)


@st.composite
def runs_of(draw: st.DrawFn, count: int) -> tuple[int, ...]:
    """Positions for ``count`` lines: one run, or several with gaps between."""
    cuts = draw(st.sets(st.integers(1, max(count - 1, 1)), max_size=3)) if count > 1 else set()
    ends = [*sorted(cuts), count]
    runs: list[int] = []
    position = draw(st.integers(0, 5))
    for start, end in zip([0, *ends], ends, strict=False):
        runs += [position, end - start]
        position += end - start + draw(st.integers(1, 3))
    return tuple(runs)


@given(st.data())
def test_finding_is_the_naive_search_of_a_list(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    log = Log(tmp_path_factory.getbasetemp() / "scan")
    written = data.draw(st.lists(lines, min_size=1, max_size=8))
    if data.draw(st.booleans()):
        written = [*written, *FILLER]
    runs = data.draw(runs_of(len(written)))
    log.write(written, runs, data.draw(st.sampled_from([b"", b"before\n"])))
    positions = [
        first + n for first, count in zip(runs[::2], runs[1::2], strict=True) for n in range(count)
    ]
    bound = data.draw(st.sampled_from([*positions, positions[-1] + 1]))
    limits = st.none() | st.integers(0, 60 * SECOND) | st.sampled_from(list(map(us_of, written)))
    start, end = data.draw(limits), data.draw(limits)
    tags = data.draw(st.sets(words, max_size=2))
    sources = data.draw(st.none() | st.sets(st.one_of(st.just(""), words), max_size=2))
    where = data.draw(st.sampled_from([None, lambda event: "a" in event.content]))

    found = log.find(asks(start=start, end=end, tags=tags, sources=sources, where=where), bound)
    naive = [
        (position, each.content)
        for position, each in zip(positions, written, strict=True)
        if position < bound
        and (start is None or us_of(each) >= start)
        and (end is None or us_of(each) < end)
        and tags <= set(each.tags)
        and (sources is None or each.source in sources)
        and (where is None or "a" in each.content)
    ]
    assert list(zip(found.positions(), contents(found), strict=True)) == naive
    assert log.damage == []

    held = Slice(SPAN, written, ((7, 0),), len(written))
    scanner = log.scanner(asks(start=start, end=end, tags=tags, sources=sources, where=where))
    in_memory = scanner.memory(held, 100)
    assert contents(in_memory) == [
        each.content
        for each in written
        if (start is None or us_of(each) >= start)
        and (end is None or us_of(each) < end)
        and tags <= set(each.tags)
        and (sources is None or each.source in sources)
        and (where is None or "a" in each.content)
    ]
    assert all(
        written[at - 107].content == event.content
        for event, at in zip(in_memory.events, in_memory.positions(), strict=True)
    )


@given(st.data())
def test_as_many_are_counted_as_are_found(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    log = Log(tmp_path_factory.getbasetemp() / "scan")
    written = data.draw(st.lists(lines, min_size=1, max_size=8))
    runs = data.draw(runs_of(len(written)))
    log.write(written, runs)
    if data.draw(st.booleans()):
        log.file.write_bytes(log.file.read_bytes().replace(b'"id":"1"', b'"id":"2"', 1))
    limits = st.none() | st.integers(0, 60 * SECOND)
    asked = asks(
        start=data.draw(limits),
        end=data.draw(limits),
        tags=data.draw(st.sampled_from([(), (), ("a",)])),
        sources=data.draw(st.sampled_from([None, None, None, [""], []])),
        pattern=data.draw(st.sampled_from([None, "", "a", "^$", '"', "[^a]", "(?i)A", "absent"])),
        where=data.draw(st.sampled_from([None, None, lambda event: "b" in event.content])),
    )
    bound = data.draw(st.sampled_from([0, *runs[::2], runs[-2] + runs[-1], 10**9]))
    for salvage in (False, True):
        found = log.find(asked, bound, salvage=salvage)
        damage = log.damage
        scanner = log.scanner(asked, bound, salvage=salvage)
        if scanner.may_match(log.block):
            assert scanner.count(log.block) == len(found.events)
            assert log.damage == damage
        scanner.close()


@given(st.data())
def test_blocks_are_found_in_whatever_order_they_are_asked_for(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    """Foretold or not, passed over, and again; read by helpers or not."""
    root = tmp_path_factory.getbasetemp() / "scan"
    file = File(root, [[raw_line(f"{n}-{k}") for k in range(n % 3 + 1)] for n in range(12)])
    index = Index(file.layout, Storage(), "", lambda batch: None)
    asked = asks(pattern=data.draw(st.sampled_from(["-", "-1", "^[35]", "(?i)absent"])))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(scan, "_INLINE", data.draw(st.sampled_from([0, 700, 10**9])))
        patch.setattr(reader, "_FIRST", data.draw(st.sampled_from([1, 500])))
        scanner = Scanner(
            file.layout,
            Storage(),
            index,
            asked,
            10**9,
            Keeping(()),
            [],
            salvage=False,
            deadline=None,
            exclusions=EXCLUSIONS,
        )
        for _ in range(data.draw(st.integers(1, 3))):
            numbers = st.lists(st.integers(0, 11), max_size=12)
            scanner.expect(file.blocks[n] for n in data.draw(numbers.map(dict.fromkeys)))
            for number in data.draw(numbers):
                names = [f"{number}-{k}" for k in range(number % 3 + 1)]
                assert asked.pattern
                expected = [name for name in names if asked.pattern.compiled.search(name)]
                if data.draw(st.booleans()):
                    assert contents(scanner.block(file.blocks[number])) == expected
                else:
                    assert scanner.count(file.blocks[number]) == len(expected)
        scanner.close()


def test_a_block_beyond_the_view_has_nothing_in_it(log: Log) -> None:
    log.write([line("a"), line("b")], runs=(5, 1, 9, 1))
    for asked in (asks(), asks(pattern="a|b"), asks(where=bool)):
        for position, expected in ((5, []), (6, ["a"]), (9, ["a"]), (10, ["a", "b"])):
            assert contents(log.find(asked, position)) == expected
            scanner = log.scanner(asked, position)
            assert scanner.count(log.block) == len(expected)
            scanner.close()


def test_events_of_memory_and_disk_are_the_same(log: Log) -> None:
    written = [line("a", 5, "s", ("t", "u")), line('b"\n', 7)]
    log.write(written)
    held = Slice(SPAN, written, ((0, 0),), 2)
    assert log.scanner(EVERYTHING).memory(held, 0).events == log.find(EVERYTHING).events


def test_memory_is_read_only_as_far_as_it_was_noted(log: Log) -> None:
    written = [line(str(n)) for n in range(6)]
    held = Slice(SPAN, written, ((10, 0), (15, 2)), 4)
    found = log.scanner(EVERYTHING).memory(held, 100)
    assert contents(found) == ["0", "1", "2", "3"]
    assert list(found.positions()) == [110, 111, 115, 116]


@given(st.data())
def test_lines_are_read_again_by_their_numbers_in_any_order(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    log = Log(tmp_path_factory.getbasetemp() / "scan")
    written = [*data.draw(st.lists(lines, min_size=1, max_size=8)), *FILLER]
    log.write(written, data.draw(runs_of(len(written))), b"before\n")
    tags = data.draw(st.sets(words, max_size=1))
    found = log.find(asks(tags=tags))
    numbers = data.draw(st.permutations(list(found.numbers())))
    by_number = dict(zip(found.numbers(), found.events, strict=True))
    scanner = log.scanner(asks(tags=tags))
    wanted = [by_number[number] for number in numbers]
    assert scanner.lines(log.block, numbers) == wanted
    assert scanner.lines(Slice(SPAN, written, ((0, 0),), len(written)), numbers) == wanted
    scanner.close()


def test_a_block_that_was_damaged_meanwhile_is_not_read_again(log: Log) -> None:
    log.write([line("a"), line("b"), line("c")])
    for salvage, expected in ((False, []), (True, ["c", "a"])):
        scanner = log.scanner(EVERYTHING, salvage=salvage)
        assert len(scanner.block(log.block).events) == 3
        data = log.file.read_bytes()
        log.file.write_bytes(data.replace(b'"b"', b'"x"'))
        assert [event.content for event in scanner.lines(log.block, [2, 0])] == expected
        assert only(log).reason == "the crc does not hold"
        log.file.write_bytes(data)
        scanner.close()


# -- what is skipped ----------------------------------------------------------------------


def explained(log: Log, asked: Filter) -> dict[str, Any]:
    """What a scan says it did, without zeros."""
    scanner = log.scanner(asked)
    if scanner.may_match(log.block):
        scanner.block(log.block)
    explanation = scanner.explanation
    scanner.close()
    stages = {name: getattr(explanation, name) for name in explanation.__struct_fields__}
    return {
        name: (stage.blocks, stage.bytes, stage.events)
        for name, stage in stages.items()
        if isinstance(stage, Stage) and stage.events
    }


def test_blocks_that_cannot_match_are_not_read(log: Log) -> None:
    log.write([line("a", 5, "s", ("t",)), line("b", 9)])
    log.file.unlink()
    for stage, asked in (
        ("time", asks(start=10)),
        ("time", asks(end=5)),
        ("tags", asks(tags=["t", "u"])),
        ("source", asks(sources=["x"])),
        ("source", asks(sources=[])),
    ):
        block = (1, log.block.length, 2)
        assert explained(log, asked) == {"range": block, stage: block}


def test_a_block_of_any_tags_and_sources_is_read(log: Log) -> None:
    log.write([line("a", 5, "s", ("t",))])
    log.block = msgspec.structs.replace(log.block, tags=None, sources=None)
    assert contents(log.find(asks(tags=["t"], sources=["s"]))) == ["a"]


def test_a_block_without_the_needle_is_not_decoded(log: Log) -> None:
    log.write([line("a"), line("b")])
    block = (1, log.block.length, 2)
    assert explained(log, asks(pattern="xyz")) == dict.fromkeys(["range", "read", "text"], block)


def test_only_lines_with_every_needle_are_decoded(log: Log) -> None:
    log.write([line("needle", tags=("t",)), line("needle"), *FILLER, line("x", tags=("t",))])
    done = explained(log, asks(pattern="needle", tags=["t"]))
    assert done["decoded"][2] == 1
    assert done["read"][2] == 33


def test_a_frequent_needle_decodes_the_whole_block(log: Log) -> None:
    log.write([line(f"needle {n}") for n in range(10)] + [line("x")])
    assert explained(log, asks(pattern="needle"))["decoded"][2] == 11


def test_a_block_is_counted_unread_only_where_that_is_right(log: Log) -> None:
    log.write([line("a", 5), line("b", 9)], runs=(3, 1, 7, 1))
    for asked, position, counted in (
        (asks(), 8, True),
        (asks(start=5, end=10), 8, True),
        (asks(start=6), 8, False),
        (asks(end=9), 8, False),
        (asks(), 7, False),
        (asks(tags=["t"]), 8, False),
        (asks(sources=[]), 8, False),
        (asks(pattern=""), 8, False),
        (asks(where=bool), 8, False),
    ):
        assert log.scanner(asked, position).is_counted(log.block) == counted, asked


def test_an_explanation_is_a_table(log: Log) -> None:
    log.write([line("a")])
    scanner = log.scanner(asks(pattern="xyz"))
    scanner.block(log.block)
    scanner.close()
    text = str(scanner.explanation)
    assert "text that must be there: 'xyz'" in text
    assert len({len(row) for row in text.splitlines()[:-2]}) == 1
    assert scanner.explanation.milliseconds > 0


# -- damage -------------------------------------------------------------------------------


TWENTY = [*(line(f"content {n}") for n in range(18)), line("first needle"), line("last needle")]


def twenty(log: Log) -> None:
    log.write(TWENTY)


def only(log: Log) -> Damage:
    (damage,) = log.damage
    assert (damage.file, damage.offset, damage.length) == (PATH, 0, log.block.length)
    return damage


def test_a_block_with_any_flipped_bit_is_withheld(log: Log) -> None:
    log.write([line("a"), line("b")])
    data = log.file.read_bytes()
    for bit in range(len(data) * 8):
        changed = bytearray(data)
        changed[bit // 8] ^= 1 << bit % 8
        log.file.write_bytes(changed)
        assert log.find(EVERYTHING).events == []
        assert only(log).reason == "the crc does not hold"


@pytest.mark.parametrize("asked", [EVERYTHING, asks(pattern="needle"), asks(pattern="content")])
def test_a_damaged_block_is_withheld_and_named(log: Log, asked: Filter) -> None:
    twenty(log)
    log.change(b"content 7", b"content X")
    assert log.find(asked).events == []
    assert only(log).reason == "the crc does not hold"


def test_a_file_that_is_short_or_gone_is_named(log: Log) -> None:
    twenty(log)
    with log.file.open("r+b") as file:
        file.truncate(100)
    assert log.find(EVERYTHING).events == []
    assert only(log).reason == "the file is too short"
    log.file.unlink()
    assert log.find(EVERYTHING).events == []
    assert "No such file" in only(log).reason
    log.file.mkdir()
    assert log.find(EVERYTHING).events == []
    assert "cannot be read" in only(log).reason


def test_a_link_in_the_place_of_a_file_is_not_followed(log: Log) -> None:
    twenty(log)
    log.file.rename(log.file.with_suffix(".moved"))
    log.file.symlink_to(log.file.with_suffix(".moved"))
    assert log.find(EVERYTHING).events == []
    assert "cannot be read" in only(log).reason


def test_bytes_of_others_around_a_block_do_not_matter(log: Log) -> None:
    log.write([line("a"), line("b")], before=b"what was there before\n")
    with log.file.open("ab") as file:
        file.write(b"not committed")
    assert contents(log.find(EVERYTHING)) == ["a", "b"]
    assert log.damage == []


def test_lines_that_are_no_events_are_damage_even_where_the_crc_holds(log: Log) -> None:
    data = b'{"timestamp":"nonsense"}\n'
    log.write([line("a")])
    log.file.write_bytes(data)
    log.block = Block(PATH, 0, len(data), 1, (0, 1), 0, 0, 0, zlib.crc32(data), (), ("",))
    assert log.find(EVERYTHING).events == []
    assert "not an event" in only(log).reason


def test_lines_that_are_no_events_are_not_counted_either(log: Log) -> None:
    """Where only contents are looked at, the block is withheld just the same."""
    for data in (b'{"content":"needle"}\n', b'{"timestamp":"nonsense","content":"needle"}\n'):
        log.write([line("a")])
        log.file.write_bytes(data)
        log.block = Block(PATH, 0, len(data), 1, (0, 1), 0, 0, 0, zlib.crc32(data), (), ("",))
        assert log.find(asks(pattern="needle")).events == []
        scanner = log.scanner(asks(pattern="needle"))
        assert scanner.count(log.block) == 0
        scanner.close()
        assert "not an event" in only(log).reason


def test_damage_in_a_block_that_is_ruled_out_is_named_once_for_all_searches(tmp_path: Path) -> None:
    """By the first search that reads it; by every one that would pass something of it on."""
    file = File(tmp_path, [[raw_line("needle")], [raw_line("other")]])
    index = Index(file.layout, Storage(), "", lambda batch: None)
    found: list[list[Damage]] = []

    def search(pattern: str) -> list[str]:
        found.append([])
        scanner = Scanner(
            file.layout,
            Storage(),
            index,
            asks(pattern=pattern),
            10**9,
            Keeping(()),
            found[-1],
            salvage=False,
            deadline=None,
            exclusions=EXCLUSIONS,
        )
        scanner.expect(file.blocks)
        try:
            return [each for block in file.blocks for each in contents(scanner.block(block))]
        finally:
            scanner.close()

    file.flip(0, at=20)
    assert search("other") == ["other"] and len(found[-1]) == 1
    # It was never found intact, so it is looked at and named until it is.
    assert search("other") == ["other"] and len(found[-1]) == 1
    file.flip(0, at=20)
    assert search("other") == ["other"] and found[-1] == []
    file.flip(0, at=20)
    assert search("other") == ["other"] and found[-1] == []
    assert search("needle") == [] and len(found[-1]) == 1
    assert search("other|needle") == ["other"] and len(found[-1]) == 1
    assert list(index.damage) == found[-1]


Change = Callable[[Log], None]


def cut(log: Log) -> None:
    with log.file.open("r+b") as file:
        file.truncate(log.block.length - 3)


def no_json(log: Log) -> None:
    log.change(b'"content":"last', b'"content":last"')


def no_utf8(log: Log) -> None:
    log.change(b"last needle", b"last needle\xff")


def split(log: Log) -> None:
    log.change(b'"content":"content 3"', b'"content"\n"content 3"')


def joined(log: Log) -> None:
    log.change(b'"content 3"}\n', b'"content 3"} ')


LOST: dict[Change, list[str]] = {
    cut: ["last needle"],
    no_json: ["last needle"],
    no_utf8: ["last needle"],
    split: ["content 3"],
    joined: ["content 3", "content 4"],
}


@pytest.mark.parametrize("runs", [(0, 20), (0, 5, 8, 15)], ids=["one run", "two runs"])
@pytest.mark.parametrize(
    "asked",
    [EVERYTHING, asks(pattern="needle"), asks(pattern="content 1")],
    ids=["all", "needle", "content"],
)
@pytest.mark.parametrize("change", [cut, no_json, no_utf8, split, joined])
@pytest.mark.timeout(5)
def test_salvage_yields_what_parses(
    log: Log, change: Change, asked: Filter, runs: tuple[int, ...]
) -> None:
    log.write(TWENTY, runs)
    change(log)
    search = asked.pattern.compiled.search if asked.pattern else lambda content: True
    expected = [
        each.content for each in TWENTY if each.content not in LOST[change] and search(each.content)
    ]
    found = log.find(asked, salvage=True)
    assert contents(found) == expected
    assert len(found.positions()) == len(expected)
    assert len(log.damage) >= 1


def test_salvage_of_a_whole_block_is_the_block(log: Log) -> None:
    twenty(log)
    for asked in (EVERYTHING, asks(pattern="needle")):
        one, two = log.find(asked), log.find(asked, salvage=True)
        assert one.events == two.events
        assert list(one.positions()) == list(two.positions())
        assert log.damage == []


# -- files --------------------------------------------------------------------------------


def test_a_scanner_keeps_no_file_open(log: Log) -> None:
    fds = Path("/proc/self/fd")
    twenty(log)
    before = len(list(fds.iterdir()))
    scanner = log.scanner(EVERYTHING)
    for _ in range(3):
        scanner.block(log.block)
    assert len(list(fds.iterdir())) == before
    scanner.close()
    scanner.close()
    assert len(list(fds.iterdir())) == before


def test_a_where_is_asked_last_and_only_of_what_else_matches(log: Log) -> None:
    log.write([line("a", tags=("t",)), line("b"), *FILLER])
    asked: list[str] = []

    def where(event: Event) -> bool:
        asked.append(event.content)
        assert event.timestamp == to_datetime(0)
        return True

    assert contents(log.find(asks(tags=["t"], where=where))) == ["a"]
    assert asked == ["a"]

"""Reading blocks: neighbours at once, candidate lines cut out, and nothing unchecked passed on."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.test_required import meets, raw_line
from timelog import reader as module
from timelog.finder import TextFinder
from timelog.index import Index
from timelog.journal import Block
from timelog.names import Layout, SegmentName
from timelog.reader import BlockReader, Raw, Stretch, stretches
from timelog.required import Text
from timelog.span import Span
from timelog.storage import Storage

SEED = 20261126
PATH = SegmentName(Span.minute(0), 1).path
OTHER = SegmentName(Span.minute(0), 2).path


class File:
    """A segment with blocks of these lines, and readers of it."""

    def __init__(self, root: Path, blocks: Sequence[Sequence[bytes]], before: bytes = b"") -> None:
        self.layout = Layout(root)
        self.path = self.layout.segment(PATH)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.index = Index(self.layout, Storage(), "", lambda batch: None)
        self.intact = self.index.intact
        self.blocks: list[Block] = []
        self.lines = [list(lines) for lines in blocks]
        data, position = before, 0
        for lines in blocks:
            text = b"".join(lines)
            seed = zlib.crc32(data)
            crc = zlib.crc32(text, seed)
            runs = (position, len(lines))
            self.blocks.append(
                Block(PATH, len(data), len(text), len(lines), runs, 0, 0, seed, crc, (), ())
            )
            data += text
            position += len(lines)
        self.path.write_bytes(data)

    def reader(self, *clauses: tuple[Text, ...]) -> BlockReader:
        """A reader of lines that meet ``clauses``, all lines where there are none."""
        return BlockReader(
            self.layout, Storage(), self.index, TextFinder(clauses) if clauses else None
        )

    def read(self, *clauses: tuple[Text, ...]) -> list[Raw]:
        """All blocks, read at once."""
        return self.reader(*clauses).read(Stretch(tuple(self.blocks))).raws

    def flip(self, block: int, at: int = 30, bit: int = 3) -> None:
        """Change a bit of a block."""
        data = bytearray(self.path.read_bytes())
        data[self.blocks[block].offset + at] ^= 1 << bit
        self.path.write_bytes(data)


def needing(*texts: str, folded: bool = False) -> tuple[Text, ...]:
    return tuple(Text(text.encode(), folded) for text in texts)


def rows(*contents: str) -> list[bytes]:
    return [raw_line(content) for content in contents]


def filled(needles: Iterable[int], count: int = 20) -> list[bytes]:
    """A block's lines, with a needle in those with these numbers."""
    numbers = set(needles)
    return rows(*(f"{'needle' if n in numbers else 'nothing'} {n}" for n in range(count)))


@pytest.fixture
def make(tmp_path: Path) -> Callable[..., File]:
    return lambda *blocks, before=b"": File(tmp_path, blocks, before)


NEEDLE = needing("needle")


# -- stretches ----------------------------------------------------------------------------


def block_at(path: str, offset: int, length: int) -> Block:
    return Block(path, offset, length, 1, (0, 1), 0, 0, 0, 0, (), ())


@st.composite
def some_blocks(draw: st.DrawFn) -> list[Block]:
    """Blocks in any order, of a few files, many of them neighbours."""
    found = []
    path, offset = PATH, 0
    for _ in range(draw(st.integers(0, 30))):
        kind = draw(st.sampled_from(["next"] * 6 + ["gap", "back", "other file"]))
        if kind == "gap":
            offset += draw(st.integers(1, 50))
        elif kind == "back":
            offset = draw(st.integers(0, 100))
        elif kind == "other file":
            path = OTHER if path == PATH else PATH
        length = draw(st.sampled_from([1, 10, 30, 99, 100, 101, 400, 500]))
        found.append(block_at(path, offset, length))
        offset += length
    return found


@given(some_blocks())
def test_stretches_are_neighbours_of_one_file_in_the_given_order(blocks: list[Block]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_FIRST", 100)
        patch.setattr(module, "_STRETCH", 400)
        found = list(stretches(blocks))
    assert [block for stretch in found for block in stretch.blocks] == blocks
    for stretch in found:
        for one, two in pairwise(stretch.blocks):
            assert one.path == two.path and one.end == two.offset
        assert stretch.length == sum(block.length for block in stretch.blocks)
        # A block is not divided, whatever its size.
        assert stretch.length <= 400 or len(stretch.blocks) == 1
    if found:
        assert found[0].length <= 100 or len(found[0].blocks) == 1


def test_stretches_begin_small_and_grow_to_their_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_FIRST", 100)
    monkeypatch.setattr(module, "_STRETCH", 400)
    blocks = [block_at(PATH, n * 10, 10) for n in range(200)]
    lengths = [stretch.length for stretch in stretches(blocks)]
    assert lengths[0] == 100
    assert all(one <= two for one, two in pairwise(lengths[:-1]))
    assert max(lengths) == lengths[-2] == 400


def test_blocks_are_put_together_only_as_they_are_asked_for() -> None:
    drawn = []

    def blocks() -> Iterable[Block]:
        for n in range(100):
            drawn.append(n)
            yield block_at(PATH, n * 200_000, 200_000)

    found = stretches(blocks())
    assert drawn == []
    next(iter(found))
    assert len(drawn) <= 3


# -- candidate lines ----------------------------------------------------------------------

contents = st.sampled_from(["a", "needle", "needle x", "X needle", "b x", "é", "NEEDLE", ""])


@given(
    st.lists(st.lists(contents, min_size=1, max_size=6), min_size=1, max_size=5),
    st.sampled_from(
        [
            [needing("needle")],
            [needing("needle"), needing("x", folded=True)],
            [needing("needle", folded=True)],
            [needing("a", "x"), needing('"content"')],
            [needing("absent")],
            [],
        ]
    ),
    st.sampled_from([b"", b"something before\n"]),
    st.booleans(),
)
def test_candidate_lines_are_those_of_a_naive_split(
    tmp_path_factory: pytest.TempPathFactory,
    found: list[list[str]],
    asked: list[tuple[Text, ...]],
    before: bytes,
    again: bool,
) -> None:
    root = tmp_path_factory.getbasetemp() / "reader"
    file = File(root, [rows(*each) for each in found], before)
    if again:
        file.read()
    raws = file.read(*asked)
    assert [raw.block for raw in raws] == file.blocks
    for raw, lines in zip(raws, file.lines, strict=True):
        assert raw.problem == ""
        if raw.starts is None:
            # Where most lines are candidates all are passed on.
            assert bytes(raw.text) == raw.whole == b"".join(lines)
            continue
        assert asked
        assert raw.text == b"".join(line for line in lines if meets(asked, line))
        starts, at = [], 0
        for line in lines:
            if meets(asked, line):
                starts.append(at)
            at += len(line)
        assert [start - raw.start for start in raw.starts] == starts
        assert not raw.text or raw.whole == b"".join(lines)


def test_only_lines_with_all_that_is_needed_are_passed_on(make: Callable[..., File]) -> None:
    file = make(filled([]), filled([3, 11]), filled([]), filled([0, 19]))
    one, two, three, four = file.read(NEEDLE, needing("e 1"))
    assert one.text == three.text == b"" and one.starts == three.starts == []
    assert two.text == file.lines[1][11]
    assert four.text == file.lines[3][19]
    assert four.starts == [four.start + len(b"".join(file.lines[3][:19]))]


def test_without_a_finder_every_line_is_passed_on(make: Callable[..., File]) -> None:
    file = make(filled([1]), filled([]))
    for raw, lines in zip(file.read(), file.lines, strict=True):
        assert (raw.text, raw.starts, raw.problem) == (b"".join(lines), None, "")


def test_where_nearly_all_lines_are_candidates_looking_is_left_for_a_while(
    make: Callable[..., File],
) -> None:
    file = make(filled(range(20)), *[filled([4])] * 30)
    reader = file.reader(NEEDLE)
    starts = [reader.read(Stretch((block,))).raws[0].starts for block in file.blocks]
    assert starts[0] is None
    looked = [number for number, each in enumerate(starts) if each is not None]
    assert looked == list(range(looked[0], 31))
    assert looked[0] == 1 + module._PAUSE


def test_times_are_told(make: Callable[..., File]) -> None:
    file = make(filled([1]))
    reading = file.reader(NEEDLE).read(Stretch(tuple(file.blocks)))
    assert reading.read > 0 and reading.found > 0


# -- damage -------------------------------------------------------------------------------

CRC = "the crc does not hold"
SHORT = "the file is too short"


def problems(raws: Iterable[Raw]) -> list[str]:
    return [raw.problem for raw in raws]


@pytest.mark.parametrize("block", range(3))
@pytest.mark.parametrize("asked", [[], [NEEDLE], [needing("absent")]], ids=["all", "some", "none"])
def test_a_changed_block_is_named_and_its_neighbours_are_read(
    make: Callable[..., File], block: int, asked: list[tuple[Text, ...]]
) -> None:
    file = make(filled([2]), filled([3]), filled([4]), before=b"before\n")
    file.flip(block)
    raws = file.read(*asked)
    assert problems(raws) == [CRC if n == block else "" for n in range(3)]
    others = [raw for n, raw in enumerate(raws) if n != block]
    expected = [lines for n, lines in enumerate(file.lines) if n != block]
    for raw, lines in zip(others, expected, strict=True):
        assert raw.text == b"".join(line for line in lines if not asked or meets(asked, line))
    # All that is there comes with the damage, for who can use it.
    start, end = file.blocks[block].offset, file.blocks[block].end
    assert raws[block].whole == bytes(raws[block].text) == file.path.read_bytes()[start:end]


def test_any_changed_bit_of_a_block_without_candidates_is_seen_at_the_first_reading(
    make: Callable[..., File],
) -> None:
    file = make(rows("a", "b"))
    data = file.path.read_bytes()
    # Each byte, and each bit of a byte.
    for bit in range(0, len(data) * 8, 5):
        file.path.write_bytes(data)
        file.flip(0, bit // 8, bit % 8)
        assert problems(file.read(needing("absent"))) == [CRC]
    assert file.intact == set()


@pytest.mark.parametrize("number", range(20))
def test_a_block_that_is_passed_on_is_checked_each_time(
    make: Callable[..., File], number: int
) -> None:
    file = make(filled([5, 6]), filled([5, 6]))
    assert problems(file.read(NEEDLE)) == ["", ""]
    random = Random(f"{SEED} {number}")
    file.flip(1, random.randrange(file.blocks[1].length), random.randrange(8))
    for asked in ([NEEDLE], []):
        assert problems(file.read(*asked)) == ["", CRC]


def test_a_block_that_was_intact_is_not_checked_again_where_its_text_is_ruled_out(
    make: Callable[..., File],
) -> None:
    file = make(filled([5]), filled([6]))
    assert problems(file.read(needing("absent"))) == ["", ""]
    file.flip(1)
    assert problems(file.read(needing("absent"))) == ["", ""]
    # Another process, or who asks for something in it, sees it.
    assert problems(file.read(NEEDLE)) == ["", CRC]
    file.intact.clear()
    assert problems(file.read(needing("absent"))) == ["", CRC]


def test_a_block_of_other_bytes_in_the_same_place_is_checked(make: Callable[..., File]) -> None:
    """What was intact is remembered with its crc: a file that was replaced is another one."""
    file = make(filled([]))
    assert problems(file.read(NEEDLE)) == [""]
    known = set(file.intact)
    other = make(filled([], 19))
    other.intact |= known
    other.flip(0)
    assert problems(other.read(NEEDLE)) == [CRC]


def test_no_more_blocks_are_remembered_than_there_is_room_for(
    make: Callable[..., File], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_MOST_INTACT", 2)
    file = make(filled([]), filled([]), filled([]))
    assert problems(file.read(NEEDLE)) == ["", "", ""]
    assert len(file.intact) == 2
    file.flip(2)
    assert problems(file.read(NEEDLE)) == ["", "", CRC]


@pytest.mark.parametrize("asked", [[], [NEEDLE]], ids=["all", "some"])
def test_a_file_that_is_too_short_is_named_for_each_block_that_it_lacks(
    make: Callable[..., File], asked: list[tuple[Text, ...]]
) -> None:
    file = make(filled([2]), filled([3]), filled([4]))
    whole = file.path.read_bytes()
    for length, lacking in (
        (file.blocks[2].end - 1, [2]),
        (file.blocks[2].offset, [2]),
        (file.blocks[1].end - 1, [1, 2]),
        (1, [0, 1, 2]),
        (0, [0, 1, 2]),
    ):
        file.path.write_bytes(whole[:length])
        raws = file.read(*asked)
        assert problems(raws) == [SHORT if n in lacking else "" for n in range(3)]
        for n in lacking:
            block = file.blocks[n]
            assert raws[n].whole == whole[block.offset : min(block.end, length)]
        file.intact.clear()


@pytest.mark.parametrize("asked", [[], [NEEDLE]], ids=["all", "some"])
def test_a_file_that_cannot_be_read_is_named_for_each_block(
    make: Callable[..., File], asked: list[tuple[Text, ...]]
) -> None:
    file = make(filled([2]), filled([3]))
    moved = file.path.rename(file.path.with_suffix(".moved"))
    for words in ("No such file", "symbolic link", "not a plain file"):
        if words == "symbolic link":
            file.path.symlink_to(moved)
        elif words == "not a plain file":
            file.path.unlink()
            file.path.mkdir()
        raws = file.read(*asked)
        assert [raw.block for raw in raws] == file.blocks
        for raw in raws:
            assert raw.problem.startswith("cannot be read: ") and words in raw.problem
            assert (raw.data, raw.text) == (b"", b"")


@given(st.data())
def test_damage_is_never_passed_on_as_intact(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    """Newlines gone or added, so that lines cross the ends of blocks, and any other bytes."""
    root = tmp_path_factory.getbasetemp() / "reader"
    file = File(root, [filled([1], 5), filled([2, 4], 5), filled([0], 5)])
    if data.draw(st.booleans()):
        file.read()
    whole = file.path.read_bytes()
    changed = bytearray(whole)
    edges = [block.end - 1 for block in file.blocks]
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.sampled_from(edges) | st.integers(0, len(whole) - 1))
        changed[at] = data.draw(st.sampled_from(b'\n"x\xff\x00n'))
    file.path.write_bytes(changed)
    for asked in ([], [NEEDLE], [needing("needle", "nothing")], [needing("NEEDLE", folded=True)]):
        for raw, lines in zip(file.read(*asked), file.lines, strict=True):
            block = raw.block
            is_same = changed[block.offset : block.end] == b"".join(lines)
            if raw.problem == "" and raw.text:
                assert is_same
                assert set(bytes(raw.text).splitlines(keepends=True)) <= set(lines)
            assert not is_same or raw.problem == ""


# -- threads ------------------------------------------------------------------------------


def test_threads_may_read_with_one_reader(make: Callable[..., File]) -> None:
    file = make(*(filled([n % 20, n * 7 % 20]) for n in range(40)))
    reader = file.reader(NEEDLE)
    expected = [[line for line in lines if b"needle" in line] for lines in file.lines]

    def read(number: int) -> bool:
        raws = reader.read(Stretch((file.blocks[number],))).raws
        return raws[0].text == b"".join(expected[number]) and raws[0].problem == ""

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(read, [*range(40)] * 20))

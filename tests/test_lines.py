"""The text of a segment as events and as what is none, whatever bytes it is."""

from __future__ import annotations

from pathlib import Path

import hypothesis.strategies as st
import pytest
from hypothesis import example, given

from timelog import lines
from timelog.codec import Line, encode_lines
from timelog.damage import Damage
from timelog.encode import BLOCK_SIZE
from timelog.frames import compress
from timelog.lines import Good, read_lines
from timelog.names import Layout
from timelog.span import Span
from timelog.storage import Storage
from timelog.timestamp import MINUTE, from_text

PATH = "2026-11-21/20261121T1015Z-20261121T1016Z.jsonl"
ARCHIVE = f"{PATH}.zst"
SPAN = Span(from_text("2026-11-21T10:15:00Z"), from_text("2026-11-21T10:15:00Z") + MINUTE)


def line(n: int = 0, content: str = "text", stamp: str = "2026-11-21T10:15:03.123456Z") -> bytes:
    return encode_lines([Line(stamp, f"id{n}", "source", ("tag",), content)])


def parts_of(
    root: Path, data: bytes, start: int = 0, end: int | None = None, path: str = PATH
) -> list[Good | Damage]:
    file = root / path
    file.parent.mkdir(exist_ok=True)
    file.write_bytes(data)
    return list(read_lines(Layout(root), Storage(), path, SPAN, start, end))


def check_cover(parts: list[Good | Damage], length: int) -> None:
    """Every byte is in one part, in order."""
    at = 0
    for part in parts:
        assert part.offset == at
        at += len(part.data) if isinstance(part, Good) else part.length
    assert at == length


def test_whole_lines_of_events_come_as_they_are(tmp_path: Path) -> None:
    data = line(1) + line(2, "ü \n\x00\x7f\u2028") + line(3)
    [part] = parts_of(tmp_path, data)
    assert isinstance(part, Good)
    assert (part.data, part.is_own, part.offset) == (data, True, 0)
    assert [each.id for each in part.lines] == ["id1", "id2", "id3"]
    assert b"".join(raw + b"\n" for raw in part.raw_lines) == data


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (b"\n", "not JSON"),
        (b"{\n", "not JSON"),
        (b"\0" * 20 + b"\n", "not JSON"),
        (b"\xff\xfe\n", "not JSON"),
        (line().replace(b"text", b"\xff"), "not JSON"),
        (line()[:-1] + line(), "not JSON"),
        (line()[:30] + line(), "not an event"),
        (b"[" * 100_000 + b"\n", "not an event"),
        (b'{"timestamp":' + b"[" * 100_000 + b"\n", "not an event"),
        (b'{"other":' + b"[" * 100_000 + b"\n", "not JSON"),
        (b"[]\n", "not an event"),
        (b'{"timestamp":"2026-11-21T10:15:03.123456Z"}\n', "not an event"),
        (line(stamp="2026-11-21T10:15:60.000000Z"), "not an event"),
        (line(stamp="2026-11-21T10:15:03.123456"), "not an event"),
        (line().replace(b'"text"}', b'"text","fields":[1]}'), "not an event"),
        (line(stamp="2026-11-21T10:16:00.000000Z"), "the timestamp is outside"),
        (line(stamp="2026-11-21T10:14:59.999999Z"), "the timestamp is outside"),
    ],
)
def test_a_line_that_is_no_event_is_named_and_its_neighbours_are_kept(
    tmp_path: Path, bad: bytes, reason: str
) -> None:
    data = line(1) + bad + line(2)
    parts = parts_of(tmp_path, data)
    check_cover(parts, len(data))
    assert [part for part in parts if isinstance(part, Good) and part.is_own] == [
        part for part in parts if isinstance(part, Good)
    ]
    assert b"".join(p.data for p in parts if isinstance(p, Good)) == line(1) + line(2)
    [damage] = [part for part in parts if isinstance(part, Damage)]
    assert damage.file == PATH
    assert damage.reason.startswith(reason)
    assert (damage.offset, damage.length) == (len(line(1)), len(bad))


@pytest.mark.parametrize(
    "other",
    [
        line().replace(b'":"', b'" : "'),
        line().replace(b"text", b"t\\u0065xt"),
        line(stamp="2026-11-21T10:15:03.123456+00:00"),
        line(stamp="2026-11-21T11:15:03.123456+01:00"),
        line().replace(b'"content":"text"', b'"content":"text","more":1'),
        b'{"content":"text",' + line()[1:-2].replace(b',"content":"text"', b"") + b"}\n",
    ],
)
def test_an_event_that_the_log_would_write_otherwise_is_one(tmp_path: Path, other: bytes) -> None:
    own, another = parts_of(tmp_path, line(1) + other)
    assert isinstance(own, Good) and own.is_own
    assert isinstance(another, Good) and not another.is_own
    assert encode_lines(another.lines) == line()


def test_the_last_line_must_end(tmp_path: Path) -> None:
    data = line(1) + line(2)[:-1]
    good, torn = parts_of(tmp_path, data)
    assert isinstance(good, Good) and good.data == line(1)
    assert torn == Damage(PATH, len(line(1)), len(line(2)) - 1, "torn: the line does not end")


def test_a_part_of_a_file(tmp_path: Path) -> None:
    data = line(1) + line(2) + line(3)
    size = len(line(1))
    [part] = parts_of(tmp_path, data, size, 2 * size)
    assert isinstance(part, Good)
    assert (part.offset, part.data) == (size, line(2))


def test_pieces_are_no_larger_than_a_block(tmp_path: Path) -> None:
    data = b"".join(line(n, "x" * (n * 37 % 3000)) for n in range(1500))
    assert len(data) > 4 * BLOCK_SIZE
    parts = parts_of(tmp_path, data)
    check_cover(parts, len(data))
    sizes = [len(part.data) for part in parts if isinstance(part, Good)]
    assert max(sizes) <= BLOCK_SIZE
    assert min(sizes[:-1]) > BLOCK_SIZE / 2
    large = line(7, "y" * (3 * BLOCK_SIZE))
    parts = parts_of(tmp_path, line(1) + large + line(2))
    assert large in [part.data for part in parts if isinstance(part, Good)]


@pytest.mark.parametrize("ends", [True, False])
def test_a_line_over_the_limit_is_skipped_without_being_held(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ends: bool
) -> None:
    monkeypatch.setattr(lines, "MOST_LINE", BLOCK_SIZE)
    bad = b"\0" * (5 * BLOCK_SIZE) + (b"\n" if ends else b"")
    data = line(1) + bad + (line(2) if ends else b"")
    parts = parts_of(tmp_path, data)
    check_cover(parts, len(data))
    [damage] = [part for part in parts if isinstance(part, Damage)]
    assert (damage.offset, damage.length) == (len(line(1)), len(bad))
    assert "a line of more than" in damage.reason


@given(st.lists(st.sampled_from([line(1), line(2, "é"), b"\n", b"{}\n", b"\xff", b"\0\n", b'{"t'])))
@example([line(1)[:-1], line(2)])
def test_any_bytes_are_covered_and_what_is_good_decodes(
    tmp_path_factory: pytest.TempPathFactory, pieces: list[bytes]
) -> None:
    data = b"".join(pieces)
    parts = parts_of(tmp_path_factory.mktemp("any"), data)
    check_cover(parts, len(data))
    for part in parts:
        if isinstance(part, Good):
            assert encode_lines(part.lines) == part.data
            assert len(part.lines) == part.data.count(b"\n")


# -- archives -----------------------------------------------------------------------------


def test_an_archive_is_read_frame_by_frame_and_offsets_are_those_of_the_text(
    tmp_path: Path,
) -> None:
    texts = [line(1) + line(2, "ü"), line(3), line(4) * 5]
    frames = [compress(text) for text in texts]
    parts = parts_of(tmp_path, b"".join(frames), path=ARCHIVE)
    check_cover(parts, sum(map(len, texts)))
    at = 0
    for part, text, frame in zip(parts, texts, frames, strict=True):
        assert isinstance(part, Good) and part.is_own and part.data == text
        assert part.frame == (at, len(frame))
        at += len(frame)


def test_what_is_no_frame_is_named_by_its_place_in_the_file(tmp_path: Path) -> None:
    one, two = compress(line(1)), compress(line(2) * 9)
    changed = bytearray(two)
    changed[-3] ^= 255
    data = one + b"garbage" + bytes(changed) + one + two[:-4]
    parts = parts_of(tmp_path, data, path=ARCHIVE)
    good = [part for part in parts if isinstance(part, Good)]
    assert [part.data for part in good] == [line(1), line(1)]
    at = len(one) + 7
    assert [part.frame for part in good] == [(0, len(one)), (at + len(two), len(one))]
    damage = [part for part in parts if isinstance(part, Damage)]
    assert [tuple(part)[:3] for part in damage] == [
        (ARCHIVE, len(one), 7),
        (ARCHIVE, at, len(two)),
        (ARCHIVE, at + len(two) + len(one), len(two) - 4),
    ]
    assert {part.reason for part in damage} == {"not a frame of compressed text"}


def test_what_is_good_of_a_frame_is_no_frame(tmp_path: Path) -> None:
    text = line(1) + b"{}\n" + line(2) + line(3)[:-1]
    parts = parts_of(tmp_path, compress(text) + compress(line(4)), path=ARCHIVE)
    check_cover(parts, len(text) + len(line(4)))
    assert [part.frame is None for part in parts if isinstance(part, Good)] == [True, True, False]
    assert [part.reason for part in parts if isinstance(part, Damage)] == [
        "not an event",
        "torn: the line does not end",
    ]


def test_a_frame_of_more_than_a_block_comes_in_pieces(tmp_path: Path) -> None:
    text = b"".join(line(n, "x" * 900) for n in range(1000))
    parts = parts_of(tmp_path, compress(text), path=ARCHIVE)
    check_cover(parts, len(text))
    assert all(isinstance(part, Good) and part.frame is None for part in parts)
    assert max(len(part.data) for part in parts if isinstance(part, Good)) <= BLOCK_SIZE
    large = line(7, "y" * (3 * BLOCK_SIZE))
    [part] = parts_of(tmp_path, compress(large), path=ARCHIVE)
    assert isinstance(part, Good) and part.frame is not None and part.data == large


def test_a_frame_of_more_than_the_longest_line_is_not_decompressed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lines, "MOST_LINE", BLOCK_SIZE)
    bomb = compress(bytes(BLOCK_SIZE + 1))
    parts = parts_of(tmp_path, compress(line(1)) + bomb + compress(line(2)), path=ARCHIVE)
    assert [isinstance(part, Good) for part in parts] == [True, False, True]
    assert parts[1][2] == len(bomb)


def test_a_part_of_an_archive_begins_with_a_frame(tmp_path: Path) -> None:
    one, two = compress(line(1)), compress(line(2))
    for path in (ARCHIVE, f"7-{ARCHIVE}@0", f"7-{ARCHIVE}@12+2"):
        parts = parts_of(tmp_path, one + two + one, len(one), len(one + two), path=path)
        [part] = parts
        assert isinstance(part, Good)
        assert (part.offset, part.data, part.frame) == (0, line(2), (len(one), len(two)))


_FRAMES = [compress(text) for text in (line(1), line(2, "é") * 3, line(3) + b"{}\n", b"\xff")]


@given(st.lists(st.sampled_from([*_FRAMES, _FRAMES[1][:-3], b"garbage", b"\x28\xb5\x2f\xfd"])))
def test_of_any_archive_what_is_good_is_found(
    tmp_path_factory: pytest.TempPathFactory, pieces: list[bytes]
) -> None:
    parts = parts_of(tmp_path_factory.mktemp("any"), b"".join(pieces), path=ARCHIVE)
    whole = [part for part in parts if isinstance(part, Good) and part.frame]
    data = b"".join(pieces)
    for part in whole:
        assert part.frame is not None
        at, length = part.frame
        assert data[at : at + length] == compress(part.data)
    expected = [piece for piece in pieces if piece in _FRAMES[:2]]
    assert [compress(part.data) for part in whole] == expected

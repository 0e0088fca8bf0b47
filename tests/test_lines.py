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
from timelog.lines import Good, read_lines
from timelog.names import Layout
from timelog.span import Span
from timelog.storage import Storage
from timelog.timestamp import MINUTE, from_text

PATH = "2026-11-21/20261121T1015Z-20261121T1016Z.jsonl"
SPAN = Span(from_text("2026-11-21T10:15:00Z"), from_text("2026-11-21T10:15:00Z") + MINUTE)


def line(n: int = 0, content: str = "text", stamp: str = "2026-11-21T10:15:03.123456Z") -> bytes:
    return encode_lines([Line(stamp, f"id{n}", "source", ("tag",), content)])


def parts_of(
    root: Path, data: bytes, start: int = 0, end: int | None = None
) -> list[Good | Damage]:
    file = root / PATH
    file.parent.mkdir(exist_ok=True)
    file.write_bytes(data)
    return list(read_lines(Layout(root), Storage(), PATH, SPAN, start, end))


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

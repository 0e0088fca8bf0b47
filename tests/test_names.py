"""Every file name of a log: made and read back here; what is not exactly ours is not ours."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from timelog import names
from timelog.names import Layout, SegmentName, parse_partition, parse_segment
from timelog.span import Span
from timelog.timestamp import DAY, END, FIRST, HOUR, MINUTE, from_text

TEN = from_text("2026-11-21T10:15:00.000000Z")
MINUTE_FILE = "2026-11-21/20261121T1015Z-20261121T1016Z.jsonl"

spans = st.builds(
    lambda us, length: Span(us - us % length, us - us % length + length),
    st.integers(FIRST, END - 1),
    st.sampled_from([MINUTE, HOUR, DAY]),
)
numbers = st.integers(1, 999_999_999)


def is_ours(path: str) -> bool:
    return parse_segment(path) is not None


# -- segments -----------------------------------------------------------------------------


@given(spans, numbers)
@example(Span.minute(FIRST), 1)
@example(Span.day(FIRST), 2)
@example(Span.day(END - 1), 1)
@example(Span.minute(END - 1), 999_999_999)
def test_a_segments_path_is_read_back(span: Span, number: int) -> None:
    name = SegmentName(span, number)
    assert parse_segment(name.path) == name
    assert name.path == f"{names.partition(span.start)}/{name.file}"


def test_names_look_as_documented() -> None:
    assert SegmentName(Span.minute(TEN), 1).path == MINUTE_FILE
    assert SegmentName(Span.minute(TEN), 2).file == "20261121T1015Z-20261121T1016Z.2.jsonl"
    assert SegmentName(Span.day(TEN), 3).file == "20261121T0000Z-20261122T0000Z.3.jsonl"
    assert names.partition(TEN) == "2026-11-21"
    assert names.journal(1) == "0000000001.journal"
    assert names.day_index(TEN, 7) == "2026-11-21.7.index"
    assert names.text_index(TEN, "5f0c9a1b7d22") == "2026-11-21.5f0c9a1b7d22.text"


def test_the_years_have_four_digits() -> None:
    first = SegmentName(Span.minute(FIRST), 1)
    assert first.path == "0001-01-01/00010101T0000Z-00010101T0001Z.jsonl"
    late = SegmentName(Span.day(from_text("9998-12-31T00:00:00.000000Z")), 1)
    assert late.path == "9998-12-31/99981231T0000Z-99990101T0000Z.jsonl"
    for name in (first, late):
        assert parse_segment(name.path) == name


@given(spans, spans)
def test_names_sort_as_time_does(one: Span, two: Span) -> None:
    if one.start != two.start:
        paths = [SegmentName(span, 1).path for span in (one, two)]
        assert (paths[0] < paths[1]) == (one.start < two.start)
        assert (SegmentName(one, 1) < SegmentName(two, 1)) == (one.start < two.start)


@given(spans, st.integers(-3, 3), st.integers(-3, 3))
def test_a_span_that_is_not_aligned_is_no_segment(span: Span, low: int, high: int) -> None:
    moved = Span(span.start + low * MINUTE, span.end + high * MINUTE)
    if moved.start < FIRST or moved.end > END or moved.start >= moved.end:
        return
    assert is_ours(SegmentName(moved, 1).path) == moved.is_aligned


@pytest.mark.parametrize(
    "path",
    [
        "2026-11-21/20261121T1015Z-20261121T1017Z.jsonl",
        "2026-11-21/20261121T1015Z-20261121T1115Z.jsonl",
        "2026-11-21/20261121T1200Z-20261122T1200Z.jsonl",
        "2026-11-21/20261121T1016Z-20261121T1015Z.jsonl",
        "2026-11-21/20261121T1015Z-20261121T1015Z.jsonl",
        "2026-11-21/20261121T0000Z-20261123T0000Z.jsonl",
    ],
)
def test_misaligned_spans_are_refused(path: str) -> None:
    assert not is_ours(path)


@pytest.mark.parametrize(
    "path",
    [
        "2026-11-22/20261121T1015Z-20261121T1016Z.jsonl",
        "2026-11-20/20261121T1015Z-20261121T1016Z.jsonl",
        "20261121T1015Z-20261121T1016Z.jsonl",
        "/20261121T1015Z-20261121T1016Z.jsonl",
        "/" + MINUTE_FILE,
        "./" + MINUTE_FILE,
        "../log/" + MINUTE_FILE,
        "2026-11-21//20261121T1015Z-20261121T1016Z.jsonl",
        "2026-11-21/../" + MINUTE_FILE,
        "trash/" + MINUTE_FILE,
    ],
)
def test_a_file_of_another_place_is_refused(path: str) -> None:
    assert not is_ours(path)


@pytest.mark.parametrize(
    "file",
    [
        "20261121T1015Z-20261121T1016Z.1.jsonl",
        "20261121T1015Z-20261121T1016Z.0.jsonl",
        "20261121T1015Z-20261121T1016Z.01.jsonl",
        "20261121T1015Z-20261121T1016Z.02.jsonl",
        "20261121T1015Z-20261121T1016Z.-2.jsonl",
        "20261121T1015Z-20261121T1016Z.+2.jsonl",
        "20261121T1015Z-20261121T1016Z.2_0.jsonl",
        "20261121T1015Z-20261121T1016Z.٢.jsonl",
        "20261121T1015Z-20261121T1016Z.1000000000000.jsonl",
        "20261121T1015Z-20261121T1016Z..jsonl",
        "20261121T1015Z-20261121T1016Z.2.2.jsonl",
    ],
)
def test_only_the_canonical_number_is_a_name(file: str) -> None:
    assert not is_ours(f"2026-11-21/{file}")


@pytest.mark.parametrize(
    "path",
    [
        "",
        "/",
        MINUTE_FILE + ".bak",
        MINUTE_FILE + "~",
        MINUTE_FILE + "\n",
        MINUTE_FILE + ".gz",
        MINUTE_FILE + "/",
        MINUTE_FILE.replace(".jsonl", ".json"),
        MINUTE_FILE.replace(".jsonl", ".JSONL"),
        MINUTE_FILE.replace("T", "t"),
        MINUTE_FILE.replace("Z-", "-"),
        MINUTE_FILE.replace("/", "/."),
        MINUTE_FILE.replace("/", "/ "),
        "2026-11-21/20261121T2460Z-20261121T2461Z.jsonl",
        "2026-13-21/20261321T1015Z-20261321T1016Z.jsonl",
        "2026-02-30/20260230T1015Z-20260230T1016Z.jsonl",
        "0000-01-01/00000101T0000Z-00000101T0001Z.jsonl",
        "9999-12-31/99991231T2359Z-100000101T0000Z.jsonl",
        "٢٠٢٦-11-21/٢٠٢٦1121T1015Z-20261121T1016Z.jsonl",
    ],
)
def test_what_is_not_exactly_a_name_is_refused(path: str) -> None:
    assert not is_ours(path)


@given(st.text(max_size=60) | st.from_regex(r"\d{4}-\d\d-\d\d/\d{8}T\d{4}Z-\d{8}T\d{4}Z\.jsonl"))
def test_a_path_that_is_read_is_the_one_that_would_be_made(path: str) -> None:
    name = parse_segment(path)
    assert name is None or name.path == path


# -- partitions ---------------------------------------------------------------------------


@given(st.integers(FIRST, END - 1))
def test_a_partition_is_the_day_of_its_events(us: int) -> None:
    assert parse_partition(names.partition(us)) == Span.day(us)


@pytest.mark.parametrize(
    "name",
    [
        "",
        ".timelog",
        "2026-11-31",
        "2026-1-1",
        "20261121",
        "2026-11-21.bak",
        "2026-11-21 ",
        "2026-11-21\n",
        "2026-W47-6",
        "0000-01-01",
        "٢٠٢٦-11-21",
    ],
)
def test_what_is_no_day_is_no_partition(name: str) -> None:
    assert parse_partition(name) is None


# -- control files ------------------------------------------------------------------------


@given(st.integers(1, 9_999_999_999))
def test_a_journals_number_is_read_back(number: int) -> None:
    assert names.parse_journal(names.journal(number)) == number


@given(st.integers(1, 9_999_999_998))
def test_journals_sort_by_number(number: int) -> None:
    assert names.journal(number) < names.journal(number + 1)


@pytest.mark.parametrize(
    "name", ["", "1.journal", "0000000001.journal.bak", "000000000x.journal", "0000000001journal"]
)
def test_what_is_no_journal_has_no_number(name: str) -> None:
    assert names.parse_journal(name) is None


@given(st.integers(FIRST, END - 1), st.integers(1, 10**12))
def test_a_day_index_is_known(us: int, number: int) -> None:
    assert names.is_day_index(names.day_index(us, number))


@pytest.mark.parametrize(
    "name",
    ["root", "2026-11-21.index", "2026-11-21.0.index", "2026-11-21.7.index.bak", "a.7.index"],
)
def test_what_is_no_day_index_is_left_alone(name: str) -> None:
    assert not names.is_day_index(name)


@given(st.integers(FIRST, END - 1), st.from_regex(r"[0-9a-f]{12}", fullmatch=True))
@example(FIRST, "000000000000")
@example(END - 1, "ffffffffffff")
def test_the_day_of_a_text_index_is_read_back(us: int, token: str) -> None:
    name = names.text_index(us, token)
    assert names.parse_text_index(name) == us - us % DAY
    assert names.is_text_index(name) and not names.is_day_index(name)


@pytest.mark.parametrize(
    "name",
    [
        "",
        "root",
        "2026-11-21.text",
        "2026-11-21.7.index",
        "2026-11-21.5f0c9a1b7d2.text",
        "2026-11-21.5f0c9a1b7d222.text",
        "2026-11-21.5F0C9A1B7D22.text",
        "2026-11-21.5f0c9a1b7dg2.text",
        "2026-11-21.5f0c9a1b7d22.text.bak",
        "2026-11-21.5f0c9a1b7d22.text\n",
        "2026-11-21.5f0c9a1b7d22.TEXT",
        "2026-11-21.5f0c9a1b7d22text",
        "a2026-11-21.5f0c9a1b7d22.text",
        "2026-1-21.5f0c9a1b7d22.text",
        "2026-13-21.5f0c9a1b7d22.text",
        "2026-02-30.5f0c9a1b7d22.text",
        "0000-01-01.5f0c9a1b7d22.text",
        "٢٠٢٦-11-21.5f0c9a1b7d22.text",
        "2026-11-21.٢f0c9a1b7d22.text",
        "2026-11-21/5f0c9a1b7d22.text",
    ],
)
def test_what_is_no_text_index_is_left_alone(name: str) -> None:
    assert names.parse_text_index(name) is None


@given(spans, numbers, st.integers(0, 10**12), st.integers(0, 10**9))
def test_quarantined_bytes_have_a_plain_name(
    span: Span, number: int, offset: int, sequence: int
) -> None:
    path = SegmentName(span, number).path
    name = names.quarantined(path, offset, sequence)
    assert "/" not in name
    assert path.replace("/", "-") in name
    assert not is_ours(f"{names.partition(span.start)}/{name}")
    assert name != names.quarantined(path, offset + 1, sequence)
    assert name != names.quarantined(path, offset, sequence + 1)


def test_the_layout_puts_all_but_text_below_one_directory(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    assert layout.segment(MINUTE_FILE) == tmp_path / MINUTE_FILE
    control = tmp_path / ".timelog"
    assert layout.control == control
    assert layout.journal(12) == control / "journal" / "0000000012.journal"
    assert layout.index_root == control / "index" / "root"
    for path in (layout.format, layout.lock, layout.journals, layout.quarantine, layout.temporary):
        assert path.parent == control
    assert layout.text_lock == control / "text.lock" != layout.lock
    assert layout.index == control / "index"

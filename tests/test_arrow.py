"""Events as Arrow batches: equal to the events, in order, lazy, bounded, closed."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import duckdb
import msgspec
import polars
import pyarrow
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import timelog
from timelog import arrow
from timelog.errors import MissingExtra
from timelog.event import Event
from timelog.timestamp import END, FIRST, from_datetime, to_datetime

Open = Callable[..., timelog.EventLog]
NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)
FIRST_AND_LAST = [
    Event(to_datetime(us), f"id {us}", "", (), str(us))
    for us in (FIRST, FIRST + 1, -1, 0, 1, END - 1)
]
ODD = [
    Event(NOON, "ä", "größe\N{GRINNING FACE}", ("tag, one", '"two"'), "line\nline\0\x1b\u202e"),
    Event(NOON, "b", "", ("x",), "", {"n": [1, None, {"deep": [True, 1.5, "é"]}], "": {}}),
    Event(NOON, "c", "", (), "x", {"large": 2**64 - 1}),
]

text = st.text(st.characters(codec="utf-8"), max_size=20)
json = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | text,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(text, inner, max_size=3),
    max_leaves=5,
)
some_events = st.lists(
    st.builds(
        Event,
        st.integers(FIRST, END - 1).map(to_datetime),
        text,
        text,
        st.lists(text, max_size=3).map(tuple),
        text,
        st.dictionaries(text, json, max_size=2),
    ),
    max_size=30,
)


def events(count: int, size: int = 10) -> list[Event]:
    return [
        Event(NOON + timedelta(seconds=n), str(n), "s", ("t",), "x" * size) for n in range(count)
    ]


def in_lists(everything: list[Event], length: int) -> list[list[Event]]:
    return [everything[at : at + length] for at in range(0, len(everything), length)]


def as_events(rows: list[dict[str, Any]]) -> list[Event]:
    """The rows of a table, or of a frame, as the events that they were."""
    return [
        Event(
            row["timestamp"].astimezone(UTC),
            row["id"],
            row["source"],
            tuple(row["tags"]),
            row["content"],
            msgspec.json.decode(row["fields"]) if isinstance(row["fields"], str) else {},
        )
        for row in rows
    ]


class Source:
    """Lists of events that notes how many were taken, and whether it was closed."""

    def __init__(self, lists: list[list[Event]]) -> None:
        self.taken = 0
        self.is_closed = False
        self.lists = self._generate(lists)

    def _generate(self, lists: list[list[Event]]) -> Iterator[list[Event]]:
        try:
            for each in lists:
                self.taken += 1
                yield each
        finally:
            self.is_closed = True


# -- what is in them ----------------------------------------------------------------------


@given(some_events, st.integers(1, 12))
def test_a_table_is_the_events(everything: list[Event], length: int) -> None:
    table = arrow.reader(in_lists(everything, length)).read_all()
    table.validate(full=True)
    assert as_events(table.to_pylist()) == everything


@settings(max_examples=40)
@given(some_events)
def test_a_polars_frame_is_the_events(everything: list[Event]) -> None:
    frame = arrow.to_polars(arrow.reader([everything]))
    assert as_events(frame.to_dicts()) == everything


@settings(max_examples=40)
@given(some_events)
def test_a_pandas_frame_is_the_events(everything: list[Event]) -> None:
    frame = arrow.to_pandas(arrow.reader([everything]))
    rows = frame.to_dict("records")
    for row in rows:
        assert isinstance(row["tags"], list)
        row["timestamp"] = row["timestamp"].to_pydatetime()
    assert as_events(rows) == everything


@pytest.mark.parametrize("everything", [FIRST_AND_LAST, ODD], ids=["first and last", "odd"])
def test_the_ends_of_time_and_odd_texts(everything: list[Event]) -> None:
    table = arrow.reader([everything]).read_all()
    assert as_events(table.to_pylist()) == everything
    us = table["timestamp"].cast(pyarrow.int64()).to_pylist()
    assert us == [from_datetime(event.timestamp) for event in everything]
    assert as_events(arrow.to_polars(arrow.reader([everything])).to_dicts()) == everything
    frame = arrow.to_pandas(arrow.reader([everything]))
    assert [stamp.to_pydatetime() for stamp in frame["timestamp"]] == [
        event.timestamp for event in everything
    ]


def test_fields_are_their_json_and_null_where_there_are_none() -> None:
    [batch] = arrow.batches([ODD])
    assert batch["fields"].to_pylist() == [
        None,
        '{"n":[1,null,{"deep":[true,1.5,"é"]}],"":{}}',
        '{"large":18446744073709551615}',
    ]


def test_a_time_of_another_zone_is_the_same_moment() -> None:
    local = NOON.astimezone(timezone(timedelta(hours=5, minutes=45)))
    [batch] = arrow.batches([[Event(local, "", "", (), "")]])
    assert batch["timestamp"].to_pylist() == [NOON]


def test_the_schema() -> None:
    fields = {field.name: str(field.type) for field in arrow.schema()}
    assert fields == {
        "timestamp": "timestamp[us, tz=UTC]",
        "id": "string",
        "source": "string",
        "tags": "list<item: string not null>",
        "content": "string",
        "fields": "string",
    }
    [batch] = arrow.batches([ODD])
    assert batch.schema == arrow.schema() == arrow.reader([]).schema


def test_the_types_of_the_frames() -> None:
    for everything in (ODD, []):
        frame = arrow.to_polars(arrow.reader([everything]))
        assert frame.schema == {
            "timestamp": polars.Datetime("us", "UTC"),
            "id": polars.String,
            "source": polars.String,
            "tags": polars.List(polars.String),
            "content": polars.String,
            "fields": polars.String,
        }
        types = arrow.to_pandas(arrow.reader([everything])).dtypes
        assert list(types.index) == arrow.schema().names
        assert (str(types["timestamp"]), str(types["tags"])) == ("datetime64[us, UTC]", "object")
        assert types["id"] == types["content"] == types["fields"]


def test_nothing_gives_no_batch() -> None:
    for lists in ([], [[]], [[], []]):
        assert list(arrow.batches(lists)) == []
        assert arrow.reader(lists).read_all().num_rows == 0


def test_other_libraries_read_the_stream() -> None:
    everything = events(40_000)
    stream = arrow.reader(in_lists(everything, 999))
    query = "select count(*), min(epoch_us(timestamp)), max(len(tags)), sum(id::int) from stream"
    found = duckdb.sql(query).fetchall()
    assert stream is not None
    assert found == [(40_000, from_datetime(NOON), 1, sum(range(40_000)))]
    frame = polars.DataFrame(arrow.reader(in_lists(everything, 999)))
    assert frame["id"].to_list() == [event.id for event in everything]
    stream = arrow.reader([FIRST_AND_LAST])
    found = duckdb.sql("select list(epoch_us(timestamp)) from stream").fetchall()
    assert found == [([from_datetime(event.timestamp) for event in FIRST_AND_LAST],)]


# -- batches ------------------------------------------------------------------------------


@pytest.mark.parametrize("length", [1, 1000, 16_384, 16_385, 100_000])
def test_batches_are_full_and_in_order(length: int) -> None:
    everything = events(40_000)
    batches = list(arrow.batches(in_lists(everything, length)))
    assert [batch.num_rows for batch in batches] == [16_384, 16_384, 7_232]
    ids = [id for batch in batches for id in batch["id"].to_pylist()]
    assert ids == [event.id for event in everything]


@pytest.mark.parametrize("where", ["content", "fields"])
def test_large_events_make_short_batches(where: str) -> None:
    large = "x" * 1024 * 1024
    everything = [
        Event(NOON, str(n), "", (), large)
        if where == "content"
        else Event(NOON, str(n), "", (), "", {"large": large})
        for n in range(20)
    ]
    batches = list(arrow.batches([everything]))
    assert [batch.num_rows for batch in batches] == [8, 8, 4]
    assert as_events(pyarrow.Table.from_batches(batches).to_pylist()) == everything


def test_no_more_is_taken_than_the_next_batch_needs() -> None:
    source = Source(in_lists(events(100_000), 1000))
    reader = arrow.reader(source.lists)
    assert source.taken == 0
    reader.read_next_batch()
    assert source.taken == 17
    reader.read_next_batch()
    assert source.taken == 33


def test_events_are_let_go_once_they_are_in_a_batch() -> None:
    content = "".join(["not ", "shared"])

    def lists() -> Iterator[list[Event]]:
        yield [Event(NOON, str(n), "", (), content) for n in range(16_384)]
        yield events(1)

    before = sys.getrefcount(content)
    batches = arrow.batches(lists())
    assert [next(batches).num_rows, next(batches).num_rows] == [16_384, 1]
    assert sys.getrefcount(content) == before


# -- the end ------------------------------------------------------------------------------


def test_closing_the_batches_closes_the_source() -> None:
    source = Source(in_lists(events(50_000), 1000))
    batches = arrow.batches(source.lists)
    next(batches)
    assert not source.is_closed
    batches.close()  # type: ignore[attr-defined]
    assert source.is_closed and source.taken == 17


def test_dropping_the_reader_closes_the_source() -> None:
    source = Source(in_lists(events(50_000), 1000))
    reader = arrow.reader(source.lists)
    reader.read_next_batch()
    reader.close()
    del reader
    assert source.is_closed and source.taken == 17


def test_reading_to_the_end_closes_the_source() -> None:
    source = Source(in_lists(events(5), 2))
    reader = arrow.reader(source.lists)
    assert reader.read_all().num_rows == 5
    assert source.is_closed


@pytest.mark.parametrize(
    "read",
    [lambda reader: reader.read_all(), arrow.to_polars, arrow.to_pandas, list],
    ids=["read_all", "to_polars", "to_pandas", "iteration"],
)
@pytest.mark.parametrize("error", [ZeroDivisionError, timelog.errors.SearchTimeout])
def test_an_error_of_the_source_comes_through(
    read: Callable[[object], object], error: type[Exception]
) -> None:
    def lists() -> Iterator[list[Event]]:
        yield events(20_000)
        raise error("the source failed")

    with pytest.raises(error, match="the source failed"):
        read(arrow.reader(lists()))


# -- without the packages -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("package", "method", "use"),
    [
        ("pyarrow", "to_arrow", lambda made: arrow.reader([])),
        ("pyarrow", "to_arrow", lambda made: next(iter(arrow.batches([])))),
        ("polars", "to_polars", arrow.to_polars),
        ("pandas", "to_pandas", arrow.to_pandas),
    ],
    ids=["reader", "batches", "to_polars", "to_pandas"],
)
def test_a_missing_package_is_named_with_its_extra(
    package: str, method: str, use: Callable[[object], object], monkeypatch: pytest.MonkeyPatch
) -> None:
    made = arrow.reader([])
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingExtra, match=rf"{method}\(\) needs the extra 'arrow'") as caught:
        use(made)
    assert isinstance(caught.value, ImportError)


def test_importing_timelog_imports_none_of_them() -> None:
    code = "import sys, timelog; print({'pyarrow', 'polars', 'pandas'} & {*sys.modules})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"


# -- from a search ------------------------------------------------------------------------


@pytest.fixture
def log(open_log: Open) -> timelog.EventLog:
    """A log of three days, with late events and some that are still in memory."""
    log = open_log()
    for flush in range(3):
        log.append_many(
            {
                "content": f"{flush}-{n}",
                "timestamp": 86_400 * (n % 3) + 7 * n + flush,
                "tags": ["even"] if n % 2 == 0 else [],
                "source": f"s{n % 4}",
                "fields": {"n": n} if n % 5 == 0 else {},
            }
            for n in range(100)
        )
        if flush < 2:
            log.flush()
    return log


@pytest.mark.parametrize(
    "asked",
    [{}, {"order": "desc"}, {"limit": 7}, {"tags": ["even"], "pattern": "^1-"}, {"source": "no"}],
    ids=str,
)
def test_a_search_in_bulk_is_the_search(log: timelog.EventLog, asked: dict[str, Any]) -> None:
    results = log.search(**asked)
    everything = results.to_list()
    assert as_events(results.to_arrow().read_all().to_pylist()) == everything
    assert as_events(results.to_polars().to_dicts()) == everything
    frame = results.to_pandas()
    assert frame["content"].to_list() == [event.content for event in everything]
    assert [stamp.to_pydatetime() for stamp in frame["timestamp"]] == [
        event.timestamp for event in everything
    ]


def test_a_search_in_bulk_sees_the_log_as_it_was(log: timelog.EventLog) -> None:
    reader = log.search().to_arrow()
    log.append("later", timestamp=5)
    log.flush()
    assert reader.read_all().num_rows == 300


def test_what_a_search_in_bulk_finds_damaged_is_named(log: timelog.EventLog) -> None:
    first = min(log.path.glob("1970-01-01/*"))
    first.unlink()
    results = log.search()
    rows = results.to_arrow().read_all().num_rows
    assert 0 < rows < 300
    assert [damage.file for damage in results.damage] == [str(first.relative_to(log.path))]


def test_duckdb_reads_a_search(log: timelog.EventLog) -> None:
    stream = log.search(tags=["even"]).to_arrow()
    query = "select source, count(*), sum((fields->>'n')::int) from stream group by 1 order by 1"
    found = duckdb.sql(query).fetchall()
    assert stream is not None
    assert found == [
        ("s0", 75, 3 * sum(range(0, 100, 20))),
        ("s2", 75, 3 * sum(range(10, 100, 20))),
    ]


def test_dropping_the_reader_of_a_search_closes_its_files(log: timelog.EventLog) -> None:
    # Enough that a batch is taken in the middle of a file.
    log.append_many({"content": "x", "timestamp": n} for n in range(20_000))
    log.flush()
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(3):
        reader = log.search().to_arrow()
        assert reader.read_next_batch().num_rows == 16_384
    del reader
    assert len(os.listdir("/proc/self/fd")) == before


@pytest.mark.parametrize("method", ["to_arrow", "to_polars", "to_pandas"])
def test_a_search_in_bulk_that_takes_too_long_says_so(log: timelog.EventLog, method: str) -> None:
    results = log.search(pattern="x|1", timeout=1e-9)
    with pytest.raises(timelog.errors.SearchTimeout):
        read = getattr(results, method)()
        read.read_all()

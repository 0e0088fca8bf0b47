"""Reading in bulk: events as Arrow record batches, and from there as Polars and pandas frames.

The columns (`schema`): ``timestamp`` (microseconds, UTC), ``id``, ``source``, ``tags`` (a list of
texts), ``content`` and ``fields`` (the JSON text of the event's fields, null where it has none).
pyarrow, Polars and pandas come with the extra ``arrow`` and are imported at first use. All
functions are thread-safe; an iterator or a reader that they return belongs to one thread.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator
from typing import TYPE_CHECKING, Any

import msgspec

from timelog.errors import missing_extra
from timelog.event import Event
from timelog.timestamp import EPOCH

if TYPE_CHECKING:
    import pandas  # type: ignore[import-untyped]
    import polars
    import pyarrow  # type: ignore[import-untyped]

# A batch ends at so many rows, or characters of content and bytes of fields: large enough for
# work on columns, and far below the 2 GiB that a column of texts can hold.
MOST_ROWS = 16_384
MOST_TEXT = 8 * 1024 * 1024

_encode = msgspec.json.Encoder().encode


def schema() -> pyarrow.Schema:
    """The schema of every batch. Raises `MissingExtra` without pyarrow."""
    pa = _pyarrow()
    return pa.schema(
        [
            ("timestamp", pa.timestamp("us", tz="UTC")),
            ("id", pa.string()),
            ("source", pa.string()),
            ("tags", pa.list_(pa.field("item", pa.string(), nullable=False))),
            ("content", pa.string()),
            ("fields", pa.string()),
        ]
    )


def batches(lists: Iterable[list[Event]]) -> Iterator[pyarrow.RecordBatch]:
    """Yield the events of ``lists`` as record batches, in the same order.

    A batch has at most `MOST_ROWS` rows and, but for its last event, less than `MOST_TEXT` of
    content and fields; no events give no batch. ``lists`` is read only as far as the next batch
    needs, so memory holds a batch and a list; where it is a generator it is closed at the end, and
    when this one is. Raises `MissingExtra` without pyarrow, and what ``lists`` raises. Cost: about
    half of decoding the events.
    """
    columns = schema()
    rows: list[Event] = []
    fields: list[bytes | None] = []
    size = 0
    try:
        for events in lists:
            for event in events:
                text = None
                if event.fields:
                    text = _encode(event.fields)
                    size += len(text)
                size += len(event.content)
                rows.append(event)
                fields.append(text)
                if len(rows) == MOST_ROWS or size >= MOST_TEXT:
                    yield _take(rows, fields, columns)
                    size = 0
        if rows:
            yield _take(rows, fields, columns)
    finally:
        if isinstance(lists, Generator):
            lists.close()


def reader(lists: Iterable[list[Event]]) -> pyarrow.RecordBatchReader:
    """Return the events of ``lists`` as a stream of `batches`, each made when it is read.

    Dropping the reader closes ``lists``; its own ``close`` does not, since pyarrow does not pass
    it on. What ``lists`` raises while a batch is read comes out as it is, but not through another
    library's import of the stream (DuckDB, Polars), which has only the text. Raises `MissingExtra`
    without pyarrow.
    """
    return _pyarrow().RecordBatchReader.from_batches(schema(), batches(lists))


def to_polars(reader: pyarrow.RecordBatchReader) -> polars.DataFrame:
    """Read all into a Polars frame. Raises `MissingExtra` without Polars, and what reading does."""
    try:
        import polars
    except ModuleNotFoundError as error:
        raise missing_extra("to_polars()", "arrow") from error
    # By way of a table: Polars, reading the stream itself, would turn every error into its own.
    frame = polars.from_arrow(reader.read_all())
    assert isinstance(frame, polars.DataFrame)
    return frame


def to_pandas(reader: pyarrow.RecordBatchReader) -> pandas.DataFrame:
    """Read all into a pandas frame of its default types, ``tags`` as lists.

    Times are aware and in microseconds. Raises `MissingExtra` without pandas, and what reading
    does.
    """
    try:
        import pandas
    except ModuleNotFoundError as error:
        raise missing_extra("to_pandas()", "arrow") from error
    frame = reader.read_pandas()
    # pyarrow makes arrays of them, which compare item by item.
    lists = [tags.tolist() for tags in frame["tags"]]
    frame["tags"] = pandas.Series(lists, frame.index, dtype=object)
    return frame


def _take(
    rows: list[Event], fields: list[bytes | None], columns: pyarrow.Schema
) -> pyarrow.RecordBatch:
    """The batch of ``rows`` and their ``fields``, both emptied: who reads it does not need them."""
    pa = _pyarrow()
    # An array of aware datetimes would ask each for its offset; differences take a third of that.
    since_epoch = pa.array([event.timestamp - EPOCH for event in rows], pa.duration("us"))
    arrays = [
        since_epoch.view(columns.field("timestamp").type),
        pa.array([event.id for event in rows], pa.string()),
        pa.array([event.source for event in rows], pa.string()),
        pa.array([event.tags for event in rows], columns.field("tags").type),
        pa.array([event.content for event in rows], pa.string()),
        pa.array(fields, pa.string()),
    ]
    rows.clear()
    fields.clear()
    return pa.RecordBatch.from_arrays(arrays, schema=columns)


def _pyarrow() -> Any:
    try:
        import pyarrow
    except ModuleNotFoundError as error:
        raise missing_extra("to_arrow()", "arrow") from error
    return pyarrow

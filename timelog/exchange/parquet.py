"""`export_parquet`: events as a Parquet file. Needs the extra ``arrow``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from timelog import Results
from timelog.errors import missing_extra
from timelog.exchange.target import Target, written

if TYPE_CHECKING:
    import pyarrow  # type: ignore[import-untyped]

# A row group ends at so many rows, or bytes of Arrow.
_MOST_ROWS = 131_072
_MOST_BYTES = 64 * 1024 * 1024


def export_parquet(results: Results, target: Target, *, overwrite: bool = False) -> int:
    """Write what a search finds to ``target`` as Parquet; return how many events there were.

    The columns are those of `Results.to_arrow`: ``timestamp`` (microseconds, UTC), ``id``,
    ``source``, ``tags`` (a list), ``content``, ``fields`` (JSON text, null without any), in row
    groups of at most 131,072 events or about 64 MiB, compressed with zstd. ``target``: a path, see
    `target.written`, or a binary file.

    Raises `MissingExtra` without pyarrow, `InvalidInput`, `StorageError`, and what reading the
    events does. Memory holds one row group.
    """
    try:
        import pyarrow
        from pyarrow import parquet
    except ModuleNotFoundError as error:
        raise missing_extra("export_parquet()", "arrow") from error
    reader = results.to_arrow()
    count = 0
    held: list[pyarrow.RecordBatch] = []
    rows = size = 0
    with (
        written(target, overwrite) as file,
        parquet.ParquetWriter(file, reader.schema, compression="zstd") as writer,
    ):
        for batch in reader:
            if held and (rows + batch.num_rows > _MOST_ROWS or size + batch.nbytes > _MOST_BYTES):
                writer.write_table(pyarrow.Table.from_batches(held), rows)
                held, rows, size = [], 0, 0
            held.append(batch)
            rows += batch.num_rows
            size += batch.nbytes
            count += batch.num_rows
        if held:
            writer.write_table(pyarrow.Table.from_batches(held), rows)
    return count

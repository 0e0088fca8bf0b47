"""The jobs of the contests, done by timelog through its public surface."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import timelog
from benchmarks.rivals import Row, batches, count

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
Mapping = dict[str, Any]


def moment(us: int) -> datetime:
    """Microseconds since 1970 UTC as an aware datetime."""
    return EPOCH + timedelta(microseconds=us)


def mapping(row: Row) -> Mapping:
    """A row as `append_many` takes it. The id is left to the log."""
    return {"content": row[4], "source": row[2], "tags": row[3], "timestamp": moment(row[0])}


class Timelog:
    """A log in `folder`, which is created if need be. `options` are those of `timelog.open`."""

    def __init__(self, folder: Path, **options: Any) -> None:
        self.log = timelog.open(folder / "log", **options)

    def append(self, rows: Sequence[Row]) -> int:
        """One call per event, stamped by the log; then make all durable."""
        self.fill(rows)
        self.log.sync()
        return len(rows)

    def fill(self, rows: Sequence[Row]) -> None:
        """One call per event, nothing after."""
        append = self.log.append
        for _, _, source, tags, content in rows:
            append(content, source=source, tags=tags)

    def flush(self) -> None:
        """Write what `fill` left in memory."""
        self.log.flush()

    def append_many(self, prepared: Iterable[list[Mapping]]) -> int:
        """One call per batch; then make all durable."""
        done = sum(self.log.append_many(batch) for batch in prepared)
        self.log.sync()
        return done

    @staticmethod
    def prepare(rows: Sequence[Row]) -> list[list[Mapping]]:
        """The batches for `append_many`; not part of what is measured."""
        return [[mapping(row) for row in batch] for batch in batches(rows)]

    def read_all(self) -> int:
        return count(self.log.search())

    def time_range(self, start: int, end: int) -> int:
        return count(self.log.search(moment(start), moment(end)))

    def tag(self, tag: str) -> int:
        return count(self.log.search(tags=[tag]))

    def regex(self, pattern: str) -> int:
        return count(self.log.search(pattern=pattern))

    def close(self) -> None:
        self.log.close()

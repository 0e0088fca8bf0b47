"""The jobs of the contests, done by others, and the floors below which no program can go.

Each class does the jobs that it can do, under the same names: `append` (one call per event),
`append_many` (of batches made by `prepare`), `read_all`, `time_range`, `tag`, `regex`. A job ends
when its program has made everything as durable as it can. Searches return how many events were
found and made available with their five columns; a floor that finds nothing returns None.

Rivals get ids ready-made; timelog makes its own. All stamp live events with the time of the call,
except the floor of appending, which only formats.
"""

from __future__ import annotations

import logging
import os
import re
import sqlite3
import subprocess
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from time import time_ns

from theia.model import Event as TheiaEvent  # type: ignore[import-untyped]
from theia.naivestore import NaiveEventStore  # type: ignore[import-untyped]

Tags = tuple[str, ...]
Row = tuple[int, str, str, Tags, str]
"""timestamp in microseconds, id, source, tags, content"""

BATCH = 5_000


def count(items: Iterable[object]) -> int:
    """How many `items` there are; each is made and dropped."""
    number = 0
    for number, _ in enumerate(items, 1):  # noqa: B007
        pass
    return number


def batches(rows: Sequence[Row]) -> Iterator[Sequence[Row]]:
    """`rows` in batches of at most `BATCH`."""
    for first in range(0, len(rows), BATCH):
        yield rows[first : first + BATCH]


class Sqlite:
    """A table of five columns in WAL mode, with an index on the time.

    With `tag_table`, each tag of an event is also a row of a second table, indexed by tag.
    """

    def __init__(
        self, folder: Path, *, tag_table: bool = False, synchronous: str = "NORMAL"
    ) -> None:
        self.tag_table = tag_table
        self.db = sqlite3.connect(folder / "events.db", isolation_level=None)
        self.db.execute("PRAGMA journal_mode=WAL")
        self.db.execute(f"PRAGMA synchronous={synchronous}")
        self.db.execute(
            "CREATE TABLE IF NOT EXISTS events"
            "(timestamp INTEGER, id TEXT, source TEXT, tags TEXT, content TEXT)"
        )
        self.db.execute("CREATE INDEX IF NOT EXISTS by_time ON events(timestamp)")
        if tag_table:
            self.db.execute(
                "CREATE TABLE IF NOT EXISTS tags(tag TEXT, event INTEGER,"
                " PRIMARY KEY(tag, event)) WITHOUT ROWID"
            )
        self.db.create_function("regexp", 2, _regexp, deterministic=True)

    def append(self, rows: Sequence[Row]) -> int:
        execute = self.db.execute
        for _, ident, source, tags, content in rows:
            execute(
                "INSERT INTO events VALUES(?,?,?,?,?)",
                (time_ns() // 1000, ident, source, ",".join(tags), content),
            )
        self._checkpoint()
        return len(rows)

    def append_many(self, prepared: Iterable[Sequence[Row]]) -> int:
        done = sum(map(self.insert, prepared))
        self._checkpoint()
        return done

    def insert(self, batch: Sequence[Row]) -> int:
        """One transaction of `executemany`."""
        db = self.db
        db.execute("BEGIN")
        (last,) = db.execute("SELECT coalesce(max(rowid), 0) FROM events").fetchone()
        db.executemany(
            "INSERT INTO events VALUES(?,?,?,?,?)",
            ((stamp, i, source, ",".join(tags), text) for stamp, i, source, tags, text in batch),
        )
        if self.tag_table:
            numbered = enumerate(batch, last + 1)
            pairs = ((tag, number) for number, row in numbered for tag in row[3])
            db.executemany("INSERT INTO tags VALUES(?,?)", pairs)
        db.execute("COMMIT")
        return len(batch)

    @staticmethod
    def prepare(rows: Sequence[Row]) -> list[Sequence[Row]]:
        return list(batches(rows))

    def read_all(self) -> int:
        return count(self.db.execute("SELECT timestamp,id,source,tags,content FROM events"))

    def time_range(self, start: int, end: int) -> int:
        return count(
            self.db.execute(
                "SELECT timestamp,id,source,tags,content FROM events"
                " WHERE timestamp >= ? AND timestamp < ? ORDER BY timestamp",
                (start, end),
            )
        )

    def tag(self, tag: str) -> int:
        return count(
            self.db.execute(
                "SELECT timestamp,id,source,tags,content FROM events JOIN tags"
                " ON events.rowid = tags.event WHERE tags.tag = ? ORDER BY tags.event",
                (tag,),
            )
        )

    def regex(self, pattern: str) -> int:
        return count(
            self.db.execute(
                "SELECT timestamp,id,source,tags,content FROM events WHERE content REGEXP ?",
                (pattern,),
            )
        )

    def touch(self) -> None:
        """Connecting reads nothing yet; this makes it read the schema and a row."""
        self.db.execute("SELECT timestamp FROM events LIMIT 1").fetchone()

    def close(self) -> None:
        self.db.close()

    def _checkpoint(self) -> None:
        self.db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()


_compiled = lru_cache(re.compile)


def _regexp(pattern: str, text: str) -> bool:
    return _compiled(pattern).search(text) is not None


class FileLog:
    """`logging` with a FileHandler: one call of `info` per event, then one fsync."""

    def __init__(self, folder: Path) -> None:
        self.handler = logging.FileHandler(folder / "events.log", encoding="utf-8")
        self.handler.setFormatter(logging.Formatter("%(asctime)s\t%(message)s"))
        self.logger = logging.Logger("benchmark")
        self.logger.addHandler(self.handler)

    def append(self, rows: Sequence[Row]) -> int:
        info = self.logger.info
        for _, ident, source, tags, content in rows:
            info("%s\t%s\t%s\t%s", ident, source, ",".join(tags), content)
        self.handler.flush()
        if self.handler.stream is not None:
            os.fsync(self.handler.stream.fileno())
        return len(rows)

    def close(self) -> None:
        self.handler.close()


class Theia:
    """theia's naive event store. It has no fsync, so a job ends with its last write.

    `live=False` opens it without its timer, for filling and for reading.
    """

    def __init__(self, folder: Path, *, live: bool = True) -> None:
        self.store = NaiveEventStore(str(folder), flush_interval=1000 if live else 0)

    def append(self, rows: Sequence[Row]) -> int:
        save = self.store.save
        for _, ident, source, tags, content in rows:
            save(TheiaEvent(ident, source, None, list(tags), content))
        self.store._flush_open_files()
        return len(rows)

    def fill(self, rows: Sequence[Row]) -> None:
        """Save `rows` at their own times. Written once at the end: for preparing searches."""
        self.store.flush_interval = 1
        for stamp, ident, source, tags, content in rows:
            self.store.save(TheiaEvent(ident, source, stamp / 1e6, list(tags), content))
        self.store._flush_open_files()

    def read_all(self) -> int:
        return count(self.store.search(0))

    def time_range(self, start: int, end: int) -> int:
        return count(self.store.search(start / 1e6, (end - 1) / 1e6))

    def tag(self, tag: str) -> int:
        return count(self.store.search(0, flags=[tag]))

    def regex(self, pattern: str) -> int:
        return count(self.store.search(0, match=pattern))

    def close(self) -> None:
        self.store.close()


class Ripgrep:
    """`rg` over the log's segments, as a process of its own; its answer is lines of text."""

    def __init__(self, folder: Path, *options: str) -> None:
        self.folder = folder
        self.options = options

    def tag(self, tag: str) -> int:
        return self._run("-F", f'"{tag}"')

    def regex(self, pattern: str) -> int:
        return self._run("-e", pattern)

    def count(self, pattern: str) -> int:
        """How many lines match, counted by `rg` itself: the sum of its figures of the files."""
        return sum(map(int, self._output("-c", "-e", pattern).split()))

    def _run(self, *what: str) -> int:
        return self._output(*what).count(b"\n")

    def _output(self, *what: str) -> bytes:
        command = ["rg", "--no-config", "--no-ignore", "-I", "-N", *self.options, *what]
        done = subprocess.run([*command, str(self.folder)], stdout=subprocess.PIPE, check=False)
        if done.returncode not in (0, 1):  # 1 says that nothing was found
            done.check_returncode()
        return done.stdout

    def close(self) -> None:
        pass


class DuckDb:
    """DuckDB over the log's segments as they are, with the five columns named; on all cores."""

    def __init__(self, folder: Path) -> None:
        # Only here: who measures the memory of other contestants shall not load it.
        import duckdb

        self.db = duckdb.connect()
        self.files = f"{folder}/[0-9]*/*.jsonl"

    def tag(self, tag: str) -> int:
        found = self.db.execute(
            "SELECT timestamp, id, source, tags, content FROM read_json(?,"
            " format='newline_delimited', columns={timestamp: 'TIMESTAMP', id: 'VARCHAR',"
            " source: 'VARCHAR', tags: 'VARCHAR[]', content: 'VARCHAR'})"
            " WHERE list_contains(tags, ?)",
            [self.files, tag],
        )
        return len(found.fetchall())

    def close(self) -> None:
        self.db.close()

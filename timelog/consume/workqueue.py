"""`Queue`: which keys have work, which are handed out, and what became of them; in SQLite.

A key is handed out when something waits for it and it is not out. Of each feed that lists a key
the entry of the newest run counts, with its newest payload; older ones come back into view when
that run is dropped. Every start has a number, the turn, by which a start that is over is told
from the next one.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Iterable
from os import PathLike
from pathlib import Path
from types import TracebackType
from typing import NamedTuple

from timelog.consume import entries
from timelog.consume.database import Database
from timelog.consume.entries import Run
from timelog.consume.tasks import Mark, Task

# Seconds after which a key that is out, and of which nothing was heard, is free again.
PATIENCE = 43_200.0


class Job(NamedTuple):
    """What is handed out. ``turn`` is the number of this start."""

    key: str
    payload: str
    feed: str
    turn: int


class Hold(NamedTuple):
    """A key that is out: since when (Unix seconds), and which worker has it; empty for unknown."""

    key: str
    turn: int
    since: float
    worker: str


class History(NamedTuple):
    """A key's last start and finish (Unix seconds) and exit code; None for what never was."""

    started: float | None
    finished: float | None
    exit_code: int | None


class Counts(NamedTuple):
    """Keys that could be handed out now, and that are out; entries that were malformed."""

    waiting: int
    out: int
    skipped: int


class Queue:
    """The queue in the file ``path``. Thread-safe, and other processes may have it open, too.

    ``patience``: seconds after which a key that is out is free again, 43,200; ``clock``: the Unix
    seconds of now. Every change is one transaction: it survives a kill at any moment, whole or not
    at all. Errors as `Database`; calls after `close` raise `ClosedError`.
    """

    def __init__(
        self,
        path: str | PathLike[str],
        *,
        patience: float = PATIENCE,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.path = Path(path).absolute()
        self._patience = patience
        self._clock = clock
        self._data = Database(self.path)

    # -- what is to be done ---------------------------------------------------------------

    @property
    def cursor(self) -> str | None:
        """What `add` was last given as cursor."""
        with self._data.read() as db:
            cursor: str | None = db.execute("SELECT cursor FROM state").fetchone()[0]
            return cursor

    def add(
        self, tasks: Iterable[Task | Mark] = (), *, cursor: str | None = None, skipped: int = 0
    ) -> None:
        """Take entries in, in order of position, and with them how far the log was read.

        ``cursor``: is stored in the same transaction. ``skipped``: so many more were malformed.
        An entry replaces the one of the same key, feed and run. Where that one is handed out: with
        the same payload there is nothing more to do, with another one it waits for its turn.
        Between them stand marks of runs that are complete, or gone, as `complete` and `drop` say;
        of a feed without runs they say nothing: another file may have its name by now.
        """
        with self._data.change() as db:
            dropped = {
                (feed, run): before
                for feed, run, before in db.execute("SELECT feed, run, before FROM dropped")
            }
            known: set[tuple[str, int]] = set()
            end = 0
            for task in tasks:
                end = task.position + 1
                of = (task.feed, task.run)
                if isinstance(task, Mark):
                    known.discard(of)
                    _heed(db, task)
                    continue
                if task.position < dropped.get(of, 0):
                    continue
                if of not in known:
                    known.add(of)
                    db.execute(
                        "INSERT INTO runs (feed, run) VALUES (?, ?) ON CONFLICT DO NOTHING", of
                    )
                entries.put(db, task)
            if dropped:
                db.execute("DELETE FROM dropped WHERE before <= ?", (end,))
            db.execute(
                "UPDATE state SET cursor = coalesce(?, cursor), skipped = skipped + ?",
                (cursor, skipped),
            )

    def complete(self, feed: str, run: int) -> None:
        """Say that a run is complete: nothing more will be added to it."""
        with self._data.change() as db:
            entries.complete(db, feed, run)

    def drop(self, feed: str, run: int, *, before: int = 0) -> None:
        """Forget a run, with what of it waits; what is handed out goes on.

        ``before``: entries of it that stand before this position of the log, and are taken in
        later, do not count either. Keys that an older run of the feed lists are handed out of that.
        Cost: grows with the entries of the run.
        """
        with self._data.change() as db:
            entries.drop(db, feed, run, before)

    def retain(self, present: Iterable[tuple[str, int]], *, before: int = 0) -> list[Run]:
        """Drop all runs but those, as `drop` does, in one transaction; return which went."""
        kept = set(present)
        with self._data.change() as db:
            gone = [run for run in entries.runs(db) if (run.feed, run.run) not in kept]
            for each in gone:
                entries.drop(db, each.feed, each.run, before)
        return gone

    def runs(self) -> list[Run]:
        """The runs that were added to or completed, and not dropped; sorted."""
        with self._data.read() as db:
            return entries.runs(db)

    # -- handing out ----------------------------------------------------------------------

    def next(self, worker: str = "") -> Job | None:
        """Hand out the key whose last start is longest ago; None where nothing waits.

        Keys that were never started come before all others, in an order that is scattered and
        always the same. Of a key in several feeds the entry that came first is handed out.
        ``worker``: what `holds` tells of it. Cost: does not grow with the queue.
        """
        with self._data.change() as db:
            now = self._clock()
            entries.free_since(db, now - self._patience)
            found = db.execute(
                "SELECT id, key FROM keys WHERE waiting = 1 AND out_since IS NULL "
                "ORDER BY turn, scatter, key LIMIT 1"
            ).fetchone()
            if found is None:
                return None
            number, key = found
            feed, run, payload = db.execute(
                f"SELECT e.feed, e.run, e.payload {entries.TOP.format(key='?')} "
                "ORDER BY e.position, e.feed LIMIT 1",
                (number,),
            ).fetchone()
            turn: int = db.execute("UPDATE state SET turn = turn + 1 RETURNING turn").fetchone()[0]
            db.execute(
                "UPDATE keys SET turn = ?, started = ?, out_since = ?, out_feed = ?, out_run = ?, "
                "out_payload = ?, out_worker = ? WHERE id = ?",
                (turn, now, now, feed, run, payload, worker, number),
            )
            db.execute(
                "UPDATE entries SET waiting = 0 WHERE key = ? AND feed = ? AND run = ?",
                (number, feed, run),
            )
            db.execute(f"{entries.RECOUNT} = ?", (number,))
            return Job(key, payload, feed, turn)

    def done(self, key: str, turn: int, exit_code: int) -> bool:
        """Say that a start of a key has ended, durably; False where it is over already."""
        with self._data.change(durable=True) as db:
            held = db.execute(
                "SELECT id, out_feed, out_run FROM keys "
                "WHERE key = ? AND turn = ? AND out_since IS NOT NULL",
                (key, turn),
            ).fetchone()
            if held is None:
                return False
            number, feed, run = held
            of = (number, feed)
            (newest,) = db.execute(
                "SELECT max(run) FROM entries WHERE key = ? AND feed = ? AND waiting = 0", of
            ).fetchone()
            # Of older runs it is done as well. What waits came while it was out.
            db.execute(
                "DELETE FROM entries WHERE key = ? AND feed = ? AND (waiting = 0 OR run < ?)",
                (*of, run if newest is None else max(run, newest)),
            )
            db.execute(
                f"UPDATE keys SET finished = ?, exit_code = ?, {entries.FREE} WHERE id = ?",
                (self._clock(), exit_code, number),
            )
            db.execute(f"{entries.RECOUNT} = ?", (number,))
            return True

    def give_back(self, key: str, turn: int) -> bool:
        """Offer again what a start of a key was to do; False where that start is over already."""
        with self._data.change() as db:
            held = db.execute(
                "SELECT id FROM keys WHERE key = ? AND turn = ? AND out_since IS NOT NULL",
                (key, turn),
            ).fetchone()
            if held is not None:
                entries.free(db, held[0])
            return held is not None

    def unbind(self, key: str, turn: int) -> None:
        """Say that it is not known any more which worker has a key; only the time frees it."""
        with self._data.change() as db:
            db.execute(
                "UPDATE keys SET out_worker = '' WHERE key = ? AND turn = ? "
                "AND out_since IS NOT NULL",
                (key, turn),
            )

    # -- looking --------------------------------------------------------------------------

    def holds(self) -> list[Hold]:
        """What is handed out, the longest first."""
        with self._data.read() as db:
            return [
                Hold(*row)
                for row in db.execute(
                    "SELECT key, turn, out_since, out_worker FROM keys "
                    "WHERE out_since IS NOT NULL ORDER BY out_since, turn"
                )
            ]

    def hold(self, key: str) -> Hold | None:
        """Who has a key; None where it is not out."""
        with self._data.read() as db:
            row = db.execute(
                "SELECT key, turn, out_since, out_worker FROM keys "
                "WHERE key = ? AND out_since IS NOT NULL",
                (key,),
            ).fetchone()
            return None if row is None else Hold(*row)

    def history(self, key: str) -> History:
        """What became of a key."""
        with self._data.read() as db:
            row = db.execute(
                "SELECT started, finished, exit_code FROM keys WHERE key = ?", (key,)
            ).fetchone()
            return History(None, None, None) if row is None else History(*row)

    def counts(self) -> Counts:
        """How much there is. Cost: grows with the keys that wait."""
        with self._data.read() as db:
            return Counts(
                *db.execute(
                    "SELECT (SELECT count(*) FROM keys WHERE waiting = 1 AND out_since IS NULL), "
                    "(SELECT count(*) FROM keys WHERE out_since IS NOT NULL), skipped FROM state"
                ).fetchone()
            )

    def close(self) -> None:
        """Close it. May be repeated."""
        self._data.close()

    def __enter__(self) -> Queue:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


def _heed(db: sqlite3.Connection, mark: Mark) -> None:
    """Do what a mark says."""
    if not mark.run:
        return
    if mark.is_gone:
        entries.drop(db, mark.feed, mark.run, 0)
    else:
        entries.complete(db, mark.feed, mark.run)

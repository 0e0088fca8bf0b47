"""The statements that change what waits of a key; each within the caller's transaction.

``keys.waiting`` says whether `TOP` finds anything, so that the next key is found by an index alone;
whatever changes a key's entries ends with `RECOUNT`.
"""

from __future__ import annotations

import sqlite3
from hashlib import blake2b
from typing import NamedTuple

from timelog.consume.tasks import Task

# The entries of a key that wait and are not hidden by a newer run of their feed.
TOP = """FROM entries e WHERE e.key = {key} AND e.waiting = 1 AND NOT EXISTS (
    SELECT 1 FROM entries n WHERE n.key = e.key AND n.feed = e.feed AND n.run > e.run)"""
RECOUNT = f"UPDATE keys SET waiting = EXISTS (SELECT 1 {TOP.format(key='keys.id')}) WHERE id"
FREE = """out_since = NULL, out_feed = NULL, out_run = NULL, out_payload = NULL,
    out_worker = NULL"""


class Run(NamedTuple):
    """A run of a feed that the queue knows, and whether it was said to be complete."""

    feed: str
    run: int
    is_complete: bool


def scatter(key: str) -> int:
    """Where a key stands among those that were never started."""
    digest = blake2b(key.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest, "big", signed=True)


def put(db: sqlite3.Connection, task: Task) -> None:
    """Let an entry wait, unless it is what is handed out now."""
    new = db.execute(
        "INSERT INTO keys (key, scatter, waiting) VALUES (?, ?, 1) ON CONFLICT DO NOTHING",
        (task.key, scatter(task.key)),
    )
    if new.rowcount == 1:
        db.execute(
            "INSERT INTO entries (key, feed, run, position, payload, waiting) "
            "VALUES (?, ?, ?, ?, ?, 1)",
            (new.lastrowid, task.feed, task.run, task.position, task.payload),
        )
        return
    number, feed, run, payload = db.execute(
        "SELECT id, out_feed, out_run, out_payload FROM keys WHERE key = ?", (task.key,)
    ).fetchone()
    is_underway = feed == task.feed and payload == task.payload and run <= task.run
    db.execute(
        "INSERT INTO entries (key, feed, run, position, payload, waiting) "
        "VALUES (?, ?, ?, ?, ?, ?) "
        "ON CONFLICT DO UPDATE SET payload = excluded.payload, waiting = excluded.waiting, "
        # What begins to wait now stands behind what other feeds have waiting already.
        "position = iif(waiting, position, excluded.position)",
        (number, task.feed, task.run, task.position, task.payload, not is_underway),
    )
    db.execute(f"{RECOUNT} = ?", (number,))


def free_since(db: sqlite3.Connection, time: float) -> None:
    """Offer again what has been out since ``time`` (Unix seconds) or longer."""
    silent = db.execute("SELECT id FROM keys WHERE out_since <= ?", (time,)).fetchall()
    for (number,) in silent:
        free(db, number)


def free(db: sqlite3.Connection, number: int) -> None:
    """Offer again what is handed out of the key ``number``."""
    db.execute(
        "UPDATE entries SET waiting = 1 WHERE key = ? "
        "AND feed = (SELECT out_feed FROM keys WHERE id = ?)",
        (number, number),
    )
    db.execute(f"UPDATE keys SET {FREE} WHERE id = ?", (number,))
    db.execute(f"{RECOUNT} = ?", (number,))


def runs(db: sqlite3.Connection) -> list[Run]:
    """The runs that are known, sorted."""
    return [
        Run(feed, run, bool(complete))
        for feed, run, complete in db.execute(
            "SELECT feed, run, complete FROM runs ORDER BY feed, run"
        )
    ]


def complete(db: sqlite3.Connection, feed: str, run: int) -> None:
    """Note that a run is complete."""
    db.execute(
        "INSERT INTO runs (feed, run, complete) VALUES (?, ?, 1) "
        "ON CONFLICT DO UPDATE SET complete = 1",
        (feed, run),
    )


def drop(db: sqlite3.Connection, feed: str, run: int, before: int) -> None:
    """Forget a run, and what of it stands before a position and comes later; see `Queue.drop`."""
    of = (feed, run)
    db.execute("DELETE FROM runs WHERE feed = ? AND run = ?", of)
    if before:
        db.execute(
            "INSERT INTO dropped (feed, run, before) VALUES (?, ?, ?) "
            "ON CONFLICT DO UPDATE SET before = max(before, excluded.before)",
            (*of, before),
        )
    db.execute("CREATE TEMP TABLE touched (id INTEGER PRIMARY KEY)")
    db.execute("INSERT INTO touched SELECT key FROM entries WHERE feed = ? AND run = ?", of)
    db.execute("DELETE FROM entries WHERE feed = ? AND run = ?", of)
    db.execute(f"{RECOUNT} IN (SELECT id FROM touched)")
    db.execute(
        "DELETE FROM keys WHERE id IN (SELECT id FROM touched) AND turn = 0 "
        "AND NOT EXISTS (SELECT 1 FROM entries WHERE key = keys.id)"
    )
    db.execute("DROP TABLE touched")

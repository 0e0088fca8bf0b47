"""The tables of a queue, and how those of older releases become them, with all that is in them.

`MIGRATIONS` is only ever appended to: the script at index n makes version n + 1 of version n, and
`PRAGMA user_version` says which version a file has.
"""

from __future__ import annotations

import sqlite3

from timelog.errors import InvalidInput, VersionError

# "tlog": tells a queue from other people's databases.
APPLICATION = 0x746C6F67

MIGRATIONS: tuple[tuple[str, ...], ...] = (
    (
        # ``turn``: the number of its last start, 0 for never. ``waiting``: something of it can be
        # handed out. ``out_…``: what is handed out of it now, since when, and to whom.
        """CREATE TABLE keys (
            id INTEGER PRIMARY KEY,
            key TEXT NOT NULL UNIQUE,
            scatter INTEGER NOT NULL,
            turn INTEGER NOT NULL DEFAULT 0,
            waiting INTEGER NOT NULL DEFAULT 0,
            started REAL,
            finished REAL,
            exit_code INTEGER,
            out_since REAL,
            out_feed TEXT,
            out_run INTEGER,
            out_payload TEXT,
            out_worker TEXT
        ) STRICT""",
        # The order in which keys are handed out; only those that can be.
        """CREATE INDEX keys_next ON keys (turn, scatter, key)
            WHERE waiting = 1 AND out_since IS NULL""",
        "CREATE INDEX keys_out ON keys (out_since) WHERE out_since IS NOT NULL",
        # ``waiting`` is 0 where what is handed out now is this.
        """CREATE TABLE entries (
            key INTEGER NOT NULL REFERENCES keys (id),
            feed TEXT NOT NULL,
            run INTEGER NOT NULL,
            position INTEGER NOT NULL,
            payload TEXT NOT NULL,
            waiting INTEGER NOT NULL,
            PRIMARY KEY (key, feed, run)
        ) STRICT, WITHOUT ROWID""",
        "CREATE INDEX entries_run ON entries (feed, run)",
        """CREATE TABLE runs (
            feed TEXT NOT NULL,
            run INTEGER NOT NULL,
            complete INTEGER NOT NULL DEFAULT 0,
            PRIMARY KEY (feed, run)
        ) STRICT, WITHOUT ROWID""",
        # Entries of a run that was dropped which stand before a position do not count either.
        """CREATE TABLE dropped (
            feed TEXT NOT NULL,
            run INTEGER NOT NULL,
            before INTEGER NOT NULL,
            PRIMARY KEY (feed, run)
        ) STRICT, WITHOUT ROWID""",
        # A single row. ``cursor``: up to where the log was taken in.
        """CREATE TABLE state (
            id INTEGER PRIMARY KEY CHECK (id = 1),
            cursor TEXT,
            turn INTEGER NOT NULL DEFAULT 0,
            skipped INTEGER NOT NULL DEFAULT 0
        ) STRICT""",
        "INSERT INTO state (id) VALUES (1)",
        f"PRAGMA application_id = {APPLICATION}",
    ),
)


def migrate(db: sqlite3.Connection) -> None:
    """Bring the tables of an open database up to date; all or nothing.

    Raises `InvalidInput` for a database that is no queue, and `VersionError` for a newer one.
    """
    if _version(db) == len(MIGRATIONS):
        _check_application(db)
        return
    db.execute("BEGIN IMMEDIATE")
    try:
        # Somebody else may have done it meanwhile.
        version = _version(db)
        if version or db.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0]:
            _check_application(db)
        if version > len(MIGRATIONS):
            raise VersionError(
                f"the queue has version {version}, and this release knows {len(MIGRATIONS)}; "
                "use a newer release of timelog"
            )
        for script in MIGRATIONS[version:]:
            for statement in script:
                db.execute(statement)
        db.execute(f"PRAGMA user_version = {len(MIGRATIONS)}")
        db.execute("COMMIT")
    except BaseException:
        db.execute("ROLLBACK")
        raise


def _version(db: sqlite3.Connection) -> int:
    version: int = db.execute("PRAGMA user_version").fetchone()[0]
    return version


def _check_application(db: sqlite3.Connection) -> None:
    if db.execute("PRAGMA application_id").fetchone()[0] != APPLICATION:
        raise InvalidInput("it is a database of something else; choose another path for the queue")

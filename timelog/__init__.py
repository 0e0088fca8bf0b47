"""timelog: an embedded, time-partitioned, append-only event log with plain-text segments.

The modules, in reading order (each imports only from those before it):

ground   `errors`, `damage`, `timestamp`, `zones`, `quantity`, `span`, `event`, `storage` (every
         call that changes the disk), `fit`, `dry`, `guard`, `signals`, `mounts`, `timer`, `uuid7`,
         `checksum`, `ahead`, `worker`, `deadline`, `horizons`, `clockguard`, `retention`,
         `frames`, `options`
format   `names` (every file name), `codec` (events as lines), `positions`, `journal`, `blocktext`
state    `memfile`, `buffer` (events not yet on disk), `segment`, `ledger`, `removal`,
         `checkpoint`, `day`, `lock`, `recent`, `indexstate`,
         `catchup`, `index`
work     `encode`, `rotate`, `quarantine`, `sweep`, `repair`, `commit`, `flush`, `tree`, `create`,
         `files`, `exposure`, `verify`; of repairing all there is `lines`, `repaired`, `rebuild`,
         `vacant`, `reindex`, `leftovers`, `restore`; of searching `simplify`, `required`, `widen`,
         `selector`, `charset`, `linear`, `pattern`, `filter`, `explain`, `grams`, `taglines`,
         `textindex`, `indexer`, `finder`, `reader`, `scan`, `merge`, `arrow`, `query`, `scrub`,
         `stock`; of following `arrivals`, `inotify`, `news`; of its status `usage`, `growth`,
         `histogram`; of a log that lives for years `sortedfile`, `rewrite`, `compaction`, `expiry`,
         `deletion`, `upkeep`, `manifest`, `copier`, `shelf`, `holders`, `filling`, `snapshot`,
         `recover`
face     `store` (the parts put together), `health`, `status`, `audit`, `lookup`, `care`,
         `safekeeping`, `entry`, `follow`, `log` (`EventLog`), this module
around   `ingest` (files that grow), `consume` (projections, and work for workers), `feeds` (events
         from logging and its like), `exchange` (import and export), `cli`
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from timelog import errors
from timelog._version import __version__ as __version__
from timelog.arrivals import Entry, Gap
from timelog.dry import DryStorage
from timelog.errors import EventNotFound, TimelogError
from timelog.event import Event
from timelog.log import EventLog
from timelog.names import Layout
from timelog.options import check_options
from timelog.query import Results
from timelog.recover import Recovered, recover
from timelog.repaired import Repaired
from timelog.restore import restore
from timelog.retention import Age
from timelog.storage import Storage

__all__ = [
    "Entry",
    "Event",
    "EventLog",
    "EventNotFound",
    "Gap",
    "Repaired",
    "Results",
    "TimelogError",
    "errors",
    "open",
    "repair",
    "restore_snapshot",
]


def open(
    path: str | os.PathLike[str],
    *,
    mode: str = "a",
    sync: str | None = None,
    flush_interval: float = 1.0,
    max_buffer: int = 64 * 1024 * 1024,
    lock_timeout: float = 10.0,
    exit_signals: bool = True,
    max_future: float = 86_400.0,
    text_index: bool = True,
    scrub_interval: float | None = None,
    scrub_shards: int | None = None,
    retention: Age | Mapping[str, Any] | None = None,
    compact_after: Age | None = "7 days",
    archive_after: Age | None = None,
    max_content: int = 1024 * 1024,
    max_fields: int = 256 * 1024,
    group: bool = False,
    storage: Storage | None = None,
) -> EventLog:
    """Open the log in the directory ``path``, making it where there is none.

    ``mode``: ``"a"`` to append and read, ``"r"`` to read only, which writes nothing at all and
    works on read-only media. Any number of processes may have a log open in either mode.

    ``sync``: ``"flush"`` (default; the environment's ``TIMELOG_SYNC`` changes it) makes each flush
    survive a power cut; ``"off"`` leaves that to the operating system, except where ``sync=True``
    or `EventLog.sync` asks. ``flush_interval``: seconds between background flushes, 1.0; 0 flushes
    in every call. ``max_buffer``: bytes of memory for events not yet on disk, 64 MiB.
    ``lock_timeout``: seconds to wait for another process's flush, 10. ``exit_signals``: where the
    main thread opens the log and nobody handles or ignores SIGTERM or SIGHUP, let what is in
    memory be flushed before it ends the process. ``max_future``: seconds that a timestamp may be
    ahead of the clock, one day. ``text_index``: let a thread build the text index of what is
    sealed, where numpy is installed (see `EventLog.index_text`).
    ``scrub_interval``: seconds between two cycles of the background check of stored blocks, 10 (or
    ``TIMELOG_SCRUB_INTERVAL``); 0 turns it off. ``scrub_shards``: in how many cycles everything is
    checked, 5 (or ``TIMELOG_SCRUB_SHARDS``), more where a cycle would read over 16 MiB.
    ``retention``: what the log keeps from now on, for every process: an age such as ``"30 days"``,
    or a mapping of ``age``, ``size``, ``partitions``, ``tags`` and ``sources`` as
    `EventLog.expire` takes them (``{}`` is everything); None, the default, changes nothing. What
    has expired goes at opening and every ten minutes. ``compact_after`` and ``archive_after``: how
    long after its end a day is compacted (``"7 days"``) and archived (None, never) in the
    background, see `EventLog.compact`.
    ``max_content`` and ``max_fields``: bytes of one event's content and fields, 1 MiB and 256 KiB.
    ``group``: let the directory's group read, for log shippers (files 0640, directories 0750
    instead of 0600 and 0700). ``storage``: stands in for the disk, see `timelog.storage`.

    Raises `InvalidInput`, `NotALogError`, `VersionError`, `DamagedError`, `ReadOnlyError`,
    `StorageError` and `LockTimeout`. Cost: the root of the index and the journal since the last
    checkpoint are read, whatever the size of the log.
    """
    options = check_options(
        mode=mode,
        sync=sync,
        flush_interval=flush_interval,
        max_buffer=max_buffer,
        lock_timeout=lock_timeout,
        exit_signals=exit_signals,
        max_future=max_future,
        text_index=text_index,
        scrub_interval=scrub_interval,
        scrub_shards=scrub_shards,
        retention=retention,
        compact_after=compact_after,
        archive_after=archive_after,
        max_content=max_content,
        max_fields=max_fields,
    )
    if storage is None:
        storage = Storage(0o640, 0o750) if group else Storage()
    return EventLog(Path(path).absolute(), options, storage)


def repair(
    path: str | os.PathLike[str],
    *,
    dry_run: bool = False,
    adopt: bool = False,
    lock_timeout: float = 10.0,
    progress: Callable[[int, int], None] | None = None,
    storage: Storage | None = None,
) -> Repaired:
    """Put right whatever can be put right in the log in the directory ``path``; see `Repaired`.

    - Bytes that no commit names, in any file, go to ``.timelog/quarantine``.
    - Records that cannot be used, or are gone, are made anew from the text: all of them under a new
      id of the log, without cursors and the order of arrival; or those of single days, of which
      only the order of arrival is lost.
    - Damaged events and missing files are named, and left as they are.

    Nothing is removed before its copy is in quarantine. Cut off at any moment, the next call goes
    on; where nothing is wrong nothing is changed. Thread-safe; others may have the log open, and
    wait while this has the store lock (all the time, while records are made anew).

    ``dry_run``: write nothing, and report what would be done; of a flush that was cut off only that
    its bytes are to be moved. ``adopt``: append the events among the bytes that no commit names, if
    the log has none of their id; what an unfinished flush left is not adopted, as its process may
    still come back to it. ``lock_timeout``: seconds to wait for another process, 10. ``progress``:
    called with the bytes that were looked at, and how many there are. ``storage``: stands in for
    the disk, see `timelog.storage`.

    Raises `NotALogError`, `VersionError`, `ReadOnlyError`, `StorageError` and `LockTimeout`. Cost:
    everything is read once and checked; what is made anew is also decoded.
    """
    plain = storage if storage is not None else Storage()
    return restore(
        Layout(Path(path).absolute()),
        DryStorage(plain) if dry_run else plain,
        adopting=adopt,
        lock_timeout=lock_timeout,
        progress=progress,
    )


def restore_snapshot(
    snapshot: str | os.PathLike[str],
    dest: str | os.PathLike[str],
    *,
    progress: Callable[[int, int], None] | None = None,
    storage: Storage | None = None,
) -> Recovered:
    """Make a log in the directory ``dest`` of a snapshot that `EventLog.snapshot` made.

    It is the log as it was, with its id: positions and cursors keep their meaning, and appending
    goes on where it ended. Nothing is overwritten: ``dest`` must be absent, or an empty directory.
    Every file of the snapshot is compared with its manifest before anything is written, and then
    copied; the log is in its place whole or not at all. The snapshot is not changed.

    ``progress``: called with how many bytes were checked and copied, and how many that will be.
    ``storage``: stands in for the disk, see `timelog.storage`.

    Raises `InvalidInput` for a ``dest`` that has something in it, or is in a log; `NotALogError`
    for what is no snapshot; `DamagedError`, with the name of the file, for one in which a file is
    missing, was changed, or is not listed; `StorageError` (nothing is left then) and
    `LockTimeout`. Cost: everything is read twice and written once.
    """
    if not os.fspath(snapshot) or not os.fspath(dest):
        raise errors.InvalidInput("snapshot and dest must be paths of directories")
    plain = storage if storage is not None else Storage()
    return recover(Path(snapshot).absolute(), Path(dest).absolute(), plain, progress)

"""`Upkeep`: what a log needs as years go by, done in the background and when somebody asks.

Events expire as the log's policy says, which is kept in ``.timelog/state/retention``; days that are
over are compacted, and archived; what went is unlinked. Of several processes each does what is left
to do.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from timelog import names
from timelog.commit import Committer
from timelog.compaction import Compactor
from timelog.errors import DamagedError, LockTimeout, storage_error
from timelog.expiry import Expired, Expirer
from timelog.index import Index
from timelog.names import Layout
from timelog.retention import Retention
from timelog.storage import Storage
from timelog.sweep import clear

# Seconds between two looks whether something has to go.
_EXPIRY_INTERVAL = 600.0
# In the background a day is compacted when it has so many segments too many: late events that come
# to a day that was compacted do not have it written anew each time.
_MOST_LEFT = 4


class Upkeep:
    """Looks after one open log. Thread-safe.

    ``compact_after`` and ``archive_after``: so long after its end, in microseconds, a day is
    compacted and archived in the background; None for never.
    """

    def __init__(
        self,
        layout: Layout,
        storage: Storage,
        index: Index,
        committer: Committer,
        *,
        compact_after: int | None,
        archive_after: int | None,
    ) -> None:
        self._layout = layout
        self._storage = storage
        self._index = index
        self._committer = committer
        self._compact_after = compact_after
        self._archive_after = archive_after
        self.expirer = Expirer(layout, storage, index, committer)
        self.compactor = Compactor(layout, storage, index, committer)
        self._expired_at: float | None = None
        # Why the newest attempt to let events expire failed; empty where it did not.
        self.expiry_error = ""

    def policy(self) -> Retention | None:
        """What the log keeps; None where nobody said. Raises `DamagedError` and `StorageError`."""
        try:
            return Retention.from_json(self._storage.read_file(self._layout.retention))
        except FileNotFoundError:
            return None
        except OSError as error:
            raise storage_error("reading the log's retention", error) from error

    def keep(self, policy: Retention) -> None:
        """Let the log keep this from now on, be it suspended or not. Errors as of a flush."""
        try:
            known = self.policy()
        except DamagedError:
            # It is written anew.
            known = None
        if known is not None and known.suspended:
            policy = msgspec.structs.replace(policy, suspended=True)
        if policy != known:
            self._store(policy)

    def _store(self, policy: Retention) -> None:
        temporary = self._layout.temporary / names.RETENTION
        try:
            self._committer.exclusive(
                lambda: self._storage.replace(self._layout.retention, policy.to_json(), temporary)
            )
        except OSError as error:
            raise storage_error("storing the log's retention", error) from error

    def suspend(self, *, suspended: bool) -> None:
        """Let nothing expire from now on, or let it again. Errors as `keep`."""
        policy = self.policy() or Retention()
        self._store(msgspec.structs.replace(policy, suspended=suspended))

    def expire(self) -> Expired | None:
        """Let go what the log's policy does not keep; None where there is none."""
        self._expired_at = self._storage.monotonic()
        policy = self.policy()
        return None if policy is None else self.expirer.expire(policy)

    def step(self, is_stopped: Callable[[], bool]) -> None:
        """Do what there is to do. Raises `TimelogError` and ``OSError``; the rest is done first."""
        failed: Exception | None = None
        now = self._storage.monotonic()
        if self._expired_at is None or now - self._expired_at >= _EXPIRY_INTERVAL:
            self.expiry_error = ""
            try:
                self.expire()
            except Exception as error:
                # Told by `timelog.health`, and tried again later.
                self.expiry_error, failed = str(error), error
        clear(self._layout, self._storage, self._index, is_stopped)
        for after, archive in ((self._archive_after, True), (self._compact_after, False)):
            if after is not None and not is_stopped():
                before = self._storage.time_ns() // 1000 - after
                try:
                    self.compactor.compact(
                        before, archive=archive, timeout=0, least=_MOST_LEFT, is_stopped=is_stopped
                    )
                except LockTimeout:
                    # Another process does it.
                    break
        if failed is not None:
            raise failed

    def after_fork(self) -> None:
        """In a child: let go of what belongs to the parent."""
        self.compactor.after_fork()

"""`Projection`: state folded from the events of a log, saved so that a start need not fold again.

The state is a function of the events before a position, less those that a rewind left out. So
every saved state that left out the same is right, whichever is used, and where one is broken the
one before and more of the log give the same.
"""

from __future__ import annotations

import re
import threading
from os import PathLike
from pathlib import Path
from types import TracebackType
from typing import Any

import timelog
from timelog.consume import ranges
from timelog.consume.folding import Fold, Folding, Migrate, OnGap
from timelog.consume.past import Past, Point
from timelog.consume.ranges import Ranges
from timelog.consume.statefile import PERIODIC, SAFETY, Head, Marks, pack_state
from timelog.consume.states import Saved, States
from timelog.errors import ClosedError, InvalidInput, StorageError
from timelog.storage import Storage
from timelog.timestamp import DAY, SECOND

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}", re.ASCII)
# While events come one after the other, seconds between two saves.
_PAUSE = 10.0


class Projection:
    """The state that ``fold`` makes of the events of ``log``. One thread at a time.

    ``fold(state, entry)`` returns the state with one more event; it may change the one it is given,
    and should depend on nothing else. ``initial``: the state before the first event. A state is
    made of what msgpack gives back as it was: dicts, lists, text, bytes, numbers, None.

    ``name``: letters, digits, ``_``, ``.`` and ``-``. ``directory``: where states are saved;
    ``<log>.projections/<name>`` beside the log by default. ``version``: of what the state is made
    of; a state that an older version saved is passed through ``migrate(state, version)``, and not
    used without that. ``on_gap(state, gap)`` returns the state to go on with where events are gone;
    without it that is a `GapError`.

    A state is saved after ``every`` events (100), or ``interval`` seconds (1,800) if anything came;
    the newest ``keep`` (5) stay. Those taken before something risky stay ``keep_days`` (14).
    ``storage``: stands in for the disk, see `timelog.storage`.

    Opening loads the newest good state, and folds nothing yet: `update` does. Raises
    `InvalidInput`, `InUseError`, `StorageError`, and `FoldError` where ``migrate`` raised.
    """

    def __init__(
        self,
        log: timelog.EventLog,
        name: str,
        fold: Fold,
        *,
        initial: Any,
        version: int = 1,
        migrate: Migrate | None = None,
        on_gap: OnGap | None = None,
        directory: str | PathLike[str] | None = None,
        every: int = 100,
        interval: float = 1800.0,
        keep: int = 5,
        keep_days: float = 14.0,
        storage: Storage | None = None,
    ) -> None:
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            raise InvalidInput(
                "the name of a projection must be 1 to 100 letters, digits, '_', '.' and '-', and "
                f"not begin with '.' or '-', not {name!r}"
            )
        for what, number in (("version", version), ("every", every), ("keep", keep)):
            if type(number) is not int or number < 1:
                raise InvalidInput(f"{what} must be a whole number from 1, not {number!r}")
        for what, length in (("interval", interval), ("keep_days", keep_days)):
            if type(length) not in (int, float) or not 0 < length < float("inf"):
                raise InvalidInput(f"{what} must be a number above 0, not {length!r}")
        self.name = name
        self._log = log
        self._folding = Folding(name, fold, version, migrate, on_gap)
        self._every = every
        self._interval = int(interval * SECOND)
        self._keep = keep
        self._safety_age = int(keep_days * DAY)
        self._storage = storage or Storage()
        beside = log.path.with_name(f"{log.path.name}.projections") / name
        self._states = States(
            self._storage, Path(directory) if directory is not None else beside, name
        )
        self._is_open = True
        # Of the state in memory: how many events came since it was saved, and whether a call that
        # raised may have left it half changed.
        self._added = 0
        self._is_spoilt = False
        self._saved_at = self._storage.monotonic()
        try:
            self._past = Past(log, self._folding, self._states, initial)
            self._marks = self._states.marks()
            saved, self._point = self._past.newest(self._marks, loudly=True)
        except BaseException:
            self.close()
            raise
        self._saved_time = self._now() if saved is None else saved.time

    # -- the state ------------------------------------------------------------------------

    @property
    def state(self) -> Any:
        """The state as of `position`: the very object that the next fold is given."""
        self._settle()
        return self._point.state

    @property
    def position(self) -> int:
        """The position of the first event that is not in the state."""
        return self._point.position

    @property
    def superseded(self) -> Ranges:
        """Which positions rewinds have left out: half-open ranges, sorted."""
        return self._marks.superseded

    def is_superseded(self, position: int) -> bool:
        """Whether a rewind has left out the event at ``position``."""
        return ranges.has(self._marks.superseded, position)

    def update(self) -> int:
        """Fold in what the log has by now, and save the state if that is due; return how many.

        Raises `FoldError` where the fold raised: nothing is lost, the state is that of the event
        before, and the event is folded again by the next call. Raises `GapError` in the same way;
        `CursorError` where the log is another one or lost its end; `StorageError`, `ClosedError`.
        """
        return self._follow(wait=False, stop=None)

    def run(self, stop: threading.Event) -> int:
        """As `update`, and then fold in what comes until ``stop`` is set, or the log is closed."""
        return self._follow(wait=True, stop=stop)

    # -- saving ---------------------------------------------------------------------------

    @property
    def is_due(self) -> bool:
        """Whether events came since a state was saved, and enough of them, or long enough ago."""
        return self._added >= self._every or (
            self._added > 0 and self._now() - self._saved_time >= self._interval
        )

    def save(self) -> Saved | None:
        """Save the state durably, and prune; None, and nothing happens, where nothing came."""
        self._settle()
        if not self._added:
            return None
        saved = self._save(PERIODIC)
        self.prune()
        return saved

    def saved(self) -> list[Saved]:
        """The states that are saved, the oldest first."""
        self._check_open()
        return self._states.found()[::-1]

    def latest(self) -> Saved | None:
        """The newest saved state that can be used; what the next start would begin with.

        Cost: it is read, and so are broken ones.
        """
        self._check_open()
        return self._past.newest(self._marks)[0]

    def prune(self) -> list[Saved]:
        """Remove the saved states that are not kept; return them. Time alone removes none."""
        self._check_open()
        return self._states.prune(self._keep, self._safety_age)

    # -- going back -----------------------------------------------------------------------

    def rewind(self, position: int) -> Saved:
        """Go back to before the event at ``position``, and leave out the events since, for good.

        They stay in the log, and are marked as superseded for this projection; what comes later is
        folded as ever. The state as it was is saved first, as of kind safety, and returned:
        `restore` takes it. Raises `InvalidInput` for a position that the projection has not
        passed, and as `update`; then nothing has changed.
        """
        self._settle()
        end = self._point.position
        if type(position) is not int or not 0 <= position < end:
            raise InvalidInput(
                f"a projection at position {end} can be rewound to a position before it, "
                f"not to {position!r}"
            )
        safety = self._save(SAFETY)
        marks = Marks(self._marks.number + 1, ranges.add(self._marks.superseded, position, end))
        state = self._past.state_at(marks, position)
        self._go(marks, Point(state, end, self._point.cursor))
        return safety

    def restore(self, saved: Saved) -> Saved:
        """Go back to a saved state, and to what was left out then.

        What came since is folded again by `update`: so it undoes a rewind. The state as it was is
        saved first, and returned. Raises `InvalidInput` for what is not one of `saved`,
        `DamagedError`, `FoldError` where ``migrate`` raised, and `StorageError`.
        """
        self._settle()
        head = saved.head
        if head is None or head.name != self.name or Path(saved.path).parent != self._states.path:
            raise InvalidInput(f"{saved} is not a saved state of this projection that can be used")
        problem = self._folding.unusable(head)
        if problem:
            raise InvalidInput(f"{saved.path} cannot be restored: {problem}")
        point = self._past.open(saved, head)
        safety = self._save(SAFETY)
        self._go(Marks(self._marks.number + 1, head.marks.superseded), point)
        return safety

    # -- itself ---------------------------------------------------------------------------

    def close(self) -> None:
        """Let others have the projection. Saves nothing. May be repeated."""
        self._is_open = False
        self._states.close()

    def __enter__(self) -> Projection:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    # -- inside ---------------------------------------------------------------------------

    def _now(self) -> int:
        return self._storage.time_ns() // 1000

    def _check_open(self) -> None:
        if not self._is_open:
            raise ClosedError(f"the projection {self.name!r} was closed; make it again")

    def _settle(self) -> None:
        """Make the state anew, as of the position, where a fold that raised may have spoilt it."""
        self._check_open()
        if self._is_spoilt:
            self._point = self._point._replace(
                state=self._past.state_at(self._marks, self._point.position)
            )
            self._is_spoilt = False

    def _follow(self, *, wait: bool, stop: threading.Event | None) -> int:
        self._settle()
        count = 0
        with self._log.follow(self._point.cursor, wait=wait, stop=stop) as following:
            for item in following:
                end = (item.last if isinstance(item, timelog.Gap) else item.position) + 1
                self._is_spoilt = True
                state, is_new = self._folding.take(self._marks, self._point.state, item)
                self._point = Point(state, end, following.cursor)
                self._is_spoilt = False
                self._added += is_new
                count += is_new
                if self._is_due_meanwhile():
                    self.save()
            # Deleted events at the end have been passed, too.
            self._point = self._point._replace(
                position=max(self._point.position, following.position), cursor=following.cursor
            )
        if self.is_due:
            self.save()
        return count

    def _is_due_meanwhile(self) -> bool:
        """Whether to save in the middle of events: often, but not all the time."""
        return self.is_due and self._storage.monotonic() - self._saved_at >= _PAUSE

    def _save(self, kind: str) -> Saved:
        point = self._point
        body = pack_state(point.state)
        head = Head(
            self.name, self._folding.version, point.position, point.cursor, self._marks, self._now()
        )
        saved = self._states.save(head, kind, body)
        if kind == PERIODIC:
            self._added = 0
            self._saved_time = saved.time
            self._saved_at = self._storage.monotonic()
        return saved

    def _go(self, marks: Marks, point: Point) -> None:
        """Say durably what is left out from now on, take ``point``, and save it."""
        try:
            self._states.save_marks(marks)
        except StorageError:
            if self._states.marks() == marks:
                # It is said, though perhaps not durably: the next start may find either.
                self._marks, self._point = marks, point
            raise
        self._marks, self._point = marks, point
        self._save(PERIODIC)
        self.prune()

"""`Past`: what a projection was at a position, of saved states and the log."""

from __future__ import annotations

import logging
from typing import Any, NamedTuple

import timelog
from timelog.consume import ranges
from timelog.consume.folding import Folding
from timelog.consume.statefile import Head, Marks, pack_state, unpack_state
from timelog.consume.states import Saved, States
from timelog.errors import DamagedError

_log = logging.getLogger("timelog")


class Point(NamedTuple):
    """A state, the position of the first event that is not in it, and the same as a cursor."""

    state: Any
    position: int
    cursor: str | int


class Past:
    """The states of a projection before now. One thread at a time.

    ``initial``: the state before the first event. Raises `InvalidInput` where that cannot be saved.
    """

    def __init__(
        self, log: timelog.EventLog, folding: Folding, states: States, initial: Any
    ) -> None:
        self._log = log
        self._folding = folding
        self._states = states
        # Packed, so that no fold changes it.
        self._initial = pack_state(initial)

    def newest(
        self, marks: Marks, until: int | None = None, *, loudly: bool = False
    ) -> tuple[Saved | None, Point]:
        """The newest good state, not after ``until``, that left out the same; else the initial one.

        ``loudly``: warn of those that cannot be used.
        """
        for saved in self._states.newest_first():
            head, problem = saved.head, saved.problem
            if head is not None:
                is_same = ranges.before(marks.superseded, head.position) == ranges.before(
                    head.marks.superseded, head.position
                )
                if not is_same or (until is not None and head.position > until):
                    continue
                problem = self._folding.unusable(head)
                if not problem:
                    try:
                        return saved, self.open(saved, head)
                    except DamagedError as error:
                        problem = str(error)
            if loudly:
                _log.warning("%s is not used: %s", saved.path, problem)
        return None, Point(unpack_state(self._initial), 0, 0)

    def open(self, saved: Saved, head: Head) -> Point:
        """A saved state; raises `DamagedError`, `StorageError` and `FoldError`."""
        state = self._folding.adapt(self._states.load(saved), head)
        return Point(state, head.position, head.cursor)

    def state_at(self, marks: Marks, position: int) -> Any:
        """The state before the event at ``position``, without what ``marks`` leave out.

        Raises as `Projection.update`. Cost: the events since the newest state before it are folded.
        """
        _, point = self.newest(marks, position)
        state = point.state
        with self._log.follow(point.cursor, wait=False) as following:
            for item in following:
                at = item.first if isinstance(item, timelog.Gap) else item.position
                if at >= position:
                    break
                state, _ = self._folding.take(marks, state, item)
        return state

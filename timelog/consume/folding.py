"""`Folding`: the user's functions that make a state, and what their errors become."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, NoReturn, TypeAlias

import timelog
from timelog.consume import ranges
from timelog.consume.statefile import Head, Marks
from timelog.errors import FoldError, GapError

Fold: TypeAlias = Callable[[Any, timelog.Entry], Any]
OnGap: TypeAlias = Callable[[Any, timelog.Gap], Any]
Migrate: TypeAlias = Callable[[Any, int], Any]


class Folding(NamedTuple):
    """How the projection ``name`` makes its state; the arguments of `Projection`. Immutable."""

    name: str
    fold: Fold
    version: int
    migrate: Migrate | None
    on_gap: OnGap | None

    def take(self, marks: Marks, state: Any, item: timelog.Entry | timelog.Gap) -> tuple[Any, bool]:
        """The state with one more item in it, and whether it was to be in it.

        Raises `FoldError` and `GapError`; the state may then be half changed.
        """
        if isinstance(item, timelog.Gap):
            if ranges.covers(marks.superseded, item.first, item.last + 1):
                return state, False
            return self._pass_gap(state, item), True
        if ranges.has(marks.superseded, item.position):
            return state, False
        try:
            return self.fold(state, item), True
        except Exception as error:
            self._raised("fold", error, item.position)

    def unusable(self, head: Head) -> str:
        """Why the version of a saved state rules it out; empty where it does not."""
        if head.version > self.version:
            return f"it is of version {head.version}, and this projection of {self.version}"
        if head.version < self.version and self.migrate is None:
            return f"it is of version {head.version}, and there is no migrate="
        return ""

    def adapt(self, state: Any, head: Head) -> Any:
        """A saved state as this version has it; raises `FoldError`."""
        if head.version == self.version or self.migrate is None:
            return state
        try:
            return self.migrate(state, head.version)
        except Exception as error:
            self._raised("migrate", error, head.position)

    def _pass_gap(self, state: Any, gap: timelog.Gap) -> Any:
        if self.on_gap is None:
            raise GapError(
                f"the projection {self.name!r} needs the events from position {gap.first} to "
                f"{gap.last}, which are gone ({gap.reason}); pass on_gap= to go on without",
                gap.first,
                gap.last,
            )
        try:
            return self.on_gap(state, gap)
        except Exception as error:
            self._raised("on_gap", error, gap.first)

    def _raised(self, what: str, error: Exception, position: int) -> NoReturn:
        raise FoldError(
            f"the {what} of the projection {self.name!r} raised {type(error).__name__} at position "
            f"{position}: {error}; nothing was lost, correct it and go on",
            position,
        ) from error

"""`find_event`: an event by its id, wherever it is."""

from __future__ import annotations

from collections.abc import Iterable

from timelog.damage import Damage
from timelog.event import Event
from timelog.filter import Filter
from timelog.query import Results, View
from timelog.scan import EXCLUSIONS, TEXT_INDEX
from timelog.store import Store
from timelog.timestamp import END
from timelog.uuid7 import milliseconds


def find_event(
    store: Store,
    view: View,
    id: str,
    low: int | None,
    high: int | None,
    damage: list[Damage] | None = None,
) -> tuple[int, Event] | None:
    """The event of a view with that id, behind its position; of several the first by position.

    ``low`` and ``high``: between which times, in microseconds; None is open. Where the id carries a
    time and one of them is of that very millisecond, it is that one, which is cheap to find; any
    other costs a search of that range. None where there is none. To ``damage`` is added what was
    withheld, and may hold it.
    """
    damage = [] if damage is None else damage
    ms = milliseconds(id)
    if ms is not None:
        first = ms * 1000 if low is None else max(low, ms * 1000)
        after = ms * 1000 + 1000 if high is None else min(high, ms * 1000 + 1000)
        if first < min(after, END):
            # Of an id that carries the event's own time the text index knows nothing.
            found = _first_with(store, view, id, first, after, EXCLUSIONS - {TEXT_INDEX}, damage)
            if found is not None:
                return found
    return _first_with(store, view, id, low, high, EXCLUSIONS, damage)


def _first_with(
    store: Store,
    view: View,
    id: str,
    start: int | None,
    end: int | None,
    exclusions: Iterable[str],
    damage: list[Damage],
) -> tuple[int, Event] | None:
    nothing: frozenset[str] = frozenset()
    asked = Filter(start, end, nothing, nothing, None, None, by_source=False, id=id)
    results = Results(
        store.layout,
        store.storage,
        store.index,
        store.texts,
        view,
        asked,
        descending=False,
        limit=None,
        salvage=False,
    )
    results = results.using(exclusions)
    found = results.first_arrived()
    damage += results.damage
    return found

"""Contests: several contestants do one job in turns, and their times are put side by side.

A contest's contestants take turns: each round runs every contestant once (or `repeat` times in a
row), and every round starts with another one, so that a disturbance of the machine does not hit
the same contestant each time. Ratios are made from the best times, which are the least disturbed;
the medians stand beside them.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Any, NamedTuple, Protocol

import pytest

from benchmarks.report import seconds

EVENTS = int(os.environ.get("TIMELOG_BENCH_EVENTS") or 200_000)
ROUNDS = int(os.environ.get("TIMELOG_BENCH_ROUNDS") or 3)
FLOOR = "floor: "
OURS = "timelog"
HEADERS = ("group", "contestant", "best", "median", "events/s", "x floor", "x timelog")


@dataclass
class Times:
    """What one contestant of one group took, in seconds, and how many events a run handled."""

    events: int = 0
    taken: list[float] = field(default_factory=list)


class Line(NamedTuple):
    """One line of the table of ratios. A ratio is None where there is nothing to divide by."""

    group: str
    contestant: str
    best: float
    median: float
    rate: float | None
    to_floor: float | None
    to_timelog: float | None

    def cells(self) -> tuple[str, ...]:
        """The line as texts, under `HEADERS`."""
        rate = "" if self.rate is None else f"{self.rate:,.0f}"
        ratios = ("" if ratio is None else f"{ratio:.3g}" for ratio in self[5:])
        return (*self[:2], seconds(self.best), seconds(self.median), rate, *ratios)


class Results:
    """The times of all contests of a run, in the order in which they were first met."""

    def __init__(self) -> None:
        self.groups: dict[str, dict[str, Times]] = {}

    def add(self, group: str, contestant: str, events: int, taken: Sequence[float]) -> None:
        times = self.groups.setdefault(group, {}).setdefault(contestant, Times(events))
        times.taken.extend(taken)

    def lines(self) -> list[Line]:
        """Each group's contestants, fastest first; the first floor of a group is its floor."""
        made = []
        for group, contestants in self.groups.items():
            best = {name: min(times.taken) for name, times in contestants.items()}
            floor = next((best[name] for name in FLOORS[group] if name in best), None)
            for name in sorted(best, key=best.__getitem__):
                times = contestants[name]
                made.append(
                    Line(
                        group,
                        name,
                        best[name],
                        median(times.taken),
                        times.events / best[name] if times.events else None,
                        best[name] / floor if floor else None,
                        best[name] / best[OURS] if OURS in best else None,
                    )
                )
        return made

    def raw(self) -> list[dict[str, Any]]:
        """Every time that was taken, for the result file."""
        return [
            {"group": group, "contestant": name, "events": times.events, "seconds": times.taken}
            for group, contestants in self.groups.items()
            for name, times in contestants.items()
        ]


class Measure(Protocol):
    """Time `act(*args)`; see the fixture `measure` in conftest."""

    def __call__(
        self,
        act: Callable[..., Any],
        *args: Any,
        events: int = 0,
        expect: int | None = None,
        repeat: int = 1,
    ) -> None: ...


FLOORS: dict[str, list[str]] = {}
"""The floors of each group, in the order in which the group names its contestants."""


def contest(
    group: str, contestants: Sequence[str]
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Make a function of `name` a contest: it is called for each contestant in each round."""
    names = list(contestants)
    FLOORS[group] = [name for name in names if name.startswith(FLOOR)]
    turns = []
    for number in range(ROUNDS):
        first = number % len(names)
        turns += [(number, name) for name in names[first:] + names[:first]]
    ids = [f"{name}-{number}" for number, name in turns]

    def decorate(function: Callable[..., None]) -> Callable[..., None]:
        function = pytest.mark.benchmark(group=group)(function)
        wrapped: Callable[..., None] = pytest.mark.parametrize(("turn", "name"), turns, ids=ids)(
            function
        )
        return wrapped

    return decorate

"""The contests of `search.py`: turns within one program, what is wanted of them, and their lines.

Unlike those of `contest.py` they need no pytest, check that all contestants find the same, and hold
the best times against bars.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from statistics import median
from time import perf_counter
from typing import Any, NamedTuple

from benchmarks.report import seconds

HEADERS = ("job", "contestant", "found", "best", "median", "ratio", "to", "wanted", "met")
Act = Callable[[], tuple[int, float]]
"""Does a job; how many events were found, and in how many seconds."""


class Bar(NamedTuple):
    """What is wanted: at most so many times the rival's best time; None only shows the ratio."""

    ours: str
    rival: str
    most: float | None = None
    stretch: bool = False

    @property
    def wanted(self) -> str:
        """The bar as a text."""
        if self.most is None:
            return ""
        return f"<= {self.most:g}{' (stretch)' if self.stretch else ''}"


class Contest(NamedTuple):
    """A job, who does it, and what is wanted.

    `expect` is how many are to be found; None where it is only known to be the same for all.
    """

    job: str
    acts: dict[str, Act]
    bars: tuple[Bar, ...]
    expect: int | None = None


class Outcome(NamedTuple):
    """What came of a contest: the number found by all, and each contestant's times."""

    contest: Contest
    found: int
    times: dict[str, list[float]]


def timed(function: Callable[..., int], *args: Any) -> Act:
    """An act of calling `function(*args)`, timed from outside."""

    def act() -> tuple[int, float]:
        begun = perf_counter()
        found = function(*args)
        return found, perf_counter() - begun

    return act


def hold(contest: Contest, rounds: int) -> Outcome:
    """Let the contestants take turns; each round begins with another one.

    A first round is not counted: it opens and compiles what is kept, and tells the number found.
    Raises AssertionError where anyone finds another number than the rest.
    """
    print(f"  {contest.job}", file=sys.stderr)
    acts = contest.acts
    found = {name: act()[0] for name, act in acts.items()}
    expect = next(iter(found.values())) if contest.expect is None else contest.expect
    if set(found.values()) != {expect}:
        raise AssertionError(f"{contest.job}: found {found}, wanted {expect} of each")
    names = list(acts)
    times: dict[str, list[float]] = {name: [] for name in names}
    for number in range(rounds):
        first = number % len(names)
        for name in names[first:] + names[:first]:
            again, taken = acts[name]()
            if again != expect:
                raise AssertionError(f"{contest.job}: {name} found {again}, not {expect}")
            times[name].append(taken)
    return Outcome(contest, expect, times)


def rows_of(outcome: Outcome) -> list[tuple[str, ...]]:
    """A contest's lines under `HEADERS`: one for each bar, then the contestants without a bar."""
    job, acts, bars, _ = outcome.contest
    best = {name: min(taken) for name, taken in outcome.times.items()}
    rows: list[tuple[str, ...]] = []
    for bar in bars:
        if bar.ours not in best:
            rows.append((job, bar.ours, "", "not built", "", "", "", bar.wanted, ""))
            continue
        ratio = best[bar.ours] / best[bar.rival]
        met = "" if bar.most is None else "yes" if ratio <= bar.most else "NO"
        figures = _figures(outcome, bar.ours)
        rows.append((job, bar.ours, *figures, f"{ratio:.3g}", bar.rival, bar.wanted, met))
    barred = {bar.ours for bar in bars}
    for name in acts:
        if name not in barred:
            rows.append((job, name, *_figures(outcome, name), "", "", "", ""))
    return rows


def _figures(outcome: Outcome, name: str) -> tuple[str, str, str]:
    taken = outcome.times[name]
    return f"{outcome.found:,}", seconds(min(taken)), seconds(median(taken))

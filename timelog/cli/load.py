"""`Load`: when a service that does not exist says what, second by second; for one thread.

A second is quiet, as usual, or part of a burst; bursts last some seconds, and within them it is the
same few things that are said, mostly failures. Within a second events come independently of each
other. The rate is the mean over all of it.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from timelog.cli.sample import MAKERS

# Of three kinds of stretches: how often they come, how long they last (seconds, on average), and
# their share of the usual rate. The mean share, weighed by length, is `_MEAN`.
_STRETCHES = ((6, 8.0, 1.0), (3, 4.0, 0.4), (1, 3.0, 5.0))
_MEAN = sum(w * s * share for w, s, share in _STRETCHES) / sum(w * s for w, s, _ in _STRETCHES)
_BURST = 2.0  # from this share on a stretch is one
# What a burst says is one of so many events made at its beginning.
_FEW = 5


class Due(NamedTuple):
    """An event and when it is due, in seconds since the beginning."""

    seconds: float
    event: dict[str, Any]


def load(rate: float, sources: Sequence[str] = (), seed: int = 1) -> Iterator[Due]:
    """Yield events for ever, ``rate`` a second on average, in order of time.

    ``sources``: replace those of the services, in turn. The same arguments, the same events. Each
    event is a mapping that ``append`` takes, without a timestamp.
    """
    chance = random.Random(seed)
    names = list(MAKERS)
    services = {source: names[at % len(names)] for at, source in enumerate(sources)}
    for source in () if sources else names:
        services[source] = source
    seconds = 0.0
    while True:
        weights = [weight for weight, _, _ in _STRETCHES]
        (_, length, share) = chance.choices(_STRETCHES, weights)[0]
        end = seconds + chance.expovariate(1 / length)
        few = [_event(chance, services) for _ in range(_FEW)] if share >= _BURST else []
        while True:
            due = seconds + chance.expovariate(rate * share / _MEAN)
            if due >= end:
                # What comes independently does not remember: the next stretch begins anew.
                seconds = end
                break
            seconds = due
            is_repeated = few and chance.random() < 0.7
            yield Due(seconds, chance.choice(few) if is_repeated else _event(chance, services))


def _event(chance: random.Random, services: dict[str, str]) -> dict[str, Any]:
    source = chance.choice(list(services))
    event = MAKERS[services[source]](chance)
    event["source"] = source
    tags = event["tags"]
    if not {"error", "warn"} & set(tags):
        event["tags"] = (*tags, chance.choices(("info", "debug"), (9, 1))[0])
    return event

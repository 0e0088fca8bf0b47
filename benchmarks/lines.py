"""Seeded log lines that look like those of real services.

    python -m benchmarks.lines 1000 --seed 1          # JSON lines on standard output

`lines(n, seed=...)` gives the same records for the same arguments, lazily and in order of time.
Values (addresses, ids, paths, names) are drawn from pools that are rendered once per generator;
lines are rendered a batch at a time, one template after the other, which keeps the cost of a line
at a few microseconds.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from random import Random

import msgspec

from benchmarks.templates import TEMPLATES, Pools, pools

RARE_TAG = "audit"
"""About one event in a hundred holds this tag."""

NEEDLE = "lease of shard zx-41417 lost"
"""Exactly `needles` events hold this text; no template can produce it."""

ONE_NEEDLE = "torn page 7f03 of volume kq-2718 mended"
"""A text that no template can produce either; `search.py` adds it to exactly one event."""

ABSENT = "connection reset by peer"
"""No event holds this text, though many hold parts of it."""

CLASS_PATTERN = r" 5\d\d [1-9]\d{4} "
"""A pattern of classes, without a literal to look for: an answer 5xx of five digits' length."""

START = 1_763_632_800_000_000
"""Where the time of the lines begins unless told: 2025-11-20T10:00:00Z in microseconds."""

MINUTE = 60_000_000
BATCH = 8_192


class Line(msgspec.Struct, frozen=True, gc=False):
    """One log line: `timestamp` in microseconds since 1970 UTC, the rest as timelog's Event."""

    timestamp: int
    source: str
    tags: tuple[str, ...]
    content: str


def lines(
    n: int,
    *,
    seed: int = 0,
    start: int = START,
    minutes: int = 10,
    needles: int = 30,
) -> Iterator[Line]:
    """Yield `n` lines, timestamps not decreasing, spread over `minutes` minutes from `start`.

    `needles` of them (all, if there are fewer) hold `NEEDLE`. Memory does not grow with `n`.
    Raises ValueError for a negative count or less than one minute.
    """
    if n < 0 or needles < 0 or minutes < 1:
        raise ValueError("n and needles must not be negative, minutes must be at least 1")
    random = Random(seed)
    holders = frozenset(random.sample(range(n), min(n, needles)))
    values = pools(random)
    origins = [_origins(template.sources, template.tags, random) for template in TEMPLATES]
    step = minutes * MINUTE / max(n, 1)
    for first in range(0, n, BATCH):
        count = min(BATCH, n - first)
        batch = _batch(random, values, origins, start, first, count, step)
        if holders.isdisjoint(range(first, first + count)):
            yield from batch
            continue
        for number, line in enumerate(batch, first):
            if number in holders:
                yield msgspec.structs.replace(line, content=f"{line.content} {NEEDLE}")
            else:
                yield line


Origin = tuple[str, tuple[str, ...]]


def _origins(sources: tuple[str, ...], tags: tuple[str, ...], random: Random) -> list[Origin]:
    """The (source, tags) pairs of a template, as often as they shall be drawn.

    The k-th source is drawn about 1/k times as often as the first, and one pair in a hundred
    holds the rare tag.
    """
    weights = [1 / rank for rank in range(1, len(sources) + 1)]
    drawn = random.choices(sources, weights, k=4_000)
    return [
        (source, (*tags, RARE_TAG) if number % 100 == 0 else tags)
        for number, source in enumerate(drawn)
    ]


def _batch(
    random: Random,
    values: Pools,
    origins: list[list[Origin]],
    start: int,
    first: int,
    count: int,
    step: float,
) -> list[Line]:
    choices = random.choices
    weights = [template.weight for template in TEMPLATES]
    order = choices(range(len(TEMPLATES)), weights, k=count)
    contents: list[Iterator[str]] = []
    heads: list[Iterator[Origin]] = []
    for number, template in enumerate(TEMPLATES):
        k = order.count(number)
        columns = [choices(values[name], k=k) for name in template.slots]
        contents.append(map(template.text.__mod__, zip(*columns, strict=True)))
        heads.append(iter(choices(origins[number], k=k)))
    draw = random.random
    made: list[Line] = []
    add = made.append
    for number, which in enumerate(order, first):
        source, tags = next(heads[which])
        add(Line(start + int((number + draw()) * step), source, tags, next(contents[which])))
    return made


def main(argv: list[str] | None = None) -> int:
    """Print lines as JSON, one a line."""
    parser = argparse.ArgumentParser(prog="benchmarks.lines", description=main.__doc__)
    parser.add_argument("n", type=int, help="number of lines")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--start", type=int, default=START, help="microseconds since 1970 UTC")
    parser.add_argument("--minutes", type=int, default=10, help="minutes the lines spread over")
    parser.add_argument("--needles", type=int, default=30, help="lines that hold the rare text")
    args = parser.parse_args(argv)
    encode = msgspec.json.Encoder().encode
    made = lines(
        args.n, seed=args.seed, start=args.start, minutes=args.minutes, needles=args.needles
    )
    try:
        for line in made:
            sys.stdout.buffer.write(encode(line) + b"\n")
        sys.stdout.buffer.flush()
    except BrokenPipeError:
        sys.stderr.close()
    return 0


if __name__ == "__main__":
    raise SystemExit(main())

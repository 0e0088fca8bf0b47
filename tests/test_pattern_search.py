"""Searches by ten thousand random patterns find what ``re.search`` finds in a plain list."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from itertools import compress
from random import Random
from typing import Any

import pytest

import timelog
from tests.patterns import contents, pattern

SEED = 20261121
PARTS = range(20)
PART = 500
START = 1_700_000_000
EVENTS = 240
# Of the log's events so many are not on disk.
IN_MEMORY = 60
SOURCES = ("", "sshd", "app", 'x"y')
TAGS = ("prod", "auth", "é", 'a"b', "\\n")

# Parsing tells about classes that may mean something else one day.
pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning")

Row = dict[str, Any]


@cache
def rows() -> list[Row]:
    """The events in order of time, over four minutes, as `append_many` takes them."""
    random = Random(SEED)
    return [
        {
            "content": text,
            "timestamp": START + number * 0.8,
            "source": random.choice(SOURCES),
            "tags": random.sample(TAGS, random.randint(0, 3)),
        }
        for number, text in enumerate(contents(random, EVENTS))
    ]


@cache
def questions(part: int) -> list[tuple[str, tuple[str, ...]]]:
    """Patterns, and the contents that each of them matches, in order of time."""
    random = Random(f"{SEED} {part}")
    texts = [row["content"] for row in rows()]
    patterns = [pattern(random, texts) for _ in range(PART)]
    return [(each, tuple(text for text in texts if re.search(each, text))) for each in patterns]


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Iterator[timelog.EventLog]:
    """The events, arrived in any order: in several segments, the last ones in memory."""
    arrivals = Random(SEED).sample(rows(), EVENTS)
    on_disk = EVENTS - IN_MEMORY
    with timelog.open(tmp_path_factory.mktemp("patterns") / "log", flush_interval=3600.0) as log:
        for first in range(0, on_disk, on_disk // 3):
            log.append_many(arrivals[first : first + on_disk // 3])
            log.flush()
        log.append_many(arrivals[on_disk:])
        yield log


def test_the_log_is_on_disk_and_in_memory(log: timelog.EventLog) -> None:
    assert log.position == EVENTS - IN_MEMORY
    assert len(list(log.path.glob("*/*.jsonl"))) == 4
    assert [event.content for event in log.search()] == [row["content"] for row in rows()]


@pytest.mark.parametrize("part", PARTS, ids=lambda part: f"{SEED} {part}")
def test_a_search_finds_what_the_pattern_matches(log: timelog.EventLog, part: int) -> None:
    for number, (each, wanted) in enumerate(questions(part)):
        results = log.search(pattern=each)
        assert tuple(event.content for event in results) == wanted, (number, each)
        if number % 2:
            assert results.count() == len(wanted), (number, each)


def test_many_patterns_rule_lines_out(log: timelog.EventLog) -> None:
    """Else nothing could be lost here, and the test above would tell nothing."""
    told = [log.search(pattern=each).explain() for each, _ in questions(0)]
    ruled_out = [each.decoded.events < each.read.events for each in told]
    assert sum(ruled_out) >= 0.3 * PART
    assert sum(bool(each.decoded.events) for each in compress(told, ruled_out)) >= 0.1 * PART


def test_most_patterns_match_something() -> None:
    counts = [len(matching) for part in PARTS for _, matching in questions(part)]
    assert sum(count > 0 for count in counts) >= 0.6 * len(counts)
    assert sum(0 < count < EVENTS for count in counts) >= 0.6 * len(counts)


def test_a_pattern_goes_with_everything_else(log: timelog.EventLog) -> None:
    random = Random(SEED)
    for number, (each, _) in enumerate(questions(0)):
        tags = random.sample(TAGS, random.choice((0, 1, 1, 2)))
        sources = random.sample(SOURCES, random.choice((1, 2, 4)))
        start, end = sorted(START + random.uniform(-10, EVENTS) for _ in range(2))
        order = random.choice(("asc", "desc"))
        limit = random.choice((None, None, 1, 3))
        wanted = [
            row["content"]
            for row in (rows() if order == "asc" else reversed(rows()))
            if re.search(each, row["content"])
            and set(tags) <= set(row["tags"])
            and row["source"] in sources
            and start <= row["timestamp"] < end
        ][:limit]
        results = log.search(
            start, end, tags=tags, source=sources, pattern=each, order=order, limit=limit
        )
        assert [event.content for event in results] == wanted, (number, each)
        assert results.count() == len(wanted), (number, each)

"""The same questions to every way of reading: the live log, a reader elsewhere, a plain list."""

from __future__ import annotations

import json
import random
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import timelog
from timelog import encode, merge, reader, scan, segment
from timelog.storage import Storage
from timelog.timestamp import to_datetime

ROOT = Path(__file__).parents[1]
SEED = 20261121
WORDS = [
    "error",
    "user",
    "ünïcode",
    'quo"te',
    "back\\slash",
    "tab\there",
    "line\nbreak",
    "",
    "x" * 300,
]

Question = dict[str, Any]
QUESTIONS: list[Question] = [
    {},
    {"order": "desc"},
    {"start": 100, "end": 2000},
    {"start": 100, "end": 100},
    {"start": 86_400},
    {"end": 59.5, "order": "desc"},
    {"tags": ["a"]},
    {"tags": ["a", "b"], "order": "desc"},
    {"source": "one"},
    {"source": ["one", "two"]},
    {"pattern": "error"},
    {"pattern": "(?i)ERROR|ünï"},
    {"pattern": "(?i)u[\u017f]ER"},
    {"pattern": "error|tab\t|x{300}"},
    {"pattern": "(?m)^break"},
    {"pattern": "(?=.*user)(?=.*error)", "order": "desc"},
    {"pattern": "absent"},
    {"pattern": "^user", "source": ["one", ""], "tags": ["b", "c"]},
    {"pattern": 'quo"te'},
    {"pattern": r"back\\slash"},
    {"pattern": "\t"},
    {"pattern": "^$"},
    {"pattern": "", "limit": 7},
    {"pattern": r"(\w+) \1"},
    {"pattern": "(?<=user )error", "tags": ["b"], "order": "desc", "limit": 3},
    {"limit": 0},
    {"as_of": 400},
    {"as_of": 0},
    {"as_of": 333, "order": "desc", "tags": ["a"], "limit": 50},
    {"start": 60, "end": 120_000, "source": "two", "pattern": "e", "tags": ["b"]},
]

READER = """
import json, sys, timelog
questions = json.load(sys.stdin)
with timelog.open(sys.argv[1], mode="r") as log:
    json.dump([[event.id for event in log.search(**q)] for q in questions], sys.stdout)
"""


def answer(events: list[timelog.Event], question: Question) -> list[str]:
    """What a list says, in the plainest way. ``events`` in order of position."""
    asked = dict(question)
    found = events[: asked.get("as_of", len(events))]
    source = asked.get("source")
    sources = [source] if isinstance(source, str) else source
    pattern = re.compile(asked.get("pattern", ""))
    found = [
        event
        for event in found
        if ("start" not in asked or event.timestamp >= to_datetime(round(asked["start"] * 10**6)))
        and ("end" not in asked or event.timestamp < to_datetime(round(asked["end"] * 10**6)))
        and set(asked.get("tags", ())) <= set(event.tags)
        and (sources is None or event.source in sources)
        and pattern.search(event.content)
    ]
    found.sort(key=lambda event: event.timestamp)
    if asked.get("order") == "desc":
        found.reverse()
    return [event.id for event in found[: asked.get("limit")]]


@pytest.fixture
def events() -> list[timelog.Event]:
    print(f"seed {SEED}")
    draw = random.Random(SEED)
    times = [draw.choice([n, n % 50 * 60, n * 997 % 200_000]) for n in range(1000)]
    return [
        timelog.Event(
            to_datetime(time * 10**6 + draw.choice([0, 0, 1, 999_999])),
            f"id-{n}",
            draw.choice(["", "one", "two", "three"]),
            draw.choice([(), ("a",), ("a", "b"), ("b", "c")]),
            " ".join(draw.choices(WORDS, k=draw.randrange(4))),
        )
        for n, time in enumerate(times)
    ]


@pytest.fixture(
    params=[
        "ordinary blocks",
        "small blocks",
        "read by helpers",
        "no room to wait",
        "no room for keys",
    ]
)
def sizes(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Constants made small, so that the edges come with a thousand events."""
    if request.param != "ordinary blocks":
        monkeypatch.setattr(encode, "BLOCK_SIZE", 500)
        monkeypatch.setattr(segment, "COALESCE", 1200)
    if request.param == "read by helpers":
        monkeypatch.setattr(scan, "_INLINE", 1000)
        monkeypatch.setattr(reader, "_FIRST", 1000)
        monkeypatch.setattr(reader, "_STRETCH", 3000)
    if request.param.startswith("no room"):
        monkeypatch.setattr(merge, "MOST_WAITING", 3000)
        monkeypatch.setattr(merge, "_BATCH", 7)
    if request.param == "no room for keys":
        monkeypatch.setattr(merge, "MOST_KEYS", 50)


@pytest.mark.usefixtures("sizes")
def test_every_way_of_reading_gives_the_same_answers(
    path: Path, open_log: Callable[..., timelog.EventLog], events: list[timelog.Event]
) -> None:
    log = open_log()
    for n in range(0, 1000, 40):
        log.append_many(events[n : n + 40])
        # The last part stays in memory for the live log's first round.
        if n < 900:
            log.flush()
    in_memory = [q for q in QUESTIONS if "as_of" not in q]
    for question in in_memory:
        results = log.search(**question)
        assert [event.id for event in results] == answer(events, question), question
        assert results.count() == len(answer(events, question)), question
    log.flush()
    expected = [answer(events, question) for question in QUESTIONS]
    assert [[event.id for event in log.search(**q)] for q in QUESTIONS] == expected
    assert [log.search(**q).count() for q in QUESTIONS] == [len(ids) for ids in expected]
    explained = [log.search(**q).explain().matched.events for q in QUESTIONS]
    assert explained == [len(ids) for ids in expected]
    done = subprocess.run(
        [sys.executable, "-c", READER, path],
        input=json.dumps(QUESTIONS),
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=True,
    )
    assert json.loads(done.stdout) == expected


def test_a_year_costs_as_many_storage_calls_as_a_day(
    ram: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Opening and a one-minute search: counted at the seam and at every file that is opened."""
    monkeypatch.setattr(encode, "DAY_FILE_SPANS", 10**6)
    counts = []
    for days in (1, 365):
        path = ram / str(days)
        with timelog.open(path, sync="off", flush_interval=3600.0) as log:
            for day in range(days):
                base = day * 86_400
                log.append_many(
                    {"content": "x", "timestamp": base + minute * 600} for minute in range(6)
                )
                log.flush()
            monkeypatch.setattr("timelog.flush.COMMITS_AT_CLOSE", 0)
        opened: list[str] = []
        plain = Storage.open_read

        def counted(
            storage: Storage, file: Path, opened: list[str] = opened, plain: Any = plain
        ) -> int:
            opened.append(file.name)
            return int(plain(storage, file))

        with monkeypatch.context() as patch:
            patch.setattr(Storage, "open_read", counted)
            with timelog.open(path, mode="r") as log:
                at = (days - 1) * 86_400 + 600
                assert [e.content for e in log.search(at, at + 60)] == ["x"]
                assert log.search(at + 60, at + 120).count() == 0
        counts.append(len(opened))
    assert 0 < counts[0] == counts[1], counts

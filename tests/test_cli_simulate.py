"""``timelog simulate``: the same load for the same seed, at the rate asked for, with bursts."""

from __future__ import annotations

import json
import subprocess
import sys
from itertools import islice, takewhile
from pathlib import Path
from typing import Any

import pytest

import timelog
from timelog.cli.load import load
from timelog.cli.simulate import play
from timelog.event import Limits, check_content, check_fields, check_tags

SEED = 11


class Clock:
    """Passes only while somebody waits, and as long as each event takes."""

    def __init__(self, cost: float = 0.0) -> None:
        self.time = 500.0
        self.cost = cost
        self.put: list[tuple[float, Any]] = []

    def now(self) -> float:
        return self.time

    def pause(self, seconds: float) -> None:
        assert seconds > 0
        self.time += seconds

    def take(self, event: dict[str, Any]) -> None:
        self.time += self.cost
        self.put.append((self.time - 500.0, event))


def test_the_same_seed_makes_the_same_load() -> None:
    first, again, other = (list(islice(load(50, seed=seed), 300)) for seed in (SEED, SEED, 12))
    assert first == again != other
    seconds = [due.seconds for due in first]
    assert seconds == sorted(seconds)


@pytest.mark.parametrize("rate", [0.5, 20, 300])
def test_the_rate_is_kept_on_average(rate: float) -> None:
    length = 60_000 / rate
    count = sum(1 for _ in takewhile(lambda due: due.seconds < length, load(rate, seed=SEED)))
    assert count == pytest.approx(60_000, rel=0.25 if rate > 100 else 0.1)


def test_there_are_bursts_and_quiet_seconds() -> None:
    seconds = [0] * 600
    for due in takewhile(lambda due: due.seconds < 600, load(20, seed=SEED)):
        seconds[int(due.seconds)] += 1
    assert max(seconds) > 50 and min(seconds) < 8
    assert 10 < sorted(seconds)[300] < 25


def test_events_are_those_of_services() -> None:
    events = [due.event for due in islice(load(100, seed=SEED), 2000)]
    assert {event["source"] for event in events} == {"sshd", "nginx", "app"}
    tags = {tag for event in events for tag in event["tags"]}
    assert {"info", "debug", "warn", "error", "auth", "web", "shop"} <= tags
    assert any("Traceback" in event["content"] for event in events)
    for event in events:
        check_content(event["content"], Limits())
        check_tags(event["tags"], Limits())
        check_fields(event["fields"], Limits())


def test_sources_of_ones_own() -> None:
    events = [due.event for due in islice(load(100, ["a", "b"], SEED), 500)]
    assert {event["source"] for event in events} == {"a", "b"}
    # Each source is one kind of service.
    assert {"auth" in event["tags"] for event in events if event["source"] == "a"} == {True}


def test_events_come_when_they_are_due() -> None:
    clock = Clock()
    due = list(islice(load(50, seed=SEED), 200))
    assert list(play(iter(due), clock.take, clock.now, clock.pause)) == list(range(1, 201))
    for (seconds, event), wanted in zip(clock.put, due, strict=True):
        assert seconds == pytest.approx(wanted.seconds) and event is wanted.event


def test_who_is_late_does_not_wait() -> None:
    clock = Clock(cost=10.0)
    assert (
        len(list(play(islice(load(50, seed=SEED), 20), clock.take, clock.now, clock.pause))) == 20
    )
    assert clock.time - 500.0 == pytest.approx(200, abs=5)


def run(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "timelog", *words], capture_output=True, text=True, timeout=60
    )


def test_into_a_log(path: Path) -> None:
    done = run("--dir", str(path), "simulate", "--rate", "2000", "--duration", "200ms")
    assert (done.returncode, done.stdout) == (0, "")
    with timelog.open(path, mode="r") as log:
        count = log.search().count()
    assert f"{count:,} events in 0." in done.stderr and "(asked for 2,000)" in done.stderr
    assert count == sum(1 for _ in takewhile(lambda due: due.seconds < 0.2, load(2000)))


def test_to_stdout(tmp_path: Path) -> None:
    words = ("simulate", "--rate", "500", "--duration", "0.1", "-q", "-s", "a", "-s", "b")
    done = run(*words, "-o", "json")
    assert (done.returncode, done.stderr) == (0, "")
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(lines) > 5 and {line["source"] for line in lines} <= {"a", "b"}
    assert len({line["id"] for line in lines}) == len(lines)


@pytest.mark.parametrize(
    "words", [("--rate", "0"), ("--rate", "x"), (), ("--rate", "1", "--duration", "-1s")]
)
def test_mistakes(words: tuple[str, ...]) -> None:
    done = run("simulate", *words)
    assert done.returncode == 2 and done.stderr.count("\n") == 1

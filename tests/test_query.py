"""`Results`: lazy, repeatable, closed properly, and honest about damage."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from itertools import combinations
from pathlib import Path
from random import Random
from typing import Any

import pytest

import timelog
from tests.test_ahead import helpers, in_child
from tests.test_reading import answer
from timelog import encode, reader, scan, segment
from timelog.explain import Explanation, Stage
from timelog.scan import EXCLUSIONS
from timelog.timestamp import to_datetime

Open = Callable[..., timelog.EventLog]
Question = dict[str, Any]
ROOT = Path(__file__).parents[1]
SEED = 20261127
T = 1_700_000_000


@pytest.fixture
def log(open_log: Open) -> timelog.EventLog:
    log = open_log()
    for day in range(3):
        log.append_many(
            {"content": f"{day}-{n}", "timestamp": T + day * 86_400 + n} for n in range(5)
        )
        log.flush()
    return log


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


def test_nothing_is_read_before_it_is_asked_for(log: timelog.EventLog) -> None:
    for file in log.path.glob("[0-9]*/*"):
        file.unlink()
    results = log.search()
    assert results.damage == []
    assert results.to_list() == [] and len(results.damage) == 3


def test_an_abandoned_iteration_leaves_no_file_open(log: timelog.EventLog) -> None:
    before = descriptors()
    for _ in range(50):
        for event in log.search():
            assert event.content == "0-0"
            break
        log.search().first()
        log.search(limit=2).to_list()
    assert descriptors() == before


def test_a_limit_reads_only_as_far_as_it_must(log: timelog.EventLog) -> None:
    last = list(log.path.glob("2023-11-16/*"))
    for file in last:
        file.unlink()
    results = log.search(limit=3)
    assert [event.content for event in results] == ["0-0", "0-1", "0-2"]
    assert results.damage == []
    assert log.search(order="desc", limit=5).count() == 5


def test_damage_is_named_also_where_the_iteration_stops_early(log: timelog.EventLog) -> None:
    [first] = log.path.glob("2023-11-14/*")
    first.unlink()
    results = log.search()
    found = results.first()
    assert found is not None and found.content == "1-0"
    assert [damage.file.partition("/")[0] for damage in results.damage] == ["2023-11-14"]


def test_iterations_do_not_disturb_each_other(log: timelog.EventLog) -> None:
    results = log.search()
    one, two = iter(results), iter(results)
    pairs = [(next(one).content, next(two).content) for _ in range(15)]
    assert all(left == right for left, right in pairs)


def test_a_function_of_the_caller_may_use_the_log(log: timelog.EventLog) -> None:
    def where(event: timelog.Event) -> bool:
        if event.content == "1-0":
            log.append("appended meanwhile", timestamp=T, sync=True)
        return log.search(pattern=f"^{event.content}$").count() == 1

    assert log.search(where=where).count() == 15
    assert log.search().count() == 16


def test_an_error_of_the_caller_s_function_comes_through(log: timelog.EventLog) -> None:
    before = descriptors()
    with pytest.raises(ZeroDivisionError):
        log.search(where=lambda event: 1 // 0).to_list()
    assert descriptors() == before


def test_explain_accounts_for_every_block(log: timelog.EventLog) -> None:
    plan = log.search(T, T + 3, pattern="0-[12]").explain()
    assert (plan.days, plan.range.segments, plan.range.blocks, plan.matched.events) == (1, 1, 1, 2)
    plan = log.search(T + 86_400, None).explain()
    assert (plan.range.blocks, plan.counted.blocks, plan.read.bytes) == (2, 2, 0)
    assert plan.matched.events == 10 and "counted unread" in str(plan)


# -- random questions to a log of many small blocks ---------------------------------------

WORDS = ["error", "warning", "user", "ünï", 'quo"te', "back\\slash", "tab\there", "42", "", "kiss"]
PATTERNS = [
    *["error", "(?i)ERROR|ünï", "(?i)KI.S", "^$", "", "e", "absent", r"\d+", 'quo"te', r"k\\s"],
    *[
        "^user",
        "(user|error) 42",
        "error.*user",
        "\t",
        r"\bünï\b",
        "(?=.*user)(?=.*error)",
        "[^e]+$",
    ],
]
COUNT = 600
IN_MEMORY = 60


def make_events(random: Random) -> list[timelog.Event]:
    """Events of some minutes of three days, most of them in order, in order of arrival."""
    return [
        timelog.Event(
            to_datetime(
                1_000_000 * (n // 200 * 86_400 + random.choice([n, n, n, random.randrange(400)]))
                + random.choice([0, 0, 999_999])
            ),
            f"id-{n}",
            random.choice(["", "one", "one", "two"]),
            random.choice([(), ("a",), ("a", "b"), ("b", 'c"d')]),
            " ".join(random.choices(WORDS, k=random.randrange(5))),
        )
        for n in range(COUNT)
    ]


def make_question(random: Random, *, as_of: bool) -> Question:
    """Something of everything that can be asked for, little of it at once."""
    question: Question = {}
    if random.random() < 0.4:
        day = random.choice([0, 0, 86_400, 172_800])
        question["start"] = day + random.choice([0, 60, 61.5, 100, 200, 599])
    if random.random() < 0.4:
        question["end"] = question.get("start", 0) + random.choice([0, 1, 60, 240, 86_400])
    if random.random() < 0.3:
        question["tags"] = random.choice([["a"], ["b"], ["a", "b"], ['c"d'], ["none"]])
    if random.random() < 0.3:
        question["source"] = random.choice(["one", "two", "", ["one", ""], [], ["none"]])
    if random.random() < 0.6:
        question["pattern"] = random.choice(PATTERNS)
    if as_of and random.random() < 0.3:
        question["as_of"] = random.randrange(COUNT)
    if random.random() < 0.3:
        question["order"] = "desc"
    return question


# How much is read at once, and by whom.
READING = {
    "as it is": {},
    "helpers": {"_INLINE": 0, "_FIRST": 1000, "_STRETCH": 3000},
    "helpers for each block": {"_INLINE": 0, "_FIRST": 1, "_STRETCH": 1},
    "helpers after a while": {"_INLINE": 20_000, "_FIRST": 2000, "_STRETCH": 2000},
    "no helpers": {"_INLINE": 10**9, "_FIRST": 1, "_STRETCH": 1},
}


@pytest.fixture(params=READING, ids=str)
def sizes(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Constants made small, so that a small log has what a large one has."""
    monkeypatch.setattr(encode, "BLOCK_SIZE", 400)
    monkeypatch.setattr(segment, "COALESCE", 900)
    for name, value in READING[request.param].items():
        monkeypatch.setattr(scan if name == "_INLINE" else reader, name, value)


def fill(log: timelog.EventLog, events: list[timelog.Event]) -> None:
    """Store the events in many flushes, the last of them in memory only."""
    random = Random(len(events))
    at = 0
    while at < len(events):
        to = min(at + random.choice([1, 5, 20, 60]), len(events))
        if at < len(events) - IN_MEMORY < to:
            to = len(events) - IN_MEMORY
        log.append_many(events[at:to])
        if to <= len(events) - IN_MEMORY:
            log.flush()
        at = to


@pytest.fixture
def threads_are_gone() -> Iterator[None]:
    """After the test no helper is left."""
    yield
    gc.collect()
    for thread in helpers():
        thread.join(60)
    assert helpers() == []


def add_up(stages: list[Stage]) -> tuple[int, int, int]:
    return (
        sum(stage.blocks for stage in stages),
        sum(stage.bytes for stage in stages),
        sum(stage.events for stage in stages),
    )


def check_sums(plan: Explanation) -> None:
    """Every block is accounted for, once."""
    skipped = [plan.time, plan.tags, plan.source, plan.text_index]
    assert add_up([plan.range]) == add_up([*skipped, plan.counted, plan.read])
    assert plan.read.blocks == plan.text.blocks + plan.damaged.blocks + plan.decoded.blocks
    assert plan.decoded.events <= plan.read.events
    assert plan.decoded.bytes <= plan.read.bytes
    assert plan.matched.events <= plan.counted.events + plan.decoded.events + plan.memory.events
    assert max(plan.read.segments, plan.counted.segments) <= plan.range.segments
    assert plan.milliseconds > 0


@pytest.mark.usefixtures("threads_are_gone", "sizes")
def test_counting_and_explaining_agree_with_a_naive_list(open_log: Open) -> None:
    random = Random(SEED)
    log = open_log(text_index=False)
    events = make_events(random)
    fill(log, events)
    for in_memory in (IN_MEMORY, 0):
        stages = Explanation()
        for _ in range(50):
            question = make_question(random, as_of=not in_memory)
            expected = answer(events, question)
            results = log.search(**question)
            assert [event.id for event in results] == expected, question
            assert results.count() == len(expected), question
            plan = results.explain()
            assert plan.matched.events == len(expected), question
            check_sums(plan)
            assert plan.memory.events <= in_memory
            for name in ("time", "tags", "source", "counted", "text", "decoded", "memory"):
                getattr(stages, name).events += getattr(plan, name).events
            for limit in (0, 1, 7):
                few = log.search(**question, limit=limit)
                assert [event.id for event in few] == expected[:limit], question
                assert few.count() == few.explain().matched.events == len(expected[:limit])
        # Each stage had something to do.
        for name in ("time", "tags", "source", "counted", "text", "decoded"):
            assert getattr(stages, name).events > 0, name
        assert (stages.memory.events > 0) == (in_memory > 0)
        log.flush()


@pytest.mark.usefixtures("threads_are_gone", "sizes")
def test_the_events_are_the_same_whatever_may_rule_text_out(open_log: Open) -> None:
    random = Random(SEED)
    log = open_log(text_index=False)
    events = make_events(random)
    fill(log, events)
    for question in [make_question(random, as_of=False) for _ in range(10)]:
        results = log.search(**question)
        expected = answer(events, question)
        for size in range(len(EXCLUSIONS) + 1):
            for some in combinations(sorted(EXCLUSIONS), size):
                same = results.using(some)
                assert [event.id for event in same] == expected, (question, some)
                assert same.count() == len(expected), (question, some)
                check_sums(same.explain())


@pytest.mark.usefixtures("threads_are_gone", "sizes")
def test_of_damaged_blocks_the_same_is_withheld_however_it_is_asked(
    open_log: Open, path: Path
) -> None:
    random = Random(SEED)
    log = open_log(text_index=False)
    events = make_events(random)
    fill(log, events)
    log.flush()
    lost = damage_some(random, path)
    for _ in range(40):
        question = make_question(random, as_of=True)
        question.setdefault("pattern", "")
        results = log.search(**question)
        found = [event.id for event in results]
        assert found == [id for id in answer(events, question) if id not in lost], question
        assert results.count() == len(found), question
        assert {damage.file for damage in results.damage} <= {
            str(file.relative_to(path)) for file in path.glob("[0-9]*/*.jsonl")
        }
        plan = results.explain()
        assert plan.matched.events == len(found)
        check_sums(plan)
        again = log.search(**question)
        plan = again.explain()
        assert plan.damaged.blocks == len(again.damage)


@pytest.mark.usefixtures("threads_are_gone", "sizes")
def test_of_salvaged_blocks_as_many_are_counted_as_come(open_log: Open, path: Path) -> None:
    random = Random(SEED)
    log = open_log(text_index=False)
    fill(log, make_events(random))
    log.flush()
    damage_some(random, path)
    for _ in range(40):
        question = make_question(random, as_of=True)
        question.setdefault("pattern", "")
        results = log.search(**question, salvage=True)
        assert results.count() == len(results.to_list()), question


def damage_some(random: Random, path: Path) -> set[str]:
    """Change a byte in half of the blocks' files; the ids of all events of the blocks changed."""
    lost: set[str] = set()
    with timelog.open(path, mode="r") as log:
        spans = [
            (file, block)
            for day in log._store.index.between(None, None)
            for name, blocks in log._store.index.blocks(day, None, None, COUNT)
            for file in [path / name.path]
            for block in blocks
        ]
    for file, block in spans:
        if random.random() < 0.5:
            continue
        data = bytearray(file.read_bytes())
        lines = bytes(data[block.offset : block.end]).splitlines()
        lost |= {line.split(b'"id":"')[1].split(b'"')[0].decode() for line in lines}
        # A digit of a timestamp, which every line has.
        data[block.offset + len(b'{"timestamp":"1970-01-0')] ^= 1
        file.write_bytes(data)
    assert 0 < len(lost) < COUNT
    return lost


# -- helpers ------------------------------------------------------------------------------


@pytest.fixture
def many(open_log: Open, monkeypatch: pytest.MonkeyPatch) -> timelog.EventLog:
    """A log of many blocks in one minute, which helpers read."""
    monkeypatch.setattr(encode, "BLOCK_SIZE", 400)
    monkeypatch.setattr(segment, "COALESCE", 400)
    monkeypatch.setattr(scan, "_INLINE", 0)
    monkeypatch.setattr(reader, "_FIRST", 400)
    monkeypatch.setattr(reader, "_STRETCH", 400)
    log = open_log(text_index=False)
    log.append_many({"content": f"needle {n}", "timestamp": T + n / 1000} for n in range(1000))
    log.flush()
    return log


NUMBERS = [f"needle {n}" for n in range(1000)]


@pytest.mark.usefixtures("threads_are_gone")
def test_a_search_that_is_left_half_way_leaves_no_helper_and_no_file(
    many: timelog.EventLog,
) -> None:
    before = descriptors()
    for taken in (0, 1, 2, 30, 999, 1000):
        results = many.search()
        events = iter(results)
        assert [next(events).content for _ in range(taken)] == NUMBERS[:taken]
        if 0 < taken < 900:
            assert helpers()
        del events
        gc.collect()
        running = helpers()
        for thread in running:
            thread.join(60)
        assert helpers() == [] and descriptors() == before
        # The same search can be run again.
        assert results.count() == 1000


@pytest.mark.usefixtures("threads_are_gone")
def test_an_error_of_the_caller_s_function_leaves_no_helper(many: timelog.EventLog) -> None:
    with pytest.raises(ZeroDivisionError):
        many.search(where=lambda event: 1 // (event.content != "needle 500")).to_list()
    with pytest.raises(ZeroDivisionError):
        many.search(where=lambda event: 1 // (event.content != "needle 500")).count()


@pytest.mark.usefixtures("threads_are_gone")
def test_iterations_with_helpers_do_not_disturb_each_other(many: timelog.EventLog) -> None:
    random = Random(SEED)
    results = many.search(pattern="needle")
    rows = [iter(results), iter(results), iter(many.search(order="desc"))]
    found: list[list[str]] = [[], [], []]
    while sum(map(len, found)) < 3000:
        which = random.randrange(3)
        for event in [next(rows[which], None) for _ in range(random.choice([1, 10, 100]))]:
            if event is not None:
                found[which].append(event.content)
    assert found == [NUMBERS, NUMBERS, NUMBERS[::-1]]


@pytest.mark.usefixtures("threads_are_gone")
def test_what_is_flushed_while_helpers_read_ahead_is_not_seen(many: timelog.EventLog) -> None:
    events = iter(many.search())
    found = [next(events).content]
    for n in range(5):
        many.append("later", timestamp=T + n / 10, sync=True)
        found += [next(events).content for _ in range(100)]
    assert found + [event.content for event in events] == NUMBERS
    assert many.search().count() == 1005


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
@pytest.mark.usefixtures("threads_are_gone")
@pytest.mark.parametrize("taken", [0, 1, 500])
def test_a_forked_child_goes_on_with_a_search(many: timelog.EventLog, taken: int) -> None:
    events = iter(many.search(pattern="needle"))
    found = [next(events).content for _ in range(taken)]

    def go_on() -> None:
        assert found + [event.content for event in events] == NUMBERS

    assert in_child(go_on) == 0
    assert found + [event.content for event in events] == NUMBERS


@pytest.mark.parametrize("begun", [False, True])
def test_a_search_goes_on_while_the_interpreter_ends(many: timelog.EventLog, begun: bool) -> None:
    program = f"""
import atexit, sys, timelog
from timelog import reader, scan

scan._INLINE, reader._FIRST, reader._STRETCH = 0, 400, 400
log = timelog.open(sys.argv[1], mode="r")
events = iter(log.search(pattern="needle"))
found = [next(events).content] if {begun} else []

@atexit.register
def at_exit():
    found.extend(event.content for event in events)
    print(found == [f"needle {{n}}" for n in range(1000)], log.search(pattern="9$").count())
"""
    many.close()
    done = subprocess.run(
        [sys.executable, "-c", program, many.path],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.stdout, done.stderr, done.returncode) == ("True 100\n", "", 0)

"""A log against a sorted list: any order of appending, flushing, reopening, by two writers."""

from __future__ import annotations

import shutil
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import settings
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

import timelog
from tests.rig import abandon
from timelog import encode, merge, rotate
from timelog.audit import Audit
from timelog.timestamp import DAY, MINUTE, SECOND, to_datetime

# Few values, so that times collide, spans repeat, and days differ.
TIMES = st.one_of(
    st.integers(0, 3).map(lambda n: n * SECOND),
    st.integers(0, 40).map(lambda n: n * MINUTE),
    st.integers(-1, 2).map(lambda n: n * DAY),
    st.integers(0, 5),
)
TAGS = st.sampled_from([(), ("a",), ("a", "b"), ("b", "c")])
# What is refused, and why.
BAD: list[tuple[str, dict[str, Any]]] = [
    ("InvalidEvent", {"content": 5}),
    ("InvalidEvent", {"content": "x", "tags": ["a\nb"]}),
    ("InvalidTime", {"content": "x", "timestamp": "when it rained"}),
]
SOURCES = st.sampled_from(["", "one", "two"])


class LogMachine(RuleBasedStateMachine):
    """The model: committed events in order of commit, and what each writer holds in memory."""

    @initialize()
    def begin(self) -> None:
        self.directory = Path(
            tempfile.mkdtemp(dir="/dev/shm" if Path("/dev/shm").is_dir() else None)
        )
        self.path = self.directory / "log"
        self.committed: list[dict[str, Any]] = []
        self.waiting: list[list[dict[str, Any]]] = [[], []]
        self.logs = [self.open(), self.open()]
        # What writers had refused: as the books have it, and what waits for each one's next commit.
        self.refused: Counter[str] = Counter()
        self.refused_waiting: list[Counter[str]] = [Counter(), Counter()]
        self.number = 0

    def open(self) -> timelog.EventLog:
        return timelog.open(self.path, flush_interval=3600.0)

    def teardown(self) -> None:
        if hasattr(self, "logs"):
            for log in self.logs:
                log.close()
            shutil.rmtree(self.directory)

    def times(self, times: list[int]) -> list[int]:
        """Those of ``times`` that the log takes."""
        return times

    def is_gone(self, event: dict[str, Any]) -> bool:
        """Whether a committed event is to be found no more."""
        return False

    @rule(writer=st.integers(0, 1), time=TIMES, tags=TAGS, source=SOURCES)
    def append(self, writer: int, time: int, tags: tuple[str, ...], source: str) -> None:
        for taken in self.times([time]):
            self._append(writer, taken, tags, source)

    def _append(self, writer: int, time: int, tags: tuple[str, ...], source: str) -> None:
        event = {
            "content": f"event {self.number}",
            "timestamp": to_datetime(time),
            "tags": tags,
            "source": source,
        }
        self.number += 1
        self.logs[writer].append(**event)
        self.waiting[writer].append(event)

    @rule(writer=st.integers(0, 1), times=st.lists(TIMES, min_size=1, max_size=30))
    def append_many(self, writer: int, times: list[int]) -> None:
        events = [
            {
                "content": f"event {self.number + n}",
                "timestamp": to_datetime(t),
                "tags": (),
                "source": "",
            }
            for n, t in enumerate(self.times(times))
        ]
        self.number += len(events)
        self.logs[writer].append_many(events)
        self.waiting[writer] += events

    @rule(writer=st.integers(0, 1), bad=st.sampled_from(BAD), good=st.integers(0, 2))
    def refused_append(self, writer: int, bad: tuple[str, dict[str, Any]], good: int) -> None:
        why, event = bad
        with pytest.raises(getattr(timelog.errors, why)):
            if good:
                self.logs[writer].append_many([*[{"content": "good"}] * good, event])
            else:
                self.logs[writer].append(**event)
        self.refused_waiting[writer][why] += good + 1

    @rule(writer=st.integers(0, 1), sync=st.booleans())
    def flush(self, writer: int, sync: bool) -> None:
        log = self.logs[writer]
        log.sync() if sync else log.flush()
        self._committed(writer, closing=False)

    @rule(writer=st.integers(0, 1))
    def reopen(self, writer: int) -> None:
        self.logs[writer].close()
        self._committed(writer, closing=True)
        self.logs[writer] = self.open()

    @rule(writer=st.integers(0, 1))
    def crash(self, writer: int) -> None:
        abandon(self.logs[writer])
        self.waiting[writer] = []
        self.refused_waiting[writer].clear()
        self.logs[writer] = self.open()

    @precondition(lambda self: self.committed)
    @rule(data=st.data(), writer=st.integers(0, 1))
    def search(self, data: st.DataObject, writer: int) -> None:
        low, high = sorted((data.draw(TIMES), data.draw(TIMES)))
        tags, source = data.draw(TAGS), data.draw(SOURCES)
        order = data.draw(st.sampled_from(["asc", "desc"]))
        limit = data.draw(st.none() | st.integers(0, 5))
        bound = data.draw(st.none() | st.integers(0, len(self.committed)))
        expected = [
            event
            for event in self.expected(writer, bound)
            if to_datetime(low) <= event["timestamp"] < to_datetime(high)
            and set(tags) <= set(event["tags"])
            and event["source"] == source
        ]
        if order == "desc":
            expected.reverse()
        found = self.logs[writer].search(
            to_datetime(low),
            to_datetime(high),
            tags=tags,
            source=source,
            order=order,
            limit=limit,
            as_of=bound,
        )
        assert [e.content for e in found] == [e["content"] for e in expected[:limit]]
        assert found.count() == len(expected[:limit])

    @rule(writer=st.integers(0, 1))
    def audit(self, writer: int) -> None:
        refused = self.refused + self.refused_waiting[writer]
        self.check_books(self.logs[writer].audit(), len(self.waiting[writer]), refused)

    @invariant()
    def everything_is_found_in_order(self) -> None:
        if not hasattr(self, "logs"):
            return
        for writer, log in enumerate(self.logs):
            expected = [event["content"] for event in self.expected(writer, None)]
            assert [event.content for event in log.search()] == expected
        with timelog.open(self.path, mode="r") as reader:
            visible = [event for event in self.committed if not self.is_gone(event)]
            expected = [e["content"] for e in sorted(visible, key=_time)]
            assert [event.content for event in reader.search()] == expected
            assert reader.position == len(self.committed)
            assert reader.verify(deep=True).ok
            self.check_books(reader.audit(), 0, self.refused)

    def check_books(self, books: Audit, waiting: int, refused: Counter[str]) -> None:
        assert books.ok, str(books)
        held = books.stored + books.expired + books.deleted
        assert (held, books.waiting, books.lost) == (len(self.committed), waiting, 0)
        assert books.refused == refused
        assert books.entered == len(self.committed) + waiting + refused.total()

    def expected(self, writer: int, bound: int | None) -> list[dict[str, Any]]:
        """By (timestamp, position); what waits in this writer's memory comes after."""
        events = self.committed[:bound]
        if bound is None:
            events = events + self.waiting[writer]
        return sorted((event for event in events if not self.is_gone(event)), key=_time)

    def _committed(self, writer: int, *, closing: bool) -> None:
        # Refusals alone are no reason for a commit, unless no other will come.
        if self.waiting[writer] or closing:
            self.refused += self.refused_waiting[writer]
            self.refused_waiting[writer].clear()
        self.committed += self.waiting[writer]
        self.waiting[writer] = []


def _time(event: dict[str, Any]) -> Any:
    return event["timestamp"]


def test_a_log_equals_a_sorted_list(monkeypatch: Any) -> None:
    # Small limits, so that checkpoints, day files and blocks come within a few steps.
    monkeypatch.setattr(rotate, "MOST_COMMITS", 4)
    monkeypatch.setattr(encode, "DAY_FILE_SPANS", 3)
    monkeypatch.setattr(encode, "BLOCK_SIZE", 400)
    monkeypatch.setattr(merge, "MOST_WAITING", 500)
    monkeypatch.setattr(merge, "MOST_KEYS", 5)
    run_state_machine_as_test(  # type: ignore[no-untyped-call]
        LogMachine, settings=settings(max_examples=60, stateful_step_count=30)
    )

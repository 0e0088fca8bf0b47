"""Long histories of a log against a sorted list: crashes in the middle of flushes, torn tails.

Days go, events are deleted, and what is left is compacted, in whatever order.

Extends the machine of `tests.test_state_machine`: the disk fails or the process dies at any call,
garbage stands behind what was committed, and searches of all kinds are compared.
"""

from __future__ import annotations

import itertools
import re
import time as clock
from collections.abc import Callable
from datetime import timedelta
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import seed, settings
from hypothesis.stateful import initialize, precondition, rule, run_state_machine_as_test

import timelog
from tests.faults import report
from tests.faults.cuts import IS_FULL, SEED
from tests.rig import FaultyStorage, Killed, abandon
from tests.test_state_machine import SOURCES, TAGS, TIMES, LogMachine
from timelog import encode, indexer, merge, rotate, scan
from timelog.codec import decode_lines
from timelog.lock import read_state
from timelog.names import Layout, parse_segment
from timelog.timestamp import DAY, FIRST, SECOND, from_datetime, to_datetime

pytestmark = pytest.mark.timeout(6 * 3600 if IS_FULL else 900)

_PARTS = 3
_EXAMPLES = 100
_STEPS = 30
WRITERS = st.integers(0, 1)
PATTERNS = st.sampled_from(
    [None, "event", "event 1", "[05]$", r"(?i)EVENT \d+", r"\b\d\b", "nowhere", "^event (3|7|12)$"]
)


class FaultyLogMachine(LogMachine):
    """``cursors``: what was committed with events, by name; ``noted``: what waits with them.

    What was deleted is in ``deleted``, by content; what is older than ``horizon``, in microseconds,
    has expired, and with the tag "c" what is older than ``ruled``.
    """

    @initialize()
    def begin(self) -> None:
        self.deleted: set[str] = set()
        self.horizon = self.ruled = FIRST
        self.cursors: dict[str, int] = {}
        self.noted: list[dict[str, int]] = [{}, {}]
        self.steps: itertools.count[int] = itertools.count()
        super().begin()

    def open(self) -> timelog.EventLog:
        return timelog.open(
            self.path,
            flush_interval=3600.0,
            text_index=False,
            scrub_interval=0,
            storage=FaultyStorage(),
        )

    def _committed(self, writer: int, *, closing: bool = False) -> None:
        # A cursor alone is reason enough for a commit, which tells of refusals too.
        super()._committed(writer, closing=closing or bool(self.noted[writer]))
        self.cursors |= self.noted[writer]
        self.noted[writer] = {}

    def times(self, times: list[int]) -> list[int]:
        return [time for time in times if time >= max(self.horizon, self.ruled)]

    def is_gone(self, event: dict[str, Any]) -> bool:
        at = from_datetime(event["timestamp"])
        is_ruled = "c" in event["tags"] and at < self.ruled
        return event["content"] in self.deleted or at < self.horizon or is_ruled

    def _visible(self) -> list[dict[str, Any]]:
        return [event for event in self.committed if not self.is_gone(event)]

    def _crashed(self, writer: int) -> None:
        self.waiting[writer], self.noted[writer] = [], {}
        self.refused_waiting[writer].clear()

    @rule(writer=WRITERS)
    def crash(self, writer: int) -> None:
        abandon(self.logs[writer])
        self._crashed(writer)
        self.logs[writer] = self.open()

    @rule(writer=WRITERS, name=st.sampled_from("ab"), time=TIMES, is_alone=st.booleans())
    def append_with_a_cursor(self, writer: int, name: str, time: int, is_alone: bool) -> None:
        value = next(self.steps)
        if not is_alone and not self.times([time]):
            return
        event = {
            "content": f"event {self.number}",
            "timestamp": to_datetime(time),
            "tags": ("a",),
            "source": "one",
        }
        self.logs[writer].append_many([] if is_alone else [event], cursor=(name, value))
        self.noted[writer][name] = value
        if not is_alone:
            self.number += 1
            self.waiting[writer].append(event)

    @rule(writer=WRITERS, time=TIMES)
    def append_durably(self, writer: int, time: int) -> None:
        if not self.times([time]):
            return
        event = {
            "content": f"event {self.number}",
            "timestamp": to_datetime(time),
            "tags": (),
            "source": "two",
        }
        self.number += 1
        self.logs[writer].append(**event, sync=True)
        self.waiting[writer].append(event)
        self._committed(writer)

    @precondition(lambda self: any(self.waiting))
    @rule(
        writer=WRITERS,
        after=st.integers(1, 14),
        fault=st.sampled_from(["torn", "kill"]),
        garbage=st.binary(max_size=40),
    )
    def tear(self, writer: int, after: int, fault: str, garbage: bytes) -> None:
        """The process dies in a flush; whoever opens the log next repairs."""
        log = self.logs[writer]
        storage = self._arm(log, after, fault)
        try:
            log.flush()
        except Killed:
            abandon(log)
            self._add_garbage(garbage)
            self.logs[writer] = self.open()
            if self.logs[writer].position > len(self.committed):
                self._committed(writer)
            else:
                # Of a flush of cursors alone no position tells.
                self._see_cursors(writer)
                self._crashed(writer)
        else:
            storage.heal()
            self._committed(writer)

    @precondition(lambda self: any(self.waiting))
    @rule(
        writer=WRITERS,
        after=st.integers(1, 14),
        fault=st.sampled_from(["EIO", "ENOSPC", "EMFILE"]),
        is_sticky=st.booleans(),
    )
    def fail(self, writer: int, after: int, fault: str, is_sticky: bool) -> None:
        """The disk refuses once, or until it is well again; then everything is stored."""
        log = self.logs[writer]
        storage = self._arm(log, after, fault)
        storage.sticky = is_sticky
        try:
            log.flush()
        except timelog.errors.StorageError:
            for _ in range(2):
                waiting = (event for event in self.waiting[writer] if not self.is_gone(event))
                contents = {event["content"] for event in waiting}
                assert contents <= {event.content for event in log.search()}
        storage.heal()
        log.reopen()
        self._committed(writer)

    @rule(writer=WRITERS)
    def index_text(self, writer: int) -> None:
        if indexer.is_possible():
            self.logs[writer].index_text()
            self._committed(writer)

    @precondition(lambda self: self._visible())
    @rule(data=st.data(), writer=WRITERS, erase=st.booleans(), after=st.integers(0, 20))
    def delete(self, data: st.DataObject, writer: int, erase: bool, after: int) -> None:
        content = data.draw(st.sampled_from([event["content"] for event in self._visible()]))
        log = self.logs[writer]
        (id,) = (event.id for event in log if event.content == content)
        self._take_out(writer, after, lambda: log.delete(id, erase=erase), {content}, None)
        if not erase and not after:
            with pytest.raises(timelog.errors.EventNotFound):
                log.delete(id)

    @rule(writer=WRITERS, after=st.integers(0, 30), archive=st.booleans())
    def compact(self, writer: int, after: int, archive: bool) -> None:
        log = self.logs[writer]
        archive = archive and find_spec("zstandard") is not None
        self._take_out(writer, after, lambda: log.compact(archive=archive), set(), None)
        if not after:
            held = {
                event.content
                for file in self.path.glob("*-*-*/*.jsonl")
                for event in decode_lines(file.read_bytes())
            }
            gone = {event["content"] for event in self.committed if self.is_gone(event)}
            assert not held & gone
            assert len(list(self.path.glob("*-*-*/*"))) <= len(set(log.files()))

    @rule(writer=WRITERS)
    def snapshot_and_restore(self, writer: int) -> None:
        log = self.logs[writer]
        taken = log.snapshot(self.path.parent / "snapshots")
        self._committed(writer)
        assert taken.ok and taken.position == log.position
        expected = [event.content for event in log]
        restored = self.path.parent / f"restored {len(list(self.path.parent.iterdir()))}"
        timelog.restore_snapshot(taken.path, restored)
        for path, mode in ((taken.path, "r"), (restored, "a")):
            with timelog.open(path, mode=mode) as copy:
                assert [event.content for event in copy] == expected
                assert copy.verify(deep=True).ok and copy.audit().ok
        log.prune_snapshots(self.path.parent / "snapshots")

    @precondition(lambda self: self.committed)
    @rule(writer=WRITERS, after=st.integers(0, 14), days=st.integers(-1, 2), ruled=st.booleans())
    def expire(self, writer: int, after: int, days: int, ruled: bool) -> None:
        """By an age that ends in the middle of a day."""
        log = self.logs[writer]
        age = timedelta(seconds=clock.time() - days * DAY / SECOND - 7200)
        limits = {"tags": {"c": age}} if ruled else {"age": age}
        self._take_out(writer, after, lambda: log.expire(**limits), set(), (days * DAY, ruled))

    def _take_out(
        self,
        writer: int,
        after: int,
        act: Callable[[], object],
        deleted: set[str],
        horizon: tuple[int, bool] | None,
    ) -> None:
        """Do something that takes events out, in one step.

        The process dies ``after`` so many calls; after 0 it does not.
        """
        log = self.logs[writer]
        if after:
            storage = self._arm(log, after, "kill")
        try:
            act()
        except Killed:
            abandon(log)
            self.logs[writer] = log = self.open()
            if log.position > len(self.committed):
                self._committed(writer)
            else:
                self._see_cursors(writer)
                self._crashed(writer)
            found = {event.content for event in log}
            visible = {event["content"] for event in self._visible()}
            if found == visible:
                # Perhaps it happened, and took nothing out that was there.
                horizons = log._store.index.removal.horizons
                if horizon is None or not any(horizon[0] in each.values() for each in horizons):
                    return
        else:
            if after:
                storage.heal()
            if horizon is None:
                self._committed(writer)
        self.deleted |= deleted
        if horizon is not None:
            at, ruled = horizon
            self.ruled = max(self.ruled, at) if ruled else self.ruled
            self.horizon = self.horizon if ruled else max(self.horizon, at)

    @rule(writer=WRITERS)
    def look_at_cursors(self, writer: int) -> None:
        for name in "abc":
            expected = self.noted[writer].get(name, self.cursors.get(name))
            assert self.logs[writer].cursor(name) == expected

    @rule(data=st.data(), writer=WRITERS)
    def search_in_all_ways(self, data: st.DataObject, writer: int) -> None:
        pattern, tags = data.draw(PATTERNS), data.draw(TAGS)
        sources = data.draw(st.none() | st.lists(SOURCES, max_size=2))
        order = data.draw(st.sampled_from(["asc", "desc"]))
        limit = data.draw(st.none() | st.integers(0, 5))
        bound = data.draw(st.none() | st.integers(0, len(self.committed)))
        is_even = data.draw(st.booleans())
        low, high = sorted((data.draw(TIMES), data.draw(TIMES)))
        start, end = data.draw(
            st.sampled_from(
                [(None, None), (low, high), (low, None), (None, high), (low, low), (high, high + 1)]
            )
        )
        expected = [
            event
            for event in self.expected(writer, bound)
            if (start is None or to_datetime(start) <= event["timestamp"])
            and (end is None or event["timestamp"] < to_datetime(end))
            and set(tags) <= set(event["tags"])
            and (sources is None or event["source"] in sources)
            and (pattern is None or re.search(pattern, event["content"]))
            and not (is_even and int(event["content"].split()[1]) % 2)
        ]
        if order == "desc":
            expected.reverse()
        log = self.logs[writer]
        found = log.search(
            None if start is None else to_datetime(start),
            None if end is None else to_datetime(end),
            tags=tags,
            source=sources,
            pattern=pattern,
            where=(lambda event: not int(event.content.split()[1]) % 2) if is_even else None,
            order=order,
            limit=limit,
            as_of=bound,
        )
        events = found.to_list()
        assert [event.content for event in events] == [e["content"] for e in expected[:limit]]
        assert found.count() == len(events)
        assert found.first() == (events[0] if events else None)
        assert not found.damage
        for event in events[:3]:
            assert log.get(event.id) == event

    def _arm(self, log: timelog.EventLog, after: int, fault: str) -> FaultyStorage:
        storage = log._store.storage
        assert isinstance(storage, FaultyStorage)
        storage.arm(fault, only="")
        storage.at += after - 1
        storage.sticky = False
        return storage

    def _add_garbage(self, garbage: bytes) -> None:
        """What a torn write may leave: behind the end of the files that the busy mark names."""
        layout = Layout(self.path)
        state = read_state(FaultyStorage(), layout.lock)
        if state is None or state.busy is None:
            return
        for name in state.busy.files:
            file = layout.segment(name)
            assert parse_segment(name)
            if file.exists():
                with file.open("ab") as opened:
                    opened.write(garbage)
        journal: Path = layout.journal(state.busy.journal)
        if journal.stat().st_size == state.busy.offset:
            with journal.open("ab") as opened:
                opened.write(garbage)

    def _see_cursors(self, writer: int) -> None:
        for name, value in self.noted[writer].items():
            if self.logs[writer].cursor(name) == value:
                self.cursors[name] = value


@pytest.mark.parametrize("part", range(_PARTS))
def test_a_log_with_faults_equals_a_sorted_list(part: int, monkeypatch: pytest.MonkeyPatch) -> None:
    # Small limits, so that checkpoints, day files and blocks come within a few steps.
    monkeypatch.setattr(rotate, "MOST_COMMITS", 4)
    monkeypatch.setattr(encode, "DAY_FILE_SPANS", 3)
    monkeypatch.setattr(encode, "BLOCK_SIZE", 400)
    monkeypatch.setattr(merge, "MOST_WAITING", 500)
    monkeypatch.setattr(merge, "MOST_KEYS", 5)
    monkeypatch.setattr(indexer, "LEAST_TEXT", 1)
    monkeypatch.setattr(scan, "_WORTH", 0)

    class Machine(FaultyLogMachine):
        pass

    run_state_machine_as_test(  # type: ignore[no-untyped-call]
        seed(SEED + part)(Machine),
        settings=settings(max_examples=_EXAMPLES, stateful_step_count=_STEPS),
    )
    report.record(f"histories, part {part}: {_EXAMPLES} x {_STEPS} steps, seed {SEED + part}")

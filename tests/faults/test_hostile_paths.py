"""Links, FIFOs, directories, sockets, devices and foreign files where the library opens something.

Whatever stands there: a clear error or a report, nothing followed, nothing hung, nothing lost, and
the log goes on when it has been taken away.
"""

from __future__ import annotations

import itertools
import logging
import os
import random
import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import timelog
from tests.faults import report
from tests.faults.cuts import IS_FULL, SEED
from tests.faults.planted import DAYS, KINDS, alarm, make_log, open_log, paths_of, planted
from tests.rig import abandon
from timelog import scan

pytestmark = pytest.mark.timeout(1800)

# What nobody can store anything in, or through.
ALIEN = ("link", "link to a directory", "dangling link", "loop of links", "fifo", "socket")
MOMENTS = list(itertools.product("ar", ("before", "while")))


class Case:
    """One thing planted in one place, and what the log made of it."""

    def __init__(self, path: Path, contents: list[str], counts: Counter[str]) -> None:
        self.path = path
        self.stored = set(contents)
        self.issued = set(contents)
        self.counts = counts

    def run(self, name: str, kind: str, mode: str, moment: str, outside: Path) -> None:
        log = open_log(self.path, mode=mode) if moment == "while" else None
        with planted(self.path / name, kind, outside):
            if log is None:
                log = self.call(lambda: open_log(self.path, mode=mode))
            if log is not None:
                for step in self.steps(log, mode):
                    self.call(step)
        if kind in ALIEN:
            self.goes_on(log, mode)
        elif log is not None and not os.listdir(outside):
            # What was there is there again.
            abandon(log)
            with timelog.open(self.path, mode="r") as reader:
                assert self.stored <= {event.content for event in reader.search()} | self.new()

    def call(self, step: Callable[[], object]) -> object:
        """Nothing but an error of the library comes out, and it says what is wrong where."""
        try:
            with alarm():
                return step()
        except timelog.TimelogError as error:
            self.counts[type(error).__name__] += 1
            assert str(error).strip() and "None" not in str(error)
            if isinstance(error, OSError):
                assert str(self.path) in str(error)
        return None

    def steps(self, log: timelog.EventLog, mode: str) -> Iterator[Callable[[], object]]:
        yield lambda: self.search(log)
        yield lambda: self.search(log, "needle3")
        yield lambda: log.search().count()
        yield lambda: log.get("nothing like it")
        yield log.files
        yield lambda: (log.cursor("place"), log.position)
        yield lambda: str(log.health())
        yield lambda: str(log.verify(deep=True))
        if mode == "a":
            yield lambda: self.append(log, None)
            yield lambda: self.append(log, DAYS[1])
            yield log.index_text
            # They are called by timers, which log whatever it is.
            yield lambda: _background(log._store._scrub_in_background)
            yield lambda: _background(log._store._index_in_background)
            yield lambda: log._store.flusher._exclusive(None, True, closing=True)
            yield log.reopen
        yield lambda: self.search(log)

    def search(self, log: timelog.EventLog, text: str = "") -> None:
        results = log.search(pattern=text or None)
        found = [event.content for event in results]
        assert len(found) == len(set(found))
        assert set(found) <= {content for content in self.issued if text in content}
        if not {content for content in self.stored if text in content} <= set(found):
            is_told = results.damage or log.health().status == "critical"
            assert is_told, "events are missing, and nobody says so"

    def append(self, log: timelog.EventLog, timestamp: int | None) -> None:
        content = f"new {len(self.issued)} needle3"
        # Taken or not, it was issued; taken back nothing is.
        log.append(content, timestamp=timestamp)
        self.issued.add(content)
        log.sync()
        self.stored.add(content)

    def new(self) -> set[str]:
        return {content for content in self.issued if content.startswith("new")}

    def goes_on(self, log: timelog.EventLog | None, mode: str) -> None:
        """It has been taken away: everything is there, what waits in memory is stored."""
        if log is not None and mode == "a":
            log.reopen()
            self.append(log, None)
            log.close()
            self.stored |= self.issued
        elif log is not None:
            self.search(log)
            log.close()
        with open_log(self.path) as again:
            assert {event.content for event in again.search()} == self.stored
            checked = again.verify(deep=True)
            assert not checked.damage and not checked.torn, str(checked)


def _background(step: Callable[[], object]) -> None:
    try:
        step()
    except OSError as error:
        assert error.filename or isinstance(error, timelog.TimelogError)


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    path = tmp_path_factory.mktemp("sample") / "log"
    return path, make_log(path)


@pytest.mark.parametrize("kind", KINDS)
def test_what_does_not_belong_there(
    ram: Path,
    sample: tuple[Path, list[str]],
    kind: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    if kind == "device" and os.geteuid() != 0:
        pytest.skip("NOT RUN: 36 planted devices: making one takes root")
    caplog.set_level(logging.CRITICAL + 1, "timelog")
    # The text index is asked about every search.
    monkeypatch.setattr(scan, "_WORTH", 0)
    original, contents = sample
    rng = random.Random(f"{SEED} {kind}")
    counts: Counter[str] = Counter()
    cases = 0
    for name in paths_of(original):
        for mode, moment in MOMENTS if IS_FULL else rng.sample(MOMENTS, 1):
            path, outside = ram / "log", ram / "outside"
            shutil.copytree(original, path)
            outside.mkdir()
            try:
                Case(path, contents, counts).run(name, kind, mode, moment, outside)
            except BaseException as error:
                error.add_note(f"{kind} at {name}, {moment} it was open, mode {mode!r}")
                raise
            cases += 1
            shutil.rmtree(path)
            shutil.rmtree(outside)
    assert sum(counts.values()) > cases / 4, "the log hardly noticed"
    report.record(f"planted {kind}: {cases} cases, {counts.total()} clear errors, seed {SEED}")

"""A run of a workload that goes on when a call fails, as a program that must not lose events does.

Each error is looked at: it must be the library's. The call is then made again with the fault still
there, the fault is mended, and the call is made once more, without reopening anything; only a log
that says that it is degraded is told to `reopen`. Meanwhile the log must show every event once.
Some flushes later the run ends, since what comes then is as in a run without faults.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

import timelog
from tests.faults.oracle import Violation
from tests.faults.real import RealStorage
from tests.faults.workloads import Run, Workload, settings
from timelog.errors import DegradedError, TimelogError
from timelog.event import Event

_MORE = 2


class Enough(Exception):
    """The run has shown what it was to show."""


class _Ears(logging.Handler):
    """Counts what the library logs: damage that somebody met, or that no checkpoint was written."""

    heard = 0

    def emit(self, record: logging.LogRecord) -> None:
        """Count it."""
        self.heard += 1


_ears = _Ears(logging.WARNING)
logging.getLogger("timelog").addHandler(_ears)


class StubbornRun(Run):
    """A run over ``storage`` in which every flush succeeds in the end, and is then acknowledged.

    ``heal`` mends the fault. ``first``: the number of the first event, less one. What was met is
    in ``errors``; ``is_told`` says whether any fault was raised or counted.
    """

    def __init__(
        self, storage: RealStorage, sync: str, heal: Callable[[], object], first: int = 0
    ) -> None:
        super().__init__(storage, sync)
        self._heal = heal
        self._number = first
        self._earlier: list[Event] = []
        self._perhaps: list[Event] = []
        self._opened: list[timelog.EventLog] = []
        # How many flushes are still to come, once there was an error.
        self._left = _MORE
        self._is_finishing = False
        self.errors: list[TimelogError] = []
        self._heard_before = _ears.heard
        # What the present step takes out, in one moment of it.
        self._going: frozenset[str] = frozenset()

    @property
    def is_told(self) -> bool:
        """Whether any fault was raised, logged, or counted by a log."""
        counters = (log._store.flusher.counters for log in self._opened)
        is_logged = _ears.heard > self._heard_before
        is_counted = any(each.errors for each in counters)
        return bool(self.errors) or is_logged or is_counted

    def expect(self, events: list[Event], perhaps: list[Event]) -> None:
        """Expect in the log the events of a run before this one; of some only perhaps."""
        self._earlier, self._perhaps = events, perhaps

    def open(self) -> timelog.EventLog:
        """As `Run.open`."""
        for left in (2, 1, 0):
            try:
                log = super().open()
                self._opened.append(log)
                return log
            except TimelogError as error:
                if not left:
                    raise Violation(
                        f"opening fails although nothing is wrong: {error!r}"
                    ) from error
                self.errors.append(error)
                if left == 1:
                    self._heal()
        raise AssertionError

    def flush(self, log: timelog.EventLog) -> None:
        """As `Run.flush`; a process that is killed keeps what was flushed."""
        self._insist(log, super().flush, log.flush)

    def sync(self, log: timelog.EventLog) -> None:
        """As `Run.sync`."""
        self._insist(log, super().sync, log.sync)

    def append_sync(self, log: timelog.EventLog, at: int) -> None:
        """As `Run.append_sync`."""
        append = super().append_sync
        self._insist(log, lambda log: append(log, at), log.sync)

    def append_many_sync(self, log: timelog.EventLog, events: list[Event]) -> None:
        """As `Run.append_many_sync`."""
        append = super().append_many_sync
        self._insist(log, lambda log: append(log, events), log.sync)

    def step(
        self,
        log: timelog.EventLog,
        act: Callable[[], object],
        gone: frozenset[str] = frozenset(),
        erased: frozenset[str] = frozenset(),
        *,
        flushes: bool = True,
    ) -> None:
        """As `Run.step`."""
        step = super().step
        self._going = gone

        def reopen() -> None:
            log.reopen()
            act()

        self._insist(
            log, lambda log: step(log, act, gone, erased, flushes=flushes), act, reopen=reopen
        )
        self._going = self.announced = frozenset()

    def close(self, log: timelog.EventLog) -> None:
        """As `Run.close`."""
        self._insist(log, super().close, log.close)
        # Where it was degraded it was told to reopen instead.
        log.close()
        self._logs = [each for each in self._logs if each is not log]

    def finish(self) -> None:
        """Mend the fault, and close what a workload that was ended left open."""
        self._is_finishing = True
        self._heal()
        for log in list(self._logs):
            self.close(log)

    def _insist(
        self,
        log: timelog.EventLog,
        first: Callable[[timelog.EventLog], object],
        again: Callable[[], object],
        *,
        reopen: Callable[[], object] | None = None,
    ) -> None:
        if self.errors and not self._is_finishing:
            if not self._left:
                raise Enough
            self._left -= 1
        if not self._try(lambda: first(log)) and not self._try(again):
            self._look(log, is_healed=False)
            self._heal()
            self._look(log, is_healed=True)
            # The last of them may have failed before it came to that.
            if any(isinstance(error, DegradedError) for error in self.errors[-2:]):
                if self._try(again):
                    raise Violation("a degraded log went on without being told to reopen")
                again = reopen or log.reopen
            if not self._try(again):
                raise Violation(f"a call fails although nothing is wrong: {self.errors[-1]!r}")
        self._acknowledge()

    def _try(self, call: Callable[[], object]) -> bool:
        try:
            call()
        except TimelogError as error:
            self.errors.append(error)
            return False
        return True

    def _look(self, log: timelog.EventLog, *, is_healed: bool) -> None:
        """The log shows all that was appended, each event once, whether stored yet or not."""
        issued = [event for group in self.groups for event in group.events]
        issued += self._waiting[log]
        try:
            results = log.search()
            found = list(results)
        except TimelogError as error:
            if is_healed:
                raise Violation(f"a search fails although nothing is wrong: {error!r}") from error
            return
        there = {event.id for event in found}
        gone = {id for group in self.groups for id in group.gone} - self._going
        if not self._going & there:
            gone |= self._going
        gone |= self.announced - there
        issued = [event for event in issued if event.id not in gone]
        earlier = [*self._earlier, *(event for event in self._perhaps if event.id in there)]
        expected = sorted(earlier + issued, key=lambda event: event.timestamp)
        if found == expected and not results.damage:
            return
        if is_healed or not results.damage or not there < {event.id for event in expected}:
            ids = [event.id for event in found]
            raise Violation(f"after an error a search finds {ids}, and damage {results.damage}")


def run_stubbornly(workload: Workload, run: StubbornRun) -> None:
    """Run the workload; where an error ends it, or there was enough of it, close what is open.

    Raises `Violation`, or whatever was raised that is not the library's.
    """
    try:
        with settings(workload):
            try:
                workload.run(run)
            except Enough:
                run.finish()
            except TimelogError as error:
                run.errors.append(error)
                run.finish()
    finally:
        run.abandon()

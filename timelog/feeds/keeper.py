"""`Keeper`: the events of failing tests, for the plugin `pytest`.

Kept of a test that failed, in its set-up, its call or its tear-down, are the log records of all
three, the reports of those that failed, and what it printed; in this order, when the test has
ended.
"""

from __future__ import annotations

import copy
import logging
import warnings
from collections.abc import Generator
from typing import Any

import pytest

from timelog.errors import TimelogError
from timelog.feeds.logging import LogHandler
from timelog.fit import fit_content, fit_source

# Of one test: the last ones count.
_MOST_RECORDS = 10_000


class Keeper:
    """A plugin that collects what the running test tells, and stores it if the test fails.

    ``directory``: of the log. Raises what `timelog.open` does.
    """

    def __init__(self, directory: str) -> None:
        self._handler = LogHandler(directory, tags=("test",))
        self._records = Records()
        self._failures: list[pytest.TestReport] = []
        self._kept = 0

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Generator[None, object, object]:
        """Around a test: collect its records, and store them if it failed."""
        self._records.kept.clear()
        self._failures.clear()
        root = logging.getLogger()
        root.addHandler(self._records)
        try:
            return (yield)
        finally:
            root.removeHandler(self._records)
            if self._failures:
                self._store(item)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(
        self, item: pytest.Item
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        """Remember the report of a part of the test that failed."""
        report = yield
        if report.failed:
            self._failures.append(report)
        return report

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        """Say where the events are."""
        if self._kept:
            terminalreporter.write_line(
                f"timelog: the events of {self._kept} failing tests are in {self._handler.log.path}"
            )

    def pytest_unconfigure(self) -> None:
        """Close the log."""
        self._handler.close()

    def _store(self, item: pytest.Item) -> None:
        self._kept += 1
        for record in self._records.kept:
            record.test = item.nodeid
            self._handler.handle(record)
        try:
            for report in self._failures:
                self._say(item, report.when, report.longreprtext, duration=report.duration)
            # The last report has the output of all parts before it as well.
            for title, text in self._failures[-1].sections:
                if not title.startswith("Captured log"):
                    self._say(item, title.lower(), text)
        except TimelogError as error:
            warnings.warn(pytest.PytestWarning(f"timelog: {error}"), stacklevel=1)

    def _say(self, item: pytest.Item, part: str, text: str, **fields: Any) -> None:
        self._handler.log.append(
            fit_content(text),
            source=fit_source(item.nodeid),
            tags=("failed", "test"),
            fields={"test": fit_source(item.nodeid), "part": part, **fields},
        )


class Records(logging.Handler):
    """Keeps records as they were when they came: their arguments may change later."""

    def __init__(self) -> None:
        super().__init__()
        self.kept: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep the record, with its message made."""
        try:
            kept = copy.copy(record)
            kept.msg, kept.args = record.getMessage(), None
            self.kept.append(kept)
            del self.kept[:-_MOST_RECORDS]
        except Exception:
            self.handleError(record)

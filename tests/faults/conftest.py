"""Prints what the fault tests recorded: how much was tried, and from which seed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.faults import report

_KEY = "faults"


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[None]:
    """Hand the lines of a test to whoever prints: that may be another process."""
    outcome: Any = yield
    outcome.get_result().user_properties += [(_KEY, line) for line in report.take()]


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Print the lines of all tests in a section of their own."""
    reports = [each for some in terminalreporter.stats.values() for each in some]
    properties = [p for each in reports for p in getattr(each, "user_properties", ())]
    lines = sorted({line for key, line in properties if key == _KEY})
    if lines:
        terminalreporter.section("faults")
        for line in lines:
            terminalreporter.write_line(line)

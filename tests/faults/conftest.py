"""Prints what the fault tests recorded: how many states, and from which seed."""

from __future__ import annotations

import pytest

from tests.faults import report


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the lines of `report` in a section of their own."""
    if report.lines:
        terminalreporter.section("faults")
        for line in report.lines:
            terminalreporter.write_line(line)

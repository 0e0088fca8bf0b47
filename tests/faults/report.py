"""What the fault tests did, in lines that are printed at the end of the test run."""

from __future__ import annotations

_lines: list[str] = []


def record(line: str) -> None:
    """Have ``line`` printed in the summary."""
    _lines.append(line)


def take() -> list[str]:
    """The lines that were recorded since the last call."""
    lines = _lines.copy()
    _lines.clear()
    return lines

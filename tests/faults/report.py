"""What the fault tests did, in lines that are printed at the end of the test run."""

from __future__ import annotations

lines: list[str] = []


def record(line: str) -> None:
    """Have ``line`` printed in the summary."""
    lines.append(line)

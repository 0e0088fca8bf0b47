"""`Damage`: how damage is named, wherever it is met."""

from __future__ import annotations

from typing import NamedTuple


class Damage(NamedTuple):
    """A stretch of a file that is not what was written."""

    file: str
    offset: int
    length: int
    reason: str

    def __str__(self) -> str:
        return f"{self.file}: {self.length} bytes at {self.offset}: {self.reason}"

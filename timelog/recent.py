"""`Recent`: the newest blocks in the order of their commits, for who follows the log.

Made by the index, and changed only under its lock. It forgets the oldest; what it does not have is
looked for in the days.
"""

from __future__ import annotations

from collections import deque
from itertools import takewhile

from timelog.journal import Block, Commit

# Some 500 bytes each.
_MOST_BLOCKS = 4_096


class Recent:
    """All positions from ``start`` on that are in any block are in one of these."""

    def __init__(self, start: int) -> None:
        self.start = start
        self._commits: deque[tuple[int, tuple[Block, ...]]] = deque()
        self._count = 0

    def add(self, commit: Commit) -> None:
        """Add the blocks of the next commit, which holds new events."""
        self._commits.append((commit.position + commit.count, commit.blocks))
        self._count += len(commit.blocks)
        while self._count > _MOST_BLOCKS:
            self.start, blocks = self._commits.popleft()
            self._count -= len(blocks)

    def since(self, position: int) -> list[Block]:
        """The blocks of the commits that end behind ``position``, which is not before ``start``."""
        newest = takewhile(lambda commit: commit[0] > position, reversed(self._commits))
        return [block for _, blocks in newest for block in blocks]

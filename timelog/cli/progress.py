"""A progress bar on stderr, where stderr is a terminal and rich is there; otherwise nothing."""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TypeAlias

Advance: TypeAlias = Callable[[int], None]  # told how many more bytes are done
Reach: TypeAlias = Callable[[int, int | None], None]  # told how many are done, and of how many


@contextmanager
def progress_of(files: Sequence[str], wanted: bool) -> Iterator[Advance]:
    """Show how far the reading of ``files`` is while the block runs; yield what to tell it."""
    total = _total(files)
    done = 0
    with progress_bar(wanted) as reach:

        def advance(more: int) -> None:
            nonlocal done
            done += more
            reach(done, total)

        yield advance


@contextmanager
def progress_bar(wanted: bool) -> Iterator[Reach]:
    """Show how far something is while the block runs; yield what to tell it."""
    if not wanted or not _is_terminal():
        yield _ignore
        return
    try:
        from rich.console import Console
        from rich.progress import BarColumn, DownloadColumn, Progress, TimeRemainingColumn
    except ImportError:
        yield _ignore
        return
    columns = (BarColumn(), DownloadColumn(binary_units=True), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("", total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def _is_terminal() -> bool:
    """Whether stderr is a terminal on which a line can be drawn again."""
    return sys.stderr is not None and sys.stderr.isatty() and os.environ.get("TERM") != "dumb"


def _ignore(done: int, total: int | None) -> None:
    pass


def _total(files: Sequence[str]) -> int | None:
    """Return the bytes of all files together; None where one has no size, such as a pipe."""
    total = 0
    for name in files:
        try:
            status = os.fstat(0) if name == "-" else os.stat(name)
        except OSError:
            continue  # reported where it is read
        if not stat.S_ISREG(status.st_mode):
            return None
        total += status.st_size
    return total

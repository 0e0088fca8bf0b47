"""Things that do not belong there, at every path that the library opens, and a log for them.

A case is a path, a kind of thing and a moment. What the log then does is noted call by call: each
may raise a `TimelogError` and nothing else, and end within seconds. Links lead to what stood there,
moved away, so that following one would work, and would be seen.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import timelog
from timelog import indexer, names
from timelog.storage import Storage

SECONDS = 10
# The clock of all these logs.
NOW = 1_795_000_000
# A sealed day of many minutes, one of few, and the minute that is written to now.
DAYS = (NOW - 2 * 86_400, NOW - 86_400)


class Frozen(Storage):
    """The storage of production, at a time that the test chose; nothing waits for the disk."""

    now = NOW * 1_000_000_000

    def time_ns(self) -> int:
        """Always the same."""
        return self.now

    def sync(self, fd: int) -> None:
        """Nothing: no power is lost here."""


class Hung(AssertionError):
    """A call did not return in time."""


@contextmanager
def alarm(seconds: int = SECONDS) -> Iterator[None]:
    """Raise `Hung` where the block takes longer."""

    def ring(number: int, frame: object) -> None:
        raise Hung(f"nothing came back within {seconds} seconds")

    before = signal.signal(signal.SIGALRM, ring)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def open_log(path: Path, **options: Any) -> timelog.EventLog:
    """Open a log in which nothing happens in the background."""
    options = {
        "flush_interval": 3600.0,
        "text_index": False,
        "scrub_interval": 0,
        "storage": Frozen(),
        **options,
    }
    return timelog.open(path, **options)


def make_log(path: Path) -> list[str]:
    """Make a log that has every kind of file there is; return the contents of its events."""
    contents = []

    def event(at: int) -> dict[str, object]:
        contents.append(f"event {len(contents)} needle{len(contents) % 7}")
        return {"content": contents[-1], "timestamp": at, "tags": ["all"], "source": "x"}

    with mock.patch.object(indexer, "LEAST_TEXT", 1), open_log(path) as log:
        log.append_many([event(DAYS[0] + n * 60) for n in range(30)])
        log.append_many([event(DAYS[1] + n) for n in range(5)], cursor=("place", 1))
        log.flush()
        if indexer.is_possible():
            log.index_text()
        log._store.flusher._exclusive(None, True, closing=True)
        log.append_many([event(DAYS[1] + n) for n in range(60, 65)])
        log.append_many([event(NOW), event(NOW)], sync=True)
        log._store.scrubber.step()
    return contents


def paths_of(path: Path) -> list[str]:
    """Everything below a log that is opened, listed or made, whether it is there or not."""
    there = [str(each.relative_to(path)) for each in sorted(path.rglob("*"))]
    journal = max(n for n in map(names.parse_journal, os.listdir(path / ".timelog/journal")) if n)
    following = names.journal(journal + 1)
    today = names.partition(NOW * 1_000_000)
    absent = [
        f".timelog/journal/{following}",
        f".timelog/tmp/{following}",
        f".timelog/index/{today}.{journal + 1}.index",
        f".timelog/tmp/{today}.{journal + 1}.index",
        ".timelog/tmp/root",
        ".timelog/tmp/scrub",
        ".timelog/tmp/text",
        ".timelog/tmp/anything",
        f".timelog/index/{today}.0123456789ab.text",
        names.partition(NOW * 1_000_000 + 86_400_000_000),
        f"{today}/foreign",
    ]
    return there + [name for name in absent if name not in there]


Plant = Callable[[Path, Path], None]


def _link(path: Path, away: Path) -> None:
    """A link to what stood there, or to what one would like to have written."""
    if not away.exists():
        away.write_bytes(b"outside")
    path.symlink_to(away)


def _link_to_directory(path: Path, away: Path) -> None:
    directory = away.with_name("directory")
    directory.mkdir()
    path.symlink_to(directory)


def _dangling(path: Path, away: Path) -> None:
    path.symlink_to(away.with_name("nothing"))


def _loop(path: Path, away: Path) -> None:
    path.symlink_to(path)


def _directory(path: Path, away: Path) -> None:
    path.mkdir()
    (path / "inside").write_bytes(b"inside")


def _socket(path: Path, away: Path) -> None:
    # Paths of sockets are short.
    here = os.open(path.parent, os.O_PATH)
    try:
        with socket.socket(socket.AF_UNIX) as made:
            made.bind(f"/proc/self/fd/{here}/{path.name}")
    finally:
        os.close(here)


def _device(path: Path, away: Path) -> None:
    # /dev/zero: reading it does not end.
    os.mknod(path, 0o600 | stat.S_IFCHR, os.makedev(1, 5))


def _text(path: Path, away: Path) -> None:
    path.write_bytes(b"This is not what you are looking for.\n" * 10)


def _nothing(path: Path, away: Path) -> None:
    pass


KINDS: dict[str, Plant] = {
    "link": _link,
    "link to a directory": _link_to_directory,
    "dangling link": _dangling,
    "loop of links": _loop,
    "fifo": lambda path, away: os.mkfifo(path),
    "directory": _directory,
    "socket": _socket,
    "device": _device,
    "foreign file": _text,
    "empty file": lambda path, away: path.touch(),
    "nothing": _nothing,
}


@contextmanager
def planted(path: Path, kind: str, outside: Path) -> Iterator[None]:
    """Put a thing in the place of ``path``; afterwards take it away, and put back what was there.

    Where the log has put a file of its own there instead, that stays. Links lead to ``outside``.
    Raises `AssertionError` where anything was changed there.
    """
    away = outside / "away"
    was_there = os.path.lexists(path)
    if was_there:
        os.rename(path, away)
    KINDS[kind](path, away)
    thing, before = _identity(path), picture(outside)
    yield
    assert picture(outside) == before, "what a link leads to was changed"
    if _identity(path) == thing:
        if path.is_symlink() or not path.is_dir():
            path.unlink(missing_ok=True)
        else:
            shutil.rmtree(path)
        if was_there:
            os.rename(away, path)


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        info = path.lstat()
    except FileNotFoundError:
        return None
    return info.st_mode, info.st_ino


def picture(root: Path) -> dict[str, tuple[object, ...]]:
    """What is below a directory, to compare."""
    seen: dict[str, tuple[object, ...]] = {}
    for each in sorted(root.rglob("*")):
        info = each.lstat()
        data = each.read_bytes() if stat.S_ISREG(info.st_mode) else b""
        seen[str(each.relative_to(root))] = (info.st_mode, info.st_ino, info.st_mtime_ns, data)
    return seen

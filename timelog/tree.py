"""What is in a log's directory by the names alone: partitions and the segments in them.

Of these only what bears a name of the log and is a directory, or a plain file, counts; the rest is
foreign and left alone. Also what is below any directory, whatever it is, and making directories.
"""

from __future__ import annotations

import stat
from collections.abc import Iterator
from contextlib import suppress
from os import stat_result
from pathlib import Path
from typing import NamedTuple

from timelog import names
from timelog.names import Layout, SegmentName
from timelog.storage import Storage


class Found(NamedTuple):
    """A segment that is there, and its size in bytes."""

    name: SegmentName
    path: str
    size: int


def partitions(layout: Layout, storage: Storage) -> list[str]:
    """The names of the partitions that are there, in order of time."""
    return [
        name
        for name in storage.names(layout.root)
        if names.parse_partition(name) is not None and storage.is_directory(layout.root / name)
    ]


def segments(layout: Layout, storage: Storage, partition: str) -> list[Found]:
    """The segments in a partition, by span and number; what goes meanwhile is not there."""
    found = []
    with suppress(FileNotFoundError):
        for file in storage.names(layout.root / partition):
            path = f"{partition}/{file}"
            name = names.parse_segment(path)
            if name is not None:
                with suppress(FileNotFoundError):
                    status = storage.status(layout.segment(path))
                    if stat.S_ISREG(status.st_mode):
                        found.append(Found(name, path, status.st_size))
    return sorted(found)


def all_segments(layout: Layout, storage: Storage) -> Iterator[Found]:
    """Every segment that is there, in order."""
    for partition in partitions(layout, storage):
        yield from segments(layout, storage, partition)


def everything(storage: Storage, top: Path) -> Iterator[tuple[tuple[str, ...], stat_result]]:
    """Whatever is in a directory, at any depth: its path in it, and what stands there.

    A directory comes before what is in it; no link is followed.
    """
    left: list[tuple[str, ...]] = [()]
    while left:
        parts = left.pop()
        try:
            for name, status in storage.entries(top.joinpath(*parts)):
                yield (*parts, name), status
                if stat.S_ISDIR(status.st_mode):
                    left.append((*parts, name))
        except (FileNotFoundError, NotADirectoryError):
            # It has just gone, or is a link by now.
            continue


def make_directories(storage: Storage, path: Path) -> None:
    """Make a directory, and those that it is in, where there are none; durably."""
    for directory in (*reversed(path.parents), path):
        if not storage.is_directory(directory, follow=True) and storage.make_directory(directory):
            storage.sync_directory(directory.parent)

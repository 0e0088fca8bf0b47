"""Directories of a log that anybody may write to: who may plant or remove files can do harm."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from timelog.names import DIRECTORIES, Layout
from timelog.storage import Storage


def exposed(layout: Layout, storage: Storage, partitions: Iterable[str] = ()) -> tuple[str, ...]:
    """The log's directories, and those of ``partitions``, that anybody may write to.

    As they are named below the log's directory, which is ``.`` itself; a look at each.
    """
    directories = [layout.root, layout.control]
    directories += [layout.control / name for name in DIRECTORIES]
    directories += [layout.root / name for name in partitions]
    found = filter(storage.is_exposed, directories)
    return tuple(str(path.relative_to(layout.root)) for path in found)


def warning(path: Path, names: Iterable[str]) -> str:
    """What to say of directories that `exposed` found in the log at ``path``."""
    return f"anybody may write to {', '.join(names)} in {path}; take that right away (chmod o-w)"

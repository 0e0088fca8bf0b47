"""What there is in the watched places: files by device and inode, and what cannot be read."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator
from fnmatch import fnmatchcase
from pathlib import Path
from typing import NamedTuple

from timelog.errors import storage_error
from timelog.ingest.opening import check_plain
from timelog.ingest.place import Place, final_name, root_of


class Found(NamedTuple):
    """A file as a scan saw it. ``is_wanted``: whether its name is one that was asked for."""

    path: bytes
    name: bytes
    root: bytes
    status: os.stat_result
    is_wanted: bool

    @property
    def key(self) -> tuple[int, int]:
        """Device and inode."""
        return (self.status.st_dev, self.status.st_ino)


class Root(NamedTuple):
    """A directory to watch; ``name``: of the one file that is wanted there, or None."""

    directory: bytes
    name: bytes | None = None


class Scanner:
    """Looks into ``roots``. ``log``: the directory of the log, which is never read into itself.

    ``globs``: which names are wanted; those with a ``/`` are compared with the path below the
    root. Hidden files only by a glob that begins with a dot. ``complain``: told once of each path
    what is wrong with it.
    """

    def __init__(
        self,
        roots: list[Root],
        globs: tuple[str, ...],
        recursive: bool,
        log: Path,
        complain: Callable[[str, str], None],
    ) -> None:
        self.roots = roots
        self.directories: set[bytes] = set()
        self.unread: set[bytes] = set()  # roots of which something could not be listed
        self._globs = globs
        self._recursive = recursive
        try:
            self._log = os.fsencode(log.resolve(strict=True))
        except OSError as error:
            raise storage_error(f"where {log} is could not be found out", error) from None
        self._complain = complain

    def scan(self, is_known: Callable[[int, int], bool]) -> dict[tuple[int, int], Found]:
        """Return the files by device and inode.

        Those of other names, too, where ``is_known`` says that their inode was read before: a file
        that was renamed is followed.
        """
        found: dict[tuple[int, int], Found] = {}
        self.directories, self.unread = set(), set()
        for root in self.roots:
            mark = root_of(root.directory)
            for directory, below in self._walk(root, mark):
                for each in self._files(root, mark, directory, below, is_known):
                    other = found.get(each.key)
                    if other is None or (each.is_wanted, other.path) > (
                        other.is_wanted,
                        each.path,
                    ):
                        found[each.key] = each
        return found

    @property
    def marks(self) -> set[bytes]:
        """What stands for the roots in places."""
        return {root_of(root.directory) for root in self.roots}

    def wants(self, place: Place) -> bool:
        """Whether a file was asked for by the name that it had."""
        return any(
            self._is_wanted(root, place.name, b"")
            for root in self.roots
            if root_of(root.directory) == place.root
        )

    def matters(self, path: bytes) -> bool:
        """Whether something new at ``path`` calls for a scan."""
        directory, name = os.path.split(path)
        return (
            directory not in self.directories
            or os.path.isdir(path)
            or any(
                self._is_wanted(root, name, directory[len(root.directory) + 1 :] + b"/")
                for root in self.roots
                if root.name is None or root.directory == directory
            )
        )

    def _walk(self, root: Root, mark: bytes) -> Iterator[tuple[bytes, bytes]]:
        """Yield each directory to look into, and its path below the root."""
        waiting = [(root.directory, b"")]
        while waiting:
            directory, below = waiting.pop()
            if os.path.realpath(directory) == self._log:
                self._complain(os.fsdecode(directory), "it is the log that it would be stored in")
                continue
            yield directory, below
            if not self._recursive or root.name is not None:
                continue
            try:
                with os.scandir(directory) as entries:
                    waiting += [
                        (entry.path, below + entry.name + b"/")
                        for entry in entries
                        if entry.is_dir(follow_symlinks=False) and not entry.name.startswith(b".")
                    ]
            except OSError:
                self.unread.add(mark)  # the reason was told where its files were listed

    def _files(
        self,
        root: Root,
        mark: bytes,
        directory: bytes,
        below: bytes,
        is_known: Callable[[int, int], bool],
    ) -> Iterator[Found]:
        try:
            device = os.stat(directory).st_dev
            with os.scandir(directory) as listing:
                entries = sorted(listing, key=lambda entry: entry.name)
        except FileNotFoundError:
            return  # it may come
        except OSError as error:
            self.unread.add(mark)
            self._complain(os.fsdecode(directory), error.strerror or str(error))
            return
        self.directories.add(directory)
        for entry in entries:
            is_wanted = self._is_wanted(root, entry.name, below)
            if not is_wanted and not is_known(device, entry.inode()):
                continue
            try:
                status = entry.stat()
                if is_wanted:
                    if stat.S_ISDIR(status.st_mode) and (self._recursive and not root.name):
                        continue
                    check_plain(status)
                elif not stat.S_ISREG(status.st_mode):
                    continue
            except FileNotFoundError:
                if entry.is_symlink():
                    self._complain(os.fsdecode(entry.path), "it is a link to nothing")
                continue
            except OSError as error:
                self._complain(os.fsdecode(entry.path), error.strerror or str(error))
                continue
            yield Found(entry.path, entry.name, mark, status, is_wanted)

    def _is_wanted(self, root: Root, name: bytes, below: bytes) -> bool:
        if root.name is not None:
            return name == root.name
        # A file that is still being written is wanted if it will be.
        text = os.fsdecode(final_name(name))
        for glob in self._globs:
            if "/" in glob:
                if fnmatchcase(os.fsdecode(below) + text, glob):
                    return True
            elif fnmatchcase(text, glob) and (glob[:1] == "." or text[:1] != "."):
                return True
        return False

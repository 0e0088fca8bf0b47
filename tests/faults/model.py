"""A storage that notes every change, and a model of the disk that may lose what was not synced.

`ModelStorage` works on a real directory and keeps a trace. `Disk` replays a trace and, at any
point of it, tells what a power cut may leave, as a `Tree`:

ordered   everything up to the point, and perhaps a part of the write that came next
ext4      names in the order in which they changed, up to any point since the last sync of anything;
          of what was written to a file since its own sync a prefix, with NULs up to any length
posix     any of the names that changed since the sync of their own directory; of each file any
          pages since its own sync, any length, NULs for pages that are missing
every     each subset of such names, with each subset of the writes to each file, where of the last
          one there may be half: all of them, where the others are samples

A rename happens whole or not at all, but the old name of a file, not of a directory, may stay
beside the new one. After a sync that failed, what it was to store may be NULs for ever, whatever
later syncs say.
"""

from __future__ import annotations

import errno
import hashlib
import os
import random
from collections.abc import Callable, Iterator
from itertools import product
from pathlib import Path
from typing import NamedTuple

from tests.faults.workloads import Stage
from tests.rig import Killed

MODELS = ("ordered", "ext4", "posix")
# Path below the base to bytes, or to None for a directory.
Tree = dict[str, bytes | None]
_START = 1_700_000_000_000_000_000


class Op(NamedTuple):
    """One change. ``file`` tells files apart, whatever their names become."""

    kind: str
    path: str = ""
    file: int = 0
    offset: int = 0
    data: bytes = b""
    # Of a link or a rename: the new name.
    target: str = ""
    # Of a mark: how many flushes had begun, and how many were acknowledged as durable.
    begun: int = 0
    acknowledged: int = 0

    def __str__(self) -> str:
        size = f" {len(self.data)} bytes at {self.offset}" if self.data else ""
        return f"{self.kind} {self.path}{' to ' + self.target if self.target else ''}{size}"


class ModelStorage(Stage):
    """Notes every change below ``base``; a clock that is the same at every run.

    ``tree``: what stands below ``base`` at the beginning, all of it durable.
    """

    def __init__(self, base: Path, boot: str = "first boot", tree: Tree | None = None) -> None:
        super().__init__()
        self.base = base
        self.boot = boot
        self.ops: list[Op] = []
        self.now = _START
        self._fault: tuple[str, str, str] | None = None
        self._dead = False
        self._files = {path: n for n, path in enumerate(_file_names(tree or {}), 1)}
        self._made = len(self._files)
        self._open: dict[int, tuple[int, str]] = {}
        self._truncated = (0, "")

    def arm(self, kind: str, where: str, fault: str) -> None:
        """As `Stage.arm`."""
        self._fault = (kind, where, fault)

    def revive(self) -> None:
        """As `Stage.revive`."""
        self._dead = False

    def mark(self, begun: int, acknowledged: int) -> None:
        """As `Stage.mark`, in the trace."""
        self.ops.append(Op("mark", begun=begun, acknowledged=acknowledged))

    # -- clocks ---------------------------------------------------------------------------

    def time_ns(self) -> int:
        """A millisecond later at every call."""
        self.now += 1_000_000
        return self.now

    def boot_id(self) -> str:
        """The boot that the test chose."""
        return self.boot

    def inode(self, fd: int) -> int:
        """The same after every power cut, as on a disk; files are made anew after it."""
        return 1

    # -- changes --------------------------------------------------------------------------

    def create(self, path: Path) -> int:
        """As `Storage.create`; a new file."""
        name = self._before("create", path)
        fd = super().create(path)
        self._created(fd, name)
        return fd

    def open_append(self, path: Path) -> int:
        """As `Storage.open_append`; changes nothing."""
        name = self._before("open", path)
        fd = super().open_append(path)
        self._open[fd] = (self._files[name], name)
        return fd

    def open_lock(self, path: Path) -> int:
        """As `Storage.open_lock`; a new file where there was none."""
        name = self._before("open", path)
        is_new = not path.exists()
        fd = super().open_lock(path)
        if is_new:
            self._created(fd, name)
        else:
            self._open[fd] = (self._files[name], name)
        return fd

    def write(self, fd: int, *parts: bytes) -> None:
        """As `Storage.write`; one write, of which a power cut may leave a part."""
        file, name = self._open[fd]
        data = b"".join(parts)
        torn = self._happens("write", name) == "torn"
        if torn:
            data = data[: len(data) // 2]
        offset = os.fstat(fd).st_size
        super().write(fd, data)
        self._note(Op("write", name, file, offset, data))
        if torn:
            self._die()

    def overwrite(self, fd: int, data: bytes, offset: int) -> None:
        """As `Storage.overwrite`."""
        file, name = self._open[fd]
        self._happens("overwrite", name)
        super().overwrite(fd, data, offset)
        self._note(Op("write", name, file, offset, data))

    def close(self, fd: int) -> None:
        """As `Storage.close`; the number may become that of another file."""
        self._open.pop(fd, None)
        super().close(fd)

    def sync(self, fd: int) -> None:
        """Only notes it: the directory is in memory."""
        # What `Storage.truncate` syncs it has opened itself.
        file, name = self._open.get(fd, self._truncated)
        try:
            self._happens("sync", name)
        except OSError:
            self._note(Op("failed sync", name, file))
            raise
        self._note(Op("sync", name, file))

    def sync_directory(self, path: Path) -> None:
        """Only notes it."""
        name = self._before("sync directory", path)
        self._note(Op("sync directory", name))

    def make_directory(self, path: Path) -> bool:
        """As `Storage.make_directory`."""
        name = self._before("make directory", path)
        made = super().make_directory(path)
        if made:
            self._note(Op("make directory", name))
        return made

    def truncate(self, path: Path, length: int) -> None:
        """As `Storage.truncate`."""
        name = self._before("truncate", path)
        self._truncated = (self._files[name], name)
        self._note(Op("truncate", name, self._files[name], length))
        super().truncate(path, length)

    def link(self, source: Path | str, target: Path | str) -> None:
        """As `Storage.link`; another name of the same file."""
        name = self._before("link", Path(source))
        super().link(source, target)
        new = self._name(Path(target))
        self._files[new] = self._files[name]
        self._note(Op("link", name, self._files[name], target=new))

    def rename(self, source: Path, target: Path) -> None:
        """As `Storage.rename`."""
        name = self._before("rename", source)
        super().rename(source, target)
        new = self._name(target)
        for old in [each for each in self._files if each == name or each.startswith(f"{name}/")]:
            self._files[new + old.removeprefix(name)] = self._files.pop(old)
        self._note(Op("rename", name, target=new))

    def unlink(self, path: Path) -> None:
        """As `Storage.unlink`; notes it only where there was such a name."""
        name = self._before("unlink", path)
        super().unlink(path)
        if self._files.pop(name, None) is not None:
            self._note(Op("unlink", name))

    def remove_directory(self, path: Path) -> bool:
        """As `Storage.remove_directory`; notes it only where there was one that was empty."""
        name = self._before("remove directory", path)
        removed = super().remove_directory(path)
        if removed:
            self._note(Op("remove directory", name))
        return removed

    # -- inside ---------------------------------------------------------------------------

    def _name(self, path: Path) -> str:
        return path.relative_to(self.base).as_posix()

    def _note(self, op: Op) -> None:
        self.ops.append(op)

    def _created(self, fd: int, name: str) -> None:
        self._made += 1
        self._files[name] = self._made
        self._open[fd] = (self._made, name)
        self._note(Op("create", name, self._made))

    def _before(self, kind: str, path: Path) -> str:
        name = self._name(path)
        self._happens(kind, name)
        return name

    def _happens(self, kind: str, name: str) -> str:
        """The fault of this very call, raised where it is not a torn write."""
        if self._dead:
            raise Killed
        if self._fault is None or self._fault[0] != kind or self._fault[1] not in name:
            return ""
        fault, self._fault = self._fault[2], None
        if fault == "killed":
            self._die()
        if fault != "torn":
            number = getattr(errno, fault)
            raise OSError(number, os.strerror(number))
        return fault

    def _die(self) -> None:
        self._dead = True
        raise Killed


class _File:
    """Bytes that are durable, and what was written since."""

    def __init__(self, data: bytes = b"") -> None:
        self.durable = data
        self.now = data
        # Number of the op, and the op.
        self.pending: list[tuple[int, Op]] = []
        # Ranges that a failed sync may have thrown away.
        self.doomed: list[tuple[int, int]] = []


class _Directory:
    """Names: those that are durable by a sync of this directory, by any sync, and now."""

    def __init__(self) -> None:
        self.durable: dict[str, _Node] = {}
        self.committed: dict[str, _Node] = {}
        self.now: dict[str, _Node] = {}


_Node = _File | _Directory


class _Change(NamedTuple):
    """One name set or, with None, removed. Both of a rename have one number.

    ``whole``: both happen, or none.
    """

    number: int
    directory: _Directory
    name: str
    node: _Node | None
    whole: bool = False


class Disk:
    """What is on the disk after each op of a trace: for certain, and perhaps."""

    def __init__(self, tree: Tree) -> None:
        self._number = 0
        self._root = _Directory()
        self._files: dict[int, _File] = {}
        # Not yet synced by their own directory, and by anything.
        self._unsynced: list[_Change] = []
        self._uncommitted: list[_Change] = []
        self._committed = 0
        ids = {path: n for n, path in enumerate(_file_names(tree), 1)}
        for path in sorted(tree):
            data = tree[path]
            parent, name = self._at(path)
            node: _Node = _Directory() if data is None else _File(data)
            if isinstance(node, _File):
                self._files[ids[path]] = node
            for names in (parent.durable, parent.committed, parent.now):
                names[name] = node

    def apply(self, op: Op) -> None:
        """Replay one op."""
        self._number += 1
        match op.kind:
            case "create":
                file = self._files[op.file] = _File()
                self._change(op.path, file)
            case "make directory":
                self._change(op.path, _Directory())
            case "unlink" | "remove directory":
                self._change(op.path, None)
            case "link":
                self._change(op.target, self._files[op.file])
            case "rename":
                parent, name = self._at(op.path)
                node = parent.now[name]
                # A directory has one name.
                whole = isinstance(node, _Directory)
                # The new name first: the old one does not go without it.
                self._change(op.target, node, whole=whole)
                self._change(op.path, None, whole=whole)
            case "write" | "truncate":
                file = self._files[op.file]
                file.pending.append((self._number, op))
                file.now = _applied(file.now, op)
            case "sync":
                file = self._files[op.file]
                file.durable = file.now
                file.pending.clear()
                self._commit()
            case "failed sync":
                file = self._files[op.file]
                file.doomed += [
                    (each.offset, each.offset + len(each.data)) for _, each in file.pending
                ]
            case "sync directory":
                self._sync_directory(op.path)
                self._commit()

    # -- what a power cut leaves ----------------------------------------------------------

    def ordered(self, rng: random.Random, following: Op | None) -> Tree:
        """Everything so far, and where a write follows a part of it."""
        part = None
        if following is not None and following.kind == "write":
            length = rng.randrange(len(following.data) + 1)
            part = following._replace(data=following.data[:length])
        torn = self._files.get(part.file) if part is not None else None

        def content(file: _File) -> bytes:
            return _applied(file.now, part) if part is not None and file is torn else file.now

        return self._tree(lambda directory: directory.now, content)

    def ext4(self, rng: random.Random, least: bool = False) -> Tree:
        """Names in order; of unsynced data a prefix. ``least``: as little of all as there may be"""
        count = 0 if least else rng.choice((rng.randint(0, len(self._uncommitted)), 10**9))
        changes = self._uncommitted[:count]
        following = self._uncommitted[count : count + 1]
        if changes and following and changes[-1].whole:
            changes += (change for change in following if change.number == changes[-1].number)
        end = changes[-1].number if changes else self._committed
        if count >= len(self._uncommitted) and not least:
            end = self._number
        names: dict[_Directory, dict[str, _Node]] = {}
        for change in changes:
            entries = names.setdefault(change.directory, dict(change.directory.committed))
            _set(entries, change)
        share = rng.choice((0.0, 0.5, 1.0))

        def content(file: _File) -> bytes:
            return _doomed(_prefix(file, rng, end, least, share), file, rng, least)

        return self._tree(lambda directory: names.get(directory, directory.committed), content)

    def posix(self, rng: random.Random, least: bool = False) -> Tree:
        """Any names and any pages. ``least``: none of them"""
        share = 0.0 if least else rng.choice((0.0, 0.2, 0.5, 0.8, 1.0))
        kept: dict[int, bool] = {}
        names: dict[_Directory, dict[str, _Node]] = {}
        for change in self._unsynced:
            # Of a rename the new name comes first; where it is not kept, the old one stays.
            if not kept.get(change.number, True):
                continue
            keep = (change.whole and kept.get(change.number, False)) or rng.random() < share
            kept[change.number] = keep
            if keep:
                entries = names.setdefault(change.directory, dict(change.directory.durable))
                _set(entries, change)
        pages = rng.choice((0.0, 0.5, 0.9, 1.0))

        def content(file: _File) -> bytes:
            return _doomed(_pages(file, rng, least, pages), file, rng, least)

        return self._tree(_or_durable(names), content)

    def every(self) -> Iterator[Tree]:
        """Each state that leaves out some of what is not synced, whole names and whole writes.

        Grows by a factor of two with each of them, so it is for short runs; after a sync that
        failed it is not all.
        """
        known: set[tuple[tuple[str, _Node], ...]] = set()
        contents = {file: _subsets(file) for file in self._files.values() if file.pending}
        for names in self._name_subsets():
            nodes: dict[str, _Node] = {}
            self._walk(_or_durable(names), nodes)
            if (shape := tuple(nodes.items())) in known:
                continue
            known.add(shape)
            files = list(dict.fromkeys(node for node in nodes.values() if node in contents))
            for chosen in product(*(contents[file] for file in files)):
                bytes_of = dict(zip(files, chosen, strict=True))
                yield {
                    path: bytes_of.get(node, node.durable) if isinstance(node, _File) else None
                    for path, node in nodes.items()
                }

    # -- inside ---------------------------------------------------------------------------

    def _name_subsets(self) -> Iterator[dict[_Directory, dict[str, _Node]]]:
        for kept in product((False, True), repeat=len(self._unsynced)):
            names: dict[_Directory, dict[str, _Node]] = {}
            whole: dict[int, bool] = {}
            for change, keep in zip(self._unsynced, kept, strict=True):
                # Of a rename the old name does not go without the new one.
                known = whole.setdefault(change.number, keep)
                if (keep and not known) or (change.whole and keep != known):
                    break
                if keep:
                    entries = names.setdefault(change.directory, dict(change.directory.durable))
                    _set(entries, change)
            else:
                yield names

    def _walk(
        self,
        names: Callable[[_Directory], dict[str, _Node]],
        nodes: dict[str, _Node],
    ) -> None:
        """Note every path and what is there, by whatever names there are."""

        def walk(directory: _Directory, prefix: str) -> None:
            for name, node in names(directory).items():
                nodes[prefix + name] = node
                if isinstance(node, _Directory):
                    walk(node, f"{prefix}{name}/")

        walk(self._root, "")

    def _at(self, path: str) -> tuple[_Directory, str]:
        *parents, name = path.split("/")
        directory = self._root
        for each in parents:
            node = directory.now[each]
            assert isinstance(node, _Directory)
            directory = node
        return directory, name

    def _change(self, path: str, node: _Node | None, *, whole: bool = False) -> None:
        directory, name = self._at(path)
        change = _Change(self._number, directory, name, node, whole)
        _set(directory.now, change)
        self._unsynced.append(change)
        self._uncommitted.append(change)

    def _commit(self) -> None:
        for change in self._uncommitted:
            _set(change.directory.committed, change)
        self._uncommitted.clear()
        self._committed = self._number

    def _sync_directory(self, path: str) -> None:
        directory: _Node = self._root
        if path != ".":
            parent, name = self._at(path)
            directory = parent.now[name]
        numbers = {
            change.number
            for change in self._unsynced
            if change.directory is directory and (change.node is None or change.whole)
        }
        left = []
        for change in self._unsynced:
            # Where the old name of a rename is gone for certain, the new one is there.
            whole = change.number in numbers and (change.node is not None or change.whole)
            if change.directory is directory or whole:
                _set(change.directory.durable, change)
            else:
                left.append(change)
        self._unsynced = left

    def _tree(
        self,
        names: Callable[[_Directory], dict[str, _Node]],
        content: Callable[[_File], bytes],
    ) -> Tree:
        nodes: dict[str, _Node] = {}
        self._walk(names, nodes)
        # One content, under whatever names.
        known: dict[_File, bytes] = {}
        for node in nodes.values():
            if isinstance(node, _File) and node not in known:
                known[node] = content(node)
        return {
            path: known[node] if isinstance(node, _File) else None for path, node in nodes.items()
        }


def digest(tree: Tree) -> bytes:
    """What tells two trees apart."""
    whole = hashlib.blake2b(digest_size=16)
    for path in sorted(tree):
        data = tree[path]
        head = f"{path}\0{'-' if data is None else len(data)}\0"
        whole.update(head.encode())
        whole.update(data or b"")
    return whole.digest()


def materialise(tree: Tree, base: Path) -> None:
    """Make the files and directories of ``tree`` below the new directory ``base``."""
    os.mkdir(base)
    for path in sorted(tree):
        data = tree[path]
        name = f"{base}/{path}"
        if data is None:
            os.mkdir(name)
        else:
            fd = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            os.write(fd, data)
            os.close(fd)


def _file_names(tree: Tree) -> list[str]:
    return [path for path in sorted(tree) if tree[path] is not None]


def _or_durable(
    names: dict[_Directory, dict[str, _Node]],
) -> Callable[[_Directory], dict[str, _Node]]:
    return lambda directory: names.get(directory, directory.durable)


def _set(entries: dict[str, _Node], change: _Change) -> None:
    if change.node is None:
        entries.pop(change.name, None)
    else:
        entries[change.name] = change.node


def _applied(data: bytes, op: Op) -> bytes:
    if op.kind == "truncate":
        return data[: op.offset]
    padded = data.ljust(op.offset, b"\0")
    return padded[: op.offset] + op.data + padded[op.offset + len(op.data) :]


def _subsets(file: _File) -> list[bytes]:
    """All that a file may hold of the changes since its sync: any of them, of the last also half"""
    found = {file.durable: None}
    for number, (_, op) in enumerate(file.pending, 1):
        applied = [_applied(data, op) for data in found]
        if number == len(file.pending) and op.kind == "write":
            half = op._replace(data=op.data[: len(op.data) // 2])
            applied += [_applied(data, half) for data in found]
        found |= dict.fromkeys(applied)
    return list(found)


def _prefix(file: _File, rng: random.Random, end: int, least: bool, share: float) -> bytes:
    """The first of the unsynced changes, a part of the next, and NULs; truncations up to ``end``"""
    data = file.durable
    if not file.pending:
        return data
    first = 0
    last = len(file.pending)
    for n, (number, op) in enumerate(file.pending):
        if op.kind == "truncate" and number <= end:
            first = n + 1
        elif op.kind == "truncate":
            last = n
            break
    whole = first if least else last if rng.random() < share else rng.randint(first, last)
    for _, op in file.pending[:whole]:
        data = _applied(data, op)
    if least or whole >= last:
        return data
    _, op = file.pending[whole]
    data = _applied(data, op._replace(data=op.data[: rng.randint(0, len(op.data))]))
    longest = max(each.offset + len(each.data) for _, each in file.pending[whole:last])
    if longest > len(data) and rng.random() < 0.5:
        data = data.ljust(rng.choice((longest, rng.randint(len(data), longest))), b"\0")
    return data


def _pages(file: _File, rng: random.Random, least: bool, share: float) -> bytes:
    """Each page as it was at some moment since the sync, and any length it had or grew through."""
    if not file.pending or least:
        return file.durable
    versions = [file.durable]
    for _, op in file.pending:
        versions.append(_applied(versions[-1], op))
    lengths = [len(version) for version in versions]
    length = lengths[-1]
    if rng.random() >= share:
        length = rng.choice((rng.choice(lengths), rng.randint(min(lengths), max(lengths))))
    # Disks write sectors, systems pages.
    size = rng.choice((512, 4096))
    data = bytearray()
    for at in range(0, length, size):
        version = versions[-1] if rng.random() < share else rng.choice(versions)
        stop = min(at + size, length)
        data += version[at:stop].ljust(stop - at, b"\0")
    return bytes(data)


def _doomed(data: bytes, file: _File, rng: random.Random, least: bool) -> bytes:
    """``data`` with NULs where a sync failed, or as it is."""
    if not file.doomed or not (least or rng.random() < 0.7):
        return data
    changed = bytearray(data)
    for start, end in file.doomed:
        end = min(end, len(changed))
        if start < end:
            changed[start:end] = bytes(end - start)
    return bytes(changed)

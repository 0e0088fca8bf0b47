"""What a log needs of a file system, tried: the calls by themselves, without the library.

Each check works on files of its own in a directory, takes about ``seconds`` at most, and returns a
sentence and counts; it raises `Broken` where the guarantee does not hold.
"""

from __future__ import annotations

import errno
import fcntl
import os
import statistics
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import TypeAlias

from timelog.cli.child import Child, Line
from timelog.cli.guarantee import Broken, Counts, Finding, Unchecked, find
from timelog.mounts import file_system

_Check: TypeAlias = Callable[[Path, float], tuple[str, Counts]]

_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL
POWER = "what is synced outlives a power cut"
_FILES = 200
_RECORDS = 500
_SYNCS = 30
# Seconds that a lock may stay after its holder was killed.
_RELEASE = 5.0
_SIZE = 64 * 1024
# An honest fsync waits for a device. Those of the fastest ones take longer than this.
_SUSPICIOUS = 0.0001
_UNSUPPORTED = (errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS, errno.EINVAL)


def findings(place: Path, seconds: float) -> Iterator[Finding]:
    """Yield what came of each check, in order; ``seconds`` bounds each."""
    for guarantee, check in _CHECKS.items():
        yield find(guarantee, partial(check, place, seconds))


def _kind(place: Path, seconds: float) -> tuple[str, Counts]:
    found = file_system(place)
    if found is None:
        raise Unchecked("it cannot be told which file system this is")
    if found.is_network:
        raise Unchecked(f"{found}: what other machines see and lock was not tried from this one")
    return str(found), {}


def _exclusive(place: Path, seconds: float) -> tuple[str, Counts]:
    def create(line: Line) -> None:
        line.wait()
        made = []
        for n in range(_FILES):
            try:
                os.close(os.open(place / f"exclusive-{n}", _NEW, 0o600))
            except FileExistsError:
                continue
            made.append(str(n))
        line.say(" ".join(made) or "-")

    with Child(create) as one, Child(create) as two:
        one.go()
        two.go()
        first, second = (set(child.line().replace("-", "").split()) for child in (one, two))
    if both := first & second:
        raise Broken(f"{len(both)} of {_FILES} files were created by each of two processes")
    if missing := _FILES - len(first | second):
        raise Broken(f"{missing} of {_FILES} files were created by neither of two processes")
    return f"{_FILES} names, two processes: each created by one of them", {"files": _FILES}


def _flock(place: Path, seconds: float) -> tuple[str, Counts]:
    path = place / "flock"
    os.close(os.open(path, _NEW, 0o600))

    def hold(line: Line) -> None:
        fd = os.open(path, os.O_RDWR)
        fcntl.flock(fd, fcntl.LOCK_EX)
        line.say("held")
        line.wait()
        os.close(os.open(path, os.O_RDWR))
        line.say("closed another descriptor")
        line.wait()

    if not _takes_lock(path):
        raise Broken("a lock that nobody holds is refused")
    with Child(hold) as child:
        child.line()
        if _takes_lock(path):
            raise Broken("two processes held the exclusive lock of one file")
        child.go()
        child.line()
        if _takes_lock(path):
            raise Broken("a lock was lost when its holder closed another descriptor of the file")
        child.kill()
        began = time.monotonic()
        while not _takes_lock(path):
            if time.monotonic() - began > _RELEASE:
                raise Broken(f"{_RELEASE:g} seconds after kill -9 its lock was still held")
            time.sleep(0.001)
    return "excludes, outlives the close of another descriptor, ends with kill -9", {}


def _takes_lock(path: Path) -> bool:
    fd = os.open(path, os.O_RDWR)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno in _UNSUPPORTED:
            raise Broken(f"flock is refused: {error.strerror}") from None
        raise
    finally:
        os.close(fd)
    return True


def _rename(place: Path, seconds: float) -> tuple[str, Counts]:
    path, new = place / "renamed", place / "renamed.new"
    _put(path, b"0" * _SIZE)

    def read(line: Line) -> None:
        reads = missing = mixed = 0
        line.say("ready")
        while not line.is_told():
            try:
                data = path.read_bytes()
            except FileNotFoundError:
                missing += 1
            else:
                mixed += len(data) != _SIZE or len(set(data)) != 1
            reads += 1
        line.say(f"{reads} {missing} {mixed}")

    replaced = 0
    with Child(read) as child:
        child.line()
        end = time.monotonic() + min(seconds, 0.5)
        while replaced < _RECORDS and time.monotonic() < end:
            replaced += 1
            _put(new, str(replaced % 10).encode() * _SIZE)
            os.rename(new, path)
        child.go()
        reads, missing, mixed = map(int, child.line().split())
    if missing or mixed:
        raise Broken(
            f"of {reads} reads during {replaced} replacements {missing} found no file and {mixed} "
            "neither the old nor the new content"
        )
    return (
        f"{reads} reads during {replaced} replacements saw the old or the new file",
        {"reads": reads, "replacements": replaced},
    )


def _append(place: Path, seconds: float) -> tuple[str, Counts]:
    path = place / "appended"
    os.close(os.open(path, _NEW, 0o600))

    def append(name: str, line: Line) -> None:
        fd = os.open(path, os.O_WRONLY | os.O_APPEND)
        line.wait()
        for n in range(_RECORDS):
            os.write(fd, _record(name, n))
        line.say("done")

    with Child(partial(append, "a")) as one, Child(partial(append, "b")) as two:
        one.go()
        two.go()
        one.line()
        two.line()
    wanted = sorted(_record(name, n) for name in "ab" for n in range(_RECORDS))
    there = sorted(path.read_bytes().splitlines(keepends=True))
    if there != wanted:
        whole = len(set(there) & set(wanted))
        raise Broken(f"{len(wanted) - whole} of {len(wanted)} appended records are not whole")
    return f"{len(wanted)} records of two processes, all whole", {"records": len(wanted)}


def _record(name: str, n: int) -> bytes:
    return f"{name}{n:06}".encode() * 10 + b"\n"


def _fsync(place: Path, seconds: float) -> tuple[str, Counts]:
    path = place / "synced"
    fd = os.open(path, _NEW, 0o600)
    try:

        def change() -> int:
            os.write(fd, b"x" * 4096)
            return fd

        files = _times(change, seconds)
    finally:
        os.close(fd)
    parent = os.open(place, os.O_RDONLY | os.O_DIRECTORY)
    try:

        def name() -> int:
            _put(place / f"named-{time.monotonic_ns()}", b"x")
            return parent

        directories = _times(name, seconds)
    finally:
        os.close(parent)
    file, directory = statistics.median(files), statistics.median(directories)
    text = (
        f"succeeds; the median of {len(files)}: {file * 1000:.2g} ms for a file, "
        f"{directory * 1000:.2g} ms for a directory"
    )
    if file < _SUSPICIOUS:
        text += "; that is suspiciously fast, as of memory or of a cache that forgets"
    return text, {"file_ms": round(file * 1000, 4), "directory_ms": round(directory * 1000, 4)}


def _times(change: Callable[[], int], seconds: float) -> list[float]:
    """How long fsync took after each of some changes, each of the descriptor it returns."""
    times: list[float] = []
    end = time.monotonic() + seconds
    while len(times) < _SYNCS and (len(times) < 3 or time.monotonic() < end):
        fd = change()
        began = time.monotonic()
        try:
            os.fsync(fd)
        except OSError as error:
            raise Broken(f"fsync fails: {error.strerror}") from None
        times.append(time.monotonic() - began)
    return times


def _power(place: Path, seconds: float) -> tuple[str, Counts]:
    found = file_system(place)
    if found is not None and found.is_memory:
        raise Broken(f"{found.kind} is memory: all that is here goes with the power")
    if found is not None and found.is_network:
        raise Unchecked("what a server does with an fsync cannot be seen from here")
    raise Unchecked("only a power cut can tell: kept, if the device keeps what it said was synced")


def _put(path: Path, data: bytes) -> None:
    with open(path, "wb") as file:
        file.write(data)


_CHECKS: dict[str, _Check] = {
    "a local file system": _kind,
    "O_EXCL: one process creates": _exclusive,
    "flock: one process holds": _flock,
    "rename: old or new, nothing else": _rename,
    "O_APPEND: records stay whole": _append,
    "fsync of files and directories": _fsync,
    POWER: _power,
}

"""The storage seam: every call that touches the disk, every look at a clock.

Nothing else in the package opens, reads, lists, writes, renames, syncs, removes or asks the time.
Fault tests replace this object, and so could another backend: paths and descriptors pass through
the package unopened. One `Storage` has no state and may be shared by threads.
All paths are plain files and directories of the log. Neither a file nor the directory it is in may
be a link: none is followed (``O_NOFOLLOW``). Nothing existing is ever overwritten by `create`
(``O_EXCL``).
"""

from __future__ import annotations

import errno
import fcntl
import mmap
import os
import stat
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache, partial
from pathlib import Path

UNKNOWN_BOOT = "unknown"
# What reads that go past the page cache are multiples of.
_SECTOR = 4096
# Bytes that are read at once without a look at how many there are.
_LARGE = 1 << 26
_BASE = os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
_DIRECTORY = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class Storage:
    """The plain storage of production: system calls, and nothing between."""

    # How many syncs `sync_all` lets go on together: file systems make one of those that wait.
    syncs_at_once = 8

    def __init__(self, file_mode: int = 0o600, directory_mode: int = 0o700) -> None:
        self._file_mode = file_mode
        self._directory_mode = directory_mode

    # -- clocks ---------------------------------------------------------------------------

    # Nanoseconds since 1970 by the wall clock. Not wrapped: every append calls it.
    time_ns = staticmethod(time.time_ns)

    def monotonic(self) -> float:
        """Seconds of a clock that never goes back."""
        return time.monotonic()

    def uptime(self) -> float:
        """Seconds since the machine started, those in which it slept included."""
        return time.clock_gettime(time.CLOCK_BOOTTIME)

    def boot_id(self) -> str:
        """A text that changes at each boot of the machine; `UNKNOWN_BOOT` where none is known."""
        return _boot_id()

    def mounts(self) -> str:
        """What is mounted where, as Linux says in mountinfo; empty where nothing is known."""
        try:
            return os.fsdecode(Path("/proc/self/mountinfo").read_bytes())
        except OSError:
            return ""

    # -- reading --------------------------------------------------------------------------

    def open_read(self, path: Path) -> int:
        """Open a plain file for reading; a link, a FIFO or a directory raises ``OSError``."""
        return _plain(_open(path, os.O_RDONLY | _BASE), path)

    @contextmanager
    def reading(self, path: Path) -> Iterator[int]:
        """Open a plain file for reading, and close it; errors as `open_read`."""
        fd = self.open_read(path)
        try:
            yield fd
        finally:
            self.close(fd)

    def read_at(self, fd: int, offset: int, length: int) -> bytes:
        """Return ``length`` bytes at ``offset``, fewer only where the file ends."""
        if length > _LARGE:
            # Memory is taken for all of it, and the number may be anybody's.
            length = min(length, max(os.fstat(fd).st_size - offset, 0))
        data = os.pread(fd, length, offset)
        if len(data) == length or not data:
            return data
        parts = [data]
        got = len(data)
        while got < length:
            data = os.pread(fd, length - got, offset + got)
            if not data:
                break
            parts.append(data)
            got += len(data)
        return b"".join(parts)

    def read_file(self, path: Path) -> bytes:
        """Return all bytes of a plain file."""
        with self.reading(path) as fd:
            return self.read_at(fd, 0, self.size(fd))

    def read_device(self, path: Path, offset: int, length: int) -> bytes:
        """Return ``length`` bytes at ``offset`` of a plain file as the device has them.

        Fewer only where the file ends. The page cache is neither asked nor filled (``O_DIRECT``),
        except where the file system cannot do without it.
        """
        start = offset - offset % _SECTOR
        size = -(-(offset + length - start) // _SECTOR) * _SECTOR
        try:
            fd = _open(path, os.O_RDONLY | os.O_DIRECT | _BASE)
            try:
                size = min(size, -(-max(os.fstat(fd).st_size - start, 1) // _SECTOR) * _SECTOR)
                # Memory of its own begins with a page, as such reads want it.
                buffer = mmap.mmap(-1, size)
                got = 0
                while got < size and (
                    done := os.preadv(fd, [memoryview(buffer)[got:]], start + got)
                ):
                    got += done
                    if done % _SECTOR:
                        break
                return buffer[offset - start : min(offset - start + length, got)]
            finally:
                os.close(fd)
        except OSError as error:
            if error.errno != errno.EINVAL:
                raise
        with self.reading(path) as fd:
            return self.read_at(fd, offset, length)

    def size(self, fd: int) -> int:
        """How many bytes an open file has."""
        return os.fstat(fd).st_size

    def inode(self, fd: int) -> int:
        """What tells an open file from others of the file system, such as its copy."""
        return os.fstat(fd).st_ino

    def close(self, fd: int) -> None:
        """Close a file."""
        os.close(fd)

    def status(self, path: Path | str) -> os.stat_result:
        """What stands at ``path`` itself, be it a link; raises ``FileNotFoundError`` for nothing"""
        return os.lstat(path)

    def resolve(self, path: Path) -> Path:
        """The absolute path without links and ``..``, as far as anything stands there."""
        try:
            # Strictly: else what cannot be looked at would count as no link.
            return Path(os.path.realpath(path, strict=True))
        except FileNotFoundError:
            whole = Path(os.path.realpath(path))
        return whole if whole == whole.parent else self.resolve(whole.parent) / whole.name

    def is_directory(self, path: Path, *, follow: bool = False) -> bool:
        """Whether a directory stands at ``path``; with ``follow`` a link to one will do."""
        try:
            return stat.S_ISDIR((os.stat(path) if follow else self.status(path)).st_mode)
        except (FileNotFoundError, NotADirectoryError):
            return False

    def check_directory(self, path: Path) -> None:
        """Raise ``OSError`` where ``path`` is there and is a link, or anything but a directory."""
        try:
            os.close(os.open(path, _DIRECTORY))
        except FileNotFoundError:
            pass

    def is_exposed(self, path: Path) -> bool:
        """Whether every user may write to ``path``, if it is there."""
        try:
            return bool(os.stat(path).st_mode & stat.S_IWOTH)
        except (FileNotFoundError, NotADirectoryError):
            return False

    def exists(self, path: Path) -> bool:
        """Whether anything stands at ``path``."""
        try:
            self.status(path)
        except (FileNotFoundError, NotADirectoryError):
            return False
        return True

    def names(self, path: Path) -> list[str]:
        """The names in a directory, sorted."""
        return sorted(os.listdir(path))

    def entries(self, path: Path, *, follow: bool = False) -> Iterator[tuple[str, os.stat_result]]:
        """What is in a directory, in no order: each name, and what stands there, be it a link.

        What vanishes meanwhile is left out. With ``follow`` a link to a directory will do.
        """
        flags = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
        fd = os.open(path, flags if follow else flags | os.O_NOFOLLOW)
        try:
            with os.scandir(fd) as found:
                for entry in found:
                    try:
                        status = entry.stat(follow_symlinks=False)
                    except FileNotFoundError:
                        continue
                    yield entry.name, status
        finally:
            os.close(fd)

    def free(self, path: Path) -> int:
        """How many bytes the file system of ``path`` has left for who is not root."""
        info = os.statvfs(path)
        return info.f_bavail * info.f_frsize

    def is_named(self, fd: int, path: Path) -> bool:
        """Whether the open file is still the one that stands at ``path``."""
        try:
            return os.path.samestat(self.status(path), os.fstat(fd))
        except FileNotFoundError:
            return False

    def is_locked(self, fd: int) -> bool:
        """Whether somebody holds the exclusive ``flock`` of the file; takes it for that moment."""
        try:
            fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        fcntl.flock(fd, fcntl.LOCK_UN)
        return False

    # -- changes --------------------------------------------------------------------------

    def create(self, path: Path) -> int:
        """Create a file that must not exist yet; return a descriptor that appends to it."""
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | _BASE
        return _open(path, flags, self._file_mode)

    def open_append(self, path: Path) -> int:
        """Open an existing plain file for appending."""
        return _plain(_open(path, os.O_WRONLY | os.O_APPEND | _BASE), path)

    def open_lock(self, path: Path) -> int:
        """Open the lock file for reading and writing in place, creating it where absent."""
        return _plain(_open(path, os.O_RDWR | os.O_CREAT | _BASE, self._file_mode), path)

    def lock(self, fd: int, timeout: float) -> None:
        """Hold the exclusive ``flock`` of ``fd``; raises ``TimeoutError`` after ``timeout`` s."""
        deadline = time.monotonic() + timeout
        pause = 0.0002
        while True:
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return
            except BlockingIOError:
                if time.monotonic() >= deadline:
                    raise TimeoutError from None
            # flock has no time limit of its own.
            time.sleep(pause)
            pause = min(pause * 1.5, 0.02)

    def write(self, fd: int, *parts: bytes) -> None:
        """Write all of ``parts``, in one call: a short write goes on where it stopped."""
        left = [memoryview(part) for part in parts if part]
        while left:
            done = _some(os.writev(fd, left))
            while left and done >= len(left[0]):
                done -= len(left.pop(0))
            if left:
                left[0] = left[0][done:]

    def overwrite(self, fd: int, data: bytes, offset: int) -> None:
        """Write all of ``data`` in place at ``offset`` (the lock file only)."""
        view = memoryview(data)
        while view:
            done = _some(os.pwrite(fd, view, offset))
            view, offset = view[done:], offset + done

    def sync(self, fd: int) -> None:
        """Return when the file's bytes and length are on the device."""
        os.fsync(fd)

    def sync_directory(self, path: Path) -> None:
        """Return when the names in the directory ``path`` are on the device."""
        fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            self.sync(fd)
        finally:
            os.close(fd)

    def make_directory(self, path: Path) -> bool:
        """Create one directory; return False where it is there already."""
        try:
            os.mkdir(path, self._directory_mode)
        except FileExistsError:
            self.check_directory(path)
            return False
        return True

    def truncate(self, path: Path, length: int) -> None:
        """Cut a plain file to ``length`` bytes, for good."""
        fd = _plain(_open(path, os.O_WRONLY | _BASE), path)
        try:
            os.ftruncate(fd, length)
            self.sync(fd)
        finally:
            os.close(fd)

    def link(self, source: Path | str, target: Path | str) -> None:
        """Give a plain file a second name, at which nothing may stand yet."""
        # Not `_directory_of`, as in `_open`; nor must who has text make paths of it.
        source_in, _, old = os.fspath(source).rpartition("/")
        target_in, _, new = os.fspath(target).rpartition("/")
        here = os.open(source_in, _DIRECTORY)
        try:
            there = os.open(target_in, _DIRECTORY)
            try:
                os.link(old, new, src_dir_fd=here, dst_dir_fd=there, follow_symlinks=False)
            except OSError as error:
                error.filename, error.filename2 = os.fspath(source), os.fspath(target)
                raise
            finally:
                os.close(there)
        finally:
            os.close(here)

    def rename(self, source: Path, target: Path) -> None:
        """Replace ``target`` by ``source`` in one step."""
        with _directory_of(source) as (source_in, old), _directory_of(target) as (target_in, new):
            os.rename(old, new, src_dir_fd=source_in, dst_dir_fd=target_in)

    def unlink(self, path: Path) -> None:
        """Remove one name; a name that is gone already is fine."""
        try:
            with _directory_of(path) as (directory, name):
                os.unlink(name, dir_fd=directory)
        except FileNotFoundError:
            pass

    def remove_directory(self, path: Path) -> bool:
        """Remove an empty directory; return False where it is gone already, or has something."""
        try:
            with _directory_of(path) as (directory, name):
                os.rmdir(name, dir_fd=directory)
        except FileNotFoundError:
            return False
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise
            return False
        return True

    # -- made of the above ----------------------------------------------------------------

    def sync_all(self, fds: Sequence[int], directories: Iterable[Path] = ()) -> None:
        """Return when all these files and directories are on the device; some at a time.

        Raises what the first that failed did, when none goes on any more.
        """
        jobs: deque[Callable[[], None]] = deque(partial(self.sync, fd) for fd in fds)
        jobs += (partial(self.sync_directory, path) for path in directories)
        errors: list[BaseException] = []
        helpers: list[threading.Thread] = []
        try:
            for _ in range(min(len(jobs), self.syncs_at_once) - 1):
                helper = threading.Thread(target=_work, args=(jobs, errors), daemon=True)
                try:
                    helper.start()
                except RuntimeError:
                    # The system has no thread to give, or the interpreter ends: fewer will do.
                    break
                helpers.append(helper)
            _work(jobs, errors)
        finally:
            # Nothing may close what they still sync.
            for helper in helpers:
                helper.join()
        if errors:
            raise errors[0]

    def replace(self, path: Path, data: bytes, temporary: Path) -> None:
        """Put ``data`` in the place of ``path`` in one step that survives a power cut.

        Written to ``temporary`` (same file system), synced, renamed, directory synced.
        Whatever stood at ``temporary`` is the remainder of a killed process and goes.
        """
        self.unlink(temporary)
        fd = self.create(temporary)
        try:
            self.write(fd, data)
            self.sync(fd)
        finally:
            self.close(fd)
        self.rename(temporary, path)
        self.sync_directory(path.parent)


@cache
def _boot_id() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_bytes().decode().strip()
    except OSError:
        return UNKNOWN_BOOT


def _work(jobs: deque[Callable[[], None]], errors: list[BaseException]) -> None:
    """Do jobs until none is left, or one failed."""
    while not errors:
        try:
            job = jobs.popleft()
        except IndexError:
            return
        try:
            job()
        except BaseException as error:
            errors.append(error)


@contextmanager
def _directory_of(path: Path) -> Iterator[tuple[int, str]]:
    """A descriptor of the directory that a file is in, and the file's name in it."""
    directory, _, name = os.fspath(path).rpartition("/")
    fd = os.open(directory, _DIRECTORY)
    try:
        yield fd, name
    except OSError as error:
        error.filename = os.fspath(path)
        raise
    finally:
        os.close(fd)


def _open(path: Path, flags: int, mode: int = 0) -> int:
    """``os.open`` that follows a link neither to the file nor to the directory that it is in."""
    # Not `_directory_of`: this is called for each of many small segments.
    directory, _, name = os.fspath(path).rpartition("/")
    parent = os.open(directory, _DIRECTORY)
    try:
        return os.open(name, flags, mode, dir_fd=parent)
    except OSError as error:
        error.filename = os.fspath(path)
        raise
    finally:
        os.close(parent)


def _plain(fd: int, path: Path) -> int:
    try:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            raise OSError(errno.EINVAL, "it is not a plain file; move it away", os.fspath(path))
    except BaseException:
        os.close(fd)
        raise
    return fd


def _some(done: int) -> int:
    """The bytes that a call wrote; a device that takes none, again and again, does not work."""
    if not done:
        raise OSError(errno.EIO, "the device takes no bytes")
    return done

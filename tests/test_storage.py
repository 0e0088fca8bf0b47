"""The storage seam on real files: what it creates, replaces, refuses to follow, and locks."""

from __future__ import annotations

import errno
import fcntl
import os
import stat
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from timelog.storage import UNKNOWN_BOOT, Storage


@pytest.fixture
def storage() -> Storage:
    return Storage()


@pytest.fixture
def open_umask() -> Iterator[None]:
    """No bit of a mode is taken away by the process."""
    before = os.umask(0)
    yield
    os.umask(before)


def put(storage: Storage, path: Path, data: bytes) -> None:
    """A new file with ``data``."""
    fd = storage.create(path)
    storage.write(fd, data)
    os.close(fd)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


# -- files --------------------------------------------------------------------------------


def test_create_never_touches_what_is_there(storage: Storage, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old")
    with pytest.raises(FileExistsError):
        storage.create(path)
    assert path.read_bytes() == b"old"


@pytest.mark.usefixtures("open_umask")
def test_files_and_directories_are_private_unless_asked(tmp_path: Path) -> None:
    for name, storage, file_mode, directory_mode in (
        ("private", Storage(), 0o600, 0o700),
        ("group", Storage(0o640, 0o750), 0o640, 0o750),
    ):
        directory = tmp_path / name
        assert storage.make_directory(directory)
        put(storage, directory / "file", b"")
        os.close(storage.open_lock(directory / "lock"))
        storage.replace(directory / "replaced", b"", directory / "temporary")
        assert mode(directory) == directory_mode
        assert {mode(each) for each in directory.iterdir()} == {file_mode}


def test_open_append_goes_on_at_the_end_and_needs_a_file(storage: Storage, tmp_path: Path) -> None:
    path = tmp_path / "file"
    with pytest.raises(FileNotFoundError):
        storage.open_append(path)
    put(storage, path, b"one")
    fd = storage.open_append(path)
    storage.write(fd, b"two")
    os.close(fd)
    assert path.read_bytes() == b"onetwo"


def test_write_goes_on_after_a_short_write(storage: Storage) -> None:
    """A pipe takes what fits; a blocking write of more returns in parts or at the end."""
    data = os.urandom(1 << 20)
    read_end, write_end = os.pipe()
    got: list[bytes] = []

    def drain() -> None:
        while part := os.read(read_end, 7919):
            got.append(part)

    reader = threading.Thread(target=drain)
    reader.start()
    storage.write(write_end, memoryview(data))
    os.close(write_end)
    reader.join()
    os.close(read_end)
    assert b"".join(got) == data


def test_overwrite_changes_bytes_in_place(storage: Storage, tmp_path: Path) -> None:
    path = tmp_path / "lock"
    path.write_bytes(b"0123456789")
    fd = storage.open_lock(path)
    storage.overwrite(fd, b"ab", 3)
    os.close(fd)
    assert path.read_bytes() == b"012ab56789"


def test_truncate_cuts(storage: Storage, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"0123456789")
    storage.truncate(path, 4)
    assert path.read_bytes() == b"0123"


def test_unlink_takes_a_name_that_is_gone(storage: Storage, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"")
    storage.unlink(path)
    storage.unlink(path)
    assert not path.exists()


def test_replace_puts_new_bytes_and_leaves_no_temporary(storage: Storage, tmp_path: Path) -> None:
    path, temporary = tmp_path / "root", tmp_path / "tmp"
    storage.replace(path, b"one", temporary)
    temporary.write_bytes(b"the remainder of a killed process")
    storage.replace(path, b"two", temporary)
    assert path.read_bytes() == b"two"
    assert os.listdir(tmp_path) == ["root"]


def test_rename_replaces(storage: Storage, tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"new")
    (tmp_path / "b").write_bytes(b"old")
    storage.rename(tmp_path / "a", tmp_path / "b")
    assert (tmp_path / "b").read_bytes() == b"new"
    assert not (tmp_path / "a").exists()


def test_a_link_is_another_name_of_the_same_file(storage: Storage, tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"text")
    storage.link(tmp_path / "a", tmp_path / "b")
    assert (tmp_path / "a").samefile(tmp_path / "b")
    with pytest.raises(FileExistsError):
        storage.link(tmp_path / "a", tmp_path / "b")
    with pytest.raises(FileNotFoundError) as caught:
        storage.link(f"{tmp_path}/none", f"{tmp_path}/c")
    assert str(caught.value.filename) == f"{tmp_path}/none"
    (tmp_path / "away").symlink_to(tmp_path)
    for source, target in (("away/a", "c"), ("a", "away/c")):
        with pytest.raises(NotADirectoryError):
            storage.link(tmp_path / source, tmp_path / target)


def test_resolve_follows_links_and_takes_what_is_not_there(
    storage: Storage, tmp_path: Path
) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    assert storage.resolve(tmp_path / "link" / ".." / "link" / "new") == tmp_path / "real" / "new"


def test_make_directory_says_whether_it_was_made(storage: Storage, tmp_path: Path) -> None:
    assert storage.make_directory(tmp_path / "a") is True
    assert storage.make_directory(tmp_path / "a") is False
    (tmp_path / "file").write_bytes(b"")
    (tmp_path / "link").symlink_to(tmp_path / "a")
    os.mkfifo(tmp_path / "fifo")
    for name in ("file", "link", "fifo"):
        with pytest.raises(NotADirectoryError, match=name):
            storage.make_directory(tmp_path / name)


def test_sync_directory_needs_a_directory(storage: Storage, tmp_path: Path) -> None:
    storage.sync_directory(tmp_path)
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(NotADirectoryError):
        storage.sync_directory(tmp_path / "file")


# -- what is no plain file ----------------------------------------------------------------


def test_links_are_never_followed(storage: Storage, tmp_path: Path) -> None:
    target, link = tmp_path / "target", tmp_path / "link"
    target.write_bytes(b"secret")
    link.symlink_to(target)
    for call in (
        lambda: storage.open_append(link),
        lambda: storage.open_lock(link),
        lambda: storage.truncate(link, 0),
        lambda: storage.open_read(link),
    ):
        with pytest.raises(OSError) as caught:
            call()
        assert caught.value.errno == errno.ELOOP
    with pytest.raises(FileExistsError):
        storage.create(link)
    storage.replace(link, b"new", tmp_path / "temporary")
    assert target.read_bytes() == b"secret"
    assert not link.is_symlink()


def test_links_to_the_directory_of_a_file_are_never_followed(
    storage: Storage, tmp_path: Path
) -> None:
    real, link = tmp_path / "real", tmp_path / "link"
    real.mkdir()
    link.symlink_to(real)
    (real / "file").write_bytes(b"secret")
    (tmp_path / "own").write_bytes(b"own")
    before = len(os.listdir("/proc/self/fd"))
    for call in (
        lambda: storage.create(link / "new"),
        lambda: storage.open_append(link / "file"),
        lambda: storage.open_lock(link / "file"),
        lambda: storage.truncate(link / "file", 0),
        lambda: storage.unlink(link / "file"),
        lambda: storage.rename(tmp_path / "own", link / "file"),
        lambda: storage.rename(link / "file", tmp_path / "own"),
        lambda: storage.replace(link / "file", b"new", tmp_path / "temporary"),
        lambda: storage.open_read(link / "file"),
        lambda: storage.read_file(link / "file"),
        lambda: storage.read_device(link / "file", 0, 6),
    ):
        with pytest.raises(NotADirectoryError):
            call()
    assert os.listdir(real) == ["file"]
    assert (real / "file").read_bytes() == b"secret"
    assert (tmp_path / "own").read_bytes() == b"own"
    assert len(os.listdir("/proc/self/fd")) == before


def test_directories_further_up_may_be_links(storage: Storage, tmp_path: Path) -> None:
    (tmp_path / "real" / "directory").mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "real")
    put(storage, tmp_path / "link" / "directory" / "file", b"data")
    assert storage.read_file(tmp_path / "link" / "directory" / "file") == b"data"


def test_what_is_no_plain_file_is_refused_without_waiting(storage: Storage, tmp_path: Path) -> None:
    fifo, directory = tmp_path / "fifo", tmp_path / "directory"
    os.mkfifo(fifo)
    directory.mkdir()
    before = len(os.listdir("/proc/self/fd"))
    for path in (fifo, directory):
        for call in (storage.open_read, storage.open_append, storage.open_lock):
            with pytest.raises(OSError):
                call(path)
    assert len(os.listdir("/proc/self/fd")) == before


def test_descriptors_are_not_inherited(storage: Storage, tmp_path: Path) -> None:
    path = tmp_path / "file"
    for fd in (storage.create(path), storage.open_append(path), storage.open_read(path)):
        assert not os.get_inheritable(fd)
        os.close(fd)


# -- syncing together ---------------------------------------------------------------------


class Slow(Storage):
    """Syncs that wait for each other, so that they end only where all go on at once."""

    def __init__(self, together: int) -> None:
        super().__init__()
        self._all = threading.Barrier(together, timeout=30)
        self.synced: list[object] = []

    def sync(self, fd: int) -> None:
        self._all.wait()
        self.synced.append(fd)
        if fd == 13:
            raise OSError(errno.EIO, "an error")

    def sync_directory(self, path: Path) -> None:
        self._all.wait()
        self.synced.append(path)


def test_files_and_directories_are_synced_together(tmp_path: Path) -> None:
    storage = Slow(8)
    storage.sync_all([1, 2, 3, 4, 5, 6], [tmp_path, tmp_path.parent])
    assert set(storage.synced) == {1, 2, 3, 4, 5, 6, tmp_path, tmp_path.parent}


def test_more_files_than_go_on_at_once_are_all_synced() -> None:
    storage = Slow(1)
    storage.sync_all(range(100, 200))
    assert sorted(map(str, storage.synced)) == list(map(str, range(100, 200)))


def test_the_error_of_any_sync_is_raised_when_none_goes_on() -> None:
    before = threading.active_count()
    with pytest.raises(OSError, match="an error"):
        Slow(8).sync_all([1, 2, 3, 4, 5, 6, 7, 13])
    assert threading.active_count() == before


def test_syncs_go_on_where_the_system_has_no_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    def none(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", none)
    storage = Slow(1)
    storage.sync_all([1, 2, 3])
    assert storage.synced == [1, 2, 3]


# -- reading ------------------------------------------------------------------------------


def test_read_at_returns_less_only_at_the_end(storage: Storage, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"0123456789")
    with storage.reading(path) as fd:
        assert storage.read_at(fd, 0, 10) == b"0123456789"
        assert storage.read_at(fd, 3, 4) == b"3456"
        assert storage.read_at(fd, 8, 4) == b"89"
        assert storage.read_at(fd, 10, 4) == b""
        assert storage.read_at(fd, 99, 4) == b""
        assert storage.read_at(fd, 3, 0) == b""


def test_read_file_returns_all_and_closes(storage: Storage, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"\0" * 100_000)
    before = len(os.listdir("/proc/self/fd"))
    assert storage.read_file(path) == b"\0" * 100_000
    assert len(os.listdir("/proc/self/fd")) == before
    with pytest.raises(FileNotFoundError):
        storage.read_file(tmp_path / "other")


# -- lock and clocks ----------------------------------------------------------------------


def test_lock_raises_timeout_while_another_has_it(storage: Storage, tmp_path: Path) -> None:
    one, two = (storage.open_lock(tmp_path / "lock") for _ in range(2))
    storage.lock(one, 0)
    with pytest.raises(TimeoutError):
        storage.lock(two, 0)
    with pytest.raises(TimeoutError):
        storage.lock(two, 0.01)
    fcntl.flock(one, fcntl.LOCK_UN)
    storage.lock(two, 0)
    os.close(one)
    os.close(two)


def test_lock_is_taken_when_it_comes_free(storage: Storage, tmp_path: Path) -> None:
    one, two = (storage.open_lock(tmp_path / "lock") for _ in range(2))
    storage.lock(one, 0)
    thread = threading.Thread(target=storage.lock, args=(two, 30))
    thread.start()
    os.close(one)
    thread.join(10)
    assert not thread.is_alive()
    os.close(two)


def test_the_clocks_go_forward(storage: Storage) -> None:
    assert storage.monotonic() <= storage.monotonic()
    assert storage.time_ns() > 1_600_000_000 * 10**9


def test_the_boot_id_stays_the_same(storage: Storage) -> None:
    assert storage.boot_id() == Storage().boot_id() != ""
    assert "\n" not in storage.boot_id()
    assert UNKNOWN_BOOT

"""The store lock between processes, and the busy mark in it."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from timelog.errors import LockTimeout
from timelog.lock import _HEADER, Mark, State, StoreLock, read_mark
from timelog.storage import Storage

MARK = Mark(42, 3, 1234, ("2026-11-21/20261121T1015Z-20261121T1016Z.jsonl",))
HOLD = """
import sys
from pathlib import Path
from timelog.lock import StoreLock
from timelog.storage import Storage
with StoreLock(Storage(), Path(sys.argv[1]), 30).held():
    print("held", flush=True)
    sys.stdin.read()
"""

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
numbers = st.integers(0, 2**62)
states = st.builds(
    State,
    texts,
    st.none() | st.builds(Mark, numbers, numbers, numbers, st.lists(texts, max_size=20).map(tuple)),
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "lock"


def lock(path: Path, timeout: float = 0.0) -> StoreLock:
    return StoreLock(Storage(), path, timeout)


def write(path: Path, state: State) -> None:
    one = lock(path)
    with one.held():
        one.write(state)


@contextmanager
def another_process(path: Path) -> Iterator[subprocess.Popen[str]]:
    """A process that asks for the lock, and gives it back when its stdin is closed."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def says(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


# -- one at a time ------------------------------------------------------------------------


def test_the_lock_can_be_taken_again_and_again(path: Path) -> None:
    one = lock(path)
    for _ in range(3):
        with one.held():
            pass


def test_who_comes_too_late_gets_lock_timeout_with_advice(path: Path) -> None:
    with lock(path).held():
        with pytest.raises(LockTimeout, match=r"0\.01 seconds.*lslocks"), lock(path, 0.01).held():
            pytest.fail("held twice")
        with pytest.raises(LockTimeout), lock(path, 0).held():
            pytest.fail("held twice")
    with lock(path).held():
        pass


def test_an_error_inside_gives_the_lock_back_and_stays_itself(path: Path) -> None:
    for error in (RuntimeError("mine"), OSError(errno.ENOSPC, "full")):
        with pytest.raises(type(error)) as caught, lock(path).held():
            raise error
        assert caught.value is error
    with lock(path).held():
        pass


def test_a_disk_that_timed_out_is_no_lock_timeout(path: Path) -> None:
    """A network file system answers ETIMEDOUT, which Python makes a TimeoutError."""
    error = OSError(errno.ETIMEDOUT, "Connection timed out")
    with pytest.raises(OSError) as caught, lock(path).held():
        raise error
    assert caught.value is error


def test_a_second_process_waits_and_gets_it(path: Path) -> None:
    with another_process(path) as process:
        assert says(process) == "held"
        with pytest.raises(LockTimeout), lock(path, 0.01).held():
            pytest.fail("held by two processes")
        assert process.stdin is not None
        process.stdin.close()
        with lock(path, 30).held():
            pass


def test_this_process_gives_it_to_a_second_one(path: Path) -> None:
    with lock(path).held():
        process = another_process(path)
        other = process.__enter__()
    assert says(other) == "held"
    process.__exit__(None, None, None)


def test_the_lock_of_a_killed_process_is_free(path: Path) -> None:
    with another_process(path) as process:
        assert says(process) == "held"
        process.kill()
        process.wait()
        with lock(path).held():
            pass


def test_a_child_lets_go_of_the_parents_lock_without_unlocking_it(path: Path) -> None:
    held = lock(path)
    with held.held():
        child = os.fork()
        if not child:
            held.after_fork()
            held.after_fork()
            os._exit(0)
        assert os.waitpid(child, 0)[1] == 0
        with pytest.raises(LockTimeout), lock(path).held():
            pytest.fail("the child unlocked it")


def test_descriptors_are_closed(path: Path) -> None:
    before = len(os.listdir("/proc/self/fd"))
    with lock(path).held(), pytest.raises(LockTimeout), lock(path).held():
        pass
    assert len(os.listdir("/proc/self/fd")) == before


# -- what the file says -------------------------------------------------------------------


@given(st.lists(states, min_size=1, max_size=4))
def test_the_last_state_is_read_back_however_long_the_ones_before(
    tmp_path_factory: pytest.TempPathFactory, written: list[State]
) -> None:
    one = lock(tmp_path_factory.mktemp("lock") / "lock")
    for state in written:
        with one.held():
            one.write(state)
            assert one.read() == state
    with one.held():
        assert one.read() == written[-1]


def test_a_new_file_is_of_no_boot_and_unmarked(path: Path) -> None:
    one = lock(path)
    with one.held():
        assert one.read() == State(boot="")
    assert read_mark(Storage(), path, "boot") is None


def test_a_reader_sees_the_mark_of_this_boot(path: Path) -> None:
    write(path, State("boot", MARK))
    assert read_mark(Storage(), path, "boot") == MARK
    write(path, State("boot"))
    assert read_mark(Storage(), path, "boot") is None


def test_a_reader_ignores_the_mark_of_another_boot(path: Path) -> None:
    write(path, State("boot", MARK))
    assert read_mark(Storage(), path, "another") is None


def test_a_reader_needs_no_file_and_no_lock(path: Path) -> None:
    assert read_mark(Storage(), path, "boot") is None
    assert not path.exists()
    write(path, State("boot", MARK))
    with lock(path).held():
        assert read_mark(Storage(), path, "boot") == MARK


GARBAGE = [
    b"x",
    b"\0" * 7,
    b"\0" * 8,
    b"\0" * 4096,
    b"\xff" * 8,
    b"\xff" * 4096,
    b"not a lock file, but text\n" * 10,
    _HEADER.pack(1000, 0) + b"short",
    _HEADER.pack(3, zlib.crc32(b"abc")) + b"abd",
    _HEADER.pack(8, zlib.crc32(b"\x81\xa4boot\xa1\xff")) + b"\x81\xa4boot\xa1\xff",
]


@pytest.mark.parametrize("data", GARBAGE, ids=lambda data: repr(data[:12]))
def test_garbage_is_no_state_and_no_mark(path: Path, data: bytes) -> None:
    """As a power cut may leave the file, which is never synced."""
    path.write_bytes(data)
    one = lock(path)
    with one.held():
        assert one.read() is None
    assert read_mark(Storage(), path, "boot") is None


def test_every_truncation_and_flipped_bit_gives_no_state(path: Path) -> None:
    write(path, State("boot", MARK))
    data = path.read_bytes()
    one = lock(path)
    with one.held():
        for cut in range(1, len(data)):
            path.write_bytes(data[:cut])
            assert one.read() is None, cut
        for bit in range(len(data) * 8):
            changed = bytearray(data)
            changed[bit // 8] ^= 1 << bit % 8
            path.write_bytes(bytes(changed))
            assert one.read() is None, bit


def test_garbage_can_be_written_over(path: Path) -> None:
    for data in GARBAGE:
        path.write_bytes(data)
        write(path, State("boot", MARK))
        assert read_mark(Storage(), path, "boot") == MARK

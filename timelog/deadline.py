"""A time limit for searches that holds even against a pattern that explodes.

Python's ``re`` keeps the interpreter to itself during one match: no other thread runs, nothing can
stop it, and ``(a+)+$`` may take longer on 40 letters than anybody lives. So a search with a limit
has its patterns tested by a process of its own, `timelog.worker`, which is killed when time is
over. A search makes one `Deadline`, and a `KillableMatcher` that lives as long as the search.
"""

from __future__ import annotations

import marshal
import os
import re
import select
import signal
import subprocess
import sys
import weakref
from collections.abc import Callable, Sequence
from pathlib import Path

from timelog.errors import SearchTimeout, TimelogError, in_words

_WORKER = Path(__file__).with_name("worker.py")
# Seconds that a worker outlives its deadline where the process that would kill it is gone.
_GRACE = 1.0
# Seconds: neither a poll nor a timer of the kernel takes an endless time.
_LONGEST_POLL = 1e6
_LONGEST_LIFE = 1e9


class Deadline:
    """A moment that is ``seconds`` away when this is made. Immutable and thread-safe.

    ``monotonic`` is a clock in seconds that never goes back.
    """

    def __init__(self, seconds: float, monotonic: Callable[[], float]) -> None:
        self._seconds = seconds
        self._monotonic = monotonic
        self._end = monotonic() + seconds

    def left(self) -> float:
        """Seconds left; 0 or less when time is over."""
        return self._end - self._monotonic()

    def check(self) -> None:
        """Raise `SearchTimeout` when time is over. Costs one look at the clock."""
        if self.left() <= 0:
            raise SearchTimeout(
                f"the search took longer than its timeout of {self._seconds:g} s; narrow it, "
                "use a simpler pattern, or engine='linear'"
            )


class KillableMatcher:
    """Tests contents for a pattern in another process, which ends when ``deadline`` is over.

    For one thread at a time. The process starts with the first batch and ends with `close`, when
    this object is collected, or at exit; where this process is killed, it ends by itself, at the
    latest a second after the deadline. A forked child that uses the object starts a process of its
    own and leaves its parent's alone.
    """

    def __init__(self, compiled: re.Pattern[str], deadline: Deadline) -> None:
        self._compiled = compiled
        self._deadline = deadline
        self._process: subprocess.Popen[bytes] | None = None
        self._owner = 0
        self._end: Callable[[], object] | None = None

    def select(self, contents: Sequence[str]) -> list[bool]:
        """For each of ``contents``, in order: whether ``re.search`` finds the pattern in it.

        Raises `SearchTimeout` when the deadline is over, before or during the call, and
        `TimelogError` where the process cannot be started or ended on its own, for want of memory
        for example. After any error the process is gone, and the next call starts another.

        Cost: that of ``re.search`` on each, and 0.04 ms for each batch, and 0.4 µs for each content
        of 200 characters of ASCII, 2.3 µs for one that is all of other letters; 15 to 30 ms once,
        to start the process. A batch is in memory twice more here and twice in the process.
        """
        try:
            self._deadline.check()
            if not contents:
                return []
            process = self._started()
            # A subclass of str is not a str to marshal.
            batch = marshal.dumps(list(map(str.__str__, contents)))
            self._send(process, batch)
            return list(map(bool, self._receive(process, len(contents))))
        except BaseException:
            # What the process has still to read or to answer would be taken for the next batch's.
            self.close()
            raise

    def close(self) -> None:
        """End the process and wait until it is gone; takes about a millisecond. May be repeated."""
        if self._end is not None:
            self._end()
            self._end = self._process = None

    # -- inside ---------------------------------------------------------------------------

    def _started(self) -> subprocess.Popen[bytes]:
        if self._process is not None and self._owner == os.getpid():
            return self._process
        self.close()
        process = _start()
        self._owner = os.getpid()
        self._end = weakref.finalize(self, _end, process, self._owner)
        self._process = process
        # A pattern made with DEBUG has been printed already.
        flags = self._compiled.flags & ~int(re.DEBUG)
        seconds = min(self._deadline.left() + _GRACE, _LONGEST_LIFE)
        first = (str.__str__(self._compiled.pattern), flags, max(seconds, _GRACE))
        self._send(process, marshal.dumps(first))
        return process

    def _send(self, process: subprocess.Popen[bytes], frame: bytes) -> None:
        assert process.stdin
        left = memoryview(len(frame).to_bytes(8, "big") + frame)
        try:
            while left:
                self._wait(process.stdin.fileno(), select.POLLOUT)
                left = left[process.stdin.write(left) :]
        except BrokenPipeError:
            raise _ended(process) from None

    def _receive(self, process: subprocess.Popen[bytes], size: int) -> bytes:
        """The frame of ``size`` bytes that is due."""
        assert process.stdout
        expected = size.to_bytes(8, "big")
        frame = bytearray()
        while len(frame) < len(expected) + size:
            self._wait(process.stdout.fileno(), select.POLLIN)
            part = os.read(process.stdout.fileno(), len(expected) + size - len(frame))
            if not part:
                raise _ended(process)
            frame += part
        if not frame.startswith(expected):
            raise TimelogError(f"{sys.executable} (sys.executable) does not behave as Python")
        return bytes(frame[len(expected) :])

    def _wait(self, fd: int, event: int) -> None:
        """Return when ``fd`` is ready or broken; `SearchTimeout` when time is over."""
        poll = select.poll()
        poll.register(fd, event)
        ready = False
        while not ready:
            self._deadline.check()
            # A negative time would be endless.
            seconds = max(self._deadline.left(), 0.0)
            ready = bool(poll.poll(1000 * min(seconds, _LONGEST_POLL)))


def _start() -> subprocess.Popen[bytes]:
    # A frozen program is its own executable, and would only start itself once more.
    if not sys.executable or getattr(sys, "frozen", False):
        raise TimelogError(
            "a timeout needs a Python to run, and sys.executable names none in this program; "
            "search without a timeout, or with engine='linear'"
        )
    command = [sys.executable, "-I", "-S", "-W", "ignore", os.fspath(_WORKER)]
    pipe = subprocess.PIPE
    try:
        # In a session of its own, so that an interrupt from the terminal does not reach it.
        process = subprocess.Popen(
            command, bufsize=0, stdin=pipe, stdout=pipe, stderr=pipe, start_new_session=True
        )
    except OSError as error:
        raise TimelogError(
            f"the process that matches the pattern cannot be started: {in_words(error)}"
        ) from error
    for stream in (process.stdin, process.stdout, process.stderr):
        assert stream
        os.set_blocking(stream.fileno(), False)
    return process


def _end(process: subprocess.Popen[bytes], owner: int) -> None:
    """Close the pipes; kill and reap the process if it is this one's child."""
    with process:
        if os.getpid() == owner:
            process.kill()
        else:
            # Its parent's to wait for: the number may be another's soon, and the lock that Popen
            # waits under may be held for ever by a thread that the fork left behind.
            process.returncode = 0


def _ended(process: subprocess.Popen[bytes]) -> TimelogError:
    """Say how the process ended that has just closed its end of a pipe."""
    assert process.stderr
    # It can only be on its way out; this changes no signal or status that it ended with.
    process.kill()
    status = process.wait()
    if status < 0:
        how = f"signal {-status} ({signal.strsignal(-status)})"
    else:
        how = f"exit status {status}"
    told = (process.stderr.read() or b"").decode(errors="replace").strip()
    last = f": {told.splitlines()[-1]}" if told else ""
    return TimelogError(f"the process that matches the pattern ended with {how}{last}")

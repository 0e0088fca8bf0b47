"""The time limit of searches, with real processes; where a test needs time to pass, it moves it."""

from __future__ import annotations

import gc
import marshal
import math
import os
import random
import re
import resource
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from timelog.deadline import Deadline, KillableMatcher
from timelog.errors import SearchTimeout, TimelogError

FAR = 3600.0
SOON = 30.0
EXPLODING = re.compile("(a+)+$")
EXPLOSION = "a" * 40 + "b"
Make = Callable[..., KillableMatcher]


class Clock:
    """Stands still until a test moves it; ``looked`` is called at each look, with their number."""

    def __init__(self) -> None:
        self.now = 0.0
        self.looks = 0
        self.looked: Callable[[int], object] = lambda looks: None

    def __call__(self) -> float:
        self.looks += 1
        self.looked(self.looks)
        return self.now

    def almost(self, looked: Callable[[int], object]) -> None:
        """Leave 10 ms of a deadline that is `FAR`; count the looks from here."""
        self.now = FAR - 0.01
        self.looks = 0
        self.looked = looked


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def make(clock: Clock) -> Iterator[Make]:
    """Makes matchers, and closes them at the end."""
    made: list[KillableMatcher] = []

    def make_one(pattern: str | re.Pattern[str], flags: int = 0) -> KillableMatcher:
        compiled = re.compile(pattern, flags) if isinstance(pattern, str) else pattern
        made.append(KillableMatcher(compiled, Deadline(FAR, clock)))
        return made[-1]

    yield make_one
    for matcher in made:
        matcher.close()


def pid_of(matcher: KillableMatcher) -> int:
    assert matcher._process is not None
    return matcher._process.pid


def is_gone(pid: int) -> bool:
    """Whether there is no such process, and it was a child of this one that has been reaped."""
    try:
        os.waitpid(pid, os.WNOHANG)
    except ChildProcessError:
        pass
    else:
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


def await_end(pid: int) -> None:
    """Return when a process that need not be a child has ended."""
    try:
        fd = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    ended = poll.poll(SOON * 1000)
    os.close(fd)
    assert ended, f"process {pid} lives on"


needs_pidfd = pytest.mark.skipif(
    not hasattr(os, "pidfd_open"), reason="NOT RUN: this system cannot wait for a foreign process"
)


# -- the deadline ---------------------------------------------------------------------------


def test_a_deadline_tells_how_much_is_left(clock: Clock) -> None:
    deadline = Deadline(2.0, clock)
    assert deadline.left() == 2.0
    clock.now = 1.5
    assert deadline.left() == 0.5
    deadline.check()
    clock.now = 3.0
    assert deadline.left() == -1.0


@pytest.mark.parametrize("seconds", [2.0, 0.0, 0.25])
def test_a_deadline_is_over_when_nothing_is_left(clock: Clock, seconds: float) -> None:
    deadline = Deadline(seconds, clock)
    clock.now = seconds
    with pytest.raises(SearchTimeout, match=rf"timeout of {seconds:g} s; .*engine='linear'"):
        deadline.check()


def test_an_endless_deadline_is_never_over(clock: Clock) -> None:
    deadline = Deadline(math.inf, clock)
    clock.now = 1e300
    deadline.check()
    assert deadline.left() == math.inf


# -- the same answers as re.search ----------------------------------------------------------

PATTERNS = [
    re.compile(""),
    re.compile("a"),
    re.compile("^a.b$"),
    re.compile("a.b", re.S),
    re.compile("^b", re.M),
    re.compile("ä|ß", re.I),
    re.compile("(?i)É"),
    re.compile(r"\w+\s\w", re.A),
    re.compile("a  # the first\n  b", re.X),
    re.compile(r"(?P<one>[ab])(?!(?P=one))"),
    re.compile("[\ud800-\udfff]"),
    re.compile("\\0|\n$"),
    re.compile("😀+?é", re.I | re.S | re.M),
]


@pytest.fixture(scope="module")
def matchers() -> Iterator[list[KillableMatcher]]:
    """One for each pattern, whose processes all examples share."""
    made = [KillableMatcher(each, Deadline(FAR, time.monotonic)) for each in PATTERNS]
    yield made
    for matcher in made:
        matcher.close()


@pytest.mark.parametrize("at", range(len(PATTERNS)), ids=lambda at: repr(PATTERNS[at].pattern))
@given(
    contents=st.lists(
        st.text() | st.text(alphabet="ab \n\0äßÄé😀\ud800\udc00\x85\u2028", max_size=12),
        max_size=20,
    )
)
def test_the_answers_are_those_of_search(
    matchers: list[KillableMatcher], at: int, contents: list[str]
) -> None:
    expected = [PATTERNS[at].search(content) is not None for content in contents]
    assert matchers[at].select(contents) == expected


@pytest.mark.parametrize("seed", range(3))
def test_batches_of_all_sizes_have_their_answers_in_order(make: Make, seed: int) -> None:
    rng = random.Random(seed)
    matcher = make("needle")
    for _ in range(20):
        size = rng.choice([1, 2, 100, 3000])
        hits = [rng.random() < 0.3 for _ in range(size)]
        contents = [
            "é\n" * rng.randrange(50) + ("needle" if hit else "neede") + "x" * rng.randrange(200)
            for hit in hits
        ]
        assert matcher.select(contents) == hits
        assert matcher.select(tuple(contents)) == hits


def test_one_content_of_a_mebibyte(make: Make) -> None:
    matcher = make("b$")
    assert matcher.select(["a" * (1 << 20), "é" * ((1 << 20) - 1) + "b"]) == [False, True]


def test_a_batch_far_larger_than_a_pipe_holds(make: Make) -> None:
    matcher = make("b$")
    contents = [str(i) * 40_000 + "ab"[i % 2] for i in range(200)]
    assert sum(map(len, contents)) > 8_000_000
    assert matcher.select(contents) == [False, True] * 100


def test_an_answer_larger_than_a_pipe_holds(make: Make) -> None:
    assert make("a").select(["", "a", ""] * 200_000) == [False, True, False] * 200_000


def test_an_empty_batch_needs_no_process(make: Make) -> None:
    matcher = make("a")
    assert matcher.select([]) == []
    assert matcher._process is None


def test_kinds_of_str_are_taken_by_their_characters(make: Make) -> None:
    class Loud(str):
        def __str__(self) -> str:
            return self.upper()

    assert make(re.compile(Loud("a"))).select([Loud("a"), "A", "a"]) == [True, False, True]


def test_a_pattern_compiled_with_debug_is_not_printed_again(
    make: Make, capfd: pytest.CaptureFixture[str]
) -> None:
    compiled = re.compile("(?:ab|cd)" * 200, re.DEBUG | re.I)
    assert len(capfd.readouterr().out) > 10_000
    assert make(compiled).select(["AB" * 200, "c"]) == [True, False]
    assert capfd.readouterr() == ("", "")


@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_a_pattern_that_warns_warns_once_only(make: Make) -> None:
    matcher = make("[[a]")
    assert matcher.select(["[", "b"]) == [True, False]
    assert matcher._process is not None
    assert matcher._process.stderr is not None
    assert not matcher._process.stderr.read()


def test_a_pattern_that_needs_a_high_limit_of_recursion(make: Make) -> None:
    before = sys.getrecursionlimit()
    sys.setrecursionlimit(20_000)
    try:
        compiled = re.compile("(?:a" * 1000 + "b" + ")" * 1000)
    finally:
        sys.setrecursionlimit(before)
    assert make(compiled).select(["a" * 1000 + "b", "b"]) == [True, False]


# -- a pattern that explodes ----------------------------------------------------------------


def test_time_runs_out_for_an_exploding_pattern_while_another_thread_goes_on(
    make: Make, clock: Clock
) -> None:
    """The clock is moved by the other thread, so the search ends only because that ran."""
    matcher = make(EXPLODING)
    assert matcher.select(["aa", "b"]) == [True, False]
    pid = pid_of(matcher)
    looks = threading.Semaphore(0)
    steps = 0

    def other() -> None:
        nonlocal steps
        # A few looks belong to sending; later ones only come from waiting for the answer.
        while steps < 20 and looks.acquire(timeout=SOON):
            steps += 1
        clock.now = FAR + 1

    thread = threading.Thread(target=other)
    clock.almost(lambda _: looks.release())
    thread.start()
    with pytest.raises(SearchTimeout, match="timeout of 3600 s"):
        matcher.select(["aa", EXPLOSION])
    assert is_gone(pid)
    thread.join()
    assert steps == 20


def test_time_runs_out_by_a_real_clock(make: Make) -> None:
    matcher = KillableMatcher(EXPLODING, Deadline(0.2, time.monotonic))
    with pytest.raises(SearchTimeout, match=r"timeout of 0\.2 s"):
        matcher.select([EXPLOSION])
    assert matcher._process is None


def test_time_runs_out_while_a_batch_is_sent(make: Make, clock: Clock) -> None:
    matcher = make("a")
    matcher.select([""])
    pid = pid_of(matcher)
    os.kill(pid, signal.SIGSTOP)

    def looked(looks: int) -> None:
        if looks == 30:
            clock.now = FAR

    clock.almost(looked)
    with pytest.raises(SearchTimeout):
        matcher.select(["x" * 10_000_000])
    assert is_gone(pid)


def test_nothing_starts_when_time_is_over_already(make: Make, clock: Clock) -> None:
    matcher = make("a")
    clock.now = FAR
    for contents in (["a"], []):
        with pytest.raises(SearchTimeout):
            matcher.select(contents)
        assert matcher._process is None


def test_the_process_goes_when_time_ran_out_between_batches(make: Make, clock: Clock) -> None:
    matcher = make("a")
    matcher.select(["a"])
    pid = pid_of(matcher)
    clock.now = FAR
    with pytest.raises(SearchTimeout):
        matcher.select(["a"])
    assert is_gone(pid)


def test_an_interrupt_ends_the_process_and_the_next_batch_has_its_own_answers(
    make: Make, clock: Clock
) -> None:
    matcher = make(EXPLODING)
    matcher.select([""])
    pid = pid_of(matcher)

    def looked(looks: int) -> None:
        if looks == 10:
            signal.raise_signal(signal.SIGINT)

    clock.almost(looked)
    with pytest.raises(KeyboardInterrupt):
        matcher.select(["aa", EXPLOSION])
    assert is_gone(pid)
    clock.now = 0.0
    assert matcher.select(["b", "ab", "ba"]) == [False, False, True]


# -- the life of the process ----------------------------------------------------------------


def test_one_process_serves_all_batches_until_close(make: Make) -> None:
    matcher = make("a")
    matcher.close()
    assert matcher.select(["a"]) == [True]
    pid = pid_of(matcher)
    assert matcher.select(["b"]) == [False]
    assert pid_of(matcher) == pid
    matcher.close()
    assert is_gone(pid)
    matcher.close()


@pytest.mark.parametrize("stuck", ["exploding", "stopped"])
def test_a_stuck_process_does_not_outlive_close(make: Make, stuck: str) -> None:
    matcher = make(EXPLODING)
    matcher.select([""])
    pid = pid_of(matcher)
    if stuck == "stopped":
        os.kill(pid, signal.SIGSTOP)
    else:
        assert matcher._process is not None
        matcher._send(matcher._process, marshal.dumps([EXPLOSION]))
    matcher.close()
    assert is_gone(pid)


def test_a_process_ends_with_its_matcher() -> None:
    matcher = KillableMatcher(re.compile("a"), Deadline(FAR, time.monotonic))
    matcher.select(["a"])
    pid = pid_of(matcher)
    del matcher
    gc.collect()
    assert is_gone(pid)


def test_no_descriptor_is_left_open(make: Make, clock: Clock) -> None:
    make("a").select(["a"])
    before = len(os.listdir("/dev/fd"))
    matcher = make("b")
    matcher.select(["a"])
    matcher.close()
    matcher.select(["a"])
    clock.now = FAR
    with pytest.raises(SearchTimeout):
        matcher.select(["a"])
    assert len(os.listdir("/dev/fd")) == before


def test_an_interrupt_from_the_terminal_does_not_reach_the_process(make: Make) -> None:
    matcher = make("a")
    matcher.select(["a"])
    assert os.getsid(pid_of(matcher)) == pid_of(matcher)


HOLDER = """
import marshal, re, sys, time
from timelog import deadline

deadline._GRACE = 0.0
life, ending = float(sys.argv[1]), sys.argv[2]
limit = deadline.Deadline(life, time.monotonic)
matcher = deadline.KillableMatcher(re.compile("(a+)+$"), limit)
matcher.select(["a"])
if ending == "explode":
    matcher._send(matcher._process, marshal.dumps(["a" * 40 + "b"]))
print(matcher._process.pid, flush=True)
if ending != "exit":
    sys.stdin.read()
"""


def holder(life: float, ending: str) -> tuple[subprocess.Popen[str], int]:
    """A program that has a matcher, and the number of the matcher's process."""
    program = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(life), ending],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[1],
    )
    assert program.stdout is not None
    return program, int(program.stdout.readline())


def test_a_program_that_ends_without_close_leaves_no_process() -> None:
    program, pid = holder(FAR, "exit")
    with program:
        assert program.wait(SOON) == 0
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


@needs_pidfd
@pytest.mark.parametrize(("life", "ending"), [(FAR, "idle"), (0.5, "explode")])
def test_a_process_ends_by_itself_when_its_program_is_killed(life: float, ending: str) -> None:
    """An idle one at once, one in the middle of a match when its time is over."""
    program, pid = holder(life, ending)
    with program:
        program.kill()
    await_end(pid)


def test_a_forked_child_leaves_the_process_of_its_parent_alone(make: Make) -> None:
    matcher = make("a")
    matcher.select(["a"])
    pid = pid_of(matcher)
    child = os.fork()
    if not child:
        status = 1
        try:
            assert matcher.select(["b", "a"]) == [False, True]
            assert pid_of(matcher) != pid
            own = pid_of(matcher)
            matcher.close()
            assert is_gone(own)
            status = 0
        finally:
            os._exit(status)
    assert os.waitpid(child, 0)[1] == 0
    assert matcher.select(["a", "b"]) == [True, False]
    assert pid_of(matcher) == pid


def test_a_forked_child_that_only_lets_go_ends_nothing(make: Make) -> None:
    matcher = make("a")
    matcher.select(["a"])
    pid = pid_of(matcher)
    child = os.fork()
    if not child:
        status = 1
        try:
            open_before = len(os.listdir("/dev/fd"))
            matcher.close()
            assert len(os.listdir("/dev/fd")) == open_before - 3
            os.kill(pid, 0)
            status = 0
        finally:
            os._exit(status)
    assert os.waitpid(child, 0)[1] == 0
    assert matcher.select(["a", "b"]) == [True, False]
    assert pid_of(matcher) == pid


# -- a process that fails -------------------------------------------------------------------


def test_a_process_killed_between_batches_is_told_and_replaced(make: Make) -> None:
    matcher = make("a")
    matcher.select(["a"])
    pid = pid_of(matcher)
    os.kill(pid, signal.SIGKILL)
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    with pytest.raises(TimelogError, match=r"ended with signal 9 \(Killed\)$") as caught:
        matcher.select(["a"])
    assert not isinstance(caught.value, SearchTimeout)
    assert is_gone(pid)
    assert matcher.select(["a"]) == [True]


def test_a_process_killed_in_the_middle_of_a_match_is_told(make: Make, clock: Clock) -> None:
    matcher = make(EXPLODING)
    matcher.select(["a"])
    pid = pid_of(matcher)

    def looked(looks: int) -> None:
        if looks == 10:
            os.kill(pid, signal.SIGTERM)

    clock.almost(looked)
    with pytest.raises(TimelogError, match=r"ended with signal 15 \(Terminated\)$"):
        matcher.select([EXPLOSION])
    assert is_gone(pid)


@pytest.mark.skipif(
    not hasattr(resource, "prlimit"), reason="NOT RUN: another process's memory cannot be limited"
)
def test_a_process_that_has_no_memory_left_is_told(make: Make) -> None:
    matcher = make("a")
    matcher.select(["a"])
    resource.prlimit(pid_of(matcher), resource.RLIMIT_AS, (48 << 20, 48 << 20))
    with pytest.raises(TimelogError, match=r"ended with exit status 1: MemoryError$"):
        matcher.select(["x" * (48 << 20)])


@pytest.mark.parametrize("executable", ["", None])
def test_a_program_that_knows_no_python_is_told(
    make: Make, monkeypatch: pytest.MonkeyPatch, executable: str | None
) -> None:
    monkeypatch.setattr(sys, "executable", executable)
    with pytest.raises(TimelogError, match=r"sys\.executable names none"):
        make("a").select(["a"])


def test_a_frozen_program_does_not_start_itself(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "frozen", True, raising=False)
    with pytest.raises(TimelogError, match=r"sys\.executable names none"):
        make("a").select(["a"])


def test_a_python_that_is_not_there_is_told(
    make: Make, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    with pytest.raises(TimelogError, match=r"cannot be started: No such file.*python\)"):
        make("a").select(["a"])


@pytest.mark.parametrize(
    ("script", "message"),
    [
        ("echo I am something else; exec cat >/dev/null", "does not behave as Python"),
        ("echo no such option >&2; exit 3", "ended with exit status 3: no such option"),
    ],
)
def test_an_executable_that_is_no_python_is_told(
    make: Make, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, script: str, message: str
) -> None:
    program = tmp_path / "program"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(program))
    with pytest.raises(TimelogError, match=message):
        make("a").select(["a"])

"""Working ahead: in order, within bounds, and without threads where there can be none."""

from __future__ import annotations

import gc
import os
import signal
import subprocess
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from typing import Any

import pytest

from timelog.ahead import Ahead

ROOT = Path(__file__).parents[1]
# Longer than anything here takes; who waits so long waits for ever.
LONG = 60.0


@pytest.fixture(params=[1, 2, 4])
def threads(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    """How many helpers there are to use, beside the processor of the asking thread."""
    count: int = request.param
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(count + 1)))
    return count


@pytest.fixture
def make() -> Iterator[Callable[..., Ahead[Any, Any]]]:
    """Make an `Ahead`; each is closed at the end, and its threads have ended."""
    made: list[Ahead[Any, Any]] = []

    def one(
        act: Callable[[Any], Any], inline: int = 0, size: Callable[[Any], int] = lambda item: 1
    ) -> Ahead[Any, Any]:
        made.append(Ahead(act, size, inline))
        return made[-1]

    yield one
    for each in made:
        each.close()
    for thread in helpers():
        thread.join(LONG)
    assert helpers() == []


def helpers() -> list[threading.Thread]:
    return [each for each in threading.enumerate() if each.name.startswith("timelog-read")]


def is_helper() -> bool:
    return threading.current_thread().name.startswith("timelog-read")


class Items:
    """Items that count how many were asked for."""

    def __init__(self, count: int) -> None:
        self.count = count
        self.drawn = 0

    def __iter__(self) -> Iterator[int]:
        for item in range(self.count):
            self.drawn += 1
            yield item


# -- order --------------------------------------------------------------------------------


@pytest.mark.parametrize("inline", [0, 5, 1000])
@pytest.mark.parametrize("count", [0, 1, 3, 50])
def test_results_come_in_the_order_of_the_items(
    make: Callable[..., Ahead[Any, Any]], threads: int, inline: int, count: int
) -> None:
    ahead = make(lambda item: item * item, inline)
    assert list(ahead.results(range(count))) == [item * item for item in range(count)]


def test_a_result_that_is_ready_waits_for_those_before_it(
    make: Callable[..., Ahead[Any, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0, 1, 2})
    second_is_done = threading.Event()

    def act(item: int) -> int:
        if item == 0:
            assert second_is_done.wait(LONG)
        elif item == 1:
            second_is_done.set()
        return item

    assert list(make(act).results(range(6))) == list(range(6))


def test_results_may_be_anything(make: Callable[..., Ahead[Any, Any]], threads: int) -> None:
    values = [None, 0, "", (), StopIteration, ValueError("not raised")]
    ahead = make(lambda item: values[item], 2)
    assert list(ahead.results(range(len(values)))) == values


def test_several_rows_of_items_may_be_worked_on_in_turns(
    make: Callable[..., Ahead[Any, Any]], threads: int
) -> None:
    random = Random(threads)
    ahead = make(lambda item: -item, 5)
    rows = [ahead.results(range(40)), ahead.results(range(100, 140))]
    found: list[list[int]] = [[], []]
    while len(found[0]) + len(found[1]) < 80:
        which = random.randrange(2)
        found[which] += [value for value in [next(rows[which], None)] if value is not None]
    assert found == [[-item for item in range(40)], [-item for item in range(100, 140)]]


# -- errors -------------------------------------------------------------------------------


@pytest.mark.parametrize("inline", [0, 3, 100])
def test_an_error_is_raised_in_the_place_of_its_result(
    make: Callable[..., Ahead[Any, Any]], threads: int, inline: int
) -> None:
    results = make(lambda item: 12 // (3 - item), inline).results(range(10))
    assert [next(results) for _ in range(3)] == [4, 6, 12]
    with pytest.raises(ZeroDivisionError):
        next(results)
    assert list(results) == []


def test_an_error_of_an_item_that_nobody_asks_for_is_not_raised(
    make: Callable[..., Ahead[Any, Any]], threads: int
) -> None:
    ahead = make(lambda item: 1 // (1 - item))
    assert next(ahead.results(range(10))) == 1
    ahead.close()


def test_an_error_of_the_items_comes_through(
    make: Callable[..., Ahead[Any, Any]], threads: int
) -> None:
    with pytest.raises(ValueError, match="invalid literal"):
        list(make(lambda item: item).results(map(int, ["1", "2", "x", "4"])))


# -- bounds -------------------------------------------------------------------------------


@pytest.mark.parametrize("inline", [0, 1, 10, 25])
def test_no_thread_is_started_before_so_much_is_done(
    make: Callable[..., Ahead[Any, Any]], threads: int, inline: int
) -> None:
    by_helper: list[int] = []
    items = Items(10)
    results = make(
        lambda item: by_helper.append(item) if is_helper() else None, inline, lambda item: 5
    ).results(items)
    first = -(-inline // 5)
    for number in range(first):
        assert helpers() == []
        next(results)
        # Nothing is asked for ahead of time either.
        assert items.drawn == number + 1
    assert helpers() == []
    list(results)
    assert sorted(by_helper) == list(range(first, 10))
    assert len(helpers()) <= threads


def test_a_small_job_starts_no_thread_at_all(make: Callable[..., Ahead[Any, Any]]) -> None:
    ahead = make(lambda item: is_helper(), 10)
    assert list(ahead.results(range(10))) == [False] * 10
    assert helpers() == []


def test_what_is_done_counts_over_all_rows_of_items(
    make: Callable[..., Ahead[Any, Any]], threads: int
) -> None:
    ahead = make(lambda item: is_helper(), 10)
    assert list(ahead.results(range(6))) == [False] * 6
    assert list(ahead.results(range(6))) == [False] * 4 + [True] * 2


def test_only_a_few_results_wait_to_be_asked_for(
    make: Callable[..., Ahead[Any, Any]], threads: int
) -> None:
    begun: list[int] = []
    items = Items(100)
    results = make(begun.append).results(items)
    assert items.drawn == 0
    for asked in range(1, 101):
        next(results)
        assert items.drawn <= asked + 2 * threads
        assert len(begun) <= items.drawn
    assert sorted(begun) == list(range(100))


def test_helpers_work_while_nobody_asks(make: Callable[..., Ahead[Any, Any]], threads: int) -> None:
    begun = [threading.Event() for _ in range(10)]
    results = make(lambda item: begun[item].set()).results(range(10))
    next(results)
    for item in range(2 * threads):
        assert begun[min(item, 9)].wait(LONG)


def test_more_threads_than_four_are_not_started(
    make: Callable[..., Ahead[Any, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(64)))
    gate = threading.Event()
    begun: list[int] = []

    def act(item: int) -> None:
        begun.append(item)
        assert item == 0 or gate.wait(LONG)

    results = make(act).results(range(100))
    next(results)
    assert len(helpers()) <= 4
    gate.set()
    list(results)
    assert len(helpers()) <= 4 and len(begun) == 100


# -- the end ------------------------------------------------------------------------------


def test_what_was_not_begun_when_it_is_closed_is_not_done(
    make: Callable[..., Ahead[Any, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0})
    begun, gate = threading.Event(), threading.Event()
    done: list[int] = []

    def act(item: int) -> int:
        if item == 1:
            begun.set()
            assert gate.wait(LONG)
        done.append(item)
        return item

    ahead = make(act)
    assert next(ahead.results(range(10))) == 0
    assert begun.wait(LONG)
    # It does not wait for what is being done.
    ahead.close()
    ahead.close()
    gate.set()
    for thread in helpers():
        thread.join(LONG)
    assert done == [0, 1]


def test_closing_what_was_never_used_is_nothing(make: Callable[..., Ahead[Any, Any]]) -> None:
    make(print).close()


def test_what_is_let_go_of_leaves_no_thread(threads: int) -> None:
    """Also where nobody closed it."""
    ahead: Ahead[int, int] | None = Ahead(lambda item: item, lambda item: 1, 0)
    assert ahead is not None
    results = ahead.results(range(100))
    next(results)
    running = helpers()
    assert running
    ahead, results = None, iter(())
    gc.collect()
    for thread in running:
        thread.join(LONG)
        assert not thread.is_alive()


# -- fork ---------------------------------------------------------------------------------


def in_child(act: Callable[[], None]) -> int:
    """Run ``act`` in a forked child; return its exit status, 0 where nothing was raised.

    A child that waits for ever is ended by a signal.
    """
    pid = os.fork()
    if pid:
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    status = 1
    try:
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.alarm(int(LONG))
        act()
        status = 0
    except BaseException:
        traceback.print_exc()
        sys.stderr.flush()
    finally:
        os._exit(status)


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
@pytest.mark.parametrize("inline", [0, 4, 100])
@pytest.mark.parametrize("asked", [0, 1, 5, 30])
def test_a_child_goes_on_where_its_parent_was(
    make: Callable[..., Ahead[Any, Any]], threads: int, inline: int, asked: int
) -> None:
    acted: list[int] = []

    def act(item: int) -> int:
        acted.append(item)
        return item

    ahead = make(act, inline)
    results = ahead.results(range(30))
    before = [next(results) for _ in range(asked)]
    had_helpers = bool(helpers())

    def go_on() -> None:
        acted.clear()
        assert [*before, *results] == list(range(30))
        assert sorted(acted) == list(range(asked, 30))
        # Its parent's helpers are not there, and it has no use for others.
        assert not had_helpers or threading.active_count() == 1
        ahead.close()

    assert in_child(go_on) == 0
    assert [*before, *results] == list(range(30))


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_child_of_a_busy_parent_does_not_wait_for_the_parent_s_threads(
    make: Callable[..., Ahead[Any, Any]], threads: int
) -> None:
    parent = os.getpid()
    gate = threading.Event()

    def act(item: int) -> int:
        if os.getpid() == parent:
            assert item == 0 or gate.wait(LONG)
        return item

    ahead = make(act)
    results = ahead.results(range(20))
    next(results)

    def go_on() -> None:
        assert list(results) == list(range(1, 20))
        ahead.close()

    assert in_child(go_on) == 0
    gate.set()
    assert list(results) == list(range(1, 20))


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_child_does_not_close_what_its_parent_uses(
    make: Callable[..., Ahead[Any, Any]], threads: int
) -> None:
    ahead = make(lambda item: item)
    results = ahead.results(range(30))
    next(results)
    assert in_child(ahead.close) == 0
    assert list(results) == list(range(1, 30))


# -- where there can be no thread ---------------------------------------------------------


def run(program: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=LONG,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def test_what_begins_while_the_interpreter_ends_is_done_by_who_asks() -> None:
    program = """
import atexit, threading
from timelog.ahead import Ahead

@atexit.register
def at_exit():
    ahead = Ahead(lambda item: threading.current_thread().name, lambda item: 1, 0)
    print(set(ahead.results(range(20))), flush=True)
    ahead.close()
"""
    assert run(program) == "{'MainThread'}\n"


def test_what_had_begun_goes_on_while_the_interpreter_ends() -> None:
    program = """
import atexit
from timelog.ahead import Ahead

ahead = Ahead(lambda item: item, lambda item: 1, 0)
results = ahead.results(range(30))
next(results)

@atexit.register
def at_exit():
    print(list(results) == list(range(1, 30)), flush=True)
"""
    assert run(program) == "True\n"


def test_where_the_system_has_no_thread_to_give_it_is_done_by_who_asks() -> None:
    program = """
import resource, threading
from timelog.ahead import Ahead

size = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (size + 256 * 2**20,) * 2)
threading.stack_size(512 * 2**20)
ahead = Ahead(lambda item: (item, threading.current_thread().name), lambda item: 1, 0)
print(list(ahead.results(range(20))) == [(n, "MainThread") for n in range(20)], flush=True)
ahead.close()
"""
    assert run(program) == "True\n"

"""The periodic timer with real threads; nothing here waits for time to pass."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator

import pytest

from timelog.timer import PeriodicTimer

FAR = 3600.0
SOON = 5.0


class Action:
    """Counts its runs and lets a test wait for them."""

    def __init__(self, *returns: float | Exception | None) -> None:
        self._returns = list(returns)
        self._ran = threading.Semaphore(0)
        self.runs = 0
        self.threads: set[int] = set()
        self.running = 0
        self.most_running = 0

    def __call__(self) -> float | None:
        self.running += 1
        self.most_running = max(self.most_running, self.running)
        self.runs += 1
        self.threads.add(threading.get_ident())
        self.running -= 1
        result = self._returns.pop(0) if self._returns else None
        self._ran.release()
        if isinstance(result, Exception):
            raise result
        return result

    def wait(self, runs: int = 1) -> None:
        """Return when it ran so many times more."""
        for _ in range(runs):
            assert self._ran.acquire(timeout=SOON)


@pytest.fixture
def timers() -> Iterator[list[PeriodicTimer]]:
    """Stops every timer that a test put in."""
    made: list[PeriodicTimer] = []
    yield made
    for timer in made:
        timer.stop()


def no_error(error: Exception) -> None:
    raise AssertionError("the action failed") from error


def test_the_action_runs_again_and_again_in_one_thread_of_its_own(
    timers: list[PeriodicTimer],
) -> None:
    action = Action()
    timer = PeriodicTimer(0.0001, action, no_error)
    timers.append(timer)
    timer.start()
    action.wait(20)
    assert len(action.threads) == 1
    assert threading.get_ident() not in action.threads
    assert action.most_running == 1


def test_the_first_run_comes_after_an_interval(timers: list[PeriodicTimer]) -> None:
    action = Action()
    timer = PeriodicTimer(FAR, action, no_error)
    timers.append(timer)
    timer.start()
    timer.stop()
    assert action.runs == 0


def test_wake_runs_the_action_now(timers: list[PeriodicTimer]) -> None:
    action = Action()
    timer = PeriodicTimer(FAR, action, no_error)
    timers.append(timer)
    timer.start()
    for _ in range(3):
        timer.wake()
        action.wait()
    assert action.runs == 3


def test_wakes_during_a_run_lead_to_one_more(timers: list[PeriodicTimer]) -> None:
    began, go_on, again = threading.Event(), threading.Event(), threading.Event()
    runs = []

    def action() -> None:
        runs.append(1)
        began.set()
        if len(runs) == 1:
            assert go_on.wait(SOON)
        else:
            again.set()

    timer = PeriodicTimer(FAR, action, no_error)
    timers.append(timer)
    timer.start()
    timer.wake()
    assert began.wait(SOON)
    for _ in range(5):
        timer.wake()
    go_on.set()
    assert again.wait(SOON)
    timer.stop()
    assert len(runs) == 2


def test_wake_before_start_is_remembered(timers: list[PeriodicTimer]) -> None:
    action = Action()
    timer = PeriodicTimer(FAR, action, no_error)
    timers.append(timer)
    timer.wake()
    timer.start()
    action.wait()


def test_the_interval_is_waited_after_each_run(timers: list[PeriodicTimer]) -> None:
    """However long a run took, the next one does not follow at once."""
    began, go_on = threading.Event(), threading.Event()
    runs = []

    def action() -> None:
        runs.append(1)
        began.set()
        assert go_on.wait(SOON)

    timer = PeriodicTimer(FAR, action, no_error)
    timers.append(timer)
    timer.start()
    timer.wake()
    assert began.wait(SOON)
    go_on.set()
    timer.stop()
    assert len(runs) == 1


def test_the_action_may_say_how_long_to_wait(timers: list[PeriodicTimer]) -> None:
    action = Action(0.0, 0.0, FAR)
    timer = PeriodicTimer(0.0001, action, no_error)
    timers.append(timer)
    timer.start()
    action.wait(3)
    timer.stop()
    assert action.runs == 3


def test_a_pause_is_asked_for_once_only(timers: list[PeriodicTimer]) -> None:
    action = Action(0.0, None)
    timer = PeriodicTimer(FAR, action, no_error)
    timers.append(timer)
    timer.start()
    timer.wake()
    action.wait(2)
    timer.stop()
    assert action.runs == 2


def test_stop_ends_at_once_while_waiting() -> None:
    timer = PeriodicTimer(FAR, Action(), no_error)
    timer.start()
    assert timer.is_alive
    timer.stop()
    assert not timer.is_alive
    timer.stop()


def test_stop_returns_when_the_action_did() -> None:
    began, go_on, done = threading.Event(), threading.Event(), threading.Event()

    def action() -> None:
        began.set()
        assert go_on.wait(SOON)
        done.set()

    timer = PeriodicTimer(FAR, action, no_error)
    timer.start()
    timer.wake()
    assert began.wait(SOON)
    stopper = threading.Thread(target=timer.stop)
    stopper.start()
    assert stopper.is_alive()
    go_on.set()
    stopper.join(SOON)
    assert done.is_set()
    assert not timer.is_alive


def test_a_long_action_may_look_whether_it_is_to_stop() -> None:
    began, looks = threading.Event(), []

    def action() -> None:
        looks.append(timer.is_stopping)
        began.set()
        while not timer.is_stopping:
            pause.wait(0.001)
        looks.append(timer.is_stopping)

    pause = threading.Event()
    timer = PeriodicTimer(FAR, action, no_error)
    timer.start()
    timer.wake()
    assert began.wait(SOON)
    timer.stop()
    assert looks == [False, True]
    assert not timer.renewed().is_stopping


def test_two_timers_of_a_log_have_names_of_their_own(timers: list[PeriodicTimer]) -> None:
    one, two = Action(), Action()
    timers += [PeriodicTimer(FAR, one, no_error), PeriodicTimer(FAR, two, no_error, "another")]
    for timer in timers:
        timer.start()
    running = {thread.name for thread in threading.enumerate()}
    assert {"timelog-timer", "another"} <= running
    timers[1].wake()
    two.wait()
    assert (one.runs, two.runs) == (0, 1)


def test_stop_before_start_is_remembered() -> None:
    action = Action()
    timer = PeriodicTimer(0.0, action, no_error)
    timer.stop()
    timer.start()
    timer.wake()
    assert not timer.is_alive
    assert action.runs == 0


def test_the_action_may_stop_its_timer() -> None:
    stopped = threading.Event()

    def action() -> None:
        timer.stop()
        stopped.set()

    timer = PeriodicTimer(0.0, action, no_error)
    timer.start()
    assert stopped.wait(SOON)
    timer._thread.join(SOON)
    assert not timer.is_alive


def test_start_may_be_repeated(timers: list[PeriodicTimer]) -> None:
    action = Action()
    timer = PeriodicTimer(0.0001, action, no_error)
    timers.append(timer)
    timer.start()
    timer.start()
    action.wait(3)
    assert len(action.threads) == 1


def test_start_can_be_repeated_where_the_system_had_no_thread(
    timers: list[PeriodicTimer],
) -> None:
    action = Action()
    timer = PeriodicTimer(0.0001, action, no_error)
    timers.append(timer)
    before = threading.stack_size(1 << 47)  # more than an address space has
    try:
        with contextlib.suppress(RuntimeError):
            timer.start()
    finally:
        threading.stack_size(before)
    timer.start()
    action.wait()


def test_an_exception_is_reported_and_the_timer_goes_on(timers: list[PeriodicTimer]) -> None:
    error = RuntimeError("no")
    action = Action(error, error, None)
    met: list[Exception] = []
    timer = PeriodicTimer(0.0001, action, met.append)
    timers.append(timer)
    timer.start()
    action.wait(5)
    assert met == [error, error]


def test_a_timer_goes_on_after_an_exception_with_its_interval(timers: list[PeriodicTimer]) -> None:
    action = Action(0.0, RuntimeError("no"))
    met: list[Exception] = []
    timer = PeriodicTimer(FAR, action, met.append)
    timers.append(timer)
    timer.start()
    timer.wake()
    action.wait(2)
    timer.stop()
    assert action.runs == 2
    assert len(met) == 1


def test_renewed_is_the_same_timer_not_started(timers: list[PeriodicTimer]) -> None:
    action = Action()
    old = PeriodicTimer(FAR, action, no_error, "a-name")
    old.stop()
    timer = old.renewed()
    timers.append(timer)
    assert not timer.is_alive
    timer.start()
    timer.wake()
    action.wait()
    assert "a-name" in {thread.name for thread in threading.enumerate()}


def test_the_thread_keeps_no_program_alive(timers: list[PeriodicTimer]) -> None:
    timer = PeriodicTimer(FAR, Action(), no_error, "a-daemon")
    timers.append(timer)
    timer.start()
    assert [thread.daemon for thread in threading.enumerate() if thread.name == "a-daemon"] == [
        True
    ]


@pytest.mark.filterwarnings("error::pytest.PytestUnhandledThreadExceptionWarning")
def test_an_interval_longer_than_a_thread_can_wait_still_works(
    timers: list[PeriodicTimer],
) -> None:
    """More than `threading.TIMEOUT_MAX` seconds, as somebody writes who wants no timer."""
    action = Action(1e12)
    timer = PeriodicTimer(1e12, action, no_error)
    timers.append(timer)
    timer.start()
    timer.wake()
    action.wait()
    timer.wake()
    action.wait()

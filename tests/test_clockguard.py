"""The clock guard: small steps and drift are followed, jumps are not, and do not add up."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from timelog.clockguard import ClockGuard, Reference
from timelog.timestamp import DAY, END, FIRST, HOUR, MINUTE, SECOND, from_text

NOW = from_text("2026-11-21T20:47:31.500000Z")


def guard() -> ClockGuard:
    made = ClockGuard()
    made.trust(NOW, 100.0)
    return made


def test_before_anything_is_trusted_any_time_is_plausible() -> None:
    for wall in (FIRST, 0, NOW, END - 1):
        assert ClockGuard().is_plausible(wall, 5.0)
        assert ClockGuard().why(wall, 5.0) == ""


@pytest.mark.parametrize("step", [0, HOUR, -HOUR, DAY, -DAY])
def test_a_step_of_up_to_a_day_is_plausible(step: int) -> None:
    assert guard().is_plausible(NOW + step, 100.0)
    assert guard().is_plausible(NOW + step + 7 * DAY, 100.0 + 7 * 86_400)


@pytest.mark.parametrize(
    "wall",
    [
        NOW + DAY + 1,
        NOW - DAY - 1,
        0,
        from_text("2038-01-19T03:14:08.000000Z"),
        END - 1,
        FIRST,
        10**20,
    ],
)
def test_a_jump_is_not_and_is_explained(wall: int) -> None:
    guarded = guard()
    assert not guarded.is_plausible(wall, 100.0)
    guarded.trust(wall, 100.0)
    assert guarded.reference == Reference(NOW, 100.0)
    assert "expiry is suspended" in guarded.why(wall, 100.0)


def test_the_sentence_says_both_times_and_how_long_ago() -> None:
    wall = from_text("2036-02-01T00:00:00.000000Z")
    assert guard().why(wall, 280.2) == (
        "the clock says 2036-02-01T00:00:00Z, but 3 minutes after the newest commit it should be "
        "about 2026-11-21T20:50:31Z; expiry is suspended until the clock is set right or confirmed"
    )
    assert guard().why(NOW + HOUR, 280.2) == ""


def test_time_that_passed_counts() -> None:
    assert not guard().is_plausible(NOW + 30 * DAY, 100.0)
    assert guard().is_plausible(NOW + 30 * DAY, 100.0 + 30 * 86_400)
    assert not guard().is_plausible(NOW, 100.0 + 30 * 86_400)


def test_a_clock_that_comes_back_is_plausible_again() -> None:
    guarded = guard()
    guarded.trust(0, 160.0)
    assert guarded.is_plausible(NOW + MINUTE, 160.0)


def test_what_somebody_confirmed_is_the_new_reference() -> None:
    guarded = guard()
    wall = NOW + 400 * DAY
    guarded.confirm(wall, 101.0)
    assert guarded.is_plausible(wall + SECOND, 102.0)
    assert not guarded.is_plausible(NOW, 102.0)


def test_a_reference_serves_another_process() -> None:
    other = ClockGuard(guard().reference)
    assert not other.is_plausible(NOW + 2 * DAY, 101.0)


@pytest.mark.parametrize("rate", [1 + 5e-4, 1 - 5e-4])
@pytest.mark.parametrize("every", [0.0005, 0.25, 60.0, 3600.0])
def test_drift_does_not_add_up(rate: float, every: float) -> None:
    """Years of a clock as wrong as a time server may make it; a step is a commit."""
    guarded = guard()
    steps = 20_000
    for step in range(1, steps):
        passed = step * every
        guarded.trust(NOW + round(passed * rate * SECOND), 100.0 + passed)
    reference = guarded.reference
    assert reference is not None
    passed = reference.monotonic - 100.0
    assert abs(reference.wall - (NOW + passed * rate * SECOND)) < 1_000


@pytest.mark.parametrize("jump", [DAY - 1, 1 - DAY, 23 * HOUR, 13 * HOUR])
def test_jumps_of_just_under_a_day_do_not_take_the_reference_along(jump: int) -> None:
    guarded = guard()
    wall, monotonic = NOW, 100.0
    jumps = 0
    for _ in range(50):
        wall += jump
        for _ in range(20):
            wall, monotonic = wall + 60 * SECOND, monotonic + 60
            guarded.trust(wall, monotonic)
        if not guarded.is_plausible(wall, monotonic):
            break
        jumps += 1
    assert jumps == 1
    assert guarded.is_plausible(NOW + round((monotonic - 100) * SECOND), monotonic)


@given(
    st.lists(
        st.tuples(st.integers(-30 * HOUR, 30 * HOUR), st.floats(0, 100_000)),
        min_size=1,
        max_size=60,
    )
)
def test_whatever_the_clock_does_the_reference_stays_near_the_truth(
    steps: list[tuple[int, float]],
) -> None:
    """Off by a thousandth of the time at most: what is plausible is never off by more than that."""
    guarded = guard()
    off, passed = 0, 0.0
    for step, seconds in steps:
        off, passed = off + step, passed + seconds
        truth = NOW + round(passed * SECOND)
        guarded.trust(truth + off, 100.0 + passed)
        bound = DAY + passed * 0.001 * SECOND + len(steps)
        if guarded.is_plausible(truth + off, 100.0 + passed):
            assert abs(off) <= bound
        assert guarded.is_plausible(truth, 100.0 + passed)

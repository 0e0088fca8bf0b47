"""Times: one integer, one text of 27 characters, and what callers may pass instead."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, timezone
from fractions import Fraction

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from timelog.errors import InvalidTime
from timelog.timestamp import (
    DAY,
    END,
    EPOCH,
    FIRST,
    HOUR,
    MICROSECOND,
    MINUTE,
    SECOND,
    from_datetime,
    from_text,
    parse_relative,
    to_datetime,
    to_text,
    to_us,
)

NOW = from_text("2026-11-21T20:47:31.500000Z")

times = st.integers(FIRST, END - 1)
zones = st.integers(-24 * 60 + 1, 24 * 60 - 1).map(lambda m: timezone(timedelta(minutes=m)))


def nearest(value: Fraction) -> set[int]:
    """The whole numbers nearest to ``value``: one, or two at a half."""
    low = value.numerator // value.denominator
    return {n for n in (low, low + 1) if abs(value - n) == min(value - low, low + 1 - value)}


# -- text ---------------------------------------------------------------------------------


@given(times)
@example(FIRST)
@example(END - 1)
@example(0)
@example(-1)
def test_text_has_27_characters_and_comes_back(us: int) -> None:
    text = to_text(us)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", text, re.ASCII)
    assert from_text(text) == us
    assert to_us(text, 0) == us


@given(times, times)
def test_text_sorts_as_time_does(one: int, two: int) -> None:
    assert (to_text(one) < to_text(two)) == (one < two)


def test_whole_seconds_are_written_with_six_zeros() -> None:
    assert to_text(0) == "1970-01-01T00:00:00.000000Z"
    assert to_text(FIRST) == "0001-01-01T00:00:00.000000Z"
    assert to_text(END - 1) == "9999-12-30T23:59:59.999999Z"


@given(times)
def test_datetime_comes_back_aware_and_exact(us: int) -> None:
    moment = to_datetime(us)
    assert moment.tzinfo is UTC
    assert from_datetime(moment) == us
    assert to_us(moment, 0) == us


# -- what callers pass --------------------------------------------------------------------


@given(st.integers(FIRST + DAY, END - DAY - 1), zones)
def test_an_aware_datetime_of_any_zone_is_the_same_instant(us: int, zone: timezone) -> None:
    assert to_us(to_datetime(us).astimezone(zone), 0) == us


@given(st.integers(FIRST + DAY, END - DAY - 1), st.integers(-23 * 60 - 59, 23 * 60 + 59))
def test_rfc_3339_text_of_any_zone_is_the_same_instant(us: int, minutes: int) -> None:
    moment = to_datetime(us).astimezone(timezone(timedelta(minutes=minutes)))
    text = moment.isoformat(timespec="microseconds")
    assert to_us(text, 0) == us
    assert to_us(text.replace("T", " "), 0) == us


@given(st.integers(FIRST // SECOND, END // SECOND - 1))
def test_whole_seconds_are_unix_seconds(seconds: int) -> None:
    assert to_us(seconds, 0) == seconds * SECOND


def test_zero_is_1970_and_seconds_are_not_milliseconds() -> None:
    assert to_us(0, NOW) == 0
    assert to_us(0.0, NOW) == 0
    with pytest.raises(InvalidTime, match="divide milliseconds"):
        to_us(1_700_000_000_000, 0)


@given(st.floats(-62_000_000_000, 253_000_000_000))
@example(0.0000005)
@example(1_795_219_200.1234565)
def test_a_float_is_rounded_to_the_nearest_microsecond(seconds: float) -> None:
    assert to_us(seconds, 0) in nearest(Fraction(seconds) * SECOND)


@given(st.integers(0, 2**33 * SECOND))
def test_the_float_of_a_microsecond_is_that_microsecond(us: int) -> None:
    """As ``datetime.timestamp()`` gives it; the float is exact enough until the year 2242."""
    assert to_us(us / SECOND, 0) == us


@given(st.integers(-(10**9), 10**9), st.text("0123456789", min_size=1, max_size=14))
@example(0, "9999995")
@example(59, "99999951")
@example(0, "0000005")
@example(0, "0000015")
def test_a_fraction_of_text_is_rounded_to_the_nearest_microsecond(
    seconds: int, fraction: str
) -> None:
    text = (EPOCH + timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%S")
    exact = seconds * SECOND + Fraction(int(fraction), 10 ** len(fraction)) * SECOND
    assert to_us(f"{text}.{fraction}Z", 0) in nearest(exact)


def test_rounding_may_reach_the_next_minute() -> None:
    assert to_us("2026-11-21T23:59:59.9999999Z", 0) == from_text("2026-11-22T00:00:00.000000Z")


def test_rounding_out_of_range_is_refused() -> None:
    with pytest.raises(InvalidTime):
        to_us("9999-12-30T23:59:59.9999999Z", 0)


@pytest.mark.parametrize(
    ("text", "us"),
    [
        ("now", NOW),
        (" now ", NOW),
        ("-1h", NOW - HOUR),
        ("+1h", NOW + HOUR),
        ("-1h30m", NOW - HOUR - 30 * MINUTE),
        ("-1.5h", NOW - HOUR - 30 * MINUTE),
        ("-2w", NOW - 14 * DAY),
        ("-2 weeks", NOW - 14 * DAY),
        ("-1 day 2 hours", NOW - DAY - 2 * HOUR),
        ("-250ms", NOW - 250_000),
        ("-7us", NOW - 7),
        ("2026-11-21t20:47:31.5z", NOW),
        ("2026-11-21 20:47:31.5 Z", NOW),
        ("2026-11-21T21:47:31.5+01:00", NOW),
        ("2026-11-21T21:47:31.5+0100", NOW),
        ("2026-11-21T20:47Z", NOW - 31 * SECOND - SECOND // 2),
    ],
)
def test_text_that_is_read(text: str, us: int) -> None:
    assert to_us(text, NOW) == us


@pytest.mark.parametrize(
    "value",
    [
        "",
        " ",
        "-",
        "+",
        "1h",
        "yesterday",
        "-1",
        "-1x",
        "-1h nonsense",
        "-h",
        "2026-11-21",
        "2026-11-21T10:15:00",
        "2026-11-21T10:15:00.123456",
        "2026-13-21T10:15:00Z",
        "2026-02-29T10:15:00Z",
        "2026-11-21T24:15:00Z",
        "2026-11-21T10:60:00Z",
        "2026-11-21T10:15:61Z",
        "2026-11-21T10:15:00.Z",
        "2026-11-21T10:15:00+25:00",
        "0000-01-01T00:00:00Z",
        "0001-01-01T00:00:00+00:01",
        "9999-12-31T00:00:00Z",
        "10000-01-01T00:00:00Z",
        "٢٠٢٦-11-21T10:15:00Z",
        "-9999999w",
        "+9999999w",
        "-" + "9" * 400 + "h",
        "2026-11-21T10:15:00Z\n2026-11-21T10:15:00Z",
        None,
        True,
        False,
        b"now",
        1j,
        [],
        float("nan"),
        float("inf"),
        float("-inf"),
        1e300,
        10**30,
        -(10**30),
        END // SECOND,
        FIRST // SECOND - 1,
        datetime(2026, 11, 21),
        timedelta(hours=1),
    ],
)
def test_what_is_no_time_is_refused(value: object) -> None:
    with pytest.raises(InvalidTime):
        to_us(value, NOW)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "moment",
    [
        datetime(1, 1, 1, tzinfo=timezone(timedelta(hours=14))),
        datetime(9999, 12, 31, 23, 59, tzinfo=UTC),
        datetime(9999, 12, 31, 23, 59, tzinfo=timezone(timedelta(hours=-12))),
    ],
)
def test_a_datetime_out_of_range_is_refused_as_its_text_is(moment: datetime) -> None:
    for value in (moment, moment.isoformat()):
        with pytest.raises(InvalidTime):
            to_us(value, NOW)


def test_a_fraction_of_thousands_of_digits_is_read_or_refused() -> None:
    try:
        us = to_us("2026-11-21T20:47:31." + "5" * 5000 + "Z", 0)
    except InvalidTime:
        return
    assert us == NOW + 55_556


@given(
    st.one_of(
        st.text(max_size=40),
        st.from_regex(r"[-+]\d{0,5}(\.\d{1,3})? ?(h|m|s|days|x)?(\d{1,3}m)?"),
        st.from_regex(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d)?(\.\d{1,9})?(Z|[+-]\d\d:?\d\d)?"),
    )
)
def test_any_text_is_a_time_in_range_or_refused(text: str) -> None:
    try:
        us = to_us(text, NOW)
    except InvalidTime:
        return
    assert FIRST <= us < END


@given(st.integers(0, 100_000), st.sampled_from(["s", "m", "h", "d", "w"]))
def test_a_duration_is_its_number_of_units(number: int, unit: str) -> None:
    length = {"s": SECOND, "m": MINUTE, "h": HOUR, "d": DAY, "w": 7 * DAY}[unit]
    assert parse_relative(f"{number}{unit}") == number * length
    assert parse_relative(f"-{number}{unit}") == -number * length
    assert parse_relative(f"+{number} {unit}") == number * length


def test_a_duration_has_one_sign() -> None:
    for text in ("--1h", "+-1h", "-+1h"):
        with pytest.raises(InvalidTime):
            parse_relative(text)


def test_the_constants_agree() -> None:
    assert timedelta(days=1) // MICROSECOND == DAY
    assert DAY == 24 * HOUR == 24 * 60 * MINUTE == 24 * 3600 * SECOND
    assert FIRST % DAY == END % DAY == 0

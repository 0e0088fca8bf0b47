"""Sizes, counts and ages: what is read, what is refused and how, and what messages say."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from timelog.errors import InvalidInput
from timelog.quantity import age_text, parse_age, parse_count, parse_size, size_text
from timelog.timestamp import DAY, HOUR, MINUTE, SECOND

K, M, G, T, P, E = (1024**power for power in range(1, 7))


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("10 GB", 10 * G),
        ("500M", 500 * M),
        ("1.5 GiB", 3 * G // 2),
        ("4096", 4096),
        ("1 byte", 1),
        ("12 bytes", 12),
        ("7B", 7),
        ("1k", K),
        (" 2 tb ", 2 * T),
        ("3PiB", 3 * P),
        ("1 E", E),
        ("0.5 K", 512),
        ("1.9999", 1),
        ("7.999999999999999999 E", 8 * E - 2),
    ],
)
def test_a_size_is_read(text: str, size: int) -> None:
    assert parse_size(text) == size


def test_a_size_may_be_a_number_of_bytes() -> None:
    assert parse_size(1) == 1
    assert parse_size(2**63 - 1) == 2**63 - 1


def test_however_a_unit_is_written_it_is_the_same() -> None:
    for one, power in (("K", 1), ("M", 2), ("G", 3), ("T", 4), ("P", 5)):
        for unit in (one, one + "B", one + "iB", one.lower(), one.lower() + "b", one + "ib"):
            assert parse_size(f"3{unit}") == parse_size(f"3 {unit}") == 3 * 1024**power


@pytest.mark.parametrize(
    ("text", "us"),
    [
        ("30 days", 30 * DAY),
        ("12h", 12 * HOUR),
        ("3 years", 3 * 365 * DAY),
        ("1y", 365 * DAY),
        ("2 weeks", 14 * DAY),
        ("6 months", 180 * DAY),
        ("1 Month", 30 * DAY),
        ("1 day 12 hours", 36 * HOUR),
        ("90min", 90 * MINUTE),
        ("1.5 days", 36 * HOUR),
        ("+7d", 7 * DAY),
        ("9999 years", 9999 * 365 * DAY),
    ],
)
def test_an_age_is_read(text: str, us: int) -> None:
    assert parse_age(text) == us


def test_an_age_may_be_a_timedelta() -> None:
    assert parse_age(timedelta(days=30)) == 30 * DAY
    assert parse_age(timedelta(microseconds=1)) == 1
    assert parse_age(timedelta(days=100_000_000)) == 100_000_000 * DAY


def test_a_count_is_read() -> None:
    assert parse_count("400") == parse_count(" 400 ") == parse_count(400) == 400


# The huge one is too long to be shown, even as the name of a test.
HUGE = pytest.param(-(2**100_000), id="huge")
BAD = [None, True, False, 0, -1, 1.5, float("nan"), float("inf"), 2**63, HUGE, b"1", [1]]
BAD_TEXT = ["", " ", "0", "-5", "x", "nan", "inf", "٣", "9" * 10_000, "1e9", "1 2", "1,000"]


@pytest.mark.parametrize("value", [*BAD, *BAD_TEXT, "10 XB", "GB", "0 GB", "8 EiB", "5 GBs", "0.1"])
def test_a_wrong_size_is_refused_in_one_sentence(value: str) -> None:
    refused = r"^the size must be (text such as '10 GB' or '500M', or whole|at least 1 byte).* not "
    with pytest.raises(InvalidInput, match=refused) as raised:
        parse_size(value, "the size")
    assert len(str(raised.value)) < 170


@pytest.mark.parametrize("value", [*BAD, *BAD_TEXT, "1.5", "7 days"])
def test_a_wrong_count_is_refused_in_one_sentence(value: str) -> None:
    refused = "^the number must be (a whole number such as 400|at least 1 ).* not "
    with pytest.raises(InvalidInput, match=refused) as raised:
        parse_count(value, "the number")
    assert len(str(raised.value)) < 170


@pytest.mark.parametrize(
    "value",
    [
        *BAD,
        *BAD_TEXT,
        *("30", "0 days", "-30 days", "3 lightyears", "days", "0.1us", "300000 years", "NaN days"),
        *("9" * 400 + "d", timedelta(0), timedelta(-1), timedelta.max, 30),
    ],
)
def test_a_wrong_age_is_refused_in_one_sentence(value: str) -> None:
    refused = "^the age must be (text such as '30 days', '12h' or '3 years'|more than 0).* not "
    with pytest.raises(InvalidInput, match=refused) as raised:
        parse_age(value, "the age")
    assert len(str(raised.value)) < 170


@pytest.mark.parametrize("text", ["6M", "6m", "6 m", "1y 6M", "6m30s"])
def test_who_writes_m_may_mean_months_and_is_asked(text: str) -> None:
    with pytest.raises(InvalidInput, match="write 'min' or 'months' for 'm'"):
        parse_age(text)


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0 bytes"),
        (1, "1 byte"),
        (1023, "1023 bytes"),
        (K, "1 KiB"),
        (1536, "1.5 KiB"),
        (M - 1, "1 MiB"),
        (10 * G, "10 GiB"),
        (-3 * M, "-3 MiB"),
        (5000 * E, "5000 EiB"),
    ],
)
def test_a_size_in_words(size: int, text: str) -> None:
    assert size_text(size) == text


@given(st.integers(1, 7 * E))
@example(1023 * K + 972)
@example(1023 * K + 973)
def test_a_size_in_words_is_within_a_tenth_of_its_unit(size: int) -> None:
    text = size_text(size)
    number, unit = text.split()
    assert float(number) < 1024
    unit_size = parse_size(f"1 {unit}")
    assert abs(parse_size(text) - size) <= 0.0501 * unit_size


@pytest.mark.parametrize(
    ("us", "text"),
    [
        (0, "0 seconds"),
        (1, "0.000001 seconds"),
        (SECOND, "1 second"),
        (1_500_000, "1.5 seconds"),
        (3 * MINUTE, "3 minutes"),
        (36 * HOUR, "1 day 12 hours"),
        (7 * DAY, "7 days"),
        (30 * DAY, "30 days"),
        (365 * DAY, "1 year"),
        (400 * DAY, "400 days"),
        (3 * 365 * DAY, "3 years"),
        (-2 * DAY, "-2 days"),
    ],
)
def test_an_age_in_words(us: int, text: str) -> None:
    assert age_text(us) == text


@given(st.integers(1, 2**52))
def test_an_age_in_words_is_read_as_the_same(us: int) -> None:
    assert parse_age(age_text(us)) == us

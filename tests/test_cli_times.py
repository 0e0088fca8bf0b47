"""Times of the command line: what people write, what log lines begin with, what is printed."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from datetime import UTC

import pytest
from hypothesis import given
from hypothesis import strategies as st

from timelog import Event
from timelog.cli.output import iso, json_line, make_format
from timelog.cli.times import parse_time
from timelog.errors import InvalidInput, InvalidTime
from timelog.ingest.stamps import LineTimes
from timelog.timestamp import DAY, END, FIRST, HOUR, MINUTE, SECOND, from_text, to_datetime, to_text
from timelog.zones import find_zone

NOW = from_text("2026-11-21T20:47:31.500000Z")
BERLIN = find_zone("Europe/Berlin")
ZONES = ["UTC", "Europe/Berlin", "America/New_York", "Asia/Kathmandu", "+14:00", "-12:00", "local"]


def read(text: str, zone: str = "Europe/Berlin", now: int = NOW) -> str:
    """What ``text`` means, as UTC text."""
    return to_text(parse_time(text, zone=find_zone(zone), now_us=now))


@pytest.fixture
def local_zone(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], None]]:
    """A function that sets the machine's own zone."""

    def use(name: str) -> None:
        monkeypatch.setenv("TZ", name)
        time.tzset()

    yield use
    monkeypatch.undo()
    time.tzset()


@pytest.mark.parametrize(
    ("text", "us"),
    [
        ("-1h", NOW - HOUR),
        ("-1h30m", NOW - HOUR - 30 * MINUTE),
        ("-2w", NOW - 14 * DAY),
        ("+1h", NOW + HOUR),
        ("1h ago", NOW - HOUR),
        ("1h30m ago", NOW - HOUR - 30 * MINUTE),
        ("2 hours ago", NOW - 2 * HOUR),
        ("now", NOW),
        (" Now\n", NOW),
        ("@1700000000", 1_700_000_000 * SECOND),
        ("@1700000000.5", 1_700_000_000 * SECOND + 500_000),
        ("@-1.25", -1_250_000),
    ],
)
def test_times_without_a_calendar(text: str, us: int) -> None:
    assert parse_time(text, zone=BERLIN, now_us=NOW) == us


@pytest.mark.parametrize(
    ("text", "utc"),
    [
        ("today", "2026-11-20T23:00:00.000000Z"),
        ("yesterday", "2026-11-19T23:00:00.000000Z"),
        ("yesterday 10:00", "2026-11-20T09:00:00.000000Z"),
        ("today UTC", "2026-11-21T00:00:00.000000Z"),
        ("10:00", "2026-11-21T09:00:00.000000Z"),
        ("9:05", "2026-11-21T08:05:00.000000Z"),
        ("10:00:30", "2026-11-21T09:00:30.000000Z"),
        ("10:00Z", "2026-11-21T10:00:00.000000Z"),
        ("10:00 America/New_York", "2026-11-21T15:00:00.000000Z"),
        ("2026-11-21", "2026-11-20T23:00:00.000000Z"),
        ("2026-11-21 UTC", "2026-11-21T00:00:00.000000Z"),
        ("2026-11-21 10:00", "2026-11-21T09:00:00.000000Z"),
        ("2026-11-21T10:00", "2026-11-21T09:00:00.000000Z"),
        ("2026-11-21T10:00:30", "2026-11-21T09:00:30.000000Z"),
        ("2026-11-21T10:00:30.5", "2026-11-21T09:00:30.500000Z"),
        ("2026-11-21 10:00:30,123456", "2026-11-21T09:00:30.123456Z"),
        ("2026-11-21T10:00:30.1234567Z", "2026-11-21T10:00:30.123457Z"),
        ("2026-11-21T10:00:30.9999999Z", "2026-11-21T10:00:31.000000Z"),
        ("2026-11-21T10:00Z", "2026-11-21T10:00:00.000000Z"),
        ("2026-11-21t10:00z", "2026-11-21T10:00:00.000000Z"),
        ("2026-11-21T10:00+02:00", "2026-11-21T08:00:00.000000Z"),
        ("2026-11-21 10:00 -0730", "2026-11-21T17:30:00.000000Z"),
        ("2026-11-21 10:00+02", "2026-11-21T08:00:00.000000Z"),
        ("2026-11-21 10:00 Europe/Berlin", "2026-11-21T09:00:00.000000Z"),
        ("2026-07-21 10:00 Europe/Berlin", "2026-07-21T08:00:00.000000Z"),
        ("Nov 21 10:15:03", "2026-11-21T09:15:03.000000Z"),
        ("Nov  1 10:15:03", "2026-11-01T09:15:03.000000Z"),
        ("nov 21", "2026-11-20T23:00:00.000000Z"),
    ],
)
def test_calendar_times_in_berlin(text: str, utc: str) -> None:
    assert read(text) == utc


@pytest.mark.parametrize(
    "text",
    [
        "", "1h", "foo", "-1x", "-", "+", "@", "@x", "2026-13-01", "2026-02-29", "25:00", "10:60",
        "2026-11-21T", "2026-11-21T10", "T10:00", "2026-11-21Z10:00", "20261121", "Foo 21 10:00",
        "Nov 31 10:00", "Feb 30", "0000-01-01", "10000-01-01", "2026-11-21T10:00Z UTC",
        "2026-11-21 10:00 Europe/Nowhere", "2026-11-21 10:00 Europe", "2026-11-21 10:00 ../UTC",
        "2026-11-21T10:00+24:00", "@99999999999999", "-" + "9" * 400 + "h", "-9999999w",
        "today ago", "２０２６-11-21", "now now", "10:00\n11:00",
    ],
)  # fmt: skip
def test_everything_else_is_refused_with_a_sentence(text: str) -> None:
    with pytest.raises(InvalidTime) as caught:
        read(text)
    assert len(str(caught.value)) > 20


def test_a_date_without_its_year_is_never_in_the_future() -> None:
    assert read("Nov 21 21:47:31").startswith("2026-11-21T20:47:31")
    assert read("Nov 21 21:47:32").startswith("2025-11-21T20:47:32")
    assert read("Dec 31 12:00").startswith("2025-12-31")
    assert read("Feb 29 12:00").startswith("2024-02-29")
    # In Berlin the year has begun, in UTC not yet.
    new_year = from_text("2026-12-31T23:30:00.000000Z")
    assert read("Jan 1 00:10", now=new_year) == "2026-12-31T23:10:00.000000Z"


def test_an_hour_that_happens_twice_is_the_first() -> None:
    assert read("2026-10-25 02:30") == "2026-10-25T00:30:00.000000Z"
    assert read("2026-10-25 02:30+01:00") == "2026-10-25T01:30:00.000000Z"


def test_an_hour_that_does_not_happen_is_read_with_the_offset_before() -> None:
    assert read("2026-03-29 02:30") == read("2026-03-29 03:30")


@pytest.mark.parametrize("text", ["2026-10-25 02:30", "2026-03-29 02:30", "2026-11-21", "10:00"])
def test_the_machines_own_zone_is_read_like_a_named_one(
    text: str, local_zone: Callable[[str], None]
) -> None:
    local_zone("Europe/Berlin")
    assert read(text, "local") == read(text, "Europe/Berlin")


def test_zones() -> None:
    assert find_zone("local") is None
    assert find_zone("utc") is UTC
    assert find_zone("+05:30") == find_zone("+0530")
    for wrong in ("", "Nowhere", "Europe", "/etc/passwd", "../UTC", "+25:00", "a\0b"):
        with pytest.raises(InvalidTime):
            find_zone(wrong)


moments = st.integers(FIRST, END - 1)


@given(us=moments, shown=st.sampled_from(ZONES), typed=st.sampled_from(ZONES))
def test_what_short_iso_prints_is_accepted_back(us: int, shown: str, typed: str) -> None:
    event = Event(to_datetime(us), "id", "s", (), "c")
    printed = make_format("short-iso", zone=find_zone(shown))(event).split()[0]
    assert printed == iso(event.timestamp, find_zone(shown))
    assert parse_time(printed, zone=find_zone(typed), now_us=NOW) == us


@given(us=moments, typed=st.sampled_from(ZONES))
def test_what_json_prints_is_accepted_back(us: int, typed: str) -> None:
    printed = json_line(Event(to_datetime(us), "id", "s", (), "c")).split('"')[3]
    assert len(printed) == 27
    assert parse_time(printed, zone=find_zone(typed), now_us=NOW) == us


@given(age=st.integers(0, 360 * DAY), zone=st.sampled_from(ZONES[:-1]))
def test_what_short_prints_is_accepted_back(age: int, zone: str) -> None:
    second = (NOW - age) // SECOND * SECOND
    where = find_zone(zone)
    printed = make_format("short", zone=where)(Event(to_datetime(second), "id", "s", (), "c"))
    back = parse_time(printed[:15], zone=where, now_us=NOW)
    # Of an hour that happens twice the first is meant; the text alone cannot tell them apart.
    assert second - back in (0, HOUR)
    assert second == back or to_datetime(second).astimezone(where).fold == 1


# -- the time at the start of a line --------------------------------------------------------


def finder(form: str, zone: str = "UTC", now: int = NOW) -> Callable[[str], str | None]:
    times = LineTimes(form, find_zone(zone), lambda: now)

    def find(line: str) -> str | None:
        us = times.find(line)
        return None if us is None else to_text(us)

    return find


@pytest.mark.parametrize(
    ("form", "line", "utc"),
    [
        ("iso", "2026-11-21T10:15:03.123456Z rest", "2026-11-21T10:15:03.123456Z"),
        ("iso", "2015-07-29 17:41:44,747 - INFO", "2015-07-29T17:41:44.747000Z"),
        ("iso", "2026-11-21 10:15", "2026-11-21T10:15:00.000000Z"),
        ("iso", "2026-11-21 10:15:03 +0100 x", "2026-11-21T09:15:03.000000Z"),
        ("iso", "2026-11-21T10:15:03.123456789+01:00 x", "2026-11-21T09:15:03.123457Z"),
        ("iso", "2026-11-21 10:15:03 -1234567", "2026-11-21T10:15:03.000000Z"),
        ("unix", "1700000000.25 x", "2023-11-14T22:13:20.250000Z"),
        ("unix", "1700000000", "2023-11-14T22:13:20.000000Z"),
        ("%b %d %H:%M:%S", "Nov 21 10:15:03 host x", "2026-11-21T10:15:03.000000Z"),
        ("%b %e %T", "Nov  1 10:15:03 host x", "2026-11-01T10:15:03.000000Z"),
        ("%b %d %H:%M:%S", "Dec 10 06:55:46 LabSZ", "2025-12-10T06:55:46.000000Z"),
        ("%b %d %H:%M:%S", "Feb 29 06:55:46", "2024-02-29T06:55:46.000000Z"),
        ("%y%m%d %H%M%S", "081109 203615 148 INFO", "2008-11-09T20:36:15.000000Z"),
        ("%Y%m%d-%H:%M:%S:%f", "20171223-22:15:29:606|Step", "2017-12-23T22:15:29.606000Z"),
        ("[%a %b %d %H:%M:%S %Y]", "[Sun Dec 04 04:47:44 2005] x", "2005-12-04T04:47:44.000000Z"),
        ("[%m.%d %H:%M:%S]", "[10.30 16:49:06] chrome", "2026-10-30T16:49:06.000000Z"),
        ("%d/%b/%Y:%H:%M:%S %z", "21/Nov/2026:10:15:03 +0100]", "2026-11-21T09:15:03.000000Z"),
        ("%F %I:%M %p", "2026-11-20 10:15 PM x", "2026-11-20T22:15:00.000000Z"),
        ("%Y %j 100%%", "2026 033 100%", "2026-02-02T00:00:00.000000Z"),
        ("%Y-%m-%dT%H:%M:%S.%f", "2026-11-21T10:15:03.1234567", "2026-11-21T10:15:03.123456Z"),
    ],
)
def test_the_start_of_a_line(form: str, line: str, utc: str) -> None:
    assert finder(form)(line) == utc


@pytest.mark.parametrize(
    ("form", "line"),
    [
        ("iso", ""),
        ("iso", " 2026-11-21T10:15:03Z"),
        ("iso", "2026-11-21"),
        ("iso", "2026-13-21T10:15:03Z"),
        ("iso", "2026-11-23T10:15:03Z"),  # more than a day ahead: no log would take it
        ("iso", "0000-01-01T00:00:00Z"),
        ("unix", "1700000000000"),  # milliseconds
        ("unix", "12ab"),
        ("%b %d %H:%M:%S", "Nov 31 10:15:03"),
        ("%b %d %H:%M:%S", "Foo 21 10:15:03"),
        ("%b %d %H:%M:%S", "    at java.lang.Thread.run"),
        ("%Y-%m-%d", "2026-02-30"),
    ],
)
def test_a_line_without_a_time(form: str, line: str) -> None:
    assert finder(form)(line) is None


def test_a_year_is_found_with_a_days_grace() -> None:
    """A clock that is ahead, or a zone that is not ours, must not move a line by a year."""
    find = finder("%b %d %H:%M:%S")
    assert find("Nov 21 23:00:00") == "2026-11-21T23:00:00.000000Z"
    assert find("Nov 23 00:00:00") == "2025-11-23T00:00:00.000000Z"
    eve = from_text("2026-12-31T23:59:00.000000Z")
    assert finder("%b %d %T", now=eve)("Jan 01 00:00:05") == "2027-01-01T00:00:05.000000Z"
    assert finder("%b %d %T", now=eve + HOUR)("Dec 31 23:59:59") == "2026-12-31T23:59:59.000000Z"


def test_lines_take_the_zone_asked_for() -> None:
    assert finder("iso", "Europe/Berlin")("2026-07-01 10:00") == "2026-07-01T08:00:00.000000Z"
    assert finder("%Y-%m-%d %R", "+02:00")("2026-07-01 10:00") == "2026-07-01T08:00:00.000000Z"


def test_a_remembered_time_is_not_taken_for_a_longer_one() -> None:
    find = finder("%b %d %H:%M:%S.%f")
    assert find("Nov 01 10:00:00.12 a") == "2026-11-01T10:00:00.120000Z"
    assert find("Nov 01 10:00:00.123 b") == "2026-11-01T10:00:00.123000Z"
    assert find("Nov 01 10:00:00.12 c") == "2026-11-01T10:00:00.120000Z"


@pytest.mark.parametrize(
    ("form", "says"),
    [
        ("", "month and the day"),
        ("%H:%M:%S", "month and the day"),
        ("%Y-%m", "month and the day"),
        ("%Q", "%Q"),
        ("%b %d %Z", "%Z"),
        ("%b %d %", "'%'"),
        ("%d %d %b", "cannot be used"),
    ],
)
def test_a_format_that_cannot_be_used_is_refused_at_once(form: str, says: str) -> None:
    with pytest.raises(InvalidInput, match=says):
        finder(form)


@given(us=st.integers(from_text("1000-01-01T00:00:00.000000Z"), NOW))
def test_every_time_that_strftime_writes_is_found(us: int) -> None:
    moment = to_datetime(us)
    for form in ("%Y-%m-%d %H:%M:%S.%f", "%d/%b/%Y:%H:%M:%S.%f %z", "%Y %j %I:%M:%S.%f %p"):
        assert finder(form)(moment.strftime(form) + " and the rest") == to_text(us), form

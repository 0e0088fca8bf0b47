"""Times found in lines: their forms, which one it is, and the year that is not said."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from timelog.ingest.detect import detect
from timelog.ingest.forms import FORMS, NAMES
from timelog.ingest.making import Maker
from timelog.ingest.options import Options
from timelog.ingest.stamps import LineTimes, number_us
from timelog.timestamp import DAY, from_datetime, from_text, to_text
from timelog.zones import find_zone

NOW = from_text("2026-11-21T12:00:00.000000Z")


def now() -> int:
    return NOW


def read(line: str, form: str, zone: str = "UTC") -> str | None:
    us = LineTimes(form, find_zone(zone), now).find(line)
    return None if us is None else to_text(us)[:23]


LINES = [
    ("iso", "2026-11-21T10:15:03.5+01:00 x", "2026-11-21T09:15:03.500"),
    ("iso", "2015-07-29 17:41:44,747 - INFO x", "2015-07-29T17:41:44.747"),
    ("iso-later", "[2026-11-21 10:15:03] x", "2026-11-21T10:15:03.000"),
    ("iso-later", "INFO app 2026-11-21 10:15:03 x", "2026-11-21T10:15:03.000"),
    ("iso-later", "<34>1 2026-10-11T22:14:15.003Z host su - x", "2026-10-11T22:14:15.003"),
    ("iso-later", "n.log.2017-05-16_13:53:08 2017-05-16 00:00:00.008 x", "2017-05-16T00:00:00.008"),
    ("logfmt", 'level=info time="2026-11-21T10:15:03Z" msg=x', "2026-11-21T10:15:03.000"),
    ("logfmt", "ts=2026-11-21T10:15:03.25Z level=info", "2026-11-21T10:15:03.250"),
    ("apache", "[Sun Dec 04 04:47:44 2005] [notice] x", "2005-12-04T04:47:44.000"),
    ("apache", "[Fri Sep 09 10:42:29.902022 2011] [core:error] x", "2011-09-09T10:42:29.902"),
    ("apache-access", '127.0.0.1 - - [10/Oct/2000:13:55:36 -0700] "GET', "2000-10-10T20:55:36.000"),
    ("syslog", "Dec 10 06:55:46 LabSZ sshd[24200]: x", "2025-12-10T06:55:46.000"),
    ("syslog", "<13>Nov  1 06:55:46 host x", "2026-11-01T06:55:46.000"),
    ("syslog-year", "Dec 10 2015 06:55:46 host x", "2015-12-10T06:55:46.000"),
    ("syslog-late-year", "Dec 10 06:55:46 2015 host x", "2015-12-10T06:55:46.000"),
    ("slashes", "2026/11/21 10:15:03 [error] 31#31: x", "2026-11-21T10:15:03.000"),
    ("compact", "20171223-22:15:29:606|Step_LSC|x", "2017-12-23T22:15:29.606"),
    ("compact", "20171224-0:28:0:83|Step_LSC|x", "2017-12-24T00:28:00.083"),
    ("month-day", "[10.30 16:49:06] chrome.exe", "2026-10-30T16:49:06.000"),
    ("digits", "081109 203615 148 INFO x", "2008-11-09T20:36:15.000"),
    ("unix", "1700000000.25 x", "2023-11-14T22:13:20.250"),
    ("unix-ms", "1700000000250 x", "2023-11-14T22:13:20.250"),
    ("unix-us", "1700000000250000 x", "2023-11-14T22:13:20.250"),
    ("unix-ns", "1700000000250000000 x", "2023-11-14T22:13:20.250"),
    ("json", '{"level":"info","time":"2026-11-21T10:15:03Z","msg":"x"}', "2026-11-21T10:15:03.000"),
    ("json", '{"@timestamp":"2026-11-21T10:15:03+01:00"}', "2026-11-21T09:15:03.000"),
    ("json", '{"ts":1700000000.25,"event":"x"}', "2023-11-14T22:13:20.250"),
    ("json", '{"t":"1700000000250"}', "2023-11-14T22:13:20.250"),
    ("json", '{"asctime":"2026-11-21 10:15:03,250"}', "2026-11-21T10:15:03.250"),
    ("json", '{"at":1700000000250000000}', "2023-11-14T22:13:20.250"),
]  # fmt: skip


@pytest.mark.parametrize(("form", "line", "utc"), LINES)
def test_each_form_is_read_and_detected(form: str, line: str, utc: str) -> None:
    assert read(line, form) == utc
    assert detect([line], UTC, now) == form
    assert detect([line] * 10, UTC, now) == form


def test_every_form_has_a_line_here() -> None:
    assert {form for form, _, _ in LINES} | {"auto", "none"} == set(NAMES)


@pytest.mark.parametrize(
    "line",
    [
        "",
        "no time",
        "12 apples",
        "1234567890123456789012345678901234567890 x",
        "2026-13-45 10:15:03 x",
        "    at java.lang.Thread.run(Thread.java:748)",
        "192.168.1.1 is an address",
        '{"time": true}',
        '{"time": "soon"}',
        '{"time": "²"}',
        '{"time": NaN}',
        "{not json}",
        '{"time":' * 2000,
        "[99.99 10:00:00] x",
        "999999 999999 x",
        "Feb 31 10:00:00 x",
        "\x00\ud800",
    ],
)
def test_what_is_no_time_is_not_taken_for_one(line: str) -> None:
    assert detect([line], UTC, now) is None
    for form in (*FORMS, "json"):
        LineTimes(form, UTC, now).find(line)  # and nothing raises


def test_numbers_have_to_be_in_nearly_all_lines() -> None:
    assert detect(["1700000000 x"] * 9 + ["text"], UTC, now) == "unix"
    assert detect(["1700000000 x"] * 5 + ["text"] * 5, UTC, now) is None
    trace = ["    at somewhere"] * 15
    assert detect(["2026-11-21 10:15:03 x", *trace], UTC, now) == "iso"


def test_the_zone_is_of_times_that_say_none() -> None:
    assert read("2026-07-01 10:00:00 x", "iso", "Europe/Berlin") == "2026-07-01T08:00:00.000"
    assert read("2026-07-01 10:00:00Z x", "iso", "Europe/Berlin") == "2026-07-01T10:00:00.000"
    assert read("Jul  1 10:00:00 x", "syslog", "+02:00") == "2026-07-01T08:00:00.000"
    # An hour that does not happen, and one that happens twice.
    assert read("2026-03-29 02:30:00 x", "iso", "Europe/Berlin") == "2026-03-29T01:30:00.000"
    assert read("2026-10-25 02:30:00 x", "iso", "Europe/Berlin") == "2026-10-25T00:30:00.000"


@pytest.mark.parametrize("form", ["iso", "apache", "syslog-year", "compact"])
@given(offsets=st.lists(st.integers(0, 86_399_999), min_size=1, max_size=50))
def test_what_is_kept_for_neighbours_changes_nothing(form: str, offsets: list[int]) -> None:
    """Lines in any order are read as each is read by itself."""
    start = datetime(2026, 11, 20, tzinfo=UTC)
    writers = {
        "iso": lambda at: at.isoformat(timespec="milliseconds"),
        "apache": lambda at: at.strftime("[%a %b %d %H:%M:%S.%f %Y]"),
        "syslog-year": lambda at: at.strftime("%b %d %Y %H:%M:%S.%f"),
        "compact": lambda at: at.strftime("%Y%m%d-%H:%M:%S.%f"),
    }
    times = LineTimes(form, UTC, now)
    for offset in offsets:
        at = start + timedelta(milliseconds=offset)
        assert times.find(writers[form](at) + " x") == from_datetime(at)


# -- the year ------------------------------------------------------------------------------


def years(lines: list[str], form: str = "syslog", **options: int) -> list[int]:
    limit_us = options.pop("limit_us", None)
    times = LineTimes(form, UTC, now, **options)
    if limit_us is not None:
        times.limit_us = limit_us
    found = [times.find(line) for line in lines]
    return [int(to_text(us)[:4]) for us in found if us is not None]


def test_the_year_rolls_over_at_new_year() -> None:
    lines = ["Dec 30 10:00:00 x", "Dec 31 23:59:59 x", "Jan  1 00:00:01 x", "Feb  1 10:00:00 x"]
    assert years(lines) == [2025, 2025, 2026, 2026]
    assert years(lines, year=2015) == [2015, 2015, 2016, 2016]
    # A line that is late by a second goes back again.
    assert years([*lines[:3], lines[1]]) == [2025, 2025, 2026, 2025]


def test_the_year_of_an_old_file_is_that_in_which_it_was_changed_last() -> None:
    limit = from_text("2019-02-02T00:00:00.000000Z")
    lines = ["Dec 31 10:00:00 x", "Jan  1 10:00:00 x", "Feb  1 10:00:00 x"]
    assert years(lines, limit_us=limit) == [2018, 2019, 2019]
    assert years(["Nov 30 10:00:00 x"], limit_us=limit) == [2018]


def test_a_leap_day_is_in_a_year_that_has_one() -> None:
    assert years(["Feb 29 10:00:00 x"]) == [2024]
    assert years(["Feb 28 10:00:00 x", "Feb 29 10:00:00 x", "Mar  1 10:00:00 x"], year=2016) == [
        2016,
        2016,
        2016,
    ]


@given(
    start=st.datetimes(datetime(1990, 1, 1), datetime(2020, 1, 1)),
    steps=st.lists(st.integers(-3600, 100 * 86_400), max_size=40),
)
def test_a_year_that_is_told_is_followed_through_any_number_of_years(
    start: datetime, steps: list[int]
) -> None:
    at = start.replace(microsecond=0, tzinfo=UTC)
    times = LineTimes("syslog", UTC, now, year=at.year)
    for step in [0, *steps]:
        at += timedelta(seconds=step)
        if from_datetime(at) > NOW:
            break
        assert times.find(at.strftime("%b %d %H:%M:%S x")) == from_datetime(at)


# -- lines of a file -----------------------------------------------------------------------


def made(lines: list[str], **options: object) -> list[str | None]:
    maker = Maker(Options(clock=now, zone="UTC", **options), "a.log")  # type: ignore[arg-type]
    maker.look(lines, NOW)
    times = [event.get("timestamp") for event in maker.events(lines)]
    return [None if time is None else time.isoformat()[:19] for time in times]


def test_lines_without_a_time_take_the_last_one() -> None:
    lines = ["banner", "2026-11-21 10:00:00 one", "  trace", "2026-11-21 09:00:00 two", "x"]
    assert made(lines) == [
        None,
        "2026-11-21T10:00:00",
        "2026-11-21T10:00:00",
        "2026-11-21T09:00:00",
        "2026-11-21T09:00:00",
    ]
    assert made(lines, timestamps="none") == [None] * 5


def test_a_wrong_guess_can_be_corrected_for_each_file() -> None:
    lines = ["10/11/2026 10:00:00 x"]
    assert made(lines) == [None]
    assert made(lines, timestamps={"b*": "iso", "a*": "%d/%m/%Y %T"}) == ["2026-11-10T10:00:00"]
    assert made(["2026-11-10 10:00:00 x"], timestamps={"b*": "none"}) == ["2026-11-10T10:00:00"]


def test_what_was_detected_is_told_once_and_looking_ends() -> None:
    told: list[str] = []
    maker = Maker(Options(clock=now, notice=told.append), "a.log")
    maker.look(["banner"], NOW)
    assert told == []
    maker.look(["Nov 21 10:00:00 x"], NOW)
    maker.look(["2026-11-21 10:00:00 x"], NOW)
    assert told == ["a.log: times are read as 'syslog'"]
    told.clear()
    maker = Maker(Options(clock=now, notice=told.append), "b.log")
    for _ in range(4):
        maker.look(["nothing"] * 500, NOW)
    assert told == []
    assert maker.form == "none"


def test_the_real_logs_are_detected(real_logs: list[Path]) -> None:
    expected = {
        "Apache": "apache",
        "HDFS": "digits",
        "HealthApp": "compact",
        "Linux": "syslog",
        "OpenSSH": "syslog",
        "OpenStack": "iso-later",
        "Proxifier": "month-day",
        "Zookeeper": "iso",
    }
    for file in real_logs:
        lines = file.read_bytes().decode("utf-8", "backslashreplace").splitlines()
        form = detect(lines, UTC, now)
        assert form == expected[file.stem.partition("_")[0]]
        times = LineTimes(form, UTC, now)
        assert sum(times.find(line) is not None for line in lines) == len(lines) == 2000


@given(st.integers(from_text("1990-01-01T00:00:00.000000Z"), NOW + DAY))
def test_a_number_is_read_by_its_size(us: int) -> None:
    assert number_us(us) == us
    assert number_us(us * 1000) == us
    assert number_us(us // 1000) == us // 1000 * 1000
    assert number_us(us // 10**6) == us // 10**6 * 10**6
    value = json.loads(json.dumps(us / 10**6))
    assert abs((number_us(value) or 0) - us) <= 1

"""Forms of times in log files: where each stands in a line, and what its parts are.

A form is a pattern with named groups: ``minute`` (the text that says the time to the minute, which
neighbouring lines share), within it ``Y`` or ``y`` (a year of four or two digits, or neither),
``m`` or ``b`` (a month as a number or a name), ``d``, ``H`` and ``M``; outside it ``S``, ``f`` (a
fraction), ``ms`` (milliseconds that are not padded), ``Y2`` (a year that comes late) and ``z`` (an
offset). Nothing here has a state.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from timelog.zones import MONTHS


class Form(NamedTuple):
    """One form. ``is_plain``: of digits alone, which much else is that is no time."""

    name: str
    start: re.Pattern[str]
    is_plain: bool = False
    unit: int = 0  # of a number since 1970, so many to a second; 0: a date

    @property
    def has_year(self) -> bool:
        """Whether the text says the year."""
        return bool(self.unit) or not {"Y", "y", "Y2"}.isdisjoint(self.start.groupindex)


_MONTH = f"(?P<b>{'|'.join(MONTHS)})"
_CLOCK = r"(?P<H>\d\d):(?P<M>\d\d)"
_FRACTION = r"(?:[.,](?P<f>\d{1,30}))?"
_WEEKDAY = "(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun)"
_ZONE = r"(?: ?(?P<z>Z|[+-]\d\d:?\d\d)(?!\w))?"
_ISO = (
    r"(?P<minute>(?P<Y>\d{4})-(?P<m>\d\d)-(?P<d>\d\d)[T ]" + _CLOCK + r")"
    r"(?::(?P<S>\d\d))?" + _FRACTION + _ZONE
)


def _form(name: str, pattern: str, *, is_plain: bool = False, unit: int = 0) -> Form:
    return Form(name, re.compile(pattern, re.ASCII), is_plain, unit)


_ALL = (
    # 2015-07-29 17:41:44,747 - INFO; RFC 3339
    _form("iso", _ISO),
    # [2026-11-21 10:15:03] x; INFO 2026-11-21 10:15:03 x; <34>1 2026-11-21T10:15:03Z host x
    _form("iso-later", r"(?:[^\s\[]+\s+){0,3}?\[?" + _ISO),
    # level=info time="2026-11-21T10:15:03Z"
    _form("logfmt", r'(?:.{0,200}?\s)?(?:timestamp|time|ts|t|at)="?' + _ISO),
    # [Sun Dec 04 04:47:44 2005] [notice] x; ctime
    _form(
        "apache",
        r"\[?" + _WEEKDAY + " (?P<minute>" + _MONTH + r" {1,2}(?P<d>\d\d?) " + _CLOCK + r"):"
        r"(?P<S>\d\d)" + _FRACTION + r" (?P<Y2>\d{4})\b",
    ),
    # 127.0.0.1 - - [10/Oct/2000:13:55:36 -0700] "GET /"
    _form(
        "apache-access",
        r"[^\[\n]{0,200}\[(?P<minute>(?P<d>\d\d)/" + _MONTH + r"/(?P<Y>\d{4}):" + _CLOCK + r"):"
        r"(?P<S>\d\d)" + _FRACTION + _ZONE + r"\]",
    ),
    # Dec 10 2015 06:55:46 host x; Dec 10 06:55:46 2015
    _form(
        "syslog-year",
        r"(?:<\d{1,3}>)?(?P<minute>" + _MONTH + r" {1,2}(?P<d>\d\d?),? (?P<Y>\d{4}) "
        r"" + _CLOCK + r"):(?P<S>\d\d)" + _FRACTION,
    ),
    # Dec 10 06:55:46 host x
    _form(
        "syslog",
        r"(?:<\d{1,3}>)?(?P<minute>" + _MONTH + r" {1,2}(?P<d>\d\d?) " + _CLOCK + r"):(?P<S>\d\d)"
        r"" + _FRACTION + r"(?! \d{4}\b)",
    ),
    _form(
        "syslog-late-year",
        r"(?:<\d{1,3}>)?(?P<minute>" + _MONTH + r" {1,2}(?P<d>\d\d?) " + _CLOCK + r"):(?P<S>\d\d)"
        r"" + _FRACTION + r" (?P<Y2>\d{4})\b",
    ),
    # 2026/11/21 10:15:03 [error] x: nginx, Go
    _form(
        "slashes",
        r"(?P<minute>(?P<Y>\d{4})/(?P<m>\d\d)/(?P<d>\d\d)[ T]" + _CLOCK + r"):(?P<S>\d\d)"
        r"" + _FRACTION + _ZONE,
    ),
    # 20171223-22:15:29:606|Step; 20171224-0:28:0:83
    _form(
        "compact",
        r"(?P<minute>(?P<Y>\d{4})(?P<m>\d\d)(?P<d>\d\d)[- T](?P<H>\d\d?):(?P<M>\d\d?)):"
        r"(?P<S>\d\d?)(?::(?P<ms>\d{1,3})|[.,](?P<f>\d{1,30}))?(?!\d)",
    ),
    # [10.30 16:49:06] x
    _form(
        "month-day",
        r"\[(?P<minute>(?P<m>\d\d)\.(?P<d>\d\d) " + _CLOCK + r"):(?P<S>\d\d)" + _FRACTION + r"\]",
    ),
    # 081109 203615 148 INFO x
    _form(
        "digits",
        r"(?P<minute>(?P<y>\d\d)(?P<m>\d\d)(?P<d>\d\d) (?P<H>\d\d)(?P<M>\d\d))(?P<S>\d\d)(?!\d)"
        + _FRACTION,
        is_plain=True,
    ),
    _form("unix", r"(?P<n>\d{1,15})(?:[.,](?P<f>\d{1,30}))?(?!\w)", is_plain=True, unit=1),
    _form("unix-ms", r"(?P<n>\d{4,18})(?!\w)", is_plain=True, unit=1_000),
    _form("unix-us", r"(?P<n>\d{7,21})(?!\w)", is_plain=True, unit=1_000_000),
    _form("unix-ns", r"(?P<n>\d{10,24})(?!\w)", is_plain=True, unit=1_000_000_000),
)

FORMS = {form.name: form for form in _ALL}
JSON = "json"
AUTO = "auto"
NONE = "none"
# What may be asked for by name, beside a format of strptime.
NAMES = (AUTO, NONE, *FORMS, JSON)

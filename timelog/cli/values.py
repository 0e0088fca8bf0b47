"""How the values of options are read; for argparse, which tells what is wrong."""

from __future__ import annotations

import argparse

from timelog.errors import InvalidTime
from timelog.timestamp import SECOND, parse_relative


def as_seconds(text: str) -> float:
    """A number of seconds above 0."""
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0
    if not 0 < seconds < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds")
    return seconds


def as_duration(text: str) -> float:
    """Seconds of ``30s``, ``5m`` or a plain number."""
    try:
        seconds = parse_relative(text) / SECOND
    except InvalidTime:
        return as_seconds(text)
    return as_seconds(str(seconds))


def as_count(text: str) -> int:
    """A whole number from 0."""
    if not (text.isascii() and text.isdigit() and len(text) < 19):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of events")
    return int(text)


def as_count_from_one(text: str) -> int:
    """A whole number from 1."""
    count = as_count(text)
    if not count:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of events from 1")
    return count


def as_minutes(text: str) -> float:
    """A number of minutes above 0."""
    try:
        return as_seconds(text)
    except argparse.ArgumentTypeError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of minutes") from None

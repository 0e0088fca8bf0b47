"""The options of `timelog.open`, checked; from the environment where an option says so."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, NamedTuple

from timelog.errors import InvalidInput
from timelog.event import Limits
from timelog.frames import require
from timelog.quantity import parse_age
from timelog.retention import Age, Retention, retention

_LIMITS = {"age", "size", "partitions", "tags", "sources"}


class Options(NamedTuple):
    """What `timelog.open` was asked for. See there for the meaning of each."""

    mode: str
    sync: str
    flush_interval: float
    max_buffer: int
    lock_timeout: float
    exit_signals: bool
    max_future: float
    text_index: bool
    scrub_interval: float
    scrub_shards: int
    retention: Retention | None
    compact_after: int | None
    archive_after: int | None
    limits: Limits

    @property
    def is_writable(self) -> bool:
        """Whether events can be appended."""
        return self.mode == "a"


def check_options(
    *,
    mode: str,
    sync: str | None,
    flush_interval: float,
    max_buffer: int,
    lock_timeout: float,
    exit_signals: bool,
    max_future: float,
    text_index: bool,
    scrub_interval: float | None,
    scrub_shards: int | None,
    retention: Age | Mapping[str, Any] | None,
    compact_after: Age | None,
    archive_after: Age | None,
    max_content: int,
    max_fields: int,
) -> Options:
    """Return the options, or raise `InvalidInput` with what is wrong and what would be right.

    Raises `MissingExtra` where archives are asked for without zstandard.
    """
    if mode not in ("a", "r"):
        raise InvalidInput(f"mode must be 'a' (append) or 'r' (read only), not {mode!r}")
    name = "the option sync" if sync is not None else "TIMELOG_SYNC"
    sync = sync if sync is not None else os.environ.get("TIMELOG_SYNC") or "flush"
    if sync not in ("flush", "off"):
        raise InvalidInput(f"{name} must be 'flush' or 'off', not {sync!r}")
    scrub_interval = _number("scrub_interval", scrub_interval, "TIMELOG_SCRUB_INTERVAL", 10.0)
    scrub_shards = int(_number("scrub_shards", scrub_shards, "TIMELOG_SCRUB_SHARDS", 5))
    limits = Limits(content=max_content, fields=max_fields)
    for what, number, least in (
        ("flush_interval", flush_interval, 0),
        ("max_buffer", max_buffer, 64 * 1024),
        ("lock_timeout", lock_timeout, 0),
        ("max_future", max_future, 0),
        ("scrub_interval", scrub_interval, 0),
        ("scrub_shards", scrub_shards, 1),
        ("max_content", max_content, 1),
        ("max_fields", max_fields, 1),
    ):
        if isinstance(number, bool) or not isinstance(number, int | float):
            raise InvalidInput(f"{what} must be a number, not {number!r}")
        # Also refuses NaN, which compares with nothing.
        if not least <= number < float("inf"):
            raise InvalidInput(f"{what} must be {least} or more, and finite, not {number!r}")
    for what, switch in (("exit_signals", exit_signals), ("text_index", text_index)):
        if not isinstance(switch, bool):
            raise InvalidInput(f"{what} must be True or False, not {switch!r}")
    if max_content >= max_buffer:
        raise InvalidInput(
            f"max_content ({max_content}) must be smaller than max_buffer ({max_buffer})"
        )
    if archive_after is not None:
        require()
    return Options(
        mode,
        sync,
        flush_interval,
        max_buffer,
        lock_timeout,
        exit_signals,
        max_future,
        text_index,
        scrub_interval,
        scrub_shards,
        _policy(retention),
        None if compact_after is None else parse_age(compact_after, "compact_after"),
        None if archive_after is None else parse_age(archive_after, "archive_after"),
        limits,
    )


def _policy(value: Age | Mapping[str, Any] | None) -> Retention | None:
    """What ``retention=`` means: an age, or several limits by name."""
    if value is None:
        return None
    if not isinstance(value, Mapping):
        return retention(age=value)
    if unknown := set(value) - _LIMITS:
        raise InvalidInput(
            f"retention has no {min(map(str, unknown))!r}; it may have {', '.join(sorted(_LIMITS))}"
        )
    return retention(**value)


def _number(name: str, value: float | None, variable: str, default: float) -> float:
    """What was passed, else what the environment says, else the default."""
    if value is not None:
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise InvalidInput(f"{name} must be a number, not {value!r}")
        return value
    text = os.environ.get(variable)
    if not text:
        return default
    try:
        return float(text)
    except ValueError:
        raise InvalidInput(f"{variable} must be a number, not {text!r}") from None

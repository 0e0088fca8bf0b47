"""The options of `timelog.open`: checked at once, with a sentence that says what would be right."""

from __future__ import annotations

import inspect
from typing import Any

import pytest

import timelog
from timelog.errors import InvalidInput
from timelog.options import Options, check_options

DEFAULTS: dict[str, Any] = {
    name: parameter.default
    for name, parameter in inspect.signature(timelog.open).parameters.items()
    if name not in ("path", "storage", "group")  # these choose the storage, and are not kept
}


@pytest.fixture(autouse=True)
def no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("TIMELOG_SYNC", "TIMELOG_SCRUB_INTERVAL", "TIMELOG_SCRUB_SHARDS"):
        monkeypatch.delenv(name, raising=False)


def check(**changed: Any) -> Options:
    return check_options(**{**DEFAULTS, **changed})


def test_the_defaults_are_those_that_the_docstring_says() -> None:
    options = check()
    assert options.mode == "a"
    assert options.is_writable
    assert options.sync == "flush"
    assert options.flush_interval == 1.0
    assert options.max_buffer == 64 * 1024 * 1024
    assert options.lock_timeout == 10.0
    assert options.exit_signals is True
    assert options.max_future == 86_400.0
    assert options.text_index is True
    assert (options.scrub_interval, options.scrub_shards) == (10.0, 5)
    assert options.limits.content == 1024 * 1024
    assert options.limits.fields == 256 * 1024


def test_what_is_asked_for_is_taken() -> None:
    options = check(
        mode="r", sync="off", flush_interval=0, text_index=False, max_content=5, max_fields=6
    )
    assert not options.is_writable
    assert options.sync == "off"
    assert options.flush_interval == 0
    assert options.text_index is False
    assert options.limits.content == 5
    assert options.limits.fields == 6


def test_the_environment_decides_where_the_caller_does_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TIMELOG_SYNC", "off")
    assert check().sync == "off"
    assert check(sync="flush").sync == "flush"
    monkeypatch.setenv("TIMELOG_SYNC", "")
    assert check().sync == "flush"


def test_a_wrong_environment_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TIMELOG_SYNC", "maybe")
    with pytest.raises(InvalidInput, match="TIMELOG_SYNC must be 'flush' or 'off', not 'maybe'"):
        check()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("mode", "w"),
        ("mode", ""),
        ("mode", None),
        ("sync", "on"),
        ("sync", ""),
        ("sync", True),
        ("flush_interval", -0.1),
        ("flush_interval", float("nan")),
        ("flush_interval", float("inf")),
        ("flush_interval", "1"),
        ("flush_interval", None),
        ("flush_interval", True),
        ("max_buffer", 64 * 1024 - 1),
        ("max_buffer", -1),
        ("max_buffer", None),
        ("lock_timeout", -1),
        ("lock_timeout", float("nan")),
        ("max_future", -1),
        ("max_future", float("inf")),
        ("exit_signals", None),
        ("exit_signals", 1),
        ("text_index", None),
        ("text_index", 1),
        ("text_index", 0),
        ("text_index", "yes"),
        ("max_content", 0),
        ("max_content", False),
        ("max_fields", 0),
        ("max_fields", "many"),
    ],
)
def test_a_wrong_option_is_refused_and_named(name: str, value: object) -> None:
    with pytest.raises(InvalidInput, match=name):
        check(**{name: value})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("flush_interval", 0),
        ("flush_interval", 0.001),
        ("max_buffer", 2 * 1024 * 1024),
        ("lock_timeout", 0),
        ("max_future", 0),
        ("max_content", 1),
        ("max_fields", 1),
    ],
)
def test_the_least_is_allowed(name: str, value: float) -> None:
    check(**{name: value})


def test_one_content_must_fit_into_the_buffer() -> None:
    check(max_buffer=100_000, max_content=99_999)
    with pytest.raises(InvalidInput, match=r"max_content \(100000\) must be smaller"):
        check(max_buffer=100_000, max_content=100_000)


def test_every_option_of_open_is_checked_here() -> None:
    assert set(DEFAULTS) == set(inspect.signature(check_options).parameters)
    kinds = inspect.signature(timelog.open).parameters.values()
    assert all(each.kind is each.KEYWORD_ONLY for each in kinds if each.name != "path")


def test_how_often_is_scrubbed_comes_from_the_environment_too(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("TIMELOG_SCRUB_INTERVAL", "2.5")
    monkeypatch.setenv("TIMELOG_SCRUB_SHARDS", "7")
    assert (check().scrub_interval, check().scrub_shards) == (2.5, 7)
    asked = check(scrub_interval=0, scrub_shards=1)
    assert (asked.scrub_interval, asked.scrub_shards) == (0, 1)
    for name, value in (("INTERVAL", "often"), ("INTERVAL", "-1"), ("SHARDS", "0")):
        with monkeypatch.context() as patch:
            patch.setenv(f"TIMELOG_SCRUB_{name}", value)
            with pytest.raises(InvalidInput, match=name.lower() if value != "often" else name):
                check()
    for wrong in (True, "1", float("nan")):
        with pytest.raises(InvalidInput, match="scrub_interval"):
            check(scrub_interval=wrong)

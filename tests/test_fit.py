"""What does not fit into an event is made to; what does stays as it is."""

from __future__ import annotations

import enum
import math
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import timelog
from timelog.event import (
    Limits,
    check_content,
    check_fields,
    check_source,
    check_tags,
)
from timelog.fit import LIMITS, fit_content, fit_fields, fit_source, fit_tags

SMALL = Limits(content=60, tags=3, tag=4, source=5, fields=300)
ANY_TEXT = st.text(st.characters(exclude_categories=()), max_size=80)
ANY_VALUE = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | ANY_TEXT | st.binary(max_size=9),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(ANY_TEXT | st.integers(), inner, max_size=4)
        | st.sets(st.integers(), max_size=3)
    ),
    max_leaves=12,
)


@given(text=ANY_TEXT, texts=st.lists(ANY_TEXT, max_size=6), value=ANY_VALUE)
def test_whatever_comes_fits(text: str, texts: list[str], value: object) -> None:
    for limits in (LIMITS, SMALL):
        check_content(fit_content(text, limits), limits)
        check_source(fit_source(text, limits), limits)
        check_tags(fit_tags(texts, limits), limits)
        check_fields(fit_fields({text: value}, limits), limits)


@given(
    st.dictionaries(
        st.text(max_size=5),
        st.recursive(
            st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.text(max_size=9)
            | st.floats(allow_nan=False, allow_infinity=False),
            lambda inner: st.lists(inner, max_size=3)
            | st.dictionaries(st.text(max_size=3), inner, max_size=3),
            max_leaves=8,
        ),
        max_size=5,
    )
)  # fmt: skip
def test_what_fits_stays(fields: dict[str, Any]) -> None:
    assert fit_fields(fields) == fields


def test_texts_within_the_rules_stay() -> None:
    assert fit_content("größe\n\x00") == "größe\n\x00"
    assert fit_source("größe\n") == "größe\n"
    assert fit_tags(["größe", "b c"]) == ("größe", "b c")


@pytest.mark.parametrize("extra", [0, 1, 5, 1000])
def test_a_cut_says_how_much(extra: int) -> None:
    text = "é" * 30 + "x" * extra
    fitted = fit_content(text, SMALL)
    if extra == 0:
        assert fitted == text
        return
    kept, _, rest = fitted.partition(" [cut: ")
    assert text.startswith(kept) and len(fitted.encode()) <= SMALL.content
    assert int(rest.removesuffix(" bytes]")) == len(text.encode()) - len(kept.encode())


def test_foreign_values_are_shown() -> None:
    class Level(enum.IntEnum):
        LOW = 3

    class Broken:
        def __str__(self) -> str:
            raise RuntimeError

    fitted = fit_fields(
        {
            "when": datetime(2026, 11, 21, tzinfo=UTC),
            "where": Path("/tmp"),
            "level": Level.LOW,
            "not a number": math.nan,
            "large": 2**70,
            "bytes": b"a\xff",
            "set": {7},
            "broken": Broken(),
            "lone": "\udc80",
            8: (1, None, True),
        }
    )
    assert fitted == {
        "when": "2026-11-21 00:00:00+00:00",
        "where": "/tmp",
        "level": 3,
        "not a number": "nan",
        "large": str(2**70),
        "bytes": "a\\xff",
        "set": [7],
        "broken": "<Broken: RuntimeError in its str()>",
        "lone": "\\udc80",
        "8": [1, None, True],
    }
    assert type(fitted["level"]) is int


def test_what_contains_itself_ends() -> None:
    loop: list[Any] = []
    loop.extend([loop, loop, {"again": loop}])
    check_fields(fit_fields({"loop": loop}), LIMITS)


def test_fields_that_are_too_large_are_shortened_and_then_left_out() -> None:
    assert fit_fields({"a": "x" * 400_000, "b": 1}) == {"a": "x" * 1024 + "…", "b": 1}
    many = fit_fields({f"key {number}": "x" * 2000 for number in range(1000)})
    assert list(many) == ["cut"]


def test_controls_in_tags_are_replaced_and_empty_tags_left_out(path: Path) -> None:
    assert fit_tags(["a\nb", "", "\x00"]) == ("a\N{REPLACEMENT CHARACTER}b",
                                              "\N{REPLACEMENT CHARACTER}")  # fmt: skip
    with timelog.open(path) as log:
        log.append("x", tags=fit_tags([7, "x" * 500]))
        assert log.search().to_list()[0].tags == ("7", "x" * 128)

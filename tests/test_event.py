"""Which events can be stored; what cannot is refused with a sentence before anything is taken."""

from __future__ import annotations

import collections
import enum
import json
import unicodedata
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from timelog.errors import InvalidEvent
from timelog.event import (
    Event,
    Limits,
    check_content,
    check_fields,
    check_id,
    check_source,
    check_tags,
    is_control,
)

LIMITS = Limits()
SMALL = Limits(content=10, tags=2, tag=3, source=4, id=5, fields=20)
TIME = datetime(2026, 11, 21, tzinfo=UTC)


class Text(str):
    """A text of a class of its own, as template engines and numpy have them."""


class Number(float):
    """A number of a class of its own, as numpy has them."""


class Level(enum.IntEnum):
    """A number with a name."""

    HIGH = 3


def back(fields: dict[str, Any]) -> Any:
    """The fields as they are read back."""
    return json.loads(bytes(check_fields(fields, LIMITS)))  # type: ignore[arg-type]


# -- the value ----------------------------------------------------------------------------


def test_an_event_cannot_be_changed() -> None:
    event = Event(TIME, "id", "", (), "text")
    with pytest.raises(AttributeError):
        event.content = "other"  # type: ignore[misc]


def test_events_do_not_share_their_empty_fields() -> None:
    one, two = Event(TIME, "1", "", (), ""), Event(TIME, "2", "", (), "")
    one.fields["a"] = 1
    assert two.fields == {}


def test_events_with_equal_values_are_equal() -> None:
    assert Event(TIME, "1", "s", ("t",), "c") == Event(TIME, "1", "s", ("t",), "c", {})
    assert Event(TIME, "1", "s", ("t",), "c") != Event(TIME, "1", "s", ("t",), "c", {"a": 1})


# -- content ------------------------------------------------------------------------------


def test_content_is_counted_in_bytes_of_utf_8() -> None:
    assert check_content("", LIMITS)[1] == 0
    assert check_content("äß€", LIMITS)[1] == 7
    assert check_content("x" * 10, SMALL)[1] == 10
    assert check_content("ä" * 5, SMALL)[1] == 10
    with pytest.raises(InvalidEvent, match=r"11 bytes.*max_content"):
        check_content("x" * 11, SMALL)
    with pytest.raises(InvalidEvent, match="12 bytes"):
        check_content("ä" * 6, SMALL)


@pytest.mark.parametrize("content", [None, b"bytes", 1, ["a"]])
def test_content_must_be_a_str(content: object) -> None:
    with pytest.raises(InvalidEvent, match="content must be a str"):
        check_content(content, LIMITS)


@pytest.mark.parametrize("check", [check_content, check_source, check_id])
def test_a_lone_surrogate_is_refused(check: Any) -> None:
    with pytest.raises(InvalidEvent):
        check("ab\ud800", LIMITS)


def test_a_lone_surrogate_is_named_by_its_place() -> None:
    with pytest.raises(InvalidEvent, match="character 2"):
        check_content("ab\ud800", LIMITS)
    for tags in (["\udfff"], ["a", "\udfff"]):
        with pytest.raises(InvalidEvent, match="surrogate"):
            check_tags(tags, LIMITS)
    for fields in ({"a": "\ud800"}, {"\ud800": 1}, {"a": [{"b": "\ud800"}]}):
        with pytest.raises(InvalidEvent, match="surrogate"):
            check_fields(fields, LIMITS)


# -- source and id ------------------------------------------------------------------------


def test_the_length_of_source_and_id_is_limited_in_characters() -> None:
    assert check_source("", SMALL) == ""
    assert check_source("ääää", SMALL) == "ääää"
    assert check_id("ääääa", SMALL) == "ääääa"
    for check, text in ((check_source, "aaaaa"), (check_id, ""), (check_id, "aaaaaa")):
        with pytest.raises(InvalidEvent):
            check(text, SMALL)


@pytest.mark.parametrize("value", [None, 1, b"a", ("a",)])
def test_source_and_id_must_be_str(value: object) -> None:
    with pytest.raises(InvalidEvent):
        check_source(value, LIMITS)
    with pytest.raises(InvalidEvent):
        check_id(value, LIMITS)


@pytest.mark.parametrize("id", ["a\n", "\0", "\x7f", "\x85", "a\u2028", "\u200b"])
def test_an_id_must_be_printable(id: str) -> None:
    with pytest.raises(InvalidEvent, match="printable"):
        check_id(id, LIMITS)


# -- tags ---------------------------------------------------------------------------------


def test_tags_come_back_as_a_tuple_in_their_order() -> None:
    assert check_tags(["b", "a", "b"], LIMITS) == ("b", "a", "b")
    assert check_tags((tag for tag in "ab"), LIMITS) == ("a", "b")
    assert check_tags((), LIMITS) == ()


@pytest.mark.parametrize("tags", ["auth", b"auth", None, 1, {"a": "b"}, [1], [None], [b"a"], [""]])
def test_what_is_no_sequence_of_str_is_refused(tags: object) -> None:
    with pytest.raises(InvalidEvent):
        check_tags(tags, LIMITS)


def test_the_number_and_length_of_tags_are_limited() -> None:
    assert check_tags(["aaa", "äää"], SMALL) == ("aaa", "äää")
    with pytest.raises(InvalidEvent, match="3 tags"):
        check_tags(["a", "b", "c"], SMALL)
    with pytest.raises(InvalidEvent, match="1 to 3 characters"):
        check_tags(["aaaa"], SMALL)


@given(st.characters(exclude_categories=["Cs"]))
def test_control_characters_are_refused_in_tags_and_only_they(character: str) -> None:
    assert is_control(character) == (unicodedata.category(character) == "Cc")
    if is_control(character):
        with pytest.raises(InvalidEvent, match="control"):
            check_tags([f"a{character}"], LIMITS)
    else:
        assert check_tags([f"a{character}"], LIMITS)


@pytest.mark.parametrize("character", [*map(chr, range(0x20)), *map(chr, range(0x7F, 0xA0))])
def test_every_control_character_is_known(character: str) -> None:
    assert is_control(character)


def test_texts_of_other_classes_become_plain() -> None:
    assert type(check_source(Text("a"), LIMITS)) is str
    assert type(check_id(Text("a"), LIMITS)) is str
    assert [type(tag) for tag in check_tags([Text("a")], LIMITS)] == [str]


# -- fields -------------------------------------------------------------------------------


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), inner, max_size=3)
    ),
    max_leaves=8,
)


@given(st.dictionaries(st.text("abé\u2028\n", max_size=3), json_values, min_size=1, max_size=4))
def test_fields_come_back_as_they_went_in(fields: dict[str, Any]) -> None:
    assert back(fields) == fields


def test_empty_fields_are_left_out() -> None:
    assert check_fields({}, LIMITS) is msgspec.UNSET


def test_fields_are_limited_in_bytes() -> None:
    assert check_fields({"a": "x" * 12}, SMALL)
    with pytest.raises(InvalidEvent, match="21 bytes"):
        check_fields({"a": "x" * 13}, SMALL)


@pytest.mark.parametrize("fields", [None, [], "a", [("a", 1)], MappingProxyType({"a": 1}), 1])
def test_fields_must_be_a_dict(fields: object) -> None:
    with pytest.raises(InvalidEvent, match="fields must be a dict"):
        check_fields(fields, LIMITS)


@pytest.mark.parametrize(
    "value",
    [
        float("nan"),
        float("inf"),
        float("-inf"),
        2**64,
        -(2**63) - 1,
        b"bytes",
        {1, 2},
        TIME,
        object(),
        {1: "a"},
        {None: "a"},
        {"a": {"b": [float("nan")]}},
    ],
)
def test_what_json_would_change_or_drop_is_refused(value: object) -> None:
    with pytest.raises(InvalidEvent):
        check_fields({"a": value}, LIMITS)


@pytest.mark.parametrize(
    "value",
    [
        Text("a"),
        Number(1.5),
        Level.HIGH,
        collections.OrderedDict(a=1),
        collections.defaultdict(int, a=1),
        ("a", 1),
    ],
    ids=lambda value: type(value).__name__,
)
def test_values_of_other_classes_are_stored_or_refused(value: object) -> None:
    try:
        stored = back({"a": value})["a"]
    except InvalidEvent:
        return
    assert stored == (list(value) if isinstance(value, tuple) else value)


def test_fields_that_contain_themselves_are_refused() -> None:
    fields: dict[str, Any] = {}
    fields["a"] = [fields]
    with pytest.raises(InvalidEvent, match="contain themselves"):
        check_fields(fields, LIMITS)


def test_fields_that_can_be_stored_can_be_read_from_deeper_in_a_program() -> None:
    """Nesting must be limited by itself, not by how much of the stack is free just now."""
    fields: dict[str, Any] = {}
    deepest = msgspec.UNSET
    for _ in range(1000):
        fields = {"a": fields}
        try:
            deepest = check_fields(fields, LIMITS)
        except InvalidEvent:
            break

    def down(levels: int) -> Any:
        return down(levels - 1) if levels else msgspec.json.decode(deepest)  # type: ignore[arg-type]

    assert down(300)

"""From what callers pass to entries of the buffer; what is wrong is refused before it is taken."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import msgpack
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from timelog.buffer import EVENT_OVERHEAD, Entry
from timelog.entry import EntryMaker, pack_cursor
from timelog.errors import InvalidEvent, InvalidInput, InvalidTime
from timelog.event import Event, Limits
from timelog.horizons import Keeping
from timelog.timestamp import DAY, SECOND, from_text, to_datetime

NOW = from_text("2026-11-21T10:15:00.000000Z")


def maker(max_future: float = 86_400.0, **limits: int) -> EntryMaker:
    return EntryMaker(Limits(**limits), lambda: NOW * 1000, max_future, lambda: Keeping(()))


def entry(timestamp: Any = None, id: Any = None, fields: Any = None, **made: Any) -> Entry:
    return maker(**made).entry("text", "s", ("t",), timestamp, id, fields, 100)


# -- one entry ----------------------------------------------------------------------------


def test_what_is_not_said_is_left_to_the_buffer() -> None:
    assert entry() == Entry(None, None, "s", ("t",), "text", msgspec.UNSET, 100)


@pytest.mark.parametrize(
    ("timestamp", "us"),
    [
        (0, 0),
        (1.5, 1_500_000),
        ("-1h", NOW - 3600 * SECOND),
        ("now", NOW),
        ("2026-11-21T11:15:00+01:00", NOW),
        (datetime(1970, 1, 1, 0, 0, 1, tzinfo=UTC), SECOND),
        (to_datetime(NOW + DAY), NOW + DAY),
    ],
)
def test_a_timestamp_becomes_microseconds(timestamp: object, us: int) -> None:
    assert entry(timestamp).us == us


def test_a_timestamp_too_far_ahead_is_refused() -> None:
    assert entry("+1h", max_future=3600).us == NOW + 3600 * SECOND
    for timestamp in ("+3600001ms", "+1d", NOW / SECOND + 3601):
        with pytest.raises(InvalidTime, match="max_future"):
            entry(timestamp, max_future=3600)
    with pytest.raises(InvalidTime):
        entry("+1us", max_future=0)
    assert entry("+1000d", max_future=1e12).us == NOW + 1000 * DAY


def test_fields_count_with_their_bytes() -> None:
    made = entry(fields={"a": "xyz"})
    assert made.fields == msgspec.Raw(b'{"a":"xyz"}')
    assert made.size == 100 + 11
    assert entry(fields={}) == entry()


def test_a_wrong_id_or_fields_are_refused() -> None:
    assert entry(id="mine").id == "mine"
    for wrong in ({"id": ""}, {"id": 5}, {"fields": []}, {"fields": {"a": float("nan")}}):
        with pytest.raises(InvalidEvent):
            entry(**wrong)


# -- events and mappings ------------------------------------------------------------------


def test_an_event_and_a_mapping_say_the_same() -> None:
    event = Event(to_datetime(5), "id", "s", ("t",), "é", {"a": 1})
    mapping = msgspec.structs.asdict(event)
    made = maker().of(event)
    assert made == maker().of(mapping)
    assert msgspec.structs.astuple(made)[:5] == (5, "id", "s", ("t",), "é")
    least = len("é".encode()) + len("id") + EVENT_OVERHEAD + len('{"a":1}')
    assert least < made.size < least + 500


def test_a_mapping_needs_only_content() -> None:
    made = maker().of({"content": "text"})
    assert made == Entry(None, None, "", (), "text", msgspec.UNSET, 4 + EVENT_OVERHEAD)


@pytest.mark.parametrize(
    "event",
    [
        {},
        {"source": "s"},
        {"content": None},
        {"content": "a", "level": "info"},
        {"content": "a", 1: 2},
        {"content": "a", "tags": "auth"},
        {"content": "a", "tags": None},
        {"content": "a", "source": None},
        {"content": "a", "tags": [["nested"]]},
        {"content": "a", "source": ["unhashable"]},
        "text",
        ("content", "a"),
        None,
    ],
)
def test_what_is_no_event_is_refused(event: Any) -> None:
    with pytest.raises(InvalidEvent):
        maker().of(event)


def test_an_unknown_key_is_named() -> None:
    with pytest.raises(InvalidEvent, match=r"no 'level'.*'fields'"):
        maker().of({"content": "a", "level": "info"})


def test_content_beyond_the_limit_is_refused() -> None:
    with pytest.raises(InvalidEvent, match="max_content"):
        maker(content=3).of({"content": "abcd"})


@pytest.mark.parametrize("where", ["content", "source", "id", "tag", "field", "key"])
def test_texts_of_other_classes_are_stored_as_plain_text_or_refused(where: str) -> None:
    """Such as those of template engines: the encoder knows none of them."""

    class Text(str):
        pass

    text = Text("abc")
    event: dict[str, Any] = {"content": "plain"}
    event |= {
        "content": {"content": text},
        "source": {"source": text},
        "id": {"id": text},
        "tag": {"tags": [text]},
        "field": {"fields": {"a": text}},
        "key": {"fields": {text: "a"}},
    }[where]
    try:
        made = maker().of(event)
    except InvalidEvent:
        return
    texts = [made.content, made.source, made.id, *made.tags]
    assert {type(each) for each in texts} <= {str, type(None)}
    assert isinstance(made.fields, msgspec.Raw | msgspec.UnsetType)


# -- kinds --------------------------------------------------------------------------------


def test_a_pair_of_source_and_tags_is_checked_once() -> None:
    make = maker()
    kind = make.kind("s", ["t"])
    assert kind[:2] == ("s", ("t",))
    assert kind[2] > 0, "it takes memory the first time"
    assert make.kinds["s", ("t",)] == kind[:2]
    assert make.kind("s", ["t"]) == ("s", ("t",), 0)
    assert make.of({"content": "a", "source": "s", "tags": ("t",)}).tags is kind[1]


def test_kinds_do_not_grow_without_end() -> None:
    make = maker()
    for n in range(10_000):
        make.kind(f"s{n}", ())
    assert len(make.kinds) <= 4096
    assert make.kinds["", ()] == ("", ())


def test_a_wrong_kind_is_not_remembered() -> None:
    make = maker()
    for _ in range(2):
        with pytest.raises(InvalidEvent):
            make.of({"content": "a", "source": "s" * 300})
    assert len(make.kinds) == 1


# -- cursors ------------------------------------------------------------------------------


values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.text("aé") | st.binary(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("ab"), inner, max_size=3),
    max_leaves=5,
)


@given(values)
def test_a_cursors_value_is_packed(value: object) -> None:
    name, packed = pack_cursor(("place", value))
    assert name == "place"
    assert msgpack.unpackb(packed, strict_map_key=False) == value


@pytest.mark.parametrize(
    "cursor",
    [
        "ab",
        ("a",),
        ("a", 1, 2),
        5,
        ("", 1),
        ("a" * 257, 1),
        (1, 1),
        (None, 1),
        ("\ud800", 1),
        ("a", object()),
        ("a", 2**64),
        ("a", "\ud800"),
        ("a", datetime(2026, 1, 1)),
        ("a", b"x" * 65_536),
    ],
)
def test_what_cannot_be_stored_is_refused(cursor: Any) -> None:
    if cursor == "ab":
        assert pack_cursor(cursor) == ("a", msgpack.packb("b"))
        return
    with pytest.raises(InvalidInput, match="cursor"):
        pack_cursor(cursor)


def test_a_value_that_contains_itself_is_refused() -> None:
    value: list[object] = []
    value.append(value)
    with pytest.raises(InvalidInput):
        pack_cursor(("a", value))


@pytest.mark.parametrize("value", [{(1, 2): 3}, {5: 6}, {None: 1}, (1, 2), msgpack.Timestamp(5, 6)])
def test_a_value_that_was_taken_can_be_read(value: object) -> None:
    try:
        _, packed = pack_cursor(("a", value))
    except InvalidInput:
        return
    assert msgpack.unpackb(packed, strict_map_key=False) in (value, [1, 2])

"""Events as lines: whatever an event holds, it is one line and comes back unchanged."""

from __future__ import annotations

import json
import sys
from datetime import datetime
from typing import Any

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from timelog.codec import (
    DecodeError,
    Line,
    decode_contents,
    decode_line,
    decode_lines,
    encode_lines,
    json_text,
    to_event,
    to_line,
)
from timelog.event import (
    Event,
    Limits,
    check_content,
    check_fields,
    check_id,
    check_source,
    check_tags,
)
from timelog.timestamp import END, FIRST, to_datetime, to_text

LIMITS = Limits()
SEPARATORS = '\n\r\v\f\x1c\x1d\x1e\x1f\x85\u2028\u2029\0\x7f\ufeff\\"/'

any_text = st.text(st.characters(exclude_categories=["Cs"]) | st.sampled_from(SEPARATORS))
tag = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=20)
id_text = st.text(st.characters(exclude_categories=["Cs"]).filter(str.isprintable), min_size=1)
json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | any_text,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(any_text, inner, max_size=3),
    max_leaves=6,
)
events = st.builds(
    Event,
    st.integers(FIRST, END - 1).map(to_datetime),
    id_text,
    any_text,
    st.lists(tag, max_size=3).map(tuple),
    any_text,
    st.dictionaries(any_text, json_values, max_size=3),
)


def line(content: str = "", **changed: Any) -> Line:
    """A line of the beginning of 1970."""
    values = {"timestamp": to_text(0), "id": "1", "source": "", "tags": (), **changed}
    return Line(content=content, **values)


def lines_of(contents: list[str]) -> list[Line]:
    return [line(content) for content in contents]


# -- round trips --------------------------------------------------------------------------


@given(st.lists(events, max_size=4))
def test_events_come_back_from_their_lines(batch: list[Event]) -> None:
    text = encode_lines([to_line(event) for event in batch])
    assert decode_lines(text) == batch
    lines = text.split(b"\n")
    assert lines.pop() == b""
    assert [decode_line(each) for each in lines] == batch


@given(events)
def test_memory_and_disk_give_the_same_event(event: Event) -> None:
    """What a search finds before the flush is what it finds after."""
    held = to_line(event)
    assert to_event(held) == decode_lines(encode_lines([held]))[0] == event


@given(st.lists(events, max_size=4))
def test_contents_alone_are_those_of_the_events(batch: list[Event]) -> None:
    text = encode_lines([to_line(event) for event in batch])
    assert decode_contents(text) == [event.content for event in batch]


@given(events)
def test_what_the_codec_carries_is_what_the_checks_allow(event: Event) -> None:
    assert check_content(event.content, LIMITS)[1] == len(event.content.encode())
    assert check_source(event.source, LIMITS) == event.source
    assert check_tags(event.tags, LIMITS) == event.tags
    assert check_id(event.id, LIMITS) == event.id
    raw = check_fields(event.fields, LIMITS)
    assert raw is msgspec.UNSET or json.loads(bytes(raw)) == event.fields


def test_every_byte_comes_back_in_content() -> None:
    contents = [chr(n) for n in range(256)] + [f"a{chr(n)}b" for n in range(256)]
    text = encode_lines([line(content) for content in contents])
    assert text.count(b"\n") == len(contents)
    assert [event.content for event in decode_lines(text)] == contents


def test_every_character_of_unicode_comes_back_in_content_source_and_fields() -> None:
    characters = [chr(n) for n in range(sys.maxunicode + 1) if not 0xD800 <= n < 0xE000]
    batch = ["".join(characters[at : at + 4096]) for at in range(0, len(characters), 4096)]
    fields = [msgspec.Raw(msgspec.json.encode({text: text})) for text in batch]
    lines = [line(text, source=text, fields=raw) for text, raw in zip(batch, fields, strict=True)]
    encoded = encode_lines(lines)
    assert encoded.count(b"\n") == len(batch)
    for text, event in zip(batch, decode_lines(encoded), strict=True):
        assert (event.content, event.source, event.fields) == (text, text, {text: text})


@pytest.mark.parametrize("character", SEPARATORS, ids=lambda c: f"U+{ord(c):04X}")
def test_no_character_ends_a_line(character: str) -> None:
    raw = msgspec.Raw(msgspec.json.encode({character: [character]}))
    lines = [line(f"{character}x{character}", source=character, fields=raw)] * 3
    text = encode_lines(lines)
    assert text.count(b"\n") == 3
    assert text.endswith(b"\n")
    assert not set(text) & (set(range(0x20)) - {0x0A})
    (event, *_) = decode_lines(text)
    assert (event.content, event.source) == (f"{character}x{character}", character)


def test_content_cannot_forge_an_event() -> None:
    forged = encode_lines([line("forged")]).decode()
    contents = [forged, "\n" + forged, '"}\n' + forged, forged * 3]
    assert [event.content for event in decode_lines(encode_lines(lines_of(contents)))] == contents


# -- the text -----------------------------------------------------------------------------


@given(st.integers(FIRST, END - 1))
@example(0)
@example(1_000_000)
@example(FIRST)
def test_a_timestamp_always_has_27_characters(us: int) -> None:
    event = Event(to_datetime(us), "1", "", (), "")
    text = encode_lines([to_line(event)])
    assert text[:42] == b'{"timestamp":"%b"' % to_text(us).encode()
    assert json.loads(text)["timestamp"] == to_text(us)


def test_keys_come_in_the_documented_order() -> None:
    raw = msgspec.Raw(b'{"b":1,"a":2}')
    text = encode_lines([line("c", source="s", tags=("b", "a"), fields=raw)])
    assert text == (
        b'{"timestamp":"1970-01-01T00:00:00.000000Z","id":"1","source":"s","tags":["b","a"],'
        b'"content":"c","fields":{"b":1,"a":2}}\n'
    )


def test_empty_fields_are_not_written_and_all_else_is() -> None:
    assert encode_lines([line()]) == (
        b'{"timestamp":"1970-01-01T00:00:00.000000Z","id":"1","source":"","tags":[],"content":""}\n'
    )
    assert to_line(Event(to_datetime(0), "1", "", (), "")).fields is msgspec.UNSET
    assert decode_lines(encode_lines([line()]))[0].fields == {}


def test_no_events_are_no_text() -> None:
    assert encode_lines([]) == b""
    assert decode_lines(b"") == []
    assert decode_contents(b"") == []


def test_other_tools_read_the_lines() -> None:
    contents = ["plain", SEPARATORS, "äöü€😀"]
    text = encode_lines(lines_of(contents)).decode()
    assert [json.loads(each)["content"] for each in text.split("\n")[:-1]] == contents


# -- what is no event ---------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"\n",
        b"{}",
        b"null",
        b"[]",
        b"{",
        b'{"timestamp":"1970-01-01T00:00:00.000000Z"}',
        b'{"timestamp":"yesterday","id":"1","source":"","tags":[],"content":""}',
        b'{"timestamp":0,"id":"1","source":"","tags":[],"content":""}',
        b'{"timestamp":"1970-01-01T00:00:00Z","id":1,"source":"","tags":[],"content":""}',
        b'{"timestamp":"1970-01-01T00:00:00Z","id":"1","source":"","tags":[1],"content":""}',
        b'{"timestamp":"1970-01-01T00:00:00Z","id":"1","source":"","tags":[],"content":null}',
        b'{"timestamp":"1970-01-01T00:00:00Z","id":"1","source":"","tags":[],"content":"\xff"}',
        b'{"timestamp":"1970-01-01T00:00:00Z","id":"1","source":"","tags":[],"content":"\x00"}',
    ],
)
def test_a_line_that_is_no_event_is_refused(text: bytes) -> None:
    with pytest.raises((DecodeError, UnicodeDecodeError)):
        decode_line(text)


@given(st.data())
def test_a_line_that_is_cut_off_is_refused(data: st.DataObject) -> None:
    (text,) = (encode_lines([line("some content", tags=("a",))]).rstrip(b"\n"),)
    cut = data.draw(st.integers(0, len(text) - 1))
    with pytest.raises(DecodeError):
        decode_line(text[:cut])


def test_one_line_that_is_no_event_refuses_the_batch() -> None:
    good = encode_lines([line()])
    with pytest.raises(DecodeError):
        decode_lines(good + b"nonsense\n" + good)


@pytest.mark.parametrize(
    "text",
    [
        b"nonsense\n",
        b"{}\n",
        b'{"content":1}\n',
        b'{"content":"a"\n',
        b'{"content":"\xff"}\n',
    ],
)
def test_contents_of_what_is_no_json_or_has_none_are_refused(text: bytes) -> None:
    good = encode_lines([line("good")])
    for batch in (text, good + text, text + good):
        with pytest.raises((DecodeError, UnicodeDecodeError)):
            decode_contents(batch)


# -- text to look for ---------------------------------------------------------------------


@given(any_text, any_text, any_text)
def test_json_text_of_a_part_is_part_of_the_line(before: str, part: str, after: str) -> None:
    assert json_text(part) in encode_lines([line(before + part + after)])
    assert json_text(before + part) == json_text(before) + json_text(part)


@given(any_text)
def test_json_text_is_json(text: str) -> None:
    assert json.loads(b'"%b"' % json_text(text)) == text


def test_a_naive_datetime_never_leaves_the_codec() -> None:
    (event,) = decode_lines(encode_lines([line()]))
    assert isinstance(event.timestamp, datetime)
    assert event.timestamp.utcoffset() is not None
    assert to_event(line()).timestamp.utcoffset() is not None

"""`Event`, and the rules that decide whether an event can be stored.

An `Event` is immutable and may be shared by threads. The checks here run before anything of a
call is taken; each raises `InvalidEvent` with one sentence that says what to do.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, NamedTuple

import msgspec

from timelog.errors import InvalidEvent

# Fields nested deeper could be stored, but not be read by every program.
_DEEPEST = 64


class Event(msgspec.Struct, frozen=True, gc=False):
    """One immutable event.

    ``timestamp``: aware UTC ``datetime`` with microseconds. ``id``: text, a UUIDv7 unless the
    caller brought its own. ``source``: where it came from, ``""`` if not said. ``tags``: a tuple of
    texts. ``content``: the text. ``fields``: further values as JSON has them, ``{}`` if none.
    """

    timestamp: datetime
    id: str
    source: str
    tags: tuple[str, ...]
    content: str
    fields: dict[str, Any] = {}


class Limits(NamedTuple):
    """How large an event may be. Lengths of content and fields are bytes of UTF-8."""

    content: int = 1024 * 1024
    tags: int = 64
    tag: int = 128
    source: int = 256
    id: int = 256
    fields: int = 256 * 1024


def check_content(content: object, limits: Limits) -> tuple[str, int]:
    """Return ``content`` as a plain str and its length in bytes of UTF-8, if it can be stored."""
    if content.__class__ is not str:
        if not isinstance(content, str):
            raise InvalidEvent(f"content must be a str, not {type(content).__name__}")
        content = str.__str__(content)
    try:
        size = len(content.encode())
    except UnicodeEncodeError as error:
        raise _lone_surrogate("content", error) from None
    if size > limits.content:
        raise InvalidEvent(
            f"content has {size} bytes, more than the limit of {limits.content}; "
            "shorten it, or open the log with a larger max_content"
        )
    return content, size


def check_source(source: object, limits: Limits) -> str:
    """Return ``source`` as a plain str, if it can be stored."""
    if not isinstance(source, str):
        raise InvalidEvent(f"source must be a str, not {type(source).__name__}")
    _check_utf8("source", source)
    if len(source) > limits.source:
        raise InvalidEvent(
            f"source has {len(source)} characters, more than the limit of {limits.source}"
        )
    return str.__str__(source)


def check_tags(tags: object, limits: Limits) -> tuple[str, ...]:
    """Return ``tags`` as a tuple of plain strings, if they can be stored."""
    if isinstance(tags, str | bytes) or not isinstance(tags, Iterable):
        raise InvalidEvent(f"tags must be a sequence of str, such as ('auth',), not {tags!r}")
    if isinstance(tags, Mapping):
        raise InvalidEvent("tags must be a sequence of str, not a mapping; use fields for that")
    checked = tuple(tags)
    if len(checked) > limits.tags:
        raise InvalidEvent(f"{len(checked)} tags are more than the limit of {limits.tags}")
    for tag in checked:
        if not isinstance(tag, str):
            raise InvalidEvent(f"a tag must be a str, not {type(tag).__name__}")
        _check_utf8("a tag", tag)
        if not tag or len(tag) > limits.tag:
            raise InvalidEvent(f"the tag {tag[:40]!r} must have 1 to {limits.tag} characters")
        if any(is_control(character) for character in tag):
            raise InvalidEvent(f"the tag {tag!r} has a control character; remove it")
    return tuple(map(str.__str__, checked))


def check_id(id: object, limits: Limits) -> str:
    """Return ``id`` as a plain str, if it can be stored."""
    if not isinstance(id, str):
        raise InvalidEvent(f"an id must be a str, not {type(id).__name__}")
    if not 1 <= len(id) <= limits.id:
        raise InvalidEvent(f"an id must have 1 to {limits.id} characters, not {len(id)}")
    if not id.isprintable():
        raise InvalidEvent(f"the id {id!r} must be printable")
    return str.__str__(id)


def check_fields(fields: object, limits: Limits) -> msgspec.Raw | msgspec.UnsetType:
    """Return ``fields`` encoded as JSON, if they come back as they went in; UNSET if empty."""
    if not isinstance(fields, dict):
        raise InvalidEvent(f"fields must be a dict with str keys, not {type(fields).__name__}")
    if not fields:
        return msgspec.UNSET
    encoded = msgspec.json.encode(fields if is_flat(fields) else _plain("fields", fields, 0))
    if len(encoded) > limits.fields:
        raise InvalidEvent(
            f"fields have {len(encoded)} bytes, more than the limit of {limits.fields}"
        )
    return msgspec.Raw(encoded)


def is_flat(fields: Mapping[Any, Any]) -> bool:
    """Whether ``fields`` are a few plain values that JSON has as they are.

    Told in a fraction of the time that a look into nested ones takes, so it says no to some that
    could be stored.
    """
    for key, value in fields.items():
        if type(key) is not str or not key.isascii():
            return False
        kind = type(value)
        if kind is str:
            if not value.isascii():
                return False
        elif kind is int:
            if not -(2**63) <= value < 2**63:
                return False
        elif (
            kind is not bool and value is not None and not (kind is float and math.isfinite(value))
        ):
            return False
    return True


def is_control(character: str) -> bool:
    """Whether ``character`` is a control character of Unicode (category Cc)."""
    return character < " " or "\x7f" <= character <= "\x9f"


def _plain(where: str, value: object, depth: int) -> object:
    """Return ``value`` in plain types; refuse what JSON would change or drop on the way."""
    if depth > _DEEPEST:
        raise InvalidEvent(
            f"fields are nested more than {_DEEPEST} levels deep, or contain themselves"
        )
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        _check_utf8(where, value)
        return str.__str__(value)
    if isinstance(value, int):
        if not -(2**63) <= value < 2**64:
            raise InvalidEvent(f"{where}: the integer {value} needs more than 64 bits; store a str")
        return int(value)
    if isinstance(value, float):
        if not math.isfinite(value):
            raise InvalidEvent(f"{where}: JSON has no {value!r}; store None or a str")
        return float(value)
    if isinstance(value, list | tuple):
        return [_plain(where, item, depth + 1) for item in value]
    if isinstance(value, dict):
        for key in value:
            if not isinstance(key, str):
                raise InvalidEvent(f"{where}: the key {key!r} must be a str")
            _check_utf8(where, key)
        return {
            str.__str__(key): _plain(f"{where}[{key!r}]", item, depth + 1)
            for key, item in value.items()
        }
    raise InvalidEvent(
        f"{where}: a {type(value).__name__} has no JSON form; store a str, number, bool, None, "
        "list or dict"
    )


def _check_utf8(what: str, text: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise _lone_surrogate(what, error) from None


def _lone_surrogate(what: str, error: UnicodeEncodeError) -> InvalidEvent:
    return InvalidEvent(
        f"{what} has a lone surrogate at character {error.start}, which UTF-8 cannot hold; "
        "encode it with errors='backslashreplace' first"
    )

"""Foreign texts and values made to fit into an event: cut, escaped or shown, never refused.

For what comes from other programs and cannot be sent back: a log record, a line of an import. What
is within the rules of `timelog.event` comes back as it is. All functions are pure, but for the
``str()`` of foreign objects, and thread-safe. ``limits`` are the library's own unless given.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Set
from typing import Any

import msgspec

from timelog.event import Limits, is_control, is_flat

LIMITS = Limits()
# As deep as an event's may be, and more values than its fields have room for: a structure may
# contain itself, several times.
_DEEPEST = 64
_MOST_VALUES = 150_000
# To this many characters texts of fields are shortened where all together are too large.
_SHORT = 1024
_REPLACED = "\N{REPLACEMENT CHARACTER}"


def fit_content(text: str, limits: Limits = LIMITS) -> str:
    """Return ``text`` as content: lone surrogates escaped, the end cut off behind a marker.

    The marker, `` [cut: N bytes]``, says how many bytes of UTF-8 are left out.
    """
    if text.isascii() and len(text) <= limits.content:
        return text
    encoded = _utf8(text)
    if len(encoded) <= limits.content:
        return encoded.decode()
    room = max(0, limits.content - len(f" [cut: {len(encoded)} bytes]"))
    kept = encoded[:room].decode("utf-8", "ignore")
    return f"{kept} [cut: {len(encoded) - len(kept.encode())} bytes]"[: limits.content]


def fit_source(text: str, limits: Limits = LIMITS) -> str:
    """Return ``text`` as a source: lone surrogates escaped, and shortened."""
    return _utf8(text).decode()[: limits.source]


def fit_tags(texts: Iterable[object], limits: Limits = LIMITS) -> tuple[str, ...]:
    """Return ``texts`` as tags: control characters replaced, shortened, empty ones left out."""
    tags = (_utf8(str(text)).decode()[: limits.tag] for text in texts)
    shown = ("".join(_REPLACED if is_control(each) else each for each in tag) for tag in tags)
    return tuple([tag for tag in shown if tag][: limits.tags])


def fit_fields(values: Mapping[Any, Any], limits: Limits = LIMITS) -> dict[str, Any]:
    """Return ``values`` as fields: what JSON does not have is shown as its ``str()``.

    Where they are too large as a whole, texts are shortened to 1,024 characters; where they still
    are, one field ``cut`` says so in their place.
    """
    fields = dict(values) if is_flat(values) else _mapping(values, 0, [_MOST_VALUES], None)
    size = len(msgspec.json.encode(fields))
    if size <= limits.fields:
        return fields
    fields = _mapping(values, 0, [_MOST_VALUES], _SHORT)
    if len(msgspec.json.encode(fields)) <= limits.fields:
        return fields
    return {"cut": f"fields of {size} bytes"}


def _mapping(
    values: Mapping[Any, Any], depth: int, left: list[int], most: int | None
) -> dict[str, Any]:
    return {
        _text(key, most): value
        if value is None or value is True or value is False
        else _value(value, depth + 1, left, most)
        for key, value in values.items()
    }


def _value(value: object, depth: int, left: list[int], most: int | None) -> Any:
    """Return ``value`` as JSON has it; ``left`` counts down how many values may still come."""
    left[0] -= 1
    if isinstance(value, str):
        return _text(value, most)
    if isinstance(value, int):
        return int(value) if -(2**63) <= value < 2**64 else _text(_shown(value), most)
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else repr(float(value))
    if depth < _DEEPEST and left[0] > 0:
        if isinstance(value, Mapping):
            return _mapping(value, depth, left, most)
        if isinstance(value, list | tuple | Set):
            return [
                item
                if item is None or isinstance(item, bool)
                else _value(item, depth + 1, left, most)
                for item in value
                if left[0] > 0
            ]
    if isinstance(value, bytes | bytearray):
        return _text(bytes(value).decode("utf-8", "backslashreplace"), most)
    return _text("…" if isinstance(value, Mapping | list | tuple | Set) else _shown(value), most)


def _text(value: object, most: int | None) -> str:
    text = str.__str__(value) if isinstance(value, str) else _shown(value)
    if not text.isascii():
        text = _utf8(text).decode()
    return text if most is None or len(text) <= most else f"{text[:most]}…"


def _shown(value: object) -> str:
    try:
        return str(value)
    except Exception as error:  # anything: it is somebody else's code
        return f"<{type(value).__name__}: {type(error).__name__} in its str()>"


def _utf8(text: str) -> bytes:
    return text.encode("utf-8", "backslashreplace")

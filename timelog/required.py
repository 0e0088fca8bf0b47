"""What every match of a regular expression must contain, as JSON writes it.

The rule for each construct follows the prefilters of RE2 (``re2/prefilter.cc``) and Cox's trigram
queries ("Regular Expression Matching with a Trigram Index", 2012): small exact sets of texts are
multiplied out along a sequence, and become "one of these" where they grow too large. Here the
texts are raw bytes of a line, so a tab is ``\\t``, and text under IGNORECASE is folded. What comes
out may only rule lines out. Pure functions; the tree is that of Python's own parser.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from re import _constants as sre  # type: ignore[attr-defined]
from typing import Any, NamedTuple

from timelog.codec import json_text
from timelog.simplify import simplified

# So many texts are multiplied out; more become separate requirements.
_MOST_TEXTS = 16
_MOST_CLASS = 4
_MOST_COPIES = 4
_LONGEST = 256
# More alternatives than this are kept as they are: comparing takes the square of their number.
_MOST_COMPARED = 64
# What stands before the content in a line, and so before a match that begins with ``^``.
_CONTENT = b'"content":"'
# Every line has these, so they rule nothing out.
_EVERYWHERE = b'{"timestamp":"T00:00:00.0Z","id":"","source":"","tags":[],"content":""}\n'
_CLOCK = frozenset(b"0123456789-:.")

# Under IGNORECASE these match an ASCII letter too.
SPECIAL = {
    char.encode(): letter
    for char, letter in {"\u0130": b"i", "\u0131": b"i", "\u017f": b"s", "\u212a": b"k"}.items()
}


class Text(NamedTuple):
    """Raw bytes that a line must contain; ``folded``: the line is to be folded first."""

    raw: bytes
    folded: bool = False

    def __str__(self) -> str:
        return f"'{self.raw.decode()}'" + (" in any case" if self.folded else "")


class AllOf(NamedTuple):
    """Every part must hold; without parts nothing is required."""

    parts: tuple[Need, ...] = ()

    def __str__(self) -> str:
        return " and ".join(map(str, self.parts)) or "nothing"


class AnyOf(NamedTuple):
    """At least one part must hold."""

    parts: tuple[Need, ...]

    def __str__(self) -> str:
        return f"({' or '.join(map(str, self.parts))})"


Need = Text | AllOf | AnyOf
NOTHING = AllOf()


def required(compiled: re.Pattern[str]) -> Need:
    """What every line whose content ``compiled`` matches has."""
    try:
        return _simple(_whole(_sequence(simplified(compiled), compiled.flags, first=True)))
    except RecursionError:
        # Nested deeper than can be looked into from here.
        return NOTHING


def scoped(flags: int, added: int, removed: int) -> int:
    """The flags within a group that adds and removes some: ``(?a:…)`` takes the place of others."""
    kinds = re.ASCII | re.UNICODE | re.LOCALE
    return ((flags & ~kinds if added & kinds else flags) | added) & ~removed


def all_of(needs: Iterable[Need]) -> Need:
    """All ``needs`` together."""
    return _simple(AllOf(tuple(needs)))


def any_of(needs: Iterable[Need]) -> Need:
    """At least one of ``needs``."""
    return _simple(AnyOf(tuple(needs)))


def clauses(need: Need) -> list[tuple[Text, ...]]:
    """``need`` as alternatives that must each be met, weakened where it is nested deeper."""
    if isinstance(need, Text):
        return [(need,)]
    if isinstance(need, AllOf):
        return [clause for part in need.parts for clause in clauses(part)]
    chosen: list[Text] = []
    for part in need.parts:
        found = clauses(part)
        if not found:
            return []
        chosen += strongest(found)
    return [tuple(dict.fromkeys(chosen))]


def strongest(clauses: Iterable[tuple[Text, ...]]) -> tuple[Text, ...]:
    """The clause with the longest texts; of several the one with the fewest."""
    return max(clauses, key=lambda clause: (min(len(text.raw) for text in clause), -len(clause)))


def fold(data: bytes) -> bytes:
    """``data`` in lower case; what Python's IGNORECASE takes for an ASCII letter becomes it."""
    data = data.lower()
    if not data.isascii():
        for char, letter in SPECIAL.items():
            if char in data:
                data = data.replace(char, letter)
    return data


def is_cased(char: str) -> bool:
    """Whether IGNORECASE lets ``char`` match another character."""
    return char.lower() != char or char.upper() != char


class _Info(NamedTuple):
    """What is known of a part of an expression.

    ``exact``: all texts that it can stand for, None where they are too many; ``needs``: what must
    be in the line besides.
    """

    exact: tuple[Text, ...] | None
    needs: tuple[Need, ...] = ()


_EMPTY = (Text(b""),)
_UNKNOWN = _Info(None)


def _whole(info: _Info) -> Need:
    """All that ``info`` requires."""
    if info.exact is None:
        return AllOf(info.needs)
    return AllOf((*info.needs, AnyOf(info.exact)))


def _sequence(tree: Iterable[tuple[Any, Any]], flags: int, *, first: bool = False) -> _Info:
    """What is known of the parts of ``tree``, one after the other.

    ``first``: nothing of the expression stands before them.
    """
    run: tuple[Text, ...] = _EMPTY
    needs: list[Need] = []
    is_exact = True
    for operation, argument in tree:
        for info in _parts(operation, argument, flags, first):
            needs += info.needs
            joined = None if info.exact is None else _product(run, info.exact)
            if joined is not None:
                run = joined
                continue
            needs.append(AnyOf(run))
            run = info.exact or _EMPTY
            is_exact = False
        first = False
    if is_exact:
        return _Info(run, tuple(needs))
    return _Info(None, (*needs, AnyOf(run)))


def _parts(operation: Any, argument: Any, flags: int, first: bool) -> Iterable[_Info]:
    """What is known of one construct, as the one or more parts that it stands for."""
    if operation is sre.LITERAL:
        yield _characters([argument], flags)
    elif operation is sre.IN:
        yield _class(argument, flags)
    elif operation is sre.SUBPATTERN:
        _, added, removed, body = argument
        yield _sequence(body, scoped(flags, added, removed), first=first)
    elif operation is sre.ATOMIC_GROUP:
        yield _sequence(argument, flags, first=first)
    elif operation is sre.BRANCH:
        yield _branch([_sequence(body, flags, first=first) for body in argument[1]])
    elif operation is sre.GROUPREF_EXISTS:
        _, yes, no = argument
        yield _branch([_sequence(yes, flags), _sequence(no or (), flags)])
    elif operation in (sre.MAX_REPEAT, sre.MIN_REPEAT, sre.POSSESSIVE_REPEAT):
        least, most, body = argument
        yield from _repeat(least, most, body, flags)
    elif operation is sre.ASSERT:
        # It looks at text of the same content, but takes none.
        yield _Info(_EMPTY, (_whole(_sequence(argument[1], flags)),))
    elif operation is sre.ASSERT_NOT:
        yield _Info(_EMPTY)
    elif operation is sre.AT:
        at_start = argument is sre.AT_BEGINNING_STRING or (
            argument is sre.AT_BEGINNING and not flags & re.MULTILINE
        )
        yield _Info((Text(_CONTENT),) if first and at_start else _EMPTY)
    else:
        yield _UNKNOWN


def _repeat(least: int, most: int, body: Any, flags: int) -> Iterable[_Info]:
    info = _sequence(body, flags)
    copies = min(int(least), 1 if info.exact is None or info.needs else _MOST_COPIES)
    yield from [info] * copies
    if copies == most:
        return
    if copies == 0 and most == 1 and info.exact is not None:
        # Its needs hold only where it is there.
        yield _Info(tuple(dict.fromkeys((*_EMPTY, *info.exact))))
    else:
        yield _UNKNOWN


def _branch(infos: Sequence[_Info]) -> _Info:
    texts: dict[Text, None] = {}
    for info in infos:
        if info.exact is None or info.needs:
            return _Info(None, (AnyOf(tuple(map(_whole, infos))),))
        texts.update(dict.fromkeys(info.exact))
    if len(texts) > _MOST_TEXTS:
        return _Info(None, (AnyOf(tuple(texts)),))
    return _Info(tuple(texts))


def _class(items: Sequence[tuple[Any, Any]], flags: int) -> _Info:
    codes: list[int] = []
    for operation, argument in items:
        if operation is sre.LITERAL:
            codes.append(argument)
        elif operation is sre.RANGE and argument[1] - argument[0] < _MOST_CLASS:
            codes += range(argument[0], argument[1] + 1)
        else:
            return _UNKNOWN
    return _characters(codes, flags) if len(codes) <= _MOST_CLASS else _UNKNOWN


def _characters(codes: Iterable[int], flags: int) -> _Info:
    texts: dict[Text, None] = {}
    for code in codes:
        if 0xD800 <= code < 0xE000:
            # No content holds it.
            return _UNKNOWN
        char = chr(code)
        folded = bool(flags & re.IGNORECASE) and is_cased(char)
        if folded and not char.isascii():
            return _UNKNOWN
        texts[Text(json_text(char.lower() if folded else char), folded)] = None
    return _Info(tuple(texts))


def _product(run: Sequence[Text], more: Sequence[Text]) -> tuple[Text, ...] | None:
    """Each of ``run`` followed by each of ``more``; None where they are too many or too long."""
    if len(run) * len(more) > _MOST_TEXTS:
        return None
    if max(len(text.raw) for text in run) > _LONGEST:
        return None
    return tuple(dict.fromkeys(_join(one, two) for one in run for two in more))


def _join(one: Text, two: Text) -> Text:
    folded = one.folded or two.folded
    raw = one.raw + two.raw
    return Text(fold(raw) if folded else raw, folded)


def _simple(need: Need) -> Need:
    """The same without what says nothing, or less than something beside it."""
    if isinstance(need, Text):
        return NOTHING if _is_everywhere(need) else need
    parts = tuple(dict.fromkeys(_simple(part) for part in need.parts))
    if isinstance(need, AllOf):
        flat = _flat(parts, AllOf, within=True)
        return flat[0] if len(flat) == 1 else AllOf(flat)
    if NOTHING in parts:
        return NOTHING
    flat = _flat(parts, AnyOf, within=False)
    return flat[0] if len(flat) == 1 else AnyOf(flat)


def _flat(
    parts: Iterable[Need], kind: type[AllOf] | type[AnyOf], *, within: bool
) -> tuple[Need, ...]:
    """The parts, with those of a part of the same kind in its place, and without repetition."""
    flat: dict[Need, None] = {}
    for part in parts:
        flat.update(dict.fromkeys(part.parts if isinstance(part, kind) else (part,)))
    if len(flat) > _MOST_COMPARED:
        return tuple(flat)
    return tuple(each for each in flat if not _is_implied(each, flat, within=within))


def _is_implied(need: Need, beside: Iterable[Need], *, within: bool) -> bool:
    """Whether a text says nothing beside others: it lies in one (``within``), or one lies in it."""
    if not isinstance(need, Text):
        return False
    return any(
        (need.raw in other.raw if within else other.raw in need.raw)
        for other in beside
        if isinstance(other, Text) and other.folded == need.folded and other.raw != need.raw
    )


def _is_everywhere(text: Text) -> bool:
    return text.raw in _EVERYWHERE or (len(text.raw) == 1 and text.raw[0] in _CLOCK)

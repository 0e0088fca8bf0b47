"""Asking whether an expression matches somewhere, with less work than finding where and what.

Only the answer of ``re.search`` counts here, not the match. So an expression that is a plain text
is looked for as one; groups capture nothing where nothing refers to them; short repeats of groups
are written out, since Python's engine is slow at counting them; and text that is all ASCII is asked
with ASCII's classes, which are a table and not a function. Every answer is that of ``re.search``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from itertools import islice
from re import _compiler as sre_compiler  # type: ignore[attr-defined]
from re import _constants as sre  # type: ignore[attr-defined]
from re import _parser as sre_parser  # type: ignore[attr-defined]
from typing import Any

from timelog.required import parsed

Select = Callable[[Sequence[str]], list[bool]]

_MOST_COPIES = 4
_MOST_PARTS = 64
_REPEATS = (sre.MAX_REPEAT, sre.MIN_REPEAT, sre.POSSESSIVE_REPEAT)
_Tree = list[tuple[Any, Any]]


def selector(compiled: re.Pattern[str]) -> Select:
    """A function that says for each of some contents whether ``compiled`` matches in it."""
    try:
        return _selector(compiled)
    except RecursionError:
        # Nested deeper than can be looked into from here.
        return partial(select, compiled.search)


def select(search: Callable[[str], object], contents: Sequence[str]) -> list[bool]:
    """For each of ``contents`` whether ``search`` finds something in it."""
    return [search(content) is not None for content in contents]


def _selector(compiled: re.Pattern[str]) -> Select:
    tree = parsed(compiled)
    operations = set(_operations(tree))
    if any(
        operation is sre.SUBPATTERN and any(argument[1:3]) for operation, argument in _walk(tree)
    ):
        # What flags mean in a group depends on where Python's compiler meets it.
        return partial(select, compiled.search)
    if operations.isdisjoint({sre.GROUPREF, sre.GROUPREF_EXISTS}):
        simple = list(_simple(tree))
    else:
        simple = list(tree)
    if (text := _plain_text(simple, compiled.flags)) is not None:
        return lambda contents: [text in content for content in contents]
    search = _compile(simple, compiled, tree).search
    # Ignoring case means less in ASCII, for ASCII letters too.
    if compiled.flags & re.IGNORECASE or operations.isdisjoint({sre.CATEGORY, sre.AT}):
        return partial(select, search)
    in_ascii = _compile(simple, compiled, tree, ascii=True).search
    return lambda contents: [
        (in_ascii if content.isascii() else search)(content) is not None for content in contents
    ]


def _simple(tree: Iterable[tuple[Any, Any]]) -> Iterator[tuple[Any, Any]]:
    """The same without captures, and with short repeats of groups written out."""
    for operation, argument in tree:
        if operation is sre.SUBPATTERN:
            yield from _simple(argument[3])
        elif operation is sre.BRANCH:
            yield operation, (argument[0], [_sub(_simple(body)) for body in argument[1]])
        elif operation in (sre.ASSERT, sre.ASSERT_NOT):
            yield operation, (argument[0], _sub(_simple(argument[1])))
        elif operation is sre.ATOMIC_GROUP:
            yield operation, _sub(_simple(argument))
        elif operation in _REPEATS:
            least, most, body = argument
            inner = list(_simple(body))
            if operation is not sre.POSSESSIVE_REPEAT and _is_short(least, most, inner):
                yield from inner * least
            else:
                yield operation, (least, most, _sub(inner))
        else:
            yield operation, argument


def _is_short(least: int, most: int, body: _Tree) -> bool:
    """Whether a repeat is better written out: of one character the engine counts fast."""
    if least != most or least > _MOST_COPIES or len(body) < 2:
        return False
    return sum(1 for _ in islice(_walk(body), _MOST_PARTS)) * least < _MOST_PARTS


def _sub(parts: Iterable[tuple[Any, Any]]) -> Any:
    return sre_parser.SubPattern(sre_parser.State(), list(parts))


def _compile(
    parts: _Tree, compiled: re.Pattern[str], tree: Any, *, ascii: bool = False
) -> re.Pattern[str]:
    flags = compiled.flags & ~re.DEBUG
    if ascii:
        flags = flags & ~re.UNICODE | re.ASCII
    # The state knows the groups, which references may still need.
    same: re.Pattern[str] = sre_compiler.compile(sre_parser.SubPattern(tree.state, parts), flags)
    return same


def _plain_text(parts: _Tree, flags: int) -> str | None:
    """The text that an expression is, where it is nothing else."""
    if flags & re.IGNORECASE or any(operation is not sre.LITERAL for operation, _ in parts):
        return None
    return "".join(chr(code) for _, code in parts)


def _operations(tree: Any) -> Iterator[Any]:
    """Every operation in a tree, those in classes too."""
    for operation, argument in _walk(tree):
        yield operation
        if operation is sre.IN:
            yield from (kind for kind, _ in argument)


def _walk(tree: Any) -> Iterator[tuple[Any, Any]]:
    for operation, argument in tree:
        yield operation, argument
        if operation is sre.SUBPATTERN:
            yield from _walk(argument[3])
        elif operation is sre.BRANCH:
            for body in argument[1]:
                yield from _walk(body)
        elif operation in (sre.ASSERT, sre.ASSERT_NOT):
            yield from _walk(argument[1])
        elif operation is sre.ATOMIC_GROUP:
            yield from _walk(argument)
        elif operation in _REPEATS:
            yield from _walk(argument[2])
        elif operation is sre.GROUPREF_EXISTS:
            yield from _walk(argument[1])
            yield from _walk(argument[2] or ())

"""Asking of an expression no more than whether it matches somewhere.

Only the answer of ``re.search`` counts here, not the match. So groups capture nothing where nothing
refers to them; short repeats of groups are written out, since Python's engine is slow at counting
them; a repeat at either end is as good as its least count; and what is looked behind for at the
beginning, or ahead for at the end, is part of what is looked for. Pure functions; the tree is that
of Python's own parser.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from functools import lru_cache
from itertools import islice
from re import _constants as sre  # type: ignore[attr-defined]
from re import _parser as sre_parser  # type: ignore[attr-defined]
from typing import Any

_MOST_COPIES = 4
_MOST_PARTS = 64
_REPEATS = (sre.MAX_REPEAT, sre.MIN_REPEAT, sre.POSSESSIVE_REPEAT)
_Tree = list[tuple[Any, Any]]


@lru_cache(maxsize=256)
def simplified(compiled: re.Pattern[str]) -> Any:
    """The tree of an expression that matches somewhere in the texts in which ``compiled`` does.

    Not to be changed. Raises `RecursionError` where it is nested deeper than can be looked into.
    """
    tree = sre_parser.parse(compiled.pattern, compiled.flags & ~re.DEBUG)
    for operation, argument in walk(tree):
        if operation in (sre.GROUPREF, sre.GROUPREF_EXISTS):
            return tree
        if operation is sre.SUBPATTERN and any(argument[1:3]):
            # What flags mean in a group depends on where Python's compiler meets it.
            return tree
    parts = _trimmed(_simple(tree), from_start=True)
    return sub(_trimmed(parts, from_start=False))


def walk(tree: Any) -> Iterator[tuple[Any, Any]]:
    """Every construct in a tree."""
    for operation, argument in tree:
        yield operation, argument
        if operation is sre.SUBPATTERN:
            yield from walk(argument[3])
        elif operation is sre.BRANCH:
            for body in argument[1]:
                yield from walk(body)
        elif operation in (sre.ASSERT, sre.ASSERT_NOT):
            yield from walk(argument[1])
        elif operation is sre.ATOMIC_GROUP:
            yield from walk(argument)
        elif operation in _REPEATS:
            yield from walk(argument[2])
        elif operation is sre.GROUPREF_EXISTS:
            yield from walk(argument[1])
            yield from walk(argument[2] or ())


def sub(parts: Iterable[tuple[Any, Any]]) -> Any:
    """``parts`` as a tree."""
    return sre_parser.SubPattern(sre_parser.State(), list(parts))


def _simple(tree: Iterable[tuple[Any, Any]]) -> Iterator[tuple[Any, Any]]:
    """The same without captures, and with short repeats of groups written out."""
    for operation, argument in tree:
        if operation is sre.SUBPATTERN:
            yield from _simple(argument[3])
        elif operation is sre.BRANCH:
            yield operation, (argument[0], [sub(_simple(body)) for body in argument[1]])
        elif operation in (sre.ASSERT, sre.ASSERT_NOT):
            yield operation, (argument[0], sub(_simple(argument[1])))
        elif operation is sre.ATOMIC_GROUP:
            yield operation, sub(_simple(argument))
        elif operation in _REPEATS:
            least, most, body = argument
            inner = list(_simple(body))
            if operation is not sre.POSSESSIVE_REPEAT and _is_short(least, most, inner):
                yield from inner * least
            else:
                yield operation, (least, most, sub(inner))
        else:
            yield operation, argument


def _is_short(least: int, most: int, body: _Tree) -> bool:
    """Whether a repeat is better written out: of one character the engine counts fast."""
    if least != most or least > _MOST_COPIES or len(body) < 2:
        return False
    return sum(1 for _ in islice(walk(body), _MOST_PARTS)) * least < _MOST_PARTS


def _trimmed(tree: Iterable[tuple[Any, Any]], *, from_start: bool) -> _Tree:
    """The same without what one end, its beginning or its end, needs not have."""
    parts = list(tree)
    while parts:
        place = 0 if from_start else len(parts) - 1
        operation, argument = parts[place]
        if operation in (sre.MAX_REPEAT, sre.MIN_REPEAT) and argument[1] != argument[0]:
            least, _, body = argument
            # A match with more of them holds one with the least, which begins later or ends sooner.
            if least < 2:
                parts[place : place + 1] = list(body) * least
            else:
                parts[place] = sre.MAX_REPEAT, (least, least, body)
        elif operation is sre.ASSERT and argument[0] == (-1 if from_start else 1):
            # It lies next to the rest of the match.
            parts[place : place + 1] = argument[1]
        elif operation is sre.BRANCH:
            bodies = [sub(_trimmed(body, from_start=from_start)) for body in argument[1]]
            parts[place] = operation, (argument[0], bodies)
            break
        else:
            break
    return parts

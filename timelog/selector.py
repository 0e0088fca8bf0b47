"""Testing contents: whether an expression matches somewhere, which alone decides.

Every answer is that of ``re.search``, with less work than finding where and what: an expression
that is a plain text is looked for as one; one that has a text behind its first characters is made
to begin with that text, which Python's engine finds fast; and text that is all ASCII is asked with
ASCII's classes, which are a table and not a function.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import takewhile
from re import _compiler as sre_compiler  # type: ignore[attr-defined]
from re import _constants as sre  # type: ignore[attr-defined]
from typing import Any

from timelog.simplify import simplified, sub, walk

Select = Callable[[Sequence[str]], list[bool]]

_ONE_CHARACTER = (sre.IN, sre.ANY, sre.NOT_LITERAL)
_NO_CHARACTER = (sre.AT, sre.ASSERT, sre.ASSERT_NOT)
_MOST_BEFORE = 8
_SPACES = {sre.CATEGORY_SPACE, sre.CATEGORY_NOT_SPACE}
# Those for which Python's engine calls functions about each character of all there are.
_SLOW = {
    sre.CATEGORY_DIGIT,
    sre.CATEGORY_NOT_DIGIT,
    sre.CATEGORY_WORD,
    sre.CATEGORY_NOT_WORD,
    sre.AT_BOUNDARY,
    sre.AT_NON_BOUNDARY,
}


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
    tree = simplified(compiled)
    if any(operation is sre.SUBPATTERN for operation, _ in walk(tree)):
        # Groups are left where something refers to them.
        return partial(select, compiled.search)
    ignores_case = bool(compiled.flags & re.IGNORECASE)
    if not ignores_case:
        if (text := _plain_text(tree)) is not None:
            return lambda contents: [text in content for content in contents]
        tree = _text_first(tree)
    flags = compiled.flags & ~re.DEBUG
    search = sre_compiler.compile(tree, flags).search
    kinds = set(_kinds(tree))
    # With the flag, fewer ASCII characters are white space or ignore case.
    if ignores_case or not kinds.isdisjoint(_SPACES) or kinds.isdisjoint(_SLOW):
        return partial(select, search)
    in_ascii = sre_compiler.compile(tree, flags & ~re.UNICODE | re.ASCII).search
    return lambda contents: [
        (in_ascii if content.isascii() else search)(content) is not None for content in contents
    ]


def _plain_text(tree: Any) -> str | None:
    """The text that an expression is, where it is nothing else."""
    if any(operation is not sre.LITERAL for operation, _ in tree):
        return None
    return "".join(chr(code) for _, code in tree)


def _text_first(tree: Any) -> Any:
    """The same, but looking for a text first, and behind from there for what stands before it."""
    before = list(takewhile(_is_before_text, tree))
    text = list(takewhile(lambda part: part[0] is sre.LITERAL, tree[len(before) :]))
    if not before or len(before) > _MOST_BEFORE or not text:
        return tree
    if len(text) == 1 and (chr(text[0][1]).isalnum() or chr(text[0][1]).isspace()):
        # As frequent as what stands before it.
        return tree
    end = len(before) + len(text)
    return sub([*text, (sre.ASSERT, (-1, sub(tree[:end]))), *tree[end:]])


def _is_before_text(part: tuple[Any, Any]) -> bool:
    operation, argument = part
    if operation in (sre.MAX_REPEAT, sre.MIN_REPEAT):
        least, most, body = argument
        return least == most < _MOST_BEFORE and all(each[0] in _ONE_CHARACTER for each in body)
    return operation in _ONE_CHARACTER or operation in _NO_CHARACTER


def _kinds(tree: Any) -> Iterator[Any]:
    """Every category of characters and kind of position in a tree."""
    for operation, argument in walk(tree):
        if operation is sre.AT:
            yield argument
        elif operation is sre.IN:
            yield from (value for kind, value in argument if kind is sre.CATEGORY)

"""Regular expressions: the exact meaning of Python's ``re.search``, and what may rule text out."""

from __future__ import annotations

import re
from functools import lru_cache, partial
from typing import NamedTuple

from timelog.errors import InvalidPattern
from timelog.linear import linear_search
from timelog.required import Need, clauses, required, strongest
from timelog.selector import Select, select, selector
from timelog.widen import one_of, widened

ENGINES = ("auto", "linear")


class Pattern(NamedTuple):
    """A compiled expression and how it is looked for. Immutable and thread-safe.

    ``select`` says for each of some contents whether the expression matches somewhere in it, which
    alone decides; ``need`` is what each matching line has, and ``expression`` what a fast engine
    can look for in raw lines, None where that says nothing. These two may only rule out.
    """

    compiled: re.Pattern[str]
    select: Select
    need: Need
    expression: bytes | None
    # Whether its time is bounded by the length of the content.
    is_linear: bool


def make_pattern(compiled: re.Pattern[str], engine: str = "auto") -> Pattern:
    """Plan how ``compiled`` is looked for.

    ``engine``: ``"auto"`` is Python's; ``"linear"`` one that gives the same answers in time linear
    in the content, and raises `InvalidPattern` for what it cannot express.
    """
    plan = _plan(compiled)
    if engine == "linear":
        search = linear_search(compiled)
        return plan._replace(select=partial(select, search), is_linear=True)
    return plan


def compile_pattern(pattern: str | re.Pattern[str]) -> re.Pattern[str]:
    """Return ``pattern`` compiled; raises `InvalidPattern` where it is no expression for text."""
    if isinstance(pattern, str):
        try:
            return re.compile(pattern)
        except (re.error, OverflowError, RecursionError) as error:
            raise InvalidPattern(f"the pattern {pattern!r} does not compile: {error}") from None
    if isinstance(pattern, re.Pattern) and isinstance(pattern.pattern, str):
        return pattern
    raise InvalidPattern(f"a pattern must be a str or a compiled pattern of str, not {pattern!r}")


@lru_cache(maxsize=256)
def _plan(compiled: re.Pattern[str]) -> Pattern:
    need = required(compiled)
    wider = widened(compiled)
    texts = clauses(need)
    if texts and (wider is None or not wider.is_close):
        expression: bytes | None = one_of(strongest(texts))
    else:
        expression = wider.expression if wider else None
    return Pattern(compiled, selector(compiled), need, expression, is_linear=False)

"""Changes one place of the package while a detector looks: what a mutant is, and how it is made.

A mutant is a text in the source of a function and what stands there instead. The module is compiled
anew with it, and the function that everybody has gets the code of that one, so it does not matter
who imported it by which name. Where the text is not there exactly once the mutant no longer
applies, which is an error of the table and not a success.
"""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import CodeType, FunctionType
from typing import NamedTuple


class Mutant(NamedTuple):
    """``place`` is ``module:function`` or ``module:Class.method``, in it ``old`` becomes ``new``.

    ``detector``: who must find it out.
    """

    name: str
    place: str
    old: str
    new: str
    detector: Callable[..., None]


class DoesNotApplyError(Exception):
    """The source is no longer what the mutant changes."""


@contextmanager
def applied(mutant: Mutant) -> Iterator[None]:
    """The package with the mutant in it."""
    function = _function(mutant)
    code = function.__code__
    function.__code__ = _changed(mutant, function)
    try:
        yield
    finally:
        function.__code__ = code


def _function(mutant: Mutant) -> FunctionType:
    module, _, path = mutant.place.partition(":")
    found: object = importlib.import_module(f"timelog.{module}")
    for name in path.split("."):
        found = inspect.getattr_static(found, name, None)
    found = getattr(found, "fget", found)
    found = inspect.unwrap(found) if callable(found) else found
    if not isinstance(found, FunctionType):
        raise DoesNotApplyError(f"this mutant no longer applies: {mutant.place} is no function")
    return found


def _changed(mutant: Mutant, function: FunctionType) -> CodeType:
    lines, first = inspect.getsourcelines(function)
    source = "".join(lines)
    if source.count(mutant.old) != 1:
        raise DoesNotApplyError(
            f"this mutant no longer applies: {mutant.old!r} stands {source.count(mutant.old)} "
            f"times in {mutant.place}"
        )
    path = inspect.getsourcefile(function)
    assert path is not None
    with open(path) as file:
        whole = file.readlines()
    whole[first - 1 : first - 1 + len(lines)] = [source.replace(mutant.old, mutant.new)]
    compiled = compile("".join(whole), path, "exec")
    for code in _codes(compiled):
        if code.co_qualname == function.__code__.co_qualname:
            return code
    raise DoesNotApplyError(f"this mutant no longer applies: {mutant.place} is gone")


def _codes(code: CodeType) -> Iterator[CodeType]:
    yield code
    for each in code.co_consts:
        if isinstance(each, CodeType):
            yield from _codes(each)

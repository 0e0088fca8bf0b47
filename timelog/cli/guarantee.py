"""What ``torture`` tries, and what comes of it: a guarantee holds, fails, or was not checked."""

from __future__ import annotations

import errno
from collections.abc import Callable
from typing import NamedTuple, TypeAlias

from timelog.cli.base import sentence
from timelog.cli.child import Failed
from timelog.errors import TimelogError

_NO_ROOM = (errno.ENOSPC, errno.EDQUOT)
HOLDS, FAILS, UNKNOWN = "holds", "fails", "not checked"

Counts: TypeAlias = dict[str, float]


class Broken(Exception):
    """A guarantee does not hold; the text is one sentence that says what was seen."""

    def __init__(self, text: str, counts: Counts | None = None) -> None:
        super().__init__(text)
        self.counts = counts or {}


class Unchecked(Exception):
    """A guarantee could not be checked; the text is one sentence that says why."""


class Finding(NamedTuple):
    """``verdict``: `HOLDS`, `FAILS` or `UNKNOWN`. ``text``: one sentence."""

    guarantee: str
    verdict: str
    text: str
    counts: Counts


def find(guarantee: str, check: Callable[[], tuple[str, Counts]]) -> Finding:
    """Return what came of ``check``, which returns what it saw where all is well."""
    try:
        return Finding(guarantee, HOLDS, *check())
    except Broken as broken:
        return Finding(guarantee, FAILS, str(broken), broken.counts)
    except (Failed, TimelogError) as error:
        if getattr(error, "errno", 0) in _NO_ROOM:
            return Finding(guarantee, UNKNOWN, f"there is no room to try it: {sentence(error)}", {})
        return Finding(guarantee, FAILS, f"the log met an error: {sentence(error)}", {})
    except (Unchecked, OSError) as error:
        return Finding(guarantee, UNKNOWN, sentence(error), {})

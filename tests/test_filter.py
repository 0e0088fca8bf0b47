"""What a search asks for: the texts that a line must have, and the blocks that it covers."""

from __future__ import annotations

from itertools import accumulate
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from timelog.filter import Filter
from timelog.journal import Block
from timelog.pattern import Pattern


def asks(
    tags: tuple[str, ...] = (), sources: list[str] | None = None, pattern: str = "", **times: Any
) -> Filter:
    return Filter(
        times.get("start"),
        times.get("end"),
        frozenset(tags),
        frozenset(sources or ()),
        Pattern(pattern) if pattern else None,
        None,
        sources is not None,
    )


def test_needles_are_written_as_json_writes_them() -> None:
    asked = asks(tags=('a"b',), sources=["é\n"], pattern="x\ty")
    assert asked.needles() == [b'"a\\"b"', '"source":"é\\n"'.encode(), b"x\\ty"]
    assert asks(sources=["a", "b"]).needles() == []
    assert asks(pattern="a|b").needles() == []


@given(st.lists(st.integers(1, 5), min_size=1, max_size=5))
def test_only_the_range_of_time_decides_what_is_covered(steps: list[int]) -> None:
    times = list(accumulate(steps))
    block = Block("x", 0, 1, 1, (0, 1), times[0], times[-1], 0, 0, (), ())
    for start in (None, *range(times[-1] + 2)):
        for end in (None, *range(times[-1] + 3)):
            inside = all(
                (start is None or start <= us) and (end is None or us < end) for us in times
            )
            assert asks(start=start, end=end).covers(block) == inside

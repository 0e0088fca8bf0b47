"""Sorting more lines than memory may hold: against `sorted`, whatever their times are."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from timelog import spill
from timelog.codec import Line, encode_lines
from timelog.spill import Item, Spill, items_of
from timelog.storage import Storage
from timelog.timestamp import from_datetime, to_text

SEED = 20261127


def maker(folder: Path) -> Callable[[], Path]:
    """Makes files in a folder."""
    made: list[Path] = []

    def make() -> Path:
        made.append(folder / f"part-{len(made)}")
        Storage().close(Storage().create(made[-1]))
        return made[-1]

    return make


def items(times: list[int], positions: list[int], pad: int = 0) -> list[Item]:
    lines = [
        Line(to_text(us), f"id {us}", f"s{us % 3}", (f"t{us % 2}",), "x" * pad) for us in times
    ]
    return items_of(encode_lines(lines), positions)


def keys(found: list[Item]) -> list[tuple[int, int, bytes]]:
    return [(from_datetime(each.timestamp), each.position, each.content) for each in found]


@given(st.data())
def test_it_sorts_as_sorted_does(data: st.DataObject) -> None:
    times = data.draw(
        st.lists(st.integers(0, 5) | st.integers(0, 10**6) | st.just(10**6), min_size=1)
    )
    positions = data.draw(st.permutations(range(len(times))))
    given_items = items(times, positions, data.draw(st.integers(0, 50)))
    most = data.draw(st.integers(100, 4000))
    with tempfile.TemporaryDirectory() as name, pytest.MonkeyPatch.context() as patch:
        patch.setattr(spill, "MOST_SORTED", most)
        patch.setattr(spill, "_WAITING", data.draw(st.integers(1, 1000)))
        low, high = min(times), max(times)
        made = Spill(Storage(), maker(Path(name)), low, high, data.draw(st.integers(0, 10**5)))
        at = data.draw(st.integers(0, len(given_items)))
        made.add(given_items[:at])
        made.add(given_items[at:])
        lists = list(made.sorted())
        # A list that is larger than it may be has but one line.
        assert all(
            len(each) == 1 or sum(len(i.content) + 12 for i in each) <= most for each in lists
        )
        found = [each for some in lists for each in some]
        assert keys(found) == sorted(keys(given_items))
        assert [(e.source, e.tags) for e in found] == [
            (f"s{from_datetime(e.timestamp) % 3}", (f"t{from_datetime(e.timestamp) % 2}",))
            for e in found
        ]
        assert list(Path(name).iterdir()) == []


def test_memory_holds_a_slice_whatever_the_times(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All of one moment, but for one line far away."""
    monkeypatch.setattr(spill, "MOST_SORTED", 20_000)
    random = Random(SEED)
    print(f"seed {SEED}")
    positions = list(range(3_000))
    random.shuffle(positions)
    given_items = items([7] * 2_999 + [10**9], positions)
    made = Spill(Storage(), maker(tmp_path), 7, 10**9, 300_000)
    made.add(given_items)
    sizes = []
    last = (0, -1)
    for some in made.sorted():
        sizes.append(sum(len(each.content) for each in some))
        for each in some:
            now = from_datetime(each.timestamp), each.position
            assert now > last
            last = now
    assert max(sizes) <= 20_000
    assert len(sizes) > 15
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_was_cut_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spill, "_WAITING", 1)
    made = Spill(Storage(), maker(tmp_path), 0, 9, 100)
    made.add(items([1, 2, 3], [0, 1, 2]))
    for path in tmp_path.iterdir():
        path.write_bytes(b"")
    with pytest.raises(OSError, match="cut by somebody else"):
        list(made.sorted())

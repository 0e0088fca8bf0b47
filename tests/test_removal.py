"""What went from a log, and what of it may still stand on the disk."""

from __future__ import annotations

from typing import Any

import msgspec

from timelog.journal import Commit, Expiry, Gone, Replacement
from timelog.removal import Removal
from timelog.timestamp import DAY, FIRST, SECOND

START = 20_000 * DAY


def commit(sequence: int, **changed: Any) -> Commit:
    return Commit(sequence, START + sequence, "w", -1, True, 0, 0, 0, {}, (), **changed)


def test_a_new_log_has_lost_nothing() -> None:
    removal = Removal()
    assert removal.floor(START) == removal.floor(FIRST) == 0
    assert not removal.is_going("2024-10-04/20241004T0000Z-20241005T0000Z.jsonl")


def test_days_that_expired_are_going_and_their_names_are_used_up() -> None:
    removal = Removal()
    removal.apply(commit(7, expiry=Expiry(({"": START + DAY},), (START - DAY, START))))
    assert removal.horizons == ({"": START + DAY},)
    assert removal.partitions == {"2024-10-03": 7, "2024-10-04": 7}
    assert removal.is_going("2024-10-04/20241004T0000Z-20241005T0000Z.jsonl")
    assert not removal.is_going("2024-10-05/20241005T0000Z-20241006T0000Z.jsonl")
    # Flushes that were cut off use up numbers without a commit: seconds are more than any.
    assert (removal.floor(START), removal.floor(START + DAY)) == (START // SECOND, 0)
    removal.apply(commit(9, expiry=Expiry(({"": START},), (START - 9 * DAY,))))
    assert removal.floor(START) == START // SECOND
    assert removal.horizons == ({"": START},), "the horizons of a commit are all that count"


def test_segments_that_were_replaced_are_going() -> None:
    removal = Removal()
    path, other = "2024-10-04/a", "2024-10-04/b"
    removal.apply(commit(3, replacement=Replacement(START, (Gone(path, 1, 10, 10),))))
    assert removal.is_going(path) and not removal.is_going(other)
    removal.emptied(START, 5)
    assert removal.floor(START) == 5


def test_the_trusted_time_is_that_of_the_newest_commit() -> None:
    removal = Removal()
    removal.apply(commit(1))
    assert removal.trusted == START + 1
    removal.apply(commit(2, clock=START - DAY))
    assert removal.trusted == START - DAY
    removal.apply(commit(3))
    assert removal.trusted == START + 3


def test_a_copy_is_one_of_its_own_and_it_is_stored_whole() -> None:
    removal = Removal(({"": 1},), {"2024-10-04": 2}, {"2024-10-04/a": None}, 3, 4, 5)
    kept = removal.copy()
    assert kept == removal
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(removal), type=Removal) == removal
    removal.partitions.clear()
    removal.segments.clear()
    assert kept.partitions and kept.segments

"""`Damage` names a stretch of a file in one line."""

from __future__ import annotations

from timelog.damage import Damage


def test_damage_says_where_how_much_and_why() -> None:
    damage = Damage("2026-11-21/x.jsonl", 10, 5, "the crc does not hold")
    assert str(damage) == "2026-11-21/x.jsonl: 5 bytes at 10: the crc does not hold"
    assert damage == Damage("2026-11-21/x.jsonl", 10, 5, "the crc does not hold")

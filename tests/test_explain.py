"""An explanation prints every stage, and what the stages looked for."""

from __future__ import annotations

import msgspec

from timelog.explain import Explanation


def test_every_number_is_printed() -> None:
    numbers = {
        name: n
        for n, name in enumerate(Explanation.__struct_fields__, 1001)
        if name not in ("needles", "milliseconds")
    }
    text = str(Explanation(**numbers, needles=("sshd",), milliseconds=2.5))
    for number in numbers.values():
        assert f"{number:,}" in text
    assert "'sshd'" in text and "2.5" in text


def test_it_can_be_sent_as_data() -> None:
    assert msgspec.to_builtins(Explanation(matched=3))["matched"] == 3

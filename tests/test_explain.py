"""An explanation prints every stage, and what was looked for by what."""

from __future__ import annotations

import re

import msgspec
import pytest

from timelog.explain import Explanation, Stage
from timelog.journal import Block

STAGES = [name for name, kind in Explanation.__annotations__.items() if kind == "Stage"]


def block(path: str, length: int, count: int) -> Block:
    return Block(path, 0, length, count, (0, count), 0, 0, 0, 0, (), ())


def test_every_number_is_printed() -> None:
    stages = {
        name: Stage(10_001 + n, 20_001 + n, 30_001 + n, 40_001 + n, 50_000.5 + n)
        for n, name in enumerate(STAGES)
    }
    told = Explanation(**stages, days=7654, need="'sshd'", engine="hyper", milliseconds=2.5)
    text = str(told)
    for stage in stages.values():
        for number in (stage.segments, stage.blocks, stage.bytes, stage.events):
            assert re.search(rf"(?<![\d,]){number:,}(?![\d,])", text), number
        assert f"{stage.milliseconds:,.1f}" in text
    assert "7,654 days" in text and "2.5 ms" in text
    assert "'sshd'" in text and "hyper" in text


def test_every_stage_has_a_row_under_the_names_of_its_numbers() -> None:
    head, *rows = str(Explanation()).splitlines()
    assert head.split() == ["stage", "files", "blocks", "bytes", "events", "ms"]
    table = rows[: len(STAGES)]
    assert len(rows) == len(STAGES) + 2
    assert {len(row) for row in table} == {len(head)}
    assert all(row.split()[-5:] == ["0", "0", "0", "0", "0.0"] for row in table)


@pytest.mark.parametrize("stage", ["time", "tags", "source", "text_index", "counted"])
def test_what_was_not_read_stands_below_the_range(stage: str) -> None:
    told = Explanation()
    getattr(told, stage).blocks = 4321
    before, after = str(told).split("4,321")
    assert "in the range of time" in before and "\nread " in after


def test_a_stage_counts_blocks_and_the_files_that_it_meets_in_a_row() -> None:
    stage = Stage()
    for path, length, count in (("a", 10, 1), ("a", 20, 2), ("b", 5, 5), ("a", 1, 1)):
        stage.add(block(path, length, count))
    assert (stage.segments, stage.blocks, stage.bytes, stage.events) == (3, 4, 36, 9)


def test_explanations_do_not_share_their_stages() -> None:
    one, two = Explanation(), Explanation()
    one.read.add(block("a", 1, 1))
    assert two.read == Stage()


def test_it_can_be_sent_as_data() -> None:
    told = Explanation()
    told.matched.events = 3
    assert msgspec.to_builtins(told)["matched"]["events"] == 3
    assert msgspec.convert(msgspec.to_builtins(told), Explanation) == told


def test_the_docstring_names_every_stage() -> None:
    words = set(re.findall(r"``(\w+)``", Explanation.__doc__ or ""))
    assert words - {"str"} == {*Explanation.__struct_fields__} - {"days"}

"""The text of blocks: as it stands in the file, or out of the frames of an archive."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from random import Random

import pytest
from msgspec.structs import replace

from timelog import blocktext
from timelog.blocktext import read_text
from timelog.checksum import crc32
from timelog.frames import compress
from timelog.journal import Block

TEXTS = [b"first\n" * 50, b"second\n", Random(20261121).randbytes(5000) + b"\n"]


def blocks(*, archived: bool) -> tuple[list[Block], bytes]:
    """A file of three blocks."""
    found, data, offset, crc = [], b"", 0, 0
    for text in TEXTS:
        stored = compress(text) if archived else text
        frame = (len(data), len(stored)) if archived else None
        after = crc32(text, crc)
        found.append(Block("p", offset, len(text), 1, (0, 1), 0, 0, crc, after, (), (), frame))
        data, offset, crc = data + stored, offset + len(text), after
    return found, data


def reading(data: bytes, calls: list[tuple[int, int]], at: int, length: int) -> bytes:
    calls.append((at, length))
    return data[at : at + length]


@pytest.mark.parametrize("archived", [False, True])
def test_neighbours_are_read_at_once(archived: bool) -> None:
    known, data = blocks(archived=archived)
    for first in range(3):
        for last in range(first + 1, 4):
            calls: list[tuple[int, int]] = []
            text = read_text(partial(reading, data, calls), known[first:last])
            assert text == b"".join(TEXTS[first:last])
            assert len(calls) == 1
    assert sum(block.stored for block in known) == known[-1].file_end == len(data)


def test_a_short_plain_file_gives_less() -> None:
    known, data = blocks(archived=False)
    text = read_text(partial(reading, data[:-5], []), known)
    assert text == b"".join(TEXTS)[:-5]
    assert known[2].problem(text[known[2].offset :]) == "the file is too short"


@pytest.mark.parametrize("damage", ["cut", "changed", "other", "bomb"])
def test_what_cannot_be_decompressed_is_of_its_length_and_no_crc_holds(damage: str) -> None:
    known, data = blocks(archived=True)
    at, length = known[1].frame or (0, 0)
    changed = {
        "cut": data[: at + length - 3],
        "changed": data[:at] + b"\0" * length + data[at + length :],
        "other": data[:at] + compress(b"other text\n")[:length].ljust(length) + data[at + length :],
        "bomb": data[:at] + compress(bytes(1 << 24))[:length].ljust(length) + data[at + length :],
    }[damage]
    text = read_text(partial(reading, changed, []), known)
    assert len(text) == known[-1].end
    assert known[1].problem(text[known[1].offset : known[1].end]) == "the crc does not hold"
    assert not known[0].problem(text[: known[0].end])


def test_no_more_memory_is_taken_than_a_block_may_have(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blocktext, "_MOST", 1000)
    known, data = blocks(archived=True)
    text = read_text(partial(reading, data, []), [replace(known[0], length=1 << 40)])
    assert text == bytes(1000)


def test_an_archive_that_is_cut_gives_no_error(tmp_path: Path) -> None:
    known, data = blocks(archived=True)
    for end in range(0, len(data), 97):
        text = read_text(partial(reading, data[:end], []), known)
        assert len(text) == known[-1].end

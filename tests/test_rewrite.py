"""Writing lines anew: in order, in bounded pieces, and nothing left behind where it fails."""

from __future__ import annotations

import zlib
from pathlib import Path
from random import Random

import pytest

import timelog
from tests.plain import START, Plain, grow
from tests.test_compaction import Clock
from timelog import positions, rewrite
from timelog.errors import StorageError
from timelog.horizons import Keeping
from timelog.journal import Block
from timelog.rewrite import DamagedSegment, Rewriter, Rewritten, Stopped
from timelog.span import Span
from timelog.timestamp import DAY


@pytest.fixture
def log(path: Path) -> timelog.EventLog:
    return timelog.open(path, storage=Clock(), flush_interval=3600.0, text_index=False)


def blocks_of(log: timelog.EventLog, day: int = START) -> list[Block]:
    index = log._store.index
    return [each for _, blocks in index.blocks(day, None, None, index.position) for each in blocks]


def rewriter(
    log: timelog.EventLog,
    deleted: frozenset[int] = frozenset(),
    stop_at: int = 1 << 40,
    expired: list[int] | None = None,
) -> Rewriter:
    asked = iter(range(1, stop_at))
    return Rewriter(
        log._store.layout,
        log._store.storage,
        Span.day,
        Keeping(({"": START + DAY // 2},)),
        deleted,
        ([] if expired is None else expired).extend,
        is_archive=False,
        is_stopped=lambda: next(asked, None) is None,
    )


def left_behind(log: timelog.EventLog) -> list[Path]:
    return list(log._store.layout.temporary.iterdir())


def check(
    log: timelog.EventLog,
    done: Rewritten,
    expired: list[int],
    events: Plain,
    deleted: frozenset[int],
) -> None:
    """The one file that was written has what is left of the first day, in order."""
    rows = [row for row in events.left if row.us < START + DAY]
    kept = [row for row in rows if row.us >= START + DAY // 2 and row.position not in deleted]
    [output] = done.outputs
    data = output.file.read_bytes()
    found: list[int] = []
    offset = crc = 0
    for block in output.blocks:
        assert (block.offset, block.seed) == (offset, crc)
        text = data[offset : block.end]
        assert not block.problem(text)
        at = positions.at(block.runs, block.count, range(block.count))
        assert [
            f'"content":"event {n} '.encode() in line
            for n, line in zip(at, text.splitlines(), strict=True)
        ] == [True] * block.count
        found += at
        offset, crc = block.end, zlib.crc32(text, crc)
    assert offset == len(data)
    assert found == [row.position for row in kept]
    assert set(done.erased) == deleted & {row.position for row in rows}
    gone = {row.position for row in rows} - set(found) - set(done.erased)
    assert sorted(expired) == sorted(gone)


@pytest.mark.parametrize("overlap", [-1, 1 << 40])
@pytest.mark.parametrize("seed", range(4))
def test_lines_are_written_in_order_without_what_is_to_go(
    log: timelog.EventLog, seed: int, overlap: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rewrite, "MOST_OVERLAP", overlap)
    monkeypatch.setattr(rewrite, "RUN_SIZE", 5000)
    monkeypatch.setattr(rewrite, "BLOCK_SIZE", 700)
    with log:
        events = Plain()
        random = Random(seed)
        grow(log, events, random, 25)
        deleted = frozenset(random.sample(range(len(events.rows)), 20))
        expired: list[int] = []
        work = rewriter(log, deleted, expired=expired)
        done = work.run(blocks_of(log))
        check(log, done, expired, events, deleted)
        [output] = done.outputs
        sizes = [block.length for block in output.blocks]
        assert len(sizes) > 3 and max(sizes) <= 700
        assert left_behind(log) == [output.file]
        work.discard()
        assert not left_behind(log)


@pytest.mark.parametrize("overlap", [-1, 1 << 40])
def test_nothing_is_left_behind_where_it_fails(
    log: timelog.EventLog, overlap: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rewrite, "MOST_OVERLAP", overlap)
    monkeypatch.setattr(rewrite, "RUN_SIZE", 5000)
    with log:
        grow(log, Plain(), Random(2), 20)
        blocks = blocks_of(log)
        for stop_at in range(1, len(blocks) + 1):
            with pytest.raises(Stopped):
                rewriter(log, stop_at=stop_at).run(blocks)
            assert not left_behind(log)
        bad = blocks[len(blocks) // 2]
        file = log.path / bad.path
        file.write_bytes(file.read_bytes().replace(b"event", b"EVENT"))
        with pytest.raises(DamagedSegment) as caught:
            rewriter(log).run(blocks)
        assert caught.value.block.path == caught.value.damage.file == bad.path
        assert not left_behind(log)
        file.unlink()
        with pytest.raises(DamagedSegment, match="cannot be read"):
            rewriter(log).run(blocks)
        assert not left_behind(log)


def test_a_disk_that_forgets_what_was_just_written_is_told(
    log: timelog.EventLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rewrite, "MOST_OVERLAP", -1)
    plain = rewrite.SortedFile.end

    def forgets(self: rewrite.SortedFile, *, durable: bool) -> tuple[Block, ...]:
        made = plain(self, durable=durable)
        for file in left_behind(log):
            file.write_bytes(bytes(len(file.read_bytes())))
        return made

    monkeypatch.setattr(rewrite.SortedFile, "end", forgets)
    with log:
        log.append("x", timestamp=(START + DAY - 1) / 1e6)
        log.flush()
        with pytest.raises(StorageError, match="cannot be read again"):
            log.compact(archive=True)
        assert not left_behind(log)
        assert log.health().ok


def test_a_line_larger_than_a_block_is_a_block_of_its_own(
    log: timelog.EventLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rewrite, "BLOCK_SIZE", 500)
    with log:
        for length in (10, 2000, 3000, 10, 10):
            log.append("x" * length, timestamp=(START + DAY - 1) / 1e6)
        log.flush()
        [output] = rewriter(log).run(blocks_of(log)).outputs
        assert [block.count for block in output.blocks] == [1, 1, 1, 2]

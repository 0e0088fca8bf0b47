"""The journal: records that are whole, torn or damaged, and never anything else."""

from __future__ import annotations

from collections.abc import Sequence

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from timelog import journal as journal_module
from timelog.errors import VersionError
from timelog.journal import _HEADER, MARK, Bad, Begin, Block, Commit, Entry, Record, pack, read
from timelog.journal import _crc as crc_of_record
from timelog.timestamp import END, FIRST

PATH = "2026-11-21/20261121T1015Z-20261121T1016Z.jsonl"
U64 = st.integers(0, 2**53)
I64 = st.integers(-(2**62), 2**62)
TIMES = st.integers(FIRST, END - 1)

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=10)
names = st.none() | st.lists(texts, max_size=3).map(tuple)
blocks = st.builds(
    Block,
    st.just(PATH),
    U64,
    U64,
    U64,
    st.lists(U64, min_size=2, max_size=4).map(tuple),
    TIMES,
    TIMES,
    st.integers(0, 2**32 - 1),
    st.integers(0, 2**32 - 1),
    names,
    names,
)
commits = st.builds(
    Commit,
    U64,
    I64,
    texts,
    U64,
    st.booleans(),
    I64,
    U64,
    U64,
    st.dictionaries(texts, st.binary(max_size=20), max_size=2),
    st.lists(blocks, max_size=3).map(tuple),
)
begins = st.builds(
    Begin,
    texts,
    U64,
    U64,
    I64,
    U64,
    st.lists(commits, max_size=2).map(tuple),
    st.lists(texts, max_size=2).map(tuple),
)
records = st.lists(commits | begins, max_size=4)


def block(offset: int = 0, length: int = 10, runs: tuple[int, ...] = (0, 1)) -> Block:
    return Block(PATH, offset, length, 1, runs, 5, 5, 0, 7, ("auth",), ("sshd",))


def commit(sequence: int, **cursors: bytes) -> Commit:
    return Commit(sequence, 7, "writer", 3, True, 5, sequence, 1, cursors, (block(),))


def journal(records: Sequence[Record], base: int = 0) -> tuple[bytes, list[int]]:
    """The bytes of a journal from ``base`` on, and where each record starts, and the end."""
    data = b""
    starts = []
    for record in records:
        starts.append(base + len(data))
        data += pack(record, base + len(data))
    return data, [*starts, base + len(data)]


def found(data: bytes, base: int = 0) -> list[Record]:
    return [item.record for item in read(data, base) if isinstance(item, Entry)]


def bad(data: bytes, base: int = 0) -> list[Bad]:
    return [item for item in read(data, base) if isinstance(item, Bad)]


SMALL: list[Record] = [Begin("log", 1, 0, 7, 0), commit(1), commit(2, name=b"value"), commit(3)]


# -- whole --------------------------------------------------------------------------------


@given(records, st.integers(0, 10**9))
def test_records_come_back_with_their_places(written: list[Record], base: int) -> None:
    data, starts = journal(written, base)
    items = list(read(data, base))
    assert items == [
        Entry(record, start, end)
        for record, start, end in zip(written, starts, starts[1:], strict=False)
    ]


def test_an_empty_journal_has_no_records() -> None:
    assert list(read(b"", 0)) == []


def test_a_record_counts_only_at_its_own_offset() -> None:
    """Copied bytes, as a file system may leave them, are no record."""
    record = pack(commit(1), 0)
    assert found(record, 0) == [commit(1)]
    assert found(record, 1) == []
    assert found(record + record, 0) == [commit(1)]


def test_the_end_of_a_block_is_behind_its_last_byte() -> None:
    assert block(offset=3, length=4).end == 7


# -- cut short ----------------------------------------------------------------------------


def test_every_truncation_leaves_whole_records_and_an_end_that_is_none() -> None:
    data, starts = journal(SMALL)
    for cut in range(len(data)):
        whole = sum(end <= cut for end in starts[1:])
        assert found(data[:cut]) == SMALL[:whole]
        expected = [] if cut in starts else [Bad(starts[whole], cut)]
        assert bad(data[:cut]) == expected, cut


@pytest.mark.parametrize("length", [1, 4, 19, 20, 21, 4096])
def test_nuls_at_the_end_are_no_record(length: int) -> None:
    """A file that grew on disk before its bytes did."""
    data, starts = journal(SMALL)
    assert found(data + b"\0" * length) == SMALL
    assert bad(data + b"\0" * length) == [Bad(starts[-1], len(data) + length)]


def test_a_record_whose_end_never_reached_the_disk_is_none() -> None:
    data, starts = journal(SMALL)
    for kept in range(starts[-2] + 1, starts[-1] - 1):
        torn = data[:kept] + b"\0" * (len(data) - kept)
        assert found(torn) == SMALL[:-1]
        assert bad(torn) == [Bad(starts[-2], len(data))]


# -- damaged ------------------------------------------------------------------------------


def test_a_flipped_bit_never_alters_a_record_and_loses_only_its_own() -> None:
    data, starts = journal(SMALL)
    for at in range(len(data)):
        hit = max(n for n, start in enumerate(starts) if start <= at)
        for bit in range(8):
            changed = bytearray(data)
            changed[at] ^= 1 << bit
            assert found(bytes(changed)) == SMALL[:hit] + SMALL[hit + 1 :], (at, bit)


def test_a_flipped_bit_before_the_last_record_is_damage_of_just_that_record() -> None:
    data, starts = journal(SMALL)
    for at in range(starts[-2]):
        hit = max(n for n, start in enumerate(starts) if start <= at)
        for bit in (0, 7):
            changed = bytearray(data)
            changed[at] ^= 1 << bit
            assert bad(bytes(changed)) == [Bad(starts[hit], starts[hit + 1])]


def test_a_flipped_bit_in_the_last_record_leaves_all_others() -> None:
    data, starts = journal(SMALL)
    for at in range(starts[-2], len(data)):
        for bit in range(8):
            changed = bytearray(data)
            changed[at] ^= 1 << bit
            (item,) = bad(bytes(changed))
            assert (item.start, item.end) == (starts[-2], len(data))


def test_text_behind_the_last_record_is_none() -> None:
    data, starts = journal(SMALL)
    for garbage in (b"x", b"hello, world\n", b"x" * 100, b"\0" * 30 + b"x"):
        assert found(data + garbage) == SMALL
        assert bad(data + garbage) == [Bad(starts[-1], len(data + garbage))]


def test_a_stretch_in_the_middle_is_one_damage_and_reading_goes_on() -> None:
    data, starts = journal(SMALL)
    for filler in (b"\0", b"\xff", MARK):
        changed = data[: starts[1]] + (filler * len(data))[: starts[3] - starts[1]]
        changed += data[starts[3] :]
        assert found(changed) == [SMALL[0], SMALL[3]]
        assert bad(changed) == [Bad(starts[1], starts[3])]


@pytest.mark.parametrize("base", [0, 12345])
def test_marks_all_over_a_journal_cost_no_more_than_its_length(
    monkeypatch: pytest.MonkeyPatch, base: int
) -> None:
    """Somebody wrote them, each with its own offset and a length up to the end."""
    looked: list[int] = []

    def counted(offset: int, payload: bytes) -> int:
        looked.append(len(payload))
        return crc_of_record(offset, payload)

    monkeypatch.setattr(journal_module, "_crc", counted)
    for is_followed in (False, True):
        data = b""
        while len(data) < 200_000:
            length = 200_000 - len(data)
            data += _HEADER.pack(MARK, base + len(data), length, 0)
            if is_followed:
                data += pack(SMALL[1], base + len(data))
        data += b"x" * 200_000
        looked.clear()
        items = list(read(data, base))
        assert 0 < sum(looked) <= 10 * len(data)
        assert items[-1].end == base + len(data)


@given(st.binary(max_size=200) | st.lists(st.sampled_from([MARK, b"\0", b"x"])).map(b"".join))
def test_any_bytes_are_read_without_an_error_and_cover_the_whole(data: bytes) -> None:
    items = list(read(data, 5))
    edges = [(item.start, item.end) for item in items]
    assert [start for start, _ in edges] == [5, *(end for _, end in edges)][: len(edges)]
    assert (edges[-1][1] if edges else 5) == 5 + len(data)


@given(records, st.data())
def test_several_changes_never_make_a_record(written: list[Record], data: st.DataObject) -> None:
    text, _ = journal(written)
    changed = bytearray(text)
    for _ in range(data.draw(st.integers(1, 4))):
        if changed:
            changed[data.draw(st.integers(0, len(changed) - 1))] = data.draw(st.integers(0, 255))
    kept = found(bytes(changed))
    rest = iter(written)
    assert all(record in rest for record in kept)


# -- a newer release ----------------------------------------------------------------------


def foreign(values: dict[str, object]) -> bytes:
    """A whole record with any map in it."""
    payload = msgpack.packb(values)
    return _HEADER.pack(MARK, 0, len(payload), crc_of_record(0, payload)) + payload


@pytest.mark.parametrize("values", [{"kind": "expiry"}, {}, {"kind": "commit", "sequence": 1}])
def test_a_whole_record_of_an_unknown_form_asks_for_a_newer_release(
    values: dict[str, object],
) -> None:
    with pytest.raises(VersionError, match="newer release"):
        list(read(foreign(values), 0))


def test_further_values_of_a_known_record_are_ignored() -> None:
    values = {"kind": "begin", "log": "a", "number": 1, "sequence": 2, "time": 3, "valid": 4}
    assert found(foreign({**values, "later": True})) == [Begin("a", 1, 2, 3, 4)]

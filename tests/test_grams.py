"""Filters of grams: what stands in a line is never ruled out, wherever and in whatever case."""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from pathlib import Path
from random import Random

import pytest

import timelog
from tests.patterns import contents
from timelog import grams, names
from timelog.codec import encode_lines, json_text, to_line
from timelog.event import Event
from timelog.grams import BITS, FilterMaker, numbers
from timelog.required import SPECIAL, Text, fold
from timelog.timestamp import (
    DAY,
    END,
    FIRST,
    MINUTE,
    from_datetime,
    from_text,
    to_datetime,
)
from timelog.uuid7 import milliseconds

SEED = 20261122
NOON = from_text("2026-11-21T12:00:00.000000Z")
# Both cases of each letter, and what else IGNORECASE takes for it.
LETTERS = {letter: {letter, letter.upper()} for letter in "abcdefghijklmnopqrstuvwxyz"}
for _char, _letter in SPECIAL.items():
    LETTERS[_letter.decode()].add(_char.decode())
CASES = {char: sorted(chars) for chars in LETTERS.values() for char in chars}


def maker_of(*stretches: Iterable[bytes], day: int = NOON) -> FilterMaker:
    """The filters of stretches, each of some pieces of text that are added one by one."""
    maker = FilterMaker(day - day % DAY, names.partition(day))
    for pieces in stretches:
        maker.begin()
        for piece in pieces:
            maker.add(piece)
    return maker


class Filters:
    """What a maker made, to be asked."""

    def __init__(self, maker: FilterMaker) -> None:
        self.width = maker.width
        self.rows = maker.rows()

    def bits(self, number: int) -> int:
        """The row of a bit, as a number."""
        at = number * self.width
        return int.from_bytes(self.rows[at : at + self.width], "little")

    def may_hold(self, text: bytes, stretch: int = 0, *, folded: bool = False) -> bool:
        """Whether a stretch may hold ``text``."""
        return all(self.bits(bit) >> stretch & 1 for bit in numbers(Text(text, folded)))


def filters_of(*stretches: Iterable[bytes], day: int = NOON) -> Filters:
    return Filters(maker_of(*stretches, day=day))


def own_id(ms: int, random: Random) -> str:
    """A UUIDv7 of a millisecond."""
    tail = 7 << 76 | random.getrandbits(12) << 64 | 2 << 62 | random.getrandbits(62)
    return str(uuid.UUID(int=ms << 80 | tail))


def line_of(us: int, id: str, content: str = "") -> bytes:
    return encode_lines([to_line(Event(to_datetime(us), id, "", (), content))])


def is_found_by_time(us: int, id: str) -> bool:
    """Whether ``EventLog.get`` looks for the id where the event is."""
    ms = milliseconds(id)
    return ms is not None and ms * 1000 <= us < ms * 1000 + 1000


def is_kept(us: int, id: str) -> bool:
    """Whether the filter of a line knows its id."""
    filters = filters_of([line_of(us, id)], day=us)
    return filters.may_hold(b'"id":"%b"' % json_text(id))


# -- what stands in a line ----------------------------------------------------------------


def ids(random: Random, us: int) -> list[str]:
    """An id of every kind for an event of that time."""
    ms = max(us // 1000, 0)
    other = own_id(random.getrandbits(48), random)
    return [
        own_id(ms, random),
        other,
        own_id(ms, random).upper(),
        other.upper(),
        own_id(ms, random).replace("-", ""),
        "{" + own_id(ms, random) + "}",
        own_id(ms, random) + "x",
        own_id(ms, random)[:-1],
        str(uuid.UUID(int=random.getrandbits(128), version=4)),
        str(random.getrandbits(20)),
        "x",
        "İdentity-ſıK",
        'a"b\\c/é',
        "\\" * 36,
        "K" * 256,
    ]


def events(random: Random, n: int) -> list[Event]:
    """Events of one day with all kinds of everything."""
    texts = contents(random, n)
    names = [text for text in texts if text.isprintable()]
    made = []
    for content in texts:
        us = NOON - NOON % DAY + random.randrange(DAY)
        fields = {"k": content, "list": [1, content]} if random.random() < 0.3 else {}
        made.append(
            Event(
                to_datetime(us),
                random.choice(ids(random, us)),
                random.choice(names),
                tuple(name or "t" for name in random.sample(names, random.randint(0, 3))),
                content,
                fields,
            )
        )
    return made


def recased(text: str, random: Random) -> str:
    """``text`` with each letter replaced by one that IGNORECASE takes for it."""
    return "".join(random.choice(CASES.get(char, [char])) for char in text)


def substrings(text: str, random: Random) -> list[str]:
    """Substrings of every short length at every place, and some of the long ones."""
    size = len(text)
    short = [text[at : at + length] for length in (2, 4, 5) for at in range(size - length + 1)]
    places = [sorted(random.choices(range(size + 1), k=2)) for _ in range(8)]
    return [text, *short, *(text[start:end] for start, end in places)]


@pytest.mark.parametrize("seed", [SEED, SEED + 1, SEED + 2])
def test_no_substring_of_a_line_is_ruled_out_in_any_case(seed: int) -> None:
    random = Random(seed)
    rows = events(random, 80)
    filters = filters_of([encode_lines(list(map(to_line, rows)))])
    for event in rows:
        texts = [event.source, *event.tags, event.content]
        if not is_found_by_time(from_datetime(event.timestamp), event.id):
            texts.append(event.id)
        for text in texts:
            for part in substrings(text, random):
                assert filters.may_hold(json_text(part)), (event, part)
                other = json_text(recased(part, random))
                assert filters.may_hold(fold(other), folded=True), (event, other)


def test_what_a_search_asks_for_is_never_ruled_out() -> None:
    """The texts with their quotes and keys, as a search looks for them."""
    random = Random(SEED)
    rows = events(random, 200)
    filters = filters_of([encode_lines(list(map(to_line, rows)))])
    for event in rows:
        assert filters.may_hold(b'"source":"%b"' % json_text(event.source))
        for tag in event.tags:
            assert filters.may_hold(b'"%b"' % json_text(tag))
        for length in range(0, len(event.content) + 1, 3):
            assert filters.may_hold(b'"content":"%b' % json_text(event.content[:length]))


def test_each_case_of_each_letter_is_taken_for_each_other() -> None:
    for chars in LETTERS.values():
        for one in chars:
            filters = filters_of([line_of(NOON, "x", f"..{one}..")])
            for other in chars:
                text = fold(f"..{other}..".encode())
                assert filters.may_hold(text, folded=True), (one, other)


def test_specials_beside_other_letters_of_several_bytes_are_folded() -> None:
    """Lines of one stretch with and without ASCII only."""
    lines = [
        line_of(NOON, "x", text) for text in ("ascii KIS", "é\u212a\u0130\u017f\u0131Ω", "\u212a")
    ]
    filters = filters_of([b"".join(lines)])
    for text in ("ascii kis", "ékisiΩ", 'content":"k"'):
        assert filters.may_hold(text.encode(), folded=True)


def test_what_stands_nowhere_is_ruled_out() -> None:
    """Nearly always, at the density of a full stretch; else the index would be of no use."""
    random = Random(SEED)
    lines = []
    for _ in range(1500):
        user, host, port = random.randrange(977), random.randrange(256), random.randrange(60_000)
        text = f"Failed password for user{user} from 10.0.{host}.7 port {port} ssh2"
        lines.append(line_of(NOON, own_id(NOON // 1000, random), text))
    filters = filters_of([b"".join(lines)])
    letters = [chr(code) for code in range(ord("a"), ord("z") + 1)]
    absent = ["".join(random.choices(letters, k=8)) for _ in range(500)]
    assert not any(filters.may_hold(text.encode()) for text in absent)


# -- the bits of a text -------------------------------------------------------------------


@pytest.mark.parametrize(
    "text", [b"", b"a", b"abc", "é".encode(), "\u212a".encode(), "aé".encode()]
)
def test_a_text_of_less_than_four_bytes_says_nothing(text: bytes) -> None:
    """Also one that has less only when it is folded."""
    assert numbers(Text(text)) == []


def test_a_text_has_one_bit_for_each_gram_and_of_a_long_one_for_some() -> None:
    random = Random(SEED)
    for length in (*range(4, 40), 60, 99, 256, 1000):
        text = random.randbytes(length).hex().encode()[:length]
        every = {bit for at in range(length - 3) for bit in numbers(Text(text[at : at + 4]))}
        bits = numbers(Text(text))
        assert bits == sorted(set(bits))
        assert set(bits) <= every <= set(range(BITS))
        assert set(bits) == every or length > 27
        assert len(bits) >= min(len(every), 20)


def test_the_case_of_a_text_does_not_change_its_bits() -> None:
    assert numbers(Text(b"ERROR in Disk")) == numbers(Text(b"error in disk", folded=True))
    assert numbers(Text("DİSK".encode())) == numbers(Text(b"disk"))


# -- stretches ----------------------------------------------------------------------------


@pytest.mark.parametrize("count", [1, 7, 8, 9, 16, 17])
def test_each_stretch_has_its_bits_at_its_own_place(count: int) -> None:
    random = Random(count)
    texts = [f"{random.getrandbits(80):020x}".encode() for _ in range(count)]
    lines = [line_of(NOON, "x", text.decode()) for text in texts]
    maker = maker_of(*([line] for line in lines))
    filters = Filters(maker)
    assert maker.count == count
    assert maker.width == (count + 7) // 8
    assert len(filters.rows) == BITS * maker.width
    for number, text in enumerate(texts):
        held = [filters.may_hold(text, stretch) for stretch in range(8 * maker.width)]
        assert held == [stretch == number for stretch in range(8 * maker.width)]
    alone = [int.from_bytes(filters_of([line]).rows, "little") for line in lines]
    for column in range(maker.width):
        together = int.from_bytes(filters.rows[column :: maker.width], "little")
        assert together == sum(one << at for at, one in enumerate(alone[8 * column :][:8]))


def test_text_can_be_added_piece_by_piece() -> None:
    random = Random(SEED)
    rows = events(random, 60)
    lines = [encode_lines([to_line(event)]) for event in rows]
    once, by_line = filters_of([b"".join(lines)]), filters_of(lines)
    for event in rows:
        for filters in (once, by_line):
            assert filters.may_hold(json_text(event.content))
    # What differs is what goes over the end of a line, which nobody asks for.
    assert not int.from_bytes(by_line.rows, "little") & ~int.from_bytes(once.rows, "little")


def test_a_stretch_without_text_holds_nothing() -> None:
    filters = filters_of([], [b""], [line_of(NOON, "x", "text")])
    assert [filters.may_hold(b"text", stretch) for stretch in range(3)] == [False, False, True]
    assert set(filters.rows) == {0, 0b100}


def test_one_line_with_and_without_its_end() -> None:
    line = line_of(NOON, own_id(NOON // 1000, Random(1)), "the content")
    for data in (line, line[:-1], line + line[:-1], line + b"\n\n"):
        filters = filters_of([data])
        for text in (b'"content":"the content"}', b'"source":""', b'"tags":[]'):
            assert filters.may_hold(text), data


@pytest.mark.parametrize("length", [0, 1, 3, 4, 5, 7, 42, 43, 44, 46, 47, 48, 86, 87, 88, 91])
def test_lines_of_any_length_are_taken(length: int) -> None:
    """Shorter than the front of an event, as long as it, a little longer."""
    text = line_of(NOON, own_id(NOON // 1000, Random(1)), "x" * 100)[:length]
    for data in (text, text + b"\n", text + b"\n" + line_of(NOON, "an-id", "hello")):
        filters = filters_of([data])
        assert filters.may_hold(b'"content":"hello"') == (b"hello" in data)


def test_texts_that_go_over_the_end_of_a_line_do_not_matter() -> None:
    lines = line_of(NOON, "x", "one") + line_of(NOON, "x", "two")
    assert filters_of([lines]).may_hold(b'one"}\n')


# -- ids ----------------------------------------------------------------------------------

TIMES = {
    "year 1": FIRST,
    "1969": -1,
    "1969, a whole millisecond": -1000,
    "1970": 0,
    "1970, the first millisecond": 999,
    "1970, the second": 1000,
    "1970, an hour": 3_600_000_000,
    "2026": NOON + 123_456,
    "2026, midnight": NOON - NOON % DAY,
    "2026, the last of a day": NOON - NOON % DAY + DAY - 1,
    "2026, the last of a minute": NOON + MINUTE - 1,
    "9999": END - 1,
}


def check(us: int, id: str) -> None:
    """An id is left out if, and only if, it is found by its time."""
    assert is_kept(us, id) == (not is_found_by_time(us, id)), (us, id)


@pytest.mark.parametrize("us", TIMES.values(), ids=TIMES)
def test_an_id_is_left_out_only_where_it_is_found_by_its_time(us: int) -> None:
    random = Random(us)
    for ms in (0, 1, us // 1000 - 1, us // 1000, us // 1000 + 1, -(us // 1000), 2**48 - 1):
        if 0 <= ms < 2**48:
            for id in ids(random, ms * 1000):
                check(us, id)


def test_both_sides_of_each_millisecond() -> None:
    random = Random(SEED)
    for _ in range(100):
        ms = random.randrange(END // 1000)
        id = own_id(ms, random)
        for us in (ms * 1000 - 1, ms * 1000, ms * 1000 + 999, ms * 1000 + 1000):
            check(us, id)
        assert not is_kept(ms * 1000 + random.randrange(1000), id)


@pytest.mark.parametrize("digit", "0123456789abcdef")
def test_only_version_7_of_the_variant_of_the_rfc_carries_a_time(digit: str) -> None:
    id = own_id(NOON // 1000, Random(1))
    check(NOON, id[:14] + digit + id[15:])
    check(NOON, id[:19] + digit + id[20:])
    assert is_kept(NOON, id[:14] + digit + id[15:]) == (digit != "7")
    assert is_kept(NOON, id[:19] + digit + id[20:]) == (digit not in "89ab")


def test_one_wrong_character_anywhere_makes_it_a_foreign_id() -> None:
    id = own_id(NOON // 1000, Random(1))
    for at in range(36):
        for char in ("g", "A", "-", "0", "é", ":", "."):
            check(NOON, id[:at] + char + id[at + 1 :])


def test_upper_case_is_a_foreign_id() -> None:
    id = "019aa5bd-abcd-7abc-8abc-abcdefabcdef"
    ms = milliseconds(id)
    assert ms is not None
    check(ms * 1000, id)
    assert not is_kept(ms * 1000, id)
    assert is_kept(ms * 1000, id.upper())


def test_the_ids_that_a_log_makes_are_left_out(path: Path) -> None:
    """Also beside foreign ones, whatever stands in the line."""
    times = [us for us in TIMES.values() if us >= 0]
    with timelog.open(path, max_future=1e12, flush_interval=3600) as log:
        own = [log.append("content", timestamp=to_datetime(us)) for us in times]
        foreign = [log.append("é", timestamp=to_datetime(us), id=f"foreign-{us}") for us in times]
    for file in path.glob("*/*.jsonl"):
        data = file.read_bytes()
        filters = filters_of([data], day=from_text(f"{file.parent.name}T00:00:00.000000Z"))
        for id in (id for id in own if id.encode() in data):
            assert not filters.may_hold(b'"id":"%b"' % id.encode())
        for id in (id for id in foreign if b'"%b"' % id.encode() in data):
            assert filters.may_hold(b'"id":"%b"' % id.encode())


def test_an_id_is_kept_where_another_text_of_the_line_has_it() -> None:
    id = own_id(NOON // 1000, Random(1))
    assert filters_of([line_of(NOON, id, f"caused by {id}!")]).may_hold(id.encode())


def test_a_line_of_another_day_keeps_its_id() -> None:
    """No segment has one; then nothing is left out."""
    id = own_id(NOON // 1000, Random(1))
    filters = filters_of([line_of(NOON, id)], day=NOON + DAY)
    assert filters.may_hold(b'"id":"%b"' % id.encode())


def test_the_front_of_a_line_is_the_one_that_events_have() -> None:
    line = line_of(NOON, own_id(NOON // 1000, Random(1)))
    pairs = zip(grams._HEAD, line, strict=False)
    assert all(chr(known) in (".", "0", "7") or known == byte for known, byte in pairs)

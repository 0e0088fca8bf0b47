"""The buffer: every event is in it until its batch is released, whatever happens meanwhile."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from timelog.buffer import EVENT_OVERHEAD, Batch, Buffer, Entry
from timelog.codec import Line
from timelog.errors import BufferFull, ClosedError, InvalidTime
from timelog.memfile import Slice, in_arrival_order
from timelog.storage import Storage
from timelog.timestamp import END, FIRST, MINUTE, from_text
from timelog.uuid7 import milliseconds

SOON = 10.0
LARGE = 64 * 1024 * 1024
START = from_text("2026-11-21T10:15:00.000000Z")


class Clock(Storage):
    """A storage whose clocks stand where a test puts them."""

    def __init__(self) -> None:
        super().__init__()
        self.us = START
        self.seconds = 0.0

    def time_ns(self) -> int:
        return self.us * 1000

    def monotonic(self) -> float:
        return self.seconds


class Calls:
    """Counts the calls of the buffer to its owner."""

    def __init__(self) -> None:
        self.began = 0
        self.woken = 0
        self.was_woken = threading.Event()

    def begin(self) -> None:
        self.began += 1

    def wake(self) -> None:
        self.woken += 1
        self.was_woken.set()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def calls() -> Calls:
    return Calls()


@pytest.fixture
def make(clock: Clock, calls: Calls) -> Callable[..., Buffer]:
    def make_buffer(max_size: int = LARGE, storage: Storage = clock) -> Buffer:
        return Buffer(storage, max_size, calls.begin, calls.wake)

    return make_buffer


def put(buffer: Buffer, content: str = "x", size: int = 100, *, block: bool = False) -> str:
    return buffer.put(content, "", (), size, block)


def entry(content: str, us: int | None = None, id: str | None = None) -> Entry:
    return Entry(us, id, "", (), content, msgspec.UNSET, 100)


def put_many(buffer: Buffer, entries: list[Entry], cursor: Any = None) -> str:
    return buffer.put_many(entries, cursor, sum(each.size for each in entries), False)


def contents(files: tuple[Slice, ...]) -> list[str]:
    """What the files hold, in order of arrival."""
    return [line.content for line in in_arrival_order(files)[0]]


def arrivals(batch: Batch) -> list[tuple[int, int]]:
    return in_arrival_order(batch.files)[1]


def lines(buffer: Buffer) -> list[Line]:
    return in_arrival_order(buffer.view())[0]


# -- one event ----------------------------------------------------------------------------


def test_an_event_gets_the_time_and_an_id_of_that_time(
    make: Callable[..., Buffer], clock: Clock
) -> None:
    buffer = make()
    clock.us = START + 123_456
    id = buffer.put("text", "sshd", ("auth",), 100, False)
    (line,) = lines(buffer)
    assert line == Line("2026-11-21T10:15:00.123456Z", id, "sshd", ("auth",), "text")
    assert milliseconds(id) == (START + 123_456) // 1000


def test_a_timestamp_and_an_id_that_were_brought_are_kept(make: Callable[..., Buffer]) -> None:
    buffer = make()
    last = put_many(buffer, [entry("a", 0, "mine"), entry("b", None, "yours"), entry("c", -1)])
    one, two, three = lines(buffer)
    assert (one.timestamp, one.id) == ("1970-01-01T00:00:00.000000Z", "mine")
    assert (two.timestamp, two.id) == ("2026-11-21T10:15:00.000000Z", "yours")
    assert (three.timestamp, three.id) == ("1969-12-31T23:59:59.999999Z", last)


def test_ids_increase_while_the_clock_does_not_go_back(
    make: Callable[..., Buffer], clock: Clock
) -> None:
    buffer = make()
    ids = []
    for n in range(10_000):
        ids.append(put(buffer))
        if n % 3000 == 0:
            clock.us += 1000
    assert ids == sorted(set(ids))


def test_fields_are_kept(make: Callable[..., Buffer]) -> None:
    raw = msgspec.Raw(b'{"a":1}')
    buffer = make()
    put_many(buffer, [msgspec.structs.replace(entry("a"), fields=raw)])
    assert bytes(lines(buffer)[0].fields) == b'{"a":1}'  # type: ignore[arg-type]


# -- memory files -------------------------------------------------------------------------


@given(st.lists(st.tuples(st.integers(-3, 3), st.booleans(), st.booleans()), max_size=40))
def test_each_event_is_in_the_file_of_its_minute_in_order_of_arrival(
    steps: list[tuple[int, bool, bool]],
) -> None:
    """The clock may jump, events may bring their time, and batches may be taken in between."""
    clock, calls = Clock(), Calls()
    buffer = Buffer(clock, LARGE, calls.begin, calls.wake)
    flushed: list[str] = []
    expected = [0]
    for n, (minutes, brings, flushes) in enumerate(steps):
        us = START + minutes * MINUTE
        if brings:
            put_many(buffer, [entry(str(n), us)])
        else:
            clock.us = us
            put(buffer, str(n))
        for file in buffer.view():
            low, high = file.span
            assert all(low <= from_text(line.timestamp) < high for line in file.lines)
        if flushes:
            batch = buffer.freeze()
            assert batch is not None
            assert arrivals(batch) == [(batch.first_arrival, batch.events)]
            assert batch.first_arrival == expected[-1]
            expected.append(batch.first_arrival + batch.events)
            flushed += contents(batch.files)
            buffer.release(batch.number)
    assert flushed + contents(buffer.view()) == [str(n) for n in range(len(steps))]
    assert buffer.arrivals() == len(steps)


def test_began_is_called_for_each_new_memory_file(
    make: Callable[..., Buffer], clock: Clock, calls: Calls
) -> None:
    buffer = make()
    put(buffer)
    put(buffer)
    assert calls.began == 1
    clock.us += MINUTE
    put(buffer)
    assert calls.began == 2
    clock.us -= MINUTE
    put(buffer)
    assert calls.began == 2
    assert len(buffer.view()) == 2


def test_a_cursor_alone_lets_a_flush_come(make: Callable[..., Buffer], calls: Calls) -> None:
    buffer = make()
    put_many(buffer, [], ("place", b"1"))
    assert calls.began or calls.woken


def test_an_event_is_taken_or_not_where_its_memory_file_could_not_be_announced(
    clock: Clock,
) -> None:
    """``began`` starts a thread, which the system may refuse."""

    def refused() -> None:
        raise RuntimeError("can't start new thread")

    buffer = Buffer(clock, LARGE, refused, lambda: None)
    try:
        put(buffer)
        taken = ["x"]
    except RuntimeError:
        taken = []
    assert contents(buffer.view()) == taken
    batch = buffer.freeze()
    assert (contents(batch.files) if batch else []) == taken


# -- batches ------------------------------------------------------------------------------


def test_nothing_waiting_is_no_batch(make: Callable[..., Buffer]) -> None:
    buffer = make()
    assert buffer.freeze() is None
    put(buffer)
    batch = buffer.freeze()
    assert batch is not None
    buffer.release(batch.number)
    assert buffer.freeze() is None


def test_a_batch_that_failed_comes_again_as_it_was(make: Callable[..., Buffer]) -> None:
    buffer = make()
    put(buffer, "a")
    first = buffer.freeze()
    put(buffer, "b")
    assert buffer.freeze() is first
    assert first is not None
    assert contents(first.files) == ["a"]
    buffer.release(first.number)
    second = buffer.freeze()
    assert second is not None
    assert contents(second.files) == ["b"]
    assert second.number == first.number + 1
    assert second.first_arrival == 1


def test_append_during_a_flush_goes_into_the_next_batch(make: Callable[..., Buffer]) -> None:
    buffer = make()
    put(buffer, "a")
    batch = buffer.freeze()
    put(buffer, "b")
    assert batch is not None
    assert contents(batch.files) == ["a"]
    assert contents(buffer.view()) == ["a", "b"]
    buffer.release(batch.number)
    assert contents(buffer.view()) == ["b"]
    assert buffer.waiting == 1


def test_a_view_does_not_change(make: Callable[..., Buffer]) -> None:
    buffer = make()
    put(buffer, "a")
    view = buffer.view()
    put(buffer, "b")
    assert contents(view) == ["a"]
    batch = buffer.freeze()
    assert batch is not None
    buffer.release(batch.number)
    put(buffer, "c")
    assert contents(view) == ["a"]


def test_release_of_another_batch_changes_nothing(make: Callable[..., Buffer]) -> None:
    buffer = make()
    put(buffer)
    buffer.release(0)
    batch = buffer.freeze()
    assert batch is not None
    buffer.release(batch.number + 1)
    assert buffer.waiting == 1
    buffer.release(batch.number)
    buffer.release(batch.number)
    assert buffer.waiting == 0
    assert buffer.size == 0


def test_size_is_the_sum_of_what_is_held(make: Callable[..., Buffer]) -> None:
    buffer = make()
    put(buffer, size=100)
    put_many(buffer, [entry("a"), entry("b")])
    assert buffer.size == 300
    batch = buffer.freeze()
    assert batch is not None
    assert batch.size == 300
    put(buffer, size=50)
    assert buffer.size == 350
    buffer.release(batch.number)
    assert buffer.size == 50


def test_a_cursor_goes_with_the_batch_of_its_events(make: Callable[..., Buffer]) -> None:
    buffer = make()
    put_many(buffer, [entry("a")], ("place", b"1"))
    batch = buffer.freeze()
    put_many(buffer, [entry("b")], ("place", b"2"))
    assert batch is not None
    assert batch.cursors == {"place": b"1"}
    assert buffer.cursor("place") == b"2"
    buffer.release(batch.number)
    batch = buffer.freeze()
    assert batch is not None
    assert batch.cursors == {"place": b"2"}
    assert buffer.cursor("place") == b"2"
    buffer.release(batch.number)
    assert buffer.cursor("place") is None


def test_a_cursor_without_events_is_a_batch_too(make: Callable[..., Buffer]) -> None:
    buffer = make()
    put_many(buffer, [], ("place", b"1"))
    batch = buffer.freeze()
    assert batch is not None
    assert (batch.events, batch.files, batch.cursors) == (0, (), {"place": b"1"})


# -- threads ------------------------------------------------------------------------------


def test_eight_threads_lose_nothing_while_batches_are_taken(make: Callable[..., Buffer]) -> None:
    threads, each = 8, 2500
    buffer = make(storage=Storage())
    batches: list[Batch] = []
    done = threading.Event()
    ids: list[list[str]] = [[] for _ in range(threads)]

    def append(thread: int) -> None:
        for n in range(each):
            if n % 10:
                ids[thread].append(put(buffer, f"{thread} {n}", block=True))
            else:
                us = START + n % 7 * MINUTE
                ids[thread].append(put_many(buffer, [entry(f"{thread} {n}", us)]))

    def flush() -> None:
        last = False
        while not last:
            last = done.is_set()
            batch = buffer.freeze()
            if batch is not None:
                batches.append(batch)
                buffer.release(batch.number)

    workers = [threading.Thread(target=append, args=(n,)) for n in range(threads)]
    flusher = threading.Thread(target=flush)
    for thread in (flusher, *workers):
        thread.start()
    for thread in workers:
        thread.join()
    done.set()
    flusher.join()

    position = 0
    for number, batch in enumerate(batches):
        assert batch.number == number
        assert batch.first_arrival == position
        assert arrivals(batch) == [(position, batch.events)]
        position += batch.events
    assert position == buffer.arrivals() == threads * each
    assert buffer.size == 0
    got = [content for batch in batches for content in contents(batch.files)]
    for thread in range(threads):
        own = [content for content in got if content.startswith(f"{thread} ")]
        assert own == [f"{thread} {n}" for n in range(each)]
    assert len({id for some in ids for id in some}) == threads * each


def test_the_events_of_one_call_stay_together(make: Callable[..., Buffer]) -> None:
    buffer = make()

    def append(thread: int) -> None:
        for n in range(100):
            put_many(buffer, [entry(f"{thread} {n} {m}") for m in range(5)])

    workers = [threading.Thread(target=append, args=(n,)) for n in range(4)]
    for thread in workers:
        thread.start()
    batches = []
    while any(thread.is_alive() for thread in workers):
        if batch := buffer.freeze():
            batches.append(batch)
            buffer.release(batch.number)
    if batch := buffer.freeze():
        batches.append(batch)
    got = [content for batch in batches for content in contents(batch.files)]
    assert all(batch.events % 5 == 0 for batch in batches)
    assert len(got) == 2000
    for at in range(0, len(got), 5):
        first = got[at].rsplit(" ", 1)[0]
        assert got[at : at + 5] == [f"{first} {m}" for m in range(5)]


# -- full ---------------------------------------------------------------------------------


def test_a_full_buffer_refuses_at_once_who_does_not_wait(
    make: Callable[..., Buffer], calls: Calls
) -> None:
    buffer = make(1000)
    for _ in range(11):
        put(buffer)
    before = calls.woken
    with pytest.raises(BufferFull, match="1100 of 1000 bytes"):
        put(buffer)
    with pytest.raises(BufferFull):
        put_many(buffer, [entry("a")])
    assert calls.woken > before
    assert buffer.waiting == 11


@pytest.mark.parametrize("us", [END, END + MINUTE, 1 << 62, FIRST - 1, FIRST - MINUTE])
def test_a_clock_outside_the_years_that_can_be_stored_is_refused_before_anything_is_taken(
    make: Callable[..., Buffer], clock: Clock, us: int
) -> None:
    buffer = make()
    put(buffer, "before")
    before = buffer.size
    for hold in (clock.us, END - 1, FIRST):
        clock.us = us
        with pytest.raises(InvalidTime, match="clock"):
            put(buffer, "refused")
        # Nothing of a call is taken, not even what has a timestamp of its own.
        with pytest.raises(InvalidTime, match="clock"):
            put_many(buffer, [entry("refused", START), entry("refused")], ("place", b"1"))
        put_many(buffer, [entry("dated", START)])
        clock.us = hold
        put(buffer, "fine")
    assert contents(buffer.view()) == ["before"] + ["dated", "fine"] * 3
    assert buffer.size == 7 * before
    assert buffer.cursor("place") is None


def test_put_many_takes_all_or_nothing(make: Callable[..., Buffer]) -> None:
    buffer = make(1000)
    put_many(buffer, [entry("a")] * 9)
    with pytest.raises(BufferFull):
        put_many(buffer, [entry("b")] * 2, ("place", b"1"))
    assert buffer.waiting == 9
    assert buffer.cursor("place") is None
    put_many(buffer, [entry("b")])
    assert buffer.waiting == 10


@pytest.mark.parametrize("many", [False, True])
def test_a_waiting_put_goes_on_after_a_release(
    make: Callable[..., Buffer], calls: Calls, many: bool
) -> None:
    buffer = make(1000)
    put_many(buffer, [entry("a")] * 10)
    put(buffer, "a")
    batch = buffer.freeze()
    assert batch is not None

    def wait_for_room() -> None:
        if many:
            buffer.put_many([entry("late")], None, 100, True)
        else:
            put(buffer, "late", block=True)

    calls.was_woken.clear()
    thread = threading.Thread(target=wait_for_room)
    thread.start()
    assert calls.was_woken.wait(SOON)
    assert thread.is_alive()
    assert buffer.waiting == 11
    buffer.release(batch.number)
    thread.join(SOON)
    assert contents(buffer.view()) == ["late"]


def test_a_waiting_put_raises_when_the_wait_is_over(
    make: Callable[..., Buffer], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("timelog.buffer.WAIT_FOR_ROOM", 0.01)
    buffer = make(1000)
    for _ in range(11):
        put(buffer)
    with pytest.raises(BufferFull):
        put(buffer, block=True)


def test_a_waiting_put_raises_when_the_log_is_closed(
    make: Callable[..., Buffer], calls: Calls
) -> None:
    buffer = make(1000)
    for _ in range(11):
        put(buffer)
    met: list[BaseException] = []

    def wait_for_room() -> None:
        try:
            put(buffer, "late", block=True)
        except ClosedError as error:
            met.append(error)

    calls.was_woken.clear()
    thread = threading.Thread(target=wait_for_room)
    thread.start()
    assert calls.was_woken.wait(SOON)
    buffer.refuse(ClosedError("closed"))
    thread.join(SOON)
    assert len(met) == 1
    assert buffer.waiting == 11


def test_a_refused_event_is_not_taken_and_refusing_can_be_taken_back(
    make: Callable[..., Buffer],
) -> None:
    buffer = make()
    put(buffer, "a")
    buffer.refuse(ClosedError("closed"))
    for _ in range(2):
        with pytest.raises(ClosedError):
            put(buffer, "b")
        with pytest.raises(ClosedError):
            put_many(buffer, [entry("b")])
        with pytest.raises(ClosedError):
            put_many(buffer, [], ("place", b"1"))
    assert contents(buffer.view()) == ["a"]
    buffer.refuse(None)
    put(buffer, "c")
    assert contents(buffer.view()) == ["a", "c"]


# -- levels -------------------------------------------------------------------------------


def test_an_eighth_wakes_the_flusher_half_warns_nine_tenths_are_critical(
    make: Callable[..., Buffer], calls: Calls
) -> None:
    buffer = make(8000)
    put(buffer)
    buffer.freeze()
    said: list[tuple[int, str]] = []
    woken: list[int] = []
    for n in range(1, 80):
        wakes = calls.woken
        put(buffer)
        said += [(n, logging.getLevelName(level)) for level, _ in buffer.take_warnings()]
        if calls.woken > wakes:
            woken.append(n)
    assert said == [(41, "WARNING"), (73, "CRITICAL")]
    assert woken == [11, 41, 73]


def test_nothing_is_said_while_no_flush_is_late(make: Callable[..., Buffer], calls: Calls) -> None:
    buffer = make(8000)
    for _ in range(80):
        put(buffer)
    assert buffer.take_warnings() == []
    assert calls.woken == 3


def fill_and_flush(buffer: Buffer) -> list[int]:
    """Fill the buffer while a flush is under way; what was said meanwhile."""
    for _ in range(2):
        put(buffer)
        batch = buffer.freeze()
        assert batch is not None
        for _ in range(79 if batch.events == 1 else 0):
            put(buffer)
        buffer.release(batch.number)
    assert buffer.size == 0
    return [level for level, _ in buffer.take_warnings()]


def test_a_level_is_told_again_only_after_a_minute(
    make: Callable[..., Buffer], clock: Clock
) -> None:
    buffer = make(8000)
    both = [logging.WARNING, logging.CRITICAL]
    assert fill_and_flush(buffer) == both
    clock.seconds += 59
    assert fill_and_flush(buffer) == []
    clock.seconds += 2
    assert fill_and_flush(buffer) == both


def test_a_release_that_leaves_much_does_not_warn_again(
    make: Callable[..., Buffer], clock: Clock
) -> None:
    buffer = make(8000)
    put(buffer)
    batch = buffer.freeze()
    for _ in range(60):
        put(buffer)
    assert len(buffer.take_warnings()) == 1
    clock.seconds += 100
    assert batch is not None
    buffer.release(batch.number)
    buffer.freeze()
    put(buffer)
    assert buffer.take_warnings() == []


def test_the_overhead_is_about_what_an_event_costs() -> None:
    assert 100 <= EVENT_OVERHEAD <= 1000

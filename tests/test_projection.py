"""Projections: what is folded once, what is saved, what survives, and going back."""

from __future__ import annotations

import tempfile
import threading
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import timelog
from tests.clocked import Clocked
from tests.rig import FaultyStorage, Killed
from timelog import errors
from timelog.consume import Projection, Saved, ranges, statefile
from timelog.timestamp import DAY, SECOND

Open = Callable[..., timelog.EventLog]
SEED = 20_261_125


def collect(state: Any, entry: timelog.Entry) -> Any:
    """Every content, in order: nothing missed, nothing twice."""
    state.append(entry.event.content)
    return state


@pytest.fixture
def log(open_log: Open) -> timelog.EventLog:
    return open_log()


Make = Callable[..., Projection]


@pytest.fixture
def make(log: timelog.EventLog) -> Iterator[Make]:
    """Make a projection that collects, and is closed when the next one is made."""
    made: list[Projection] = []

    def make_one(fold: Any = collect, **options: Any) -> Projection:
        for each in made:
            each.close()
        options = {"initial": [], "storage": Clocked(), **options}
        made.append(Projection(log, options.pop("name", "all"), fold, **options))
        return made[-1]

    yield make_one
    for each in made:
        each.close()


def put(log: timelog.EventLog, *numbers: int) -> list[str]:
    contents = [str(number) for number in numbers]
    log.append_many({"content": content} for content in contents)
    log.flush()
    return contents


def texts(first: int, end: int) -> list[str]:
    return [str(number) for number in range(first, end)]


def positions(found: ranges.Ranges) -> list[int]:
    return [each for low, high in found for each in range(low, high)]


def directory(log: timelog.EventLog) -> Path:
    return log.path.with_name("log.projections") / "all"


# -- N1, N2: folding and saving ---------------------------------------------------------------


def test_n1_a_start_loads_the_newest_state_and_folds_only_what_came_after(
    log: timelog.EventLog, make: Make
) -> None:
    put(log, *range(150))
    one = make()
    assert (one.position, one.state) == (0, [])
    assert one.update() == 150
    assert (one.position, one.state) == (150, texts(0, 150))
    put(log, *range(150, 160))
    folded: list[int] = []

    def fold(state: Any, entry: timelog.Entry) -> Any:
        folded.append(entry.position)
        return collect(state, entry)

    two = make(fold)
    assert (two.position, two.state) == (150, texts(0, 150))
    assert two.update() == 10
    assert folded == list(range(150, 160))
    assert two.state == texts(0, 160)
    assert two.update() == 0


def test_n2_a_state_is_saved_after_so_many_events_or_so_long(
    log: timelog.EventLog, make: Make
) -> None:
    clock = Clocked()
    one = make(storage=clock)
    put(log, *range(99))
    one.update()
    assert not one.is_due and one.saved() == []
    put(log, 99)
    one.update()
    assert [saved.head.position for saved in one.saved() if saved.head] == [100]
    put(log, 100)
    clock.pass_by(1799 * SECOND)
    one.update()
    assert not one.is_due and len(one.saved()) == 1
    clock.pass_by(SECOND)
    assert one.is_due
    assert one.update() == 0
    assert [saved.head.position for saved in one.saved() if saved.head] == [100, 101]


def test_n2_the_newest_five_are_kept(log: timelog.EventLog, make: Make) -> None:
    one = make(every=1)
    for number in range(8):
        put(log, number)
        one.update()
    assert [saved.head.position for saved in one.saved() if saved.head] == [4, 5, 6, 7, 8]


def test_n2_where_nothing_comes_nothing_is_saved_and_nothing_goes(
    log: timelog.EventLog, make: Make
) -> None:
    """The clock alone pushed out good ones."""
    clock = Clocked()
    one = make(storage=clock, every=1, keep=1)
    put(log, 1)
    one.update()
    put(log, 2)
    one.update()
    one.rewind(1)
    before = [saved.path for saved in one.saved()]
    clock.pass_by(1000 * DAY)
    assert not one.is_due
    assert one.update() == 0 and one.save() is None and one.prune() == []
    assert [saved.path for saved in one.saved()] == before


def test_n3_what_was_saved_before_a_rewind_is_kept_fourteen_days(
    log: timelog.EventLog, make: Make
) -> None:
    """Nothing enforced that."""
    clock = Clocked()
    one = make(storage=clock, every=1)
    put(log, 0, 1, 2, 3)
    one.update()
    safety = one.rewind(2)
    assert safety.kind == "safety"

    def is_kept() -> bool:
        return safety.path in [saved.path for saved in one.saved()]

    for number in range(14):
        clock.pass_by(DAY)
        put(log, 10 + number)
        one.update()
        assert is_kept(), number
    clock.pass_by(SECOND)
    put(log, 99)
    one.update()
    assert not is_kept()


def test_while_many_events_come_states_are_saved_now_and_then(
    log: timelog.EventLog, make: Make
) -> None:
    clock = Clocked()
    seconds = 0.0

    def fold(state: Any, entry: timelog.Entry) -> Any:
        nonlocal seconds
        seconds += 0.01
        return collect(state, entry)

    clock.monotonic = lambda: seconds  # type: ignore[method-assign]
    one = make(fold, storage=clock)
    put(log, *range(3000))
    one.update()
    positions = [saved.head.position for saved in one.saved() if saved.head]
    assert positions[-1] == 3000 and len(positions) == 3
    assert positions[0] == pytest.approx(1000, abs=2)


# -- N4: names, and separate operations -------------------------------------------------------


def test_n4_names_sort_as_time_does_and_two_of_one_moment_are_two(
    log: timelog.EventLog, make: Make
) -> None:
    """Names of one second overwrote each other."""
    clock = Clocked()
    one = make(storage=clock, every=1, keep=9)
    for number in range(3):
        put(log, number)
        one.update()
    clock.now -= 5 * SECOND
    put(log, 3)
    one.update()
    names = [Path(saved.path).name for saved in one.saved()]
    assert names == sorted(set(names)) and len(names) == 4
    assert names[0] == "20261105T120000.000000Z-periodic.state"
    assert [saved.head.position for saved in one.saved() if saved.head] == [1, 2, 3, 4]
    latest = one.latest()
    assert latest is not None and latest.path.endswith(names[-1])
    assert str(latest).endswith("position 4, 2026-11-05T12:00:00.000003Z")


def test_n1_reading_a_head_reads_no_state(log: timelog.EventLog, make: Make) -> None:
    """Reading one number parsed the whole dump."""
    clock = Clocked()
    one = make(storage=clock, every=1)
    log.append("x" * 500_000)
    log.flush()
    one.update()
    read = 0
    plain = clock.read_at

    def counting(fd: int, offset: int, length: int) -> bytes:
        nonlocal read
        read += length
        return plain(fd, offset, length)

    clock.read_at = counting  # type: ignore[method-assign]
    (saved,) = one.saved()
    assert saved.head is not None and saved.head.position == 1
    assert read < 1000


# -- broken states ----------------------------------------------------------------------------


def cut(data: bytes) -> bytes:
    return data[:-3]


def flip(data: bytes) -> bytes:
    return data[:-3] + bytes([data[-3] ^ 1]) + data[-2:]


def flip_head(data: bytes) -> bytes:
    return data[:40] + bytes([data[40] ^ 1]) + data[41:]


def flip_start(data: bytes) -> bytes:
    return data[:10] + bytes([data[10] ^ 1]) + data[11:]


def empty(data: bytes) -> bytes:
    return b""


def zeros(data: bytes) -> bytes:
    return bytes(len(data))


DAMAGES = [cut, flip, flip_head, flip_start, empty, zeros]


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.__name__)
def test_n1_a_broken_newest_state_falls_back_to_the_one_before_and_says_so(
    log: timelog.EventLog,
    make: Make,
    caplog: pytest.LogCaptureFixture,
    damage: Callable[[bytes], bytes],
) -> None:
    """It stopped the start."""
    one = make(every=1)
    for number in range(3):
        put(log, number)
        one.update()
    newest = Path(one.saved()[-1].path)
    newest.write_bytes(damage(newest.read_bytes()))
    two = make(every=1)
    assert (two.position, two.state) == (2, ["0", "1"])
    (said,) = caplog.messages
    assert said.startswith(f"{newest} is not used: ")
    assert two.update() == 1 and two.state == ["0", "1", "2"]
    assert two.latest() == two.saved()[-1]


def test_broken_states_count_for_none_of_those_kept(log: timelog.EventLog, make: Make) -> None:
    one = make(every=1, keep=2)
    for number in range(2):
        put(log, number)
        one.update()
    Path(one.saved()[-1].path).write_bytes(b"broken")
    two = make(every=1, keep=2)
    put(log, 2)
    two.update()
    assert [saved.ok for saved in two.saved()] == [True, False, True]
    put(log, 3)
    two.update()
    assert [saved.ok for saved in two.saved()] == [True, True]


def test_where_every_state_is_broken_all_is_folded_again(log: timelog.EventLog, make: Make) -> None:
    one = make(every=1)
    put(log, *range(5))
    one.update()
    for saved in one.saved():
        Path(saved.path).unlink()
    assert make().update() == 5


def test_files_of_others_are_left_alone(log: timelog.EventLog, make: Make) -> None:
    make(every=1).update()
    for name in ("notes.txt", "20261105-periodic.state", "20269905T120000.000000Z-safety.state"):
        (directory(log) / name).write_text("mine")
    one = make(every=1, keep=1)
    for number in range(3):
        put(log, number)
        one.update()
    assert len(one.saved()) == 1
    assert len(list(directory(log).glob("[n2]*"))) == 4


# -- N5: rewind, restore ----------------------------------------------------------------------


def test_n5_a_rewind_leaves_out_what_is_later_and_the_log_keeps_it(
    log: timelog.EventLog, make: Make
) -> None:
    put(log, *range(10))
    one = make()
    one.update()
    safety = one.rewind(6)
    assert safety.head is not None and safety.head.position == 10
    assert (one.state, one.position, one.superseded) == (texts(0, 6), 10, ((6, 10),))
    assert [one.is_superseded(position) for position in (5, 6, 9, 10)] == [False, True, True, False]
    put(log, 10)
    assert one.update() == 1 and one.state == [*texts(0, 6), "10"]
    assert log.search().count() == 11
    # It is a part of what is restored.
    two = make()
    assert (two.position, two.superseded, two.state) == (10, ((6, 10),), texts(0, 6))
    two.update()
    assert two.state == [*texts(0, 6), "10"]
    two.rewind(3)
    assert (two.state, two.superseded) == (texts(0, 3), ((3, 11),))


def test_n5_what_was_left_out_stays_so_whichever_states_are_broken(
    log: timelog.EventLog, make: Make
) -> None:
    put(log, *range(10))
    one = make(every=1)
    one.update()
    one.rewind(6)
    for broken in ([0], [1], [2], [0, 1, 2], [0, 2]):
        originals = {saved.path: Path(saved.path).read_bytes() for saved in one.saved()}
        assert len(originals) == 3
        for number in broken:
            Path(list(originals)[number]).write_bytes(b"broken")
        one = make(every=1)
        one.update()
        assert (one.state, one.superseded) == (texts(0, 6), ((6, 10),)), broken
        for saved in one.saved():
            Path(saved.path).unlink()
        for path, data in originals.items():
            Path(path).write_bytes(data)
        one = make(every=1)
    # The file that tells it may be broken, too.
    (directory(log) / "superseded").write_bytes(b"broken")
    assert make().superseded == ((6, 10),)
    (directory(log) / "superseded").unlink()
    assert make().state == texts(0, 6)


def test_n5_restoring_what_was_saved_before_undoes_a_rewind(
    log: timelog.EventLog, make: Make
) -> None:
    put(log, *range(10))
    one = make()
    one.update()
    safety = one.rewind(4)
    put(log, 10)
    one.update()
    again = one.restore(safety)
    assert (one.state, one.position, one.superseded) == (texts(0, 10), 10, ())
    assert one.update() == 1 and one.state == texts(0, 11)
    two = make()
    two.update()
    assert (two.state, two.superseded) == (texts(0, 11), ())
    two.restore(again)
    assert (two.state, two.superseded) == ([*texts(0, 4), "10"], ((4, 10),))


def test_a_rewind_to_where_it_is_or_ahead_is_refused(log: timelog.EventLog, make: Make) -> None:
    put(log, 0, 1)
    one = make()
    one.update()
    for position in (2, 3, -1, None, True, 1.0):
        with pytest.raises(errors.InvalidInput, match="can be rewound"):
            one.rewind(position)  # type: ignore[arg-type]
    assert one.saved() == []


def test_only_a_state_of_its_own_can_be_restored(
    log: timelog.EventLog, make: Make, tmp_path: Path
) -> None:
    put(log, 0, 1)
    one = make(every=1)
    one.update()
    (saved,) = one.saved()
    for other in (
        saved._replace(path=str(tmp_path / Path(saved.path).name)),
        Saved(saved.path, "periodic", 0, None, "broken"),
    ):
        with pytest.raises(errors.InvalidInput, match="not a saved state"):
            one.restore(other)
    Path(saved.path).write_bytes(flip(Path(saved.path).read_bytes()))
    with pytest.raises(errors.DamagedError, match="its state is damaged"):
        one.restore(saved)
    assert one.state == ["0", "1"] and len(one.saved()) == 1


# -- N6: versions -----------------------------------------------------------------------------


def test_n6_a_state_of_an_older_version_is_migrated(log: timelog.EventLog, make: Make) -> None:
    def count(state: Any, entry: timelog.Entry) -> Any:
        return {**state, "count": state["count"] + 1}

    put(log, 0, 1)
    make(count, initial={"count": 0}, every=1).update()

    def migrate(state: Any, version: int) -> Any:
        assert version == 1
        return {**state, "added": "since"}

    two = make(count, initial={"count": 0, "added": "since"}, version=3, migrate=migrate, every=1)
    assert (two.position, two.state) == (2, {"count": 2, "added": "since"})
    put(log, 2)
    assert two.update() == 1
    assert [saved.head.version for saved in two.saved() if saved.head] == [1, 3]


def test_without_a_migration_all_is_folded_again(
    log: timelog.EventLog, make: Make, caplog: pytest.LogCaptureFixture
) -> None:
    put(log, 0, 1)
    make(version=2, every=1).update()
    newer = make(version=3)
    assert newer.position == 0 and newer.update() == 2
    assert "it is of version 2, and there is no migrate=" in caplog.text
    older = make(version=1, migrate=lambda state, version: state)
    assert older.position == 0
    assert "it is of version 2, and this projection of 1" in caplog.text
    with pytest.raises(errors.InvalidInput, match="cannot be restored: it is of version 2"):
        older.restore(older.saved()[0])


def test_a_migration_that_raises_changes_nothing(log: timelog.EventLog, make: Make) -> None:
    put(log, 0, 1)
    make(every=1).update()

    def migrate(state: Any, version: int) -> Any:
        raise LookupError("no")

    with pytest.raises(errors.FoldError, match="the migrate of the projection 'all' raised Lookup"):
        make(version=2, migrate=migrate)
    assert make().state == ["0", "1"]


# -- functions that raise, gaps ---------------------------------------------------------------


def test_a_fold_that_raises_loses_nothing_and_stays_where_it_is(
    log: timelog.EventLog, make: Make
) -> None:
    put(log, *range(10))
    bad = {"5"}

    def fold(state: Any, entry: timelog.Entry) -> Any:
        state.append(entry.event.content)  # it has been changed when this raises
        if entry.event.content in bad:
            raise ZeroDivisionError("by zero")
        return state

    one = make(fold)
    for _ in range(2):
        with pytest.raises(errors.FoldError, match="raised ZeroDivisionError at position 5") as got:
            one.update()
        assert got.value.position == 5 and isinstance(got.value.__cause__, ZeroDivisionError)
        assert (one.position, one.state) == (5, texts(0, 5))
    one.save()
    bad.clear()
    assert one.update() == 5 and one.state == texts(0, 10)


def test_an_interrupt_in_a_fold_loses_nothing(log: timelog.EventLog, make: Make) -> None:
    put(log, *range(4))
    interrupts = [KeyboardInterrupt]

    def fold(state: Any, entry: timelog.Entry) -> Any:
        state.append(entry.event.content)
        if entry.position == 2 and interrupts:
            raise interrupts.pop()
        return state

    one = make(fold)
    with pytest.raises(KeyboardInterrupt):
        one.update()
    assert one.update() == 2 and one.state == texts(0, 4)


def expired(log: timelog.EventLog) -> None:
    """Two events that are gone, and two that are not."""
    for number, age in enumerate(("-9d", "-8d", "-1h", "-1h")):
        log.append(str(number), timestamp=age)
    log.flush()
    log.expire("2 days")


def test_a_gap_is_an_error_unless_somebody_takes_it(log: timelog.EventLog, make: Make) -> None:
    expired(log)
    one = make()
    with pytest.raises(
        errors.GapError, match=r"from position 0 to 1, which are gone \(expired\)"
    ) as got:
        one.update()
    assert (got.value.first, got.value.last, one.position, one.state) == (0, 1, 0, [])
    two = make(on_gap=lambda state, gap: [*state, f"{gap.first}-{gap.last}"])
    assert two.update() == 3
    assert two.state == ["0-1", "2", "3"]

    def refuse(state: Any, gap: timelog.Gap) -> Any:
        raise LookupError("needed")

    make(name="other", on_gap=refuse)
    with pytest.raises(errors.FoldError, match="the on_gap of the projection 'other'"):
        make(name="other", on_gap=refuse).update()


def test_a_gap_in_what_was_left_out_is_none(log: timelog.EventLog, make: Make) -> None:
    for number, age in enumerate(("-9d", "-8d", "-1h")):
        log.append(str(number), timestamp=age)
    log.flush()
    one = make(every=100)
    one.update()
    one.rewind(0)
    log.expire("2 days")
    for saved in one.saved():
        Path(saved.path).unlink()
    two = make()
    assert two.superseded == ((0, 3),)
    assert two.update() == 0 and two.position == 3 and two.state == []


def test_a_rewind_into_what_is_gone_changes_nothing(log: timelog.EventLog, make: Make) -> None:
    for number, age in enumerate(("-9d", "-8d", "-1h")):
        log.append(str(number), timestamp=age)
    log.flush()
    one = make()
    one.update()
    log.expire("2 days")
    with pytest.raises(errors.GapError):
        one.rewind(2)
    assert (one.state, one.superseded, one.position) == (texts(0, 3), (), 3)
    assert make().superseded == ()


def test_deleted_events_at_the_end_are_passed(log: timelog.EventLog, make: Make) -> None:
    put(log, 0)
    log.delete(log.append("secret", sync=True))
    one = make()
    assert one.update() == 1 and one.position == 2


# -- what cannot be ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    "options",
    [
        {"name": ""},
        {"name": "../up"},
        {"name": ".hidden"},
        {"name": "a" * 101},
        {"name": 5},
        {"version": 0},
        {"every": 0},
        {"every": 1.5},
        {"keep": 0},
        {"interval": 0},
        {"interval": float("inf")},
        {"keep_days": -1},
        {"initial": {1, 2}},
        {"initial": {(1, 2): 3}},
        {"initial": 2**70},
        {"initial": [(1, 2)]},
        {"initial": "\ud800"},
    ],
    ids=str,
)
def test_arguments_that_cannot_be_are_refused(make: Make, options: dict[str, Any]) -> None:
    with pytest.raises(errors.InvalidInput, match="must be"):
        make(**options)


def test_a_state_that_cannot_be_saved_is_an_error_and_stays(
    log: timelog.EventLog, make: Make
) -> None:
    put(log, 0)
    one = make(lambda state, entry: {entry.position}, every=1)
    with pytest.raises(errors.InvalidInput, match="must be made of dicts"):
        one.update()
    assert one.state == {0} and one.saved() == []


@settings(max_examples=40)
@given(
    st.recursive(
        st.none()
        | st.booleans()
        | st.integers(-(2**63), 2**64 - 1)
        | st.floats()
        | st.text()
        | st.binary(),
        lambda inner: (
            st.lists(inner)
            | st.dictionaries(
                st.none()
                | st.booleans()
                | st.integers(-(2**63), 2**64 - 1)
                | st.text()
                | st.binary(),
                inner,
            )
        ),
    )
)
def test_a_state_comes_back_as_it_was(state: Any) -> None:
    again = statefile.unpack_state(statefile.pack_state(state))
    assert repr(again) == repr(state)


def test_one_process_at_a_time_has_a_projection(
    log: timelog.EventLog, make: Make, tmp_path: Path
) -> None:
    one = make()
    with pytest.raises(errors.InUseError, match="another process works with the projection"):
        Projection(log, "all", collect, initial=[])
    Projection(log, "other", collect, initial=[]).close()
    put(log, 0)
    one.update()
    one.save()
    one.close()
    one.close()
    with pytest.raises(errors.ClosedError):
        one.update()
    with pytest.raises(errors.InvalidInput, match="states of the projection 'all'"):
        Projection(log, "other", collect, initial=[], directory=directory(log))
    with pytest.raises(errors.InvalidInput, match="inside the log"):
        Projection(log, "all", collect, initial=[], directory=log.path / "2026-11-05" / "x")
    (tmp_path / "file").write_text("")
    with pytest.raises(errors.StorageError):
        Projection(log, "all", collect, initial=[], directory=tmp_path / "file" / "x")


def test_states_of_another_log_are_refused(open_log: Open, tmp_path: Path) -> None:
    log, other = open_log(), open_log(tmp_path / "other")
    put(log, 0)
    put(other, 0)
    with Projection(log, "all", collect, initial=[], directory=tmp_path / "p", every=1) as one:
        one.update()
    with Projection(other, "all", collect, initial=[], directory=tmp_path / "p") as two:
        with pytest.raises(errors.CursorError, match="another log"):
            two.update()
        assert two.position == 1


def test_a_projection_can_be_kept_up_to_date_while_events_come(
    log: timelog.EventLog, make: Make
) -> None:
    stop = threading.Event()

    def fold(state: Any, entry: timelog.Entry) -> Any:
        if entry.event.content == "last":
            stop.set()
        elif entry.event.content == "1":
            log.append("last")
            log.flush()
        return collect(state, entry)

    put(log, 0, 1)
    one = make(fold)
    assert one.run(stop) == 3
    assert one.state == ["0", "1", "last"]


# -- kills ------------------------------------------------------------------------------------


def work(log: timelog.EventLog, storage: FaultyStorage, done: list[str]) -> None:
    """Save, rewind, save again; ``done`` tells how far it came."""
    one = Projection(log, "all", collect, initial=[], every=2, keep=2, storage=storage)
    try:
        one.update()
        done.append("saved")
        one.rewind(3)
        done.append("rewound")
        one.restore(one.saved()[-2])
        done.append("restored")
        one.rewind(2)
        done.append("rewound again")
        one.save()
    finally:
        one.close()


@pytest.mark.parametrize("fault", ["kill", "torn", "ENOSPC", "EIO"])
def test_a_cut_at_any_call_leaves_one_state_or_the_other(
    open_log: Open, ram: Path, fault: str
) -> None:
    log = open_log(ram / "log")
    put(log, *range(6))
    after = {
        "": [texts(0, 6)],
        "saved": [texts(0, 6), texts(0, 3)],
        "rewound": [texts(0, 3), texts(0, 6)],
        "restored": [texts(0, 6), texts(0, 2)],
        "rewound again": [texts(0, 2)],
    }
    at = 0
    while True:
        at += 1
        place = ram / f"{fault}-{at}"
        place.mkdir()
        log.path.with_name("log.projections").rename(place / "old") if at > 1 else None
        storage = FaultyStorage(at, fault)
        done: list[str] = []
        try:
            work(log, storage, done)
        except (Killed, errors.StorageError):
            pass
        with Projection(log, "all", collect, initial=[]) as one:
            one.update()
            assert one.state in after[done[-1] if done else ""], (at, done)
            state, marks = one.state, one.superseded
            put_back = one.rewind(1)
            one.restore(put_back)
            assert (one.state, one.superseded) == (state, marks)
        if not storage.happened():
            break
    assert at > 30


# -- against a plain model --------------------------------------------------------------------


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("put"), st.integers(1, 5)),
        st.tuples(st.just("update")),
        st.tuples(st.just("save")),
        st.tuples(st.just("rewind"), st.integers(0, 30)),
        st.tuples(st.just("restore"), st.integers(0, 5)),
        st.tuples(st.just("open")),
        st.tuples(st.just("break"), st.integers(0, 5)),
    ),
    max_size=25,
)


@given(STEPS)
def test_any_sequence_of_calls_gives_what_a_plain_model_gives(steps: list[Any]) -> None:
    """The state is that of all positions before its own that were not left out."""
    with (
        tempfile.TemporaryDirectory(dir="/dev/shm") as folder,
        timelog.open(Path(folder) / "log", flush_interval=3600.0, text_index=False) as log,
    ):

        def open_one() -> Projection:
            return Projection(log, "all", collect, initial=[], every=3, keep=3)

        one = open_one()
        count = 0
        hidden: set[int] = set()
        for what, *args in steps:
            if what == "put":
                put(log, *range(count, count + args[0]))
                count += args[0]
            elif what == "update":
                one.update()
                assert one.position == count
            elif what == "save":
                one.save()
            elif what == "rewind" and args[0] < one.position:
                hidden |= set(range(args[0], one.position))
                one.rewind(args[0])
            elif what == "restore":
                saved = [each for each in one.saved() if each.ok]
                if args[0] < len(saved):
                    head = saved[args[0]].head
                    assert head is not None
                    one.restore(saved[args[0]])
                    assert one.position == head.position
                    hidden = {each for low, high in one.superseded for each in range(low, high)}
            elif what == "open":
                one.close()
                one = open_one()
            elif what == "break":
                saved = one.saved()
                if args[0] < len(saved):
                    path = Path(saved[args[0]].path)
                    path.write_bytes(path.read_bytes()[:-1])
            wanted = [str(each) for each in range(one.position) if each not in hidden]
            assert one.state == wanted
            assert set(positions(one.superseded)) == hidden
        one.close()


@given(st.lists(st.tuples(st.integers(0, 30), st.integers(1, 8)), max_size=8))
def test_ranges_are_what_sets_are(spans: list[tuple[int, int]]) -> None:
    found: ranges.Ranges = ()
    plain: set[int] = set()
    for first, length in spans:
        found = ranges.add(found, first, first + length)
        plain |= set(range(first, first + length))
    assert set(positions(found)) == plain
    assert all(high < low for (_, high), (low, _) in pairwise(found))
    for at in range(40):
        assert ranges.has(found, at) == (at in plain)
        assert set(positions(ranges.before(found, at))) == {each for each in plain if each < at}
        assert ranges.covers(found, at, at + 3) == ({at, at + 1, at + 2} <= plain)


def test_any_flipped_bit_of_a_file_is_found() -> None:
    print("seed", SEED)
    random = Random(SEED)
    head = statefile.Head("all", 1, 5, "log:5", statefile.Marks(1, ((1, 2),)), 7)
    data = statefile.pack(head, statefile.pack_state({"a": [1, 2, 3], "b": "text"}))

    def read(data: bytes) -> Any:
        sizes = statefile.parse_start(data[: statefile.START], len(data))
        body = statefile.START + sizes.head
        statefile.parse_head(data[statefile.START : body], sizes.head_crc)
        if statefile.crc32(data[body:]) != sizes.body_crc:
            raise errors.DamagedError("body")

    read(data)
    for at in range(len(data)):
        changed = bytearray(data)
        changed[at] ^= 1 << random.randrange(8)
        with pytest.raises(errors.DamagedError):
            read(bytes(changed))

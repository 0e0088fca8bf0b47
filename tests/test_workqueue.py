"""The queue: order, exclusivity, runs that supersede each other, and what survives."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from timelog import errors
from timelog.consume import Job, Queue, Task, feed_of
from timelog.consume import schema as schema_module
from timelog.consume.entries import scatter
from timelog.consume.tasks import split_entry

ROOT = Path(__file__).parents[1]


class Clock:
    """Seconds that a test sets."""

    def __init__(self) -> None:
        self.now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def file(ram: Path) -> Path:
    return ram / "queue"


@pytest.fixture
def queue(file: Path, clock: Clock) -> Iterator[Queue]:
    with Queue(file, clock=clock) as queue:
        yield queue


Put = Callable[..., None]


@pytest.fixture
def put(queue: Queue) -> Put:
    """Add ``"key payload"`` lines to a run of a feed."""
    position = 0

    def add(*lines: str, feed: str = "feed", run: int = 0) -> None:
        nonlocal position
        for line in lines:
            queue.add([Task(feed, run, *split_entry(line), position)])
            position += 1

    return add


def taken(queue: Queue) -> str | None:
    """What is handed out next, as ``"key payload"``."""
    job = queue.next()
    return None if job is None else f"{job.key} {job.payload}"


def finish(queue: Queue) -> list[str]:
    """Hand out and do everything; what it was, in order."""
    done = []
    while job := queue.next():
        done.append(f"{job.key} {job.payload}")
        assert queue.done(job.key, job.turn, 0)
    return done


# -- entries, feeds ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("source", "feed", "run"),
    [
        ("updates.12.txt", "updates", 12),
        ("updates.12.txt.part", "updates", 12),
        ("a.b.007.txt", "a.b", 7),
        ("a.b.txt", "a.b.txt", 0),
        ("12.txt", "12.txt", 0),
        (".12.txt", ".12.txt", 0),
        ("updates.12.txt.gz", "updates.12.txt.gz", 0),
        ("updates.-1.txt", "updates.-1.txt", 0),
        ("", "", 0),
    ],
)
def test_q1_the_feed_and_the_run_of_a_source(source: str, feed: str, run: int) -> None:
    """``a.b.txt`` killed the watcher."""
    assert feed_of(source) == (feed, run)


@pytest.mark.parametrize(
    ("content", "key", "payload"),
    [
        ("key", "key", ""),
        ("key rest of line", "key", "rest of line"),
        ("key  two spaces ", "key", " two spaces "),
        ("ключ é\n", "ключ", "é"),
        ("key rest\r\n", "key", "rest"),
    ],
)
def test_an_entry_is_a_key_and_the_rest_of_the_line(content: str, key: str, payload: str) -> None:
    assert split_entry(content) == (key, payload)


@pytest.mark.parametrize(
    "content",
    ["", " ", " key", "\n", "key a\nb", "key a\rb", "k\tx y", "k\0 x", "k" * 1025, "k a\0"],
)
def test_q7_what_is_malformed_says_why(content: str) -> None:
    with pytest.raises(errors.InvalidInput, match=r"it has|its key has|it does not"):
        split_entry(content)


# -- order and exclusivity --------------------------------------------------------------------


def test_q5_new_keys_come_before_all_in_a_scattered_order_that_stays(
    queue: Queue, put: Put, clock: Clock
) -> None:
    keys = [f"key{number:02}" for number in range(20)]
    put(*keys)
    first = [queue.next() for _ in keys]
    order = [job.key for job in first if job]
    assert sorted(order) == keys != order
    assert order == sorted(keys, key=scatter)
    for job in first:
        assert job and queue.done(job.key, job.turn, 0)
    put(*keys, "new")
    # The new one, then whose last start is longest ago, whatever the clock says.
    clock.now -= 5000
    assert [queue.next().key for _ in range(21)] == ["new", *order]  # type: ignore[union-attr]


def test_q5_one_key_is_never_out_twice_across_feeds_too(queue: Queue, put: Put) -> None:
    put("k one", feed="a")
    put("k two", feed="b")
    job = queue.next()
    assert job and (job.feed, job.payload) == ("a", "one")
    assert queue.next() is None
    assert queue.done("k", job.turn, 0)
    assert taken(queue) == "k two"
    assert queue.next() is None


def test_q5_the_newest_payload_of_a_key_is_handed_out(queue: Queue, put: Put) -> None:
    put("k old", "k new")
    assert finish(queue) == ["k new"]


def test_q5_a_changed_payload_of_a_key_that_is_out_is_queued_again(queue: Queue, put: Put) -> None:
    """It was dropped."""
    put("k one")
    job = queue.next()
    put("k one", "k two", "k three")
    assert queue.next() is None
    assert job and queue.done("k", job.turn, 0)
    assert finish(queue) == ["k three"]
    put("k one")
    job = queue.next()
    put("k one")
    assert job and queue.done("k", job.turn, 0)
    assert finish(queue) == []


def test_q5_a_feed_that_changes_all_the_time_does_not_starve_another(
    queue: Queue, put: Put
) -> None:
    put("k a0", feed="a")
    put("k b0", feed="b")
    seen = []
    for number in range(1, 5):
        job = queue.next()
        assert job
        seen.append(job.payload)
        put(f"k a{number}", feed="a")
        queue.done("k", job.turn, 0)
    assert seen == ["a0", "b0", "a2", "a3"]


def test_q5_an_entry_whose_worker_vanished_is_offered_again(queue: Queue, put: Put) -> None:
    """Only its key was freed, and the entry lost."""
    put("k payload")
    job = queue.next()
    assert job and queue.give_back("k", job.turn)
    again = queue.next()
    assert again and (again.key, again.payload) == ("k", "payload")
    # The start that is over has no say any more.
    assert not queue.done("k", job.turn, 0)
    assert not queue.give_back("k", job.turn)
    assert queue.done("k", again.turn, 0)
    assert finish(queue) == []


def test_q5_after_twelve_hours_a_key_is_offered_again(queue: Queue, put: Put, clock: Clock) -> None:
    put("k payload")
    job = queue.next()
    clock.now += 43_199
    assert queue.next() is None
    clock.now += 1
    assert taken(queue) == "k payload"
    assert job and not queue.done("k", job.turn, 0)


def test_what_is_newer_is_handed_out_when_a_worker_vanishes(queue: Queue, put: Put) -> None:
    put("k one")
    job = queue.next()
    put("k two")
    assert job and queue.give_back("k", job.turn)
    assert finish(queue) == ["k two"]


def test_q5_never_twice_whoever_asks(file: Path) -> None:
    with Queue(file) as queue:
        queue.add(Task("f", 0, f"k{number}", "", number) for number in range(200))
    found: list[str] = []

    def ask() -> None:
        with Queue(file) as queue:
            while job := queue.next():
                found.append(job.key)

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(found) == sorted(f"k{number}" for number in range(200))


# -- runs -------------------------------------------------------------------------------------


def test_q3_a_newer_run_supersedes_key_by_key(queue: Queue, put: Put) -> None:
    put("both old", "only old", run=1)
    put("both new", run=2)
    assert sorted(finish(queue)) == ["both new", "only old"]


def test_q3_a_newer_run_with_the_same_payload_is_what_is_being_done(queue: Queue, put: Put) -> None:
    put("k one", run=1)
    job = queue.next()
    put("k one", run=2)
    assert job and queue.done("k", job.turn, 0)
    assert finish(queue) == []


def test_q3_what_an_older_run_changed_meanwhile_is_superseded_too(queue: Queue, put: Put) -> None:
    put("k one", run=1)
    job = queue.next()
    put("k two", run=1)
    put("k one", run=2)
    assert job and queue.done("k", job.turn, 0)
    assert finish(queue) == []


def test_q3_lines_of_an_older_run_that_come_late_supersede_nothing(queue: Queue, put: Put) -> None:
    put("k new", run=2)
    put("k old", run=1)
    assert finish(queue) == ["k new"]


def test_q3_a_run_that_goes_takes_what_it_had_queued(queue: Queue, put: Put) -> None:
    put("both old", "older", run=1)
    put("both new", "newer", run=2)
    put("other", feed="else", run=2)
    queue.drop("feed", 2)
    # What the run hid is in view again.
    assert sorted(finish(queue)) == ["both old", "older ", "other "]
    assert queue.counts()[:2] == (0, 0)


def test_q3_what_is_out_goes_on_when_its_run_goes(queue: Queue, put: Put) -> None:
    put("k old", run=1)
    put("k new", run=2)
    job = queue.next()
    queue.drop("feed", 2)
    assert job and queue.done("k", job.turn, 7)
    assert finish(queue) == []
    assert queue.history("k").exit_code == 7


def test_q3_what_is_out_of_a_run_that_went_is_not_offered_again(queue: Queue, put: Put) -> None:
    put("k payload", run=1)
    job = queue.next()
    queue.drop("feed", 1)
    assert job and queue.give_back("k", job.turn)
    assert finish(queue) == []


def test_q3_entries_of_a_run_that_went_may_still_be_on_their_way(queue: Queue) -> None:
    queue.add([Task("feed", 1, "a", "", 0)])
    queue.drop("feed", 1, before=10)
    queue.add([Task("feed", 1, "b", "", 9), Task("other", 1, "c", "", 9)])
    assert finish(queue) == ["c "]
    # A new file of the same name.
    queue.add([Task("feed", 1, "d", "", 10)])
    assert finish(queue) == ["d "]


def test_q3_and_q4_which_runs_are_known_complete_and_gone(queue: Queue, put: Put) -> None:
    put("a", run=1)
    put("b", run=2)
    put("c", feed="other", run=1)
    queue.complete("feed", 1)
    queue.complete("feed", 3)
    assert [tuple(run) for run in queue.runs()] == [
        ("feed", 1, True),
        ("feed", 2, False),
        ("feed", 3, True),
        ("other", 1, False),
    ]
    gone = queue.retain([("feed", 1), ("feed", 3)])
    assert [(run.feed, run.run) for run in gone] == [("feed", 2), ("other", 1)]
    assert [(run.feed, run.run) for run in queue.runs()] == [("feed", 1), ("feed", 3)]
    assert finish(queue) == ["a "]


# -- what survives ----------------------------------------------------------------------------


def test_q7_queue_and_history_survive_a_restart(file: Path, clock: Clock) -> None:
    with Queue(file, clock=clock) as queue:
        queue.add([Task("f", 1, key, "rest", 0) for key in "abc"], cursor="here", skipped=2)
        queue.complete("f", 1)
        job = queue.next("worker")
        assert job
        clock.now += 5
        queue.done(job.key, job.turn, 3)
        held = queue.next("worker")
        assert held
    with Queue(file, clock=clock) as queue:
        assert queue.cursor == "here"
        assert queue.counts() == (1, 1, 2)
        assert queue.history(job.key) == (1_000_000.0, 1_000_005.0, 3)
        assert queue.history("unknown") == (None, None, None)
        assert queue.hold(held.key) == (held.key, held.turn, 1_000_005.0, "worker")
        assert [hold.key for hold in queue.holds()] == [held.key]
        assert [tuple(run) for run in queue.runs()] == [("f", 1, True)]
        assert len(finish(queue)) == 1
        assert queue.done(held.key, held.turn, 0)
    assert file.stat().st_mode & 0o777 == 0o600
    with pytest.raises(errors.ClosedError, match="closed"):
        queue.next()


def test_q7_a_change_of_the_schema_keeps_queue_and_history(
    file: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It emptied both."""
    with Queue(file, clock=clock) as queue:
        queue.add([Task("f", 0, "k", "one", 0), Task("f", 0, "l", "two", 1)])
        job = queue.next()
        assert job
        queue.done(job.key, job.turn, 4)
    newer = (*schema_module.MIGRATIONS, ("ALTER TABLE keys ADD COLUMN note TEXT",))
    monkeypatch.setattr(schema_module, "MIGRATIONS", newer)
    with Queue(file, clock=clock) as queue:
        assert queue.history(job.key).exit_code == 4
        assert len(finish(queue)) == 1
    assert sqlite3.connect(file).execute("PRAGMA user_version").fetchone() == (2,)
    monkeypatch.undo()
    with pytest.raises(errors.VersionError, match="newer release"):
        Queue(file)


def test_a_migration_that_fails_changes_nothing(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Queue(file).close()
    bad = (*schema_module.MIGRATIONS, ("ALTER TABLE keys ADD COLUMN note TEXT", "nonsense"))
    monkeypatch.setattr(schema_module, "MIGRATIONS", bad)
    with pytest.raises(errors.StorageError, match="nonsense"):
        Queue(file)
    monkeypatch.undo()
    Queue(file).close()


def test_files_of_others_are_left_alone(file: Path) -> None:
    with sqlite3.connect(file) as other:
        other.execute("CREATE TABLE theirs (a)")
    with pytest.raises(errors.InvalidInput, match="something else"):
        Queue(file)
    text = file.with_name("text")
    text.write_text("no database, but long enough to have what looks like a head" * 20)
    with pytest.raises(errors.DamagedError, match="move it away"):
        Queue(text)
    assert text.read_text().startswith("no database")
    with pytest.raises(errors.StorageError):
        Queue(file.with_name("none") / "queue")
    with pytest.raises(errors.StorageError):
        Queue(file.parent)


KILLED = """
import os, sys
from timelog.consume import Queue, Task
queue = Queue(sys.argv[1])
at = int(queue.cursor or 0)
for number in range(at, 10**9):
    queue.add([Task("f", 0, f"k{number}", str(number), number)], cursor=str(number + 1))
    if number % 3 == 0 and (job := queue.next()):
        queue.done(job.key, job.turn, 0)
    print(number, flush=True)
"""


def test_a_kill_at_any_moment_leaves_entries_and_cursor_together(file: Path) -> None:
    for _ in range(3):
        child = subprocess.Popen(
            [sys.executable, "-c", KILLED, str(file)], cwd=ROOT, stdout=subprocess.PIPE, text=True
        )
        assert child.stdout is not None
        for _ in range(40):
            assert child.stdout.readline()
        os.kill(child.pid, signal.SIGKILL)
        child.wait()
        child.stdout.close()
    with Queue(file) as queue, queue._data.read() as db:
        cursor = int(queue.cursor or 0)
        assert cursor >= 120
        assert db.execute("SELECT count(*) FROM keys").fetchone() == (cursor,)
        assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)


# -- against a plain model --------------------------------------------------------------------


class Model:
    """The same, as plainly as can be."""

    def __init__(self) -> None:
        self.rows: dict[tuple[str, str, int], list[Any]] = {}  # payload, waits, position
        self.turns: dict[str, int] = {}
        self.out: dict[str, tuple[str, int, str, float]] = {}
        self.turn = 0

    def top(self, key: str) -> list[tuple[int, str, int, str]]:
        newest: dict[str, int] = {}
        for k, feed, run in self.rows:
            if k == key:
                newest[feed] = max(run, newest.get(feed, -1))
        found = []
        for feed, run in newest.items():
            payload, waits, position = self.rows[key, feed, run]
            if waits:
                found.append((position, feed, run, payload))
        return sorted(found)

    def add(self, key: str, feed: str, run: int, payload: str, position: int) -> None:
        out = self.out.get(key)
        waits = not (out and out[0] == feed and out[2] == payload and out[1] <= run)
        row = self.rows.get((key, feed, run))
        at = row[2] if row and row[1] else position
        self.rows[key, feed, run] = [payload, waits, at]

    def next(self, now: float) -> tuple[str, str] | None:
        for key in [key for key, out in self.out.items() if now - out[3] >= 43_200]:
            self.free(key)
        ready = [k for k in {k for k, _, _ in self.rows} if k not in self.out and self.top(k)]
        if not ready:
            return None
        key = min(ready, key=lambda k: (self.turns.get(k, 0), scatter(k), k))
        _, feed, run, payload = self.top(key)[0]
        self.turn += 1
        self.turns[key] = self.turn
        self.out[key] = (feed, run, payload, now)
        self.rows[key, feed, run][1] = False
        return key, payload

    def done(self, key: str) -> None:
        feed, run, _, _ = self.out.pop(key)
        mine = {r: row for (k, f, r), row in self.rows.items() if (k, f) == (key, feed)}
        newest = max([run, *(r for r, row in mine.items() if not row[1])])
        for r, row in mine.items():
            if not row[1] or r < newest:
                del self.rows[key, feed, r]

    def free(self, key: str) -> None:
        feed = self.out.pop(key)[0]
        for (k, f, _), row in self.rows.items():
            if (k, f) == (key, feed):
                row[1] = True

    def drop(self, feed: str, run: int) -> None:
        for each in [each for each in self.rows if each[1:] == (feed, run)]:
            del self.rows[each]


KEYS = st.sampled_from(["x", "y", "z"])
RUNS = st.tuples(st.sampled_from(["a", "b"]), st.sampled_from([0, 1, 2]))
STEPS = st.one_of(
    st.tuples(st.just("add"), KEYS, RUNS, st.sampled_from(["p", "q"])),
    st.tuples(st.just("next")),
    st.tuples(st.just("done"), KEYS),
    st.tuples(st.just("free"), KEYS),
    st.tuples(st.just("drop"), RUNS),
    st.tuples(st.just("wait"), st.sampled_from([1.0, 20_000.0, 43_200.0])),
)


@given(st.lists(STEPS, max_size=40))
def test_any_sequence_of_calls_gives_what_a_plain_model_gives(steps: list[Any]) -> None:
    clock, model = Clock(), Model()
    jobs: dict[str, Job] = {}
    with (
        tempfile.TemporaryDirectory(dir="/dev/shm") as directory,
        Queue(Path(directory) / "queue", clock=clock) as queue,
    ):
        for position, (what, *args) in enumerate(steps):
            if what == "add":
                key, (feed, run), payload = args
                queue.add([Task(feed, run, key, payload, position)])
                model.add(key, feed, run, payload, position)
            elif what == "next":
                job = queue.next()
                assert (job and (job.key, job.payload)) == model.next(clock.now)
                if job:
                    jobs[job.key] = job
            elif what == "wait":
                clock.now += args[0]
            elif what == "drop":
                queue.drop(*args[0])
                model.drop(*args[0])
            elif args[0] in jobs:
                key = args[0]
                call = queue.done if what == "done" else queue.give_back
                arguments = (0,) if what == "done" else ()
                assert call(key, jobs[key].turn, *arguments) == (key in model.out)  # type: ignore[operator]
                if key in model.out:
                    model.done(key) if what == "done" else model.free(key)
            assert {hold.key for hold in queue.holds()} == set(model.out)
            ready = {k for k, _, _ in model.rows if k not in model.out and model.top(k)}
            assert queue.counts()[:2] == (len(ready), len(model.out))

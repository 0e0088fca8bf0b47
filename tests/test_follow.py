"""Following a log: order of arrival, gaps, cursors, and waking, against a plain list."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from random import Random
from typing import Any

import pytest

import timelog
from tests.plain import START, Plain, grow, row_of, rows
from tests.rig import abandon
from tests.test_compaction import NOW, Clock
from timelog import Entry, Gap, arrivals, inotify, news, recent
from timelog.arrivals import Item
from timelog.errors import CursorError, InvalidInput, InvalidPattern, ReadOnlyError, StorageError
from timelog.rotate import write_checkpoint
from timelog.timestamp import DAY, MINUTE, to_datetime

ROOT = Path(__file__).parents[1]
Open = Callable[..., timelog.EventLog]
OPTIONS: dict[str, Any] = {"text_index": False, "scrub_interval": 0, "compact_after": None}


def entries(items: list[Item]) -> list[Entry]:
    return [item for item in items if isinstance(item, Entry)]


def gaps(items: list[Item]) -> list[Gap]:
    return [item for item in items if isinstance(item, Gap)]


def contents(items: list[Item]) -> list[str]:
    return [entry.event.content for entry in entries(items)]


def now(log: timelog.EventLog, after: int | str | None = 0, **asked: Any) -> list[Item]:
    return list(log.follow(after, wait=False, **asked))


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Windows of a few positions, and few blocks that are remembered."""
    monkeypatch.setattr(arrivals, "_FIRST_WINDOW", 3)
    monkeypatch.setattr(arrivals, "_MOST", 17)
    monkeypatch.setattr(arrivals, "_MOST_BYTES", 2_000)
    monkeypatch.setattr(recent, "_MOST_BLOCKS", 3)


# -- against a plain list ------------------------------------------------------------------------


def check(plain: Plain, items: list[Item], after: int, **asked: Any) -> None:
    """A following that began at ``after`` and ended with the log passed on what it had to."""
    expected = [
        row
        for row in sorted(plain.find(**asked), key=lambda row: row.position)
        if row.position >= after
    ]
    found = entries(items)
    assert [entry.position for entry in found] == [row.position for row in expected]
    assert [row_of(entry.event) for entry in found] == rows(expected)
    places = [item[0] for item in items]
    assert places == sorted(places)
    gone = [at for gap in gaps(items) for at in range(gap.first, gap.last + 1)]
    assert len(gone) == len(set(gone))
    assert all(gap.reason == "expired" for gap in gaps(items))
    hidden = {row.position for row in plain.rows if plain.is_expired(row.us, row.tags)}
    wanted = {position for position in hidden - plain.gone if position >= after}
    assert wanted <= set(gone) <= hidden | plain.gone
    for one, two in pairwise(items):
        # Neighbouring gaps are one.
        assert not (isinstance(one, Gap) and isinstance(two, Gap) and one.last + 1 == two.first)


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("seed", range(12))
def test_every_position_is_passed_once_whatever_happens_to_the_files(seed: int, path: Path) -> None:
    print(f"seed {seed}")
    random = Random(seed)
    plain = Plain()
    with timelog.open(path, flush_interval=3600, storage=Clock(), **OPTIONS) as log:
        cursor, reached = None, 0
        for _ in range(8):
            grow(log, plain, random, random.randrange(4))
            for _ in range(random.randrange(3)):
                if plain.left:
                    row = plain.first_with(random.choice(plain.left).id)
                    log.delete(row.id, erase=random.random() < 0.5)
                    plain.gone.add(row.position)
            if random.random() < 0.3:
                days = {tag: random.randrange(97, 102) for tag in ("", "audit", "debug")}
                log.expire(
                    age=f"{days['']} days",
                    tags={tag: f"{age} days" for tag, age in days.items() if tag},
                )
                plain.horizons.append({tag: NOW - age * DAY for tag, age in days.items()})
            if random.random() < 0.4:
                log.compact(archive=random.random() < 0.5)
            if random.random() < 0.3:
                write_checkpoint(log._store.layout, log._store.storage, log._store.index)
            if random.random() < 0.3:
                log._store.index.reload()
            after = random.randrange(len(plain.rows) + 1)
            check(plain, now(log, after), after)
            asked: dict[str, Any] = random.choice(
                [{"tags": ("a",)}, {"source": "two"}, {"pattern": r"event 1\d* "}]
            )
            check(plain, now(log, after, **asked), after, **asked)
            with timelog.open(path, mode="r", storage=Clock()) as reader:
                check(plain, now(reader, 0), 0)
                # And the one that goes on from where it was.
                following = reader.follow(cursor or 0, wait=False)
                check(plain, list(following), reached)
                cursor, reached = following.cursor, len(plain.rows)
                assert following.position == reached


@pytest.mark.usefixtures("small")
def test_one_following_goes_on_beside_all_that_happens(path: Path) -> None:
    random = Random(1)
    plain = Plain()
    with timelog.open(path, flush_interval=3600, storage=Clock(), **OPTIONS) as log:
        stop = threading.Event()
        following = log.follow(0, stop=stop)
        found: list[Item] = []
        for n in range(30):
            grow(log, plain, random, 1)
            if n % 3 == 0:
                log.compact()
            if n % 7 == 0:
                write_checkpoint(log._store.layout, log._store.storage, log._store.index)
            while not found or found[-1][0] < len(plain.rows) - 1:
                found.append(next(following))
        stop.set()
        assert list(following) == []
        check(plain, found, 0)


# -- waiting -------------------------------------------------------------------------------------


class Follower:
    """A thread that follows, and what it got."""

    def __init__(self, log: timelog.EventLog, *args: Any, **asked: Any) -> None:
        self.items: list[Item] = []
        self.stop = threading.Event()
        self._came = threading.Condition()
        self.following = log.follow(*args, stop=self.stop, **asked)
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self) -> None:
        for item in self.following:
            with self._came:
                self.items.append(item)
                self._came.notify_all()

    def wait_for(self, number: int) -> list[Item]:
        with self._came:
            assert self._came.wait_for(lambda: len(self.items) >= number, 60), self.items
        return self.items

    def end(self) -> list[Item]:
        self.stop.set()
        self.thread.join(60)
        assert not self.thread.is_alive()
        return self.items


def test_what_this_process_flushes_comes_and_late_events_too(open_log: Open) -> None:
    log = open_log()
    log.append("before")
    log.flush()
    follower = Follower(log)
    log.append("one")
    log.append("late", timestamp=0)
    assert not follower.items
    log.flush()
    assert contents(follower.wait_for(2)) == ["one", "late"]
    log.append("three")
    log.flush()
    assert contents(follower.wait_for(3)) == ["one", "late", "three"]
    follower.end()


WRITER = """
import sys, timelog
with timelog.open(sys.argv[1], flush_interval=0) as log:
    for line in sys.stdin:
        log.append(line.strip())
"""


@pytest.mark.parametrize("is_told", [True, False])
def test_what_another_process_flushes_comes(
    is_told: bool, path: Path, open_log: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not is_told:

        def refuse(directory: Path) -> None:
            raise OSError("no inotify")

        monkeypatch.setattr(news, "Inotify", refuse)
    open_log().close()
    log = open_log(mode="r")
    follower = Follower(log, tags=[])
    command = [sys.executable, "-c", WRITER, str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, text=True, cwd=ROOT) as writer:
        assert writer.stdin is not None
        for n in range(5):
            writer.stdin.write(f"{n}\n")
            writer.stdin.flush()
            assert contents(follower.wait_for(n + 1))[-1] == str(n)
        writer.stdin.close()
    follower.end()
    assert log._store.news._thread is None or not log._store.news._followers


def test_closing_the_log_passes_the_rest_on_and_ends_it(open_log: Open) -> None:
    log = open_log()
    follower = Follower(log, 0)
    log.append("in memory")
    log.close()
    follower.thread.join(60)
    assert contents(follower.items) == ["in memory"]


def test_close_ends_it_from_another_thread(open_log: Open) -> None:
    log = open_log()
    follower = Follower(log)
    follower.following.close()
    follower.thread.join(60)
    assert not follower.thread.is_alive()
    with log.follow() as following:
        pass
    assert list(following) == []


def test_many_followers_of_one_log_need_one_thread(open_log: Open) -> None:
    log = open_log()
    followers = [Follower(log) for _ in range(20)]
    for n in range(30):
        log.append(str(n))
        log.flush()
    for follower in followers:
        assert contents(follower.wait_for(30)) == [str(n) for n in range(30)]
    names = [thread.name for thread in threading.enumerate()]
    assert names.count("timelog-follow") == 1
    for follower in followers:
        follower.end()
    log.close()
    for thread in threading.enumerate():
        if thread.name == "timelog-follow":
            thread.join(60)
            assert not thread.is_alive()


def test_an_async_following_leaves_the_loop_free(open_log: Open) -> None:
    log = open_log(flush_interval=0.01)

    async def read(number: int) -> list[Item]:
        found: list[Item] = []
        async for item in log.follow(0):
            found.append(item)
            if len(found) == number:
                break
        return found

    async def write() -> None:
        for n in range(40):
            log.append(str(n))
            await asyncio.sleep(0)

    async def run() -> list[list[Item]]:
        readers = [asyncio.create_task(read(40)) for _ in range(40)]
        await write()
        return await asyncio.wait_for(asyncio.gather(*readers), 60)

    for found in asyncio.run(run()):
        assert contents(found) == [str(n) for n in range(40)]
    log.close()


def test_a_loop_that_is_closed_does_not_trouble_the_flush(open_log: Open) -> None:
    log = open_log()
    loop = asyncio.new_event_loop()
    following = log.follow()

    async def begin() -> None:
        task = asyncio.ensure_future(following.__anext__())
        while not log._store.news._callbacks:
            await asyncio.sleep(0)
        task.get_coro()

    loop.run_until_complete(begin())
    tasks = asyncio.all_tasks(loop)
    loop.close()
    log.append("x")
    log.flush()
    assert contents(now(log)) == ["x"]
    for task in tasks:
        # Nobody awaits it any more.
        task._log_destroy_pending = False  # type: ignore[attr-defined]


def test_an_async_following_ends_when_it_is_stopped(open_log: Open) -> None:
    log = open_log()
    stop = threading.Event()

    async def run() -> list[Item]:
        asyncio.get_running_loop().call_soon(stop.set)
        return [item async for item in log.follow(0, stop=stop)]

    assert asyncio.run(run()) == []


def test_a_child_follows_what_the_parent_writes(open_log: Open) -> None:
    log = open_log()
    follower = Follower(log)
    log.append("one")
    log.flush()
    follower.wait_for(1)
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        with suppress(BaseException):
            following = log.follow(0)
            os.write(write, b"r")
            got = [next(following), next(following)]
            assert contents(got) == ["one", "two"]
            os.write(write, b"y")
        os._exit(0)
    assert os.read(read, 1) == b"r"
    log.append("two")
    log.flush()
    os.waitpid(child, 0)
    assert os.read(read, 1) == b"y"
    os.close(read)
    os.close(write)
    follower.end()


# -- gaps ----------------------------------------------------------------------------------------


def test_what_expired_unseen_is_a_gap(open_log: Open) -> None:
    log = open_log(storage=Clock(), **OPTIONS)
    for day in range(3):
        for n in range(4):
            log.append(f"{day} {n}", timestamp=to_datetime(START + day * DAY + n))
        log.flush()
    following = log.follow(0)
    assert contents([next(following)]) == ["0 0"]
    following.close()
    log.expire(partitions=1)
    items = now(log, following.cursor)
    assert items[0] == Gap(1, 7, "expired")
    assert contents(items) == [f"2 {n}" for n in range(4)]
    # A filter does not know what was there.
    assert now(log, 0, pattern="no such text") == [Gap(0, 7, "expired")]
    log.expire(age="1 day")
    assert now(log) == [Gap(0, 11, "expired")]


def test_damage_is_a_gap_and_what_follows_comes(path: Path, open_log: Open) -> None:
    log = open_log(**OPTIONS)
    for minute in range(3):
        for n in range(4):
            log.append(f"{minute} {n}", timestamp=to_datetime(START + minute * MINUTE + n))
        log.flush()
    log.close()
    second = sorted(path.glob("[0-9]*/*.jsonl"))[1]
    text = bytearray(second.read_bytes())
    text[70] ^= 1
    second.write_bytes(text)
    log = open_log(mode="r")
    items = now(log)
    assert gaps(items) == [Gap(4, 7, "damaged")]
    assert contents(items) == [f"{m} {n}" for m in (0, 2) for n in range(4)]
    assert log.health().damage


def test_a_damaged_index_file_is_a_gap(path: Path, open_log: Open) -> None:
    log = open_log(**OPTIONS)
    for day in range(2):
        log.append(str(day), timestamp=to_datetime(START + day * DAY))
        log.flush()
    write_checkpoint(log._store.layout, log._store.storage, log._store.index)
    log.close()
    first = sorted((path / ".timelog" / "index").glob("*.index"))[0]
    first.write_bytes(b"nothing")
    log = open_log(mode="r")
    assert now(log)[0] == Gap(0, 0, "damaged")
    assert contents(now(log)) == ["1"]


def test_what_was_deleted_is_passed_over(open_log: Open) -> None:
    log = open_log(**OPTIONS)
    ids = [log.append(str(n)) for n in range(5)]
    log.flush()
    log.delete(ids[0])
    log.delete(ids[2], erase=True)
    log.delete(ids[4], erase=True)
    log.append("the only one of its day", timestamp=0, id="alone")
    log.delete("alone", erase=True)
    assert [item[0] for item in now(log)] == [1, 3]
    assert not gaps(now(log))


def test_an_error_does_not_end_it(open_log: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    log = open_log()
    log.append("x")
    log.flush()
    following = log.follow(0, wait=False)

    def fail(*args: object) -> None:
        raise StorageError(24, "too many open files")

    with monkeypatch.context() as patch:
        patch.setattr(arrivals.Arrivals, "read", fail)
        with pytest.raises(StorageError):
            next(following)
    assert contents(list(following)) == ["x"]


# -- cursors -------------------------------------------------------------------------------------


def test_a_named_follower_goes_on_where_it_saved(path: Path, open_log: Open) -> None:
    log = open_log()
    for n in range(6):
        log.append(str(n))
    log.flush()
    following = log.follow(0, name="mailer")
    assert contents([next(following), next(following)]) == ["0", "1"]
    following.save()
    next(following)
    log.close()
    log = open_log()
    assert contents(now(log, 0, name="mailer")) == ["2", "3", "4", "5"]
    assert contents(now(log, 4, name="other")) == ["4", "5"]
    with pytest.raises(InvalidInput, match="name="):
        log.follow().save()
    with open_log(mode="r") as reader:
        following = reader.follow(name="mailer", wait=False)
        next(following)
        with pytest.raises(ReadOnlyError):
            following.save()


def test_the_place_can_be_stored_with_what_became_of_the_events(open_log: Open) -> None:
    log = open_log()
    log.append_many({"content": str(n), "source": "in"} for n in range(4))
    log.flush()
    following = log.follow(0, source="in", name="double", wait=False)
    for item in following:
        assert isinstance(item, Entry)
        made = {"content": item.event.content * 2, "source": "out"}
        log.append_many([made], cursor=("follow:double", following.cursor))
    log.flush()
    assert contents(now(log, name="double", source="in")) == []
    assert [event.content for event in log.search(source="out")] == ["00", "11", "22", "33"]


def test_a_cursor_of_another_log_or_ahead_of_it_is_refused(tmp_path: Path, open_log: Open) -> None:
    one, two = open_log(tmp_path / "one"), open_log(tmp_path / "two")
    one.append("x")
    one.flush()
    following = one.follow(0, wait=False)
    list(following)
    with pytest.raises(CursorError, match="another log"):
        two.follow(following.cursor)
    with pytest.raises(CursorError, match="ahead"):
        one.follow(2)
    for bad in ("", "1", ":1", "a:b", "a:1:2", "a:-1", "a:1:x:y", "a:" + "9" * 30):
        with pytest.raises(CursorError, match="not a cursor"):
            one.follow(bad)
    for wrong in (-1, True, 1.5, b"x"):
        with pytest.raises(InvalidInput):
            one.follow(wrong)  # type: ignore[arg-type]
    with pytest.raises(InvalidPattern):
        one.follow(pattern="(")


def test_a_log_that_lost_its_end_refuses_a_cursor_of_it(path: Path, open_log: Open) -> None:
    log = open_log()
    log.append("one")
    log.flush()
    journal = next((path / ".timelog" / "journal").iterdir())
    before = {file: file.read_bytes() for file in (journal, path / ".timelog" / "lock")}
    segments = {file: file.read_bytes() for file in path.glob("[0-9]*/*")}
    log.append("two")
    log.flush()
    following = log.follow(0, wait=False)
    list(following)
    abandon(log)
    # As after a power cut where nothing was synced.
    for file, data in {**before, **segments}.items():
        file.write_bytes(data)
    log = open_log()
    log.append("other")
    log.flush()
    with pytest.raises(CursorError, match="another event"):
        log.follow(following.cursor)


def test_a_cursor_moves_over_what_does_not_match(open_log: Open) -> None:
    log = open_log()
    for n in range(10):
        log.append(str(n))
    log.flush()
    following = log.follow(0, pattern="^3$", wait=False)
    assert len(list(following)) == 1
    assert following.position == 10
    assert now(log, following.cursor) == []


# -- the kernel's notice -------------------------------------------------------------------------


@pytest.fixture
def watched(tmp_path: Path) -> Iterator[inotify.Inotify]:
    watch = inotify.Inotify(tmp_path)
    yield watch
    watch.close()


def test_inotify_returns_when_a_file_changes_or_somebody_wakes_it(
    tmp_path: Path, watched: inotify.Inotify
) -> None:
    (tmp_path / "file").write_text("x")
    watched.wait(60)
    watched.wake()
    watched.wait(60)
    watched.wait(0)


def test_inotify_says_where_it_cannot_watch(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="No such file"):
        inotify.Inotify(tmp_path / "missing")

"""Deleting single events: hidden at once and for ever, erased, and proved."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import timelog
from tests.clocked import MIDNIGHT, Clocked
from timelog import errors
from timelog.timestamp import DAY, SECOND

Open = Callable[..., timelog.EventLog]


@pytest.fixture
def clock() -> Clocked:
    return Clocked()


def fill(log: timelog.EventLog, number: int = 30) -> list[str]:
    """Events of one minute of yesterday and of one of today; their ids."""
    ids = []
    for day in (1, 0):
        for n in range(number):
            at = (MIDNIGHT - day * DAY) / SECOND + n
            ids.append(log.append(f"secret {day} {n}", timestamp=at, tags=["t"], source="s"))
    log.sync()
    return ids


def contents(log: timelog.EventLog, **asked: object) -> list[str]:
    return [event.content for event in log.search(**asked)]  # type: ignore[arg-type]


def text_of(path: Path) -> bytes:
    return b"".join(file.read_bytes() for file in sorted(path.glob("2*/*")))


def line_of(log: timelog.EventLog, content: str) -> bytes:
    return next(line for line in text_of(log.path).split(b"\n") if content.encode() in line)


def test_a_deleted_event_is_gone_from_every_search(open_log: Open, clock: Clocked) -> None:
    log = open_log(storage=clock)
    ids = fill(log)
    log.index_text()
    reader = open_log(mode="r", storage=clock)
    assert len(contents(reader)) == 60
    for n in (0, 29, 45):
        done = log.delete(ids[n])
        assert (done.position, done.id, done.is_erased) == (n, ids[n], False)
    for each in (log, reader):
        assert len(contents(each)) == len(contents(each, order="desc")) == 57
        assert each.search().count() == each.search(tags=["t"]).count() == 57
        assert each.search(pattern="secret 1 0$").first() is None
        assert each.search(pattern="secret 1 0$").count() == 0
        assert each.search(as_of=40).count() == 38
        assert "secret 0 15" not in contents(each, source="s")
        for n in (0, 29, 45):
            with pytest.raises(timelog.EventNotFound):
                each.get(ids[n])
    log.close()
    log = open_log(storage=clock)
    assert len(contents(log)) == 57
    assert log.verify(deep=True).ok


def test_its_text_goes_with_the_next_compaction(open_log: Open, clock: Clocked) -> None:
    log = open_log(storage=clock)
    ids = fill(log)
    log.delete(ids[3])
    assert b'"secret 1 3"' in text_of(log.path)
    before = contents(log)
    assert log.compact().erased == 1
    assert b'"secret 1 3"' not in text_of(log.path)
    assert contents(log) == before
    assert [deletion.is_erased for deletion in log.deletions()] == [True]


@pytest.mark.parametrize("day", [1, 0])
def test_it_can_be_erased_now_of_a_day_that_goes_on_too(
    open_log: Open, clock: Clocked, day: int
) -> None:
    log = open_log(storage=clock)
    ids = fill(log)
    n = 7 if day else 37
    done = log.delete(ids[n], erase=True)
    assert done.is_erased
    assert f'"secret {day} 7"'.encode() not in text_of(log.path)
    assert len(contents(log)) == 59
    log.append(f"secret {day} more", timestamp=(MIDNIGHT - day * DAY) / SECOND + 40)
    log.sync()
    assert len(contents(log)) == 60
    assert log.verify(deep=True).ok
    log.close()
    assert len(contents(open_log(storage=clock))) == 60


def test_an_archive_is_erased_as_well(open_log: Open, clock: Clocked) -> None:
    pytest.importorskip("zstandard")
    log = open_log(storage=clock)
    ids = fill(log)
    log.compact(archive=True)
    assert log.delete(ids[3], erase=True).is_erased
    assert "secret 1 3" not in contents(log)
    assert sorted(file.suffix for file in log.path.glob("2*/*")) == [".jsonl", ".zst"]
    assert log.verify(deep=True).ok


def test_what_is_in_memory_is_stored_first(open_log: Open, clock: Clocked) -> None:
    log = open_log(storage=clock)
    id = log.append("just now")
    log.append("another")
    log.delete(id)
    assert contents(log) == ["another"]


def test_of_several_with_one_id_the_first_goes_first(open_log: Open, clock: Clocked) -> None:
    log = open_log(storage=clock)
    for n in range(3):
        log.append(f"copy {n}", id="same", timestamp=(MIDNIGHT - DAY) / SECOND + n)
    for n in range(3):
        assert log.get("same").content == f"copy {n}"
        log.delete("same")
    with pytest.raises(timelog.EventNotFound):
        log.delete("same")
    assert len(list(log.deletions())) == 3


def test_a_deletion_can_be_proved_and_only_with_the_log(
    open_log: Open, clock: Clocked, tmp_path: Path
) -> None:
    log = open_log(storage=clock)
    ids = fill(log)
    line = line_of(log, "secret 1 5")
    other_line = line_of(log, "secret 1 6")
    done = log.delete(ids[5], erase=True)
    for given in (line, line + b"\n", line.decode()):
        assert log.proof(given) == done
    assert log.proof(other_line) is None
    assert log.proof(line.replace(b"secret 1 5", b"secret 1 7")) is None
    with pytest.raises(errors.InvalidInput, match="not the line of an event"):
        log.proof("secret")
    key = (log.path / ".timelog" / "state" / "key").read_bytes()
    assert len(key) == 32
    another = open_log(tmp_path / "another", storage=clock)
    another.append_many([{"content": "secret 1 5", "id": ids[5]}])
    assert another.delete(ids[5]).digest != done.digest


def test_the_key_is_made_once_and_its_damage_is_told(open_log: Open, clock: Clocked) -> None:
    log = open_log(storage=clock)
    ids = fill(log)
    log.delete(ids[0])
    file = log.path / ".timelog" / "state" / "key"
    key = file.read_bytes()
    log.delete(ids[1])
    assert file.read_bytes() == key
    assert file.stat().st_mode & 0o777 == 0o600
    file.write_bytes(key[:-1])
    with pytest.raises(errors.DamagedError, match="damaged"):
        log.delete(ids[2])
    assert "secret 1 2" in contents(log)


def test_what_is_not_there_or_no_id_is_refused(open_log: Open, clock: Clocked) -> None:
    log = open_log(storage=clock)
    ids = fill(log)
    log.delete(ids[0])
    position = log.position
    for id in (ids[0], "nope"):
        with pytest.raises(timelog.EventNotFound):
            log.delete(id)
    with pytest.raises(errors.InvalidEvent):
        log.delete("")
    assert log.position == position
    log.expire(partitions=1)
    with pytest.raises(timelog.EventNotFound):
        log.delete(ids[1])
    assert list(log.deletions()) == []
    reader = open_log(mode="r", storage=clock)
    with pytest.raises(errors.ReadOnlyError):
        reader.delete(ids[40])


def test_an_event_in_a_damaged_block_is_not_deleted_singly(open_log: Open, clock: Clocked) -> None:
    log = open_log(storage=clock)
    ids = fill(log)
    position = 3
    event = log.get(ids[position])
    file = next(each for each in sorted(log.path.glob("2*/*")))
    data = bytearray(file.read_bytes())
    data[data.index(b"secret 1 9")] ^= 1
    file.write_bytes(data)
    fresh = open_log(storage=clock)
    with pytest.raises(errors.DamagedError, match="may be where something is damaged"):
        fresh.delete(event.id)
    with pytest.raises(errors.DamagedError, match="cannot be deleted singly"):
        log._store.deleter.delete(event.id, position, int(event.timestamp.timestamp() * SECOND))


def test_processes_delete_beside_each_other(open_log: Open, clock: Clocked) -> None:
    log = open_log(storage=clock)
    ids = fill(log)
    script = (
        f"import timelog; log = timelog.open({str(log.path)!r}); "
        f"[log.delete(id) for id in {ids[:10]!r}]; log.close()"
    )
    child = subprocess.Popen([sys.executable, "-c", script])
    for id in ids[30:40]:
        log.delete(id)
    assert child.wait(timeout=60) == 0
    assert len(contents(log)) == 40
    assert len(list(log.deletions())) == 20
    assert log.compact().erased == 10


def test_a_segment_that_is_written_to_all_the_time_is_erased_as_well(
    open_log: Open, clock: Clocked, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where another flush comes between each time, that one has to wait at last."""
    log = open_log(storage=clock)
    ids = fill(log)
    compactor = log._store.upkeep.compactor
    plain = compactor._is_same
    came: list[str] = []

    def busy(path: str, blocks: object) -> bool:
        if not log._store.flusher.committer._is_taken or len(came) < 3:
            came.append(path)
            return False
        return plain(path, blocks)  # type: ignore[arg-type]

    monkeypatch.setattr(compactor, "_is_same", busy)
    assert log.delete(ids[37], erase=True).is_erased
    assert len(came) == 3
    assert b'"secret 0 7"' not in text_of(log.path)
    assert log.verify(deep=True).ok

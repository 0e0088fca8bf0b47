"""The tools, and the independent reader that holds docs/format.md against the log."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import timelog
from tests.aged import make_aged
from tests.rig import FaultyStorage, Killed, abandon
from timelog import finder, rotate
from tools import check_plan

TOOLS = Path(__file__).parents[1] / "tools"


@pytest.fixture
def long_lived(ram: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A log with checkpoints, day files, late events, a cursor, and a killed flush repaired."""
    path = ram / "log"
    monkeypatch.setattr(rotate, "MOST_COMMITS", 4)
    for round in range(6):
        storage = FaultyStorage()
        log = timelog.open(path, flush_interval=3600.0, storage=storage)
        log.append_many(
            [
                {"content": f'{round} ü\n"{n}"', "timestamp": n * 7, "tags": ["t"], "source": "s"}
                for n in range(9)
            ],
            cursor=("place", round),
        )
        log.sync()
        log.append_many({"content": "many", "timestamp": n * 60} for n in range(round * 10))
        log.append("x", fields={"a": [1, {"b": None}]}, sync=True)
        if round % 2:
            log.append("killed")
            storage.arm("torn", only="write")
            with pytest.raises(Killed):
                log.flush()
            abandon(log)
        else:
            log.close()
    with timelog.open(path) as log:
        log.append("last", sync=True)
    return path


def run(tool: str, *args: object) -> str:
    command = [sys.executable, str(TOOLS / tool), *map(str, args)]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def test_an_independent_reader_reads_what_timelog_reads(long_lived: Path) -> None:
    found = [json.loads(line) for line in run("reader.py", long_lived).splitlines()]
    with timelog.open(long_lived, mode="r") as log:
        assert len(found) == log.position > 200
        expected = [
            (event.id, event.source, list(event.tags), event.content, event.fields)
            for event in log.search()
        ]
    assert sorted(map(repr, expected)) == sorted(
        repr((e["id"], e["source"], e["tags"], e["content"], e.get("fields", {}))) for e in found
    )
    assert [e["content"] for e in found if e["content"].endswith('"0"')] == [
        f'{round} ü\n"0"' for round in range(6)
    ]


@pytest.mark.parametrize("checkpoint", [True, False])
@pytest.mark.parametrize("archive", [True, False])
def test_it_reads_a_log_that_has_lived(ram: Path, checkpoint: bool, archive: bool) -> None:
    path = ram / "log"
    expected = [event.id for event in make_aged(path, checkpoint=checkpoint, archive=archive)]
    for is_compacted in (False, True):
        if is_compacted:
            with timelog.open(path) as log:
                log.compact(archive=archive)
        found = [json.loads(line)["id"] for line in run("reader.py", path).splitlines()]
        assert sorted(found) == sorted(expected)
        # In order of arrival: by flush, day and minute.
        order = [int(id.split(".")[0]) // 2 for id in found]
        assert order == sorted(order)


def test_it_reads_positions_that_are_packed(ram: Path) -> None:
    path = ram / "log"
    with timelog.open(path, flush_interval=3600.0, compact_after=None) as log:
        for n in range(200):
            log.append(f"{n}", timestamp=(n * 7) % 199 / 10)
        log.flush()
        assert log.compact(archive=True).days == 1
    found = [json.loads(line)["content"] for line in run("reader.py", path).splitlines()]
    assert found == [f"{n}" for n in range(200)]
    assert "and more up to 200" in run("dump.py", path / ".timelog/journal/0000000001.journal")


def test_the_independent_reader_stays_short_and_independent() -> None:
    text = (TOOLS / "reader.py").read_text()
    lines = text.split('"""')[2].splitlines()
    code = [line for line in lines if line and not line.startswith(("import ", "from "))]
    assert len(code) <= 75 and "import timelog" not in text


def test_dump_tells_every_file_in_words(long_lived: Path) -> None:
    files = [file for file in sorted(long_lived.rglob("*")) if file.is_file()]
    files = [file for file in files if file.parent.name != "quarantine"]
    text = run("dump.py", *files)
    for file in files:
        assert f"{file}: {file.stat().st_size} bytes" in text
    for words in (
        "begin of file",
        "commit",
        "checkpoint",
        "cursor 'place' = 5",
        "ledger of",
        "nothing is",
    ):
        assert words in text


@pytest.mark.parametrize("checkpoint", [True, False])
def test_dump_tells_what_went(ram: Path, checkpoint: bool) -> None:
    path = ram / "log"
    make_aged(path, checkpoint=checkpoint)
    with timelog.open(path, retention="10000 days"):
        pass
    text = run("dump.py", *(file for file in sorted(path.rglob("*")) if file.is_file()))
    for words in (
        "deleted and hidden: position 97, id '2.0.1.1', 2024-10-06T00:00:02.000001Z, digest ",
        "all others before 2024-10-05T00:00:00.000000Z",
        "tag:drop before 2",
        "0 frame, 4666 bytes of text, ",
        "of text in a frame at 0 to ",
        '"age":864000000000000',
        "the key of the digests",
    ):
        assert words in text, words
    if checkpoint:
        assert "36 expired, 1 deleted, 1 erased" in text
        assert "deleted and erased: position 18, id '1.1.0.2'" in text
    else:
        assert "expired: 2024-10-04, 36 events; hidden: " in text
        assert "replaced in 2024-10-05: 0 events expired, erased [18]" in text


def test_dump_tells_the_files_of_a_snapshot(long_lived: Path, tmp_path: Path) -> None:
    with timelog.open(long_lived) as log:
        made = Path(log.snapshot(tmp_path / "snapshots").path)
    text = run("dump.py", *(file for file in sorted(made.rglob("*")) if file.is_file()))
    assert "periodic snapshot of log" in text
    assert f" {(made / '.timelog' / 'format').stat().st_size} " in text


def test_dump_says_what_it_cannot_read(
    tmp_path: Path, open_log: Callable[..., timelog.EventLog]
) -> None:
    stray = tmp_path / "stray.bak"
    stray.write_text("x")
    done = subprocess.run(
        [sys.executable, str(TOOLS / "dump.py"), stray], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1 and "not one of a log's files" in done.stderr


def test_check_plan_finds_no_difference_and_says_what_each_way_found(long_lived: Path) -> None:
    text = run("check_plan.py", long_lived)
    assert text.endswith("16 patterns, 0 with differences\n")
    assert "only hyperscan" in text and "nothing ruled out" in text


def test_check_plan_tells_a_way_that_loses_a_match(
    open_log: Callable[..., timelog.EventLog],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    log = open_log()
    log.append("all is well", sync=True)
    patterns = tmp_path / "patterns"
    patterns.write_text("is well\n")
    assert check_plan.main([str(log.path), str(patterns)]) == 0
    # A finder that overlooks everything.
    monkeypatch.setattr(finder.TextFinder, "lines", lambda self, data, most: finder.Lines([], []))
    assert check_plan.main([str(log.path), str(patterns)]) == 1
    assert "DIFFERENT" in capsys.readouterr().out


def test_check_plan_refuses_what_is_no_log_or_no_pattern(
    tmp_path: Path, open_log: Callable[..., timelog.EventLog], capsys: pytest.CaptureFixture[str]
) -> None:
    patterns = tmp_path / "patterns"
    patterns.write_text("(\n")
    assert check_plan.main([str(tmp_path / "none")]) == 2
    assert check_plan.main([str(open_log().path), str(patterns)]) == 2
    assert "does not compile" in capsys.readouterr().err

"""Exports: what a search finds, whole or not at all, and nothing that a spreadsheet would run."""

from __future__ import annotations

import csv
import io
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import duckdb
import pyarrow.parquet
import pytest
from hypothesis import given
from hypothesis import strategies as st

import timelog
from timelog import Event
from timelog.errors import InvalidInput, StorageError
from timelog.exchange import parquet
from timelog.exchange.ndjson import export_jsonl
from timelog.exchange.parquet import export_parquet
from timelog.exchange.table import COLUMNS, export_csv

EVENTS: list[dict[str, Any]] = [
    {"timestamp": f"2026-07-01T10:00:0{n}Z", "id": f"id-{n}", **rest}
    for n, rest in enumerate(
        [
            {"content": "plain", "source": "sshd", "tags": ["auth", "b, c"]},
            {"content": 'größe "quoted", with\nlines', "fields": {"a": [1, None, {"b": "é"}]}},
            {"content": "=HYPERLINK(1)", "source": "+1", "tags": ["=x"]},
            {"content": "@SUM(1)", "source": "-"},
            {"content": ""},
            {"content": "\t=1\x00\x1b[31m", "source": "＝x"},
        ]
    )
]  # fmt: skip


@pytest.fixture
def log(path: Path) -> Iterator[timelog.EventLog]:
    with timelog.open(path, flush_interval=3600.0) as log:
        log.append_many(EVENTS[:4])
        log.flush()
        log.append_many(EVENTS[4:])
        yield log


def test_json_lines_are_those_of_the_log(log: timelog.EventLog, path: Path, tmp_path: Path) -> None:
    assert export_jsonl(log.search(), tmp_path / "out") == 6
    log.flush()
    segments = b"".join(file.read_bytes() for file in sorted(path.glob("2*/*.jsonl")))
    assert (tmp_path / "out").read_bytes() == segments


def test_an_open_file_is_written_and_left_open(log: timelog.EventLog) -> None:
    for act in (export_jsonl, export_csv, export_parquet):
        file = io.BytesIO()
        file.write(b"before")
        assert act(log.search(tags=["auth"]), file) == 1
        assert not file.closed and file.getvalue().startswith(b"before")


def test_csv_comes_back_by_a_reader_of_csv(log: timelog.EventLog, tmp_path: Path) -> None:
    out = tmp_path / "out.csv"
    assert export_csv(log.search(), out, exact=True) == 6
    text = out.read_bytes().decode()
    assert text.startswith("timestamp,id,source,tags,content,fields\r\n")
    rows = list(csv.DictReader(io.StringIO(text, newline="")))
    for row, event in zip(rows, log.search(), strict=True):
        assert row["timestamp"] == event.timestamp.isoformat(timespec="microseconds")[:26] + "Z"
        assert (row["id"], row["source"], row["content"]) == (
            event.id, event.source, event.content
        )  # fmt: skip
        assert json.loads(row["tags"]) == list(event.tags)
        assert (json.loads(row["fields"]) if row["fields"] else {}) == event.fields


def test_csv_is_safe_for_a_spreadsheet(log: timelog.EventLog, tmp_path: Path) -> None:
    export_csv(log.search(), tmp_path / "out.csv")
    with (tmp_path / "out.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["content"] for row in rows] == [
        "plain",
        'größe "quoted", with\nlines',
        "'=HYPERLINK(1)",
        "'@SUM(1)",
        "",
        "'\t=1\x00\x1b[31m",
    ]
    assert [row["source"] for row in rows] == ["sshd", "", "'+1", "'-", "", "'＝x"]
    assert rows[2]["tags"] == '["=x"]'


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=12), max_size=5))
def test_no_cell_begins_as_a_formula(texts: list[str]) -> None:
    now = datetime.now(UTC)
    events = [Event(now, "x", text, tuple(filter(None, texts)), text) for text in texts]
    file = io.BytesIO()
    export_csv(events, file)
    rows = list(csv.reader(io.StringIO(file.getvalue().decode(), newline="")))
    assert rows[0] == list(COLUMNS) and len(rows) == len(texts) + 1
    for row, text in zip(rows[1:], texts, strict=True):
        assert not any(cell[:1] in "=+-@\t\r\n" for cell in row if cell)
        assert row[4] in (text, f"'{text}")


def test_parquet_has_the_columns_of_arrow(log: timelog.EventLog, tmp_path: Path) -> None:
    out = tmp_path / "out.parquet"
    assert export_parquet(log.search(), out) == 6
    table = pyarrow.parquet.read_table(out)
    assert table.schema.names == list(COLUMNS)
    assert table.to_pylist() == [
        {
            "timestamp": event.timestamp,
            "id": event.id,
            "source": event.source,
            "tags": list(event.tags),
            "content": event.content,
            "fields": json.dumps(event.fields, ensure_ascii=False, separators=(",", ":"))
            if event.fields
            else None,
        }
        for event in log.search()
    ]
    found = duckdb.sql(
        f"SELECT fields->>'$.a[2].b' FROM '{out}' WHERE list_contains(tags, 'auth') "
        "OR fields IS NOT NULL ORDER BY timestamp"
    ).fetchall()
    assert found == [(None,), ("é",)]


def test_parquet_is_written_in_row_groups(
    log: timelog.EventLog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("timelog.arrow.MOST_ROWS", 50)
    monkeypatch.setattr(parquet, "_MOST_ROWS", 120)
    log.append_many({"content": f"event {number}"} for number in range(494))
    assert export_parquet(log.search(), tmp_path / "out") == 500
    file = pyarrow.parquet.ParquetFile(tmp_path / "out")
    assert [file.metadata.row_group(n).num_rows for n in range(file.num_row_groups)] == [100] * 5
    assert file.read().column("content").to_pylist() == [each.content for each in log.search()]
    monkeypatch.setattr(parquet, "_MOST_BYTES", 1)
    export_parquet(log.search(), tmp_path / "small")
    assert pyarrow.parquet.ParquetFile(tmp_path / "small").num_row_groups == 10


def test_nothing_found_is_a_file_all_the_same(log: timelog.EventLog, tmp_path: Path) -> None:
    none = log.search(source="none")
    assert export_jsonl(none, tmp_path / "a") == 0
    assert export_csv(none, tmp_path / "b") == 0
    assert export_parquet(none, tmp_path / "c") == 0
    assert (tmp_path / "a").read_bytes() == b""
    assert (tmp_path / "b").read_bytes().count(b"\n") == 1
    assert pyarrow.parquet.read_table(tmp_path / "c").num_rows == 0


def test_parquet_without_pyarrow(
    log: timelog.EventLog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(timelog.errors.MissingExtra, match=r"timelog\[arrow\]"):
        export_parquet(log.search(), tmp_path / "out")
    assert not (tmp_path / "out").exists()


# -- whole or not at all ------------------------------------------------------------------------


def failing(log: timelog.EventLog) -> Iterator[Event]:
    yield from log.search()
    raise ValueError("in the middle")


def test_what_fails_leaves_nothing(log: timelog.EventLog, tmp_path: Path) -> None:
    folder = tmp_path / "out"
    folder.mkdir()
    for act in (export_jsonl, export_csv):
        with pytest.raises(ValueError, match="in the middle"):
            act(failing(log), folder / "new")
        (folder / "old").write_text("old")
        with pytest.raises(ValueError, match="in the middle"):
            act(failing(log), folder / "old", overwrite=True)
        assert [each.name for each in folder.iterdir()] == ["old"]
        assert (folder / "old").read_text() == "old"


def test_a_file_that_is_there_stays(log: timelog.EventLog, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.write_text("mine")
    for act in (export_jsonl, export_csv, export_parquet):
        with pytest.raises(InvalidInput, match="there already"):
            act(log.search(), out)
    assert out.read_text() == "mine"
    export_jsonl(log.search(), out, overwrite=True)
    assert out.read_bytes().count(b"\n") == 6
    assert out.stat().st_mode & 0o777 == 0o600


def test_a_file_that_comes_meanwhile_stays(log: timelog.EventLog, tmp_path: Path) -> None:
    out = tmp_path / "out"

    def events() -> Iterator[Event]:
        yield from log.search()
        out.write_text("theirs")

    with pytest.raises(InvalidInput, match="there already"):
        export_jsonl(events(), out)
    assert out.read_text() == "theirs"
    assert [each.name for each in tmp_path.iterdir() if each.is_file()] == ["out"]


def test_a_file_system_without_links(
    log: timelog.EventLog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any) -> None:
        raise PermissionError(1, "not permitted")

    monkeypatch.setattr(os, "link", refuse)
    assert export_jsonl(log.search(), tmp_path / "out") == 6
    with pytest.raises(InvalidInput):
        export_jsonl(log.search(), tmp_path / "out")
    assert [each.name for each in tmp_path.iterdir() if each.is_file()] == ["out"]


def test_where_nothing_can_be_written(log: timelog.EventLog, tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="writing"):
        export_jsonl(log.search(), tmp_path / "none" / "out")
    with pytest.raises(InvalidInput, match="not a plain"):
        export_jsonl(log.search(), tmp_path, overwrite=True)
    with pytest.raises(InvalidInput, match="not a plain"):
        export_jsonl(log.search(), "/dev/null", overwrite=True)


def test_a_link_stays_a_link(log: timelog.EventLog, tmp_path: Path) -> None:
    (tmp_path / "real").write_text("x")
    (tmp_path / "link").symlink_to("real")
    export_jsonl(log.search(), tmp_path / "link", overwrite=True)
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real").read_bytes().count(b"\n") == 6


# -- the command ------------------------------------------------------------------------------


def run(path: Path, *words: str) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [sys.executable, "-m", "timelog", "--dir", str(path), "export", *words],
        capture_output=True, timeout=60, check=False,
    )  # fmt: skip
    return subprocess.CompletedProcess(
        done.args, done.returncode, done.stdout.decode(), done.stderr.decode()
    )


def test_the_command(log: timelog.EventLog, path: Path, tmp_path: Path) -> None:
    log.flush()
    done = run(path, "-g", "plain|SUM", "-S", "2026-07-01", "-U", "2026-07-02")
    assert (done.returncode, done.stderr) == (0, "")
    assert [json.loads(line)["id"] for line in done.stdout.splitlines()] == ["id-0", "id-3"]
    out = str(tmp_path / "out")
    assert run(path, "--format", "csv", "-t", "auth", "-s", "sshd", "-O", out).returncode == 0
    assert Path(out).read_text().count("\n") == 2
    done = run(path, "-O", out)
    assert done.returncode == 2 and "--force replaces it" in done.stderr
    assert run(path, "--format", "parquet", "-O", out, "--force").returncode == 0
    assert pyarrow.parquet.read_table(out).num_rows == 6
    done = run(path, "--format", "csv", "--exact", "-g", "^=")
    assert ",=HYPERLINK(1)," in done.stdout and ",+1," in done.stdout
    assert run(path, "-g", "nothing of the kind").returncode == 1


def test_the_command_and_its_mistakes(log: timelog.EventLog, path: Path, tmp_path: Path) -> None:
    for words, said in (
        (("--format", "parquet"), "name it with -O"),
        (("--exact",), "--exact is for --format csv"),
        (("-O", str(path / "out")), "part of the log"),
        (("-g", "("), "not a regular expression"),
    ):
        done = run(path, *words)
        assert (done.returncode, said in done.stderr) == (2, True), done.stderr
    assert not (path / "out").exists()


def test_damage_is_never_exported_silently(path: Path, tmp_path: Path) -> None:
    with timelog.open(path) as log:
        log.append_many(EVENTS)
    (segment,) = path.glob("2*/*.jsonl")
    text = bytearray(segment.read_bytes())
    text[100] ^= 1
    segment.write_bytes(text)
    done = run(path, "-O", str(tmp_path / "out"))
    assert done.returncode == 3 and "damaged" in done.stderr

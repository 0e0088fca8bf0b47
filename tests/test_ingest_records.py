"""Records of several lines, and blocks that end anywhere."""

from __future__ import annotations

import io
import tempfile
from collections.abc import Callable
from pathlib import Path
from unittest import mock

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import timelog
from timelog import ingest
from timelog.ingest import Watcher, tail
from timelog.ingest.lines import read_lines
from timelog.ingest.once import Once
from timelog.ingest.options import Options

Open = Callable[..., timelog.EventLog]

TRACE = """\
2026-11-20 10:00:00 failed
Traceback (most recent call last):
  File "x.py", line 1

KeyError: 'x'
2026-11-20 10:00:01 goes on
  more
"""

FIRST, SECOND = TRACE[:-1].split("\n2026-11-20 10:00:01")
SECOND = "2026-11-20 10:00:01" + SECOND
INDENTED = 'Traceback (most recent call last):\n  File "x.py", line 1'


class Taken:
    """Stands for a log; keeps what it is given."""

    def __init__(self) -> None:
        self.contents: list[str] = []

    def append_many(self, events: list[dict[str, str]]) -> None:
        self.contents += [event["content"] for event in events]

    def flush(self) -> None:
        pass


def once(data: bytes, multiline: str | None, size: int = 1 << 20) -> list[str]:
    taken = Taken()
    stream = io.BytesIO(data)
    options = Options(multiline=multiline, zone="UTC")
    Once(taken, options).store(lambda most: stream.read(min(size, most)), "a", "a")  # type: ignore[arg-type]
    return taken.contents


@pytest.mark.parametrize(
    ("multiline", "records"),
    [
        (None, TRACE.splitlines()),
        ("time", [FIRST, SECOND]),
        (r"^\d{4}-", [FIRST, SECOND]),
        ("indent", ["2026-11-20 10:00:00 failed", INDENTED, "", "KeyError: 'x'", SECOND]),
    ],
)
@pytest.mark.parametrize("size", [1, 50, 10_000])
def test_lines_become_records(multiline: str | None, records: list[str], size: int) -> None:
    assert once(TRACE.encode(), multiline, size) == records


def test_a_record_over_the_limit_is_divided_between_lines() -> None:
    lines = ["start", *(f" {number} " + "x" * 1000 for number in range(3000))]
    records = once("\n".join(lines).encode(), "indent")
    assert "\n".join(records).split("\n") == lines
    assert 3 <= len(records) <= 10
    assert all(len(record) <= 1024 * 1024 for record in records)


def test_the_last_record_waits_for_the_next_or_for_quiet(open_log: Open, tmp_path: Path) -> None:
    log = open_log()
    now = 0.0
    watcher = Watcher(log, tmp_path / "a", multiline="time", monotonic=lambda: now)
    (tmp_path / "a").write_text(TRACE)
    assert watcher.read() == 1
    assert log.search().to_list()[0].content == FIRST
    assert watcher.read() == 0
    now = 6.0
    assert watcher.read() == 1
    (first, second) = log.search()
    assert second.content == SECOND
    assert first.timestamp.isoformat()[:19] < second.timestamp.isoformat()[:19]
    watcher.close()


PIECES = st.lists(
    st.sampled_from(
        [b"\n", b"a", b" ", "é€😀".encode(), b"\xff", b"start", b"\nstart ", b"x" * 30, b"\x00"]
    ),
    max_size=40,
).map(b"".join)


@settings(max_examples=30)
@given(data=PIECES, cuts=st.lists(st.integers(1, 60), max_size=5), block=st.integers(1, 40))
@pytest.mark.parametrize("multiline", [None, "^start", "indent"])
def test_a_growing_file_gives_what_the_whole_gives(
    multiline: str | None, data: bytes, cuts: list[int], block: int
) -> None:
    """However it grows, whatever the size of a block, and begun anew at any time."""
    limit = 60
    with (
        tempfile.TemporaryDirectory() as folder,
        mock.patch.object(tail, "CHUNK", block),
        mock.patch.object(tail, "MAX_CONTENT", limit),
        mock.patch.object(ingest.once, "MAX_CONTENT", limit),
        timelog.open(Path(folder) / "log", text_index=False, scrub_interval=0) as log,
    ):
        whole = data + b"\n" if data and not data.endswith(b"\n") else data
        path = Path(folder) / "a"
        clock = [0.0]
        at = 0
        for number, cut in enumerate([*cuts, len(whole)]):
            with open(path, "ab") as file:
                file.write(whole[at : at + cut])
            at += cut
            watcher = Watcher(
                log, path, multiline=multiline, timestamps="none", monotonic=lambda: clock[0]
            )
            watcher.read()
            if number == len(cuts):
                clock[0] = 6.0
                watcher.read()
            watcher.close()
        found = [event.content for event in log.search()]
    if multiline is None:
        stream = io.BytesIO(whole)
        lines = [line for part in read_lines(stream.read, limit, ingest.Tally()) for line in part]
        assert found == lines
    elif all(len(line) <= limit // 4 for line in whole.split(b"\n")):
        # How a record over the limit is divided depends on what was there; the lines do not.
        assert "\n".join(found) == whole.decode("utf-8", "backslashreplace").removesuffix("\n")

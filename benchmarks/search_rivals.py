"""The rivals of `search.py` that are no program of their own: plain loops, zstd; and SQLite filled.

All work on the segments of a log: text that is there already.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from itertools import islice
from pathlib import Path

import zstandard

import timelog
from benchmarks.ours import EPOCH
from benchmarks.rivals import BATCH, Sqlite
from timelog.codec import decode_lines

PIECE = 256 * 1024


def pieces(paths: Iterable[str]) -> Iterator[bytes]:
    """The files' lines, whole, in pieces of about 256 KiB."""
    for path in paths:
        with open(path, "rb", buffering=0) as file:
            rest = b""
            while data := file.read(PIECE):
                end = data.rfind(b"\n") + 1
                yield rest + data[:end]
                rest = data[end:]


def loop(paths: list[str], pattern: str) -> int:
    """Decode every line, keep the events in whose content `re.search` finds the pattern."""
    match = re.compile(pattern).search
    found = 0
    for piece in pieces(paths):
        found += len([event for event in decode_lines(piece) if match(event.content)])
    return found


def lines_with(paths: list[str], text: str) -> list[bytes]:
    """The lines of the events whose content holds `text`, joined to pieces of 256 KiB."""
    joined: list[bytes] = []
    part = bytearray()
    for piece in pieces(paths):
        lines = piece.splitlines(keepends=True)
        for line, event in zip(lines, decode_lines(piece), strict=True):
            if text in event.content:
                part += line
                if len(part) >= PIECE:
                    joined.append(bytes(part))
                    part.clear()
    return [*joined, bytes(part)]


def decode(prepared: list[bytes]) -> int:
    """Decode the lines and nothing else."""
    return sum(len(decode_lines(piece)) for piece in prepared)


def compress(paths: list[str]) -> int:
    """Compress the text at level 3, piece by piece; how many bytes it had."""
    squeeze = zstandard.ZstdCompressor(level=3).compress
    done = 0
    for piece in pieces(paths):
        squeeze(piece)
        done += len(piece)
    return done


def fill(folder: Path, log: timelog.EventLog, events: int) -> Sqlite:
    """The events of the log in SQLite, ids and all; kept where all `events` are there already."""
    folder.mkdir(exist_ok=True)
    store = Sqlite(folder, tag_table=True)
    if store.db.execute("SELECT count(*) FROM events").fetchone() == (events,):
        return store
    store.close()
    shutil.rmtree(folder)
    folder.mkdir()
    store = Sqlite(folder, tag_table=True)
    rows = ((_us(e.timestamp), e.id, e.source, e.tags, e.content) for e in log.search())
    store.append_many(iter(lambda: list(islice(rows, BATCH)), []))
    return store


def _us(moment: datetime) -> int:
    return (moment - EPOCH) // timedelta(microseconds=1)

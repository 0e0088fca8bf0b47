"""What strangers may put into the log's own files, or pass to its methods.

Records whose checksums hold, made by somebody who knows the format: names that lead elsewhere and
numbers that cannot be. Files full of garbage. Texts with separators and control characters.
"""

from __future__ import annotations

import copy
import logging
import random
import shutil
import struct
import sys
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgpack
import pytest

import timelog
from tests.faults import report
from tests.faults.cuts import IS_FULL, SEED
from tests.faults.planted import DAYS, NOW, alarm, make_log, open_log
from tests.rig import abandon
from timelog import names, scan
from timelog.journal import _HEADER, MARK

pytestmark = pytest.mark.timeout(600)

# Whoever opens a file of this name has left the directory.
_OUTSIDE = "timelog-outside"
_ESCAPES = [
    f"../{_OUTSIDE}",
    f"../../../../../../../../dev/shm/{_OUTSIDE}",
    f"/dev/shm/{_OUTSIDE}",
    f"2026-11-18/../../{_OUTSIDE}",
    f"2026-11-18/../../{_OUTSIDE}/20261118T1106Z-20261118T1107Z.jsonl",
    f"2026-11-18/{_OUTSIDE}\0.jsonl",
    f"{_OUTSIDE}\n",
    _OUTSIDE + "x" * 5000,
    "",
    ".",
    "..",
    "2026-11-18/",
    "./2026-11-18/20261118T1106Z-20261118T1107Z.jsonl",
    "2026-11-18//20261118T1106Z-20261118T1107Z.jsonl",
    ".timelog/lock",
    ".timelog/index/root",
]
_NUMBERS = [-1, 0, 1, 2**31, 2**32, 2**40, 2**53, 2**62, 2**63 - 1, 2**64 - 1, -(2**31), -(2**63)]
_OTHERS: list[Any] = [None, True, 1.5, "text", b"bytes", [], {}, [[]], [None], {"a": 1}]

_opened: list[str] = []
_is_watching = False


def _watch(event: str, args: tuple[Any, ...]) -> None:
    if _is_watching and event in ("open", "os.rename", "os.remove", "os.mkdir", "os.truncate"):
        _opened.extend(str(arg) for arg in args if isinstance(arg, str | bytes))


sys.addaudithook(_watch)


def attempts(log_path: Path, counts: Counter[str], expected: set[str]) -> None:
    """Use the log in every way, for reading and then for writing."""
    global _is_watching
    _opened.clear()
    for mode in "ra":
        _is_watching = True
        log = None
        try:
            with alarm():
                log = open_log(log_path, mode=mode)
        except timelog.TimelogError as error:
            counts[type(error).__name__] += 1
            assert str(error).strip()
        finally:
            _is_watching = False
        if log is None:
            continue
        for use in uses(log, expected):
            _is_watching = True
            try:
                with alarm():
                    use()
            except timelog.TimelogError as error:
                counts[type(error).__name__] += 1
            finally:
                _is_watching = False
        abandon(log)
    escaped = [path for path in _opened if _OUTSIDE in path or path == "/"]
    assert not escaped, f"left the directory: {escaped}"


def uses(log: timelog.EventLog, expected: set[str]) -> Iterator[Callable[[], object]]:
    def search(**options: Any) -> None:
        # Events are those that were written, whatever the index says of them.
        assert {event.content for event in log.search(**options)} <= expected | {"new", "old"}

    yield search
    yield lambda: search(pattern="needle3", order="desc")
    yield lambda: search(start=DAYS[1], end=NOW, tags=["all"])
    yield lambda: log.search().count()
    yield lambda: log.search(limit=3).to_list()
    yield lambda: log.get("unknown")
    yield log.files
    yield lambda: (log.cursor("place"), log.position)
    yield lambda: str(log.health())
    yield lambda: str(log.verify(deep=True))
    if log._store.options.is_writable:
        yield lambda: log.append("new", sync=True)
        yield lambda: log.append("old", timestamp=DAYS[1], sync=True)
        yield log.index_text
        yield log._store._scrub_in_background
        yield lambda: log._store.flusher._exclusive(None, True, closing=True)
        yield log.reopen


# -- records with right checksums ------------------------------------------------------------


def in_frame(mark: bytes, payload: Any) -> bytes:
    data = msgpack.packb(payload)
    return struct.pack("<4sII", mark, len(data), zlib.crc32(data)) + data


def journal_of(records: list[Any]) -> bytes:
    data = b""
    for record in records:
        payload = msgpack.packb(record)
        checked = struct.pack("<QI", len(data), len(payload))
        crc = zlib.crc32(payload, zlib.crc32(checked))
        data += _HEADER.pack(MARK, len(data), len(payload), crc) + payload
    return data


def records_of(data: bytes) -> list[Any]:
    found = []
    at = 0
    while at < len(data):
        length = _HEADER.unpack_from(data, at)[2]
        found.append(unpacked(data[at + 20 : at + 20 + length]))
        at += 20 + length
    return found


def unpacked(data: bytes) -> Any:
    return msgpack.unpackb(data, strict_map_key=False)


class Crafted:
    """The files of a log, as values that can be changed and put back with right checksums."""

    def __init__(self, path: Path) -> None:
        control = path / ".timelog"
        self.journal = sorted((control / "journal").iterdir())[-1]
        self.index = {file.name: file for file in (control / "index").glob("*.index")}
        self.root = control / "index" / "root"
        self.lock = control / "lock"
        # Whatever was longer before stands behind it.
        lock = self.lock.read_bytes()
        self.values: dict[str, Any] = {
            "journal": records_of(self.journal.read_bytes()),
            "root": unpacked(self.root.read_bytes()[12:]),
            "lock": unpacked(lock[8 : 8 + struct.unpack_from("<I", lock)[0]]),
            **{name: unpacked(file.read_bytes()[12:]) for name, file in self.index.items()},
        }
        self.values["lock"]["busy"] = {
            "pid": 1,
            "journal": int(self.journal.stem),
            "offset": len(journal_of(self.values["journal"])),
            "files": ["2026-11-18/20261118T1106Z-20261118T1107Z.jsonl"],
            "suspect": ["2026-11-17/20261117T1106Z-20261117T1107Z.jsonl"],
        }
        self.texts = {file.name: file for file in (control / "index").glob("*.text")}
        for name, file in self.texts.items():
            data = file.read_bytes()
            length = struct.unpack_from("<4sII", data)[1]
            self.values[name] = unpacked(data[12 : 12 + length])

    def places(self, what: str) -> Iterator[tuple[Any, ...]]:
        """The way to each single value, as keys one below the other."""

        def below(value: Any, way: tuple[Any, ...]) -> Iterator[tuple[Any, ...]]:
            if isinstance(value, dict):
                for key, inner in value.items():
                    yield (*way, key)
                    yield from below(inner, (*way, key))
            elif isinstance(value, list):
                # Of many that are alike, the first are enough.
                for number in range(min(len(value), 12)):
                    yield (*way, number)
                    yield from below(value[number], (*way, number))

        yield from below(self.values[what], ())

    def put(self, what: str, way: tuple[Any, ...], value: Any) -> None:
        """Write the file with one value changed; the root knows the crc of a day's index."""
        changed = copy.deepcopy(self.values[what])
        inner = changed
        for key in way[:-1]:
            inner = inner[key]
        inner[way[-1]] = value
        if what == "journal":
            self.journal.write_bytes(journal_of(changed))
        elif what == "root":
            self.root.write_bytes(in_frame(b"tlX1", changed))
        elif what == "lock":
            if way != ("inode",):
                # In a copy of the file the rest would say nothing.
                changed["inode"] = self.lock.stat().st_ino
            data = msgpack.packb(changed)
            self.lock.write_bytes(struct.pack("<II", len(data), zlib.crc32(data)) + data)
        elif what in self.texts:
            old = self.texts[what].read_bytes()
            rest = old[12 + struct.unpack_from("<4sII", old)[1] :]
            self.texts[what].write_bytes(in_frame(b"tlT1", changed) + rest)
        else:
            data = in_frame(b"tlX1", changed)
            self.index[what].write_bytes(data)
            root = copy.deepcopy(self.values["root"])
            for day in root["days"]:
                if day["file"] == what:
                    day["crc"] = zlib.crc32(data)
            self.root.write_bytes(in_frame(b"tlX1", root))


def hostile_values(old: Any) -> list[Any]:
    if isinstance(old, bool) or old is None:
        return [*_OTHERS, _NUMBERS[-1], _ESCAPES[0]]
    if isinstance(old, int):
        return [*_NUMBERS, *_OTHERS]
    if isinstance(old, str):
        return [*_ESCAPES, *_OTHERS, 7]
    return [*_OTHERS, _ESCAPES[0], _NUMBERS[-1], [old] if isinstance(old, list) else {"x": old}]


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, set[str]]:
    path = tmp_path_factory.mktemp("sample") / "log"
    return path, set(make_log(path))


@pytest.mark.parametrize("what", ["journal", "root", "lock", "day index", "text index"])
def test_crafted_records(
    ram: Path,
    sample: tuple[Path, set[str]],
    what: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.CRITICAL + 1, "timelog")
    monkeypatch.setattr(scan, "_WORTH", 0)
    original, contents = sample
    outside = Path("/dev/shm") / _OUTSIDE
    path = ram / "log"
    shutil.copytree(original, path)
    crafted = Crafted(path)
    endings = {"day index": ".index", "text index": ".text"}
    files = [name for name in crafted.values if name.endswith(endings.get(what, what))]
    if not files:
        pytest.skip("NOT RUN: 100 crafted text indexes: numpy is not installed")
    todo: list[tuple[str, tuple[Any, ...], Any]] = []
    for file in files:
        for way in crafted.places(file):
            old = crafted.values[file]
            for key in way:
                old = old[key]
            todo += ((file, way, value) for value in hostile_values(old))
    rng = random.Random(f"{SEED} {what}")
    if not IS_FULL:
        todo = rng.sample(todo, min(len(todo), 80))
    counts: Counter[str] = Counter()
    for file, way, value in todo:
        shutil.rmtree(path)
        shutil.copytree(original, path)
        crafted.put(file, way, value)
        try:
            attempts(path, counts, contents)
        except BaseException as error:
            shown = repr(value)[:80]
            error.add_note(f"{file}: {'.'.join(map(str, way))} = {shown}")
            raise
    assert not outside.exists()
    report.record(f"crafted {what}: {len(todo)} cases, {counts.total()} clear errors, seed {SEED}")


# -- garbage ----------------------------------------------------------------------------------


def garbage(rng: random.Random) -> Iterator[tuple[str, bytes]]:
    """What may stand in a file instead of what belongs there."""
    yield "nothing", b""
    yield "NULs", bytes(4096)
    yield "one byte", b"\xff"
    yield "marks", MARK * 5000
    yield "text", b"This is a text.\n" * 500
    yield "JSON", b'{"format":"timelog","version":1}\n' * 100
    yield "an image", b"\x89PNG\r\n\x1a\n" + rng.randbytes(5000)
    yield "a program", b"\x7fELF\x02\x01\x01" + bytes(9) + rng.randbytes(5000)
    yield "an archive", b"\x1f\x8b\x08\0" + rng.randbytes(5000)
    yield "a database", b"SQLite format 3\0" + bytes(5000)
    yield "nested arrays", b"\x91" * 100_000
    yield "nested JSON", b"[" * 100_000
    yield "large lengths", b"\xdf\xff\xff\xff\xff" * 1000
    for number in range(20 if IS_FULL else 4):
        yield f"random bytes {number}", rng.randbytes(1 << rng.randrange(16))


def test_files_full_of_garbage(
    ram: Path,
    sample: tuple[Path, set[str]],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """As they are, and in the frame of the format with right checksums."""
    caplog.set_level(logging.CRITICAL + 1, "timelog")
    monkeypatch.setattr(scan, "_WORTH", 0)
    original, contents = sample
    path = ram / "log"
    rng = random.Random(SEED)
    counts: Counter[str] = Counter()
    cases = 0
    shutil.copytree(original, path)
    files = [each for each in sorted(path.rglob("*")) if each.is_file()]
    for kind, data in garbage(rng):
        crc = struct.pack("<II", len(data), zlib.crc32(data))
        checked = struct.pack("<QI", 0, len(data))
        record = _HEADER.pack(MARK, 0, len(data), zlib.crc32(data, zlib.crc32(checked)))
        for file in files if IS_FULL else rng.sample(files, 4):
            for frame in {b"", {"lock": crc, "root": b"tlX1" + crc}.get(file.name, record)}:
                shutil.rmtree(path)
                shutil.copytree(original, path)
                # Files of the text index have other names each time.
                file.write_bytes(frame + data)
                try:
                    attempts(path, counts, contents)
                except BaseException as error:
                    error.add_note(f"{kind} in {file.relative_to(path)}, frame {frame!r}")
                    raise
                cases += 1
    report.record(f"garbage: {cases} cases, {counts.total()} clear errors, seed {SEED}")


def test_a_directory_of_garbage_is_no_log(ram: Path) -> None:
    for number, (kind, data) in enumerate(garbage(random.Random(SEED))):
        path = ram / f"{number}"
        (path / ".timelog" / "journal").mkdir(parents=True)
        for name in ("format", "lock", "journal/0000000001.journal"):
            (path / ".timelog" / name).write_bytes(data)
            before = {file: file.read_bytes() for file in path.rglob("*") if file.is_file()}
            for mode in "ra":
                try:
                    with alarm():
                        open_log(path, mode=mode).close()
                except timelog.TimelogError:
                    assert {f: f.read_bytes() for f in before} == before or not data, kind


# -- texts ------------------------------------------------------------------------------------

# Everything that some function takes for the end of a line, or for a command to the terminal.
_CONTROLS = [chr(n) for n in (*range(32), 127, *range(128, 160))]
_ODD = [*_CONTROLS, "\u2028", "\u2029", "\ufeff", "\u202e", "\ufffe", "\U0001f600", "\U0010ffff"]
_SURROGATES = ["\ud800", "\udfff", "\udc80"]
_TEXTS = [f"a{odd}b" for odd in _ODD] + _ODD + ["\r\n", '"', "\\", "\\n", "\x1b[2J", "x" * 5000, ""]


def test_any_text_comes_back_as_it_was_or_is_refused(ram: Path) -> None:
    """In each argument that is a text; what is stored is a line each."""
    counts: Counter[str] = Counter()
    path = ram / "log"
    stored = []
    with open_log(path) as log:
        for text in _TEXTS + _SURROGATES:
            for name, value in (
                ("content", text),
                ("source", text),
                ("tags", [text]),
                ("id", text),
                ("fields", {"key": text}),
                ("fields", {text: "value"}),
            ):
                arguments: dict[str, Any] = {"content": f"event {len(stored)}", name: value}
                try:
                    id = log.append(**arguments, timestamp=DAYS[0])
                except timelog.errors.InvalidInput:
                    counts["refused"] += 1
                    continue
                stored.append({"id": id, **arguments})
            try:
                log.append_many([{"content": "c", "timestamp": NOW}], cursor=(text, text))
                assert log.cursor(text) == text
            except timelog.errors.InvalidInput:
                counts["refused"] += 1
            if text in _SURROGATES:
                assert counts["refused"] >= 6
    (segment,) = (path / names.partition(DAYS[0] * 1_000_000)).iterdir()
    assert segment.read_bytes().count(b"\n") == len(stored)
    with open_log(path, mode="r") as log:
        assert log.verify(deep=True).ok
        found = log.search(end=NOW).to_list()
        assert len(found) == len(stored)
        for event, expected in zip(found, stored, strict=True):
            assert event.id == expected["id"]
            for name, value in expected.items():
                is_list = isinstance(value, list)
                assert getattr(event, name) == (tuple(value) if is_list else value)
        for text in _TEXTS:
            if text:
                wanted = [event.id for event in found if text in event.content]
                results = log.search(end=NOW, pattern="".join(map(_escaped, text)))
                assert [event.id for event in results] == wanted, repr(text)
                wanted = [event.id for event in found if event.source == text]
                try:
                    got = [event.id for event in log.search(end=NOW, source=text)]
                except timelog.errors.InvalidInput:
                    got = []
                assert got == wanted, repr(text)
    report.record(f"odd texts: {len(stored)} stored and found, {counts['refused']} refused")


def _escaped(letter: str) -> str:
    return f"\\U{ord(letter):08x}"


def test_odd_arguments_of_searches_are_refused_or_find_nothing(ram: Path) -> None:
    with open_log(ram / "log") as log:
        log.append("x", tags=["t"])
        for text in _TEXTS + _SURROGATES:
            for arguments in (
                {"start": text},
                {"end": text},
                {"tags": [f"{text}?"]},
                {"source": f"{text}?"},
                {"pattern": f"[{text}]{text}?"},
                {"order": text},
                {"engine": text},
            ):
                try:
                    with alarm():
                        assert log.search(**arguments).count() <= 1
                except timelog.TimelogError:
                    continue
            for look in (log.get, log.cursor):
                try:
                    assert look(f"{text}?") is None
                except timelog.TimelogError:
                    continue


@pytest.mark.parametrize("mode", "ra")
def test_odd_paths(ram: Path, mode: str) -> None:
    """Whatever a directory may be called; NUL, and what is too long, it may not."""
    for number, text in enumerate(_TEXTS + _SURROGATES + ["x" * 255, "\udce4"]):
        (ram / f"{number}").mkdir()
        path = ram / f"{number}" / text
        made = None
        try:
            made = open_log(path)
            made.append("x", timestamp=0)
            made.close()
            with open_log(path, mode=mode) as log:
                assert [event.content for event in log.search()] == ["x"]
                assert log.verify().ok
        except timelog.TimelogError as error:
            assert made is None, error
            assert "\0" in text or "\ud800" in text or "\udfff" in text or len(text) > 255


# -- patterns ---------------------------------------------------------------------------------


def test_patterns_that_explode_end_in_time(ram: Path) -> None:
    """With a timeout, or in linear time: everywhere a pattern is tested."""
    with open_log(ram / "log") as log:
        log.append_many({"content": "a" * 60 + "!", "timestamp": n} for n in range(3))
        log.flush()
        log.append("a" * 60 + "!")
        for pattern in (r"(a+)+$", r"(a|aa)+$", r"(.*)*,", r"^(([a-z])+.)+[A-Z]([a-z])+$"):
            for run in ("to_list", "count", "first", "explain"):
                with alarm(), pytest.raises(timelog.errors.SearchTimeout):
                    getattr(log.search(pattern=pattern, timeout=0.2), run)()
            try:
                with alarm():
                    assert log.search(pattern=pattern, engine="linear").count() == 0
            except timelog.errors.MissingExtra:
                continue

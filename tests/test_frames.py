"""Frames of compressed text: they come back, others read them, and nothing hostile takes memory."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from random import Random

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from timelog.codec import Line, encode_lines
from timelog.errors import DamagedError, MissingExtra
from timelog.frames import Piece, compress, decompress, scan
from timelog.storage import Storage
from timelog.timestamp import to_text

zstandard = pytest.importorskip("zstandard", reason="NOT RUN: zstandard is not installed")

ROOT = Path(__file__).parents[1]
SEED = 20261125
MAGIC = bytes.fromhex("28b52ffd")
KIB = 1024
MOST = 1024 * KIB


def text_of(events: int, seed: int = SEED) -> bytes:
    """Lines of a segment, as like and as unlike as those of a real log."""
    random = Random(seed)
    lines = []
    for n in range(events):
        content = f"{random.choice(('Accepted', 'Failed'))} password for user{random.random()}"
        id = f"019a9e8f-900f-7b30-b082-12c07d3{n:05x}"
        lines.append(Line(to_text(n * 1000), id, f"sshd{n % 7}", ("prod",), content))
    return encode_lines(lines)


# -- frames made by hand, as RFC 8878 says ------------------------------------------------


def block(kind: int, size: int, data: bytes, *, last: bool = False) -> bytes:
    return (last | kind << 1 | size << 3).to_bytes(3, "little") + data


def raw(data: bytes, *, last: bool = False) -> bytes:
    return block(0, len(data), data, last=last)


def repeated(byte: bytes, size: int, *, last: bool = False) -> bytes:
    return block(1, size, byte, last=last)


def frame_of(blocks: bytes, text: int | None, *, window: int | None = None, id: int = 0) -> bytes:
    """A frame that says its text has ``text`` bytes; ``window``: the descriptor of another size."""
    says = 0 if text is None else 3 << 6
    single = 0 if window is not None or text is None else 1 << 5
    header = bytes([says | single | (3 if id else 0)])
    if not single:
        header += bytes([window or 0])
    header += id.to_bytes(4, "little") if id else b""
    header += b"" if text is None else text.to_bytes(8, "little")
    return MAGIC + header + blocks


def skippable(data: bytes) -> bytes:
    return bytes.fromhex("502a4d18") + len(data).to_bytes(4, "little") + data


def bomb(size: int) -> bytes:
    """One frame of ``size`` bytes, all zero."""
    packer = zstandard.ZstdCompressor().compressobj(size=size)
    start: bytes = packer.compress(bytes(size))
    end: bytes = packer.flush()
    return start + end


def scanned(data: bytes, most: int = MOST) -> list[Piece]:
    return list(scan(lambda offset, length: data[offset : offset + length], len(data), most))


# -- round trips --------------------------------------------------------------------------


@given(st.binary(min_size=1) | st.builds(bytes.__mul__, st.binary(min_size=1), st.integers(1, 999)))
@example(b"\n")
@example(bytes(1))
@example(MAGIC)
@example(Random(SEED).randbytes(256 * KIB))
@example(text_of(1))
@example(text_of(40_000))
def test_text_comes_back(text: bytes) -> None:
    frame = compress(text)
    assert decompress(frame, len(text)) == text
    assert decompress(memoryview(frame), len(text)) == text
    assert compress(memoryview(text)) == frame
    assert scanned(frame, len(text)) == [Piece(0, len(frame), len(text))]


def test_a_frame_says_how_long_its_text_is_and_has_no_checksum() -> None:
    said = zstandard.get_frame_parameters(compress(text_of(100)))
    assert said.content_size == len(text_of(100))
    assert not said.has_checksum
    assert not said.dict_id


def test_log_lines_take_a_fraction_of_their_size() -> None:
    text = text_of(2_000)
    assert len(compress(text)) < len(text) / 4


@pytest.mark.parametrize("level", [1, 3, 9, 19])
def test_frames_of_other_levels_and_with_a_checksum_are_read(level: int) -> None:
    text = text_of(5_000)
    frame = zstandard.ZstdCompressor(level=level, write_checksum=True).compress(text)
    assert decompress(frame, len(text)) == text
    assert scanned(frame) == [Piece(0, len(frame), len(text))]


def test_a_frame_made_by_hand_is_read() -> None:
    frame = frame_of(raw(b"ab") + repeated(b"c", 3) + raw(b"\n", last=True), 6)
    assert decompress(frame, 6) == b"abccc\n"
    assert scanned(frame) == [Piece(0, len(frame), 6)]


def test_a_window_that_every_reader_has_memory_for_will_do() -> None:
    frame = frame_of(repeated(b"a", 100, last=True), 100, window=13 << 3)
    assert zstandard.get_frame_parameters(frame).window_size == 8 << 20
    assert decompress(frame, 100) == b"a" * 100


def test_text_longer_than_the_window_comes_back() -> None:
    text = text_of(1) + Random(SEED).randbytes(3 << 20)
    frame = compress(text)
    assert zstandard.get_frame_parameters(frame).window_size < len(text)
    assert decompress(frame, len(text)) == text


def test_threads_do_not_meet() -> None:
    texts = [text_of(500, seed) for seed in range(64)]
    with ThreadPoolExecutor(8) as pool:
        frames = list(pool.map(compress, texts * 4))
        back = list(pool.map(decompress, frames, map(len, texts * 4)))
    assert back == texts * 4


# -- what is not the frame ----------------------------------------------------------------

TEXT = text_of(50)
FRAME = compress(TEXT)
SAME = repeated(b"a", 100, last=True)
NO_FRAMES = {
    "nothing": b"",
    "text": TEXT,
    "no mark": b"\0" + FRAME[1:],
    "a mark alone": MAGIC,
    "a header alone": FRAME[:6],
    "a byte behind it": FRAME + b"\0",
    "two frames": FRAME + FRAME,
    "an empty frame behind it": FRAME + zstandard.ZstdCompressor().compress(b""),
    "what may be skipped behind it": FRAME + skippable(b"abc"),
    "what may be skipped before it": skippable(b"abc") + FRAME,
    "what may be skipped": skippable(bytes(len(TEXT))),
    "gzip": bytes.fromhex("1f8b0800") + bytes(20),
    "zstd 0.7": bytes.fromhex("27b52ffd") + FRAME[4:],
    "no length": frame_of(repeated(b"a", len(TEXT), last=True), None),
    "no last block": frame_of(repeated(b"a", len(TEXT)), len(TEXT)),
    "a dictionary": frame_of(repeated(b"a", len(TEXT), last=True), len(TEXT), id=7),
    "a window of 16 MiB": frame_of(repeated(b"a", len(TEXT), last=True), len(TEXT), window=14 << 3),
    "a block of no kind": frame_of(block(3, 1, b"a", last=True), len(TEXT)),
    "a large block": frame_of(repeated(b"a", 128 * KIB + 1, last=True), len(TEXT)),
    "fewer bytes": frame_of(repeated(b"a", len(TEXT) - 1, last=True), len(TEXT)),
    "more bytes": frame_of(repeated(b"a", len(TEXT) + 1, last=True), len(TEXT)),
    "many blocks": frame_of(repeated(b"a", 1) * (len(TEXT) - 1) + raw(b"a", last=True), len(TEXT)),
    "nothing in its blocks": frame_of(raw(b"", last=True), len(TEXT)),
    "nonsense compressed": frame_of(block(2, 99, bytes(99), last=True), len(TEXT)),
}


@pytest.mark.parametrize("name", NO_FRAMES)
def test_anything_else_is_damage(name: str) -> None:
    with pytest.raises(DamagedError):
        decompress(NO_FRAMES[name], len(TEXT))


@pytest.mark.parametrize("length", [-1, 0, 1, len(TEXT) - 1, len(TEXT) + 1, 2**63, 2**70])
def test_another_length_is_damage(length: int) -> None:
    with pytest.raises(DamagedError):
        decompress(FRAME, length)


def test_no_text_is_no_frame() -> None:
    with pytest.raises(DamagedError):
        decompress(compress(b""), 0)
    with pytest.raises(DamagedError):
        decompress(skippable(b""), 0)


def test_a_frame_cut_off_anywhere_is_damage() -> None:
    for end in range(len(FRAME)):
        with pytest.raises(DamagedError):
            decompress(FRAME[:end], len(TEXT))
        assert not any(piece.text for piece in scanned(FRAME[:end]))


def test_a_bit_that_changed_gives_as_many_bytes_or_damage() -> None:
    refused = 0
    for bit in range(8 * len(FRAME)):
        changed = bytearray(FRAME)
        changed[bit // 8] ^= 1 << bit % 8
        try:
            assert len(decompress(bytes(changed), len(TEXT))) == len(TEXT)
        except DamagedError:
            refused += 1
    # The others are for the crc of the text to find.
    assert refused > len(FRAME)


@given(st.binary(max_size=300), st.integers(1, 1000))
def test_nonsense_is_damage(nonsense: bytes, length: int) -> None:
    for frame in (nonsense, MAGIC + nonsense, FRAME[:10] + nonsense):
        with pytest.raises(DamagedError):
            decompress(frame, length)


_STARVED = """
import resource, sys
from pathlib import Path
from timelog.errors import DamagedError
from timelog.frames import compress, decompress, scan

folder, most = Path(sys.argv[1]), 1 << 20
decompress(compress(bytes(most)), most)
size = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (size + 16 * 2**20,) * 2)
for path in sorted(folder.iterdir()):
    data = path.read_bytes()
    for length in (100, most, 2**30, 2**62):
        try:
            decompress(data, length)
        except DamagedError:
            print("refused")
    with path.open("rb") as file:
        def read(offset, length):
            file.seek(offset)
            return file.read(length)
        assert not any(piece.text for piece in scan(read, len(data), most)), path
"""


def test_a_bomb_takes_no_memory(tmp_path: Path) -> None:
    """A process that has 16 MiB to spare says of each that it is damaged."""
    giant = 1 << 30
    whole = bomb(128 << 20)
    folder = tmp_path / "bombs"
    folder.mkdir()
    bombs = {
        "large": whole,
        "says more": frame_of(SAME, giant),
        "says far more": frame_of(SAME, 2**62),
        "says as much as no length is said with": frame_of(SAME, 2**64 - 1),
        "says less": frame_of(repeated(b"a", 128 * KIB) * 1000 + SAME, 100),
        "no length": frame_of(repeated(b"a", 128 * KIB) * 1000 + SAME, None, window=21 << 3),
        "cut off": whole[:-10],
        "a large window": frame_of(repeated(b"a", 100), giant, window=21 << 3),
        "a large window, little text": frame_of(repeated(b"a", 100), 100, window=17 << 3),
    }
    for number, data in enumerate(bombs.values()):
        (folder / str(number)).write_bytes(data)
    done = subprocess.run(
        [sys.executable, "-c", _STARVED, str(folder)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["refused"] * 4 * len(bombs)


# -- finding the frames of a file ---------------------------------------------------------


@st.composite
def archives(draw: st.DrawFn) -> tuple[bytes, list[Piece]]:
    """The bytes of a file and what it consists of."""
    data = b""
    pieces: list[Piece] = []
    for text in draw(st.lists(st.none() | st.binary(min_size=1, max_size=200), max_size=8)):
        if text is not None:
            part, length = compress(text), len(text)
        else:
            part, length = draw(st.sampled_from(NOT_IN_ARCHIVES)), 0
            if pieces and not pieces[-1].text:
                last = pieces.pop()
                pieces.append(Piece(last.offset, last.length + len(part), 0))
                data += part
                continue
        pieces.append(Piece(len(data), len(part), length))
        data += part
    return data, pieces


NOT_IN_ARCHIVES = [
    *(b"\0", b"\n" * 5000, TEXT, MAGIC, MAGIC * 3, MAGIC[:3], FRAME[:-1], skippable(b"abc")),
    *(frame_of(SAME, None), frame_of(SAME, 0), frame_of(SAME, MOST + 1), frame_of(SAME, 101)),
    # What may be skipped, and reads like a frame of 96 bytes.
    skippable(bytes(2) + repeated(b"a", 96, last=True) + bytes(90)),
    frame_of(SAME, 100, id=7),
    frame_of(SAME, 100, window=14 << 3),
    frame_of(block(3, 1, b"a", last=True), 1),
    frame_of(repeated(b"a", 128 * KIB + 1, last=True), 128 * KIB + 1),
]


@given(archives())
def test_the_frames_of_a_file_are_found_whatever_stands_between(
    archive: tuple[bytes, list[Piece]],
) -> None:
    data, pieces = archive
    assert scanned(data) == pieces


@given(
    st.binary(max_size=500) | st.lists(st.sampled_from([MAGIC, FRAME, b"\0", SAME])).map(b"".join)
)
def test_whatever_a_file_holds_the_pieces_are_all_of_it(data: bytes) -> None:
    pieces = scanned(data)
    at = 0
    for piece in pieces:
        assert piece.offset == at
        assert piece.length > 0
        at += piece.length
    assert at == len(data)


@pytest.fixture(scope="module")
def archive() -> tuple[bytes, list[Piece]]:
    """Twelve frames, some of several blocks."""
    data = b""
    pieces = []
    for number in range(12):
        text = text_of(30 if number % 3 else 2_000, number)
        frame = compress(text)
        pieces.append(Piece(len(data), len(frame), len(text)))
        data += frame
    return data, pieces


def test_one_frame_that_changed_costs_no_other(archive: tuple[bytes, list[Piece]]) -> None:
    data, pieces = archive
    random = Random(SEED)
    print(f"seed {SEED}")
    for hit in pieces:
        # The headers, where a change leads astray, and some bits anywhere.
        bits = [*range(8 * 24), *(random.randrange(8 * hit.length) for _ in range(50))]
        for bit in bits:
            changed = bytearray(data)
            changed[hit.offset + bit // 8] ^= 1 << bit % 8
            found = scanned(bytes(changed))
            assert set(pieces) - {hit} <= set(found), (hit, bit)


def test_a_page_that_is_gone_costs_only_the_frames_in_it(
    archive: tuple[bytes, list[Piece]],
) -> None:
    data, pieces = archive
    for start in range(0, len(data), 4096):
        end = min(start + 4096, len(data))
        found = scanned(data[:start] + bytes(end - start) + data[end:])
        whole = [
            each for each in pieces if each.offset + each.length <= start or each.offset >= end
        ]
        assert set(whole) <= set(found)


def test_a_file_cut_off_keeps_the_frames_before(archive: tuple[bytes, list[Piece]]) -> None:
    data, pieces = archive
    for end in range(0, len(data), 997):
        whole = [piece for piece in pieces if piece.offset + piece.length <= end]
        found = scanned(data[:end])
        assert [piece for piece in found if piece.text] == whole


def test_the_mark_of_a_frame_inside_another_does_no_harm() -> None:
    inner = MAGIC + FRAME[4:]
    outer = frame_of(raw(b"x" + inner + MAGIC, last=True), 5 + len(inner))
    assert scanned(outer + FRAME) == [
        Piece(0, len(outer), 5 + len(inner)),
        Piece(len(outer), len(FRAME), len(TEXT)),
    ]


def test_bytes_behind_the_size_are_not_looked_at() -> None:
    data = FRAME + FRAME

    def read(offset: int, length: int) -> bytes:
        return data[offset : offset + length]

    end = len(FRAME) + 20
    assert list(scan(read, end, MOST)) == [
        Piece(0, len(FRAME), len(TEXT)),
        Piece(len(FRAME), 20, 0),
    ]


class Reads:
    """A file in memory that notes what is read of it."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.lengths: list[int] = []

    def __call__(self, offset: int, length: int) -> bytes:
        self.lengths.append(length)
        return self.data[offset : offset + length]


def test_of_good_frames_only_headers_are_read(archive: tuple[bytes, list[Piece]]) -> None:
    data, pieces = archive
    reads = Reads(data)
    assert list(scan(reads, len(data), MOST)) == pieces
    assert sum(reads.lengths) < 60 * len(pieces)


@pytest.mark.parametrize(
    "data",
    [
        bytes(3 << 20),
        MAGIC * 50_000,
        MAGIC[:3] * 300_000,
        frame_of(raw(b"") * 300_000, MOST),
        frame_of(raw(b"a") * 300_000, MOST),
    ],
    ids=["zeros", "marks", "halves of marks", "empty blocks", "tiny blocks"],
)
def test_a_hostile_file_is_read_in_few_small_reads(data: bytes) -> None:
    reads = Reads(data)
    assert list(scan(reads, len(data), MOST)) == [Piece(0, len(data), 0)]
    assert max(reads.lengths) <= 256 * KIB
    assert len(reads.lengths) < 3_000 + 2 * data.count(MAGIC)
    assert sum(reads.lengths) < 2 * len(data) + 600 * data.count(MAGIC)


# -- other readers ------------------------------------------------------------------------


@pytest.fixture(scope="module")
def shelf(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, bytes]:
    """An archived segment of several frames, and its text."""
    lines = text_of(5_000).splitlines(keepends=True)
    parts = [b"".join(lines[at : at + 700]) for at in range(0, len(lines), 700)]
    path = tmp_path_factory.mktemp("archive") / "20251120T0000Z-20251121T0000Z.jsonl.zst"
    path.write_bytes(b"".join(map(compress, parts)))
    return path, b"".join(lines)


def test_storage_reads_what_is_scanned(shelf: tuple[Path, bytes]) -> None:
    path, text = shelf
    storage = Storage()
    with storage.reading(path) as fd:

        def read(offset: int, length: int) -> bytes:
            return storage.read_at(fd, offset, length)

        pieces = list(scan(read, storage.size(fd), MOST))
        parts = [decompress(read(each.offset, each.length), each.text) for each in pieces]
    assert len(parts) == 8
    assert b"".join(parts) == text


def run(*command: str) -> bytes:
    """What a program prints; skips where it is not there."""
    if not shutil.which(command[0]):
        pytest.skip(f"NOT RUN: {command[0]} is not installed")
    return subprocess.run(command, capture_output=True, check=True, timeout=60).stdout


def test_zstdcat_reads_the_whole(shelf: tuple[Path, bytes]) -> None:
    path, text = shelf
    assert run("zstdcat", str(path)) == text


def matching(text: bytes, pattern: bytes) -> Iterator[bytes]:
    return (line for line in text.splitlines(keepends=True) if re.search(pattern, line))


@pytest.mark.parametrize("pattern", ["Failed password for user0.1", "sshd3", "Accepted.*99"])
def test_zstdgrep_and_rg_find_the_same_lines(shelf: tuple[Path, bytes], pattern: str) -> None:
    path, text = shelf
    expected = b"".join(matching(text, pattern.encode()))
    assert expected
    assert run("zstdgrep", pattern, str(path)) == expected
    if not shutil.which("zstd"):
        pytest.skip("NOT RUN: rg -z needs zstd, which is not installed")
    assert (
        run("rg", "-z", "-j1", "--no-filename", "--no-line-number", pattern, str(path)) == expected
    )


def test_duckdb_reads_the_whole(shelf: tuple[Path, bytes]) -> None:
    duckdb = pytest.importorskip("duckdb", reason="NOT RUN: duckdb is not installed")
    path, text = shelf
    rows = duckdb.sql(
        "select count(*), count(distinct id) from read_json($file, format='newline_delimited')",
        params={"file": str(path)},
    ).fetchall()
    assert rows == [(text.count(b"\n"),) * 2]


# -- without the extra --------------------------------------------------------------------


@pytest.mark.parametrize(
    "call",
    [lambda: compress(b"a"), lambda: decompress(FRAME, 1), lambda: scanned(FRAME)],
    ids=["compress", "decompress", "scan"],
)
def test_without_zstandard_the_error_says_how_to_install_it(
    monkeypatch: pytest.MonkeyPatch, call: Callable[[], object]
) -> None:
    # Python's own way to say that there is no such module.
    monkeypatch.setitem(sys.modules, "zstandard", None)
    with pytest.raises(MissingExtra, match=re.escape("pip install 'timelog[zstd]'")):
        call()


def test_the_package_is_imported_only_when_it_is_needed() -> None:
    code = "import sys, timelog, timelog.frames; assert 'zstandard' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, timeout=60)

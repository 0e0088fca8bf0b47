"""Text compressed in frames of their own: which size of frame and which level of zstd do best.

    python -m benchmarks.frames --logs FOLDER

Makes a log of a day with timelog, of the lines of real logs in FOLDER, or else of those that
`lines.py` makes, and compresses its segments frame by frame. Wanted: at most 1.3 x the bytes of the
same files under `zstd -3` whole, and well over 50 MB/s on one core. What a search pays for a frame
is shown too: decompressing it, and decoding its events.
"""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from pathlib import Path
from random import Random
from time import perf_counter
from typing import Any

import zstandard

import timelog
from benchmarks import report
from benchmarks.floors import ReadFloor
from benchmarks.fresh import MB, fresh
from benchmarks.lines import START, lines
from benchmarks.ours import Mapping, moment
from benchmarks.rivals import BATCH
from timelog import frames
from timelog.codec import decode_lines
from timelog.encode import BLOCK_SIZE

KIB = 1024
DAY = 86_400_000_000
SIZES = (256, 384, 512, 768, 1024)
LEVELS = (1, 2, 3, 4, 6, 9, 12)
SIZE_WANTED = 1.3
RATE_WANTED = 50.0
HEADERS = (
    *("frame", "level", "of the text", "of zstd -3 whole", "wanted", "compress", "wanted"),
    *("decompress", "decode", "both, an event"),
)
NUMBER = re.compile(r"\d{2,}")


def real(folder: Path, events: int) -> Iterator[Mapping]:
    """`events` events of a day with the lines of the `*.log` files in `folder`, as one machine's.

    The files are read side by side, each in its own order, and over again until there are enough
    events. Each time all their numbers of two digits or more are others, of as many digits: equal
    numbers stay equal within one reading, so what repeats is what repeats in the files.
    """
    files = {path.stem: _texts(path) for path in sorted(folder.glob("*.log"))}
    random = Random(11)
    made = 0
    step = DAY // events
    while True:
        drawn: dict[str, str] = {}

        def other(number: re.Match[str], drawn: dict[str, str] = drawn) -> str:
            old = number[0]
            if old not in drawn:
                drawn[old] = f"{random.randrange(10 ** len(old)):0{len(old)}}"
            return drawn[old]

        order = [name for name, texts in files.items() for _ in texts]
        random.shuffle(order)
        left = {name: iter(texts) for name, texts in files.items()}
        for name in order:
            if made == events:
                return
            yield {
                "content": NUMBER.sub(other, next(left[name])),
                "source": name.partition("_")[0].lower(),
                "tags": ("prod", "eu-1") if made % 3 else ("prod", "eu-2"),
                "timestamp": moment(START - START % DAY + made * step + random.randrange(step)),
            }
            made += 1


def _texts(path: Path) -> list[str]:
    return [line for line in path.read_text(errors="replace").split("\n") if line]


def invented(events: int) -> Iterator[Mapping]:
    """`events` events of a day with the lines of `lines.py`."""
    for line in lines(events, seed=11, start=START - START % DAY, minutes=1440):
        yield {
            "content": line.content,
            "source": line.source,
            "tags": line.tags,
            "timestamp": moment(line.timestamp),
        }


def make(place: Path, logs: Path | None, events: int) -> None:
    """Make the log, in one flush: one segment of the day, sorted by time."""
    supply = real(logs, events) if logs else invented(events)
    with timelog.open(place, flush_interval=3600.0, max_buffer=1 << 30, text_index=False) as log:
        while batch := list(islice(supply, BATCH)):
            log.append_many(batch)


def cut(text: bytes, size: int) -> list[bytes]:
    """Whole lines, in pieces of at most `size` bytes."""
    pieces, at = [], 0
    while at < len(text):
        end = len(text) if len(text) - at <= size else text.rindex(b"\n", at, at + size) + 1
        pieces.append(text[at:end])
        at = end
    return pieces


def zstd_whole(paths: Iterable[str]) -> int:
    """The bytes of the files, each compressed as a whole by the program zstd at level 3."""
    command = ["zstd", "-3", "--single-thread", "-q", "-c"]
    return sum(
        len(subprocess.run([*command, path], stdout=subprocess.PIPE, check=True).stdout)
        for path in paths
    )


Act = Callable[[], int]


def acts_of(pieces: list[bytes], level: int) -> dict[str, Act]:
    """The jobs that are timed; each returns a number of bytes or of events."""

    def squeeze(piece: bytes) -> bytes:
        return zstandard.ZstdCompressor(level=level).compress(piece)

    packed = [(squeeze(piece), len(piece)) for piece in pieces]
    return {
        "compress": lambda: sum(len(squeeze(piece)) for piece in pieces),
        "decompress": lambda: sum(len(frames.decompress(*frame)) for frame in packed),
        "decode": lambda: sum(len(decode_lines(piece)) for piece in pieces),
        "both": lambda: sum(len(decode_lines(frames.decompress(*frame))) for frame in packed),
    }


def measure(
    place: Path, sizes: Iterable[int], levels: Iterable[int], rounds: int
) -> tuple[list[tuple[str, ...]], dict[str, Any]]:
    """Compress, decompress and decode in all ways, in turns; return the table and every figure."""
    paths = ReadFloor(place).paths
    texts = [Path(path).read_bytes() for path in paths]
    total = sum(map(len, texts))
    events = sum(text.count(b"\n") for text in texts)
    jobs: dict[tuple[int, int], dict[str, Act]] = {}
    for size in sizes:
        pieces = [piece for text in texts for piece in cut(text, size * KIB)]
        jobs |= {(size, level): acts_of(pieces, level) for level in levels}
    figures: list[dict[str, Any]] = [{"kib": size, "level": level} for size, level in jobs]
    for number in range(rounds):
        print(f"  round {number + 1} of {rounds}", file=sys.stderr)
        for figure, acts in zip(figures, jobs.values(), strict=True):
            for name, act in acts.items():
                begun = perf_counter()
                done = act()
                taken = perf_counter() - begun
                figure[name] = min(figure.get(name, taken), taken)
                if name == "compress":
                    figure["bytes"] = done
    whole = zstd_whole(paths)
    data = {"text_bytes": total, "events": events, "whole_bytes": whole, "figures": figures}
    return [row(figure, total, whole, events) for figure in figures], data


def row(figure: dict[str, Any], total: int, whole: int, events: int) -> tuple[str, ...]:
    """A line of the table."""
    share = figure["bytes"] / whole
    rate = total / figure["compress"] / MB
    chosen = (figure["kib"] * KIB, figure["level"]) == (BLOCK_SIZE, frames.LEVEL)
    return (
        f"{figure['kib']} KiB" + " (ours)" * chosen,
        str(figure["level"]),
        f"{figure['bytes'] / total:.2%}",
        f"{share:.3f}",
        f"<= {SIZE_WANTED}" + (" yes" if share <= SIZE_WANTED else " NO"),
        f"{rate:.0f} MB/s",
        f">= {RATE_WANTED:g}" + (" yes" if rate >= RATE_WANTED else " NO"),
        f"{total / figure['decompress'] / MB:.0f} MB/s",
        f"{figure['decode'] / events * 1e9:.0f} ns",
        f"{figure['both'] / events * 1e9:.0f} ns",
    )


def main(argv: list[str] | None = None) -> int:
    """Measure sizes of frames and levels of zstd on the text of a log."""
    parser = argparse.ArgumentParser(prog="benchmarks.frames", description=main.__doc__)
    parser.add_argument("--logs", type=Path, metavar="FOLDER", help="real logs, *.log")
    parser.add_argument("--events", type=int, default=250_000, help="events of the day (250000)")
    parser.add_argument("--kib", type=int, nargs="+", default=SIZES, help="sizes of frames")
    parser.add_argument("--levels", type=int, nargs="+", default=LEVELS, help="levels of zstd")
    parser.add_argument("--rounds", type=int, default=3, help="turns; the best counts (3)")
    parser.add_argument("--no-results", action="store_true", help="write no result files")
    args = parser.parse_args(argv)
    folder = Path(tempfile.mkdtemp(prefix="timelog-frames-"))
    try:
        library = ".".join(map(str, zstandard.ZSTD_VERSION))
        described = report.machine(folder)
        described["zstandard"] = f"{zstandard.__version__}, with zstd {library}"
        fresh(make, folder / "log", args.logs, args.events)
        rows, data = measure(folder / "log", args.kib, args.levels, args.rounds)
    finally:
        shutil.rmtree(folder)
    whose = f"the lines of {args.logs.name}" if args.logs else "lines of `lines.py`"
    notes = [
        f"a day of {data['events']:,} events, {whose}: {data['text_bytes'] / MB:.1f} MB as timelog "
        f"writes them, {data['whole_bytes'] / MB:.2f} MB under `zstd -3` whole",
        f"one thread; the best of {args.rounds} rounds in turns; 1 MB is 10^6 bytes",
        "both: decompressing a frame, then decoding its events in one call",
    ]
    print("\n".join([*notes, "", report.table(HEADERS, rows), ""]))
    print("\n".join(f"{what}: {value}" for what, value in described.items()))
    if not args.no_results:
        page = report.write(
            "frames",
            "timelog: text in compressed frames",
            HEADERS,
            rows,
            notes=notes,
            described=described,
            data=data,
        )
        print(f"\nwritten: {page.name} and .json in {page.parent.name}/")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())

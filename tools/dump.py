"""Print any file of a log in words: dump.py FILE...

Segments, archived ones too, journal files, index/root, day index files, files of the text index,
lock files, the format file, those of state/ and the manifests of snapshots are told apart by name.
Nothing is changed. What cannot be read is said, and the exit code is then 1.
"""

from __future__ import annotations

import struct
import sys
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import msgpack

from timelog import manifest, names
from timelog.checkpoint import parse_day, parse_root
from timelog.codec import DecodeError, decode_line
from timelog.errors import DamagedError, TimelogError
from timelog.frames import decompress, scan
from timelog.horizons import Horizons
from timelog.journal import Bad, Begin, Block, Commit, Tombstone, read
from timelog.lines import MOST_LINE
from timelog.positions import stretches
from timelog.storage import Storage
from timelog.textindex import TextFile
from timelog.timestamp import to_text

# Of lines that were sorted by time the positions may be in as many stretches.
_MOST_STRETCHES = 20


def describe(file: Path) -> Iterator[str]:
    """Yield the lines that tell what is in ``file``; raises `TimelogError` or ``ValueError``."""
    data = file.read_bytes()
    yield f"{file}: {len(data)} bytes"
    if file.parent.name == names.JOURNAL:
        yield from _journal(data)
    elif file.name == names.ROOT:
        yield from _root(data)
    elif names.is_day_index(file.name):
        yield from _day(data, file)
    elif names.parse_text_index(file.name) is not None:
        yield from _text_index(file)
    elif file.name == names.LOCK:
        yield from _lock(data)
    elif file.name in (names.TEXT_LOCK, names.SCRUB_LOCK, names.COMPACT_LOCK):
        yield "  who holds it has it locked; nothing is in it"
    elif file.name == names.KEY:
        yield "  the key of the digests of deleted events"
    elif file.name == names.MANIFEST:
        yield from _manifest(data)
    elif file.name in (names.FORMAT, names.RETENTION, names.SCRUB, names.SNAPSHOTS):
        yield f"  {data.decode().strip()}"
    elif names.parse_segment(f"{file.absolute().parent.name}/{file.name}"):
        yield from _archive(data) if names.is_archived(file.name) else _segment(data)
    else:
        raise ValueError("its name is not one of a log's files")


def _manifest(data: bytes) -> Iterator[str]:
    known = manifest.parse(data)
    yield (
        f"  {known.kind} snapshot of log {known.log}, {to_text(known.time)}, commit "
        f"{known.sequence}, position {known.position}"
    )
    yield from (f"  {file.size:>12} {file.crc:08x} {file.name}" for file in known.files)
    yield from (f"  damaged in the log: {name}" for name in known.damage)


def _journal(data: bytes) -> Iterator[str]:
    for item in read(data, 0):
        if isinstance(item, Bad):
            yield f"  {item.start:>9} no record, {item.end - item.start} bytes"
        elif isinstance(item.record, Begin):
            begin = item.record
            yield (
                f"  {item.start:>9} begin of file {begin.number} of log {begin.log}; the file "
                f"before it is valid up to {begin.valid}"
            )
            yield from (f"{'':12}fenced {path}" for path in begin.fenced)
            for commit in begin.restated:
                yield from _commit(commit, "restated commit")
        else:
            yield from _commit(item.record, f"{item.start:>9} commit")


def _commit(commit: Commit, what: str) -> Iterator[str]:
    durable = "durable" if commit.durable else "not synced"
    yield (
        f"  {what} {commit.sequence} at {to_text(commit.time)}, {durable}: {commit.count} events "
        f"from position {commit.position}, writer {commit.writer} batch {commit.batch}, "
        f"sealed before {to_text(commit.sealed_before)}"
    )
    for name, value in commit.cursors.items():
        yield f"{'':12}cursor {name!r} = {msgpack.unpackb(value, strict_map_key=False)!r}"
    for why, count in commit.refused.items():
        yield f"{'':12}refused {count} events: {why}"
    if commit.expiry is not None:
        days = ", ".join(map(names.partition, commit.expiry.days)) or "no day"
        events = sum(events for _, events in commit.expiry.events)
        yield f"{'':12}expired: {days}, {events} events; {_horizons(commit.expiry.horizons)}"
    if commit.replacement is not None:
        replacement = commit.replacement
        expired = sum(events for _, events in replacement.expired)
        yield (
            f"{'':12}replaced in {names.partition(replacement.day)}: {expired} events expired, "
            f"erased {list(replacement.erased)}"
        )
        yield from (
            f"{'':16}{gone.path}, {gone.count} events in {gone.bytes} bytes of text, {gone.stored} "
            "of file"
            for gone in replacement.segments
        )
    for tombstone in commit.tombstones:
        yield f"{'':12}{_tombstone(tombstone)}"
    for block in commit.blocks:
        yield f"{'':12}{block.path} {_block(block)}"


def _block(block: Block) -> str:
    tags = "any" if block.tags is None else ",".join(block.tags) or "none"
    sources = "any" if block.sources is None else ",".join(map(repr, block.sources))
    frame = ""
    if block.frame is not None:
        frame = f"of text in a frame at {block.file_start} to {block.file_end}, "
    positions = list(islice(stretches(block.runs, block.count), _MOST_STRETCHES + 1))
    more = ""
    if len(positions) > _MOST_STRETCHES:
        positions.pop()
        more = f" and more up to {block.position_end}"
    return (
        f"bytes {block.offset} to {block.end}, {frame}{block.count} events, "
        f"positions {positions}{more}, {to_text(block.first)} to {to_text(block.last)}, "
        f"crc {block.crc:08x} after {block.seed:08x}, tags {tags}, sources {sources}"
    )


def _horizons(horizons: Horizons) -> str:
    """What is behind any of these has expired."""
    times = [
        " ".join(f"{key or 'all others'} before {to_text(at)}" for key, at in each.items())
        for each in horizons
    ]
    return f"hidden: {', or '.join(times) or 'nothing'}"


def _tombstone(tombstone: Tombstone) -> str:
    state = "erased" if tombstone.is_erased else "hidden"
    return (
        f"deleted and {state}: position {tombstone.position}, id {tombstone.id!r}, "
        f"{to_text(tombstone.timestamp)}, digest {tombstone.digest.hex()}"
    )


def _root(data: bytes) -> Iterator[str]:
    root = parse_root(data)
    yield (
        f"  checkpoint {root.number} of log {root.log}: sequence {root.sequence}, "
        f"position {root.position}, journal file {root.journal} from {root.offset}"
    )
    for name, value in root.cursors.items():
        yield f"  cursor {name!r} = {msgpack.unpackb(value, strict_map_key=False)!r}"
    for row in root.ledger:
        refused = "".join(f", {count} refused: {why}" for why, count in row.refused.items())
        yield (
            f"  ledger of {names.partition(row.day)}: {row.events} events from position "
            f"{row.position}, {row.lost} of them lost, {row.expired} expired, {row.deleted} "
            f"deleted, {row.erased} erased{refused}"
        )
    if root.removal.horizons:
        yield f"  {_horizons(root.removal.horizons)}"
    for partition, sequence in root.removal.partitions.items():
        yield f"  {partition} went with commit {sequence} and may still stand there"
    for path in root.removal.segments:
        yield f"  {path} was replaced and may still stand there"
    for day in root.days:
        yield (
            f"  {day.file}: {day.segments} segments, {day.count} events, {day.bytes} bytes, "
            f"{to_text(day.first)} to {to_text(day.last)}, crc {day.crc:08x}"
        )


def _day(data: bytes, file: Path) -> Iterator[str]:
    root = parse_root((file.parent / names.ROOT).read_bytes())
    summary = next((day for day in root.days if day.file == file.name), None)
    if summary is None:
        yield "  index/root does not name this file: it is left over"
        return
    files = parse_day(data, summary)
    for tombstone in files.tombstones.values():
        yield f"  {_tombstone(tombstone)}"
    for segment in files:
        fenced = ", takes no more blocks" if segment.fenced else ""
        yield f"  {segment.path}, created {to_text(segment.created)}{fenced}"
        yield from (f"{'':4}{_block(block)}" for block in segment.blocks)


def _text_index(file: Path) -> Iterator[str]:
    text = TextFile(file, Storage())
    yield f"  text index of {names.partition(text.day)}: {text.bytes} bytes of text"
    for covered in text.segments.values():
        stretches = f"stretches {covered.stretches[0]} to {covered.stretches[-1]}"
        yield f"  {covered.path}: {covered.length} bytes, crc {covered.crc:08x}, {stretches}"
    for tag, (offset, length, crc) in text.tables.items():
        lines = sum(len(held.numbers) for held in text.table(tag).values())
        yield f"  tag {tag!r}: {lines} lines, {length} bytes at {offset}, crc {crc:08x}"


def _lock(data: bytes) -> Iterator[str]:
    if not data:
        yield "  never held"
        return
    [length] = struct.unpack_from("<I", data)
    state = msgpack.unpackb(data[8 : 8 + length])
    yield f"  last held in boot {state['boot']}"
    busy = state["busy"]
    if busy is None:
        yield "  nothing is unfinished"
    else:
        yield (
            f"  unfinished flush of process {busy['pid']}, from {busy['offset']} of journal file "
            f"{busy['journal']}, files {', '.join(busy['files'])}"
        )


def _archive(data: bytes) -> Iterator[str]:
    read = memoryview(data)
    for piece in scan(lambda at, length: bytes(read[at : at + length]), len(data), MOST_LINE):
        frame = read[piece.offset : piece.offset + piece.length]
        try:
            text = decompress(frame, piece.text) if piece.text else None
        except DamagedError:
            text = None
        what = "no frame" if text is None else f"frame, {piece.text} bytes of text"
        yield f"  {piece.offset:>9} {what}, {piece.length} bytes"
        if text is not None:
            yield from _segment(text)


def _segment(data: bytes) -> Iterator[str]:
    offset = 0
    for line in data.splitlines(keepends=True):
        try:
            event = decode_line(line)
        except (DecodeError, UnicodeDecodeError) as error:
            yield f"  {offset:>9} not an event: {error}"
        else:
            tags = ",".join(event.tags)
            yield (
                f"  {offset:>9} {event.timestamp.isoformat()} {event.id} source {event.source!r} "
                f"tags [{tags}] content {event.content!r} fields {event.fields}"
            )
        offset += len(line)


def main(files: list[str]) -> int:
    """Describe each file; 0, or 1 where one could not be read."""
    code = 0
    for name in files:
        try:
            for line in describe(Path(name)):
                print(line)
        except (TimelogError, ValueError, OSError, struct.error) as error:
            print(f"{name}: {error}", file=sys.stderr)
            code = 1
    return code


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    sys.exit(main(sys.argv[1:]))

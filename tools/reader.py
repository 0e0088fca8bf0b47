"""A reader of timelog's format that uses nothing of timelog: see docs/format.md.

Prints the committed events in order of arrival, one JSON object a line: reader.py DIR
"""

import json
import struct
import sys
import zlib
from pathlib import Path

import msgpack


def records(file: Path, start: int):
    data = file.read_bytes()
    while start + 20 <= len(data):
        mark, offset, length, crc = struct.unpack_from("<4sQII", data, start)
        payload = data[start + 20 : start + 20 + length]
        checked = zlib.crc32(payload, zlib.crc32(data[start + 4 : start + 16]))
        if (mark, offset, len(payload), checked) != (b"tlJ1", start, length, crc):
            return
        start += 20 + length
        yield start, msgpack.unpackb(payload)


def blocks(log: Path):
    journals, number, at, known = log / ".timelog/journal", 1, 0, 0
    if (log / ".timelog/index/root").exists():
        root = msgpack.unpackb((log / ".timelog/index/root").read_bytes()[12:])
        number, at, known = root["journal"], root["offset"], root["sequence"]
        for day in root["days"]:
            stored = msgpack.unpackb((log / ".timelog/index" / day["file"]).read_bytes()[12:])
            yield from ([path, *b] for path, _, _, kept in stored["segments"] for b in kept)
    while (file := journals / f"{number:010d}.journal").exists():
        following = journals / f"{number + 1:010d}.journal"
        valid = next(records(following, 0))[1]["valid"] if following.exists() else None
        for end, record in records(file, at):
            if valid is not None and end > valid:
                break
            for commit in [record] if record["kind"] == "commit" else record["restated"]:
                if commit["sequence"] > known:
                    known = commit["sequence"]
                    yield from commit["blocks"]
        number, at = number + 1, 0


def events(log: Path):
    for path, offset, length, _, runs, _, _, seed, crc, *_ in blocks(log):
        text = (log / path).read_bytes()[offset : offset + length]
        assert zlib.crc32(text, seed) == crc, f"{path} is damaged at {offset}"
        pairs = zip(runs[::2], runs[1::2], strict=True)
        positions = (n for first, count in pairs for n in range(first, first + count))
        yield from zip(positions, map(json.loads, text.split(b"\n")), strict=False)


if __name__ == "__main__":
    for _, event in sorted(events(Path(sys.argv[1])), key=lambda pair: pair[0]):
        print(json.dumps(event, ensure_ascii=False))

"""A reader of timelog's format that uses nothing of timelog: see docs/format.md.

Prints the committed events in order of arrival, one JSON object a line: reader.py DIR
"""

import json
import struct
import sys
import zlib
from datetime import datetime, timedelta
from itertools import accumulate
from pathlib import Path

import msgpack
import zstandard

EPOCH = datetime.fromisoformat("1970-01-01T00:00:00Z")


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


class Log:
    def __init__(self, path: Path):
        self.path, self.known, self.horizons = path, 0, []
        self.blocks, self.deleted = {}, set()
        number, at = 1, 0
        if (path / ".timelog/index/root").exists():
            root = msgpack.unpackb((path / ".timelog/index/root").read_bytes()[12:])
            number, at, self.known = root["journal"], root["offset"], root["sequence"]
            self.horizons = root.get("removal", {}).get("horizons", [])
            for day in root["days"]:
                stored = msgpack.unpackb((path / ".timelog/index" / day["file"]).read_bytes()[12:])
                self.deleted |= {position for position, *_ in stored.get("tombstones", ())}
                self.blocks |= {segment: blocks for segment, _, _, blocks in stored["segments"]}
        while (file := path / f".timelog/journal/{number:010d}.journal").exists():
            following = path / f".timelog/journal/{number + 1:010d}.journal"
            valid = next(records(following, 0))[1]["valid"] if following.exists() else None
            for end, record in records(file, at):
                if valid is not None and end > valid:
                    break
                for commit in [record] if record["kind"] == "commit" else record["restated"]:
                    self.apply(commit)
            number, at = number + 1, 0

    def apply(self, commit: dict):
        if commit["sequence"] <= self.known:
            return
        self.known = commit["sequence"]
        if expiry := commit.get("expiry"):
            self.horizons = expiry["horizons"]
            days = [f"{EPOCH + timedelta(microseconds=day):%Y-%m-%d}/" for day in expiry["days"]]
            for segment in [path for path in self.blocks if path.startswith(tuple(days))]:
                del self.blocks[segment]
        for segment, *_ in commit.get("replacement", {"segments": ()})["segments"]:
            self.blocks.pop(segment, None)
        self.deleted |= {position for position, *_ in commit.get("tombstones", ())}
        for segment, *block in commit.get("blocks", ()):
            self.blocks.setdefault(segment, []).append(block)

    def events(self):
        for segment, blocks in self.blocks.items():
            data = (self.path / segment).read_bytes()
            for offset, length, count, runs, _, _, seed, crc, _, _, *frame in blocks:
                text = data[offset : offset + length]
                if frame and frame[0]:
                    start, size = frame[0]
                    text = zstandard.decompress(data[start : start + size])
                assert zlib.crc32(text, seed) == crc, f"{segment} is damaged at {offset}"
                for position, line in zip(positions(runs, count), text.split(b"\n"), strict=False):
                    event = json.loads(line)
                    if position not in self.deleted and not self.has_expired(event):
                        yield position, event

    def has_expired(self, event: dict) -> bool:
        names = [f"source:{event['source']}", *(f"tag:{tag}" for tag in event["tags"])]
        time = (datetime.fromisoformat(event["timestamp"]) - EPOCH) // timedelta(microseconds=1)
        for times in self.horizons:
            rules = [times[name] for name in names if name in times] or [times.get("", time)]
            if time < min(rules):
                return True
        return False


def positions(runs: list | bytes, count: int):
    if isinstance(runs, bytes):
        return accumulate(struct.unpack(f"<{count}q", zlib.decompress(runs[16:])))
    return (n for at, size in zip(runs[::2], runs[1::2], strict=True) for n in range(at, at + size))


if __name__ == "__main__":
    for _, event in sorted(Log(Path(sys.argv[1])).events(), key=lambda pair: pair[0]):
        print(json.dumps(event, ensure_ascii=False))

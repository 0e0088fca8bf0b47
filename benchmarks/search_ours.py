"""timelog's part of `search.py`: making the log, its text index, and three ways to search it.

A search runs in this process, as a process of its own (`whole`), or in a process that lives as long
as the benchmark but has none of the extras (`Unaided`). That process runs this module:

    python -m benchmarks.search_ours LOG < searches       # each a line of JSON: ["count", "lease"]

timelog is imported only inside functions, so that the process can rule out the extras before.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
from itertools import islice
from pathlib import Path
from time import perf_counter
from typing import Any

from benchmarks.lines import ONE_NEEDLE, lines
from benchmarks.rivals import count

EXTRAS = ("hyperscan", "numpy")
FLUSH = 10_000
ROOT = Path(__file__).parents[1]


def make(folder: Path, events: int, segments: int) -> None:
    """Make a log of `events` events in `segments` minutes; the one in the middle is special."""
    import timelog
    from benchmarks.ours import moment

    # More than 16 minutes in one flush would go into one file of the day.
    size = max(min(FLUSH, 8 * events // segments), 1)
    supply = enumerate(lines(events, seed=1, minutes=segments))
    with timelog.open(folder, sync="off", flush_interval=3600.0) as log:
        while batch := list(islice(supply, size)):
            log.append_many(
                {
                    "content": f"{line.content} {ONE_NEEDLE}"
                    if number == events // 2
                    else line.content,
                    "source": line.source,
                    "tags": line.tags,
                    "timestamp": moment(line.timestamp),
                }
                for number, line in batch
            )
            log.flush()


def search(log: Any, how: str, what: str) -> int:
    """How many events were found: `pattern` and `tag` make each event, `count` only counts."""
    if how == "count":
        found: int = log.search(pattern=what).count()
        return found
    return count(log.search(tags=[what]) if how == "tag" else log.search(pattern=what))


def whole(folder: Path, pattern: str) -> int:
    """Search by the command line, from the start of its process to its end; count the lines."""
    command = [sys.executable, "-m", "timelog", "--dir", str(folder), "search", "-o", "json"]
    command += ["-g", pattern]
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, check=False)
    if done.returncode not in (0, 1):  # 1 says that nothing was found
        done.check_returncode()
    return done.stdout.count(b"\n")


class Unaided:
    """timelog with the standard library alone, in a process that answers one search at a time."""

    def __init__(self, folder: Path) -> None:
        self.child = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.search_ours", str(folder)],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def search(self, how: str, what: str) -> tuple[int, float]:
        """How many events were found, and in how many seconds by the clock of the process."""
        assert self.child.stdin and self.child.stdout
        print(json.dumps([how, what]), file=self.child.stdin, flush=True)
        answer = self.child.stdout.readline()
        if not answer:
            raise RuntimeError(f"the process without extras ended with {self.child.wait()}")
        found, taken = json.loads(answer)
        return found, taken

    def close(self) -> None:
        """End the process and wait for its end."""
        self.child.communicate()


def has_text_index(log: Any) -> bool:
    """Whether this timelog can build one."""
    return hasattr(log, "index_text")


class Indexed:
    """A copy of the log with a text index. The segments are the same files, under two names."""

    def __init__(self, plain: Path, folder: Path) -> None:
        self.plain = plain
        self.folder = folder
        self.report = ""

    def build(self) -> tuple[int, float]:
        """Copy the log anew; how many bytes of text were indexed, and in how many seconds."""
        import timelog

        if self.folder.exists():
            shutil.rmtree(self.folder)
        shutil.copytree(self.plain, self.folder, copy_function=_link_segments)
        with timelog.open(self.folder, flush_interval=3600.0) as log:
            begun = perf_counter()
            self.report = str(log.index_text())  # type: ignore[attr-defined, unused-ignore]
            taken = perf_counter() - begun
        return text_bytes(self.folder), taken

    @property
    def bytes(self) -> int:
        """The size of the text index."""
        return sum(path.stat().st_size for path in text_index(self.folder))


def text_bytes(folder: Path) -> int:
    """The size of all segments."""
    return sum(path.stat().st_size for path in folder.glob("[0-9]*/*.jsonl"))


def text_index(folder: Path) -> list[Path]:
    """The files of the text index of the log in `folder`."""
    return sorted((folder / ".timelog" / "index").rglob("*.text"))


def _link_segments(source: str, target: str) -> None:
    """Link what never changes again; copy the log's own files."""
    if source.endswith(".jsonl"):
        os.link(source, target)
    else:
        shutil.copy2(source, target)


def main(argv: list[str] | None = None) -> int:
    """Answer searches of a log without the extras: lines of JSON in, lines of JSON out."""
    parser = argparse.ArgumentParser(prog="benchmarks.search_ours", description=main.__doc__)
    parser.add_argument("log", type=Path, help="the directory of the log")
    args = parser.parse_args(argv)
    for name in EXTRAS:
        sys.modules[name] = None  # type: ignore[assignment]
    import timelog

    with timelog.open(args.log, mode="r") as log:
        for line in sys.stdin:
            how, what = json.loads(line)
            begun = perf_counter()
            found = search(log, how, what)
            print(json.dumps([found, perf_counter() - begun]), flush=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())

"""Any order of appends, rotations, truncations, deletions and kills: every line exactly once."""

from __future__ import annotations

import bz2
import gzip
import lzma
import os
import shutil
import tempfile
from collections import Counter
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

import timelog
from tests.rig import abandon
from timelog.ingest import Watcher

PACKERS = {"gz": gzip.compress, "xz": lzma.compress, "bz2": bz2.compress}


class World:
    """Files that a program writes and rotates, and a watcher that may be killed."""

    def __init__(self, folder: Path, **options: object) -> None:
        self.folder = folder
        self.watched = folder / "watched"
        self.watched.mkdir()
        self.options = options
        self.now = 0.0
        self.written: list[str] = []
        self.number = 0
        self.open()

    def open(self) -> None:
        self.log = timelog.open(
            self.folder / "log", flush_interval=3600.0, text_index=False, scrub_interval=0
        )
        self.watcher = Watcher(
            self.log,
            self.watched,
            monotonic=lambda: self.now,
            timestamps="none",
            **self.options,  # type: ignore[arg-type]
        )

    def kill(self) -> None:
        """What was not flushed is gone, and a new process begins."""
        self.watcher._lookout.close()
        self.watcher._claim.release()
        abandon(self.log)
        self.open()

    def restart(self) -> None:
        self.close()
        self.open()

    def look(self) -> None:
        self.watcher.read()

    def flush(self) -> None:
        self.log.flush()

    def path(self, name: str, number: int = 0) -> Path:
        return self.watched / (f"{name}.{number}" if number else name)

    def append(self, name: str, sizes: list[int], is_whole: bool) -> None:
        """Write lines; without ``is_whole`` the newline of the last comes with what is next."""
        for at, size in enumerate(sizes):
            self.number += 1
            line = f"{name} {self.number} " + "x" * size
            self.written.append(line)
            with open(self.path(name), "a") as file:
                if file.tell() and self.rest(self.path(name)):
                    file.write("\n")
                file.write(line + ("\n" if is_whole or at + 1 < len(sizes) else ""))

    def rest(self, path: Path) -> bool:
        return path.exists() and not path.read_bytes().endswith(b"\n") and path.stat().st_size > 0

    def end_line(self, name: str) -> None:
        if self.rest(self.path(name)):
            with open(self.path(name), "a") as file:
                file.write("\n")

    def shift(self, name: str) -> None:
        """Make room for ``name.1``."""
        numbers = sorted(
            int(path.suffix[1:])
            for path in self.watched.glob(f"{name}.*")
            if path.suffix[1:].isdigit()
        )
        for number in reversed(numbers):
            os.rename(self.path(name, number), self.path(name, number + 1))

    def rename(self, name: str) -> None:
        if self.path(name).exists():
            self.shift(name)
            os.rename(self.path(name), self.path(name, 1))
            self.path(name).touch()

    def truncate(self, name: str) -> None:
        """Copy and truncate; nothing is lost, as the copy is watched, too."""
        self.end_line(name)
        if self.path(name).exists() and self.path(name).stat().st_size:
            self.shift(name)
            shutil.copyfile(self.path(name), self.path(name, 1))
            os.truncate(self.path(name), 0)

    def pack(self, name: str, packing: str) -> None:
        """Compress the newest rotated file."""
        plain = self.path(name, 1)
        if plain.exists() and not self.rest(plain):
            packed = self.watched / f"{name}.{self.number}00.{packing}"
            if packed.exists():
                return
            packed.write_bytes(PACKERS[packing](plain.read_bytes()))
            os.unlink(plain)

    def delete(self, name: str) -> None:
        """Delete a file when it was read, which is all that can be asked for."""
        self.end_line(name)
        self.settle()
        self.flush()
        self.path(name).unlink(missing_ok=True)

    def settle(self) -> None:
        """Let the time pass that doubtful cases are given."""
        for _ in range(3):
            self.look()
            self.now += 11.0
        self.look()

    def check(self) -> None:
        for name in "ab":
            self.end_line(name)
        self.settle()
        found = Counter(event.content for event in self.log.search())
        wanted = Counter(self.written)
        assert found == wanted, {"missing": wanted - found, "too many": found - wanted}

    def close(self) -> None:
        self.watcher.close()
        self.log.close()


NAMES = st.sampled_from("ab")
STEPS = st.one_of(
    st.tuples(
        st.just("append"),
        NAMES,
        st.lists(st.sampled_from([0, 3, 70, 1500]), min_size=1, max_size=4),
        st.booleans(),
    ),
    st.tuples(st.sampled_from(["rename", "truncate", "delete"]), NAMES),
    st.tuples(st.just("pack"), NAMES, st.sampled_from(sorted(PACKERS))),
    st.tuples(st.sampled_from(["look", "flush", "kill", "restart", "settle"])),
)


def play(steps: list[tuple], **options: object) -> None:  # type: ignore[type-arg]
    with tempfile.TemporaryDirectory() as folder:
        world = World(Path(folder), **options)
        try:
            for name, *args in steps:
                getattr(world, name)(*args)
            world.check()
        finally:
            world.close()


@settings(max_examples=60)
@given(st.lists(STEPS, max_size=25))
def test_every_line_comes_exactly_once(steps: list[tuple]) -> None:  # type: ignore[type-arg]
    play(steps)

"""`timelog.repair` is killed, or the power is cut, at each of its disk calls: the next one ends it.

Whatever was wrong before, afterwards every event is there once and nothing else is, and no byte of
any segment is gone that is not in quarantine.
"""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable
from itertools import takewhile
from pathlib import Path
from typing import NamedTuple

import pytest

import timelog
from tests.aged import archives, make_archived
from tests.broken import BREAKS, events_of, everything, kept, make_log, segments
from tests.faults import report
from tests.faults.cuts import IS_FULL, SEED, Recorded, Samples, states
from tests.faults.model import ModelStorage, Tree, digest, materialise
from tests.faults.oracle import Booted
from tests.faults.workloads import Workload
from tests.rig import FaultyStorage, Killed
from timelog.event import Event
from timelog.frames import compress
from timelog.storage import Storage

pytestmark = pytest.mark.timeout(1800)

# Of so many killed repairs the next is killed as well, at any of its calls.
_TWICE = 1.0 if IS_FULL else 0.25
_ROUNDS = 10 if IS_FULL else 1
# A process that is killed takes nothing of the page cache with it.
_BOOT = Storage().boot_id()
# States for each way to break a log, at least; those with fewer operations get more of each.
_STATES = 400 * _ROUNDS


def _add_events(path: Path) -> None:
    """Lines of the log with ids that it does not have: in a tail, and in a file of their own."""
    one, two, *_ = segments(path)
    data = two.read_bytes()
    other = data.replace(b'"id":"', b'"id":"new')
    one.write_bytes(one.read_bytes() + other.replace(b"new", b"also") + b'{"torn')
    two.with_name(two.name.replace(".jsonl", ".5.jsonl")).write_bytes(other + data)


def _add_to_archive(path: Path) -> None:
    """A frame of events that the log does not have, and half of another."""
    file = archives(path)[0]
    data = compress(segments(path)[0].read_bytes().replace(b'"id":"', b'"id":"new'))
    file.write_bytes(file.read_bytes() + data + data[:-9])


def _damage_archive(path: Path) -> None:
    """What the archive has is in the segments that it replaced, too."""
    shutil.rmtree(path / ".timelog")
    file = archives(path)[0]
    file.write_bytes(b"\0" * 9 + file.read_bytes())


# How the log is made and broken, and whether what is good of leftovers is to be adopted.
WAYS: dict[str, tuple[Callable[[Path], list[Event]], Callable[[Path], object], bool]] = {
    **{name: (make_log, way, False) for name, way in BREAKS.items()},
    "new events": (make_log, _add_events, True),
    "archive, tail": (make_archived, _add_to_archive, False),
    "archive, new events": (make_archived, _add_to_archive, True),
    "archive, control gone": (make_archived, lambda path: shutil.rmtree(path / ".timelog"), False),
    "archive, damaged": (make_archived, _damage_archive, False),
    "archive, day gone": (
        make_archived,
        lambda path: next(path.glob(".timelog/index/2*.index")).unlink(),
        False,
    ),
}


class Broken(NamedTuple):
    """A broken log, and the events that its repair has to give."""

    path: Path
    events: list[Event]
    adopt: bool
    texts: dict[str, bytes]

    def repair(self, path: Path, storage: Storage | None = None) -> timelog.Repaired:
        """Repair a copy of the log at ``path``."""
        return timelog.repair(path, adopt=self.adopt, storage=storage)

    def check(self, path: Path, boot: str) -> None:
        """Let a repair that was cut off be followed by another, and look at what there is then."""
        self.check_texts(path)
        found = self.repair(path, Booted(boot))
        assert found.ok, str(found)
        assert events_of(path) == self.events
        self.check_texts(path)
        before = everything(path)
        again = self.repair(path, Booted(boot))
        assert again.ok and not again.found, str(again)
        assert everything(path) == before

    def check_texts(self, path: Path) -> None:
        """Each segment is as it was, or what is not there is in quarantine."""
        aside = kept(path)
        for name, text in self.texts.items():
            file = path / name
            left = file.read_bytes() if file.exists() else b""
            pairs = zip(left, text, strict=False)
            gone = len(text) - sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))
            assert not gone or any(text.endswith(some) and len(some) >= gone for some in aside), (
                f"{gone} bytes of {name} are gone"
            )


@pytest.fixture(params=WAYS)
def broken(request: pytest.FixtureRequest, ram: Path) -> Broken:
    """A log that is broken in each way."""
    make, way, adopt = WAYS[request.param]
    path = ram / "log"
    events = make(path)
    way(path)
    if adopt:
        shutil.copytree(path, ram / "adopted")
        timelog.repair(ram / "adopted", adopt=True)
        adopted = events_of(ram / "adopted")
        assert len(adopted) > len(events)
        events = adopted
    files = archives(path)
    if not files or not (path / ".timelog").exists():
        # Else they were replaced, and may go.
        files += segments(path)
    texts = {str(file.relative_to(path)): file.read_bytes() for file in files}
    return Broken(path, events, adopt, texts)


def test_a_kill_at_every_disk_call(
    broken: Broken, ram: Path, request: pytest.FixtureRequest
) -> None:
    name = request.node.callspec.params["broken"]
    path = ram / "copy"
    shutil.copytree(broken.path, path)
    counting = FaultyStorage()
    broken.repair(path, counting)
    broken.check(path, _BOOT)
    shutil.rmtree(path)
    rng = random.Random(f"{SEED} {name}")
    kills = 0
    for at, call in enumerate(counting.calls, 1):
        for fault in ("kill", "torn") if call in ("write", "overwrite") else ("kill",):
            for _ in range(_ROUNDS):
                shutil.copytree(broken.path, path)
                with pytest.raises(Killed):
                    broken.repair(path, FaultyStorage(at, fault))
                kills += 1
                if rng.random() < _TWICE:
                    second = FaultyStorage(rng.randrange(1, len(counting.calls) + 1), fault)
                    try:
                        broken.repair(path, second)
                    except Killed:
                        kills += 1
                broken.check(path, _BOOT)
                shutil.rmtree(path)
    report.record(
        f"kills of a repair, {name}: {kills:,} at {len(counting.calls):,} disk calls, seed {SEED}"
    )


def test_a_power_cut_at_every_disk_call(
    broken: Broken, ram: Path, request: pytest.FixtureRequest
) -> None:
    name = request.node.callspec.params["broken"]
    tree = _tree(broken.path, "log")
    base = ram / "model"
    materialise(tree, base)
    storage = ModelStorage(base, "first boot", tree)
    broken.repair(base / "log", storage)
    shutil.rmtree(base)
    workload = Workload(f"repair {name}", lambda run: None, False, False, False, ())
    recorded = Recorded(workload, tree, storage.ops, [], ())
    tried: set[bytes] = set()
    count = 0
    few = max(_STATES // len(storage.ops) // 6, 1)
    for state in states(recorded, Samples(few, few, 4 * few), SEED):
        count += 1
        key = digest(state.tree)
        if key in tried:
            continue
        tried.add(key)
        materialise(state.tree, base)
        try:
            broken.check(base / "log", "another boot")
        except (AssertionError, timelog.TimelogError) as error:
            op = storage.ops[state.operation - 1] if state.operation else "nothing"
            raise AssertionError(
                f"{name}: after operation {state.operation} of {len(storage.ops)} ({op}), model "
                f"{state.model}, sample {state.sample}, seed {SEED}: {error}"
            ) from error
        shutil.rmtree(base)
    report.record(
        f"power cuts in a repair, {name}: {count:,} states ({len(tried):,} distinct) of "
        f"{len(storage.ops):,} operations, seed {SEED}"
    )


def _tree(path: Path, name: str) -> Tree:
    """What is in a directory, as the model takes it."""
    tree: Tree = {name: None}
    for each in sorted(path.rglob("*")):
        inner = f"{name}/{each.relative_to(path).as_posix()}"
        tree[inner] = each.read_bytes() if each.is_file() else None
    return tree

"""Cuts the power at every operation of a recorded run, and lets the oracle judge what is left.

A state is named by workload, operation, model and sample; with the seed these make it again (see
`replay`). Equal states are recovered once, and judged for each moment at which they may occur; of
what comes out of the repair alike, one is looked at.
"""

from __future__ import annotations

import os
import random
import re
import shutil
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import timelog
from tests.faults.model import (
    MODELS,
    Disk,
    ModelStorage,
    Op,
    Tree,
    digest,
    materialise,
)
from tests.faults.oracle import (
    Found,
    Group,
    Violation,
    check,
    check_leftovers,
    check_lost,
    newest_commit,
    recover,
)
from tests.faults.workloads import Run, Workload, settings

SEED = 20_261_121
# The model that is no sample.
EVERY = "every"
IS_FULL = os.environ.get("TIMELOG_FAULTS") == "full"


class Samples(NamedTuple):
    """How many states of each model at each operation."""

    ordered: int
    ext4: int
    posix: int

    def times(self, factor: int) -> Samples:
        """So many times as many."""
        return Samples(*(each * factor for each in self))


class Recorded(NamedTuple):
    """The trace of a run, and what it issued: before its first operation, and in all."""

    workload: Workload
    start: Tree
    ops: list[Op]
    groups: list[Group]
    cursors: tuple[str, ...]
    begun: int = 0
    acknowledged: int = 0


class State(NamedTuple):
    """What a power cut may leave."""

    operation: int
    model: str
    sample: int
    tree: Tree
    begun: int
    acknowledged: int


class Counts:
    """How much was tried."""

    def __init__(self) -> None:
        self.states = 0
        self.distinct = 0
        self.operations = 0
        # By what the violation says.
        self.known: Counter[str] = Counter()


MakeStorage = Callable[[Path], ModelStorage]


def run(workload: Workload, base: Path, make: MakeStorage = ModelStorage) -> Recorded:
    """Run the workload in the new directory ``base`` and record it."""
    base.mkdir()
    storage = make(base)
    noted = Run(storage, "off" if workload.off else "flush")
    try:
        with settings(workload):
            workload.run(noted)
    finally:
        noted.abandon()
    cursors = tuple(sorted(noted.cursors))
    return Recorded(workload, {}, storage.ops, noted.groups, cursors)


def states(recorded: Recorded, samples: Samples, seed: int) -> Iterator[State]:
    """What power cuts may leave: before each operation and after the last, by each model."""
    for number, disk, begun, acknowledged in _moments(recorded):
        following = recorded.ops[number] if number < len(recorded.ops) else None
        for model, count in zip(MODELS, samples, strict=True):
            for sample in range(count):
                rng = random.Random(f"{seed} {recorded.workload.name} {number} {model} {sample}")
                if model == "ordered":
                    tree = disk.ordered(rng, following if sample else None)
                elif model == "ext4":
                    tree = disk.ext4(rng, least=not sample)
                else:
                    tree = disk.posix(rng, least=not sample)
                yield State(number, model, sample, tree, begun, acknowledged)


def every_state(recorded: Recorded) -> Iterator[State]:
    """All subsets of what is not synced at each operation; for short runs, see `Disk.every`."""
    for number, disk, begun, acknowledged in _moments(recorded):
        for sample, tree in enumerate(disk.every()):
            yield State(number, EVERY, sample, tree, begun, acknowledged)


def _moments(recorded: Recorded) -> Iterator[tuple[int, Disk, int, int]]:
    """The disk after so many operations, and how far the run was."""
    disk = Disk(recorded.start)
    begun, acknowledged = recorded.begun, recorded.acknowledged
    yield 0, disk, begun, acknowledged
    for number, op in enumerate(recorded.ops, 1):
        disk.apply(op)
        if op.kind == "mark":
            begun, acknowledged = op.begun, op.acknowledged
        yield number, disk, begun, acknowledged


def judge(
    recorded: Recorded,
    base: Path,
    samples: Samples,
    seed: int,
    counts: Counts,
    known_faults: Mapping[str, str] = {},
) -> None:
    """Try samples of all states; as `judge_states`."""
    judge_states(recorded, states(recorded, samples, seed), base, seed, counts, known_faults)


def judge_states(
    recorded: Recorded,
    states: Iterable[State],
    base: Path,
    seed: int,
    counts: Counts,
    known_faults: Mapping[str, str] = {},
) -> None:
    """Try ``states``; raises `Violation`, with what makes the state again, at the first bad one.

    ``known_faults``: names of faults and patterns of what they say; these are only counted.
    """
    known: dict[bytes, Found] = {}
    repaired: dict[bytes, Found] = {}
    counts.operations += len(recorded.ops)
    for state in states:
        counts.states += 1
        try:
            key = digest(state.tree)
            found = known.get(key)
            if found is None:
                counts.distinct += 1
                found = known[key] = _recover(recorded, state.tree, base / "state", repaired)
            check(found, recorded.groups[: state.begun], state.acknowledged)
            check_leftovers(found)
        except (Violation, timelog.TimelogError) as error:
            fault = next(
                (f for f, words in known_faults.items() if re.search(words, str(error))), ""
            )
            if fault:
                counts.known[fault] += 1
                continue
            raise Violation(_describe(recorded, state, seed, error)) from error


def replay(
    workload: Workload, base: Path, operation: int, model: str, sample: int, seed: int = SEED
) -> tuple[Recorded, State]:
    """Make one state again, in ``base / "state"``, not yet recovered."""
    recorded = run(workload, base / "run")
    samples = Samples(sample + 1, sample + 1, sample + 1)
    some = every_state(recorded) if model == EVERY else states(recorded, samples, seed)
    for state in some:
        if (state.operation, state.model, state.sample) == (operation, model, sample):
            materialise(state.tree, base / "state")
            return recorded, state
    raise ValueError("there is no such state")


def record_repair(recorded: Recorded, state: State, base: Path) -> Recorded:
    """Record the repair of ``state``, as a run that issues nothing and must keep what there is."""
    materialise(state.tree, base)
    try:
        storage = ModelStorage(base, "boot of the repair", state.tree)
        log = timelog.open(base / "log", flush_interval=3600.0, text_index=False, storage=storage)
        log.close()
    finally:
        shutil.rmtree(base)
    # What was acknowledged before the first cut stays so.
    return recorded._replace(
        start=state.tree, ops=storage.ops, begun=state.begun, acknowledged=state.acknowledged
    )


def _recover(recorded: Recorded, tree: Tree, base: Path, repaired: dict[bytes, Found]) -> Found:
    workload = recorded.workload
    materialise(tree, base)
    try:
        found = recover(
            base / "log",
            recorded.cursors,
            text=workload.text,
            removes=workload.removes,
            known=repaired,
        )
        if not workload.off and found.lost:
            raise Violation(f"{found.lost} commits were given up although all were durable")
        if workload.off and not recorded.start:
            check_lost(found, newest_commit(tree))
        return found
    finally:
        shutil.rmtree(base)


def _describe(recorded: Recorded, state: State, seed: int, error: Exception) -> str:
    last = recorded.ops[state.operation - 1] if state.operation else "nothing"
    return (
        f"workload {recorded.workload.name}, operation {state.operation} of {len(recorded.ops)} "
        f"(after: {last}), model {state.model}, sample {state.sample}, seed {seed}: "
        f"{type(error).__name__}: {error}"
    )

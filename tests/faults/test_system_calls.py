"""Every system call that a log makes fails, falls short or is the last one: nothing is lost.

After each fault: the error is the library's and somebody is told; the call works when it is made
again and the disk is well, without reopening; what was acknowledged is there, in order, once and
unchanged; no descriptor and no temporary file is left. See `tests.faults.stubborn`.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.faults import program, report, shim
from tests.faults.controls import CONTROLS
from tests.faults.cuts import IS_FULL, SEED
from tests.faults.program import Report
from tests.faults.trial import digest
from tests.faults.workloads import Workload, registry

pytestmark = pytest.mark.timeout(1800)

_FACTOR = 10 if IS_FULL else 1
# Of each workload, and of the repair after processes that were killed in it.
_COUNTS = {"run": 437 * _FACTOR, "repair": 110 * _FACTOR}


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The shim, compiled."""
    if not shim.is_possible():
        count = sum(_COUNTS.values()) * len(registry)
        pytest.skip(f"NOT RUN: {count:,} system calls that fail: gcc on Linux is needed")
    return shim.build(tmp_path_factory.mktemp("shim"))


@pytest.fixture(params=registry.values(), ids=list(registry))
def workload(request: pytest.FixtureRequest) -> Workload:
    """Each workload of the registry that has no faults of its own."""
    found: Workload = request.param
    count = sum(_COUNTS.values())
    if found.faulty:
        pytest.skip(
            f"NOT RUN: {count:,} system calls that fail in {found.name}: it has faults of its own"
        )
    if found.missing:
        pytest.skip(f"NOT RUN: {count:,} system calls that fail: {found.missing}")
    return found


def run(library: Path, *args: object) -> Report:
    """Run the program in which calls fail."""
    environment = shim.environment(library)
    return program.run("tests.faults.calls", *args, environment=environment)


@pytest.mark.parametrize("what", _COUNTS)
def test_every_system_call_may_fail(
    library: Path, ram: Path, workload: Workload, what: str
) -> None:
    start = time.perf_counter()
    found = run(library, workload.name, what, _COUNTS[what], SEED, ram)
    assert not found.violations, "\n".join([f"seed {SEED}", *found.violations])
    assert found.cases == min(_COUNTS[what], found.possible)
    assert sum(found.errors.values()) > found.cases / 4
    report.record(
        f"system calls, {workload.name}, {what}: {found.cases:,} of {found.possible:,} faults "
        f"({found.distinct:,} different outcomes) in {time.perf_counter() - start:.1f} s, "
        f"seed {SEED}"
    )


@pytest.mark.parametrize("number", range(len(CONTROLS)), ids=[each.name for each in CONTROLS])
def test_a_fault_of_the_package_is_found_out(library: Path, ram: Path, number: int) -> None:
    found = run(library, "flushes", "run", 1000, SEED, ram, number)
    assert found.violations
    report.record(
        f"negative control, {CONTROLS[number].name}: found after {found.cases:,} faults: "
        f"{found.violations[0]}"[:160]
    )


# -- the same faults by other means -------------------------------------------------------

# System call, the shim's letter for it, the how manieth, and the fault.
_CROSS_CHECKS = (
    ("fsync", "s", 9, "EIO"),
    ("fsync", "s", 17, "kill before"),
    ("writev", "w", 1, "ENOSPC"),
    ("writev", "w", 7, "EDQUOT"),
    ("writev", "w", 8, "kill before"),
    ("renameat", "n", 2, "EIO"),
    ("unlinkat", "u", 1, "EROFS"),
    ("mkdir", "m", 4, "EDQUOT"),
    ("flock", "f", 3, "EINTR"),
)


@pytest.fixture
def trace(library: Path, ram: Path) -> str:
    """The calls of a run to which nothing happens, on the same file system."""
    return _once(library, ram / "whole").trace


@pytest.mark.parametrize("check", _CROSS_CHECKS, ids=lambda check: " ".join(map(str, check)))
def test_strace_and_the_shim_do_the_same(
    library: Path, ram: Path, trace: str, check: tuple[str, str, int, str]
) -> None:
    """The errors are the same, and every byte on the disk."""
    if shutil.which("strace") is None:
        pytest.skip("NOT RUN: 1 system call that fails by strace: it is not installed")
    call, kind, number, fault = check
    at = [n for n, letter in enumerate(trace) if letter == kind][number - 1]
    here = _once(library, ram / "shim", args=(at, fault))
    happens = "signal=KILL" if fault == "kill before" else f"error={fault}"
    inject = f"inject={call}:{happens}:when={number}"
    strace = ("strace", "-f", "-qq", "-o", "/dev/null", "-e", inject)
    there = _once(library, ram / "strace", strace)
    assert here == there
    assert here.ended == (-signal.SIGKILL if fault == "kill before" else 0)
    assert bool(here.errors) == (fault not in ("EINTR", "kill before"))


class _Once(NamedTuple):
    """A run: how its process ended, what it called and met, and what it left."""

    ended: int
    trace: str
    errors: list[str]
    left: bytes


def _once(
    library: Path, base: Path, before: tuple[str, ...] = (), args: tuple[object, ...] = ()
) -> _Once:
    base.mkdir()
    command = [*before, sys.executable, "-B", "-m", "tests.faults.once", "flushes", base, *args]
    done = subprocess.run(
        list(map(str, command)),
        cwd=program.ROOT,
        # The order of sets decides in which order some files are looked at.
        env={**os.environ, **shim.environment(library), "PYTHONHASHSEED": "0"},
        stdout=subprocess.PIPE,
        text=True,
    )
    trace, errors = json.loads(done.stdout.replace(str(base), "") or '["", []]')
    return _Once(done.returncode, trace, errors, digest(base))

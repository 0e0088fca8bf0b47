"""The program that tests contents for a pattern, run as it is run by `timelog.deadline`."""

from __future__ import annotations

import ast
import marshal
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import timelog

PROGRAM = Path(timelog.__file__).with_name("worker.py")
FAR = 3600.0
SOON = 30.0


def frame(value: object) -> bytes:
    data = marshal.dumps(value)
    return len(data).to_bytes(8, "big") + data


def first(pattern: str, flags: int = 0, seconds: float = FAR) -> bytes:
    return frame((pattern, int(flags), seconds))


def start(before: Callable[[], object] | None = None) -> subprocess.Popen[bytes]:
    """The program, begun by a process that has run ``before``."""
    return subprocess.Popen(
        [sys.executable, "-I", "-S", str(PROGRAM)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        preexec_fn=before,
    )


def run(sent: bytes) -> bytes:
    """What the program answers to ``sent`` and an end of the input, where it ends well."""
    with start() as program:
        answers, told = program.communicate(sent, SOON)
    assert (program.returncode, told) == (0, b"")
    return answers


def answer(*found: bool) -> bytes:
    return len(found).to_bytes(8, "big") + bytes(found)


def test_it_answers_each_batch_with_a_byte_for_each_content() -> None:
    sent = first("a.c", re.I | re.S) + frame(["abc", "ac", "A\nC"]) + frame([]) + frame(["", "é"])
    assert run(sent) == answer(True, False, True) + answer() + answer(False, False)


@pytest.mark.parametrize(
    "sent",
    [b"", first("a")[:5], first("a")[:-1], first("a"), first("a") + frame(["aaa"])[:-1]],
    ids=["nothing", "half a length", "half a pattern", "a pattern", "half a batch"],
)
def test_it_ends_in_peace_where_the_input_ends(sent: bytes) -> None:
    assert run(sent) == b""


def block_alarm() -> None:
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGALRM})


def ignore_alarm() -> None:
    signal.signal(signal.SIGALRM, signal.SIG_IGN)


@pytest.mark.parametrize("before", [None, block_alarm, ignore_alarm])
def test_it_ends_in_the_middle_of_a_match_when_its_time_is_over(
    before: Callable[[], object] | None,
) -> None:
    """Whatever the process that begins it does with the signal of the alarm."""
    with start(before) as program:
        assert program.stdin is not None
        program.stdin.write(first("(a+)+$", seconds=0.2) + frame(["a" * 40 + "b"]))
        program.stdin.flush()
        try:
            assert program.wait(SOON) == -signal.SIGALRM
        finally:
            program.kill()


def test_it_imports_only_the_standard_library() -> None:
    found = set()
    for node in ast.walk(ast.parse(PROGRAM.read_text())):
        if isinstance(node, ast.Import):
            found |= {each.name for each in node.names}
        else:
            assert not isinstance(node, ast.ImportFrom)
    assert found <= sys.stdlib_module_names - {"timelog"}

"""System calls that fail: a library in C between Python and the C library, and its handle.

`build` makes it, a program is started with it in its `environment`, and there a `Shim` says which
call on files below one directory is to fail.
"""

from __future__ import annotations

import ctypes
import errno
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

_SOURCE = Path(__file__).with_name("shim.c")
_FOREVER = 1 << 30
# The letters by which the library knows kinds of calls.
KINDS = {
    "c": "create",
    "o": "open to write",
    "r": "open to read",
    "l": "list",
    "m": "mkdir",
    "u": "unlink",
    "n": "rename",
    "h": "link",
    "s": "fsync",
    "f": "flock",
    "t": "truncate",
    "w": "write",
    "p": "pwrite",
    "g": "pread",
    "k": "stat",
}
_ACTIONS = {"short": 2, "kill before": 3, "kill after": 4, "kill within": 5}


class Fault(NamedTuple):
    """What happens to a call: the name of an errno, or one of ``short``, ``kill before`` ….

    ``kinds``: the letters of the calls to which it may happen. ``transparent``: nobody is told,
    since the call is made again.
    """

    name: str
    kinds: str
    transparent: str = ""

    @property
    def kills(self) -> bool:
        """Whether the process ends."""
        return self.name.startswith("kill")


_CHANGES = "comunhsftwp"
FAULTS = (
    Fault("EIO", "corlmunhstwpgk"),
    Fault("ENOSPC", "cmnhswp"),
    Fault("EDQUOT", "cmnhswp"),
    Fault("EROFS", "comunht"),
    Fault("EMFILE", "corl"),
    Fault("EACCES", "comunh"),
    Fault("ENOLCK", "f"),
    # Python itself makes most calls again.
    Fault("EINTR", "cormunsftwpg", "corsftwpg"),
    Fault("short", "wpg", "wpg"),
    Fault("kill before", _CHANGES),
    Fault("kill within", "wp"),
    Fault("kill after", _CHANGES),
)


class Case(NamedTuple):
    """A fault of one call of a run: once, or of all later ones of its kinds too."""

    call: int
    kind: str
    fault: Fault
    sticky: bool

    def __str__(self) -> str:
        again = " and from then on" if self.sticky else ""
        return f"call {self.call} ({KINDS[self.kind]}): {self.fault.name}{again}"


def cases(trace: str) -> list[Case]:
    """All that can happen to a run that makes these calls."""
    return [
        Case(number, kind, fault, sticky)
        for number, kind in enumerate(trace)
        for fault in FAULTS
        if kind in fault.kinds
        for sticky in ((False,) if fault.kills else (False, True))
    ]


class Shim:
    """The library in the process that was started with it; it counts the calls of one thread.

    When a run has ended, ``happened`` is how often the fault did happen, and ``trace`` the letters
    of the calls that were counted.
    """

    def __init__(self) -> None:
        self._library = ctypes.CDLL(None)
        self._library.shim_trace.restype = ctypes.POINTER(ctypes.c_char)
        for name in ("shim_calls", "shim_happened"):
            getattr(self._library, name).restype = ctypes.c_long
        self._library.shim_arm.argtypes = (
            ctypes.c_long,
            ctypes.c_long,
            ctypes.c_char_p,
            ctypes.c_int,
            ctypes.c_int,
        )
        self._kinds = b""
        self.happened = 0
        self.trace = ""

    def begin(self, base: Path, case: Case | None) -> None:
        """Count from zero the calls on what is below ``base``, and let the fault happen."""
        self._library.shim_watch(os.fsencode(base))
        if case is None:
            return
        fault = case.fault
        # Used by the library for as long as it is armed.
        self._kinds = fault.kinds.encode()
        times = _FOREVER if case.sticky else 1
        if case.sticky and fault.name == "EINTR":
            # For ever would be to hang: the call is made again.
            times = 3
        action = _ACTIONS.get(fault.name, 1)
        self._library.shim_arm(case.call, times, self._kinds, action, getattr(errno, fault.name, 0))

    def heal(self) -> None:
        """No more faults."""
        self._library.shim_heal()

    def end(self) -> None:
        """Let no call count or fail any more."""
        self.happened = int(self._library.shim_happened())
        self.trace = self._library.shim_trace()[: self._library.shim_calls()].decode()
        self._library.shim_watch(b"")


def is_possible() -> bool:
    """Whether this machine has what it takes: a C compiler, and a loader that knows LD_PRELOAD."""
    return sys.platform == "linux" and shutil.which("gcc") is not None


def build(directory: Path) -> Path:
    """Compile the library into ``directory``."""
    library = directory / "shim.so"
    command = ["gcc", "-O1", "-Wall", "-Werror", "-shared", "-fPIC", "-o", library, _SOURCE, "-ldl"]
    subprocess.run(command, check=True)
    return library


def environment(library: Path) -> dict[str, str]:
    """What a program needs to be started with the library."""
    return {"LD_PRELOAD": str(library)}

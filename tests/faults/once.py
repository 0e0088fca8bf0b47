"""One run of a workload in a program of its own, which the shim, or strace, makes fail.

``python -m tests.faults.once WORKLOAD DIRECTORY [CALL FAULT]``: in the empty ``DIRECTORY``, with
the fault at that call where one is named. Prints as JSON the calls that were made, as `Shim.trace`
has them, and the errors that were met.
"""

from __future__ import annotations

import json
import logging
import os
import sys
from pathlib import Path

from tests.faults.real import RealStorage
from tests.faults.shim import FAULTS, Case, Shim
from tests.faults.stubborn import StubbornRun, run_stubbornly
from tests.faults.trial import alike
from tests.faults.workloads import registry


def main() -> None:
    """See the module."""
    name, directory, *fault = sys.argv[1:]
    logging.disable(logging.WARNING)
    base = Path(directory)
    acks = os.open(base.with_suffix(".acks"), os.O_RDWR | os.O_CREAT, 0o600)
    shim = Shim()
    run = StubbornRun(RealStorage(base, acks), "flush", shim.heal)
    case = None
    if fault:
        what = next(each for each in FAULTS if each.name == fault[1])
        case = Case(int(fault[0]), "", what, sticky=False)
    shim.begin(base, case)
    with alike(0):
        run_stubbornly(registry[name], run)
    shim.end()
    print(json.dumps([shim.trace, [f"{type(error).__name__} {error}" for error in run.errors]]))


if __name__ == "__main__":
    main()

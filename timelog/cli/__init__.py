"""The command line: ``timelog`` and ``python -m timelog``.

Reading order: `examples` (what people do), `parser`, `options`, `groups` and `values` (what can be
asked for), `arguments` (words to a namespace), then one module a command, each with ``run(args)``,
which returns the exit code. Below them: `times` (as people write them), `selection` (which events),
`output` and `escape` (events as text), `cursorfile`, `report`, `stream` (stdout, colour, pager),
`signals`, and `base` (what all share). Of `torture`: `disk` and `trial` (what is tried), `tally`,
`guarantee`, `child`; of `simulate`: `load`. Commands use the public library only, and the packages
around it.
"""

from __future__ import annotations

import importlib
import keyword
import os
import sys
from collections.abc import Sequence

from timelog.cli.arguments import parse
from timelog.cli.base import (
    ERROR,
    INTERRUPTED,
    PIPE_CLOSED,
    TERMINATED,
    CommandError,
    LibraryMessages,
    complain,
    sentence,
)
from timelog.cli.signals import Terminated, terminating
from timelog.errors import TimelogError

__all__ = ["main"]


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code; only mistakes of the program raise.

    ``argv``: the words after the program's name; those of the process by default. Codes: 0
    (something matched, done), 1 (nothing matched), 2 (error; a sentence is on stderr), 3 (damage
    was met), and as a shell has them 130 (Ctrl-C), 141 (the reader of stdout went away), 143.
    """
    try:
        with terminating(), LibraryMessages():
            code = _run(sys.argv[1:] if argv is None else argv)
            if sys.stdout is not None:
                sys.stdout.flush()
    except KeyboardInterrupt:
        code = INTERRUPTED
    except Terminated:
        code = TERMINATED
    except BrokenPipeError:
        code = PIPE_CLOSED
    except (CommandError, TimelogError, OSError) as error:
        complain(sentence(error))
        code = ERROR
    _settle_stdout(give_up=code in (INTERRUPTED, TERMINATED, PIPE_CLOSED))
    return code


def _run(argv: Sequence[str]) -> int:
    try:
        args = parse(argv)
    except SystemExit as exit:  # argparse has printed the help or the version
        return int(exit.code or 0)
    # Imported by name: a command's start does not wait for the others' imports.
    module = args.command + "_" * keyword.iskeyword(args.command)
    command = importlib.import_module(f"timelog.cli.{module}")
    code: int = command.run(args)
    return code


def _settle_stdout(*, give_up: bool) -> None:
    """Write out what stdout still holds, or drop it where that is not wanted or not possible.

    Python would otherwise try once more at exit: wait for a reader who has stopped reading, or
    fail aloud.
    """
    if sys.stdout is None:
        return
    try:
        if not give_up:
            sys.stdout.flush()
            return
    except OSError:
        pass
    try:
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, sys.stdout.fileno())
        os.close(null)
    except OSError:  # not a file, such as what a test puts there
        pass

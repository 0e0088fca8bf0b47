"""Every command of ``timelog``, in one place, each with examples in its help.

The name of a command is that of its module (``import_`` for ``import``). Completions are made by
walking what `make_parser` returns.
"""

from __future__ import annotations

import argparse
from typing import NoReturn

from timelog import __version__
from timelog.cli import examples, options
from timelog.cli.base import CommandError
from timelog.cli.groups import add_directory


class Parser(argparse.ArgumentParser):
    """A parser that reports what is wrong as a `CommandError`."""

    def error(self, message: str) -> NoReturn:
        """Raise ``message`` with a pointer to the help."""
        raise CommandError(f"{message}; see '{self.prog} --help'")


def make_parser() -> Parser:
    """Return the whole command line."""
    parser = Parser(
        prog="timelog",
        description="An append-only event log in plain text, one file a minute.",
        epilog=examples.MAIN,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"timelog {__version__}")
    add_directory(parser)
    parser.set_defaults(command=None)
    commands = parser.add_subparsers(title="commands", dest="command", metavar="COMMAND")
    options.append(
        _command(commands, "append", "store one event and print its id", examples.APPEND)
    )
    options.ingest(
        _command(commands, "ingest", "store the lines of files, one event a line", examples.INGEST)
    )
    options.import_(
        _command(commands, "import", "store the events of other programs' files", examples.IMPORT)
    )
    options.watch(_command(commands, "watch", "store lines of files as they grow", examples.WATCH))
    options.search(_command(commands, "search", "print the events that match", examples.SEARCH))
    options.follow(
        _command(commands, "follow", "print events as they arrive, and go on", examples.FOLLOW)
    )
    options.export(
        _command(commands, "export", "write the events that match to a file", examples.EXPORT)
    )
    options.files(
        _command(commands, "files", "print which files hold a range of time", examples.FILES)
    )
    options.status(
        _command(
            commands,
            "status",
            "print how much there is, how it grows, and its health",
            examples.STATUS,
        )
    )
    index = _command(commands, "index", "let searches for a text read less", examples.INDEX)
    index.add_argument("-q", "--quiet", action="store_true", help="do not say what was built")
    options.verify(
        _command(commands, "verify", "check the log against its checksums", examples.VERIFY)
    )
    options.repair(_command(commands, "repair", "put right what can be put right", examples.REPAIR))
    options.snapshot(
        _command(
            commands,
            "snapshot",
            "take a copy of the log at one position, while it is written",
            examples.SNAPSHOT,
        )
    )
    options.restore(_command(commands, "restore", "make a log of a snapshot", examples.RESTORE))
    options.torture(
        _command(commands, "torture", "try what a disk keeps of its promises", examples.TORTURE)
    )
    options.audit(
        _command(commands, "audit", "account for every event ever entered", examples.AUDIT)
    )
    options.vacuum(_command(commands, "vacuum", "let old events go", examples.VACUUM))
    options.compact(
        _command(commands, "compact", "make few files of those of days before", examples.COMPACT)
    )
    options.dispatch(
        _command(commands, "dispatch", "hand events to workers over a socket", examples.DISPATCH)
    )
    options.delete(_command(commands, "delete", "hide single events for ever", examples.DELETE))
    options.simulate(
        _command(commands, "simulate", "make load as a real service does", examples.SIMULATE)
    )
    _command(commands, "demo", "make a small log and show what can be done with it", examples.DEMO)
    completion = _command(
        commands, "completion", "print completions for a shell", examples.COMPLETION
    )
    completion.add_argument("shell", choices=("bash", "zsh", "fish"))
    return parser


def options_of(parser: argparse.ArgumentParser) -> list[argparse.Action]:
    """Return the options of ``parser``, in order; argparse has no public way to ask."""
    return [action for action in parser._actions if action.option_strings]


def commands_of(parser: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    """Return the commands of ``parser`` by name, in order."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            return dict(action.choices)
    return {}


def _command(
    commands: argparse._SubParsersAction[Parser], name: str, help: str, epilog: str
) -> Parser:
    command = commands.add_parser(
        name,
        help=help,
        description=help[0].upper() + help[1:] + ".",
        epilog=epilog,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add_directory(command)
    return command

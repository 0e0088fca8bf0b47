"""Every command and option of ``timelog``, in one place, each with examples in its help.

The name of a command is that of its module (``import_`` for ``import``). Completions are made by
walking what `make_parser` returns.
"""

from __future__ import annotations

import argparse
from typing import NoReturn

from timelog import __version__
from timelog.cli import examples
from timelog.cli.base import CommandError, text_argument
from timelog.cli.output import NAMES
from timelog.errors import InvalidTime
from timelog.timestamp import SECOND, parse_relative


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
    _add_directory(parser)
    parser.set_defaults(command=None)
    commands = parser.add_subparsers(title="commands", dest="command", metavar="COMMAND")
    _append(_command(commands, "append", "store one event and print its id", examples.APPEND))
    _ingest(
        _command(commands, "ingest", "store the lines of files, one event a line", examples.INGEST)
    )
    _import(
        _command(commands, "import", "store the events of other programs' files", examples.IMPORT)
    )
    _watch(_command(commands, "watch", "store lines of files as they grow", examples.WATCH))
    _search(_command(commands, "search", "print the events that match", examples.SEARCH))
    _follow(_command(commands, "follow", "print events as they arrive, and go on", examples.FOLLOW))
    _export(_command(commands, "export", "write the events that match to a file", examples.EXPORT))
    _files(_command(commands, "files", "print which files hold a range of time", examples.FILES))
    _status(
        _command(
            commands,
            "status",
            "print how much there is, how it grows, and its health",
            examples.STATUS,
        )
    )
    index = _command(commands, "index", "let searches for a text read less", examples.INDEX)
    index.add_argument("-q", "--quiet", action="store_true", help="do not say what was built")
    _verify(_command(commands, "verify", "check the log against its checksums", examples.VERIFY))
    _repair(_command(commands, "repair", "put right what can be put right", examples.REPAIR))
    _snapshot(
        _command(
            commands,
            "snapshot",
            "take a copy of the log at one position, while it is written",
            examples.SNAPSHOT,
        )
    )
    _restore(_command(commands, "restore", "make a log of a snapshot", examples.RESTORE))
    _torture(
        _command(commands, "torture", "try what a disk keeps of its promises", examples.TORTURE)
    )
    _audit(_command(commands, "audit", "account for every event ever entered", examples.AUDIT))
    _vacuum(_command(commands, "vacuum", "let old events go", examples.VACUUM))
    _compact(
        _command(commands, "compact", "make few files of those of days before", examples.COMPACT)
    )
    _dispatch(
        _command(commands, "dispatch", "hand events to workers over a socket", examples.DISPATCH)
    )
    _delete(_command(commands, "delete", "hide single events for ever", examples.DELETE))
    _simulate(_command(commands, "simulate", "make load as a real service does", examples.SIMULATE))
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
    _add_directory(command)
    return command


def _add_directory(parser: Parser) -> None:
    # Suppressed: else the command's default would replace what was said before the command.
    parser.add_argument(
        "--dir", metavar="DIR", default=argparse.SUPPRESS, help="the log (else TIMELOG_DIR)"
    )


def _add_zone(parser: Parser) -> None:
    group = parser.add_mutually_exclusive_group()
    group.add_argument("--utc", action="store_true", help="read and show times in UTC")
    group.add_argument("--tz", metavar="ZONE", help="read and show times in ZONE (Europe/Berlin)")


def _append(parser: Parser) -> None:
    parser.add_argument("text", metavar="TEXT", type=text_argument, help="the event's content")
    _add_labels(parser, "where the event comes from")
    parser.add_argument("--timestamp", metavar="TIME", help="when it happened (now)")
    parser.add_argument("--id", metavar="ID", type=text_argument, help="an id (a new UUIDv7)")
    parser.add_argument(
        "--field",
        metavar="KEY=VALUE",
        type=text_argument,
        action="append",
        default=[],
        help="a further value: JSON, else text; repeatable",
    )
    _add_zone(parser)


def _add_labels(parser: Parser, source_help: str) -> None:
    parser.add_argument("-s", "--source", metavar="SOURCE", type=text_argument, help=source_help)
    parser.add_argument(
        "-t",
        "--tag",
        metavar="TAG",
        dest="tags",
        type=text_argument,
        action="append",
        default=[],
        help="a tag; repeatable",
    )


def _ingest(parser: Parser) -> None:
    parser.add_argument("files", metavar="FILE", nargs="+", help="a file to read; - is stdin")
    _add_labels(parser, "where the lines come from (the file's name; nothing for -)")
    parser.add_argument(
        "-f", "--follow", action="store_true", help="go on with what is added; see timelog watch"
    )
    _add_reading(parser)


def _watch(parser: Parser) -> None:
    add = parser.add_argument
    add("paths", metavar="DIR", nargs="+", help="a directory, or a file, to watch")
    add(
        "-G",
        "--glob",
        metavar="GLOB",
        dest="globs",
        action="append",
        default=[],
        help="which files of DIR (*); repeatable",
    )
    add("-R", "--recursive", action="store_true", help="the directories below DIR, too")
    add("--marks", action="store_true", help="store when a run is complete, and a file is gone")
    _add_labels(parser, "where the lines come from (the file's name)")
    _add_reading(parser)


def _add_reading(parser: Parser) -> None:
    add = parser.add_argument
    add(
        "--timestamp-format",
        metavar="FORMAT",
        help="the time of each line: auto, none, iso, unix, …, or a strptime format (auto)",
    )
    add(
        "--timestamp-format-for",
        metavar="GLOB=FORMAT",
        dest="timestamp_formats_for",
        action="append",
        default=[],
        help="the same for files of such a name; repeatable",
    )
    add("--year", metavar="YEAR", help="of the first line, where times say none (the latest)")
    add(
        "--multiline",
        metavar="HOW",
        help="what begins an event of several lines: indent, time, or a regular expression",
    )
    add("--name", metavar="NAME", default="default", help="where places are kept (default)")
    add("--poll", metavar="SECONDS", type=_seconds, help="look so often, whatever is told")
    add("-q", "--quiet", action="store_true", help="no progress, no summary")
    _add_zone(parser)


def _add_range(parser: Parser) -> None:
    add = parser.add_argument
    add("-S", "--since", "--from", metavar="TIME", help="from then on, inclusive")
    add("-U", "--until", "--to", metavar="TIME", help="up to then, exclusive")


def _add_strict(parser: Parser) -> None:
    parser.add_argument("--strict", action="store_true", help="exit with 3 where damage was met")


def _add_selection(parser: Parser) -> None:
    add = parser.add_argument
    text = text_argument
    add(
        "-t",
        "--tag",
        metavar="TAG",
        dest="tags",
        type=text,
        action="append",
        default=[],
        help="events with this tag; repeated: with all of them",
    )
    add(
        "-s",
        "--source",
        metavar="SOURCE",
        dest="sources",
        type=text,
        action="append",
        default=[],
        help="events from this source; repeated: from any of them",
    )
    add(
        "-g",
        "--grep",
        metavar="REGEX",
        type=text,
        help="events whose content matches (a regular expression of Python)",
    )
    add("-i", "--ignore-case", action="store_true", help="let --grep ignore case")


def _add_format(parser: Parser) -> None:
    add = parser.add_argument
    add(
        "-o",
        "--output",
        metavar="FORMAT",
        choices=NAMES,
        default="short",
        help=f"one of {', '.join(NAMES)} (short)",
    )
    add("--json", action="store_const", dest="output", const="json", help="the same as -o json")
    add(
        "--color",
        metavar="WHEN",
        choices=("auto", "always", "never"),
        default="auto",
        help="auto, always or never (auto)",
    )


def _search(parser: Parser) -> None:
    add = parser.add_argument
    _add_range(parser)
    _add_selection(parser)
    add(
        "--engine",
        choices=("auto", "linear"),
        default="auto",
        help="linear: only patterns that cannot take long (auto)",
    )
    add(
        "--timeout",
        metavar="SECONDS",
        type=_seconds,
        help="end with an error where the search takes longer",
    )
    add("-r", "--reverse", action="store_true", help="newest first")
    add(
        "-n",
        "--lines",
        metavar="N",
        nargs="?",
        type=_count,
        const=10,
        help="only the last N events in time (10 without N)",
    )
    add(
        "--as-of",
        metavar="POSITION",
        type=_count,
        help="as the log was when it held POSITION events",
    )
    add("--salvage", action="store_true", help="also what still reads of damaged blocks")
    _add_strict(parser)
    shape = parser.add_mutually_exclusive_group()
    shape.add_argument("--count", action="store_true", help="print only how many match")
    shape.add_argument(
        "--explain", action="store_true", help="print only what was skipped, and how"
    )
    shape.add_argument(
        "-q", "--quiet", action="store_true", help="print nothing; the exit code says"
    )
    _add_format(parser)
    add("-f", "--follow", action="store_true", help="go on with what arrives, see 'follow'")
    add("--no-pager", action="store_true", help="no pager, on a terminal either")
    _add_zone(parser)


def _follow(parser: Parser) -> None:
    add = parser.add_argument
    _add_selection(parser)
    begin = parser.add_mutually_exclusive_group()
    begin.add_argument(
        "-n",
        "--lines",
        metavar="N",
        nargs="?",
        type=_count,
        const=10,
        default=10,
        help="first the last N events in time (10)",
    )
    begin.add_argument("--all", action="store_true", help="first all there are, as they arrived")
    begin.add_argument(
        "--after-cursor",
        metavar="CURSOR",
        type=text_argument,
        help="go on behind a place that --show-cursor printed",
    )
    add(
        "--cursor-file",
        metavar="FILE",
        help="go on behind the place in FILE, if it is there, and keep the place there",
    )
    add("--show-cursor", action="store_true", help="print the place at the end, on stderr")
    add("--no-wait", action="store_true", help="end where the log ends now")
    _add_format(parser)
    _add_strict(parser)


def _import(parser: Parser) -> None:
    add = parser.add_argument
    add("sources", metavar="SRC", nargs="+", help="a file, - for stdin; of theia a directory")
    add(
        "--format",
        choices=("theia", "jsonl", "journald"),
        required=True,
        help="theia's data directory, JSON lines, or journalctl -o export",
    )
    add(
        "--map",
        metavar="PART=KEY",
        type=text_argument,
        action="append",
        default=[],
        help="take PART (timestamp, level, content, source, tags, id) from KEY; repeatable",
    )
    _add_labels(parser, "where events come from whose line does not say")
    add("-q", "--quiet", action="store_true", help="no progress, no summary")
    _add_zone(parser)


def _export(parser: Parser) -> None:
    add = parser.add_argument
    _add_range(parser)
    _add_selection(parser)
    add(
        "--format",
        choices=("jsonl", "csv", "parquet"),
        default="jsonl",
        help="JSON lines, CSV, or Parquet (jsonl)",
    )
    add("-O", "--output-file", metavar="FILE", help="the file to write (stdout)")
    add("--force", action="store_true", help="replace FILE if it is there")
    add("--exact", action="store_true", help="CSV: also what a spreadsheet takes for a formula")
    _add_zone(parser)


def _simulate(parser: Parser) -> None:
    add = parser.add_argument
    add("--rate", metavar="N", type=_seconds, required=True, help="events a second, on average")
    add("--duration", metavar="TIME", type=_duration, help="how long: 30s, 5m, 1h (until Ctrl-C)")
    add(
        "-s",
        "--source",
        "--sources",
        metavar="SOURCE",
        dest="sources",
        type=text_argument,
        action="append",
        default=[],
        help="a source; repeatable (sshd, nginx, app)",
    )
    add("--seed", metavar="N", type=int, default=1, help="the same seed, the same events (1)")
    add(
        "-o",
        "--output",
        metavar="FORMAT",
        choices=NAMES,
        help=f"print the events instead of storing them: one of {', '.join(NAMES)}",
    )
    add("-q", "--quiet", action="store_true", help="no summary")
    _add_zone(parser)


def _files(parser: Parser) -> None:
    _add_range(parser)
    parser.add_argument(
        "--ranges",
        action="store_true",
        help="print PATH, START and END (bytes), with tabs between, of each stretch of whole lines",
    )
    parser.add_argument(
        "-0", "--null", action="store_true", help="end each with NUL, not newline, for xargs -0"
    )
    _add_strict(parser)
    _add_zone(parser)


def _status(parser: Parser) -> None:
    parser.add_argument("--json", action="store_true", help="as one line of JSON")
    _add_zone(parser)


def _verify(parser: Parser) -> None:
    parser.add_argument("--deep", action="store_true", help="also read and decode every event")
    parser.add_argument("--json", action="store_true", help="as one line of JSON")
    parser.add_argument("-q", "--quiet", action="store_true", help="only the exit code")


def _repair(parser: Parser) -> None:
    add = parser.add_argument
    add("--dry-run", action="store_true", help="change nothing, print what would be done")
    add("--adopt", action="store_true", help="append the events that no commit names")
    add("--json", action="store_true", help="as one line of JSON")
    add("-q", "--quiet", action="store_true", help="only the exit code, and no progress")


def _snapshot(parser: Parser) -> None:
    add = parser.add_argument
    add("dest", metavar="DEST", help="a directory for the snapshots of this log")
    shape = parser.add_mutually_exclusive_group()
    shape.add_argument(
        "--list", action="store_true", help="take none, print those there are, oldest first"
    )
    shape.add_argument(
        "--prune", action="store_true", help="take none, remove those that are not kept"
    )
    shape.add_argument("--if-due", action="store_true", help="take none unless one is due")
    add(
        "--kind",
        choices=("periodic", "safety"),
        default="periodic",
        help="safety: before something risky (periodic)",
    )
    add("--events", metavar="N", type=_count_from_one, help="due after so many events (100)")
    add("--minutes", metavar="N", type=_minutes, help="due after so long, if anything came (30)")
    add("--json", action="store_true", help="as lines of JSON")


def _restore(parser: Parser) -> None:
    add = parser.add_argument
    add("snapshot", metavar="SNAPSHOT", help="the directory of one snapshot")
    add("directory", metavar="DIR", help="where the log is to be: a new or an empty directory")
    add("--json", action="store_true", help="as one line of JSON")
    add("-q", "--quiet", action="store_true", help="only the exit code, and no progress")


def _torture(parser: Parser) -> None:
    parser.add_argument("directory", metavar="DIR", help="a directory on the disk to be tried")
    parser.add_argument(
        "--seconds", metavar="N", type=_seconds, default=20.0, help="how long, about (20)"
    )
    parser.add_argument("--seed", metavar="N", type=int, help="choose as a run before did")
    parser.add_argument("--json", action="store_true", help="as one line of JSON")


def _audit(parser: Parser) -> None:
    parser.add_argument(
        "-S",
        "--since",
        metavar="TIME",
        help="only what was committed from the beginning of that UTC day on",
    )
    parser.add_argument("--json", action="store_true", help="as one line of JSON")
    _add_zone(parser)


def _vacuum(parser: Parser) -> None:
    add = parser.add_argument
    add("--time", metavar="AGE", help="how long events are kept ('30 days')")
    add("--size", metavar="SIZE", help="how much the log may take on the disk ('10 GB')")
    add("--files", metavar="N", help="how many days with events are kept")
    add(
        "--tag",
        metavar="TAG=AGE",
        dest="tags",
        type=text_argument,
        action="append",
        default=[],
        help="how long events with this tag are kept, in place of --time; repeatable",
    )
    add(
        "--source",
        metavar="SOURCE=AGE",
        dest="sources",
        type=text_argument,
        action="append",
        default=[],
        help="how long events from this source are kept, likewise; repeatable",
    )
    add("--dry-run", action="store_true", help="change nothing, print what would go")
    add("--confirm-clock", action="store_true", help="the clock is right, although it jumped")
    stop = parser.add_mutually_exclusive_group()
    stop.add_argument("--suspend", action="store_true", help="let nothing expire from now on")
    stop.add_argument("--resume", action="store_true", help="let events expire again")
    add("--json", action="store_true", help="as one line of JSON")
    add("-q", "--quiet", action="store_true", help="only the exit code")


def _compact(parser: Parser) -> None:
    add = parser.add_argument
    add("--older-than", metavar="AGE", help="only days that ended so long ago ('7 days')")
    add("--archive", action="store_true", help="compress them, too (.jsonl.zst)")
    add("--json", action="store_true", help="as one line of JSON")
    add("-q", "--quiet", action="store_true", help="only the exit code")


def _delete(parser: Parser) -> None:
    add = parser.add_argument
    add("ids", metavar="ID", nargs="*", type=text_argument, help="the id of an event")
    add("--erase", action="store_true", help="write its file anew at once, without its text")
    add("--list", action="store_true", help="print what was deleted")
    add("--prove", metavar="FILE", help="say which deleted events these lines were; - is stdin")
    add("--json", action="store_true", help="as lines of JSON")
    add("-q", "--quiet", action="store_true", help="only the exit code")
    _add_zone(parser)


def _dispatch(parser: Parser) -> None:
    add = parser.add_argument
    add("--socket", metavar="PATH", required=True, help="the Unix socket that workers connect to")
    add("--state", metavar="FILE", help="where the queue is kept (beside the log)")
    add("--new", action="store_true", help="where the queue is new, only events from now on")
    add(
        "-t",
        "--tag",
        metavar="TAG",
        dest="tags",
        type=text_argument,
        action="append",
        default=[],
        help="events with this tag; repeated: with all of them",
    )
    add(
        "-s",
        "--source",
        metavar="SOURCE",
        dest="sources",
        type=text_argument,
        action="append",
        default=[],
        help="events from this source; repeated: from any of them",
    )
    add("-g", "--grep", metavar="REGEX", type=text_argument, help="events whose content matches")
    add("-q", "--quiet", action="store_true", help="say nothing but what is wrong")


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0
    if not 0 < seconds < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds")
    return seconds


def _duration(text: str) -> float:
    """Seconds of ``30s``, ``5m`` or a plain number."""
    try:
        seconds = parse_relative(text) / SECOND
    except InvalidTime:
        return _seconds(text)
    return _seconds(str(seconds))


def _count(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 19):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of events")
    return int(text)


def _count_from_one(text: str) -> int:
    count = _count(text)
    if not count:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of events from 1")
    return count


def _minutes(text: str) -> float:
    try:
        return _seconds(text)
    except argparse.ArgumentTypeError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of minutes") from None

"""Options that several commands have."""

from __future__ import annotations

import argparse

from timelog.cli.base import text_argument
from timelog.cli.output import NAMES
from timelog.cli.values import as_seconds


def add_directory(parser: argparse.ArgumentParser) -> None:
    """Where the log is."""
    # Suppressed: else the command's default would replace what was said before the command.
    parser.add_argument(
        "--dir", metavar="DIR", default=argparse.SUPPRESS, help="the log (else TIMELOG_DIR)"
    )


def add_zone(parser: argparse.ArgumentParser) -> None:
    """Which zone times are in."""
    group = parser.add_mutually_exclusive_group()
    group.add_argument("--utc", action="store_true", help="read and show times in UTC")
    group.add_argument("--tz", metavar="ZONE", help="read and show times in ZONE (Europe/Berlin)")


def add_labels(parser: argparse.ArgumentParser, source_help: str) -> None:
    """Source and tags of what is stored."""
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


def add_reading(parser: argparse.ArgumentParser) -> None:
    """How lines become events."""
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
    add("--poll", metavar="SECONDS", type=as_seconds, help="look so often, whatever is told")
    add("-q", "--quiet", action="store_true", help="no progress, no summary")
    add_zone(parser)


def add_range(parser: argparse.ArgumentParser) -> None:
    """A range of time."""
    add = parser.add_argument
    add("-S", "--since", "--from", metavar="TIME", help="from then on, inclusive")
    add("-U", "--until", "--to", metavar="TIME", help="up to then, exclusive")


def add_strict(parser: argparse.ArgumentParser) -> None:
    """Damage as an exit code."""
    parser.add_argument("--strict", action="store_true", help="exit with 3 where damage was met")


def add_selection(parser: argparse.ArgumentParser) -> None:
    """Which events, but for their time."""
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


def add_format(parser: argparse.ArgumentParser) -> None:
    """How events are printed."""
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

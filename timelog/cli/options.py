"""The options of each command; a function adds those of the command of its name."""

from __future__ import annotations

import argparse

from timelog.cli.base import text_argument
from timelog.cli.groups import (
    add_format,
    add_labels,
    add_range,
    add_reading,
    add_selection,
    add_strict,
    add_zone,
)
from timelog.cli.output import NAMES
from timelog.cli.values import as_count, as_count_from_one, as_duration, as_minutes, as_seconds


def append(parser: argparse.ArgumentParser) -> None:
    """Of ``append``."""
    parser.add_argument("text", metavar="TEXT", type=text_argument, help="the event's content")
    add_labels(parser, "where the event comes from")
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
    add_zone(parser)


def ingest(parser: argparse.ArgumentParser) -> None:
    """Of ``ingest``."""
    parser.add_argument("files", metavar="FILE", nargs="+", help="a file to read; - is stdin")
    add_labels(parser, "where the lines come from (the file's name; nothing for -)")
    parser.add_argument(
        "-f", "--follow", action="store_true", help="go on with what is added; see timelog watch"
    )
    add_reading(parser)


def watch(parser: argparse.ArgumentParser) -> None:
    """Of ``watch``."""
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
    add_labels(parser, "where the lines come from (the file's name)")
    add_reading(parser)


def search(parser: argparse.ArgumentParser) -> None:
    """Of ``search``."""
    add = parser.add_argument
    add_range(parser)
    add_selection(parser)
    add(
        "--engine",
        choices=("auto", "linear"),
        default="auto",
        help="linear: only patterns that cannot take long (auto)",
    )
    add(
        "--timeout",
        metavar="SECONDS",
        type=as_seconds,
        help="end with an error where the search takes longer",
    )
    add("-r", "--reverse", action="store_true", help="newest first")
    add(
        "-n",
        "--lines",
        metavar="N",
        nargs="?",
        type=as_count,
        const=10,
        help="only the last N events in time (10 without N)",
    )
    add(
        "--as-of",
        metavar="POSITION",
        type=as_count,
        help="as the log was when it held POSITION events",
    )
    add("--salvage", action="store_true", help="also what still reads of damaged blocks")
    add_strict(parser)
    shape = parser.add_mutually_exclusive_group()
    shape.add_argument("--count", action="store_true", help="print only how many match")
    shape.add_argument(
        "--explain", action="store_true", help="print only what was skipped, and how"
    )
    shape.add_argument(
        "-q", "--quiet", action="store_true", help="print nothing; the exit code says"
    )
    add_format(parser)
    add("-f", "--follow", action="store_true", help="go on with what arrives, see 'follow'")
    add("--no-pager", action="store_true", help="no pager, on a terminal either")
    add_zone(parser)


def follow(parser: argparse.ArgumentParser) -> None:
    """Of ``follow``."""
    add = parser.add_argument
    add_selection(parser)
    begin = parser.add_mutually_exclusive_group()
    begin.add_argument(
        "-n",
        "--lines",
        metavar="N",
        nargs="?",
        type=as_count,
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
    add_format(parser)
    add_strict(parser)
    add_zone(parser)


def import_(parser: argparse.ArgumentParser) -> None:
    """Of ``import``."""
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
    add_labels(parser, "where events come from whose line does not say")
    add("-q", "--quiet", action="store_true", help="no progress, no summary")
    add_zone(parser)


def export(parser: argparse.ArgumentParser) -> None:
    """Of ``export``."""
    add = parser.add_argument
    add_range(parser)
    add_selection(parser)
    add(
        "--format",
        choices=("jsonl", "csv", "parquet"),
        default="jsonl",
        help="JSON lines, CSV, or Parquet (jsonl)",
    )
    add("-O", "--output-file", metavar="FILE", help="the file to write (stdout)")
    add("--force", action="store_true", help="replace FILE if it is there")
    add("--exact", action="store_true", help="CSV: also what a spreadsheet takes for a formula")
    add_zone(parser)


def simulate(parser: argparse.ArgumentParser) -> None:
    """Of ``simulate``."""
    add = parser.add_argument
    add("--rate", metavar="N", type=as_seconds, required=True, help="events a second, on average")
    add("--duration", metavar="TIME", type=as_duration, help="how long: 30s, 5m, 1h (until Ctrl-C)")
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
    add_zone(parser)


def files(parser: argparse.ArgumentParser) -> None:
    """Of ``files``."""
    add_range(parser)
    parser.add_argument(
        "--ranges",
        action="store_true",
        help="print PATH, START and END (bytes), with tabs between, of each stretch of whole lines",
    )
    parser.add_argument(
        "-0", "--null", action="store_true", help="end each with NUL, not newline, for xargs -0"
    )
    add_strict(parser)
    add_zone(parser)


def status(parser: argparse.ArgumentParser) -> None:
    """Of ``status``."""
    parser.add_argument("--json", action="store_true", help="as one line of JSON")
    add_zone(parser)


def verify(parser: argparse.ArgumentParser) -> None:
    """Of ``verify``."""
    parser.add_argument("--deep", action="store_true", help="also read and decode every event")
    parser.add_argument("--json", action="store_true", help="as one line of JSON")
    parser.add_argument("-q", "--quiet", action="store_true", help="only the exit code")


def repair(parser: argparse.ArgumentParser) -> None:
    """Of ``repair``."""
    add = parser.add_argument
    add("--dry-run", action="store_true", help="change nothing, print what would be done")
    add("--adopt", action="store_true", help="append the events that no commit names")
    add("--json", action="store_true", help="as one line of JSON")
    add("-q", "--quiet", action="store_true", help="only the exit code, and no progress")


def snapshot(parser: argparse.ArgumentParser) -> None:
    """Of ``snapshot``."""
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
    add("--events", metavar="N", type=as_count_from_one, help="due after so many events (100)")
    add("--minutes", metavar="N", type=as_minutes, help="due after so long, if anything came (30)")
    add("--json", action="store_true", help="as lines of JSON")


def restore(parser: argparse.ArgumentParser) -> None:
    """Of ``restore``."""
    add = parser.add_argument
    add("snapshot", metavar="SNAPSHOT", help="the directory of one snapshot")
    add("directory", metavar="DIR", help="where the log is to be: a new or an empty directory")
    add("--json", action="store_true", help="as one line of JSON")
    add("-q", "--quiet", action="store_true", help="only the exit code, and no progress")


def torture(parser: argparse.ArgumentParser) -> None:
    """Of ``torture``."""
    parser.add_argument("directory", metavar="DIR", help="a directory on the disk to be tried")
    parser.add_argument(
        "--seconds", metavar="N", type=as_seconds, default=20.0, help="how long, about (20)"
    )
    parser.add_argument("--seed", metavar="N", type=int, help="choose as a run before did")
    parser.add_argument("--json", action="store_true", help="as one line of JSON")


def audit(parser: argparse.ArgumentParser) -> None:
    """Of ``audit``."""
    parser.add_argument(
        "-S",
        "--since",
        metavar="TIME",
        help="only what was committed from the beginning of that UTC day on",
    )
    parser.add_argument("--json", action="store_true", help="as one line of JSON")
    add_zone(parser)


def vacuum(parser: argparse.ArgumentParser) -> None:
    """Of ``vacuum``."""
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


def compact(parser: argparse.ArgumentParser) -> None:
    """Of ``compact``."""
    add = parser.add_argument
    add("--older-than", metavar="AGE", help="only days that ended so long ago ('7 days')")
    add("--archive", action="store_true", help="compress them, too (.jsonl.zst)")
    add("--json", action="store_true", help="as one line of JSON")
    add("-q", "--quiet", action="store_true", help="only the exit code")


def delete(parser: argparse.ArgumentParser) -> None:
    """Of ``delete``."""
    add = parser.add_argument
    add("ids", metavar="ID", nargs="*", type=text_argument, help="the id of an event")
    add("--erase", action="store_true", help="write its file anew at once, without its text")
    add("--list", action="store_true", help="print what was deleted")
    add("--prove", metavar="FILE", help="say which deleted events these lines were; - is stdin")
    add("--json", action="store_true", help="as lines of JSON")
    add("-q", "--quiet", action="store_true", help="only the exit code")
    add_zone(parser)


def dispatch(parser: argparse.ArgumentParser) -> None:
    """Of ``dispatch``."""
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

"""``timelog demo``: make a small log before the reader's eyes, and show what it can do."""

from __future__ import annotations

import argparse
import os
import shlex
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import timelog
from timelog.cli import search, verify
from timelog.cli.arguments import parse
from timelog.cli.base import CommandError
from timelog.cli.escape import escape, escape_lines
from timelog.cli.sample import sample_events
from timelog.cli.stream import put
from timelog.errors import NotALogError


def run(args: argparse.Namespace) -> int:
    """Show each step as the line to type and what it answers; the log is kept."""
    directory = _directory(args)
    shown = repr(str(directory))
    put(
        "timelog keeps events in plain text files, one file a minute. A log is made in\n"
        f"  {escape(str(directory))}\n"
        "and each step below is really done."
    )
    _step("Append, from Python: safe on the disk when it returns")
    _python("import timelog", f"log = timelog.open({shown})")
    with timelog.open(directory) as log:
        _python('log.append("disk replaced", source="ops", tags=["disk", "prod"], sync=True)')
        put(repr(log.append("disk replaced", source="ops", tags=["disk", "prod"], sync=True)))
        _python("log.append_many(sample)   # sshd, nginx and a shop, made up for this demo")
        put(str(log.append_many(sample_events(time.time_ns() // 1000))))
        _python("log.flush()   # a timer does it every second anyway")
        log.flush()

        _step("Search by time, tag and regular expression")
        words = ("--tag", "auth", "--grep", "Failed password for (root|admin)", "-n", "4")
        _timelog(directory, "search", "--since", "-5m", *words)
        _step("The same from Python; an event may have many lines")
        _python('print(log.search("-1h", tags=["error"], pattern="KeyError").first().content)')
        event = log.search("-1h", tags=["error"], pattern="KeyError").first()
        put(escape_lines(event.content) if event else "None")
        _step("How it was found")
        _timelog(directory, "search", "--since", "-5m", "--tag", "error", "--explain")

    _step("No timelog needed: the files are plain text")
    _grep(directory)
    _step("What is on the disk")
    put(f"  $ ls -R {escape(shlex.quote(str(directory)))}   # drawn as a tree, with sizes")
    put("\n".join(_tree(directory)))
    _step("Check it against its checksums")
    code = _timelog(directory, "verify", "--deep")
    put(
        f"\nThe log stays in {escape(str(directory))}. Go on with\n"
        f"  export TIMELOG_DIR={escape(shlex.quote(str(directory)))}\n"
        "  timelog search -n"
    )
    return code


def _directory(args: argparse.Namespace) -> Path:
    """Return where the log goes: never where something else is, never what TIMELOG_DIR names."""
    named: str | None = getattr(args, "dir", None)
    if named is None:
        return Path(tempfile.mkdtemp(prefix="timelog-demo-"))
    directory = Path(named)
    if directory.is_dir() and any(directory.iterdir()):
        try:
            timelog.open(directory, mode="r").close()
        except NotALogError:
            raise CommandError(
                f"{named} is not empty, and not a timelog; name another directory"
            ) from None
    return directory


def _step(title: str) -> None:
    put(f"\n{title}")


def _python(*lines: str) -> None:
    for line in lines:
        put(f"  >>> {escape(line)}")


def _shell(*words: str) -> None:
    put(f"  $ {escape(shlex.join(words))}")


def _timelog(directory: Path, *words: str) -> int:
    """Show a command of timelog as it would be typed, and run it."""
    argv = ["--dir", str(directory), *words]
    _shell("timelog", *argv)
    args = parse(argv)
    if args.command == "verify":
        return verify.run(args)
    args.no_pager = True
    return search.run(args)


def _grep(directory: Path) -> None:
    grep = shutil.which("grep")
    segments = sorted(map(str, directory.glob("*/*.jsonl")))
    if grep is None or not segments:
        put("  (there is no grep on this machine)")
        return
    words = ["Accepted publickey"]
    holding = subprocess.run(
        [grep, "-l", *words, *segments], stdout=subprocess.PIPE, text=True, check=False
    ).stdout.splitlines()
    command = ["grep", "-m", "2", *words, *holding[-1:]]
    _shell(*command)
    found = subprocess.run(command, stdout=subprocess.PIPE, check=False).stdout
    put(escape_lines(found.decode("utf-8", "backslashreplace")).rstrip("\n"))


def _tree(directory: Path, indent: str = "") -> Iterator[str]:
    """Yield a line for everything below ``directory``, files with their size in bytes."""
    entries = sorted(os.scandir(directory), key=lambda entry: entry.name)
    for entry in entries:
        name = escape(entry.name)
        if entry.is_dir(follow_symlinks=False):
            yield f"{indent}{name}/"
            yield from _tree(Path(entry.path), indent + "  ")
        else:
            size = entry.stat(follow_symlinks=False).st_size
            yield f"{indent}{name.ljust(44 - len(indent))}{size:>8,} bytes"

"""What the measuring programs share: tables, the description of the machine, result files."""

from __future__ import annotations

import json
import os
import platform
import shutil
import sqlite3
import subprocess
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"
PACKAGES = ("msgspec", "msgpack", "sortedcontainers", "theia", "pytest-benchmark")


def results_folder() -> Path:
    """Where results go: TIMELOG_BENCH_RESULTS, or `results/` beside this module."""
    return Path(os.environ.get("TIMELOG_BENCH_RESULTS") or RESULTS)


def machine(folder: Path) -> dict[str, str]:
    """Describe the machine, the programs measured, and the file system that holds `folder`."""
    described = {
        "cpu": _field("/proc/cpuinfo", "model name") or platform.processor() or "unknown",
        "cores": str(len(os.sched_getaffinity(0))),
        "memory": _memory(),
        "kernel": f"{platform.system()} {platform.release()}",
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "file system": file_system(folder),
        "sqlite": sqlite3.sqlite_version,
        "rg": _first_line("rg", "--version"),
    }
    try:
        from timelog._version import __version__

        described["timelog"] = __version__
    except ImportError:
        pass
    for package in PACKAGES:
        try:
            described[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            described[package] = "not installed"
    return described


def file_system(folder: Path) -> str:
    """The type of the file system that holds `folder`, such as `ext4`."""
    try:
        mounts = Path("/proc/mounts").read_text().splitlines()
    except OSError:
        return "unknown"
    where = folder.resolve()
    best, kind = -1, "unknown"
    for mount in mounts:
        point, found = mount.split()[1:3]
        point = point.encode().decode("unicode_escape")
        if where.is_relative_to(point) and len(point) >= best:
            best, kind = len(point), found
    return kind


def seconds(value: float) -> str:
    """`value` seconds in the unit that suits it."""
    for unit, size in (("s", 1.0), ("ms", 1e-3), ("µs", 1e-6)):
        if value >= size:
            return (
                f"{value / size:.3g} {unit}" if value < 100 * size else f"{value / size:.0f} {unit}"
            )
    return f"{value * 1e9:.3g} ns"


def table(headers: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """The table for a terminal: first two columns to the left, the others to the right."""
    widths = [max(map(len, column)) for column in zip(headers, *rows, strict=True)]

    def line(cells: Sequence[str]) -> str:
        return "  ".join(
            cell.ljust(width) if number < 2 else cell.rjust(width)
            for number, (cell, width) in enumerate(zip(cells, widths, strict=True))
        ).rstrip()

    return "\n".join([line(headers), line(["-" * width for width in widths]), *map(line, rows)])


def markdown(headers: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """The same table in Markdown."""
    marks = ["---" if number < 2 else "---:" for number in range(len(headers))]
    cells = [headers, marks, *rows]
    return "\n".join("| " + " | ".join(c.replace("|", "\\|") for c in row) + " |" for row in cells)


def write(
    name: str,
    title: str,
    headers: Sequence[str],
    rows: Sequence[Sequence[str]],
    *,
    notes: Sequence[str],
    described: dict[str, str],
    data: dict[str, Any],
) -> Path:
    """Write `<UTC date>-<name>.json` and `.md`; return the path of the latter.

    `data` goes into the JSON file beside the machine's description; the Markdown file holds
    `notes`, the table and the machine. A file of the same day and name is replaced.
    """
    now = datetime.now(UTC)
    folder = results_folder()
    folder.mkdir(parents=True, exist_ok=True)
    base = folder / f"{now:%Y-%m-%d}-{name}"
    whole = {"title": title, "date": now.isoformat(timespec="seconds"), "machine": described}
    base.with_suffix(".json").write_text(
        json.dumps({**whole, **data}, indent=1, ensure_ascii=False) + "\n"
    )
    text = [f"# {title}", "", f"Measured {now:%Y-%m-%d %H:%M} UTC.", ""]
    text += [f"- {note}" for note in notes]
    text += ["", markdown(headers, rows), "", "## Machine", ""]
    text += [markdown(("what", "value"), list(described.items())), ""]
    page = base.with_suffix(".md")
    page.write_text("\n".join(text))
    return page


def _field(path: str, name: str) -> str:
    try:
        text = Path(path).read_text()
    except OSError:
        return ""
    for line in text.splitlines():
        key, _, value = line.partition(":")
        if key.strip() == name:
            return value.strip()
    return ""


def _memory() -> str:
    kilobytes = _field("/proc/meminfo", "MemTotal").partition(" ")[0]
    return f"{int(kilobytes) / 1024**2:.1f} GiB" if kilobytes else "unknown"


def _first_line(*command: str) -> str:
    if shutil.which(command[0]) is None:
        return "not installed"
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stdout.partition("\n")[0]

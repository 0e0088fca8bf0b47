"""The order of the modules, and the one place that touches the disk and reads the clocks."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import timelog

PACKAGE = Path(timelog.__file__).parent
UNORDERED = {"_version", "__init__", "__main__"}
FACE = {"timelog", "timelog.errors", "timelog.mounts", "timelog.timestamp", "timelog.zones"}
MODULES = {path.stem: path for path in PACKAGE.glob("*.py")}
# The packages around the face, and what of the ground they may use beside it.
AROUND = ("ingest", "consume", "feeds", "exchange", "cli")
GROUND = {
    "ingest": {"timelog.checksum"},
    "consume": {"timelog.checksum", "timelog.storage"},
    "feeds": {"timelog.fit"},
    "exchange": {"timelog.fit"},
    "cli": set[str](),
}
PACKAGES = [(name, path) for name in AROUND for path in sorted((PACKAGE / name).glob("*.py"))]


OS_CALLS = re.compile(
    r"os\.(p?writev?|rename|renames|replace|unlink|remove|removedirs|rmdir|fsync|fdatasync|mkdir"
    r"|makedirs|mkfifo|f?truncate|link|symlink|chmod|chown|utime|open|sendfile|copy_file_range"
    r"|preadv?|listdir|scandir|walk|[lf]?stat|f?statvfs|access)|os\.path\.(exists|is\w+|getsize)"
)
CLOCKS = re.compile(
    r"time\.(time|time_ns|monotonic|monotonic_ns|localtime|gmtime|sleep)"
    r"|datetime\.(now|utcnow|today)|date\.today"
)
MODULES_THAT_WRITE = {"shutil", "tempfile", "fcntl"}
PATH_METHODS = {
    *("mkdir", "touch", "write_text", "write_bytes", "symlink_to", "hardlink_to", "rmdir"),
    *("read_text", "read_bytes", "exists", "is_dir", "is_file", "is_symlink", "stat", "lstat"),
    *("iterdir", "glob", "rglob", "resolve"),
}


def reading_order() -> list[str]:
    """The modules as the package's docstring lists them."""
    names: list[str] = []
    for line in (timelog.__doc__ or "").splitlines():
        match = re.match(r"^(ground|format|state|work|face|around)\b|^ {8,}\S", line)
        if match:
            names += re.findall(r"`(\w+)`(?! \(`)", re.sub(r"\([^)]*\)", "", line))
    return names


def imported(path: Path) -> set[str]:
    """The modules of timelog that a file imports, as absolute names."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {each.name for each in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path}: imports are absolute"
            module = node.module or ""
            base = PACKAGE.parent.joinpath(*module.split("."))
            for each in node.names:
                is_module = (base / f"{each.name}.py").exists() or (base / each.name).is_dir()
                found.add(f"{module}.{each.name}" if is_module else module)
    return {name for name in found if name.split(".")[0] == "timelog"}


def dotted(node: ast.expr) -> str:
    """``a.b.c`` of an expression, or ``""``."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        inner = dotted(node.value)
        return f"{inner}.{node.attr}" if inner else ""
    return ""


def is_forbidden(name: str) -> bool:
    return bool(OS_CALLS.fullmatch(name) or CLOCKS.fullmatch(name))


def changes(path: Path) -> Iterator[str]:
    """Every use of a call that touches the disk or reads a clock."""
    for node in ast.walk(ast.parse(path.read_text())):
        where = f"{path.name}:{getattr(node, 'lineno', 0)}"
        if isinstance(node, ast.Attribute):
            name = ".".join(dotted(node).split(".")[-2:])
            if is_forbidden(name):
                yield f"{where}: {name}"
        elif isinstance(node, ast.ImportFrom):
            for each in node.names:
                if is_forbidden(f"{node.module}.{each.name}"):
                    yield f"{where}: from {node.module} import {each.name}"
            if node.module in MODULES_THAT_WRITE:
                yield f"{where}: from {node.module}"
        elif isinstance(node, ast.Import):
            for each in node.names:
                if each.name in MODULES_THAT_WRITE:
                    yield f"{where}: import {each.name}"
        elif isinstance(node, ast.Call):
            if dotted(node.func) in ("open", "io.open", "os.fdopen"):
                yield f"{where}: open"
            if (
                isinstance(node.func, ast.Attribute)
                and node.func.attr in PATH_METHODS
                and not dotted(node.func.value).endswith("storage")
            ):
                yield f"{where}: .{node.func.attr}()"


def test_the_docstring_lists_every_module_once() -> None:
    order = reading_order()
    assert len(order) == len(set(order))
    assert set(order) - set(AROUND) == set(MODULES) - UNORDERED
    assert order[-len(AROUND) :] == list(AROUND)


@pytest.mark.parametrize("name", sorted(set(MODULES) - UNORDERED))
def test_a_module_imports_only_from_those_before_it(name: str) -> None:
    order = reading_order()
    allowed = {f"timelog.{each}" for each in order[: order.index(name)]}
    assert imported(MODULES[name]) <= allowed


def test_the_face_imports_nothing_from_around_it() -> None:
    allowed = {f"timelog.{each}" for each in MODULES if each not in ("__main__", "__init__")}
    assert imported(MODULES["__init__"]) <= allowed
    assert imported(MODULES["_version"]) == set()


@pytest.mark.parametrize(
    ("package", "path"), PACKAGES, ids=[f"{name}.{path.stem}" for name, path in PACKAGES]
)
def test_a_package_around_the_face_uses_only_the_face_and_those_before_it(
    package: str, path: Path
) -> None:
    before = {f"timelog.{name}" for name in AROUND[: AROUND.index(package) + 1]}
    foreign = imported(path) - FACE - GROUND[package]
    assert {name for name in foreign if ".".join(name.split(".")[:2]) not in before} == set()


def test_the_main_module_only_starts_the_command_line() -> None:
    assert {name.split(".")[1] for name in imported(MODULES["__main__"])} <= {"cli"}


@pytest.mark.parametrize("name", sorted(set(MODULES) - {"storage"}))
def test_only_storage_touches_the_disk_and_reads_the_clocks(name: str) -> None:
    assert list(changes(MODULES[name])) == []


def test_storage_would_be_found_out() -> None:
    """What the search above looks for is what storage uses."""
    found = {each.split(": ")[1] for each in changes(MODULES["storage"])}
    wanted = "os.writev os.pwrite os.fsync os.mkdir os.ftruncate os.rename os.unlink time.time_ns"
    assert {*wanted.split(), "time.monotonic"} <= found

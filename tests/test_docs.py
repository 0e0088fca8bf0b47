"""README and docs are run: Python blocks, and console blocks with what they print."""

from __future__ import annotations

import contextlib
import io
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import timelog

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
BLOCK = re.compile(r"^```(python|console)\n(.*?)^```", re.MULTILINE | re.DOTALL)


def run_console(text: str, environment: dict[str, str]) -> None:
    """Run each `$ command`; what follows must be what it prints, where `…` stands for anything."""
    for part in re.split(r"^\$ ", text, flags=re.MULTILINE)[1:]:
        command, _, expected = part.partition("\n")
        done = subprocess.run(
            ["bash", "-c", command], capture_output=True, text=True, env=environment, check=False
        )
        assert done.returncode == 0, f"{command}\n{done.stderr}"
        if expected.strip():
            pattern = re.escape(expected.strip()).replace("…", ".*?")
            assert re.fullmatch(pattern, done.stdout.strip(), re.DOTALL), (
                f"{command}\nprinted\n{done.stdout}\nand the page says\n{expected}"
            )


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_examples_of_a_page_do_what_it_says(
    page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    scripts = str(Path(sys.executable).parent)
    environment = {
        **os.environ,
        "PATH": f"{scripts}:{os.environ['PATH']}",
        "TZ": "UTC",
        "NO_COLOR": "1",
    }
    names: dict[str, object] = {}
    for match in BLOCK.finditer(page.read_text()):
        kind, text = match.groups()
        if kind == "console":
            run_console(text, environment)
        else:
            printed = io.StringIO()
            with contextlib.redirect_stdout(printed):
                exec(compile(text, f"{page.name}", "exec"), names)
            expected = re.findall(r"#> (.*)$", text, re.MULTILINE)
            lines = printed.getvalue().splitlines()
            assert len(lines) == len(expected), printed.getvalue()
            for line, wanted in zip(lines, expected, strict=True):
                assert re.fullmatch(re.escape(wanted).replace("…", ".*?"), line), (line, wanted)
    for value in names.values():
        if isinstance(value, timelog.EventLog):
            value.close()


def test_links_between_pages_lead_somewhere() -> None:
    for page in PAGES:
        for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"


def test_every_public_name_has_a_docstring() -> None:
    for name in timelog.__all__:
        value = getattr(timelog, name)
        if isinstance(value, type) or callable(value):
            assert value.__doc__, name
    for name in dir(timelog.EventLog):
        if not name.startswith("_"):
            assert getattr(timelog.EventLog, name).__doc__, name


def test_readme_and_changelog_name_the_version() -> None:
    assert timelog.__version__ in (ROOT / "CHANGELOG.md").read_text()

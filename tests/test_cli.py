"""The command line: options, formats, exit codes, streams (ingest and times: see their files)."""

from __future__ import annotations

import json
import os
import pty
import re
import shlex
import shutil
import signal
import subprocess
import sys
import threading
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pytest

import timelog
from timelog.cli import examples, main
from timelog.cli.arguments import parse
from timelog.cli.base import CommandError
from timelog.cli.escape import escape, escape_json, escape_lines
from timelog.cli.output import json_line
from timelog.cli.parser import commands_of, make_parser, options_of
from timelog.cli.signals import Interrupts, Terminated
from timelog.cli.stream import pager_command, use_color

START = "2026-07-01T10:00:00.000000Z"
EVENTS: list[dict[str, Any]] = [
    {"timestamp": "2026-07-01T10:00:00Z", "id": "a", "source": "sshd", "tags": ["auth", "prod"],
     "content": "Failed password for root"},
    {"timestamp": "2026-07-01T10:00:00.5Z", "id": "b", "source": "nginx", "tags": ["web"],
     "content": "GET /größe 200", "fields": {"status": 200, "to": [1, None]}},
    {"timestamp": "2026-07-01T10:30:00.000001Z", "id": "c", "source": "sshd", "tags": ["auth"],
     "content": "accepted\nfor alice\ttab"},
    {"timestamp": "2026-07-02T09:00:00Z", "id": "d", "content": "\x1b[31mevil\x9b\u202e\r"},
]  # fmt: skip


class Answer(NamedTuple):
    code: int
    out: str
    err: str

    @property
    def ids(self) -> list[str]:
        return [json.loads(line)["id"] for line in self.out.splitlines()]


Cli = Callable[..., Answer]


@pytest.fixture(autouse=True)
def plain_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("TIMELOG_DIR", "TIMELOG_TZ", "NO_COLOR", "FORCE_COLOR", "PAGER", "COLUMNS"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def log_dir(tmp_path: Path) -> Path:
    directory = tmp_path / "log"
    with timelog.open(directory) as log:
        log.append_many(EVENTS)
    return directory


@pytest.fixture
def cli(log_dir: Path, capsys: pytest.CaptureFixture[str]) -> Cli:
    """Run a command on `log_dir` in this process."""

    def run(*argv: str, at: Path | None = None) -> Answer:
        code = main(["--dir", str(at or log_dir), *argv])
        out, err = capsys.readouterr()
        return Answer(code, out, err)

    return run


def command(*argv: str) -> list[str]:
    return [sys.executable, "-m", "timelog", *argv]


def process(*argv: str, env: Mapping[str, str] = {}, **options: Any) -> Answer:
    done = subprocess.run(
        command(*argv), capture_output=True, env={**os.environ, **env}, timeout=60, **options
    )
    return Answer(done.returncode, done.stdout.decode(), done.stderr.decode())


def on_terminal(*argv: str, env: Mapping[str, str] = {}) -> str:
    """What a process shows whose streams are all a terminal."""
    master, slave = pty.openpty()
    environ = {**os.environ, "TERM": "xterm", **env}
    child = subprocess.Popen(
        command(*argv), stdin=slave, stdout=slave, stderr=slave, env=environ, close_fds=True
    )
    os.close(slave)
    shown = b""
    try:
        while chunk := os.read(master, 65536):
            shown += chunk
    except OSError:  # Linux says so when the last writer has gone
        pass
    os.close(master)
    assert child.wait(60) in (0, 1)
    return shown.decode().replace("\r\n", "\n")


# -- help, usage ----------------------------------------------------------------------------

COMMANDS = commands_of(make_parser())


@pytest.mark.parametrize("name", ["", *COMMANDS])
def test_every_help_has_examples(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*name.split(), "--help"]) == 0
    out, err = capsys.readouterr()
    assert "examples:\n  " in out and not err
    assert f"usage: timelog {name}".rstrip() in out


@pytest.mark.parametrize("name", [name for name in vars(examples) if name.isupper()])
def test_examples_are_understood(name: str) -> None:
    for line in re.findall(r"(?:^  |\| )(timelog .*)", getattr(examples, name), re.MULTILINE):
        words = shlex.split(re.split(r" \| | && | > |  ", line)[0])
        assert parse(words[1:]).command == words[1] or words[1] == "--dir"


def test_the_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert re.fullmatch(r"timelog \d\S*\n", capsys.readouterr().out)


def test_an_option_means_the_same_everywhere() -> None:
    """`arguments` reads options before it knows the command."""
    kinds: dict[str, int | str | None] = {}
    for one in (make_parser(), *COMMANDS.values()):
        for action in options_of(one):
            for name in action.option_strings:
                assert kinds.setdefault(name, action.nargs) == action.nargs, name


@pytest.mark.parametrize(
    ("argv", "says"),
    [
        ([], "no command"),
        (["serach"], "invalid choice"),
        (["search", "--wrong"], "unrecognized"),
        (["search", "--since"], "expected one argument"),
        (["search", "--since", "--json"], "expected one argument"),
        (["search", "-S", "noon"], "'noon' is not a time"),
        (["search", "-g", "("], "not a regular expression"),
        (["search", "-n", "-1"], "-1"),
        (["search", "-n", "x"], "not a number of events"),
        (["search", "-o", "xml"], "invalid choice"),
        (["search", "--tz", "Nowhere"], "not a time zone"),
        (["search", "--utc", "--tz", "UTC"], "not allowed with"),
        (["search", "-S", "2026-07-02", "-U", "2026-07-01"], "--since 2026-07-02 is after"),
        (["search", "--as-of", "99"], "99"),
        (["append"], "TEXT"),
        (["append", "x", "--field", "novalue"], "KEY=VALUE"),
        (["append", "x", "--timestamp", "noon"], "'noon' is not a time"),
        (["append", "x", "--timestamp", "+9w"], "ahead of the clock"),
        (["append", "x", "--tag", ""], "tag"),
        (["ingest", "-", "--timestamp-format", "%Q"], "%Q"),
    ],
)
def test_what_is_wrong_is_one_sentence(cli: Cli, argv: list[str], says: str) -> None:
    answer = cli(*argv)
    assert answer.code == 2 and answer.out == ""
    assert answer.err.startswith("timelog: ") and answer.err.count("\n") == 1
    assert says in answer.err


def test_a_log_has_to_be_named(
    log_dir: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["search"]) == 2
    assert "--dir DIR" in capsys.readouterr().err
    monkeypatch.setenv("TIMELOG_DIR", str(log_dir))
    assert main(["search", "--count"]) == 0
    assert main(["search", "--count", "--dir", str(log_dir / "none")]) == 2
    assert main(["--dir", str(log_dir), "search", "--count"]) == 0
    assert main(["search", "--count", "--dir", str(log_dir)]) == 0
    assert main(["search", "--count", "--dir", ""]) == 2


def test_reading_never_creates_a_log(cli: Cli, tmp_path: Path) -> None:
    for name in ("search", "status", "verify"):
        answer = cli(name, at=tmp_path / "none")
        assert answer.code == 2 and answer.err.startswith("timelog: ")
    assert not (tmp_path / "none").exists()


def test_values_that_begin_with_a_dash() -> None:
    assert parse(["search", "--since", "-1h"]).since == "-1h"
    assert parse(["search", "-S", "-1h", "-U", "-30m"]).until == "-30m"
    assert parse(["search", "-rS", "-1h"]).since == "-1h"
    assert parse(["search", "--from=-1h"]).since == "-1h"
    assert parse(["search", "-g", "-bar", "-i"]).grep == "-bar"
    assert parse(["append", "--timestamp", "-1h", "text"]).timestamp == "-1h"
    assert parse(["append", "--", "-text"]).text == "-text"
    assert parse(["--dir", "-d", "search"]).dir == "-d"
    for argv in (["search", "-g", "-r"], ["search", "--since", "--until", "now"]):
        with pytest.raises(CommandError):
            parse(argv)


def test_lines_without_a_number() -> None:
    assert parse(["search"]).lines is None
    assert parse(["search", "-n"]).lines == 10
    assert parse(["search", "-n", "--json"]).lines == 10
    assert parse(["search", "-n5", "-r"]).lines == 5
    assert parse(["search", "-rn", "5"]).lines == 5
    assert parse(["search", "--lines=0"]).lines == 0


def test_options_may_stand_between_files() -> None:
    args = parse(["ingest", "a", "--tag", "x", "b", "-q", "-", "--", "-c"])
    assert (args.files, args.tags, args.quiet) == (["a", "b", "-", "-c"], ["x"], True)


# -- append ---------------------------------------------------------------------------------


def test_append_stores_what_it_was_given(cli: Cli, log_dir: Path) -> None:
    answer = cli(
        "append", "größe", "-s", "me", "-t", "x", "--tag", "y", "--timestamp", "2026-07-03 10:00Z",
        "--field", "n=1.5", "--field", "list=[1,null]", "--field", "version=1.2.3",
        "--field", "eq=a=b",
    )  # fmt: skip
    assert answer.code == 0 and answer.err == ""
    with timelog.open(log_dir, mode="r") as log:
        event = log.get(answer.out.strip())
    assert (event.content, event.source, event.tags) == ("größe", "me", ("x", "y"))
    assert event.timestamp.isoformat() == "2026-07-03T10:00:00+00:00"
    assert event.fields == {"n": 1.5, "list": [1, None], "version": "1.2.3", "eq": "a=b"}


def test_append_takes_an_id_and_creates_the_log(cli: Cli, tmp_path: Path) -> None:
    assert cli("append", "x", "--id", "mine", at=tmp_path / "new").out == "mine\n"
    assert cli("search", "-o", "cat", at=tmp_path / "new").out == "x\n"


def test_arguments_that_are_not_utf8_are_kept_readable(cli: Cli) -> None:
    assert cli("append", os.fsdecode(b"caf\xe9"), "--tag", "bytes").code == 0
    assert cli("search", "--tag", "bytes", "-o", "cat").out == "caf\\xe9\n"


# -- search ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("argv", "ids"),
    [
        ([], "abcd"),
        (["-r"], "dcba"),
        (["-t", "auth"], "ac"),
        (["-t", "auth", "-t", "prod"], "a"),
        (["-s", "sshd"], "ac"),
        (["-s", "sshd", "--source", "nginx"], "abc"),
        (["-g", "^Failed"], "a"),
        (["-g", "a(c)+epted"], "c"),
        (["-g", "FAILED", "-i"], "a"),
        (["-g", "FAILED"], ""),
        (["-S", "2026-07-01T10:00:00.5Z"], "bcd"),
        (["-U", "2026-07-01T10:00:00.5Z"], "a"),
        (["--from", "2026-07-01 12:30", "--to", "2026-07-02", "--tz", "Europe/Berlin"], "c"),
        (["-S", "2026-07-01 10:30", "-U", "2026-07-02", "--utc"], "c"),
        (["-S", "-1h"], ""),
        (["-n", "2"], "cd"),
        (["-n", "2", "-r"], "dc"),
        (["-n"], "abcd"),
        (["-n", "1", "-t", "auth"], "c"),
        (["-n", "0"], ""),
        (["--as-of", "2"], "ab"),
        (["--as-of", "0"], ""),
        (["--salvage"], "abcd"),
    ],
)
def test_search(cli: Cli, argv: list[str], ids: str) -> None:
    answer = cli("search", "--json", *argv)
    assert "".join(answer.ids) == ids
    assert answer.code == (0 if ids else 1)
    assert answer.err == ""
    assert cli("search", "--count", *argv).out == f"{len(ids)}\n"
    assert cli("search", "-q", *argv) == Answer(answer.code, "", "")


def test_json_is_the_line_of_the_segment(cli: Cli, log_dir: Path) -> None:
    stored = "".join(path.read_text() for path in sorted(log_dir.glob("*/*.jsonl")))
    assert cli("search", "--json").out == stored
    assert cli("search", "-o", "json").out == stored


def test_short(cli: Cli) -> None:
    assert cli("search", "--utc").out.splitlines() == [
        "Jul 01 10:00:00 sshd[auth,prod]: Failed password for root",
        "Jul 01 10:00:00 nginx[web]: GET /größe 200",
        "Jul 01 10:30:00 sshd[auth]: accepted\\nfor alice\ttab",
        "Jul 02 09:00:00 -: \\x1b[31mevil\\x9b\\u202e\\x0d",
    ]
    assert cli("search", "--tz", "Asia/Kathmandu", "-n1").out.startswith("Jul 02 14:45:00 -: ")


def test_short_iso(cli: Cli) -> None:
    lines = cli("search", "-o", "short-iso", "--tz", "Europe/Berlin").out.splitlines()
    assert [line.split()[0] for line in lines] == [
        "2026-07-01T12:00:00.000000+02:00",
        "2026-07-01T12:00:00.500000+02:00",
        "2026-07-01T12:30:00.000001+02:00",
        "2026-07-02T11:00:00.000000+02:00",
    ]
    assert lines[0].endswith(" sshd[auth,prod]: Failed password for root")


def test_the_zone_of_the_environment(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TIMELOG_TZ", "Europe/Berlin")
    assert cli("search", "-n1").out.startswith("Jul 02 11:00:00")
    assert cli("search", "-n1", "--tz", "+03:00").out.startswith("Jul 02 12:00:00")
    assert cli("search", "-n1", "--utc").out.startswith("Jul 02 09:00:00")
    monkeypatch.setenv("TIMELOG_TZ", "Nowhere")
    assert cli("search", "-n1").code == 2


def test_cat_is_the_content_as_it_is(cli: Cli) -> None:
    assert cli("search", "-o", "cat", "-n", "2").out == (
        "accepted\nfor alice\ttab\n\x1b[31mevil\x9b\u202e\r\n"
    )


def test_json_pretty_and_verbose(cli: Cli) -> None:
    pretty = cli("search", "-o", "json-pretty", "-s", "nginx").out
    assert json.loads(pretty)["fields"] == {"status": 200, "to": [1, None]}
    assert '\n  "content": "GET /größe 200"' in pretty
    verbose = cli("search", "-o", "verbose", "--utc").out
    assert "2026-07-01T10:00:00.500000+00:00 b\n  source: nginx\n  tags: web\n" in verbose
    assert "  fields.to: [1,null]\n" in verbose
    assert "  content: accepted\n      for alice\ttab\n" in verbose
    assert "\x1b" not in verbose


def test_no_event_can_forge_a_line_or_drive_a_terminal(cli: Cli, tmp_path: Path) -> None:
    evil = "\n\r\x1b[2J\x00\x07\x08\x7f\x85\x9b\u2028\u2029\u061c\u200f\u202e\u2066x"
    with timelog.open(tmp_path / "evil") as log:
        log.append(evil, source=evil, tags=["\u202eevil"], fields={evil: evil})
    for form in ("short", "short-iso", "verbose"):
        for color in ("never", "always"):
            out = cli("search", "-o", form, "--color", color, at=tmp_path / "evil").out
            out = re.sub(r"\x1b\[[0-9;]*m", "", out) if color == "always" else out
            assert escape_lines(out) == out, form
            assert len(out.splitlines()) == (1 if form != "verbose" else 6)


def test_explain_takes_the_place_of_the_events(cli: Cli) -> None:
    answer = cli("search", "--explain", "-g", "Failed")
    assert answer.code == 0 and "Failed password" not in answer.out
    assert cli("search", "--explain", "-g", "nothing has this").code == 1


def test_reading_writes_nothing(cli: Cli, log_dir: Path) -> None:
    def tree() -> dict[Path, tuple[int, int]]:
        return {path: (path.stat().st_mtime_ns, path.stat().st_size) for path in log_dir.rglob("*")}

    before = tree()
    for argv in (["search"], ["search", "--count"], ["status"], ["verify", "--deep"]):
        assert cli(*argv).code == 0
    assert tree() == before


def test_color_marks_parts_and_matches(cli: Cli) -> None:
    plain = cli("search", "-g", "pass(word)?", "--utc")
    colored = cli("search", "-g", "pass(word)?", "--utc", "--color=always")
    assert "\x1b" not in plain.out
    assert "Failed \x1b[1;31mpassword\x1b[0m for root" in colored.out
    assert re.sub(r"\x1b\[[0-9;]*m", "", colored.out) == plain.out
    # Matches of nothing are not marked, and do not lose anything.
    empty = cli("search", "-g", "x*", "--utc", "--color=always").out
    assert "Failed password for root" in empty


def test_a_pattern_of_grep_that_python_reads_differently_is_warned_of(cli: Cli) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        answer = cli("search", "-g", "[[:digit:]]")
    assert answer.err.startswith("timelog: --grep: ") and answer.err.count("\n") == 1


def test_when_to_color(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("timelog.cli.stream.is_terminal", lambda: True)
    assert use_color("auto", {})
    assert not use_color("auto", {"TERM": "dumb"})
    assert not use_color("auto", {"NO_COLOR": "1", "FORCE_COLOR": "1"})
    assert use_color("auto", {"NO_COLOR": ""})
    assert not use_color("never", {"FORCE_COLOR": "1"})
    monkeypatch.setattr("timelog.cli.stream.is_terminal", lambda: False)
    assert not use_color("auto", {})
    assert use_color("auto", {"FORCE_COLOR": "1"})
    assert not use_color("auto", {"FORCE_COLOR": "0"})
    assert use_color("always", {"NO_COLOR": "1"})


def test_which_pager() -> None:
    assert pager_command({"PAGER": "more -s"}) == "more -s"
    assert pager_command({"PAGER": ""}) is None
    assert pager_command({"PAGER": "cat"}) is None
    assert pager_command({}) == ("less -FRX" if shutil.which("less") else None)


def test_escaping() -> None:
    assert escape("a\tb\\x\n\r\x1b\x7f\x9f\u202e\ud800é") == (
        "a\tb\\x\\n\\x0d\\x1b\\x7f\\x9f\\u202e\\ud800é"
    )
    assert escape_lines("a\nb\x1b") == "a\nb\\x1b"
    line = json_line(timelog.Event(timelog.timestamp.EPOCH, "i", "\x9b", (), "\x7f\u202e\x1b"))
    assert json.loads(escape_json(line.strip())) == json.loads(line)
    assert escape(escape_json(line.strip())) == escape_json(line.strip())


# -- damage ---------------------------------------------------------------------------------


def test_damage_is_named_and_strict_says_so(cli: Cli, log_dir: Path) -> None:
    segment = sorted(log_dir.glob("*/*.jsonl"))[0]
    data = bytearray(segment.read_bytes())
    data[data.index(b"Failed")] ^= 1
    segment.write_bytes(data)
    answer = cli("search", "--json")
    assert answer.code == 0 and "a" not in answer.ids and "d" in answer.ids
    assert answer.err.startswith("timelog: ") and segment.name in answer.err
    assert cli("search", "--strict").code == 3
    assert cli("search", "--strict", "-g", "nothing").code == 3
    assert cli("search", "--salvage", "-s", "sshd", "-s", "nginx", "--json").ids == ["a", "b", "c"]
    assert cli("verify").code == 1
    assert cli("verify", "-q") == Answer(1, "", "")
    assert json.loads(cli("verify", "--json").out)["ok"] is False


def test_a_torn_end_is_reported_and_left_alone(cli: Cli, log_dir: Path) -> None:
    segment = sorted(log_dir.glob("*/*.jsonl"))[-1]
    with segment.open("ab") as file:
        file.write(b'{"timestamp":"2026')
    torn = segment.read_bytes()
    assert cli("search", "--strict").code == 0
    assert cli("verify").code == 3
    assert segment.read_bytes() == torn


def test_verify_of_a_clean_log(cli: Cli) -> None:
    for argv in (["verify"], ["verify", "--deep"]):
        answer = cli(*argv)
        assert answer.code == 0 and answer.out and answer.err == ""
    report = json.loads(cli("verify", "--json").out)
    assert report["ok"] is True and report["exit_code"] == 0


# -- status ---------------------------------------------------------------------------------


def test_status(cli: Cli, log_dir: Path) -> None:
    answer = cli("status", "--utc")
    assert answer.code == 0 and answer.err == ""
    assert "2026-07-01T10:00:00.000000+00:00" in answer.out
    assert "2026-07-02T09:00:00.000000+00:00" in answer.out
    report = json.loads(cli("status", "--json").out)
    segments = list(log_dir.glob("*/*.jsonl"))
    assert report["events"] == 4
    assert report["partitions"] == 2
    assert report["segments"] == len(segments) == 3
    assert report["bytes"] == sum(path.stat().st_size for path in segments)
    assert report["oldest"] == START
    assert report["newest"] == "2026-07-02T09:00:00.000000Z"
    assert report["status"] == "healthy"


def test_status_of_an_empty_log(cli: Cli, tmp_path: Path) -> None:
    timelog.open(tmp_path / "empty").close()
    report = json.loads(cli("status", "--json", at=tmp_path / "empty").out)
    assert (report["events"], report["oldest"], report["newest"]) == (0, None, None)
    assert cli("status", at=tmp_path / "empty").code == 0
    assert cli("search", at=tmp_path / "empty") == Answer(1, "", "")


# -- demo, completion -----------------------------------------------------------------------


def test_demo(cli: Cli, tmp_path: Path) -> None:
    answer = cli("demo", at=tmp_path / "demo")
    assert answer.code == 0 and answer.err == ""
    assert ">>> log = timelog.open(" in answer.out
    assert "$ timelog --dir" in answer.out and "$ grep" in answer.out
    assert "KeyError: 'café crème'" in answer.out
    assert "Accepted publickey" in answer.out
    assert str(tmp_path / "demo") in answer.out.splitlines()[-2]
    with timelog.open(tmp_path / "demo", mode="r") as log:
        assert log.search(pattern="disk replaced").count() == 1
        assert log.search().count() == 301
    assert cli("demo", at=tmp_path / "demo").code == 0  # a timelog: once more is fine


def test_demo_leaves_other_peoples_directories_alone(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    answer = cli("demo", at=tmp_path)
    assert answer.code == 2 and "not empty" in answer.err
    assert [path.name for path in tmp_path.iterdir() if path.name != "log"] == ["mine.txt"]


def test_demo_makes_a_directory_of_its_own(log_dir: Path, tmp_path: Path) -> None:
    env = {"TMPDIR": str(tmp_path), "TIMELOG_DIR": str(log_dir)}
    assert process("demo", env=env).code == 0
    (made,) = tmp_path.glob("timelog-demo-*")
    assert list(made.glob("*/*.jsonl"))
    with timelog.open(log_dir, mode="r") as log:
        assert log.search().count() == len(EVENTS)


def complete_in_bash(script: str, *words: str) -> set[str]:
    line = " ".join(map(shlex.quote, words))
    code = (
        f"{script}\nCOMP_WORDS=({line}); COMP_CWORD={len(words) - 1}; _timelog; "
        'printf "%s\\n" "${COMPREPLY[@]}"'
    )
    done = subprocess.run(["bash", "-c", code], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


@pytest.mark.skipif(shutil.which("bash") is None, reason="bash is not installed")
def test_completions_of_bash_work(cli: Cli) -> None:
    script = cli("completion", "bash").out
    assert complete_in_bash(script, "timelog", "se") == {"search"}
    assert complete_in_bash(script, "timelog", "") == set(COMMANDS)
    assert complete_in_bash(script, "timelog", "--dir", "x", "search", "--sa") == {"--salvage"}
    assert complete_in_bash(script, "timelog", "search", "-o", "json") == {"json", "json-pretty"}
    assert complete_in_bash(script, "timelog", "completion", "") == {"bash", "zsh", "fish"}


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completions_name_every_option(cli: Cli, shell: str) -> None:
    script = cli("completion", shell).out
    for name, parser in COMMANDS.items():
        assert name in script
        for action in options_of(parser):
            for option in action.option_strings:
                bare = option.lstrip("-") if shell == "fish" else option
                assert re.search(rf"(?<![\w]){re.escape(bare)}(?![\w])", script), option
    if shutil.which(shell):
        done = subprocess.run([shell, "-n", "-c" if shell == "bash" else "/dev/stdin", script][:3],
                              input=script, text=True, capture_output=True)  # fmt: skip
        assert done.returncode == 0 or shell == "bash", done.stderr


# -- real processes -------------------------------------------------------------------------


def test_the_streams_of_a_process(log_dir: Path) -> None:
    answer = process("--dir", str(log_dir), "search", "--utc", "-o", "cat", "-s", "nginx",
                     env={"LC_ALL": "C", "PYTHONUTF8": "0"})  # fmt: skip
    assert answer == Answer(0, "GET /größe 200\n", "")
    answer = process("search", env={"TIMELOG_DIR": str(log_dir / "none")})
    assert answer.code == 2 and answer.out == "" and "Traceback" not in answer.err


def big_log(directory: Path) -> Path:
    with timelog.open(directory) as log:
        log.append_many([{"content": f"{n} {'x' * 200}"} for n in range(5_000)])
    return directory


def test_a_closed_pipe_is_silent(tmp_path: Path) -> None:
    search = command("--dir", str(big_log(tmp_path)), "search")
    child = subprocess.Popen(search, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert child.stdout is not None and child.stderr is not None
    assert child.stdout.readline()
    child.stdout.close()
    assert child.stderr.read() == b""
    assert child.wait(60) == 141
    child.stderr.close()


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_stops_a_search_whose_reader_has_stopped(
    tmp_path: Path, number: signal.Signals, code: int
) -> None:
    search = command("--dir", str(big_log(tmp_path)), "search")
    child = subprocess.Popen(search, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert child.stdout is not None and child.stderr is not None
    assert child.stdout.readline()
    child.send_signal(number)
    assert child.wait(60) == code  # while the pipe is still full
    assert child.stderr.read() == b""
    child.stdout.close()
    child.stderr.close()


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="this system has no /dev/full")
def test_a_full_disk_behind_stdout_is_an_error(log_dir: Path) -> None:
    for argv in (["search"], ["search", "--count"], ["completion", "bash"]):
        with open("/dev/full", "wb") as full:
            done = subprocess.run(
                command("--dir", str(log_dir), *argv), stdout=full, stderr=subprocess.PIPE
            )
        assert done.returncode == 2
        assert done.stderr.startswith(b"timelog: ") and done.stderr.count(b"\n") == 1


def test_closed_streams(log_dir: Path) -> None:
    search = shlex.join(command("--dir", str(log_dir), "search"))
    done = subprocess.run(["sh", "-c", f"{search} >&-"], capture_output=True)
    assert done.returncode == 2 and b"Traceback" not in done.stderr
    done = subprocess.run(["sh", "-c", f"{search} --dir /nowhere 2>&-"], capture_output=True)
    assert done.returncode == 2 and done.stdout == b""


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_stops_ingest_and_loses_nothing(
    tmp_path: Path, number: signal.Signals, code: int
) -> None:
    child = subprocess.Popen(
        command("--dir", str(tmp_path), "ingest", "-"),
        stdin=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert child.stdin is not None and child.stderr is not None
    # More than a pipe holds: when this returns, lines have been stored.
    child.stdin.write((b"x" * 99 + b"\n") * 20_000)
    child.stdin.flush()
    child.send_signal(number)
    err = child.stderr.read().decode()
    assert child.wait(60) == code
    child.stdin.close()
    child.stderr.close()
    match = re.fullmatch(r"timelog: stopped after ([\d,]+) events, .*\n", err)
    assert match, err
    with timelog.open(tmp_path, mode="r") as log:
        assert log.search().count() == int(match[1].replace(",", "")) > 0


def test_a_signal_is_put_off_until_nothing_is_half_done() -> None:
    for number, error in ((signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, Terminated)):
        interrupts = Interrupts()
        before = signal.getsignal(number)
        with interrupts.put_off():
            with interrupts.waiting():
                pass
            signal.raise_signal(number)
            with pytest.raises(error), interrupts.waiting():
                raise AssertionError("what has arrived comes first")
            with pytest.raises(error):
                signal.raise_signal(number)  # again: somebody insists
        assert signal.getsignal(number) is before


def test_a_command_in_a_thread_leaves_signals_alone(log_dir: Path) -> None:
    codes: list[int] = []
    argv = ["--dir", str(log_dir), "ingest", "-q", "/dev/null"]
    thread = threading.Thread(target=lambda: codes.append(main(argv)))
    thread.start()
    thread.join()
    assert codes == [0]


# -- on a terminal --------------------------------------------------------------------------


def test_a_terminal_gets_colour_and_nothing_that_drives_it(log_dir: Path) -> None:
    directory = ("--dir", str(log_dir))
    assert "\x1b[36msshd\x1b[0m" in on_terminal(*directory, "search", "--no-pager")
    assert "\x1b" not in on_terminal(*directory, "search", "--no-pager", env={"NO_COLOR": "1"})
    for form in ("cat", "json", "json-pretty"):
        shown = on_terminal(*directory, "search", "--no-pager", "-o", form)
        assert shown == escape_lines(shown) and "evil" in shown
    assert "accepted\nfor alice\ttab\n" in on_terminal(
        *directory, "search", "--no-pager", "-o", "cat"
    )


def test_a_terminal_gets_a_pager(log_dir: Path, tmp_path: Path) -> None:
    env = {"PAGER": f"cat > {shlex.quote(str(tmp_path / 'paged'))}"}
    assert on_terminal("--dir", str(log_dir), "search", env=env) == ""
    assert "Failed password" in (tmp_path / "paged").read_text()
    env = {"PAGER": "true"}  # leaves at once
    assert on_terminal("--dir", str(big_log(tmp_path / "big")), "search", env=env) == ""
    env = {"PAGER": "false"}
    assert "Failed" in on_terminal("--dir", str(log_dir), "search", "--no-pager", env=env)


def test_status_on_a_terminal_is_a_table(log_dir: Path) -> None:
    shown = on_terminal("--dir", str(log_dir), "status", "--utc")
    assert "2026-07-02T09:00:00.000000+00:00" in shown and "healthy" in shown


def test_index_builds_the_text_index_and_says_what_it_built(
    cli: Cli, log_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("timelog.indexer.LEAST_TEXT", 1)
    answer = cli("index")
    assert answer.code == 0 and re.match(r"3 segments, \d+ bytes of text: 2 files", answer.out)
    assert len(list((log_dir / ".timelog" / "index").glob("*.text"))) == 2
    assert cli("index").out.startswith("nothing to build")
    assert cli("index", "-q").out == ""


def test_a_pattern_that_explodes_ends_with_the_timeout(cli: Cli, log_dir: Path) -> None:
    with timelog.open(log_dir) as log:
        log.append("a" * 40 + "!")
    answer = cli("search", "-g", "(a+)+$", "--timeout", "0.2")
    assert answer.code == 2 and "longer than its timeout of 0.2 s" in answer.err
    assert cli("search", "-g", "(a+)+$", "--engine", "linear").code == 1
    assert cli("search", "-g", "root$", "--timeout", "30", "--json").ids == ["a"]


def test_what_the_linear_engine_cannot_express_is_refused(cli: Cli) -> None:
    answer = cli("search", "-g", r"(\w)\1", "--engine", "linear")
    assert answer.code == 2 and "linear" in answer.err
    for wrong in ("0", "-1", "soon", "nan", "inf"):
        assert cli("search", f"--timeout={wrong}").code == 2

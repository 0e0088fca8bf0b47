"""``timelog completion``: what a shell needs to complete commands, options and their values.

Made by walking the parser, so that it is never behind it.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from typing import NamedTuple

from timelog.cli.base import FOUND
from timelog.cli.parser import commands_of, make_parser, options_of
from timelog.cli.stream import put

# What positional arguments are called that are directories.
_DIRECTORIES = {"directory", "dest", "snapshot"}


class _Option(NamedTuple):
    names: tuple[str, ...]
    help: str
    takes_value: bool
    values: tuple[str, ...]
    is_directory: bool


class _Command(NamedTuple):
    name: str  # empty for what stands before any command
    help: str
    options: tuple[_Option, ...]
    words: tuple[str, ...]  # what may stand without an option
    takes_files: bool
    takes_directories: bool


def run(args: argparse.Namespace) -> int:
    """Print the completions of the shell ``args.shell``."""
    commands = list(_commands())
    put({"bash": _bash, "zsh": _zsh, "fish": _fish}[args.shell](commands))
    return FOUND


def _commands() -> Iterator[_Command]:
    parser = make_parser()
    commands = commands_of(parser)
    yield _command("", parser, tuple(commands))
    for name, command in commands.items():
        yield _command(name, command)


def _command(name: str, parser: argparse.ArgumentParser, words: tuple[str, ...] = ()) -> _Command:
    options = tuple(
        _Option(
            tuple(action.option_strings),
            (action.help or "").replace("%%", "%"),
            action.nargs != 0,
            tuple(map(str, action.choices or ())),
            action.dest == "dir",
        )
        for action in options_of(parser)
    )
    positionals = [one for one in parser._actions if not one.option_strings]
    if not words:
        words = tuple(str(word) for one in positionals for word in one.choices or ())
    takes = {one.dest for one in positionals}
    return _Command(
        name,
        parser.description or "",
        options,
        words,
        bool(takes & {"files", "paths"}),
        bool(takes & {"directory", "dest", "snapshot"}),
    )


def _bash(commands: list[_Command]) -> str:
    cases = []
    for command in commands:
        values = ""
        for option in command.options:
            if option.is_directory:
                action = 'mapfile -t COMPREPLY < <(compgen -d -- "$cur")'
            elif option.values:
                action = (
                    f'mapfile -t COMPREPLY < <(compgen -W "{" ".join(option.values)}" -- "$cur")'
                )
            elif option.takes_value:
                action = "COMPREPLY=()"
            else:
                continue
            values += f"        {'|'.join(option.names)}) {action}; return ;;\n"
        names = " ".join(name for option in command.options for name in option.names)
        files = "-f " if command.takes_files else "-d " if command.takes_directories else ""
        words = f'-W "{" ".join(command.words)}" ' if command.words else ""
        plain = f'mapfile -t COMPREPLY < <(compgen {files}{words}-- "$cur")'
        cases.append(
            f'    "{command.name}")\n'
            f'      case "$prev" in\n{values}      esac\n'
            f"      if [[ $cur == -* ]]; then\n"
            f'        mapfile -t COMPREPLY < <(compgen -W "{names}" -- "$cur")\n'
            f"      else\n        {plain if files or words else ':'}\n      fi ;;\n"
        )
    known = "|".join(command.name for command in commands[1:])
    return (
        "# timelog completions for bash: source <(timelog completion bash)\n"
        "_timelog() {\n"
        '  local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]} command="" word\n'
        "  COMPREPLY=()\n"
        '  for word in "${COMP_WORDS[@]:1:COMP_CWORD-1}"; do\n'
        f'    case "$word" in {known}) command=$word; break ;; esac\n'
        "  done\n"
        '  case "$command" in\n' + "".join(cases) + "  esac\n}\n"
        "complete -o filenames -F _timelog timelog"
    )


def _zsh(commands: list[_Command]) -> str:
    def specification(option: _Option) -> str:
        message = _zsh_text(option.help)
        value = ""
        if option.is_directory:
            value = ":directory:_files -/"
        elif option.values:
            value = f":value:({' '.join(option.values)})"
        elif option.takes_value:
            value = ":value:"
        return " \\\n".join(f"        '*{name}[{message}]{value}'" for name in option.names)

    cases = ""
    for command in commands[1:]:
        lines = [specification(option) for option in command.options]
        if command.takes_files:
            lines.append("        '*:file:_files'")
        if command.takes_directories:
            lines.append("        '1:directory:_files -/'")
        if command.words:
            lines.append(f"        '1:word:({' '.join(command.words)})'")
        cases += f"    {command.name})\n      _arguments \\\n" + " \\\n".join(lines) + " ;;\n"
    described = "\n".join(
        f"    '{command.name}:{_zsh_text(command.help)}'" for command in commands[1:]
    )
    top = " \\\n".join(
        specification(option).replace("        ", "    ") for option in commands[0].options
    )
    return (
        "#compdef timelog\n"
        "# timelog completions for zsh: put this file as _timelog into a directory of $fpath\n"
        "_timelog() {\n"
        '  local curcontext="$curcontext" state state_descr line\n'
        "  typeset -A opt_args\n"
        f"  _arguments -C \\\n{top} \\\n"
        "    '1:command:->command' '*::argument:->argument'\n"
        "  local -a commands=(\n"
        f"{described}\n  )\n"
        "  case $state in\n"
        "  command) _describe command commands ;;\n"
        "  argument) case $line[1] in\n"
        f"{cases}"
        "    esac ;;\n"
        "  esac\n}\n"
        'if [[ $funcstack[1] == _timelog ]]; then _timelog "$@"; else compdef _timelog timelog; fi'
    )


def _fish(commands: list[_Command]) -> str:
    lines = [
        "# timelog completions for fish: timelog completion fish > "
        "~/.config/fish/completions/timelog.fish",
        "complete -c timelog -f",
    ]
    for command in commands:
        when = (
            f"__fish_seen_subcommand_from {command.name}"
            if command.name
            else "__fish_use_subcommand"
        )
        if command.name:
            lines.append(
                f"complete -c timelog -n __fish_use_subcommand -a {command.name} "
                f"-d {_fish_text(command.help)}"
            )
        if command.takes_files:
            lines.append(f"complete -c timelog -n '{when}' -F")
        if command.takes_directories:
            lines.append(f"complete -c timelog -n '{when}' -a '(__fish_complete_directories)'")
        if command.name and command.words:
            lines.append(f"complete -c timelog -n '{when}' -a '{' '.join(command.words)}'")
        for option in command.options:
            names = " ".join(
                f"-l {name[2:]}" if name.startswith("--") else f"-s {name[1:]}"
                for name in option.names
            )
            value = ""
            if option.is_directory:
                value = " -x -a '(__fish_complete_directories)'"
            elif option.values:
                value = f" -x -a '{' '.join(option.values)}'"
            elif option.takes_value:
                value = " -x"
            lines.append(
                f"complete -c timelog -n '{when}' {names}{value} -d {_fish_text(option.help)}"
            )
    return "\n".join(lines)


def _zsh_text(text: str) -> str:
    for special in "\\[]:":
        text = text.replace(special, "\\" + special)
    return text.replace("'", "'\\''")


def _fish_text(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"

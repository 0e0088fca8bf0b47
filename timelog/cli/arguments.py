"""From the words of a command line to a namespace."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from typing import TypeAlias

from timelog.cli.parser import commands_of, make_parser, options_of

_Nargs: TypeAlias = int | str | None  # of an option: 0, "?", or None for exactly one value
_Kinds: TypeAlias = Mapping[str, _Nargs]


def parse(argv: Sequence[str]) -> argparse.Namespace:
    """Return what ``argv`` asks for; ``command`` says which module has to do it.

    Raises `CommandError` for what cannot be understood, ``SystemExit`` after ``--help`` and
    ``--version``.
    """
    parser = make_parser()
    everything = (parser, *commands_of(parser).values())
    kinds = {
        name: action.nargs
        for one in everything
        for action in options_of(one)
        for name in action.option_strings
    }
    args = parser.parse_args(_arrange(argv, kinds))
    if args.command is None:
        parser.error("no command was given")
    return args


def _arrange(argv: Sequence[str], kinds: _Kinds) -> list[str]:
    """Arrange ``argv`` so that argparse understands what people write.

    A value that begins with a dash is joined to its option, ``--since -1h`` to ``--since=-1h``:
    argparse would take it for an option. What *is* an option is left alone, so that a forgotten
    value is still reported. Options between files are put before them: argparse takes files only
    where they stand together.
    """
    head: list[str] = []  # up to the command
    options: list[str] = []
    plain: list[str] = []
    rest: list[str] = []
    expected: _Nargs = 0  # what the last word asks for, an option's nargs
    for at, word in enumerate(argv):
        if word == "--":
            rest = list(argv[at:])
            break
        known, next_expected = _scan(word, kinds)
        dashed = word.startswith("-") and word != "-"
        if dashed and expected is None and not known:
            options[-1] += f"={word}" if options[-1].startswith("--") else word
            expected = 0
        elif dashed or expected != 0:
            options.append(word)
            expected = next_expected
        elif not head:
            head, options = [*options, word], []
        else:
            plain.append(word)
    if rest and plain:
        rest, plain = ["--", *plain, *rest[1:]], []
    return head + options + plain + rest


def _scan(word: str, kinds: _Kinds) -> tuple[bool, _Nargs]:
    """Whether ``word`` is an option, or several letters of them, and what it asks to follow."""
    if word.startswith("--"):
        name, equals, _ = word.partition("=")
        return name in kinds, 0 if equals else kinds.get(name, 0)
    if not word.startswith("-"):
        return False, 0
    for at, letter in enumerate(word[1:], 2):
        nargs = kinds.get(f"-{letter}", "unknown")
        if nargs != 0:  # the rest of the word is the value, if there is a rest
            return nargs != "unknown", nargs if at == len(word) and nargs != "unknown" else 0
    return True, 0

"""Patterns of others: the exact meaning of ``re.search`` in time linear in the text, on RE2.

The same expression means different things to Python and to RE2 (what ``\\w`` contains, where ``$``
holds, which letters are equal without case), so the text of a pattern is not passed on. Python's
own parser reads it, and Python says which characters belong to each class. Characters that no
class of the pattern tells apart become one byte, as in the equivalence classes of the lexer
generator flex; RE2 gets an expression over these bytes, and each text is turned into them. So
nothing rests on what RE2 knows of Unicode, and even ``\\b`` of Unicode can be asked of it: word
characters become ASCII word characters.

RE2: Russ Cox, "Regular Expression Matching in the Wild", 2010.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterable
from itertools import pairwise
from re import _constants as sre  # type: ignore[attr-defined]
from re import _parser as sre_parser  # type: ignore[attr-defined]
from string import ascii_letters, digits
from typing import Any, NoReturn

from timelog.charset import KINDS, NEWLINE, Flips, category, characters
from timelog.errors import InvalidPattern, missing_extra

Tree = Iterable[tuple[Any, Any]]

_END = 0x110000

_WORD_BYTES = frozenset(f"{ascii_letters}{digits}_".encode())
_NEVER = r"[^\x00-\xff]"
# Bounds on patterns made to cost much: RE2 may take 10 ns for each byte and instruction.
_MOST_REPEATS = 1000
_MOST_INSTRUCTIONS = 10_000
_MOST_SETS = 256
_MEMORY = 8 * 1024 * 1024

_FOREIGN = {
    sre.ASSERT: "a look-ahead or look-behind",
    sre.ASSERT_NOT: "a look-ahead or look-behind",
    sre.ATOMIC_GROUP: "an atomic group",
    sre.GROUPREF: "a back-reference",
    sre.GROUPREF_EXISTS: "a conditional group",
    sre.POSSESSIVE_REPEAT: "a possessive repeat",
}


def linear_search(compiled: re.Pattern[str]) -> Callable[[str], object]:
    """Return a function that says whether ``compiled`` matches somewhere in a text.

    What it returns is true exactly where ``compiled.search(text)`` finds something. It is
    thread-safe, and so is this function.

    Raises `InvalidPattern` for a pattern that RE2 cannot express exactly or that is too large, and
    `MissingExtra` where google-re2 is not installed.

    Cost: linear in the length of the text. About 3 µs a text and 3 ns a character (40 ns where a
    text has characters beyond U+00FF), up to 0.1 ms a character for a pattern made to cost much.
    To prepare a pattern takes 0.2 to 5 ms, and the first use of IGNORECASE and of each class of
    Unicode in a process up to a tenth of a second more. The function holds 1.1 MB, and RE2 up to
    8 MiB for each of the last 128 patterns.
    """
    try:
        import re2  # type: ignore[import-untyped]
    except ImportError as error:
        raise missing_extra("engine='linear'", "re2") from error

    options = re2.Options()
    options.encoding = re2.Options.Encoding.LATIN1
    options.log_errors = False
    options.max_mem = _MEMORY
    options.never_capture = True
    try:
        program = _Program(compiled)
        alphabet = _Alphabet(program)
        machine = re2.compile(program.expression(alphabet.classes), options)
        # Before Python 3.14 \B does not hold in the empty text; in RE2 it does.
        inside = r"\B" if re.search(r"\B", "") else _NEVER
        empty = re2.compile(program.expression(alphabet.classes, inside), options)
    except RecursionError:
        _refuse(compiled, "groups nested too deeply")
    except re2.error as error:
        _refuse(compiled, f"what RE2 does not take ({error.args[0].decode('latin-1')})")
    if machine.programsize > _MOST_INSTRUCTIONS:
        _refuse(compiled, "more instructions than the engine takes")
    search, encode, on_empty = machine.search, alphabet.encode, empty.search(b"")
    return lambda text: search(encode(text)) if text else on_empty


class _Program:
    """A pattern as RE2 is to see it, but for the bytes of its sets of characters."""

    def __init__(self, compiled: re.Pattern[str]) -> None:
        self.compiled = compiled
        # The sets, each with its number.
        self.sets: dict[Flips, int] = {NEWLINE: 0}
        # The word characters that \b and \B mean, where there is one of these.
        self.word: Flips | None = None
        # Whether there is an anchor that holds before a last newline, or one of lines.
        self.has_end = self.has_lines = False
        # The expression, with the number of a set where one stands.
        self._parts: list[str | int] = ["(?m)"]
        self._known: dict[Any, Flips] = {}
        tree = sre_parser.parse(compiled.pattern, compiled.flags & ~re.DEBUG)
        self._sequence(tree, compiled.flags)
        if self.has_end and self.has_lines:
            _refuse(compiled, "anchors both with and without MULTILINE")

    def expression(self, classes: list[str], inside: str = r"\B") -> bytes:
        """The expression with ``classes`` for the sets, by number, and ``inside`` for ``\\B``."""
        text = [
            classes[part] if isinstance(part, int) else inside if part == r"\B" else part
            for part in self._parts
        ]
        return "".join(text).encode()

    def _sequence(self, tree: Tree, flags: int) -> int:
        """Add one part after the other; return about how many instructions they make."""
        size = 1
        for operation, argument in tree:
            if operation in (sre.LITERAL, sre.NOT_LITERAL, sre.ANY, sre.IN):
                size += self._set(operation, argument, flags)
            elif operation is sre.AT:
                size += self._anchor(argument, flags)
            elif operation is sre.BRANCH:
                size += self._branches(argument[1], flags)
            elif operation is sre.SUBPATTERN:
                _, added, removed, body = argument
                kept = flags & ~KINDS if added & KINDS else flags
                size += self._branches([body], (kept | added) & ~removed)
            elif operation in (sre.MAX_REPEAT, sre.MIN_REPEAT):
                size += self._repeat(argument, flags)
            else:
                _refuse(self.compiled, _FOREIGN.get(operation, str(operation)))
            if size > _MOST_INSTRUCTIONS:
                _refuse(self.compiled, "more instructions than the engine takes")
        return size

    def _set(self, operation: Any, argument: Any, flags: int) -> int:
        items = tuple(argument) if operation is sre.IN else argument
        key = operation, items, flags & (KINDS | re.IGNORECASE | re.DOTALL)
        if key not in self._known:
            if len(self._known) == _MOST_SETS:
                _refuse(self.compiled, f"more than {_MOST_SETS} different characters and classes")
            self._known[key] = characters(operation, items, flags)
        self._parts.append(self.sets.setdefault(self._known[key], len(self.sets)))
        return 1

    def _anchor(self, where: Any, flags: int) -> int:
        if where in (sre.AT_BEGINNING, sre.AT_END) and flags & re.MULTILINE:
            self.has_lines = True
            self._parts.append("^" if where is sre.AT_BEGINNING else "$")
        elif where is sre.AT_END:
            self.has_end = True
            self._parts.append("$")
        elif where in (sre.AT_BOUNDARY, sre.AT_NON_BOUNDARY):
            self._boundary(flags)
            self._parts.append(r"\b" if where is sre.AT_BOUNDARY else r"\B")
        else:
            self._parts.append(r"\z" if where is sre.AT_END_STRING else r"\A")
        return 1

    def _boundary(self, flags: int) -> None:
        word = category(r"\w", bool(flags & re.ASCII))
        if self.word not in (None, word):
            _refuse(self.compiled, r"\b or \B both with and without ASCII")
        self.word = word
        self.sets.setdefault(word, len(self.sets))

    def _branches(self, bodies: Iterable[Tree], flags: int) -> int:
        size = 0
        for number, body in enumerate(bodies):
            self._parts.append("|" if number else "(?:")
            size += self._sequence(body, flags)
        self._parts.append(")")
        return size

    def _repeat(self, argument: tuple[int, int, Tree], flags: int) -> int:
        least, most, body = argument
        # Lazy or not says only which match is found, never whether there is one.
        is_open = most == sre.MAXREPEAT
        times = least if is_open else most
        if times > _MOST_REPEATS:
            _refuse(self.compiled, f"a repeat above {_MOST_REPEATS}")
        size = self._branches([body], flags)
        self._parts.append(f"{{{least},}}" if is_open else f"{{{least},{most}}}")
        return size * max(times, 1)


class _Alphabet:
    """The bytes that characters become. Immutable and thread-safe.

    ``classes`` are the program's sets by number, as RE2 writes a class of bytes.
    """

    def __init__(self, program: _Program) -> None:
        segments = _segments(program.sets)
        byte_of = _assign(program, segments)
        self._table = b"".join(
            bytes([byte_of[within]]) * (end - start) for start, end, within in segments
        )
        self._low = self._table[:256]
        self._has_end = program.has_end
        # The newline at the end of a text may be another byte than those before it.
        bytes_in = [*byte_of.items(), (next(within for within in byte_of if within & 1), 10)]
        self.classes = [
            _class_of(byte for within, byte in bytes_in if within >> number & 1)
            for number in program.sets.values()
        ]

    def encode(self, text: str) -> bytes:
        """Return ``text`` as these bytes, one for each character."""
        try:
            data = text.encode("latin-1").translate(self._low)
        except UnicodeEncodeError:
            data = text.translate(self._table).encode("latin-1")
        return data[:-1] + b"\n" if self._has_end and text.endswith("\n") else data


def _segments(sets: Iterable[Flips]) -> list[tuple[int, int, int]]:
    """Cut all characters into runs that no set divides: start, end and the sets, bit by bit."""
    turns: dict[int, int] = defaultdict(int, {0: 0, _END: 0})
    for number, flips in enumerate(sets):
        for flip in flips:
            turns[flip] ^= 1 << number
    segments = []
    within = 0
    for start, end in pairwise(sorted(turns)):
        within ^= turns[start]
        segments.append((start, end, within))
    return segments


def _assign(program: _Program, segments: list[tuple[int, int, int]]) -> dict[int, int]:
    """Choose a byte for each combination of sets that a character is in."""
    byte_of: dict[int, int] = {}
    for start, _, within in segments:
        # RE2's $ under (?m) holds before each newline, Python's without MULTILINE only before the
        # last: the others must not be newlines to RE2.
        if start < 128 and not (program.has_end and within & 1):
            byte_of.setdefault(within, start)
    free = set(range(256)) - {10, *byte_of.values()}
    word = None if program.word is None else program.sets[program.word]
    for _, _, within in segments:
        if within in byte_of:
            continue
        fitting = free
        if word is not None:
            fitting = free & _WORD_BYTES if within >> word & 1 else free - _WORD_BYTES
        if not fitting:
            _refuse(program.compiled, "more different characters and classes than fit a byte")
        byte_of[within] = max(fitting)
        free.remove(byte_of[within])
    return byte_of


def _class_of(members: Iterable[int]) -> str:
    text = "".join(f"\\x{byte:02x}" for byte in sorted(members))
    return f"[{text}]" if text else _NEVER


def _refuse(compiled: re.Pattern[str], what: str) -> NoReturn:
    raise InvalidPattern(
        f"engine='linear' cannot search for {compiled.pattern!r}: it has {what}; "
        "write it without, or choose another engine"
    )

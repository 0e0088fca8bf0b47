"""Random regular expressions and contents for them, to ask whether a search loses a match.

A pattern is written from a piece of a content: each part of the piece takes a random form that
would match it, from its plain letters to a condition on a group, so most patterns have hits. Some
pieces are changed first, so that nothing or something else matches.

Everything comes from the `Random` that is passed: same seed, same results, in any process. No
pattern takes exponential time: what repeats without bound can match in one way only.
"""

from __future__ import annotations

import re
import unicodedata
import warnings
from collections.abc import Callable, Iterator, Sequence
from random import Random
from typing import NamedTuple, TypeVar

T = TypeVar("T")

# -- contents -----------------------------------------------------------------------------

CONTROLS = [chr(code) for code in (*range(32), 0x7F, 0x80, 0x85, 0x9F)]
# What IGNORECASE links to ASCII letters, and both cases of a letter whose upper() is two.
FOLDS = ["\u0130", "\u0131", "\u017f", "\u212a", "ß", "ẞ"]
LETTERS = re.findall(r"\S+", "é Ünïcode Ωμέγας ошибка שגיאה خطأ त्रुटि エラー 错误 오류 ﬁ µ Å")
DIGITS = ["٣٤", "७", "３", "²", "½"]
MARKS = ["e\u0301", "a\u0308\u0323", "\u200b", "\ufeff", "\xa0", "\u3000", "\u2028", "\u2029"]
EMOJI = ["\U0001f600", "\U0001f469\u200d\U0001f4bb", "\U0001f1ec\U0001f1e7", "\U0010ffff"]
JSON = ['"', "\\", "/", '","content":"', '"}\n{"', '"tags":["auth"]', '{"id":1}', "null", "[]"]
ESCAPES = re.findall(r"\S+", r"\n \t \u0009 \u0041 \" \\ \\n \x41 \ud83d\ude00 \d")
BLANKS = ["  ", "\r\n", "\t\t", "\n\n"]
SPECIALS = [*CONTROLS, *FOLDS, *LETTERS, *DIGITS, *MARKS, *EMOJI, *JSON, *ESCAPES, *BLANKS]

WORDS = re.findall(
    r"\S+",
    "ERROR WARN info debug user root admin session closed opened connection refused timeout disk "
    "full kernel sshd cron GET POST /index.html /api/v1/items 200 404 500 10.0.0.7 192.168.1.20 "
    "port 22 0x7ffe id=42 key=value pid=1234 password for from to is was kilobytes seconds 3.14 -1",
)
TEMPLATES = [
    "Failed password for {0} from 10.0.0.{1} port {2} ssh2",
    "{0} GET /items/{1}?page={2} HTTP/1.1 200 {1}ms",
    "[{2}] {0}: task {1} took 0.{2}s",
    'user="{0}" action="login" attempts={1}',
    '{{"user":"{0}","content":"{1}","ok":true}}',
    "C:\\Users\\{0}\\file{1}.txt",
    "line {1}\n\tat {0}.main(Main.java:{2})\n",
    "kernel: {0}{0} usb {1}-{1}: device {0} not responding",
]


def contents(random: Random, n: int) -> list[str]:
    """Return ``n`` contents of events, of 0 to about 200 characters.

    Words of logs mixed with everything that JSON, Unicode and IGNORECASE treat in a special way:
    from about n = 150 on each of `SPECIALS` occurs.
    """
    shapes = _deck(random, [_words] * 12 + [_filled] * 12 + [_mixed] * 4 + [_run] * 3 + [_empty])
    specials = _deck(random, SPECIALS)
    return [next(shapes)(random, specials) for _ in range(n)]


def _deck(random: Random, items: Sequence[T]) -> Iterator[T]:
    """The items in random order, each as often as any other, without end."""
    while True:
        yield from random.sample(items, len(items))


def _words(random: Random, specials: Iterator[str]) -> str:
    words = random.choices(WORDS, k=random.choice((1, 1, 2, 2, 4, 4, 8, 8, 12, 20)))
    for _ in range(random.choice((0, 1, 1, 2, 3))):
        words.insert(random.randint(0, len(words)), next(specials))
    text = random.choice((" ", " ", " ", "", ", ", "\t")).join(words)
    if random.random() < 0.1:
        text = "".join(random.choice(LINKED.get(letter, letter)) for letter in text)
    return text


def _filled(random: Random, specials: Iterator[str]) -> str:
    numbers = random.randint(0, 99), random.randint(0, 65535)
    text = random.choice(TEMPLATES).format(random.choice(WORDS), *numbers)
    return random.choice(("{1}", "{1}", "{0}{1}", "{1}{0}", "{1} {0}")).format(next(specials), text)


def _mixed(random: Random, specials: Iterator[str]) -> str:
    return "".join(next(specials) for _ in range(random.randint(1, 6)))


def _run(random: Random, specials: Iterator[str]) -> str:
    letter = random.choice('aaZ0_ .-"\\\n\té\U0001f600')
    return letter * random.choice((2, 3, 10, 40, 120)) + random.choice(("", "b", next(specials)))


def _empty(random: Random, specials: Iterator[str]) -> str:
    return ""


# -- patterns -----------------------------------------------------------------------------

# A letter, and those that match it under IGNORECASE beside its upper and lower case.
LINKED = {"i": "\u0130\u0131I", "s": "\u017fS", "k": "\u212aK", "ß": "ẞ", "å": "\u212b", "µ": "μ"}
CATEGORIES = {
    (name, flags): re.compile(name + "*", flags)
    for name in (r"\d", r"\D", r"\w", r"\W", r"\s", r"\S")
    for flags in (re.ASCII, re.UNICODE)
}
SHORT = {"\n": r"\n", "\t": r"\t", "\r": r"\r", "\f": r"\f", "\v": r"\v", "\a": r"\a", "\0": r"\0"}
# What needs a backslash; braces that hold no number do not.
SPECIAL = r"\.^$*+?[()|"
IN_CLASS = r"\]^-"
# What VERBOSE leaves out.
LEFT_OUT = " \t\n\r\v\f#"
COMMENTS = ["# words\n", "# a) (b [c\n", "# 'x' | \"y\" \\\n\n", "#\n"]
# Of the pieces that patterns are written from.
LENGTHS = [0, *range(1, 16), *range(2, 12), 20, 30]
# A group that captures begins, or might begin.
CAPTURES = re.compile(r"\((?!\?)|\(\?P<")
# How deep parts may hold parts.
DEEPEST = 4


def pattern(random: Random, contents: Sequence[str]) -> str:
    """Return a pattern of Python's ``re`` that compiles, written from a piece of a content.

    All of the syntax occurs. About four of five match one of ``contents`` at least, seven of ten
    some but not all of them.
    """
    while True:
        written = _write(random, contents)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                re.compile(written)
            except re.error:
                # Such as a number that ran into the letters after it: another one, then.
                continue
        return written


def _write(random: Random, contents: Sequence[str]) -> str:
    text = random.choice(contents)
    length = random.choice(LENGTHS)
    last = max(0, len(text) - length)
    start = random.choice((0, last, *[random.randint(0, last)] * 6))
    end = min(len(text), start + length)
    if random.random() < 0.2 and start < end:
        at = random.randrange(start, end)
        text = text[:at] + random.choice(random.choice(SPECIALS)) + text[at + 1 :]
    flags = {flag for flag in "imsxa" if random.random() < 0.12}
    writer = _Writer(random, text, flags)
    body = writer.sequence(start, end, 0)
    if start == 0 and random.random() < 0.3:
        body = random.choice(("^", r"\A")) + body
    if end == len(text) and random.random() < 0.3:
        body += random.choice(("$", r"\Z"))
    if random.random() < 0.08:
        body = f"{body}|{writer.other(1)}"
    written = "".join(random.sample(sorted(flags), len(flags)))
    return f"(?{written}){body}" if written else body


class _Group(NamedTuple):
    """A group that is closed: its number and name, and the text it would match."""

    number: int
    name: str
    text: str


class _Writer:
    """Writes one pattern from pieces ``[start, end)`` of one text.

    It knows the flags that hold where it writes, the groups that may be referred to, and how many
    more parts may match in several ways, which bounds the time that the pattern takes.
    """

    def __init__(self, random: Random, text: str, flags: set[str]) -> None:
        self._random = random
        self._text = text
        self._flags = flags
        self._groups: list[_Group] = []
        self._opened = 0
        self._loops = random.choice((0, 1, 1, 2))
        # Whether it writes inside of what repeats without bound.
        self._one_way = False
        self._forms: list[Callable[[int, int, int], str | None]] = [
            *[self._literal] * 6,
            *[self._items] * 4,
            *[self._loop] * 3,
            *[self._group] * 3,
            *[self._choice] * 2,
            *[self._repeat] * 2,
            *[self._scope] * 2,
            self._rows,
            self._twice,
            self._again,
            self._condition,
        ]

    # -- parts ----------------------------------------------------------------------------

    def sequence(self, start: int, end: int, depth: int) -> str:
        """Parts one after the other, with what has no width among them."""
        parts = [self._gap(), self._between(start, depth)]
        while start < end:
            to = min(end, start + self._random.choice((1, 1, 2, 3, 5, 8, 13)))
            parts += [self._part(start, to, depth), self._gap(), self._between(to, depth)]
            start = to
        return "".join(parts)

    def other(self, depth: int) -> str:
        """What has nothing to do with the place where it is written."""
        kind = self._random.randrange(8)
        if kind < 2:
            return self._random.choice(("", "", "(?!)", r"\ud83d"))
        if kind < 5:
            return self._letters(self._random.choice(WORDS + SPECIALS))
        start = self._random.randint(0, len(self._text))
        return self.sequence(start, min(len(self._text), start + 3), depth + 1)

    def _part(self, start: int, end: int, depth: int) -> str:
        if depth >= DEEPEST:
            return self._items(start, end, depth)
        while True:
            written = self._random.choice(self._forms)(start, end, depth)
            if written is not None:
                return written

    def _literal(self, start: int, end: int, depth: int) -> str:
        return self._letters(self._text[start:end])

    def _items(self, start: int, end: int, depth: int) -> str:
        return "".join(self._item(letter) + self._gap() for letter in self._text[start:end])

    def _loop(self, start: int, end: int, depth: int) -> str:
        """One item for all letters."""
        length = end - start
        item = self._item(self._text[start:end])
        if self._one_way or not self._loops:
            return self._times(item, length, length)
        self._loops -= 1
        most = self._random.choice((None, None, length, length + self._random.randint(0, 9)))
        return self._times(item, self._random.choice((0, 1, 1, length)), most)

    def _group(self, start: int, end: int, depth: int) -> str:
        if self._chance(0.5):
            return self._capture(start, end, depth)
        opening = self._random.choice(("(?:", "(?:", "(?>"))
        return f"{opening}{self.sequence(start, end, depth + 1)})"

    def _capture(self, start: int, end: int, depth: int) -> str:
        self._opened += 1
        number, name = self._opened, ""
        if self._chance(0.4):
            name = self._random.choice(("g", "name_", "größe")) + str(number)
        body = self.sequence(start, end, depth + 1)
        self._groups.append(_Group(number, name, self._text[start:end]))
        return f"(?P<{name}>{body})" if name else f"({body})"

    def _scope(self, start: int, end: int, depth: int) -> str:
        """A group with flags of its own."""
        outside = self._flags
        on = {flag for flag in "imsx" if self._chance(0.25)}
        off = {flag for flag in sorted(outside - on - {"a"}) if self._chance(0.5)}
        kind = self._random.choice(("", "", "a", "u"))
        self._flags = (outside | on) - off
        if kind:
            self._flags = self._flags - {"a"} | ({"a"} & {kind})
        switches = "".join(sorted(on)) + kind + ("-" + "".join(sorted(off)) if off else "")
        body = self.sequence(start, end, depth + 1)
        self._flags = outside
        return f"(?{switches}:{body})"

    def _choice(self, start: int, end: int, depth: int) -> str:
        """Several branches, of which one is for the piece; often they begin alike."""
        if self._one_way:
            return self._words(start, end)
        count = self._random.choice((1, 1, 2, 4))
        if self._chance(0.3):
            middle = self._random.randint(start, end)
            front = self._letters(self._text[start:middle])
            branches = [front + self.sequence(middle, end, depth + 1)]
            branches += [front + self.other(depth + 1) for _ in range(count)]
        else:
            branches = [self.sequence(start, end, depth + 1)]
            branches += [self.other(depth + 1) for _ in range(count)]
        self._random.shuffle(branches)
        opening = self._random.choice(("(?:", "(?>"))
        return f"{opening}{'|'.join(branches)})"

    def _words(self, start: int, end: int) -> str:
        """Branches that begin with different letters."""
        texts = [self._text[start:end], *self._random.sample(WORDS, 3)]
        words = {text[0].casefold()[0]: self._letters(text) for text in texts}
        return f"(?:{'|'.join(words.values())})"

    def _repeat(self, start: int, end: int, depth: int) -> str:
        """A group, several times."""
        if self._one_way or not self._loops:
            return self._times(self._group(start, end, depth), 1, 1)
        self._loops -= 1
        least = self._random.choice((0, 1, 1))
        if self._chance(0.5):
            left, self._loops = self._loops, 0
            body = self._group(start, end, depth)
            self._loops = left
            return self._times(body, least, self._random.choice((1, 2, 3)))
        self._one_way = True
        body = self._group(start, end, depth)
        self._one_way = False
        return self._times(body, least, None)

    def _rows(self, start: int, end: int, depth: int) -> str | None:
        """Anything up to a mark, several times."""
        marks = [at for at in range(start, end) if self._text[at] in ' ,;:/=.-_"\n']
        if self._one_way or not self._loops or not marks:
            return None
        self._loops -= 1
        at = self._random.choice(marks)
        mark = self._text[at]
        names = [name for (name, _), test in CATEGORIES.items() if not test.fullmatch(mark)]
        item = self._random.choice([f"[^{re.escape(mark)}]", *names])
        item = self._times(item, self._random.randint(0, 1), None)
        row = f"{self._random.choice(('(?:', '(?>'))}{item}{re.escape(mark)})"
        most = self._random.choice((None, None, 1, 2, 3))
        rows = self._times(row, self._random.randint(0, 1), most)
        return rows + self.sequence(at + 1, end, depth + 1)

    def _twice(self, start: int, end: int, depth: int) -> str:
        """A group, and a reference to it: where a text stands twice, or looks ahead first."""
        for width in (3, 2, 1):
            for at in range(start, end - 2 * width + 1):
                if self._text[at : at + width] == self._text[at + width : at + 2 * width]:
                    front = self.sequence(start, at, depth + 1)
                    group = self._capture(at, at + width, depth)
                    reference = self._reference(self._groups[-1])
                    rest = self.sequence(at + 2 * width, end, depth + 1)
                    return f"{front}{group}{self._gap()}{reference}{rest}"
        return f"(?={self._capture(start, end, depth)}){self._reference(self._groups[-1])}"

    def _again(self, start: int, end: int, depth: int) -> str | None:
        """A reference to a group with the same text."""
        piece = self._text[start:end]
        for group in self._groups:
            if group.text and piece.startswith(group.text):
                rest = self.sequence(start + len(group.text), end, depth + 1)
                return self._reference(group) + rest
        return None

    def _condition(self, start: int, end: int, depth: int) -> str | None:
        """What to match depends on whether a group did."""
        if self._one_way:
            return None
        middle = self._random.randint(start, end)
        front = self._capture(start, middle, depth)
        group = self._groups[-1]
        called = self._random.choice((group.name or str(group.number), str(group.number)))
        rest = self.sequence(middle, end, depth + 1)
        if self._chance(0.3):
            return f"{front}?(?({called}){rest})"
        branches = [rest, self._letters(self._random.choice(WORDS))]
        self._random.shuffle(branches)
        times = self._random.choice(("?", "??", "{0}", ""))
        return f"{front}{times}(?({called}){'|'.join(branches)})"

    def _reference(self, group: _Group) -> str:
        if group.name and self._chance(0.6):
            return f"(?P={group.name})"
        return f"\\{group.number}"

    # -- what has no width ----------------------------------------------------------------

    def _between(self, at: int, depth: int) -> str:
        """Mostly nothing; else an anchor, a look around, or what may be left out."""
        if depth >= DEEPEST or self._chance(0.88):
            return ""
        kinds = [self._anchor, self._look_ahead, self._look_behind]
        if not self._one_way:
            kinds.append(self._left_out)
        return self._random.choice(kinds)(at, depth) + self._gap()

    def _anchor(self, at: int, depth: int) -> str:
        text = self._text
        if self._chance(0.1):
            return self._random.choice(("^", "$", r"\A", r"\Z", r"\b", r"\B"))
        true = [r"\b" if _is_word(text[at - 1 : at]) != _is_word(text[at : at + 1]) else r"\B"]
        if at == 0:
            true += ["^", r"\A"]
        elif text[at - 1] == "\n":
            true += ["(?m:^)"]
        if at == len(text):
            true += ["$", r"\Z"]
        elif text[at] == "\n":
            true += ["(?m:$)"]
        return self._random.choice(true)

    def _look_ahead(self, at: int, depth: int) -> str:
        if self._chance(0.5):
            return f"(?={self.sequence(at, min(len(self._text), at + 3), depth + 2)})"
        return f"(?!{self.other(depth + 1)})"

    def _look_behind(self, at: int, depth: int) -> str:
        if self._chance(0.5):
            return f"(?<={self._items(max(0, at - 3), at, depth)})"
        word = self._letters(self._random.choice(WORDS)[:2])
        return self._random.choice((f"(?<!{word})", f"(?<!{word}|xy)", r"(?<!\s)", "(?<!^)"))

    def _left_out(self, at: int, depth: int) -> str:
        kind = self._random.randrange(8)
        if kind == 0:
            return self._random.choice(
                ("(?#a comment)", "(?:)", r"\ud83d?", self._capture(at, at, depth))
            )
        if kind == 1 and self._groups:
            return self._times(self._reference(self._random.choice(self._groups)), 0, 1)
        if kind < 4:
            item = self._item(self._random.choice(self._random.choice(SPECIALS)))
            return self._times(item, 0, self._random.randint(0, 1))
        other = self.other(depth + 1)
        if kind < 6:
            return self._times(f"(?:{other})", 0, self._random.randint(0, 1))
        return self._random.choice((f"(?:{other}|)", f"(?:|{other})", f"(?>{other}||x)"))

    # -- letters --------------------------------------------------------------------------

    def _item(self, text: str) -> str:
        """What matches any one letter of ``text``."""
        if len(set(text)) == 1 and self._chance(0.6):
            return self._letter(self._recased(text[0]))
        forms = [self._class(text)]
        categories = self._categories(text)
        if categories:
            forms.append(self._random.choice(categories))
        if "s" in self._flags or "\n" not in text:
            forms.append(".")
        return self._random.choice(forms)

    def _categories(self, text: str) -> list[str]:
        """The classes with a name that hold all letters of ``text``."""
        flags = re.ASCII if "a" in self._flags else re.UNICODE
        return [
            name
            for (name, each), test in CATEGORIES.items()
            if each == flags and test.fullmatch(text)
        ]

    def _class(self, text: str) -> str:
        random = self._random
        if self._chance(0.3):
            folded = text.casefold()
            free = [letter for letter in 'aeknsz059" \\\n,;é_' if letter not in folded]
            free = random.sample(free, random.randint(1, 3))
            members = [self._member(letter, narrow=True) for letter in free]
            return f"[^{''.join(members)}]"
        letters = sorted(set(text))
        letters += random.choice(random.choice(SPECIALS)) * random.randint(0, 1)
        members = [self._member(letter, narrow=False) for letter in letters]
        random.shuffle(members)
        # Where they stand for themselves.
        if members[0] == r"\]":
            members[0] = "]"
        if members[-1] == r"\-":
            members[-1] = "-"
        return f"[{''.join(members)}]"

    def _member(self, letter: str, *, narrow: bool) -> str:
        """A member of a class; unless ``narrow``, it may hold other letters too."""
        kind = self._random.randrange(6)
        if not narrow and kind == 0:
            first = chr(max(0, ord(letter) - self._random.randint(0, 9)))
            last = chr(min(0x10FFFF, ord(letter) + self._random.randint(0, 9)))
            return f"{self._letter(first, IN_CLASS)}-{self._letter(last, IN_CLASS)}"
        if not narrow and kind == 1:
            categories = self._categories(letter)
            if categories:
                return self._random.choice(categories)
        if letter == "\b":
            return r"\b"
        return self._letter(letter, IN_CLASS)

    def _letters(self, text: str) -> str:
        """The letters as they are."""
        text = "".join(map(self._recased, text))
        if self._chance(0.5):
            return re.escape(text)
        return "".join(self._letter(letter) + self._gap(0.1) for letter in text)

    def _recased(self, letter: str) -> str:
        """The letter, under IGNORECASE in any case."""
        if "i" not in self._flags:
            return letter
        cases = letter + letter.upper() + letter.lower() + LINKED.get(letter.lower(), "")
        return self._random.choice(cases)

    def _letter(self, letter: str, special: str = SPECIAL) -> str:
        """One letter in one of the ways to write it; those in ``special`` need a backslash."""
        code = ord(letter)
        if self._chance(0.7):
            if letter in special or ("x" in self._flags and letter in LEFT_OUT):
                return "\\" + letter
            return letter
        forms = [re.escape(letter), f"\\U{code:08x}"]
        if code < 0x10000:
            forms += [f"\\u{code:04x}"]
        if code < 0x100:
            forms += [f"\\x{code:02X}", f"\\{code:03o}" if code >= 0o100 else f"\\0{code:02o}"]
        if letter in SHORT:
            forms += [SHORT[letter]] * 2
        name = unicodedata.name(letter, "")
        if name:
            forms += [f"\\N{{{name}}}"]
        return self._random.choice(forms)

    def _times(self, part: str, least: int, most: int | None) -> str:
        """The part several times, in one of the ways to write it: greedy, lazy or possessive."""
        forms = [f"{{{least},{'' if most is None else most}}}"]
        if least == most:
            forms = [f"{{{least}}}", *forms]
        if least == 0 and most is not None:
            forms += [f"{{,{most}}}"]
        short = {(0, None): "*", (1, None): "+", (0, 1): "?"}.get((least, most))
        if short:
            forms = [short] * 3 + forms
        modes = ["", "", "", "?"]
        # In some versions of Python (3.11 is one) a possessive repeat of a group that captures may
        # raise SystemError: python/cpython, issue 101955.
        if not CAPTURES.search(part):
            modes.append("+")
        return part + self._gap() + self._random.choice(forms) + self._random.choice(modes)

    def _gap(self, chance: float = 0.3) -> str:
        """Under VERBOSE, something that is left out."""
        if "x" not in self._flags or not self._chance(chance):
            return ""
        return self._random.choice((" ", "  ", "\n\t", *COMMENTS))

    def _chance(self, share: float) -> bool:
        return self._random.random() < share


def _is_word(letter: str) -> bool:
    return letter.isalnum() or letter == "_"

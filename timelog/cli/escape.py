r"""Text made safe to print: no event can forge a line or drive the terminal.

Escaped are the control characters (C0 except tab, DEL, C1), the characters that reorder or hide
text (bidirectional controls), the line separators of Unicode and lone surrogates. ``\xNN`` and
``\uNNNN`` are for eyes: a backslash of the text stays one backslash, so where the exact text
matters use ``-o json``.
"""

from __future__ import annotations

import re

_UNSAFE_BUT_NEWLINE = (
    "\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff"
)
_UNSAFE = re.compile(f"[\n{_UNSAFE_BUT_NEWLINE}]")
_UNSAFE_IN_LINES = re.compile(f"[{_UNSAFE_BUT_NEWLINE}]")


def escape(text: str) -> str:
    r"""Return ``text`` on one line, with what is unsafe as ``\n``, ``\x1b`` or ``\u202e``."""
    # What str.isprintable accepts holds none of these, and it is many times faster to ask.
    return text if text.isprintable() else _UNSAFE.sub(_visible, text)


def escape_lines(text: str) -> str:
    """Return ``text`` with what is unsafe escaped, except newlines (and tabs)."""
    return text if text.isprintable() else _UNSAFE_IN_LINES.sub(_visible, text)


def escape_json(line: str) -> str:
    r"""Return a line of JSON that means the same, with what is unsafe as ``\uNNNN``."""
    return _UNSAFE.sub(lambda match: f"\\u{ord(match[0]):04x}", line)


def _visible(match: re.Match[str]) -> str:
    code = ord(match[0])
    if code == 0x0A:
        return "\\n"
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"

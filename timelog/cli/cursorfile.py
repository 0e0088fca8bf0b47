"""The file in which ``--cursor-file`` keeps a place: one line, replaced whole."""

from __future__ import annotations

import os
from pathlib import Path

from timelog.cli.base import CommandError, text_argument

_MOST = 4096


class CursorFile:
    """A place on the disk; what it holds may be a little behind after a power cut."""

    def __init__(self, name: str) -> None:
        self._path = Path(name)
        self._known = ""

    def read(self) -> str | None:
        """The cursor in the file, None where there is no file or it is empty.

        Raises `CommandError` where it cannot be read, or holds something else.
        """
        try:
            with self._path.open("rb") as file:
                data = file.read(_MOST)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise CommandError(f"{self._name}: {error.strerror}") from None
        try:
            self._known = data.decode().removesuffix("\n")
        except UnicodeDecodeError:
            self._known = "\n"
        if "\n" in self._known:
            raise CommandError(f"{self._name} does not hold a cursor; name another file")
        return self._known or None

    def write(self, cursor: str) -> None:
        """Put ``cursor`` in its place, in one step."""
        if cursor == self._known:
            return
        temporary = self._path.with_name(f"{self._path.name}.{os.getpid()}.tmp")
        try:
            try:
                temporary.write_text(cursor + "\n")
                temporary.replace(self._path)
            except BaseException:
                temporary.unlink(missing_ok=True)
                raise
        except OSError as error:
            raise CommandError(f"{self._name} could not be written: {error.strerror}") from None
        self._known = cursor

    @property
    def _name(self) -> str:
        return text_argument(str(self._path))

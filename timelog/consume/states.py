"""`States`: the directory in which a projection saves its state; what is in it, what may go.

Files are told by their names; whatever else is in the directory is left alone. A file is there
whole or not at all. One process at a time has the directory, by a lock in it.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from timelog.checksum import crc32
from timelog.consume import statefile
from timelog.consume.held import hold, place
from timelog.consume.statefile import PERIODIC, START, Head, Marks
from timelog.errors import TRANSIENT, DamagedError, InvalidInput, storage_error
from timelog.storage import Storage
from timelog.timestamp import to_text

_log = logging.getLogger("timelog")
_LOCK, _TEMPORARY, _MARKS = ".lock", ".partial", "superseded"


class Saved(NamedTuple):
    """A saved state: its file, ``"periodic"`` or ``"safety"``, and what its head says.

    ``time``: microseconds since 1970. ``head``: None where it cannot be used, for ``problem``.
    """

    path: str
    kind: str
    time: int
    head: Head | None
    problem: str = ""

    @property
    def ok(self) -> bool:
        """Whether it can be used, as far as its head tells."""
        return self.head is not None

    def __str__(self) -> str:
        if self.head is None:
            return f"{self.path}: {self.problem}"
        position = f"position {self.head.position:,}"
        return f"{self.path}: {self.kind}, {position}, {to_text(self.time)}"


class States:
    """The saved states of the projection ``name`` in ``directory``, made where it is not there.

    One thread at a time. Raises `InvalidInput` where the directory is in a log or has states of
    another projection in it, `InUseError` where another process has it, and `StorageError`.
    """

    def __init__(self, storage: Storage, directory: Path, name: str) -> None:
        self._storage = storage
        self._name = name
        self.path = place(storage, directory)
        try:
            for each in reversed((self.path, *self.path.parents)):
                if not storage.is_directory(each) and storage.make_directory(each):
                    storage.sync_directory(each.parent)
        except OSError as error:
            raise storage_error(f"the directory {directory} could not be made", error) from None
        self._fd = hold(storage, self.path / _LOCK, f"the projection in {directory}")
        try:
            for saved in self.found():
                if saved.head is not None and saved.head.name != name:
                    raise InvalidInput(
                        f"{directory} holds states of the projection {saved.head.name!r}; choose "
                        "a directory of its own"
                    )
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Let others have the directory. May be repeated."""
        if self._fd >= 0:
            self._storage.close(self._fd)
            self._fd = -1

    # -- reading --------------------------------------------------------------------------

    def found(self) -> list[Saved]:
        """What is there, the newest first. Cost: the head of each file is read."""
        return list(self.newest_first())

    def newest_first(self) -> Iterator[Saved]:
        """What is there, read as it is asked for."""
        for name in reversed(self._names()):
            known = statefile.parse_name(name)
            if known is None:
                continue
            path = self.path / name
            try:
                head, problem = self._head(path), ""
            except DamagedError as error:
                head, problem = None, str(error)
            yield Saved(str(path), known[1], known[0], head, problem)

    def load(self, saved: Saved) -> Any:
        """The state in a file; raises `DamagedError` and `StorageError`."""
        path = Path(saved.path)
        try:
            data = self._storage.read_file(path)
        except OSError as error:
            raise storage_error("a state could not be read", error) from None
        sizes = statefile.parse_start(data[:START], len(data))
        body = data[START + sizes.head :]
        if crc32(body) != sizes.body_crc:
            raise DamagedError("its state is damaged")
        return statefile.unpack_state(body)

    def marks(self) -> Marks:
        """Which positions are left out, as it was last said.

        It stands in a file of its own and in every head, so that one damaged file hides nothing.
        """
        known = [saved.head.marks for saved in self.newest_first() if saved.head is not None]
        try:
            known.append(statefile.parse_marks(self._storage.read_file(self.path / _MARKS)))
        except FileNotFoundError:
            pass
        except DamagedError as error:
            _log.warning("%s: %s; what the saved states say counts", self.path / _MARKS, error)
        except OSError as error:
            raise storage_error("what is left out could not be read", error) from None
        return max(known, key=_number, default=Marks())

    def _names(self) -> list[str]:
        try:
            return self._storage.names(self.path)
        except OSError as error:
            raise storage_error("the saved states could not be listed", error) from None

    def _head(self, path: Path) -> Head:
        try:
            with self._storage.reading(path) as fd:
                size = self._storage.size(fd)
                sizes = statefile.parse_start(self._storage.read_at(fd, 0, START), size)
                packed = self._storage.read_at(fd, START, sizes.head)
        except OSError as error:
            problem = storage_error("it could not be read", error)
            if error.errno in TRANSIENT:
                # It says nothing of the file.
                raise problem from None
            _log.warning("%s: %s", path, problem)
            raise DamagedError(str(problem)) from None
        return statefile.parse_head(packed, sizes.head_crc)

    # -- changing -------------------------------------------------------------------------

    def save(self, head: Head, kind: str, body: bytes) -> Saved:
        """Save a packed state durably under a name after all others; raises `StorageError`."""
        known = map(statefile.parse_name, self._names())
        time = max([head.time, *(each[0] + 1 for each in known if each is not None)])
        path = self.path / statefile.file_name(time, kind)
        self._put(path, statefile.pack(head, body))
        return Saved(str(path), kind, time, head)

    def save_marks(self, marks: Marks) -> None:
        """Say which positions are left out, durably; raises `StorageError`."""
        self._put(self.path / _MARKS, statefile.pack_marks(marks))

    def prune(self, keep: int, safety_age: int) -> list[Saved]:
        """Remove what is not kept; return it, the oldest first. Raises `StorageError`.

        Kept are the newest ``keep`` periodic ones, those of kind safety that are not more than
        ``safety_age`` (microseconds) older than the newest of all; so the newest good one always
        is. One that is broken counts for none of those kept, and goes with those as old as itself.
        """
        found = self.found()
        good = [saved for saved in found if saved.ok]
        if not good:
            return []
        kept, gone = 0, []
        for saved in found:
            if saved.kind == PERIODIC:
                is_old = kept >= keep
                kept += saved.ok
            else:
                is_old = good[0].time - saved.time > safety_age
            if is_old:
                gone.append(saved)
        try:
            for saved in reversed(gone):
                self._storage.unlink(Path(saved.path))
        except OSError as error:
            raise storage_error("an old state could not be removed", error) from None
        return gone[::-1]

    def _put(self, path: Path, data: bytes) -> None:
        try:
            self._storage.replace(path, data, self.path / _TEMPORARY)
        except OSError as error:
            raise storage_error("the state could not be saved", error) from None


def _number(marks: Marks) -> int:
    return marks.number

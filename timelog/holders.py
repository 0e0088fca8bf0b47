"""Which snapshots of a log there are, wherever: ``state/snapshots``, a JSON array.

A snapshot is entered before it is made, so that whoever deletes an event is told of each one that
still has its text. What is gone is dropped when the file is written anew.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable
from pathlib import Path
from urllib.parse import quote_from_bytes, unquote_to_bytes

import msgspec

from timelog import names
from timelog.errors import DamagedError
from timelog.names import Layout
from timelog.storage import Storage

_log = logging.getLogger("timelog")


class Holder(msgspec.Struct, frozen=True):
    """A snapshot: where it is, and where it is while it is made (else empty).

    The paths are absolute; bytes beside ASCII are in percent notation, as in the URL of a file.
    """

    path: str
    making: str
    position: int
    time: int
    kind: str


def holder(path: Path, making: Path | None, position: int, time: int, kind: str) -> Holder:
    """The entry of a snapshot."""
    return Holder(_quoted(path), _quoted(making) if making else "", position, time, kind)


def read_holders(layout: Layout, storage: Storage) -> tuple[Holder, ...]:
    """What is entered, be it still there or not. Raises `DamagedError` and ``OSError``."""
    try:
        return msgspec.json.decode(storage.read_file(layout.snapshots), type=tuple[Holder, ...])
    except FileNotFoundError:
        return ()
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise DamagedError(
            f"{layout.snapshots} is damaged ({error}); remove it, and list the snapshots"
        ) from None


def enter(layout: Layout, storage: Storage, new: Iterable[Holder]) -> None:
    """Enter snapshots, durably, each in the place of what was entered while it is made.

    The store lock must be held. Where the file is damaged it is begun anew. Raises ``OSError``.
    """
    try:
        before = read_holders(layout, storage)
    except DamagedError as error:
        _log.warning("the list of snapshots is begun anew: %s", error)
        before = ()
    known: dict[str, Holder] = {}
    for each in (*before, *new):
        if each.making and not _is_there(storage, each.making):
            each = msgspec.structs.replace(each, making="")
        if each.making or _is_there(storage, each.path):
            known[each.making or each.path] = each
    after = tuple(known.values())
    if after != before:
        data = msgspec.json.encode(after) + b"\n"
        storage.replace(layout.snapshots, data, layout.temporary / names.SNAPSHOTS)


def unknown(layout: Layout, storage: Storage, paths: Iterable[Path]) -> list[Path]:
    """Those of the paths that are not entered. Raises ``OSError``."""
    try:
        known = {each.path for each in read_holders(layout, storage)}
    except DamagedError:
        known = set()
    return [path for path in paths if _quoted(path) not in known]


def holding(layout: Layout, storage: Storage, position: int) -> tuple[str, ...]:
    """The paths of the known snapshots that may have the event of a position and are there.

    That is those that were taken after it, unless it had expired or was erased before, and those
    that are just being made. Raises `DamagedError` and ``OSError``. Cost: a look at each.
    """
    return tuple(
        os.fsdecode(unquote_to_bytes(each.path))
        for each in read_holders(layout, storage)
        if (each.making and _is_there(storage, each.making))
        or (each.position > position and _is_there(storage, each.path))
    )


def _is_there(storage: Storage, quoted: str) -> bool:
    try:
        return storage.is_directory(Path(os.fsdecode(unquote_to_bytes(quoted))))
    except OSError as error:
        # Nobody may look: then it has to be taken for there.
        _log.warning("a snapshot cannot be looked at: %s", error)
        return True


def _quoted(path: Path) -> str:
    return quote_from_bytes(os.fsencode(path))

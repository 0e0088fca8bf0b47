"""The filled stores that reading contests share: one of each kind, made when first asked for."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.contest import FLOOR, OURS
from benchmarks.floors import DecodeFloor, ReadFloor
from benchmarks.ours import Timelog
from benchmarks.rivals import Ripgrep, Row, Sqlite, Theia

READ = FLOOR + "reading the bytes"
DECODE = FLOOR + "decoding the lines"
SQLITE, THEIA, RG1, RG = "sqlite3", "theia", "rg -j1", "rg"


class Shelf:
    """Stores below `folder`, each holding `rows`. `shelf[name]` makes a store once."""

    def __init__(self, folder: Path, rows: list[Row]) -> None:
        self.folder = folder
        self.rows = rows
        self._counts: dict[str, int] = {}
        self._stores: dict[str, Any] = {}
        self._makers: dict[str, Callable[[Path], Any]] = {
            OURS: self._timelog,
            SQLITE: self._sqlite,
            THEIA: self._theia,
            READ: lambda _: ReadFloor(self[OURS].log.path),
            DECODE: lambda _: DecodeFloor(self[READ]),
            RG1: lambda _: Ripgrep(self[OURS].log.path, "-j1"),
            RG: lambda _: Ripgrep(self[OURS].log.path),
        }

    def __getitem__(self, name: str) -> Any:
        if name not in self._stores:
            self._stores[name] = self._makers[name](self.place(name))
        return self._stores[name]

    def place(self, name: str) -> Path:
        """The folder of the store `name`."""
        folder = self.folder / name.replace(" ", "-").replace(":", "")
        folder.mkdir(exist_ok=True)
        return folder

    def matching(self, name: str, test: Callable[[Row], bool]) -> int:
        """How many rows pass `test`; counted once under `name`."""
        if name not in self._counts:
            self._counts[name] = sum(map(test, self.rows))
        return self._counts[name]

    def close(self) -> None:
        """Close all stores and remove what they hold."""
        for store in self._stores.values():
            store.close()
        shutil.rmtree(self.folder)

    def _timelog(self, folder: Path) -> Timelog:
        log = Timelog(folder)
        log.append_many(log.prepare(self.rows))
        log.close()
        return Timelog(folder, mode="r")

    def _sqlite(self, folder: Path) -> Sqlite:
        store = Sqlite(folder, tag_table=True)
        store.append_many(store.prepare(self.rows))
        return store

    def _theia(self, folder: Path) -> Theia:
        store = Theia(folder, live=False)
        store.fill(self.rows)
        store.close()
        return Theia(folder, live=False)

"""`Repaired`: what a repair found and did, and `Findings`, in which it is collected."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import msgspec

from timelog.damage import Damage

# So many places are named, and the others counted: a foreign file may be bad line by line.
MOST_NAMED = 1_000


class Repaired(msgspec.Struct, frozen=True):
    """What `timelog.repair` found and did, or would do. ``str()`` of it is what the command prints.

    ``log``: the log's id afterwards. ``events`` and ``bytes``: what it has then. ``notes``: what
    was done, in sentences. ``quarantined``: bytes that went to ``.timelog/quarantine``, ``unnamed``
    how many more places there were. ``adopted``: how many events were taken from them. ``damage``:
    what is still wrong.
    """

    dry_run: bool
    log: str
    events: int
    bytes: int
    notes: tuple[str, ...]
    quarantined: tuple[Damage, ...]
    unnamed: int
    adopted: int
    damage: tuple[Damage, ...]

    @property
    def found(self) -> bool:
        """Whether there was anything to repair."""
        return bool(self.notes or self.quarantined or self.adopted)

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong any more; after a dry run, whether nothing is."""
        return not self.damage and not (self.dry_run and self.found)

    @property
    def exit_code(self) -> int:
        """0 nothing is wrong any more, 1 something is."""
        return 0 if self.ok else 1

    def __str__(self) -> str:
        what = "to be repaired" if self.dry_run else "repaired"
        verdict = what if self.found else "nothing to repair"
        state = "damaged" if self.damage else "ok" if self.ok else "not ok"
        lines = [f"{state}: {verdict}; {self.events:,} events, {self.bytes:,} bytes"]
        if self.dry_run and self.found:
            lines.append("nothing was changed; what would be done:")
        lines += (f"repaired    {note}" for note in self.notes)
        if self.adopted:
            lines.append(f"adopted     {self.adopted:,} events that no commit named")
        lines += (f"quarantined {place}" for place in self.quarantined)
        if self.unnamed:
            lines.append(f"quarantined {self.unnamed:,} more places")
        lines += (f"damaged     {damage}" for damage in self.damage)
        return "\n".join(lines)


class Findings:
    """What a repair has found so far.

    ``progress`` is called with how many bytes were looked at, and how many there are.
    """

    def __init__(self, progress: Callable[[int, int], None] | None) -> None:
        self.notes: list[str] = []
        self.quarantined: list[Damage] = []
        self.unnamed = 0
        self.adopted = 0
        # To be looked at, in bytes.
        self.total = 0
        self._done = 0
        self._progress = progress

    def quarantine(self, places: Iterable[Damage]) -> None:
        """Note places whose bytes go to quarantine; neighbours of one kind become one."""
        for place in places:
            last = self.quarantined[-1] if self.quarantined else None
            if (
                last is not None
                and (last.file, last.reason) == (place.file, place.reason)
                and last.offset + last.length == place.offset
            ):
                self.quarantined[-1] = last._replace(length=last.length + place.length)
            elif len(self.quarantined) < MOST_NAMED:
                self.quarantined.append(place)
            else:
                self.unnamed += 1

    def advance(self, done: int) -> None:
        """Note that so many more bytes were looked at."""
        self._done += done
        if self._progress is not None:
            self._progress(self._done, max(self.total, self._done))

"""`Following`: the entries of a log in order of arrival, now and as they come.

Made by `EventLog.follow`. It goes by positions, so late events come when they arrive, and whatever
compaction, expiry or another process does to the files meanwhile, each position is passed once: as
its event, in a `Gap`, or not at all where the event was deleted or is not asked for.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from functools import partial
from types import TracebackType
from typing import NamedTuple

from timelog.arrivals import Arrivals, Entry, Gap, Item
from timelog.entry import pack_cursor
from timelog.errors import CursorError, InvalidInput
from timelog.filter import EVERYTHING, Filter
from timelog.store import Store

# Seconds between two looks whether to stop.
_PATIENCE = 0.1
_NAMED = "follow:"


class Place(NamedTuple):
    """Where a follower of the log ``log`` is: before ``position``.

    ``witness``: position and id of an event it has passed, to tell a log that lost it and gave its
    position to another; None for none.
    """

    log: str
    position: int
    witness: tuple[int, str] | None = None

    def __str__(self) -> str:
        parts = [self.log, str(self.position)]
        if self.witness is not None:
            parts += [str(self.witness[0]), self.witness[1]]
        return ":".join(parts)


def parse_place(text: str) -> Place:
    """The place that ``str`` of one says; raises `CursorError`."""
    log, _, rest = text.partition(":")
    position, *witness = rest.split(":", 2)
    if log and _is_number(position):
        if not witness:
            return Place(log, int(position))
        if len(witness) == 2 and _is_number(witness[0]):
            return Place(log, int(position), (int(witness[0]), witness[1]))
    raise CursorError(f"{text!r} is not a cursor of a log; use what a follow gave as its cursor")


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= 16


def follow(
    store: Store,
    filter: Filter,
    after: int | str | None,
    *,
    name: str | None,
    stop: threading.Event | None,
    wait: bool,
    owner: object,
) -> Following:
    """Begin to follow as `EventLog.follow` says; ``owner`` lives as long as that does."""
    store.refresh()
    index = store.index
    saved = None if name is None else store.cursor(_NAMED + name)
    if saved is not None:
        after = saved if isinstance(saved, str) else ""
    place = Place(store.id, index.position)
    if isinstance(after, str):
        place = parse_place(after)
        _check(store, place)
    elif after is not None:
        if type(after) is not int or after < 0:
            raise InvalidInput(f"after must be a position, a cursor or None, not {after!r}")
        place = Place(store.id, after)
        _check(store, place)
    return Following(store, filter, place, name=name, stop=stop, wait=wait, owner=owner)


def _check(store: Store, place: Place) -> None:
    """Raise `CursorError` where this log is not the one in which ``place`` was."""
    if place.log != store.id:
        raise CursorError(
            f"the cursor is of another log ({place.log}); this one is {store.id}, begin anew with "
            "after=0 or after=None"
        )
    if place.position > store.index.position:
        raise CursorError(
            f"position {place.position} is ahead of the log, which ends at {store.index.position}"
        )
    if place.witness is None:
        return
    position, id = place.witness
    read = Arrivals(store.layout, store.storage, store.index, EVERYTHING, store.keeping).read
    for item in read(position, position + 1).items:
        if isinstance(item, Entry) and item.event.id != id:
            raise CursorError(
                f"position {position} holds another event than when the cursor was made: the log "
                "lost its end since; begin anew at a position that is right"
            )


class Following:
    """An iterator of `Entry` and `Gap`, for ``for`` and for ``async for``; one thread at a time.

    Ends when `close` was called, when ``stop`` is set, when the log is closed and all that it held
    then has been passed on, and without waiting at the end of the log as it was when the following
    began. An error does not end it: the next step tries again, from the same place.

    Memory is bounded: at most 100,000 events and about 16 MiB of their text are read at once. Cost:
    where the log is in order of arrival, that of reading it once.
    """

    def __init__(
        self,
        store: Store,
        filter: Filter,
        place: Place,
        *,
        name: str | None,
        stop: threading.Event | None,
        wait: bool,
        owner: object,
    ) -> None:
        self._store = store
        self._arrivals = Arrivals(store.layout, store.storage, store.index, filter, store.keeping)
        self._owner = owner
        self._name = name
        self._stop = stop
        self._until = None if wait else store.index.position
        self._next = place.position
        self._place = place
        # What was passed on behind that place last.
        self._last: Item | None = None
        self._items: deque[Item] = deque()
        # A gap that may go on in the next window.
        self._gap: Gap | None = None
        self._is_over = False
        self._was_closed = False

    @property
    def cursor(self) -> str:
        """The place behind what was passed on last, for ``after``."""
        return str(self._reached())

    @property
    def position(self) -> int:
        """The position of the next event that was not passed on, or passed over, yet."""
        return self._reached().position

    @property
    def is_behind(self) -> bool:
        """Whether there is more at once. False is a good time to save, or to write out."""
        end = self._store.index.position if self._until is None else self._until
        return bool(self._items) or self._next < end

    def save(self) -> None:
        """Store the place in the log, durably, under the name that `EventLog.follow` was given.

        What was passed on by then does not come again to who follows by that name. Raises
        `InvalidInput` without a name, and as `EventLog.sync`.
        """
        if self._name is None:
            raise InvalidInput("only a follow with a name can be saved; pass name=")
        # A log that is only read says so.
        self._store.buffer.put_many((), pack_cursor((_NAMED + self._name, self.cursor)), 0, True)
        self._store.flusher.sync()

    def close(self) -> None:
        """End it; any thread may. May be repeated."""
        self._is_over = True
        self._store.news.leave(self)

    def __enter__(self) -> Following:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def __iter__(self) -> Following:
        return self

    def __next__(self) -> Item:
        while not self._is_ended():
            if self._items:
                self._last = item = self._items.popleft()
                return item
            news = self._store.news
            version = news.version
            if not self._fill():
                if self._has_all():
                    break
                news.wait(self, version, _PATIENCE)
        self.close()
        raise StopIteration

    def __aiter__(self) -> Following:
        return self

    async def __anext__(self) -> Item:
        while not self._is_ended():
            if self._items:
                self._last = item = self._items.popleft()
                return item
            news = self._store.news
            version = news.version
            # Reading must not hold up the loop.
            if not await asyncio.to_thread(self._fill):
                if self._has_all():
                    break
                woken = asyncio.Event()
                wake = partial(_set, asyncio.get_running_loop(), woken)
                with news.calling(self, version, wake):
                    try:
                        await asyncio.wait_for(woken.wait(), _PATIENCE)
                    except TimeoutError:
                        pass
        self.close()
        raise StopAsyncIteration

    # -- inside ---------------------------------------------------------------------------

    def _is_ended(self) -> bool:
        return self._is_over or (self._stop is not None and self._stop.is_set())

    def _has_all(self) -> bool:
        """Whether nothing will come; asked where nothing is there."""
        if self._until is not None or self._was_closed:
            return True
        # What closing it stored is still to come.
        self._was_closed = self._store.is_closed
        return False

    def _reached(self) -> Place:
        """The place behind what was passed on last."""
        last = self._last
        if last is None:
            return self._place
        if isinstance(last, Gap):
            return self._place._replace(position=last.last + 1)
        return Place(self._place.log, last.position + 1, (last.position, last.event.id))

    def _fill(self) -> bool:
        """Read until there is something to pass on; False where there is nothing by now."""
        while not self._items:
            self._place, self._last = self._reached(), None
            is_end = not self._read()
            if not self._items:
                # What is behind the last item, and not asked for, is passed, too.
                reached = self._next if self._gap is None else self._gap.first
                self._place = self._place._replace(position=reached)
            if is_end:
                return False
        return True

    def _read(self) -> bool:
        """Read the next window; whether there was any."""
        index = self._store.index
        # Also where more is known already: an interrupt may have left the index half changed.
        self._store.refresh()
        end = index.position if self._until is None else self._until
        if self._next >= end:
            if self._gap is None:
                return False
            self._items.append(self._gap)
            self._gap = None
            return True
        items, self._next = self._arrivals.read(self._next, end)
        if self._gap is not None:
            items, self._gap = _joined(self._gap, items), None
        last = items[-1] if items else None
        if isinstance(last, Gap) and last.last + 1 == self._next:
            self._gap = last
            items.pop()
        self._items.extend(items)
        return True


def _set(loop: asyncio.AbstractEventLoop, event: asyncio.Event) -> None:
    """Set an event of a loop, from any thread."""
    try:
        loop.call_soon_threadsafe(event.set)
    except RuntimeError:
        # The loop was closed, so nobody waits there.
        pass


def _joined(gap: Gap, items: list[Item]) -> list[Item]:
    """What comes after a gap, with it."""
    first = items[0] if items else None
    if isinstance(first, Gap) and (gap.last + 1, gap.reason) == (first.first, first.reason):
        return [Gap(gap.first, first.last, gap.reason), *items[1:]]
    return [gap, *items]

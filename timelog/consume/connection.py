"""`Connection`: one worker's end of the line; what it sent, and what it has yet to read."""

from __future__ import annotations

import socket
from collections.abc import Iterator

from timelog.consume import peer
from timelog.consume.protocol import LONGEST
from timelog.consume.workqueue import Job

_CHUNK = 4096


class Connection:
    """A worker that is connected. Belongs to the dispatcher's one thread.

    ``worker``: the name of its process; ``job``: what it was handed out and has not said to be
    done; ``errors``: how many of its lines in a row were wrong. ``is_finished``: it sends nothing
    more; ``is_gone``: it does not read any more either; ``is_dropped``: it is to go when it has
    read why. ``stuck_since``: since when, by the clock that never goes back, it has not read what
    it was told.
    """

    def __init__(self, other: socket.socket, worker: str) -> None:
        other.setblocking(False)
        self.socket = other
        self.worker = worker
        self.job: Job | None = None
        self.errors = 0
        self.is_finished = False
        self.is_gone = False
        self.is_dropped = False
        self.stuck_since: float | None = None
        self._incoming = b""
        self._outgoing = b""

    @property
    def has_output(self) -> bool:
        """Whether something was not sent yet."""
        return bool(self._outgoing)

    @property
    def is_too_long(self) -> bool:
        """Whether the line that comes next has more bytes than a line can have."""
        return len(self._incoming.partition(b"\n")[0]) > LONGEST

    def receive(self) -> None:
        """Read some of what was sent."""
        try:
            data = self.socket.recv(_CHUNK)
        except BlockingIOError:
            return
        except OSError:
            self.is_gone = True
            return
        self._incoming += data
        self.is_finished = not data
        self.is_gone = peer.has_hung_up(self.socket)

    def lines(self) -> Iterator[bytes]:
        """Take whole lines, without their newlines, as long as every answer was sent."""
        while b"\n" in self._incoming and not (
            self._outgoing or self.is_dropped or self.is_too_long
        ):
            line, _, self._incoming = self._incoming.partition(b"\n")
            yield line

    def send(self, data: bytes = b"") -> None:
        """Send ``data`` behind what waits, as much as goes."""
        self._outgoing += data
        if not self._outgoing:
            return
        try:
            sent = self.socket.send(self._outgoing)
        except BlockingIOError:
            return
        except OSError:
            self.is_gone = True
            sent = len(self._outgoing)
        self._outgoing = self._outgoing[sent:]

"""`Server`: one thread that serves all workers, and gives back what those had that vanished.

What a connection was handed out belongs to it: when it closes, the key is offered again. Where a
worker has said that it sends nothing more (a shell that asks with one connection a line), the key
is not bound to the connection any more: whoever says DONE ends it, or the time.

Whoever was at work when the dispatcher itself ended goes on: the queue knows the worker's process,
which may connect again and say DONE. When that process is gone, or says READY, its key is offered
again.
"""

from __future__ import annotations

import selectors
import socket
import time
from collections.abc import Callable

from timelog.consume import peer
from timelog.consume.connection import Connection
from timelog.consume.listener import Listener
from timelog.consume.protocol import LONGEST, NOJOBS, error_line, job_line, parse_request
from timelog.consume.workqueue import Queue
from timelog.errors import InvalidInput

MOST_CONNECTIONS = 1000
MOST_ERRORS = 20
# Seconds for which a worker may leave an answer unread.
PATIENCE = 60.0
# Seconds between two looks for processes that are gone, and between two attempts to accept where
# this process had no descriptor left.
_PAUSE = 1.0


class Server:
    """Serves the workers at ``listener`` from ``queue``. `run` belongs to one thread.

    ``intake`` is called in that thread after each `wake`.
    ``monotonic``: seconds of a clock that never goes back.
    """

    def __init__(
        self,
        listener: Listener,
        queue: Queue,
        intake: Callable[[], None],
        *,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._listener = listener
        self._queue = queue
        self._intake = intake
        self._monotonic = monotonic
        self._connections: set[Connection] = set()
        self._bound: dict[str, Connection] = {}
        self._orphans = {hold.key: hold for hold in queue.holds() if hold.worker}
        self._looked = monotonic() - _PAUSE
        self._deaf_until: float | None = None
        self._is_stopped = False
        self._selector = selectors.DefaultSelector()
        self._ear, self._mouth = socket.socketpair()
        for each in (self._ear, self._mouth):
            each.setblocking(False)
        self._selector.register(self._ear, selectors.EVENT_READ)
        self._selector.register(listener.socket, selectors.EVENT_READ)

    def wake(self) -> None:
        """Let `run` call ``intake``; any thread may, and a signal handler."""
        try:
            self._mouth.send(b"\0")
        except BlockingIOError:
            # It has been told often enough.
            pass

    def stop(self) -> None:
        """Let `run` return; any thread may, and a signal handler. For good."""
        self._is_stopped = True
        self.wake()

    def run(self) -> None:
        """Serve until `stop`. What ``intake`` and the queue raise ends it."""
        while not self._is_stopped:
            for key, events in self._selector.select(self._timeout()):
                if key.fileobj is self._ear:
                    self._ear.recv(4096)
                    self._intake()
                elif key.fileobj is self._listener.socket:
                    self._accept()
                elif key.data in self._connections:
                    self._serve(key.data, events)
            self._look_at_clock()

    def close(self) -> None:
        """Close all connections; what they were handed out stays theirs."""
        for each in self._connections:
            each.socket.close()
        self._connections.clear()
        self._selector.close()
        self._ear.close()
        self._mouth.close()

    # -- connections ----------------------------------------------------------------------

    def _timeout(self) -> float | None:
        """Seconds until `_look_at_clock` has something to do."""
        times = [
            each.stuck_since + PATIENCE
            for each in self._connections
            if each.stuck_since is not None
        ]
        if self._deaf_until is not None:
            times.append(self._deaf_until)
        return max(min(times) - self._monotonic(), 0.0) if times else None

    def _look_at_clock(self) -> None:
        now = self._monotonic()
        for each in list(self._connections):
            if each.stuck_since is not None and now - each.stuck_since >= PATIENCE:
                self._lose(each)
        if self._deaf_until is not None and now >= self._deaf_until:
            self._deaf_until = None
            self._selector.register(self._listener.socket, selectors.EVENT_READ)

    def _accept(self) -> None:
        try:
            other, _ = self._listener.socket.accept()
        except (BlockingIOError, ConnectionError):
            return  # it has gone again
        except OSError:
            self._selector.unregister(self._listener.socket)
            self._deaf_until = self._monotonic() + _PAUSE
            return
        pid, uid = peer.credentials(other)
        connection = Connection(other, peer.name_process(pid))
        if not peer.may_connect(uid):
            refusal = f"user {uid} may not connect here"
        elif len(self._connections) >= MOST_CONNECTIONS:
            refusal = f"there are {MOST_CONNECTIONS} connections already; try again later"
        else:
            self._connections.add(connection)
            self._selector.register(other, selectors.EVENT_READ, connection)
            return
        connection.send(error_line(refusal))
        other.close()

    def _serve(self, worker: Connection, events: int) -> None:
        if events & selectors.EVENT_WRITE:
            worker.send()
        else:
            worker.receive()
        self._answer(worker)
        if worker.is_gone or (worker.is_dropped and not worker.has_output):
            self._lose(worker)
        elif worker.has_output:
            worker.stuck_since = worker.stuck_since or self._monotonic()
            self._selector.modify(worker.socket, selectors.EVENT_WRITE, worker)
        elif worker.is_finished:
            self._part(worker)
        else:
            worker.stuck_since = None
            self._selector.modify(worker.socket, selectors.EVENT_READ, worker)

    def _lose(self, worker: Connection) -> None:
        """The worker has vanished: what it had is offered again."""
        if worker.job is not None:
            self._queue.give_back(worker.job.key, worker.job.turn)
        self._forget(worker)

    def _part(self, worker: Connection) -> None:
        """The worker needs this connection no more, and may well be at work."""
        if worker.job is not None:
            self._queue.unbind(worker.job.key, worker.job.turn)
        self._forget(worker)

    def _forget(self, worker: Connection) -> None:
        self._release(worker)
        self._connections.discard(worker)
        self._selector.unregister(worker.socket)
        worker.socket.close()

    # -- requests -------------------------------------------------------------------------

    def _answer(self, worker: Connection) -> None:
        for line in worker.lines():
            try:
                answer = self._reply(worker, line)
                worker.errors = 0
            except InvalidInput as error:
                answer = error_line(str(error))
                worker.errors += 1
                worker.is_dropped = worker.errors >= MOST_ERRORS
            worker.send(answer)
        if worker.is_too_long and not worker.is_dropped and not worker.has_output:
            worker.is_dropped = True
            worker.send(error_line(f"a line has at most {LONGEST} bytes"))

    def _reply(self, worker: Connection, line: bytes) -> bytes:
        request = parse_request(line)
        self._look_for_orphans()
        if request.key is not None:
            self._finish(worker, request.key, request.exit_code)
        else:
            self._take_from(worker)
        if worker.job is not None and not self._has_expired(worker):
            key = worker.job.key
            raise InvalidInput(f"you have {key}; say DONE {key} <exit code> first")
        if worker.is_gone:
            return b""
        job = self._queue.next("" if worker.is_finished else worker.worker)
        if job is None:
            return NOJOBS
        self._bound.pop(job.key, None)
        if not worker.is_finished:
            worker.job = job
            self._bound[job.key] = worker
        return job_line(job.key, job.payload)

    def _finish(self, worker: Connection, key: str, exit_code: int) -> None:
        turn = None
        if worker.job is not None and worker.job.key == key:
            turn = worker.job.turn
            self._release(worker)
        elif key not in self._bound:
            hold = self._queue.hold(key)
            if hold is not None and hold.worker in ("", worker.worker):
                turn = hold.turn
                self._orphans.pop(key, None)
        if turn is None or not self._queue.done(key, turn, exit_code):
            raise InvalidInput(f"you do not have {key}; say READY")

    def _take_from(self, worker: Connection) -> None:
        """Offer again what a process had at the start of this, as it says that it has nothing.

        It may never have heard of it. Not where it has other connections, one of which may know.
        """
        for hold in list(self._orphans.values()):
            if hold.worker == worker.worker and not any(
                each.worker == worker.worker and each is not worker for each in self._connections
            ):
                self._queue.give_back(hold.key, hold.turn)
                del self._orphans[hold.key]

    def _has_expired(self, worker: Connection) -> bool:
        """Whether what a worker had is free again, or another's; then it is not its own."""
        assert worker.job is not None
        hold = self._queue.hold(worker.job.key)
        if hold is not None and hold.turn == worker.job.turn:
            return False
        self._release(worker)
        return True

    def _release(self, worker: Connection) -> None:
        if worker.job is not None and self._bound.get(worker.job.key) is worker:
            del self._bound[worker.job.key]
        worker.job = None

    def _look_for_orphans(self) -> None:
        """Offer again what processes had that were at work when this began, and are gone."""
        now = self._monotonic()
        if not self._orphans or now - self._looked < _PAUSE:
            return
        self._looked = now
        for hold in list(self._orphans.values()):
            if not peer.is_alive(hold.worker):
                self._queue.give_back(hold.key, hold.turn)
                del self._orphans[hold.key]

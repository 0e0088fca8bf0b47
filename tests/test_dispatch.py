"""Handing events to workers: the protocol, workers that misbehave or die, the socket."""

from __future__ import annotations

import errno
import os
import signal
import socket
import stat
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from random import Random

import pytest

import timelog
from timelog import errors
from timelog.cli import main
from timelog.consume import Dispatcher, Queue, Task, feed_of, peer, server
from timelog.consume.intake import Intake
from timelog.consume.listener import Listener
from timelog.consume.server import Server
from timelog.ingest import Watcher

ROOT = Path(__file__).parents[1]
SEED = 20_261_125


class Worker:
    """A worker that says one line at a time."""

    def __init__(self, path: Path) -> None:
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.socket.settimeout(60)
        self.socket.connect(str(path))
        self.file = self.socket.makefile("rb")

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def hear(self) -> str:
        """The next answer; empty where the connection was closed."""
        try:
            return self.file.readline().decode().rstrip("\n")
        except ConnectionResetError:  # closed before all was read that was sent
            return ""

    def say(self, line: str) -> str:
        self.send(line.encode() + b"\n")
        return self.hear()

    def ready(self) -> str:
        """Ask until there is a job: events come by another thread."""
        while (answer := self.say("READY")) == "NOJOBS":
            pass
        return answer

    def close(self) -> None:
        self.file.close()
        self.socket.close()


class Desk:
    """A server of a queue without a log, in a thread, with a clock that a test sets."""

    def __init__(self, folder: Path, *lines: str) -> None:
        self.path = folder / "socket"
        self.now = 0.0
        self.wall = 1e9
        self.queue = Queue(folder / "queue", clock=lambda: self.wall)
        self.queue.add(
            Task("feed", 0, *line.split(" ", 1), number) for number, line in enumerate(lines)
        )
        self.workers: list[Worker] = []
        self.start()

    def start(self) -> None:
        self.listen()
        self.thread.start()

    def listen(self) -> None:
        """As `start`, but nobody is served before the thread is started."""
        self.listener = Listener(self.path)
        self.server = Server(self.listener, self.queue, lambda: None, monotonic=lambda: self.now)
        self.thread = threading.Thread(target=self.server.run)

    def worker(self) -> Worker:
        self.workers.append(Worker(self.path))
        return self.workers[-1]

    def stop(self) -> None:
        self.server.stop()
        self.thread.join(60)
        self.server.close()
        self.listener.close()

    def close(self) -> None:
        self.stop()
        for worker in self.workers:
            worker.close()
        self.queue.close()


MakeDesk = Callable[..., Desk]


@pytest.fixture
def desk(ram: Path) -> Iterator[MakeDesk]:
    made: list[Desk] = []

    def make(*lines: str) -> Desk:
        made.append(Desk(ram, *lines))
        return made[-1]

    yield make
    for each in made:
        each.close()


# -- what is said -----------------------------------------------------------------------------


def test_q6_ready_done_job_and_nojobs(desk: MakeDesk) -> None:
    one = desk("k rest of line", "l other", "bare ")
    worker = one.worker()
    heard = [worker.say("READY")]
    while heard[-1] != "NOJOBS":
        heard.append(worker.say(f"DONE {heard[-1].split()[1]} 5"))
    assert sorted(heard) == ["JOB bare", "JOB k rest of line", "JOB l other", "NOJOBS"]
    assert one.queue.history("k").exit_code == 5
    assert worker.say("READY") == "NOJOBS"


@pytest.mark.parametrize(
    "line", ["DONE", "DONE k", "DONE k ", "DONE k zero", "DONE k 0 0", "DONE  0", "DONE k 1.5"]
)
def test_q6_done_without_a_good_code_is_an_error_and_no_crash(desk: MakeDesk, line: str) -> None:
    """It broke the handler."""
    worker = desk("k payload").worker()
    assert worker.ready() == "JOB k payload"
    assert worker.say(line).startswith("ERROR DONE needs a key and an exit code")
    assert worker.say("DONE k -9") == "NOJOBS"


@pytest.mark.parametrize(
    "line", [b"", b"ready", b"READY now", b"GET / HTTP/1.1", b"\0\0", b"\xff\xfe", b"JOB k"]
)
def test_garbage_is_answered_with_an_error(desk: MakeDesk, line: bytes) -> None:
    worker = desk("k payload").worker()
    worker.send(line + b"\n")
    assert worker.hear().startswith("ERROR ")
    assert worker.say("READY") == "JOB k payload"


def test_a_worker_that_only_sends_garbage_is_dropped_and_others_served(desk: MakeDesk) -> None:
    one = desk("k payload")
    bad, good = one.worker(), one.worker()
    assert bad.say("READY") == "JOB k payload"
    bad.send(b"garbage\n" * server.MOST_ERRORS)
    assert [bad.hear()[:5] for _ in range(server.MOST_ERRORS)] == ["ERROR"] * server.MOST_ERRORS
    assert bad.hear() == ""
    assert good.say("READY") == "JOB k payload"


def test_a_line_without_an_end_is_told_so_and_dropped(desk: MakeDesk) -> None:
    one = desk("k payload")
    bad, good = one.worker(), one.worker()
    bad.send(b"x" * 20_000)
    assert bad.hear() == "ERROR a line has at most 8192 bytes"
    assert bad.hear() == ""
    assert good.say("READY") == "JOB k payload"


def test_lines_may_come_in_pieces_and_several_at_once(desk: MakeDesk) -> None:
    worker = desk("k payload").worker()
    for piece in (b"REA", b"D", b"Y\nDONE k 0\nREADY\r\n"):
        worker.send(piece)
    assert [worker.hear() for _ in range(3)] == ["JOB k payload", "NOJOBS", "NOJOBS"]


def test_done_for_a_key_that_is_not_held_is_told_so(desk: MakeDesk) -> None:
    one = desk("k payload")
    holder, other = one.worker(), one.worker()
    assert other.say("DONE k 0") == "ERROR you do not have k; say READY"
    assert holder.say("READY") == "JOB k payload"
    assert other.say("DONE k 0") == "ERROR you do not have k; say READY"
    assert other.say("DONE unknown 0") == "ERROR you do not have unknown; say READY"
    assert [hold.key for hold in one.queue.holds()] == ["k"]
    assert holder.say("DONE k 0") == "NOJOBS"
    assert holder.say("DONE k 0") == "ERROR you do not have k; say READY"


def test_who_has_a_key_gets_no_other(desk: MakeDesk) -> None:
    one = desk("k payload", "l payload")
    worker = one.worker()
    key = worker.say("READY").split()[1]
    assert worker.say("READY") == f"ERROR you have {key}; say DONE {key} <exit code> first"
    assert len(one.queue.holds()) == 1
    assert worker.say(f"DONE {key} 0").startswith("JOB ")


# -- workers that vanish ----------------------------------------------------------------------


def test_q5_what_a_worker_had_that_vanished_is_offered_again(desk: MakeDesk) -> None:
    one = desk("k payload")
    first, second = one.worker(), one.worker()
    assert first.say("READY") == "JOB k payload"
    first.close()
    assert second.ready() == "JOB k payload"


def test_done_counts_of_a_worker_that_leaves_at_once(desk: MakeDesk) -> None:
    one = desk("k payload", "l payload")
    first, second = one.worker(), one.worker()
    key = first.say("READY").split()[1]
    first.send(f"DONE {key} 4\n".encode())
    first.close()
    other = second.ready().split()[1]
    assert second.say(f"DONE {other} 0") == "NOJOBS"
    assert one.queue.history(key).exit_code == 4


def test_who_says_done_and_leaves_is_handed_out_nothing(desk: MakeDesk) -> None:
    one = desk("k payload", "l payload")
    one.stop()
    job = one.queue.next()
    assert job
    one.listen()
    leaving = one.worker()
    leaving.send(f"DONE {job.key} 4\n".encode())
    leaving.close()
    one.thread.start()
    other = one.worker().say("READY").split()[1]
    hold = one.queue.hold(other)
    assert hold and hold.turn == 2
    assert one.queue.history(job.key).exit_code == 4


def test_q5_a_worker_that_was_silent_for_twelve_hours_has_lost_its_key(desk: MakeDesk) -> None:
    one = desk("k payload")
    first, second = one.worker(), one.worker()
    assert first.say("READY") == "JOB k payload"
    one.wall += 43_200
    assert second.say("READY") == "JOB k payload"
    assert first.say("DONE k 0") == "ERROR you do not have k; say READY"
    assert first.say("READY") == "NOJOBS"
    # Its end must not free what is another's now.
    first.close()
    third = one.worker()
    assert third.say("READY") == "NOJOBS"
    assert second.say("DONE k 0") == "NOJOBS"


def test_ready_after_twelve_hours_is_served(desk: MakeDesk) -> None:
    worker = (one := desk("k payload")).worker()
    assert worker.say("READY") == "JOB k payload"
    one.wall += 43_200
    assert one.queue.next() is not None
    assert worker.say("READY") == "NOJOBS"


def test_a_shell_may_use_a_connection_for_each_line(desk: MakeDesk) -> None:
    one = desk("k payload")

    def ask(line: bytes) -> str:
        worker = one.worker()
        worker.send(line)
        worker.socket.shutdown(socket.SHUT_WR)
        answer = worker.hear()
        assert worker.hear() == ""
        worker.close()
        return answer

    assert ask(b"READY\n") == "JOB k payload"
    # Whoever has it is at work, though no connection is open.
    assert ask(b"READY\n") == "NOJOBS"
    assert ask(b"DONE k 0\n") == "NOJOBS"
    assert one.queue.history("k").exit_code == 0
    one.queue.add([Task("feed", 0, "k", "more", 1)])
    assert ask(b"READY\n") == "JOB k more"
    one.wall += 43_200
    assert ask(b"READY\n") == "JOB k more"


def test_a_worker_that_does_not_read_is_dropped_and_others_served(desk: MakeDesk) -> None:
    one = desk("large " + "x" * 4_000_000)
    bad, good = one.worker(), one.worker()
    bad.send(b"READY\n")
    while not one.queue.holds():
        assert good.say("DONE nothing 0").startswith("ERROR")
    one.queue.add([Task("feed", 0, "small", "", 1)])
    assert good.say("READY") == "JOB small"
    one.now += server.PATIENCE
    one.server.wake()
    good.send(b"DONE small 0\n")
    answer = good.hear()
    while answer == "NOJOBS":
        answer = good.say("READY")
    assert answer.startswith("JOB large xxx")


def test_a_slow_reader_gets_all_of_a_large_job(desk: MakeDesk) -> None:
    payload = "y" * 4_000_000
    worker = desk(f"large {payload}").worker()
    worker.send(b"READY\nDONE large 0\n")
    assert worker.hear() == f"JOB large {payload}"
    assert worker.hear() == "NOJOBS"


# -- the dispatcher's own end -----------------------------------------------------------------


def test_who_is_at_work_when_the_dispatcher_ends_goes_on(desk: MakeDesk) -> None:
    one = desk("k payload")
    worker = one.worker()
    assert worker.say("READY") == "JOB k payload"
    one.stop()
    assert worker.hear() == ""
    one.start()
    # Nobody else gets it, as this process lives.
    assert one.queue.next() is None
    again = one.worker()
    assert again.say("DONE k 3") == "NOJOBS"
    assert one.queue.history("k").exit_code == 3


def test_a_job_that_was_lost_on_its_way_is_offered_again(desk: MakeDesk) -> None:
    one = desk("k payload")
    one.stop()
    # As if the dispatcher was killed before it could answer.
    assert one.queue.next(peer.name_process(os.getpid()))
    one.start()
    first, second = one.worker(), one.worker()
    # While it has two connections, one of them may know of it.
    assert first.say("READY") == "NOJOBS" == second.say("READY")
    second.close()
    assert first.ready() == "JOB k payload"


def test_what_a_process_had_that_is_gone_is_offered_at_the_next_start(desk: MakeDesk) -> None:
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    name = peer.name_process(child.pid)
    assert peer.is_alive(name)
    one = desk()
    one.stop()
    one.queue.add([Task("feed", 0, "k", "payload", 0)])
    assert one.queue.next(name)
    one.start()
    assert one.worker().say("READY") == "NOJOBS"
    child.kill()
    # A zombie is at work no more; neither is one that another process waited for.
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert not peer.is_alive(name)
    one.now += 1.0
    assert one.worker().say("READY") == "JOB k payload"
    child.communicate()


# -- the socket -------------------------------------------------------------------------------


def test_only_the_owner_may_connect(desk: MakeDesk, monkeypatch: pytest.MonkeyPatch) -> None:
    one = desk("k payload")
    status = one.path.stat()
    assert stat.S_IMODE(status.st_mode) == 0o600 and stat.S_ISSOCK(status.st_mode)
    monkeypatch.setattr(peer, "credentials", lambda _: (os.getpid(), 4242))
    assert one.worker().hear() == "ERROR user 4242 may not connect here"
    monkeypatch.undo()
    assert one.worker().say("READY") == "JOB k payload"


@pytest.mark.skipif(os.geteuid() != 0, reason="NOT RUN: only root can become another user")
def test_another_user_is_refused_whatever_the_mode_says(desk: MakeDesk) -> None:
    one = desk("k payload")
    one.path.parent.chmod(0o755)
    one.path.chmod(0o666)
    program = (
        "import os, socket, sys\n"
        "os.setuid(65534)\n"
        "line = socket.socket(socket.AF_UNIX)\n"
        "line.connect(sys.argv[1])\n"
        "print(line.makefile().read(), end='')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(one.path)], capture_output=True, text=True, timeout=60
    )
    assert done.stdout == "ERROR user 65534 may not connect here\n", done.stderr


def test_more_connections_than_can_be_served_are_told_so(
    desk: MakeDesk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "MOST_CONNECTIONS", 2)
    one = desk("k payload")
    first, second = one.worker(), one.worker()
    assert second.say("DONE x 0").startswith("ERROR you do not")
    assert one.worker().hear().startswith("ERROR there are 2 connections already")
    assert first.say("READY") == "JOB k payload"


def test_where_no_descriptor_is_left_others_are_served_and_it_tries_again(
    desk: MakeDesk, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = desk("k payload")
    first = one.worker()
    assert first.say("READY") == "JOB k payload"
    failed = threading.Event()

    def accept(self: socket.socket) -> tuple[socket.socket, object]:
        failed.set()
        raise OSError(errno.EMFILE, "too many")

    monkeypatch.setattr(socket.socket, "accept", accept)
    second = one.worker()
    assert failed.wait(60)
    monkeypatch.undo()
    assert first.say("DONE k 0") == "NOJOBS"
    one.now += 1.0
    one.server.wake()
    assert second.say("READY") == "NOJOBS"


def test_a_socket_that_a_killed_process_left_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "socket"
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(path))
    listener = Listener(path)
    Worker(path).close()
    listener.close()
    assert not path.exists()


def test_a_socket_at_which_somebody_listens_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "socket"
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(path))
        other.listen(0)
        for _ in range(3):  # the last of them with a backlog that is full
            with pytest.raises(errors.InUseError, match="another process listens"):
                Listener(path)
        assert path.exists()


@pytest.mark.parametrize("what", ["file", "directory", "link"])
def test_what_is_no_socket_is_left_alone(tmp_path: Path, what: str) -> None:
    path = tmp_path / "socket"
    if what == "file":
        path.write_text("mine")
    elif what == "directory":
        path.mkdir()
    else:
        path.symlink_to("elsewhere")
    with pytest.raises(errors.InvalidInput, match="no socket"):
        Listener(path)
    assert path.is_symlink() or path.exists()


def test_a_socket_that_was_replaced_is_not_removed(tmp_path: Path) -> None:
    listener = Listener(tmp_path / "socket")
    (tmp_path / "socket").unlink()
    other = Listener(tmp_path / "socket")
    listener.close()
    Worker(tmp_path / "socket").close()
    other.close()


def test_paths_that_cannot_be_are_told_so(tmp_path: Path) -> None:
    with pytest.raises(errors.InvalidInput, match="shorter"):
        Listener(tmp_path / ("x" * 120))
    with pytest.raises(errors.StorageError, match="cannot listen"):
        Listener(tmp_path / "none" / "socket")


# -- with a log -------------------------------------------------------------------------------


@contextmanager
def dispatching(log: timelog.EventLog, path: Path, **options: object) -> Iterator[Dispatcher]:
    """A dispatcher of a log, in a thread."""
    failure: list[BaseException] = []

    def run() -> None:
        try:
            dispatcher.run()
        except BaseException as error:
            failure.append(error)

    with Dispatcher(log, path, **options) as dispatcher:  # type: ignore[arg-type]
        thread = threading.Thread(target=run)
        thread.start()
        try:
            yield dispatcher
        finally:
            dispatcher.stop()
            thread.join(60)
    if failure:
        raise failure[0]


Open = Callable[..., timelog.EventLog]


def drained(path: Path, last: str) -> list[str]:
    """Do jobs until ``last`` was one of them; what they were."""
    worker = Worker(path)
    jobs = [worker.ready()]
    while not jobs[-1].startswith(f"JOB {last}"):
        answer = worker.say(f"DONE {jobs[-1].split()[1]} 0")
        jobs.append(worker.ready() if answer == "NOJOBS" else answer)
    worker.say(f"DONE {last} 0")
    worker.close()
    return [job.removeprefix("JOB ") for job in jobs]


def test_events_are_handed_out_once_also_by_a_dispatcher_that_comes_later(
    open_log: Open, tmp_path: Path
) -> None:
    log, path = open_log(flush_interval=0), tmp_path / "socket"
    log.append("a one", source="feed")
    with dispatching(log, path) as dispatcher:
        assert drained(path, "a") == ["a one"]
        log.append("b two", source="feed")
        assert drained(path, "b") == ["b two"]
        assert dispatcher.queue.history("a").exit_code == 0
    log.append("c three", source="feed")
    with dispatching(log, path):
        assert drained(path, "c") == ["c three"]
    assert not path.exists()
    assert (tmp_path / "log.dispatch").exists()


def test_only_what_is_asked_for_is_handed_out(open_log: Open, tmp_path: Path) -> None:
    log, path = open_log(flush_interval=0), tmp_path / "socket"
    log.append("old x", tags=["job"])
    with dispatching(log, path, tags=["job"], source="s", pattern="x", after=None):
        log.append("a x", source="s")
        log.append("b x", tags=["job"])
        log.append("c y", source="s", tags=["job"])
        log.append("d x", source="s", tags=["job"])
        assert drained(path, "d") == ["d x"]


def test_q7_malformed_events_are_reported_skipped_and_counted(
    open_log: Open, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    log, path = open_log(flush_interval=0), tmp_path / "socket"
    for content in ("", " no key", "a good", "two\nlines", "b " + "x" * 100 + "\n\n"):
        log.append(content)
    log.append("z end")
    with dispatching(log, path) as dispatcher:
        assert sorted(drained(path, "z"))[-1] == "z end"
        assert dispatcher.counts().skipped == 4
    assert len(caplog.messages) == 4
    assert "position 0 is skipped: it does not begin with a key: ''" in caplog.messages[0]
    seen: list[tuple[int, str]] = []
    with dispatching(
        log,
        path,
        state=tmp_path / "other",
        on_skip=lambda entry, why: seen.append((entry.position, why)),
    ):
        drained(path, "z")
    assert [position for position, _ in seen] == [0, 1, 3, 4]


def test_a_gap_is_told(open_log: Open, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    log, path = open_log(flush_interval=0), tmp_path / "socket"
    log.append("old x", timestamp="-9d")
    log.append("new x")
    log.expire("2 days")
    with dispatching(log, path):
        assert drained(path, "new") == ["new x"]
    assert caplog.messages == ["the events from position 0 to 0 cannot be handed out: expired"]


def test_q3_a_run_that_goes_takes_its_events_along(open_log: Open, tmp_path: Path) -> None:
    log, path = open_log(), tmp_path / "socket"
    log.append("a one", source="list.1.txt")
    log.append("b one", source="list.1.txt")
    log.append("b two", source="list.2.txt.part")
    with dispatching(log, path) as dispatcher:
        # Still in memory, and not followed yet.
        dispatcher.drop("list", 2)
        log.append("z end", source="list.3.txt")
        log.flush()
        # An older run may come after the newer one; both are there when the newest is.
        done = drained(path, "z")
        worker = Worker(path)
        while len(done) < 3:
            done.append(worker.ready().removeprefix("JOB "))
            worker.close()
            worker = Worker(path)
        worker.close()
        assert sorted(done) == ["a one", "b one", "z end"]
        dispatcher.complete("list", 3)
        assert [tuple(run) for run in dispatcher.queue.runs()] == [
            ("list", 1, False),
            ("list", 3, True),
        ]
        assert [run.run for run in dispatcher.retain([("list", 3)])] == [1]


def test_q1_to_q4_runs_come_from_files_are_completed_and_go_with_them(
    open_log: Open, tmp_path: Path
) -> None:
    log, lists, state = open_log(), tmp_path / "lists", tmp_path / "state"
    lists.mkdir()
    (lists / "up.1.txt").write_text("a old\nb old\n")
    (lists / "up.2.txt.part").write_text("b new\nc new\nd unfin")
    (lists / "other").write_text("not a list")

    def watch() -> None:
        with closing(Watcher(log, lists, glob="*.txt", timestamps="none", marks=True)) as watcher:
            watcher.read()
            watcher.read()
        log.flush()

    def waiting() -> tuple[dict[str, str], list[tuple[str, int, bool]]]:
        """What would be handed out, and which runs are known."""
        with Dispatcher(log, tmp_path / "socket", state=state) as dispatcher:
            for item in log.follow(dispatcher.queue.cursor or 0, wait=False):
                dispatcher._intake._pass_on(item, "")
            end = log.follow(None)
            taken = dispatcher._intake.take()
            if taken is not None:
                dispatcher.queue.add(taken.tasks, cursor=end.cursor, skipped=taken.skipped)
            jobs = list(iter(dispatcher.queue.next, None))
            for job in jobs:
                dispatcher.queue.give_back(job.key, job.turn)
            runs = [tuple(run) for run in dispatcher.queue.runs()]
            assert dispatcher.counts().skipped == 0
            return {job.key: job.payload for job in jobs}, runs  # type: ignore[return-value]

    watch()
    assert waiting() == (
        {"a": "old", "b": "new", "c": "new"},
        [("up", 1, True), ("up", 2, False)],
    )
    with (lists / "up.2.txt.part").open("a") as file:
        file.write("ished\n")
    (lists / "up.2.txt.part").rename(lists / "up.2.txt")
    watch()
    jobs, runs = waiting()
    assert jobs == {"a": "old", "b": "new", "c": "new", "d": "unfinished"}
    assert runs[-1] == ("up", 2, True)
    watch()
    assert waiting()[0] == jobs
    # While nobody watches.
    (lists / "up.2.txt").unlink()
    watch()
    assert waiting() == ({"a": "old", "b": "old"}, [runs[0]])
    (lists / "up.1.txt").unlink()
    watch()
    assert waiting() == ({}, [])


def test_two_dispatchers_with_one_state_are_refused(open_log: Open, tmp_path: Path) -> None:
    log = open_log()
    with Dispatcher(log, tmp_path / "one"):
        with pytest.raises(errors.InUseError, match="another process works with the queue"):
            Dispatcher(log, tmp_path / "two")
        assert not (tmp_path / "two").exists()
        with pytest.raises(errors.InUseError, match="listens"):
            Dispatcher(log, tmp_path / "one", state=tmp_path / "state")
        Dispatcher(log, tmp_path / "two", state=tmp_path / "state").close()


def test_a_state_may_be_below_a_link_and_not_inside_a_log(open_log: Open, tmp_path: Path) -> None:
    log = open_log()
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    Dispatcher(log, tmp_path / "link" / "s", state=tmp_path / "link" / "state").close()
    assert (tmp_path / "real" / "state").exists()
    with pytest.raises(errors.InvalidInput, match="inside the log"):
        Dispatcher(log, tmp_path / "s", state=log.path / "state")
    with pytest.raises(errors.InvalidInput, match="inside the log"):
        Dispatcher(log, log.path / "s")
    assert log.verify().ok


def test_a_socket_whose_directory_goes_is_closed(tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    listener = Listener(tmp_path / "d" / "socket")
    (tmp_path / "d" / "socket").unlink()
    (tmp_path / "d").rmdir()
    listener.close()
    listener.close()


def test_a_state_of_another_log_is_refused(open_log: Open, tmp_path: Path) -> None:
    log, other = open_log(flush_interval=0), open_log(tmp_path / "other", flush_interval=0)
    log.append("a one")
    with dispatching(log, tmp_path / "s", state=tmp_path / "state"):
        drained(tmp_path / "s", "a")
    with pytest.raises(errors.CursorError, match="another log"):
        Dispatcher(other, tmp_path / "s", state=tmp_path / "state")
    assert not (tmp_path / "s").exists()


def test_what_ends_the_reading_is_raised_after_what_was_read_before() -> None:
    event = timelog.Event(
        timestamp=datetime.now(UTC), id="i", source="feed", tags=(), content="k payload", fields={}
    )

    class Broken:
        cursor = "here"

        def __iter__(self) -> Iterator[timelog.Entry]:
            yield timelog.Entry(5, event)
            raise LookupError("broken")

        def close(self) -> None:
            pass

    woken = threading.Semaphore(0)
    intake = Intake(
        Broken(), feed_of, wake=woken.release, on_skip=lambda *_: None, on_gap=lambda _: None
    )
    with intake.running():
        intake._thread.join()
        while woken.acquire(blocking=False):
            pass
        assert intake.take() == ([Task("feed", 0, "k", "payload", 5)], 0, "here")
        assert woken.acquire(blocking=False)
        with pytest.raises(LookupError, match="broken"):
            intake.take()


def test_what_goes_wrong_ends_the_run(open_log: Open, tmp_path: Path) -> None:
    log = open_log(flush_interval=0)
    log.append("a one")

    def broken(source: str) -> tuple[str, int]:
        raise LookupError("no feed")

    with (
        Dispatcher(log, tmp_path / "s", feed_of=broken) as dispatcher,
        pytest.raises(LookupError, match="no feed"),
    ):
        dispatcher.run()
    with Dispatcher(log, tmp_path / "s") as dispatcher:
        closing = threading.Thread(target=log.close)
        closing.start()
        with pytest.raises(errors.ClosedError):
            dispatcher.run()
        closing.join()


# -- real processes ---------------------------------------------------------------------------


def command(path: Path, *words: str) -> list[str]:
    return [sys.executable, "-m", "timelog", "--dir", str(path), "dispatch", *words]


def test_the_command_serves_the_worker_of_the_tools(tmp_path: Path) -> None:
    with timelog.open(tmp_path / "log") as log:
        for number in range(5):
            log.append(f"key{number} rest {number}", source="feed")
        log.append("")
    child = subprocess.Popen(
        command(tmp_path / "log", "--socket", str(tmp_path / "s")),
        cwd=ROOT,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert child.stderr is not None
    assert child.stderr.readline() == f"timelog: workers can connect to {tmp_path}/s\n"
    assert child.stderr.readline().startswith("timelog: the event at position 5 is skipped")
    with Queue(tmp_path / "log.dispatch") as queue:
        while queue.counts().waiting < 5:
            pass
    script = f'echo "$1=$2" >> {tmp_path}/out; exit ${{#2}}'
    worker = [sys.executable, str(ROOT / "tools" / "worker.py"), str(tmp_path / "s")]
    subprocess.run([*worker, "--until-empty", "--", "sh", "-c", script, "sh"], check=True)
    child.send_signal(signal.SIGTERM)
    assert child.stderr.read() == (
        "timelog: 0 keys wait, 0 are handed out, 1 events were malformed\n"
    )
    assert child.wait(60) == 143
    child.stderr.close()
    done = sorted((tmp_path / "out").read_text().splitlines())
    assert done == [f"key{number}=rest {number}" for number in range(5)]
    with Queue(tmp_path / "log.dispatch") as queue:
        assert queue.history("key3").exit_code == 6


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ([], "--socket"),
        (["--socket", "s", "--grep", "("], "does not compile"),
        (["--socket", "x" * 200], "shorter"),
    ],
)
def test_the_command_says_what_is_wrong(
    tmp_path: Path,
    words: list[str],
    says: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    timelog.open("log").close()
    assert main(["--dir", "log", "dispatch", *words]) == 2
    assert says in capsys.readouterr().err


DYING = """
import os, random, signal, socket, sys, time
path, record, seed, number = sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4])
chance = random.Random(f"{seed} {number}")
lives = chance.randrange(2, 7) if number else 10**9
record = os.open(record, os.O_WRONLY | os.O_APPEND)
def note(what, key):
    os.write(record, f"{what} {key} {os.getpid()}\\n".encode())
message = "READY"
while True:
    line = socket.socket(socket.AF_UNIX)
    try:
        line.connect(path)
        file = line.makefile("rw", newline="\\n")
        while True:
            file.write(message + "\\n")
            file.flush()
            answer = file.readline()
            if not answer.endswith("\\n"):
                break
            word, _, rest = answer.rstrip("\\n").partition(" ")
            message = "READY"
            if word == "JOB":
                key = rest.split(" ")[0]
                note("begin", key)
                lives -= 1
                if not lives and chance.random() < 0.5:
                    note("die", key)
                    os.kill(os.getpid(), signal.SIGKILL)
                note("end", key)
                if not lives:
                    os.kill(os.getpid(), signal.SIGKILL)
                message = f"DONE {key} 0"
    except OSError:
        time.sleep(0.01)
"""


def test_of_workers_and_a_dispatcher_that_are_killed_no_key_is_lost_or_held_twice(
    tmp_path: Path,
) -> None:
    print("seed", SEED)
    keys = [f"key{number:03}" for number in range(120)]
    with timelog.open(tmp_path / "log") as log:
        for key in keys:
            log.append(f"{key} payload", source="feed")
    record = tmp_path / "record"
    record.touch()
    place = tmp_path / "s"
    random = Random(SEED)

    def dispatcher() -> subprocess.Popen[str]:
        words = command(tmp_path / "log", "--socket", str(place))
        child = subprocess.Popen(words, cwd=ROOT, stderr=subprocess.PIPE, text=True)
        assert child.stderr is not None
        assert "can connect" in child.stderr.readline()
        return child

    started = iter(range(1, 10**6))

    def worker(number: int) -> subprocess.Popen[bytes]:
        words = [sys.executable, "-I", "-S", "-c", DYING, str(place), str(record), str(SEED)]
        return subprocess.Popen([*words, str(number)])

    def noted() -> list[list[str]]:
        return [line.split() for line in record.read_text().splitlines()]

    serving = dispatcher()
    workers = [worker(next(started)) for _ in range(4)]
    kills = deaths = 0
    try:
        with Queue(tmp_path / "log.dispatch") as queue:

            def finished() -> int:
                with queue._data.read() as db:
                    found = db.execute("SELECT count(*) FROM keys WHERE finished IS NOT NULL")
                    count: int = found.fetchone()[0]
                    return count

            while finished() < len(keys):
                for number, each in enumerate(workers):
                    if each.poll() is not None:
                        deaths += 1
                        # The last ones live, so that it ends.
                        workers[number] = worker(next(started) if deaths < 25 else 0)
                if kills < 3 and finished() > random.randrange(10, 30) * (kills + 1):
                    serving.kill()
                    serving.communicate()
                    kills += 1
                    serving = dispatcher()
            assert {queue.history(key).exit_code for key in keys} == {0}
    finally:
        for child in (*workers, serving):
            child.kill()
            child.communicate()
    assert kills == 3 and deaths >= 10
    having: dict[str, str] = {}
    for what, key, pid in noted():
        if what == "begin":
            holder = having.get(key)
            assert holder is None, f"{key} is held by {holder} and given to {pid}"
            having[key] = pid
        else:
            assert having.pop(key) == pid
    assert not having
    assert {key for what, key, _ in noted() if what == "end"} == set(keys)

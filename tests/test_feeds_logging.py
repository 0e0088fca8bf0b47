"""`LogHandler`: what of a record is kept, and that nothing ever comes back to the application."""

from __future__ import annotations

import asyncio
import logging
import logging.config
import logging.handlers
import os
import queue
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import timelog
from tests.rig import CHANGES, FaultyStorage
from timelog.errors import BufferFull, InvalidInput, NotALogError
from timelog.feeds.logging import LogHandler
from timelog.feeds.outlet import SOURCE

Open = Callable[..., timelog.EventLog]


@pytest.fixture
def logger() -> Iterator[logging.Logger]:
    """A logger of its own, whose handlers are closed at the end."""
    logger = logging.getLogger("app.orders")
    logger.setLevel(logging.DEBUG)
    logger.propagate = False
    yield logger
    for handler in list(logger.handlers):
        logger.removeHandler(handler)
        handler.close()


def attach(logger: logging.Logger, log: object, **options: object) -> LogHandler:
    handler = LogHandler(log, **options)  # type: ignore[arg-type]
    logger.addHandler(handler)
    return handler


def open_small(path: Path) -> timelog.EventLog:
    """A log that has room for less than 200 events, and is flushed only when a test asks."""
    log = timelog.open(
        path, flush_interval=3600.0, max_buffer=65_536, max_content=9_000, max_fields=9_000
    )
    log._store.timer.stop()
    return log


def test_a_record_becomes_an_event(open_log: Open, logger: logging.Logger) -> None:
    log = open_log()
    attach(logger, log, tags=["prod"])
    logger.warning("order %d of %s", 7, "zoë", extra={"order": 7, "path": Path("/srv")})
    (event,) = log.search()
    assert event.content == "order 7 of zoë"
    assert (event.source, event.tags) == ("app.orders", ("warning", "prod"))
    assert event.fields == {"order": 7, "path": "/srv"}


def test_the_time_is_that_of_the_record(open_log: Open, logger: logging.Logger) -> None:
    log = open_log()
    handler = attach(logger, log)
    record = logger.makeRecord("app", logging.INFO, "f", 1, "late", (), None)
    record.created = 1_700_000_000.25
    handler.handle(record)
    logger.info("now")
    then, now = log.search()
    assert then.timestamp.timestamp() == 1_700_000_000.25
    assert now.fields == {}


def test_the_text_of_an_exception_and_of_the_stack_is_kept(
    open_log: Open, logger: logging.Logger
) -> None:
    log = open_log()
    attach(logger, log)
    try:
        raise KeyError("café")
    except KeyError:
        logger.exception("failed")
    logger.info("here", stack_info=True)
    failed, here = log.search()
    assert failed.content.startswith("failed\nTraceback (most recent call last):\n")
    assert failed.content.endswith("KeyError: 'café'")
    assert failed.tags == ("error",) and failed.fields == {}
    assert "\nStack (most recent call last):\n" in here.content


def test_a_formatter_decides_the_content(open_log: Open, logger: logging.Logger) -> None:
    log = open_log()
    attach(logger, log).setFormatter(logging.Formatter("%(levelname)s %(message)s %(asctime)s"))
    logger.error("x")
    (event,) = log.search()
    # What a formatter leaves in the record is nothing that the application said.
    assert event.content.startswith("ERROR x 2") and event.fields == {}


def test_filters_and_levels_count(open_log: Open, logger: logging.Logger) -> None:
    log = open_log()
    handler = attach(logger, log, level="WARNING")
    handler.addFilter(lambda record: "secret" not in record.getMessage())
    logger.info("below")
    logger.error("secret")
    logger.error("kept")
    assert [event.content for event in log.search()] == ["kept"]


def test_no_message_forges_an_event(open_log: Open, logger: logging.Logger, path: Path) -> None:
    log = open_log()
    attach(logger, log)
    forged = '\n{"timestamp":"2026-11-21T10:15:03.000000Z","id":"x","source":"","tags":[]'
    logger.info("user %s", forged + ',"content":"admin logged in"}\n')
    log.flush()
    (event,) = log.search()
    assert forged in event.content
    (segment,) = path.glob("2*/*.jsonl")
    assert segment.read_bytes().count(b"\n") == 1


def test_dict_config_with_a_path(path: Path, logger: logging.Logger) -> None:
    logging.config.dictConfig(
        {
            "version": 1,
            "disable_existing_loggers": False,
            "handlers": {
                "log": {
                    "class": "timelog.feeds.logging.LogHandler",
                    "log": str(path),
                    "level": "INFO",
                    "tags": ["prod"],
                    "flush_interval": 60,
                }
            },
            "loggers": {"app.orders": {"handlers": ["log"], "level": "DEBUG"}},
        }
    )
    logger.debug("no")
    logger.info("yes")
    (handler,) = logger.handlers
    logger.removeHandler(handler)
    handler.close()
    handler.close()
    with timelog.open(path, mode="r") as log:
        (event,) = log.search()
    assert (event.content, event.tags) == ("yes", ("info", "prod"))


LOG: timelog.EventLog


def test_dict_config_with_an_open_log(open_log: Open, logger: logging.Logger) -> None:
    global LOG
    LOG = open_log()
    kind = {"class": "timelog.feeds.logging.LogHandler", "log": f"ext://{__name__}.LOG"}
    logging.config.dictConfig(
        {
            "version": 1,
            "disable_existing_loggers": False,
            "handlers": {"log": kind},
            "loggers": {"app.orders": {"handlers": ["log"], "level": "DEBUG"}},
        }
    )
    logger.info("one")
    logger.handlers[0].close()
    assert not LOG.is_closed and LOG.health().waiting == 0
    LOG.append("two")
    assert [event.content for event in LOG.search()] == ["one", "two"]


def test_what_cannot_be_opened_says_so_at_once(tmp_path: Path, open_log: Open) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").touch()
    with pytest.raises(NotALogError):
        LogHandler(tmp_path / "full")
    with pytest.raises(InvalidInput, match="flush_interval"):
        LogHandler(open_log(), flush_interval=3)


# -- nothing raises -------------------------------------------------------------------------


def test_a_message_that_cannot_be_made_is_reported_and_counted(
    open_log: Open, logger: logging.Logger, capsys: pytest.CaptureFixture[str]
) -> None:
    log = open_log()
    handler = attach(logger, log)
    handler.handle(logger.makeRecord("app", logging.INFO, "f", 1, "%d", ("no number",), None))
    err = capsys.readouterr().err
    assert err.startswith("--- Logging error ---") and "no number" in err
    assert (handler.failed, handler.dropped) == (1, 0)
    assert log.search().count() == 0


def test_a_closed_log_is_reported_and_counted(
    open_log: Open, logger: logging.Logger, capsys: pytest.CaptureFixture[str]
) -> None:
    log = open_log()
    handler = attach(logger, log)
    log.close()
    logger.info("too late")
    handler.flush()
    assert "ClosedError" in capsys.readouterr().err
    assert handler.failed == 1


@pytest.mark.parametrize(
    "message",
    ["\udc80 lone", "x" * 3_000_000, "€" * 500_000],
    ids=["lone surrogate", "too long", "too many bytes"],
)
def test_a_text_that_does_not_fit_is_kept_as_far_as_it_does(
    open_log: Open, logger: logging.Logger, message: str
) -> None:
    log = open_log()
    handler = attach(logger, log)
    name = f"{logger.name}.{'x' * 400}"
    # Past the logger: pytest would keep the text, and could not send it to another process.
    handler.handle(logger.makeRecord(name, 20, "", 0, message, (), None, extra={"huge": message}))
    (event,) = log.search()
    assert len(event.source) == 256
    assert event.content[:6] in (r"\udc80", "xxxxxx", "€€€€€€")
    assert handler.failed == 0 and log.audit().ok
    # Nothing was refused on the way: the books would tell.
    assert log.audit().refused == {}


def test_a_full_buffer_drops_counts_and_tells(
    path: Path, logger: logging.Logger, capsys: pytest.CaptureFixture[str]
) -> None:
    log = open_small(path)
    handler = attach(logger, log)
    for number in range(400):
        logger.info("event %d", number)
    lost = handler.dropped
    assert 100 < lost < 400 and handler.failed == 0
    err = capsys.readouterr().err
    # Only the first of them is worth a report.
    assert err.count("--- Logging error ---") == 1 and "BufferFull" in err
    log.flush()
    logger.info("room again")
    contents = [event.content for event in log.search()]
    assert contents[: 400 - lost] == [f"event {number}" for number in range(400 - lost)]
    assert contents[400 - lost :] == [
        "room again",
        f"{lost} events were dropped here: the buffer was full",
    ]
    (mark,) = log.search(source=SOURCE)
    assert mark.fields == {"dropped": lost} and mark.tags == ("warning",)
    assert f"dropped={lost}" in repr(handler)
    logger.info("and on")
    assert log.search(source=SOURCE).count() == 1
    assert log.audit().refused == {"BufferFull": lost}
    log.close()


def test_what_was_dropped_is_told_of_at_the_end(
    path: Path, logger: logging.Logger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logging, "raiseExceptions", False)
    with open_small(path) as log:
        handler = attach(logger, log)
        for number in range(400):
            logger.info("event %d", number)
        # The mark finds no room itself, and what is in the buffer is flushed.
        handler.close()
        assert log.search(source=SOURCE).first() is None
        handler.close()
        assert log.search(source=SOURCE).first() is not None


def test_an_event_loop_is_never_held_up(
    path: Path, logger: logging.Logger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logging, "raiseExceptions", False)
    log = open_small(path)
    handler = attach(logger, log)
    calls: list[str] = []
    for name in CHANGES:
        monkeypatch.setattr(log._store.storage, name, lambda *_, name=name: calls.append(name))
    monkeypatch.setattr(log._store.buffer._room, "wait_for", lambda *_: calls.append("wait"))

    async def work() -> None:
        for number in range(400):
            logger.info("event %d", number, extra={"number": number})
            await asyncio.sleep(0)

    asyncio.run(work())
    assert handler.dropped > 100
    assert calls == []
    monkeypatch.undo()
    log.close()


def test_what_timelog_says_itself_is_no_event(
    open_log: Open, capsys: pytest.CaptureFixture[str]
) -> None:
    log = open_log()
    root = logging.getLogger()
    before, root.handlers[:] = list(root.handlers), [LogHandler(log)]
    try:
        logging.getLogger("timelog").warning("the disk is full")
        logging.getLogger("timelog.flush").warning("again")
        logging.getLogger("timelog").info("nothing of note")
        logging.getLogger("timelogs").warning("another program's")
        assert capsys.readouterr().err == "the disk is full\nagain\n"
        assert [event.content for event in log.search()] == ["another program's"]
        # Who has another handler gets it there, and only there.
        seen: queue.SimpleQueue[logging.LogRecord] = queue.SimpleQueue()
        root.addHandler(logging.handlers.QueueHandler(seen))  # type: ignore[arg-type]
        logging.getLogger("timelog").warning("the disk is full")
        assert seen.get_nowait().getMessage() == "the disk is full"
        assert capsys.readouterr().err == ""
    finally:
        root.handlers[:] = before


def test_a_handler_on_the_root_does_not_feed_on_its_own_trouble(path: Path) -> None:
    """A flush that fails logs a warning, which must not be one more event to flush."""
    storage = FaultyStorage()
    log = timelog.open(path, flush_interval=3600.0, storage=storage)
    root = logging.getLogger()
    handler = LogHandler(log)
    root.addHandler(handler)
    try:
        logging.getLogger("app").warning("one")
        storage.at, storage.sticky, storage.fault, storage.only = 1, True, "ENOSPC", "write"
        for _ in range(3):
            with pytest.raises(timelog.errors.StorageError):
                log.flush()
        assert log.health().waiting == 1
    finally:
        root.removeHandler(handler)
        storage.heal()
        log.close()
    assert handler.failed == 0


# -- threads, queues, forks -----------------------------------------------------------------


def test_many_threads_lose_nothing(open_log: Open, logger: logging.Logger) -> None:
    log = open_log()
    attach(logger, log)

    def say(who: int) -> None:
        for number in range(200):
            logger.info("%d %d", who, number, extra={"who": who} if number % 2 else None)

    threads = [threading.Thread(target=say, args=(who,)) for who in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = [event.content for event in log.search()]
    assert sorted(found) == sorted(f"{who} {n}" for who in range(8) for n in range(200))


def test_behind_a_queue(open_log: Open, logger: logging.Logger) -> None:
    log = open_log()
    waiting: queue.SimpleQueue[logging.LogRecord] = queue.SimpleQueue()
    logger.addHandler(logging.handlers.QueueHandler(waiting))  # type: ignore[arg-type]
    listener = logging.handlers.QueueListener(waiting, LogHandler(log))  # type: ignore[arg-type]
    logger.info("through a %s", "queue", extra={"n": 1})
    listener.start()
    listener.stop()
    (event,) = log.search()
    assert (event.content, event.fields) == ("through a queue", {"n": 1})


def test_a_forked_child_logs_on(path: Path, logger: logging.Logger) -> None:
    handler = attach(logger, path, flush_interval=3600.0)
    logger.info("parent")
    # As if another thread of the parent were in it at that moment.
    holder = threading.Thread(target=handler._outlet._lock.acquire)
    holder.start()
    holder.join()
    child = os.fork()
    if not child:
        code = 1
        try:
            logger.info("child")
            handler._outlet.note(BufferFull("as if"))
            handler.close()
            code = 0
        finally:
            os._exit(code)
    assert os.waitpid(child, 0)[1] == 0
    handler._outlet._lock = threading.RLock()
    handler.close()
    logger.removeHandler(handler)
    with timelog.open(path, mode="r") as log:
        contents = sorted(event.content for event in log.search())
    assert contents == ["1 events were dropped here: the buffer was full", "child", "parent"]


def test_several_processes_write_one_log(path: Path) -> None:
    program = (
        "import logging, sys; from timelog.feeds.logging import LogHandler;"
        "handlers = [LogHandler(sys.argv[1], flush_interval=0.01)];"
        "logging.basicConfig(format='%(message)s', level=20, handlers=handlers);"
        "[logging.info('%s %d', sys.argv[2], n) for n in range(300)]"
    )
    children = [
        subprocess.Popen([sys.executable, "-c", program, str(path), str(who)]) for who in range(3)
    ]
    assert [child.wait(60) for child in children] == [0, 0, 0]
    with timelog.open(path, mode="r") as log:
        found = [event.content for event in log.search()]
    assert sorted(found) == sorted(f"{who} {n}" for who in range(3) for n in range(300))
    for who in range(3):
        own = [each for each in found if each.startswith(f"{who} ")]
        assert own == [f"{who} {n}" for n in range(300)]


def test_at_exit_everything_is_on_the_disk(path: Path) -> None:
    program = (
        "import logging, sys; from timelog.feeds.logging import LogHandler;"
        "handlers = [LogHandler(sys.argv[1], flush_interval=3600)];"
        "logging.basicConfig(format='%(message)s', handlers=handlers);"
        "logging.error('the last words')"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(path)], capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stderr) == (0, "")
    with timelog.open(path, mode="r") as log:
        assert [event.content for event in log.search()] == ["the last words"]

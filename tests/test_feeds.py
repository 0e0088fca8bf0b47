"""The feeds of other libraries, each with the library itself: nothing is lost, nothing raises."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import loguru
import pytest
import structlog
from opentelemetry._logs import LogRecord, SeverityNumber
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import (
    BatchLogRecordProcessor,
    LogRecordExportResult,
    SimpleLogRecordProcessor,
)
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider

import timelog
from timelog.feeds.loguru import Sink
from timelog.feeds.otel import LogExporter
from timelog.feeds.structlog import Processor
from timelog.feeds.uncaught import record_uncaught

Open = Callable[..., timelog.EventLog]
Configure = Callable[..., Any]


def full_log(path: Path) -> timelog.EventLog:
    """A log whose buffer is full, until a test flushes it."""
    log = timelog.open(
        path, flush_interval=3600.0, max_buffer=65_536, max_content=9_000, max_fields=9_000
    )
    log._store.timer.stop()
    with pytest.raises(timelog.errors.BufferFull):
        for number in range(400):
            log.append(f"event {number}", block=False)
    return log


# -- structlog --------------------------------------------------------------------------------


@pytest.fixture
def configure() -> Iterator[Configure]:
    """Configure structlog with these processors; return a logger."""

    def configure(*processors: Any, **initial: Any) -> Any:
        structlog.configure(
            processors=list(processors),
            logger_factory=structlog.ReturnLoggerFactory(),
            cache_logger_on_first_use=False,
        )
        return structlog.get_logger().bind(**initial)

    yield configure
    structlog.reset_defaults()


def test_structlog_at_the_end_of_the_chain(open_log: Open, configure: Configure) -> None:
    log = open_log()
    logger = configure(
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        Processor(log, tags=["prod"]),
        logger="shop",
    )
    assert logger.warning("order paid", order=7, where=Path("/srv")) is None
    (event,) = log.search()
    assert (event.content, event.source, event.tags) == (
        "order paid", "shop", ("warning", "prod")
    )  # fmt: skip
    assert event.fields == {"order": 7, "where": "/srv"}


def test_structlog_in_the_middle_of_the_chain(open_log: Open, configure: Configure) -> None:
    log = open_log()
    logger = configure(Processor(log, passes_on=True), structlog.processors.KeyValueRenderer())
    assert logger.info("x", n=1, level="DEBUG") == "n=1 level='DEBUG' event='x'"
    (event,) = log.search()
    assert (event.content, event.tags, event.fields) == ("x", ("debug",), {"n": 1})


def test_structlog_without_other_processors(open_log: Open, configure: Configure) -> None:
    log = open_log()
    logger = configure(Processor(log))
    logger.warn("a")
    try:
        raise KeyError("b")
    except KeyError:
        logger.exception("failed")
        logger.error("explicit", exc_info=True)
    logger.info("given", exc_info=ValueError("c"), stack="Stack:\n  here")
    warned, failed, explicit, given = log.search()
    assert warned.tags == ("warning",) and failed.tags == ("error",)
    assert failed.content.startswith("failed\nTraceback") and "KeyError: 'b'" in failed.content
    assert explicit.content.endswith("KeyError: 'b'")
    assert given.content == "given\nValueError: c\nStack:\n  here"
    assert all(event.fields == {} for event in (warned, failed, explicit, given))


@pytest.mark.parametrize(
    ("timestamp", "is_kept"),
    [("2026-07-01T10:00:00.5Z", False), (1_700_000_000.5, False), ("2026-07-01 10:00", True)],
)
def test_structlog_times(
    open_log: Open, configure: Configure, timestamp: Any, is_kept: bool
) -> None:
    log = open_log()
    configure(Processor(log)).info("x", timestamp=timestamp)
    (event,) = log.search()
    assert event.fields == ({"timestamp": timestamp} if is_kept else {})
    assert is_kept or event.timestamp.microsecond == 500_000


def test_structlog_never_raises(
    path: Path, configure: Configure, capsys: pytest.CaptureFixture[str]
) -> None:
    log = full_log(path)
    processor = Processor(log, passes_on=True)
    logger = configure(processor, structlog.processors.KeyValueRenderer())
    for _ in range(3):
        assert logger.info("x") == "event='x'"
    assert (processor.dropped, processor.failed) == (3, 0)
    assert capsys.readouterr().err.count("--- Logging error ---") == 1
    log.flush()
    log.close()
    assert logger.info("x") == "event='x'"
    assert processor.failed == 1 and "ClosedError" in capsys.readouterr().err


def test_structlog_opens_and_closes(path: Path, configure: Configure) -> None:
    processor = Processor(path, flush_interval=3600.0)
    configure(processor).info("x")
    processor.close()
    processor.close()
    assert processor.log.is_closed
    with timelog.open(path, mode="r") as log:
        assert log.search().count() == 1


def test_structlog_and_what_timelog_says(
    open_log: Open, configure: Configure, capsys: pytest.CaptureFixture[str]
) -> None:
    log = open_log()
    configure(Processor(log), logger="timelog.flush").warning("the disk is full")
    assert log.search().count() == 0
    assert capsys.readouterr().err == "the disk is full\n"


# -- loguru -----------------------------------------------------------------------------------


@pytest.fixture
def logger() -> Iterator[Any]:
    """loguru's logger without a sink."""
    loguru.logger.remove()
    yield loguru.logger
    loguru.logger.remove()


def test_loguru_messages(open_log: Open, logger: Any) -> None:
    log = open_log()
    logger.add(Sink(log, tags=["prod"]), format="<red>whatever</red> {message}")
    logger.bind(order=7).warning("order {} paid by {name}", 7, name="zoë")
    try:
        raise KeyError("x")
    except KeyError:
        logger.exception("failed")
    warned, failed = log.search()
    assert (warned.content, warned.source) == ("order 7 paid by zoë", __name__)
    assert warned.tags == ("warning", "prod")
    assert warned.fields == {"order": 7, "name": "zoë"}
    assert failed.content.startswith("failed\nTraceback")
    assert failed.content.endswith("KeyError: 'x'")


def test_loguru_opens_and_closes(path: Path, logger: Any) -> None:
    sink = Sink(path, flush_interval=3600.0)
    number = logger.add(sink, enqueue=True)
    for count in range(50):
        logger.info("event {}", count)
    logger.remove(number)
    assert sink.log.is_closed
    with timelog.open(path, mode="r") as log:
        assert [event.content for event in log.search()] == [f"event {n}" for n in range(50)]


def test_loguru_reports_what_is_lost(
    path: Path, logger: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    log = full_log(path)
    sink = Sink(log)
    number = logger.add(sink)
    for _ in range(3):
        logger.info("x")
    assert (sink.dropped, sink.failed) == (3, 0)
    assert capsys.readouterr().err.count("--- Logging error in Loguru Handler") == 1
    log.flush()
    logger.info("again")
    assert log.search(pattern="^3 events were dropped here").count() == 1
    logger.remove(number)
    assert not log.is_closed
    log.close()


def test_loguru_and_a_fork(path: Path) -> None:
    """The child of a process that logs is not stuck, and loses nothing."""
    program = """
import os, sys
from loguru import logger
from timelog.feeds.loguru import Sink
logger.remove()
logger.add(Sink(sys.argv[1], flush_interval=3600))
logger.info("parent")
child = os.fork()
if child:
    sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
logger.info("child")
logger.remove()
"""
    done = subprocess.run([sys.executable, "-c", program, str(path)], timeout=60, check=False)
    assert done.returncode == 0
    with timelog.open(path, mode="r") as log:
        assert sorted(event.content for event in log.search()) == ["child", "parent"]


# -- OpenTelemetry ----------------------------------------------------------------------------


def provider(exporter: LogExporter, batch: bool = False) -> LoggerProvider:
    made = LoggerProvider(Resource.create({"service.name": "shop", "host.name": "a"}))
    processor = BatchLogRecordProcessor if batch else SimpleLogRecordProcessor
    made.add_log_record_processor(processor(exporter))
    return made


def test_otel_records(open_log: Open) -> None:
    log = open_log()
    logs = provider(LogExporter(log, tags=["prod"]))
    logger = logs.get_logger("shop.orders")
    tracer = TracerProvider().get_tracer("t")
    with tracer.start_as_current_span("s") as span:
        logger.emit(
            LogRecord(
                timestamp=1_700_000_000_123_456_789,
                severity_number=SeverityNumber.WARN,
                severity_text="WARN",
                body="order paid",
                attributes={"order": 7, "names": ["a", "b"]},
                event_name="paid",
            )
        )
    logger.emit(LogRecord(body={"a": [1, None]}, severity_number=SeverityNumber.ERROR))
    first, second = log.search()
    assert (first.content, first.source, first.tags) == (
        "order paid", "shop.orders", ("warn", "prod")
    )  # fmt: skip
    assert first.timestamp.timestamp() == pytest.approx(1_700_000_000.123456, abs=1e-7)
    context = span.get_span_context()
    resource = first.fields["resource"]
    # Newer SDKs add an id of the process.
    assert resource.items() >= {"service.name": "shop", "host.name": "a"}.items()
    assert not any(key.startswith("telemetry.sdk") for key in resource)
    assert first.fields == {
        "order": 7,
        "names": ["a", "b"],
        "trace_id": f"{context.trace_id:032x}",
        "span_id": f"{context.span_id:016x}",
        "event_name": "paid",
        "resource": resource,
    }
    assert (second.content, second.tags) == ('{"a":[1,null]}', ("error", "prod"))
    assert second.fields == {"resource": resource}


def test_otel_and_what_timelog_says(open_log: Open, capsys: pytest.CaptureFixture[str]) -> None:
    log = open_log()
    logger = provider(LogExporter(log)).get_logger("timelog")
    logger.emit(LogRecord(body="the disk is full", severity_number=SeverityNumber.WARN))
    logger.emit(LogRecord(body="nothing of note", severity_number=SeverityNumber.INFO))
    logger.emit(LogRecord(body="unclear"))
    assert log.search().count() == 0
    assert capsys.readouterr().err == "the disk is full\nunclear\n"


def test_otel_flush_and_shutdown(path: Path) -> None:
    exporter = LogExporter(path, flush_interval=3600.0)
    logs = provider(exporter, batch=True)
    logger = logs.get_logger("x")
    for number in range(100):
        logger.emit(LogRecord(body=f"event {number}"))
    assert logs.force_flush()
    assert exporter.force_flush() and exporter.log.health().waiting == 0
    with timelog.open(path, mode="r") as log:
        assert log.search().count() == 100
    logs.shutdown()
    assert exporter.log.is_closed
    assert exporter.export([]) is LogRecordExportResult.SUCCESS
    assert not exporter.force_flush()


def test_otel_failures(path: Path) -> None:
    log = full_log(path)
    exporter = LogExporter(log)
    seen: list[LogRecordExportResult] = []
    export = exporter.export
    exporter.export = lambda batch: seen.append(export(batch)) or seen[-1]  # type: ignore
    logger = provider(exporter).get_logger("x")
    logger.emit(LogRecord(body="a"))
    assert exporter.force_flush()
    logger.emit(LogRecord(body="b"))
    log.close()
    logger.emit(LogRecord(body="c"))
    failure, success = LogRecordExportResult.FAILURE, LogRecordExportResult.SUCCESS
    assert seen == [failure, success, failure]
    assert (exporter.dropped, exporter.failed) == (1, 1)


# -- exceptions nobody caught -----------------------------------------------------------------


def raised(error: BaseException) -> BaseException:
    try:
        raise error
    except BaseException as caught:
        return caught


def test_an_uncaught_exception_is_synced_before_the_hook_of_before(
    open_log: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = open_log()
    seen: list[Any] = []
    monkeypatch.setattr(sys, "excepthook", lambda *args: seen.append((args, log.health().waiting)))
    error = raised(KeyError("x\udc80"))
    with record_uncaught(log, source="app"):
        sys.excepthook(KeyError, error, error.__traceback__)
        sys.excepthook(KeyboardInterrupt, KeyboardInterrupt(), None)
    sys.excepthook(KeyError, error, error.__traceback__)
    assert [args[0] for args, _ in seen] == [KeyError, KeyboardInterrupt, KeyError]
    assert seen[0] == ((KeyError, error, error.__traceback__), 0)
    (event,) = log.search()
    assert event.content.startswith("Traceback") and r"KeyError: 'x\udc80'" in event.content
    assert (event.source, event.tags) == ("app", ("critical", "uncaught"))
    assert event.fields == {"exception": "KeyError", "thread": "MainThread"}


def test_an_uncaught_exception_of_a_thread(open_log: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    log = open_log()
    seen: list[Any] = []
    monkeypatch.setattr(threading, "excepthook", seen.append)

    def fail() -> None:
        raise ValueError("in a thread")

    with record_uncaught(log) as uncaught:
        for target in (fail, sys.exit):
            thread = threading.Thread(target=target, name="worker")
            thread.start()
            thread.join()
    assert len(seen) == 2 and uncaught.failed == 0
    (event,) = log.search()
    assert event.fields == {"exception": "ValueError", "thread": "worker"}


def test_a_hook_installed_later_stays(open_log: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    log = open_log()
    seen: list[Any] = []
    monkeypatch.setattr(sys, "excepthook", lambda *args: seen.append(args[0]))
    uncaught = record_uncaught(log)
    below = sys.excepthook
    later: Any = lambda *args: below(*args)  # noqa: E731
    sys.excepthook = later
    uncaught.uninstall()
    uncaught.uninstall()
    assert sys.excepthook is later
    sys.excepthook(KeyError, KeyError(), None)
    assert seen == [KeyError] and log.search().count() == 0


def test_what_cannot_be_stored_still_reaches_the_hook_of_before(
    open_log: Open, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    log = open_log()
    seen: list[Any] = []
    monkeypatch.setattr(sys, "excepthook", lambda *args: seen.append(args[0]))
    with record_uncaught(log) as uncaught:
        log.close()
        sys.excepthook(KeyError, KeyError("x"), None)
    assert (seen, uncaught.failed) == ([KeyError], 1)
    assert "ClosedError" in capsys.readouterr().err


def test_a_real_process_that_dies_of_an_exception(path: Path) -> None:
    program = (
        "import sys, timelog; from timelog.feeds.uncaught import record_uncaught;"
        "record_uncaught(timelog.open(sys.argv[1], flush_interval=3600)); 1 / 0"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(path)], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 1 and "ZeroDivisionError" in done.stderr
    with timelog.open(path, mode="r") as log:
        (event,) = log.search()
    assert event.content.endswith("ZeroDivisionError: division by zero")


def test_feeds_say_which_extra_they_need(monkeypatch: pytest.MonkeyPatch) -> None:
    import importlib

    for name, library in (
        ("structlog", "structlog"),
        ("otel", "opentelemetry.sdk._logs"),
    ):
        module = f"timelog.feeds.{name}"
        monkeypatch.delitem(sys.modules, module)
        monkeypatch.setitem(sys.modules, library, None)
        with pytest.raises(timelog.errors.MissingExtra, match=rf"timelog\[{name}\]"):
            importlib.import_module(module)


# -- pytest -----------------------------------------------------------------------------------

SUITE = """
import logging, pytest
log = logging.getLogger("app")

@pytest.fixture
def broken_end():
    yield
    log.warning("tearing down")
    raise RuntimeError("end")

def test_passes():
    log.warning("of no interest")

def test_fails():
    log.warning("before %d", 1, extra={"n": 1})
    print("printed")
    assert 1 == 2

@pytest.mark.parametrize("x", ["a::b"])
def test_ends_badly(broken_end, x):
    log.error("inside")

@pytest.mark.xfail
def test_expected():
    assert False
"""


def run_pytest(folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    (folder / "test_suite.py").write_text(SUITE)
    (folder / "pytest.ini").write_text("[pytest]\n")
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "timelog.feeds.pytest", "-p", "no:cacheprovider",
         "test_suite.py", *options],
        cwd=folder, capture_output=True, text=True, timeout=100,
        env={**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
    )  # fmt: skip


def test_pytest_keeps_the_events_of_failing_tests(tmp_path: Path) -> None:
    done = run_pytest(tmp_path, "--timelog", "kept")
    assert "1 failed, 2 passed, 1 xfailed, 1 error" in done.stdout
    assert "the events of 2 failing tests are in" in done.stdout
    with timelog.open(tmp_path / "kept", mode="r") as log:
        events = log.search().to_list()
    fails, ends = "test_suite.py::test_fails", "test_suite.py::test_ends_badly[a::b]"
    of = {test: [e for e in events if e.fields["test"] == test] for test in (fails, ends)}
    assert len(events) == sum(map(len, of.values()))
    before, report, printed = of[fails]
    assert (before.content, before.source, before.tags) == ("before 1", "app", ("warning", "test"))
    assert before.fields == {"n": 1, "test": fails}
    assert "assert 1 == 2" in report.content and report.source == fails
    assert report.tags == ("failed", "test") and report.fields["part"] == "call"
    assert (printed.content, printed.fields["part"]) == ("printed\n", "captured stdout call")
    inside, tearing, report = of[ends]
    assert (inside.content, tearing.content) == ("inside", "tearing down")
    assert "RuntimeError: end" in report.content and report.fields["part"] == "teardown"


def test_pytest_without_the_option_does_nothing(tmp_path: Path) -> None:
    done = run_pytest(tmp_path)
    assert "1 failed, 2 passed, 1 xfailed, 1 error" in done.stdout
    assert "timelog" not in done.stdout
    assert sorted(each.name for each in tmp_path.iterdir() if each.name != "__pycache__") == [
        "pytest.ini", "test_suite.py"
    ]  # fmt: skip


def test_pytest_says_where_no_log_can_be(tmp_path: Path) -> None:
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept" / "other").touch()
    done = run_pytest(tmp_path, "--timelog", "kept")
    assert done.returncode == 4
    assert "--timelog kept: " in done.stderr


def test_the_plugin_is_registered() -> None:
    config = (Path(__file__).parents[1] / "setup.cfg").read_text()
    assert "pytest11 =\n    timelog = timelog.feeds.pytest\n" in config


def test_the_plugin_imports_nothing_of_timelog(tmp_path: Path) -> None:
    program = "import sys, timelog.feeds.pytest; print('timelog.feeds.logging' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout == "False\n"


def test_no_feed_is_imported_with_timelog() -> None:
    program = "import sys, timelog; print([m for m in sys.modules if 'timelog.feeds' in m])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout == "[]\n"
    assert logging.getLogger("timelog").handlers == []

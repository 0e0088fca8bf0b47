"""What all tests share: a profile for property tests, logs in temporary directories, real data."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

import timelog

# The same examples at every run; another seed with --hypothesis-seed.
settings.register_profile(
    "timelog",
    derandomize=True,
    deadline=None,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
settings.load_profile("timelog")

# Real logs that are not part of the project: the folder beside the checkout, or where this says.
_DATA = Path(
    os.environ.get("TIMELOG_TEST_DATA") or Path(__file__).parents[2] / "shared" / "data" / "loghub"
)


@pytest.fixture
def ram() -> Iterator[Path]:
    """A directory in memory where there is one: for tests of many thousand fsyncs."""
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as name:
        yield Path(name)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where a test makes its log."""
    return tmp_path / "log"


@pytest.fixture
def open_log(path: Path) -> Iterator[Callable[..., timelog.EventLog]]:
    """Open the log at ``path``; everything is closed at the end.

    The background flush is far away, so that a test decides itself what is in memory.
    """
    opened: list[timelog.EventLog] = []

    def open_one(at: Path | None = None, **options: object) -> timelog.EventLog:
        options = {"flush_interval": 3600.0, **options}
        log = timelog.open(at or path, **options)  # type: ignore[arg-type]
        opened.append(log)
        return log

    yield open_one
    for log in opened:
        log.close()


@pytest.fixture(scope="session")
def real_logs() -> list[Path]:
    """Real log files; skips where they are not there."""
    files = sorted(_DATA.glob("*.log"))
    if not files:
        pytest.skip(f"NOT RUN: no real logs at {_DATA}; name a folder with TIMELOG_TEST_DATA")
    return files

"""Directories that anybody may write to are told of: at opening, by health and by verify."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

import pytest

import timelog

Open = Callable[..., timelog.EventLog]
PARTITION = "1970-01-01"


@pytest.fixture
def made(path: Path) -> Path:
    with timelog.open(path) as log:
        log.append("x", timestamp=0)
    return path


def opened(path: Path, mode: str, caplog: pytest.LogCaptureFixture) -> list[str]:
    """What is logged while the log is opened, used and closed."""
    caplog.clear()
    with caplog.at_level(logging.WARNING, "timelog"), timelog.open(path, mode=mode) as log:
        log.search().count()
        if mode == "a":
            log.append("y", timestamp=0, sync=True)
        log.verify()
    return [record.getMessage() for record in caplog.records]


def test_a_private_log_is_not_exposed(made: Path, caplog: pytest.LogCaptureFixture) -> None:
    for mode in "ar":
        assert opened(made, mode, caplog) == []
    made.chmod(0o775)
    with timelog.open(made, mode="r") as log:
        assert log.verify().exposed == ()
        assert log.health().ok


@pytest.mark.parametrize("name", [".", ".timelog", ".timelog/journal", ".timelog/tmp"])
@pytest.mark.parametrize("mode", "ar")
def test_a_directory_that_anybody_may_write_to_is_told_of(
    made: Path, name: str, mode: str, caplog: pytest.LogCaptureFixture
) -> None:
    (made / name).chmod(0o777)
    (said,) = opened(made, mode, caplog)
    assert "anybody may write" in said and str(made) in said and name in said and "chmod" in said
    with timelog.open(made, mode=mode) as log:
        health = log.health()
        assert health.status == "warning" and health.reasons == (said,)
        checked = log.verify()
        assert checked.ok and checked.exposed == (name,)
        assert f"exposed     {name}: " in str(checked)


def test_the_directory_behind_a_link_to_the_log_counts(made: Path) -> None:
    link = made.with_name("link")
    link.symlink_to(made)
    with timelog.open(link) as log:
        assert log.health().ok
        made.chmod(0o777)
        assert not log.health().ok


def test_partitions_are_told_of_by_verify(made: Path) -> None:
    (made / PARTITION).chmod(0o707)
    with timelog.open(made) as log:
        assert log.health().ok
        assert log.verify().exposed == (PARTITION,)

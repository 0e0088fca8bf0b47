"""A plugin for pytest that keeps the events of failing tests in a log: ``pytest --timelog DIR``.

pytest loads it by itself wherever timelog is installed. Without the option it does nothing, and
imports no feed; what it does is in `keeper`.
"""

from __future__ import annotations

import pytest

_OPTION = "--timelog"


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add ``--timelog DIR``."""
    parser.getgroup("timelog", "the events of failing tests").addoption(
        _OPTION, metavar="DIR", help="keep the events of failing tests in the log in DIR"
    )


def pytest_configure(config: pytest.Config) -> None:
    """Open the log where one was named."""
    directory = config.getoption(_OPTION)
    if directory is None:
        return
    from timelog.errors import TimelogError
    from timelog.feeds.keeper import Keeper

    try:
        keeper = Keeper(directory)
    except TimelogError as error:
        raise pytest.UsageError(f"{_OPTION} {directory}: {error}") from None
    config.pluginmanager.register(keeper, "timelog-keeper")

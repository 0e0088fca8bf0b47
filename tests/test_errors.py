"""The tree of errors, and how an error of the operating system is put into words."""

from __future__ import annotations

import builtins
import configparser
import errno
import os
import re
from pathlib import Path

import pytest

import timelog
from timelog import errors
from timelog.errors import (
    TRANSIENT,
    DegradedError,
    MissingExtra,
    SearchTimeout,
    StorageError,
    in_words,
    missing_extra,
    storage_error,
)


def drawn_tree() -> dict[str, tuple[str, str | None]]:
    """Name → (parent, built-in base) as the module's docstring draws it."""
    tree: dict[str, tuple[str, str | None]] = {}
    above: dict[int, str] = {}
    for line in (errors.__doc__ or "").splitlines():
        match = re.match(r"^([ │├└─]*)([A-Z]\w+)(?: \((\w+)\))?", line)
        if match and match[2].endswith(("Error", "Full", "Timeout", "Found", "Extra")) | (
            "Invalid" in match[2]
        ):
            depth = len(match[1])
            above[depth] = match[2]
            parents = [at for at in above if at < depth]
            parent = above[max(parents)] if parents else "Exception"
            tree[match[2]] = (parent, match[3])
    return tree


def test_the_docstring_draws_every_error_at_its_place() -> None:
    tree = drawn_tree()
    assert sorted(tree) == sorted(errors.__all__)
    for name, (parent, base) in tree.items():
        kind = getattr(errors, name)
        assert kind.__bases__[0].__name__ == parent, name
        extra = [each.__name__ for each in kind.__bases__[1:]]
        assert extra == ([base] if base else []), name


@pytest.mark.parametrize("name", errors.__all__)
def test_every_error_can_be_caught_as_timelog_error_and_is_documented(name: str) -> None:
    kind = getattr(errors, name)
    assert issubclass(kind, timelog.TimelogError)
    assert kind.__doc__
    assert not hasattr(builtins, name)


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (errno.ENOSPC, "disk is full"),
        (errno.EDQUOT, "quota"),
        (errno.EROFS, "read-only"),
        (errno.EACCES, "permission"),
        (errno.EPERM, "permission"),
        (errno.EMFILE, "too many open files"),
        (errno.EIO, "input/output"),
        (errno.ELOOP, "symbolic link"),
    ],
)
def test_the_usual_errors_are_said_in_words(number: int, words: str) -> None:
    assert words in in_words(OSError(number, os.strerror(number)))


def test_words_name_the_file() -> None:
    assert "(/a/b)" in in_words(OSError(errno.ENOSPC, "No space left on device", "/a/b"))


def test_an_error_without_known_words_says_what_the_system_said() -> None:
    assert in_words(OSError(errno.ENOTEMPTY, "Directory not empty")) == "Directory not empty"
    assert in_words(OSError("only a text")) == "only a text"


def test_a_storage_error_keeps_the_number_and_says_what_was_done() -> None:
    error = storage_error("storing events", OSError(errno.ENOSPC, "No space left on device"))
    assert isinstance(error, StorageError)
    assert isinstance(error, OSError)
    assert error.errno == errno.ENOSPC
    assert "storing events: the disk is full" in str(error)


def test_degraded_is_a_storage_error() -> None:
    assert issubclass(DegradedError, StorageError)


def test_a_missing_extra_says_who_needs_it_and_how_it_is_installed() -> None:
    error = missing_extra("to_arrow", "arrow")
    assert isinstance(error, MissingExtra)
    assert isinstance(error, ImportError)
    assert "to_arrow" in str(error)
    assert "pip install 'timelog[arrow]'" in str(error)


def test_every_extra_that_an_error_names_exists() -> None:
    root = Path(__file__).parents[1]
    config = configparser.ConfigParser(interpolation=None)
    config.read(root / "setup.cfg")
    named = {
        extra
        for module in (root / "timelog").rglob("*.py")
        for extra in re.findall(r'missing_extra\(.*?"(\w+)"\)', module.read_text())
    }
    assert named
    assert named <= set(config["options.extras_require"])


def test_a_search_that_takes_too_long_is_a_timeout() -> None:
    assert issubclass(SearchTimeout, TimeoutError)
    assert not issubclass(SearchTimeout, StorageError)


def test_only_what_passes_by_itself_is_transient() -> None:
    assert {errno.ENOSPC, errno.EDQUOT, errno.EMFILE} <= TRANSIENT
    assert not {errno.EIO, errno.EROFS, errno.EACCES, errno.EPERM} & TRANSIENT

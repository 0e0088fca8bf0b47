"""`Results`: lazy, repeatable, closed properly, and honest about damage."""

from __future__ import annotations

import os
from collections.abc import Callable

import pytest

import timelog

Open = Callable[..., timelog.EventLog]
T = 1_700_000_000


@pytest.fixture
def log(open_log: Open) -> timelog.EventLog:
    log = open_log()
    for day in range(3):
        log.append_many(
            {"content": f"{day}-{n}", "timestamp": T + day * 86_400 + n} for n in range(5)
        )
        log.flush()
    return log


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


def test_nothing_is_read_before_it_is_asked_for(log: timelog.EventLog) -> None:
    for file in log.path.glob("[0-9]*/*"):
        file.unlink()
    results = log.search()
    assert results.damage == []
    assert results.to_list() == [] and len(results.damage) == 3


def test_an_abandoned_iteration_leaves_no_file_open(log: timelog.EventLog) -> None:
    before = descriptors()
    for _ in range(50):
        for event in log.search():
            assert event.content == "0-0"
            break
        log.search().first()
        log.search(limit=2).to_list()
    assert descriptors() == before


def test_a_limit_reads_only_as_far_as_it_must(log: timelog.EventLog) -> None:
    last = list(log.path.glob("2023-11-16/*"))
    for file in last:
        file.unlink()
    results = log.search(limit=3)
    assert [event.content for event in results] == ["0-0", "0-1", "0-2"]
    assert results.damage == []
    assert log.search(order="desc", limit=5).count() == 5


def test_damage_is_named_also_where_the_iteration_stops_early(log: timelog.EventLog) -> None:
    [first] = log.path.glob("2023-11-14/*")
    first.unlink()
    results = log.search()
    found = results.first()
    assert found is not None and found.content == "1-0"
    assert [damage.file.partition("/")[0] for damage in results.damage] == ["2023-11-14"]


def test_iterations_do_not_disturb_each_other(log: timelog.EventLog) -> None:
    results = log.search()
    one, two = iter(results), iter(results)
    pairs = [(next(one).content, next(two).content) for _ in range(15)]
    assert all(left == right for left, right in pairs)


def test_a_function_of_the_caller_may_use_the_log(log: timelog.EventLog) -> None:
    def where(event: timelog.Event) -> bool:
        if event.content == "1-0":
            log.append("appended meanwhile", timestamp=T, sync=True)
        return log.search(pattern=f"^{event.content}$").count() == 1

    assert log.search(where=where).count() == 15
    assert log.search().count() == 16


def test_an_error_of_the_caller_s_function_comes_through(log: timelog.EventLog) -> None:
    before = descriptors()
    with pytest.raises(ZeroDivisionError):
        log.search(where=lambda event: 1 // 0).to_list()
    assert descriptors() == before


def test_explain_accounts_for_every_block(log: timelog.EventLog) -> None:
    plan = log.search(T, T + 3, pattern="0-[12]").explain()
    assert (plan.days, plan.segments, plan.blocks, plan.matched) == (1, 1, 1, 2)
    plan = log.search(T + 86_400, None).explain()
    assert (plan.blocks, plan.blocks_by_count, plan.bytes_read, plan.matched) == (2, 2, 0, 10)
    assert "events that match" in str(plan)

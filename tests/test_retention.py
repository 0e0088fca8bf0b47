"""Retention: what a policy says, and what goes by it, against every event looked at by itself."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import timedelta
from typing import Any, NamedTuple

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from timelog.errors import DamagedError, InvalidInput
from timelog.horizons import Facts, Held, Horizons, Keeping
from timelog.retention import (
    Choice,
    DayFacts,
    Departure,
    Retention,
    advance,
    next_expiry,
    retention,
)
from timelog.timestamp import DAY, END, FIRST, HOUR, MINUTE, from_text

NOW = from_text("2026-11-21T20:47:31.500000Z")
TODAY = NOW - NOW % DAY

RULED = retention("30 days", tags={"audit": "3 years", "debug": "7 days"})


def day(
    number: int, *held: Held, size: int = 100, looked: list[int] | None = None, events: int = 1
) -> DayFacts:
    """The day that is so many days before today."""
    start = TODAY - number * DAY

    def holds() -> Iterable[Held]:
        if looked is not None:
            looked.append(number)
        return held

    return DayFacts(start, size, events, holds)


def plain(number: int, *tags: str, source: str = "") -> Facts:
    """A block in the middle of the day that is so many days before today."""
    noon = TODAY - number * DAY + 12 * HOUR
    return Facts(noon, noon + HOUR, tags, (source,))


def gone(choice: Choice) -> list[tuple[int, str]]:
    return [((TODAY - start) // DAY, why) for start, why in choice.days]


# -- the policy ---------------------------------------------------------------------------


def test_a_policy_is_made_of_what_people_write() -> None:
    assert retention(
        timedelta(days=30), "10 GB", 400, {"audit": "3 years"}, {"sshd": "1 week", "": "1d"}
    ) == Retention(
        age=30 * DAY,
        size=10 * 1024**3,
        partitions=400,
        rules={"tag:audit": 3 * 365 * DAY, "source:sshd": 7 * DAY, "source:": DAY},
    )
    assert retention() == Retention()
    assert retention("9999 years", "7 EiB", 2**62).age == 9999 * 365 * DAY


@pytest.mark.parametrize(
    "wrong",
    [
        {"age": 0},
        {"age": "0 days"},
        {"age": "-1 day"},
        {"age": 30},
        {"age": True},
        {"size": 0},
        {"size": True},
        {"size": "10 XB"},
        {"partitions": 0},
        {"partitions": -1},
        {"partitions": False},
        {"tags": {"audit": "0s"}},
        {"tags": {"audit": 3}},
        {"tags": {"": "3 years"}},
        {"tags": {"a\nb": "3 years"}},
        {"tags": {7: "3 years"}},
        {"tags": "audit"},
        {"tags": [("audit", "3 years")]},
        {"sources": {"s": True}},
        {"sources": {"s" * 257: "1 day"}},
        {"sources": {None: "1 day"}},
        {"sources": {"\ud800": "1 day"}},
    ],
)
def test_a_wrong_policy_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput):
        retention(**wrong)


def test_an_error_names_the_rule() -> None:
    with pytest.raises(InvalidInput, match="the age for tag:audit must be text such as '30 days'"):
        retention(tags={"audit": "ever"})


def test_a_policy_in_words() -> None:
    assert str(retention()) == "everything is kept"
    assert str(retention(partitions=1)) == "at most 1 partition"
    policy = retention("30 days", "10 GB", 400, {"audit": "3 years"}, {"sshd": "36h"})
    assert str(msgspec.structs.replace(policy, suspended=True)) == (
        "events are kept for 30 days, those tagged 'audit' for 3 years, those of source 'sshd' for "
        "1 day 12 hours, at most 10 GiB, at most 400 partitions; suspended"
    )


names = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=20)
policies = st.builds(
    Retention,
    age=st.none() | st.integers(1, 2**63 - 1),
    size=st.none() | st.integers(1, 2**63 - 1),
    partitions=st.none() | st.integers(1, 2**63 - 1),
    rules=st.dictionaries(names.map("tag:".__add__), st.integers(1, 2**63 - 1)),
    suspended=st.booleans(),
)


@given(policies)
def test_a_policy_is_read_as_it_was_written(policy: Retention) -> None:
    data = policy.to_json()
    assert Retention.from_json(data) == policy
    assert data.count(b"\n") == 1
    for key, at in policy.horizon(NOW).items():
        age = policy.rules.get(key, policy.age)
        assert age is not None
        assert at == max((NOW - age) // DAY * DAY, FIRST)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{",
        b"[]",
        b"\xff",
        b'{"age":0}',
        b'{"age":-5}',
        b'{"age":true}',
        b'{"age":"30 days"}',
        b'{"age":1.5}',
        b'{"size":0}',
        b'{"rules":{"tag:a":0}}',
        b'{"rules":{"tag:":5}}',
        b'{"rules":{"a":5}}',
        b'{"rules":{"":5}}',
        b'{"suspended":1}',
        b'{"later":1}',
    ],
)
def test_a_policy_that_cannot_be_relied_on_is_damaged(data: bytes) -> None:
    with pytest.raises(DamagedError, match="nothing expires until then"):
        Retention.from_json(data)


def test_every_cut_of_a_policy_is_damaged() -> None:
    data = RULED.to_json()
    for end in range(len(data) - 2):
        with pytest.raises(DamagedError):
            Retention.from_json(data[:end])


# -- by age -------------------------------------------------------------------------------


def test_a_day_goes_when_its_end_is_too_old_not_its_beginning() -> None:
    policy = retention("30 days")
    days = [day(number) for number in (32, 31, 30, 29, 0)]
    assert gone(advance((), policy, NOW, days, 0)) == [(32, "age"), (31, "age")]
    assert gone(advance((), policy, TODAY - 1, days, 0)) == [(32, "age")]
    assert gone(advance((), policy, TODAY, days, 0)) == [(32, "age"), (31, "age")]


def test_with_nothing_to_do_nothing_changes() -> None:
    days = [day(number) for number in (400, 3)]
    assert advance((), Retention(), NOW, days, 0) == Choice((), ())
    assert advance((), RULED, NOW, (), 0).days == ()


def test_while_suspended_nothing_goes() -> None:
    policy = msgspec.structs.replace(retention("1 day", 1, 1), suspended=True)
    days = [day(number) for number in (400, 3)]
    present: Horizons = ({"": TODAY - 9 * DAY},)
    assert advance(present, policy, NOW, days, 0) == Choice(present, ())
    assert next_expiry(present, policy, days, NOW) is None


def test_a_day_with_something_that_a_rule_keeps_stays() -> None:
    days = [day(400, plain(400, "audit")), day(300, plain(300, "web")), day(40), day(3)]
    days[2] = day(40, plain(40, "web"), plain(40, "web", "audit"))
    choice = advance((), RULED, NOW, days, 0)
    assert gone(choice) == [(300, "age")]
    keeping = Keeping(choice.horizons)
    assert keeping.is_expired(days[0].start, "", ("web",))
    assert not keeping.is_expired(days[0].start, "", ("audit",))


def test_a_day_that_holds_only_what_a_shorter_rule_lets_go_goes_with_it() -> None:
    policy = retention("30 days", sources={"chatter": "7 days"})
    days = [day(9, plain(9, source="chatter")), day(8, plain(8)), day(0)]
    assert gone(advance((), policy, NOW, days, 0)) == [(9, "age")]


def test_a_day_of_which_nothing_is_known_stays_until_every_rule_has_passed() -> None:
    unknown = TODAY - 40 * DAY
    days = [day(40, Facts(unknown, unknown + DAY - 1))]
    assert gone(advance((), RULED, NOW, days, 0)) == []
    assert gone(advance((), RULED, NOW + 1056 * DAY, days, 0)) == [(40, "age")]


def test_a_day_is_looked_into_only_when_something_passes_it() -> None:
    looked: list[int] = []
    blocks = {number: plain(number, "audit") for number in range(2000)}
    days = [day(number, blocks[number], looked=looked) for number in range(1999, -1, -1)]
    choice = advance((), RULED, NOW, days, 0)
    assert [(TODAY - start) // DAY for start, _ in choice.days] == list(range(1999, 1095, -1))
    assert looked == list(range(1095, 7, -1))
    looked.clear()
    left = days[len(choice.days) :]
    assert advance(choice.horizons, RULED, NOW + MINUTE, left, 0) == Choice(choice.horizons, ())
    assert looked == []
    choice = advance(choice.horizons, RULED, NOW + DAY, left, 0)
    assert gone(choice) == [(1095, "age")]
    assert looked == [30, 7]


def test_a_rule_that_is_gone_lets_its_days_go() -> None:
    policy = retention("30 days", tags={"audit": "3 years", "web": "1 year"})
    days = [day(40, plain(40, "web")), day(39, plain(39, "audit")), day(3)]
    choice = advance((), policy, NOW, days, 0)
    assert gone(choice) == []
    assert gone(advance(choice.horizons, RULED, NOW, days, 0)) == [(40, "age")]


def test_a_longer_age_brings_nothing_back() -> None:
    days = [day(20), day(3)]
    before = advance((), retention("7 days"), NOW, days, 0).horizons
    after = advance(before, retention("30 days"), NOW, days[1:], 0).horizons
    assert Keeping(after).is_expired(days[0].start, "", ())
    assert before == after


def test_a_clock_that_goes_back_brings_nothing_back() -> None:
    before = advance((), RULED, NOW, (), 0).horizons
    assert advance(before, RULED, NOW - 5 * DAY, (), 0).horizons == before


def test_ages_before_all_time_and_days_at_its_ends() -> None:
    policy = retention("9999 years", tags={"a": "200000 years"})
    assert advance((), policy, NOW, [DayFacts(FIRST, 1, 1, tuple)], 0) == Choice((), ())
    last = END - DAY
    choice = advance((), retention("1 day"), END - 1, [DayFacts(last - DAY, 1, 1, tuple)], 0)
    assert choice.days == ()


# -- by size and number -------------------------------------------------------------------


def test_the_oldest_go_until_the_size_holds_with_all_else_counted() -> None:
    days = [day(number) for number in (5, 4, 3, 2, 0)]
    assert gone(advance((), retention(size=500), NOW, days, 0)) == []
    assert gone(advance((), retention(size=500), NOW, days, 1)) == [(5, "size")]
    assert gone(advance((), retention(size=300), NOW, days, 50)) == [
        (5, "size"),
        (4, "size"),
        (3, "size"),
    ]
    choice = advance((), retention(size=1), NOW, days, 10**9)
    assert gone(choice) == [(5, "size"), (4, "size"), (3, "size"), (2, "size")]


def test_what_goes_by_age_makes_room_first() -> None:
    days = [day(40), day(4), day(3)]
    assert gone(advance((), retention("30 days", 200), NOW, days, 0)) == [(40, "age")]


def test_no_rule_keeps_or_brings_back_what_the_size_pushed_out() -> None:
    policy = msgspec.structs.replace(RULED, size=150)
    days = [day(5, plain(5, "audit")), day(4, plain(4, "audit")), day(3)]
    choice = advance((), policy, NOW, days, 0)
    assert gone(choice) == [(5, "size"), (4, "size")]
    for later in (RULED, retention("9 years"), Retention()):
        choice = advance(choice.horizons, later, NOW + HOUR, days[2:], 0)
        keeping = Keeping(choice.horizons)
        assert keeping.is_expired(days[2].start - 1, "", ("audit",))
        assert not keeping.is_expired(days[2].start, "", ("audit",))


def test_the_number_of_partitions() -> None:
    days = [day(9), day(5, events=0), day(4), day(0)]
    assert gone(advance((), retention(partitions=3), NOW, days, 0)) == []
    assert gone(advance((), retention(partitions=2), NOW, days, 0)) == [(9, "partitions")]
    choice = advance((), retention(partitions=1), NOW, days, 0)
    # The one without events is older than what goes.
    assert gone(choice) == [(9, "partitions"), (5, "partitions"), (4, "partitions")]
    both = advance((), retention(partitions=2, size=150), NOW, days, 0)
    assert gone(both) == [(9, "partitions"), (5, "size"), (4, "size")]


def test_a_date_in_the_future_pushes_nothing_out() -> None:
    days = [day(2), day(1), day(0), day(-1, size=1)]
    assert gone(advance((), retention(partitions=3), NOW, days, 0)) == []
    choice = advance((), retention(size=1, partitions=1), NOW, days, 0)
    assert gone(choice) == [(2, "partitions"), (1, "partitions")]
    assert not Keeping(choice.horizons).is_expired(TODAY, "", ())
    # Nor does it let the newest day that there is go just after midnight.
    choice = advance((), retention(size=1), NOW, [day(2), day(1), day(-1, size=1)], 0)
    assert gone(choice) == [(2, "size")]
    assert advance((), retention(size=1), NOW, [day(-1), day(-2)], 0).days == ()


def test_what_is_chosen_is_a_value_that_nobody_empties() -> None:
    """Its horizons hide the days that go, and the days are still named afterwards."""
    days = [day(40), day(3)]
    choice = advance((), retention("30 days"), NOW, days, 0)
    assert choice.days == (Departure(days[0].start, "age"),)
    assert Keeping(choice.horizons).hides_all(Facts(days[0].start, days[0].end - 1))


# -- the next expiry ----------------------------------------------------------------------


def test_the_next_day_goes_by_age_when_its_end_is_old_enough() -> None:
    policy = retention("30 days")
    days = [day(20), day(3)]
    at = next_expiry((), policy, days, NOW)
    assert at == TODAY + 11 * DAY
    assert gone(advance((), policy, at - 1, days, 0)) == []
    assert gone(advance((), policy, at, days, 0)) == [(20, "age")]
    assert next_expiry((), policy, (), NOW) is None
    assert next_expiry((), retention(size=5), days, NOW) is None
    assert next_expiry((), policy, [day(50)], NOW) == NOW


def test_a_day_that_a_rule_keeps_goes_when_the_rule_has_passed() -> None:
    days = [day(400, plain(400, "audit"))]
    horizons = advance((), RULED, NOW, days, 0).horizons
    assert next_expiry(horizons, RULED, days, NOW) == TODAY - 399 * DAY + 3 * 365 * DAY
    assert next_expiry(horizons, RULED, [*days, day(3)], NOW) == TODAY + 28 * DAY


# -- against every event by itself --------------------------------------------------------


class Told(NamedTuple):
    """What there is to know of an event."""

    us: int
    source: str
    tags: tuple[str, ...]


def kept_for(policy: Retention, event: Told) -> int | None:
    """For how long a policy keeps an event, None for ever: the longest of its rules."""
    keys = [f"source:{event.source}", *(f"tag:{tag}" for tag in event.tags)]
    ages = [policy.rules[key] for key in keys if key in policy.rules]
    return max(ages) if ages else policy.age


def is_too_old(policy: Retention, event: Told, now: int) -> bool:
    age = kept_for(policy, event)
    return age is not None and event.us // DAY < (now - age) // DAY


def facts(events: Iterable[Told]) -> Callable[[], list[Held]]:
    return lambda: [Facts(us, us, tags, (source,)) for us, source, tags in events]


ages = st.integers(1, 20).map(lambda halves: halves * DAY // 2)
keys = st.sampled_from(["tag:a", "tag:b", "source:s", "source:t"])
told = st.builds(
    Told,
    st.integers(-20 * 24, 24).map(lambda hours: NOW + hours * HOUR),
    st.sampled_from(["", "s", "t"]),
    st.sampled_from([(), ("a",), ("b",), ("a", "b"), ("c",)]),
)
steps = st.tuples(
    st.builds(
        Retention,
        age=st.none() | ages,
        size=st.none() | st.integers(1, 30),
        partitions=st.none() | st.integers(1, 12),
        rules=st.dictionaries(keys, ages, max_size=3),
        suspended=st.sampled_from([False, False, False, True]),
    ),
    st.integers(-3, 40).map(lambda hours: hours * HOUR),
    st.lists(told, max_size=5),
    st.integers(0, 3),
)


@given(st.lists(told, max_size=25), st.lists(steps, min_size=1, max_size=6))
def test_a_log_under_changing_policies(
    first: list[Told], changes: list[tuple[Retention, int, list[Told], int]]
) -> None:
    """An event is hidden if and only if a policy let it go, at any time; days go whole."""
    now, floor = NOW, FIRST
    horizons: Horizons = ()
    stored: dict[int, list[Told]] = {}
    # Also what comes later, or is not stored any more: it must not be let in again.
    everything = first + [event for *_, following, _ in changes for event in following]
    expired: set[Told] = set()
    candidates = first
    for policy, passed, following, overhead in changes:
        for event in candidates:
            if not Keeping(horizons).is_expired(*event):
                stored.setdefault(event.us // DAY * DAY, []).append(event)
        candidates, now = following, now + passed
        days = [
            DayFacts(start, len(stored[start]), len(stored[start]), facts(stored[start]))
            for start in sorted(stored)
        ]
        choice = advance(horizons, policy, now, days, overhead)
        if policy.suspended:
            assert choice == Choice(horizons, ())
            continue
        expired |= {event for event in everything if is_too_old(policy, event, now)}
        pushed = [start for start, why in choice.days if why != "age"]
        floor = max([floor, *(start + DAY for start in pushed)])
        keeping = Keeping(choice.horizons)
        for event in everything:
            assert keeping.is_expired(*event) == (event in expired or event.us < floor)
        assert all(at % DAY == 0 for horizon in choice.horizons for at in horizon.values())

        # What goes: in order, by age only what has expired to the last event, else the oldest.
        assert list(choice.days) == sorted(choice.days)
        for start, why in choice.days:
            assert why != "age" or all(
                event in expired or event.us < floor for event in stored[start]
            )
        left = {start: stored[start] for start in stored if start not in dict(choice.days)}
        assert all(start > max(pushed) for start in left if pushed)

        # The limits hold, unless nothing is left but the newest that has begun and what is ahead.
        size = sum(map(len, left.values())) + overhead
        begun = [start for start in left if start <= now]
        if policy.size is not None and size > policy.size:
            assert len(begun) <= 1
        if policy.partitions is not None:
            assert len(begun) <= max(policy.partitions, 1)
        # And none too many: with the last of them they did not hold.
        if pushed:
            back = stored[pushed[-1]]
            assert (policy.size is not None and size + len(back) > policy.size) or (
                policy.partitions is not None and len(begun) + 1 > policy.partitions
            )
            assert begun
        stored, horizons = left, choice.horizons


@given(st.lists(told, max_size=25), steps, st.lists(st.integers(1, 60), max_size=6))
def test_a_day_goes_as_soon_as_nothing_of_it_can_be_left(
    events: list[Told], step: tuple[Retention, int, list[Told], int], pauses: list[int]
) -> None:
    """Though it is looked into only when something passes it: as if it always were."""
    policy = msgspec.structs.replace(step[0], size=None, partitions=None, suspended=False)
    stored: dict[int, list[Told]] = {}
    for event in events:
        stored.setdefault(event.us // DAY * DAY, []).append(event)
    horizons: Horizons = ()
    now = NOW
    for pause in pauses:
        now += pause * HOUR
        days = [DayFacts(start, 1, 1, facts(stored[start])) for start in sorted(stored)]
        choice = advance(horizons, policy, now, days, 0)
        horizons = choice.horizons
        # Of a block with a tag it is not known that every event has it.
        surely = {
            start
            for start, some in stored.items()
            if all(
                is_too_old(policy, each, now) and is_too_old(policy, each._replace(tags=()), now)
                for each in some
            )
        }
        assert {start for start, _ in choice.days} == surely
        for start in surely:
            del stored[start]

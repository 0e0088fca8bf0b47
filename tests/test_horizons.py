"""Horizons: which events are expired, and what can be said of a block without reading it."""

from __future__ import annotations

from itertools import chain, combinations, permutations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from timelog.event import Event
from timelog.horizons import Facts, Horizon, Horizons, Keeping, joined
from timelog.timestamp import DAY, END, FIRST, from_text, to_datetime

TAGS = ("a", "b", "c")
SOURCES = ("", "s", "t")
KEYS = ("", "tag:a", "tag:b", "source:", "source:s")
CHOICES = tuple(chain.from_iterable(combinations(TAGS, size) for size in range(4)))

horizons = st.dictionaries(st.sampled_from(KEYS), st.integers(0, 6).map(lambda day: day * DAY))
times = st.integers(-1, 14).map(lambda half: half * DAY // 2)
events = st.tuples(times, st.sampled_from(SOURCES), st.sampled_from(CHOICES))


def is_behind(horizon: Horizon, us: int, source: str, tags: tuple[str, ...]) -> bool:
    """What a horizon means, word for word."""
    keys = {f"source:{source}", *(f"tag:{tag}" for tag in tags)} & horizon.keys()
    if keys:
        return us < min(horizon[key] for key in keys)
    return "" in horizon and us < horizon[""]


def is_expired(several: Horizons, us: int, source: str, tags: tuple[str, ...]) -> bool:
    return any(is_behind(horizon, us, source, tags) for horizon in several)


def event(us: int, source: str = "", tags: tuple[str, ...] = ()) -> Event:
    return Event(to_datetime(us), "x", source, tags, "")


def test_without_horizons_nothing_expires() -> None:
    keeping = Keeping(())
    assert not keeping.is_expired(FIRST, "", ())
    assert keeping.keeps([event(FIRST), event(0)]) == [True, True]
    assert not keeping.may_hide(Facts(FIRST, END))
    assert not keeping.hides_all(Facts(FIRST, FIRST))


def test_the_default_counts_where_no_rule_does_and_of_rules_the_longest() -> None:
    keeping = Keeping(({"": 5 * DAY, "tag:audit": DAY, "tag:debug": 7 * DAY},))
    assert keeping.is_expired(5 * DAY - 1, "", ())
    assert not keeping.is_expired(5 * DAY, "", ("web",))
    assert keeping.is_expired(7 * DAY - 1, "", ("web", "debug"))
    assert not keeping.is_expired(DAY, "", ("debug", "audit"))
    assert keeping.is_expired(DAY - 1, "", ("debug", "audit"))


def test_a_rule_without_a_default_concerns_nothing_else() -> None:
    keeping = Keeping(({"source:s": 7 * DAY},))
    assert not keeping.is_expired(FIRST, "", ())
    assert keeping.is_expired(FIRST, "s", ())
    assert keeping.may_hide(Facts(0, 0, (), ("s",)))
    assert keeping.hides_all(Facts(0, 0, None, ("s",)))
    assert not keeping.may_hide(Facts(0, 0, None, ("t",)))


def test_what_was_hidden_stays_so_and_a_new_rule_hides_nothing_else() -> None:
    """No single time for audit could say both."""
    before = {"tag:debug": 7 * DAY}
    keeping = Keeping(joined((before,), {"tag:debug": 7 * DAY, "tag:audit": DAY}))
    assert keeping.is_expired(4 * DAY, "", ("audit", "debug"))
    assert keeping.is_expired(4 * DAY, "", ("debug",))
    assert not keeping.is_expired(4 * DAY, "", ("audit",))


def test_what_a_rule_hid_stays_hidden_when_the_rule_is_gone() -> None:
    several = joined(({"tag:debug": 7 * DAY},), {"": DAY})
    keeping = Keeping(several)
    assert keeping.is_expired(4 * DAY, "", ("debug",))
    assert not keeping.is_expired(4 * DAY, "", ())
    # Until the default has come so far: then it is not needed any more.
    assert joined(several, {"": 7 * DAY}) == ({"": 7 * DAY},)


def test_a_policy_that_stays_the_same_is_one_horizon() -> None:
    several: Horizons = ()
    for day in range(400):
        horizon = {
            "": day * DAY,
            "tag:audit": max(day - 300, 0) * DAY,
            "tag:debug": day * DAY + DAY,
        }
        several = joined(several, horizon)
        assert several == (horizon,)


def test_a_policy_that_goes_to_and_fro_does_not_add_up() -> None:
    several: Horizons = ()
    for day in range(400):
        odd = {"": day * DAY, "tag:audit": max(day - 300, FIRST) * DAY}
        even = {"": (day + 2) * DAY, "source:s": (day - 9) * DAY}
        several = joined(several, odd if day % 2 else even)
        assert len(several) <= 2


def test_what_hides_nothing_is_not_kept() -> None:
    assert joined((), {}) == ()
    assert joined((), {"": FIRST, "tag:a": FIRST}) == ()
    assert joined(({"": DAY},), {}) == ({"": DAY},)


def test_who_gave_a_horizon_may_change_it() -> None:
    horizon = {"": DAY}
    several = joined((), horizon)
    horizon[""] = 9 * DAY
    assert several == ({"": DAY},)


@given(st.lists(horizons, max_size=6))
@example([{"tag:a": 5 * DAY}, {"tag:a": 5 * DAY, "tag:b": DAY}])
@example([{"tag:a": 5 * DAY, "tag:b": 0}, {"tag:a": 0, "tag:b": 5 * DAY}])
def test_joined_is_the_union_and_nothing_is_there_in_vain(several: list[Horizon]) -> None:
    present: Horizons = ()
    for horizon in several:
        present = joined(present, horizon)

    def hidden(some: Horizons) -> set[tuple[int, str, tuple[str, ...]]]:
        return {
            (us, source, tags)
            for us in range(-DAY, 7 * DAY, DAY)
            for source in SOURCES
            for tags in CHOICES
            if is_expired(some, us, source, tags)
        }

    assert hidden(present) == hidden(tuple(several))
    # An event has one source, which is not made use of: one too many may be kept then.
    if not any("source:" in key for horizon in several for key in horizon):
        for one, other in permutations(present, 2):
            assert not hidden((one,)) <= hidden((other,))


@given(st.lists(horizons, max_size=3), st.lists(events, min_size=1, max_size=8))
def test_an_event_is_expired_if_it_is_behind_any(
    several: list[Horizon], some: list[tuple[int, str, tuple[str, ...]]]
) -> None:
    keeping = Keeping(tuple(several))
    expected = [is_expired(tuple(several), *each) for each in some]
    assert [keeping.is_expired(*each) for each in some] == expected
    for _ in range(2):
        kept = keeping.keeps([event(*each) for each in some])
        assert kept == [not expired for expired in expected]
    assert all(keeping.low <= us or gone for (us, _, _), gone in zip(some, expected, strict=True))
    assert not any(
        keeping.high <= us and gone for (us, *_), gone in zip(some, expected, strict=True)
    )


@given(
    st.lists(horizons, max_size=3),
    st.lists(events, min_size=1, max_size=5),
    st.booleans(),
    st.booleans(),
)
def test_of_a_block_it_is_never_said_wrongly_what_expired(
    several: list[Horizon],
    some: list[tuple[int, str, tuple[str, ...]]],
    any_tags: bool,
    any_sources: bool,
) -> None:
    tags = tuple(sorted({tag for _, _, has in some for tag in has}))
    sources = tuple(sorted({source for _, source, _ in some}))
    first, last = min(us for us, *_ in some), max(us for us, *_ in some)
    facts = Facts(first, last, None if any_tags else tags, None if any_sources else sources)
    keeping = Keeping(tuple(several))
    expired = [is_expired(tuple(several), *each) for each in some]
    assert keeping.may_hide(facts) or not any(expired)
    assert not keeping.hides_all(facts) or all(expired)

    # And as exactly as the facts allow; of several horizons only the first answer.
    has = [choice for choice in CHOICES if any_tags or set(choice) <= set(tags)]
    froms = (*SOURCES, "other") if any_sources else sources
    possible = [(source, choice) for source in froms for choice in has]
    assert keeping.may_hide(facts) == any(is_expired(tuple(several), first, *p) for p in possible)
    if len(several) == 1:
        assert keeping.hides_all(facts) == all(
            is_expired(tuple(several), last, *p) for p in possible
        )


def test_more_sources_and_tags_than_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("timelog.horizons._MOST_KNOWN", 3)
    keeping = Keeping(({"": 5 * DAY, "source:7": DAY},))
    some = [event(2 * DAY, str(number % 10)) for number in range(40)]
    assert keeping.keeps(some) == [each.source == "7" for each in some]


def test_the_ends_of_time() -> None:
    last = from_text("9999-12-30T00:00:00.000000Z")
    keeping = Keeping(({"": last, "tag:a": FIRST},))
    assert keeping.keeps([event(last - 1), event(last), event(FIRST, "", ("a",))]) == [
        False,
        True,
        True,
    ]

"""`Retention`: how long a log keeps its events; `advance`: what has to go by now.

Pure: the choice is made here from what the index knows and from a time that the caller vouches for
(see `timelog.clockguard`); what was chosen is done elsewhere. A horizon (`timelog.horizons`) only
moves by whole UTC days, so an event is kept for its age and for up to a day longer, and a partition
goes when its *end* is behind, never because one of its events is too old.

By age goes what is behind the horizon that the policy comes to now, rules included. The size and
the number of partitions are hard limits: the oldest partitions go until they hold, whatever a rule
says, and what is older than the end of the last of them is behind a horizon without rules.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import timedelta
from typing import Annotated, NamedTuple, TypeAlias

import msgspec

from timelog.errors import DamagedError, InvalidInput
from timelog.event import Limits, check_source, check_tags
from timelog.horizons import SOURCE, TAG, Facts, Held, Horizon, Horizons, Keeping, joined
from timelog.quantity import age_text, parse_age, parse_count, parse_size, size_text
from timelog.timestamp import DAY, FIRST

_Positive: TypeAlias = Annotated[int, msgspec.Meta(gt=0)]
Age: TypeAlias = str | timedelta
_LIMITS = Limits()


class Retention(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a log keeps; `retention` makes one. Immutable, so thread-safe.

    ``age`` in microseconds, ``size`` in bytes, ``partitions``: None for no limit. ``rules``: ages
    that count in place of ``age`` for events with a tag (key ``"tag:NAME"``) or of a source
    (``"source:NAME"``); of several that an event matches the longest counts. ``suspended``: nothing
    expires until further notice.
    """

    age: _Positive | None = None
    size: _Positive | None = None
    partitions: _Positive | None = None
    rules: dict[str, _Positive] = {}
    suspended: bool = False

    def horizon(self, now: int) -> Horizon:
        """What is behind at ``now`` (microseconds) by age."""
        ages = self.rules if self.age is None else {"": self.age, **self.rules}
        return {key: _day(max(now - age, FIRST)) for key, age in ages.items()}

    def to_json(self) -> bytes:
        """This policy as a line of JSON; `from_json` reads it."""
        return msgspec.json.encode(self) + b"\n"

    @classmethod
    def from_json(cls, data: bytes) -> Retention:
        """The policy that `to_json` wrote; raises `DamagedError` for anything else."""
        try:
            policy = msgspec.json.decode(data, type=cls)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise _damaged(str(error)) from None
        for key in policy.rules:
            if not key.startswith((TAG, SOURCE)) or key == TAG:
                raise _damaged(f"{key!r} is no rule")
        return policy

    def __str__(self) -> str:
        words = [] if self.age is None else [f"events are kept for {age_text(self.age)}"]
        for key, age in self.rules.items():
            kind, _, name = key.partition(":")
            which = "tagged" if kind == "tag" else "of source"
            words.append(f"those {which} {name!r} for {age_text(age)}")
        if self.size is not None:
            words.append(f"at most {size_text(self.size)}")
        if self.partitions is not None:
            words.append(f"at most {self.partitions} partition" + "s" * (self.partitions > 1))
        text = ", ".join(words) or "everything is kept"
        return f"{text}; suspended" if self.suspended else text


def retention(
    age: Age | None = None,
    size: str | int | None = None,
    partitions: str | int | None = None,
    tags: Mapping[str, Age] | None = None,
    sources: Mapping[str, Age] | None = None,
) -> Retention:
    """Make a policy: ``retention("30 days", "10 GB", tags={"audit": "3 years"})``.

    ``age``: text or a ``timedelta``, see `parse_age`; ``size`` on disk, everything counted: text or
    bytes, see `parse_size`; ``partitions``: how many days with events. ``tags``, ``sources``: ages
    for single ones. None for no limit. Raises `InvalidInput`, also for zero and less.
    """
    rules: dict[str, int] = {}
    for what, prefix, ages in (("tags", TAG, tags), ("sources", SOURCE, sources)):
        if ages is None:
            continue
        if not isinstance(ages, Mapping):
            raise InvalidInput(
                f"the {what} of a retention must be a mapping such as {{'audit': '3 years'}}, "
                f"not {type(ages).__name__}"
            )
        for given, value in ages.items():
            name = check_source(given, _LIMITS) if what == "sources" else _checked_tag(given)
            rules[prefix + name] = parse_age(value, f"the age for {prefix}{name}")
    return Retention(
        None if age is None else parse_age(age, "the age to keep"),
        None if size is None else parse_size(size, "the size to keep"),
        None if partitions is None else parse_count(partitions, "the number of partitions"),
        rules,
    )


def _checked_tag(tag: str) -> str:
    return check_tags((tag,), _LIMITS)[0]


class DayFacts(NamedTuple):
    """What the choice needs to know of a partition.

    ``start``: of its day; ``bytes`` that removing it frees; ``events``: how many it holds.
    ``holds``: its blocks, as they are on disk; it may cost reading the day's index file, and is
    called only where that decides. Who cannot read that says ``Facts(start, start + DAY - 1)``.
    """

    start: int
    bytes: int
    events: int
    holds: Callable[[], Iterable[Held]]

    @property
    def end(self) -> int:
        """The end of the day, exclusive."""
        return self.start + DAY


class Departure(NamedTuple):
    """A partition that has to go, and why: ``"age"``, ``"partitions"`` or ``"size"``."""

    start: int
    why: str


class Choice(NamedTuple):
    """What has expired from now on, and the partitions that go whole, in order."""

    horizons: Horizons
    days: tuple[Departure, ...]


def advance(
    present: Horizons, policy: Retention, now: int, days: Sequence[DayFacts], overhead: int
) -> Choice:
    """Choose what goes: horizons that hide all that ``present`` hides, and whole partitions.

    ``now``: microseconds; ``days``: all partitions, in order; ``overhead``: bytes of all else that
    counts for the size (journal, index, quarantine …). What is on its way to be unlinked must not
    be in it, or it would push out more partitions before it is gone. Both parts of the choice
    belong into one commit: a day is looked into only when something passes its end for the first
    time, at most once for each age of the policy.

    By size and number only days before the newest one with events go, and by number only as many as
    those up to ``now`` are too many: one event with a date in the future neither lets the day go
    that is being written, nor counts as a day before its time.
    """
    if policy.suspended:
        return Choice(present, ())
    horizons = joined(present, policy.horizon(now))
    before, after = Keeping(present), Keeping(horizons)
    gone = [Departure(day.start, "age") for day in days if _is_behind(day, before, after)]
    aged = {start for start, _ in gone}
    pushed = _pushed_out(policy, now, [day for day in days if day.start not in aged], overhead)
    if pushed:
        horizons = joined(horizons, {"": pushed[-1].start + DAY})
    return Choice(horizons, tuple(sorted(gone + pushed)))


def next_expiry(
    horizons: Horizons, policy: Retention, days: Iterable[DayFacts], now: int
) -> int | None:
    """When the next partition goes by age, in microseconds; ``now`` if it is due; None for never.

    Without looking into any day: one that is not behind the default yet goes then, unless a rule
    keeps some of it; one that is behind goes at the latest when the longest rule has passed.
    """
    if policy.suspended or policy.age is None:
        return None
    default = max((horizon.get("", FIRST) for horizon in horizons), default=FIRST)
    longest = max([policy.age, *policy.rules.values()])
    return min(
        (max(day.end + (policy.age if day.end > default else longest), now) for day in days),
        default=None,
    )


def _is_behind(day: DayFacts, before: Keeping, after: Keeping) -> bool:
    """Whether all that a day holds is behind the horizons ``after``.

    Looked into only if something passed the end of the day since ``before``: else nothing of it
    can have expired that had not when it was looked into last.
    """
    whole = Facts(day.start, day.end - 1)
    if after.hides_all(whole):
        return True
    if not after.may_hide(whole) or after.passed(day.end) == before.passed(day.end):
        return False
    return all(after.hides_all(block) for block in day.holds())


def _pushed_out(
    policy: Retention, now: int, days: Sequence[DayFacts], overhead: int
) -> list[Departure]:
    """The oldest of ``days``, until the limits of number and size hold."""
    current = [day.start for day in days if day.events and day.start <= now]
    if not current:
        return []
    number = len(current)
    size = sum(day.bytes for day in days) + overhead
    pushed: list[Departure] = []
    for day in days:
        if day.start >= current[-1]:
            break
        if policy.partitions is not None and number > policy.partitions:
            why = "partitions"
        elif policy.size is not None and size > policy.size:
            why = "size"
        else:
            break
        pushed.append(Departure(day.start, why))
        number -= day.events > 0
        size -= day.bytes
    return pushed


def _day(us: int) -> int:
    return us - us % DAY


def _damaged(reason: str) -> DamagedError:
    return DamagedError(
        f"the retention policy of the log cannot be read ({reason}); set it anew, nothing expires "
        "until then"
    )

"""A made-up log that looks like a real one: what ``timelog demo`` stores."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

from timelog.timestamp import MINUTE, to_datetime

SPAN = 10 * MINUTE

_USERS = ("root", "admin", "alice", "bob", "søren", "zoë")
# Networks that are set aside for documentation.
_HOSTS = ("203.0.113.7", "203.0.113.99", "198.51.100.23", "192.0.2.41", "2001:db8::17")
_PAGES = ("/", "/login", "/api/orders?page=2", "/static/app.js", "/Straße/größe", "/検索?q=猫")
_TRACEBACK = """Traceback (most recent call last):
  File "/srv/app/orders.py", line 88, in checkout
    total = price[item] * quantity
KeyError: 'café crème'"""


def sample_events(end_us: int, count: int = 300, seed: int = 2026) -> list[dict[str, Any]]:
    """Return ``count`` events of the ten minutes before ``end_us``, in order of time.

    ``end_us``: microseconds since 1970. The same ``end_us``, ``count`` and ``seed`` make the same
    events. Each is a mapping that ``append_many`` takes.
    """
    chance = random.Random(seed)
    times = sorted(end_us - chance.randrange(1, SPAN) for _ in range(count))
    makers = chance.choices(list(MAKERS.values()), weights=(3, 5, 2), k=count)
    return [
        {"timestamp": to_datetime(us), **make(chance)}
        for us, make in zip(times, makers, strict=True)
    ]


def _sshd(chance: random.Random) -> dict[str, Any]:
    user, host, port = chance.choice(_USERS), chance.choice(_HOSTS), chance.randrange(1024, 65536)
    origin = f"for {user} from {host} port {port} ssh2"
    if chance.random() < 0.7:
        return _event("sshd", f"Failed password {origin}", "auth", "warn")
    return _event("sshd", f"Accepted publickey {origin}", "auth")


def _nginx(chance: random.Random) -> dict[str, Any]:
    page, status = chance.choice(_PAGES), chance.choices((200, 304, 404, 502), (80, 10, 8, 2))[0]
    size, took = chance.randrange(200, 90_000), round(chance.expovariate(20), 3)
    content = f'{chance.choice(_HOSTS)} "GET {page} HTTP/1.1" {status} {size} {took:.3f}'
    tags = ("web", "error") if status >= 500 else ("web",)
    return _event("nginx", content, *tags, status=status, seconds=took)


def _app(chance: random.Random) -> dict[str, Any]:
    if chance.random() < 0.15:
        return _event("app", _TRACEBACK, "shop", "error")
    order, amount = chance.randrange(10_000, 99_999), chance.randrange(5 * 100, 300 * 100) / 100
    content = f"order {order} paid: {amount:.2f} € in {chance.randrange(20, 900)} ms"
    return _event("app", content, "shop", order=order)


def _event(source: str, content: str, *tags: str, **fields: Any) -> dict[str, Any]:
    return {"source": source, "content": content, "tags": tags, "fields": fields}


# What makes an event of a service, by its name.
MAKERS: dict[str, Callable[[random.Random], dict[str, Any]]] = {
    "sshd": _sshd,
    "nginx": _nginx,
    "app": _app,
}

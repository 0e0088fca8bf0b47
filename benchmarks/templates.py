"""What the made-up services write: templates with slots, and the pools that fill the slots.

A template's `text` is a `%`-format with one `%s` for each name in `slots`; a name is a pool.
"""

from __future__ import annotations

from random import Random
from typing import NamedTuple

Pools = dict[str, list[str]]


class Template(NamedTuple):
    """One kind of line: how often it comes, where from, with which tags, and its text."""

    weight: int
    sources: tuple[str, ...]
    tags: tuple[str, ...]
    slots: tuple[str, ...]
    text: str


WEB = ("nginx@web-01", "nginx@web-02", "nginx@web-03", "nginx@edge-fra", "nginx@edge-sin")
SSH = ("sshd@bastion", "sshd@web-01", "sshd@db-01", "sshd@build-07")
KERNEL = ("kernel@db-01", "kernel@web-01", "kernel@web-02", "kernel@build-07")
DATABASE = ("postgres@db-01", "postgres@db-02", "postgres@db-archive")
SHOP = ("app.orders", "app.payments", "app.catalogue", "app.mail", "app.reports", "app.fraud")
WINDOWS = ("win.fileserver", "win.print", "win.terminal-3")

_TRACE = """%s ERROR [%s] request %s%s failed after %s ms
Traceback (most recent call last):
  File "/srv/%s/handlers/%s.py", line %s, in handle
    result = self.service.run(request, timeout=%s)
  File "/srv/%s/service/%s.py", line %s, in run
    raise UpstreamError("no answer from %s:%s")
%s.errors.UpstreamError: no answer from %s (attempt %s of 5, user "%s")"""

TEMPLATES = (
    Template(
        40,
        WEB,
        ("web", "prod"),
        ("ip", "user", "number", "request", "status", "size", "client", "millis", "hex"),
        '%s - %s [req %s] "%s HTTP/1.1" %s %s %s rt=%sms trace=4bf92f35%s',
    ),
    Template(
        6,
        WEB,
        ("web", "prod", "error"),
        ("number", "number", "number", "ip", "host", "request", "ip", "port", "path"),
        "[error] %s#%s: *%s upstream timed out (110: Connection timed out) while reading response "
        'header from upstream, client: %s, server: %s, request: "%s HTTP/1.1", '
        'upstream: "http://%s:%s%s"',
    ),
    Template(
        8,
        SSH,
        ("auth", "prod"),
        ("number", "user", "ip", "port"),
        "sshd[%s]: Failed password for invalid user %s from %s port %s ssh2",
    ),
    Template(
        5,
        SSH,
        ("auth", "prod"),
        ("number", "user", "ip", "port", "hex", "hex", "hex"),
        "sshd[%s]: Accepted publickey for %s from %s port %s ssh2: RSA SHA256:%s%s%s",
    ),
    Template(
        4,
        KERNEL,
        ("kernel",),
        ("number", "ip", "ip", "size", "number", "port", "port"),
        "[%s.113209] [UFW BLOCK] IN=eth0 OUT= MAC=52:54:00:6b:3c:58 SRC=%s DST=%s LEN=%s TOS=0x00 "
        "PREC=0x00 TTL=49 ID=%s DF PROTO=TCP SPT=%s DPT=%s WINDOW=29200 RES=0x00 SYN URGP=0",
    ),
    Template(
        1,
        KERNEL,
        ("kernel", "error"),
        ("number", "number", "module", "size", "number"),
        "[%s.884120] Out of memory: Killed process %s (%s) total-vm:%skB, anon-rss:%skB, "
        "file-rss:0kB, shmem-rss:0kB, UID:1001 pgtables:1412kB oom_score_adj:0",
    ),
    Template(
        9,
        DATABASE,
        ("db", "prod"),
        ("number", "user", "module", "millis", "module", "number", "number"),
        "[%s] %s@%s LOG:  duration: %s ms  statement: SELECT o.id, o.total, c.name FROM %s o\n"
        "\tJOIN customers c ON c.id = o.customer_id\n\tWHERE o.id > %s ORDER BY o.id LIMIT %s",
    ),
    Template(
        3,
        DATABASE,
        ("db", "prod"),
        ("number", "number", "millis", "millis", "millis", "number"),
        "[%s] LOG:  checkpoint complete: wrote %s buffers (3.1%%); 0 WAL file(s) added, 0 removed, "
        "2 recycled; write=%s s, sync=%s s, total=%s s; sync files=41, distance=%s kB",
    ),
    Template(
        12,
        SHOP,
        ("app", "prod"),
        ("hex", "hex", "user", "number", "name", "word", "millis", "ip", "module"),
        '{"level":"info","request":"%s-%s","user":"%s","order":%s,"customer":"%s",'
        '"note":"%s","took_ms":%s,"peer":"%s","step":"%s","flags":["retry","cached"],"ok":true}',
    ),
    Template(
        3,
        SHOP,
        ("app", "prod", "error"),
        (
            "module",
            "module",
            "hex",
            "hex",
            "millis",
            "module",
            "module",
            "line",
            "line",
            "module",
            "module",
            "line",
            "ip",
            "port",
            "module",
            "host",
            "digit",
            "name",
        ),
        _TRACE,
    ),
    Template(
        5,
        SHOP,
        ("app", "test"),
        ("module", "name", "word", "number", "number", "hex"),
        "%s: delivery for %s accepted (%s), parcel %s of route %s, token %s; next attempt not "
        "before tomorrow morning, the customer asked for a call beforehand ☎",
    ),
    Template(
        4,
        WINDOWS,
        ("windows",),
        ("user", "dir", "module", "number", "hex", "millis"),
        "User CORP\\%s opened C:\\Users\\Public\\%s\\%s_%s.docx\thandle=0x%s\tshare=READ|WRITE"
        "\tafter=%s\tprocess=C:\\Program Files\\Office\\root\\winword.exe",
    ),
)

_NAMES = (
    "Anna Müller",
    "José Ñáñez",
    "Łukasz Żak",
    "Иван Петров",
    "李小龍",
    "さくら",
    "Zoë O'Neill",
    "محمد علي",
    "Bob Jones",
    "Mary Smith",
    "Åsa Öberg",
    "Tom Miller",
    "Eve Adams",
    "Nguyễn An",
)
_WORDS = (
    "bitte klingeln",
    "déposer à la loge",
    "leave at the door",
    "позвоните заранее",
    "gift 🎁",
    "fragile",
    "second floor, left",
    "no note",
    "call first",
    "behind the blue gate",
    "按門鈴",
)
_AGENTS = (
    "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36",
    "curl/7.88.1",
    "Googlebot/2.1",
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) Gecko/20100101 Firefox/117.0",
    "Mozilla/5.0 (iPhone; CPU iPhone OS 16_6 like Mac OS X)",
    "python-requests/2.31.0",
)
_PARTS = (
    "api",
    "v1",
    "v2",
    "orders",
    "items",
    "cart",
    "static",
    "img",
    "login",
    "users",
    "search",
    "reports",
    "export",
    "admin",
    "wp-login.php",
    "health",
    "metrics",
    "checkout",
    "assets",
)
_MODULES = (
    "orders",
    "payments",
    "catalogue",
    "mailer",
    "stock",
    "invoices",
    "reports",
    "fraud",
    "search",
    "sessions",
    "java",
    "celery",
    "gunicorn",
    "backup",
    "importer",
    "scheduler",
)
_STATUSES = "200 200 200 200 200 200 200 204 206 301 302 304 304 400 401 403 404 429 500 502 503"
_METHODS = ("GET", "GET", "GET", "GET", "GET", "GET", "POST", "POST", "PUT", "DELETE", "HEAD")
_HOSTS = ("shop.example.com", "www.example.org", "api.example.net", "intra.example.com")


def pools(random: Random) -> Pools:
    """The values for the slots, drawn with `random`."""

    def number(low: int, high: int) -> int:
        return random.randint(low, high)

    paths = [
        "/" + "/".join(random.choices(_PARTS, k=number(1, 5))) + f"/{number(1, 99_999)}"
        for _ in range(3_000)
    ]
    queries = [f"?page={number(1, 99)}&q={random.choice(_MODULES)}" for _ in range(500)]
    return {
        "ip": [
            f"{number(1, 223)}.{number(0, 255)}.{number(0, 255)}.{number(1, 254)}"
            for _ in range(5_000)
        ],
        "port": [str(number(1_024, 65_535)) for _ in range(2_000)],
        "number": [str(number(1, 10 ** number(3, 8))) for _ in range(10_000)],
        "size": [str(number(1, 10 ** number(2, 6))) for _ in range(5_000)],
        "millis": [f"{random.expovariate(1 / 40):.3f}" for _ in range(5_000)],
        "hex": [f"{number(0, 2**48 - 1):012x}" for _ in range(20_000)],
        "line": [str(number(10, 900)) for _ in range(500)],
        "digit": ["1", "1", "1", "2", "2", "3", "4", "5"],
        "user": ["root", "admin", "deploy", "postgres", "oracle", "-", "guest"]
        + [f"user{number(1, 9_999)}" for _ in range(1_000)],
        "path": paths,
        "request": [
            f"{random.choice(_METHODS)} {random.choice(paths)}"
            f"{random.choice(queries) if number(0, 1) else ''}"
            for _ in range(8_000)
        ],
        "client": [f'"https://{host}/" "{agent}"' for host in _HOSTS for agent in _AGENTS],
        "host": list(_HOSTS),
        "status": _STATUSES.split(),
        "module": list(_MODULES),
        "name": list(_NAMES),
        "word": list(_WORDS),
        "dir": ["Documents", "Berichte 2023", "Scans", "Données", "Vorlagen", "Q3 Forecast"],
    }

"""The checks of ``.env``, parsed by python-dotenv as in the application, and of the connection that it names."""

from __future__ import annotations

import io
import logging
import re
import time
from collections.abc import Iterator, Mapping

from ansible.module_utils.database.connection import driver
from ansible.module_utils.database.server import KEYS, PREFER, Server
from ansible.module_utils.health.model import LOCK_TIMEOUT, Finding, Host
from ansible.module_utils.reporting import Problem, package

REQUIRED = ("DB_URL", *KEYS, "EODHD_API_TOKEN")
OPTIONAL = ("REDIS_URL", "REDIS_HOST", "REDIS_PORT", "REDIS_PASSWORD", "REDIS_DB")
# Other names that the application accepts.
ALIASES = {"DB_URL": "DATABASE_URL", "EODHD_API_TOKEN": "EODHD_API_KEY"}

_REWRITE = "Write it again with `ansible-playbook playbooks/reset.yml --tags dotenv`"


def read(content: bytes, path: str) -> tuple[dict[str, str], list[int]]:
    """Return the values of a ``.env`` by the names above, and the numbers of the lines that python-dotenv drops.

    Raises:
        Problem: the file is not UTF-8, so the application cannot read it, or python-dotenv is missing.
    """
    dotenv = package("dotenv", "python-dotenv")
    try:
        # CR and CRLF become LF, as when the application opens the file.
        text = io.TextIOWrapper(io.BytesIO(content), encoding="utf-8").read()
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise Problem(
            f"{path} is not UTF-8 (line {line}), so the application cannot read it. Save it as UTF-8."
        ) from None
    logging.getLogger("dotenv").addHandler(logging.NullHandler())  # dropped lines are reported here
    dropped = [
        _first_line(found.original) for found in dotenv.parser.parse_stream(io.StringIO(text)) if found.error
    ]
    present = dotenv.dotenv_values(stream=io.StringIO(text))
    values = {"POSTGRES_PASSWORD": ""}  # it may be empty, because a server can trust its hosts
    for name in (*REQUIRED, *OPTIONAL):
        if value := present.get(name) or present.get(ALIASES.get(name, "")):
            values[name] = value
    return values, dropped


def _first_line(original: object) -> int:
    """Return the number of a statement's first line; python-dotenv's own number is that of a blank line before it."""
    text, line = str(getattr(original, "string", "")), int(getattr(original, "line", 0))
    return line + text[: len(text) - len(text.lstrip())].count("\n")


def server(url: str, path: str) -> Server:
    """Return the server that ``DB_URL`` names, parsed by libpq; the scheme may include SQLAlchemy's driver.

    Raises:
        Problem: the URL is invalid; the message holds no part of it.
    """
    from psycopg2 import ProgrammingError
    from psycopg2.extensions import parse_dsn

    scheme = re.match(r"(?:postgresql|postgres)(?:\+\w+)?(?=://)", url)
    try:
        if not scheme:
            raise ValueError
        found = parse_dsn("postgresql" + url[scheme.end() :])
        return Server(
            found["host"],
            int(found.get("port", "5432")),
            found["user"],
            found.get("password", ""),
            found["dbname"],
            found.get("sslmode", PREFER),
            found.get("sslrootcert"),
        )
    except (ValueError, KeyError, ProgrammingError):
        raise Problem(
            f"DB_URL in {path} is not a PostgreSQL URL with user, host and database"
            f" (postgresql://user:password@host:5432/database, each part percent-encoded). {_REWRITE}."
        ) from None


def disagreements(values: Mapping[str, str], named: Server) -> list[str]:
    """Return the ``POSTGRES_*`` keys that contradict ``DB_URL``."""
    parts = {key: str(getattr(named, field)) for key, field in KEYS.items()}
    return [key for key, part in parts.items() if values.get(key, part) != part]


# --- checks -------------------------------------------------------------------------------------------------


def check_settings(host: Host) -> Iterator[Finding]:
    """The ``.env`` exists, can be read, and has every setting that the application needs."""
    rewrite = "Write it with `ansible-playbook playbooks/reset.yml --tags dotenv`."
    path = str(host.env)
    try:
        if not host.env.is_file():
            yield Finding("settings", "fail", f"{path} is missing. {rewrite}")
            return
        values, dropped = read(host.env.read_bytes(), path)
    except OSError as error:
        raise Problem(
            f"{path} cannot be read ({error.strerror}). Connect as its owner, or as root (ansible_become)."
        ) from None
    host.settings = values
    missing = [name for name in REQUIRED if name not in values]
    malformed = ""
    if dropped:
        lines = ", ".join(map(str, dropped))
        malformed = f"{path} is malformed: python-dotenv ignores line {lines}. Write KEY=value there. "
    if missing:
        text = f"{malformed}{path} has no value for {', '.join(missing)}. {rewrite}"
        yield Finding("settings", "fail", text)
    elif malformed:
        yield Finding("settings", "warn", malformed.rstrip())
    if "DB_URL" in missing:
        return
    driver()  # raises a Problem if psycopg2, which parses the URL, is missing
    host.server = server(values["DB_URL"], path)
    others = disagreements(values, host.server)
    if others and not missing:
        text = f"{path}: DB_URL contradicts {', '.join(others)}. {rewrite}"
        yield Finding("settings", "warn", text)
    elif not missing:
        yield Finding("settings", "ok", f"{path} has every required setting")


def check_connection(host: Host) -> Iterator[Finding]:
    """The database connects within ``timeout`` and answers quickly."""
    if host.server is None:
        return
    session = host.open_connection(
        host.server,
        host.timeout,
        read_only=True,
        statement_timeout=host.query_timeout,
        lock_timeout=LOCK_TIMEOUT,
    )
    session.autocommit = True
    host.session = session
    with session.cursor() as cursor:
        started = time.monotonic()
        host.bounded(lambda: cursor.execute("SELECT 1"), host.timeout)
    latency = host.latency_ms = round((time.monotonic() - started) * 1000, 1)
    host.server_version = session.info.parameter_status("server_version")
    place = host.server.place()
    at = host.server.host
    local = at.startswith(("/", "@", "127.")) or at in ("localhost", "::1")  # as in the sandbox
    if session.info.parameter_status("is_superuser") == "on" and not local:
        yield Finding(
            "connection",
            "warn",
            f"{host.server.user} is a superuser of PostgreSQL at {place}, so anyone who reads .env controls the server."
            " Set postgres_admin_user, and another postgres_user, which `--tags database` then creates.",
        )
    if host.level("latency", latency) == "warn":
        yield Finding(
            "connection",
            "warn",
            f"PostgreSQL at {place} took {latency:,.0f} ms to answer a query. Check its load and the network, or"
            " raise health_latency_warn.",
        )
    else:
        yield Finding("connection", "ok", f"PostgreSQL {host.server_version} at {place}")

"""The checks of the settings and of the connection."""

from __future__ import annotations

import time
from collections.abc import Iterator

from ansible.module_utils.database.connection import driver
from ansible.module_utils.health import settings
from ansible.module_utils.health.model import LOCK_TIMEOUT, Finding, Host
from ansible.module_utils.reporting import Problem


def check_settings(host: Host) -> Iterator[Finding]:
    """The ``.env`` exists, can be read, and has every setting that the application needs."""
    rewrite = "Write it with `ansible-playbook playbooks/reset.yml --tags dotenv`."
    path = str(host.env)
    try:
        if not host.env.is_file():
            yield Finding("settings", "fail", f"{path} is missing. {rewrite}")
            return
        found = settings.read(host.env.read_bytes(), path)
    except OSError as error:
        raise Problem(
            f"{path} cannot be read ({error.strerror}). Connect as its owner, or as root (ansible_become)."
        ) from None
    host.settings = found.values
    malformed = ""
    if found.dropped:
        lines = ", ".join(map(str, found.dropped))
        malformed = f"{path} is malformed: python-dotenv ignores line {lines}. Write KEY=value there. "
    if found.missing:
        text = f"{malformed}{path} has no value for {', '.join(found.missing)}. {rewrite}"
        yield Finding("settings", "fail", text)
    elif malformed:
        yield Finding("settings", "warn", malformed.rstrip())
    if "DB_URL" in found.missing:
        return
    driver()  # raises a Problem if psycopg2, which parses the URL, is missing
    host.server = settings.server(found.values["DB_URL"], path)
    others = settings.disagreements(found.values, host.server)
    if not found.missing and others:
        text = f"{path}: DB_URL contradicts {', '.join(others)}. {rewrite}"
        yield Finding("settings", "warn", text)
    elif not found.missing:
        yield Finding("settings", "ok", f"{path} has every required setting")


def _is_local(host: str) -> bool:
    """Return whether a server runs on the host itself, as in the sandbox."""
    return host.startswith(("/", "@", "127.")) or host in ("localhost", "::1")


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
    if session.info.parameter_status("is_superuser") == "on" and not _is_local(host.server.host):
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

"""What the work stands on: the settings and the connection."""

from __future__ import annotations

import time
from collections.abc import Iterator

from ansible.module_utils.database import settings
from ansible.module_utils.database.connection import driver
from ansible.module_utils.health.model import LOCK_TIMEOUT, Context, Finding
from ansible.module_utils.reporting import Problem


def check_settings(context: Context) -> Iterator[Finding]:
    """The ``.env`` is there, can be read, and names what the application needs."""
    rewrite = "Write it with `ansible-playbook playbooks/reset.yml --tags dotenv`."
    path = str(context.env)
    try:
        if not context.env.is_file():
            yield Finding("settings", "fail", f"{path} is missing. {rewrite}")
            return
        found = settings.read(context.env.read_bytes(), path)
    except OSError as error:
        raise Problem(
            f"{path} cannot be read ({error.strerror}). Work as its owner, or as root (ansible_become)."
        ) from None
    context.settings = found.values
    dropped = ", ".join(map(str, found.dropped))
    malformed = f"{path} is malformed: python-dotenv ignores line {dropped}, which is no KEY=value."
    if found.missing:
        yield Finding(
            "settings",
            "fail",
            (f"{malformed} " if dropped else "")
            + f"{path} has no value for {', '.join(found.missing)}."
            + (f" Fix the line. {rewrite}" if dropped else f" {rewrite}"),
        )
    elif dropped:
        yield Finding("settings", "warn", f"{malformed} Fix or remove the line.")
    if "DB_URL" in found.missing:
        return
    driver()
    context.server = settings.server(found.values["DB_URL"], path)
    others = settings.disagreements(found.values, context.server)
    if others and not found.missing:
        yield Finding(
            "settings", "warn", f"{path}: {', '.join(others)} and DB_URL name different things. {rewrite}"
        )
    elif not found.missing:
        yield Finding("settings", "ok", f"{path} holds every setting that is needed")


def _is_local(host: str) -> bool:
    """Whether a server is on the host itself, as in the sandbox."""
    return host.startswith(("/", "@", "127.")) or host in ("localhost", "::1")


def check_connection(context: Context) -> Iterator[Finding]:
    """The database answers within ``timeout``, and soon."""
    if context.server is None:
        return
    session = context.open_connection(
        context.server,
        context.timeout,
        read_only=True,
        statement_timeout=context.query_timeout,
        lock_timeout=LOCK_TIMEOUT,
    )
    session.autocommit = True
    context.session = session
    with session.cursor() as cursor:
        started = time.monotonic()
        context.bounded(lambda: cursor.execute("SELECT 1"), context.timeout)
    latency = context.latency_ms = round((time.monotonic() - started) * 1000, 1)
    context.server_version = session.info.parameter_status("server_version")
    place = context.server.place()
    if session.info.parameter_status("is_superuser") == "on" and not _is_local(context.server.host):
        yield Finding(
            "connection",
            "warn",
            f"{context.server.user} is a superuser of PostgreSQL at {place}: whoever reads .env may do anything there."
            " Set postgres_admin_user, and another postgres_user, which `--tags database` then creates.",
        )
    if context.limits.level("latency", latency) == "warn":
        yield Finding(
            "connection",
            "warn",
            f"PostgreSQL at {place} took {latency:,.0f} ms for one question. Look at its load and at the line, or"
            " raise health_latency_warn.",
        )
    else:
        yield Finding("connection", "ok", f"PostgreSQL {context.server_version} at {place}")

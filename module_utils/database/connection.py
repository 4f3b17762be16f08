"""Connect to PostgreSQL within a time limit, and explain what fails: a word for programs, and a message for people."""

from __future__ import annotations

import re
import socket
import threading
import time
from concurrent.futures import Future, wait
from typing import Any, Callable, TypeVar

from ansible.module_utils.database.server import PREFER, Server
from ansible.module_utils.reporting import package

T = TypeVar("T")

# A spelling of UTC that no server uses. If the server reports it, our settings have reached the session.
_UTC = "UTC0"


class TimedOut(Exception):
    """No answer within the timeout."""


class Unreachable(Exception):
    """A connection failed or is lost; ``kind`` is a word of ``_SENTENCES``, ``cause`` the ``server_message``."""

    def __init__(self, kind: str, cause: str) -> None:
        super().__init__(kind)
        self.kind = kind
        self.cause = cause

    @classmethod
    def of(cls, error: Exception) -> Unreachable:
        """Return the exception for an error of the driver."""
        return cls(meaning(error), server_message(error))


def within(seconds: float, work: Callable[[], T], late: Callable[[T], None] = lambda result: None) -> T:
    """Return the result of ``work``, or raise ``TimedOut`` after ``seconds``.

    Name resolution and libpq have no reliable timeout, so ``work`` runs in a thread, which is abandoned on timeout.
    ``late`` then gets the result, to close it.
    """
    outcome: Future[T] = Future()

    def deliver() -> None:
        try:
            outcome.set_result(work())
        except Exception as error:  # noqa: BLE001 - raised again in the waiting thread
            outcome.set_exception(error)

    threading.Thread(target=deliver, daemon=True).start()
    wait([outcome], timeout=max(seconds, 0))
    if outcome.done():
        return outcome.result()

    def close(done: Future[T]) -> None:
        if done.exception() is None:
            late(done.result())

    outcome.add_done_callback(close)
    raise TimedOut


def driver() -> Any:
    """Return the module psycopg2; raises ``Problem`` if this Python does not have it."""
    return package("psycopg2", "psycopg2-binary")


def connect(
    server: Server,
    timeout: float,
    *,
    read_only: bool = False,
    statement_timeout: float | None = None,
    lock_timeout: float | None = None,
    application_name: str = "ansible-reset",
) -> Any:
    """Return an open psycopg2 connection whose time zone is UTC.

    All times are in seconds. ``timeout`` covers name resolution, all addresses and the server's answer. The default of
    ``statement_timeout`` and ``lock_timeout`` is the server's setting.

    Raises:
        Unreachable: no connection, or a pooler drops the settings.
        Problem: psycopg2 is missing.
    """
    psycopg2 = driver()
    deadline = time.monotonic() + timeout
    settings = {
        # The time of a daily bar is midnight UTC of its date.
        "timezone": _UTC,
        # JIT compiles the part of each chunk, which takes longer than the statement.
        "jit": "off",
        # psycopg2 reads no other style, and our code compares names of types and keys without quotes.
        "intervalstyle": "postgres",
        "quote_all_identifiers": "off",
        "default_transaction_read_only": "on" if read_only else None,
        "statement_timeout": _milliseconds(statement_timeout),
        "lock_timeout": _milliseconds(lock_timeout),
    }

    def attempt() -> Any:
        address = _answering_address(server.host, server.port, deadline)
        session = psycopg2.connect(
            host=server.host,
            port=server.port,
            user=server.user,
            password=server.password,
            dbname=server.database,
            # libpq takes whole seconds, at least 2; `within` enforces the exact time.
            connect_timeout=max(2, round(timeout + 1)),
            application_name=application_name,
            options=" ".join(f"-c {name}={value}" for name, value in settings.items() if value is not None),
            **{"sslmode": PREFER, **server.tls()},
            **({"hostaddr": address} if address else {}),
        )
        if session.get_parameter_status("TimeZone") != _UTC:
            session.close()
            raise Unreachable("pooler", "the server did not get the session's settings")
        return session

    try:
        return within(timeout, attempt, late=lambda connection: connection.close())
    except (TimedOut, OSError, ValueError, psycopg2.Error) as error:
        # ValueError: psycopg2 could not decode a message because it is not UTF-8.
        raise Unreachable.of(error) from None


def reach(server: Server, timeout: float) -> None:
    """Raise ``Unreachable`` if the server accepts no connections; needs no driver and no password."""

    def attempt() -> None:
        if _answering_address(server.host, server.port, time.monotonic() + timeout) is None:
            with socket.socket(socket.AF_UNIX) as unix:
                unix.connect(f"{server.host}/.s.PGSQL.{server.port}".replace("@", "\0", 1))

    try:
        within(timeout, attempt)
    except (TimedOut, OSError) as error:
        raise Unreachable.of(error) from None


def _milliseconds(seconds: float | None) -> str | None:
    """Return a setting's value; at least 1, because 0 would switch the timeout off."""
    return None if seconds is None else str(max(1, round(seconds * 1000)))


def _answering_address(host: str, port: int, deadline: float) -> str | None:
    """Return the first address of ``host`` that accepts TCP connections; None for a Unix socket.

    libpq applies its timeout to each address; here, each address gets its share of the remaining time.
    """
    if host.startswith(("/", "@")):
        return None
    addresses = [found[4] for found in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)]
    failed: OSError = OSError()
    for position, address in enumerate(addresses):
        share = (deadline - time.monotonic()) / (len(addresses) - position)
        try:
            with socket.create_connection((str(address[0]), port), timeout=max(share, 0.05)):
                return str(address[0])
        except OSError as error:
            failed = error
    raise failed


# English messages of libpq and the server; they are matched and never shown.
_MEANINGS = (
    (r"password authentication failed|no password supplied", "password"),
    (r"pg_hba\.conf|authentication failed", "access"),
    # Before "ssl", because each of them may come from a TLS connection.
    (r"connection reset|broken pipe|syscall error", "closed"),
    # Before "no such file", because the missing file may be a certificate.
    (r"\bssl\b.*(support|require|error|certificate|verif)|(root|server) certificate", "ssl"),
    (r"unsupported startup parameter", "pooler"),
    (r"too many clients|too many connections|remaining connection slots", "connections"),
    (r"starting up|shutting down|in recovery mode|system is not (yet )?accepting", "starting"),
    (r"role .* does not exist", "role"),
    (r"database .* does not exist", "database"),
    (r"permission denied", "rights"),
    (r"connection refused|no such file or directory", "refused"),
    (r"timeout expired", "silent"),
    (r"server closed the connection|invalid response|expected authentication request", "closed"),
)
# By SQLSTATE, or else by its first two characters.
_CODES = {
    "28P01": "password",
    "28": "access",
    "3D000": "database",
    "53300": "connections",
    "53100": "disk",
    "53200": "locks",
    "53400": "limit",
    "57P03": "starting",
    "57P01": "closed",
    "57P02": "closed",
    "57014": "slow",
    "55P03": "locked",
    "55006": "busy",
    "40": "conflict",
    "42501": "rights",
    "42P01": "missing",
    "42703": "missing",
    "42883": "missing",
    "42": "statement",
    "0A": "unsupported",
    "08": "node",
    "22": "value",
    "23": "rule",
    "25006": "read_only",
    "54": "limit",
    "58": "internal",
    "XX": "internal",
}
# Citus reports a lost worker as an internal or system error with one of these messages,
_NODE = (
    r"failure on connection|terminating connection|connection to the remote node|failed to COPY to shard"
    r"|server closed the connection"
)
# and a row that a worker refused with this one.
_RULE = r"violates [a-z -]*constraint"
# Classes of SQLSTATE whose messages quote values of the data.
_QUOTING = ("22", "23")
# What happened and what to do, by meaning.
_SENTENCES = {
    "silent": "PostgreSQL at {at} does not answer in time. Check postgres_host, postgres_port, the firewall and the"
    " server's load.",
    "name": "The host name {host} cannot be resolved. Check postgres_host and DNS.",
    "refused": "PostgreSQL at {at} refuses connections. Is it running? Otherwise check postgres_host and"
    " postgres_port.",
    "network": "PostgreSQL at {at} cannot be reached over the network. Check postgres_host, route and firewall.",
    "password": "PostgreSQL at {at} refuses the password of user {user}. Check postgres_password"
    " (vault_postgres_password in the vault) and postgres_user, then write .env again with `--tags dotenv`.",
    "access": "PostgreSQL at {at} does not let user {user} into database {database} from this host. Add a line for it"
    " to the server's pg_hba.conf and reload the server, or check postgres_user. If the server accepts only connections"
    " with TLS, set postgres_sslmode: require.",
    "connections": "PostgreSQL at {at} has no connection left. End idle sessions (pg_stat_activity), or raise"
    " max_connections on the server or the CONNECTION LIMIT of {user} or {database}.",
    "starting": "PostgreSQL at {at} is starting, stopping or recovering. Try again in a moment, or see its log.",
    "role": "PostgreSQL at {at} does not know the user {user}. Check postgres_user, or create the role on the server.",
    "database": "PostgreSQL at {at} has no database {database}. Check postgres_db, or create it with"
    " `ansible-playbook playbooks/reset.yml --tags database` and database_manage: true.",
    "ssl": "PostgreSQL at {at} and this host do not agree on TLS. Check postgres_sslmode and postgres_sslrootcert, and"
    " the server's ssl setting and pg_hba.conf.",
    "pooler": "A connection pooler such as PgBouncer answers at {at}, and drops the time zone, timeouts and locks of a"
    " session. Set postgres_host and postgres_port to the PostgreSQL server itself.",
    "closed": "PostgreSQL at {at} closed the connection. Check that postgres_port is the port of PostgreSQL itself, and"
    " see the server's log.",
    "slow": "PostgreSQL at {at} did not finish the statement in time. Look for load and locks in pg_stat_activity on"
    " the server, and for a short statement_timeout of {user} or {database}.",
    "locked": "Another session of PostgreSQL at {at} holds a lock in database {database}. Find it in pg_locks and"
    " pg_stat_activity, and wait for it or end it.",
    "busy": "PostgreSQL at {at} cannot copy its template database while others use it. Try again.",
    "rights": "User {user} lacks a privilege in database {database} at {at}: {message}. Let an administrator GRANT it,"
    " or set postgres_admin_user and run `ansible-playbook playbooks/reset.yml --tags database`.",
    "read_only": "PostgreSQL at {at} is a standby, or database {database} is read-only. Set postgres_host to the"
    " primary server, or reset default_transaction_read_only of {user} and {database}.",
    "disk": "The disk of PostgreSQL at {at} is full. Free some space on the server.",
    "locks": "PostgreSQL at {at} has no memory left for this statement: {message}. If its log says 'shared memory', set"
    " max_locks_per_transaction there to 256 or more and restart it; otherwise give the server more memory.",
    "limit": "PostgreSQL at {at} has reached a limit of its configuration: {message}. Raise the setting that it names;"
    " for TimescaleDB, set timescaledb.max_tuples_decompressed_per_dml_transaction = 0.",
    "conflict": "Other sessions of PostgreSQL at {at} change the same rows of database {database}, and retries did not"
    " help: {message}. Run this again when the other job has ended.",
    "missing": "Database {database} at {at} lacks a table, column or function: {message}. Create it with"
    " `ansible-playbook playbooks/reset.yml --tags database`.",
    "statement": "PostgreSQL at {at} does not accept a statement of this project: {message}. Update it if it is older"
    " than PostgreSQL 12; otherwise report this with the server's version.",
    "unsupported": "PostgreSQL at {at} cannot do this on a table of this kind: {message}. If the table has row level"
    ' security, let an administrator run ALTER ROLE "{user}" BYPASSRLS, or ALTER TABLE … NO FORCE ROW LEVEL SECURITY'
    " for the owner. If it has rules, drop them. Otherwise report this with the server's version and the table's"
    " layout.",
    "node": "PostgreSQL at {at} lost a connection or one of its own nodes: {message}. Check that all workers run and"
    " that the coordinator reaches them, then run this again.",
    "value": "A value does not fit its column in database {database}: {message}. Set database_widen: true and run"
    " `ansible-playbook playbooks/reset.yml --tags database`.",
    "rule": "A row breaks a constraint of its table in database {database}: {message}. Look for constraints and"
    " triggers that this project did not create.",
    "internal": "PostgreSQL at {at} has an internal error: {message}. See the server's log.",
    "other": "PostgreSQL at {at} could not run a statement in database {database}: {message}. See the server's log.",
    "unknown": "PostgreSQL at {at} refused user {user} on database {database} ({message}). Check postgres_user,"
    " postgres_password and postgres_db; the server's log has the reason.",
}


def meaning(error: Exception) -> str:
    """Return the kind of a failure, as a word of ``_SENTENCES``.

    psycopg2 gives no SQLSTATE if a connection fails, and the server's messages may be in any language.
    """
    if isinstance(error, Unreachable):
        return error.kind
    if isinstance(error, (TimedOut, TimeoutError)):
        return "silent"
    if isinstance(error, socket.gaierror):
        return "name"
    if isinstance(error, OSError):
        return "refused" if isinstance(error, ConnectionRefusedError) else "network"
    code = getattr(error, "pgcode", None)
    if code:
        if code[:2] in ("XX", "58") and re.search(_NODE, str(error)):
            return "node"
        if code[:2] == "XX" and re.search(_RULE, str(error)):
            return "rule"
        return _CODES.get(code) or _CODES.get(code[:2], "other")
    text = str(error).lower()
    return next((kind for words, kind in _MEANINGS if re.search(words, text)), "unknown")


def cause(error: Exception) -> str:
    """Return the cause of a failure for the schedule: ``disk`` or ``database``."""
    return "disk" if meaning(error) == "disk" else "database"


def server_message(error: Exception) -> str:
    """Return the server's message for an SQL error, without values of the data; the type of any other error."""
    if isinstance(error, Unreachable):
        return error.cause
    code, diagnosis = getattr(error, "pgcode", None), getattr(error, "diag", None)
    if not code:
        return type(error).__name__
    text = getattr(diagnosis, "message_primary", None) or "no message"
    if code.startswith(_QUOTING):
        text = re.split(r"\s*[:：]|\s*[(=]|\s*[\"'«»„“].*$", text, maxsplit=1)[0] or "a value"
    named = {name: getattr(diagnosis, f"{name}_name", None) for name in ("constraint", "table", "column")}
    where = [f"{name} {value}" for name, value in named.items() if value]
    return f"{' '.join(text.split())} ({', '.join([*where, f'SQLSTATE {code}'])})"


def explain(error: Exception, server: Server) -> str:
    """Return one line that says what is wrong and what to do; it quotes only the ``server_message``."""
    return _SENTENCES[meaning(error)].format(
        at=server.place(),
        host=server.host,
        user=server.user,
        database=server.database,
        message=server_message(error),
    )

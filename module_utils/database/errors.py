"""Classify errors of PostgreSQL: one word for programs, and a message for people."""

from __future__ import annotations

import re
import socket

from ansible.module_utils.database.server import Server


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

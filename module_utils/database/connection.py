"""The way to PostgreSQL: its address as text, a connection in bounded time, and what an error means.

``psycopg2`` is imported where a connection is made, so that whoever needs the address alone does not need it.
"""

from __future__ import annotations

import queue
import re
import socket
import threading
import time
from dataclasses import dataclass
from typing import Any, Callable, NoReturn, TypeVar
from urllib.parse import quote

from ansible.module_utils.reporting import Problem

T = TypeVar("T")

VARIABLES = "group_vars/all/postgres.yml"


@dataclass(frozen=True)
class Server:
    """Where a database is and who asks; ``host`` is a name, an address, or the folder of a Unix socket."""

    host: str
    port: int
    user: str
    password: str
    database: str

    def __repr__(self) -> str:
        return f"Server({self.masked_url()})"

    def url(self) -> str:
        """Return the address as libpq, SQLAlchemy and psycopg2 read it, every part percent-encoded."""
        return self._url(quote(self.password, safe=""))

    def masked_url(self) -> str:
        """Return the address for people and logs, built from the parts: no piece of a password is in it."""
        return self._url("***")

    def place(self) -> str:
        """Return host and port as people write them."""
        return f"{self.host}:{self.port}" if ":" not in self.host else f"[{self.host}]:{self.port}"

    def _url(self, password: str) -> str:
        host = f"[{quote(self.host, safe=':')}]" if ":" in self.host else quote(self.host, safe="")
        user, database = quote(self.user, safe=""), quote(self.database, safe="")
        return f"postgresql://{user}:{password}@{host}:{self.port}/{database}"


class TimedOut(Exception):
    """No answer within the time allowed."""


class Unreachable(Exception):
    """No connection came about; ``kind`` says why in one word, and the driver's text is left behind."""

    def __init__(self, kind: str, cause: str) -> None:
        super().__init__(kind)
        self.kind = kind
        self.cause = cause


def within(seconds: float, work: Callable[[], T], late: Callable[[T], None] = lambda result: None) -> T:
    """Return what ``work`` returns, or raise ``TimedOut`` after ``seconds`` whatever it hangs in.

    Name resolution and libpq have no time-out that holds in all cases, so the work runs in a thread that is
    left behind. ``late`` gets a result that nobody waits for any more, to close it.
    """
    done: queue.SimpleQueue[Callable[[], T]] = queue.SimpleQueue()
    lock, abandoned = threading.Lock(), threading.Event()

    def deliver() -> None:
        try:
            result = work()
        except Exception as error:  # noqa: BLE001 - raised again where it is waited for
            failed = error

            def again() -> NoReturn:
                raise failed

            done.put(again)
            return
        with lock:
            done.put(lambda: result)
            if abandoned.is_set():
                late(result)

    threading.Thread(target=deliver, daemon=True).start()
    try:
        outcome = done.get(timeout=max(seconds, 0))
    except queue.Empty:
        with lock:
            if done.empty():
                abandoned.set()
                raise TimedOut from None
            outcome = done.get()
    return outcome()


def driver() -> Any:
    """Return psycopg2; raises ``Problem`` where this Python does not have it."""
    try:
        import psycopg2
    except ImportError as error:
        raise Problem(
            "This Python has no psycopg2. Keep psycopg2-binary in project_packages, and build the environment"
            " with `ansible-playbook playbooks/reset.yml --tags venv`."
        ) from error
    return psycopg2


def connect(
    server: Server,
    timeout: float,
    *,
    read_only: bool = False,
    statement_timeout: float | None = None,
    lock_timeout: float | None = None,
    application_name: str = "ansible-reset",
) -> Any:
    """Return an open psycopg2 connection, its time zone UTC.

    Args:
        server: where to.
        timeout: seconds for everything together: name resolution, all addresses, the server's answer.
        read_only: let the server refuse every change.
        statement_timeout, lock_timeout: seconds for each statement, and for its wait for a lock; without one
            the server's own setting holds.
        application_name: as the server's ``pg_stat_activity`` shows it.

    Raises:
        Unreachable: for whatever reason; ``explain`` turns it into words.
        Problem: psycopg2 is missing.
    """
    psycopg2 = driver()
    deadline = time.monotonic() + timeout
    settings = {
        # A daily bar stands at midnight UTC of its date, whatever the server's zone.
        "timezone": "UTC",
        "default_transaction_read_only": "on" if read_only else None,
        "statement_timeout": _milliseconds(statement_timeout),
        "lock_timeout": _milliseconds(lock_timeout),
    }

    def attempt() -> Any:
        address = _answering_address(server.host, server.port, deadline)
        return psycopg2.connect(
            host=server.host,
            port=server.port,
            user=server.user,
            password=server.password,
            dbname=server.database,
            # Whole seconds and at least 2 for libpq; `within` holds the exact time.
            connect_timeout=max(2, round(timeout + 1)),
            application_name=application_name,
            options=" ".join(f"-c {name}={value}" for name, value in settings.items() if value is not None),
            **({"hostaddr": address} if address else {}),
        )

    try:
        return within(timeout, attempt, late=lambda connection: connection.close())
    except (TimedOut, OSError, ValueError, psycopg2.Error) as error:
        # ValueError: a message in another encoding than UTF-8 comes back as a failure to decode it.
        raise Unreachable(meaning(error), type(error).__name__) from None


def _milliseconds(seconds: float | None) -> str | None:
    """Return a setting's value; at least 1, for 0 would switch the time-out off."""
    return None if seconds is None else str(max(1, round(seconds * 1000)))


def _answering_address(host: str, port: int, deadline: float) -> str | None:
    """Return the first address of ``host`` that takes TCP connections; None for a Unix socket.

    libpq's own time-out holds for each address anew; here each gets its share of what is left.
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


# What a message of libpq or of the server says in English; matched, never shown.
_MEANINGS = (
    (r"password authentication failed|no password supplied", "password"),
    (r"pg_hba\.conf|authentication failed", "access"),
    (r"too many clients|too many connections|remaining connection slots", "connections"),
    (r"starting up|shutting down|in recovery mode", "starting"),
    (r"role .* does not exist", "role"),
    (r"database .* does not exist", "database"),
    (r"permission denied", "rights"),
    (r"connection refused|no such file or directory", "refused"),
    (r"timeout expired", "silent"),
    (r"server closed the connection|invalid response|expected authentication request", "closed"),
    (r"\bssl\b.*(support|require|error|certificate|verif)", "ssl"),
)
_CODES = {
    "28P01": "password",
    "28000": "access",
    "3D000": "database",
    "53300": "connections",
    "57P03": "starting",
    "57P01": "closed",
    "57014": "slow",
    "55P03": "locked",
    "55006": "busy",
    "42501": "rights",
    "25006": "read_only",
    "53100": "disk",
}


def meaning(error: Exception) -> str:
    """Return what kind of failure this is, as one word; ``unknown`` where nothing fits.

    A connection that failed carries no SQLSTATE in psycopg2, and the server may speak another language.
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
        return _CODES.get(code, "unknown")
    text = str(error).lower()
    return next((kind for words, kind in _MEANINGS if re.search(words, text)), "unknown")


def explain(error: Exception, server: Server) -> str:
    """Return one line that says what is wrong and what to do; nothing of the driver's text is in it."""
    at, user, database = server.place(), server.user, server.database
    sentences = {
        "silent": f"PostgreSQL at {at} does not answer in time. Check postgres_host and postgres_port"
        f" ({VARIABLES}), the firewall, and the server's load.",
        "name": f"The host name {server.host} cannot be resolved. Check postgres_host ({VARIABLES}) and DNS.",
        "refused": f"PostgreSQL at {at} refuses connections. Is it running?"
        f" Otherwise check postgres_host and postgres_port ({VARIABLES}).",
        "network": f"PostgreSQL at {at} cannot be reached over the network."
        f" Check postgres_host ({VARIABLES}), the route and the firewall.",
        "password": f"PostgreSQL at {at} refuses the password of user {user}."
        " Check postgres_password (vault_postgres_password in the vault) and postgres_user,"
        " then write .env anew with `--tags dotenv`.",
        "access": f"PostgreSQL at {at} does not let user {user} into database {database} from this host."
        " Add a line for it to the server's pg_hba.conf and reload the server, or check postgres_user.",
        "connections": f"PostgreSQL at {at} has no connection left."
        " End idle sessions (pg_stat_activity) or raise max_connections on the server.",
        "starting": f"PostgreSQL at {at} is starting, stopping or recovering. Try again in a moment;"
        " its log says more.",
        "role": f"PostgreSQL at {at} does not know the user {user}."
        f" Check postgres_user ({VARIABLES}), or create the role on the server.",
        "database": f"PostgreSQL at {at} has no database {database}. Check postgres_db ({VARIABLES}), or"
        " create it with `ansible-playbook playbooks/reset.yml --tags database` and database_manage: true.",
        "ssl": f"PostgreSQL at {at} and this host do not agree on SSL."
        " Check the server's ssl setting and pg_hba.conf, and PGSSLMODE on this host.",
        "closed": f"PostgreSQL at {at} closed the connection. Check that postgres_port ({VARIABLES}) is"
        " PostgreSQL's own port, and the server's log.",
        "slow": f"PostgreSQL at {at} did not finish the statement in time. Look for load or locks in"
        " pg_stat_activity on the server.",
        "locked": f"Another session of PostgreSQL at {at} holds a lock in database {database}."
        " Find it in pg_locks and pg_stat_activity, and wait for it or end it.",
        "busy": f"PostgreSQL at {at} cannot copy its template database while others use it. Try again.",
        "rights": f"User {user} lacks a right in database {database} at {at}."
        " Let an administrator GRANT it, or use another postgres_user.",
        "read_only": f"PostgreSQL at {at} takes no changes: it is a standby, or the database is read-only."
        " Set postgres_host to the primary server.",
        "disk": f"The disk of PostgreSQL at {at} is full. Make room on the server.",
    }
    return sentences.get(meaning(error)) or (
        f"PostgreSQL at {at} refused user {user} on database {database}{_code(error)}."
        f" Check postgres_user, postgres_password and postgres_db ({VARIABLES}, vault); the server's log has"
        " the reason."
    )


def _code(error: Exception) -> str:
    code = getattr(error, "pgcode", None)
    if code:
        return f" (SQLSTATE {code})"
    return f" ({error.cause if isinstance(error, Unreachable) else type(error).__name__})"

"""The way to PostgreSQL: a connection in bounded time."""

from __future__ import annotations

import socket
import threading
import time
from concurrent.futures import Future, wait
from typing import Any, Callable, TypeVar

from ansible.module_utils.database.errors import TimedOut, Unreachable
from ansible.module_utils.database.server import PREFER, Server
from ansible.module_utils.reporting import package

T = TypeVar("T")

# UTC, spelt as no server has it: what the server reports then shows that a session's settings reach it.
_UTC = "UTC0"


def within(seconds: float, work: Callable[[], T], late: Callable[[T], None] = lambda result: None) -> T:
    """Return what ``work`` returns, or raise ``TimedOut`` after ``seconds`` whatever it hangs in.

    Name resolution and libpq have no time-out that holds in all cases, so the work runs in a thread that is
    left behind. ``late`` gets a result that nobody waits for any more, to close it.
    """
    outcome: Future[T] = Future()

    def deliver() -> None:
        try:
            outcome.set_result(work())
        except Exception as error:  # noqa: BLE001 - raised again where it is waited for
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
    """Return psycopg2; raises ``Problem`` if this Python does not have it."""
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
    """Return an open psycopg2 connection, its time zone UTC.

    All times are seconds. ``timeout`` is for name resolution, all addresses and the server's answer together. Without
    ``statement_timeout`` and ``lock_timeout`` the server's own hold.

    Raises:
        Unreachable: for whatever reason, also if a pooler drops the settings.
        Problem: psycopg2 is missing.
    """
    psycopg2 = driver()
    deadline = time.monotonic() + timeout
    settings = {
        # A daily bar stands at midnight UTC of its date, whatever the server's zone.
        "timezone": _UTC,
        # It compiles each chunk's part of a statement, which lasts longer than the statement.
        "jit": "off",
        # psycopg2 reads no other, and quoted types and keys are not the ones that are looked for.
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
            # Whole seconds and at least 2 for libpq; `within` holds the exact time.
            connect_timeout=max(2, round(timeout + 1)),
            application_name=application_name,
            options=" ".join(f"-c {name}={value}" for name, value in settings.items() if value is not None),
            **{"sslmode": PREFER, **server.tls()},
            **({"hostaddr": address} if address else {}),
        )
        if session.get_parameter_status("TimeZone") != _UTC:
            session.close()
            raise Unreachable("pooler", "the session's settings did not reach the server")
        return session

    try:
        return within(timeout, attempt, late=lambda connection: connection.close())
    except (TimedOut, OSError, ValueError, psycopg2.Error) as error:
        # ValueError: a message in another encoding than UTF-8 comes back as a failure to decode it.
        raise Unreachable.of(error) from None


def reach(server: Server, timeout: float) -> None:
    """Raise ``Unreachable`` if nothing takes connections there; no driver and no password are needed."""

    def attempt() -> None:
        if _answering_address(server.host, server.port, time.monotonic() + timeout) is None:
            with socket.socket(socket.AF_UNIX) as unix:
                unix.connect(f"{server.host}/.s.PGSQL.{server.port}".replace("@", "\0", 1))

    try:
        within(timeout, attempt)
    except (TimedOut, OSError) as error:
        raise Unreachable.of(error) from None


def _milliseconds(seconds: float | None) -> str | None:
    """Return a setting's value; at least 1, for 0 would switch the time-out off."""
    return None if seconds is None else str(max(1, round(seconds * 1000)))


def _answering_address(host: str, port: int, deadline: float) -> str | None:
    """Return the first address of ``host`` that takes TCP connections; None for a Unix socket.

    libpq's own time-out holds for each address again; here each gets its share of what is left.
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

"""Connect to PostgreSQL within a time limit."""

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

# A spelling of UTC that no server uses. If the server reports it, our settings have reached the session.
_UTC = "UTC0"


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

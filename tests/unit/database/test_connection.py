"""URLs of databases, timeouts of connections, the kinds of errors, and their messages."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import psycopg2
import pytest
from ansible.module_utils.database import connection
from ansible.module_utils.database.connection import TimedOut, Unreachable
from ansible.module_utils.database.server import Server
from ansible.module_utils.health import settings
from hypothesis import given
from hypothesis import strategies as st
from psycopg2.extensions import parse_dsn

SERVER = Server("localhost", 5432, "postgres", "password", "data_nexus")
texts = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1)


def test_the_url_reads_as_the_contract_says() -> None:
    assert SERVER.url() == "postgresql://postgres:password@localhost:5432/data_nexus"


@given(texts, texts, texts)
def test_libpq_reads_every_part_back(user: str, password: str, database: str) -> None:
    assert parse_dsn(Server("db.example", 1, user, password, database).url()) == {
        "host": "db.example",
        "port": "1",
        "user": user,
        "password": password,
        "dbname": database,
    }


@pytest.mark.parametrize("host", ["::1", "fe80::1%eth0", "/var/run/postgresql", "10.0.0.1"])
def test_libpq_reads_every_kind_of_host_back(host: str) -> None:
    assert parse_dsn(replace(SERVER, host=host).url())["host"] == host


@given(texts)
def test_no_password_is_in_what_is_shown(password: str) -> None:
    assert replace(SERVER, password=password).masked_url() == SERVER.masked_url()
    assert replace(SERVER, password=password).place() == "localhost:5432"
    assert repr(replace(SERVER, password=password)) == f"Server({SERVER.masked_url()})"


@pytest.mark.parametrize(
    ("given", "query"),
    [
        ({}, ""),
        ({"sslmode": "prefer"}, ""),
        ({"sslmode": "require"}, "?sslmode=require"),
        (
            {"sslmode": "verify-full", "sslrootcert": "/ca & co"},
            "?sslmode=verify-full&sslrootcert=%2Fca%20%26%20co",
        ),
    ],
)
def test_the_url_says_of_tls_what_libpq_would_not_do_by_itself(given: dict[str, Any], query: str) -> None:
    url = replace(SERVER, **given).url()
    assert url == SERVER.url() + query
    assert settings.server(url, ".env") == replace(SERVER, **given)


def test_a_result_nobody_waits_for_is_closed() -> None:
    closed = threading.Event()
    release = threading.Event()

    def slow() -> str:
        release.wait(10)
        return "late"

    with pytest.raises(TimedOut):
        connection.within(0.05, slow, late=lambda result: closed.set())
    release.set()
    assert closed.wait(10)


def test_an_exception_of_the_work_is_raised() -> None:
    with pytest.raises(ZeroDivisionError):
        connection.within(5, lambda: 1 / 0)


@pytest.fixture
def silent() -> Iterator[int]:
    """The port of a server that accepts connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


def test_a_silent_server_is_given_up_in_time(silent: int) -> None:
    started = time.monotonic()
    with pytest.raises(Unreachable, match="silent"):
        connection.connect(replace(SERVER, host="127.0.0.1", port=silent), 0.2)
    assert time.monotonic() - started < 2


def test_a_name_that_hangs_is_given_up_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    release = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: release.wait(20))
    started = time.monotonic()
    with pytest.raises(Unreachable, match="silent"):
        connection.connect(replace(SERVER, host="slow.example"), 0.2)
    assert time.monotonic() - started < 2
    release.set()


def test_all_addresses_together_keep_the_time(silent: int, monkeypatch: pytest.MonkeyPatch) -> None:
    dead = ("127.0.0.1", silent)
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: [(2, 1, 6, "", dead)] * 5)
    monkeypatch.setattr(socket, "create_connection", _never)
    started = time.monotonic()
    with pytest.raises(Unreachable, match="silent"):
        connection.connect(replace(SERVER, host="many.example"), 0.2)
    assert time.monotonic() - started < 2


def _never(address: tuple[str, int], timeout: float) -> socket.socket:
    time.sleep(timeout)
    raise TimeoutError


def test_a_closed_port_is_refused_at_once() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with pytest.raises(Unreachable, match="refused"):
        connection.connect(replace(SERVER, host="127.0.0.1", port=port), 5)


class Sql(Exception):
    """An error as psycopg2 raises it for a statement."""

    def __init__(self, code: str, message: str, **named: str) -> None:
        super().__init__(message)
        self.pgcode = code
        self.diag = SimpleNamespace(message_primary=message, **named)


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ('FATAL:  password authentication failed for user "x"', "password"),
        ("fe_sendauth: no password supplied", "password"),
        ('FATAL:  no pg_hba.conf entry for host "::1", user "x", database "y", no encryption', "access"),
        ("FATAL:  sorry, too many clients already", "connections"),
        ('FATAL:  database "x" does not exist', "database"),
        ('FATAL:  role "x" does not exist', "role"),
        ('FATAL:  permission denied for database "x"', "rights"),
        ("FATAL:  the database system is starting up", "starting"),
        ("FATAL:  the database system is not yet accepting connections", "starting"),
        ("server closed the connection unexpectedly", "closed"),
        ("could not receive data from server: Connection reset by peer", "closed"),
        ("SSL SYSCALL error: EOF detected", "closed"),
        ("server does not support SSL, but SSL was required", "ssl"),
        ('root certificate file "/nowhere" does not exist', "ssl"),
        ("FATAL:  unsupported startup parameter: options", "pooler"),
        ("FATAL:  Passwort-Authentifizierung fehlgeschlagen", "unknown"),
    ],
)
def test_a_message_of_the_server_is_understood(text: str, kind: str) -> None:
    assert connection.meaning(psycopg2.OperationalError(text)) == kind


@pytest.mark.parametrize(
    ("kind", "what_to_do"),
    [
        ("refused", "postgres_port"),
        ("password", "vault_postgres_password"),
        ("database", "--tags database"),
        ("access", "pg_hba.conf"),
        ("connections", "max_connections"),
        ("connections", "CONNECTION LIMIT"),
        ("slow", "statement_timeout"),
        ("read_only", "default_transaction_read_only"),
        ("unsupported", "has rules"),
        ("unknown", "postgres_user"),
    ],
)
def test_an_explanation_says_what_to_do(kind: str, what_to_do: str) -> None:
    text = connection.explain(Unreachable(kind, "OperationalError"), SERVER)
    assert what_to_do in text
    assert "\n" not in text


def test_an_explanation_holds_nothing_of_the_drivers_text() -> None:
    error = psycopg2.OperationalError('invalid percent-encoded token: "p%zz"')
    assert "p%zz" not in connection.explain(error, SERVER)


@pytest.mark.parametrize(
    "words",
    [
        "failure on connection marked as essential: worker-1:5432",
        "server closed the connection unexpectedly",
        "terminating connection due to administrator command",
    ],
)
def test_a_worker_of_citus_that_went_away_is_told_as_one(words: str) -> None:
    assert "all workers run" in connection.explain(Sql("XX000", words), SERVER)


@pytest.mark.parametrize("kind", ["check", "foreign key", "not-null", "unique"])
def test_a_row_that_a_worker_of_citus_does_not_take_is_told_as_one(kind: str) -> None:
    words = f'new row for relation "market_data_102022" violates {kind} constraint "busy_102022"'
    text = connection.explain(Sql("XX000", words), SERVER)
    assert "breaks a constraint" in text
    assert "busy_102022" in text


@pytest.mark.parametrize(
    ("code", "what_to_do"),
    [
        ("53200", "max_locks_per_transaction"),
        ("53400", "max_tuples_decompressed_per_dml_transaction"),
        ("0A000", "table of this kind"),
        ("42601", "does not accept a statement"),
        ("42P01", "--tags database"),
        ("XX000", "See the server's log"),
        ("40P01", "when the other job has ended"),
        ("40001", "when the other job has ended"),
        ("08006", "all workers run"),
        ("22003", "database_widen"),
        ("23514", "constraint"),
        ("P0001", "could not run a statement"),
        ("99999", "could not run a statement"),
    ],
)
def test_an_error_of_a_statement_says_what_happened_and_never_blames_the_password(
    code: str, what_to_do: str
) -> None:
    text = connection.explain(Sql(code, "the server's words"), SERVER)
    assert what_to_do in text
    assert f"(SQLSTATE {code})" in text
    assert "password" not in text
    assert "refuse" not in text


def test_a_constraint_is_told_by_its_name() -> None:
    error = Sql(
        "23514", 'new row for relation "s3cret"', constraint_name="positive", table_name="market_data"
    )
    assert (
        "new row for relation (constraint positive, table market_data, SQLSTATE 23514)."
        in connection.explain(error, SERVER)
    )


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("22P02", 'invalid input syntax for type numeric: "s3cret"'),
        ("22003", "value s3cret is out of range".replace("value s3cret", "value “s3cret”")),
        ("22007", "ungültige Eingabe: »s3cret«"),
        ("23505", "doppelter Schlüsselwert „s3cret“"),
    ],
)
def test_no_value_of_the_data_is_in_a_message(code: str, message: str) -> None:
    assert "s3cret" not in connection.explain(Sql(code, message), SERVER)

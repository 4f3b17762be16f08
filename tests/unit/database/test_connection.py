"""URLs of databases, and timeouts of connections."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from ansible.module_utils.database import connection
from ansible.module_utils.database.errors import TimedOut, Unreachable
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

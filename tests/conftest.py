"""Makes ``library/`` and ``module_utils/`` importable as Ansible sees them; lends out a PostgreSQL."""

from __future__ import annotations

import os
import sys
import uuid
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import ansible.module_utils
import hypothesis
import psycopg2
import pytest

ROOT = Path(__file__).resolve().parent.parent
sys.path += [str(ROOT / "library"), str(ROOT / "tests")]
ansible.module_utils.__path__.append(str(ROOT / "module_utils"))

from ansible.module_utils.database.connection import Server
from ansible.module_utils.sandbox import postgres

# Random examples a property: a few in the loop of the day, many in `make faults`.
FULL = os.environ.get("FAULTS") == "full"
hypothesis.settings.register_profile("loop", max_examples=100, deadline=None)
hypothesis.settings.register_profile("full", max_examples=5000, deadline=None)
hypothesis.settings.load_profile("full" if FULL else "loop")


@dataclass(frozen=True, repr=False)
class Database(Server):
    """A database of the session's PostgreSQL, whose superuser asks."""

    def connect(self, **options: Any) -> psycopg2.extensions.connection:
        """A new connection; the test closes it, or leaves it to the end of the database."""
        connection: psycopg2.extensions.connection = psycopg2.connect(self.url(), **options)
        return connection

    def run(self, *statements: str, values: Any = None) -> None:
        """Execute statements, each on its own."""
        with closing(self.connect()) as connection:
            connection.autocommit = True
            with connection.cursor() as cursor:
                for statement in statements:
                    cursor.execute(statement, values)


@pytest.fixture(scope="session")
def postgres_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    """One PostgreSQL for the whole session, with a password that no URL takes unencoded."""
    cluster = postgres.Cluster(tmp_path_factory.mktemp("postgres") / "cluster")
    server = Database("127.0.0.1", postgres.free_port(), "postgres", "Pa:ss/w@rd%zz '1'", "postgres")
    try:
        cluster.initialise(server.user, server.password)
        cluster.start(server.port, {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"})
        yield server
    finally:
        cluster.remove()


@pytest.fixture
def database(postgres_server: Database) -> Iterator[Database]:
    """A fresh, empty database, dropped afterwards whoever is still connected."""
    fresh = replace(postgres_server, database=f"test_{uuid.uuid4().hex[:12]}")
    postgres_server.run(f'CREATE DATABASE "{fresh.database}"')
    yield fresh
    postgres_server.run(f'DROP DATABASE IF EXISTS "{fresh.database}" WITH (FORCE)')

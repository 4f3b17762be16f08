"""The databases that people run: what ``TEST_LAYOUT`` chooses for the tests that need a PostgreSQL.

``plain`` and ``partitioned`` run on the embedded PostgreSQL. The others need TimescaleDB and Citus for PostgreSQL 15:
out of the folder that ``ENGINES`` names, or from the servers of ``TEST_TIMESCALEDB_URL`` and ``TEST_CITUS_URL``.
``tools/engines.sh`` runs the tests on every layout that can be had.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import psycopg2
from ansible.module_utils.database import tables
from ansible.module_utils.database.schema import Schema
from ansible.module_utils.database.server import Server
from ansible.module_utils.health import settings
from ansible.module_utils.sandbox import postgres

ROOT = Path(__file__).resolve().parent.parent
PROGRAMS = "usr/lib/postgresql/15/bin"
FAST = {
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "max_wal_size": "128MB",  # its files lie in memory
}
# A verifier is 4,096 digests for every connection; since PostgreSQL 16 one will do.
EMBEDDED = {"scram_iterations": "1"}
TIMESCALEDB = {
    "shared_preload_libraries": "timescaledb",
    "timescaledb.telemetry_level": "off",
    # Nothing happens that a test did not ask for.
    "timescaledb.max_background_workers": "0",
}
# Citus does not send the session's time zone to the workers, so theirs is another one here.
WORKER = {"shared_preload_libraries": "citus", "timezone": "America/New_York"}
WORKERS = 2
TRUSTING = "host all all 127.0.0.1/32 trust\nhost all all ::1/128 trust\n"


@dataclass(frozen=True, repr=False)
class Database(Server):
    """A database of the session's PostgreSQL, whose superuser asks."""

    def connect(self, **options: Any) -> psycopg2.extensions.connection:
        """A new connection; the test closes it, or leaves it to the end of the database."""
        connection: psycopg2.extensions.connection = psycopg2.connect(self.url(), **options)
        return connection

    def run(self, *statements: str, values: Any = None) -> None:
        """Execute statements, each on its own."""
        if not statements:
            return
        with closing(self.connect()) as connection:
            connection.autocommit = True
            with connection.cursor() as cursor:
                for statement in statements:
                    cursor.execute(statement, values)


def hypertable(interval: str) -> str:
    return f"SELECT create_hypertable('market_data', 'time', chunk_time_interval => interval '{interval}')"


COMPRESSED = (
    "ALTER TABLE market_data SET (timescaledb.compress, timescaledb.compress_segmentby = 'symbol',"
    " timescaledb.compress_orderby = 'time')"
)
# As TimescaleDB itself proposes it: without segments.
UNSEGMENTED = "ALTER TABLE market_data SET (timescaledb.compress, timescaledb.compress_segmentby = '')"
# As the policy does it: each chunk in a transaction of its own, also those with rows that came since.
COMPRESS = """DO $$
DECLARE chunk regclass;
BEGIN
  FOR chunk IN SELECT format('%I.%I', chunk_schema, chunk_name)::regclass FROM timescaledb_information.chunks
    WHERE hypertable_name = 'market_data'
  LOOP
    PERFORM compress_chunk(chunk);
    COMMIT;
  END LOOP;
END $$"""


@dataclass(frozen=True)
class Layout:
    """Where ``market_data`` lies in a layout.

    Attributes:
        engine: ``embedded``, ``postgresql``, ``timescaledb`` or ``citus``.
        statements: what becomes of the plain tables.
        settle: what a database does from time to time; run after each load.
    """

    engine: str
    statements: tuple[str, ...] = ()
    settle: tuple[str, ...] = ()


# Of this century's years some: whoever loads older ones makes what is missing.
PARTITIONED = (
    "ALTER TABLE market_data RENAME TO old",
    "CREATE TABLE market_data (LIKE old INCLUDING DEFAULTS, PRIMARY KEY (time, symbol)) PARTITION BY RANGE (time)",
    "DROP TABLE old",
    "DO $$ BEGIN FOR year IN 2014..2040 LOOP EXECUTE format('CREATE TABLE market_data_%s PARTITION OF market_data"
    " FOR VALUES FROM (%L) TO (%L)', year, year || '-01-01 00:00+00', year + 1 || '-01-01 00:00+00'); END LOOP; END $$",
)
LAYOUTS = {
    "plain": Layout("embedded"),
    "plain15": Layout("postgresql"),
    "partitioned": Layout("embedded", PARTITIONED),
    "week": Layout("timescaledb", (hypertable("7 days"),)),
    "year": Layout("timescaledb", (hypertable("365 days"),)),
    "week-compressed": Layout("timescaledb", (hypertable("7 days"), UNSEGMENTED), (COMPRESS,)),
    "year-compressed": Layout("timescaledb", (hypertable("365 days"), COMPRESSED), (COMPRESS,)),
    "citus": Layout(
        "citus",
        (
            "SELECT create_distributed_table('market_data', 'symbol')",
            "SELECT create_reference_table('assets')",
        ),
    ),
}
LAYOUT = LAYOUTS[os.environ.get("TEST_LAYOUT", "plain")]
URLS = {"timescaledb": "TEST_TIMESCALEDB_URL", "citus": "TEST_CITUS_URL"}


def programs() -> Path:
    """Return the folder of PostgreSQL 15's programs, unpacked where ``ENGINES`` holds archives."""
    given = Path(os.environ["ENGINES"]).resolve()
    if (given / PROGRAMS).exists():
        return given / PROGRAMS
    unpacked = ROOT / ".cache/engines"
    if not (unpacked / PROGRAMS / "postgres").exists():
        subprocess.run([given / "unpack", unpacked], check=True, timeout=120)
    return unpacked / PROGRAMS


@contextmanager
def serving(folder: Path, engine: str = LAYOUT.engine, workers: int = WORKERS) -> Iterator[Database]:
    """A PostgreSQL with the engine, for as long as the context lasts; Citus with its workers.

    Args:
        folder: for the clusters; others may enter it.
        engine: see ``Layout``.
        workers: of Citus.
    """
    url = os.environ.get(URLS.get(engine, "-"))
    if url:
        yield Database(**vars(settings.server(url, URLS[engine])))
        return
    with ExitStack() as stack:
        if engine == "citus":
            WORKER_SERVERS[:] = [
                stack.enter_context(_cluster(folder / f"worker{n}", WORKER, True)) for n in range(workers)
            ]
        citus = {"shared_preload_libraries": "citus"}
        more = {"embedded": EMBEDDED, "timescaledb": TIMESCALEDB, "citus": citus}.get(engine, {})
        yield stack.enter_context(_cluster(folder / "cluster", more, engine=engine))


# Those of Citus, while it serves.
WORKER_SERVERS: list[Database] = []
# What runs on a port, with its settings, for tests that stop it and start it again.
STARTED: dict[int, tuple[postgres.Cluster, dict[str, str]]] = {}


@contextmanager
def _cluster(
    folder: Path, more: dict[str, str], trusting: bool = False, engine: str = "citus"
) -> Iterator[Database]:
    """A server of its own, with a password that no URL takes unencoded."""
    cluster = postgres.Cluster(folder, None if engine == "embedded" else programs())
    server = Database("127.0.0.1", postgres.free_port(), "postgres", "Pa:ss/w@rd%zz '1'", "postgres")
    try:
        cluster.initialise(server.user, server.password)
        if trusting:
            (cluster.data / "pg_hba.conf").write_text(TRUSTING)
        cluster.start(server.port, {**FAST, **more})
        STARTED[server.port] = (cluster, {**FAST, **more})
        if more is EMBEDDED:
            server.run(f'ALTER ROLE "{server.user}" PASSWORD %s', values=[server.password])
        yield server
    finally:
        cluster.remove()


def create_database(server: Database, name: str, engine: str = LAYOUT.engine) -> Database:
    """Create an empty database with the engine's extension, and return it."""
    fresh = replace(server, database=name)
    nodes = [server, *WORKER_SERVERS] if engine == "citus" else [server]
    for node in nodes:
        node.run(f'CREATE DATABASE "{name}" STRATEGY file_copy')  # half the work of the default
        if engine in ("timescaledb", "citus"):
            replace(node, database=name).run(f"CREATE EXTENSION {engine}")
    if engine == "citus":
        host = server.host if WORKER_SERVERS else "localhost"  # as the server itself sees it
        fresh.run(
            f"SELECT citus_set_coordinator_host('{host}', inet_server_port())",
            # The coordinator asks itself for some joins, as any client.
            f"INSERT INTO pg_dist_authinfo VALUES (0, '{server.user}', {_conninfo(server.password)})",
            *(f"SELECT citus_add_node('{worker.host}', {worker.port})" for worker in WORKER_SERVERS),
        )
    return fresh


def _conninfo(password: str) -> str:
    """A password for libpq, as a literal of SQL."""
    escaped = password.replace("\\", "\\\\").replace("'", "\\'")
    return f"$$password='{escaped}'$$"


def drop_database(server: Database, name: str) -> None:
    """Drop it, whoever is still connected."""
    for node in (server, *WORKER_SERVERS):
        node.run(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')


def create_tables(database: Database, layout: Layout = LAYOUT, narrow: str = "") -> None:
    """Create the application's tables as the layout has them, by statements of the engine itself.

    Args:
        database: an empty one.
        layout: of ``market_data``.
        narrow: what to alter of its columns before, since no layout with compression takes that later.
    """
    alter = [f"ALTER TABLE market_data {narrow}"] if narrow else []
    database.run(*(table.statement() for table in tables.TABLES), *alter, *layout.statements)


@contextmanager
def application(server: Database) -> Iterator[Database]:
    """The application's role of a database, made and dropped by the superuser."""
    role = replace(server, user=f"{server.database}_app", password="its/own %word")
    Schema(role, 5, check=False, admin=(server.user, server.password)).ensure()
    try:
        yield role
    finally:
        drop_roles(server, role)


def drop_roles(server: Database, application: Database) -> None:
    """Drop the application's role and the owner, with what they have."""
    names = f'"{application.user}", "{application.database}_owner"'
    replace(server, database=application.database).run(f"DROP OWNED BY {names} CASCADE", f"DROP ROLE {names}")

"""The module health_check on a real PostgreSQL, with each problem in turn."""

from __future__ import annotations

import socket
import threading
import time
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Callable

import psycopg2
import pytest
from ansible.module_utils.project import managed

if TYPE_CHECKING:
    from tests.engines import Database
    from tests.integration.health.conftest import Host

Check = Callable[..., dict[str, Any]]


@pytest.fixture
def check(host: Host) -> Check:
    """Run the module on a healthy project, which a test may break first."""
    return host.check


def write_env(root: Path, database: Database) -> None:
    sections = managed.sections(vars(database), {"EODHD_API_TOKEN": "demo"}, {}, {})
    (root / ".env").write_bytes(managed.edited(None, sections).content)


def only_problem(result: dict[str, Any]) -> str:
    assert not result["healthy"]
    assert result["report"].endswith("❌ System Unhealthy")
    (problem,) = result["problems"]
    return str(problem)


def test_a_healthy_host(check: Check, database: Database) -> None:
    result = check()
    assert result["healthy"]
    assert result["tables"] == {"market_data": 21, "assets": 1}
    assert result["report"] == (
        f"📊 Infrastructure Health Check\nDatabase: {database.masked_url()}\n✅ Connection successful\n"
        "📈 Table Statistics:\n   market_data: 21 rows\n   assets: 1 row\n✅ System Healthy"
    )
    assert result["server_version"]
    assert result["latency_ms"] >= 0


def test_an_empty_table_is_healthy_with_a_warning(check: Check, database: Database) -> None:
    database.run("TRUNCATE market_data")
    result = check()
    assert result["healthy"]
    assert "market_data is empty. Fill it with `ansible-playbook playbooks/backfill.yml`" in result["report"]


def test_no_env(check: Check, tmp_path: Path) -> None:
    (tmp_path / ".env").unlink()
    assert "is missing. Write it with" in only_problem(check())


def test_an_env_that_is_a_folder(check: Check, tmp_path: Path) -> None:
    (tmp_path / ".env").unlink()
    (tmp_path / ".env").mkdir()
    assert ".env" in only_problem(check())


def test_a_malformed_env(check: Check, tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("this is nothing\nDB_URL='postgresql://x:Secret@\n")
    result = check()
    assert "malformed: python-dotenv ignores line 1, 2" in only_problem(result)
    assert "Secret" not in str(result)


def test_a_malformed_line_beside_all_settings_is_a_warning(check: Check, tmp_path: Path) -> None:
    with (tmp_path / ".env").open("a") as file:
        file.write("this is nothing\n")
    result = check()
    assert result["healthy"]
    assert "malformed" in result["report"]


def test_a_missing_setting(check: Check, tmp_path: Path) -> None:
    file = tmp_path / ".env"
    file.write_text(file.read_text().replace("EODHD_API_TOKEN=demo", ""))
    assert "has no value for EODHD_API_TOKEN" in only_problem(check())


def test_a_url_that_is_none(check: Check, tmp_path: Path) -> None:
    file = tmp_path / ".env"
    file.write_text(file.read_text().replace("DB_URL=postgresql", "DB_URL=mysql"))
    assert "is not a PostgreSQL URL" in only_problem(check())


def test_settings_that_contradict_each_other_are_a_warning(check: Check, tmp_path: Path) -> None:
    file = tmp_path / ".env"
    file.write_text(file.read_text().replace("POSTGRES_HOST=", "POSTGRES_HOST=not."))
    assert "DB_URL contradicts POSTGRES_HOST." in check()["report"]


def test_a_refused_connection(check: Check, database: Database, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    write_env(tmp_path, replace(database, port=port))
    assert "refuses connections. Is it running?" in only_problem(check())


def test_a_silent_server(check: Check, database: Database, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        write_env(tmp_path, replace(database, port=listener.getsockname()[1]))
        started = time.monotonic()
        assert "does not answer in time" in only_problem(check(timeout=0.5))
        assert time.monotonic() - started < 3


def test_a_server_that_falls_silent_after_the_connection(
    check: Check, database: Database, tmp_path: Path
) -> None:
    with _relay(database) as (port, hush):
        write_env(tmp_path, replace(database, port=port))
        opened = psycopg2.connect

        def then_hush(*arguments: Any, **options: Any) -> Any:
            session = opened(*arguments, **options)
            hush.set()
            return session

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(psycopg2, "connect", then_hush)
            started = time.monotonic()
            assert "does not answer in time" in only_problem(check(timeout=1))
            assert time.monotonic() - started < 5


def test_a_wrong_password(check: Check, database: Database, tmp_path: Path) -> None:
    write_env(tmp_path, replace(database, password="wrong"))
    assert "vault_postgres_password" in only_problem(check())


def test_a_missing_database(check: Check, database: Database, tmp_path: Path) -> None:
    write_env(tmp_path, replace(database, database="nowhere"))
    assert "has no database nowhere" in only_problem(check())


def test_a_missing_table(check: Check) -> None:
    result = check(tables=["assets", "nothing.here"])
    assert "Table nothing.here is missing" in only_problem(result)
    assert result["tables"] == {"assets": 1}


def test_a_locked_table_is_reported_with_who_holds_it(check: Check, database: Database) -> None:
    with closing(database.connect()) as session, session.cursor() as cursor:
        cursor.execute("LOCK TABLE market_data")
        started = time.monotonic()
        result = check(query_timeout=2)
        assert f"market_data is locked by another session (pid {session.info.backend_pid})" in only_problem(
            result
        )
        assert result["tables"] == {"assets": 1}
        assert time.monotonic() - started < 5
    assert check()["tables"] == {"market_data": 21, "assets": 1}


def test_a_table_that_may_not_be_read(check: Check, database: Database, tmp_path: Path) -> None:
    role = database.database + "_role"
    database.run(f"CREATE ROLE \"{role}\" LOGIN PASSWORD 'x'", f'GRANT SELECT ON assets TO "{role}"')
    try:
        write_env(tmp_path, replace(database, user=role, password="x"))
        assert f'GRANT SELECT ON market_data TO "{role}"' in only_problem(check())
        database.run(f'GRANT SELECT ON market_data TO "{role}"')
        assert check()["tables"] == {"market_data": 21, "assets": 1}
    finally:
        database.run(f'DROP OWNED BY "{role}"', f'DROP ROLE "{role}"')


def test_fewer_rows_than_asked_for(check: Check) -> None:
    message = only_problem(check(tables=[{"name": "market_data", "min_rows": 22}]))
    assert "market_data has 21 rows, but health_tables asks for at least 22" in message


def test_names_are_taken_as_they_are(check: Check, database: Database) -> None:
    database.run('CREATE SCHEMA "Odd"', 'CREATE TABLE "Odd"."x; --" AS SELECT 1')
    assert check(tables=["Odd.x; --"])["tables"] == {"Odd.x; --": 1}


PARTITIONED = (
    "CREATE TABLE bars (time timestamptz) PARTITION BY RANGE (time)",
    "CREATE TABLE bars_a PARTITION OF bars FOR VALUES FROM ('2020-01-01') TO ('2021-01-01')",
    "CREATE TABLE bars_b PARTITION OF bars FOR VALUES FROM ('2021-01-01') TO ('2022-01-01')",
    "INSERT INTO bars SELECT timestamptz '2020-06-01' + i * interval '1 day' FROM generate_series(1, 400) i",
)


def test_an_estimate_sums_up_the_partitions(check: Check, database: Database) -> None:
    database.run(*PARTITIONED, "ANALYZE bars")
    result = check(tables=["bars"], count="estimate")
    assert result["tables"] == {"bars": 400}
    assert result["estimated"] == ["bars"]


def test_a_partition_never_analysed_gives_no_estimate(check: Check, database: Database) -> None:
    database.run(*PARTITIONED, "ANALYZE bars_a")
    result = check(tables=["bars"], count="estimate")
    assert result["tables"] == {"bars": None}
    assert "Run ANALYZE bars" in result["report"]


@pytest.fixture
def slow(database: Database) -> str:
    """A view whose first row is quick to read, but that takes a minute to count."""
    database.run("CREATE VIEW slow AS SELECT 1 AS x UNION ALL SELECT 2 FROM pg_sleep(60)")
    return "slow"


def test_an_exact_count_over_its_time_is_unhealthy(check: Check, slow: str) -> None:
    started = time.monotonic()
    message = only_problem(check(tables=[slow], count="exact", query_timeout=0.5))
    assert "slow could not be counted within 0.5 s. Raise health_query_timeout" in message
    assert time.monotonic() - started < 5


def test_auto_takes_the_estimate_where_the_count_takes_too_long(host: Host) -> None:
    """A row-level policy delays each row, so that one row is quick and a count is slow on any machine."""
    role = replace(host.database, user=f"{host.database.database}_slow", password="slow")
    host.run(
        f"CREATE ROLE \"{role.user}\" LOGIN PASSWORD 'slow'",
        "CREATE TABLE heavy AS SELECT generate_series(1, 10000) AS x",
        "ANALYZE heavy",
        "ALTER TABLE heavy ENABLE ROW LEVEL SECURITY",
        "CREATE POLICY slow ON heavy USING (pg_sleep(0.01) IS NOT NULL)",
        f'GRANT SELECT ON heavy, assets, market_data TO "{role.user}"',
    )
    try:
        host.write_env(role)
        result = host.check(tables=["heavy", "assets"], query_timeout=3)
        assert result["estimated"] == ["heavy"]
        assert result["tables"] == {"assets": 1, "heavy": 10000}
    finally:
        host.run(f'DROP OWNED BY "{role.user}"', f'DROP ROLE "{role.user}"')


def test_a_missing_interpreter(check: Check) -> None:
    assert "--tags venv" in only_problem(check(interpreter="/nowhere/bin/python"))


class _relay:
    """A proxy to the server that can be silenced: a port, and an event after which it forwards nothing."""

    def __init__(self, database: Database) -> None:
        self.server = database

    def __enter__(self) -> tuple[int, threading.Event]:
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.hush = threading.Event()
        threading.Thread(target=self._serve, daemon=True).start()
        return self.listener.getsockname()[1], self.hush

    def __exit__(self, *_: object) -> None:
        self.listener.close()

    def _serve(self) -> None:
        while True:
            try:
                client = self.listener.accept()[0]
            except OSError:
                return
            upstream = socket.create_connection((self.server.host, self.server.port))
            for source, target in ((client, upstream), (upstream, client)):
                threading.Thread(target=self._pump, args=(source, target), daemon=True).start()

    def _pump(self, source: socket.socket, target: socket.socket) -> None:
        try:
            while (data := source.recv(65536)) and not self.hush.is_set():
                target.sendall(data)
            if not self.hush.is_set():
                target.shutdown(socket.SHUT_WR)
        except OSError:
            return

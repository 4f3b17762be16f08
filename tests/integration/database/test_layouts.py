"""What ``Schema`` creates on the engine under test, and the rights of the roles."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from datetime import date
from typing import Any

import psycopg2
import pytest
from ansible.module_utils.database import catalog, connection, layout, move
from ansible.module_utils.database.layout import Layout
from ansible.module_utils.database.schema import Schema
from ansible.module_utils.reporting import Problem

from tests import engines
from tests.engines import Database

ENGINE = engines.LAYOUT.engine
LAYOUTS = {"timescaledb": ["timescaledb", "partitioned"], "citus": ["citus"]}.get(
    ENGINE, ["plain", "partitioned"]
)
BAR = "INSERT INTO market_data VALUES (%s, 'A.US', 1, 2, 1, 2, 2, 10.5)"


@pytest.fixture
def missing(postgres_server: Database, database: Database) -> Iterator[Database]:
    """A database that does not exist."""
    yield replace(database, database=database.database + "_new")
    engines.drop_database(postgres_server, database.database + "_new")


def ensure(server: Database, kind: str = "plain", check: bool = False, **asked: Any) -> dict[str, Any]:
    workers = [f"{worker.host}:{worker.port}" for worker in engines.WORKER_SERVERS]
    result: dict[str, Any] = Schema(server, 5, check, Layout(kind, workers=workers), **asked).ensure()
    return result


def query(server: Database, statement: str, *values: Any) -> list[Any]:
    with closing(server.connect()) as session, session, session.cursor() as cursor:
        cursor.execute(statement, values)
        return list(cursor.fetchall()) if cursor.description else []


def make_room(server: Database, first: str, last: str) -> list[str]:
    with closing(server.connect()) as session, session, session.cursor() as cursor:
        made: list[str] = layout.make_room(cursor, date.fromisoformat(first), date.fromisoformat(last))
        return made


@pytest.mark.parametrize("kind", LAYOUTS)
def test_missing_database_is_created_in_the_layout_once(missing: Database, kind: str) -> None:
    plan = ensure(missing, kind, check=True)
    assert plan["changed"]
    first = ensure(missing, kind)
    assert (first["database"], first["tables"]["market_data"], first["layout"]) == (
        "created",
        "created",
        kind,
    )
    second = ensure(missing, kind)
    assert (second["changed"], second["layout"], second["notes"]) == (False, kind, [])
    make_room(missing, "2024-05-01", "2024-05-02")
    query(missing, BAR, "2024-05-02 00:00+00")
    assert query(missing, "SELECT count(*) FROM market_data") == [(1,)]


@pytest.mark.parametrize("kind", ["plain", "partitioned", "timescaledb", "citus"])
def test_existing_table_stays_whatever_the_layout_asked_for(database: Database, kind: str) -> None:
    engines.create_tables(database)
    result = ensure(database, kind)
    assert not result["changed"]
    moves = [note for note in result["notes"] if "playbooks/layout.yml" in note]
    assert len(moves) == (kind not in ("plain", result["layout"]))


@pytest.mark.skipif(ENGINE != "embedded", reason="a server without the extensions")
@pytest.mark.parametrize("kind", ["timescaledb", "citus"])
def test_layout_that_the_server_does_not_have_is_named(database: Database, kind: str) -> None:
    with pytest.raises(Problem, match=f"postgres_layout is {kind}.*shared_preload_libraries"):
        ensure(database, kind)
    assert query(database, "SELECT to_regclass('assets')") == [(None,)]


@pytest.mark.skipif("partitioned" not in LAYOUTS, reason="no partitions on Citus")
class TestRoom:
    """Partitions are created when data needs them."""

    @pytest.fixture(autouse=True)
    def partitioned(self, database: Database) -> None:
        ensure(database, "partitioned")

    def test_each_year_is_made_once(self, database: Database) -> None:
        assert make_room(database, "2022-03-01", "2024-01-01") == [
            f"market_data_{year}" for year in (2022, 2023, 2024)
        ]
        assert make_room(database, "2023-03-01", "2025-01-01") == ["market_data_2025"]
        query(database, BAR, "2024-12-31 23:59:59+00")
        assert query(database, "SELECT tableoid::regclass::text FROM market_data") == [("market_data_2024",)]

    def test_partitions_of_somebody_else_are_kept(self, database: Database) -> None:
        database.run(
            "CREATE TABLE march PARTITION OF market_data"
            " FOR VALUES FROM ('2024-03-01 00:00+00') TO ('2024-04-01 00:00+00')"
        )
        assert make_room(database, "2024-05-01", "2024-05-01") == ["market_data_2024", "market_data_2024_1"]
        for day in ("2024-01-01", "2024-03-05", "2024-12-31"):
            query(database, BAR, f"{day} 00:00+00")

    @pytest.mark.parametrize("bounds", ["DEFAULT", "FOR VALUES FROM (MINVALUE) TO (MAXVALUE)"])
    def test_partition_for_all_the_rest_is_enough(self, database: Database, bounds: str) -> None:
        database.run(f"CREATE TABLE rest PARTITION OF market_data {bounds}")
        assert make_room(database, "2024-05-01", "2024-05-01") == []


def test_a_view_of_a_narrow_column_is_told_with_what_to_do(database: Database) -> None:
    ensure(database)
    database.run(
        "ALTER TABLE market_data ALTER volume TYPE bigint",
        "CREATE VIEW volumes AS SELECT volume FROM market_data",
    )
    with pytest.raises(Problem, match=r"used by a view.*If a view uses one, save its definition, drop it"):
        ensure(database, widen=True)
    database.run("DROP VIEW volumes")
    assert ensure(database, widen=True)["tables"]["market_data"] == "widened"


def test_narrow_columns_are_widened_when_asked(database: Database) -> None:
    engines.create_tables(database, narrow="ALTER volume TYPE bigint, ALTER close TYPE numeric(12,4)")
    database.run("INSERT INTO market_data VALUES ('2024-05-02 00:00+00', 'A.US', 1, 2, 1, 2, 2, 10)")
    database.run(*engines.LAYOUT.settle)
    (note,) = ensure(database)["notes"]
    assert note.endswith(
        "ALTER TABLE market_data ALTER COLUMN close TYPE numeric, ALTER COLUMN volume TYPE numeric"
    )
    assert ensure(database, widen=True, check=True)["tables"]["market_data"] == "widened"
    if engines.LAYOUT.settle:
        with pytest.raises(Problem, match="decompress_chunk"):
            ensure(database, widen=True)
        database.run(
            "SELECT decompress_chunk(chunk) FROM show_chunks('market_data') AS chunk",
            "ALTER TABLE market_data SET (timescaledb.compress = false)",
        )
    assert ensure(database, widen=True)["tables"]["market_data"] == "widened"
    again = ensure(database, widen=True)
    assert (again["changed"], again["notes"]) == (False, [])
    query(database, BAR.replace("10.5", "0.123456789"), "2024-05-03 00:00+00")
    assert query(database, "SELECT count(*), sum(volume)::text FROM market_data") == [(2, "10.123456789")]


class TestRights:
    """The application's role has only its own rights."""

    @pytest.fixture
    def application(self, missing: Database) -> Iterator[Database]:
        user = "app " + missing.database
        made = replace(missing, user=user, password="it's % odd")
        ensure(made, LAYOUTS[-1], admin=(missing.user, missing.password))
        yield made
        owner = f"{missing.database}_owner"
        missing.run(f'DROP OWNED BY "{user}", "{owner}" CASCADE', f'DROP ROLE "{user}", "{owner}"')

    def test_a_second_run_changes_nothing(self, application: Database, missing: Database) -> None:
        again = ensure(application, LAYOUTS[-1], admin=(missing.user, missing.password))
        assert (again["changed"], again["rights"]) == (False, [])

    def test_it_writes_bars_and_the_ledger(self, application: Database) -> None:
        make_room(application, "2024-05-01", "2024-05-02")
        query(application, BAR, "2024-05-02 00:00+00")
        query(application, "UPDATE market_data SET close = 3 WHERE symbol = 'A.US'")
        query(application, "INSERT INTO assets (symbol) VALUES ('A.US')")
        query(application, "INSERT INTO backfill_ranking VALUES ('US', now(), '{}')")
        query(application, "DELETE FROM backfill_ranking")

    def test_a_table_of_somebody_else_keeps_its_owner(self, application: Database, missing: Database) -> None:
        missing.run("CREATE TABLE backfill_notes (note text)")
        again = ensure(application, LAYOUTS[-1], admin=(missing.user, missing.password))
        assert (again["changed"], again["rights"]) == (False, [])

    def test_another_postgres_user_gets_every_right(self, application: Database, missing: Database) -> None:
        other = replace(application, user=f"{application.user} 2")
        administrator = (missing.user, missing.password)
        ensure(other, LAYOUTS[-1], admin=administrator)
        try:
            make_room(other, "2024-05-01", "2024-05-02")
            query(other, BAR, "2024-05-02 00:00+00")
            assert not ensure(other, LAYOUTS[-1], admin=administrator)["changed"]
        finally:
            missing.run(f'DROP OWNED BY "{other.user}"', f'DROP ROLE "{other.user}"')

    @pytest.mark.parametrize(
        "statement",
        [
            "CREATE TABLE more (x int)",
            "DELETE FROM market_data",
            "DROP TABLE assets",
            "ALTER TABLE market_data ADD x int",
            "TRUNCATE market_data",
        ],
    )
    def test_it_may_do_no_more(self, application: Database, statement: str) -> None:
        with pytest.raises(psycopg2.errors.InsufficientPrivilege):
            query(application, statement)

    def test_a_database_that_it_may_not_create_is_named(self, application: Database) -> None:
        with pytest.raises(Problem, match="may not create it. Let an administrator run: CREATE DATABASE"):
            ensure(replace(application, database=f"{application.database} more"))

    def test_a_move_that_it_may_not_make_names_the_right(self, application: Database) -> None:
        with closing(application.connect()) as session, pytest.raises(psycopg2.Error) as refused:
            move.run(session, Layout("plain"), check=False)
        said = connection.explain(refused.value, application)
        assert re.search("permission denied.*Let an administrator GRANT it, or set postgres_admin_user", said)

    def test_its_password_is_kept_as_a_scram_verifier(self, application: Database, missing: Database) -> None:
        kept = query(missing, "SELECT rolpassword FROM pg_authid WHERE rolname = %s", application.user)
        assert kept[0][0].startswith("SCRAM-SHA-256$")

    def test_the_schema_may_have_capitals(self, database: Database) -> None:
        database.run(
            'CREATE SCHEMA "Desk"', f'ALTER DATABASE "{database.database}" SET search_path TO "Desk", public'
        )
        with engines.application(database) as application:
            query(application, BAR, "2024-05-02 00:00+00")
            assert query(application, 'SELECT symbol FROM "Desk".market_data') == [("A.US",)]


def test_it_is_known_whether_a_table_is_compressed(database: Database) -> None:
    wanted = engines.LAYOUT in [engines.LAYOUTS[name] for name in ("week-compressed", "year-compressed")]
    engines.create_tables(database)
    with closing(database.connect()) as connection, connection.cursor() as cursor:
        assert catalog.compressed(cursor, "market_data") == wanted
        assert not catalog.compressed(cursor, "assets")

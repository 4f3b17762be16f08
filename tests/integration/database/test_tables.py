"""Database and tables on a real PostgreSQL."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from ansible.module_utils.database import connection, tables
from ansible.module_utils.database.schema import Schema
from ansible.module_utils.reporting import Problem

if TYPE_CHECKING:
    from tests.engines import Database

MARKET_DATA = """CREATE TABLE market_data (time timestamptz, symbol text, open numeric, high numeric,
    low numeric, close numeric, adjusted_close numeric, volume bigint, PRIMARY KEY (time, symbol))"""


ASSETS = """CREATE TABLE assets (symbol text PRIMARY KEY, exchange text, asset_type text, is_active boolean,
    last_synced timestamptz, created_at timestamptz, updated_at timestamptz)"""


def ensure(database: Database, check: bool = False) -> dict[str, Any]:
    result: dict[str, Any] = Schema(database, 5, check).ensure()
    return result


@pytest.fixture
def missing(database: Database) -> Iterator[Database]:
    """A database that does not exist."""
    name = database.database + "_new"
    yield replace(database, database=name)
    database.run(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')


@pytest.fixture
def nobody(database: Database) -> Iterator[str]:
    """A role without rights."""
    role = database.database + "_role"
    database.run(f"CREATE ROLE \"{role}\" LOGIN PASSWORD 'pw'")
    yield role
    database.run(f'DROP OWNED BY "{role}"', f'DROP ROLE "{role}"')


def test_missing_tables_are_created_once(database: Database) -> None:
    first = ensure(database)
    assert first["changed"]
    assert first["tables"] == {"assets": "created", "market_data": "created"}
    second = ensure(database)
    assert not second["changed"]
    assert second["tables"] == {"assets": "exists", "market_data": "exists"}


def test_what_is_created_fits_and_has_the_columns_of_the_field_notes(database: Database) -> None:
    database.run(*(table.statement() for table in tables.TABLES))
    with closing(database.connect()) as session, session.cursor() as cursor:
        for table in tables.TABLES:
            found = tables.look_up(cursor, table)
            assert found is not None
            assert tables.misfits(table, found) == []
            assert tables.widening(table, found) is None
            assert list(found.types) == [column.name for column in table.columns]
            assert found.keys == (frozenset(table.key),)


def test_a_missing_database_is_created_with_its_tables(missing: Database) -> None:
    result = ensure(missing)
    assert result["database"] == "created"
    assert not ensure(missing)["changed"]


def test_check_mode_plans_the_database_and_creates_nothing(missing: Database) -> None:
    plan = ensure(missing, check=True)
    assert plan["changed"]
    assert plan["diff"]["before"] == ""
    assert plan["diff"]["after"] == f"database {missing.database}\ntable assets\ntable market_data\n"
    assert ensure(missing, check=True) == plan


def test_check_mode_plans_the_tables_and_creates_nothing(database: Database) -> None:
    assert ensure(database, check=True)["changed"]
    assert ensure(database, check=True)["tables"]["assets"] == "created"


def test_many_hosts_at_once_create_everything_exactly_once(missing: Database) -> None:
    results: list[dict[str, Any]] = []
    threads = [threading.Thread(target=lambda: results.append(ensure(missing))) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [result["database"] for result in results].count("created") == 1
    assert [result["tables"]["market_data"] for result in results].count("created") == 1
    assert len(results) == 6


@pytest.mark.parametrize(
    "statements",
    [
        [MARKET_DATA.replace("numeric", "numeric(12,4)")],
        [MARKET_DATA.replace("symbol text", "symbol varchar(32)")],
        [
            MARKET_DATA + " PARTITION BY RANGE (time)",
            "CREATE TABLE bars PARTITION OF market_data FOR VALUES FROM ('2024-01-01') TO ('2025-01-01')",
        ],
        [
            MARKET_DATA.replace(", PRIMARY KEY (time, symbol)", ""),
            "CREATE UNIQUE INDEX ON market_data (symbol, time) INCLUDE (close)",
        ],
        [MARKET_DATA, "ALTER TABLE market_data ADD source text NOT NULL DEFAULT 'eodhd'"],
    ],
    ids=["precision", "varchar", "partitioned", "unique index", "further column"],
)
def test_existing_tables_that_fit_stay_as_they_are(database: Database, statements: list[str]) -> None:
    database.run(*statements)
    assert ensure(database)["tables"] == {"assets": "created", "market_data": "exists"}


@pytest.mark.parametrize(
    ("statements", "message"),
    [
        ([MARKET_DATA.replace("close numeric", "closing numeric")], "column market_data.close is missing"),
        ([MARKET_DATA.replace("low numeric", "low text")], "column market_data.low is text; expected"),
        (
            [MARKET_DATA.replace("timestamptz", "timestamp")],
            "column market_data.time is timestamp without time zone; expected timestamp with time zone",
        ),
        ([MARKET_DATA.replace("(time, symbol)", "(symbol, time, open)")], "no unique key on .time, symbol."),
        (
            [
                MARKET_DATA.replace(", PRIMARY KEY (time, symbol)", ""),
                "CREATE UNIQUE INDEX ON market_data (time, symbol) WHERE volume > 0",
            ],
            "no unique key",
        ),
        (
            [MARKET_DATA, "ALTER TABLE market_data ADD source text NOT NULL"],
            "column market_data.source is NOT NULL without a default",
        ),
        (
            [ASSETS.replace("asset_type text", "asset_type text NOT NULL DEFAULT 'stock'"), MARKET_DATA],
            "column assets.asset_type is NOT NULL, but some symbols have no value for it; expected a nullable column",
        ),
        ([MARKET_DATA, "ALTER TABLE market_data RENAME TO bars",
          "CREATE VIEW market_data AS SELECT * FROM bars"], "market_data is a view; expected a table"),
    ],
    ids=["missing", "type", "no time zone", "wider key", "partial key", "not null", "not null of ours", "view"],
)  # fmt: skip
def test_an_existing_table_that_does_not_fit_is_named_and_nothing_is_changed(
    database: Database, statements: list[str], message: str
) -> None:
    database.run(*statements)
    with pytest.raises(Problem, match=message):
        ensure(database)
    with closing(database.connect()) as session, session.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM pg_class WHERE relname IN ('assets', 'market_data')")
        assert cursor.fetchone() == (sum(statement.count("CREATE TABLE") for statement in statements),)


def test_columns_that_round_are_noted(database: Database) -> None:
    database.run(MARKET_DATA.replace("open numeric", "open numeric(12,4)"))
    assert ensure(database)["notes"] == [
        "market_data: open is numeric(12,4) (digits that do not fit are rounded or refused), volume is bigint"
        " (fractions are rounded). To widen them, set database_widen: true; it runs"
        " ALTER TABLE market_data ALTER COLUMN open TYPE numeric, ALTER COLUMN volume TYPE numeric"
    ]


def test_columns_too_short_for_symbols_are_noted_and_widened(database: Database) -> None:
    short = MARKET_DATA.replace("symbol text", "symbol varchar(8)").replace("bigint", "numeric")
    database.run(ASSETS.replace("text", "varchar(100)"), short)
    statement = "ALTER TABLE market_data ALTER COLUMN symbol TYPE text"
    assert ensure(database)["notes"] == [
        "market_data: symbol is character varying(8) (longer text is refused). To widen them, set"
        f" database_widen: true; it runs {statement}"
    ]
    widened = Schema(database, 5, check=False, widen=True)
    assert widened.ensure()["tables"] == {"assets": "exists", "market_data": "widened"}
    assert ensure(database)["notes"] == []
    assert not Schema(database, 5, check=False, widen=True).ensure()["changed"]


def test_assets_are_widened_if_the_bars_are_missing(database: Database) -> None:
    database.run(ASSETS.replace("text", "varchar(8)"))
    widened = Schema(database, 5, check=False, widen=True).ensure()
    assert widened["tables"] == {"assets": "widened", "market_data": "created"}


def test_a_user_who_may_not_create_databases_is_told_the_statement(missing: Database, nobody: str) -> None:
    with pytest.raises(Problem, match=f'CREATE DATABASE "{missing.database}" OWNER "{nobody}"'):
        ensure(replace(missing, user=nobody, password="pw"), check=True)


def test_a_user_who_may_not_create_tables_is_told_the_statement(database: Database, nobody: str) -> None:
    with pytest.raises(Problem, match="GRANT CREATE ON SCHEMA public"):
        ensure(replace(database, user=nobody, password="pw"))


@pytest.mark.parametrize("path", ["trading", "nowhere"])
def test_the_schema_that_lacks_the_right_is_named(database: Database, nobody: str, path: str) -> None:
    database.run("CREATE SCHEMA trading", f'GRANT USAGE ON SCHEMA trading TO "{nobody}"')
    database.run(f'ALTER ROLE "{nobody}" SET search_path TO {path}')
    wanted = {"trading": "GRANT CREATE ON SCHEMA trading", "nowhere": "search_path 'nowhere' names no schema"}
    with pytest.raises(Problem, match=wanted[path]):
        ensure(replace(database, user=nobody, password="pw"))


def test_a_wrong_password_names_the_variable(database: Database) -> None:
    with pytest.raises(Problem, match="vault_postgres_password"):
        ensure(replace(database, password="wrong"))


def test_database_that_another_host_creates_meanwhile_is_used(
    missing: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other host creates it between this one's first attempt and its query of the server."""
    tries, connect = 0, connection.connect

    def slow_connect(database: Database, *args: Any, **kwargs: Any) -> Any:
        nonlocal tries
        tries += 1
        if tries == 2:
            ensure(missing)
        return connect(database, *args, **kwargs)

    monkeypatch.setattr(connection, "connect", slow_connect)
    assert ensure(missing)["database"] == "exists"

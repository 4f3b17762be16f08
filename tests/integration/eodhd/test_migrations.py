"""Migrations of the ledger: from every earlier version with its rows, and no use of a newer one."""

from __future__ import annotations

import threading
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from ansible.module_utils.eodhd import migrations
from ansible.module_utils.eodhd.store import database as databases

if TYPE_CHECKING:
    from tests.engines import Database

VERSION_0 = (Path(__file__).parent / "version_0.sql").read_text()
# One row for each table of version 0, which every later version must keep.
ROWS = {
    "backfill_run": "(mode, request, worker, state, totals) VALUES ('history', '{}', 'w 1', 'done', '{\"calls\": 1}')",
    "backfill_outcome": "(run, symbol, first_day, last_day, outcome, rows, inserted, updated, set_aside, bytes, calls,"
    " requests, seconds, fetched, digest, message)"
    " VALUES (1, 'A.US', '2026-11-02', '2026-11-20', 'loaded', 15, 15, 0, 0, 900, 1, 1, 0.2, now(), 'x', '')",
    "backfill_coverage": "(symbol, first_day, last_day, outcome, rows, fetched, restated, run, message)"
    " VALUES ('A.US', '2026-11-02', '2026-11-20', 'loaded', 15, now(), true, 1, '')",
    "backfill_set_aside": "(symbol, day, raw, reason, run) VALUES ('A.US', '2026-11-03', '{}', 'no price', 1)",
    "backfill_revision": "(run, symbol, day, old_close, new_close) VALUES (1, 'A.US', '2026-11-03', 1, 2)",
    "backfill_ranking": "(exchange, fetched, symbols) VALUES ('US', now(), '{A.US,B.US}')",
    "backfill_listing": "(symbol, name, delisted, run) VALUES ('A.US', 'A', false, 1)",
    "backfill_lease": "(account, at, requests, minute_limit) VALUES ('a', now(), 16, 1000)",
    "backfill_answer": "(name, status, body, received) VALUES ('eod A', 200, '[]', now())",
}


def ask(database: Database, statement: str) -> Any:
    with closing(database.connect()) as connection, connection, connection.cursor() as cursor:
        cursor.execute(statement)
        return cursor.fetchall()


def at_version(database: Database, version: int) -> None:
    """Create the ledger as code of that version left it."""
    if version == 0:
        database.run(VERSION_0)
    for number in range(1, version + 1):
        database.run(
            migrations.MIGRATIONS[number - 1], f"INSERT INTO backfill_schema (version) VALUES ({number})"
        )


def migrate(database: Database) -> None:
    session = databases.Database(database, "migration")
    with closing(session):
        migrations.migrate(session.run)


def columns(database: Database) -> Any:
    return ask(
        database,
        "SELECT table_name, column_name, data_type, is_nullable, column_default FROM information_schema.columns"
        " WHERE table_name LIKE 'backfill%' ORDER BY table_name, ordinal_position",
    )


@pytest.mark.parametrize("version", range(migrations.NEWEST + 1))
def test_every_version_migrates_to_the_newest_with_its_rows(database: Database, version: int) -> None:
    at_version(database, version)
    database.run(*(f"INSERT INTO {table} {row}" for table, row in ROWS.items()))
    before = {table: ask(database, f"SELECT to_jsonb(t) FROM {table} t")[0][0] for table in ROWS}
    migrate(database)
    assert ask(database, "SELECT max(version) FROM backfill_schema") == [(migrations.NEWEST,)]
    for table, old in before.items():
        (new,) = ask(database, f"SELECT to_jsonb(t) FROM {table} t")[0]
        assert {name: new[name] for name in old} == old


def test_a_migrated_ledger_equals_a_new_one(database: Database) -> None:
    migrate(database)
    new = columns(database)
    database.run(*(f"DROP TABLE {table}" for table in {row[0] for row in new}))
    at_version(database, 0)
    migrate(database)
    assert columns(database) == new


def test_the_backfill_migrates_an_old_ledger(market: Any) -> None:
    market.load()
    market.query(
        "DROP TABLE backfill_schema, backfill_session, backfill_rename, backfill_arrival, backfill_snapshot,"
        " backfill_old_basis, backfill_action_revision; DROP FUNCTION backfill_protect CASCADE;"
        " DROP INDEX backfill_revision_found, backfill_revision_time"
    )  # as older code left it
    assert market.load()["totals"]["calls"] == 0
    assert market.query("SELECT max(version) FROM backfill_schema") == [(migrations.NEWEST,)]


@pytest.mark.parametrize("check", [False, True], ids=["run", "plan"])
def test_a_newer_ledger_is_refused_with_advice(market: Any, check: bool) -> None:
    at_version(market.server, migrations.NEWEST)
    market.query("INSERT INTO backfill_schema (version) VALUES (%s)", migrations.NEWEST + 1)
    problem = market.load(check=check)["problem"]
    assert f"version {migrations.NEWEST + 1}" in problem
    assert "git pull" in problem
    assert market.query("SELECT count(*) FROM backfill_run") == [(0,)]
    assert market.standin.counts()["requests"] == 0


def test_a_failed_migration_keeps_the_previous_version(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    migrate(database)
    broken = (*migrations.MIGRATIONS, "CREATE TABLE half (); SELECT 1 / 0")
    monkeypatch.setattr(migrations, "MIGRATIONS", broken)
    monkeypatch.setattr(migrations, "NEWEST", len(broken))
    with pytest.raises(Exception, match="division by zero"):
        migrate(database)
    assert ask(database, "SELECT max(version), to_regclass('half') FROM backfill_schema") == [
        (len(broken) - 1, None)
    ]


def test_hosts_that_start_together_migrate_once(database: Database) -> None:
    at_version(database, 0)
    threads = [threading.Thread(target=migrate, args=(database,)) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert ask(database, "SELECT version FROM backfill_schema ORDER BY 1") == [
        (number,) for number in range(1, migrations.NEWEST + 1)
    ]

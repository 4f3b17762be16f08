"""Moves from one layout to another keep every row, whatever happens meanwhile."""

from __future__ import annotations

import json
import random
import re
import signal
import subprocess
import sys
import threading
import time
from contextlib import closing
from typing import Any

import psycopg2
import pytest
from ansible.module_utils.database import layout, move
from ansible.module_utils.database.layout import Layout
from ansible.module_utils.reporting import Problem

from tests import engines
from tests.conftest import FULL, ROOT
from tests.engines import Database

ENGINE = engines.LAYOUT.engine
TARGETS = {"timescaledb": ["plain", "timescaledb"], "citus": ["plain", "citus"]}.get(
    ENGINE, ["partitioned", "plain"]
)
KILLS = 30 if FULL else 4
BARS = (
    "INSERT INTO market_data SELECT day AT TIME ZONE 'UTC', 'S' || s || '.US', 1.25, s, 1, 2, random(), 1000.5"
    " FROM generate_series(1, {}) AS s, generate_series('2020-03-01'::timestamp, '2024-06-30', '1 day') AS day"
)
CONTENT = "SELECT time, symbol, open, high, low, close, adjusted_close, volume FROM market_data ORDER BY 1, 2"
CORRECTED = "symbol = 'S3.US' AND time = '2021-05-05 00:00+00'"
WORKER = """
import json, sys, ansible.module_utils
ansible.module_utils.__path__.append("module_utils")
import psycopg2
from ansible.module_utils.database import move
from ansible.module_utils.database.layout import Layout
url, kind = json.load(sys.stdin)
print(move.run(psycopg2.connect(url), Layout(kind), check=False)["report"])
"""


def query(server: Database, statement: str) -> list[Any]:
    with closing(server.connect()) as session, session, session.cursor() as cursor:
        cursor.execute("SET TimeZone = 'UTC'")
        cursor.execute(statement)
        return list(cursor.fetchall()) if cursor.description else []


def run(server: Database, kind: str, check: bool = False) -> dict[str, Any]:
    with closing(server.connect()) as session:
        result: dict[str, Any] = move.run(session, Layout(kind), check=check)
        return result


def kind(server: Database) -> str:
    with closing(server.connect()) as session, session.cursor() as cursor:
        return str(layout.recognise(cursor).kind)


@pytest.fixture
def filled(database: Database) -> Database:
    engines.create_tables(database)
    database.run(BARS.format(10), "ANALYZE market_data")
    return database


def other(server: Database) -> str:
    """Return a layout of this engine that the table does not have."""
    return next(target for target in TARGETS if target != kind(server))


def test_move_there_and_back_keeps_every_row(filled: Database) -> None:
    before, first = query(filled, CONTENT), kind(filled)
    plan = run(filled, other(filled), check=True)
    assert (plan["changed"], plan["rows"]) == (True, pytest.approx(len(before), rel=0.01))
    for target in (other(filled), first):
        done = run(filled, target)
        assert (done["changed"], done["rows"], kind(filled)) == (True, len(before), target)
        assert query(filled, CONTENT) == before
        assert not run(filled, target)["changed"]
    names = "('market_data_next', 'market_data_before')"
    assert query(filled, f"SELECT relname FROM pg_class WHERE relname IN {names}") == []


def test_the_plan_tells_the_bytes(filled: Database) -> None:
    told = re.search(r"([\d,]+) bytes", run(filled, other(filled), check=True)["report"])
    assert told
    assert int(told[1].replace(",", "")) > 15_000 * 64  # a row has eight columns


def test_owner_and_rights_stay(filled: Database) -> None:
    role = f"{filled.database}_reader"
    filled.run(f'CREATE ROLE "{role}"', f'GRANT SELECT, INSERT ON market_data TO "{role}"')
    try:
        run(filled, other(filled))
        for right, kept in (("INSERT", True), ("DELETE", False)):
            asked = f"SELECT has_table_privilege('{role}', 'market_data', '{right}')"
            assert query(filled, asked) == [(kept,)]
    finally:
        filled.run(f'DROP OWNED BY "{role}"', f'DROP ROLE "{role}"')


def test_grant_options_stay_and_default_privileges_add_none(filled: Database) -> None:
    role = f"{filled.database}_reader"
    filled.run(
        f'CREATE ROLE "{role}"',
        f'GRANT SELECT ON market_data TO "{role}" WITH GRANT OPTION',
        f'ALTER DEFAULT PRIVILEGES GRANT DELETE ON TABLES TO "{role}"',
    )
    asked = (
        f"SELECT has_table_privilege('{role}', 'market_data', 'SELECT WITH GRANT OPTION'),"
        f" has_table_privilege('{role}', 'market_data', 'DELETE')"
    )
    before = query(filled, asked)
    try:
        run(filled, other(filled))
        assert query(filled, asked) == before
    finally:
        filled.run(f'DROP OWNED BY "{role}"', f'DROP ROLE "{role}"')


def test_comments_defaults_and_not_null_stay(filled: Database) -> None:
    filled.run(
        "COMMENT ON TABLE market_data IS 'Bars of the desk, 100 % checked'",
        "COMMENT ON COLUMN market_data.close IS 'Not adjusted'",
        "ALTER TABLE market_data ALTER volume SET DEFAULT 0",
        "ALTER TABLE market_data ALTER close SET NOT NULL",
    )
    asked = (
        "SELECT obj_description(attrelid, 'pg_class'), attname, col_description(attrelid, attnum), attnotnull,"
        " (SELECT pg_get_expr(adbin, adrelid) FROM pg_attrdef WHERE adrelid = attrelid AND adnum = attnum)"
        " FROM pg_attribute WHERE attrelid = 'market_data'::regclass AND attnum > 0 AND NOT attisdropped"
    )
    before = query(filled, asked)
    run(filled, other(filled))
    assert query(filled, asked) == before


@pytest.mark.parametrize("name", ["market_data_before", "market_data_next"])
def test_a_table_of_somebody_else_with_a_name_of_the_move_stays(filled: Database, name: str) -> None:
    filled.run(f"CREATE TABLE {name} AS SELECT 1 AS precious")
    for check in (True, False):
        with pytest.raises(Problem, match=f"{name} .*not made by a move"):
            run(filled, other(filled), check=check)
    run(filled, kind(filled))
    assert query(filled, f"SELECT precious FROM {name}") == [(1,)]


@pytest.mark.skipif(ENGINE not in ("timescaledb", "citus"), reason="no extension")
def test_a_database_without_the_extension_is_told_the_statement(
    postgres_server: Database, database: Database
) -> None:
    bare = engines.create_database(postgres_server, f"{database.database}_bare", "embedded")
    try:
        engines.create_tables(bare, engines.LAYOUTS["plain"])
        for check in (True, False):
            with pytest.raises(Problem, match=f"CREATE EXTENSION {ENGINE}"):
                run(bare, ENGINE, check=check)
    finally:
        engines.drop_database(postgres_server, bare.database)


# Objects that belong to the table, and the statements that create them.
ATTACHED = {
    "view prices": "CREATE VIEW prices AS SELECT time, symbol, close FROM market_data",
    "materialized view newest": "CREATE MATERIALIZED VIEW newest AS SELECT max(time) FROM market_data",
    "constraint positive on table market_data": "ALTER TABLE market_data ADD CONSTRAINT positive CHECK (close >= 0)",
    "policy own on table market_data": "CREATE POLICY own ON market_data USING (true)",
    "privileges on column close": "GRANT UPDATE (close) ON market_data TO PUBLIC",
    "trigger told on table market_data": "CREATE TRIGGER told BEFORE INSERT ON market_data FOR EACH ROW"
    " EXECUTE FUNCTION suppress_redundant_updates_trigger()",
}


@pytest.mark.parametrize("name", ATTACHED)
def test_what_would_stay_with_the_old_table_is_named(filled: Database, name: str) -> None:
    if "trigger" in name and ENGINE == "citus":
        pytest.skip("Citus has no triggers on distributed tables")
    if "column" in name and ENGINE in ("timescaledb", "citus"):
        pytest.skip("they have no privileges on columns of compressed or distributed tables")
    filled.run(ATTACHED[name])
    before, was = query(filled, CONTENT), kind(filled)
    for check in (True, False):
        with pytest.raises(Problem, match=f"cannot be moved while these belong to.*: {name}\\."):
            run(filled, other(filled), check=check)
    assert (kind(filled), query(filled, CONTENT)) == (was, before)


@pytest.mark.skipif(ENGINE != "timescaledb", reason="TimescaleDB's")
def test_a_continuous_aggregate_is_named(filled: Database) -> None:
    filled.run(
        "CREATE MATERIALIZED VIEW weekly WITH (timescaledb.continuous) AS SELECT time_bucket('7 days', time),"
        " symbol, max(high) FROM market_data GROUP BY 1, 2 WITH NO DATA"
    )
    with pytest.raises(Problem, match="continuous aggregate weekly"):
        run(filled, other(filled))


def test_an_index_that_stays_behind_is_told_with_its_statement(filled: Database) -> None:
    filled.run("CREATE INDEX by_symbol ON market_data (symbol, time)")
    for check in (True, False):
        assert "CREATE INDEX by_symbol ON" in run(filled, other(filled), check=check)["report"]


def test_what_is_written_meanwhile_is_there_afterwards(filled: Database) -> None:
    stop, written = threading.Event(), []

    def write() -> None:
        with closing(filled.connect()) as session, session.cursor() as cursor:
            session.autocommit = True
            for number in range(1_000_000):
                if stop.is_set():
                    return
                cursor.execute(
                    "INSERT INTO market_data VALUES ('2023-05-05 00:00+00', %s, 1, 1, 1, 1, 1, 1)",
                    (f"W{number}",),
                )
                cursor.execute(
                    "UPDATE market_data SET close = 7 WHERE symbol = 'S3.US' AND time = '2021-05-05 00:00+00'"
                )
                written.append(f"W{number}")
                time.sleep(0.005)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        run(filled, other(filled))
    finally:
        stop.set()
        writer.join()
    kept = query(filled, "SELECT symbol FROM market_data WHERE symbol LIKE 'W%'")
    assert sorted(symbol for (symbol,) in kept) == sorted(written)
    assert query(
        filled, "SELECT close FROM market_data WHERE symbol = 'S3.US' AND time = '2021-05-05 00:00+00'"
    ) == [(7,)]


# A hypertable takes no time before all others.
@pytest.mark.parametrize("moment", ["infinity", "-infinity"][: 1 if ENGINE == "timescaledb" else 2])
def test_a_row_without_a_year_is_not_lost(filled: Database, moment: str) -> None:
    if kind(filled) == "partitioned":
        pytest.skip("no partition takes such a row")
    filled.run(f"INSERT INTO market_data VALUES ('{moment}', 'S1.US', 1, 1, 1, 1, 1, 1)")
    with pytest.raises(psycopg2.Error):
        run(filled, other(filled))
    assert query(filled, f"SELECT count(*) FROM market_data WHERE time = '{moment}'") == [(1,)]


def test_kills_lose_and_double_nothing(filled: Database) -> None:
    filled.run(BARS.format(30).replace("'S' ||", "'T' ||"), "ANALYZE market_data")
    before, target, chance = query(filled, CONTENT), other(filled), random.Random(7)
    killed = 0
    while killed < KILLS:
        process = worker(filled, target)
        time.sleep(0.3 + chance.random() * 1.5)
        if process.poll() is None:
            process.send_signal(signal.SIGKILL)
            killed += 1
        process.communicate(timeout=60)
        assert query(filled, CONTENT) == before
        target = other(filled) if kind(filled) == target else target
    process = worker(filled, target)
    output, _ = process.communicate(timeout=120)
    assert process.returncode == 0, output
    assert (kind(filled), query(filled, CONTENT)) == (target, before)


def worker(server: Database, target: str) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", WORKER], cwd=ROOT, text=True,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    assert process.stdin
    with process.stdin:
        process.stdin.write(json.dumps([server.url(), target]))
    process.stdin = None
    return process

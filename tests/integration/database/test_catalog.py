"""Estimates of rows, on the layout under test."""

from __future__ import annotations

from contextlib import closing

import pytest
from ansible.module_utils.database.catalog import estimate

from tests import engines
from tests.engines import Database

BARS = (
    "INSERT INTO market_data SELECT day AT TIME ZONE 'UTC', 'S' || s || '.US', 1, 2, 1, 2, random(), 1000"
    " FROM generate_series({}) AS s, generate_series('2020-01-01'::timestamp, '2023-12-31', '1 day') AS day"
)


def about(database: Database) -> int | None:
    """Return the estimate of a read-only session."""
    reading = database.connect(options="-c default_transaction_read_only=on")
    with closing(reading) as session, session.cursor() as cursor:
        cursor.execute("SELECT 'market_data'::regclass::oid")
        (oid,) = cursor.fetchone() or (0,)
        return estimate(cursor, oid)


def rows(database: Database) -> int:
    with closing(database.connect()) as session, session.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM market_data")
        return int((cursor.fetchone() or [0])[0])


@pytest.fixture
def filled(database: Database) -> Database:
    engines.create_tables(database)
    database.run(BARS.format("1, 20"))
    return database


def test_table_that_was_never_analysed_has_no_estimate(filled: Database) -> None:
    assert about(filled) is None


def test_estimate_is_within_one_percent(filled: Database) -> None:
    filled.run("ANALYZE market_data", *engines.LAYOUT.settle)
    assert about(filled) == pytest.approx(rows(filled), rel=0.01)


def test_estimate_follows_corrections_and_what_is_added(filled: Database) -> None:
    filled.run(
        *engines.LAYOUT.settle,
        "UPDATE market_data SET close = 3 WHERE symbol = 'S7.US'",
        BARS.format("21, 23"),
        "ANALYZE market_data",
    )
    assert about(filled) == pytest.approx(rows(filled), rel=0.01)


@pytest.mark.skipif(not engines.LAYOUT.settle, reason="needs compressed chunks")
def test_estimate_holds_when_corrections_are_compressed_again(filled: Database) -> None:
    correction = "UPDATE market_data SET close = 3 WHERE symbol = 'S7.US'"
    filled.run(*engines.LAYOUT.settle, correction, "VACUUM ANALYZE market_data", *engines.LAYOUT.settle)
    assert about(filled) == pytest.approx(rows(filled), rel=0.01), "dead rows count"
    with closing(filled.connect()) as session, session.cursor() as cursor:
        cursor.execute("SELECT show_chunks('market_data')::text")
        chunks = [name for (name,) in cursor.fetchall()]
    # Like autovacuum: the chunks, without their compressed parts.
    filled.run(*(f"VACUUM {chunk}" for chunk in chunks))
    assert about(filled) == pytest.approx(rows(filled), rel=0.01)

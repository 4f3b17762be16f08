"""The page's data from a database, on real PostgreSQL."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

import pytest
from ansible.module_utils.audit import data
from ansible.module_utils.coverage import survey
from ansible.module_utils.coverage.expected import Markets, Window
from ansible.module_utils.database.server import Server
from ansible.module_utils.eodhd.migrations import MIGRATIONS

from tests import engines

if TYPE_CHECKING:
    from tests.engines import Database

NOW = datetime(2026, 11, 23, 12, tzinfo=timezone.utc)
BARS = (
    "INSERT INTO market_data SELECT day AT TIME ZONE 'UTC', %s, 1, 1, 1, 1, 1, 1"
    " FROM generate_series(%s::timestamp, '2026-11-20', '1 day') AS day WHERE extract(isodow FROM day) < 6"
)


@pytest.fixture
def server(database: Database) -> Database:
    """A database with two complete symbols."""
    engines.create_tables(database)
    database.run(
        BARS.replace("%s", "'A.US'", 1).replace("%s", "'2026-09-01'"),
        BARS.replace("%s", "'B.US'", 1).replace("%s", "'2024-01-01'"),
        "INSERT INTO assets (symbol) VALUES ('A.US'), ('B.US')",
        *engines.LAYOUT.settle,
    )
    return database


def look(server: Server, months: int = 12, **changed: Any) -> dict[str, Any]:
    asked = {"limit": 40, "timeout": 5.0, "query_timeout": 20.0, **changed}
    return data.look(server, Markets(Window.of(months, NOW.date()), NOW, timedelta(hours=6)), **asked)


def test_numbers_are_those_of_the_database(server: Server, database: Database) -> None:
    found = look(server)["coverage"]
    with closing(database.connect()) as session, session.cursor() as cursor:
        cursor.execute(
            "SELECT to_char(time AT TIME ZONE 'UTC', 'YYYY-MM'), count(*), count(DISTINCT symbol) FROM market_data"
            " WHERE time >= '2025-12-01 00:00+00' GROUP BY 1 ORDER BY 1"
        )
        expected = cursor.fetchall()
    assert [
        (month, entry["rows"], entry["symbols"])
        for month, entry in zip(found["months"], found["all"], strict=True)
    ] == expected
    assert (found["symbols"], found["with_gaps"], found["behind"]) == (2, 0, 0)


def test_session_that_is_taken_out_is_a_gap_of_its_month(server: Server, database: Database) -> None:
    database.run("DELETE FROM market_data WHERE symbol = 'A.US' AND time = '2026-10-14 00:00+00'")
    found = look(server)["coverage"]
    assert found["with_gaps"] == 1
    assert found["worst"][0]["symbol"] == "A.US"
    assert found["worst"][0]["months"][found["months"].index("2026-10")]["missing"] == 1
    assert found["worst"][0]["recent"][found["recent"].index("2026-10-14")] == "m"


def test_bar_on_a_saturday_does_not_make_up_for_a_gap(server: Server, database: Database) -> None:
    database.run(
        "DELETE FROM market_data WHERE symbol = 'A.US' AND time = '2026-10-14 00:00+00'",
        "INSERT INTO market_data (time, symbol, close) VALUES ('2026-10-17 00:00+00', 'A.US', 1)",
    )
    found = look(server)["coverage"]
    assert (found["with_gaps"], found["missing"], found["worst"][0]["missing"]) == (1, 1, 1)


def test_last_bars_that_are_taken_out_are_behind(server: Server, database: Database) -> None:
    database.run("DELETE FROM market_data WHERE symbol = 'B.US' AND time >= '2026-11-17 00:00+00'")
    found = look(server)["coverage"]
    assert (found["worst"][0]["symbol"], found["worst"][0]["behind"]) == ("B.US", 4)
    database.run("UPDATE assets SET is_active = false WHERE symbol = 'B.US'")
    assert look(server)["coverage"]["behind"] == 0


def test_bar_at_midnight_utc_belongs_to_its_day_wherever_the_server_is(
    server: Server, database: Database
) -> None:
    database.run(f"ALTER DATABASE \"{database.database}\" SET timezone = 'America/New_York'")
    found = look(server)["coverage"]
    assert (found["with_gaps"], found["behind"]) == (0, 0)


def test_active_symbol_without_a_bar(server: Server, database: Database) -> None:
    database.run("INSERT INTO assets (symbol) VALUES ('C.US')")
    found = look(server)["coverage"]
    assert found["without_bars"] == 1
    assert found["worst"][0]["symbol"] == "C.US"


def test_names_of_one_server_are_one_database(server: Server) -> None:
    other = replace(server, host="localhost")
    assert look(server)["identity"] == look(other)["identity"]
    assert server.password not in str(look(server))


def test_tables_that_are_not_there_are_no_error(database: Database) -> None:
    found = look(database)
    assert (found["coverage"], found["ledger"], found["notes"]) == (None, None, [])


def test_locked_table_is_noted_and_does_not_hang(server: Server, database: Database) -> None:
    with closing(database.connect()) as session, session.cursor() as cursor:
        cursor.execute("LOCK TABLE market_data")
        found = look(server)
    assert found["coverage"] is None
    assert "Another session" in found["notes"][0]
    assert look(server)["coverage"] is not None


def test_months_that_take_too_long_are_left_out_and_said(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = survey._bars
    calls = []

    def second_slow(cursor: Any, *arguments: Any) -> Any:
        calls.append(arguments)
        if len(calls) == 2:
            cursor.execute("SELECT pg_sleep(2)")
        return read(cursor, *arguments)

    monkeypatch.setattr(survey, "_bars", second_slow)
    found = look(server, query_timeout=1.0)
    assert len(calls) == 2
    assert found["coverage"]["months"] == ["2026-09", "2026-10", "2026-11"]
    assert "The map of 12 months could not be read" in found["notes"][0]


def test_server_that_is_away_is_noted(server: Server) -> None:
    away = Server(server.host, 9, server.user, server.password, server.database)
    assert "refuses connections" in look(away)["notes"][0]


def test_ledger_tells_the_last_runs_the_newest_first(server: Server, database: Database) -> None:
    database.run(*MIGRATIONS, *(
        "INSERT INTO backfill_run (mode, request, worker, state, started, finished, totals, message) VALUES"
        f" ('history', '{{}}', 'w', 'done', '2026-11-{day} 04:15+00', '2026-11-{day} 04:15:02.5+00',"
        ' \'{"inserted": 21}\', NULL)' for day in range(10, 22)))  # fmt: skip
    found = look(server)["ledger"]
    assert [entry["run"] for entry in found] == list(range(12, 2, -1))
    assert found[0]["started"] == "2026-11-21T04:15:00Z"
    assert (found[0]["seconds"], found[0]["totals"]["inserted"], found[0]["totals"]["calls"]) == (
        2.5,
        21,
        None,
    )


def test_it_writes_nothing(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    said = {}

    def spied(cursor: Any) -> None:
        cursor.execute("SHOW default_transaction_read_only")
        said["read_only"] = cursor.fetchone()[0]

    monkeypatch.setattr(data, "ledger", spied)
    look(server)
    assert said == {"read_only": "on"}

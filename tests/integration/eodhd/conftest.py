"""The stand-in and the market's tables, for tests of the backfill over real sockets."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg2
import pytest
from ansible.module_utils.eodhd import backfill
from ansible.module_utils.eodhd.run.request import Request
from ansible.module_utils.reporting import Problem
from standin.process import StandIn

from tests import engines

if TYPE_CHECKING:
    from tests.engines import Database

TOKEN = "t0ken/with+odd&signs"


@pytest.fixture(scope="session")
def standin_process() -> Iterator[StandIn]:
    with StandIn() as running:
        yield running


@pytest.fixture
def standin(standin_process: StandIn) -> StandIn:
    """The stand-in, with nothing left of the test before."""
    standin_process.control(
        reset=True, latency=0, token=TOKEN, daily=100_000, used=0, minute=0, advertised=1_000_000
    )
    standin_process.control(
        sticky=False, splits={}, rows={}, extra={}, universe=50, requests_date="", today=today().isoformat()
    )
    standin_process.control(now=None, renames=[], delisted={}, late={}, odd=False)
    return standin_process


def today() -> Any:
    return datetime.now(timezone.utc).date()


@dataclass
class Market:
    """The database with its tables, and the stand-in; ``load`` runs the backfill on them."""

    server: Database
    standin: StandIn
    spool: str

    def request(self, **options: Any) -> Request:
        given = {"mode": "history", "symbols": ["AAPL.US"], "base_url": self.standin.url, "token": TOKEN}
        given["spool"] = self.spool
        return Request(server=self.server, **{**given, **options})

    def load(self, now: datetime | None = None, **options: Any) -> dict[str, Any]:
        """Run the backfill; a failure comes back as its result, with the message as ``problem``."""
        try:
            result: dict[str, Any] = backfill.run(self.request(**options), now)
        except Problem as problem:
            return {**problem.details, "problem": str(problem)}
        finally:
            if engines.LAYOUT.settle and not options.get("check"):
                with contextlib.suppress(psycopg2.Error):  # of tests without a database
                    self.server.run(*engines.LAYOUT.settle)
        return result

    def query(self, statement: str, *values: Any) -> list[tuple[Any, ...]]:
        with closing(self.server.connect()) as connection, connection, connection.cursor() as cursor:
            cursor.execute("SET TimeZone = 'UTC'")
            cursor.execute(statement, values or None)
            return list(cursor.fetchall()) if cursor.description else []

    def versions(self) -> list[tuple[Any, ...]]:
        """Every row's version: what an update would change, even one to the same values."""
        if engines.LAYOUT.settle:  # compressed rows have none
            return self.query("SELECT symbol, time, market_data::text FROM market_data ORDER BY 1, 2")
        return self.query(
            "SELECT symbol, time, xmin::text, ctid::text, xmax::text FROM market_data"
            " UNION ALL SELECT symbol, NULL, xmin::text, ctid::text, xmax::text FROM assets ORDER BY 1, 2"
        )


@pytest.fixture
def market(database: Database, standin: StandIn, tmp_path: Path) -> Market:
    engines.create_tables(database)
    return Market(database, standin, str(tmp_path / "spool"))

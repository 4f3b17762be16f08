"""The stand-in service and the market's tables, for tests of the backfill over real sockets."""

from __future__ import annotations

import contextlib
import random
import threading
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg2
import pytest
from ansible.module_utils.eodhd import backfill
from ansible.module_utils.eodhd.model import Request
from ansible.module_utils.eodhd.store import bars
from ansible.module_utils.reporting import Problem
from standin import clock
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
    """Return the stand-in, reset after the previous test."""
    standin_process.control(
        reset=True, latency=0, token=TOKEN, daily=100_000, used=0, minute=0, advertised=1_000_000
    )
    standin_process.control(
        sticky=False,
        splits={},
        rows={},
        extra={},
        universe=50,
        requests_date="",
        clock=None,
        today=today().isoformat(),
    )
    standin_process.control(now=None, renames=[], delisted={}, late={}, odd=False, dividends={}, junk=[])
    return standin_process


def today() -> Any:
    return datetime.now(timezone.utc).date()


@dataclass
class Market:
    """The database with its tables, and the stand-in; ``load`` runs the backfill on them."""

    server: Database
    standin: StandIn
    spool: str
    asking: psycopg2.extensions.connection | None = (
        None  # of ``query``: some tests call it a hundred times a second
    )

    def request(self, **options: Any) -> Request:
        given = {"mode": "history", "symbols": ["AAPL.US"], "base_url": self.standin.url, "token": TOKEN}
        given["spool"] = self.spool
        return Request(server=self.server, **{**given, **options})

    def load(self, now: datetime | None = None, **options: Any) -> dict[str, Any]:
        """Run the backfill; return a failure as its result, with the message as ``problem``."""
        try:
            result: dict[str, Any] = backfill.run(self.request(**options), clock.showing(now))
        except Problem as problem:
            return {**problem.details, "problem": str(problem)}
        finally:
            if engines.LAYOUT.settle and not options.get("check"):
                with contextlib.suppress(psycopg2.Error):  # in tests without a database
                    self.server.run(*engines.LAYOUT.settle)
        return result

    def copies(self, pause: float) -> Copies:
        """Copy the table at random moments during the context; see ``Copies``."""
        return Copies(self.server, pause)

    def query(self, statement: str, *values: Any) -> list[tuple[Any, ...]]:
        """Run a query in a transaction; reconnect if the connection was lost."""
        try:
            return self._query(statement, values)
        except psycopg2.Error:
            if not self.asking or not self.asking.closed:
                raise
        return self._query(statement, values)

    def _query(self, statement: str, values: tuple[Any, ...]) -> list[tuple[Any, ...]]:
        if not self.asking or self.asking.closed:
            self.asking = self.server.connect()
        with self.asking, self.asking.cursor() as cursor:
            # On Citus's workers too, whose time zone differs.
            cursor.execute("SET LOCAL citus.propagate_set_commands = 'local'; SET LOCAL TimeZone = 'UTC'")
            cursor.execute(statement, values or None)
            return list(cursor.fetchall()) if cursor.description else []

    def versions(self) -> list[tuple[Any, ...]]:
        """Return each row's version, which any update changes, even one to the same values."""
        if engines.LAYOUT.settle:  # compressed rows have none
            return self.query("SELECT symbol, time, market_data::text FROM market_data ORDER BY 1, 2")
        return self.query(
            "SELECT symbol, time, xmin::text, ctid::text, xmax::text FROM market_data"
            " UNION ALL SELECT symbol, NULL, xmin::text, ctid::text, xmax::text FROM assets ORDER BY 1, 2"
        )


class Copies:
    """Digests of ``market_data``, taken at random moments during other work.

    Args:
        server: the database.
        pause: seconds between two of them, at most.
    """

    def __init__(self, server: Database, pause: float) -> None:
        self._server = server
        self._pause = pause
        self._taken: list[tuple[datetime, Any]] = []
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._take)

    def __enter__(self) -> Copies:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._done.set()
        self._thread.join()

    def _take(self) -> None:
        with closing(self._server.connect()) as connection:
            while not self._done.wait(random.random() * self._pause):
                with connection, connection.cursor() as cursor:
                    # Like a snapshot: never in the middle of a batch.
                    cursor.execute("SELECT pg_advisory_xact_lock(%s), clock_timestamp()", (bars.LOCK,))
                    moment = (cursor.fetchone() or (None, None))[1]
                    self._taken.append((moment, self._digest(cursor, "market_data")))

    def compare(self) -> int:
        """Compare the function with each copy; return the number of distinct copies."""
        with closing(self._server.connect()) as connection, connection.cursor() as cursor:
            for moment, copied in self._taken:
                cursor.execute("SELECT set_config('test.moment', %s, false)", (moment.isoformat(),))
                said = self._digest(cursor, "market_data_asof(current_setting('test.moment')::timestamptz)")
                assert said == copied, moment
        return len({copied for _, copied in self._taken})

    @property
    def count(self) -> int:
        """Return how many copies were taken."""
        return len(self._taken)

    @staticmethod
    def _digest(cursor: Any, source: str) -> Any:
        cursor.execute(
            "SELECT count(*), md5(string_agg(row::text, ' ' ORDER BY symbol, time)) FROM (SELECT"
            " time AT TIME ZONE 'UTC' AS time, symbol,"
            f" open, high, low, close, adjusted_close, volume FROM {source}) AS row"
        )
        return cursor.fetchone()


@pytest.fixture
def market(database: Database, standin: StandIn, tmp_path: Path) -> Iterator[Market]:
    engines.create_tables(database)
    made = Market(database, standin, str(tmp_path / "spool"))
    yield made
    if made.asking:
        made.asking.close()

"""Kill a backfill again and again at random moments, let it resume, and count what was lost, doubled, paid twice."""

from __future__ import annotations

import random
import signal
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import psutil
import psycopg2

from standin import worker
from standin.process import StandIn


@dataclass
class Figures:
    """What the kills did.

    Attributes:
        kills: processes that were killed while they worked.
        known_asked_again: symbols asked for again although the ledger had them at the kill.
        paid_again: calls paid a second time.
        rows_lost, rows_doubled: against what the stand-in serves.
        symbols: asked for in all.
    """

    kills: int = 0
    known_asked_again: int = 0
    paid_again: int = 0
    most_paid_again: int = 0
    rows_lost: int = 0
    rows_doubled: int = 0
    symbols: int = 0
    result: dict[str, Any] | None = None


def run(
    server: Any,
    standin: StandIn,
    kills: int,
    symbols: int,
    how: int = signal.SIGKILL,
    courier: bool = False,
    between: Callable[[], object] = lambda: None,
    **options: Any,
) -> Figures:
    """Kill ``kills`` backfills of ``symbols`` symbols, then let one come to its end.

    Args:
        server: with the tables, empty.
        standin: with latency, so that there is something to interrupt.
        kills: how many.
        symbols: enough that all kills meet work.
        how: the signal.
        courier: whether the process that asks is killed with the run.
        between: called after each kill.
        options: of the request.
    """
    names = [f"SYM{number:05d}.US" for number in range(symbols)]
    request = {"mode": "history", "base_url": standin.url, "token": "token", "symbols": names, **options}
    figures = Figures(symbols=symbols)
    chance = random.Random(4)
    known: dict[str, int] = {}
    paid_before = 0
    while figures.kills < kills:
        process = worker.start(server, **request)
        _await_more(server, process)
        time.sleep(chance.random() * 0.3)
        if process.poll() is not None:
            raise RuntimeError("the run ended before it could be killed; take more symbols")
        others = psutil.Process(process.pid).children() if courier else []
        process.send_signal(how)
        for other in others:
            other.kill()
        process.wait(60)
        between()
        figures.kills += 1
        counts = standin.counts()
        paid = sum(counts["paid"].values()) - len(counts["paid"])
        figures.most_paid_again = max(figures.most_paid_again, paid - paid_before)
        paid_before = paid
        for symbol in _covered(server):
            known.setdefault(symbol, counts["asked"].get(symbol, 0))
    figures.result = worker.finish(worker.start(server, **request), timeout=600)  # the test has its own
    counts = standin.counts()
    figures.known_asked_again = sum(counts["asked"][symbol] > asked for symbol, asked in known.items())
    figures.paid_again = sum(counts["paid"].values()) - len(counts["paid"]) - counts["paid"].get("user", 0)
    return figures


def _connect(server: Any) -> Any:
    names = ("host", "port", "user", "password")
    return psycopg2.connect(dbname=server.database, **{name: getattr(server, name) for name in names})


def _ask(connection: Any, statement: str) -> list[tuple[Any, ...]]:
    with connection, connection.cursor() as cursor:
        cursor.execute(statement)
        return list(cursor.fetchall())


def _query(server: Any, statement: str) -> list[tuple[Any, ...]]:
    with closing(_connect(server)) as connection:
        return _ask(connection, statement)


def _covered(server: Any) -> list[str]:
    return [row[0] for row in _query(server, "SELECT symbol FROM backfill_coverage WHERE outcome = 'loaded'")]


def stored(server: Any) -> int:
    """Return how many symbols the ledger has."""
    with closing(_connect(server)) as connection:
        return _stored(connection)


def _await_more(server: Any, process: worker.Run) -> None:
    """Wait until the ledger has more symbols than now, or the process has ended."""
    with closing(_connect(server)) as connection:
        done = _stored(connection)
        while _stored(connection) == done and process.poll() is None:
            time.sleep(0.01)


def _stored(connection: Any) -> int:
    if _ask(connection, "SELECT to_regclass('backfill_coverage')") == [(None,)]:
        return 0
    return int(_ask(connection, "SELECT count(*) FROM backfill_coverage")[0][0])


def compare_rows(server: Any, market: Any, first: Any, last: Any, figures: Figures) -> Figures:
    """Hold the table against what the stand-in serves, value by value."""
    import json

    stored = _query(
        server,
        "SELECT symbol, (time AT TIME ZONE 'UTC')::date::text, open::text, high::text, low::text, close::text,"
        " adjusted_close::text, volume::text FROM market_data",
    )
    expected = set()
    for number in range(figures.symbols):
        symbol = f"SYM{number:05d}.US"
        for row in json.loads(f"[{market.bars(symbol, first, last)}]", parse_float=str, parse_int=str):
            expected.add((symbol, *row.values()))
    figures.rows_lost = len(expected - set(stored))
    figures.rows_doubled = len(stored) - len(set(stored)) + len(set(stored) - expected)
    return figures

"""The layouts of the database compared with plain PostgreSQL on the same machine; skipped without ENGINES.

BENCH_SYMBOLS is the number of whole histories to load, BENCH_LAYOUTS lists the layouts to measure.
"""

from __future__ import annotations

import itertools
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

from ansible.module_utils.audit import data
from ansible.module_utils.coverage.expected import Markets, Window
from ansible.module_utils.database import connection, layout, tables
from ansible.module_utils.database.catalog import estimate
from ansible.module_utils.health import bars, coverage
from ansible.module_utils.health.model import USUAL, Host, Wanted
from standin import worker
from standin.process import StandIn

from tests import engines
from tests.bench import backfill
from tests.engines import Database

SYMBOLS = int(os.environ.get("BENCH_SYMBOLS", "400"))
# As ``postgres_layout`` creates it; ``citus4`` is Citus with four workers.
OURS = "timescaledb"
LAYOUTS = {
    **engines.LAYOUTS,
    OURS: engines.Layout("timescaledb", settle=(engines.COMPRESS,)),
    "citus4": engines.LAYOUTS["citus"],
}
WANTED = os.environ.get(
    "BENCH_LAYOUTS", "timescaledb year year-compressed week week-compressed citus citus4"
).split()
WORKERS = {"citus4": 4}
ROUNDS = 3
RESTATED = 20
SPLIT = "2023-12-27"
# The current time for health and audit: a day after the last bar.
NOW = datetime(2023, 12, 31, 12, tzinfo=timezone.utc)
DAYS = {"first": backfill.LONG.first, "last": backfill.LONG.last}
SIZES = {
    "timescaledb": "SELECT hypertable_size('market_data')",
    "citus": "SELECT sum(result::bigint) FROM run_command_on_shards('market_data',"
    " $$SELECT pg_total_relation_size('%s')$$)",
}
# What users query.
QUESTIONS = {
    "history": "SELECT * FROM market_data WHERE symbol = 'SYM00007.US' ORDER BY time",
    "day": "SELECT * FROM market_data WHERE time = '2015-06-10 00:00+00'",
    "as-of": "SELECT count(*) FROM market_data_asof(now() - interval '1 second', ARRAY['SYM00007.US'])",
}
LIMITS = {
    "load": "1.25, Citus 1.54",
    "top-up": "2, Citus 4",
    "daily": "2",
    "restated": "2.5",
    "health": "2",
    "audit": "2",
    "bytes": "0.25 compressed",
    "estimate": "1 %",
}


def fetched(server: Database, statement: str) -> list[Any]:
    """Return all rows of a query."""
    with closing(server.connect()) as session, session.cursor() as cursor:
        cursor.execute(statement)
        return list(cursor.fetchall())


def measure(sides: list[Side], standin: StandIn) -> list[dict[str, float]]:
    """Return the seconds of the jobs and queries, the bytes, and the error of the estimate, for each side.

    The sides alternate, so that a slow minute of the machine affects both. ``top-up`` finds nothing new,
    ``daily`` loads a session of all symbols, ``restated`` loads the whole histories of 20 split symbols again,
    ``health`` searches all bars for gaps, ``audit`` shows five years.
    """
    standin.control(splits={}, universe=SYMBOLS)
    symbols = backfill.names(SYMBOLS)
    found: list[dict[str, float]] = [{} for _ in sides]

    def turns(name: str, work: Callable[[Database], float], rounds: int = ROUNDS) -> None:
        seconds = [[work(side.server) for side in sides] for _ in range(rounds)]
        for values, mine in zip(found, zip(*seconds)):
            values[name] = statistics.median(mine)

    turns("load", lambda server: load(server, standin, symbols=symbols), 1)
    for side, values in zip(sides, found):
        side.settle()
        values["bytes"] = side.bytes()
    turns("top-up", lambda server: load(server, standin, symbols=symbols, fresh_hours=0))
    turns("daily", lambda server: daily(server, standin))
    standin.control(splits={symbol: [SPLIT, 2] for symbol in symbols[:RESTATED]})
    turns("restated", lambda server: load(server, standin, symbols=symbols[:RESTATED], fresh_hours=0), 1)
    for side in sides:
        side.settle()
    turns("health", lambda server: timed(lambda: health(server)))
    markets = Markets(Window.of(60, NOW.date()), NOW, timedelta(hours=6))
    turns("audit", lambda server: timed(lambda: data.look(server, markets, 40, 5, 120)))
    for name, statement in QUESTIONS.items():
        turns(name, lambda server, asked=statement: timed(lambda: fetched(server, asked)))  # type: ignore[misc]
    for side, values in zip(sides, found):
        values["estimate"] = side.misjudged()
    return found


@dataclass(frozen=True)
class Side:
    """A database in a layout."""

    server: Database
    layout: engines.Layout

    def settle(self) -> None:
        """Do the maintenance that a database does from time to time."""
        self.server.run("VACUUM ANALYZE market_data", *self.layout.settle)

    def bytes(self) -> float:
        """Return the bytes of ``market_data`` and its indexes."""
        statement = SIZES.get(self.layout.engine, "SELECT pg_total_relation_size('market_data')")
        return float(fetched(self.server, statement)[0][0])

    def misjudged(self) -> float:
        """Return the relative error of the estimated number of rows."""
        ((rows, oid),) = fetched(
            self.server, "SELECT count(*), 'market_data'::regclass::oid FROM market_data"
        )
        with closing(self.server.connect()) as session, session.cursor() as cursor:
            return float(abs((estimate(cursor, oid) or 0) - rows) / rows)


def create_tables(server: Database) -> None:
    """Create the tables with our hypertable, as the role does."""
    with closing(server.connect()) as session, session, session.cursor() as cursor:
        for table in tables.TABLES:
            layout.create(cursor, table.statement(), layout.Layout(OURS), table.name)


def load(server: Database, standin: StandIn, **options: Any) -> float:
    """Return the seconds of a run with whole histories."""
    return float(backfill.ours(server, standin, **DAYS, **options)["seconds"])


def daily(server: Database, standin: StandIn) -> float:
    """Return the seconds to load the last session of all symbols, even if the ledger has it."""
    with tempfile.TemporaryDirectory() as folder:
        options = {
            "mode": "daily",
            "base_url": standin.url,
            "token": "token",
            "exchanges": ["US"],
            "spool": folder,
        }
        done = worker.finish(worker.start(server, force=True, **options), 600)
    if "SUCCESS" not in done.get("report", ""):
        raise SystemExit(f"daily failed: {done}")
    return float(done["seconds"])


def health(server: Database) -> None:
    """Run the checks of the tables and their bars."""
    tables = [Wanted("market_data"), Wanted("assets")]
    context = Host(
        Path(), tables, 5, 120, "auto", connection.connect, {**USUAL, "gap_days": 9000}, now=lambda: NOW
    )
    context.server = server
    with closing(connection.connect(server, 10, read_only=True)) as session:
        session.autocommit = True
        context.session = session
        for check in (
            bars.check_tables, coverage.check_freshness, coverage.check_coverage, coverage.check_gaps,
            bars.check_precision,
        ):  # fmt: skip
            list(check(context))
    if context.coverage is None:
        raise SystemExit("health ran out of time")


def timed(work: Callable[[], Any]) -> float:
    """Return the seconds that the work takes."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


@contextmanager
def serving(name: str) -> Iterator[Callable[[], Side]]:
    """Yield a function that creates databases with empty tables in a layout."""
    wanted = LAYOUTS[name]
    made = itertools.count()

    def side() -> Side:
        server = engines.create_database(started, f"bench{next(made)}", wanted.engine)
        if name == OURS:
            create_tables(server)
        else:
            engines.create_tables(server, wanted)
        return Side(server, wanted)

    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        Path(folder).chmod(0o755)
        with engines.serving(Path(folder), wanted.engine, WORKERS.get(name, engines.WORKERS)) as started:
            yield side


def main() -> str:
    """Measure, and return the section for docs/benchmarks.md."""
    if not os.environ.get("ENGINES"):
        return "## Engines\n\nNot measured: set ENGINES=DIR."
    found: dict[str, list[dict[str, float]]] = {}
    with StandIn("--latency", "0.01") as standin, serving("plain15") as plain:
        # So that the stand-in has its answers ready.
        load(plain().server, standin, symbols=backfill.names(SYMBOLS))
        for name in WANTED:
            with serving(name) as other:
                found[name] = measure([plain(), other()], standin)
            print(name, *found[name], os.getloadavg(), file=sys.stderr, flush=True)
    return section(found)


def section(found: dict[str, list[dict[str, float]]]) -> str:
    """Return the table: plain PostgreSQL in units, the others as multiples of it."""
    plains = [plain for plain, _ in found.values()]
    units = {key: statistics.median(plain[key] for plain in plains) for key in plains[0]}
    lines = [
        "## Engines\n",
        f"{SYMBOLS} symbols, whole histories; servers with default settings except fsync, which is off; load average"
        f" {os.getloadavg()[2]:.0f}. `plain` is in seconds and megabytes, the others are multiples of it, measured"
        " alternately.\n",
        "| | " + " | ".join(units) + " |",
        "|---|" + "---|" * len(units),
        "| plain | " + " | ".join(_unit(key, value) for key, value in units.items()) + " |",
    ]
    for name, (plain, values) in found.items():
        cells = [
            f"{value:.2%}" if key == "estimate" else f"{value / plain[key]:.2f}"
            for key, value in values.items()
        ]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join([*lines, "| at most | " + " | ".join(LIMITS.get(key, "") for key in units) + " |"])


def _unit(key: str, value: float) -> str:
    return {"bytes": f"{value / 1e6:.0f} MB", "estimate": f"{value:.2%}"}.get(key, f"{value:.2f} s")


if __name__ == "__main__":
    print(main())

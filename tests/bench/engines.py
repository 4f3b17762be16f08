"""The layouts of the database against plain PostgreSQL on the same machine; skipped where no engine is offered.

BENCH_SYMBOLS is how many whole histories are loaded, BENCH_LAYOUTS which layouts beside plain PostgreSQL are measured.
"""

from __future__ import annotations

import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

from ansible.module_utils.audit import data
from ansible.module_utils.database import connection
from ansible.module_utils.database.estimates import estimate
from ansible.module_utils.health import bars, counts, coverage
from ansible.module_utils.health.limits import USUAL
from ansible.module_utils.health.model import Host, Wanted
from standin import worker
from standin.process import StandIn

from tests import engines
from tests.bench import backfill
from tests.engines import Database

SYMBOLS = int(os.environ.get("BENCH_SYMBOLS", "400"))
LAYOUTS = os.environ.get("BENCH_LAYOUTS", "year year-compressed week week-compressed citus citus4").split()
WORKERS = {"citus4": 4}
ROUNDS = 3
RESTATED = 20
SPLIT = "2023-12-27"
# The present of health and audit: a day after the last bar.
NOW = datetime(2023, 12, 31, 12, tzinfo=timezone.utc)
DAYS = {"first": backfill.LONG.first, "last": backfill.LONG.last}
SIZES = {
    "timescaledb": "SELECT hypertable_size('market_data')",
    "citus": "SELECT sum(result::bigint) FROM run_command_on_shards('market_data',"
    " $$SELECT pg_total_relation_size('%s')$$)",
}
# What people ask.
HISTORY = "SELECT * FROM market_data WHERE symbol = 'SYM00007.US' ORDER BY time"
DAY = "SELECT * FROM market_data WHERE time = '2015-06-10 00:00+00'"
ASOF = "SELECT count(*) FROM market_data_asof(now() - interval '1 second') WHERE symbol = 'SYM00007.US'"
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


def median(work: Callable[[], Any], rounds: int = ROUNDS) -> float:
    """Median seconds."""
    return statistics.median(timed(work) for _ in range(rounds))


def timed(work: Callable[[], Any]) -> float:
    """Seconds."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def fetched(server: Database, statement: str) -> list[Any]:
    """All rows of an answer."""
    with closing(server.connect()) as session, session.cursor() as cursor:
        cursor.execute(statement)
        return list(cursor.fetchall())


def measure(server: Database, layout: engines.Layout, standin: StandIn) -> dict[str, float]:
    """Seconds of the jobs and of questions; bytes; the estimate's error.

    ``top-up`` finds nothing new, ``daily`` is a session of all symbols, ``restated`` loads the whole histories of 20
    split symbols again, ``health`` looks for gaps in all that is stored, ``audit`` draws five years.
    """
    engines.create_tables(server, layout)
    standin.control(splits={}, universe=SYMBOLS)
    symbols = backfill.names(SYMBOLS)
    found = {"load": load(server, standin, symbols=symbols)}
    server.run("ANALYZE market_data", *layout.settle)
    found["bytes"] = float(
        fetched(server, SIZES.get(layout.engine, "SELECT pg_total_relation_size('market_data')"))[0][0]
    )
    found["top-up"] = statistics.median(
        load(server, standin, symbols=symbols, fresh_hours=0) for _ in range(ROUNDS)
    )
    found["daily"] = statistics.median(daily(server, standin) for _ in range(ROUNDS))
    standin.control(splits={symbol: [SPLIT, 2] for symbol in symbols[:RESTATED]})
    found["restated"] = load(server, standin, symbols=symbols[:RESTATED], fresh_hours=0)
    server.run("ANALYZE market_data", *layout.settle)
    found["health"] = median(lambda: health(server))
    found["audit"] = median(lambda: data.look(server, NOW, timedelta(hours=6), 60, 40, 5, 120))
    for name, statement in (("history", HISTORY), ("day", DAY), ("as-of", ASOF)):
        found[name] = median(lambda statement=statement: fetched(server, statement))  # type: ignore[misc]
    rows = fetched(server, "SELECT count(*) FROM market_data")[0][0]
    with closing(server.connect()) as session, session.cursor() as cursor:
        cursor.execute("SELECT 'market_data'::regclass::oid")
        about = estimate(cursor, (cursor.fetchone() or [0])[0]) or 0
    found["estimate"] = abs(about - rows) / rows
    return found


def load(server: Database, standin: StandIn, **options: Any) -> float:
    """Seconds of a run of whole histories."""
    return float(backfill.ours(server, standin, **DAYS, **options)["seconds"])


def daily(server: Database, standin: StandIn) -> float:
    """Seconds of the last session of all symbols, asked for whatever the ledger has."""
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
    """The checks of the tables and their bars."""
    tables = [Wanted("market_data"), Wanted("assets")]
    context = Host(
        Path(), tables, 5, 120, "auto", connection.connect, replace(USUAL, gap_days=9000), now=lambda: NOW
    )
    context.server = server
    with closing(connection.connect(server, 10, read_only=True)) as session:
        session.autocommit = True
        context.session = session
        for check in (
            counts.check_tables, coverage.check_freshness, coverage.check_coverage, coverage.check_gaps,
            bars.check_precision,
        ):  # fmt: skip
            list(check(context))
    if context.coverage is None:
        raise SystemExit("health had not time enough")


@contextmanager
def serving(name: str) -> Iterator[tuple[Database, engines.Layout]]:
    """A database in a layout; ``citus4`` is Citus with four workers."""
    layout = engines.LAYOUTS[name.rstrip("4")]
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        Path(folder).chmod(0o755)
        with engines.serving(Path(folder), layout.engine, WORKERS.get(name, engines.WORKERS)) as server:
            yield engines.create_database(server, "bench", layout.engine), layout


def main() -> str:
    """Measure, and return the section for docs/benchmarks.md."""
    if not os.environ.get("ENGINES"):
        return "## Engines\n\nNot measured: give ENGINES=DIR."
    found: dict[str, dict[str, float]] = {}
    with StandIn("--latency", "0.01") as standin:
        for name in ("plain15", *LAYOUTS):
            with serving(name) as (database, layout):
                found[name] = measure(database, layout, standin)
            print(name, found[name], file=sys.stderr, flush=True)
    return section(found)


def section(found: dict[str, dict[str, float]]) -> str:
    """The table of what was measured: plain PostgreSQL in its units, the others times that."""
    plain = found["plain15"]
    lines = [
        "## Engines\n",
        f"{SYMBOLS} symbols, whole histories, servers with their defaults but without fsync. `plain15` in seconds and"
        " megabytes, the others times that.\n",
        "| | " + " | ".join(plain) + " |",
        "|---|" + "---|" * len(plain),
    ]
    for name, values in found.items():
        cells = [
            f"{values[k]:.2%}" if k == "estimate"
            else f"{values[k] / plain[k]:.2f}" if name != "plain15"
            else f"{values[k] / 1e6:.0f} MB" if k == "bytes" else f"{values[k]:.2f} s"
            for k in plain
        ]  # fmt: skip
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join([*lines, "| at most | " + " | ".join(LIMITS.get(k, "") for k in plain) + " |"])


if __name__ == "__main__":
    print(main())

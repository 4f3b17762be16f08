"""The layouts of the database against plain PostgreSQL on the same machine; skipped where no engine is offered."""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

from ansible.module_utils.database.estimates import estimate
from standin import worker
from standin.process import StandIn

from tests import engines
from tests.bench import backfill
from tests.engines import Database

SYMBOLS = int(os.environ.get("BENCH_SYMBOLS", "400"))
LAYOUTS = ("plain15", "year", "year-compressed", "week", "week-compressed", "citus")
SIZES = {
    "timescaledb": "SELECT hypertable_size('market_data')",
    "citus": "SELECT sum(result::bigint) FROM run_command_on_shards('market_data',"
    " $$SELECT pg_total_relation_size('%s')$$)",
}
LIMITS = {
    "load": "1.25, Citus 1.54",
    "top-up": "2, Citus 4",
    "daily": "2",
    "bytes": "0.25 compressed",
    "estimate": "1 %",
}


def timed(work: Callable[[], Any]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def value(server: Database, statement: str) -> Any:
    with closing(server.connect()) as session, session.cursor() as cursor:
        cursor.execute(statement)
        return (cursor.fetchone() or [None])[0]


def measure(server: Database, layout: engines.Layout, standin: StandIn) -> dict[str, float]:
    """Seconds of a load of whole histories, of a top-up with nothing new and of a day; bytes; the estimate's error."""
    engines.create_tables(server, layout)
    symbols = backfill.names(SYMBOLS)
    days = {"first": backfill.LONG.first, "last": backfill.LONG.last}
    found = {"load": backfill.ours(server, standin, symbols=symbols, **days)["seconds"]}
    server.run("ANALYZE market_data", *layout.settle)
    found["top-up"] = backfill.ours(server, standin, symbols=symbols, force=True, **days)["seconds"]
    with tempfile.TemporaryDirectory() as folder:
        found["daily"] = timed(
            lambda: worker.finish(
                worker.start(
                    server, mode="daily", base_url=standin.url, token="token", exchanges=["US"], spool=folder
                ),
                600,
            )
        )
    server.run("ANALYZE market_data", *layout.settle)
    found["bytes"] = float(
        value(server, SIZES.get(layout.engine, "SELECT pg_total_relation_size('market_data')"))
    )
    rows = value(server, "SELECT count(*) FROM market_data")
    with closing(server.connect()) as session, session.cursor() as cursor:
        cursor.execute("SELECT 'market_data'::regclass::oid")
        about = estimate(cursor, (cursor.fetchone() or [0])[0]) or 0
    found["estimate"] = abs(about - rows) / rows
    return found


def main() -> str:
    """Measure, and return the section for docs/benchmarks.md."""
    if not os.environ.get("ENGINES"):
        return "## Engines\n\nNot measured: give ENGINES=DIR."
    found: dict[str, dict[str, float]] = {}
    with StandIn("--latency", "0.01") as standin:
        for name in LAYOUTS:
            layout = engines.LAYOUTS[name]
            with tempfile.TemporaryDirectory(prefix="bench-") as folder:
                Path(folder).chmod(0o755)
                with engines.serving(Path(folder), layout.engine) as server:
                    database = engines.create_database(server, "bench", layout.engine)
                    found[name] = measure(database, layout, standin)
            print(name, found[name], file=sys.stderr, flush=True)
    plain = found["plain15"]
    head = (
        f"{SYMBOLS} symbols, whole histories; times plain PostgreSQL 15 of the same run, without fsync.\n\n"
    )
    lines = ["| | " + " | ".join(plain) + " |", "|---|" + "---|" * len(plain)]
    for name, values in found.items():
        cells = [f"{v / plain[k]:.2f}" if k != "estimate" else f"{v:.2%}" for k, v in values.items()]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    lines.append("| at most | " + " | ".join(LIMITS[k] for k in plain) + " |")
    return "## Engines\n\n" + head + "\n".join(lines)


if __name__ == "__main__":
    print(main())

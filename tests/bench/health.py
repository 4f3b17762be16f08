"""The counts of the health check on large tables, plain and partitioned.

HEALTH_BENCH_ROWS is the wanted number of rows, HEALTH_BENCH_SECONDS the time limit of the set-up. The section gives
the number that was reached.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parent.parent.parent
sys.path[:0] = [str(REPOSITORY)]

import ansible.module_utils
import matplotlib

if str(REPOSITORY / "module_utils") not in ansible.module_utils.__path__:
    ansible.module_utils.__path__.append(str(REPOSITORY / "module_utils"))

from ansible.module_utils.database import connection
from ansible.module_utils.database.server import Server
from ansible.module_utils.health import bars
from ansible.module_utils.health.model import Count, Host, Wanted
from ansible.module_utils.sandbox import postgres

from tests.bench import timing

ROWS = int(os.environ.get("HEALTH_BENCH_ROWS", 50_000_000))
SECONDS = float(os.environ.get("HEALTH_BENCH_SECONDS", 600))
SYMBOLS = 5000
# Rows of one statement of the set-up.
CHUNK = 1_000_000
ROUNDS = 9
COLUMNS = """(time timestamptz NOT NULL, symbol text NOT NULL, open numeric, high numeric, low numeric, close numeric,
  adjusted_close numeric, volume bigint)"""
TABLES = {"plain": "plain", "partitioned": "partitioned, a partition a year"}
AUTO_TIMEOUT = 1.0
PICTURE = REPOSITORY / "docs/pictures/counts.svg"


@dataclass(frozen=True)
class Measured:
    """One way to count one table: our milliseconds, and those of the rival or limit."""

    table: str
    mode: str
    said: str
    ours: float
    theirs: float
    ratio: str
    aim: str

    def text(self) -> str:
        """Return a line of the table in docs/benchmarks.md."""
        return (
            f"| {self.table} | {self.mode} | {self.said} | {self.ours:,.1f} ms | {self.theirs:,.0f} ms"
            f" | {self.ratio} | {self.aim} |\n"
        )


def fill(cursor: Any, table: str, rows: int, until: float) -> int:
    """Load bars of SYMBOLS symbols, day by day, until there are enough or the time is up; return their number."""
    done = 0
    while done < rows and time.monotonic() < until:
        days = CHUNK // SYMBOLS
        cursor.execute(
            f"INSERT INTO {table} SELECT timestamptz '1980-01-01 00:00+00' + day * interval '1 day',"
            " 'S' || symbol || '.US', 100.25, 101.5, 99.75, 100.5, 100.5, 1000000 + symbol"
            f" FROM generate_series(%s, %s) AS day, generate_series(1, {SYMBOLS}) AS symbol",
            (done // SYMBOLS, done // SYMBOLS + days - 1),
        )
        done += CHUNK
    return done


def medians(*works: Callable[[], Any]) -> tuple[float, ...]:
    """Return the median milliseconds of each; the works alternate."""
    return tuple(seconds * 1000 for seconds in timing.medians(ROUNDS, *works))


def main() -> str:
    """Measure, and return the section for docs/benchmarks.md."""
    folder = Path(tempfile.mkdtemp(prefix="bench-health-"))
    cluster = postgres.Cluster(folder / "cluster")
    server = Server("127.0.0.1", postgres.free_port(), "postgres", "bench", "postgres")
    found: list[Measured] = []
    begun = time.monotonic()
    try:
        cluster.initialise(server.user, server.password)
        cluster.start(server.port, {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off",
                                    "max_wal_size": "8GB", "shared_buffers": "256MB"})  # fmt: skip
        with closing(connection.connect(server, 10)) as session:
            session.autocommit = True
            with session.cursor() as cursor:
                cursor.execute(f"CREATE TABLE plain {COLUMNS}")
                cursor.execute(f"CREATE TABLE partitioned {COLUMNS} PARTITION BY RANGE (time)")
                for year in range(1979, 2010):
                    cursor.execute(
                        f"CREATE TABLE partitioned_{year} PARTITION OF partitioned"
                        f" FOR VALUES FROM ('{year}-01-01 00:00+00') TO ('{year + 1}-01-01 00:00+00')"
                    )
                # A third of the time for each table, the rest for the keys.
                rows = fill(cursor, "plain", ROWS, begun + SECONDS / 3)
                fill(cursor, "partitioned", rows, float("inf"))
                for table in TABLES:
                    cursor.execute(f"ALTER TABLE {table} ADD PRIMARY KEY (time, symbol)")
                    cursor.execute(f"VACUUM (ANALYZE) {table}")
                cursor.execute("SELECT pg_database_size(current_database())")
                size = cursor.fetchone()[0]
        setup = time.monotonic() - begun
        for table, name in TABLES.items():
            found += measure(server, table, name, rows)
    finally:
        cluster.remove()
        shutil.rmtree(folder, ignore_errors=True)
    client = psql()
    rival = (
        f"`{client.name} -c 'select count(*)'`"
        if client
        else "a bare psycopg2 session, because psql is missing"
    )
    draw(found, rows, client.name if client else "psycopg2")
    return (
        "## Counts of the health check\n\n"
        f"Two tables of {rows:,} bars with the columns and the key of `market_data` ({size / 1e9:.1f} GB together,"
        f" set up in {setup:.0f} s; {ROWS:,} were wanted). Medians of {ROUNDS}. `estimate` and `auto` use an open"
        f" connection. `exact` opens its own, and so does its rival, {rival}.\n\n"
        "| Table | `health_count` | Reported | Ours | Against | | Aim |\n|---|---|---|---|---|---|---|\n"
        + "".join(line.text() for line in found)
        + "\n![Milliseconds of each way to count and of the rival](pictures/counts.svg)\n"
    )


def draw(found: list[Measured], rows: int, rival: str) -> None:
    """Draw docs/pictures/counts.svg."""
    matplotlib.use("svg")
    # Text stays text, and the same figures give the same file.
    matplotlib.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "counts"})
    from matplotlib import pyplot

    bars = [(f"{line.table.split(',')[0]}: {line.mode}", line.ours, "#2a6f97") for line in found]
    bars += [
        (f"{line.table.split(',')[0]}: {rival}", line.theirs, "#9a9a9a")
        for line in found
        if line.mode == "exact"
    ]
    bars.sort(reverse=True)
    figure, axes = pyplot.subplots(figsize=(8, 3.4), layout="constrained")
    drawn = axes.barh(
        [label for label, _, _ in bars], [ms for _, ms, _ in bars], color=[c for _, _, c in bars]
    )
    axes.bar_label(drawn, [f"{ms:,.1f} ms" for _, ms, _ in bars], padding=4)
    axes.set(
        xscale="log", xlim=(0.5, 20_000), xlabel="milliseconds, logarithmic", title=f"Counting {rows:,} bars"
    )
    axes.xaxis.set_major_formatter("{x:,.0f}")
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(PICTURE, metadata={"Date": None})


def psql() -> Path | None:
    """Return psql of the sandbox's PostgreSQL, or of this machine; None if there is none."""
    own = postgres.binaries() / "psql"
    found = str(own) if own.exists() else shutil.which("psql")
    return Path(found) if found else None


def measure(server: Server, table: str, name: str, rows: int) -> list[Measured]:
    """Measure every way to count one table."""
    said: dict[str, Count] = {}
    client = psql()

    def count(mode: str, timeout: float, session: Any) -> None:
        context = Host(Path(), [Wanted(table)], 3, timeout, mode, connection.connect)
        context.server, context.session = server, session
        list(bars.check_tables(context))
        said[mode] = context.counts[table]

    def connected(mode: str, timeout: float) -> None:
        with closing(connection.connect(server, 10, read_only=True)) as session:
            session.autocommit = True
            count(mode, timeout, session)

    def bare() -> None:
        if client:
            environment = {**os.environ, "PGPASSWORD": server.password}
            command = [str(client), "-h", server.host, "-p", str(server.port), "-U", server.user,
                       "-d", server.database, "-c", f"select count(*) from {table}"]  # fmt: skip
            subprocess.run(command, env=environment, check=True, capture_output=True)
            return
        with closing(connection.connect(server, 10)) as other, other.cursor() as cursor:
            cursor.execute(f"select count(*) from {table}")
            cursor.fetchone()

    bare()  # fills the caches
    with closing(connection.connect(server, 10, read_only=True)) as session:
        session.autocommit = True
        (estimate,) = medians(lambda: count("estimate", 10, session))
        (auto,) = medians(lambda: count("auto", AUTO_TIMEOUT, session))
    exact, theirs = medians(lambda: connected("exact", 600), bare)
    error = abs((said["estimate"].rows or 0) - rows) / rows
    limit = AUTO_TIMEOUT * 1000
    return [
        Measured(
            name, "estimate", said["estimate"].text(), estimate, 50, f"{error:.2%} off", "≤ 1 % off, ≤ 50 ms"
        ),
        Measured(name, "exact", said["exact"].text(), exact, theirs, f"{exact / theirs:.2f}", "≤ 1.1"),
        Measured(
            name,
            f"auto in {AUTO_TIMEOUT:g} s",
            said["auto"].text(),
            auto,
            limit,
            f"{auto / limit:.3f}",
            "≤ 1",
        ),
    ]


if __name__ == "__main__":
    print(main())

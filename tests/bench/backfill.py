"""The backfill compared with rivals and a bare COPY, its memory, and kills; with one stand-in and one PostgreSQL."""

from __future__ import annotations

import io
import json
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import date, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(REPOSITORY / "tests"))

import ansible.module_utils

ansible.module_utils.__path__.append(str(REPOSITORY / "module_utils"))

import psycopg2
from ansible.module_utils.database import tables
from ansible.module_utils.database.server import Server
from ansible.module_utils.eodhd.days import Range
from ansible.module_utils.eodhd.store.parser import Parser
from ansible.module_utils.sandbox import postgres
from standin import kills, worker
from standin.data import Market
from standin.process import StandIn

LATENCY = 0.05
ROUNDS = 3
TODAY = datetime.now(timezone.utc).date()
# Whole histories: 400 × 6,208 sessions, about 2.5 million rows.
LONG = Range(date(2000, 1, 1), date(2023, 12, 31))
LONG_SYMBOLS = 400
KILLS = 30


def names(count: int) -> list[str]:
    return [f"SYM{number:05d}.US" for number in range(count)]


@contextmanager
def cluster() -> Iterator[Server]:
    """Start a PostgreSQL that, unlike that of the tests, has fsync on."""
    folder = Path(tempfile.mkdtemp(prefix="bench-"))
    folder.chmod(0o755)
    made = postgres.Cluster(folder / "cluster")
    server = Server("127.0.0.1", postgres.free_port(), "postgres", "bench", "postgres")
    try:
        made.initialise(server.user, server.password)
        made.start(
            server.port, {"shared_buffers": "512MB", "max_wal_size": "8GB", "checkpoint_timeout": "1h"}
        )
        yield server
    finally:
        made.remove()
        shutil.rmtree(folder, ignore_errors=True)


def execute(server: Server, *statements: str) -> list[tuple[Any, ...]]:
    with closing(psycopg2.connect(server.url())) as connection:
        connection.autocommit = True
        with connection.cursor() as cursor:
            for statement in statements:
                cursor.execute(statement)
            return list(cursor.fetchall()) if cursor.description else []


def clean(server: Server) -> None:
    """Create empty tables without a ledger, and write everything to the disk."""
    found = execute(server, "SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
    execute(server, *(f'DROP TABLE "{name}"' for (name,) in found))
    execute(server, *(table.statement() for table in tables.TABLES), "CHECKPOINT")


def ours(server: Server, standin: StandIn, **options: Any) -> dict[str, Any]:
    """Run the backfill in its own process; ``seconds`` in the result covers everything except the imports."""
    request = {"mode": "history", "base_url": standin.url, "token": "token", **options}
    with tempfile.TemporaryDirectory() as folder:
        process = worker.start(server, spool=f"{folder}/spool", **request)
        result: dict[str, Any] = worker.finish(process, timeout=600)
    if "SUCCESS" not in result.get("report", ""):
        raise SystemExit(f"the backfill failed: {result}")
    return result


def rival(name: str, server: Server, standin: StandIn, symbols: list[str], days: Range) -> float:
    task = {
        "base_url": standin.url,
        "database": server.url(),
        "symbols": symbols,
        "first": days.first.isoformat(),
        "last": days.last.isoformat(),
    }
    done = subprocess.run(
        [sys.executable, str(Path(__file__).with_name("rivals.py")), name, json.dumps(task)],
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )
    if done.returncode:
        raise SystemExit(f"{name} failed: {done.stderr[-2000:]}")
    return float(done.stdout.split()[-1])


def against_rivals(server: Server, standin: StandIn) -> str:
    symbols, days = names(100), Range(TODAY - timedelta(days=365), TODAY)
    took: dict[str, list[float]] = {}
    rows = 0
    for _ in range(ROUNDS):
        clean(server)
        result = ours(server, standin, symbols=symbols, days=365)
        rows = result["totals"]["inserted"]
        took.setdefault("ours", []).append(result["seconds"])
        for name in ("official", "dlt", "dlt_parallel"):
            clean(server)
            took.setdefault(name, []).append(rival(name, server, standin, symbols, days))
    middle = {name: statistics.median(seconds) for name, seconds in took.items()}
    again = ours_again(server, standin, symbols)
    labels = {
        "ours": ("this backfill", ""),
        "official": ("official `eodhd` client, pandas `to_sql`", "6"),
        "dlt": ("`dlt` merge/upsert, serial as documented", "8"),
        "dlt_parallel": ("`dlt` merge/upsert, 16 fetching threads", "4"),
    }
    lines = [
        f"100 symbols × 365 days, {rows:,} rows, {LATENCY * 1000:.0f} ms latency. Medians of {ROUNDS}.",
        "",
        "| | seconds | times ours | at least |",
        "|---|---|---|---|",
    ]
    lines += [
        f"| {labels[name][0]} | {seconds:.2f} | {seconds / middle['ours']:.1f} | {labels[name][1]} |"
        for name, seconds in middle.items()
    ]
    return "\n".join([*lines, "", again])


def ours_again(server: Server, standin: StandIn, symbols: list[str]) -> str:
    clean(server)
    ours(server, standin, symbols=symbols, days=365)
    second = ours(server, standin, symbols=symbols, days=365)
    return f"A second run: {second['seconds']:.2f} s, {second['totals']['calls']} calls, changed={second['changed']}."


def against_copy(server: Server, standin: StandIn) -> str:
    market, parser = Market(), Parser({})
    lines: list[str] = []
    for symbol in names(LONG_SYMBOLS):
        body = f"[{market.bars(symbol, LONG.first, LONG.last)}]".encode()
        lines += parser.history(body, symbol, LONG).lines
    data = "".join(lines).encode()
    rows = len(lines)
    lines.clear()
    # A first run, so that the stand-in has its answers ready.
    clean(server)
    ours(server, standin, symbols=names(LONG_SYMBOLS), first=LONG.first, last=LONG.last)
    bare, backfill = [], []
    for _ in range(ROUNDS):
        clean(server)
        bare.append(rows / copied(server, data))
        clean(server)
        result = ours(server, standin, symbols=names(LONG_SYMBOLS), first=LONG.first, last=LONG.last)
        if result["totals"]["inserted"] != rows:
            raise SystemExit("not the same rows")
        backfill.append(rows / result["seconds"])
    ratios = [have / floor for have, floor in zip(backfill, bare)]
    return "\n".join(
        [
            f"{rows:,} rows ({LONG_SYMBOLS} symbols, whole histories) into the same indexed table."
            f" Medians of {ROUNDS} pairs.",
            "",
            "| | rows/s | times the bare COPY | at least |",
            "|---|---|---|---|",
            f"| bare COPY, rows ready in memory | {statistics.median(bare):,.0f} | 1 | |",
            f"| this backfill: fetch, parse, store, ledger | {statistics.median(backfill):,.0f}"
            f" | {statistics.median(ratios):.2f} ({', '.join(f'{ratio:.2f}' for ratio in ratios)}) | 0.9 |",
        ]
    )


def copied(server: Server, data: bytes) -> float:
    with closing(psycopg2.connect(server.url(), options="-c TimeZone=UTC")) as connection:
        began = time.perf_counter()
        with connection, connection.cursor() as cursor:
            cursor.copy_expert("COPY market_data FROM STDIN", io.BytesIO(data), size=1 << 20)
        return time.perf_counter() - began


def profile(server: Server, standin: StandIn) -> str:
    """Measure where the time of a row goes, and that of a call with few rows."""
    market, parser = Market(), Parser({})
    symbols, few = names(LONG_SYMBOLS // 4), names(1000)
    bodies = {symbol: f"[{market.bars(symbol, LONG.first, LONG.last)}]".encode() for symbol in symbols}
    began = time.process_time()
    parsed = {symbol: parser.history(body, symbol, LONG).lines for symbol, body in bodies.items()}
    parsing = time.process_time() - began
    rows = sum(map(len, parsed.values()))
    clean(server)
    copying = copied(server, "".join(line for lines in parsed.values() for line in lines).encode())
    lines = ["| Per row, in whole histories | µs |", "|---|---|"]
    clean(server)
    result = ours(server, standin, symbols=symbols, first=LONG.first, last=LONG.last)
    for what, seconds in (
        ("COPY by the server, rows ready in memory", copying),
        ("parsing (processor time)", parsing),
        ("whole backfill with courier (processor time)", result["processor"]),
        ("from the first request to the last commit", result["seconds"]),
    ):
        lines.append(f"| {what} | {seconds / rows * 1e6:.2f} |")
    lines += ["", "| Per call for five days, 50 ms latency | ms |", "|---|---|"]
    clean(server)
    result = ours(server, standin, symbols=few, days=5)
    for what, seconds in (
        ("whole backfill with courier (processor time)", result["processor"]),
        ("from the first request to the last commit, with concurrent requests", result["seconds"]),
    ):
        lines.append(f"| {what} | {seconds / len(few) * 1000:.2f} |")
    return "\n".join(lines)


def memory(server: Server, standin: StandIn) -> str:
    peaks = {}
    for count in (100, 10_000):
        clean(server)
        result = ours(server, standin, symbols=names(count), days=365)
        peaks[count] = (result["peak_mb"], result["seconds"], result["totals"]["inserted"])
    lines = ["| symbols × 365 days | peak MB | seconds | rows |", "|---|---|---|---|"]
    lines += [
        f"| {count:,} | {peak:.0f} | {seconds:.1f} | {rows:,} |"
        for count, (peak, seconds, rows) in peaks.items()
    ]
    return "\n".join([*lines, "", f"Ratio {peaks[10_000][0] / peaks[100][0]:.2f} (at most 1.3)."])


def death(server: Server, standin: StandIn) -> str:
    lines = [
        "| signal | kills | requested again although in the ledger | rows lost | rows duplicated"
        " | calls paid twice | at most in one kill |",
        "|---|---|---|---|---|---|---|",
    ]
    for how, courier in ((signal.SIGTERM, False), (signal.SIGKILL, False), (signal.SIGKILL, True)):
        clean(server)
        standin.control(reset=True)
        with tempfile.TemporaryDirectory() as folder:
            figures = kills.run(
                server, standin, KILLS, 6000, how, courier, days=30, concurrency=8, spool=f"{folder}/spool"
            )
        kills.compare_rows(server, Market(), TODAY - timedelta(days=30), TODAY, figures)
        who = "run and courier at once" if courier else "the run"
        lines.append(
            f"| {how.name} to {who} | {figures.kills} | {figures.known_asked_again} | {figures.rows_lost}"
            f" | {figures.rows_doubled} | {figures.paid_again} | {figures.most_paid_again} |"
        )
    return "\n".join(lines)


PARTS = {
    "Against others": against_rivals,
    "Against the bare COPY": against_copy,
    "Where the time goes": profile,
    "Memory": memory,
    "Kills": death,
}


def main(*wanted: str) -> str:
    """Measure, and return the section for docs/benchmarks.md; ``wanted`` names parts, all by default."""
    sections = ["## Backfill\n"]
    with cluster() as server, StandIn("--latency", str(LATENCY)) as standin:
        for title, part in PARTS.items():
            if not wanted or title in wanted:
                sections.append(f"### {title}\n\n{part(server, standin)}\n")
                print(sections[-1], file=sys.stderr, flush=True)
    return "\n".join(sections)


if __name__ == "__main__":
    print(main(*sys.argv[1:]))

"""Time to read the bars as they were, compared with reading them as they are."""

from __future__ import annotations

import os
import sys
from contextlib import closing
from datetime import date, datetime, timezone
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parent.parent.parent
sys.path[:0] = [str(REPOSITORY), str(REPOSITORY / "tests")]

import psycopg2

from tests.bench import timing
from tests.bench.backfill import clean, cluster, names, ours
from tests.standin.process import StandIn

ROUNDS = 5
SYMBOLS = 200
FIRST, LAST = date(2004, 1, 1), date(2023, 12, 31)
SYMBOL = "SYM00007.US"
ONE = f"SELECT * FROM {{}} WHERE symbol = '{SYMBOL}'"
YEAR = "time >= '2023-01-01' AND time < '2024-01-01'"
READS = {
    "one symbol": ONE,
    "a year of all symbols": "SELECT * FROM {} WHERE time >= '2023-01-01'",
    "everything": "SELECT * FROM {}",
    "the number of all": "SELECT count(*) FROM {}",
}
# A whole exchange, loaded by `daily`. On the next evening, each session is corrected and gets its last symbols.
EXCHANGE = 45_000
EVENINGS = [datetime(2024, 9, day, 22, 30, tzinfo=timezone.utc) for day in (16, 17, 18, 19, 20, 23, 24, 25)]
OLD = 3
SESSION = "SELECT * FROM {} WHERE time = '%s'"
COLUMNS = "open, high, low, close, adjusted_close, volume"
# The minimum for a corrected session: read both versions of its bars, match nothing.
BOTH = f"""
SELECT time, symbol, {COLUMNS} FROM market_data WHERE time = '%(day)s'
UNION ALL SELECT day::timestamp AT TIME ZONE 'UTC', symbol, {", ".join(f"old_{name}" for name in COLUMNS.split(", "))}
FROM backfill_revision WHERE day::timestamp AT TIME ZONE 'UTC' = '%(day)s' AND found > '%(at)s'
"""


def main() -> str:
    """Measure, and return the section for docs/benchmarks.md."""
    lines = []
    with cluster() as server, StandIn() as standin:
        clean(server)
        with closing(psycopg2.connect(server.url())) as connection:
            connection.autocommit = True
            with connection.cursor() as cursor:
                ours(server, standin, symbols=names(SYMBOLS), first=FIRST, last=LAST)
                first = moment(cursor)
                # A twentieth of the symbols is restated, and 10 symbols are added.
                splits = {symbol: ["2023-06-01", 2] for symbol in names(SYMBOLS // 20)}
                standin.control(splits=splits)
                ours(server, standin, symbols=names(SYMBOLS + 10), first=FIRST, last=LAST, force=True)
                cursor.execute("VACUUM ANALYZE")
                cursor.execute("SELECT count(*) FROM market_data")
                rows = (cursor.fetchone() or (0,))[0]
                for when, at in (("before restatements", first), ("now", moment(cursor))):
                    for what, read in READS.items():
                        limit = "–" if "count" in read else "1.5"
                        lines.append(measured(cursor, what, when, read, asof(read, at), limit))
                lines += exchange(server, standin, cursor)
    return (
        "## The bars as they were\n\n"
        f"{rows:,} bars. After the first moment, {SYMBOLS // 20} of {SYMBOLS} symbols were restated and 10 more"
        f" loaded. The evenings are another load: {EXCHANGE:,} symbols, {len(EVENINGS)} evenings of `daily`. All rows"
        f" are sent to the client. Medians of {ROUNDS}; the two reads alternate. `market_data` counts from an index,"
        " without reading a bar; `market_data_asof` matches each bar with later changes. It reads a corrected bar"
        " twice, as it is and as it was; the line `both its versions, unmatched` only reads the two. It looks up one"
        " symbol in all later changes, or, if the call names the symbol, only in the lists that can contain it.\n\n"
        "| Read | As of | `market_data` | `market_data_asof` | Ratio | At most |\n|---|---|---|---|---|---|\n"
        + "\n".join(lines)
        + "\n"
    )


def exchange(server: Any, standin: StandIn, cursor: Any) -> list[str]:
    """Run `daily` on several evenings, and read sessions as they were on one of the first."""
    clean(server)
    standin.control(splits={}, universe=EXCHANGE)
    ours(server, standin, symbols=[SYMBOL], first=FIRST, last=LAST)
    for evening in EVENINGS:
        standin.control(now=evening.isoformat())
        ours(server, standin, mode="daily", exchanges=["US"], now=evening.isoformat())
        # The ledger records the time of the clock, which is years later.
        for table, column in (("backfill_arrival", "arrived"), ("backfill_revision", "found")):
            cursor.execute(
                f"UPDATE {table} SET {column} = %s WHERE {column} > now() - interval '1 day'", (evening,)
            )
    cursor.execute("UPDATE backfill_schema SET applied = %s", (EVENINGS[0],))
    cursor.execute("VACUUM ANALYZE")
    at = str(EVENINGS[OLD])
    before, since = (SESSION % EVENINGS[number].date() for number in (OLD - 2, OLD))
    both = BOTH % {"day": EVENINGS[OLD].date(), "at": at}
    found = [
        ("a session", before, asof(before, at), "1.5"),
        ("a session corrected since", since, asof(since, at), "1.5"),
        ("both its versions, unmatched", since, both, "–"),
        ("one symbol", ONE, asof(ONE, at), "1.5"),
        ("one symbol, named", ONE, f"SELECT * FROM market_data_asof('{at}', '{{{SYMBOL}}}')", "1.5"),
        (
            "a year of one symbol, named",
            f"{ONE} AND {YEAR}",
            f"SELECT * FROM market_data_asof('{at}', '{{{SYMBOL}}}', '2023-01-01', '2023-12-31')",
            "1.5",
        ),
    ]
    return [measured(cursor, what, f"evening {OLD + 1}", *rest) for what, *rest in found]


def moment(cursor: Any) -> str:
    cursor.execute("SELECT clock_timestamp()::text")
    return str(cursor.fetchone()[0])


def asof(read: str, at: str) -> str:
    """Return the read as of a moment."""
    return read.format(f"market_data_asof('{at}')")


def measured(cursor: Any, what: str, when: str, read: str, past: str, limit: str) -> str:
    """Return a line of the table: a read of the present, and the same read of the past."""

    def fetch(statement: str) -> None:
        with open(os.devnull, "wb") as nowhere:
            cursor.copy_expert(f"COPY ({statement}) TO STDOUT", nowhere, 1 << 20)

    def now() -> None:
        fetch(read.format("market_data"))

    def then() -> None:
        fetch(past)

    now()
    then()
    current, old = timing.medians(ROUNDS, now, then)
    return f"| {what} | {when} | {current * 1000:,.1f} ms | {old * 1000:,.1f} ms | {old / current:.2f} | {limit} |"


if __name__ == "__main__":
    print(main())

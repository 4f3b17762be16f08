"""Reads the stored rows of ``market_data``: their days, values and counts, and what restated them.

It also marks bars with an old adjustment basis: the provider restated the symbol and no longer sends them.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from functools import partial
from typing import Any

from ansible.module_utils.database.tables import FIGURES, NAMED, there
from ansible.module_utils.eodhd.days import Range, midnight, utc_now
from ansible.module_utils.eodhd.store import bars
from ansible.module_utils.eodhd.store.chunks import Chunks
from ansible.module_utils.eodhd.store.database import Database
from ansible.module_utils.text import plural

ByDay = Mapping[date, Decimal]

# All days that a bar can have.
ALL = Range(date(1, 1, 2), date(9999, 12, 30))
# Maximum number of ranges that one statement counts.
RANGES = 16


def _rows(database: Database, days: Range, chunks: Chunks, statement: str, **values: Any) -> Iterator[Any]:
    """Yield the rows of a statement, for each slice of the days in a transaction of its own."""

    def work(cursor: Any, piece: Range) -> list[Any]:
        bars.hold(cursor)
        cursor.execute(statement, {**values, "first": midnight(piece.first), "last": midnight(piece.last)})
        return list(cursor.fetchall())

    for piece in chunks.slices(days):
        yield from database.run(partial(work, piece=piece))


def stored_days(database: Database, symbols: Sequence[str], chunks: Chunks) -> dict[str, set[date]]:
    """Return the days with stored rows by symbol, for symbols with any."""
    statement = (
        "SELECT symbol, array_agg((time AT TIME ZONE 'UTC')::date)"
        " FROM market_data WHERE symbol = ANY (%(symbols)s) AND time BETWEEN %(first)s AND %(last)s GROUP BY symbol"
    )
    found: dict[str, set[date]] = defaultdict(set)
    for symbol, some in _rows(database, chunks.stored or ALL, chunks, statement, symbols=list(symbols)):
        found[symbol].update(some)
    return found


def read(database: Database, symbol: str, days: Range, chunks: Chunks) -> dict[date, tuple[Decimal, ...]]:
    """Return the stored values of a symbol by day, in the order of ``FIGURES``."""
    statement = (
        f"SELECT (time AT TIME ZONE 'UTC')::date, {', '.join(f'{name}::numeric' for name in FIGURES)}"  # noqa: S608
        " FROM market_data WHERE symbol = %(symbol)s AND time BETWEEN %(first)s AND %(last)s"
    )
    rows = _rows(database, days, chunks, statement, symbol=symbol)
    return {day: tuple(values) for day, *values in rows}


def read_actions(database: Database, symbol: str, days: Range) -> tuple[ByDay, ByDay] | None:
    """Return the splits and dividends after the first of some days; None if they were not loaded."""
    loaded = database.execute(
        "SELECT count(*) FROM backfill_coverage WHERE symbol = ANY (%s) AND first_day <= %s"
        " AND outcome IN ('loaded', 'set_aside')",
        ([f"splits {symbol}", f"dividends {symbol}"], days.first),
    )
    if loaded[0][0] < 2:
        return None
    after = (symbol, days.first, days.last)
    splits = database.execute(
        "SELECT day, new_shares / old_shares FROM market_split WHERE symbol = %s AND day > %s AND day <= %s",
        after,
    )
    # The unadjusted amount, because closes are unadjusted, too.
    dividends = database.execute(
        "SELECT day, coalesce(unadjusted, value) FROM market_dividend WHERE symbol = %s AND day > %s AND day <= %s",
        after,
    )
    return dict(splits), dict(dividends)


def other_times(database: Database, symbols: Sequence[str], days: Range, chunks: Chunks) -> dict[str, str]:
    """Return the symbols whose daily bars are not at midnight UTC, each with the time of one, as text.

    More than one such bar a day is data of another kind, which the backfill does not touch.
    """
    statement = (
        "SELECT symbol, to_char(min(time) AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI') FROM market_data"
        " WHERE symbol = ANY (%(symbols)s) AND time BETWEEN %(first)s AND %(last)s"
        " AND (time AT TIME ZONE 'UTC')::time <> '00:00'"
        " GROUP BY symbol HAVING count(*) = count(DISTINCT (time AT TIME ZONE 'UTC')::date)"
    )
    return dict(_rows(database, days, chunks, statement, symbols=list(symbols)))


def count_stored(
    database: Database, wanted: Sequence[tuple[str, Range, Range]], chunks: Chunks
) -> dict[str, tuple[int, int]]:
    """Count the stored rows of each symbol in two ranges, in one pass; leave out symbols without rows."""
    if not wanted:
        return {}
    ranges = list(dict.fromkeys(days for _, *both in wanted for days in both))
    symbols = [symbol for symbol, _, _ in wanted]
    values: dict[str, Any] = {"symbols": symbols}
    if len(ranges) <= RANGES:
        # One count for each range that symbols share, in a form that TimescaleDB answers from compressed rows.
        join = ""
        columns = [(f"%(first{n})s", f"%(last{n})s") for n in range(len(ranges))]
        for n, days in enumerate(ranges):
            values |= {f"first{n}": midnight(days.first), f"last{n}": midnight(days.last)}
        places = {symbol: (ranges.index(one), ranges.index(other)) for symbol, one, other in wanted}
    else:
        join = "JOIN unnest(%(symbols)s, %(a)s, %(b)s, %(c)s, %(d)s) AS k (symbol, a, b, c, d) USING (symbol)"
        columns = [("k.a", "k.b"), ("k.c", "k.d")]
        ends = [map(midnight, (one.first, one.last, other.first, other.last)) for _, one, other in wanted]
        values |= zip("abcd", map(list, zip(*ends)))
        places = dict.fromkeys(symbols, (0, 1))
    counts = ", ".join(f"count(*) FILTER (WHERE time BETWEEN {first} AND {last})" for first, last in columns)
    named = "AND symbol = ANY (%(symbols)s)" if len(wanted) <= NAMED else ""
    statement = (
        f"SELECT symbol, {counts} FROM market_data {join}"  # noqa: S608 - our own names
        f" WHERE time BETWEEN %(first)s AND %(last)s {named} GROUP BY symbol"
    )
    reach = Range(min(days.first for days in ranges), max(days.last for days in ranges))
    sums: dict[str, list[int]] = {}
    for symbol, *more in _rows(database, reach, chunks, statement, **values):
        sums[symbol] = [a + b for a, b in zip(sums.get(symbol, [0] * len(more)), more)]
    found = {
        symbol: (sums[symbol][a], sums[symbol][b]) for symbol, (a, b) in places.items() if symbol in sums
    }
    return {symbol: both for symbol, both in found.items() if any(both)}


# --- restatements ------------------------------------------------------------------------------------------

# The last restated day is the one before the action took effect.
_CAUSES = f"""
SELECT r.symbol, r.last_day, a.text
FROM (SELECT symbol, max(day) AS last_day FROM backfill_revision
      WHERE run >= %(run)s AND found >= (SELECT started FROM backfill_run WHERE run = %(run)s)
        AND {bars.other_basis("new_", "old_")}
      GROUP BY symbol) r
LEFT JOIN LATERAL (
  SELECT day, 'the split of ' || day || ' (' || new_shares::float8 || ':' || old_shares::float8 || ')' AS text
  FROM market_split s WHERE s.symbol = r.symbol AND s.day > r.last_day AND s.day <= r.last_day + 10
  UNION ALL
  SELECT day, 'the dividend of ' || day || ' (' || value::float8 || coalesce(' ' || currency, '') || ')'
  FROM market_dividend d WHERE d.symbol = r.symbol AND d.day > r.last_day AND d.day <= r.last_day + 10
  ORDER BY 1 LIMIT 1
) a ON true
ORDER BY r.symbol
"""  # noqa: S608 - our own names


def causes(cursor: Any, run: int) -> list[str]:
    """Return the split or dividend that restated each symbol, in words, for a run and the one that followed."""
    cursor.execute(_CAUSES, {"run": run})
    unknown = (
        "; unexplained: no split or dividend is known after that day (load them with backfill_mode=actions)"
    )
    return [
        f"{symbol}: bars until {day} were restated{f' by {text}' if text else unknown}"
        for symbol, day, text in cursor.fetchall()
    ]


@dataclass(frozen=True)
class OldBasis:
    """Bars of a symbol whose adjustment basis (splits and dividends) is no longer the provider's."""

    symbol: str
    days: Range
    rows: int

    @property
    def text(self) -> str:
        """Return the mark in words."""
        return (
            f"{self.symbol}: {plural(self.rows, 'bar')} from {self.days.first} to {self.days.last} keep the basis from"
            " before a restatement, because EODHD no longer sends them"
        )


def marked(cursor: Any, symbols: Sequence[str]) -> list[OldBasis]:
    """Return the open marks of symbols; none without a ledger that has them."""
    if not there(cursor, "backfill_old_basis"):
        return []
    cursor.execute(
        "SELECT symbol, first_day, last_day, rows FROM backfill_old_basis"
        " WHERE symbol = ANY (%s) AND resolved IS NULL ORDER BY symbol",
        (list(symbols),),
    )
    return [OldBasis(symbol, Range(first, last), rows) for symbol, first, last, rows in cursor.fetchall()]


def mark(cursor: Any, run: int, symbol: str, old_days: Collection[date]) -> None:
    """Clear a symbol's mark as restated, and mark stored bars that still have an old basis, if there are any."""
    now = utc_now()
    cursor.execute("UPDATE backfill_coverage SET restated = false WHERE symbol = %s", (symbol,))
    cursor.execute(
        "UPDATE backfill_old_basis SET resolved = %s WHERE symbol = %s AND resolved IS NULL", (now, symbol)
    )
    if old_days:
        cursor.execute(
            "INSERT INTO backfill_old_basis (symbol, first_day, last_day, rows, since, run)"
            " VALUES (%s, %s, %s, %s, %s, %s) ON CONFLICT (symbol) DO UPDATE SET first_day = EXCLUDED.first_day,"
            " last_day = EXCLUDED.last_day, rows = EXCLUDED.rows, run = EXCLUDED.run, resolved = NULL",
            (symbol, min(old_days), max(old_days), len(old_days), now, run),
        )

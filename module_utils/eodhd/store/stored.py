"""Reads the stored rows of ``market_data``: their days, values and counts, and what restated them.

It also marks bars with an old adjustment basis: the provider restated the symbol and no longer sends them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from functools import partial
from typing import Any, Callable, TypeVar

from ansible.module_utils.database.tables import NAMED, there
from ansible.module_utils.eodhd.days import Range, midnight, utc_now
from ansible.module_utils.eodhd.store import bars
from ansible.module_utils.eodhd.store.chunks import Chunks
from ansible.module_utils.eodhd.store.database import Database
from ansible.module_utils.text import plural

T = TypeVar("T")
ByDay = dict[date, Decimal]

# All days that a bar can have.
ALL = Range(date(1, 1, 2), date(9999, 12, 30))
# Maximum number of ranges that one statement counts.
RANGES = 16


def _in_slices(database: Database, slices: list[Range], work: Callable[[Any, Range], T]) -> Iterator[T]:
    """Yield what ``work`` returns for each slice, read in its own transaction."""

    def reading(cursor: Any, days: Range) -> T:
        bars.hold(cursor)
        return work(cursor, days)

    for piece in slices:
        yield database.run(partial(reading, days=piece))


def stored_days(database: Database, symbols: list[str], chunks: Chunks) -> dict[str, set[date]]:
    """Return the days with stored rows by symbol, for symbols with any."""

    def work(cursor: Any, days: Range) -> list[tuple[str, list[date]]]:
        cursor.execute(
            "SELECT symbol, array_agg((time AT TIME ZONE 'UTC')::date)"
            " FROM market_data WHERE symbol = ANY (%s) AND time BETWEEN %s AND %s GROUP BY symbol",
            (symbols, midnight(days.first), midnight(days.last)),
        )
        return list(cursor.fetchall())

    found: dict[str, set[date]] = {}
    for rows in _in_slices(database, chunks.slices(chunks.stored or ALL), work):
        for symbol, some in rows:
            found.setdefault(symbol, set()).update(some)
    return found


def read(
    database: Database, symbol: str, days: Range, columns: Sequence[str], chunks: Chunks
) -> dict[date, tuple[Decimal, ...]]:
    """Return the stored values of a symbol's ``columns`` by day, in their order."""

    def work(cursor: Any, days: Range) -> list[Any]:
        cursor.execute(
            f"SELECT (time AT TIME ZONE 'UTC')::date, {', '.join(f'{name}::numeric' for name in columns)}"  # noqa: S608
            " FROM market_data WHERE symbol = %s AND time BETWEEN %s AND %s",
            (symbol, midnight(days.first), midnight(days.last)),
        )
        return list(cursor.fetchall())

    pieces = _in_slices(database, chunks.slices(days), work)
    return {day: tuple(values) for rows in pieces for day, *values in rows}


def read_known(
    database: Database, symbol: str, days: Range, chunks: Chunks
) -> tuple[ByDay, ByDay, ByDay] | None:
    """Return the closes of days, and the splits and dividends after the first; None if these were not loaded."""
    actions = database.run(lambda cursor: _actions(cursor, symbol, days))
    if actions is None:
        return None
    closes = read(database, symbol, days, ["close"], chunks)
    return {day: close for day, (close,) in closes.items()}, *actions


def _actions(cursor: Any, symbol: str, days: Range) -> tuple[ByDay, ByDay] | None:
    cursor.execute(
        "SELECT count(*) FROM backfill_coverage WHERE symbol = ANY (%s) AND first_day <= %s"
        " AND outcome IN ('loaded', 'set_aside')",
        ([f"splits {symbol}", f"dividends {symbol}"], days.first),
    )
    if cursor.fetchone()[0] < 2:
        return None
    cursor.execute(
        "SELECT day, new_shares / old_shares FROM market_split WHERE symbol = %s AND day > %s AND day <= %s",
        (symbol, days.first, days.last),
    )
    splits = dict(cursor.fetchall())
    # The unadjusted amount, because closes are unadjusted, too.
    cursor.execute(
        "SELECT day, coalesce(unadjusted, value) FROM market_dividend WHERE symbol = %s AND day > %s AND day <= %s",
        (symbol, days.first, days.last),
    )
    return splits, dict(cursor.fetchall())


def count_stored(
    database: Database, wanted: Sequence[tuple[str, Range, Range]], chunks: Chunks
) -> dict[str, tuple[int, int]]:
    """Count the stored rows of each symbol in two ranges, in one pass; leave out symbols without rows."""
    if not wanted:
        return {}
    ranges = list(dict.fromkeys(days for _, *both in wanted for days in both))
    statement, values, picked = (_by_range if len(ranges) <= RANGES else _by_symbol)(wanted, ranges)

    def work(cursor: Any, days: Range) -> list[tuple[Any, ...]]:
        cursor.execute(statement, {**values, "first": midnight(days.first), "last": midnight(days.last)})
        return list(cursor.fetchall())

    reach = ranges[0]
    for days in ranges:
        reach = reach.hull(days)
    sums: dict[str, list[int]] = {}
    for rows in _in_slices(database, chunks.slices(reach), work):
        for symbol, *more in rows:
            sums[symbol] = [a + b for a, b in zip(sums.get(symbol, [0] * len(more)), more)]
    counts = {symbol: (sums[symbol][a], sums[symbol][b]) for symbol, a, b in picked if symbol in sums}
    return {symbol: both for symbol, both in counts.items() if any(both)}


def other_times(database: Database, symbols: Sequence[str], days: Range, chunks: Chunks) -> dict[str, str]:
    """Return the symbols whose daily bars are not at midnight UTC, each with the time of one, as text.

    More than one such bar a day is data of another kind, which the backfill does not touch.
    """

    def work(cursor: Any, days: Range) -> list[tuple[str, str]]:
        cursor.execute(
            "SELECT symbol, to_char(min(time) AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI') FROM market_data"
            " WHERE symbol = ANY (%s) AND time BETWEEN %s AND %s AND (time AT TIME ZONE 'UTC')::time <> '00:00'"
            " GROUP BY symbol HAVING count(*) = count(DISTINCT (time AT TIME ZONE 'UTC')::date)",
            (list(symbols), midnight(days.first), midnight(days.last)),
        )
        return list(cursor.fetchall())

    return dict(found for rows in _in_slices(database, chunks.slices(days), work) for found in rows)


# A counting statement, its values, and by symbol the positions of its two counts in a row.
_Counting = tuple[str, dict[str, Any], list[tuple[str, int, int]]]


def _by_range(wanted: Sequence[tuple[str, Range, Range]], ranges: Sequence[Range]) -> _Counting:
    """Count in ranges that many symbols share, in a form that TimescaleDB answers from compressed rows."""
    columns = ", ".join(
        f"count(*) FILTER (WHERE time BETWEEN %(first{n})s AND %(last{n})s)" for n in range(len(ranges))
    )
    values: dict[str, Any] = {f"first{n}": midnight(days.first) for n, days in enumerate(ranges)}
    values.update({f"last{n}": midnight(days.last) for n, days in enumerate(ranges)})
    values["symbols"] = [symbol for symbol, _, _ in wanted]
    statement = f"SELECT symbol, {columns} FROM market_data WHERE time BETWEEN %(first)s AND %(last)s"  # noqa: S608
    if len(wanted) <= NAMED:
        statement += " AND symbol = ANY (%(symbols)s)"
    places = {days: n for n, days in enumerate(ranges)}
    return (
        f"{statement} GROUP BY symbol",
        values,
        [(symbol, places[one], places[other]) for symbol, one, other in wanted],
    )


def _by_symbol(wanted: Sequence[tuple[str, Range, Range]], _: Sequence[Range]) -> _Counting:
    """Count in separate ranges for each symbol."""
    values: dict[str, Any] = {
        "symbols": [symbol for symbol, _, _ in wanted],
        "a1": [midnight(one.first) for _, one, _ in wanted],
        "a2": [midnight(one.last) for _, one, _ in wanted],
        "b1": [midnight(other.first) for _, _, other in wanted],
        "b2": [midnight(other.last) for _, _, other in wanted],
    }
    statement = (
        "SELECT m.symbol, count(*) FILTER (WHERE m.time BETWEEN k.a1 AND k.a2),"
        " count(*) FILTER (WHERE m.time BETWEEN k.b1 AND k.b2)"
        " FROM market_data m JOIN unnest(%(symbols)s, %(a1)s, %(a2)s, %(b1)s, %(b2)s)"
        " AS k (symbol, a1, a2, b1, b2) USING (symbol)"
        " WHERE m.time BETWEEN %(first)s AND %(last)s GROUP BY m.symbol"
    )
    return statement, values, [(symbol, 0, 1) for symbol, _, _ in wanted]


# --- restatements -------------------------------------------------------------------------------------------

# The last restated day is the one before the action took effect.
_CAUSES = """
SELECT r.symbol, r.last_day, a.text
FROM (SELECT symbol, max(day) AS last_day FROM backfill_revision
      WHERE run >= %(run)s AND found >= (SELECT started FROM backfill_run WHERE run = %(run)s)
        AND abs(old_adjusted_close * new_close - new_adjusted_close * old_close) > 0.0001 * abs(new_close + old_close)
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
"""


def causes(cursor: Any, run: int) -> list[str]:
    """Return a line with the cause for each symbol that was restated in a run or in the one that followed."""
    cursor.execute(_CAUSES, {"run": run})
    return [
        f"{symbol}: bars until {day} were restated by {text}"
        if text
        else f"{symbol}: bars until {day} were restated; unexplained: no split or dividend is known after that day"
        " (load them with backfill_mode=actions)"
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


def mark(cursor: Any, run: int, symbol: str, old_days: Sequence[date]) -> None:
    """Clear a symbol's mark as restated, and mark stored bars that still have an old basis, if there are any."""
    now = utc_now()
    cursor.execute("UPDATE backfill_coverage SET restated = false WHERE symbol = %s", (symbol,))
    if not old_days:
        cursor.execute(
            "UPDATE backfill_old_basis SET resolved = %s WHERE symbol = %s AND resolved IS NULL",
            (now, symbol),
        )
        return
    cursor.execute(
        "INSERT INTO backfill_old_basis (symbol, first_day, last_day, rows, since, run)"
        " VALUES (%s, %s, %s, %s, %s, %s) ON CONFLICT (symbol) DO UPDATE SET first_day = EXCLUDED.first_day,"
        " last_day = EXCLUDED.last_day, rows = EXCLUDED.rows, run = EXCLUDED.run, resolved = NULL",
        (symbol, min(old_days), max(old_days), len(old_days), now, run),
    )

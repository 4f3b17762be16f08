"""Find out which bars the tables hold and which are missing: one pass over them, in windows from the newest on.

The bounds of a window are of type ``timestamptz``, so that every engine skips partitions and chunks outside of it, and
the session's time zone does not matter. The time of a daily bar is midnight UTC of its date.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Any, Callable, NamedTuple

from ansible.module_utils.coverage.expected import Markets, Window
from ansible.module_utils.database.tables import NAMED
from ansible.module_utils.markets import names

# Calls its argument with a cursor and returns its result; None on timeout.
Ask = Callable[[Callable[[Any], Any]], Any]

_ASSETS = "SELECT symbol, is_active IS NOT FALSE, exchange, asset_type FROM {}"
# The times that a bar can have. Tables of other programs also have "infinity" and years that Python lacks.
_FIRST, _END = "0001-01-02 00:00+00", "9999-12-31 00:00+00"
# The query gets the sessions of each market as bits, one a day, so that a bar on another day does not hide a gap.
_DAY = "(bar.time AT TIME ZONE 'UTC')::date - %(first)s::date"
_BARS = f"""
WITH market AS (
  SELECT suffix, sessions FROM unnest(%(suffixes)s::text[], %(sessions)s::bytea[]) AS m (suffix, sessions)
),
cell AS (
  SELECT bar.symbol, {{month}} AS month, min(bar.time) AS first, max(bar.time) AS last, count(*) AS bars,
    count(*) FILTER (WHERE CASE WHEN {_DAY} < 8 * length(sessions) THEN get_bit(sessions, {_DAY}) = 1 END) AS held,
    count(*) FILTER (WHERE (bar.time AT TIME ZONE 'UTC')::time <> '00:00') AS askew
  FROM {{bars}} AS bar LEFT JOIN market ON market.suffix = split_part(bar.symbol, '.', 2)
  WHERE bar.time >= %(first)s::timestamptz AND bar.time < %(end)s::timestamptz
  GROUP BY 1, 2
)
SELECT symbol, NULL::date, sum(bars)::bigint, sum(held)::bigint, 1::bigint,
  (min(first) AT TIME ZONE 'UTC')::date, (max(last) AT TIME ZONE 'UTC')::date, sum(askew)::bigint
FROM cell GROUP BY symbol
UNION ALL
SELECT NULL, month::date, sum(bars)::bigint, sum(held)::bigint, count(*), NULL, NULL, NULL
FROM cell WHERE month IS NOT NULL GROUP BY month
"""  # noqa: S608 - constants
_LAST = f"""
SELECT symbol, (max(time) AT TIME ZONE 'UTC')::date FROM {{}}
WHERE time >= '{_FIRST}' AND time < %(before)s::timestamptz AND {{}} GROUP BY symbol
"""  # noqa: S608 - constants
_DAYS = """
SELECT symbol, array_agg(DISTINCT (time AT TIME ZONE 'UTC')::date) FROM {}
WHERE symbol = ANY (%s) AND time >= %s::timestamptz AND time < %s::timestamptz GROUP BY symbol
"""


class Span(NamedTuple):
    """The bars of a symbol.

    Attributes:
        first, last: their first and last day.
        held: their number on sessions of its market.
        askew: the number of its bars at other times than midnight UTC.
    """

    first: date
    last: date
    held: int
    askew: int = 0


class Month(NamedTuple):
    """The numbers of a month, for all symbols: bars, bars on sessions, symbols with a bar."""

    bars: int
    held: int
    symbols: int


@dataclass
class Survey:
    """The bars of all symbols.

    A symbol is active unless ``assets.is_active`` is false. If ``assets`` does not list it, it is active.

    Attributes:
        since: the first day of the survey.
        spans: of the symbols with a bar since then.
        kinds: of the active symbols in ``assets``, as ``calendar.due`` takes them.
        inactive: the inactive symbols.
        months: by their first day, if they were asked for.
        older: the last bar before ``since`` of each active symbol that has none since; None if unknown.
    """

    since: date
    kinds: dict[str, str | None]
    inactive: frozenset[str]
    spans: dict[str, Span] = field(default_factory=dict)
    months: dict[date, Month] = field(default_factory=dict)
    older: Mapping[str, date] | None = None

    def bare(self) -> list[str]:
        """Return the active symbols without a bar since ``since``."""
        return sorted(self.kinds.keys() - self.spans.keys())


def look(
    ask: Ask,
    bars: Sequence[str],
    assets: Sequence[str] | None,
    markets: Markets,
    parts: Sequence[Window],
    *,
    by_month: bool = False,
    go_on: Callable[[], bool] = lambda: True,
) -> Survey | None:
    """Survey as many of ``parts`` as the time allows; return None if there was not enough for the first one.

    ``bars`` and ``assets`` are tables, each as schema and name or only as name; ``assets`` may be missing.
    ``parts`` are adjacent windows, the newest first; with ``by_month``, each must begin with a month. ``go_on`` returns
    whether there is time for another part.
    """
    found: Survey | None = ask(lambda cursor: _assets(cursor, assets, parts[0].last))
    if found is None:
        return None
    suffixes = {names.suffix(symbol) for symbol in found.kinds} or {names.DEFAULT}

    def read(first: date, end: date | None) -> list[tuple[Any, ...]] | None:
        while True:
            rows: list[tuple[Any, ...]] | None = ask(
                lambda cursor: _bars(cursor, bars, markets, suffixes, first, end, by_month)
            )
            # assets may not list every symbol; query again with the sessions of its market.
            others = {names.suffix(row[0]) for row in rows or () if row[0]} - suffixes
            suffixes.update(others)
            if not any(markets.named(suffix) for suffix in others):
                return rows

    end = None
    for part in parts:
        if end and not go_on():
            break
        rows = read(part.first, end)
        if rows is None:
            return found if end else None
        _add(found, rows)
        found.since = end = part.first
    return found


def _assets(cursor: Any, table: Sequence[str] | None, day: date) -> Survey:
    from psycopg2 import sql

    if table is None:
        return Survey(day, {}, frozenset())
    cursor.execute(sql.SQL(_ASSETS).format(sql.Identifier(*table)))
    rows = cursor.fetchall()
    kinds = {
        symbol: exchange if exchange in names.OTC else kind
        for symbol, active, exchange, kind in rows
        if active
    }
    return Survey(day, kinds, frozenset(row[0] for row in rows if not row[1]))


def _bars(
    cursor: Any,
    table: Sequence[str],
    markets: Markets,
    suffixes: Iterable[str],
    first: date,
    end: date | None,
    by_month: bool,
) -> list[tuple[Any, ...]]:
    from psycopg2 import sql

    sessions = {
        suffix: _bits([day for day in market.days if first <= day and (end is None or day < end)], first)
        for suffix in suffixes
        if (market := markets.named(suffix))
    }
    if names.DEFAULT in sessions:
        sessions[""] = sessions[names.DEFAULT]
    month = "date_trunc('month', bar.time AT TIME ZONE 'UTC')" if by_month else "NULL::timestamp"
    cursor.execute(
        sql.SQL(_BARS).format(bars=sql.Identifier(*table), month=sql.SQL(month)),
        {
            "suffixes": list(sessions),
            "sessions": list(sessions.values()),
            "first": _utc(first),
            "end": _utc(end) if end else _END,
        },
    )
    return list(cursor.fetchall())


def _bits(days: Sequence[date], first: date) -> bytes:
    """Return days as bits for PostgreSQL's ``get_bit``, numbered from the first day."""
    bits = sum(1 << (day - first).days for day in days)
    return bits.to_bytes(bits.bit_length() // 8 + 1, "little")


def _add(survey: Survey, rows: Iterable[tuple[Any, ...]]) -> None:
    """Add the rows of an older window to the survey of the newer ones."""
    spans = survey.spans
    for symbol, month, bars, held, symbols, first, last, askew in rows:
        if symbol is None:
            survey.months[month] = Month(bars, held, symbols)
            continue
        newer = spans.get(symbol)
        if newer:
            last, held, askew = newer.last, newer.held + held, newer.askew + askew
        spans[symbol] = Span(first, last, held, askew)


def last_bars(cursor: Any, table: Sequence[str], symbols: Sequence[str], before: date) -> dict[str, date]:
    """Return the last day with a bar before a day, for the symbols that have one."""
    from psycopg2 import sql

    some = sql.SQL("symbol = ANY (%(symbols)s)" if len(symbols) <= NAMED else "true")
    statement = sql.SQL(_LAST).format(sql.Identifier(*table), some)
    cursor.execute(statement, {"symbols": list(symbols), "before": _utc(before)})
    wanted = set(symbols)
    return {symbol: day for symbol, day in cursor.fetchall() if symbol in wanted}


def days(cursor: Any, table: Sequence[str], symbols: Sequence[str], window: Window) -> dict[str, list[date]]:
    """Return the days with a bar in a window, by symbol."""
    from psycopg2 import sql

    cursor.execute(
        sql.SQL(_DAYS).format(sql.Identifier(*table)),
        (list(symbols), _utc(window.first), _utc(window.last + timedelta(days=1))),
    )
    return dict(cursor.fetchall())


def _utc(day: date) -> str:
    return f"{day} 00:00+00"


# --- judgement ----------------------------------------------------------------------------------------------


class Lack(NamedTuple):
    """The bars that a symbol lacks.

    Attributes:
        last: its last day with a bar.
        missing: the number of sessions without a bar between its first and its last bar.
        behind: if active, the number of sessions that are due after its last bar, or in the window if it has none.
        charted: whether its market has a calendar; without one, nothing counts as missing.
    """

    symbol: str
    last: date | None
    missing: int
    behind: int
    charted: bool = True


def lacks(survey: Survey, markets: Markets) -> Iterator[Lack]:
    """Yield what each symbol lacks, including symbols without a bar."""
    older = survey.older or {}
    for symbol in survey.spans.keys() | survey.kinds.keys():
        market, span = markets.of(symbol), survey.spans.get(symbol)
        last = span.last if span else older.get(symbol)
        if market is None:
            yield Lack(symbol, last, 0, 0, charted=False)
            continue
        missing = market.between(span.first, span.last) - span.held if span else 0
        if symbol in survey.inactive:
            yield Lack(symbol, last, missing, 0)
            continue
        due = markets.due(symbol, survey.kinds.get(symbol))
        after = last + timedelta(days=1) if last else survey.since
        yield Lack(symbol, last, missing, market.between(after, due))

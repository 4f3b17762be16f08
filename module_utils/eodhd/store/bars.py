"""Writes rows of ``market_data``: by COPY, or after a comparison with the stored rows, which writes only changes.

It also enters their symbols in ``assets``, and records when rows arrived or were revised, so that the past can be read
as it was. A recorded range names symbols and days. When it is written, all stored rows in it have just arrived, or have
just been revised. So a row's arrival is the last range of arrivals that includes it.
"""

from __future__ import annotations

import io
from collections.abc import Collection, Mapping, Sequence
from datetime import date, datetime
from typing import Any, NamedTuple

from ansible.module_utils.database import layout
from ansible.module_utils.database.connection import driver
from ansible.module_utils.database.tables import FIGURES, mingled, there
from ansible.module_utils.eodhd import migrations
from ansible.module_utils.eodhd.days import Range, midnight, utc_now
from ansible.module_utils.eodhd.store.parser import TOO_NARROW, UNTRADED, Parser, Width
from ansible.module_utils.reporting import Problem
from ansible.module_utils.text import plural

# --- symbols -----------------------------------------------------------------------------------------------

_REGISTER = """
INSERT INTO assets AS a (symbol, exchange, asset_type, is_active, last_synced)
SELECT symbol, exchange, asset_type, true, %(at)s
FROM unnest(%(symbols)s::text[], %(exchanges)s::text[], %(types)s::text[]) AS k (symbol, exchange, asset_type)
ORDER BY symbol ON CONFLICT (symbol)
"""
_SYNCED = """
DO UPDATE SET last_synced = EXCLUDED.last_synced,
  exchange = coalesce(a.exchange, EXCLUDED.exchange), asset_type = coalesce(a.asset_type, EXCLUDED.asset_type)
"""
# The asset types of some exchanges; for all others, mode ``register`` sets them.
_TYPES = {"CC": "Crypto", "FOREX": "Forex", "INDX": "Index"}


def register(cursor: Any, symbols: Sequence[str], at: datetime, known: str = "DO NOTHING") -> set[str]:
    """Enter symbols before their bars, which may have a foreign key to them; return the new ones."""
    exchanges = [symbol.rpartition(".")[2] for symbol in symbols]
    types = [_TYPES.get(exchange) for exchange in exchanges]
    values = {"symbols": list(symbols), "exchanges": exchanges, "types": types, "at": at}
    cursor.execute(f"{_REGISTER} {known} RETURNING symbol", values)
    return {symbol for (symbol,) in cursor.fetchall()}


def mark_synced(cursor: Any, symbols: Sequence[str], at: datetime, new: Collection[str]) -> None:
    """Set the time of the last synchronisation, except for ``new`` symbols, which have it already.

    Call it late in a transaction, because other runs wait for these rows.
    """
    earlier = [symbol for symbol in symbols if symbol not in new]
    if earlier:
        register(cursor, earlier, at, _SYNCED)


# --- arrivals ----------------------------------------------------------------------------------------------

# An arbitrary number. Readers and stores share the lock; a snapshot takes it alone.
LOCK = 0x736E617073686F74
# Symbols per piece of a list, so that looking up one symbol of a whole exchange reads few others.
PIECE = 250
_PIECES = """
, pieces AS (
  SELECT *, (row_number() OVER (PARTITION BY first_day, last_day, revised ORDER BY symbol COLLATE "C") - 1)
    / %(piece)s AS piece
  FROM ranges
)
INSERT INTO backfill_arrival (symbols, first_symbol, last_symbol, first_day, last_day, arrived, run, revised)
SELECT array_agg(symbol), min(symbol COLLATE "C"), max(symbol COLLATE "C"), first_day, last_day, %(at)s, %(run)s,
  revised
FROM pieces GROUP BY first_day, last_day, revised, piece
"""
_RECORD_NEW = f"""
WITH ranges AS (
  SELECT symbol, first_day, last_day, false AS revised
  FROM unnest(%(symbols)s::text[], %(firsts)s::date[], %(lasts)s::date[]) AS k (symbol, first_day, last_day)
) {_PIECES}
"""  # noqa: S608 - our own names
# Consecutive rows of one kind, new or revised, are one range. This runs before the rows are written. Most symbols have
# changes on one day only, and need no lookup of stored rows.
_RECORD_CHANGES = f"""
WITH span AS (
  SELECT symbol, min(time) AS a, max(time) AS z FROM backfill_changed GROUP BY symbol HAVING min(time) < max(time)
), placed AS (
  SELECT symbol, time, known AS revised FROM backfill_changed
  UNION ALL
  SELECT m.symbol, m.time, NULL FROM market_data m JOIN span s ON s.symbol = m.symbol AND m.time BETWEEN s.a AND s.z
  LEFT JOIN backfill_changed c ON c.symbol = m.symbol AND c.time = m.time
  WHERE m.time BETWEEN %(first)s AND %(last)s AND m.symbol = ANY (%(symbols)s) AND c.time IS NULL
), numbered AS (
  SELECT symbol, time, revised, row_number() OVER (PARTITION BY symbol ORDER BY time)
    - row_number() OVER (PARTITION BY symbol, revised ORDER BY time) AS island
  FROM placed
), ranges AS (
  SELECT symbol, revised, (min(time) AT TIME ZONE 'UTC')::date AS first_day,
    (max(time) AT TIME ZONE 'UTC')::date AS last_day
  FROM numbered WHERE revised IS NOT NULL GROUP BY symbol, revised, island
) {_PIECES}
"""  # noqa: S608 - our own names


def hold(cursor: Any, *, alone: bool = False) -> datetime:
    """Keep snapshots out until the transaction ends; return the time, which is when the rows it stores arrived.

    Args:
        alone: whether other readers and stores are kept out, too. If TimescaleDB compresses symbols together, a change
            decompresses rows of other symbols, and statements that were planned before do not see them (its issue
            10487).
    """
    # Without the usual timeout, because all other transactions may come first.
    cursor.execute(
        f"SET LOCAL lock_timeout = 0; SELECT pg_advisory_xact_lock{'' if alone else '_shared'}({LOCK});"
        " SET LOCAL lock_timeout TO DEFAULT; SELECT clock_timestamp()"
    )
    moment: datetime = cursor.fetchone()[0]
    return moment


# --- bars --------------------------------------------------------------------------------------------------


def _figures(form: str = "*") -> str:
    """Return a list of this form, with the name of each figure for the asterisk."""
    return ", ".join(form.replace("*", name) for name in FIGURES)


_PREPARE = f"""
CREATE TEMPORARY TABLE IF NOT EXISTS backfill_stage (time timestamptz, symbol text, {_figures("* numeric")})
  ON COMMIT DELETE ROWS;
CREATE TEMPORARY TABLE IF NOT EXISTS backfill_changed (LIKE backfill_stage, known boolean, {_figures("old_* numeric")})
  ON COMMIT DELETE ROWS;
TRUNCATE backfill_stage, backfill_changed
"""
# The explicit bounds and symbols limit TimescaleDB's plan to the chunks concerned, and reach the workers of Citus.
_COMPARE = f"""
INSERT INTO backfill_changed (time, symbol, {_figures()}, known, {_figures("old_*")})
SELECT s.time, s.symbol, {_figures("s.*")}, m.time IS NOT NULL, {_figures("m.*")}
FROM backfill_stage s LEFT JOIN market_data m ON m.time = s.time AND m.symbol = s.symbol
  AND m.time BETWEEN %(first)s AND %(last)s AND m.symbol = ANY (%(symbols)s)
WHERE m.time IS NULL OR ({_figures("m.*")}) IS DISTINCT FROM ({_figures("s.*")})
"""  # noqa: S608 - our own names


def other_basis(new: str, old: str) -> str:
    """Return the SQL condition that a bar's factor from close to adjusted close changed by more than rounding.

    Args:
        new, old: what precedes the names of the columns with the new and the old values.
    """
    return (
        f"abs({old}adjusted_close * {new}close - {new}adjusted_close * {old}close)"
        f" > 0.0001 * abs({new}close + {old}close)"
    )


# A history was restated if the factor from close to adjusted close changed. If the close changed, too, the factor may
# differ by the rounding of four decimals.
_SUMMARY = f"""
SELECT c.symbol, count(*) FILTER (WHERE NOT c.known), count(*) FILTER (WHERE c.known),
  coalesce(bool_or(c.known AND (
    CASE WHEN c.close = c.old_close THEN c.old_adjusted_close IS DISTINCT FROM c.adjusted_close
    ELSE {other_basis("c.", "c.old_")} END
    OR (c.old_volume IS DISTINCT FROM c.volume AND c.time < k.settled))), false)
FROM backfill_changed c JOIN unnest(%(symbols)s, %(settled)s) AS k (symbol, settled) USING (symbol)
GROUP BY c.symbol
"""  # noqa: S608 - our own names
# ON CONFLICT is for rows that another session inserted meanwhile.
_WRITE = f"""
INSERT INTO market_data AS m (time, symbol, {_figures()})
SELECT time, symbol, {_figures()} FROM backfill_changed ORDER BY time, symbol
ON CONFLICT (time, symbol) DO UPDATE SET {_figures("* = EXCLUDED.*")}
WHERE ({_figures("m.*")}) IS DISTINCT FROM ({_figures("EXCLUDED.*")})
"""  # noqa: S608 - our own names
# Rows that the table still lacks, unless another session wrote them.
_LOST = f"""
SELECT count(*) FROM backfill_changed c LEFT JOIN market_data m ON m.time = c.time AND m.symbol = c.symbol
  AND m.time BETWEEN %(first)s AND %(last)s AND m.symbol = ANY (%(symbols)s)
WHERE m.time IS NULL OR ({_figures("m.*")}) IS NOT DISTINCT FROM ({_figures("c.old_*")})
"""  # noqa: S608 - our own names
_RECORD = f"""
INSERT INTO backfill_revision (run, symbol, day, {_figures("old_*")}, {_figures("new_*")}, found)
SELECT %(run)s, symbol, (time AT TIME ZONE 'UTC')::date, {_figures("old_*")}, {_figures()}, %(at)s
FROM backfill_changed WHERE known ORDER BY time, symbol
"""  # noqa: S608 - our own names


class Change(NamedTuple):
    """What a store changed of one symbol.

    Attributes:
        inserted, updated: rows.
        restated: whether stored rows had another adjustment basis (splits and dividends).
    """

    inserted: int = 0
    updated: int = 0
    restated: bool = False


def copy(cursor: Any, columns: str, lines: Sequence[str]) -> None:
    """COPY lines in text format into a table's columns; sort them, because key order halves the work on the index."""
    data = "".join(lines).encode()
    # In one piece, because the driver takes the interpreter's lock for every read.
    cursor.copy_expert(f"COPY {columns} FROM STDIN", io.BytesIO(data), size=max(1, len(data)))


def copy_new(cursor: Any, run: int, lines: Mapping[str, Sequence[str]]) -> bool:
    """COPY rows that are new to the table; return False if another session inserted one meanwhile.

    Args:
        lines: by symbol, sorted.
    """
    lines = {symbol: some for symbol, some in lines.items() if some}
    if not lines:
        return True
    every = sorted(line for some in lines.values() for line in some)
    moment = hold(cursor, alone=mingled(cursor))
    layout.make_room(cursor, *_reach(every))
    cursor.execute("SAVEPOINT straight")
    errors = driver().errors
    try:
        copy(cursor, f"market_data (time, symbol, {_figures()})", every)
    except (errors.UniqueViolation, errors.InternalError_) as error:
        # Citus reports any error of a worker during COPY as an internal error.
        if error.pgcode != "23505" and "duplicate key value" not in str(error):
            raise
        cursor.execute("ROLLBACK TO SAVEPOINT straight")
        return False
    _require_stored(cursor, len(every) - cursor.rowcount)
    firsts = [some[0][:10] for some in lines.values()]
    lasts = [some[-1][:10] for some in lines.values()]
    values = {"symbols": list(lines), "firsts": firsts, "lasts": lasts}
    cursor.execute(_RECORD_NEW, {**values, "run": run, "at": moment, "piece": PIECE})
    return True


def merge(cursor: Any, run: int, lines: Sequence[str], settled: Mapping[str, date]) -> dict[str, Change]:
    """Compare lines with the stored rows and write those that are new or differ; return the changes by symbol.

    Args:
        settled: by symbol, the day before which a changed volume means a restated history.
    """
    if not lines:
        return {}
    lines = sorted(lines)
    cursor.execute(_PREPARE)
    moment = hold(cursor, alone=mingled(cursor))
    copy(cursor, "backfill_stage", lines)
    cursor.execute("ANALYZE backfill_stage")
    first, last = _reach(lines)
    values = {
        "symbols": list(settled),
        "settled": [midnight(day) for day in settled.values()],
        "first": midnight(first),
        "last": midnight(last),
    }
    cursor.execute(_COMPARE, values)
    cursor.execute(_SUMMARY, values)
    changes = {symbol: Change(*counts) for symbol, *counts in cursor.fetchall()}
    if changes:
        layout.make_room(cursor, first, last)
        cursor.execute(_RECORD_CHANGES, {**values, "run": run, "at": moment, "piece": PIECE})
        cursor.execute(_WRITE)
        if cursor.rowcount < sum(change.inserted + change.updated for change in changes.values()):
            cursor.execute(_LOST, values)
            _require_stored(cursor, cursor.fetchone()[0])
        cursor.execute(_RECORD, {"run": run, "at": moment})
    return changes


def _reach(lines: Sequence[str]) -> tuple[date, date]:
    """Return the first and the last day of sorted lines, which start with their day."""
    return date.fromisoformat(lines[0][:10]), date.fromisoformat(lines[-1][:10])


def _require_stored(cursor: Any, lost: int) -> None:
    """Raise ``Problem`` if the table did not take some rows."""
    if not lost:
        return
    cursor.execute(
        "SELECT string_agg(tgname, ', ' ORDER BY tgname) FROM pg_trigger"
        " WHERE tgrelid = to_regclass('market_data') AND NOT tgisinternal"
    )
    triggers = cursor.fetchone()[0] or "one of a partition"
    raise Problem(
        f"market_data did not take {plural(lost, 'row')}: a trigger ({triggers}) drops them. Nothing of this batch was"
        " stored. Change or drop the trigger, then run the same command again; it pays no call twice."
    )


def load_again(cursor: Any, widths: Mapping[str, Width]) -> int:
    """Load rows that were set aside because a column was too narrow, mark them as resolved, and return their number.

    Call it once the columns have these widths. This makes no call. Raises ``Problem`` if the ledger is newer than this
    code.
    """
    if not there(cursor, "backfill_set_aside"):
        return 0
    cursor.execute(
        "SELECT symbol, day, raw, run FROM backfill_set_aside"
        " WHERE resolved IS NULL AND day IS NOT NULL AND reason LIKE %s ORDER BY seen",
        (f"%{TOO_NARROW}%",),
    )
    kept = cursor.fetchall()
    parser = Parser(widths)
    lines: dict[tuple[str, date], str] = {}
    for symbol, day, raw, _run in kept:
        for line in parser.history(f"[{raw}]".encode(), symbol, Range(day, day)).lines:
            lines[symbol, day] = line  # the last one seen wins
    if lines:
        migrations.migrate(lambda work: work(cursor))
        symbols = sorted({symbol for symbol, _ in lines})
        run = max(run for *_, run in kept)
        now = utc_now()
        new = register(cursor, symbols, now)
        merge(cursor, run, list(lines.values()), dict.fromkeys(symbols, date.min))
        mark_synced(cursor, symbols, now, new)
        cursor.execute(
            "UPDATE backfill_set_aside a SET resolved = now() FROM unnest(%s::text[], %s::date[]) AS k (symbol, day)"
            " WHERE a.symbol = k.symbol AND a.day = k.day AND a.resolved IS NULL AND a.reason LIKE %s",
            ([symbol for symbol, _ in lines], [day for _, day in lines], f"%{TOO_NARROW}%"),
        )
        cursor.execute(
            "UPDATE backfill_coverage SET outcome = 'loaded', message = ''"
            " WHERE symbol = ANY (%s) AND outcome = 'set_aside' AND symbol NOT IN"
            " (SELECT symbol FROM backfill_set_aside WHERE resolved IS NULL AND reason NOT LIKE %s)",
            (symbols, f"{UNTRADED}%"),
        )
    return len(lines)

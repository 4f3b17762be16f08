"""SQL functions that read the bars as they were at a moment, created again after the last migration.

Their bodies are checked when they are called, because ``market_data`` may be created after the ledger.

``market_data_asof`` checks whether a bar arrived after the moment (``absent``) or was revised after it (``changed``;
then its old value counts). If symbols are given, it aggregates all ranges of each, and reads only the pieces of symbol
lists that can contain them. For all symbols, it matches the many one-day ranges by symbol and day instead.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ansible.module_utils.database.tables import FIGURES, there

# Ranges that arrived after the moment and begin before it; there is an index for this expression.
_LATER = "tstzrange(least((b.first_day - 1)::timestamp AT TIME ZONE 'UTC', b.arrived), b.arrived) @> moment"
_CHECK_MOMENT = "backfill_tells(moment)"


def _each(form: str, names: Iterable[str] = FIGURES) -> str:
    """Return the form with each name, separated by commas."""
    return ", ".join(form.format(name) for name in names)


# The columns that every digest includes. Of a column added later, only values count, so that an older snapshot keeps
# its digest.
_DIGESTED = ("open", "high", "low", "close", "adjusted_close", "volume")
_ROW = [
    f"row(m.symbol, extract(epoch FROM m.time)::bigint, {_each('trim_scale(m.{})', _DIGESTED)})::text",
    *(f"'{name}=' || trim_scale(m.{name})" for name in FIGURES if name not in _DIGESTED),
]
FUNCTIONS = f"""
SET LOCAL check_function_bodies = off;
CREATE OR REPLACE FUNCTION backfill_tells(moment timestamptz) RETURNS boolean
LANGUAGE plpgsql STABLE PARALLEL SAFE AS $$
DECLARE since timestamptz := (SELECT applied FROM backfill_schema WHERE version = 3);
BEGIN
  IF moment < since THEN
    RAISE EXCEPTION 'The ledger records arrivals since %; % is earlier.', since, moment
      USING ERRCODE = 'data_exception';
  END IF;
  RETURN true;
END $$;
CREATE OR REPLACE FUNCTION market_data_asof(moment timestamptz, symbols text[] DEFAULT NULL, first date DEFAULT NULL,
  last date DEFAULT NULL) RETURNS TABLE ("time" timestamptz, symbol text, {_each("{} numeric")})
LANGUAGE sql STABLE PARALLEL SAFE AS $$
SELECT t.time, t.symbol, {_each("t.{}")}
FROM (
  SELECT m.time, m.symbol::text, {_each("m.{}::numeric")}, true AS still
  FROM market_data m
  WHERE (symbols IS NULL OR m.symbol = ANY (symbols))
    AND (first IS NULL OR m.time >= first::timestamp AT TIME ZONE 'UTC')
    AND (last IS NULL OR m.time < (last + 1)::timestamp AT TIME ZONE 'UTC')
  UNION ALL
  SELECT r.*, false FROM (
    SELECT DISTINCT ON (1, v.symbol) v.day::timestamp AT TIME ZONE 'UTC', v.symbol, {_each("v.old_{}")}
    FROM backfill_revision v
    WHERE v.found > moment AND (symbols IS NULL OR v.symbol = ANY (symbols))
      AND (first IS NULL OR v.day >= first) AND (last IS NULL OR v.day <= last)
    ORDER BY 1, v.symbol, v.found
  ) r
) t LEFT JOIN (
  SELECT s.symbol, range_agg(k.days) AS changed, range_agg(k.days) FILTER (WHERE NOT k.revised) AS absent
  FROM (
    SELECT b.symbols, b.revised, tstzrange(b.first_day::timestamp AT TIME ZONE 'UTC',
      (b.last_day + 1)::timestamp AT TIME ZONE 'UTC') AS days
    FROM backfill_arrival b
    WHERE {_LATER} AND CASE WHEN market_data_asof.symbols IS NULL THEN b.first_day < b.last_day
      ELSE (b.first_symbol <= ANY (market_data_asof.symbols)
        AND b.last_symbol >= ANY (market_data_asof.symbols)) IS NOT FALSE END
  ) k, unnest(k.symbols) AS s (symbol)
  WHERE market_data_asof.symbols IS NULL OR s.symbol = ANY (market_data_asof.symbols) GROUP BY s.symbol
) l ON l.symbol = t.symbol
WHERE {_CHECK_MOMENT} AND t.time <= (moment AT TIME ZONE 'UTC' + interval '1 day') AT TIME ZONE 'UTC'
  AND (CASE WHEN t.still THEN l.changed ELSE l.absent END @> t.time) IS NOT TRUE
  AND NOT EXISTS (SELECT FROM backfill_arrival b, unnest(b.symbols) AS s (symbol)
    WHERE market_data_asof.symbols IS NULL AND {_LATER} AND b.first_day = b.last_day AND (t.still OR NOT b.revised)
      AND s.symbol = t.symbol AND b.first_day::timestamp AT TIME ZONE 'UTC' = t.time)
$$;
CREATE OR REPLACE FUNCTION market_data_digest(moment timestamptz, OUT rows bigint, OUT digest text)
LANGUAGE sql STABLE PARALLEL SAFE AS $$
SELECT count(*), coalesce(sum(('x' || left(md5(concat_ws(',', {", ".join(_ROW)})), 16))::bit(64)::bigint::numeric),
  0)::text
FROM market_data_asof(moment) m
$$;
"""  # noqa: S608 - our own text
# On Citus, the function as created above, if the table is distributed.
_SQL_FUNCTION = """
SELECT p.prosrc, pg_get_function_arguments(p.oid), pg_get_function_result(p.oid)
FROM pg_proc p JOIN pg_language l ON l.oid = p.prolang
WHERE p.oid = to_regproc('market_data_asof') AND l.lanname = 'sql'
  AND EXISTS (SELECT 1 FROM pg_dist_partition WHERE logicalrelid = to_regclass('market_data'))
"""


def define(cursor: Any) -> None:
    """Create the functions in a form that the engine can plan."""
    cursor.execute(FUNCTIONS)
    fit(cursor)


def fit(cursor: Any) -> None:
    """On Citus, make ``market_data_asof`` a PL/pgSQL function, because Citus cannot plan SQL functions."""
    if not there(cursor, "pg_catalog.pg_dist_partition"):
        return
    cursor.execute(_SQL_FUNCTION)
    for source, arguments, result in cursor.fetchall():
        body = source.replace(f"{_CHECK_MOMENT} AND ", "").strip()  # the workers lack this function
        cursor.execute(
            f"CREATE OR REPLACE FUNCTION market_data_asof({arguments}) RETURNS {result} LANGUAGE plpgsql"
            f" STABLE AS $$\n#variable_conflict use_column\nBEGIN PERFORM {_CHECK_MOMENT}; RETURN QUERY {body}; END $$"
        )

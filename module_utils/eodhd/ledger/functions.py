"""The functions that read the past as it was, made anew after the last migration.

Their bodies are looked at when they are called: ``market_data`` may come later than the ledger.

Of a bar, ``market_data_asof`` asks whether it came later (``absent``), or was revised later (``changed``; then its old
value counts). For symbols that are named, it adds up all ranges of each; of their lists only the pieces that can have
them are read. For all symbols, the many ranges of one day are matched by symbol and day instead.
"""

from __future__ import annotations

from typing import Any

from ansible.module_utils.database.tables import there

# Ranges that came after the moment and begin before it, which an index knows.
_LATER = "tstzrange(least((b.first_day - 1)::timestamp AT TIME ZONE 'UTC', b.arrived), b.arrived) @> moment"
_TELLS = "backfill_tells(moment)"
FUNCTIONS = f"""
SET LOCAL check_function_bodies = off;
CREATE OR REPLACE FUNCTION backfill_tells(moment timestamptz) RETURNS boolean
LANGUAGE plpgsql STABLE PARALLEL SAFE AS $$
DECLARE since timestamptz := (SELECT applied FROM backfill_schema WHERE version = 3);
BEGIN
  IF moment < since THEN
    RAISE EXCEPTION 'The ledger tells what had arrived by when from % on; % is older than that.', since, moment
      USING ERRCODE = 'data_exception';
  END IF;
  RETURN true;
END $$;
CREATE OR REPLACE FUNCTION market_data_asof(moment timestamptz, symbols text[] DEFAULT NULL, first date DEFAULT NULL,
  last date DEFAULT NULL) RETURNS TABLE ("time" timestamptz, symbol text, open numeric, high numeric, low numeric,
  close numeric, adjusted_close numeric, volume numeric)
LANGUAGE sql STABLE PARALLEL SAFE AS $$
SELECT t.time, t.symbol, t.open, t.high, t.low, t.close, t.adjusted_close, t.volume
FROM (
  SELECT m.time, m.symbol::text, m.open::numeric, m.high::numeric, m.low::numeric, m.close::numeric,
    m.adjusted_close::numeric, m.volume::numeric, true AS still
  FROM market_data m
  WHERE (symbols IS NULL OR m.symbol = ANY (symbols))
    AND (first IS NULL OR m.time >= first::timestamp AT TIME ZONE 'UTC')
    AND (last IS NULL OR m.time < (last + 1)::timestamp AT TIME ZONE 'UTC')
  UNION ALL
  SELECT r.*, false FROM (
    SELECT DISTINCT ON (1, v.symbol) v.day::timestamp AT TIME ZONE 'UTC', v.symbol, v.old_open, v.old_high,
      v.old_low, v.old_close, v.old_adjusted_close, v.old_volume
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
WHERE {_TELLS} AND t.time <= (moment AT TIME ZONE 'UTC' + interval '1 day') AT TIME ZONE 'UTC'
  AND (CASE WHEN t.still THEN l.changed ELSE l.absent END @> t.time) IS NOT TRUE
  AND NOT EXISTS (SELECT FROM backfill_arrival b, unnest(b.symbols) AS s (symbol)
    WHERE market_data_asof.symbols IS NULL AND {_LATER} AND b.first_day = b.last_day AND (t.still OR NOT b.revised)
      AND s.symbol = t.symbol AND b.first_day::timestamp AT TIME ZONE 'UTC' = t.time)
$$;
CREATE OR REPLACE FUNCTION market_data_digest(moment timestamptz, OUT rows bigint, OUT digest text)
LANGUAGE sql STABLE PARALLEL SAFE AS $$
SELECT count(*), coalesce(sum(('x' || left(md5(row(m.symbol, extract(epoch FROM m.time)::bigint, trim_scale(m.open),
  trim_scale(m.high), trim_scale(m.low), trim_scale(m.close), trim_scale(m.adjusted_close),
  trim_scale(m.volume))::text), 16))::bit(64)::bigint::numeric), 0)::text
FROM market_data_asof(moment) m
$$;
"""  # noqa: S608 - our own text
# Of Citus a distributed table, and the function as it is created above.
_PLAIN = """
SELECT p.prosrc, pg_get_function_arguments(p.oid), pg_get_function_result(p.oid)
FROM pg_proc p JOIN pg_language l ON l.oid = p.prolang
WHERE p.oid = to_regproc('market_data_asof') AND l.lanname = 'sql'
  AND EXISTS (SELECT 1 FROM pg_dist_partition WHERE logicalrelid = to_regclass('market_data'))
"""


def define(cursor: Any) -> None:
    """Make the functions, as the engine can plan them."""
    cursor.execute(FUNCTIONS)
    fit(cursor)


def fit(cursor: Any) -> None:
    """Let ``market_data_asof`` be what the engine plans: Citus no function of SQL, but each call of PL/pgSQL."""
    if not there(cursor, "pg_catalog.pg_dist_partition"):
        return
    cursor.execute(_PLAIN)
    for source, arguments, result in cursor.fetchall():
        body = source.replace(f"{_TELLS} AND ", "").strip()  # its workers do not have it
        cursor.execute(
            f"CREATE OR REPLACE FUNCTION market_data_asof({arguments}) RETURNS {result} LANGUAGE plpgsql"
            f" STABLE AS $$\n#variable_conflict use_column\nBEGIN PERFORM {_TELLS}; RETURN QUERY {body}; END $$"
        )

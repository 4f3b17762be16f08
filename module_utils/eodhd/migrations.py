"""The ledger's tables and SQL functions.

The tables are numbered migrations that each run in their own transaction. A change is a new entry at the end of
``MIGRATIONS``; never edit a released entry. The previous version must still be able to write (a new column is nullable
or has a default), because other hosts may run it. A plan in check mode reads a ledger before it is migrated.

The functions read the bars as they were at a moment. They are created again after the last migration; their bodies are
checked when they are called, because ``market_data`` may be created after the ledger.
"""

from __future__ import annotations

import re
from typing import Any, Callable

from ansible.module_utils.database.tables import FIGURES, there
from ansible.module_utils.reporting import Problem

# Version 1 adopts tables from before the ledger had a version.
MIGRATIONS = (
    """
CREATE TABLE backfill_schema (
  version integer PRIMARY KEY,
  applied timestamptz NOT NULL DEFAULT now()
);
CREATE TABLE IF NOT EXISTS backfill_run (
  run bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  mode text NOT NULL,
  request jsonb NOT NULL,
  worker text NOT NULL,
  state text NOT NULL DEFAULT 'running',
  started timestamptz NOT NULL DEFAULT now(),
  finished timestamptz,
  totals jsonb,
  message text
);
CREATE TABLE IF NOT EXISTS backfill_outcome (
  run bigint NOT NULL,
  symbol text NOT NULL,
  first_day date NOT NULL,
  last_day date NOT NULL,
  outcome text NOT NULL,
  rows integer NOT NULL,
  inserted integer NOT NULL,
  updated integer NOT NULL,
  set_aside integer NOT NULL,
  bytes bigint NOT NULL,
  calls integer NOT NULL,
  requests integer NOT NULL,
  seconds numeric NOT NULL,
  fetched timestamptz NOT NULL,
  digest text,
  message text NOT NULL,
  PRIMARY KEY (run, symbol, first_day, last_day)
);
CREATE TABLE IF NOT EXISTS backfill_coverage (
  symbol text PRIMARY KEY,
  first_day date NOT NULL,
  last_day date NOT NULL,
  outcome text NOT NULL,
  rows integer NOT NULL,
  fetched timestamptz NOT NULL,
  restated boolean NOT NULL,
  run bigint NOT NULL,
  message text NOT NULL
);
CREATE TABLE IF NOT EXISTS backfill_set_aside (
  symbol text NOT NULL,
  day date,
  raw text NOT NULL,
  reason text NOT NULL,
  run bigint NOT NULL,
  seen timestamptz NOT NULL DEFAULT now(),
  resolved timestamptz
);
CREATE UNIQUE INDEX IF NOT EXISTS backfill_set_aside_key
  ON backfill_set_aside (symbol, coalesce(day, '-infinity'), reason, md5(raw));
CREATE TABLE IF NOT EXISTS backfill_revision (
  run bigint NOT NULL,
  symbol text NOT NULL,
  day date NOT NULL,
  old_open numeric, old_high numeric, old_low numeric, old_close numeric,
  old_adjusted_close numeric, old_volume numeric,
  new_open numeric, new_high numeric, new_low numeric, new_close numeric,
  new_adjusted_close numeric, new_volume numeric,
  found timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX IF NOT EXISTS backfill_revision_symbol ON backfill_revision (symbol, day);
CREATE TABLE IF NOT EXISTS backfill_ranking (
  exchange text PRIMARY KEY,
  fetched timestamptz NOT NULL,
  symbols text[] NOT NULL
);
CREATE TABLE IF NOT EXISTS backfill_listing (
  symbol text PRIMARY KEY,
  name text, exchange text, country text, currency text, type text, isin text,
  delisted boolean NOT NULL,
  run bigint NOT NULL
);
CREATE TABLE IF NOT EXISTS backfill_lease (
  account text NOT NULL,
  at timestamptz NOT NULL,
  requests integer NOT NULL,
  minute_limit integer
);
CREATE INDEX IF NOT EXISTS backfill_lease_account ON backfill_lease (account, at);
CREATE TABLE IF NOT EXISTS backfill_answer (
  name text PRIMARY KEY,
  status integer NOT NULL,
  body bytea NOT NULL,
  received timestamptz NOT NULL
);
""",
    # The sessions of whole exchanges. Their old entries in backfill_coverage had the day of the call.
    """
CREATE TABLE backfill_session (
  exchange text NOT NULL,
  day date NOT NULL,
  rows integer NOT NULL,
  arrived timestamptz NOT NULL,
  asked timestamptz NOT NULL,
  corrected integer NOT NULL DEFAULT 0,
  run bigint NOT NULL,
  PRIMARY KEY (exchange, day)
);
DELETE FROM backfill_coverage WHERE symbol LIKE 'daily %';
CREATE TABLE backfill_rename (
  old_symbol text NOT NULL,
  new_symbol text NOT NULL,
  effective date NOT NULL,
  run bigint NOT NULL,
  PRIMARY KEY (old_symbol, effective)
);
""",
    # When rows arrived, so that the past can be read as it was. All stored rows of a range arrived at its time, so a
    # row's time is that of the last range that includes it. The data tables may remain from a dropped ledger.
    """
CREATE TABLE backfill_arrival (
  symbols text[] NOT NULL,
  first_day date NOT NULL,
  last_day date NOT NULL,
  arrived timestamptz NOT NULL,
  run bigint NOT NULL
);
CREATE INDEX backfill_arrival_arrived ON backfill_arrival (arrived);
CREATE INDEX backfill_revision_found ON backfill_revision (found);
CREATE TABLE backfill_snapshot (
  name text PRIMARY KEY,
  moment timestamptz NOT NULL,
  rows bigint NOT NULL,
  digest text NOT NULL
);
CREATE TABLE backfill_old_basis (
  symbol text PRIMARY KEY,
  first_day date NOT NULL,
  last_day date NOT NULL,
  rows integer NOT NULL,
  since timestamptz NOT NULL,
  run bigint NOT NULL,
  resolved timestamptz
);
CREATE TABLE IF NOT EXISTS market_split (
  symbol text NOT NULL,
  day date NOT NULL,
  new_shares numeric NOT NULL,
  old_shares numeric NOT NULL,
  PRIMARY KEY (symbol, day)
);
CREATE TABLE IF NOT EXISTS market_dividend (
  symbol text NOT NULL,
  day date NOT NULL,
  value numeric NOT NULL,
  unadjusted numeric,
  currency text,
  period text,
  declared date,
  recorded date,
  paid date,
  PRIMARY KEY (symbol, day)
);
CREATE TABLE backfill_action_revision (
  run bigint NOT NULL,
  kind text NOT NULL,
  symbol text NOT NULL,
  day date NOT NULL,
  old jsonb NOT NULL,
  new jsonb,
  found timestamptz NOT NULL
);
CREATE OR REPLACE FUNCTION backfill_protect() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF TG_TABLE_NAME = 'backfill_snapshot' OR EXISTS (SELECT 1 FROM backfill_snapshot) THEN
    RAISE EXCEPTION '% of % is refused: snapshots depend on it.', TG_OP, TG_TABLE_NAME;
  END IF;
  RETURN NULL;
END $$;
CREATE TRIGGER backfill_protect BEFORE UPDATE OR DELETE OR TRUNCATE ON backfill_snapshot
  FOR EACH STATEMENT EXECUTE FUNCTION backfill_protect();
CREATE TRIGGER backfill_protect BEFORE UPDATE OR DELETE OR TRUNCATE ON backfill_arrival
  FOR EACH STATEMENT EXECUTE FUNCTION backfill_protect();
CREATE TRIGGER backfill_protect BEFORE UPDATE OR DELETE OR TRUNCATE ON backfill_revision
  FOR EACH STATEMENT EXECUTE FUNCTION backfill_protect();
""",
    # Revisions as ranges too, so that reading an old moment skips the rows of other symbols. The ranges that count
    # arrived after the moment and begin before it; an index finds them. One-day ranges are matched by day, which skips
    # those of other days. The inner queries name symbols and days, because Citus pushes no outer filter down to its
    # workers.
    """
ALTER TABLE backfill_arrival ADD COLUMN revised boolean NOT NULL DEFAULT false;
INSERT INTO backfill_arrival (symbols, first_day, last_day, arrived, run, revised)
SELECT array_agg(DISTINCT symbol), day, day, found, run, true FROM backfill_revision
WHERE found > (SELECT applied FROM backfill_schema WHERE version = 3) GROUP BY day, found, run;
DROP INDEX backfill_arrival_arrived;
CREATE INDEX backfill_arrival_later ON backfill_arrival
  USING gist (tstzrange(least((first_day - 1)::timestamp AT TIME ZONE 'UTC', arrived), arrived));
CREATE INDEX backfill_revision_time ON backfill_revision ((day::timestamp AT TIME ZONE 'UTC'), symbol, found);
DROP FUNCTION IF EXISTS market_data_asof(timestamptz);
""",
    # Whole exchanges are stored as pieces of a sorted list, so that a few symbols are looked up only in pieces that can
    # contain them. NULL, which older code writes, means any symbol.
    """
ALTER TABLE backfill_arrival ADD COLUMN first_symbol text COLLATE "C", ADD COLUMN last_symbol text COLLATE "C";
""",
)
NEWEST = len(MIGRATIONS)
TABLES = re.findall(r"CREATE TABLE (?:IF NOT EXISTS )?(\w+)", "".join(MIGRATIONS))
# An arbitrary number, so that hosts migrate one after the other.
_LOCK = 0x6261636B66696C6C


def version(cursor: Any) -> int:
    """Return the ledger's version, 0 if there is none yet; raise ``Problem`` if it is newer than this code."""
    # Reading pg_class refreshes the catalog: to_regclass alone may show the state from before a wait for a lock.
    cursor.execute(
        "SELECT EXISTS (SELECT 1 FROM pg_class WHERE oid = to_regclass('backfill_schema')), current_database()"
    )
    exists, database = cursor.fetchone()
    if not exists:
        return 0
    cursor.execute("SELECT coalesce(max(version), 0) FROM backfill_schema")
    found = int(cursor.fetchone()[0])
    if found > NEWEST:
        raise Problem(
            f"The backfill's ledger in database {database} has version {found}, but this code supports versions"
            f" up to {NEWEST}. A newer clone of the project has used it. Update this clone (git pull) and run the"
            " same command again. No call was made and nothing was changed."
        )
    return found


def migrate(run: Callable[[Callable[[Any], int]], int]) -> None:
    """Apply the missing migrations in order; raise ``Problem`` if the ledger is newer than this code.

    Args:
        run: runs work with a cursor and commits it as one transaction, such as ``Database.run``.
    """
    found = run(version)
    while found < NEWEST:
        found = run(_apply_next)


def _apply_next(cursor: Any) -> int:
    """Apply the next migration, unless another host has just done it; return the version."""
    # Later commits reach the disk after this one, so only the first commit of the run has to wait for the disk.
    cursor.execute("SET LOCAL synchronous_commit = off; SELECT pg_advisory_xact_lock(%s)", (_LOCK,))
    found = version(cursor)
    if found < NEWEST:
        cursor.execute(MIGRATIONS[found])
        found += 1
        cursor.execute("INSERT INTO backfill_schema (version) VALUES (%s)", (found,))
    if found == NEWEST:
        cursor.execute(FUNCTIONS)
        fit(cursor)
    return found


# --- functions ---------------------------------------------------------------------------------------------
# ``market_data_asof`` checks whether a bar arrived after the moment (``absent``) or was revised after it (``changed``;
# then its old value counts). If symbols are given, it aggregates all ranges of each, and reads only the pieces of
# symbol lists that can contain them. For all symbols, it matches the many one-day ranges by symbol and day instead.

# Ranges that arrived after the moment and begin before it; there is an index for this expression.
_LATER = "tstzrange(least((b.first_day - 1)::timestamp AT TIME ZONE 'UTC', b.arrived), b.arrived) @> moment"
_CHECK_MOMENT = "backfill_tells(moment)"


def _each(form: str) -> str:
    """Return the form with each column, separated by commas."""
    return ", ".join(map(form.format, FIGURES))


# A digest has no column that was added later, so that an older snapshot keeps its digest.
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
SELECT count(*), coalesce(sum(('x' || left(md5(row(m.symbol, extract(epoch FROM m.time)::bigint, trim_scale(m.open),
  trim_scale(m.high), trim_scale(m.low), trim_scale(m.close), trim_scale(m.adjusted_close),
  trim_scale(m.volume))::text), 16))::bit(64)::bigint::numeric), 0)::text
FROM market_data_asof(moment) m
$$;
"""  # noqa: S608 - our own text


def fit(cursor: Any) -> None:
    """Make ``market_data_asof`` a PL/pgSQL function if Citus, which cannot plan SQL functions, has the table."""
    if not there(cursor, "pg_catalog.pg_dist_partition"):
        return
    cursor.execute(
        "SELECT p.prosrc, pg_get_function_arguments(p.oid), pg_get_function_result(p.oid)"
        " FROM pg_proc p JOIN pg_language l ON l.oid = p.prolang"
        " WHERE p.oid = to_regproc('market_data_asof') AND l.lanname = 'sql'"
        " AND EXISTS (SELECT 1 FROM pg_dist_partition WHERE logicalrelid = to_regclass('market_data'))"
    )
    for source, arguments, result in cursor.fetchall():
        body = source.replace(f"{_CHECK_MOMENT} AND ", "").strip()  # the workers lack this function
        cursor.execute(
            f"CREATE OR REPLACE FUNCTION market_data_asof({arguments}) RETURNS {result} LANGUAGE plpgsql"
            f" STABLE AS $$\n#variable_conflict use_column\nBEGIN PERFORM {_CHECK_MOMENT}; RETURN QUERY {body}; END $$"
        )

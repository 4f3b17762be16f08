"""The ledger's tables: numbered migrations, each in a transaction of its own, and who may use which version.

A change is a new entry at the end of ``MIGRATIONS``; an entry that was released stays as it is. Keep a change
such that the version before can go on writing (a new column is nullable or has a default), for other hosts may
still run it, and a plan in check mode reads a ledger before it is migrated.
"""

from __future__ import annotations

from typing import Any, Callable

from ansible.module_utils.database.tables import there
from ansible.module_utils.reporting import Problem

# Version 1 takes over the tables of the time before the ledger had a version.
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
    # The sessions of whole exchanges. What stood for them in backfill_coverage named the day of the call.
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
    # What arrived when, so that the past can be read as it was. A range has no stored rows but those that came then, so
    # the last range over a row is the row's. The functions' bodies are looked at when they are called: market_data may
    # come later than the ledger. Tables of data stay when a ledger is given up.
    """
SET LOCAL check_function_bodies = off;
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
CREATE OR REPLACE FUNCTION market_data_asof(moment timestamptz) RETURNS TABLE ("time" timestamptz, symbol text,
  open numeric, high numeric, low numeric, close numeric, adjusted_close numeric, volume numeric)
LANGUAGE sql STABLE PARALLEL SAFE AS $$
SELECT m.time, m.symbol::text,
  CASE WHEN r.symbol IS NULL THEN m.open::numeric ELSE r.old_open END,
  CASE WHEN r.symbol IS NULL THEN m.high::numeric ELSE r.old_high END,
  CASE WHEN r.symbol IS NULL THEN m.low::numeric ELSE r.old_low END,
  CASE WHEN r.symbol IS NULL THEN m.close::numeric ELSE r.old_close END,
  CASE WHEN r.symbol IS NULL THEN m.adjusted_close::numeric ELSE r.old_adjusted_close END,
  CASE WHEN r.symbol IS NULL THEN m.volume::numeric ELSE r.old_volume END
FROM market_data m
LEFT JOIN (
  SELECT DISTINCT ON (v.symbol, v.day) v.symbol, v.day::timestamp AT TIME ZONE 'UTC' AS at,
    v.old_open, v.old_high, v.old_low, v.old_close, v.old_adjusted_close, v.old_volume
  FROM backfill_revision v WHERE v.found > moment ORDER BY v.symbol, v.day, v.found
) r ON r.symbol = m.symbol AND r.at = m.time
LEFT JOIN (
  SELECT s.symbol, range_agg(daterange(b.first_day, b.last_day, '[]')) AS days
  FROM backfill_arrival b, unnest(b.symbols) AS s (symbol)
  WHERE b.arrived > moment AND b.first_day <= (moment AT TIME ZONE 'UTC')::date + 1 GROUP BY s.symbol
) a ON a.symbol = m.symbol
WHERE m.time <= moment + interval '1 day' AND backfill_tells(moment)
  AND (a.days IS NULL OR NOT a.days @> (m.time AT TIME ZONE 'UTC')::date)
$$;
CREATE OR REPLACE FUNCTION market_data_digest(moment timestamptz, OUT rows bigint, OUT digest text)
LANGUAGE sql STABLE PARALLEL SAFE AS $$
SELECT count(*), coalesce(sum(('x' || left(md5(row(m.symbol, extract(epoch FROM m.time)::bigint, trim_scale(m.open),
  trim_scale(m.high), trim_scale(m.low), trim_scale(m.close), trim_scale(m.adjusted_close),
  trim_scale(m.volume))::text), 16))::bit(64)::bigint::numeric), 0)::text
FROM market_data_asof(moment) m
$$;
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
    # What was revised, in ranges like what arrived: reading an old moment then passes by the rows of other symbols. The
    # ranges that count are those that came after it and begin before it, and an index knows them. Ranges of one day are
    # matched by day, so that those of other days are passed by as well. Symbols and days are named where Citus
    # asks its workers: it passes on no filter from outside.
    """
SET LOCAL check_function_bodies = off;
ALTER TABLE backfill_arrival ADD COLUMN revised boolean NOT NULL DEFAULT false;
INSERT INTO backfill_arrival (symbols, first_day, last_day, arrived, run, revised)
SELECT array_agg(DISTINCT symbol), day, day, found, run, true FROM backfill_revision
WHERE found > (SELECT applied FROM backfill_schema WHERE version = 3) GROUP BY day, found, run;
DROP INDEX backfill_arrival_arrived;
CREATE INDEX backfill_arrival_later ON backfill_arrival
  USING gist (tstzrange(least((first_day - 1)::timestamp AT TIME ZONE 'UTC', arrived), arrived));
CREATE INDEX backfill_revision_time ON backfill_revision ((day::timestamp AT TIME ZONE 'UTC'), symbol, found);
DROP FUNCTION IF EXISTS market_data_asof(timestamptz);
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
    WHERE tstzrange(least((b.first_day - 1)::timestamp AT TIME ZONE 'UTC', b.arrived), b.arrived) @> moment
      AND b.first_day < b.last_day
  ) k, unnest(k.symbols) AS s (symbol)
  WHERE market_data_asof.symbols IS NULL OR s.symbol = ANY (market_data_asof.symbols) GROUP BY s.symbol
) l ON l.symbol = t.symbol
WHERE backfill_tells(moment) AND t.time <= (moment AT TIME ZONE 'UTC' + interval '1 day') AT TIME ZONE 'UTC'
  AND (CASE WHEN t.still THEN l.changed ELSE l.absent END @> t.time) IS NOT TRUE
  AND NOT EXISTS (SELECT FROM backfill_arrival b, unnest(b.symbols) AS s (symbol)
    WHERE tstzrange(least((b.first_day - 1)::timestamp AT TIME ZONE 'UTC', b.arrived), b.arrived) @> moment
      AND b.first_day = b.last_day AND (t.still OR NOT b.revised)
      AND (market_data_asof.symbols IS NULL OR s.symbol = ANY (market_data_asof.symbols))
      AND s.symbol = t.symbol AND b.first_day::timestamp AT TIME ZONE 'UTC' = t.time)
$$;
""",
)
NEWEST = len(MIGRATIONS)
# Any number will do that nobody else uses: two hosts migrate one after the other.
_LOCK = 0x6261636B66696C6C


def version(cursor: Any) -> int:
    """Return the version of the ledger; 0 if it has none yet.

    Raises:
        Problem: the ledger is newer than this code.
    """
    # Reading pg_class makes the server look again: to_regclass alone may answer from before a wait for a lock.
    cursor.execute(
        "SELECT EXISTS (SELECT 1 FROM pg_class WHERE oid = to_regclass('backfill_schema')), current_database()"
    )
    there, database = cursor.fetchone()
    if not there:
        return 0
    cursor.execute("SELECT coalesce(max(version), 0) FROM backfill_schema")
    found = int(cursor.fetchone()[0])
    if found > NEWEST:
        raise Problem(
            f"The ledger of the backfill in database {database} has version {found}, and this code knows it up"
            f" to version {NEWEST}: a newer project has been at work there. Update this clone (git pull) and"
            " run the same command again. Nothing was asked and nothing was changed."
        )
    return found


def migrate(run: Callable[[Callable[[Any], int]], int]) -> None:
    """Apply the migrations that are missing, in order.

    Args:
        run: runs work with a cursor in one transaction that it commits, such as ``Database.run``.

    Raises:
        Problem: the ledger is newer than this code.
    """
    found = run(version)
    while found < NEWEST:
        found = run(_apply_next)


# Of Citus a distributed table, and the function as the migrations create it.
_PLAIN = """
SELECT p.prosrc, pg_get_function_arguments(p.oid), pg_get_function_result(p.oid)
FROM pg_proc p JOIN pg_language l ON l.oid = p.prolang
WHERE p.oid = to_regproc('market_data_asof') AND l.lanname = 'sql'
  AND EXISTS (SELECT 1 FROM pg_dist_partition WHERE logicalrelid = to_regclass('market_data'))
"""
_TELLS = "backfill_tells(moment)"


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


def _apply_next(cursor: Any) -> int:
    """Apply one migration and return the version; none if another host was quicker."""
    cursor.execute("SELECT pg_advisory_xact_lock(%s)", (_LOCK,))
    found = version(cursor)
    if found < NEWEST:
        cursor.execute(MIGRATIONS[found])
        found += 1
        cursor.execute("INSERT INTO backfill_schema (version) VALUES (%s)", (found,))
    if found == NEWEST:
        fit(cursor)
    return found

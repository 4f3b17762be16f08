"""The ledger's tables: numbered migrations, each in a transaction of its own, and who may use which version.

After the last one the functions that read the tables are made anew (``functions.py``).

A change is a new entry at the end of ``MIGRATIONS``; an entry that was released stays as it is. Keep a change
such that the version before can go on writing (a new column is nullable or has a default), for other hosts may
still run it, and a plan in check mode reads a ledger before it is migrated.
"""

from __future__ import annotations

from typing import Any, Callable

from ansible.module_utils.eodhd.ledger import functions
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
    # the last range over a row is the row's. Tables of data stay when a ledger is given up.
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
    # What was revised, in ranges like what arrived: reading an old moment then passes by the rows of other symbols. The
    # ranges that count are those that came after it and begin before it, and an index knows them. Ranges of one day are
    # matched by day, so that those of other days are passed by as well. Symbols and days are named where Citus
    # asks its workers: it passes on no filter from outside.
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
    # Whole exchanges come in pieces of a sorted list: a few symbols are looked up in those that can have them. NULL, as
    # older code leaves it: any symbol.
    """
ALTER TABLE backfill_arrival ADD COLUMN first_symbol text COLLATE "C", ADD COLUMN last_symbol text COLLATE "C";
""",
)
NEWEST = len(MIGRATIONS)
# Any number will do that nobody else uses: two hosts migrate one after the other.
_LOCK = 0x6261636B66696C6C


def version(cursor: Any) -> int:
    """Return the version of the ledger, 0 if it has none yet; raises ``Problem`` if it is newer than this code."""
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
    """Apply the migrations that are missing, in order; raises ``Problem`` if the ledger is newer than this code.

    Args:
        run: runs work with a cursor in one transaction that it commits, such as ``Database.run``.
    """
    found = run(version)
    while found < NEWEST:
        found = run(_apply_next)


def _apply_next(cursor: Any) -> int:
    """Apply one migration and return the version; none if another host was quicker."""
    # What follows is on the disk no sooner than this, so that the wait for the disk comes once, with a run's beginning.
    cursor.execute("SET LOCAL synchronous_commit = off; SELECT pg_advisory_xact_lock(%s)", (_LOCK,))
    found = version(cursor)
    if found < NEWEST:
        cursor.execute(MIGRATIONS[found])
        found += 1
        cursor.execute("INSERT INTO backfill_schema (version) VALUES (%s)", (found,))
    if found == NEWEST:
        functions.define(cursor)
    return found

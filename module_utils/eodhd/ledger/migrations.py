"""The ledger's tables: numbered migrations, each in a transaction of its own, and who may use which version.

A change is a new entry at the end of ``MIGRATIONS``; an entry that was released stays as it is. Keep a change
such that the version before can go on writing (a new column is nullable or has a default), for other hosts may
still run it, and a plan in check mode reads a ledger before it is migrated.
"""

from __future__ import annotations

from typing import Any, Callable

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
        run: runs work with a cursor in one transaction that it commits, such as ``Session.run``.

    Raises:
        Problem: the ledger is newer than this code.
    """
    found = run(version)
    while found < NEWEST:
        found = run(_apply_next)


def _apply_next(cursor: Any) -> int:
    """Apply one migration and return the version; none if another host was quicker."""
    cursor.execute("SELECT pg_advisory_xact_lock(%s)", (_LOCK,))
    found = version(cursor)
    if found < NEWEST:
        cursor.execute(MIGRATIONS[found])
        found += 1
        cursor.execute("INSERT INTO backfill_schema (version) VALUES (%s)", (found,))
    return found

-- The ledger as it was before it had a version.
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

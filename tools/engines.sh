#!/bin/sh
# The database's tests on every layout that can be had here: tools/engines.sh [LAYOUT…]
# ENGINES names a folder with PostgreSQL 15, TimescaleDB and Citus, or the archives that its `unpack` makes one of;
# TEST_TIMESCALEDB_URL and TEST_CITUS_URL name servers instead.
cd "$(dirname "$0")/.." || exit 1
layouts=partitioned
skipped=
offer() { if [ -n "$1" ]; then layouts="$layouts $2"; else skipped="$skipped $2"; fi; }
offer "${ENGINES:-}" plain15
offer "${ENGINES:-}${TEST_TIMESCALEDB_URL:-}" "week year week-compressed year-compressed"
offer "${ENGINES:-}${TEST_CITUS_URL:-}" citus
[ $# -eq 0 ] || layouts="$*" skipped=
status=0
for layout in $layouts; do
  echo "engines: $layout"
  TEST_LAYOUT=$layout pytest --timeout 300 tests/integration/database tests/integration/eodhd \
    tests/integration/health tests/integration/audit || status=1
done
[ -z "$skipped" ] || echo "engines: skipped$skipped: give ENGINES=DIR, or TEST_TIMESCALEDB_URL and TEST_CITUS_URL"
exit $status

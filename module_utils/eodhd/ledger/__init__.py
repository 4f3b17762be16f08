"""The backfill's records in the database: runs, outcomes, coverage and claims."""

"""What the database remembers of the backfill: runs, outcomes, coverage and claims."""

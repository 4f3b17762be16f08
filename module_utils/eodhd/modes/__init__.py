"""One file for each `backfill_mode`."""

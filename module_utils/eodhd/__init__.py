"""The backfill from EODHD, in rooms: service, plan, run, store, ledger, and the modes that join them."""
